/*
 * The check of a guest's PCI hole: what the administrator is told, and the guest start.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_HOLE_H
#define TOOLSTACK_HOLE_H

#include "role.h"
#include "toolstack/cmdline.h"
#include "toolstack/hole-qemu.h"

/* What to change in xl.cfg, in one line to be freed; NULL if all fits. */
char *hole_advice(const struct hole_platform *platform, const struct hole_map *map);

/* The map as a picture, to be freed. */
char *hole_svg(const struct hole_platform *platform, const struct hole_map *map);

/* "2 GiB": for people. */
char *hole_format_size(uint64_t size);

/* What a running guest was given, from xenstore and its processes' command lines. */
struct hole_platform *hole_read_guest(const struct role *const *roles, struct xen_store *store,
                                      unsigned domid, GError **error);

/*
 * At guest start, before QEMU: false and *error (with the line of xl.cfg to be changed) if
 * something would find no room or mmio_hole is not the same everywhere.  PLAN is plan_new()'s.  The
 * host's devices come later and are not known yet.
 */
bool hole_check(const struct dm_cmdline *cmdline, const GPtrArray *plan, struct xen_store *store,
                GError **error);

#endif
