/* PCI functions: see pci.h. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci.h"

#include <string.h>

/* Offsets in the header, §6.1 and §6.2. */
#define VENDOR_ID 0x00
#define DEVICE_ID 0x02
#define COMMAND 0x04
#define REVISION_ID 0x08
#define CLASS_CODE 0x09
#define CACHE_LINE_SIZE 0x0C
#define LATENCY_TIMER 0x0D
#define BASE_ADDRESS(bar) (0x10 + 4 * (bar))
#define SUBSYSTEM_VENDOR_ID 0x2C
#define SUBSYSTEM_ID 0x2E
#define INTERRUPT_LINE 0x3C
#define INTERRUPT_PIN 0x3D

#define COMMAND_MEMORY 0x0002
#define COMMAND_MASTER 0x0004
#define COMMAND_INTX_DISABLE 0x0400

/* A BAR's smallest window: its four lowest bits are not an address, §6.2.5.1. */
#define BAR_MIN_SIZE 16

struct pci_function {
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* the bits that the guest can change */
    struct pci_bar bars[PCI_BARS];
    uint32_t claimed[PCI_BARS]; /* where the BAR answers; 0 for nowhere */
    void *device;
    const struct pci_decoder *decoder;
    void *opaque;
    bool failure_logged; /* the guest can cause failures, so only the first is logged */
};

static void put(uint8_t *at, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = value >> (8 * i);
}

static uint32_t get(const uint8_t *at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

static void fill_header(struct pci_function *function, const struct pci_description *description)
{
    uint8_t *config = function->config;
    uint8_t *writable = function->writable;

    put(config + VENDOR_ID, 2, description->vendor);
    put(config + DEVICE_ID, 2, description->device);
    put(config + REVISION_ID, 1, description->revision);
    put(config + CLASS_CODE, 3, description->class_code);
    put(config + SUBSYSTEM_VENDOR_ID, 2, description->subsystem_vendor);
    put(config + SUBSYSTEM_ID, 2, description->subsystem);
    put(config + INTERRUPT_PIN, 1, description->interrupt_pin);

    put(writable + COMMAND, 2, COMMAND_MEMORY | COMMAND_MASTER | COMMAND_INTX_DISABLE);
    put(writable + CACHE_LINE_SIZE, 1, 0xFF);
    put(writable + LATENCY_TIMER, 1, 0xFF);
    put(writable + INTERRUPT_LINE, 1, 0xFF);
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        uint32_t size = description->bars[bar].size;
        g_assert(size == 0 || (size >= BAR_MIN_SIZE && (size & (size - 1)) == 0));
        /* The read-only zeros below the size are how it is found out, §6.2.5.1. */
        if (size)
            put(writable + BASE_ADDRESS(bar), 4, ~(size - 1));
    }
}

struct pci_function *pci_function_new(const struct pci_description *description, void *device,
                                      const struct pci_decoder *decoder, void *opaque)
{
    struct pci_function *function = g_new0(struct pci_function, 1);
    memcpy(function->bars, description->bars, sizeof(function->bars));
    function->device = device;
    function->decoder = decoder;
    function->opaque = opaque;
    fill_header(function, description);
    return function;
}

/*
 * Where the guest wants the BAR to answer, or 0.  Address 0 and the top of the 32-bit space,
 * which a BAR that is being sized points to, are no places for a window.
 */
static uint32_t wanted(const struct pci_function *function, unsigned bar)
{
    uint32_t size = function->bars[bar].size;
    uint32_t address = get(function->config + BASE_ADDRESS(bar), 4);
    bool decode = get(function->config + COMMAND, 2) & COMMAND_MEMORY;
    uint32_t last = address + (size - 1); /* the address is a multiple of the size */
    return size && decode && last != UINT32_MAX ? address : 0;
}

static void release(struct pci_function *function, unsigned bar)
{
    function->decoder->release(function->opaque, function->claimed[bar], function->bars[bar].size);
    function->claimed[bar] = 0;
}

static void claim(struct pci_function *function, unsigned bar, uint32_t address)
{
    const struct pci_bar *window = &function->bars[bar];
    g_autoptr(GError) error = NULL;
    if (function->decoder->claim(function->opaque, address, window->size, window->ops,
                                 function->device, &error)) {
        function->claimed[bar] = address;
        return;
    }
    if (!function->failure_logged)
        g_warning("PCI function %04x:%04x: BAR %u does not answer: %s; "
                  "more failures will not be reported",
                  get(function->config + VENDOR_ID, 2), get(function->config + DEVICE_ID, 2), bar,
                  error->message);
    function->failure_logged = true;
}

/* Releases before it claims, so that BARs can trade places. */
static void update_decoding(struct pci_function *function)
{
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        if (function->claimed[bar] && function->claimed[bar] != wanted(function, bar))
            release(function, bar);
    }
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        uint32_t address = wanted(function, bar);
        if (address && !function->claimed[bar])
            claim(function, bar, address);
    }
}

void pci_function_free(struct pci_function *function)
{
    g_free(function);
}

static uint64_t config_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_function *function = opaque;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)function->config[offset + i] << (8 * i);
    return value;
}

static void config_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *function = opaque;
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = function->writable[offset + i];
        uint8_t *byte = &function->config[offset + i];
        *byte = (*byte & ~mask) | (value >> (8 * i) & mask);
    }
    if (offset < BASE_ADDRESS(PCI_BARS) && offset + size > COMMAND)
        update_decoding(function);
}

const struct ioreq_ops pci_config_ops = { config_read, config_write };
