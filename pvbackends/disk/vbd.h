/*
 * One virtual block device: what the toolstack says about it in xenstore, its medium, and its
 * negotiation with the frontend.
 *
 * Source: xen/io/blkif.h for the nodes; libxl for params ("aio:PATH"), mode, dev, device-type.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_VBD_H
#define DISK_VBD_H

#include "pvbackends/disk/drive.h"
#include "pvbackends/disk/throttle.h"
#include "pvbackends/xenbus.h"

struct vbd;

/* How a disk is served. */
struct vbd_options {
    unsigned max_queues;             /* to offer, as the next four */
    unsigned max_ring_page_order;    /* at most DISK_RING_ORDER_MAX */
    unsigned max_indirect_segments;  /* at most DISK_SEGMENTS_MAX; 0: no indirect requests */
    bool persistent;                 /* keep mapped what a frontend grants */
    bool poll;                       /* look for work without sleeping where it pays */
    bool detect_zeroes;              /* turn writes of zeroes into discards, where these are on */
    bool stop_on_error;              /* keep what fails until vbd_resume() */
    uint64_t iops, bytes_per_second; /* limits; 0: none */
};

/* What the driver's calls get as OPAQUE. */
struct vbd_role {
    const char *vdev_prefix; /* serve only disks whose name begins so; NULL: all */
    /* The options of the disk NAME. */
    bool (*options)(const char *name, struct vbd_options *options, void *opaque, GError **error);
    void *opaque;
};

/* The instances that it makes are struct vbd. */
extern const struct xenbus_driver vbd_driver;

const char *vbd_name(const struct vbd *vbd); /* such as xvda */

/* The guest's UUID, as the toolstack has noted it, or NULL; g_free(). */
char *vbd_guest_uuid(const struct vbd *vbd);
bool vbd_is_cdrom(const struct vbd *vbd);
const char *vbd_state(const struct vbd *vbd);                /* a word for people */
const struct disk_medium *vbd_medium(const struct vbd *vbd); /* NULL while it is changed */
struct disk_throttle *vbd_throttle(struct vbd *vbd);

/*
 * A change of the medium.  WORK is called when nothing uses it, in a thread of its own, with the
 * drive in its hands; the disk goes on when it has returned, and the frontend knows what has
 * changed.  Then DONE is called in the main context, always and once, also if the change is
 * dropped: because it still waits when the role is to stop, or by vbd_change_cancel().  There is
 * one at a time, and only so the medium may change.
 */
struct vbd_change {
    bool (*work)(struct disk_drive *drive, void *opaque, GError **error);
    void (*done)(void *opaque, const GError *error);
    void *opaque;
};
bool vbd_change(struct vbd *vbd, const struct vbd_change *change, GError **error);

/* Drops the change with that OPAQUE if it still waits; it is done, with an error, when this
 * returns.
 */
void vbd_change_cancel(struct vbd *vbd, void *opaque);

/* Tries again what an error has stopped, on the medium that it has; false if nothing was. */
bool vbd_resume(struct vbd *vbd);

#endif
