/*
 * The life of a disk: connections that end in order or not, guests and roles that end in the
 * middle of I/O, disks that come and go.  Nothing that was answered as written is lost, nothing
 * stays locked, and the role leaves with status 0.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define IN_FLIGHT 32
#define REQUEST_PAGES 8
#define REQUEST_SECTORS (REQUEST_PAGES * SECTORS_PER_PAGE)

/* A full ring of writes, each of its own place and content. */
struct burst {
    struct pages pages[IN_FLIGHT];
};

static void put_burst(struct fixture *f, struct burst *burst, struct blkfront *front, uint32_t seed)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        uint64_t sector = (uint64_t)i * REQUEST_SECTORS;
        if (!burst->pages[i].data)
            burst->pages[i] = fixture_pages(f, REQUEST_PAGES, false);
        blkfront_pattern(burst->pages[i].data, sector, REQUEST_PAGES * GUEST_PAGE, seed);
        blkif_request_t request =
            request_for(BLKIF_OP_WRITE, i, sector, &burst->pages[i], REQUEST_PAGES);
        request_put(front, &request);
    }
    blkfront_push(front, 0);
}

static void assert_written(const struct disk_file *disk, unsigned id, uint32_t seed)
{
    uint64_t sector = (uint64_t)id * REQUEST_SECTORS;
    g_autofree uint8_t *expected = g_malloc(REQUEST_PAGES * GUEST_PAGE);
    g_autofree uint8_t *found = g_malloc(REQUEST_PAGES * GUEST_PAGE);

    blkfront_pattern(expected, sector, REQUEST_PAGES * GUEST_PAGE, seed);
    g_assert_cmpint(pread(disk->fd, found, REQUEST_PAGES * GUEST_PAGE, sector * SECTOR), ==,
                    REQUEST_PAGES * GUEST_PAGE);
    g_assert_cmpint(memcmp(found, expected, REQUEST_PAGES * GUEST_PAGE), ==, 0);
}

/* What is answered on the ring now is on the disk; how many there were. */
static unsigned check_answers(struct fixture *f, unsigned disk, struct blkfront *front,
                              uint32_t seed)
{
    blkif_response_t response;
    unsigned count = 0;

    while (blkfront_take(front, 0, &response, 0)) {
        g_assert_cmpint(response.status, ==, BLKIF_RSP_OKAY);
        assert_written(&f->disks[disk], response.id, seed);
        count++;
    }
    return count;
}

/* --- connections --- */

/* Firmware connects as soon as it can, closes, and the operating system comes. */
static void test_firmware(struct fixture *f)
{
    static const struct blkfront_options firmware = { .firmware = true };

    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_run_role(f);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    struct blkfront *front = fixture_connect(f, 0, &firmware);
    for (unsigned i = 0; i < 5; i++) {
        fixture_verify(f, 0, front, 8, 256);
        fixture_close(front);
        fixture_check_disk(f, 0);
        front = fixture_connect(f, 0, &firmware);
    }
    fixture_close(front);
}

/* The one that connects is gone in the middle of I/O, again and again. */
static void abandon(struct fixture *f, const struct blkfront_options *options)
{
    struct burst burst = { 0 };

    for (unsigned i = 0; i < 6; i++) {
        struct blkfront *front = fixture_connect(f, 0, options);
        /* Behind the place of the last one's writes, which may still be under way. */
        fixture_verify(f, 0, front, IN_FLIGHT * REQUEST_SECTORS, 256);
        put_burst(f, &burst, front, i);
        blkfront_abandon(front);
    }
}

/* The next one resets the disk, as Linux does. */
static void test_abandoned(struct fixture *f)
{
    fixture_close(fixture_start(f, NULL));
    abandon(f, NULL);
}

/* The next one connects over what it finds, as firmware does. */
static void test_abandoned_over(struct fixture *f)
{
    static const struct blkfront_options firmware = { .firmware = true };
    fixture_close(fixture_start(f, NULL));
    abandon(f, &firmware);
}

/* Comes back with the ring it has, requests and all: each is answered exactly once. */
static void test_same_ring(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct burst burst = { 0 };

    for (unsigned i = 0; i < 20; i++) {
        put_burst(f, &burst, front, i);
        fixture_set_state(f, 0, XenbusStateConnected);
        g_assert_cmpuint(request_take_all(front, IN_FLIGHT, BLKIF_RSP_OKAY), ==, IN_FLIGHT);
        for (unsigned id = 0; id < IN_FLIGHT; id++)
            assert_written(&f->disks[0], id, i);
    }
    fixture_verify(f, 0, front, 0, 256);
    request_expect_none(front);
    fixture_close(front);
}

/* Closes with a full ring: what is answered is on the disk, and nobody touches a page after it. */
static void test_close_in_flight(struct fixture *f)
{
    struct burst burst = { 0 };
    struct blkfront *front = fixture_start(f, NULL);

    for (uint32_t i = 0; i < 10; i++) {
        put_burst(f, &burst, front, i);
        fixture_set_state(f, 0, XenbusStateClosing);
        fixture_expect_backend(f, 0, XenbusStateClosing);
        check_answers(f, 0, front, i);
        for (unsigned page = 0; page < IN_FLIGHT; page++) {
            for (unsigned j = 0; j < REQUEST_PAGES; j++) {
                g_assert_true(guest_ungrant(f->guest, burst.pages[page].refs[j]));
            }
        }
        memset(&burst, 0, sizeof(burst));
        fixture_close(front);
        front = fixture_connect(f, 0, NULL);
    }
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/*
 * Puts a burst and returns when the role has taken some of it: it is copying their data, which
 * takes a while this time.
 */
static void put_and_await_taken(struct fixture *f, struct burst *burst, struct blkfront *front,
                                uint32_t seed)
{
    struct sim_fault slow = { .call = "xengnttab_grant_copy", .times = 1, .delay_us = 50000 };
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;

    sim_fault(&slow);
    put_burst(f, burst, front, seed);
    while (sim_fault_struck(slow.call) == 0)
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    sim_fault_clear();
}

/* What the role has taken it answers before it closes. */
static void test_taken_is_answered(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct burst burst = { 0 };

    for (uint32_t i = 0; i < 5; i++) {
        put_and_await_taken(f, &burst, front, i);
        fixture_set_state(f, 0, XenbusStateClosing);
        fixture_expect_backend(f, 0, XenbusStateClosing);
        g_assert_cmpuint(check_answers(f, 0, front, i), >, 0);
        fixture_close(front);
        front = fixture_connect(f, 0, NULL);
    }
    put_and_await_taken(f, &burst, front, 77);
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
    g_assert_cmpuint(check_answers(f, 0, front, 77), >, 0);
    blkfront_abandon(front);
}

/* --- ends --- */

static void destroy_guest(struct fixture *f)
{
    toolstack_destroy(f->guest);
    f->guest = NULL;
}

static void test_guest_destroyed(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct burst burst = { 0 };

    put_burst(f, &burst, front, 1);
    g_assert_true(fixture_image_locked(&f->disks[0]));
    blkfront_abandon(front);
    destroy_guest(f);
    fixture_wait_role(f, 0, NULL);
    g_assert_false(fixture_image_locked(&f->disks[0]));
}

/* The same with a role that is told by nobody but xenstored, and has nothing connected. */
static void test_guest_destroyed_idle(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    destroy_guest(f);
    fixture_wait_role(f, 0, NULL);
    g_assert_false(fixture_image_locked(&f->disks[0]));
}

/* What the role took from the ring it answers; the rest is there for the next one. */
static void test_terminated(struct fixture *f)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    fixture_add_disk(f, "xvda", 8 * MIB_SECTORS);

    for (uint32_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        struct burst burst = { 0 };
        fixture_start_role(f);
        struct blkfront *front = fixture_connect(f, 0, NULL);
        put_burst(f, &burst, front, i);
        kill(f->role, signals[i]);
        fixture_wait_role(f, 0, NULL);
        fixture_expect_backend(f, 0, XenbusStateClosed);
        g_assert_false(fixture_image_locked(&f->disks[0]));
        check_answers(f, 0, front, i);
        fixture_close(front);
        toolstack_detach_disk(f->guest, f->disks[0].devid);
        fixture_reattach_disk(f, 0);
    }
    fixture_start_role(f);
    fixture_check_disk(f, 0);
}

/* The role is killed: the kernel unlocks the image and lets go of the guest's memory. */
static void test_killed(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct burst burst = { 0 };

    put_burst(f, &burst, front, 1);
    kill(f->role, SIGKILL);
    fixture_wait_role(f, -SIGKILL, NULL);
    g_assert_false(fixture_image_locked(&f->disks[0]));
    check_answers(f, 0, front, 1);
    blkfront_abandon(front);
    toolstack_destroy_disks(guest_domid(f->guest)); /* there is nobody to ask */
    fixture_reattach_disk(f, 0);
    fixture_start_role(f);
    fixture_check_disk(f, 0);
}

/* --- detaching and attaching --- */

struct detaching {
    struct fixture *f;
    unsigned disk;
    bool closed;
};

static gpointer detach(gpointer opaque)
{
    struct detaching *detaching = opaque;
    struct fixture *f = detaching->f;
    detaching->closed = toolstack_detach_disk(f->guest, f->disks[detaching->disk].devid);
    return NULL;
}

static void await_as_guest(struct fixture *f, unsigned disk, const char *state)
{
    g_autofree char *path = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u/state",
                                            guest_domid(f->guest), f->disks[disk].devid);
    g_assert_true(guest_store_await(f->guest, path, state, PATIENCE_MS));
}

/* A disk in use is served until the guest has let go of it. */
static void test_detached_in_flight(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct detaching detaching = { .f = f };
    struct burst burst = { 0 };

    put_burst(f, &burst, front, 1);
    GThread *thread = g_thread_new("detach", detach, &detaching);
    await_as_guest(f, 0, "5");
    g_assert_cmpuint(request_take_all(front, IN_FLIGHT, BLKIF_RSP_OKAY), ==, IN_FLIGHT);
    put_burst(f, &burst, front, 2);
    g_assert_cmpuint(request_take_all(front, IN_FLIGHT, BLKIF_RSP_OKAY), ==, IN_FLIGHT);
    for (unsigned id = 0; id < IN_FLIGHT; id++)
        assert_written(&f->disks[0], id, 2);
    fixture_close(front);
    g_thread_join(thread);
    g_assert_true(detaching.closed);
    g_assert_false(fixture_image_locked(&f->disks[0]));
}

static void test_hotplug(struct fixture *f)
{
    static const char *const names[] = { "xvda", "xvdb", "xvdc", "xvdd", "xvde",
                                         "xvdf", "xvdg", "xvdh", "xvdi", "xvdj" };
    struct blkfront *fronts[G_N_ELEMENTS(names)];

    fixture_start_role(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        fixture_add_disk(f, names[i], MIB_SECTORS);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        fixture_expect_backend(f, i, XenbusStateInitWait);
        fronts[i] = fixture_connect(f, i, NULL);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        fixture_verify(f, i, fronts[i], i, 64);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        fixture_close(fronts[i]);
        /* Closed already, so the toolstack does not wait for the role to open its hand. */
        g_assert_true(toolstack_detach_disk(f->guest, f->disks[i].devid));
        fixture_await_unlocked(&f->disks[i]);
    }
}

/* One that cannot be opened is refused alone. */
static void test_hotplug_missing_image(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    struct toolstack_disk disk = { .vdev = "xvdb", .params = "aio:/nonexistent/image" };
    unsigned devid = toolstack_attach_disk(f->guest, &disk);
    g_autofree char *dir =
        g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u", guest_domid(f->guest), devid);
    g_autofree char *state = g_strconcat(dir, "/state", NULL);
    g_autofree char *error = g_strconcat(dir, "/error", NULL);

    g_assert_true(toolstack_await(state, "6", PATIENCE_S));
    g_autofree char *message = toolstack_read(error);
    g_assert_nonnull(strstr(message, "/nonexistent/image"));
    fixture_check_disk(f, 0);
}

struct user {
    struct blkfront *front;
    uint32_t seed;
    char *reason;
};

static gpointer use(gpointer opaque)
{
    struct user *user = opaque;
    for (unsigned i = 0; i < 4 && !user->reason; i++)
        blkfront_verify(user->front, 0, i, 4096, user->seed + i, &user->reason);
    return NULL;
}

static void test_two_disks(struct fixture *f)
{
    struct user users[2] = { { .seed = 100 }, { .seed = 200 } };
    GThread *threads[2];

    fixture_add_disk(f, "xvda", 4 * MIB_SECTORS);
    fixture_add_disk(f, "xvdb", 4 * MIB_SECTORS);
    fixture_start_role(f);
    for (unsigned i = 0; i < 2; i++)
        users[i].front = fixture_connect(f, i, NULL);
    for (unsigned i = 0; i < 2; i++)
        threads[i] = g_thread_new("user", use, &users[i]);
    for (unsigned i = 0; i < 2; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpstr(users[i].reason, ==, NULL);
        fixture_verify(f, i, users[i].front, 0, 64);
        fixture_close(users[i].front);
    }
}

/* --- images --- */

/*
 * The image of another guest's disk is refused, and the message says why; but not at once, because
 * the other guest could be on its way out.  That one closes and opens its disk a hundred times.
 */
static void test_reconnect_in_use(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct fixture other;

    fixture_open(&other);
    g_autofree char *params = g_strdup_printf("aio:%s", f->disks[0].path);
    struct toolstack_disk disk = { .vdev = "xvda", .params = params };
    toolstack_attach_disk(other.guest, &disk);
    fixture_run_role(&other);
    for (unsigned i = 0; i < 100; i++) {
        fixture_verify(f, 0, front, i, 32);
        fixture_close(front);
        front = fixture_connect(f, 0, NULL);
    }
    fixture_close(front);
    fixture_wait_role(&other, 1, "another process is using the image");
    fixture_end(&other);
}

/* A second role on the same guest finds the disk taken, and leaves it alone. */
static void test_second_role(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    pid_t first = f->role;
    fixture_run_role(f);
    fixture_wait_role(f, 1, "something else serves it");
    f->role = first;
    fixture_check_disk(f, 0);
}

/* The usual limit is too low for many disks with many queues; here a lower one for some. */
static void test_descriptors(struct fixture *f)
{
    static const struct blkfront_options options = { .queues = 8 };
    struct blkfront *fronts[3];
    struct rlimit before, low;

    f->options[0] = "max-queues=8";
    fixture_add_disk(f, "xvda", 256);
    fixture_add_disk(f, "xvdb", 256);
    fixture_add_disk(f, "xvdc", 256);
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    low = before;
    low.rlim_cur = 64;
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &low), ==, 0);
    fixture_run_role(f);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(fronts); i++) {
        fixture_expect_backend(f, i, XenbusStateInitWait);
        fixture_settle(f, i);
        fronts[i] = fixture_connect(f, i, &options);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(fronts); i++)
        fixture_close(fronts[i]);
}

static void add_tests(void)
{
    fixture_add_test("/disk/life/firmware", test_firmware);
    fixture_add_test("/disk/life/abandoned", test_abandoned);
    fixture_add_test("/disk/life/abandoned-over", test_abandoned_over);
    fixture_add_test("/disk/life/same-ring", test_same_ring);
    fixture_add_test("/disk/life/close-in-flight", test_close_in_flight);
    fixture_add_test("/disk/life/taken-is-answered", test_taken_is_answered);
    fixture_add_test("/disk/life/guest-destroyed", test_guest_destroyed);
    fixture_add_test("/disk/life/guest-destroyed-idle", test_guest_destroyed_idle);
    fixture_add_test("/disk/life/terminated", test_terminated);
    fixture_add_test("/disk/life/killed", test_killed);
    fixture_add_test("/disk/life/detached-in-flight", test_detached_in_flight);
    fixture_add_test("/disk/life/hotplug", test_hotplug);
    fixture_add_test("/disk/life/hotplug-missing-image", test_hotplug_missing_image);
    fixture_add_test("/disk/life/two-disks", test_two_disks);
    fixture_add_test("/disk/life/reconnect-in-use", test_reconnect_in_use);
    fixture_add_test("/disk/life/second-role", test_second_role);
    fixture_add_test("/disk/life/descriptors", test_descriptors);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
