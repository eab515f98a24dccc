/*
 * What a frontend asks for: the nodes that it publishes before it connects, read and checked.
 *
 * Source: xen/io/blkif.h.
 * Work is bounded: at most a node for each page of each queue, and a few more.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_FRONTEND_H
#define DISK_FRONTEND_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

#include "pvbackends/disk/ring.h"
#include "xen/store.h"

/* What we offer at most. */
#define DISK_RING_ORDER_MAX 4
#define DISK_RING_PAGES_MAX (1 << DISK_RING_ORDER_MAX)
#define DISK_QUEUES_MAX 8

struct disk_frontend {
    const struct disk_abi *abi;
    unsigned nr_queues;
    unsigned nr_ring_pages; /* of each queue's ring */
    bool persistent;        /* it always uses the same grants */
    struct {
        uint32_t port;
        uint32_t ring_refs[DISK_RING_PAGES_MAX];
    } queues[DISK_QUEUES_MAX];
};

/* What it was offered. */
struct disk_offer {
    unsigned queues, ring_order;
    bool persistent;
};

/* Reads the nodes in DIR.  The error of one that asks for what cannot be says which node it is. */
bool disk_frontend_read(struct disk_frontend *frontend, struct xen_store *store, const char *dir,
                        const struct disk_offer *offer, GError **error);

#endif
