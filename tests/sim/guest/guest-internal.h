/*
 * The inside of struct guest, for the files that make up guest.h: guest.c (memory, grants, ports)
 * and store.c (the xenstore connection, in a struct of its own).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_GUEST_INTERNAL_H
#define GUEST_GUEST_INTERNAL_H

#include <glib.h>
#include <pthread.h>
#include <stdint.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/guest/guest.h"

/*
 * The last frames of a guest are special pages that the toolstack puts to use (xenstore's ring,
 * the console's); guest_alloc() never hands them out.
 */
#define GUEST_SPECIAL_FRAMES 16
static inline uint64_t guest_special_gfn(uint64_t pages, unsigned index)
{
    return pages - GUEST_SPECIAL_FRAMES + index;
}
#define GUEST_SPECIAL_STORE 0
#define GUEST_SPECIAL_CONSOLE 1

struct guest_store; /* store.c's own */

struct guest {
    unsigned domid;
    struct sim_domain *domain;
    uint8_t *memory;
    size_t pages;
    pthread_mutex_t lock; /* of what follows; one that ThreadSanitizer understands */
    uint8_t *pages_used;  /* a byte per page */
    size_t next_page;     /* where to look first */
    uint32_t *free_refs;  /* a stack */
    uint32_t free_count;
    struct guest_store *store; /* NULL until store.c makes it, at the first call */
};

/* Called by guest_close(); NULL is fine. */
void guest_store_close(struct guest_store *store);

#endif
