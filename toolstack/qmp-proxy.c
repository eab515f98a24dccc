/* QMP between libxl and QEMU: see qmp-proxy.h. */

#define G_LOG_DOMAIN "qmp"
#include "toolstack/qmp-proxy.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "xen/error.h"

#define BUFFER_SIZE 4096
#define LINKS_MAX 16

/* The most descriptors that Linux passes at once (SCM_MAX_FD). */
#define FDS_MAX 253

/* How soon to try again when QEMU's queue of connections is full, in ms; no event tells. */
#define RETRY_INTERVAL 100

struct qmp_proxy {
    struct qmp_listener *listener;
    struct sockaddr_un qemu;
    GPtrArray *links;
};

/* One end of a link, with what was read from it and is to be sent to the other. */
struct end {
    struct link *link;
    int fd; /* -1: not connected yet */
    guint source;
    GIOCondition watched;

    char bytes[BUFFER_SIZE];
    gsize start;
    gsize length;
    int fds[FDS_MAX];
    gsize fd_count;
    bool ended; /* nothing more will be read */
    bool done;  /* ... and all of it was sent or cannot be, and the other end knows */
};

struct link {
    struct qmp_proxy *proxy;
    struct end client;
    struct end qemu;
    guint retry;
};

static struct end *other_end(struct end *end)
{
    return end == &end->link->client ? &end->link->qemu : &end->link->client;
}

static void end_close_fds(struct end *end)
{
    for (gsize i = 0; i < end->fd_count; i++)
        close(end->fds[i]);
    end->fd_count = 0;
}

static void end_clear(struct end *end)
{
    if (end->source)
        g_source_remove(end->source);
    end_close_fds(end);
    if (end->fd >= 0)
        close(end->fd);
}

static void link_free(void *opaque)
{
    struct link *link = opaque;
    if (link->retry)
        g_source_remove(link->retry);
    end_clear(&link->client);
    end_clear(&link->qemu);
    g_free(link);
}

static void link_drop(struct link *link)
{
    g_ptr_array_remove_fast(link->proxy->links, link);
}

/* Fills the empty buffer of END: the one place where bytes come in. */
static void end_read(struct end *end)
{
    union {
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { .iov_base = end->bytes, .iov_len = sizeof(end->bytes) };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };

    ssize_t length = recvmsg(end->fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (length <= 0) {
        end->ended = true;
        return;
    }
    end->start = 0;
    end->length = length;
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    for (; part; part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        end->fd_count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(end->fds, CMSG_DATA(part), end->fd_count * sizeof(int));
    }
}

/* Sends some of END's bytes, with its descriptors before the first of them. */
static ssize_t end_send(struct end *end)
{
    union {
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { .iov_base = end->bytes + end->start, .iov_len = end->length };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    gsize size = end->fd_count * sizeof(int);
    if (size > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(part), end->fds, size);
    }
    return sendmsg(other_end(end)->fd, &message, MSG_NOSIGNAL);
}

/* Sends on what was read from END as far as the other end takes it, at last the end itself. */
static void end_forward(struct end *end)
{
    while (end->length > 0) {
        ssize_t sent = end_send(end);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        end_close_fds(end);
        if (sent < 0) {
            end->length = 0; /* nobody is there to read it, nor what may follow */
            end->ended = true;
            break;
        }
        end->start += sent;
        end->length -= sent;
    }
    if (end->ended && !end->done) {
        shutdown(other_end(end)->fd, SHUT_WR);
        end->done = true;
    }
}

static gboolean end_ready(gint fd, GIOCondition condition, gpointer opaque);

/* Watches END for CONDITION; hang-ups are always reported with it. */
static void end_watch(struct end *end, bool wanted, GIOCondition condition)
{
    if (end->source && wanted && end->watched == condition)
        return;
    if (end->source)
        g_source_remove(end->source);
    end->source = wanted ? g_unix_fd_add(end->fd, condition, end_ready, end) : 0;
    end->watched = condition;
}

/*
 * Watches END for what can be done now.  When nothing can, its hang-up matters only if no more is
 * to come from it; else it would wake us again and again before anything could be done about it.
 */
static void end_watch_next(struct end *end)
{
    GIOCondition condition = 0;
    if (!end->ended && end->length == 0)
        condition |= G_IO_IN;
    if (other_end(end)->length > 0)
        condition |= G_IO_OUT;
    end_watch(end, condition || end->done, condition);
}

static gboolean end_ready(gint fd, GIOCondition condition, gpointer opaque)
{
    struct end *end = opaque;
    struct end *other = other_end(end);
    bool hung_up = condition & (G_IO_HUP | G_IO_ERR);

    if (other->fd < 0) { /* the client does not wait for QEMU any longer */
        link_drop(end->link);
        return G_SOURCE_CONTINUE;
    }
    if (!end->ended && end->length == 0)
        end_read(end);
    end_forward(end);
    end_forward(other);
    if ((end->done && other->done) || (end->done && hung_up)) {
        link_drop(end->link);
        return G_SOURCE_CONTINUE;
    }
    end_watch_next(end);
    end_watch_next(other);
    return G_SOURCE_CONTINUE; /* what is not wanted any more was removed above */
}

static gboolean link_connect(void *opaque)
{
    struct link *link = opaque;
    const struct sockaddr_un *qemu = &link->proxy->qemu;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)qemu, sizeof(*qemu)) == 0) {
        link->retry = 0;
        link->qemu.fd = fd;
        end_watch_next(&link->client);
        end_watch_next(&link->qemu);
        return G_SOURCE_REMOVE;
    }
    int problem = errno;
    if (fd >= 0)
        close(fd);
    if (problem == EAGAIN) {
        if (!link->retry)
            link->retry = g_timeout_add(RETRY_INTERVAL, link_connect, link);
        return G_SOURCE_CONTINUE;
    }
    g_warning("cannot connect a QMP client to QEMU at %s: %s", qemu->sun_path, g_strerror(problem));
    link->retry = 0;
    link_drop(link);
    return G_SOURCE_REMOVE;
}

static void end_init(struct end *end, struct link *link, int fd)
{
    end->link = link;
    end->fd = fd;
}

static void proxy_accept(int fd, void *opaque)
{
    struct qmp_proxy *proxy = opaque;
    if (proxy->links->len == LINKS_MAX) {
        close(fd);
        return;
    }
    struct link *link = g_new0(struct link, 1);
    link->proxy = proxy;
    end_init(&link->client, link, fd);
    end_init(&link->qemu, link, -1);
    g_ptr_array_add(proxy->links, link);
    end_watch(&link->client, true, 0);
    link_connect(link);
}

struct qmp_proxy *qmp_proxy_new(struct qmp_listener *listener, const char *qemu_path,
                                GError **error)
{
    struct sockaddr_un qemu = { .sun_family = AF_UNIX };
    if (strlen(qemu_path) >= sizeof(qemu.sun_path)) {
        xen_set_error_errno(error, ENAMETOOLONG, "QMP: %s: a socket's path has at most %zu bytes",
                            qemu_path, sizeof(qemu.sun_path) - 1);
        qmp_listener_free(listener);
        return NULL;
    }
    strcpy(qemu.sun_path, qemu_path);

    struct qmp_proxy *proxy = g_new0(struct qmp_proxy, 1);
    proxy->listener = listener;
    proxy->qemu = qemu;
    proxy->links = g_ptr_array_new_with_free_func(link_free);
    qmp_listener_start(listener, proxy_accept, proxy);
    return proxy;
}

void qmp_proxy_free(struct qmp_proxy *proxy)
{
    if (!proxy)
        return;
    qmp_listener_free(proxy->listener);
    g_ptr_array_unref(proxy->links);
    g_free(proxy);
}
