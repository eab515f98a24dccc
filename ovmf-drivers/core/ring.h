/*
 * The frontend's side of a block ring: one or two shared pages with requests and responses.
 *
 * The backend can change the pages at any time: what it says is copied once, and then looked at.
 * Source: xen/io/ring.h, xen/io/blkif.h (the layout of x86_64).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_RING_H
#define PV_RING_H

#include "ovmf-drivers/core/platform.h"

#include <xen/io/blkif.h> /* needs the types of the one above */

#define PV_RING_PAGES_MAX 2 /* 64 requests */

struct pv_ring {
    blkif_sring_t *shared;
    uint32_t entries;
    uint32_t produced;  /* requests put */
    uint32_t published; /* of these, what the backend knows of */
    uint32_t consumed;  /* responses taken */
};

/* Requests that a ring of PAGES has room for. */
uint32_t pv_ring_entries(uint32_t pages);

/* An empty ring in PAGES zeroed pages. */
void pv_ring_init(struct pv_ring *ring, void *shared, uint32_t pages);

/* Where the next request is to be written; there must be room.  It counts when it is put. */
void *pv_ring_next(struct pv_ring *ring);
void pv_ring_put(struct pv_ring *ring);

/* Publishes what was put; true if the backend wants to be notified. */
bool pv_ring_push(struct pv_ring *ring);

enum pv_taken {
    PV_TAKEN_NONE,
    PV_TAKEN_RESPONSE,
    PV_TAKEN_BROKEN, /* more responses than requests */
};
enum pv_taken pv_ring_take(struct pv_ring *ring, blkif_response_t *response);

/* Asks to be notified of the next response; true if there is one already. */
bool pv_ring_arm(struct pv_ring *ring);

#endif
