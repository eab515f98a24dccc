/* One virtual block device: see vbd.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/vbd-private.h"

#include <inttypes.h>
#include <string.h>

#include "pvbackends/disk/counters.h"
#include "pvbackends/disk/frontend.h"
#include "pvbackends/disk/queue.h"

static bool vbd_wants(struct xenbus_device *device, void *opaque)
{
    const struct vbd_role *role = opaque;
    if (!role->vdev_prefix)
        return true;
    g_autofree char *name =
        xen_store_read(xenbus_device_store(device), xenbus_device_path(device), "dev", NULL);
    return name && g_str_has_prefix(name, role->vdev_prefix);
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
    bool cdrom = g_strcmp0(type, "cdrom") == 0;
    vbd->drive = (struct disk_drive){
        .name = vbd->name,
        .domid = xenbus_device_domid(vbd->device),
        .cdrom = cdrom,
        .read_only = cdrom || mode[0] != 'w',
        .discard_enabled = discard,
        .holds = vbd->options.stop_on_error,
        .params = g_steal_pointer(&params),
    };
    return true;
}

static void vbd_remove(void *opaque)
{
    struct vbd *vbd = opaque;
    disk_throttle_free(vbd->throttle);
    g_free(vbd->drive.params);
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
    disk_throttle_set(vbd->throttle, vbd->options.iops, vbd->options.bytes_per_second);
    return vbd;
}

static bool vbd_open(void *opaque, GError **error)
{
    struct vbd *vbd = opaque;

    if (!disk_drive_open(&vbd->drive, error)) {
        g_prefix_error(error, "disk %s: ", vbd->name);
        return false;
    }
    open_counters(vbd);
    disk_drive_describe(&vbd->drive);
    return true;
}

static void vbd_close(void *opaque)
{
    struct vbd *vbd = opaque;
    disk_drive_close(&vbd->drive);
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
    const struct disk_medium *medium = vbd->drive.medium;
    const struct vbd_options *options = &vbd->options;
    const struct disk_limits limits = disk_drive_limits(&vbd->drive);
    unsigned info = (vbd->drive.cdrom ? VDISK_CDROM | VDISK_REMOVABLE : 0) |
                    (medium->read_only ? VDISK_READONLY : 0);

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
    queue->pausing = false;
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
    const struct disk_limits limits = disk_drive_limits(&vbd->drive);
    struct disk_queue_config config = {
        .engine = { .name = vbd->name,
                    .domid = xenbus_device_domid(vbd->device),
                    .abi = frontend->abi,
                    .ring_refs = frontend->queues[number].ring_refs,
                    .nr_ring_pages = frontend->nr_ring_pages,
                    .medium = vbd->drive.medium,
                    .limits = limits,
                    .throttle = vbd->throttle,
                    .detect_zeroes = vbd->options.detect_zeroes && limits.discard,
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
    vbd->queues[number].pausing = false;
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
    vbd->nr_stopped = 0;
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

char *vbd_guest_uuid(const struct vbd *vbd)
{
    g_autofree char *home = g_strdup_printf("/local/domain/%u", vbd->drive.domid);
    g_autofree char *vm = xen_store_read(vbd->store, home, "vm", NULL); /* "/vm/UUID" */
    const char *slash = vm ? strrchr(vm, '/') : NULL;

    return slash ? g_strdup(slash + 1) : NULL;
}

const char *vbd_name(const struct vbd *vbd)
{
    return vbd->name;
}

const struct disk_medium *vbd_medium(const struct vbd *vbd)
{
    return vbd->phase == VBD_CHANGING ? NULL : vbd->drive.medium;
}

struct disk_throttle *vbd_throttle(struct vbd *vbd)
{
    return vbd->throttle;
}

bool vbd_is_cdrom(const struct vbd *vbd)
{
    return vbd->drive.cdrom;
}

const char *vbd_state(const struct vbd *vbd)
{
    if (vbd->phase == VBD_CHANGING)
        return "changing";
    if (vbd->phase == VBD_PAUSING)
        return "pausing"; /* for a change */
    if (vbd->halted)
        return "stopped"; /* by an error */
    if (disk_drive_lost(&vbd->drive))
        return "lost";
    return vbd->nr_queues > 0 ? "in use" : "waiting";
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
    .open = vbd_open,
    .publish = vbd_publish,
    .connect = vbd_connect,
    .disconnect = vbd_disconnect,
    .check = vbd_check,
    .changed = vbd_changed,
    .close = vbd_close,
    .remove = vbd_remove,
};
