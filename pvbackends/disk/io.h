/*
 * Asynchronous I/O on a medium: reads, writes and flushes through libaio, discards on a helper
 * thread.  Operations are collected, submitted together and come back in any order.
 *
 * This is the place where media that are not plain files (qemu-storage-daemon over libnbd) will
 * come in beside libaio.
 *
 * Threads: one user, the queue's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_IO_H
#define DISK_IO_H

#include <libaio.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <glib.h>

#include "pvbackends/disk/medium.h"

struct disk_io;

enum disk_io_kind { DISK_IO_READ, DISK_IO_WRITE, DISK_IO_FLUSH, DISK_IO_DISCARD };

/* One operation, owned by the caller, who leaves it alone from add to reap. */
struct disk_io_op {
    enum disk_io_kind kind;
    uint64_t sector, sectors;
    const struct iovec *vectors; /* of a read or write, page-aligned, as long as SECTORS */
    unsigned nr_vectors;
    int error; /* result: 0 or an errno; a short transfer is EIO */
    struct disk_io *io;
    struct iocb iocb;
};

/* For up to DEPTH operations at a time. */
struct disk_io *disk_io_open(const struct disk_medium *medium, unsigned depth, GError **error);
void disk_io_close(struct disk_io *io); /* NULL is fine; nothing may be in flight */

void disk_io_add(struct disk_io *io, struct disk_io_op *op);
void disk_io_submit(struct disk_io *io);

/* Makes long operations (discards) end early, as failed; for the way out. */
void disk_io_hurry(struct disk_io *io);

/* The next finished operation, or NULL; never blocks. */
struct disk_io_op *disk_io_reap(struct disk_io *io);

/* Readable when operations may have finished; read it with disk_io_acknowledge() before reaping. */
int disk_io_fd(struct disk_io *io);
void disk_io_acknowledge(struct disk_io *io);

#endif
