/*
 * A drive: the medium of a disk, those who do I/O on it, and how it is changed.
 *
 * Threads: one at a time, the main context's or that of a worker, which has the drive while it
 * opens, changes or closes the medium; no engine is used by its queue then.  What waits for storage
 * is done here and nowhere else.  What is constant may be read at any time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_DRIVE_H
#define DISK_DRIVE_H

#include "pvbackends/disk/engine.h"
#include "pvbackends/disk/frontend.h" /* DISK_QUEUES_MAX */
#include "pvbackends/disk/media/medium.h"

struct disk_drive {
    const char *name; /* of the disk; constant, as the next five */
    unsigned domid;
    bool cdrom, read_only, discard_enabled;
    bool holds;                 /* requests without a medium wait: stop_on_error */
    struct disk_medium *medium; /* NULL unless it is open */
    char *params;               /* of it, as the toolstack has them */
    bool replaced;              /* it is another medium than before the change, or opened anew */

    /* While it is changed. */
    struct disk_engine *engines[DISK_QUEUES_MAX];
    unsigned nr_engines;
};

/* Opens what its params say, "FORMAT:TARGET" as libxl has it; that of a CD drive may be empty. */
bool disk_drive_open(struct disk_drive *drive, GError **error);
void disk_drive_close(struct disk_drive *drive); /* what is open */

/* Tells the log of the medium. */
void disk_drive_describe(const struct disk_drive *drive);

/* What requests must fit. */
struct disk_limits disk_drive_limits(const struct disk_drive *drive);

/* A change has failed, and the medium could not be had again. */
bool disk_drive_lost(const struct disk_drive *drive);

/* Takes a medium that was lost again. */
bool disk_drive_find(struct disk_drive *drive, GError **error);

/* Takes the medium that PARAMS say; if that fails, the drive has what it had. */
bool disk_drive_insert(struct disk_drive *drive, const char *params, GError **error);

/*
 * Closes the medium, all of it durable, has WORK done on it, and takes the one that PARAMS say.  If
 * something fails, the drive has its old medium again.
 */
typedef bool disk_work_fn(void *opaque, GError **error);
bool disk_drive_rework(struct disk_drive *drive, const char *params, disk_work_fn *work,
                       void *opaque, GError **error);

/* Makes a raw medium longer or shorter: see disk_medium_resize(). */
bool disk_drive_resize(struct disk_drive *drive, uint64_t sectors, GError **error);

#endif
