/* A listening socket for QMP: see qmp-listener.h. */

#define G_LOG_DOMAIN "qmp"
#include "toolstack/qmp-listener.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "xen/error.h"

/* libxl connects once at a time; xenstat and an administrator may come too. */
#define BACKLOG 8

/* How long to let a process without free descriptors find some, in seconds. */
#define ACCEPT_PAUSE 1

struct qmp_listener {
    int fd;
    char *path; /* to be removed, or NULL */
    qmp_listener_fn *fn;
    void *opaque;
    guint source;
};

static gboolean listener_resume(void *opaque);

static gboolean listener_accept(gint fd, GIOCondition condition, gpointer opaque)
{
    struct qmp_listener *listener = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client >= 0) {
        listener->fn(client, listener->opaque);
        return G_SOURCE_CONTINUE;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return G_SOURCE_CONTINUE;
    /* The client stays in the queue and the socket readable: try later, not in a busy loop. */
    g_warning("cannot accept a QMP client: %s", g_strerror(errno));
    listener->source = g_timeout_add_seconds(ACCEPT_PAUSE, listener_resume, listener);
    return G_SOURCE_REMOVE;
}

static gboolean listener_resume(void *opaque)
{
    struct qmp_listener *listener = opaque;
    listener->source = g_unix_fd_add(listener->fd, G_IO_IN, listener_accept, listener);
    return G_SOURCE_REMOVE;
}

/* Unlinks what an earlier process left at PATH, but nothing that is not a socket. */
static bool remove_stale(const char *path, GError **error)
{
    struct stat st;
    if (lstat(path, &st) < 0) {
        if (errno == ENOENT)
            return true;
    } else if (!S_ISSOCK(st.st_mode)) {
        xen_set_error_errno(error, EEXIST, "QMP: %s is in the way (remove it)", path);
        return false;
    } else if (unlink(path) == 0) {
        return true;
    }
    xen_set_error(error, "QMP: cannot put a socket at %s", path);
    return false;
}

struct qmp_listener *qmp_listener_new(const char *path, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (strlen(path) >= sizeof(address.sun_path)) {
        xen_set_error_errno(error, ENAMETOOLONG, "QMP: %s: a socket's path has at most %zu bytes",
                            path, sizeof(address.sun_path) - 1);
        return NULL;
    }
    strcpy(address.sun_path, path);
    if (!remove_stale(path, error))
        return NULL;

    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* On Linux bind() gives the file the mode of the socket: private from its first moment. */
    if (fd < 0 || fchmod(fd, 0600) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        xen_set_error(error, "QMP: cannot put a socket at %s", path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct qmp_listener *listener = qmp_listener_new_from_fd(fd, error);
    if (listener)
        listener->path = g_strdup(path);
    return listener;
}

struct qmp_listener *qmp_listener_new_from_fd(int fd, GError **error)
{
    if (listen(fd, BACKLOG) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
        xen_set_error(error, "QMP: cannot listen on descriptor %d", fd);
        close(fd);
        return NULL;
    }
    struct qmp_listener *listener = g_new0(struct qmp_listener, 1);
    listener->fd = fd;
    return listener;
}

void qmp_listener_start(struct qmp_listener *listener, qmp_listener_fn *fn, void *opaque)
{
    listener->fn = fn;
    listener->opaque = opaque;
    listener_resume(listener);
}

void qmp_listener_free(struct qmp_listener *listener)
{
    if (!listener)
        return;
    if (listener->source)
        g_source_remove(listener->source);
    if (listener->path)
        unlink(listener->path);
    close(listener->fd);
    g_free(listener->path);
    g_free(listener);
}
