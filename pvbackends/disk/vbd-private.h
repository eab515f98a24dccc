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
    const char *path;        /* of the backend's nodes */
    char *name;              /* as the guest's configuration has it: xvda */
    struct disk_drive drive; /* a worker's while it is opened, changed or closed */
    char *refused_params;    /* those that the toolstack wrote last, if they were no good */
    bool discard_offered;    /* to this or an earlier connection */
    struct vbd_options options;
    struct disk_counters *counters; /* NULL if there is no room for them */
    struct vbd_queue {
        struct vbd *vbd;
        struct disk_queue *queue; /* NULL when it has stopped */
        bool pausing;             /* it has been told to, and has not answered */
    } queues[DISK_QUEUES_MAX];
    unsigned nr_queues;  /* 0 unless connected */
    unsigned nr_stopped; /* of these */
    bool broken;         /* one of them */
    bool halted;         /* one of them, by an error */
    gint error_logged;   /* atomic: the queues' */
    gint flush_lost;     /* the same: see engine.h */
    gint map_failures;   /* the same */

    struct disk_throttle *throttle;

    enum {
        VBD_UNCHANGED,
        VBD_PAUSING,  /* a change waits until the queues stand still */
        VBD_CHANGING, /* a worker makes it */
        VBD_DROPPED,  /* it is not made; queues that should pause have not all answered yet */
    } phase;
    struct vbd_change change;
    bool was_lost; /* the medium, before it */
    GError *change_error;
};

/* Does the change that waits, if nothing uses the medium any more. */
void vbd_try_change(struct vbd *vbd);

/* Follows what `xl cd-insert` and `xl cd-eject` write. */
void vbd_changed(void *vbd);

#endif
