/*
 * The memory that a queue's data passes through: a bounded number of chunks, all of one size, so
 * that taking and giving back takes no time and nothing can be fragmented.  A request's data lies
 * in a list of them, without gaps.
 *
 * Threads: a pool belongs to its queue's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_POOL_H
#define DISK_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <glib.h>

#include "pvbackends/disk/request.h"
#include "xen/grant.h"

/* Four pages: a small request wastes little, the longest one is a list that is not too long. */
#define DISK_CHUNK_PAGES 4
#define DISK_CHUNK_SIZE (DISK_CHUNK_PAGES * XEN_PAGE_SIZE)

/* Of one queue: 4 MiB.  It comes with the first use, last used first reused. */
#define DISK_POOL_CHUNKS 256

/* Of a request with as many segments as there may be. */
#define DISK_CHUNKS_MAX ((DISK_SEGMENTS_MAX + DISK_CHUNK_PAGES - 1) / DISK_CHUNK_PAGES)

struct disk_pool {
    uint8_t *memory;
    void *free[DISK_POOL_CHUNKS];
    unsigned nr_free;
};

/* What a request has of the pool; page-aligned, and as many bytes as its segments can have. */
struct disk_buffer {
    unsigned nr_chunks;
    unsigned nr_filled; /* that have data, when its length is known */
    struct iovec chunks[DISK_CHUNKS_MAX];
};

bool disk_pool_open(struct disk_pool *pool, GError **error);
void disk_pool_close(struct disk_pool *pool); /* a zeroed one is fine */

/* Takes room for so many whole pages; false, and nothing is taken, if there is not that much. */
bool disk_pool_take(struct disk_pool *pool, struct disk_buffer *buffer, unsigned pages);
void disk_pool_put(struct disk_pool *pool, struct disk_buffer *buffer);

/*
 * The data has LENGTH bytes, not more than was taken and not none: the list ends there.  What is
 * left over is not given back before all is, so that what is in flight has no more segments than
 * the pool has pages.
 */
void disk_buffer_fill(struct disk_buffer *buffer, size_t length);

#endif
