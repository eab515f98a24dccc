/*
 * Image locks that QEMU's tools understand and respect (its file.locking): no image is written
 * by two at once, while any number may read one that nobody writes.
 *
 * A user of an image takes shared locks on single bytes of it: one for each thing it does
 * (permission P: byte 100 + P), one for each thing that others must not do (byte 200 + P).
 * It may go on if nobody forbids what it does and nobody does what it forbids.  The locks are
 * open-file-description locks: they belong to the descriptor and leave with it.
 *
 * Source: QEMU's docs (images.rst, "Disk image file locking"), block/file-posix.c's constants;
 * checked against qemu-io in tests/unit/test-lock.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_LOCK_H
#define DISK_LOCK_H

#include <stdbool.h>
#include <glib.h>

/*
 * Locks the image behind FD for reading, or for reading and writing if WRITE.  If another process
 * holds it, waits for up to WAIT_MS milliseconds: the one before us may be on its way out.
 */
bool disk_lock_take(int fd, bool write, unsigned wait_ms, const char *path, GError **error);

#endif
