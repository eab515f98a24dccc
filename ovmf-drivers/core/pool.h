/*
 * The pages that a disk shares with its backend, granted once, for as long as it is connected.
 *
 * Pages that the backend does not let go of in the end are taken out of use for ever, because it
 * could still write to them; the others are given back all the same.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_POOL_H
#define PV_POOL_H

#include "ovmf-drivers/core/platform.h"

#define PV_POOL_PAGES_MAX 704 /* 64 requests of 11 segments */

struct pv_pool {
    uint8_t *pages; /* adjacent */
    uint32_t count;
    bool lasting;
    uint32_t refs[PV_POOL_PAGES_MAX]; /* one a page; 0: ended */
};

/* COUNT pages for DOMID, or nothing and false.  LASTING: see platform.h. */
bool pv_pool_open(struct pv_pool *pool, const struct pv_platform *platform, uint16_t domid,
                  uint32_t count, bool lasting);

/* Ends the grants; true if all pages could be given back.  A pool that is not open is closed. */
bool pv_pool_close(struct pv_pool *pool, const struct pv_platform *platform);

static inline uint8_t *pv_pool_page(const struct pv_pool *pool, uint32_t page)
{
    return pool->pages + (size_t)page * PV_PAGE;
}

#endif
