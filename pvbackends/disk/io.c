/* The driver of each medium: see io.h. */

#include "pvbackends/disk/io.h"

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
    io->driver->submit(io);
}

void disk_io_hurry(struct disk_io *io)
{
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

void disk_io_acknowledge(struct disk_io *io)
{
    io->driver->acknowledge(io);
}
