/* The capabilities list, §6.7; power management and vendor-specific bytes: see pci.h. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_internal.h"

#include <string.h>

/* PCI Power Management 1.2, §3.2. */
#define PM_SIZE 8
#define PM_CAPABILITIES 2
#define PM_CONTROL 4
#define PM_VERSION 0x0003 /* 1.2; no D1, D2 or PME# */
#define PM_STATE 0x0003
#define PM_D0 0
#define PM_D3HOT 3
#define PM_NO_SOFT_RESET 0x0008 /* what the guest has set survives D3hot */

/* Appendix H: ID, link, length. */
#define VENDOR_HEADER 3

unsigned pci_capability_add(struct pci_function *function, uint8_t id, unsigned size)
{
    unsigned at = function->capabilities_end;
    g_assert(at + size <= PCI_CONFIG_SIZE);
    function->config[function->link] = at;
    function->config[at] = id;
    function->link = at + 1;
    function->capabilities_end = (at + size + 3) & ~3u; /* each starts on a dword */
    uint32_t status = pci_config(function, PCI_STATUS, 2) | PCI_STATUS_CAPABILITIES;
    pci_put(function->config + PCI_STATUS, 2, status);
    return at;
}

static void add_power_management(struct pci_function *function)
{
    static const struct pci_register registers[] = { { PM_CONTROL, 2, PM_STATE, 0 } };
    function->pm = pci_capability_add(function, PCI_CAPABILITY_PM, PM_SIZE);
    pci_put(function->config + function->pm + PM_CAPABILITIES, 2, PM_VERSION);
    pci_put(function->config + function->pm + PM_CONTROL, 2, PM_NO_SOFT_RESET | PM_D0);
    pci_registers_add(function, function->pm, registers, G_N_ELEMENTS(registers));
}

static void add_vendor_bytes(struct pci_function *function, const struct pci_vendor_bytes *vendor)
{
    unsigned size = VENDOR_HEADER + vendor->size;
    unsigned at = pci_capability_add(function, PCI_CAPABILITY_VENDOR, size);
    function->config[at + 2] = size;
    memcpy(function->config + at + VENDOR_HEADER, vendor->bytes, vendor->size);
}

void pci_capabilities_init(struct pci_function *function, const struct pci_description *description)
{
    function->link = PCI_CAPABILITIES;
    function->capabilities_end = PCI_HEADER_SIZE;
    if (description->power_management)
        add_power_management(function);
    if (description->msi.vectors)
        pci_msi_init(function, &description->msi);
    if (description->msix.vectors)
        pci_msix_init(function, &description->msix);
    for (unsigned i = 0; i < PCI_VENDOR_CAPABILITIES; i++) {
        if (description->vendor_bytes[i].size)
            add_vendor_bytes(function, &description->vendor_bytes[i]);
    }
}

unsigned pci_function_capability(const struct pci_function *function, uint8_t id, unsigned nth)
{
    unsigned at = function->config[PCI_CAPABILITIES];
    while (at && (function->config[at] != id || nth--))
        at = function->config[at + 1];
    return at;
}

bool pci_in_d0(const struct pci_function *function)
{
    return (pci_power_register(function) & PM_STATE) == PM_D0;
}

uint32_t pci_power_register(const struct pci_function *function)
{
    return function->pm ? pci_config(function, function->pm + PM_CONTROL, 2) : PM_D0;
}

/* A state that the function has not got is dropped and changes nothing, PM §3.2.4. */
void pci_power_written(struct pci_function *function, uint32_t before)
{
    uint32_t state = pci_power_register(function) & PM_STATE;
    if (state != PM_D0 && state != PM_D3HOT)
        pci_put(function->config + function->pm + PM_CONTROL, 2, before);
}
