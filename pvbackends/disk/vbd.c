/* One virtual block device: see vbd.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/vbd-private.h"

#include <inttypes.h>
#include <string.h>

#include "pvbackends/disk/counters.h"
#include "pvbackends/disk/frontend.h"
#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/media/medium.h"
#include "pvbackends/disk/queue.h"
#include "pvbackends/disk/media/source.h"

/*
 * After `xl reboot` the guest's former device model may still be finishing its last writes; xl
 * itself waits for us for 60 s, an administrator not that long.
 */
#define LOCK_WAIT_MS 4000

static bool vbd_wants(struct xenbus_device *device, void *opaque)
{
    const struct vbd_role *role = opaque;
    if (!role->vdev_prefix)
        return true;
    g_autofree char *name =
        xen_store_read(xenbus_device_store(device), xenbus_device_path(device), "dev", NULL);
    return name && g_str_has_prefix(name, role->vdev_prefix);
}

struct disk_medium *vbd_open_medium(const struct vbd *vbd, const char *params, GError **error)
{
    const char *colon = params ? strchr(params, ':') : NULL;
    const struct disk_source source = {
        .params = params,
        .read_only = vbd->read_only,
        .domid = xenbus_device_domid(vbd->device),
        .lock_wait_ms = LOCK_WAIT_MS,
    };

    if (vbd->cdrom && (!colon || colon[1] == '\0'))
        return disk_medium_empty();
    return disk_source_open(&source, error);
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
    vbd->cdrom = g_strcmp0(type, "cdrom") == 0;
    vbd->read_only = vbd->cdrom || mode[0] != 'w';
    vbd->discard_enabled = discard;
    vbd->medium = vbd_open_medium(vbd, params, error);
    vbd->params = g_steal_pointer(&params);
    return vbd->medium != NULL;
}

struct disk_limits vbd_limits(const struct vbd *vbd, const struct disk_medium *medium)
{
    bool discard = vbd->discard_enabled && !medium->read_only && medium->discard;

    return (struct disk_limits){ .sectors = medium->sectors,
                                 .alignment = medium->sector_size / DISK_SECTOR,
                                 .read_only = medium->read_only,
                                 .discard = discard,
                                 .secure_discard = discard && medium->secure_discard };
}

void vbd_describe(const struct vbd *vbd)
{
    const struct disk_medium *medium = vbd->medium;
    g_autofree char *manner = disk_medium_manner(medium);

    if (medium->driver == &disk_io_none)
        g_message("disk %s: a drive without a medium", vbd->name);
    else
        g_message("disk %s: %s: %" PRIu64 " MiB, %s, %s%s", vbd->name, medium->path,
                  medium->sectors / 2048, medium->read_only ? "read-only" : "read-write", manner,
                  vbd_limits(vbd, medium).discard ? ", discard" : "");
}

static void vbd_remove(void *opaque)
{
    struct vbd *vbd = opaque;
    disk_medium_close(vbd->medium);
    disk_throttle_free(vbd->throttle);
    g_free(vbd->params);
    g_free(vbd->refused_params);
    disk_counters_close(vbd->counters);
    g_free(vbd->name);
    g_free(vbd);
}

/* Without them the disk is served all the same. */
static void open_counters(struct vbd *vbd)
{
    g_autoptr(GError) error = NULL;
    vbd->counters = disk_counters_open(xenbus_device_domid(vbd->device),
                                       strrchr(vbd->path, '/') + 1, vbd->name, &error);
    if (!vbd->counters)
        g_warning("disk %s: not in `rolemodel top`: %s", vbd->name, error->message);
}

static void *vbd_probe(struct xenbus_device *device, void *opaque, GError **error)
{
    const struct vbd_role *role = opaque;
    struct vbd *vbd = g_new0(struct vbd, 1);
    vbd->device = device;
    vbd->throttle = disk_throttle_new(g_get_monotonic_time);
    vbd->store = xenbus_device_store(device);
    vbd->path = xenbus_device_path(device);
    vbd->name = xen_store_read(vbd->store, vbd->path, "dev", NULL);
    if (!vbd->name)
        vbd->name = g_strdup(strrchr(vbd->path, '/') + 1);

    if (!role->options(vbd->name, &vbd->options, role->opaque, error) ||
        !read_configuration(vbd, error)) {
        g_prefix_error(error, "disk %s: ", vbd->name);
        vbd_remove(vbd);
        return NULL;
    }
    open_counters(vbd);
    disk_throttle_set(vbd->throttle, vbd->options.iops, vbd->options.bytes_per_second);
    vbd_describe(vbd);
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
    const struct vbd_options *options = &vbd->options;
    const struct disk_limits limits = vbd_limits(vbd, medium);
    unsigned info =
        (vbd->cdrom ? VDISK_CDROM | VDISK_REMOVABLE : 0) | (medium->read_only ? VDISK_READONLY : 0);

    if (vbd->discard_offered && !publish_number(vbd, "feature-discard", limits.discard, error))
        return false;
    if (limits.discard &&
        (!publish_number(vbd, "feature-discard", 1, error) ||
         !publish_number(vbd, "discard-granularity", medium->discard_granularity, error) ||
         !publish_number(vbd, "discard-alignment", medium->discard_alignment, error)))
        return false;
    vbd->discard_offered |= limits.discard;
    if (limits.secure_discard && !publish_number(vbd, "discard-secure", 1, error))
        return false;
    if (medium->physical != medium->sector_size &&
        !publish_number(vbd, "physical-sector-size", medium->physical, error))
        return false;
    if (options->max_queues > 1 &&
        !publish_number(vbd, "multi-queue-max-queues", options->max_queues, error))
        return false;
    if (options->max_indirect_segments > 0 &&
        !publish_number(vbd, "feature-max-indirect-segments", options->max_indirect_segments,
                        error))
        return false;
    if (options->max_ring_page_order > 0 &&
        !publish_number(vbd, "max-ring-page-order", options->max_ring_page_order, error))
        return false;
    if (options->persistent && !publish_number(vbd, "feature-persistent", 1, error))
        return false;
    return publish_number(vbd, "feature-barrier", 1, error) &&
           publish_number(vbd, "feature-flush-cache", 1, error) &&
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

static void on_queue_halted(void *opaque)
{
    struct vbd_queue *queue = opaque;
    queue->vbd->halted = true;
}

static void on_queue_paused(void *opaque)
{
    struct vbd_queue *queue = opaque;
    queue->vbd->nr_paused++;
    vbd_try_change(queue->vbd);
}

static void on_queue_stopped(void *opaque)
{
    struct vbd_queue *queue = opaque;
    struct vbd *vbd = queue->vbd;

    queue->queue = NULL;
    vbd->nr_stopped++;
    vbd_try_change(vbd);
    if (vbd->nr_stopped < vbd->nr_queues)
        return;
    vbd->nr_queues = 0;
    disk_counters_set_queues(vbd->counters, 0);
    vbd->halted = false;
    xenbus_device_disconnected(vbd->device);
}

static const struct disk_queue_events queue_events = {
    .broken = on_queue_broken,
    .halted = on_queue_halted,
    .paused = on_queue_paused,
    .stopped = on_queue_stopped,
};

static bool open_queue(struct vbd *vbd, struct disk_frontend *frontend, unsigned number,
                       GError **error)
{
    struct disk_queue_config config = {
        .engine = { .name = vbd->name,
                    .domid = xenbus_device_domid(vbd->device),
                    .abi = frontend->abi,
                    .ring_refs = frontend->queues[number].ring_refs,
                    .nr_ring_pages = frontend->nr_ring_pages,
                    .medium = vbd->medium,
                    .limits = vbd_limits(vbd, vbd->medium),
                    .throttle = vbd->throttle,
                    .detect_zeroes =
                        vbd->options.detect_zeroes && vbd_limits(vbd, vbd->medium).discard,
                    .stop_on_error = vbd->options.stop_on_error,
                    .persistent = frontend->persistent,
                    .map_failures = &vbd->map_failures,
                    .flush_lost = &vbd->flush_lost,
                    .error_logged = &vbd->error_logged,
                    .counters = disk_counters_queue(vbd->counters, number) },
        .port = frontend->queues[number].port,
        .poll = vbd->options.poll,
        .events = &queue_events,
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
    const struct disk_offer offer = { .queues = vbd->options.max_queues,
                                      .ring_order = vbd->options.max_ring_page_order,
                                      .persistent = vbd->options.persistent };

    if (!disk_frontend_read(&frontend, vbd->store, xenbus_device_frontend(vbd->device), &offer,
                            error) ||
        !open_queues(vbd, &frontend, error)) {
        g_prefix_error(error, "disk %s: ", vbd->name);
        return false;
    }
    vbd->nr_queues = frontend.nr_queues;
    disk_counters_set_queues(vbd->counters, vbd->nr_queues);
    vbd->nr_stopped = vbd->nr_paused = 0;
    vbd->broken = vbd->halted = false;
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

const char *vbd_name(const struct vbd *vbd)
{
    return vbd->name;
}

struct disk_medium *vbd_medium(const struct vbd *vbd)
{
    return vbd->medium;
}

struct disk_throttle *vbd_throttle(struct vbd *vbd)
{
    return vbd->throttle;
}

bool vbd_is_cdrom(const struct vbd *vbd)
{
    return vbd->cdrom;
}

const char *vbd_state(const struct vbd *vbd)
{
    if (vbd->halted)
        return "stopped"; /* by an error */
    return vbd->nr_queues > 0 ? "in use" : "waiting";
}

bool vbd_announce(struct vbd *vbd, GError **error)
{
    return xenbus_device_publish(vbd->device, error);
}

bool vbd_resume(struct vbd *vbd)
{
    bool halted = vbd->halted;

    vbd->halted = false;
    g_atomic_int_set(&vbd->error_logged, 0);
    for (unsigned i = 0; halted && i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue)
            disk_queue_retry(vbd->queues[i].queue);
    }
    return halted;
}

const struct xenbus_driver vbd_driver = {
    .backend = "qdisk",
    .wants = vbd_wants,
    .probe = vbd_probe,
    .publish = vbd_publish,
    .connect = vbd_connect,
    .disconnect = vbd_disconnect,
    .check = vbd_check,
    .changed = vbd_changed,
    .remove = vbd_remove,
};
