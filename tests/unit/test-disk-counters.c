/*
 * The counters of a disk: what is counted, who may read the file, and what the meter makes of two
 * readings.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pvbackends/disk/counters.h"
#include "pvbackends/disk/meter.h"
#include "role_run.h"

#define DOMID 7

/* --- what is counted --- */

static void answer(struct disk_queue_counters *counters, uint8_t operation, uint64_t sectors,
                   int16_t status, uint64_t us)
{
    struct disk_request request = { .operation = operation, .sectors = sectors };
    disk_counters_answered(counters, &request, status, us);
}

/* As a reader sees it. */
static int64_t counted(const struct disk_queue_counters *queue, const char *name)
{
    static struct disk_counters_file file;
    file.queues[3] = *queue;
    json_t *device = disk_meter.json(NULL, &file, 1);
    json_t *value = json_object_get(json_object_get(device, "counters"), name);
    g_assert_true(json_is_integer(value));
    int64_t number = json_integer_value(value);
    json_decref(device);
    return number;
}

static void test_answered(void)
{
    static const struct {
        const char *name;
        int64_t value;
    } expected[] = {
        { "rd_req", 3 },   { "wr_req", 2 }, { "f_req", 3 },         { "ds_req", 1 },
        { "rd_sect", 9 },  { "errors", 4 }, { "notifications", 1 }, { "mapped", 11 },
        { "wr_sect", 24 }, { "oo_req", 1 }, { "in_flight", 10 },
    };
    static struct disk_queue_counters counters;

    answer(&counters, BLKIF_OP_READ, 8, BLKIF_RSP_OKAY, 0);
    answer(&counters, BLKIF_OP_READ, 1, BLKIF_RSP_OKAY, 1000);
    answer(&counters, BLKIF_OP_READ, UINT64_MAX, BLKIF_RSP_ERROR, 0);
    answer(&counters, BLKIF_OP_WRITE, 16, BLKIF_RSP_OKAY, 0);
    answer(&counters, BLKIF_OP_WRITE, 16, BLKIF_RSP_ERROR, 0);
    answer(&counters, BLKIF_OP_FLUSH_DISKCACHE, 0, BLKIF_RSP_OKAY, 0);
    answer(&counters, BLKIF_OP_FLUSH_DISKCACHE, 5, BLKIF_RSP_OKAY, 0);
    answer(&counters, BLKIF_OP_WRITE_BARRIER, 3, BLKIF_RSP_OKAY, 0);
    answer(&counters, BLKIF_OP_DISCARD, 100, BLKIF_RSP_OKAY, 0);
    answer(&counters, BLKIF_OP_DISCARD + 1, 100, BLKIF_RSP_EOPNOTSUPP, 0);
    answer(&counters, 255, 100, BLKIF_RSP_ERROR, 0);
    disk_counters_starved(&counters);
    disk_counters_notified(&counters);
    disk_counters_now(&counters, 4, 5);
    disk_counters_now(&counters, 10, 11);
    for (gsize i = 0; i < G_N_ELEMENTS(expected); i++)
        g_assert_cmpint(counted(&counters, expected[i].name), ==, expected[i].value);
}

static void test_latency(void)
{
    static const struct {
        uint64_t us;
        unsigned bucket;
    } table[] = {
        { 0, 0 },
        { 1, 1 },
        { 2, 2 },
        { 3, 2 },
        { 4, 3 },
        { 511, 9 },
        { 512, 10 },
        { 1023, 10 },
        { 1024, 11 },
        { 536870912, 30 },
        { 1073741823, 30 },
        { 1073741824, 31 },
        { UINT64_C(1) << 40, 31 },
        { UINT64_MAX, 31 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        struct disk_queue_counters counters = { .values = { 0 } };
        answer(&counters, BLKIF_OP_READ, 1, BLKIF_RSP_OKAY, table[i].us);
        answer(&counters, BLKIF_OP_WRITE, 1, BLKIF_RSP_ERROR, table[i].us);
        for (unsigned j = 0; j < DISK_LATENCY_BUCKETS; j++) {
            g_assert_cmpuint(counters.latency[BLKIF_OP_READ][j], ==, j == table[i].bucket);
            g_assert_cmpuint(counters.latency[BLKIF_OP_WRITE][j], ==, j == table[i].bucket);
        }
    }
}

static void test_nobody(void)
{
    answer(NULL, BLKIF_OP_READ, 1, BLKIF_RSP_OKAY, 0);
    disk_counters_starved(NULL);
    disk_counters_notified(NULL);
    disk_counters_now(NULL, 1, 1);
    disk_counters_set_queues(NULL, 1);
    g_assert_null(disk_counters_queue(NULL, 0));
    g_assert_cmpuint(disk_counters_clock(NULL), ==, 0);
}

/* --- the file --- */

static char *file_path(const char *devid)
{
    g_autofree char *name = g_strdup_printf("disk-%s.counters", devid);
    return role_run_path(DOMID, name);
}

static void note(const char *devid, const struct disk_counters_file *file, void *opaque)
{
    GString *seen = opaque;
    g_string_append_printf(seen, "%s:%s ", devid, file->vdev);
}

static void assert_seen(const char *expected)
{
    g_autoptr(GString) seen = g_string_new(NULL);
    disk_counters_each(DOMID, note, seen);
    g_assert_cmpstr(seen->str, ==, expected);
}

static struct disk_counters *open_counters(const char *devid, const char *vdev)
{
    g_autoptr(GError) error = NULL;
    struct disk_counters *counters = disk_counters_open(DOMID, devid, vdev, &error);
    g_assert_no_error(error);
    return counters;
}

static void test_file(void)
{
    g_autofree char *directory = role_run_path(DOMID, NULL);

    assert_seen("");
    struct disk_counters *b = open_counters("51728", "xvdb"), *a = open_counters("832", "sda");
    assert_seen("832:sda 51728:xvdb ");
    disk_counters_clean(DOMID);
    assert_seen("832:sda 51728:xvdb ");
    disk_counters_close(b);
    assert_seen("832:sda ");
    disk_counters_close(a);
    g_assert_false(g_file_test(directory, G_FILE_TEST_EXISTS));
}

static void overwrite(int fd, gsize offset, const void *data, gsize length)
{
    g_assert_cmpint(pwrite(fd, data, length, offset), ==, length);
}

/* A field that is not right, and right again. */
#define try_field(fd, field, wrong)                                                                \
    do {                                                                                           \
        const gsize at_ = offsetof(struct disk_counters_file, field);                              \
        char right_[sizeof(wrong)];                                                                \
        g_assert_cmpint(pread(fd, right_, sizeof(wrong), at_), ==, sizeof(wrong));                 \
        overwrite(fd, at_, wrong, sizeof(wrong));                                                  \
        assert_seen("");                                                                           \
        overwrite(fd, at_, right_, sizeof(wrong));                                                 \
        assert_seen("1:xvda ");                                                                    \
    } while (0)

static void test_wrong(void)
{
    const uint32_t version[] = { DISK_COUNTERS_VERSION + 1 }, queues[] = { DISK_QUEUES_MAX + 1 };
    const uint32_t size[] = { sizeof(struct disk_counters_file) - 1 };
    const char endless[DISK_VDEV_MAX] = "a vdev of 32 bytes, without end.", odd[] = "xvd\xFF";
    struct disk_counters *counters = open_counters("1", "xvda");
    g_autofree char *path = file_path("1");
    int fd = open(path, O_RDWR | O_CLOEXEC);

    g_assert_cmpint(fd, >=, 0);
    assert_seen("1:xvda ");
    try_field(fd, magic, "rm-dusk");
    try_field(fd, version, version);
    try_field(fd, size, size);
    try_field(fd, nr_queues, queues);
    try_field(fd, vdev, endless);
    try_field(fd, vdev, odd);
    g_assert_cmpint(ftruncate(fd, sizeof(struct disk_counters_file) - 1), ==, 0);
    assert_seen("");
    close(fd);
    disk_counters_close(counters);
}

/* What nobody has locked was left by a role that is no more. */
static void test_left(void)
{
    struct disk_counters *counters = open_counters("1", "xvda");
    g_autofree char *path = file_path("1"), *left = file_path("2"), *other = NULL;
    g_autofree char *data = NULL;
    gsize length;

    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_true(g_file_set_contents(left, data, length, NULL));
    other = role_run_path(DOMID, "disk-2");
    g_assert_true(g_file_set_contents(other, data, length, NULL));
    assert_seen("1:xvda ");
    disk_counters_clean(DOMID);
    g_assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(other, G_FILE_TEST_EXISTS));
    assert_seen("1:xvda ");
    g_unlink(other);
    disk_counters_close(counters);
}

/* --- the meter --- */

static json_t *rates_of(const struct disk_counters_file *before,
                        const struct disk_counters_file *now, double seconds)
{
    json_t *device = disk_meter.json(before, now, seconds);
    json_t *rates = json_incref(json_object_get(device, "rates"));
    json_decref(device);
    g_assert_nonnull(rates);
    return rates;
}

static void assert_rate(json_t *rates, const char *name, double expected)
{
    g_assert_cmpfloat(json_number_value(json_object_get(rates, name)), ==, expected);
}

static void test_rates(void)
{
    static struct disk_counters_file before, now;
    before = (struct disk_counters_file){ .started = 1, .nr_queues = 2, .vdev = "xvda" };
    before.queues[0].latency[BLKIF_OP_READ][20] = 1000;
    now = before;
    now.queues[7].sectors[BLKIF_OP_READ] = 1600;
    now.queues[1].latency[BLKIF_OP_WRITE][6] = 10;
    now.queues[1].sectors[BLKIF_OP_WRITE] = 4;
    now.queues[0].latency[BLKIF_OP_READ][3] = 100; /* below 8 us */
    now.queues[7].latency[BLKIF_OP_READ][5] = 98;  /* below 32 us */
    now.queues[7].latency[BLKIF_OP_READ][9] = 2;

    json_t *rates = rates_of(&before, &now, 2);
    assert_rate(rates, "rd_iops", 100);
    assert_rate(rates, "wr_iops", 5);
    assert_rate(rates, "rd_bytes", 1600 * 512 / 2);
    assert_rate(rates, "wr_bytes", 4 * 512 / 2);
    assert_rate(rates, "rd_p50_us", 8);
    assert_rate(rates, "rd_p99_us", 32);
    assert_rate(rates, "wr_p50_us", 64);
    json_decref(rates);

    /* It was not there, or another one was. */
    rates = rates_of(NULL, &now, 2);
    assert_rate(rates, "rd_iops", 600);
    assert_rate(rates, "rd_p99_us", 1 << 20);
    json_decref(rates);
    before.started = 0;
    rates = rates_of(&before, &now, 2);
    assert_rate(rates, "rd_iops", 600);
    json_decref(rates);
}

static void test_row(void)
{
    static struct disk_counters_file now = { .nr_queues = 2, .vdev = "xvda" };
    now.queues[0].latency[BLKIF_OP_READ][3] = 100;
    now.queues[0].latency[BLKIF_OP_WRITE][4] = 100;
    now.queues[0].sectors[BLKIF_OP_WRITE] = 20000;
    now.queues[0].values[DISK_IN_FLIGHT] = 3;
    now.queues[1].values[DISK_IN_FLIGHT] = 4;
    now.queues[1].values[DISK_MAPPED] = 11;
    now.queues[1].values[DISK_ERRORS] = 5;
    g_autofree char *row = disk_meter.row(NULL, &now, 2);
    g_auto(GStrv) words = g_regex_split_simple(" +", row, 0, 0);
    g_autofree char *text = g_strjoinv(" ", words);
    g_assert_cmpstr(text, ==, "xvda 2 50 50 0.0 5.1 7 <8 <16 11 5");
    g_assert_cmpuint(strlen(row), ==, strlen(disk_meter.header));

    /* Nothing happened. */
    g_autofree char *still = disk_meter.row(&now, &now, 2);
    g_assert_nonnull(strstr(still, " - "));
}

int main(int argc, char **argv)
{
    g_autofree char *directory = g_dir_make_tmp("test-counters-XXXXXX", NULL);
    g_assert_nonnull(directory);
    g_setenv("ROLEMODEL_RUN_DIR", directory, TRUE);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/counters/answered", test_answered);
    g_test_add_func("/counters/latency", test_latency);
    g_test_add_func("/counters/nobody", test_nobody);
    g_test_add_func("/counters/file", test_file);
    g_test_add_func("/counters/wrong", test_wrong);
    g_test_add_func("/counters/left", test_left);
    g_test_add_func("/counters/rates", test_rates);
    g_test_add_func("/counters/row", test_row);
    int status = g_test_run();
    g_rmdir(directory);
    return status;
}
