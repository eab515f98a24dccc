/*
 * What a guest's accesses reach: ranges of port, memory and PCI configuration addresses, each
 * with the device that answers for it.
 *
 * An access reaches a device only if it lies wholly inside one range, as Xen itself routes
 * (dm_op.h).  Everything else is an empty bus: reads give all-ones, writes are dropped.
 *
 * Nothing here knows Xen; ioreq/server.h keeps Xen's routing and this table the same.
 * Threads: a bus belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_BUS_H
#define IOREQ_BUS_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/*
 * A device's side of an access.  OFFSET is in bytes (or ports) from the start of the range, SIZE
 * is 1, 2, 4 or 8 bytes and offset + size never exceeds the range; the offset may have any
 * alignment.  Values are little-endian numbers: of what read() returns the lowest SIZE bytes are
 * used, and of what write() gets the others are zero.  Both may add and remove ranges.
 */
struct ioreq_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
};

/* PCI addresses are those of ioreq.h: SBDF << 32 | register. */
enum ioreq_space { IOREQ_PORTS, IOREQ_MEMORY, IOREQ_PCI };
#define IOREQ_SPACES 3

struct ioreq_bus;

struct ioreq_bus *ioreq_bus_new(void);
void ioreq_bus_free(struct ioreq_bus *bus); /* NULL is fine */

/* Gives SIZE (at least 1) addresses from FIRST to a device.  EEXIST where some are taken. */
bool ioreq_bus_add(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first, uint64_t size,
                   const struct ioreq_ops *ops, void *opaque, GError **error);

/* Takes back the range that starts at FIRST. */
void ioreq_bus_remove(struct ioreq_bus *bus, enum ioreq_space space, uint64_t first);

/* How many ranges there are in SPACE. */
unsigned ioreq_bus_count(const struct ioreq_bus *bus, enum ioreq_space space);

/* One access, in logarithmic time; address + size must not wrap. */
uint64_t ioreq_bus_read(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address,
                        unsigned size);
void ioreq_bus_write(struct ioreq_bus *bus, enum ioreq_space space, uint64_t address, unsigned size,
                     uint64_t value);

/* All-ones in the lowest SIZE bytes: what an empty bus reads as. */
static inline uint64_t ioreq_ones(unsigned size)
{
    return size < 8 ? (UINT64_C(1) << (8 * size)) - 1 : UINT64_MAX;
}

#endif
