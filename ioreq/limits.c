/* Xen's limits: see limits.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/limits.h"

#include "xen/store.h"

/* A directory of xenstore with more than this is not one that we or libxl wrote. */
#define ROLES_SHOWN 16

/* The processes of the guest's device model: "qemu, shmem"; NULL if none are known. */
static char *list_processes(unsigned domid)
{
    struct xen_store *store = xen_store_open(NULL);
    if (!store)
        return NULL;
    g_autofree char *domain = g_strdup_printf("/local/domain/%u", domid);
    g_autofree char *dir = g_strdup_printf("device-model/%u/roles", domid);
    g_autofree char *primary = xen_store_read(store, domain, "image/device-model-pid", NULL);
    g_auto(GStrv) roles = xen_store_list(store, dir);
    g_autoptr(GString) list = g_string_new(primary ? "the primary device model" : "");

    for (unsigned i = 0; roles[i] && i < ROLES_SHOWN; i++)
        g_string_append_printf(list, "%s%s", list->len ? ", " : "", roles[i]);
    xen_store_close(store);
    return list->len ? g_string_free(g_steal_pointer(&list), FALSE) : NULL;
}

void ioreq_explain_servers(unsigned domid, GError **error)
{
    if (!error || !g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_NOSPC))
        return;
    g_autofree char *processes = list_processes(domid);
    g_prefix_error(error,
                   "domain %u has %u ioreq servers already, as many as Xen allows (its processes: "
                   "%s; `rolemodel list` shows ours; one that was killed leaves its server behind "
                   "until the guest ends): leave a role out, or give one more devices: ",
                   domid, IOREQ_MAX_SERVERS, processes ? processes : "unknown to xenstore");
}

void ioreq_explain_ranges(const struct ioreq_bus *bus, enum ioreq_space space, GError **error)
{
    static const char *const names[IOREQ_SPACES] = {
        [IOREQ_PORTS] = "ports", [IOREQ_MEMORY] = "memory", [IOREQ_PCI] = "PCI functions"
    };
    if (!error || !g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_NOMEM) ||
        ioreq_bus_count(bus, space) < IOREQ_MAX_RANGES)
        return;
    g_prefix_error(error,
                   "this ioreq server has as many ranges of %s as Xen allows, %u (it has %u of "
                   "ports, %u of memory, %u PCI functions): use fewer and larger ones: ",
                   names[space], IOREQ_MAX_RANGES, ioreq_bus_count(bus, IOREQ_PORTS),
                   ioreq_bus_count(bus, IOREQ_MEMORY), ioreq_bus_count(bus, IOREQ_PCI));
}
