/*
 * The disk role's I/O for fuzzers and tests: see fake-io.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef FUZZ_FAKE_IO_H
#define FUZZ_FAKE_IO_H

#include <stdbool.h>
#include <glib.h>

#include "pvbackends/disk/media/io.h"

/* While it is set, nothing that was done is delivered. */
extern bool fake_io_holds;

/* While it is set, the disk's last sector is good. */
extern bool fake_io_healthy;

/*
 * What was asked for, if it is not NULL: words such as "aW8", the medium's name, R (read), W
 * (write), F (flush), D (discard), S (secure discard) or Z (zero), and, but for a flush, the first
 * sector.
 */
extern GString *fake_io_log;

/* The next TIMES operations that are of one of KINDS (bits 1 << kind) fail with ERROR, not done. */
void fake_io_fail(unsigned kinds, unsigned times, int error);

/* Delivers the operation INDEX of those that are held, in the order in which they came. */
void fake_io_deliver(struct disk_io *io, unsigned index);

/* The I/O that was opened last and is still open, or NULL. */
struct disk_io *fake_io_last(void);

#endif
