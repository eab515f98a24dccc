/*
 * The guest's grant table, version 1: which references are used, and making and ending grants.
 *
 * The references below GNTTAB_NR_RESERVED_ENTRIES are the toolstack's and are never touched.
 * Source: xen/grant_table.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_GRANTS_H
#define PV_GRANTS_H

#include "ovmf-drivers/core/platform.h"

#include <xen/grant_table.h> /* needs the types of the one above */

/* References that are kept account of; 16 frames of the table. */
#define PV_GRANTS_MAX 8192

struct pv_grants {
    struct grant_entry_v1 *table;
    uint32_t count; /* of its entries */
    uint32_t next;  /* where to look first for a free one */
    uint32_t used[PV_GRANTS_MAX / 32];
};

void pv_grants_init(struct pv_grants *grants, struct grant_entry_v1 *table, uint32_t count);

/* Lets DOMID read and write the page GFN; false if all references are in use. */
bool pv_grants_make(struct pv_grants *grants, uint16_t domid, uint32_t gfn, uint32_t *ref);

/* Ends it; false while the peer uses the page, which stays granted then, for ever. */
bool pv_grants_end(struct pv_grants *grants, uint32_t ref);

#endif
