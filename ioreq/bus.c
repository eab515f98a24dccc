/* The table of ranges: see bus.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/bus.h"

#include <inttypes.h>

#include "xen/error.h"

struct range {
    uint64_t first;
    uint64_t last;
    const struct ioreq_ops *ops;
    void *opaque;
};

struct ioreq_bus {
    GArray *spaces[IOREQ_SPACES]; /* struct range, by their addresses; none overlap */
};

struct ioreq_bus *ioreq_bus_new(void)
{
    struct ioreq_bus *bus = g_new0(struct ioreq_bus, 1);
    for (unsigned space = 0; space < IOREQ_SPACES; space++)
        bus->spaces[space] = g_array_new(FALSE, FALSE, sizeof(struct range));
    return bus;
}

void ioreq_bus_free(struct ioreq_bus *bus)
{
    if (!bus)
        return;
    for (unsigned space = 0; space < IOREQ_SPACES; space++)
        g_array_unref(bus->spaces[space]);
    g_free(bus);
}

/* How many ranges start at ADDRESS or below; the last of them is the only one that can have it. */
static unsigned count_up_to(const GArray *ranges, uint64_t address)
{
    unsigned low = 0, high = ranges->len;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (g_array_index(ranges, struct range, middle).first <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The range that has ADDRESS, or NULL; valid until the table changes. */
static const struct range *find(const struct ioreq_bus *bus, enum ioreq_space space,
                                uint64_t address)
{
    const GArray *ranges = bus->spaces[space];
    unsigned count = count_up_to(ranges, address);
    if (count == 0)
        return NULL;
    const struct range *range = &g_array_index(ranges, struct range, count - 1);
    return address <= range->last ? range : NULL;
}

static const struct range *find_around(const struct ioreq_bus *bus, enum ioreq_space space,
                                       uint64_t address, unsigned size)
{
    const struct range *range = find(bus, space, address);
    return range && range->last - address >= size - 1 ? range : NULL;
}

bool ioreq_bus_add(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first, uint64_t size,
                   const struct ioreq_ops *ops, void *opaque, GError **error)
{
    g_assert(size > 0 && first <= UINT64_MAX - (size - 1));
    struct range range = { first, first + (size - 1), ops, opaque };
    GArray *ranges = bus->spaces[space];
    unsigned below = count_up_to(ranges, range.last);
    /* If the last range that starts before our end is not in the way, none is. */
    const struct range *taken = below ? &g_array_index(ranges, struct range, below - 1) : NULL;
    if (taken && taken->last >= first) {
        xen_set_error_errno(error, EEXIST,
                            "0x%" PRIx64 "-0x%" PRIx64 " overlaps 0x%" PRIx64 "-0x%" PRIx64,
                            range.first, range.last, taken->first, taken->last);
        return false;
    }
    g_array_insert_val(ranges, below, range);
    return true;
}

void ioreq_bus_remove(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first)
{
    GArray *ranges = bus->spaces[space];
    const struct range *range = find(bus, space, first);
    g_assert(range && range->first == first);
    g_array_remove_index(ranges, range - (struct range *)ranges->data);
}

unsigned ioreq_bus_count(const struct ioreq_bus *bus, enum ioreq_space space)
{
    return bus->spaces[space]->len;
}

uint64_t ioreq_bus_read(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address,
                        unsigned size)
{
    const struct range *range = find_around(bus, space, address, size);
    if (!range)
        return ioreq_ones(size);
    return range->ops->read(range->opaque, address - range->first, size) & ioreq_ones(size);
}

void ioreq_bus_write(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address, unsigned size,
                     uint64_t value)
{
    const struct range *range = find_around(bus, space, address, size);
    if (range)
        range->ops->write(range->opaque, address - range->first, size, value & ioreq_ones(size));
}
