/* PCI functions, the header and configuration accesses: see pci.h. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_internal.h"

#include <string.h>

/* What every function lets the guest change, §6.2; the decode enables come with the BARs. */
static const struct pci_register header_registers[] = {
    { PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0 },
    { PCI_STATUS, 2, 0, PCI_STATUS_ERRORS },
    { PCI_CACHE_LINE_SIZE, 1, 0xFF, 0 },
    { PCI_LATENCY_TIMER, 1, 0xFF, 0 },
    { PCI_INTERRUPT_LINE, 1, 0xFF, 0 },
};

static void add_bits(uint8_t *at, unsigned size, uint32_t bits)
{
    pci_put(at, size, pci_get(at, size) | bits);
}

void pci_registers_add(struct pci_function *function, unsigned base,
                       const struct pci_register *registers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned at = base + registers[i].offset;
        add_bits(function->writable + at, registers[i].size, registers[i].writable);
        add_bits(function->clearable + at, registers[i].size, registers[i].clearable);
    }
}

static void fill_header(struct pci_function *function, const struct pci_description *description)
{
    uint8_t *config = function->config;

    pci_put(config + PCI_VENDOR_ID, 2, description->vendor);
    pci_put(config + PCI_DEVICE_ID, 2, description->device);
    pci_put(config + PCI_REVISION_ID, 1, description->revision);
    pci_put(config + PCI_CLASS_CODE, 3, description->class_code);
    pci_put(config + PCI_SUBSYSTEM_VENDOR_ID, 2, description->subsystem_vendor);
    pci_put(config + PCI_SUBSYSTEM_ID, 2, description->subsystem);
    g_assert(description->interrupt_pin <= 4);
    pci_put(config + PCI_INTERRUPT_PIN, 1, description->interrupt_pin);
    pci_registers_add(function, 0, header_registers, G_N_ELEMENTS(header_registers));
}

struct pci_function *pci_function_new(struct pci_bus *bus, unsigned slot,
                                      const struct pci_description *description, void *device)
{
    struct pci_function *function = g_new0(struct pci_function, 1);
    function->bus = bus;
    function->slot = slot;
    function->name = g_strdup(description->name ? description->name : "function");
    function->device = device;
    fill_header(function, description);
    pci_bars_init(function, description);
    pci_capabilities_init(function, description);
    function->next = bus->functions;
    bus->functions = function;
    return function;
}

void pci_function_free(struct pci_function *function)
{
    if (!function)
        return;
    struct pci_function **link = &function->bus->functions;
    while (*link != function)
        link = &(*link)->next;
    *link = function->next;
    pci_function_set_intx(function, false);
    g_free(function->msix_table);
    g_free(function->name);
    g_free(function);
}

void pci_function_set_status(struct pci_function *function, uint16_t bits)
{
    add_bits(function->config + PCI_STATUS, 2, bits & PCI_STATUS_ERRORS);
}

static uint64_t config_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_function *function = opaque;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)function->config[offset + i] << (8 * i);
    return value;
}

static void write_byte(struct pci_function *function, uint64_t offset, uint8_t value)
{
    uint8_t *byte = &function->config[offset];
    uint8_t mask = function->writable[offset];
    *byte = (*byte & ~mask) | (value & mask);
    *byte &= ~(value & function->clearable[offset]);
    if (offset < PCI_HEADER_SIZE)
        function->written[offset] = value;
}

static void config_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *function = opaque;
    uint32_t power = pci_power_register(function);
    for (unsigned i = 0; i < size; i++)
        write_byte(function, offset + i, value >> (8 * i));
    pci_power_written(function, power);
    pci_bars_update(function);
    pci_interrupts_update(function);
}

const struct ioreq_ops pci_config_ops = { config_read, config_write };
