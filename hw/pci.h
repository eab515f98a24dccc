/*
 * A PCI function with a type-0 header, made from a description: its configuration space, what its
 * BARs decode, its capabilities and its interrupts.
 *
 *     static const struct pci_description card = {
 *         .name = "card", .vendor = 0x1AF4, .device = 0x1110, .class_code = 0x050000,
 *         .interrupt_pin = 1,
 *         .bars[0] = { .size = 4096, .ops = &card_registers },
 *         .bars[2] = { .size = 8 * GIB, .memory = &card_memory,
 *                      .type = PCI_BAR_MEMORY64, .prefetchable = true },
 *         .msix = { .vectors = 4, .bar = 0, .table = 0x800, .pba = 0xC00 },
 *     };
 *     card->function = pci_slots_add(slots, PCI_SLOT_ANY, &card, card, error);
 *     ...
 *     pci_function_set_intx(card->function, card->status != 0);
 *     pci_function_raise(card->function, 2);
 *
 * Nothing here calls Xen: the owner of the bus routes configuration accesses in (pci_config_ops)
 * and says how addresses are claimed and interrupts delivered (struct pci_bus).  hw/pci_slot.h
 * does all of that for an ioreq server.
 *
 * Sources: PCI Local Bus Specification 3.0, chapter 6 (sections are of it); PCI Bus Power
 * Management Interface Specification 1.2; for event channels, Xen's hvm_inject_msi().
 * Threads: a bus and its functions belong to one thread at a time.
 * Units: bytes, ports of the I/O space.
 * Errors: a description that no function can have is a bug of its author and ends the program;
 * whatever the guest does has the effect that the specification gives it, or none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_PCI_H
#define HW_PCI_H

#include "ioreq/bus.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS 6
#define PCI_MSI_VECTORS 32
#define PCI_MSIX_VECTORS 2048
#define PCI_VENDOR_CAPABILITIES 4

/* Capability IDs, appendix H. */
#define PCI_CAPABILITY_PM 0x01
#define PCI_CAPABILITY_MSI 0x05
#define PCI_CAPABILITY_VENDOR 0x09
#define PCI_CAPABILITY_MSIX 0x11

/*
 * Real memory that its owner puts into the guest's address space, so that accesses to it are no
 * requests.  OPAQUE is the function's DEVICE.  place() puts it at FIRST, from wherever it is, or
 * fails and leaves it there; withdraw() takes it out of the guest's sight.
 *
 * Moving it is expensive, and systems turn decoding off and on again while they size BARs; so it
 * stays while the BAR still says where it is, or is being sized, even if it should not decode.
 */
struct pci_memory {
    bool (*place)(void *opaque, uint64_t first, GError **error);
    void (*withdraw)(void *opaque);
};

/* MEMORY64 takes two registers: the next of bars[] stays empty. */
enum pci_bar_type { PCI_BAR_MEMORY32, PCI_BAR_MEMORY64, PCI_BAR_IO };

/* A BAR is answered by OPS, which get the function's DEVICE, or is placed MEMORY. */
struct pci_bar {
    uint64_t size; /* a power of two: I/O 4 to 256, memory from 16, ROM 2 KiB to 16 MiB; 0: none */
    const struct ioreq_ops *ops;
    const struct pci_memory *memory;
    enum pci_bar_type type;
    bool prefetchable;
};

/* One to 32 vectors, a power of two; 0 for no MSI. */
struct pci_msi {
    unsigned vectors;
    bool masking;   /* has mask and pending bits for each vector */
    bool address32; /* cannot send to addresses above 4 GiB */
};

/*
 * One to 2048 vectors; 0 for no MSI-X.  The table (16 bytes a vector) and the pending bits (a bit
 * a vector, in units of 8 bytes) lie at these offsets, multiples of 8, in a memory BAR.  Its OPS
 * see accesses to the rest of it; without OPS the rest reads as zeros.
 */
struct pci_msix {
    unsigned vectors;
    unsigned bar;
    uint32_t table;
    uint32_t pba;
};

/* A vendor-specific capability: SIZE bytes after ID, link and length, which the guest can read. */
struct pci_vendor_bytes {
    uint8_t size; /* 0: none */
    const uint8_t *bytes;
};

struct pci_description {
    const char *name; /* for messages and notes; one word */
    uint16_t vendor;
    uint16_t device;
    uint16_t subsystem_vendor;
    uint16_t subsystem;
    uint32_t class_code; /* base class << 16 | sub-class << 8 | programming interface */
    uint8_t revision;
    uint8_t interrupt_pin; /* 1 is INTA#, 4 is INTD#; 0 for none */
    struct pci_bar bars[PCI_BARS];
    struct pci_bar rom;    /* the expansion ROM */
    bool power_management; /* D0 and D3hot; no PME# */
    struct pci_msi msi;
    struct pci_msix msix;
    struct pci_vendor_bytes vendor_bytes[PCI_VENDOR_CAPABILITIES];
};

/*
 * How addresses are claimed; SPACE is IOREQ_PORTS or IOREQ_MEMORY, and FIRST names the claim to
 * release.  A BAR claims nothing while decoding is off (in the command register, in D3hot, or for
 * the ROM in its own register), while it is being sized (all its address bits were last written
 * as ones), at address 0 and beyond the end of its space, nor where another BAR of the bus is.
 *
 * claim() may fail too, such as where another range is in the way.  A BAR whose claim (or
 * place()) failed answers nothing.  It is tried again at each later write to the configuration
 * space of its function, and whenever another function of the bus has released something.
 */
struct pci_decoder {
    bool (*claim)(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size,
                  const struct ioreq_ops *ops, void *device, GError **error);
    void (*release)(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size);
};

/* How interrupts are delivered.  PIN is 0 for INTA#; set_intx() is called when LEVEL changes. */
struct pci_interrupts {
    void (*set_intx)(void *opaque, unsigned slot, unsigned pin, bool level);
    void (*inject_msi)(void *opaque, uint64_t address, uint32_t data);
};

struct pci_function;

/* The owner makes it, sets the first three, and keeps it until its functions are freed. */
struct pci_bus {
    const struct pci_decoder *decoder;
    const struct pci_interrupts *interrupts;
    void *opaque;                   /* passed to both */
    struct pci_function *functions; /* NULL at first, then pci.c's */
};

/*
 * A function in device SLOT of the bus.  DEVICE is passed to the BARs' callbacks.  DESCRIPTION is
 * copied; what it points to must outlive the function.
 */
struct pci_function *pci_function_new(struct pci_bus *bus, unsigned slot,
                                      const struct pci_description *description, void *device);

/*
 * NULL is fine.  What routes accesses here must have been taken down before; what the function
 * has claimed goes with that and is not released one by one.  Its INTx line is lowered; memory that
 * was placed stays where it is.
 */
void pci_function_free(struct pci_function *function);

/* Configuration space as a range of PCI_CONFIG_SIZE bytes; OPAQUE is the struct pci_function. */
extern const struct ioreq_ops pci_config_ops;

/* The offset of the NTH (from 0) capability with this ID; 0 if there are not so many. */
unsigned pci_function_capability(const struct pci_function *function, uint8_t id, unsigned nth);

/* Sets error bits of the status register (0xF900), which the guest clears by writing ones. */
void pci_function_set_status(struct pci_function *function, uint16_t bits);

/*
 * The two kinds of interrupt.  A device tells both what happens to it, and the guest hears of the
 * one that it has enabled.
 *
 * The INTx level shows in the interrupt status bit; it drives the line unless the guest has
 * disabled that, or enabled MSI or MSI-X, or the function is in D3hot.
 *
 * A message is sent by MSI-X or else by MSI.  If the guest has given MSI fewer vectors than there
 * are, the higher ones share those.  While the vector is masked, or the function may not master
 * the bus (the command register, D3hot), one message pends; but a message that Xen turns into an
 * event channel is masked there and not by its vector's bit.  False, and nothing happens, if
 * neither is enabled or if there is no such vector, so a guest may choose the number.
 */
void pci_function_set_intx(struct pci_function *function, bool level);
bool pci_function_raise(struct pci_function *function, unsigned vector);

#endif
