/* Functions on the guest's PCI bus: see pci_slot.h. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_slot.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "hw/pci_internal.h"
#include "xen/devicemodel.h"
#include "xen/error.h"

/* What QEMU's i440FX machine always has, as libxl starts it. */
static const char *const qemu_slots[] = { "host bridge", "PIIX3", "Xen platform device" };

struct pci_slots {
    struct pci_bus bus;
    struct ioreq_server *server;
    struct xen_devicemodel *dm;
    unsigned domid;
    struct xen_store *store;
};

/* --- decoding and interrupts --- */

static bool claim(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size,
                  const struct ioreq_ops *ops, void *device, GError **error)
{
    struct pci_slots *slots = opaque;
    return ioreq_server_map(slots->server, space, first, size, ops, device, error);
}

static void release(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size)
{
    struct pci_slots *slots = opaque;
    ioreq_server_unmap(slots->server, space, first, size);
}

static const struct pci_decoder server_decoder = { claim, release };

/* What can fail here is that the guest is gone, or that its message makes no sense. */
static void set_intx(void *opaque, unsigned slot, unsigned pin, bool level)
{
    struct pci_slots *slots = opaque;
    g_autoptr(GError) error = NULL;
    if (!xen_devicemodel_set_intx(slots->dm, slot, pin, level, &error))
        g_debug("%s", error->message);
}

static void inject_msi(void *opaque, uint64_t address, uint32_t data)
{
    struct pci_slots *slots = opaque;
    g_autoptr(GError) error = NULL;
    if (!xen_devicemodel_inject_msi(slots->dm, address, data, &error))
        g_debug("%s", error->message);
}

static const struct pci_interrupts server_interrupts = { set_intx, inject_msi };

/* --- notes --- */

struct reservation {
    struct pci_slots *slots;
    unsigned slot; /* as asked for, then as chosen */
    const char *name;
};

static bool is_ours(const struct pci_slots *slots, unsigned slot)
{
    const struct pci_function *function = slots->bus.functions;
    while (function && function->slot != slot)
        function = function->next;
    return function != NULL;
}

/* Who has the slot, as words for a message, or NULL. */
static char *holder(const struct pci_slots *slots, unsigned slot)
{
    if (is_ours(slots, slot))
        return g_strdup("this role itself");
    if (!slots->store)
        return NULL;
    g_autofree char *dir = g_strdup_printf("device-model/%u/pci", slots->domid);
    g_autofree char *node = g_strdup_printf("%u", slot);
    g_autofree char *note = xen_store_read(slots->store, dir, node, NULL);
    char name[64];
    int pid;
    if (!note || sscanf(note, "%63s %d", name, &pid) != 2 || pid <= 0 || pid == getpid())
        return NULL;
    if (kill(pid, 0) < 0 && errno == ESRCH)
        return NULL;
    return g_strdup_printf("%s (process %d)", name, pid);
}

static bool choose(struct reservation *wanted, GError **error)
{
    for (unsigned slot = PCI_SLOT_MAX; slot >= G_N_ELEMENTS(qemu_slots); slot--) {
        g_autofree char *who = holder(wanted->slots, slot);
        if (!who) {
            wanted->slot = slot;
            return true;
        }
    }
    xen_set_error_errno(error, ENOSPC, "no PCI slot of domain %u is free", wanted->slots->domid);
    return false;
}

static bool check(const struct reservation *wanted, GError **error)
{
    g_autofree char *who = holder(wanted->slots, wanted->slot);
    if (!who)
        return true;
    xen_set_error_errno(error, EBUSY, "PCI slot %u of domain %u has %s; choose another, or none",
                        wanted->slot, wanted->slots->domid, who);
    return false;
}

static bool note(struct xen_store *store, const struct reservation *wanted, GError **error)
{
    g_autofree char *domain = g_strdup_printf("/local/domain/%u", wanted->slots->domid);
    g_autofree char *dir = g_strdup_printf("device-model/%u/pci", wanted->slots->domid);
    g_autofree char *node = g_strdup_printf("%u", wanted->slot);
    g_autofree char *exists = xen_store_read(store, domain, NULL, error);
    return exists && xen_store_write(store, dir, node, error, "%s %d", wanted->name, getpid());
}

static bool reserve(struct xen_store *store, void *opaque, GError **error)
{
    struct reservation *wanted = opaque;
    struct reservation chosen = *wanted; /* the transaction may run again */
    if (!(chosen.slot == PCI_SLOT_ANY ? choose(&chosen, error) : check(&chosen, error)))
        return false;
    if (store && !note(store, &chosen, error))
        return false;
    wanted->slot = chosen.slot;
    return true;
}

/* --- slots --- */

struct pci_slots *pci_slots_new(struct ioreq_server *server, unsigned domid,
                                struct xen_store *store, GError **error)
{
    struct xen_devicemodel *dm = xen_devicemodel_open(domid, error);
    if (!dm)
        return NULL;
    struct pci_slots *slots = g_new0(struct pci_slots, 1);
    slots->bus = (struct pci_bus){ &server_decoder, &server_interrupts, slots, NULL };
    slots->server = server;
    slots->dm = dm;
    slots->domid = domid;
    slots->store = store;
    return slots;
}

void pci_slots_free(struct pci_slots *slots)
{
    if (!slots)
        return;
    while (slots->bus.functions)
        pci_function_free(slots->bus.functions);
    xen_devicemodel_close(slots->dm);
    g_free(slots);
}

static bool find_slot(struct reservation *wanted, GError **error)
{
    struct xen_store *store = wanted->slots->store;
    if (wanted->slot > PCI_SLOT_MAX) {
        xen_set_error_errno(error, EINVAL, "PCI slot %u (1 to %u is possible)", wanted->slot,
                            PCI_SLOT_MAX);
        return false;
    }
    if (wanted->slot != PCI_SLOT_ANY && wanted->slot < G_N_ELEMENTS(qemu_slots))
        g_warning("PCI slot %u is that of QEMU's %s; the guest will see one of the two",
                  wanted->slot, qemu_slots[wanted->slot]);
    return store ? xen_store_transaction(store, reserve, wanted, error)
                 : reserve(NULL, wanted, error);
}

static struct pci_function *show(const struct reservation *chosen,
                                 const struct pci_description *description, void *device,
                                 GError **error)
{
    struct pci_slots *slots = chosen->slots;
    struct pci_function *function =
        pci_function_new(&slots->bus, chosen->slot, description, device);
    if (ioreq_server_add_pci(slots->server, chosen->slot, 0, &pci_config_ops, function, error))
        return function;
    pci_function_free(function);
    return NULL;
}

struct pci_function *pci_slots_add(struct pci_slots *slots, unsigned slot,
                                   const struct pci_description *description, void *device,
                                   GError **error)
{
    struct reservation wanted = { slots, slot, description->name ? description->name : "function" };
    if (!find_slot(&wanted, error))
        return NULL;
    ioreq_server_lock(slots->server); /* the guest may be using our other functions */
    struct pci_function *function = show(&wanted, description, device, error);
    ioreq_server_unlock(slots->server);
    return function;
}

unsigned pci_function_slot(const struct pci_function *function)
{
    return function->slot;
}
