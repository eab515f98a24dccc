/* MSI-X, §6.8.2: see pci.h, struct pci_msix. */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_internal.h"

#include <string.h>

#define SIZE 12
#define CONTROL 2
#define TABLE 4
#define PBA 8

#define CONTROL_FUNCTION_MASK 0x4000
#define CONTROL_ENABLE 0x8000

/* An entry of the table, and what of each of its dwords can be written. */
#define ENTRY_SIZE 16
#define ENTRY_ADDRESS 0
#define ENTRY_ADDRESS_HIGH 4
#define ENTRY_DATA 8
#define ENTRY_CONTROL 12
#define ENTRY_MASKED 0x1
static const uint32_t entry_writable[] = { ~UINT32_C(3), UINT32_MAX, UINT32_MAX, ENTRY_MASKED };

static uint32_t table_size(const struct pci_msix *msix)
{
    return msix->vectors * ENTRY_SIZE;
}

static uint32_t pba_size(const struct pci_msix *msix)
{
    return (msix->vectors + 63) / 64 * 8;
}

static void check_place(const struct pci_function *function, const struct pci_msix *msix)
{
    g_assert(msix->vectors <= PCI_MSIX_VECTORS && msix->bar < PCI_BARS);
    const struct pci_bar *bar = &function->windows[msix->bar].bar;
    g_assert(bar->size && !bar->memory && (msix->table & 7) == 0 && (msix->pba & 7) == 0);
    uint64_t table_end = (uint64_t)msix->table + table_size(msix);
    uint64_t pba_end = (uint64_t)msix->pba + pba_size(msix);
    g_assert(table_end <= bar->size && pba_end <= bar->size);
    g_assert(table_end <= msix->pba || pba_end <= msix->table);
}

void pci_msix_init(struct pci_function *function, const struct pci_msix *description)
{
    static const struct pci_register registers[] = {
        { CONTROL, 2, CONTROL_ENABLE | CONTROL_FUNCTION_MASK, 0 },
    };
    check_place(function, description);
    function->msix_description = *description;
    function->msix = pci_capability_add(function, PCI_CAPABILITY_MSIX, SIZE);

    uint8_t *at = function->config + function->msix;
    pci_put(at + CONTROL, 2, description->vectors - 1);
    pci_put(at + TABLE, 4, description->table | description->bar);
    pci_put(at + PBA, 4, description->pba | description->bar);
    pci_registers_add(function, function->msix, registers, G_N_ELEMENTS(registers));

    function->msix_table = g_malloc0(table_size(description));
    for (unsigned vector = 0; vector < description->vectors; vector++)
        function->msix_table[vector * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
}

static uint32_t control(const struct pci_function *function)
{
    return function->msix ? pci_config(function, function->msix + CONTROL, 2) : 0;
}

bool pci_msix_enabled(const struct pci_function *function)
{
    return control(function) & CONTROL_ENABLE;
}

static bool may_send(const struct pci_function *function)
{
    bool masked = control(function) & CONTROL_FUNCTION_MASK;
    return pci_msix_enabled(function) && !masked && pci_may_send(function);
}

/* Sends the vector's message if it pends and is not masked; the function may send. */
static void try_send(struct pci_function *function, unsigned vector)
{
    const uint8_t *entry = function->msix_table + vector * ENTRY_SIZE;
    uint8_t *pending = &function->msix_pending[vector / 8];
    uint8_t bit = 1u << (vector % 8);

    if (!(*pending & bit))
        return;
    uint64_t high = pci_get(entry + ENTRY_ADDRESS_HIGH, 4);
    uint64_t address = high << 32 | pci_get(entry + ENTRY_ADDRESS, 4);
    uint32_t data = pci_get(entry + ENTRY_DATA, 4);
    if (entry[ENTRY_CONTROL] & ENTRY_MASKED && pci_may_mask(address, data))
        return;
    *pending &= ~bit;
    pci_send(function, address, data);
}

void pci_msix_update(struct pci_function *function)
{
    if (!function->msix)
        return;
    if (!pci_msix_enabled(function))
        memset(function->msix_pending, 0, sizeof(function->msix_pending));
    if (!may_send(function))
        return;
    for (unsigned vector = 0; vector < function->msix_description.vectors; vector++)
        try_send(function, vector);
}

bool pci_msix_raise(struct pci_function *function, unsigned vector)
{
    if (vector >= function->msix_description.vectors)
        return false;
    function->msix_pending[vector / 8] |= 1u << (vector % 8);
    if (may_send(function))
        try_send(function, vector);
    return true;
}

/* --- the BAR --- */

enum part { REST, IN_TABLE, IN_PBA };

/* Which part the byte at OFFSET is in; *OFFSET becomes the offset in it. */
static enum part part_of(const struct pci_msix *msix, uint64_t *offset)
{
    if (*offset >= msix->table && *offset - msix->table < table_size(msix)) {
        *offset -= msix->table;
        return IN_TABLE;
    }
    if (*offset >= msix->pba && *offset - msix->pba < pba_size(msix)) {
        *offset -= msix->pba;
        return IN_PBA;
    }
    return REST;
}

static bool is_rest(const struct pci_msix *msix, uint64_t offset, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        uint64_t at = offset + i;
        if (part_of(msix, &at) != REST)
            return false;
    }
    return true;
}

static uint8_t read_byte(const struct pci_function *function, uint64_t offset)
{
    switch (part_of(&function->msix_description, &offset)) {
    case IN_TABLE:
        return function->msix_table[offset];
    case IN_PBA:
        return function->msix_pending[offset];
    default: /* an access that is partly in the table does not reach the rest */
        return 0;
    }
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_function *function = opaque;
    const struct ioreq_ops *ops = function->windows[function->msix_description.bar].bar.ops;
    uint64_t value = 0;

    if (ops && is_rest(&function->msix_description, offset, size))
        return ops->read(function->device, offset, size);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)read_byte(function, offset + i) << (8 * i);
    return value;
}

static void write_byte(struct pci_function *function, uint64_t offset, uint8_t value)
{
    if (part_of(&function->msix_description, &offset) != IN_TABLE)
        return;
    uint8_t mask = entry_writable[offset % ENTRY_SIZE / 4] >> (8 * (offset % 4));
    uint8_t *byte = &function->msix_table[offset];
    *byte = (*byte & ~mask) | (value & mask);
}

static void msix_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci_function *function = opaque;
    const struct ioreq_ops *ops = function->windows[function->msix_description.bar].bar.ops;

    if (is_rest(&function->msix_description, offset, size)) {
        if (ops)
            ops->write(function->device, offset, size, value);
        return;
    }
    for (unsigned i = 0; i < size; i++)
        write_byte(function, offset + i, value >> (8 * i));
    for (unsigned i = 0; i < size; i++) {
        uint64_t at = offset + i;
        if (part_of(&function->msix_description, &at) == IN_TABLE && may_send(function))
            try_send(function, at / ENTRY_SIZE);
    }
}

const struct ioreq_ops pci_msix_ops = { msix_read, msix_write };
