/* The medium of a disk: see drive.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/drive.h"

#include <inttypes.h>
#include <string.h>

#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/media/source.h"

/*
 * After `xl reboot` the guest's former device model may still be finishing its last writes; xl
 * itself waits for us for 60 s, an administrator not that long.
 */
#define LOCK_WAIT_MS 4000

static struct disk_medium *open_medium(const struct disk_drive *drive, const char *params,
                                       GError **error)
{
    const char *colon = strchr(params, ':');
    const struct disk_source source = {
        .params = params,
        .read_only = drive->read_only,
        .domid = drive->domid,
        .lock_wait_ms = LOCK_WAIT_MS,
    };

    if (drive->cdrom && (!colon || colon[1] == '\0'))
        return disk_medium_empty();
    return disk_source_open(&source, error);
}

bool disk_drive_open(struct disk_drive *drive, GError **error)
{
    drive->medium = open_medium(drive, drive->params, error);
    return drive->medium != NULL;
}

void disk_drive_close(struct disk_drive *drive)
{
    disk_medium_close(g_steal_pointer(&drive->medium));
}

static struct disk_limits limits_of(const struct disk_drive *drive,
                                    const struct disk_medium *medium)
{
    bool discard = drive->discard_enabled && !medium->read_only && medium->discard;

    return (struct disk_limits){ .sectors = medium->sectors,
                                 .alignment = medium->sector_size / DISK_SECTOR,
                                 .read_only = medium->read_only,
                                 .discard = discard,
                                 .secure_discard = discard && medium->secure_discard };
}

struct disk_limits disk_drive_limits(const struct disk_drive *drive)
{
    return limits_of(drive, drive->medium);
}

void disk_drive_describe(const struct disk_drive *drive)
{
    const struct disk_medium *medium = drive->medium;
    g_autofree char *manner = disk_medium_manner(medium);

    if (medium->driver == &disk_io_none)
        g_message("disk %s: a drive without a medium", drive->name);
    else
        g_message("disk %s: %s: %" PRIu64 " MiB, %s, %s%s", drive->name, medium->path,
                  medium->sectors / 2048, medium->read_only ? "read-only" : "read-write", manner,
                  disk_drive_limits(drive).discard ? ", discard" : "");
}

bool disk_drive_lost(const struct disk_drive *drive)
{
    return drive->medium->lost;
}

/* The I/O of each engine on MEDIUM, all or none. */
static bool open_io(const struct disk_drive *drive, const struct disk_medium *medium,
                    struct disk_io *io[DISK_QUEUES_MAX], GError **error)
{
    for (unsigned i = 0; i < drive->nr_engines; i++) {
        io[i] = disk_engine_open_io(drive->engines[i], medium, error);
        if (!io[i]) {
            while (i-- > 0)
                disk_io_close(io[i]);
            return false;
        }
    }
    return true;
}

/* Takes another MEDIUM, which belongs to the drive then, or the same one in another size. */
static bool use(struct disk_drive *drive, struct disk_medium *medium, GError **error)
{
    struct disk_io *io[DISK_QUEUES_MAX] = { NULL };
    const struct disk_limits limits = limits_of(drive, medium);
    bool other = medium != drive->medium;

    if (other && !open_io(drive, medium, io, error))
        return false;
    for (unsigned i = 0; i < drive->nr_engines; i++)
        disk_engine_use(drive->engines[i], medium, &limits, io[i]);
    if (other)
        disk_medium_close(drive->medium);
    drive->replaced |= other;
    drive->medium = medium;
    return true;
}

/* Opens the medium of PARAMS and takes it. */
static bool use_params(struct disk_drive *drive, const char *params, GError **error)
{
    struct disk_medium *medium = open_medium(drive, params, error);

    if (!medium || !use(drive, medium, error)) {
        disk_medium_close(medium);
        return false;
    }
    char *noted = g_strdup(params); /* first: it may be the old one */
    g_free(drive->params);
    drive->params = noted;
    return true;
}

bool disk_drive_find(struct disk_drive *drive, GError **error)
{
    return use_params(drive, drive->params, error);
}

bool disk_drive_insert(struct disk_drive *drive, const char *params, GError **error)
{
    return use_params(drive, params, error);
}

/*
 * Closes the medium.  What the guest was told is written there must be durable before: flushes that
 * come later go to the next medium, and a daemon that cannot be had now takes its write log along.
 */
static bool take_out(struct disk_drive *drive, GError **error)
{
    if (!disk_io_flush_medium(drive->medium, error))
        return false;
    struct disk_medium *lost = disk_medium_lost(drive->medium);
    if (use(drive, lost, error))
        return true;
    disk_medium_close(lost);
    return false;
}

/* What failed is told; that the old medium cannot be had either is worse. */
static void restore(struct disk_drive *drive)
{
    g_autoptr(GError) error = NULL;

    if (!disk_drive_find(drive, &error))
        g_critical(
            "disk %s: its medium is gone, the guest's requests %s: %s; look after the image, "
            "then `rolemodel disk resume GUEST %s` takes it again",
            drive->name, drive->holds ? "wait" : "fail", error->message, drive->name);
}

bool disk_drive_rework(struct disk_drive *drive, const char *params, disk_work_fn *work,
                       void *opaque, GError **error)
{
    if (!take_out(drive, error))
        return false;
    if (work(opaque, error) && use_params(drive, params, error))
        return true;
    restore(drive);
    return false;
}

bool disk_drive_resize(struct disk_drive *drive, uint64_t sectors, GError **error)
{
    return disk_medium_resize(drive->medium, sectors, error) && use(drive, drive->medium, error);
}
