/*
 * Opening media, and I/O on them, with real files.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/media/medium.h"

#define SIZE (1 << 20)

static char *make_file(const void *start, size_t length, off_t size)
{
    char *path;
    int fd = g_file_open_tmp("rolemodel-medium-XXXXXX", &path, NULL);
    g_assert_cmpint(write(fd, start, length), ==, (ssize_t)length);
    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return path;
}

static void assert_refused(const char *path, bool read_only, const char *what)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(disk_medium_open(path, read_only, 0, &error));
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, path));
    g_assert_nonnull(strstr(error->message, what));
}

static void test_refusals(void)
{
    assert_refused("/nonexistent/a.img", false, "No such file");
    assert_refused("/", false, "is a directory");
    assert_refused("/dev/null", false, "not a file or a block device");

    g_autofree char *empty = make_file("", 0, 0);
    assert_refused(empty, false, "empty");
    g_unlink(empty);
    g_autofree char *qcow2 = make_file("QFI\xfb\0\0\0\3", 8, 65536);
    assert_refused(qcow2, false, "use format=qcow2");
    g_unlink(qcow2);
    g_autofree char *vhdx = make_file("vhdxfile", 8, 65536);
    assert_refused(vhdx, true, "use format=vhdx");
    g_unlink(vhdx);

    g_autofree char *used = make_file("", 0, SIZE);
    struct disk_medium *first = disk_medium_open(used, false, 0, NULL);
    g_assert_nonnull(first);
    assert_refused(used, false, "another process");
    disk_medium_close(first);
    g_unlink(used);

    g_autofree char *locked = make_file("", 0, SIZE);
    g_assert_cmpint(chmod(locked, 0), ==, 0);
    if (getuid() != 0)
        assert_refused(locked, false, "Permission denied");
    g_unlink(locked);
}

static void test_geometry(void)
{
    g_autofree char *path = make_file("", 0, SIZE + 100);
    struct disk_medium *medium = disk_medium_open(path, false, 0, NULL);
    g_assert_nonnull(medium);
    g_assert_cmpuint(medium->sectors, ==, SIZE / 512);
    g_assert_cmpuint(medium->sector_size, ==, 512);
    g_assert_false(medium->device);
    struct stat status;
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpint(status.st_size, ==, SIZE + 100); /* asking about discard changed nothing */
    disk_medium_close(medium);

    medium = disk_medium_open(path, true, 0, NULL);
    g_assert_true(medium->read_only);
    g_assert_false(medium->discard);
    g_assert_cmpint(fcntl(medium->fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
    disk_medium_close(medium);
    g_unlink(path);
}

static void run(struct disk_io *io, struct disk_io_op *op)
{
    struct disk_io_op *finished;
    disk_io_add(io, op);
    disk_io_submit(io);
    while (!(finished = disk_io_reap(io))) {
        struct pollfd fd = { .fd = disk_io_fd(io), .events = POLLIN };
        g_assert_cmpint(poll(&fd, 1, -1), ==, 1);
        disk_io_acknowledge(io);
    }
    g_assert_true(finished == op);
    g_assert_null(disk_io_reap(io));
}

static void test_io(void)
{
    g_autofree char *path = make_file("", 0, SIZE);
    struct disk_medium *medium = disk_medium_open(path, false, 0, NULL);
    struct disk_io *io = disk_io_open(medium, 4, NULL);
    char *buffer = g_aligned_alloc(1, 8192, 4096);
    /* In two pieces, the second one first. */
    struct iovec vectors[] = { { buffer + 4096, 4096 }, { buffer, 4096 } };
    struct disk_io_op op = { .sector = 16, .sectors = 16, .vectors = vectors, .nr_vectors = 2 };

    memset(buffer, 'x', 4096);
    memset(buffer + 4096, 'y', 4096);
    op.kind = DISK_IO_WRITE;
    run(io, &op);
    g_assert_cmpint(op.error, ==, 0);
    op.kind = DISK_IO_FLUSH;
    run(io, &op);
    g_assert_cmpint(op.error, ==, 0);
    memset(buffer, 0, 8192);
    op.kind = DISK_IO_READ;
    run(io, &op);
    g_assert_cmpint(op.error, ==, 0);
    for (int i = 0; i < 8192; i++)
        g_assert_cmpint(buffer[i], ==, i < 4096 ? 'x' : 'y');
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char first;
    g_assert_cmpint(pread(fd, &first, 1, 16 * 512), ==, 1);
    g_assert_cmpint(first, ==, 'y');
    close(fd);

    if (medium->discard) {
        op.kind = DISK_IO_DISCARD;
        run(io, &op);
        g_assert_cmpint(op.error, ==, 0);
        op.kind = DISK_IO_READ;
        run(io, &op);
        g_assert_cmpint(buffer[0], ==, 0);
        g_assert_cmpint(buffer[8191], ==, 0);
    } else {
        g_test_message("no discard on this file system");
    }

    /* The file shrinks under us: the guest gets an error, not what lay in the buffer. */
    g_assert_cmpint(truncate(path, 4096), ==, 0);
    op.kind = DISK_IO_READ;
    run(io, &op);
    g_assert_cmpint(op.error, ==, EIO);

    disk_io_close(io);
    disk_medium_close(medium);
    g_aligned_free(buffer);
    g_unlink(path);
}

/* All at once, and every one comes back once. */
static void test_depth(void)
{
    enum { DEPTH = 32 };
    g_autofree char *path = make_file("", 0, SIZE);
    struct disk_medium *medium = disk_medium_open(path, false, 0, NULL);
    struct disk_io *io = disk_io_open(medium, DEPTH, NULL);
    char *buffer = g_aligned_alloc0(DEPTH, 4096, 4096);
    struct disk_io_op ops[DEPTH];
    struct iovec vectors[DEPTH];
    unsigned seen = 0;

    for (int i = 0; i < DEPTH; i++) {
        bool write = i % 4 != 3;
        vectors[i] = (struct iovec){ buffer + i * 4096, 4096 };
        ops[i] = (struct disk_io_op){ .kind = write ? DISK_IO_WRITE : DISK_IO_DISCARD,
                                      .sector = i * 8,
                                      .sectors = 8,
                                      .vectors = &vectors[i],
                                      .nr_vectors = 1,
                                      .error = -1 };
        disk_io_add(io, &ops[i]);
    }
    disk_io_submit(io);
    while (seen < DEPTH) {
        struct disk_io_op *op = disk_io_reap(io);
        if (op) {
            g_assert_cmpint(op->error, ==,
                            medium->discard || op->kind == DISK_IO_WRITE ? 0 : EOPNOTSUPP);
            op->error = -1;
            seen++;
            continue;
        }
        struct pollfd fd = { .fd = disk_io_fd(io), .events = POLLIN };
        g_assert_cmpint(poll(&fd, 1, -1), ==, 1);
        disk_io_acknowledge(io);
    }
    for (int i = 0; i < DEPTH; i++)
        g_assert_cmpint(ops[i].error, ==, -1);
    disk_io_close(io);
    disk_medium_close(medium);
    g_aligned_free(buffer);
    g_unlink(path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/medium/refusals", test_refusals);
    g_test_add_func("/medium/geometry", test_geometry);
    g_test_add_func("/medium/io", test_io);
    g_test_add_func("/medium/depth", test_depth);
    return g_test_run();
}
