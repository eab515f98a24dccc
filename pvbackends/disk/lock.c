/* Image locks: see lock.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* QEMU's permissions, as bit numbers and so as offsets of the bytes that stand for them. */
enum permission { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE };

#define USES(permission) (100 + (permission))
#define FORBIDS(permission) (200 + (permission))

#define RETRY_US 20000

static bool byte_lock(int fd, off_t byte)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* Whether somebody else has a lock on the byte; an answer we cannot have counts as yes. */
static bool byte_taken(int fd, off_t byte)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, F_OFD_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

static void unlock_all(int fd)
{
    struct flock lock = { .l_type = F_UNLCK,
                          .l_whence = SEEK_SET,
                          .l_start = USES(0),
                          .l_len = FORBIDS(RESIZE) + 1 - USES(0) };
    fcntl(fd, F_OFD_SETLK, &lock);
}

/* One attempt; locks first and looks after, so that of two at once at least one sees the other. */
static bool try_take(int fd, bool write)
{
    bool good = byte_lock(fd, USES(CONSISTENT_READ)) && byte_lock(fd, FORBIDS(WRITE)) &&
                byte_lock(fd, FORBIDS(RESIZE)) && (!write || byte_lock(fd, USES(WRITE)));
    good = good && !byte_taken(fd, FORBIDS(CONSISTENT_READ)) && !byte_taken(fd, USES(RESIZE));
    /* A writer's own "forbids write" is for others: the test looks past our own locks. */
    good = good && !byte_taken(fd, USES(WRITE)) && (!write || !byte_taken(fd, FORBIDS(WRITE)));
    if (!good)
        unlock_all(fd);
    return good;
}

bool disk_lock_take(int fd, bool write, unsigned wait_ms, const char *path, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)wait_ms * 1000;
    for (;;) {
        if (try_take(fd, write))
            return true;
        if (g_get_monotonic_time() >= deadline)
            break;
        g_usleep(RETRY_US);
    }
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
                "%s: another process %s; stop that one (`lsof %s` names it) or give every guest "
                "that shares the image read-only access",
                path, write ? "is using the image" : "is writing to the image", path);
    return false;
}
