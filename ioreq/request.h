/*
 * One ioreq: taking it from the page shared with Xen, checking it, doing it, answering it.
 *
 * A request is copied once and only the copy is looked at (XSA-155); sizes, counts and addresses
 * are checked before they are used (XSA-199); only data and then state are written back (XSA-197).
 * A request that makes no sense is still answered, with all-ones, because the guest's vCPU waits.
 *
 * Source: hvm/ioreq.h.
 * Threads: as struct ioreq_bus.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_REQUEST_H
#define IOREQ_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/hvm/ioreq.h>

#include "ioreq/bus.h"

/*
 * Repetitions in one request.  Xen's instruction emulator cuts string instructions to 4096
 * (hvmemul_virtual_to_linear) and comes again for the rest.
 */
#define IOREQ_MAX_COUNT 4096

/*
 * Guest memory, for requests whose data is there (data_is_ptr); addresses are guest-physical.
 * False where there is no memory: such data is dropped.
 */
struct ioreq_memory {
    bool (*read)(void *opaque, uint64_t address, void *buffer, size_t length);
    bool (*write)(void *opaque, uint64_t address, const void *buffer, size_t length);
    void *opaque;
};

enum ioreq_outcome {
    IOREQ_NOT_READY, /* there is no request in the slot, and it was left alone */
    IOREQ_DONE,      /* answered; Xen waits for a notification */
    IOREQ_REFUSED,   /* answered too, but it was nonsense: see request */
};

/* Is there a request in SLOT?  For a glance; ioreq_serve() looks again. */
static inline bool ioreq_is_ready(const volatile struct ioreq *slot)
{
    return slot->state == STATE_IOREQ_READY;
}

/*
 * Does REQUEST, which is a copy that nobody else can reach, and leaves the answer of a read in its
 * data; false if it makes no sense, and then nothing was done.
 */
bool ioreq_perform(struct ioreq *request, struct ioreq_bus *bus, const struct ioreq_memory *memory);

/*
 * Serves the request in SLOT, one vCPU's place in the shared page; that can call the ops of the
 * devices on BUS, at most IOREQ_MAX_COUNT times.  *REQUEST becomes the copy that was served.
 */
enum ioreq_outcome ioreq_serve(volatile struct ioreq *slot, struct ioreq_bus *bus,
                               const struct ioreq_memory *memory, struct ioreq *request);

#endif
