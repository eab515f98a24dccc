/* Changing a disk's medium while the guest uses the disk: see vbd.h. */

#define G_LOG_DOMAIN "disk"

#include <string.h>

#include "pvbackends/disk/vbd-private.h"
#include "pvbackends/worker.h"

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
    const char *params = vbd->drive.params;
    g_autofree char *note =
        g_strdup_printf("/libxl/%u/device/vbd/%s", vbd->drive.domid, strrchr(vbd->path, '/') + 1);
    return write_params_at(store, vbd->path, params, error) &&
           write_params_at(store, note, params, error);
}

/* The medium has been changed: xenstore has it, and the frontend is told. */
static void tell_all(struct vbd *vbd, GError **error)
{
    disk_drive_describe(&vbd->drive);
    if (!xen_store_transaction(vbd->store, write_params, vbd, error) ||
        !xenbus_device_publish(vbd->device, error))
        g_prefix_error(error,
                       "its medium is %s now, but xenstore does not say so: ", vbd->drive.params);
}

static bool all_stand_still(const struct vbd *vbd)
{
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue && vbd->queues[i].pausing)
            return false;
    }
    return true;
}

static void resume_queues(struct vbd *vbd)
{
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue)
            disk_queue_resume(vbd->queues[i].queue);
    }
}

/* The drive is ours again. */
static void end_change(void *opaque)
{
    struct vbd *vbd = opaque;
    struct vbd_change change = vbd->change;
    g_autoptr(GError) error = g_steal_pointer(&vbd->change_error);

    vbd->phase = VBD_UNCHANGED;
    vbd->drive.nr_engines = 0;
    g_atomic_int_set(&vbd->error_logged, 0);
    if (vbd->drive.replaced)
        g_atomic_int_set(&vbd->flush_lost, 0);
    if (vbd->was_lost && !disk_drive_lost(&vbd->drive))
        vbd_resume(vbd);
    if (!error)
        tell_all(vbd, &error);
    else if (vbd->drive.replaced && !disk_drive_lost(&vbd->drive))
        xenbus_device_publish(vbd->device, NULL); /* resized before something failed */
    if (error)
        g_prefix_error(&error, "disk %s: ", vbd->name);
    change.done(change.opaque, error);
    resume_queues(vbd);
    xenbus_device_release(vbd->device); /* and what the toolstack wrote meanwhile */
}

/* In a worker, which has the drive. */
static void make_change(void *opaque)
{
    struct vbd *vbd = opaque;
    vbd->change.work(&vbd->drive, vbd->change.opaque, &vbd->change_error);
}

static void begin_change(struct vbd *vbd)
{
    struct disk_drive *drive = &vbd->drive;

    vbd->phase = VBD_CHANGING;
    vbd->was_lost = disk_drive_lost(drive);
    drive->replaced = false;
    drive->nr_engines = 0;
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        if (vbd->queues[i].queue)
            drive->engines[drive->nr_engines++] = disk_queue_engine(vbd->queues[i].queue);
    }
    xenbus_device_hold(vbd->device);
    worker_run("disk-change", make_change, end_change, vbd);
}

/* The change is not made.  Each queue goes on, and there can be another when all have said so. */
static void drop_change(struct vbd *vbd)
{
    g_autoptr(GError) error = g_error_new(
        G_FILE_ERROR, G_FILE_ERROR_INTR,
        "disk %s: nothing was changed: the role stops, or nobody waits for it any more", vbd->name);
    struct vbd_change change = vbd->change;

    vbd->phase = all_stand_still(vbd) ? VBD_UNCHANGED : VBD_DROPPED;
    resume_queues(vbd);
    change.done(change.opaque, error);
}

void vbd_try_change(struct vbd *vbd)
{
    if (!all_stand_still(vbd))
        return;
    if (vbd->phase == VBD_PAUSING && xenbus_device_leaves(vbd->device)) {
        drop_change(vbd);
    } else if (vbd->phase == VBD_PAUSING) {
        begin_change(vbd);
    } else if (vbd->phase == VBD_DROPPED) {
        vbd->phase = VBD_UNCHANGED;
        vbd_changed(vbd); /* what the toolstack wrote meanwhile */
    }
}

void vbd_change_cancel(struct vbd *vbd, void *opaque)
{
    if (vbd->phase == VBD_PAUSING && vbd->change.opaque == opaque)
        drop_change(vbd);
}

bool vbd_change(struct vbd *vbd, const struct vbd_change *change, GError **error)
{
    if (vbd->phase != VBD_UNCHANGED) {
        g_set_error(
            error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
            "disk %s: another change is under way%s; try again when it has ended", vbd->name,
            vbd->phase == VBD_PAUSING ? ", and waits until the disk's requests are finished" : "");
        return false;
    }
    vbd->phase = VBD_PAUSING;
    vbd->change = *change;
    for (unsigned i = 0; i < vbd->nr_queues; i++) {
        vbd->queues[i].pausing = vbd->queues[i].queue != NULL;
        if (vbd->queues[i].queue)
            disk_queue_pause(vbd->queues[i].queue);
    }
    vbd_try_change(vbd);
    return true;
}

/* --- what the toolstack writes --- */

struct insertion {
    struct vbd *vbd;
    char *params;
};

static bool insert(struct disk_drive *drive, void *opaque, GError **error)
{
    const struct insertion *insertion = opaque;
    return disk_drive_insert(drive, insertion->params, error);
}

static void on_inserted(void *opaque, const GError *error)
{
    struct insertion *insertion = opaque;
    struct vbd *vbd = insertion->vbd;

    if (error && strcmp(vbd->drive.params, insertion->params) != 0) {
        g_warning("%s; the drive has what it had", error->message);
        g_free(vbd->refused_params);
        vbd->refused_params = g_steal_pointer(&insertion->params); /* not again */
    } else if (error) {
        g_warning("%s", error->message);
    }
    g_free(insertion->params);
    g_free(insertion);
}

void vbd_changed(void *opaque)
{
    struct vbd *vbd = opaque;
    g_autofree char *params = NULL;

    if (!vbd->drive.cdrom || vbd->phase != VBD_UNCHANGED)
        return;
    params = xen_store_read(vbd->store, vbd->path, "params", NULL);
    if (!params || strcmp(params, vbd->drive.params) == 0 ||
        g_strcmp0(params, vbd->refused_params) == 0)
        return;
    struct insertion *insertion = g_new0(struct insertion, 1);
    insertion->vbd = vbd;
    insertion->params = g_steal_pointer(&params);
    vbd_change(vbd, &(struct vbd_change){ insert, on_inserted, insertion }, NULL);
}
