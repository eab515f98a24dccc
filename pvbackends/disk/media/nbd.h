/*
 * What the users of an NBD connection share: how one is set up, and how the operations of io.h are
 * sent on it.  The server is a qemu-storage-daemon of ours on a Unix socket.
 *
 * Errors: as libnbd leaves them (nbd_get_error(), nbd_get_errno()).
 * Threads: a connection belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_NBD_H
#define DISK_NBD_H

#include "pvbackends/disk/media/libnbd.h"
#include "pvbackends/disk/media/write-log.h"

/* The name of the export that every server of ours has. */
#define DISK_NBD_EXPORT "disk"

/* No server need take a longer read or write in one piece, bytes. */
#define DISK_NBD_TRANSFER_MAX (32u << 20)

/* A handle that is not connected yet; NULL with an error. */
struct nbd_handle *disk_nbd_create(const struct libnbd *lib, GError **error);

/*
 * Sends what is left of WRITE after its first DONE sectors, or a piece of that: of a discard up to
 * 1 GiB, because the protocol has 32 bits for a length.  The sectors sent; 0 for an error.
 */
uint64_t disk_nbd_send_write(const struct libnbd *lib, struct nbd_handle *nbd,
                             const struct disk_write *write, uint64_t done,
                             nbd_completion_callback completion);

#endif
