/*
 * The memory of a shmem function: frames added to the guest, at the address that its BAR has.
 *
 * While the guest has not placed the BAR, or has given it an impossible address, they are parked:
 * in the upper half of the guest's physical address space, which is divided among the slots.
 *
 * Where they are stands in xenstore, for other processes of the host (docs/shmem.rst):
 *
 *   device-model/DOMID/shmem/SLOT = "0xGFN PAGES MOVES"
 *
 * or "moving PAGES MOVES" for the moment of a move.  MOVES counts up: who has mapped the frames
 * and then reads the same value as before has mapped the right ones, which stay mapped from then
 * on wherever they move.
 *
 * Threads: one at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_SHMEM_MEMORY_H
#define HW_SHMEM_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

struct shmem_memory;

/*
 * SIZE bytes, a power of two, for the function in SLOT of domain DOMID.  What a role of that guest
 * had there before is taken over, with its contents; it must have been of this size.
 */
struct shmem_memory *shmem_memory_new(unsigned domid, unsigned slot, uint64_t size, GError **error);

/* The memory stays with the guest, for the next role; NULL is fine. */
void shmem_memory_free(struct shmem_memory *memory);

/* As struct pci_memory has them; ADDRESS is a multiple of the size. */
bool shmem_memory_place(struct shmem_memory *memory, uint64_t address, GError **error);
void shmem_memory_withdraw(struct shmem_memory *memory);

#endif
