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
    struct vbd_role role;
    struct xenbus_bus *bus;
};

/* KEYs of --option, and those that may also be VDEV:KEY, for one disk. */
extern const char *const disk_option_keys[];
extern const char *const disk_device_option_keys[];

/* The options of the disk NAME; those that hold for all if it is NULL. */
bool disk_options_read(struct role_process *process, const char *name, struct vbd_options *options,
                       GError **error);

/* `rolemodel disk COMMAND GUEST ...`; they run with a struct disk. */
extern const struct role_command disk_commands[];

/*
 * Attaches a disk to the running guest.  SPEC is what xl's `disk=` has: "format=raw,vdev=xvdb,
 * access=rw,target=/images/b.img".  Unlike a disk that xl attaches it is never in the state in
 * which QEMU, too, would serve it, so this is the way for HVM guests.  ATTACHED is called once, now
 * or when the medium is open.
 */
void disk_attach(struct disk *disk, const char *spec, xenbus_opened *attached, void *opaque);

#endif
