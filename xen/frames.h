/*
 * Memory that an emulator adds to a guest: frames beyond what the guest was given, which move in
 * its physical address space as the BAR does that shows them.  Accesses by the guest are plain
 * memory accesses.  They are the guest's frames in all else: they are counted as its memory, other
 * processes map them by number, and they vanish with it.
 *
 * Two limits of the guest are raised by what they need, its memory (xl list) and the pool for its
 * page tables, of which Xen frees none before the guest ends: so the number of places is limited
 * to which they can be moved.
 *
 * Source: xenctrl.h; memory.h; hvm/dm_op.h (XEN_DMOP_relocate_memory).
 * Threads: one at a time.
 * Units: frames of XEN_PAGE_SIZE bytes; numbers of frames (gfn).
 * Errors: GError in G_FILE_ERROR.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_FRAMES_H
#define XEN_FRAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/* The number of frames is a multiple of this: 1 MiB. */
#define XEN_FRAMES_UNIT 256

/* Places they can be moved to, beside the first one. */
#define XEN_FRAMES_PLACES 4

struct xen_frames;

/* Bits of a guest-physical address. */
bool xen_frames_address_bits(unsigned domid, unsigned *bits, GError **error);

/*
 * Adds COUNT frames from FIRST on, where there is nothing; their contents are what Xen gives a new
 * guest, which is scrubbed memory.  ENOMEM if the host has not so much memory.
 */
struct xen_frames *xen_frames_new(unsigned domid, uint64_t first, uint64_t count, GError **error);

/* Takes over frames that a process before this one added. */
struct xen_frames *xen_frames_adopt(unsigned domid, uint64_t first, uint64_t count, GError **error);

/* The frames stay with the guest, for who adopts them; NULL is fine. */
void xen_frames_free(struct xen_frames *frames);

/*
 * Moves them to where the guest's addresses reach (elsewhere they would be lost); their contents
 * stay, and so do other processes' mappings of them.  EEXIST where the
 * guest seems to have memory already (one frame of each 2 MiB is looked at), ENOSPC if it would be
 * one place too many: then nothing has happened.  Of frames that the guest has given away by
 * itself the rest is moved.
 */
bool xen_frames_move(struct xen_frames *frames, uint64_t first, GError **error);

uint64_t xen_frames_first(const struct xen_frames *frames);
uint64_t xen_frames_count(const struct xen_frames *frames);

#endif
