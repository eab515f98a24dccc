/*
 * I/O on a file or a block device: libaio, and a helper thread for what it cannot do.
 *
 * Flushes.  One covers every write that was answered before it is submitted, by whichever queue,
 * because it is of the whole file.  But what a page cache could not write it tells once for each
 * time that the file was opened, to whoever asks first (Linux's errseq_t): of two flushes at a time
 * one could pass over what the other one fails for.  So each queue flushes by a descriptor of its
 * own, and one at a time; those that come meanwhile are done together by the next.
 */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/io.h"

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pvbackends/disk/request.h" /* DISK_SECTOR */

/* Results fetched from the kernel in one call. */
#define EVENTS_AT_ONCE 32

/*
 * The results, as the kernel shares them with us at the address that it calls the context's name
 * (struct aio_ring in Linux's fs/aio.c); so a system call is spared.  QEMU and fio read it too.
 */
#define RESULTS_MAGIC 0xa10a10a1
struct results {
    unsigned id, size;
    unsigned head, tail; /* head is ours */
    unsigned magic, compatible, incompatible, header_length;
    struct io_event events[];
};

/* Sectors erased in one system call: 1 GiB. */
#define ERASE_PIECE (UINT64_C(1) << 21)

struct aio {
    struct disk_io base;
    const struct disk_medium *medium;
    io_context_t context;
    int event_fd;
    unsigned depth;
    struct iocb **pending; /* added, not submitted; DEPTH entries */
    unsigned nr_pending;
    struct io_event events[EVENTS_AT_ONCE];
    unsigned nr_events, next_event;
    GQueue failed;            /* operations that could not be submitted */
    int flush_fd;             /* the medium's, or that of our own */
    GQueue flushes;           /* that wait */
    GQueue flushed;           /* finished with another one */
    struct disk_io_op *flush; /* under way, NULL if none is */
    unsigned nr_covered;      /* of those that wait, by that one */
    GThread *helper;          /* for what libaio cannot do; NULL before the first use */
    int helper_fds[2];        /* our end and its: operations by address, there and back */
    unsigned nr_helped;       /* that have not come back */
    gint hurry;               /* atomic */
};

/* Errors of the helper's socket are impossible: it has room for DEPTH addresses. */
static bool send_op(int fd, struct disk_io_op *op)
{
    return TEMP_FAILURE_RETRY(send(fd, &op, sizeof(op), MSG_NOSIGNAL)) == sizeof(op);
}

static struct disk_io_op *receive_op(int fd, int flags)
{
    struct disk_io_op *op;
    return TEMP_FAILURE_RETRY(recv(fd, &op, sizeof(op), flags)) == sizeof(op) ? op : NULL;
}

static int erase(struct aio *io, const struct disk_io_op *op)
{
    int error = 0;
    for (uint64_t done = 0; done < op->sectors && error == 0; done += ERASE_PIECE) {
        uint64_t piece = MIN(op->sectors - done, ERASE_PIECE);
        /* Zeroes are data that the guest has written, and never long. */
        error = g_atomic_int_get(&io->hurry) && op->kind != DISK_IO_ZERO
                    ? ECANCELED
                    : -disk_medium_erase(io->medium, op->kind, op->sector + done, piece);
    }
    return error;
}

static gpointer help(gpointer opaque)
{
    struct aio *io = opaque;
    struct disk_io_op *op;

    while ((op = receive_op(io->helper_fds[1], 0))) {
        op->error = erase(io, op);
        send_op(io->helper_fds[1], op);
        eventfd_write(io->event_fd, 1);
    }
    return NULL;
}

static bool start_helper(struct aio *io)
{
    if (io->helper)
        return true;
    if (io->helper_fds[0] < 0 &&
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, io->helper_fds) < 0)
        return false;
    io->helper = g_thread_try_new("disk-erase", help, io, NULL);
    return io->helper != NULL;
}

/* The helper ends when it sees that our end is closed. */
static void stop_helper(struct aio *io)
{
    if (io->helper_fds[0] < 0)
        return;
    close(io->helper_fds[0]);
    if (io->helper)
        g_thread_join(io->helper);
    close(io->helper_fds[1]);
}

static void add_helped(struct aio *io, struct disk_io_op *op)
{
    if (start_helper(io) && send_op(io->helper_fds[0], op)) {
        io->nr_helped++;
        return;
    }
    op->error = EAGAIN;
    g_queue_push_tail(&io->failed, op);
}

static struct aio *aio_of(struct disk_io *base)
{
    return (struct aio *)base;
}

static void aio_close(struct disk_io *base)
{
    struct aio *io = aio_of(base);
    if (io->context)
        io_destroy(io->context);
    stop_helper(io);
    if (io->event_fd >= 0)
        close(io->event_fd);
    if (io->flush_fd >= 0 && io->flush_fd != io->medium->fd)
        close(io->flush_fd);
    g_free(io->pending);
    g_free(io);
}

/* What is in a page cache is flushed by a descriptor of our own; -1 and errno if there is none. */
static int open_for_flush(const struct disk_medium *medium)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", medium->fd);
    if (medium->direct || medium->read_only)
        return medium->fd;
    return open(path, O_RDWR | O_CLOEXEC);
}

static struct disk_io *aio_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    struct aio *io = g_new0(struct aio, 1);
    io->base.driver = &disk_io_aio;
    io->medium = medium;
    io->depth = depth;
    io->pending = g_new(struct iocb *, depth);
    io->helper_fds[0] = io->helper_fds[1] = -1;
    g_queue_init(&io->failed);
    g_queue_init(&io->flushes);
    g_queue_init(&io->flushed);
    io->flush_fd = open_for_flush(medium);
    io->event_fd = io->flush_fd < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int err = io->event_fd < 0 ? errno : -io_setup(depth, &io->context);
    if (err == 0)
        return &io->base;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err),
                "%s: cannot set up asynchronous I/O: %s (is /proc/sys/fs/aio-max-nr too low?)",
                medium->path, g_strerror(err));
    io->context = NULL;
    aio_close(&io->base);
    return NULL;
}

/* The kernel need not fetch the list if there is only one piece, as of a small request. */
static void prepare_transfer(struct aio *io, struct disk_io_op *op)
{
    const struct iovec *vectors = op->vectors;
    bool read = op->kind == DISK_IO_READ;
    off_t offset = op->sector * DISK_SECTOR;
    int fd = io->medium->fd;

    if (op->nr_vectors == 1 && read)
        io_prep_pread(&op->iocb, fd, vectors->iov_base, vectors->iov_len, offset);
    else if (op->nr_vectors == 1)
        io_prep_pwrite(&op->iocb, fd, vectors->iov_base, vectors->iov_len, offset);
    else if (read)
        io_prep_preadv(&op->iocb, fd, vectors, op->nr_vectors, offset);
    else
        io_prep_pwritev(&op->iocb, fd, vectors, op->nr_vectors, offset);
}

static void add_pending(struct aio *io, struct disk_io_op *op)
{
    io_set_eventfd(&op->iocb, io->event_fd);
    op->iocb.data = op;
    g_assert(io->nr_pending < io->depth);
    io->pending[io->nr_pending++] = &op->iocb;
}

static void aio_add(struct disk_io *base, struct disk_io_op *op)
{
    struct aio *io = aio_of(base);

    switch (op->kind) {
    case DISK_IO_READ:
    case DISK_IO_WRITE:
        prepare_transfer(io, op);
        break;
    case DISK_IO_FLUSH:
        op->link = (GList){ .data = op };
        g_queue_push_tail_link(&io->flushes, &op->link);
        return;
    case DISK_IO_DISCARD:
    case DISK_IO_SECURE_DISCARD:
    case DISK_IO_ZERO:
        add_helped(io, op);
        return;
    }
    add_pending(io, op);
}

/* The next one, for all that wait now. */
static void begin_flush(struct aio *io)
{
    GList *link = io->flush ? NULL : g_queue_pop_head_link(&io->flushes);
    if (!link)
        return;
    io->flush = link->data;
    io->nr_covered = io->flushes.length;
    io_prep_fdsync(&io->flush->iocb, io->flush_fd);
    add_pending(io, io->flush);
}

static void aio_submit(struct disk_io *base)
{
    struct aio *io = aio_of(base);
    unsigned done = 0;

    begin_flush(io);
    while (done < io->nr_pending) {
        int result = io_submit(io->context, io->nr_pending - done, io->pending + done);
        if (result > 0) {
            done += result;
        } else if (result != -EINTR) {
            /* The first of them was refused (EAGAIN cannot be: the context holds DEPTH). */
            struct disk_io_op *op = io->pending[done++]->data;
            op->error = result < 0 ? -result : EIO;
            g_queue_push_tail(&io->failed, op);
        }
    }
    io->nr_pending = 0;
}

/* The operation that EVENT is about, with its result. */
static struct disk_io_op *finished(const struct io_event *event)
{
    struct disk_io_op *op = event->data;
    long result = event->res; /* unsigned in the library, a negative errno in truth */
    bool transfer = op->kind == DISK_IO_READ || op->kind == DISK_IO_WRITE;
    if (result < 0)
        op->error = -result;
    else
        op->error = transfer && (uint64_t)result != op->sectors * DISK_SECTOR ? EIO : 0;
    return op;
}

/* False if the results must be asked for: this kernel shares them in another way. */
static bool results_are_shared(const struct aio *io)
{
    const struct results *results = (const struct results *)io->context;
    return results->magic == RESULTS_MAGIC && results->incompatible == 0;
}

/* Atomic because a sanitizer does not see the kernel put one ring in the place of another. */
static unsigned results_head(const struct results *results)
{
    return __atomic_load_n(&results->head, __ATOMIC_RELAXED);
}

static struct disk_io_op *next_shared_result(struct aio *io)
{
    struct results *results = (struct results *)io->context;
    unsigned head = results_head(results);

    if (head == __atomic_load_n(&results->tail, __ATOMIC_ACQUIRE))
        return NULL;
    struct disk_io_op *op = finished(&results->events[head]);
    __atomic_store_n(&results->head, (head + 1) % results->size, __ATOMIC_RELEASE);
    return op;
}

static struct disk_io_op *next_result(struct aio *io)
{
    struct timespec now = { 0, 0 };

    if (results_are_shared(io))
        return next_shared_result(io);
    if (io->next_event == io->nr_events) {
        int count = io_getevents(io->context, 0, EVENTS_AT_ONCE, io->events, &now);
        io->nr_events = MAX(count, 0);
        io->next_event = 0;
    }
    return io->next_event < io->nr_events ? finished(&io->events[io->next_event++]) : NULL;
}

static struct disk_io_op *next_finished(struct aio *io)
{
    GList *link = g_queue_pop_head_link(&io->flushed);

    if (link)
        return link->data;
    if (io->failed.head)
        return g_queue_pop_head(&io->failed);
    struct disk_io_op *op = next_result(io);
    if (!op && io->nr_helped) {
        op = receive_op(io->helper_fds[0], MSG_DONTWAIT);
        io->nr_helped -= op != NULL;
    }
    return op;
}

static enum disk_io_look aio_look(struct disk_io *base)
{
    const struct aio *io = aio_of(base);
    const struct results *results = (const struct results *)io->context;

    if (io->failed.head || io->flushed.head)
        return DISK_IO_FINISHED;
    if (io->nr_helped || !results_are_shared(io))
        return DISK_IO_UNKNOWN;
    return results_head(results) != __atomic_load_n(&results->tail, __ATOMIC_RELAXED)
               ? DISK_IO_FINISHED
               : DISK_IO_NOTHING;
}

/* The flush has finished, and with it those that it was for; then it is the next one's turn. */
static void end_flush(struct aio *io)
{
    for (; io->nr_covered > 0; io->nr_covered--) {
        GList *link = g_queue_pop_head_link(&io->flushes);
        ((struct disk_io_op *)link->data)->error = io->flush->error;
        g_queue_push_tail_link(&io->flushed, link);
    }
    io->flush = NULL;
    if (io->flushes.head)
        aio_submit(&io->base);
}

static struct disk_io_op *aio_reap(struct disk_io *base)
{
    struct aio *io = aio_of(base);
    struct disk_io_op *op = next_finished(io);

    if (op && op == io->flush)
        end_flush(io);
    return op;
}

static void aio_hurry(struct disk_io *base)
{
    struct aio *io = aio_of(base);
    g_atomic_int_set(&io->hurry, 1);
}

static int aio_fd(struct disk_io *base)
{
    return aio_of(base)->event_fd;
}

static void aio_acknowledge(struct disk_io *base)
{
    struct aio *io = aio_of(base);
    eventfd_t count;
    eventfd_read(io->event_fd, &count);
}

const struct disk_io_driver disk_io_aio = {
    .open = aio_open,
    .close = aio_close,
    .add = aio_add,
    .submit = aio_submit,
    .reap = aio_reap,
    .hurry = aio_hurry,
    .fd = aio_fd,
    .acknowledge = aio_acknowledge,
    .look = aio_look,
};
