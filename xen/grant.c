/* Grants: see grant.h. */

#define G_LOG_DOMAIN "grant"
#include "xen/grant.h"

#include <sys/mman.h>
#include <xen/grant_table.h>

#include "xen/error.h"

struct xen_grants {
    xengnttab_handle *handle;
};

struct xen_grants *xen_grants_open(GError **error)
{
    xengnttab_handle *handle = xengnttab_open(NULL, 0);
    if (!handle) {
        xen_set_error(error, "cannot open the grant device (/dev/xen/gntdev)");
        return NULL;
    }
    struct xen_grants *grants = g_new0(struct xen_grants, 1);
    grants->handle = handle;
    return grants;
}

void xen_grants_close(struct xen_grants *grants)
{
    if (!grants)
        return;
    xengnttab_close(grants->handle);
    g_free(grants);
}

void *xen_grants_map(struct xen_grants *grants, unsigned domid, uint32_t *refs, uint32_t count,
                     GError **error)
{
    void *address =
        xengnttab_map_domain_grant_refs(grants->handle, count, domid, refs, PROT_READ | PROT_WRITE);
    if (!address)
        xen_set_error(error, "cannot map %u grant(s) of domain %u, the first being %u", count,
                      domid, refs[0]);
    return address;
}

void xen_grants_unmap(struct xen_grants *grants, void *address, uint32_t count)
{
    xengnttab_unmap(grants->handle, address, count);
}

void xen_grants_copy(struct xen_grants *grants, xen_grant_copy *copies, uint32_t count)
{
    if (count == 0 || xengnttab_grant_copy(grants->handle, count, copies) == 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        copies[i].status = GNTST_general_error;
}
