/*
 * I/O without a medium: of an empty drive, and of one whose medium was lost.  There is nothing that
 * a flush could miss: what was written before is durable.
 */

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvbackends/disk/media/io.h"
#include "xen/error.h"

struct none {
    struct disk_io base;
    int event_fd;
    GQueue finished;
};

static struct disk_io *none_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    if (fd < 0) {
        xen_set_error(error, "cannot create an eventfd");
        return NULL;
    }
    struct none *none = g_new0(struct none, 1);
    none->base.driver = &disk_io_none;
    none->event_fd = fd;
    g_queue_init(&none->finished);
    return &none->base;
}

static void none_close(struct disk_io *io)
{
    struct none *none = (struct none *)io;
    close(none->event_fd);
    g_free(none);
}

static void none_add(struct disk_io *io, struct disk_io_op *op)
{
    struct none *none = (struct none *)io;
    op->error = op->kind == DISK_IO_FLUSH ? 0 : ENOMEDIUM;
    g_queue_push_tail(&none->finished, op);
}

static struct disk_io_op *none_reap(struct disk_io *io)
{
    return g_queue_pop_head(&((struct none *)io)->finished);
}

static int none_fd(struct disk_io *io)
{
    return ((struct none *)io)->event_fd;
}

const struct disk_io_driver disk_io_none = {
    .open = none_open,
    .close = none_close,
    .add = none_add,
    .reap = none_reap,
    .fd = none_fd,
};
