/* Functions on the guest's PCI bus: see pci_slot.h. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_slot.h"

static bool claim(void *opaque, uint64_t first, uint64_t size, const struct ioreq_ops *ops,
                  void *device, GError **error)
{
    return ioreq_server_map(opaque, IOREQ_MEMORY, first, size, ops, device, error);
}

static void release(void *opaque, uint64_t first, uint64_t size)
{
    ioreq_server_unmap(opaque, IOREQ_MEMORY, first, size);
}

static const struct pci_decoder server_decoder = { claim, release };

struct pci_function *pci_slot_add(struct ioreq_server *server, unsigned slot,
                                  const struct pci_description *description, void *device,
                                  GError **error)
{
    struct pci_function *function = pci_function_new(description, device, &server_decoder, server);
    if (ioreq_server_add_pci(server, slot, 0, &pci_config_ops, function, error))
        return function;
    pci_function_free(function);
    return NULL;
}
