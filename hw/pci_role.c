/* A role that is one PCI function: see pci_role.h. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_role.h"

#include <string.h>

#include "hw/pci_slot.h"

struct pci_role {
    struct ioreq_server *server;
    struct pci_slots *slots;
    struct pci_function *function;
};

static bool check(void *opaque)
{
    struct pci_role *role = opaque;
    return ioreq_server_check(role->server);
}

/* The guest has as many servers as Xen allows: who may have them? */
static void name_processes(struct role_process *process, GError **error)
{
    if (!error || !g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_NOSPC))
        return;
    g_autofree char *processes = role_guest_processes(process);
    g_prefix_error(error, "the guest is served by %s (see `rolemodel list`): ",
                   processes ? processes : "processes that xenstore does not know");
}

static bool set_up(struct pci_role *role, struct role_process *process, GError **error)
{
    unsigned domid = role_process_domid(process);
    role->server = ioreq_server_new(domid, error);
    if (!role->server) {
        name_processes(process, error);
        return false;
    }
    role_process_set_check(process, check, role);
    if (!ioreq_server_set_poll(role->server, role_process_option(process, "poll"), error))
        return false;
    role->slots = pci_slots_new(role->server, domid, role_process_store(process), error);
    return role->slots != NULL;
}

struct pci_role *pci_role_new(struct role_process *process,
                              const struct pci_description *description, unsigned slot,
                              void *device, GError **error)
{
    guint64 chosen;
    if (!role_process_option_uint(process, "slot", 1, PCI_SLOT_MAX, slot, &chosen, error))
        return NULL;
    struct pci_role *role = g_new0(struct pci_role, 1);
    if (set_up(role, process, error))
        role->function = pci_slots_add(role->slots, chosen, description, device, error);
    if (role->function)
        return role;
    pci_role_free(role);
    return NULL;
}

bool pci_role_start(struct pci_role *role, GError **error)
{
    return ioreq_server_start(role->server, error);
}

void pci_role_free(struct pci_role *role)
{
    if (!role)
        return;
    ioreq_server_free(role->server); /* first: it routes to the function */
    pci_slots_free(role->slots);
    g_free(role);
}

struct pci_function *pci_role_function(struct pci_role *role)
{
    return role->function;
}

void pci_role_lock(struct pci_role *role)
{
    ioreq_server_lock(role->server);
}

void pci_role_unlock(struct pci_role *role)
{
    ioreq_server_unlock(role->server);
}

static struct hole_bar hole_bar(const struct pci_bar *bar)
{
    static const enum hole_kind kinds[] = {
        [PCI_BAR_MEMORY32] = HOLE_MEMORY32,
        [PCI_BAR_MEMORY64] = HOLE_MEMORY64,
        [PCI_BAR_IO] = HOLE_IO,
    };
    return (struct hole_bar){ .size = bar->size, .kind = kinds[bar->type] };
}

bool pci_role_hole(const struct pci_description *description, unsigned slot, char *const *options,
                   struct hole_function *function, GError **error)
{
    guint64 chosen = slot;
    for (; *options; options++) {
        if (g_str_has_prefix(*options, "slot=") &&
            !role_parse_uint(*options + strlen("slot="), 1, PCI_SLOT_MAX, &chosen, error))
            return false;
    }
    function->devfn = chosen << 3;
    function->class_code = description->class_code >> 8;
    for (unsigned i = 0; i < PCI_BARS; i++)
        function->bars[i] = hole_bar(&description->bars[i]);
    function->bars[HOLE_ROM] = hole_bar(&description->rom);
    return true;
}
