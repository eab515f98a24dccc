/*
 * A medium that a qemu-storage-daemon serves: QEMU's block layer in a process of its own, one for
 * each medium, over NBD.
 *
 * A daemon that dies is started again, at once and then with a growing pause.  What it had been
 * told to write and had not made durable is done again before anybody else is served: see
 * write-log.h.  Each life of it is an epoch with a socket of its own, so that a connection always
 * knows which of them it has.  A connection that is lost with something under way takes the daemon
 * with it: nobody could tell what of it might still be done, and when.
 *
 * Threads: any; the owner's starts and stops it, and waits meanwhile.  A thread of its own, the
 * keeper, starts the daemon and watches it.
 *
 * Source: qemu-storage-daemon(1) of QEMU 7.2.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_DAEMON_H
#define DISK_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

struct disk_daemon;
struct disk_write_log;
struct libnbd;

/* Needed only until the daemon has been started. */
struct disk_daemon_config {
    const char *name;     /* of the medium, for messages */
    const char *blockdev; /* QEMU's description of it: JSON, with the node name "disk" */
    bool read_only;
    unsigned domid;
    unsigned lock_wait_ms; /* how long somebody else may still have the image */
};

/* What the daemon says about the medium. */
struct disk_daemon_geometry {
    uint64_t size;               /* bytes */
    uint32_t minimum, preferred; /* block sizes, bytes */
    bool trim;
};

/*
 * Starts the daemon and waits until it serves: milliseconds, but up to 15 s where storage stalls.
 * Errors say what to do.  Sockets are in $ROLEMODEL_RUN_DIR, or /run/rolemodel, in DOMID.
 */
struct disk_daemon *disk_daemon_start(const struct disk_daemon_config *config, GError **error);

/*
 * Makes what is in the log durable, ends the daemon and waits for it, so that the image is free for
 * others when this returns.  That takes some 10 ms; where the daemon is stopped some 5 s, where its
 * storage is away 30 s, and where that stalls in each step on the way at most 80.  Nobody may be
 * connected.  NULL is fine.
 */
void disk_daemon_stop(struct disk_daemon *daemon);

const struct disk_daemon_geometry *disk_daemon_geometry(const struct disk_daemon *daemon);

/* Its epoch is that of the daemon that serves now; its listeners are told when another one does. */
struct disk_write_log *disk_daemon_log(const struct disk_daemon *daemon);

/* What connections are made with. */
const struct libnbd *disk_daemon_library(const struct disk_daemon *daemon);

/* The socket of EPOCH's daemon; g_free() */
char *disk_daemon_socket(const struct disk_daemon *daemon, unsigned epoch);

/* EPOCH's daemon has lost a connection with something under way: it is to be replaced. */
void disk_daemon_lost(struct disk_daemon *daemon, unsigned epoch);

#endif
