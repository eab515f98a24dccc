/*
 * What an administrator can ask of a disk while the guest runs: see docs/disk.rst.
 *
 * A change of the medium waits until what the guest has asked for is done, and is made by a worker
 * while nothing is taken from its rings; the guest sees a pause.
 */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "pvbackends/disk/disk.h"
#include "pvbackends/disk/libxl-config.h"
#include "pvbackends/disk/media/base-mark.h"
#include "pvbackends/disk/media/image.h"
#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/request.h" /* DISK_SECTOR */

/* A change that was asked for: its worker's until that has ended. */
struct job {
    struct role_request *request;
    struct vbd *vbd;
    char *argument; /* a path or params */
    char *uuid;     /* of the guest; NULL if nobody has noted it */
    uint64_t bytes;
    char *text; /* the answer */
};

static void job_end(void *opaque, const GError *error)
{
    struct job *job = opaque;

    if (error)
        role_request_fail(job->request, error);
    else
        role_request_reply(job->request, job->text);
    g_free(job->argument);
    g_free(job->uuid);
    g_free(job->text);
    g_free(job);
}

struct search {
    const char *name;
    struct vbd *found;
};

static bool is_named(void *instance, void *opaque)
{
    struct search *search = opaque;
    if (strcmp(vbd_name(instance), search->name) == 0)
        search->found = instance;
    return !search->found;
}

/* The disk NAME; if there is none, the request is answered. */
static struct vbd *find(struct disk *disk, struct role_request *request, const char *name)
{
    struct search search = { name, NULL };
    xenbus_bus_each(disk->bus, is_named, &search);
    if (!search.found) {
        g_autoptr(GError) error =
            g_error_new(G_FILE_ERROR, G_FILE_ERROR_NOENT,
                        "this role serves no disk %s of the guest (`rolemodel disk list` shows "
                        "those that it does)",
                        name);
        role_request_fail(request, error);
    }
    return search.found;
}

/* Whoever asked for it has left, or the role stops. */
static void on_gone(void *opaque)
{
    struct job *job = opaque;
    vbd_change_cancel(job->vbd, job);
}

typedef bool job_fn(struct disk_drive *drive, void *job, GError **error);

/* Makes a change of the disk. */
static void run_job(struct vbd *vbd, struct role_request *request, job_fn *work,
                    const char *argument, uint64_t bytes)
{
    g_autoptr(GError) error = NULL;
    struct job *job = g_new0(struct job, 1);

    job->request = request;
    job->vbd = vbd;
    job->argument = g_strdup(argument);
    job->uuid = vbd_guest_uuid(vbd);
    job->bytes = bytes;
    role_request_on_gone(request, on_gone, job);
    if (!vbd_change(vbd, &(struct vbd_change){ work, job_end, job }, &error))
        job_end(job, error);
}

/* FORMAT and PATH of a medium that is one image file; they point into PARAMS. */
static bool split_params(char *params, const char **format, const char **path, GError **error)
{
    char *colon = strchr(params, ':');

    if (colon && colon[1] == '/') {
        *colon = '\0';
        *format = strcmp(params, "aio") == 0 ? "raw" : strcmp(params, "vhd") == 0 ? "vpc" : params;
        *path = colon + 1;
        return true;
    }
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                "%s: not an image file; use the tools of the storage that it is on", params);
    return false;
}

/* --- list --- */

static bool append_disk(void *instance, void *opaque)
{
    struct vbd *vbd = instance;
    const struct disk_medium *medium = vbd_medium(vbd);

    g_string_append_printf(opaque, "\n%-8s %-8s", vbd_name(vbd), vbd_state(vbd));
    if (medium)
        g_string_append_printf(opaque, " %8" PRIu64 "  %s", medium->sectors / 2048, medium->path);
    return true;
}

static void list(struct role_request *request, char *const *argv, void *instance)
{
    struct disk *disk = instance;
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_append_printf(text, "%-8s %-8s %8s  %s", "VDEV", "STATE", "MIB", "MEDIUM");
    xenbus_bus_each(disk->bus, append_disk, text);
    role_request_reply(request, text->str);
}

/* --- resize --- */

/* Bytes, with K, M, G or T as xl and qemu-img have them. */
static bool parse_size(const char *text, uint64_t *bytes, GError **error)
{
    static const char units[] = "KMGT";
    gsize length = strlen(text);
    const char *unit = length > 1 ? strchr(units, g_ascii_toupper(text[length - 1])) : NULL;
    unsigned shift = unit ? 10 * (unit - units + 1) : 0;
    g_autofree char *digits = g_strndup(text, unit ? length - 1 : length);
    guint64 number;

    if (!role_parse_uint(digits, 0, G_MAXINT64 >> shift, &number, error)) {
        g_prefix_error(error, "%s is not a size such as 20G: ", text);
        return false;
    }
    *bytes = number << shift;
    return true;
}

/* The size of a disk: whole sectors, and some. */
static bool parse_disk_size(const char *text, uint64_t *bytes, GError **error)
{
    if (!parse_size(text, bytes, error))
        return false;
    if (*bytes > 0 && *bytes % DISK_SECTOR == 0)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "%s is not a size such as 20G: a disk has whole sectors of %d bytes", text,
                DISK_SECTOR);
    return false;
}

struct resizing {
    const char *path, *format;
    uint64_t bytes; /* 0: others have resized it */
};

static bool resize_image(void *opaque, GError **error)
{
    const struct resizing *resizing = opaque;
    return resizing->bytes == 0 ||
           disk_image_resize(resizing->path, resizing->format, resizing->bytes, error);
}

/* One in a format: what knows that is closed first. */
static bool change_image_size(struct disk_drive *drive, uint64_t bytes, GError **error)
{
    g_autofree char *params = g_strdup(drive->params);
    g_autofree char *old = g_strdup(params);
    struct resizing resizing = { .bytes = bytes };

    return split_params(old, &resizing.format, &resizing.path, error) &&
           disk_drive_rework(drive, params, resize_image, &resizing, error);
}

static bool look_or_resize(struct disk_drive *drive, uint64_t bytes, GError **error)
{
    if (disk_drive_lost(drive) && bytes == 0)
        return disk_drive_find(drive, error);
    return drive->medium->daemon ? change_image_size(drive, bytes, error)
                                 : disk_drive_resize(drive, bytes / DISK_SECTOR, error);
}

static bool change_size(struct disk_drive *drive, void *opaque, GError **error)
{
    struct job *job = opaque;

    if (!look_or_resize(drive, job->bytes, error))
        return false;
    job->text = g_strdup_printf("%" PRIu64 " bytes", drive->medium->sectors * DISK_SECTOR);
    return true;
}

static void resize(struct role_request *request, char *const *argv, void *instance)
{
    g_autoptr(GError) error = NULL;
    uint64_t bytes = 0;

    if (argv[1] && !parse_disk_size(argv[1], &bytes, &error)) {
        role_request_fail(request, error);
        return;
    }
    struct vbd *vbd = find(instance, request, argv[0]);
    if (vbd)
        run_job(vbd, request, change_size, NULL, bytes);
}

/* --- snapshot --- */

struct overlay {
    const char *path, *backing, *format;
    bool made;
};

static bool make_overlay(void *opaque, GError **error)
{
    struct overlay *overlay = opaque;
    overlay->made =
        disk_image_make_overlay(overlay->path, overlay->backing, overlay->format, error);
    return overlay->made;
}

/* Has it an image that can have an overlay? */
static bool may_snapshot(const struct disk_drive *drive, GError **error)
{
    const struct disk_medium *medium = drive->medium;

    if (medium->read_only)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_ROFS, "nothing changes on a read-only disk");
    else if (medium->sector_size != DISK_SECTOR)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "the guest's partition table is for sectors of %u bytes, and a qcow2 file has "
                    "sectors of %u; use the snapshots of the storage",
                    medium->sector_size, DISK_SECTOR);
    else
        return true;
    return false;
}

/*
 * Sees to it that nobody goes on in the old image, while the guest has not yet written to the new
 * one.  Returns what the administrator must know, for g_free().
 */
static char *settle(const struct disk_drive *drive, const char *uuid, const struct overlay *overlay)
{
    g_autoptr(GError) not_noted = NULL;
    g_autoptr(GError) not_marked = NULL;
    bool noted =
        libxl_config_set_image(drive->domid, uuid, drive->name, "qcow2", overlay->path, &not_noted);
    bool marked = disk_base_mark(overlay->backing, overlay->path, &not_marked);
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_printf(text,
                    "%s stays as it is now; from here on the disk is %s%s. Before the next xl "
                    "create put that into the guest's configuration file: "
                    "\"format=qcow2,vdev=%s,backendtype=qdisk,target=%s\"",
                    overlay->backing, overlay->path, noted ? ", also if xl reboots the guest" : "",
                    drive->name, overlay->path);
    if (!noted)
        g_string_append_printf(
            text,
            "\nDo not reboot the guest, but use xl shutdown and xl create: xl's own copy of the "
            "configuration, which a reboot takes, could not be changed (%s)",
            not_noted->message);
    if (!marked)
        g_string_append_printf(text,
                               "\nNothing but you keeps guests from writing to the old image, "
                               "which would spoil the new one (%s)",
                               not_marked->message);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static bool change_to_overlay(struct disk_drive *drive, void *opaque, GError **error)
{
    struct job *job = opaque;
    g_autofree char *old = g_strdup(drive->params);
    g_autofree char *params = g_strdup_printf("qcow2:%s", job->argument);
    struct overlay overlay = { .path = job->argument };

    if (!may_snapshot(drive, error) || !split_params(old, &overlay.format, &overlay.backing, error))
        return false;
    if (!disk_drive_rework(drive, params, make_overlay, &overlay, error)) {
        if (overlay.made)
            unlink(overlay.path); /* the guest has not had it */
        return false;
    }
    job->text = settle(drive, job->uuid, &overlay);
    return true;
}

static void snapshot(struct role_request *request, char *const *argv, void *instance)
{
    g_autoptr(GError) error = NULL;

    if (!g_path_is_absolute(argv[1])) {
        g_set_error(&error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s: give the whole path (/...)",
                    argv[1]);
        role_request_fail(request, error);
        return;
    }
    struct vbd *vbd = find(instance, request, argv[0]);
    if (vbd)
        run_job(vbd, request, change_to_overlay, argv[1], 0);
}

/* --- CD --- */

static bool change_disc(struct disk_drive *drive, void *opaque, GError **error)
{
    struct job *job = opaque;
    return disk_drive_insert(drive, job->argument, error);
}

static void insert_params(struct disk *disk, struct role_request *request, const char *name,
                          const char *params)
{
    struct vbd *vbd = find(disk, request, name);

    if (vbd && vbd_is_cdrom(vbd)) {
        run_job(vbd, request, change_disc, params, 0);
    } else if (vbd) {
        g_autoptr(GError) error = g_error_new(
            G_FILE_ERROR, G_FILE_ERROR_INVAL,
            "disk %s: not a CD drive (devtype=cdrom): detach it and attach another", name);
        role_request_fail(request, error);
    }
}

static void insert(struct role_request *request, char *const *argv, void *instance)
{
    g_autofree char *params = g_strdup_printf("%s:%s", argv[2] ? argv[2] : "aio", argv[1]);
    insert_params(instance, request, argv[0], params);
}

static void eject(struct role_request *request, char *const *argv, void *instance)
{
    insert_params(instance, request, argv[0], "");
}

/* --- resume, throttle --- */

static bool find_medium(struct disk_drive *drive, void *opaque, GError **error)
{
    return disk_drive_find(drive, error);
}

static void resume(struct role_request *request, char *const *argv, void *instance)
{
    struct vbd *vbd = find(instance, request, argv[0]);
    const struct disk_medium *medium = vbd ? vbd_medium(vbd) : NULL;

    if (vbd && (!medium || medium->lost))
        run_job(vbd, request, find_medium, NULL, 0);
    else if (vbd)
        role_request_reply(request, vbd_resume(vbd) ? NULL : "no error had stopped it");
}

static void reply_limits(struct role_request *request, struct vbd *vbd)
{
    uint64_t iops, bytes;

    disk_throttle_get(vbd_throttle(vbd), &iops, &bytes);
    g_autofree char *text = g_strdup_printf("iops=%" PRIu64 " bytes-per-second=%" PRIu64 "%s", iops,
                                            bytes, iops || bytes ? "" : " (0: no limit)");
    role_request_reply(request, text);
}

/* KEY=NUMBER */
static bool parse_limit(const char *setting, uint64_t *iops, uint64_t *bytes, GError **error)
{
    bool of_iops = g_str_has_prefix(setting, "iops=");
    if (!of_iops && !g_str_has_prefix(setting, "bytes-per-second=")) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "%s is not understood (use iops=NUMBER or bytes-per-second=SIZE; 0: no limit)",
                    setting);
        return false;
    }
    return parse_size(strchr(setting, '=') + 1, of_iops ? iops : bytes, error);
}

static void throttle(struct role_request *request, char *const *argv, void *instance)
{
    g_autoptr(GError) error = NULL;
    struct vbd *vbd = find(instance, request, argv[0]);

    uint64_t iops, bytes;

    if (!vbd)
        return;
    disk_throttle_get(vbd_throttle(vbd), &iops, &bytes);
    for (char *const *setting = argv + 1; *setting; setting++) {
        if (!parse_limit(*setting, &iops, &bytes, &error)) {
            role_request_fail(request, error);
            return;
        }
    }
    if (argv[1]) /* to show them forgives no debt */
        disk_throttle_set(vbd_throttle(vbd), iops, bytes);
    reply_limits(request, vbd);
}

/* --- attach, detach --- */

static void on_attached(void *opaque, const GError *error)
{
    if (error)
        role_request_fail(opaque, error);
    else
        role_request_reply(opaque, NULL);
}

static void attach(struct role_request *request, char *const *argv, void *instance)
{
    disk_attach(instance, argv[0], on_attached, request);
}

const struct role_command disk_commands[] = {
    { "list", NULL, "The disks that the role serves", 0, 0, list },
    { "attach", "SPEC", "Attach a disk, as xl's disk= has it", 1, 1, attach },
    { "resize", "VDEV [SIZE]", "Grow it, or shrink it where it is empty; or look anew", 1, 2,
      resize },
    { "snapshot", "VDEV OVERLAY", "Go on in OVERLAY, a new qcow2 file; the old one stays", 2, 2,
      snapshot },
    { "insert", "VDEV FILE [FORMAT]", "Put a medium into a CD drive", 2, 3, insert },
    { "eject", "VDEV", "Take it out", 1, 1, eject },
    { "resume", "VDEV", "Go on after an error (on-error=stop)", 1, 1, resume },
    { "throttle", "VDEV [iops=N] [bytes-per-second=SIZE]", "Show or set limits; 0 is none", 1, 3,
      throttle },
    { NULL },
};
