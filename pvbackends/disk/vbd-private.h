/*
 * What vbd.c, a disk's life, and vbd-change.c, changes of its medium, share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_VBD_PRIVATE_H
#define DISK_VBD_PRIVATE_H

#include "pvbackends/disk/frontend.h"
#include "pvbackends/disk/queue.h"
#include "pvbackends/disk/vbd.h"

struct vbd {
    struct xenbus_device *device;
    struct xen_store *store;
    const char *path;                       /* of the backend's nodes */
    char *name;                             /* as the guest's configuration has it: xvda */
    bool cdrom, read_only, discard_enabled; /* as the toolstack has it */
    struct disk_medium *medium;
    char *params;         /* of it, as the toolstack has them */
    char *refused_params; /* those that it wrote last, if they were no good */
    bool discard_offered; /* to this or an earlier connection */
    struct vbd_options options;
    struct disk_counters *counters; /* NULL if there is no room for them */
    struct vbd_queue {
        struct vbd *vbd;
        struct disk_queue *queue; /* NULL when it has stopped */
    } queues[DISK_QUEUES_MAX];
    unsigned nr_queues;  /* 0 unless connected */
    unsigned nr_stopped; /* of these */
    unsigned nr_paused;  /* of the others */
    bool broken;         /* one of them */
    bool halted;         /* one of them, by an error */
    gint error_logged;   /* atomic: the queues' */
    gint flush_lost;     /* the same: see engine.h */
    gint map_failures;   /* the same */

    struct disk_throttle *throttle;

    vbd_change_fn *change; /* waits until the queues stand still */
    void *change_opaque;
};

/* What requests must fit as long as the medium is MEDIUM. */
struct disk_limits vbd_limits(const struct vbd *vbd, const struct disk_medium *medium);

/* Opens what PARAMS say, "FORMAT:PATH" as libxl has it; that of a CD drive may be empty. */
struct disk_medium *vbd_open_medium(const struct vbd *vbd, const char *params, GError **error);

/* Tells the log of the medium. */
void vbd_describe(const struct vbd *vbd);

/* Does the change that waits, if nothing uses the medium any more. */
void vbd_try_change(struct vbd *vbd);

/* Follows what `xl cd-insert` and `xl cd-eject` write. */
void vbd_changed(void *vbd);

#endif
