/*
 * The mark of an image that has an overlay: whoever wrote to it would spoil the overlay, which
 * holds nothing but the differences.
 *
 * It is the extended attribute user.rolemodel.overlay of the file, and its value the overlay's
 * path. Where the overlay is not there any more the mark means nothing.  Block devices have no such
 * attributes, and neither has tmpfs before Linux 6.6.
 *
 * Threads: any.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_BASE_MARK_H
#define DISK_BASE_MARK_H

#include <stdbool.h>
#include <glib.h>

/* Marks BASE, durably, as what is behind OVERLAY, an absolute path. */
bool disk_base_mark(const char *base, const char *overlay, GError **error);

/* Whether PATH may be written to; the error names the overlay and says what to do. */
bool disk_base_check(const char *path, GError **error);

#endif
