/*
 * Asynchronous I/O on a real file: what is made to end early, and what is not; flushes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/request.h"

#define SECTORS 64

struct fixture {
    char *path;
    struct disk_medium *medium;
    struct disk_io *io;
};

static void set_up(struct fixture *f, gconstpointer unused)
{
    char content[SECTORS * DISK_SECTOR];
    g_autoptr(GError) error = NULL;
    int fd = g_file_open_tmp("test-io-XXXXXX", &f->path, &error);

    g_assert_no_error(error);
    memset(content, 'x', sizeof(content));
    g_assert_cmpint(write(fd, content, sizeof(content)), ==, sizeof(content));
    close(fd);
    f->medium = disk_medium_open(f->path, false, 0, &error);
    g_assert_no_error(error);
    f->io = disk_io_open(f->medium, 4, &error);
    g_assert_no_error(error);
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
    disk_io_close(f->io);
    disk_medium_close(f->medium);
    g_unlink(f->path);
    g_free(f->path);
}

/* Its error, or 0. */
static int perform(struct fixture *f, enum disk_io_kind kind, uint64_t sector, uint64_t sectors)
{
    struct disk_io_op op = { .kind = kind, .sector = sector, .sectors = sectors };
    struct pollfd done = { .fd = disk_io_fd(f->io), .events = POLLIN };
    struct disk_io_op *found;

    disk_io_add(f->io, &op);
    disk_io_submit(f->io);
    while (!(found = disk_io_reap(f->io))) {
        poll(&done, 1, -1);
        disk_io_acknowledge(f->io);
    }
    g_assert_true(found == &op);
    return op.error;
}

static void expect_byte(struct fixture *f, uint64_t sector, char byte)
{
    char found;
    int fd = g_open(f->path, O_RDONLY | O_CLOEXEC, 0);
    g_assert_cmpint(pread(fd, &found, 1, sector * DISK_SECTOR), ==, 1);
    g_assert_cmpint(found, ==, byte);
    close(fd);
}

static void test_erase(struct fixture *f, gconstpointer unused)
{
    if (!f->medium->discard) {
        g_test_skip("no holes in this file system");
        return;
    }
    g_assert_cmpint(perform(f, DISK_IO_ZERO, 1, 2), ==, 0);
    g_assert_cmpint(perform(f, DISK_IO_DISCARD, 8, 8), ==, 0);
    g_assert_cmpint(perform(f, DISK_IO_SECURE_DISCARD, 16, 8), ==, EOPNOTSUPP);
    g_assert_cmpint(perform(f, DISK_IO_FLUSH, 0, 0), ==, 0);
    expect_byte(f, 0, 'x');
    expect_byte(f, 1, '\0');
    expect_byte(f, 2, '\0');
    expect_byte(f, 3, 'x');
    expect_byte(f, 8, '\0');
    expect_byte(f, 16, 'x');
}

/* Discards may be given up when the disk closes.  Zeroes are data: they must not be lost. */
static void test_hurry(struct fixture *f, gconstpointer unused)
{
    if (!f->medium->discard) {
        g_test_skip("no holes in this file system");
        return;
    }
    disk_io_hurry(f->io);
    g_assert_cmpint(perform(f, DISK_IO_DISCARD, 8, 8), ==, ECANCELED);
    expect_byte(f, 8, 'x');
    g_assert_cmpint(perform(f, DISK_IO_ZERO, 16, 8), ==, 0);
    expect_byte(f, 16, '\0');
}

/* --- flushes, as the kernel sees them --- */

static struct {
    unsigned count;
    int fd; /* of the last one */
} flushes;

/* In the place of libaio's: counts, and passes it on. */
int io_submit(io_context_t context, long count, struct iocb **iocbs)
{
    int (*real)(io_context_t, long, struct iocb **) = dlsym(RTLD_NEXT, "io_submit");

    for (long i = 0; i < count; i++) {
        if (iocbs[i]->aio_lio_opcode == IO_CMD_FDSYNC) {
            flushes.count++;
            flushes.fd = iocbs[i]->aio_fildes;
        }
    }
    return real(context, count, iocbs);
}

/* Opens the I/O again as if the medium had no direct I/O. */
static struct disk_io *open_cached(struct fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->medium->direct = false;
    struct disk_io *io = disk_io_open(f->medium, 4, &error);
    g_assert_no_error(error);
    flushes.count = 0;
    return io;
}

static void add_flush(struct disk_io *io, struct disk_io_op *op)
{
    *op = (struct disk_io_op){ .kind = DISK_IO_FLUSH, .error = -1 };
    disk_io_add(io, op);
}

static struct disk_io_op *reap(struct disk_io *io)
{
    struct pollfd done = { .fd = disk_io_fd(io), .events = POLLIN };
    struct disk_io_op *found;

    while (!(found = disk_io_reap(io))) {
        poll(&done, 1, -1);
        disk_io_acknowledge(io);
    }
    return found;
}

/* What comes together is done by one; what comes later by another one, when that has finished. */
static void test_flushes(struct fixture *f, gconstpointer unused)
{
    struct disk_io *io = open_cached(f);
    struct disk_io_op ops[4];

    add_flush(io, &ops[0]);
    add_flush(io, &ops[1]);
    disk_io_submit(io);
    g_assert_cmpuint(flushes.count, ==, 1);
    add_flush(io, &ops[2]);
    add_flush(io, &ops[3]);
    disk_io_submit(io);
    g_assert_cmpuint(flushes.count, ==, 1); /* the first has not been looked at */
    for (unsigned i = 0; i < 2; i++)
        g_assert_true(reap(io) == &ops[i]);
    g_assert_cmpuint(flushes.count, ==, 2);
    for (unsigned i = 2; i < 4; i++)
        g_assert_true(reap(io) == &ops[i]);
    g_assert_null(disk_io_reap(io));
    g_assert_cmpuint(flushes.count, ==, 2);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpint(ops[i].error, ==, 0);
    disk_io_close(io);
}

/* A position in a file is that of one opening of it, and so is what the kernel tells of errors. */
static void test_flush_alone(struct fixture *f, gconstpointer unused)
{
    struct disk_io *io[2] = { open_cached(f), open_cached(f) };
    int fds[2];

    for (unsigned i = 0; i < 2; i++) {
        struct disk_io_op op;
        add_flush(io[i], &op);
        disk_io_submit(io[i]);
        g_assert_true(reap(io[i]) == &op);
        fds[i] = flushes.fd;
        g_assert_cmpint(lseek(fds[i], 1 + i, SEEK_SET), ==, 1 + i);
    }
    g_assert_cmpint(lseek(f->medium->fd, 0, SEEK_CUR), ==, 0);
    g_assert_cmpint(lseek(fds[0], 0, SEEK_CUR), ==, 1);
    g_assert_cmpint(lseek(fds[1], 0, SEEK_CUR), ==, 2);
    for (unsigned i = 0; i < 2; i++)
        disk_io_close(io[i]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/io/erase", struct fixture, NULL, set_up, test_erase, tear_down);
    g_test_add("/io/hurry", struct fixture, NULL, set_up, test_hurry, tear_down);
    g_test_add("/io/flushes", struct fixture, NULL, set_up, test_flushes, tear_down);
    g_test_add("/io/flushes/alone", struct fixture, NULL, set_up, test_flush_alone, tear_down);
    return g_test_run();
}
