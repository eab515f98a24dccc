/* Xen's limits: see limits.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/limits.h"

void ioreq_explain_servers(unsigned domid, GError **error)
{
    if (!error || !g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_NOSPC))
        return;
    g_prefix_error(error,
                   "domain %u has %u ioreq servers already, as many as Xen allows (one whose "
                   "process was killed stays until the guest ends): leave a role out, or give one "
                   "more devices: ",
                   domid, IOREQ_MAX_SERVERS);
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
