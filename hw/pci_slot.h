/*
 * A place on the guest's PCI bus 0 for a function that an ioreq server emulates.
 *
 * Threads: as struct ioreq_server.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_PCI_SLOT_H
#define HW_PCI_SLOT_H

#include "hw/pci.h"
#include "ioreq/server.h"

/*
 * Shows the guest a function at 00:SLOT.0, as soon as the server has been started.  DEVICE is
 * passed to the BARs' ops.  Free the server before the function: it still routes to it.
 */
struct pci_function *pci_slot_add(struct ioreq_server *server, unsigned slot,
                                  const struct pci_description *description, void *device,
                                  GError **error);

#endif
