/* One ioreq: see request.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/request.h"

#include <string.h>

/* Bytes moved between a device and guest memory per call of struct ioreq_memory. */
#define BATCH_SIZE 4096

/* The i-th of a row of items, which runs downwards if the direction flag is set. */
static uint64_t item_address(const struct ioreq *request, uint64_t base, uint32_t i)
{
    uint64_t distance = (uint64_t)i * request->size;
    return request->df ? base - distance : base + distance;
}

/* Whether COUNT items, the first at BASE, stay inside the address space. */
static bool row_fits(const struct ioreq *request, uint64_t base, uint32_t count)
{
    uint64_t rest = (uint64_t)(count - 1) * request->size;
    uint64_t above = request->size - 1 + (request->df ? 0 : rest);
    uint64_t below = request->df ? rest : 0;
    return base >= below && base <= UINT64_MAX - above;
}

static bool access_is_valid(const struct ioreq *request)
{
    bool memory = request->type == IOREQ_TYPE_COPY;
    bool size = request->size == 1 || request->size == 2 || request->size == 4 ||
                (request->size == 8 && memory);
    return size && request->count >= 1 && request->count <= IOREQ_MAX_COUNT &&
           row_fits(request, request->addr, memory ? request->count : 1) &&
           (!request->data_is_ptr || row_fits(request, request->data, request->count));
}

/* Does item I: a string instruction walks through memory, but stays on one port. */
static void do_item(const struct ioreq *request, struct ioreq_bus *bus, enum ioreq_space space,
                    uint32_t i, uint64_t *value)
{
    uint64_t address =
        space == IOREQ_MEMORY ? item_address(request, request->addr, i) : request->addr;
    if (request->dir == IOREQ_READ)
        *value = ioreq_bus_read(bus, space, address, request->size);
    else
        ioreq_bus_write(bus, space, address, request->size, *value);
}

/* Does COUNT items from FIRST on, the data being in guest memory. */
static void do_batch(const struct ioreq *request, struct ioreq_bus *bus, enum ioreq_space space,
                     const struct ioreq_memory *memory, uint32_t first, uint32_t count)
{
    uint8_t buffer[BATCH_SIZE];
    size_t length = (size_t)count * request->size;
    uint64_t lowest = item_address(request, request->data, first + (request->df ? count - 1 : 0));
    bool read = request->dir == IOREQ_READ;

    if (!read && !memory->read(memory->opaque, lowest, buffer, length))
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *item = buffer + (size_t)(request->df ? count - 1 - i : i) * request->size;
        uint64_t value = 0;
        if (!read)
            memcpy(&value, item, request->size);
        do_item(request, bus, space, first + i, &value);
        if (read)
            memcpy(item, &value, request->size);
    }
    if (read)
        memory->write(memory->opaque, lowest, buffer, length);
}

static void do_access(struct ioreq *request, struct ioreq_bus *bus, enum ioreq_space space,
                      const struct ioreq_memory *memory)
{
    uint32_t batch = request->data_is_ptr ? BATCH_SIZE / request->size : 1;
    for (uint32_t i = 0; i < request->count; i += batch) {
        if (request->data_is_ptr)
            do_batch(request, bus, space, memory, i, MIN(batch, request->count - i));
        else
            do_item(request, bus, space, i, &request->data);
    }
}

bool ioreq_perform(struct ioreq *request, struct ioreq_bus *bus, const struct ioreq_memory *memory)
{
    enum ioreq_space space;

    switch (request->type) {
    case IOREQ_TYPE_PIO:
        space = IOREQ_PORTS;
        break;
    case IOREQ_TYPE_COPY:
        space = IOREQ_MEMORY;
        break;
    case IOREQ_TYPE_PCI_CONFIG:
        space = IOREQ_PCI;
        break;
    case IOREQ_TYPE_TIMEOFFSET: /* the guest set its clock: nobody here keeps one */
    case IOREQ_TYPE_INVALIDATE: /* forget mappings of guest memory: none are kept */
        return true;
    default:
        return false;
    }
    if (!access_is_valid(request))
        return false;
    do_access(request, bus, space, memory);
    return true;
}

enum ioreq_outcome ioreq_serve(volatile struct ioreq *slot, struct ioreq_bus *bus,
                               const struct ioreq_memory *memory, struct ioreq *request)
{
    if (!ioreq_is_ready(slot))
        return IOREQ_NOT_READY;
    /* Xen writes the state last, so the rest must not be read before it. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    *request = *slot;
    slot->state = STATE_IOREQ_INPROCESS;

    bool read = request->dir == IOREQ_READ;
    bool done = ioreq_perform(request, bus, memory);
    if (!done && read)
        request->data = UINT64_MAX;

    if (read)
        slot->data = request->data;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    slot->state = STATE_IORESP_READY;
    return done ? IOREQ_DONE : IOREQ_REFUSED;
}
