/*
 * The disk role: serves a guest's virtual block devices of type qdisk.
 *
 *   disk.c     the role
 *   vbd.c      one disk: xenstore, medium, negotiation
 *   queue.c    one ring: the thread that serves it
 *   engine.c   what is done with a ring's requests, turn by turn
 *   ring.c     the shared page's layout and indexes
 *   request.c  reading and checking one request
 *   io.c       asynchronous I/O
 *   medium.c   the file or block device; lock.c its lock
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "disk"

#include <string.h>

#include "pvbackends/disk/vbd.h"
#include "pvbackends/pvbackends.h"

struct disk {
    struct role_process *process;
    struct vbd_options options;
    struct xenbus_bus *bus;
};

static void on_bus_stopped(void *opaque)
{
    struct disk *disk = opaque;
    role_process_stopped(disk->process);
    g_free(disk);
}

static void disk_stop(void *opaque)
{
    struct disk *disk = opaque;
    xenbus_bus_stop(disk->bus, on_bus_stopped, disk);
}

static void *disk_start(struct role_process *process, GError **error)
{
    const char *hotplug = role_process_option(process, "hotplug");
    if (hotplug && strcmp(hotplug, "on") != 0 && strcmp(hotplug, "off") != 0) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "disk: hotplug=%s is not understood (use hotplug=on or hotplug=off)", hotplug);
        return NULL;
    }
    struct disk *disk = g_new0(struct disk, 1);
    disk->process = process;
    disk->options.vdev_prefix = role_process_option(process, "vdev");
    disk->bus = xenbus_bus_new(role_process_store(process), role_process_domid(process),
                               &vbd_driver, &disk->options, g_strcmp0(hotplug, "off") != 0, error);
    if (disk->bus) {
        role_process_set_check(process, xenbus_bus_check, disk->bus);
        return disk;
    }
    g_free(disk);
    return NULL;
}

static const char *const disk_options[] = { "hotplug", "vdev", NULL };

const struct role disk_role = {
    .name = "disk",
    .summary = "PV block backend: disks of type qdisk",
    .backend = "qdisk",
    .options = disk_options,
    /* QEMU also takes qdisk nodes: share them by name, and leave it those that come later. */
    .beside_qemu = "vdev=xvd",
    .fixed_beside_qemu = "hotplug=off",
    .start = disk_start,
    .stop = disk_stop,
};
