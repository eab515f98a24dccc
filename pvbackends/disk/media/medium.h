/*
 * A medium: what is behind a virtual disk, opened, locked and measured.  A raw file or a block
 * device is opened here; everything else is served by a qemu-storage-daemon (source.h opens it).
 *
 * Units: sectors of 512 bytes; sector_size, physical and discard_* in bytes.
 * Threads: immutable once open; the descriptor may be used by every queue.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_MEDIUM_H
#define DISK_MEDIUM_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

struct disk_daemon;
struct disk_io_driver;

struct disk_medium {
    const struct disk_io_driver *driver; /* its I/O: see io.h */
    char *path;
    char *format; /* as QEMU calls it, if a daemon serves it; else NULL */
    struct disk_daemon *daemon;
    int fd;      /* -1 with a daemon */
    bool device; /* a block device, not a file */
    bool lost;   /* none, in the place of one that cannot be had */
    bool read_only;
    bool direct; /* opened with O_DIRECT */
    uint64_t sectors;
    uint32_t sector_size; /* what requests must be aligned to */
    uint32_t physical;
    bool discard;
    bool secure_discard;
    uint32_t discard_granularity;
    uint32_t discard_alignment;
};

/* Opens PATH, which is raw; errors name the path and what to do.  WAIT_MS: see disk_lock_take(). */
struct disk_medium *disk_medium_open(const char *path, bool read_only, unsigned lock_wait_ms,
                                     GError **error);
struct disk_medium *disk_medium_empty(void); /* a drive without one: 0 sectors */

/* What stands for MEDIUM while that is not there: it looks the same, and nothing can be done on it.
 */
struct disk_medium *disk_medium_lost(const struct disk_medium *medium);

/*
 * Makes the medium as long as SECTORS; 0: as long as it is now, if others have changed it.  It is
 * not shortened by what has data.  Nobody may use it meanwhile.  If it fails, what was known of the
 * medium is kept.  Not for one with a daemon.
 */
bool disk_medium_resize(struct disk_medium *medium, uint64_t sectors, GError **error);

/* NULL is fine.  With a daemon this waits for its end: see disk_daemon_stop(). */
void disk_medium_close(struct disk_medium *medium);

/* How it is accessed, for the log: "direct", "qcow2 through qemu-storage-daemon".  g_free() */
char *disk_medium_manner(const struct disk_medium *medium);

/*
 * Discards, discards securely or zeroes the range, as KIND (enum disk_io_kind) says; 0 or a
 * negative errno.  May take long: not for a queue's own thread.  Not with a daemon.
 */
int disk_medium_erase(const struct disk_medium *medium, int kind, uint64_t sector,
                      uint64_t sectors);

#endif
