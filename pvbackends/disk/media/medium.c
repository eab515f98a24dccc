/* The file or block device behind a disk: see medium.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/medium.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "pvbackends/disk/media/daemon.h"
#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/media/lock.h"
#include "pvbackends/disk/request.h" /* DISK_SECTOR */

#define DIRECT_ALIGNMENT 4096 /* of memory, enough for every device */

G_GNUC_PRINTF(3, 4)
static void set_error(GError **error, const struct disk_medium *medium, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: %s", medium->path, what);
}

static bool set_errno_error(GError **error, const struct disk_medium *medium, int err)
{
    const char *remedy = "";
    if (err == ENOENT)
        remedy = " (check the path in the disk line of the guest's configuration)";
    else if (err == EACCES || err == EPERM)
        remedy = medium->read_only ? " (the device model must be allowed to read it)"
                                   : " (the device model must be allowed to write it; for a "
                                     "read-only disk use access=ro in the disk line)";
    else if (err == EROFS)
        remedy = " (use access=ro in the disk line for a read-only disk)";
    set_error(error, medium, "%s%s", g_strerror(err), remedy);
    return false;
}

static int try_open(const struct disk_medium *medium, int flags)
{
    return open(medium->path, flags | O_CLOEXEC | (medium->read_only ? O_RDONLY : O_RDWR));
}

/* With O_DIRECT if it can read single sectors so, else through the page cache. */
static bool open_fd(struct disk_medium *medium, GError **error)
{
    medium->fd = try_open(medium, O_DIRECT);
    if (medium->fd >= 0) {
        void *sector = g_aligned_alloc(1, DIRECT_ALIGNMENT, DIRECT_ALIGNMENT);
        size_t size = medium->device ? DIRECT_ALIGNMENT : DISK_SECTOR;
        medium->direct = pread(medium->fd, sector, size, 0) >= 0;
        g_aligned_free(sector);
        if (medium->direct)
            return true;
        close(medium->fd);
    } else if (errno != EINVAL) {
        return set_errno_error(error, medium, errno);
    }
    medium->fd = try_open(medium, 0);
    return medium->fd >= 0 || set_errno_error(error, medium, errno);
}

/* A number from the device's directory in sysfs, 0 if there is none. */
static uint64_t sysfs_number(dev_t device, const char *name)
{
    g_autofree char *path =
        g_strdup_printf("/sys/dev/block/%u:%u/%s", major(device), minor(device), name);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    return g_ascii_strtoull(text, NULL, 10);
}

/*
 * Whether the device can discard so that nothing is left, which sysfs does not tell: a range that
 * is not aligned is refused for that only by those who could.
 */
static bool erases_securely(const struct disk_medium *medium)
{
    uint64_t range[2] = { 1, 0 };
    return !medium->read_only && ioctl(medium->fd, BLKSECDISCARD, range) < 0 && errno == EINVAL;
}

static bool measure_device(struct disk_medium *medium, const struct stat *status, GError **error)
{
    uint64_t bytes;
    int logical, read_only;
    unsigned physical;

    if (ioctl(medium->fd, BLKGETSIZE64, &bytes) < 0 || ioctl(medium->fd, BLKSSZGET, &logical) < 0 ||
        ioctl(medium->fd, BLKPBSZGET, &physical) < 0 || ioctl(medium->fd, BLKROGET, &read_only) < 0)
        return set_errno_error(error, medium, errno);
    if (read_only && !medium->read_only)
        return set_errno_error(error, medium, EROFS);
    medium->sectors = bytes / DISK_SECTOR;
    medium->sector_size = logical;
    medium->physical = MAX(physical, (unsigned)logical);
    /* A partition has no queue of its own. */
    bool partition = sysfs_number(status->st_rdev, "partition") > 0;
    const char *queue = partition ? "../queue/" : "queue/";
    g_autofree char *max = g_strconcat(queue, "discard_max_bytes", NULL);
    g_autofree char *granularity = g_strconcat(queue, "discard_granularity", NULL);
    medium->discard = sysfs_number(status->st_rdev, max) > 0;
    medium->secure_discard = medium->discard && erases_securely(medium);
    medium->discard_granularity = sysfs_number(status->st_rdev, granularity);
    medium->discard_alignment = sysfs_number(status->st_rdev, "discard_alignment");
    return true;
}

static int punch_hole(int fd, off_t offset, off_t length)
{
    int result;
    do {
        result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

static bool measure_file(struct disk_medium *medium, const struct stat *status, GError **error)
{
    medium->sectors = status->st_size / DISK_SECTOR;
    medium->sector_size = DISK_SECTOR;
    medium->physical = DISK_SECTOR;
    if (medium->sectors == 0) {
        set_error(error, medium,
                  "the file is empty (make it as large as the disk shall be: "
                  "truncate -s SIZE)");
        return false;
    }
    if (status->st_size % DISK_SECTOR)
        g_message("%s: the last %d bytes are less than a sector and not part of the disk",
                  medium->path, (int)(status->st_size % DISK_SECTOR));
    /* A hole beyond the end changes nothing, but tells whether the file system can do it. */
    medium->discard =
        !medium->read_only && punch_hole(medium->fd, status->st_size, DISK_SECTOR) == 0;
    medium->discard_granularity = status->st_blksize;
    return true;
}

/*
 * The configuration says raw, or we would not be here.  A guest that is given an image's
 * container instead of its content would destroy it with its first write.
 */
static bool refuse_other_formats(const struct disk_medium *medium, GError **error)
{
    static const struct {
        const char *magic, *format;
    } known[] = {
        { "QFI\xfb", "qcow2" },
        { "KDMV", "vmdk" },
        { "vhdxfile", "vhdx" },
    };
    char *start = g_aligned_alloc0(1, DIRECT_ALIGNMENT, DIRECT_ALIGNMENT);
    ssize_t length = pread(medium->fd, start, DIRECT_ALIGNMENT, 0);
    const char *found = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(known) && length > 0; i++) {
        if (memcmp(start, known[i].magic, strlen(known[i].magic)) == 0)
            found = known[i].format;
    }
    g_aligned_free(start);
    if (found)
        set_error(error, medium, "format raw was asked for, but the file is %s (use format=%s)",
                  found, found);
    return !found;
}

static bool check_type(const struct disk_medium *medium, const struct stat *status, GError **error)
{
    if (medium->device ? S_ISBLK(status->st_mode) : S_ISREG(status->st_mode))
        return true;
    set_error(error, medium, "%s, not a file or a block device",
              S_ISDIR(status->st_mode) ? "is a directory" : "is something else");
    return false;
}

struct disk_medium *disk_medium_open(const char *path, bool read_only, unsigned lock_wait_ms,
                                     GError **error)
{
    struct disk_medium *medium = g_new0(struct disk_medium, 1);
    struct stat status = { 0 };
    medium->driver = &disk_io_aio;
    medium->path = g_strdup(path);
    medium->fd = -1;
    medium->read_only = read_only;

    /* By path first, because opening a pipe would block; then again what was opened and locked. */
    bool good = stat(path, &status) == 0 || set_errno_error(error, medium, errno);
    medium->device = S_ISBLK(status.st_mode);
    good = good && check_type(medium, &status, error) && open_fd(medium, error) &&
           disk_lock_take(medium->fd, !read_only, lock_wait_ms, path, error) &&
           (fstat(medium->fd, &status) == 0 || set_errno_error(error, medium, errno)) &&
           check_type(medium, &status, error) &&
           (medium->device ? measure_device(medium, &status, error)
                           : measure_file(medium, &status, error)) &&
           (medium->device || refuse_other_formats(medium, error));
    if (good)
        return medium;
    disk_medium_close(medium);
    return NULL;
}

struct disk_medium *disk_medium_empty(void)
{
    struct disk_medium *medium = g_new0(struct disk_medium, 1);
    medium->driver = &disk_io_none;
    medium->path = g_strdup("(no medium)");
    medium->fd = -1;
    medium->read_only = true;
    medium->sector_size = medium->physical = DISK_SECTOR;
    return medium;
}

struct disk_medium *disk_medium_lost(const struct disk_medium *medium)
{
    struct disk_medium *lost = g_memdup2(medium, sizeof(*medium));
    lost->driver = &disk_io_none;
    lost->path = g_strdup(medium->path);
    lost->format = NULL;
    lost->daemon = NULL;
    lost->fd = -1;
    lost->direct = false;
    lost->lost = true;
    return lost;
}

/* Whether the file has data from sector FROM on, or might have. */
static bool has_data(const struct disk_medium *medium, uint64_t from)
{
    return lseek(medium->fd, from * DISK_SECTOR, SEEK_DATA) >= 0 || errno != ENXIO;
}

static bool set_length(const struct disk_medium *medium, uint64_t sectors, GError **error)
{
    if (medium->device) {
        set_error(error, medium,
                  "a block device is resized by its own tools (lvextend); then "
                  "`rolemodel disk resize` without a size makes it known");
        return false;
    }
    if (medium->read_only) {
        set_error(error, medium, "the disk is read-only");
        return false;
    }
    if (sectors < medium->sectors && has_data(medium, sectors)) {
        set_error(error, medium,
                  "it has data beyond that size: let the guest discard it first "
                  "(blkdiscard, fstrim), or choose a larger size");
        return false;
    }
    return ftruncate(medium->fd, sectors * DISK_SECTOR) == 0 ||
           set_errno_error(error, medium, errno);
}

bool disk_medium_resize(struct disk_medium *medium, uint64_t sectors, GError **error)
{
    struct disk_medium anew = *medium;
    struct stat status;

    if (medium->fd < 0) {
        set_error(error, medium, "there is nothing to resize");
        return false;
    }
    if (sectors > 0 && !set_length(medium, sectors, error))
        return false;
    if (fstat(medium->fd, &status) < 0)
        return set_errno_error(error, medium, errno);
    bool good = medium->device ? measure_device(&anew, &status, error)
                               : measure_file(&anew, &status, error);
    if (good)
        *medium = anew;
    return good;
}

void disk_medium_close(struct disk_medium *medium)
{
    if (!medium)
        return;
    disk_daemon_stop(medium->daemon);
    if (medium->fd >= 0)
        close(medium->fd);
    g_free(medium->format);
    g_free(medium->path);
    g_free(medium);
}

char *disk_medium_manner(const struct disk_medium *medium)
{
    if (medium->daemon)
        return g_strdup_printf("%s through qemu-storage-daemon", medium->format);
    return g_strdup(medium->direct ? "direct" : "through the page cache");
}

int disk_medium_erase(const struct disk_medium *medium, int kind, uint64_t sector, uint64_t sectors)
{
    uint64_t range[2] = { sector * DISK_SECTOR, sectors * DISK_SECTOR };

    if (!medium->device)
        return kind == DISK_IO_SECURE_DISCARD ? -EOPNOTSUPP
                                              : punch_hole(medium->fd, range[0], range[1]);
    unsigned long command = kind == DISK_IO_DISCARD          ? BLKDISCARD
                            : kind == DISK_IO_SECURE_DISCARD ? BLKSECDISCARD
                                                             : BLKZEROOUT;
    return ioctl(medium->fd, command, range) < 0 ? -errno : 0;
}
