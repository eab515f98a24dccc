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

#include "pvbackends/xenbus.h"

/* What the driver's calls get as OPAQUE. */
struct vbd_options {
    const char *vdev_prefix; /* serve only disks whose name begins so; NULL: all */
    unsigned max_queues;     /* of a disk, to offer; 0 is 1 */
    bool persistent;         /* offer to keep mapped what a frontend grants */
};

extern const struct xenbus_driver vbd_driver;

#endif
