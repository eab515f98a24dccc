/*
 * The connection of a storage daemon's keeper: opened when the daemon has been started, to measure
 * the medium, to do again what the daemon before it took along, and to flush.
 *
 * All of it blocks, but no longer than DISK_REPLAY_PATIENCE_MS without any progress.
 * Threads: the keeper's (daemon.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_REPLAY_H
#define DISK_REPLAY_H

#include "pvbackends/disk/media/child.h"
#include "pvbackends/disk/media/nbd.h"

#define DISK_REPLAY_PATIENCE_MS 15000

/* Connects to the daemon CHILD, which is about to make the socket PATH. */
struct nbd_handle *disk_replay_connect(const struct libnbd *lib, struct disk_child *child,
                                       const char *path, GError **error);

/* Does all that is in LOG, which is closed, again and flushes; the log is empty then. */
bool disk_replay(const struct libnbd *lib, struct nbd_handle *nbd, struct disk_write_log *log,
                 GError **error);

/* PATIENCE_MS: for this one. */
bool disk_replay_flush(const struct libnbd *lib, struct nbd_handle *nbd, int patience_ms,
                       GError **error);

#endif
