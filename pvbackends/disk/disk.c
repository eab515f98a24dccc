/*
 * The disk role: serves a guest's virtual block devices of type qdisk.
 *
 *   disk.c     the role
 *   options.c  how it is to serve its disks
 *   commands.c what an administrator can ask of it; attach.c of attaching a disk
 *   vbd.c      one disk: xenstore, negotiation; vbd-change.c when its medium can be changed
 *   drive.c    its medium, opened, changed and closed
 *   frontend.c what the guest's driver asks for
 *   queue.c    one ring: the thread that serves it
 *   engine.c   what is done with a ring's requests, turn by turn
 *   ring.c     the shared pages' layout and indexes
 *   request.c  reading and checking one request
 *   throttle.c limits on requests and bytes a second
 *   pool.c     the memory that data passes through
 *   transfer.c data from and to the guest's pages
 *   mappings.c those pages that stay mapped
 *   counters.c what is counted, in shared memory; meter.c what it says
 *
 * and in media/, what is behind a disk:
 *
 *   source.c   what the toolstack says about the medium: which kind it is
 *   medium.c   a file or block device; lock.c its lock; image.c work on image files (qemu-img)
 *   io.c       asynchronous I/O: io-aio.c on files and block devices, io-nbd.c on what a
 *              qemu-storage-daemon serves, io-none.c without a medium
 *   daemon.c   the qemu-storage-daemon of a medium: child.c its process, socket-dir.c where its
 *              socket is, nbd.c and libnbd.c the protocol
 *   write-log.c what that may not have made durable yet; replay.c does it again
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "disk"

#include <sys/resource.h>

#include "pvbackends/disk/counters.h"
#include "pvbackends/disk/disk.h"
#include "pvbackends/disk/meter.h"
#include "pvbackends/pvbackends.h"

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

static bool options_of(const char *name, struct vbd_options *options, void *opaque, GError **error)
{
    struct disk *disk = opaque;
    return disk_options_read(disk->process, name, options, error);
}

/* A queue has 5 to 9 descriptors: the usual limit of 1024 is for 16 disks with 8 queues. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void *disk_start(struct role_process *process, GError **error)
{
    struct vbd_options common;
    bool hotplug = g_strcmp0(role_process_option(process, "hotplug"), "off") != 0;

    /* What is wrong for all is said once, and also if there is no disk yet. */
    if (!disk_options_read(process, NULL, &common, error))
        return NULL;
    raise_descriptor_limit();
    disk_counters_clean(role_process_domid(process));
    struct disk *disk = g_new0(struct disk, 1);
    disk->process = process;
    disk->role.vdev_prefix = role_process_option(process, "vdev");
    disk->role.options = options_of;
    disk->role.opaque = disk;
    disk->bus = xenbus_bus_new(role_process_store(process), role_process_domid(process),
                               &vbd_driver, &disk->role, hotplug, error);
    if (disk->bus) {
        role_process_set_check(process, xenbus_bus_check, disk->bus);
        return disk;
    }
    g_free(disk);
    return NULL;
}

const struct role disk_role = {
    .name = "disk",
    .summary = "PV block backend: disks of type qdisk",
    .backend = "qdisk",
    .options = disk_option_keys,
    .device_options = disk_device_option_keys,
    .commands = disk_commands,
    .meter = &disk_meter,
    /* QEMU also takes qdisk nodes: share them by name, and leave it those that come later. */
    .beside_qemu = "vdev=xvd",
    .fixed_beside_qemu = "hotplug=off",
    .start = disk_start,
    .stop = disk_stop,
};
