/*
 * A PCI function with a type-0 header, made from a description: its configuration space and the
 * memory its BARs decode.
 *
 * BARs are 32-bit memory BARs; 64-bit BARs, I/O BARs, expansion ROMs, capabilities and interrupts
 * are not described yet.
 *
 * Nothing here knows Xen: the owner routes configuration accesses in (pci_config_ops) and says
 * how addresses are claimed (struct pci_decoder).  hw/pci_slot.h does both for an ioreq server.
 *
 * Source: PCI Local Bus Specification 3.0, chapter 6.
 * Threads: a function belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_PCI_H
#define HW_PCI_H

#include "ioreq/bus.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS 6

/* SIZE is a power of two from 16 bytes to 1 GiB (§6.2.5.1), or 0 where there is no BAR. */
struct pci_bar {
    uint32_t size;
    const struct ioreq_ops *ops;
};

struct pci_description {
    uint16_t vendor;
    uint16_t device;
    uint16_t subsystem_vendor;
    uint16_t subsystem;
    uint32_t class_code; /* base class << 16 | sub-class << 8 | programming interface */
    uint8_t revision;
    uint8_t interrupt_pin; /* 1 is INTA#; 0 for none */
    struct pci_bar bars[PCI_BARS];
};

/*
 * How a function claims the addresses that its BARs decode, each named by its first address.
 * claim() may fail, such as where another range is in the way: the BAR then answers nothing until
 * the guest writes to a BAR or the command register again.
 */
struct pci_decoder {
    bool (*claim)(void *opaque, uint64_t first, uint64_t size, const struct ioreq_ops *ops,
                  void *device, GError **error);
    void (*release)(void *opaque, uint64_t first, uint64_t size);
};

struct pci_function;

/*
 * DEVICE is passed to the BARs' ops, OPAQUE to DECODER.  DESCRIPTION is copied; the rest must
 * outlive the function.
 */
struct pci_function *pci_function_new(const struct pci_description *description, void *device,
                                      const struct pci_decoder *decoder, void *opaque);

/*
 * NULL is fine.  What routes accesses here must have been taken down before; what the function
 * has claimed goes with that and is not released one by one.
 */
void pci_function_free(struct pci_function *function);

/* Configuration space as a range of PCI_CONFIG_SIZE bytes; OPAQUE is the struct pci_function. */
extern const struct ioreq_ops pci_config_ops;

#endif
