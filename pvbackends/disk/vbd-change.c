/* Changing a disk's medium while the guest uses the disk: see vbd.h. */

#define G_LOG_DOMAIN "disk"

#include <string.h>

#include "pvbackends/disk/libxl-config.h"
#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/vbd-private.h"

void vbd_try_change(struct vbd *vbd)
{
    if (!vbd->change || vbd->nr_paused + vbd->nr_stopped < vbd->nr_queues)
        return;
    vbd_change_fn *change = g_steal_pointer(&vbd->change);
    change(vbd, vbd->change_opaque);
    vbd->nr_paused = 0;
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue)
            disk_queue_resume(vbd->queues[i].queue);
    }
    vbd_changed(vbd); /* what the toolstack wrote meanwhile */
}

bool vbd_change(struct vbd *vbd, vbd_change_fn *change, void *opaque, GError **error)
{
    if (vbd->change) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
                    "disk %s: another change waits until the disk's requests are finished",
                    vbd->name);
        return false;
    }
    vbd->change = change;
    vbd->change_opaque = opaque;
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue)
            disk_queue_pause(vbd->queues[i].queue);
    }
    vbd_try_change(vbd);
    return true;
}

/* The I/O of each queue on MEDIUM, all or none. */
static bool open_io(const struct vbd *vbd, const struct disk_medium *medium,
                    struct disk_io *io[DISK_QUEUES_MAX], GError **error)
{
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (!vbd->queues[i].queue)
            continue;
        io[i] = disk_engine_open_io(disk_queue_engine(vbd->queues[i].queue), medium, error);
        if (!io[i]) {
            while (i-- > 0)
                disk_io_close(io[i]);
            return false;
        }
    }
    return true;
}

bool vbd_use(struct vbd *vbd, struct disk_medium *medium, GError **error)
{
    struct disk_io *io[DISK_QUEUES_MAX] = { NULL };
    const struct disk_limits limits = vbd_limits(vbd, medium);
    bool other = medium != vbd->medium;

    if (other && !open_io(vbd, medium, io, error))
        return false;
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue)
            disk_engine_use(disk_queue_engine(vbd->queues[i].queue), medium, &limits, io[i]);
    }
    if (other) {
        disk_medium_close(vbd->medium);
        g_atomic_int_set(&vbd->flush_lost, 0);
    }
    vbd->medium = medium;
    g_atomic_int_set(&vbd->error_logged, 0);
    return true;
}

static bool write_params_at(struct xen_store *store, const char *dir, const char *params,
                            GError **error)
{
    g_autofree char *old = xen_store_read(store, dir, "params", NULL);
    return !old || strcmp(old, params) == 0 ||
           xen_store_write(store, dir, "params", error, "%s", params);
}

/* In the toolstack's own note as well.  What it has removed meanwhile stays removed. */
static bool write_params(struct xen_store *store, void *opaque, GError **error)
{
    const struct vbd *vbd = opaque;
    g_autofree char *note = g_strdup_printf(
        "/libxl/%u/device/vbd/%s", xenbus_device_domid(vbd->device), strrchr(vbd->path, '/') + 1);
    return write_params_at(store, vbd->path, vbd->params, error) &&
           write_params_at(store, note, vbd->params, error);
}

static bool note_params(struct vbd *vbd, const char *params, GError **error)
{
    char *noted = g_strdup(params); /* first: it may be the old one */
    g_free(vbd->params);
    vbd->params = noted;
    vbd_describe(vbd);
    return xen_store_transaction(vbd->store, write_params, vbd, error);
}

/* Opens the medium of PARAMS and takes it. */
static bool use_params(struct vbd *vbd, const char *params, GError **error)
{
    struct disk_medium *medium = vbd_open_medium(vbd, params, error);

    if (medium && vbd_use(vbd, medium, error))
        return true;
    disk_medium_close(medium);
    return false;
}

/* The medium has been changed, to that of PARAMS. */
static bool tell_all(struct vbd *vbd, const char *params, GError **error)
{
    if (note_params(vbd, params, error) && vbd_announce(vbd, error))
        return true;
    g_prefix_error(
        error, "disk %s: its medium is %s now, but xenstore does not say so: ", vbd->name, params);
    return false;
}

bool vbd_insert(struct vbd *vbd, const char *params, GError **error)
{
    if (use_params(vbd, params, error))
        return tell_all(vbd, params, error);
    g_prefix_error(error, "disk %s: ", vbd->name);
    return false;
}

/*
 * Closes the medium.  What the guest was told is written there must be durable before: flushes that
 * come later go to the next medium, and a daemon that cannot be had now takes its write log along.
 */
static bool take_out(struct vbd *vbd, GError **error)
{
    if (!disk_io_flush_medium(vbd->medium, error))
        return false;
    struct disk_medium *empty = disk_medium_empty();
    if (vbd_use(vbd, empty, error))
        return true;
    disk_medium_close(empty);
    return false;
}

/* What failed is told; that the old medium cannot be had either is worse. */
static void restore(struct vbd *vbd)
{
    g_autoptr(GError) error = NULL;
    if (use_params(vbd, vbd->params, &error))
        vbd_announce(vbd, NULL); /* it may have been resized before something failed */
    else
        g_critical("disk %s: its medium is gone, the guest's requests fail: %s; look after the "
                   "image, then `rolemodel disk resize GUEST %s` takes it again",
                   vbd->name, error->message, vbd->name);
}

bool vbd_rework(struct vbd *vbd, const char *params, vbd_work_fn *work, void *opaque,
                GError **error)
{
    bool out = take_out(vbd, error);

    if (out && work(opaque, error) && use_params(vbd, params, error))
        return tell_all(vbd, params, error);
    g_prefix_error(error, "disk %s: ", vbd->name);
    if (out)
        restore(vbd);
    return false;
}

bool vbd_note_image(const struct vbd *vbd, const char *format, const char *path, GError **error)
{
    unsigned domid = xenbus_device_domid(vbd->device);
    g_autofree char *home = g_strdup_printf("/local/domain/%u", domid);
    g_autofree char *vm = xen_store_read(vbd->store, home, "vm", error); /* "/vm/UUID" */

    return vm && libxl_config_set_image(domid, strrchr(vm, '/') ? strrchr(vm, '/') + 1 : vm,
                                        vbd->name, format, path, error);
}

const char *vbd_params(const struct vbd *vbd)
{
    return vbd->params;
}

static void follow_params(struct vbd *vbd, void *opaque)
{
    g_autofree char *params = opaque;
    g_autoptr(GError) error = NULL;

    if (vbd_insert(vbd, params, &error))
        return;
    g_warning("%s; the drive has what it had", error->message);
    g_free(vbd->refused_params);
    vbd->refused_params = g_steal_pointer(&params); /* not again */
}

void vbd_changed(void *opaque)
{
    struct vbd *vbd = opaque;
    g_autofree char *params = NULL;

    if (!vbd->cdrom || vbd->change)
        return;
    params = xen_store_read(vbd->store, vbd->path, "params", NULL);
    if (!params || strcmp(params, vbd->params) == 0 || g_strcmp0(params, vbd->refused_params) == 0)
        return;
    vbd_change(vbd, follow_params, g_steal_pointer(&params), NULL);
}
