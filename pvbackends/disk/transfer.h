/*
 * Moving data between a guest's granted pages and a queue's memory, in batches: pieces are
 * added, done together, and looked at one by one.  They are copied by Xen; of a frontend that
 * grants persistently, they are copied by us where the page is mapped, and that at once.
 *
 * Threads: a transfer belongs to its queue's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_TRANSFER_H
#define DISK_TRANSFER_H

#include <stdint.h>
#include <xen/grant_table.h>

#include "pvbackends/disk/mappings.h"
#include "pvbackends/disk/pool.h"
#include "pvbackends/disk/request.h"

/*
 * Pieces in a batch: what has a buffer has at most as many segments as the buffer has pages, and
 * the end of each chunk cuts at most one of them in two.
 */
#define DISK_PIECES_MAX (DISK_POOL_CHUNKS * (DISK_CHUNK_PAGES + 1))

enum disk_direction { DISK_FROM_GUEST, DISK_TO_GUEST };

struct disk_transfer {
    struct xen_grants *grants; /* the caller's */
    unsigned domid;
    struct disk_mappings mappings;
    bool persistent;        /* the mappings are there */
    xen_grant_copy *copies; /* the batch being gathered */
    unsigned nr_copies;
};

/* What of a request is to be copied by Xen. */
struct disk_share {
    unsigned first, count;
};

void disk_transfer_open(struct disk_transfer *transfer, struct xen_grants *grants, unsigned domid);

/* The frontend grants persistently: as disk_mappings_open(). */
void disk_transfer_keep_mapped(struct disk_transfer *transfer, unsigned max, gint *failures);

void disk_transfer_close(struct disk_transfer *transfer); /* a zeroed one is fine */

/* Adds the data of REQUEST, which lies in BUFFER or is to. */
struct disk_share disk_transfer_add(struct disk_transfer *transfer, enum disk_direction direction,
                                    const struct disk_request *request,
                                    const struct disk_buffer *buffer);

/* Adds the table of an indirect REQUEST, which fits the first chunk of its buffer. */
struct disk_share disk_transfer_add_table(struct disk_transfer *transfer,
                                          const struct disk_request *request,
                                          const struct disk_buffer *buffer);

/* Does what was added; the next thing that is added begins a new batch. */
void disk_transfer_run(struct disk_transfer *transfer);

/* Has all of it been moved?  Of the batch that was run last. */
static inline bool disk_transfer_done(const struct disk_transfer *transfer, struct disk_share share)
{
    for (unsigned i = share.first; i < share.first + share.count; i++) {
        if (transfer->copies[i].status != GNTST_okay)
            return false;
    }
    return true;
}

#endif
