/* The driver of each medium: see io.h. */

#include "pvbackends/disk/media/io.h"

#include <poll.h>

struct disk_io *disk_io_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    return medium->driver->open(medium, depth, error);
}

void disk_io_close(struct disk_io *io)
{
    if (io)
        io->driver->close(io);
}

void disk_io_add(struct disk_io *io, struct disk_io_op *op)
{
    io->driver->add(io, op);
}

void disk_io_submit(struct disk_io *io)
{
    if (io->driver->submit)
        io->driver->submit(io);
}

void disk_io_hurry(struct disk_io *io)
{
    if (io->driver->hurry)
        io->driver->hurry(io);
}

struct disk_io_op *disk_io_reap(struct disk_io *io)
{
    return io->driver->reap(io);
}

int disk_io_fd(struct disk_io *io)
{
    return io->driver->fd(io);
}

enum disk_io_look disk_io_look(struct disk_io *io)
{
    return io->driver->look ? io->driver->look(io) : DISK_IO_UNKNOWN;
}

void disk_io_acknowledge(struct disk_io *io)
{
    if (io->driver->acknowledge)
        io->driver->acknowledge(io);
}

static int flush(struct disk_io *io)
{
    struct disk_io_op op = { .kind = DISK_IO_FLUSH };

    disk_io_add(io, &op);
    disk_io_submit(io);
    disk_io_hurry(io);
    while (!disk_io_reap(io)) {
        struct pollfd fd = { .fd = disk_io_fd(io), .events = POLLIN };
        poll(&fd, 1, -1);
        disk_io_acknowledge(io);
    }
    return op.error;
}

bool disk_io_flush_medium(const struct disk_medium *medium, GError **error)
{
    if (medium->read_only)
        return true;
    struct disk_io *io = disk_io_open(medium, 1, error);
    if (!io)
        return false;
    int err = flush(io);
    disk_io_close(io);
    if (err == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err),
                "%s: what the guest has written cannot be made durable now: %s (the guest's "
                "device-model log may say why)",
                medium->path, g_strerror(err));
    return false;
}
