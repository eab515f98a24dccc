/*
 * I/O on what a qemu-storage-daemon serves: NBD by libnbd, a connection for each queue.
 *
 * An operation waits until it can be sent, is sent in one or more commands, and has finished when
 * all of them have come back.  When the connection is lost, what was sent waits again, for the next
 * daemon.  What changes the medium goes through the write log (write-log.h): it is sent from the
 * log's copy of its data, and finished only when it is in the log.
 *
 * libnbd's callbacks run inside its calls and may not call it, so they only take notes.
 */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/io.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "pvbackends/disk/media/daemon.h"
#include "pvbackends/disk/media/nbd.h"
#include "pvbackends/disk/request.h" /* DISK_SECTOR */
#include "xen/error.h"

/* While something is wrong it is looked at so often. */
#define TICK_MS 50

/* On the way out, so long without any progress is the end. */
#define HURRY_US (5 * G_TIME_SPAN_SECOND)

/* Replies taken in one go; then it is somebody else's turn. */
#define REPLIES_AT_ONCE 64

/* What the epoll descriptor waits for. */
enum source { SOCKET, WAKE, TIMER, SOURCES };

struct nbd_io {
    struct disk_io base;
    struct disk_daemon *daemon;
    struct disk_write_log *log;
    const struct libnbd *lib;
    int epoll_fd; /* of the three below */
    int wake_fd;  /* the log has changed, or there is something to reap */
    int timer_fd;
    struct nbd_handle *nbd; /* NULL: not connected */
    int socket;             /* its own */
    unsigned direction;     /* that the epoll descriptor waits for */
    unsigned epoch;         /* of the daemon at the other end */
    unsigned doomed;        /* the last epoch that we have asked to replace */
    GQueue waiting;         /* in the order in which they came */
    GQueue sent;
    GQueue back; /* all commands have come back; not looked at yet */
    GQueue finished;
    struct disk_io_op flush; /* our own, that the write log is due for */
    bool flushing;           /* it is in one of the queues */
    bool flush_failed;       /* and is sent again with the next tick */
    bool flush_warned;
    bool timer_set;
    bool tried; /* to connect to this epoch, since the last tick */
    bool deaf;  /* what a dead connection says does not count */
    bool hurry;
    gint64 progress; /* in a hurry: when there was some */
};

static struct nbd_io *nbd_of(struct disk_io *base)
{
    return (struct nbd_io *)base;
}

static bool changes_medium(const struct disk_io_op *op)
{
    return op->kind != DISK_IO_READ && op->kind != DISK_IO_FLUSH;
}

static void move_to(GQueue *to, GQueue *from, struct disk_io_op *op)
{
    g_queue_unlink(from, &op->nbd.link);
    g_queue_push_tail_link(to, &op->nbd.link);
}

/* --- sending --- */

static bool is_connected(struct nbd_io *io)
{
    return io->nbd &&
           (io->lib->aio_is_ready(io->nbd) > 0 || io->lib->aio_is_processing(io->nbd) > 0);
}

/* One command of an operation has come back. */
static int on_command(void *opaque, int *error)
{
    struct disk_io_op *op = opaque;
    struct nbd_io *io = nbd_of(op->nbd.io);

    if (io->deaf)
        return 1;
    if (*error && !op->error)
        op->error = *error;
    if (--op->nbd.in_flight == 0)
        move_to(&io->back, &io->sent, op);
    return 1;
}

/* Chunks that follow each other in memory go in one command. */
static bool send_read(struct nbd_io *io, struct disk_io_op *op, nbd_completion_callback completion)
{
    uint64_t offset = op->sector * DISK_SECTOR;

    for (unsigned i = 0; i < op->nr_vectors;) {
        char *start = op->vectors[i].iov_base;
        size_t length = 0;
        while (i < op->nr_vectors && op->vectors[i].iov_base == start + length &&
               length + op->vectors[i].iov_len <= DISK_NBD_TRANSFER_MAX)
            length += op->vectors[i++].iov_len;
        op->nbd.in_flight++;
        if (io->lib->aio_pread(io->nbd, start, length, offset, completion, 0) < 0)
            return false;
        offset += length;
    }
    return true;
}

static bool send_write(struct nbd_io *io, struct disk_io_op *op, nbd_completion_callback completion)
{
    op->nbd.in_flight++;
    uint64_t sent = disk_nbd_send_write(io->lib, io->nbd, op->nbd.write, op->nbd.done, completion);
    op->nbd.done += sent;
    return sent > 0;
}

static bool send_flush(struct nbd_io *io, struct disk_io_op *op, nbd_completion_callback completion)
{
    op->nbd.mark = disk_write_log_mark(io->log);
    op->nbd.in_flight++;
    return io->lib->aio_flush(io->nbd, completion, 0) >= 0;
}

/* Sends the next commands of OP, which is in `sent`; one that cannot be sent comes back at once. */
static void send_commands(struct nbd_io *io, struct disk_io_op *op)
{
    nbd_completion_callback completion = { .callback = on_command, .user_data = op };
    bool good;

    /* One more, so that it does not come back before all of it has been sent. */
    op->nbd.in_flight = 1;
    if (op->kind == DISK_IO_READ)
        good = send_read(io, op, completion);
    else if (op->kind == DISK_IO_FLUSH)
        good = send_flush(io, op, completion);
    else
        good = send_write(io, op, completion);
    int error = 0;
    if (!good) {
        op->nbd.in_flight--;
        error = is_connected(io) ? io->lib->get_errno() : ENOTCONN;
        error = error ? error : EIO;
    }
    on_command(op, &error);
}

/* Sends what waits, in its order; but a write that has to wait longer holds up only writes. */
static void send_waiting(struct nbd_io *io)
{
    bool blocked = false;

    for (GList *link = io->waiting.head, *next; link; link = next) {
        struct disk_io_op *op = link->data;
        next = link->next;
        if (changes_medium(op) && !op->nbd.write) {
            if (!blocked)
                op->nbd.write = disk_write_log_begin(io->log, op);
            blocked = !op->nbd.write;
            if (blocked)
                continue;
        }
        move_to(&io->sent, &io->waiting, op);
        send_commands(io, op);
    }
}

/* --- the connection --- */

static void follow_direction(struct nbd_io *io)
{
    unsigned direction = io->nbd ? io->lib->aio_get_direction(io->nbd) : 0;
    struct epoll_event event = {
        .events = (direction & LIBNBD_AIO_DIRECTION_READ ? EPOLLIN : 0) |
                  (direction & LIBNBD_AIO_DIRECTION_WRITE ? EPOLLOUT : 0),
    };
    if (!io->nbd || direction == io->direction)
        return;
    epoll_ctl(io->epoll_fd, EPOLL_CTL_MOD, io->socket, &event);
    io->direction = direction;
}

/* What was sent and has not come back waits again, before the rest. */
static void disconnect(struct nbd_io *io)
{
    struct disk_io_op *op;

    if (!io->nbd)
        return;
    io->deaf = true;
    /* This closes the socket, and that takes it out of the epoll set; it may have been closed
     * already, and its number another thread's. */
    io->lib->aio_disconnect(io->nbd, 0);
    io->lib->close(g_steal_pointer(&io->nbd));
    io->deaf = false;
    while ((op = g_queue_peek_tail(&io->sent))) {
        op->nbd.in_flight = 0;
        op->nbd.done = 0;
        op->error = 0;
        g_queue_unlink(&io->sent, &op->nbd.link);
        g_queue_push_head_link(&io->waiting, &op->nbd.link);
    }
}

/* With no write under way, none can come after it has been sent again: then the daemon may live. */
static void lose(struct nbd_io *io)
{
    bool under_way = false;
    for (GList *link = io->sent.head; link; link = link->next)
        under_way |= changes_medium(link->data);
    disconnect(io);
    if (under_way) {
        io->doomed = io->epoch;
        disk_daemon_lost(io->daemon, io->epoch);
    }
}

static void connect_to(struct nbd_io *io, unsigned epoch)
{
    g_autofree char *socket = disk_daemon_socket(io->daemon, epoch);
    struct epoll_event event = { 0 };

    io->epoch = epoch;
    io->tried = true;
    io->direction = 0;
    io->nbd = disk_nbd_create(io->lib, NULL);
    if (!io->nbd)
        return;
    if (io->lib->aio_connect_unix(io->nbd, socket) == 0) {
        io->socket = io->lib->aio_get_fd(io->nbd);
        if (io->socket >= 0 && epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, io->socket, &event) == 0)
            return;
    }
    io->lib->close(g_steal_pointer(&io->nbd));
}

static bool is_lost(struct nbd_io *io)
{
    return io->lib->aio_is_dead(io->nbd) > 0 || io->lib->aio_is_closed(io->nbd) > 0;
}

/* Follows the daemon: a connection to one that is no more is none. */
static void follow_daemon(struct nbd_io *io)
{
    unsigned epoch = disk_write_log_epoch(io->log);

    if (io->nbd && (is_lost(io) || (epoch != 0 && epoch != io->epoch)))
        lose(io);
    if (!io->nbd && epoch > io->doomed && (epoch != io->epoch || !io->tried))
        connect_to(io, epoch);
}

/* Takes what the daemon has sent, and sends on what was stuck. */
static void exchange(struct nbd_io *io)
{
    for (unsigned i = 0; io->nbd && i < REPLIES_AT_ONCE; i++) {
        unsigned direction = io->lib->aio_get_direction(io->nbd);
        struct pollfd fd = {
            .fd = io->socket,
            .events = (direction & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
                      (direction & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0),
        };
        if (poll(&fd, 1, 0) <= 0)
            return;
        if (fd.revents & (POLLIN | POLLHUP | POLLERR) && direction & LIBNBD_AIO_DIRECTION_READ)
            io->lib->aio_notify_read(io->nbd);
        else
            io->lib->aio_notify_write(io->nbd);
        if (is_lost(io))
            return;
    }
}

/* --- what has come back --- */

static void finish(struct nbd_io *io, struct disk_io_op *op)
{
    if (op->nbd.write)
        disk_write_log_abandon(io->log, g_steal_pointer(&op->nbd.write));
    if (op == &io->flush) {
        io->flushing = false;
        io->flush_failed = op->error != 0 && !io->hurry;
        if (io->flush_failed && !io->flush_warned)
            g_warning("a flush of what the guest has written failed: %s; tried again, meanwhile "
                      "its writes may have to wait",
                      g_strerror(op->error));
        io->flush_warned |= io->flush_failed;
        disk_write_log_release_flush(io->log);
        return;
    }
    g_queue_push_tail_link(&io->finished, &op->nbd.link);
}

/* These come from libnbd and from a daemon on its way out, not from the medium. */
static bool says_nothing(int error)
{
    return error == ENOTCONN || error == ESHUTDOWN;
}

/* True if what OP did counts, because the daemon that did it still serves. */
static bool settle_good(struct nbd_io *io, struct disk_io_op *op)
{
    if (op->kind == DISK_IO_FLUSH)
        return disk_write_log_flushed(io->log, op->nbd.mark, io->epoch);
    if (op->kind == DISK_IO_READ)
        return true;
    if (!disk_write_log_finish(io->log, op->nbd.write, io->epoch))
        return false;
    op->nbd.write = NULL;
    return true;
}

/* Looks at OP, which has come back; false if the connection is lost. */
static bool settle(struct nbd_io *io, struct disk_io_op *op)
{
    g_queue_unlink(&io->back, &op->nbd.link);
    if (op->error == 0 && changes_medium(op) && op->nbd.done < op->sectors) {
        io->progress = g_get_monotonic_time();
        if (io->hurry && op->kind == DISK_IO_DISCARD) { /* in pieces, and nobody needs the rest */
            op->error = ECANCELED;
            finish(io, op);
            return true;
        }
        g_queue_push_tail_link(&io->sent, &op->nbd.link);
        send_commands(io, op);
        return true;
    }
    if (says_nothing(op->error) || (op->error == 0 && !settle_good(io, op))) {
        g_queue_push_tail_link(&io->sent, &op->nbd.link);
        return false;
    }
    io->progress = g_get_monotonic_time();
    finish(io, op);
    return true;
}

static void settle_all(struct nbd_io *io)
{
    struct disk_io_op *op;
    bool good = true;

    while ((op = g_queue_peek_head(&io->back)))
        good &= settle(io, op);
    if (!good)
        lose(io);
}

/* --- */

static void start_flush(struct nbd_io *io)
{
    if (io->flushing || io->flush_failed || !disk_write_log_claim_flush(io->log))
        return;
    io->flush = (struct disk_io_op){
        .kind = DISK_IO_FLUSH,
        .nbd = { .io = &io->base, .link.data = &io->flush },
    };
    io->flushing = true;
    g_queue_push_tail_link(&io->waiting, &io->flush.nbd.link);
}

/* On the way out: what has not come back by now has failed, and nobody shall do it later. */
static void give_up(struct nbd_io *io)
{
    struct disk_io_op *op;

    lose(io);
    while ((op = g_queue_peek_head(&io->waiting))) {
        g_queue_unlink(&io->waiting, &op->nbd.link);
        op->error = ECANCELED;
        finish(io, op);
    }
}

static bool has_work(const struct nbd_io *io)
{
    return io->waiting.length > 0 || io->sent.length > 0;
}

/* Only while time matters: without a connection, in a hurry, before a flush is tried again. */
static void set_timer(struct nbd_io *io)
{
    bool needed = (!io->nbd && disk_write_log_epoch(io->log) != 0) || io->flush_failed ||
                  (io->hurry && has_work(io));
    struct itimerspec once = { .it_value.tv_nsec = TICK_MS * 1000000 };
    if (!needed || io->timer_set)
        return;
    timerfd_settime(io->timer_fd, 0, &once, NULL);
    io->timer_set = true;
}

/* Sends what can be sent; the state of everything is as new afterwards. */
static void go_on(struct nbd_io *io)
{
    follow_daemon(io);
    start_flush(io);
    if (is_connected(io))
        send_waiting(io);
    settle_all(io);
    if (io->hurry && has_work(io) && g_get_monotonic_time() - io->progress > HURRY_US)
        give_up(io);
    follow_direction(io);
    set_timer(io);
}

/* --- the driver --- */

static void nbd_io_close(struct disk_io *base)
{
    struct nbd_io *io = nbd_of(base);

    disconnect(io);
    if (io->flushing)
        disk_write_log_release_flush(io->log);
    if (io->wake_fd >= 0) {
        disk_write_log_ignore(io->log, io->wake_fd);
        close(io->wake_fd);
    }
    if (io->timer_fd >= 0)
        close(io->timer_fd);
    if (io->epoll_fd >= 0)
        close(io->epoll_fd);
    g_free(io);
}

static bool watch_fd(struct nbd_io *io, int fd, enum source source)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u32 = source };
    return fd >= 0 && epoll_ctl(io->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static struct disk_io *nbd_io_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    struct nbd_io *io = g_new0(struct nbd_io, 1);
    io->base.driver = &disk_io_nbd;
    io->daemon = medium->daemon;
    io->log = disk_daemon_log(io->daemon);
    io->lib = disk_daemon_library(io->daemon);
    io->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    io->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    io->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (io->epoll_fd < 0 || !watch_fd(io, io->wake_fd, WAKE) ||
        !watch_fd(io, io->timer_fd, TIMER)) {
        xen_set_error(error, "%s: cannot set up asynchronous I/O", medium->path);
        nbd_io_close(&io->base);
        return NULL;
    }
    disk_write_log_listen(io->log, io->wake_fd);
    go_on(io);
    return &io->base;
}

static void nbd_io_add(struct disk_io *base, struct disk_io_op *op)
{
    struct nbd_io *io = nbd_of(base);

    op->error = 0;
    op->nbd = (struct disk_nbd_op){ .io = base, .link.data = op };
    if (op->kind == DISK_IO_SECURE_DISCARD) {
        op->error = EOPNOTSUPP;
        g_queue_push_tail_link(&io->finished, &op->nbd.link);
        return;
    }
    g_queue_push_tail_link(&io->waiting, &op->nbd.link);
}

static void nbd_io_submit(struct disk_io *base)
{
    struct nbd_io *io = nbd_of(base);
    if (io->waiting.length > 0)
        go_on(io);
    if (io->finished.length > 0)
        eventfd_write(io->wake_fd, 1);
}

static struct disk_io_op *nbd_io_reap(struct disk_io *base)
{
    GList *link = g_queue_pop_head_link(&nbd_of(base)->finished);
    return link ? link->data : NULL;
}

static void nbd_io_hurry(struct disk_io *base)
{
    struct nbd_io *io = nbd_of(base);

    if (io->hurry)
        return;
    io->hurry = true;
    io->progress = g_get_monotonic_time();
    set_timer(io);
}

static int nbd_io_fd(struct disk_io *base)
{
    return nbd_of(base)->epoll_fd;
}

static void nbd_io_acknowledge(struct disk_io *base)
{
    struct nbd_io *io = nbd_of(base);
    struct epoll_event events[SOURCES];
    eventfd_t count;
    uint64_t ticks;

    int nr_events = epoll_wait(io->epoll_fd, events, SOURCES, 0);
    for (int i = 0; i < nr_events; i++) {
        if (events[i].data.u32 == WAKE)
            eventfd_read(io->wake_fd, &count);
        else if (events[i].data.u32 == SOCKET)
            exchange(io);
        else if (read(io->timer_fd, &ticks, sizeof(ticks)) > 0)
            io->timer_set = io->flush_failed = io->tried = false;
    }
    settle_all(io);
    go_on(io);
}

const struct disk_io_driver disk_io_nbd = {
    .open = nbd_io_open,
    .close = nbd_io_close,
    .add = nbd_io_add,
    .submit = nbd_io_submit,
    .reap = nbd_io_reap,
    .hurry = nbd_io_hurry,
    .fd = nbd_io_fd,
    .acknowledge = nbd_io_acknowledge,
    .works_alone = true, /* flushes, and a daemon that was lost */
};
