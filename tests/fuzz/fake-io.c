/*
 * The disk role's I/O (pvbackends/disk/io.h) for fuzzers, in the place of io-aio.c: done at once,
 * delivered last in, first out; the disk's last sector is bad.  To set up and tear down the
 * kernel's asynchronous I/O takes longer than a thousand inputs.
 */

#include "tests/fuzz/fake-io.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvbackends/disk/io.h"
#include "pvbackends/disk/request.h"

bool fake_io_holds;

struct fake_io {
    struct disk_io base;
    const struct disk_medium *medium;
    int fd;
    unsigned depth;
    unsigned count;
    struct disk_io_op *done[];
};

static struct disk_io *fake_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    struct fake_io *io = g_malloc0(sizeof(*io) + depth * sizeof(io->done[0]));
    io->base.driver = &disk_io_aio;
    io->medium = medium;
    io->depth = depth;
    io->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return &io->base;
}

static void fake_close(struct disk_io *base)
{
    struct fake_io *io = (struct fake_io *)base;

    g_assert(io->count == 0);
    close(io->fd);
    g_free(io);
}

static void fake_add(struct disk_io *base, struct disk_io_op *op)
{
    struct fake_io *io = (struct fake_io *)base;
    ssize_t length = op->sectors * DISK_SECTOR;
    off_t offset = op->sector * DISK_SECTOR;
    ssize_t result = length;

    if (op->kind == DISK_IO_READ)
        result = preadv(io->medium->fd, op->vectors, op->nr_vectors, offset);
    else if (op->kind == DISK_IO_WRITE)
        result = pwritev(io->medium->fd, op->vectors, op->nr_vectors, offset);
    else if (op->kind != DISK_IO_FLUSH)
        result =
            disk_medium_erase(io->medium, op->kind, op->sector, op->sectors) == 0 ? length : -1;
    bool bad = op->kind != DISK_IO_FLUSH && op->sector + op->sectors == io->medium->sectors;
    op->error = result == length && !bad ? 0 : EIO;
    g_assert(io->count < io->depth);
    io->done[io->count++] = op;
}

static void fake_submit(struct disk_io *base)
{
}

static void fake_hurry(struct disk_io *base)
{
}

static struct disk_io_op *fake_reap(struct disk_io *base)
{
    struct fake_io *io = (struct fake_io *)base;

    return io->count && !fake_io_holds ? io->done[--io->count] : NULL;
}

static int fake_fd(struct disk_io *base)
{
    return ((struct fake_io *)base)->fd;
}

static void fake_acknowledge(struct disk_io *base)
{
}

const struct disk_io_driver disk_io_aio = {
    .open = fake_open,
    .close = fake_close,
    .add = fake_add,
    .submit = fake_submit,
    .reap = fake_reap,
    .hurry = fake_hurry,
    .fd = fake_fd,
    .acknowledge = fake_acknowledge,
};
