/* Directories for sockets: see socket-dir.h. */

#include "pvbackends/disk/media/socket-dir.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "role_run.h"
#include "xen/error.h"

/* Those of this process are PREFIX PID - something. */
#define PREFIX "daemon-"

/* What names of sockets add. */
#define NAME_ROOM strlen("/4294967295")

static void remove_all(const char *directory)
{
    GDir *dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        g_unlink(path);
    }
    g_clear_pointer(&dir, g_dir_close);
    g_rmdir(directory);
}

/* A role that was killed could not tidy up. */
static void remove_stale(const char *parent)
{
    GDir *dir = g_dir_open(parent, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (!g_str_has_prefix(name, PREFIX))
            continue;
        guint64 pid = g_ascii_strtoull(name + strlen(PREFIX), NULL, 10);
        g_autofree char *path = g_build_filename(parent, name, NULL);
        if (pid > 0 && pid <= G_MAXINT && kill(pid, 0) < 0 && errno == ESRCH)
            remove_all(path);
    }
    g_clear_pointer(&dir, g_dir_close);
}

char *disk_socket_dir_make(unsigned domid, GError **error)
{
    g_autofree char *parent = role_run_path(domid, NULL);
    g_autofree char *directory = g_strdup_printf("%s/" PREFIX "%d-XXXXXX", parent, getpid());

    if (strlen(directory) + NAME_ROOM >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG,
                    "%s: too long a path for sockets (is $ROLEMODEL_RUN_DIR meant to be so?)",
                    directory);
        return NULL;
    }
    if (!role_run_make(domid, error))
        return NULL;
    remove_stale(parent);
    if (!g_mkdtemp(directory)) {
        xen_set_error(error, "cannot make a directory in %s", parent);
        return NULL;
    }
    return g_steal_pointer(&directory);
}

char *disk_socket_dir_name(const char *directory, unsigned number)
{
    return g_strdup_printf("%s/%u", directory, number);
}

void disk_socket_dir_remove(const char *directory)
{
    if (!directory)
        return;
    g_autofree char *parent = g_path_get_dirname(directory);
    g_rmdir(directory);
    g_rmdir(parent);
}
