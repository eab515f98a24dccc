/*
 * The write log: order, room, overlaps, the gate, and which flush drops what.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvbackends/disk/media/write-log.h"

#define SECTOR 512
#define EPOCH 7
#define CAPACITY (64 * 1024)

static struct disk_write_log *new_log(void)
{
    struct disk_write_log *log = disk_write_log_new(CAPACITY);
    disk_write_log_open(log, EPOCH);
    return log;
}

static struct disk_write *begin(struct disk_write_log *log, enum disk_io_kind kind, uint64_t sector,
                                uint64_t sectors)
{
    size_t length = kind == DISK_IO_WRITE ? sectors * SECTOR : 0;
    g_autofree uint8_t *data = g_malloc(length + 1);
    /* In two pieces that are not in the order of memory. */
    struct iovec vectors[] = { { data + length / 2, length - length / 2 }, { data, length / 2 } };
    struct disk_io_op op = {
        .kind = kind, .sector = sector, .sectors = sectors, .vectors = vectors, .nr_vectors = 2
    };
    memset(vectors[0].iov_base, 'a', vectors[0].iov_len);
    memset(vectors[1].iov_base, 'b', vectors[1].iov_len);
    return disk_write_log_begin(log, &op);
}

static void add(struct disk_write_log *log, uint64_t sector)
{
    g_assert_true(disk_write_log_finish(log, begin(log, DISK_IO_WRITE, sector, 1), EPOCH));
}

static uint64_t sector_at(struct disk_write_log *log, unsigned place)
{
    const GList *link = disk_write_log_first(log);
    while (place-- > 0)
        link = link->next;
    return ((struct disk_write *)link->data)->sector;
}

/* What is done first comes first, whatever was begun first; and the data is a copy. */
static void test_order(void)
{
    struct disk_write_log *log = new_log();
    struct disk_write *first = begin(log, DISK_IO_WRITE, 10, 2);
    struct disk_write *second = begin(log, DISK_IO_DISCARD, 20, UINT64_C(1) << 40);

    g_assert_cmpuint(disk_write_log_length(log), ==, 0);
    g_assert_true(disk_write_log_finish(log, second, EPOCH));
    g_assert_true(disk_write_log_finish(log, first, EPOCH));
    g_assert_cmpuint(disk_write_log_length(log), ==, 2);
    g_assert_cmpuint(sector_at(log, 0), ==, 20);
    g_assert_cmpuint(sector_at(log, 1), ==, 10);
    g_assert_cmpint(first->data[0], ==, 'a');
    g_assert_cmpint(first->data[SECTOR - 1], ==, 'a');
    g_assert_cmpint(first->data[SECTOR], ==, 'b');
    g_assert_cmpint(first->data[2 * SECTOR - 1], ==, 'b');
    disk_write_log_free(log);
}

static void test_overlap(void)
{
    static const struct {
        uint64_t sector, sectors;
        bool free;
    } others[] = { { 0, 10, true },  { 0, 11, false }, { 19, 1, false }, { 20, 1, true },
                   { 12, 2, false }, { 0, 99, false }, { 10, 10, false } };
    struct disk_write_log *log = new_log();
    struct disk_write *write = begin(log, DISK_IO_DISCARD, 10, 10);

    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        struct disk_write *other = begin(log, DISK_IO_WRITE, others[i].sector, others[i].sectors);
        g_assert_cmpint(other != NULL, ==, others[i].free);
        if (other)
            disk_write_log_abandon(log, other);
    }
    /* What has been done is in nobody's way. */
    g_assert_true(disk_write_log_finish(log, write, EPOCH));
    write = begin(log, DISK_IO_WRITE, 10, 10);
    g_assert_nonnull(write);
    disk_write_log_abandon(log, write);
    g_assert_cmpuint(disk_write_log_length(log), ==, 1);
    disk_write_log_free(log);
}

static void test_room(void)
{
    struct disk_write_log *log = new_log();
    struct disk_write *large = begin(log, DISK_IO_WRITE, 0, 2 * CAPACITY / SECTOR);
    unsigned count = 0;

    /* Larger than all of it: alone, or nobody would ever write it. */
    g_assert_nonnull(large);
    g_assert_null(begin(log, DISK_IO_DISCARD, 1 << 20, 1));
    disk_write_log_abandon(log, large);

    struct disk_write *write;
    while ((write = begin(log, DISK_IO_WRITE, count * 8, 8))) {
        g_assert_true(disk_write_log_finish(log, write, EPOCH));
        count++;
    }
    g_assert_cmpuint(count, >=, CAPACITY / 4096 - 2);
    g_assert_cmpuint(count, <, CAPACITY / 4096);
    /* Discards are small, but not for nothing. */
    for (count = 0; (write = begin(log, DISK_IO_DISCARD, count, 1)); count++)
        g_assert_true(disk_write_log_finish(log, write, EPOCH));
    g_assert_cmpuint(count, <, 4096 / sizeof(*write) + 1);
    g_assert_true(disk_write_log_flushed(log, disk_write_log_mark(log), EPOCH));
    write = begin(log, DISK_IO_WRITE, 0, 8);
    g_assert_nonnull(write);
    disk_write_log_abandon(log, write);
    disk_write_log_free(log);
}

/* A flush makes durable what was done before it was sent, no more. */
static void test_flush(void)
{
    struct disk_write_log *log = new_log();
    struct disk_write *under_way = begin(log, DISK_IO_WRITE, 1, 1);

    add(log, 2);
    add(log, 3);
    uint64_t mark = disk_write_log_mark(log);
    add(log, 4);
    g_assert_true(disk_write_log_finish(log, under_way, EPOCH));
    g_assert_true(disk_write_log_flushed(log, mark, EPOCH));
    g_assert_cmpuint(disk_write_log_length(log), ==, 2);
    g_assert_cmpuint(sector_at(log, 0), ==, 4);
    g_assert_cmpuint(sector_at(log, 1), ==, 1);
    /* An older one that comes back later changes nothing. */
    g_assert_true(disk_write_log_flushed(log, mark - 1, EPOCH));
    g_assert_cmpuint(disk_write_log_length(log), ==, 2);
    disk_write_log_free(log);
}

/* One flush of ours at a time, from half full on. */
static void test_claim(void)
{
    struct disk_write_log *log = new_log();
    unsigned count = 0;

    while (!disk_write_log_claim_flush(log))
        add(log, count++);
    g_assert_cmpuint(count, >, CAPACITY / 2 / (SECTOR + 2 * sizeof(struct disk_write)));
    g_assert_cmpuint(count, <=, CAPACITY / 2 / SECTOR);
    g_assert_false(disk_write_log_claim_flush(log));
    disk_write_log_release_flush(log);
    g_assert_true(disk_write_log_claim_flush(log));
    g_assert_true(disk_write_log_flushed(log, disk_write_log_mark(log), EPOCH));
    disk_write_log_release_flush(log);
    g_assert_false(disk_write_log_claim_flush(log));
    disk_write_log_free(log);
}

/* What another daemon did, or said, does not count. */
static void test_gate(void)
{
    struct disk_write_log *log = new_log();
    add(log, 1);
    uint64_t mark = disk_write_log_mark(log);
    struct disk_write *write = begin(log, DISK_IO_WRITE, 2, 1);

    g_assert_cmpuint(disk_write_log_epoch(log), ==, EPOCH);
    disk_write_log_close(log);
    g_assert_cmpuint(disk_write_log_epoch(log), ==, 0);
    g_assert_false(disk_write_log_finish(log, write, EPOCH));
    g_assert_false(disk_write_log_finish(log, write, 0));
    g_assert_false(disk_write_log_flushed(log, mark, EPOCH));
    disk_write_log_open(log, EPOCH + 1);
    g_assert_false(disk_write_log_finish(log, write, EPOCH));
    g_assert_false(disk_write_log_flushed(log, mark, EPOCH));
    g_assert_cmpuint(disk_write_log_length(log), ==, 1);
    g_assert_true(disk_write_log_finish(log, write, EPOCH + 1));
    g_assert_cmpuint(disk_write_log_length(log), ==, 2);
    disk_write_log_close(log);
    disk_write_log_clear(log);
    g_assert_cmpuint(disk_write_log_length(log), ==, 0);
    disk_write_log_free(log);
}

static bool told(int fd)
{
    eventfd_t count;
    return eventfd_read(fd, &count) == 0;
}

/* Who has to wait is told when to try again. */
static void test_listeners(void)
{
    struct disk_write_log *log = disk_write_log_new(CAPACITY);
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

    disk_write_log_listen(log, fd);
    disk_write_log_open(log, EPOCH);
    g_assert_true(told(fd));
    struct disk_write *write = begin(log, DISK_IO_WRITE, 1, 1);
    g_assert_true(disk_write_log_finish(log, write, EPOCH));
    g_assert_false(told(fd)); /* nobody waited */

    write = begin(log, DISK_IO_WRITE, 1, 1);
    g_assert_null(begin(log, DISK_IO_WRITE, 1, 1));
    g_assert_false(told(fd));
    g_assert_true(disk_write_log_finish(log, write, EPOCH));
    g_assert_true(told(fd));

    write = begin(log, DISK_IO_WRITE, 1, 1);
    g_assert_null(begin(log, DISK_IO_WRITE, 1, 1));
    disk_write_log_abandon(log, write);
    g_assert_true(told(fd));

    add(log, 0);
    g_assert_null(begin(log, DISK_IO_WRITE, 0, CAPACITY / SECTOR));
    g_assert_true(disk_write_log_flushed(log, disk_write_log_mark(log), EPOCH));
    g_assert_true(told(fd));

    disk_write_log_ignore(log, fd);
    disk_write_log_close(log);
    g_assert_false(told(fd));
    close(fd);
    disk_write_log_free(log);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/write-log/order", test_order);
    g_test_add_func("/write-log/overlap", test_overlap);
    g_test_add_func("/write-log/room", test_room);
    g_test_add_func("/write-log/flush", test_flush);
    g_test_add_func("/write-log/claim", test_claim);
    g_test_add_func("/write-log/gate", test_gate);
    g_test_add_func("/write-log/listeners", test_listeners);
    return g_test_run();
}
