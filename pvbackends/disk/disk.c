/*
 * The disk role: serves a guest's virtual block devices of type qdisk.
 *
 *   disk.c     the role
 *   commands.c what an administrator can ask of it; attach.c of attaching a disk
 *   vbd.c      one disk: xenstore, medium, negotiation
 *   frontend.c what the guest's driver asks for
 *   queue.c    one ring: the thread that serves it
 *   engine.c   what is done with a ring's requests, turn by turn
 *   ring.c     the shared pages' layout and indexes
 *   request.c  reading and checking one request
 *   throttle.c limits on requests and bytes a second
 *   pool.c     the memory that data passes through
 *   transfer.c data from and to the guest's pages
 *   mappings.c those pages that stay mapped
 *   io.c       asynchronous I/O: io-aio.c on files and block devices, io-none.c without a medium
 *   medium.c   the file or block device; lock.c its lock
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "disk"

#include <string.h>

#include "pvbackends/disk/disk.h"
#include "pvbackends/disk/frontend.h"
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

/* As many queues as the guest has vCPUs, but no more than can run at a time. */
static unsigned default_queues(struct role_process *process)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/cpu", role_process_domid(process));
    g_auto(GStrv) vcpus = xen_store_list(role_process_store(process), path);
    unsigned most = MIN(g_get_num_processors(), DISK_QUEUES_MAX);
    return CLAMP(g_strv_length(vcpus), 1, most);
}

/* An option that is "on" or "off". */
static bool read_switch(struct role_process *process, const char *key, bool fallback, bool *value,
                        GError **error)
{
    const char *text = role_process_option(process, key);
    *value = text ? strcmp(text, "on") == 0 : fallback;
    if (!text || *value || strcmp(text, "off") == 0)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "disk: %s=%s is not understood (use %s=on or %s=off)", key, text, key, key);
    return false;
}

/* What is done with an I/O error: the guest gets it, or the disk stops until it is resumed. */
static bool read_on_error(struct role_process *process, bool *stop, GError **error)
{
    const char *text = role_process_option(process, "on-error");
    *stop = g_strcmp0(text, "stop") == 0;
    if (!text || *stop || strcmp(text, "report") == 0)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "disk: on-error=%s is not understood (use on-error=report or on-error=stop)", text);
    return false;
}

static void *disk_start(struct role_process *process, GError **error)
{
    guint64 max_queues;
    guint64 iops, bytes;
    bool hotplug, persistent, detect_zeroes, stop_on_error;

    if (!read_switch(process, "hotplug", true, &hotplug, error) ||
        !read_switch(process, "persistent", false, &persistent, error) ||
        !read_switch(process, "detect-zeroes", false, &detect_zeroes, error) ||
        !read_on_error(process, &stop_on_error, error))
        return NULL;
    if (!role_process_option_uint(process, "max-queues", 1, DISK_QUEUES_MAX,
                                  default_queues(process), &max_queues, error) ||
        !role_process_option_uint(process, "iops", 0, G_MAXUINT32, 0, &iops, error) ||
        !role_process_option_uint(process, "bytes-per-second", 0, G_MAXINT64, 0, &bytes, error))
        return NULL;
    struct disk *disk = g_new0(struct disk, 1);
    disk->process = process;
    disk->options.max_queues = max_queues;
    disk->options.persistent = persistent;
    disk->options.detect_zeroes = detect_zeroes;
    disk->options.stop_on_error = stop_on_error;
    disk->options.iops = iops;
    disk->options.bytes_per_second = bytes;
    disk->options.vdev_prefix = role_process_option(process, "vdev");
    disk->bus = xenbus_bus_new(role_process_store(process), role_process_domid(process),
                               &vbd_driver, &disk->options, hotplug, error);
    if (disk->bus) {
        role_process_set_check(process, xenbus_bus_check, disk->bus);
        return disk;
    }
    g_free(disk);
    return NULL;
}

static const char *const disk_options[] = {
    "bytes-per-second", "detect-zeroes", "hotplug", "iops", "max-queues",
    "on-error",         "persistent",    "vdev",    NULL,
};

const struct role disk_role = {
    .name = "disk",
    .summary = "PV block backend: disks of type qdisk",
    .backend = "qdisk",
    .options = disk_options,
    .commands = disk_commands,
    /* QEMU also takes qdisk nodes: share them by name, and leave it those that come later. */
    .beside_qemu = "vdev=xvd",
    .fixed_beside_qemu = "hotplug=off",
    .start = disk_start,
    .stop = disk_stop,
};
