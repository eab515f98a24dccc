/* Which kind of interrupt is in use, and INTx: see pci.h, pci_function_raise(). */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_internal.h"

/* Where a write from a device is an interrupt message (Intel SDM volume 3, "MSI"). */
#define MESSAGE_MASK UINT32_C(0xFFF00000)
#define MESSAGE_BASE UINT32_C(0xFEE00000)

/* While MSI or MSI-X is enabled the function must not use the line, §6.8.1.3 and §6.8.2.3. */
static void update_intx(struct pci_function *function)
{
    unsigned pin = function->config[PCI_INTERRUPT_PIN];
    uint32_t status = pci_config(function, PCI_STATUS, 2) & ~PCI_STATUS_INTERRUPT;
    bool disabled = pci_config(function, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
    bool pending = pin && function->intx;
    bool line = pending && !disabled && pci_in_d0(function) && !pci_msi_enabled(function) &&
                !pci_msix_enabled(function);

    pci_put(function->config + PCI_STATUS, 2, status | (pending ? PCI_STATUS_INTERRUPT : 0));
    if (line == function->intx_line)
        return;
    function->intx_line = line;
    function->bus->interrupts->set_intx(function->bus->opaque, function->slot, pin - 1, line);
}

void pci_interrupts_update(struct pci_function *function)
{
    update_intx(function);
    pci_msi_update(function);
    pci_msix_update(function);
}

bool pci_may_send(const struct pci_function *function)
{
    return pci_in_d0(function) && pci_config(function, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

static bool is_message(uint64_t address)
{
    return ((uint32_t)address & MESSAGE_MASK) == MESSAGE_BASE;
}

/*
 * A message without a vector, which no processor takes, is a guest's way to have it as an event
 * channel: Xen's hvm_inject_msi() reads the channel's number from where the destination is.  The
 * guest masks the channel; Linux sets the bits here and leaves them so (xen_hvm_setup_msi_irqs()).
 */
bool pci_may_mask(uint64_t address, uint32_t data)
{
    uint32_t channel = (address >> 32 & 0xFFFFFF00) | (address >> 12 & 0xFF);
    return !is_message(address) || (data & 0xFF) || !channel;
}

/* A guest may have a message written anywhere; elsewhere it would change memory, which is refused.
 */
void pci_send(struct pci_function *function, uint64_t address, uint32_t data)
{
    if (is_message(address))
        function->bus->interrupts->inject_msi(function->bus->opaque, address, data);
}

void pci_function_set_intx(struct pci_function *function, bool level)
{
    function->intx = level;
    update_intx(function);
}

bool pci_function_raise(struct pci_function *function, unsigned vector)
{
    if (pci_msix_enabled(function))
        return pci_msix_raise(function, vector);
    if (pci_msi_enabled(function))
        return pci_msi_raise(function, vector);
    return false;
}
