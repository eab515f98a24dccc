/*
 * A role that is one PCI function: its ioreq server, its slot, and what the role's options `slot`
 * and `poll` say about them.  docs/writing-a-role.rst has a whole role.
 *
 * Threads: the main thread, but for what ioreq/server.h says.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_PCI_ROLE_H
#define HW_PCI_ROLE_H

#include "hw/hole.h"
#include "hw/pci.h"
#include "ioreq/server.h"
#include "role.h"

struct pci_role;

/* For struct role's options. */
#define PCI_ROLE_OPTIONS "slot", "poll"

/*
 * The function that DESCRIPTION describes, in SLOT unless the option says another.  DEVICE is
 * passed to its callbacks, which begin with pci_role_start().
 */
struct pci_role *pci_role_new(struct role_process *process,
                              const struct pci_description *description, unsigned slot,
                              void *device, GError **error);
bool pci_role_start(struct pci_role *role, GError **error);

/* The guest sees the function no more and no callback runs; NULL is fine. */
void pci_role_free(struct pci_role *role);

struct pci_function *pci_role_function(struct pci_role *role);

/* What is done to the function outside of its callbacks is done between these. */
void pci_role_lock(struct pci_role *role);
void pci_role_unlock(struct pci_role *role);

/* For struct role's pci(). */
bool pci_role_hole(const struct pci_description *description, unsigned slot, char *const *options,
                   struct hole_function *function, GError **error);

#endif
