/*
 * What the toolstack says about a disk's medium, and how it is opened: a raw file or a block device
 * by ourselves (medium.h), everything else by a qemu-storage-daemon (daemon.h).
 *
 * PARAMS, as libxl writes them, are "FORMAT:TARGET".  FORMAT is aio (raw), vhd, or what QEMU calls
 * its driver; TARGET is a path or, with aio, the address of an NBD server (nbd://HOST:PORT/EXPORT,
 * nbd+unix:///EXPORT?socket=PATH), or "json:" and a description of QEMU's, as for its option
 * -blockdev.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_SOURCE_H
#define DISK_SOURCE_H

#include "pvbackends/disk/media/medium.h"

struct disk_source {
    const char *params;
    bool read_only;
    unsigned domid;        /* the guest, for the name of a socket */
    unsigned lock_wait_ms; /* how long somebody else may still have the image */
};

/* Blocks: milliseconds for a raw medium; for others see disk_daemon_start(). */
struct disk_medium *disk_source_open(const struct disk_source *source, GError **error);

/*
 * QEMU's description of what PARAMS name: its own node, "disk", and those below as far as params
 * say.  NULL and no error if the medium is raw, and then *TARGET is its path; otherwise *FORMAT is
 * QEMU's name of the driver, g_free() both.
 */
char *disk_source_describe(const struct disk_source *source, char **format, const char **target,
                           GError **error);

#endif
