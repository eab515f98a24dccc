/*
 * Guest memory by guest-physical address, and the pages that Xen itself shares with an emulator.
 *
 * Source: xenforeignmemory.h; memory.h (XENMEM_acquire_resource).
 * Threads: a handle belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_MEMORY_H
#define XEN_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>

struct xen_memory;
struct xen_resource;

struct xen_memory *xen_memory_open(unsigned domid, GError **error);
void xen_memory_close(struct xen_memory *memory); /* NULL is fine */

/*
 * Copies LENGTH bytes between BUFFER and guest-physical ADDRESS, across pages where needed.
 * False, with nothing or a part copied, when the guest has no memory there.  Slow (a map per
 * page): for the rare emulated access whose data is in guest memory.
 */
bool xen_memory_read(struct xen_memory *memory, uint64_t address, void *buffer, size_t length);
bool xen_memory_write(struct xen_memory *memory, uint64_t address, const void *buffer,
                      size_t length);

/* Maps COUNT frames of a Xen resource (XENMEM_resource_*) read-write. */
struct xen_resource *xen_resource_map(struct xen_memory *memory, unsigned type, unsigned id,
                                      unsigned long frame, unsigned long count, GError **error);
void *xen_resource_address(struct xen_resource *resource);
void xen_resource_unmap(struct xen_resource *resource); /* NULL is fine */

#endif
