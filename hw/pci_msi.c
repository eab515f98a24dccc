/* Message signalled interrupts, §6.8.1: see pci.h, struct pci_msi. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_internal.h"

#define CONTROL 2
#define ADDRESS 4
#define ADDRESS_HIGH 8

#define CONTROL_ENABLE 0x0001
#define CONTROL_CAPABLE_SHIFT 1
#define CONTROL_ENABLED_MASK 0x0070
#define CONTROL_ENABLED_SHIFT 4
#define CONTROL_ADDRESS_64 0x0080
#define CONTROL_MASKING 0x0100

/* The layout depends on whether there is an upper half of the address. */
static unsigned data_offset(const struct pci_function *function)
{
    return function->msi_description.address32 ? 0x08 : 0x0C;
}

static unsigned mask_offset(const struct pci_function *function)
{
    return data_offset(function) + 4;
}

static unsigned pending_offset(const struct pci_function *function)
{
    return mask_offset(function) + 4;
}

static uint32_t field(const struct pci_function *function, unsigned offset, unsigned size)
{
    return pci_config(function, function->msi + offset, size);
}

void pci_msi_init(struct pci_function *function, const struct pci_msi *description)
{
    unsigned vectors = description->vectors;
    g_assert(vectors <= PCI_MSI_VECTORS && (vectors & (vectors - 1)) == 0);
    function->msi_description = *description;

    uint32_t all = vectors == 32 ? UINT32_MAX : (UINT32_C(1) << vectors) - 1;
    const struct pci_register registers[] = {
        { CONTROL, 2, CONTROL_ENABLE | CONTROL_ENABLED_MASK, 0 },
        { ADDRESS, 4, ~UINT32_C(3), 0 },
        { data_offset(function), 2, 0xFFFF, 0 },
        { ADDRESS_HIGH, 4, description->address32 ? 0 : UINT32_MAX, 0 },
        { mask_offset(function), 4, description->masking ? all : 0, 0 },
    };
    unsigned size = data_offset(function) + (description->masking ? 0x0C : 0x02);
    function->msi = pci_capability_add(function, PCI_CAPABILITY_MSI, size);
    uint32_t control = (uint32_t)__builtin_ctz(vectors) << CONTROL_CAPABLE_SHIFT;
    control |= description->address32 ? 0 : CONTROL_ADDRESS_64;
    control |= description->masking ? CONTROL_MASKING : 0;
    pci_put(function->config + function->msi + CONTROL, 2, control);
    pci_registers_add(function, function->msi, registers,
                      G_N_ELEMENTS(registers) - (description->masking ? 0 : 1));
}

bool pci_msi_enabled(const struct pci_function *function)
{
    return function->msi && field(function, CONTROL, 2) & CONTROL_ENABLE;
}

/* The guest may ask for more than there are, or for an encoding that is reserved. */
static unsigned allocated(const struct pci_function *function)
{
    uint32_t log = (field(function, CONTROL, 2) & CONTROL_ENABLED_MASK) >> CONTROL_ENABLED_SHIFT;
    return MIN(1u << log, function->msi_description.vectors);
}

static uint64_t address_of(const struct pci_function *function)
{
    uint64_t high = function->msi_description.address32 ? 0 : field(function, ADDRESS_HIGH, 4);
    return high << 32 | field(function, ADDRESS, 4);
}

static uint32_t data_of(const struct pci_function *function)
{
    return field(function, data_offset(function), 2);
}

static void send(struct pci_function *function, unsigned vector)
{
    uint32_t low = allocated(function) - 1;
    pci_send(function, address_of(function), (data_of(function) & ~low) | (vector & low));
}

static uint32_t masked(const struct pci_function *function)
{
    if (!pci_may_send(function))
        return UINT32_MAX;
    if (!function->msi_description.masking ||
        !pci_may_mask(address_of(function), data_of(function)))
        return 0;
    return field(function, mask_offset(function), 4);
}

void pci_msi_update(struct pci_function *function)
{
    if (!function->msi)
        return;
    if (!pci_msi_enabled(function))
        function->msi_pending = 0;
    uint32_t ready = function->msi_pending & ~masked(function);
    function->msi_pending &= ~ready;
    for (; ready; ready &= ready - 1)
        send(function, __builtin_ctz(ready));
    if (function->msi_description.masking)
        pci_put(function->config + function->msi + pending_offset(function), 4,
                function->msi_pending);
}

bool pci_msi_raise(struct pci_function *function, unsigned vector)
{
    if (vector >= function->msi_description.vectors)
        return false;
    function->msi_pending |= UINT32_C(1) << (vector & (allocated(function) - 1));
    pci_msi_update(function);
    return true;
}
