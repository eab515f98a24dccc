/*
 * Grant tables: version 1 entries that guests write as they like, and what Xen makes of them.
 *
 * Each entry has a private half, the active entry, with the pins of those who have it mapped or are
 * copying.  As in Xen, the first pin reads and checks the shared entry and sets GTF_reading and
 * GTF_writing in it; later ones only look at the active entry, so that a guest cannot change what
 * is in use.
 *
 * Source: Xen 4.17's grant_table.c for checks, their order and their GNTST_*.
 * Threads: any; the lock of an active entry is the only one on the way of a copy.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_GNTTAB_H
#define HYPERVISOR_GNTTAB_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <xen/grant_table.h>

#define SIM_GRANTS 16384 /* entries of a table */

/* Counts of those who use an entry; a writer is not counted as a reader. */
struct sim_pins {
    _Alignas(4) uint16_t readers;
    uint16_t writers;
};

struct sim_grant_active {
    _Atomic uint32_t lock; /* 0, or whose it is */
    struct sim_pins mapped, copying;
    uint32_t copier; /* the sim_user_id of the last copy, which may have died with its pin */
    uint32_t frame;
    uint16_t domid; /* who pinned it */
};

struct sim_gnttab_domain {
    _Alignas(4096) struct grant_entry_v1 entries[SIM_GRANTS];
    struct sim_grant_active active[SIM_GRANTS];
};

/*
 * Pins entry REF of DOMID for a mapping by domain BY, and gives its page's frame number; GNTST_okay
 * or a negative GNTST_*.
 */
int sim_grant_map(unsigned domid, uint32_t ref, unsigned by, bool writable, uint32_t *frame);

/* Undoes that; nothing if the domain is gone. */
void sim_grant_unmap(unsigned domid, uint32_t ref, bool writable);

/*
 * Puts right what processes that were killed have left in the entry: MAPPED is how often it is
 * mapped.  The hypervisor's lock must be held.
 */
void sim_grant_heal(unsigned domid, uint32_t ref, struct sim_pins mapped);

/* Is the entry in use?  (By somebody who may be dead: sim_gntdev_reap_mappers().) */
bool sim_grant_pinned(unsigned domid, uint32_t ref);

/*
 * The guest's side: ends a grant unless it is in use, as Linux's gnttab_end_foreign_access_ref().
 * False: it is in use.
 */
bool sim_grant_end(struct grant_entry_v1 *entry);

/* One end of a copy: a grant, or local memory if DOMID is SIM_COPY_LOCAL. */
struct sim_copy_end {
    uint32_t domid, ref;
    uint8_t *local;
    uint16_t offset;
};
#define SIM_COPY_LOCAL UINT32_MAX

/* Copies on behalf of USER in domain BY; GNTST_okay or a negative GNTST_*. */
int sim_grant_copy(uint32_t user, unsigned by, const struct sim_copy_end *source,
                   const struct sim_copy_end *dest, uint16_t length);

#endif
