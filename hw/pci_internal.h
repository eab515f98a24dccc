/*
 * What the files of a PCI function share: see pci.h for the whole.
 *
 *   pci.c               the header; reads and writes of configuration space
 *   pci_bars.c          sizes, addresses, claims
 *   pci_capabilities.c  the list; power management and vendor-specific capabilities
 *   pci_interrupts.c    which kind of interrupt is in use; INTx
 *   pci_msi.c, pci_msix.c
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_PCI_INTERNAL_H
#define HW_PCI_INTERNAL_H

#include "hw/pci.h"

/* Offsets in the header, §6.1 and §6.2. */
#define PCI_VENDOR_ID 0x00
#define PCI_DEVICE_ID 0x02
#define PCI_COMMAND 0x04
#define PCI_STATUS 0x06
#define PCI_REVISION_ID 0x08
#define PCI_CLASS_CODE 0x09
#define PCI_CACHE_LINE_SIZE 0x0C
#define PCI_LATENCY_TIMER 0x0D
#define PCI_BASE_ADDRESS(bar) (0x10 + 4 * (bar))
#define PCI_SUBSYSTEM_VENDOR_ID 0x2C
#define PCI_SUBSYSTEM_ID 0x2E
#define PCI_ROM_ADDRESS 0x30
#define PCI_CAPABILITIES 0x34
#define PCI_INTERRUPT_LINE 0x3C
#define PCI_INTERRUPT_PIN 0x3D
#define PCI_HEADER_SIZE 0x40

#define PCI_COMMAND_IO 0x0001
#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_INTX_DISABLE 0x0400

#define PCI_STATUS_INTERRUPT 0x0008
#define PCI_STATUS_CAPABILITIES 0x0010
#define PCI_STATUS_ERRORS 0xF900

/* A register that the guest can change: bits that it writes, and bits that it clears with ones. */
struct pci_register {
    uint8_t offset;
    uint8_t size;
    uint32_t writable;
    uint32_t clearable;
};

/* The BARs and, last, the expansion ROM. */
#define PCI_ROM PCI_BARS
#define PCI_WINDOWS (PCI_BARS + 1)

struct pci_window {
    struct pci_bar bar;
    uint64_t claimed; /* where it answers; 0 for nowhere */
    bool placed;      /* memory that the guest sees */
};

struct pci_function {
    struct pci_function *next; /* on its bus */
    struct pci_bus *bus;
    unsigned slot;
    char *name;
    void *device;

    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE];
    uint8_t clearable[PCI_CONFIG_SIZE];
    uint8_t written[PCI_HEADER_SIZE]; /* as last written, whether it stuck or not */

    struct pci_window windows[PCI_WINDOWS];
    bool failure_logged; /* the guest can cause failures, so only the first is logged */

    unsigned capabilities_end; /* the next one's offset */
    unsigned link;             /* the register that will point to it */
    unsigned pm;               /* offset of the capability, or 0; likewise the next two */

    unsigned msi;
    struct pci_msi msi_description;
    uint32_t msi_pending; /* one bit for each vector */

    unsigned msix;
    struct pci_msix msix_description;
    uint8_t *msix_table;
    uint8_t msix_pending[PCI_MSIX_VECTORS / 8]; /* as the guest sees it */

    bool intx;      /* as the device wants it */
    bool intx_line; /* as it is */
};

static inline void pci_put(uint8_t *at, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++)
        at[i] = value >> (8 * i);
}

static inline uint32_t pci_get(const uint8_t *at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)at[i] << (8 * i);
    return value;
}

static inline uint32_t pci_config(const struct pci_function *function, unsigned offset,
                                  unsigned size)
{
    return pci_get(function->config + offset, size);
}

/* Makes bits changeable, beside those that are; offsets are from BASE. */
void pci_registers_add(struct pci_function *function, unsigned base,
                       const struct pci_register *registers, size_t count);

void pci_bars_init(struct pci_function *function, const struct pci_description *description);

/* Claims and releases what the guest's last write asks for, in this function and its neighbours. */
void pci_bars_update(struct pci_function *function);

void pci_capabilities_init(struct pci_function *function,
                           const struct pci_description *description);

/* Adds one of SIZE bytes in all and returns its offset. */
unsigned pci_capability_add(struct pci_function *function, uint8_t id, unsigned size);

bool pci_in_d0(const struct pci_function *function);

/* Refuses states that the function has not got; BEFORE is the register's value before a write. */
uint32_t pci_power_register(const struct pci_function *function);
void pci_power_written(struct pci_function *function, uint32_t before);

/* Lowers, raises and sends what the guest's last write asks for. */
void pci_interrupts_update(struct pci_function *function);

/* May it send messages at all, which are writes to memory? */
bool pci_may_send(const struct pci_function *function);
void pci_send(struct pci_function *function, uint64_t address, uint32_t data);

/* Do the mask bits of its vector count for this message? */
bool pci_may_mask(uint64_t address, uint32_t data);

void pci_msi_init(struct pci_function *function, const struct pci_msi *description);
bool pci_msi_enabled(const struct pci_function *function);
bool pci_msi_raise(struct pci_function *function, unsigned vector);
void pci_msi_update(struct pci_function *function);

void pci_msix_init(struct pci_function *function, const struct pci_msix *description);
bool pci_msix_enabled(const struct pci_function *function);
bool pci_msix_raise(struct pci_function *function, unsigned vector);
void pci_msix_update(struct pci_function *function);

/* The BAR that has the table; OPAQUE is the struct pci_function. */
extern const struct ioreq_ops pci_msix_ops;

#endif
