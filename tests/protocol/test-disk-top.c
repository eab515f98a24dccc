/*
 * The counters of the disk role, as `rolemodel top --json` reads them: exactly what was asked of
 * the role, and nothing that is not a running role's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "pvbackends/disk/counters.h"
#include "tests/protocol/disk-fixture.h"

/* Tables of a tool that is ended when it has shown what a test waits for. */
#define LINES_MAX 200

static char *rolemodel;

static pid_t start_tool(char **words, FILE **output)
{
    g_autoptr(GError) error = NULL;
    GPid pid;
    int fd;

    g_spawn_async_with_pipes(NULL, words, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL,
                             &fd, NULL, &error);
    g_assert_no_error(error);
    *output = fdopen(fd, "r");
    return pid;
}

/* One JSON value that `rolemodel WORDS` prints, which ends well; json_decref(). */
static json_t *ask(const char *command, const char *guest)
{
    char *top[] = { rolemodel,         (char *)"top", (char *)"--json",
                    (char *)"--count", (char *)"1",   (char *)"--interval",
                    (char *)"0.1",     (char *)guest, NULL };
    char *list[] = { rolemodel, (char *)"list", (char *)"--json", NULL };
    json_error_t error;
    FILE *output;

    pid_t pid = start_tool(strcmp(command, "top") == 0 ? top : list, &output);
    json_t *value = json_loadf(output, 0, &error);
    if (!value)
        g_error("rolemodel %s: %s", command, error.text);
    fclose(output);
    g_assert_cmpint(toolstack_wait(pid), ==, 0);
    return value;
}

static char *devices_text(json_t *root)
{
    GString *text = g_string_new(NULL);
    gsize index;
    json_t *device;

    json_array_foreach(json_object_get(root, "devices"), index, device)
    {
        const char *vdev = json_string_value(json_object_get(device, "vdev"));
        g_string_append_printf(text, "%s%s", index ? " " : "", vdev);
    }
    return g_string_free(text, FALSE);
}

/* The disks that are there, by name. */
static void assert_disks(const char *expected)
{
    json_t *root = ask("top", NULL);
    g_autofree char *text = devices_text(root);
    g_assert_cmpstr(text, ==, expected);
    json_decref(root);
}

/* The only disk. */
static json_t *ask_disk(void)
{
    json_t *root = ask("top", NULL), *devices = json_object_get(root, "devices");
    g_assert_cmpuint(json_array_size(devices), ==, 1);
    json_t *device = json_incref(json_array_get(devices, 0));
    json_decref(root);
    return device;
}

static json_int_t counter(json_t *device, const char *name)
{
    json_t *value = json_object_get(json_object_get(device, "counters"), name);
    g_assert_true(json_is_integer(value));
    return json_integer_value(value);
}

/* Of all buckets. */
static json_int_t histogram(json_t *device, const char *name)
{
    json_t *buckets = json_object_get(json_object_get(device, "counters"), name), *bucket;
    json_int_t sum = 0;
    gsize index;

    g_assert_cmpuint(json_array_size(buckets), ==, 32);
    json_array_foreach(buckets, index, bucket)
    {
        sum += json_integer_value(bucket);
    }
    return sum;
}

static void assert_identity(struct fixture *f, json_t *device, unsigned queues)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/name", guest_domid(f->guest));
    g_autofree char *name = toolstack_read(path);

    g_assert_cmpint(json_integer_value(json_object_get(device, "domid")), ==,
                    guest_domid(f->guest));
    g_assert_cmpstr(json_string_value(json_object_get(device, "guest")), ==, name);
    g_assert_cmpstr(json_string_value(json_object_get(device, "role")), ==, "disk");
    g_assert_cmpstr(json_string_value(json_object_get(device, "vdev")), ==, "xvda");
    g_assert_cmpint(json_integer_value(json_object_get(device, "queues")), ==, queues);
}

struct expected {
    const char *name;
    json_int_t value;
};

static void assert_counters(json_t *device, const struct expected *expected)
{
    for (; expected->name; expected++) {
        if (counter(device, expected->name) != expected->value)
            g_error("%s is %lld and not %lld", expected->name,
                    (long long)counter(device, expected->name), (long long)expected->value);
    }
}

static void test_requests(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 3, false), forged = pages;
    bool discard = blkfront_disk(front)->discard;
    unsigned answers = 0;

    forged.refs[1] = 4000; /* not granted */
    blkif_request_t odd = { .operation = 77 };
    blkif_request_t bad[] = {
        request_for(BLKIF_OP_READ, 1, f->disks[0].sectors, &pages, 1), /* beyond the end */
        request_for(BLKIF_OP_WRITE, 2, 0, &forged, 2),
        odd,
    };
    for (unsigned i = 0; i < 3; i++, answers++) {
        blkif_request_t read = request_for(BLKIF_OP_READ, i, i, &pages, 2);
        g_assert_cmpint(request_do(front, &read), ==, BLKIF_RSP_OKAY);
    }
    for (unsigned i = 0; i < 2; i++, answers++) {
        blkif_request_t write = request_for(BLKIF_OP_WRITE, i, 8 * i, &pages, 3);
        g_assert_cmpint(request_do(front, &write), ==, BLKIF_RSP_OKAY);
    }
    blkif_request_t flush = request_for(BLKIF_OP_FLUSH_DISKCACHE, 5, 0, &pages, 0);
    g_assert_cmpint(request_do(front, &flush), ==, BLKIF_RSP_OKAY);
    blkif_request_t unused = request_discard(6, 64, 8, 0);
    g_assert_cmpint(request_do(front, &unused), ==,
                    discard ? BLKIF_RSP_OKAY : BLKIF_RSP_EOPNOTSUPP);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_cmpint(request_do(front, &bad[i]), !=, BLKIF_RSP_OKAY);
    answers += 2 + G_N_ELEMENTS(bad);

    const struct expected expected[] = {
        { "rd_req", 4 },   { "rd_sect", 3 * 16 }, { "wr_req", 3 },
        { "wr_sect", 48 }, { "f_req", 1 },        { "ds_req", 1 },
        { "oo_req", 0 },   { "in_flight", 0 },    { "errors", discard ? 3 : 4 },
        { "mapped", 0 },   { NULL, 0 },
    };
    json_t *device = ask_disk();
    assert_identity(f, device, 1);
    assert_counters(device, expected);
    g_assert_cmpint(histogram(device, "rd_latency"), ==, 4);
    g_assert_cmpint(histogram(device, "wr_latency"), ==, 3);
    g_assert_cmpint(counter(device, "notifications"), >, 0);
    g_assert_cmpint(counter(device, "notifications"), <=, answers);
    json_decref(device);

    /* They are the disk's, whoever uses it. */
    fixture_close(front);
    device = ask_disk();
    assert_identity(f, device, 0);
    assert_counters(device, expected);
    json_decref(device);
    front = fixture_connect(f, 0, NULL);
    blkif_request_t again = request_for(BLKIF_OP_READ, 1, 0, &pages, 1);
    g_assert_cmpint(request_do(front, &again), ==, BLKIF_RSP_OKAY);
    device = ask_disk();
    assert_counters(device, (const struct expected[]){ { "rd_req", 5 }, { NULL, 0 } });
    json_decref(device);
    fixture_close(front);
}

static char *run_path(struct fixture *f, const char *name)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    return g_build_filename(g_getenv("ROLEMODEL_RUN_DIR"), domid, name, NULL);
}

/* Each queue has counters of its own. */
static unsigned reads_of_queue(struct fixture *f, unsigned queue)
{
    g_autofree char *path = run_path(f, "disk-51712.counters");
    struct disk_counters_file file;
    unsigned reads = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    g_assert_cmpint(read(fd, &file, sizeof(file)), ==, sizeof(file));
    close(fd);
    for (unsigned i = 0; i < DISK_LATENCY_BUCKETS; i++)
        reads += file.queues[queue].latency[BLKIF_OP_READ][i];
    return reads;
}

static void test_queues(struct fixture *f)
{
    const struct blkfront_options options = { .queues = 2 };
    g_autofree char *data = g_malloc0(GUEST_PAGE);
    f->options[0] = "max-queues=2";
    struct blkfront *front = fixture_start(f, &options);

    g_assert_cmpuint(blkfront_queues(front), ==, 2);
    for (unsigned queue = 0; queue < 2; queue++)
        g_assert_cmpint(blkfront_read(front, queue, 0, data, GUEST_PAGE), ==, BLKIF_RSP_OKAY);
    json_t *device = ask_disk();
    assert_identity(f, device, 2);
    for (unsigned queue = 0; queue < 2; queue++)
        g_assert_cmpuint(reads_of_queue(f, queue), ==, 1);
    assert_counters(device, (const struct expected[]){ { "rd_req", 2 },
                                                       { "rd_sect", 2 * SECTORS_PER_PAGE },
                                                       { NULL, 0 } });
    json_decref(device);
    fixture_close(front);
}

static void test_mapped(struct fixture *f)
{
    const struct blkfront_options options = { .persistent = true };
    f->options[0] = "persistent=on";
    struct blkfront *front = fixture_start(f, &options);
    struct pages pages = fixture_pages(f, 3, false);

    for (unsigned i = 0; i < 2; i++) {
        blkif_request_t write = request_for(BLKIF_OP_WRITE, i, 0, &pages, 3);
        g_assert_cmpint(request_do(front, &write), ==, BLKIF_RSP_OKAY);
    }
    json_t *device = ask_disk();
    assert_counters(device, (const struct expected[]){ { "mapped", 3 }, { NULL, 0 } });
    json_decref(device);
    fixture_close(front);
    device = ask_disk();
    assert_counters(device, (const struct expected[]){ { "mapped", 0 }, { NULL, 0 } });
    json_decref(device);
}

/* A read that takes its time, but not longer than request_do() waits. */
static void test_latency(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t read = request_for(BLKIF_OP_READ, 1, 0, &pages, 1);

    sim_fault(&(struct sim_fault){ .call = "xengnttab_grant_copy", .times = 1, .delay_us = 70000 });
    g_assert_cmpint(request_do(front, &read), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(sim_fault_struck("xengnttab_grant_copy"), ==, 1);
    sim_fault_clear();
    json_t *device = ask_disk(), *counters = json_object_get(device, "counters"), *bucket;
    json_int_t slow = 0;
    gsize index;
    json_array_foreach(json_object_get(counters, "rd_latency"), index, bucket)
    {
        bool possible = index >= 17 && index <= 24; /* from 2^16 us to 2^24 us */
        slow += possible ? json_integer_value(bucket) : 0;
    }
    g_assert_cmpint(slow, ==, 1);
    json_decref(device);
    fixture_close(front);
}

/* More than a queue has memory for, and all at once. */
static void test_room(struct fixture *f)
{
    const struct blkfront_options options = { .ring_order = 2 };
    struct blkfront *front = fixture_start(f, &options);
    struct pages pages = fixture_pages(f, 11, false);
    unsigned count = blkfront_ring_entries(front);

    g_assert_cmpuint(count, >=, 100); /* of 48 KiB: over 4 MiB */
    for (unsigned i = 0; i < count; i++) {
        blkif_request_t read = request_for(BLKIF_OP_READ, i, 0, &pages, 11);
        request_put(front, &read);
    }
    blkfront_push(front, 0);
    g_assert_cmpuint(request_take_all(front, count, BLKIF_RSP_OKAY), ==, count);
    json_t *device = ask_disk();
    assert_counters(device, (const struct expected[]){ { "rd_req", count }, { NULL, 0 } });
    g_assert_cmpint(counter(device, "oo_req"), >, 0);
    json_decref(device);
    fixture_close(front);
}

/* What else may lie in the directory is left out, and left alone. */
static void test_foreign(struct fixture *f)
{
    g_autofree char *pipe = run_path(f, "disk-1.counters"), *empty = run_path(f, "disk-2.counters");
    g_autofree char *link = run_path(f, "disk-3.counters"),
                    *rubbish = run_path(f, "disk-.counters");
    g_autofree char *directory = run_path(f, "disk-4.counters");
    g_autofree char *real = NULL, *zeros = g_malloc0(10000);

    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    real = run_path(f, "disk-51712.counters");
    g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
    g_assert_true(g_file_set_contents(empty, "", 0, NULL));
    g_assert_cmpint(symlink(real, link), ==, 0);
    g_assert_true(g_file_set_contents(rubbish, zeros, 10000, NULL));
    g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
    assert_disks("xvda");

    json_t *root = ask("top", "0"); /* another guest */
    g_assert_cmpuint(json_array_size(json_object_get(root, "devices")), ==, 0);
    json_decref(root);
    g_unlink(pipe);
    g_unlink(empty);
    g_unlink(link);
    g_unlink(rubbish);
    g_rmdir(directory);
}

static void await_gone(const char *path)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (g_file_test(path, G_FILE_TEST_EXISTS)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(500);
    }
}

static void test_killed(struct fixture *f)
{
    g_autofree char *first = run_path(f, "disk-51712.counters");
    g_autofree char *second = run_path(f, "disk-51728.counters");

    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_add_disk(f, "xvdb", MIB_SECTORS);
    fixture_start_role(f);
    assert_disks("xvda xvdb");
    kill(f->role, SIGKILL);
    fixture_wait_role(f, -SIGKILL, NULL);
    g_assert_true(g_file_test(first, G_FILE_TEST_EXISTS));
    assert_disks("");

    /* The next one serves only the first, which looks as if it was new. */
    g_autofree char *state =
        g_strdup_printf("/local/domain/0/backend/qdisk/%u/51712/state", guest_domid(f->guest));
    toolstack_write(state, "1");
    f->options[0] = "vdev=xvda";
    fixture_run_role(f);
    await_gone(second);
    fixture_check_disk(f, 0);
    assert_disks("xvda");
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
    g_assert_false(g_file_test(first, G_FILE_TEST_EXISTS));
}

/* Reads tables until one has just these disks. */
static void await_disks(FILE *output, const char *expected)
{
    for (unsigned i = 0; i < LINES_MAX; i++) {
        json_t *root = json_loadf(output, JSON_DISABLE_EOF_CHECK, NULL);
        g_assert_nonnull(root);
        g_autofree char *text = devices_text(root);
        json_decref(root);
        if (strcmp(text, expected) == 0)
            return;
    }
    g_error("'%s' never came", expected);
}

/* While a tool runs, disks come and go. */
static void test_hotplug(struct fixture *f)
{
    char *words[] = { rolemodel,     (char *)"top", (char *)"--json", (char *)"--interval",
                      (char *)"0.1", NULL };
    FILE *output;
    pid_t pid = start_tool(words, &output);

    await_disks(output, "");
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    await_disks(output, "xvda");
    fixture_add_disk(f, "xvdb", MIB_SECTORS);
    await_disks(output, "xvda xvdb");
    g_assert_true(toolstack_detach_disk(f->guest, f->disks[0].devid));
    await_disks(output, "xvdb");
    kill(pid, SIGTERM);
    g_assert_cmpint(toolstack_wait(pid), ==, -SIGTERM);
    fclose(output);
}

static void test_list(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    json_t *list = ask("list", NULL), *process = json_array_get(list, 0);
    g_assert_cmpuint(json_array_size(list), ==, 1);
    g_assert_cmpint(json_integer_value(json_object_get(process, "pid")), ==, f->role);
    g_assert_cmpint(json_integer_value(json_object_get(process, "domid")), ==,
                    guest_domid(f->guest));
    g_assert_cmpstr(json_string_value(json_object_get(process, "role")), ==, "disk");
    g_assert_cmpstr(json_string_value(json_object_get(process, "state")), ==, "running");
    g_assert_cmpint(json_integer_value(json_object_get(process, "pss_kib")), >, 0);
    json_decref(list);
}

static void add_tests(void)
{
    fixture_add_test("/disk-top/requests", test_requests);
    fixture_add_test("/disk-top/queues", test_queues);
    fixture_add_test("/disk-top/mapped", test_mapped);
    fixture_add_test("/disk-top/latency", test_latency);
    fixture_add_test("/disk-top/room", test_room);
    fixture_add_test("/disk-top/foreign", test_foreign);
    fixture_add_test("/disk-top/killed", test_killed);
    fixture_add_test("/disk-top/hotplug", test_hotplug);
    fixture_add_test("/disk-top/list", test_list);
}

int main(int argc, char **argv)
{
    rolemodel = argv[argc - 1];
    return fixture_main(argc, argv, add_tests);
}
