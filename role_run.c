/* The directory of a guest's processes: see role_run.h. */

#include "role_run.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "xen/error.h"
#include "xen/store.h"

#define RUN_DIR "/run/rolemodel"

static const char *run_dir(void)
{
    const char *set = g_getenv("ROLEMODEL_RUN_DIR");
    return set ? set : RUN_DIR;
}

char *role_run_path(unsigned domid, const char *name)
{
    g_autofree char *number = g_strdup_printf("%u", domid);
    return g_build_filename(run_dir(), number, name, NULL);
}

bool role_run_make(unsigned domid, GError **error)
{
    g_autofree char *path = role_run_path(domid, NULL);
    if (g_mkdir_with_parents(path, 0700) == 0)
        return true;
    xen_set_error(error, "cannot make the directory %s", path);
    return false;
}

void role_run_remove(unsigned domid, const char *name)
{
    g_autofree char *path = role_run_path(domid, name);
    g_autofree char *directory = role_run_path(domid, NULL);
    unlink(path);
    rmdir(directory); /* which fails while there is something in it */
}

bool role_run_listens(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 ||
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        if (fd >= 0)
            close(fd);
        return true; /* for all we know */
    }
    bool listens = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ||
                   errno == EAGAIN; /* it has many clients */
    close(fd);
    return listens;
}

/* What is in the directory at PATH and in those in it, and itself. */
static void remove_directory(const char *path, unsigned depth)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        if (unlink(entry) < 0 && errno == EISDIR && depth > 0)
            remove_directory(entry, depth - 1);
    }
    rmdir(path);
}

/* A role has its socket until it has released everything. */
static bool is_in_use(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    bool used = false;

    while (dir && !used && (name = g_dir_read_name(dir))) {
        g_autofree char *entry = g_build_filename(path, name, NULL);
        used = role_run_listens(entry);
    }
    return used;
}

void role_run_sweep(struct xen_store *store)
{
    g_autoptr(GDir) dir = g_dir_open(run_dir(), 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        guint64 domid;
        if (!g_ascii_string_to_unsigned(name, 10, 1, G_MAXUINT16, &domid, NULL) ||
            !xen_store_domain_gone(store, domid))
            continue;
        g_autofree char *path = role_run_path(domid, NULL);
        if (!is_in_use(path))
            remove_directory(path, 1);
    }
}
