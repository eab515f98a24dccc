/*
 * The qemu-storage-daemon of a disk dies, stands still or ends: the guest sees a pause, and what it
 * was told is written is on the image, whatever happens then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/image-fixture.h"
#include "tests/protocol/stop.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define DISK_SECTORS (64 * MIB_SECTORS)
#define CLUSTER_SECTORS 128 /* qcow2's */

/* What the image must have: the seed of the pattern in each page of the disk, 0 for none. */
struct model {
    uint32_t seeds[DISK_SECTORS / SECTORS_PER_PAGE];
    uint32_t last_seed;
    GRand *random;
};

static struct model *model_new(void)
{
    struct model *model = g_new0(struct model, 1);
    model->random = g_rand_new_with_seed(1);
    return model;
}

static void model_free(struct model *model)
{
    g_rand_free(model->random);
    g_free(model);
}

/* Puts a full ring of writes, each to a page of its own; page I's place is PLACES[I]. */
static void put_writes(struct model *model, struct blkfront *front, const struct pages *pages,
                       uint32_t *places, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t place;
        bool used;
        do {
            place = g_rand_int_range(model->random, 0, G_N_ELEMENTS(model->seeds));
            used = false;
            for (unsigned j = 0; j < i; j++)
                used |= places[j] == place;
        } while (used);
        places[i] = place;
        struct pages page = { .refs = { pages->refs[i] } };
        uint64_t sector = (uint64_t)place * SECTORS_PER_PAGE;
        blkif_request_t request = request_for(BLKIF_OP_WRITE, i, sector, &page, 1);
        model->seeds[place] = ++model->last_seed;
        blkfront_pattern(pages->data + (size_t)i * GUEST_PAGE, sector, GUEST_PAGE,
                         model->last_seed);
        request_put(front, &request);
    }
    blkfront_push(front, 0);
}

static void assert_model(const struct model *model, const uint8_t *data)
{
    uint8_t expected[GUEST_PAGE];
    for (unsigned i = 0; i < G_N_ELEMENTS(model->seeds); i++) {
        memset(expected, 0, sizeof(expected));
        if (model->seeds[i])
            blkfront_pattern(expected, (uint64_t)i * SECTORS_PER_PAGE, GUEST_PAGE, model->seeds[i]);
        if (memcmp(data + (size_t)i * GUEST_PAGE, expected, GUEST_PAGE) != 0)
            g_error("page %u is not what was written there last", i);
    }
}

static void end_role(struct fixture *f)
{
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
    image_assert_directory_clean(f);
}

static void end_and_check(struct fixture *f, const struct model *model)
{
    end_role(f);
    g_autofree uint8_t *data = image_read(f, "qcow2", DISK_SECTORS);
    assert_model(model, data);
    /* 3: clusters that belong to nobody, which is what a qcow2 that was cut off may have. */
    image_run("qemu-img check -q -f qcow2 %s >%s 2>&1 || [ $? = 3 ]", f->disks[0].path, f->log);
}

/* Writes a full ring ROUNDS times; the daemon is killed in each of them if KILL. */
static pid_t write_rounds(struct fixture *f, struct model *model, struct blkfront *front,
                          unsigned rounds, bool killing)
{
    unsigned entries = blkfront_ring_entries(front);
    struct pages pages = fixture_pages(f, entries, false);
    pid_t daemon = image_daemon(f, 0);
    uint32_t places[32];

    for (unsigned i = 0; i < rounds; i++) {
        put_writes(model, front, &pages, places, entries);
        if (killing) {
            g_usleep(g_rand_int_range(model->random, 0, 2000));
            g_assert_cmpint(kill(daemon, SIGKILL), ==, 0);
        }
        g_assert_cmpuint(request_take_all(front, entries, BLKIF_RSP_OKAY), ==, entries);
        if (killing)
            daemon = image_daemon(f, daemon);
    }
    return daemon;
}

/* `rolemodel list` has the daemon after the role. */
static void assert_listed(struct fixture *f, pid_t daemon)
{
    g_autofree char *list = fixture_processes();
    const char *role = strstr(list, " disk ");
    const char *line = role ? strstr(role, " qemu-storage-daemon ") : NULL;
    int pid;

    if (!line || sscanf(line, "%*s %d", &pid) != 1 || pid != daemon)
        g_error("daemon %d is not listed:\n%s", daemon, list);
}

static void test_killed(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    assert_listed(f, image_daemon(f, 0));
    assert_listed(f, write_rounds(f, model, front, 5, true));
    g_assert_true(fixture_role_said(f, "was killed by signal 9"));
    fixture_close(front);
    end_and_check(f, model);
    model_free(model);
}

/* The next one dies as well, while it does what the first one took along. */
static void test_killed_twice(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    pid_t daemon = write_rounds(f, model, front, 8, false);
    for (unsigned i = 0; i < 4; i++) {
        kill(daemon, SIGKILL);
        daemon = image_daemon(f, daemon);
        g_usleep(i * 10000);
    }
    write_rounds(f, model, front, 2, false);
    fixture_close(front);
    end_and_check(f, model);
    model_free(model);
}

#define RACES 1000

/* Reads RACES pages, far from each other, from SECTOR 0 on. */
static void read_races(struct blkfront *front, uint8_t *data)
{
    for (unsigned i = 0; i < RACES; i++)
        g_assert_cmpint(blkfront_read(front, 0, (uint64_t)i * 64, data + i * SECTOR, SECTOR), ==,
                        BLKIF_RSP_OKAY);
}

/* Two queues write the same place at the same time: whichever came last is last ever after. */
static void test_overlapping(struct fixture *f)
{
    static const struct blkfront_options options = { .queues = 2 };
    g_autofree uint8_t *before = g_malloc(RACES * SECTOR), *after = g_malloc(RACES * SECTOR);
    blkif_response_t response;

    f->options[0] = "max-queues=2";
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    fixture_close(front);
    front = fixture_connect(f, 0, &options);
    struct pages pages = fixture_pages(f, 2, false);
    memset(pages.data, 0x55, GUEST_PAGE);
    memset(pages.data + GUEST_PAGE, 0xaa, GUEST_PAGE);
    for (unsigned i = 0; i < RACES; i++) {
        for (unsigned queue = 0; queue < 2; queue++) {
            struct pages page = { .refs = { pages.refs[queue] } };
            blkif_request_t request = request_for(BLKIF_OP_WRITE, i, (uint64_t)i * 64, &page, 1);
            g_assert_true(blkfront_put(front, queue, &request));
        }
        for (unsigned queue = 0; queue < 2; queue++)
            blkfront_push(front, queue);
        for (unsigned queue = 0; queue < 2; queue++) {
            g_assert_true(blkfront_take(front, queue, &response, PATIENCE_MS));
            g_assert_cmpint(response.status, ==, BLKIF_RSP_OKAY);
        }
    }
    read_races(front, before);
    kill(image_daemon(f, 0), SIGKILL);
    read_races(front, after);
    g_assert_cmpmem(before, RACES * SECTOR, after, RACES * SECTOR);
    fixture_close(front);
    end_role(f);
}

/* All has been acknowledged, nothing flushed, and the guest has closed, when the daemon dies. */
static void test_killed_when_closed(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    pid_t daemon = write_rounds(f, model, front, 4, false);
    fixture_close(front);
    kill(daemon, SIGKILL);
    image_daemon(f, daemon);
    end_and_check(f, model);
    model_free(model);
}

/* The role is told to end while there is no daemon: it needs one more. */
static void test_killed_at_the_end(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    pid_t daemon = write_rounds(f, model, front, 4, false);
    fixture_close(front);
    process_stop(f->role);
    kill(daemon, SIGKILL);
    kill(f->role, SIGTERM);
    kill(f->role, SIGCONT);
    fixture_wait_role(f, 0, NULL);
    g_autofree uint8_t *data = image_read(f, "qcow2", DISK_SECTORS);
    assert_model(model, data);
    model_free(model);
}

/* More than the write log holds, from a guest that does not flush. */
static void test_log_full(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const size_t length = 24 << 20;
    g_autofree uint8_t *data = g_malloc(length);

    blkfront_pattern(data, 0, length, 1);
    g_assert_cmpint(blkfront_write(front, 0, 0, data, length), ==, BLKIF_RSP_OKAY);
    for (size_t i = 0; i < length / GUEST_PAGE; i++)
        model->seeds[i] = 1;
    model->last_seed = 1;
    kill(image_daemon(f, 0), SIGKILL);
    write_rounds(f, model, front, 2, false);
    fixture_close(front);
    end_and_check(f, model);
    model_free(model);
}

/* Discards are done again in their place among the writes. */
static void test_discard_in_order(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const size_t length = 1 << 20;
    g_autofree uint8_t *data = g_malloc(length);

    for (unsigned i = 0; i < 8; i++) {
        uint64_t sector = (uint64_t)i * MIB_SECTORS, half = MIB_SECTORS / 2;
        blkfront_pattern(data, sector, length, 5);
        g_assert_cmpint(blkfront_write(front, 0, sector, data, length), ==, BLKIF_RSP_OKAY);
        g_assert_cmpint(blkfront_discard(front, 0, sector, MIB_SECTORS, false), ==, BLKIF_RSP_OKAY);
        blkfront_pattern(data, sector, length / 2, 6);
        g_assert_cmpint(blkfront_write(front, 0, sector, data, length / 2), ==, BLKIF_RSP_OKAY);
        for (unsigned j = 0; j < half / SECTORS_PER_PAGE; j++)
            model->seeds[sector / SECTORS_PER_PAGE + j] = 6;
    }
    pid_t daemon = image_daemon(f, 0);
    kill(daemon, SIGKILL);
    fixture_close(front);
    end_and_check(f, model);
    model_free(model);
}

/* Reads and flushes that were under way are answered too. */
static void test_killed_while_reading(struct fixture *f)
{
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const size_t length = 4 << 20;
    g_autofree uint8_t *data = g_malloc(length), *read = g_malloc(length);

    blkfront_pattern(data, 0, length, 3);
    g_assert_cmpint(blkfront_write(front, 0, 0, data, length), ==, BLKIF_RSP_OKAY);
    for (unsigned i = 0; i < 3; i++) {
        pid_t daemon = image_daemon(f, 0);
        kill(daemon, SIGKILL);
        memset(read, 0, length);
        g_assert_cmpint(blkfront_read(front, 0, 0, read, length), ==, BLKIF_RSP_OKAY);
        g_assert_cmpmem(read, length, data, length);
        kill(image_daemon(f, daemon), SIGKILL);
        g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    }
    fixture_close(front);
    end_role(f);
}

/* The guest closes with writes under way that a stopped daemon does not do. */
static void test_closed_while_stopped(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    uint32_t places[32];

    pid_t daemon = write_rounds(f, model, front, 4, false);
    struct model *before = g_memdup2(model, sizeof(*model));
    struct pages pages = fixture_pages(f, 8, false);
    image_stop_daemon(daemon);
    put_writes(model, front, &pages, places, 8);
    image_await_in_flight(f, 8);
    fixture_close(front);
    /* What was under way may or may not be there; the daemon that had it must be gone. */
    front = fixture_connect(f, 0, NULL);
    for (unsigned i = 0; i < 8; i++) {
        blkif_request_t request =
            request_for(BLKIF_OP_WRITE, i, (uint64_t)places[i] * SECTORS_PER_PAGE,
                        &(struct pages){ .refs = { pages.refs[i] } }, 1);
        before->seeds[places[i]] = 1000000 + i;
        blkfront_pattern(pages.data + (size_t)i * GUEST_PAGE,
                         (uint64_t)places[i] * SECTORS_PER_PAGE, GUEST_PAGE, 1000000 + i);
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    }
    fixture_close(front);
    end_and_check(f, before);
    g_free(before);
    model_free(model);
}

/* The end of the role while the daemon stands still: another one does what that has not. */
static void test_stopped_at_the_end(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    pid_t daemon = write_rounds(f, model, front, 4, false);
    fixture_close(front);
    kill(daemon, SIGSTOP);
    end_and_check(f, model);
    model_free(model);
}

/* Asked to end by somebody else, it is replaced as well. */
static void test_terminated(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    pid_t daemon = write_rounds(f, model, front, 2, false);
    kill(daemon, SIGTERM);
    write_rounds(f, model, front, 2, false);
    g_assert_true(fixture_role_said(f, "ended with status 0"));
    fixture_close(front);
    end_and_check(f, model);
    model_free(model);
}

static void await_said(struct fixture *f, const char *text)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (!fixture_role_said(f, text))
        g_assert_cmpint(g_get_monotonic_time(), <, end);
}

/* The image is gone when the daemon comes back: the guest waits, and goes on when it is there. */
static void test_image_away(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);

    pid_t daemon = write_rounds(f, model, front, 2, false);
    image_run("mv %s %s", f->disks[0].path, away);
    kill(daemon, SIGKILL);
    await_said(f, "tried again until it works");
    image_run("mv %s %s", away, f->disks[0].path);
    write_rounds(f, model, front, 2, false);
    fixture_close(front);
    end_and_check(f, model);
    model_free(model);
}

/* The guest closes while there is no daemon: what it still asked for fails, nothing else does. */
static void test_closed_while_away(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);
    uint32_t places[8];

    pid_t daemon = write_rounds(f, model, front, 2, false);
    g_autofree struct model *acknowledged = g_memdup2(model, sizeof(*model));
    struct pages pages = fixture_pages(f, 8, false);
    image_run("mv %s %s", f->disks[0].path, away);
    kill(daemon, SIGKILL);
    await_said(f, "tried again until it works");
    put_writes(model, front, &pages, places, G_N_ELEMENTS(places));
    fixture_close(front);
    image_run("mv %s %s", away, f->disks[0].path);
    end_and_check(f, acknowledged);
    model_free(model);
}

/* The role is told to end while the image is away: it waits a while for that to be there again. */
static void test_away_at_the_end(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);

    pid_t daemon = write_rounds(f, model, front, 2, false);
    fixture_close(front);
    kill(daemon, SIGSTOP); /* it has no chance to write back */
    image_run("mv %s %s", f->disks[0].path, away);
    kill(daemon, SIGKILL);
    kill(f->role, SIGTERM);
    await_said(f, "writes of the guest need it: tried again for");
    image_run("mv %s %s", away, f->disks[0].path);
    fixture_wait_role(f, 0, NULL);
    image_assert_directory_clean(f);
    g_autofree uint8_t *data = image_read(f, "qcow2", DISK_SECTORS);
    assert_model(model, data);
    model_free(model);
}

/* It does not outlive a role that is killed, and leaves the image in order. */
static void test_role_killed(struct fixture *f)
{
    struct model *model = model_new();
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);

    write_rounds(f, model, front, 2, false);
    pid_t daemon = image_daemon(f, 0);
    kill(f->role, SIGKILL);
    fixture_wait_role(f, -SIGKILL, NULL);
    blkfront_abandon(front);
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (kill(daemon, 0) == 0)
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    g_autofree uint8_t *data = image_read(f, "qcow2", DISK_SECTORS);
    assert_model(model, data);
    image_run("rm -r %s/%u", f->directory, guest_domid(f->guest));
    model_free(model);
}

static void add_tests(void)
{
    fixture_add_test("/disk/daemon/killed", test_killed);
    fixture_add_test("/disk/daemon/killed/twice", test_killed_twice);
    fixture_add_test("/disk/daemon/overlapping", test_overlapping);
    fixture_add_test("/disk/daemon/killed/when-closed", test_killed_when_closed);
    fixture_add_test("/disk/daemon/killed/at-the-end", test_killed_at_the_end);
    fixture_add_test("/disk/daemon/killed/while-reading", test_killed_while_reading);
    fixture_add_test("/disk/daemon/log-full", test_log_full);
    fixture_add_test("/disk/daemon/discard-in-order", test_discard_in_order);
    fixture_add_test("/disk/daemon/stopped/closed", test_closed_while_stopped);
    fixture_add_test("/disk/daemon/stopped/at-the-end", test_stopped_at_the_end);
    fixture_add_test("/disk/daemon/terminated", test_terminated);
    fixture_add_test("/disk/daemon/image-away", test_image_away);
    fixture_add_test("/disk/daemon/closed-while-away", test_closed_while_away);
    fixture_add_test("/disk/daemon/away-at-the-end", test_away_at_the_end);
    fixture_add_test("/disk/daemon/role-killed", test_role_killed);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
