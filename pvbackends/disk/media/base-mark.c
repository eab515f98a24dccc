/* The mark of an image that has an overlay: see base-mark.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/base-mark.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MARK "user.rolemodel.overlay"

bool disk_base_mark(const char *base, const char *overlay, GError **error)
{
    int fd = open(base, O_RDONLY | O_CLOEXEC);
    bool marked =
        fd >= 0 && fsetxattr(fd, MARK, overlay, strlen(overlay), 0) == 0 && fsync(fd) == 0;

    if (!marked)
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "%s cannot be given the attribute " MARK ": %s", base, g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return marked;
}

bool disk_base_check(const char *path, GError **error)
{
    char overlay[PATH_MAX];
    ssize_t length = getxattr(path, MARK, overlay, sizeof(overlay) - 1);

    if (length < 0)
        return true;
    overlay[length] = '\0';
    if (access(overlay, F_OK) < 0 && errno == ENOENT) {
        g_message("%s: its overlay %s is not there any more", path, overlay);
        return true;
    }
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_ROFS,
                "%s is the base of %s, made by `rolemodel disk snapshot`, and to write to it would "
                "spoil that: use the overlay (format=qcow2,target=%s) or, to give the overlay up, "
                "remove the mark (package attr): setfattr -x " MARK " %s",
                path, overlay, overlay, path);
    return false;
}
