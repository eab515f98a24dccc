/*
 * Slots on the guest's PCI bus 0 for functions that an ioreq server emulates.
 *
 * Xen does not say which slots other servers have: where two have the same one, the guest sees
 * that of the server with the higher id, which is QEMU's if it was started last.  So there are two
 * rules.  QEMU and libxl give out slots from 0 upwards (host bridge, PIIX3, Xen platform device,
 * then VGA, network cards and devices passed through); PCI_SLOT_ANY takes the highest free one.
 * And our roles note in xenstore which slots they have, under device-model/DOMID/pci, which libxl
 * removes with the guest; a note of a process that has ended does not count.
 *
 * Not seen: a device that is passed through into a slot chosen by hand (its vdevfn).  It comes
 * after us; choose another slot for the role.
 *
 * Threads: slots belong to the main thread; functions to whoever has the server's lock, which
 * their callbacks do.  To raise an interrupt from elsewhere, take it (ioreq_server_lock()).
 * Errors: GError; EBUSY for a slot that another role has, ENOSPC if there is none.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_PCI_SLOT_H
#define HW_PCI_SLOT_H

#include "hw/pci.h"
#include "ioreq/server.h"
#include "xen/store.h"

#define PCI_SLOT_ANY 0
#define PCI_SLOT_MAX 31

struct pci_slots;

/* SERVER is one of domain DOMID.  Without a STORE (NULL) other roles' slots are not seen. */
struct pci_slots *pci_slots_new(struct ioreq_server *server, unsigned domid,
                                struct xen_store *store, GError **error);

/* Frees its functions, too; NULL is fine.  Free the server before: it still routes to them. */
void pci_slots_free(struct pci_slots *slots);

/*
 * Shows the guest a function at 00:SLOT.0 (1 to 31, or PCI_SLOT_ANY), as soon as the server has
 * been started.  It belongs to SLOTS.  DEVICE is passed to its BARs' callbacks.
 */
struct pci_function *pci_slots_add(struct pci_slots *slots, unsigned slot,
                                   const struct pci_description *description, void *device,
                                   GError **error);

unsigned pci_function_slot(const struct pci_function *function);

#endif
