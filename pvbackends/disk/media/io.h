/*
 * Asynchronous I/O on a medium.  Operations are collected, submitted together and come back in any
 * order.  Each kind of medium has a driver: libaio for files and block devices (io-aio.c), NBD for
 * what a qemu-storage-daemon serves (io-nbd.c), and one for none (io-none.c).
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

#include "pvbackends/disk/media/medium.h"

enum disk_io_kind {
    DISK_IO_READ,
    DISK_IO_WRITE,
    DISK_IO_FLUSH,
    DISK_IO_DISCARD,
    DISK_IO_SECURE_DISCARD,
    DISK_IO_ZERO, /* what is read there is zero; the medium may give its space back */
};

/* What the driver for NBD notes about an operation: see io-nbd.c. */
struct disk_nbd_op {
    struct disk_io *io;
    GList link;
    struct disk_write *write; /* its place in the write log, NULL if it has none */
    uint64_t done;            /* sectors of a discard that need not be sent again */
    uint64_t mark;            /* of a flush, in the write log */
    unsigned in_flight;       /* commands that were sent and have not come back */
};

/* One operation, owned by the caller, who leaves it alone from add to reap. */
struct disk_io_op {
    enum disk_io_kind kind;
    uint64_t sector, sectors;
    const struct iovec *vectors; /* of a read or write, page-aligned, as long as SECTORS */
    unsigned nr_vectors;
    int error; /* result: 0 or an errno; a short transfer is EIO */
    union {    /* the driver's */
        struct iocb iocb;
        GList link; /* of a flush that waits for another one: see io-aio.c */
        struct disk_nbd_op nbd;
    };
};

/* What can be seen without a system call. */
enum disk_io_look { DISK_IO_NOTHING, DISK_IO_FINISHED, DISK_IO_UNKNOWN };

struct disk_io {
    const struct disk_io_driver *driver;
};

/*
 * What a driver does; the functions below say it.  A struct disk_io is the first thing in its own.
 * One that finishes everything in add() leaves out submit, hurry and acknowledge.
 */
struct disk_io_driver {
    struct disk_io *(*open)(const struct disk_medium *medium, unsigned depth, GError **error);
    void (*close)(struct disk_io *io);
    void (*add)(struct disk_io *io, struct disk_io_op *op);
    void (*submit)(struct disk_io *io);
    struct disk_io_op *(*reap)(struct disk_io *io);
    void (*hurry)(struct disk_io *io);
    int (*fd)(struct disk_io *io);
    void (*acknowledge)(struct disk_io *io);
    /* As disk_io_look(); NULL: it cannot be known without a system call. */
    enum disk_io_look (*look)(struct disk_io *io);
    bool works_alone; /* its descriptor is to be waited for also when nothing is in flight */
};

extern const struct disk_io_driver disk_io_aio, disk_io_nbd, disk_io_none;

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

/* Has an operation finished?  If that is not known, only the descriptor tells. */
enum disk_io_look disk_io_look(struct disk_io *io);

/*
 * Makes durable what has been answered on MEDIUM, which nobody uses meanwhile.  It waits: for a
 * file as long as that takes, for a daemon that does not answer 5 s.
 */
bool disk_io_flush_medium(const struct disk_medium *medium, GError **error);

#endif
