/*
 * The disk role's I/O (pvbackends/disk/media/io.h) for fuzzers and tests, in the place of io-aio.c:
 * done at once, delivered last in, first out; the disk's last sector is bad.  To set up and tear
 * down the kernel's asynchronous I/O takes longer than a thousand inputs.
 */

#include "tests/fuzz/fake-io.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvbackends/disk/request.h"

bool fake_io_holds, fake_io_healthy;
GString *fake_io_log;

static struct {
    unsigned kinds, times;
    int error;
} faults;

static struct fake_io *last;

struct fake_io {
    struct disk_io base;
    const struct disk_medium *medium;
    int fd;
    unsigned depth;
    unsigned count;
    struct disk_io_op *delivered; /* next, whatever is held */
    struct disk_io_op *done[];
};

static struct disk_io *fake_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    struct fake_io *io = g_malloc0(sizeof(*io) + depth * sizeof(io->done[0]));
    io->base.driver = &disk_io_aio;
    io->medium = medium;
    io->depth = depth;
    io->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    last = io;
    return &io->base;
}

static void fake_close(struct disk_io *base)
{
    struct fake_io *io = (struct fake_io *)base;

    g_assert(io->count == 0);
    close(io->fd);
    if (last == io)
        last = NULL;
    g_free(io);
}

void fake_io_fail(unsigned kinds, unsigned times, int error)
{
    faults.kinds = kinds;
    faults.times = times;
    faults.error = error;
}

struct disk_io *fake_io_last(void)
{
    return last ? &last->base : NULL;
}

void fake_io_deliver(struct disk_io *base, unsigned index)
{
    struct fake_io *io = (struct fake_io *)base;

    g_assert(index < io->count && !io->delivered);
    io->delivered = io->done[index];
    io->count--;
    for (unsigned i = index; i < io->count; i++)
        io->done[i] = io->done[i + 1];
}

static void note(const struct fake_io *io, const struct disk_io_op *op)
{
    static const char letters[] = {
        [DISK_IO_READ] = 'R',    [DISK_IO_WRITE] = 'W',          [DISK_IO_FLUSH] = 'F',
        [DISK_IO_DISCARD] = 'D', [DISK_IO_SECURE_DISCARD] = 'S', [DISK_IO_ZERO] = 'Z',
    };

    if (fake_io_log->len > 0)
        g_string_append_c(fake_io_log, ' ');
    g_string_append_printf(fake_io_log, "%s%c", io->medium->path, letters[op->kind]);
    if (op->kind != DISK_IO_FLUSH)
        g_string_append_printf(fake_io_log, "%" G_GUINT64_FORMAT, op->sector);
}

/* The error that was asked for this operation, or 0. */
static int take_fault(const struct disk_io_op *op)
{
    if (faults.times == 0 || !(faults.kinds & 1u << op->kind))
        return 0;
    faults.times--;
    return faults.error;
}

/* 0 or an errno. */
static int perform(const struct fake_io *io, const struct disk_io_op *op)
{
    ssize_t length = op->sectors * DISK_SECTOR;
    off_t offset = op->sector * DISK_SECTOR;
    ssize_t result = length;

    if (op->kind == DISK_IO_READ)
        result = preadv(io->medium->fd, op->vectors, op->nr_vectors, offset);
    else if (op->kind == DISK_IO_WRITE)
        result = pwritev(io->medium->fd, op->vectors, op->nr_vectors, offset);
    else if (op->kind != DISK_IO_FLUSH) /* a file cannot be erased securely: that is not the test */
        result =
            disk_medium_erase(io->medium, DISK_IO_ZERO, op->sector, op->sectors) == 0 ? length : -1;
    bool bad = !fake_io_healthy && op->kind != DISK_IO_FLUSH &&
               op->sector + op->sectors == io->medium->sectors;
    return result == length && !bad ? 0 : EIO;
}

static void fake_add(struct disk_io *base, struct disk_io_op *op)
{
    struct fake_io *io = (struct fake_io *)base;

    if (fake_io_log)
        note(io, op);
    op->error = take_fault(op);
    if (op->error == 0)
        op->error = perform(io, op);
    g_assert(io->count < io->depth);
    io->done[io->count++] = op;
}

static struct disk_io_op *fake_reap(struct disk_io *base)
{
    struct fake_io *io = (struct fake_io *)base;
    struct disk_io_op *op = g_steal_pointer(&io->delivered);

    if (op)
        return op;
    return io->count && !fake_io_holds ? io->done[--io->count] : NULL;
}

static int fake_fd(struct disk_io *base)
{
    return ((struct fake_io *)base)->fd;
}

const struct disk_io_driver disk_io_aio = {
    .open = fake_open,
    .close = fake_close,
    .add = fake_add,
    .reap = fake_reap,
    .fd = fake_fd,
};
