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

#include "pvbackends/disk/media/medium.h"
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
bool vbd_is_cdrom(const struct vbd *vbd);
const char *vbd_state(const struct vbd *vbd); /* a word for people */
struct disk_medium *vbd_medium(const struct vbd *vbd);
struct disk_throttle *vbd_throttle(struct vbd *vbd);

/*
 * Calls CHANGE, now or later, when nothing uses the medium, and goes on after.  There is one at a
 * time, and only in it the medium may change.
 */
typedef void vbd_change_fn(struct vbd *vbd, void *opaque);
bool vbd_change(struct vbd *vbd, vbd_change_fn *change, void *opaque, GError **error);

/* Takes another MEDIUM, which belongs to the disk then, or the same one in another size. */
bool vbd_use(struct vbd *vbd, struct disk_medium *medium, GError **error);

/* In a change: takes the medium that PARAMS say, notes that in xenstore, and tells the frontend. */
bool vbd_insert(struct vbd *vbd, const char *params, GError **error);

/*
 * In a change: closes the medium, all of it durable, has WORK done on it, and takes the one that
 * PARAMS say.  If something fails, the disk has its old medium again.
 */
typedef bool vbd_work_fn(void *opaque, GError **error);
bool vbd_rework(struct vbd *vbd, const char *params, vbd_work_fn *work, void *opaque,
                GError **error);

/* The params of its medium, "FORMAT:PATH"; "" without one. */
const char *vbd_params(const struct vbd *vbd);

/*
 * Notes the image PATH, of FORMAT, in libxl's copy of the guest's configuration, for a reboot: see
 * libxl-config.h.
 */
bool vbd_note_image(const struct vbd *vbd, const char *format, const char *path, GError **error);

/* Tells the frontend of the new size. */
bool vbd_announce(struct vbd *vbd, GError **error);

/* Tries again what an error has stopped; false if nothing was. */
bool vbd_resume(struct vbd *vbd);

#endif
