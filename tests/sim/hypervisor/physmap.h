/*
 * A guest's frames beyond its memory, which emulators add for video memory and ROMs and move to
 * where the guest wants them, and the types that emulators give to frames.
 *
 * The contents are in a file of their own, sparse, with each frame at its own place.  They can be
 * mapped as foreign memory; guest.h and grants reach only the guest's memory proper.  Unlike Xen's,
 * mappings do not follow a frame that is moved: they show the frame that is there now.
 *
 * Errors: 0 or a negative errno, as the hypercalls.
 * Threads: any.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_PHYSMAP_H
#define HYPERVISOR_PHYSMAP_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_ADDRESS_BITS 40 /* of guest-physical addresses: 1 TiB */
#define SIM_MAX_GFN (UINT64_C(1) << (SIM_ADDRESS_BITS - 12))

struct sim_hypervisor;
struct sim_domain;

/* Are frames FIRST to LAST there, all in the guest's memory or all added?  Lock held. */
bool sim_physmap_has(const struct sim_domain *domain, uint64_t first, uint64_t last);

/* A new descriptor of the file with the frames that were added. */
int sim_physmap_open(unsigned domid);

/* Adds frames that are zero; those in the guest's memory are there already. */
int sim_physmap_add(unsigned domid, uint64_t first, uint64_t count);

/* Takes out frames that were added; their contents are gone. */
int sim_physmap_remove(unsigned domid, uint64_t first, uint64_t count);
int sim_physmap_move(unsigned domid, uint64_t source, uint64_t dest, uint64_t count);

/* TYPE is HVMMEM_*. */
int sim_physmap_set_type(unsigned domid, uint16_t type, uint64_t first, uint32_t count);

void sim_physmap_domain_gone(struct sim_hypervisor *xen, unsigned domid); /* lock held */

#endif
