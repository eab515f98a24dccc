/* Image locks: see lock.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* QEMU's permissions, as bit numbers and so as offsets of the bytes that stand for them. */
enum permission { CONSISTENT_READ, WRITE, WRITE_UNCHANGED, RESIZE };

#define USES(permission) (100 + (permission))
#define FORBIDS(permission) (200 + (permission))

#define RETRY_US 20000

/* What stands between us and the lock. */
enum outcome { TAKEN, IN_USE, IMPOSSIBLE };

static enum outcome byte_lock(int fd, off_t byte)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return TAKEN;
    return errno == EAGAIN || errno == EACCES ? IN_USE : IMPOSSIBLE;
}

/* Whether nobody else has a lock on the byte; our own do not count. */
static enum outcome byte_free(int fd, off_t byte)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return IMPOSSIBLE;
    return lock.l_type == F_UNLCK ? TAKEN : IN_USE;
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
static enum outcome try_take(int fd, bool write)
{
    static const off_t ours[] = { USES(CONSISTENT_READ), FORBIDS(WRITE), FORBIDS(RESIZE) };
    static const off_t others[] = { FORBIDS(CONSISTENT_READ), USES(WRITE), USES(RESIZE) };
    enum outcome outcome = TAKEN;

    for (size_t i = 0; i < G_N_ELEMENTS(ours) && outcome == TAKEN; i++)
        outcome = byte_lock(fd, ours[i]);
    if (outcome == TAKEN && write)
        outcome = byte_lock(fd, USES(WRITE));
    for (size_t i = 0; i < G_N_ELEMENTS(others) && outcome == TAKEN; i++)
        outcome = byte_free(fd, others[i]);
    if (outcome == TAKEN && write)
        outcome = byte_free(fd, FORBIDS(WRITE));
    if (outcome != TAKEN) {
        int err = errno;
        unlock_all(fd);
        errno = err;
    }
    return outcome;
}

static bool set_error(GError **error, enum outcome outcome, bool write, const char *path)
{
    if (outcome == IMPOSSIBLE)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "%s: its file system cannot lock it: %s (keep the image where locks work; NFS "
                    "needs lockd on both sides)",
                    path, g_strerror(errno));
    else
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
                    "%s: another process %s; stop that one (`lsof %s` names it) or give every "
                    "guest that shares the image read-only access",
                    path, write ? "is using the image" : "is writing to the image", path);
    return false;
}

bool disk_lock_take(int fd, bool write, unsigned wait_ms, const char *path, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)wait_ms * 1000;
    for (;;) {
        enum outcome outcome = try_take(fd, write);
        if (outcome == TAKEN)
            return true;
        if (outcome == IMPOSSIBLE || g_get_monotonic_time() >= deadline)
            return set_error(error, outcome, write, path);
        g_usleep(RETRY_US);
    }
}
