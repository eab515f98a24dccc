/*
 * The disk role's process, as its commands see it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_DISK_H
#define DISK_DISK_H

#include "pvbackends/disk/vbd.h"
#include "role.h"

struct disk {
    struct role_process *process;
    struct vbd_options options;
    struct xenbus_bus *bus;
};

/* `rolemodel disk COMMAND GUEST ...`; they run with a struct disk. */
extern const struct role_command disk_commands[];

/*
 * Attaches a disk to the running guest.  SPEC is what xl's `disk=` has: "format=raw,vdev=xvdb,
 * access=rw,target=/images/b.img".  Unlike a disk that xl attaches it is never in the state in
 * which QEMU, too, would serve it, so this is the way for HVM guests.
 */
bool disk_attach(struct disk *disk, const char *spec, GError **error);

#endif
