/*
 * The disk role's I/O (pvbackends/disk/io.h) for fuzzers: done at once, delivered last in, first
 * out; the disk's last sector is bad.  To set up and tear down the kernel's asynchronous I/O takes
 * longer than a thousand inputs.
 */

#include "tests/fuzz/fake-io.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvbackends/disk/io.h"
#include "pvbackends/disk/request.h"

bool fake_io_holds;

struct disk_io {
    const struct disk_medium *medium;
    int fd;
    unsigned depth;
    unsigned count;
    struct disk_io_op *done[];
};

struct disk_io *disk_io_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    struct disk_io *io = g_malloc0(sizeof(*io) + depth * sizeof(io->done[0]));
    io->medium = medium;
    io->depth = depth;
    io->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return io;
}

void disk_io_close(struct disk_io *io)
{
    if (!io)
        return;
    g_assert(io->count == 0);
    close(io->fd);
    g_free(io);
}

void disk_io_add(struct disk_io *io, struct disk_io_op *op)
{
    ssize_t length = op->sectors * DISK_SECTOR;
    off_t offset = op->sector * DISK_SECTOR;
    ssize_t result = length;

    if (op->kind == DISK_IO_READ)
        result = preadv(io->medium->fd, op->vectors, op->nr_vectors, offset);
    else if (op->kind == DISK_IO_WRITE)
        result = pwritev(io->medium->fd, op->vectors, op->nr_vectors, offset);
    else if (op->kind == DISK_IO_DISCARD)
        result = disk_medium_discard(io->medium, op->sector, op->sectors) == 0 ? length : -1;
    bool bad = op->kind != DISK_IO_FLUSH && op->sector + op->sectors == io->medium->sectors;
    op->error = result == length && !bad ? 0 : EIO;
    g_assert(io->count < io->depth);
    io->done[io->count++] = op;
}

void disk_io_submit(struct disk_io *io)
{
}

void disk_io_hurry(struct disk_io *io)
{
}

struct disk_io_op *disk_io_reap(struct disk_io *io)
{
    return io->count && !fake_io_holds ? io->done[--io->count] : NULL;
}

int disk_io_fd(struct disk_io *io)
{
    return io->fd;
}

void disk_io_acknowledge(struct disk_io *io)
{
}
