/*
 * Grants: mapping and copying the pages that a guest has granted.
 *
 * Source: xengnttab.h, grant_table.h.
 * Threads: a handle belongs to one thread; a hot loop opens its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_GRANT_H
#define XEN_GRANT_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include <xengnttab.h>

#define XEN_PAGE_SIZE 4096

struct xen_grants;

struct xen_grants *xen_grants_open(GError **error);
void xen_grants_close(struct xen_grants *grants); /* NULL is fine; unmap first */

/* Maps COUNT pages of DOMID read-write and contiguously; undo with xen_grants_unmap(). */
void *xen_grants_map(struct xen_grants *grants, unsigned domid, uint32_t *refs, uint32_t count,
                     GError **error);
void xen_grants_unmap(struct xen_grants *grants, void *address, uint32_t count);

/*
 * One piece of a copy between a granted page and local memory; it must stay inside the page.
 * STATUS is set by xen_grants_copy(): GNTST_okay or a negative GNTST_*; check each (XSA-365).
 */
typedef xengnttab_grant_copy_segment_t xen_grant_copy;

static inline xen_grant_copy xen_grant_copy_from(unsigned domid, uint32_t ref, uint16_t offset,
                                                 void *local, uint16_t length)
{
    return (xen_grant_copy){ .source.foreign = { ref, offset, domid },
                             .dest.virt = local,
                             .len = length,
                             .flags = GNTCOPY_source_gref };
}

static inline xen_grant_copy xen_grant_copy_to(unsigned domid, uint32_t ref, uint16_t offset,
                                               void *local, uint16_t length)
{
    return (xen_grant_copy){ .source.virt = local,
                             .dest.foreign = { ref, offset, domid },
                             .len = length,
                             .flags = GNTCOPY_dest_gref };
}

/* Does COUNT copies in one call.  If the call itself fails, every status says so. */
void xen_grants_copy(struct xen_grants *grants, xen_grant_copy *copies, uint32_t count);

#endif
