/* One virtual block device: see vbd.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/vbd.h"

#include <inttypes.h>
#include <string.h>

#include "pvbackends/disk/frontend.h"
#include "pvbackends/disk/medium.h"
#include "pvbackends/disk/queue.h"

/*
 * After `xl reboot` the guest's former device model may still be finishing its last writes; xl
 * itself waits for us for 60 s, an administrator not that long.
 */
#define LOCK_WAIT_MS 4000

#define LEAVE_IT                                                                                   \
    "leave the disks to QEMU (HVM guests: device_model_args=[\"-role\",\"disk=off\"]; others: no " \
    "device_model_override)"

struct vbd {
    struct xenbus_device *device;
    struct xen_store *store;
    const char *path; /* of the backend's nodes */
    char *name;       /* as the guest's configuration has it: xvda */
    bool cdrom;
    bool discard;
    struct disk_medium *medium;
    unsigned max_queues; /* to offer */
    bool persistent;     /* to offer */
    struct vbd_queue {
        struct vbd *vbd;
        struct disk_queue *queue; /* NULL when it has stopped */
    } queues[DISK_QUEUES_MAX];
    unsigned nr_queues;  /* 0 unless connected */
    unsigned nr_stopped; /* of these */
    bool broken;         /* one of them */
    gint error_logged;   /* atomic: the queues' */
    gint map_failures;   /* the same */
};

static bool vbd_wants(struct xenbus_device *device, void *opaque)
{
    const struct vbd_options *options = opaque;
    if (!options->vdev_prefix)
        return true;
    g_autofree char *name =
        xen_store_read(xenbus_device_store(device), xenbus_device_path(device), "dev", NULL);
    return name && g_str_has_prefix(name, options->vdev_prefix);
}

/* libxl's "FORMAT:PATH"; the path, or NULL and an error if it is not ours to serve. */
static const char *parse_params(const char *params, GError **error)
{
    const char *colon = strchr(params, ':');
    if (g_str_has_prefix(params, "aio:") && colon[1] != '\0')
        return colon + 1;
    if (!colon || colon[1] == '\0')
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "a drive without a medium is not served yet: give it one, or " LEAVE_IT);
    else
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "%s: format %.*s is not served yet: convert the image (qemu-img convert -O "
                    "raw) and use format=raw, or " LEAVE_IT,
                    colon + 1, (int)(colon - params), params);
    return NULL;
}

static bool read_configuration(struct vbd *vbd, GError **error)
{
    g_autofree char *type = xen_store_read(vbd->store, vbd->path, "device-type", NULL);
    g_autofree char *mode = xen_store_read(vbd->store, vbd->path, "mode", error);
    g_autofree char *params = mode ? xen_store_read(vbd->store, vbd->path, "params", error) : NULL;
    uint64_t discard;

    if (!params ||
        !xen_store_read_uint_or(vbd->store, vbd->path, "discard-enable", 0, 1, 1, &discard, error))
        return false;
    const char *path = parse_params(params, error);
    if (!path)
        return false;
    vbd->cdrom = g_strcmp0(type, "cdrom") == 0;
    bool read_only = vbd->cdrom || mode[0] != 'w';
    vbd->medium = disk_medium_open(path, read_only, LOCK_WAIT_MS, error);
    vbd->discard = discard && vbd->medium && vbd->medium->discard && !read_only;
    return vbd->medium != NULL;
}

static void vbd_remove(void *opaque)
{
    struct vbd *vbd = opaque;
    disk_medium_close(vbd->medium);
    g_free(vbd->name);
    g_free(vbd);
}

static void *vbd_probe(struct xenbus_device *device, void *opaque, GError **error)
{
    const struct vbd_options *options = opaque;
    struct vbd *vbd = g_new0(struct vbd, 1);
    vbd->device = device;
    vbd->max_queues = CLAMP(options->max_queues, 1, DISK_QUEUES_MAX);
    vbd->persistent = options->persistent;
    vbd->store = xenbus_device_store(device);
    vbd->path = xenbus_device_path(device);
    vbd->name = xen_store_read(vbd->store, vbd->path, "dev", NULL);
    if (!vbd->name)
        vbd->name = g_strdup(strrchr(vbd->path, '/') + 1);

    if (!read_configuration(vbd, error)) {
        g_prefix_error(error, "disk %s: ", vbd->name);
        vbd_remove(vbd);
        return NULL;
    }
    g_message("disk %s: %s: %" PRIu64 " MiB, %s, %s%s", vbd->name, vbd->medium->path,
              vbd->medium->sectors / 2048, vbd->medium->read_only ? "read-only" : "read-write",
              vbd->medium->direct ? "direct" : "through the page cache",
              vbd->discard ? ", discard" : "");
    return vbd;
}

static bool publish_number(struct vbd *vbd, const char *node, uint64_t value, GError **error)
{
    return xen_store_write(vbd->store, vbd->path, node, error, "%" PRIu64, value);
}

/*
 * All of it before InitWait, because firmware reads it without waiting for Connected.  What blkif.h
 * gives as the default is left out: each node costs a round trip to xenstored at guest start.
 */
static bool vbd_publish(void *opaque, GError **error)
{
    struct vbd *vbd = opaque;
    const struct disk_medium *medium = vbd->medium;
    unsigned info = (vbd->cdrom ? VDISK_CDROM : 0) | (medium->read_only ? VDISK_READONLY : 0);

    if (vbd->discard &&
        (!publish_number(vbd, "feature-discard", 1, error) ||
         !publish_number(vbd, "discard-granularity", medium->discard_granularity, error) ||
         !publish_number(vbd, "discard-alignment", medium->discard_alignment, error)))
        return false;
    if (medium->physical != medium->sector_size &&
        !publish_number(vbd, "physical-sector-size", medium->physical, error))
        return false;
    if (vbd->max_queues > 1 &&
        !publish_number(vbd, "multi-queue-max-queues", vbd->max_queues, error))
        return false;
    if (vbd->persistent && !publish_number(vbd, "feature-persistent", 1, error))
        return false;
    return publish_number(vbd, "feature-flush-cache", 1, error) &&
           publish_number(vbd, "feature-max-indirect-segments", DISK_SEGMENTS_MAX, error) &&
           publish_number(vbd, "max-ring-page-order", DISK_RING_ORDER_MAX, error) &&
           publish_number(vbd, "info", info, error) &&
           publish_number(vbd, "sector-size", medium->sector_size, error) &&
           publish_number(vbd, "sectors", medium->sectors, error);
}

static void on_queue_broken(void *opaque)
{
    struct vbd_queue *queue = opaque;
    struct vbd *vbd = queue->vbd;
    if (vbd->broken)
        return;
    vbd->broken = true;
    g_autofree char *message = g_strdup_printf(
        "disk %s: the guest's ring has more requests than it can hold; closed", vbd->name);
    xenbus_device_fail(vbd->device, message);
}

static void on_queue_stopped(void *opaque)
{
    struct vbd_queue *queue = opaque;
    struct vbd *vbd = queue->vbd;

    queue->queue = NULL;
    if (++vbd->nr_stopped < vbd->nr_queues)
        return;
    vbd->nr_queues = 0;
    xenbus_device_disconnected(vbd->device);
}

static bool open_queue(struct vbd *vbd, struct disk_frontend *frontend, unsigned number,
                       GError **error)
{
    const struct disk_medium *medium = vbd->medium;
    struct disk_queue_config config = {
        .engine = { .name = vbd->name,
                    .domid = xenbus_device_domid(vbd->device),
                    .abi = frontend->abi,
                    .ring_refs = frontend->queues[number].ring_refs,
                    .nr_ring_pages = frontend->nr_ring_pages,
                    .medium = medium,
                    .limits = { .sectors = medium->sectors,
                                .alignment = medium->sector_size / DISK_SECTOR,
                                .read_only = medium->read_only,
                                .discard = vbd->discard },
                    .persistent = frontend->persistent,
                    .map_failures = &vbd->map_failures,
                    .error_logged = &vbd->error_logged },
        .port = frontend->queues[number].port,
        .broken = on_queue_broken,
        .stopped = on_queue_stopped,
        .opaque = &vbd->queues[number],
    };
    vbd->queues[number].vbd = vbd;
    vbd->queues[number].queue = disk_queue_open(&config, error);
    return vbd->queues[number].queue != NULL;
}

/* All of them or none; no request is taken before all are there. */
static bool open_queues(struct vbd *vbd, struct disk_frontend *frontend, GError **error)
{
    unsigned opened = 0;

    while (opened < frontend->nr_queues && open_queue(vbd, frontend, opened, error))
        opened++;
    if (opened == frontend->nr_queues)
        return true;
    while (opened > 0)
        disk_queue_cancel(vbd->queues[--opened].queue);
    return false;
}

static bool vbd_connect(void *opaque, GError **error)
{
    struct vbd *vbd = opaque;
    struct disk_frontend frontend;

    if (!disk_frontend_read(&frontend, vbd->store, xenbus_device_frontend(vbd->device),
                            vbd->max_queues, vbd->persistent, error) ||
        !open_queues(vbd, &frontend, error)) {
        g_prefix_error(error, "disk %s: ", vbd->name);
        return false;
    }
    vbd->nr_queues = frontend.nr_queues;
    vbd->nr_stopped = 0;
    vbd->broken = false;
    for (unsigned i = 0; i < vbd->nr_queues; i++)
        disk_queue_start(vbd->queues[i].queue);
    return true;
}

static void vbd_disconnect(void *opaque)
{
    struct vbd *vbd = opaque;
    for (unsigned i = 0; i < vbd->nr_queues; i++)
        disk_queue_stop(vbd->queues[i].queue);
}

static bool vbd_check(void *opaque)
{
    struct vbd *vbd = opaque;
    bool good = true;
    for (unsigned i = 0; i < vbd->nr_queues; i++)
        good &= !vbd->queues[i].queue || disk_queue_check(vbd->queues[i].queue);
    return good;
}

const struct xenbus_driver vbd_driver = {
    .backend = "qdisk",
    .wants = vbd_wants,
    .probe = vbd_probe,
    .publish = vbd_publish,
    .connect = vbd_connect,
    .disconnect = vbd_disconnect,
    .check = vbd_check,
    .remove = vbd_remove,
};
