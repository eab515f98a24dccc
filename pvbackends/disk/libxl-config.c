/* libxl's own copy of a guest's configuration: see libxl-config.h. */

#include "pvbackends/disk/libxl-config.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIRECTORY "/var/lib/xen"

#define LOCK_WAIT_US 2000000
#define LOCK_RETRY_US 10000

G_GNUC_PRINTF(2, 3)
static bool fail(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, what);
    return false;
}

/* libxl's name for the file NAME of a guest. */
static char *file_name(char kind, unsigned domid, const char *uuid, const char *name)
{
    const char *set = g_getenv("ROLEMODEL_LIBXL_DIR");
    return g_strdup_printf("%s/userdata-%c.%u.%s.%s", set ? set : DIRECTORY, kind, domid, uuid,
                           name);
}

/* --- the lock --- */

/* A descriptor that has it; or -1 and errno, which is EWOULDBLOCK while somebody else has it. */
static int try_lock(const char *path)
{
    struct stat ours, theirs;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (fstat(fd, &ours) == 0 && stat(path, &theirs) == 0 && ours.st_ino == theirs.st_ino &&
            ours.st_dev == theirs.st_dev)
            return fd;
        errno = EWOULDBLOCK; /* who had it has removed the file, and the next one has another */
    }
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static int take_lock(const char *path, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + LOCK_WAIT_US;
    int fd;

    while ((fd = try_lock(path)) < 0 && errno == EWOULDBLOCK && g_get_monotonic_time() < deadline)
        g_usleep(LOCK_RETRY_US);
    if (fd < 0)
        fail(error, "%s: %s", path,
             errno == EWOULDBLOCK ? "somebody else has the lock" : g_strerror(errno));
    return fd;
}

/* In this order: otherwise somebody could lock the file in between, and then lose it. */
static void give_lock_back(const char *path, int fd)
{
    unlink(path);
    close(fd);
}

/* --- the copy --- */

/* libxl ends it with a NUL, and needs that when it reads it. */
static json_t *load(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    gsize length;
    json_error_t problem;

    if (!g_file_get_contents(path, &text, &length, error))
        return NULL;
    json_t *config = json_loadb(text, strnlen(text, length), JSON_REJECT_DUPLICATES, &problem);
    if (!config)
        fail(error, "%s: line %d: %s", path, problem.line, problem.text);
    return config;
}

static bool store(const char *path, const json_t *config, GError **error)
{
    char *text = json_dumps(config, JSON_INDENT(4));
    bool stored = text ? g_file_set_contents_full(path, text, strlen(text) + 1,
                                                  G_FILE_SET_CONTENTS_CONSISTENT, 0600, error)
                       : fail(error, "%s: cannot be put into words again", path);
    free(text);
    return stored;
}

static json_t *find_disk(const json_t *config, const char *vdev)
{
    json_t *disk;
    size_t i;

    json_array_foreach(json_object_get(config, "disks"), i, disk)
    {
        if (g_strcmp0(json_string_value(json_object_get(disk, "vdev")), vdev) == 0)
            return disk;
    }
    return NULL;
}

static bool set_image(const char *path, const char *vdev, const char *format, const char *image,
                      GError **error)
{
    json_t *config = load(path, error);
    json_t *disk = find_disk(config, vdev);
    bool good = false;

    if (config && !disk)
        fail(error, "%s: there is no disk %s in it", path, vdev);
    else if (disk && (json_object_set_new(disk, "pdev_path", json_string(image)) < 0 ||
                      json_object_set_new(disk, "format", json_string(format)) < 0))
        fail(error, "%s: a path that is not UTF-8 cannot be in it", path);
    else
        good = disk && store(path, config, error);
    json_decref(config);
    return good;
}

bool libxl_config_set_image(unsigned domid, const char *uuid, const char *vdev, const char *format,
                            const char *path, GError **error)
{
    if (!uuid || !g_uuid_string_is_valid(uuid))
        return fail(error, "domain %u has no UUID in xenstore", domid);
    g_autofree char *copy = file_name('d', domid, uuid, "libxl-json");
    g_autofree char *update = file_name('d', domid, uuid, "xl");
    g_autofree char *lock = file_name('l', domid, uuid, "domain-userdata-lock");
    int fd = take_lock(lock, error);
    if (fd < 0)
        return false;
    bool good = set_image(copy, vdev, format, path, error);
    if (good && access(update, F_OK) == 0)
        good = fail(error, "%s, of `xl config-update`, is what xl takes first", update);
    give_lock_back(lock, fd);
    return good;
}
