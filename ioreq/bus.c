/* The table of ranges: see bus.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/bus.h"

#include <inttypes.h>

#include "xen/error.h"

struct range {
    enum ioreq_space space;
    uint64_t first;
    uint64_t last;
    const struct ioreq_ops *ops;
    void *opaque;
};

struct ioreq_bus {
    GArray *ranges; /* struct range, in no order */
};

struct ioreq_bus *ioreq_bus_new(void)
{
    struct ioreq_bus *bus = g_new0(struct ioreq_bus, 1);
    bus->ranges = g_array_new(FALSE, FALSE, sizeof(struct range));
    return bus;
}

void ioreq_bus_free(struct ioreq_bus *bus)
{
    if (!bus)
        return;
    g_array_unref(bus->ranges);
    g_free(bus);
}

/* A range that shares an address with FIRST to LAST, or NULL; valid until the table changes. */
static struct range *find(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first,
                          uint64_t last)
{
    for (guint i = 0; i < bus->ranges->len; i++) {
        struct range *range = &g_array_index(bus->ranges, struct range, i);
        if (range->space == space && first <= range->last && last >= range->first)
            return range;
    }
    return NULL;
}

static struct range *find_around(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address,
                                 unsigned size)
{
    struct range *range = find(bus, space, address, address);
    return range && range->last - address >= size - 1 ? range : NULL;
}

bool ioreq_bus_add(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first, uint64_t size,
                   const struct ioreq_ops *ops, void *opaque, GError **error)
{
    g_assert(size > 0 && first <= UINT64_MAX - (size - 1));
    struct range range = { space, first, first + (size - 1), ops, opaque };
    struct range *taken = find(bus, space, range.first, range.last);
    if (taken) {
        xen_set_error_errno(error, EEXIST,
                            "0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64,
                            range.first, range.last, taken->first, taken->last);
        return false;
    }
    g_array_append_val(bus->ranges, range);
    return true;
}

void ioreq_bus_remove(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first)
{
    struct range *range = find(bus, space, first, first);
    g_assert(range && range->first == first);
    g_array_remove_index_fast(bus->ranges, range - (struct range *)bus->ranges->data);
}

uint64_t ioreq_bus_read(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address,
                        unsigned size)
{
    struct range *range = find_around(bus, space, address, size);
    if (!range)
        return ioreq_ones(size);
    return range->ops->read(range->opaque, address - range->first, size) & ioreq_ones(size);
}

void ioreq_bus_write(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address, unsigned size,
                     uint64_t value)
{
    struct range *range = find_around(bus, space, address, size);
    if (range)
        range->ops->write(range->opaque, address - range->first, size, value & ioreq_ones(size));
}
