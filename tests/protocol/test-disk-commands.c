/*
 * What an administrator does to a disk while the guest uses it: resizing, going on after an error,
 * limits; and what the guest sees of that.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define START_SECTORS (8 * MIB_SECTORS)
#define ROUNDS 20
#define FLOOD 64

/* --- resize --- */

static uint64_t file_size(const struct disk_file *disk)
{
    struct stat status;
    g_assert_cmpint(fstat(disk->fd, &status), ==, 0);
    return status.st_size;
}

static void test_grow(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, START_SECTORS), ==, BLKIF_RSP_ERROR);
    expect_command(f, 0, "16777216 bytes\n", "resize", "xvda", "16M");
    g_assert_cmpuint(file_size(&f->disks[0]), ==, 16 << 20);
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, 2 * START_SECTORS);
    fixture_expect_backend(f, 0, XenbusStateConnected);
    assert_untouched(&f->disks[0], 0, START_SECTORS);
    fixture_verify(f, 0, front, START_SECTORS - 256, 512);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 2 * START_SECTORS), ==,
                    BLKIF_RSP_ERROR);
    fixture_expect_list(f, "in use", 16, f->disks[0].path);

    fixture_close(front);
    expect_command(f, 0, "17000960 bytes\n", "resize", "xvda", "17000960"); /* nobody is there */
    front = fixture_connect(f, 0, NULL);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, 17000960 / SECTOR);
    fixture_verify(f, 0, front, 17000960 / SECTOR - 64, 64);
    fixture_close(front);
}

/* Firmware has read the properties and not connected yet: it is told, too. */
static void test_grow_waiting(struct fixture *f)
{
    fixture_add_disk(f, "xvda", START_SECTORS);
    fixture_start_role(f);
    expect_command(f, 0, "bytes", "resize", "xvda", "9M");
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, 9 * MIB_SECTORS);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    fixture_expect_list(f, "waiting", 9, f->disks[0].path);
    fixture_check_disk(f, 0);
    fixture_expect_list(f, "waiting", 9, f->disks[0].path);
}

/* A guest notices by a watch on the backend's state: it must be written though it is the same. */
static void test_grow_is_seen(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree char *state = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u/state",
                                             guest_domid(f->guest), f->disks[0].devid);
    struct xs_handle *watcher = xs_open(0);
    unsigned count;

    g_assert_true(xs_watch(watcher, state, "seen"));
    free(xs_read_watch(watcher, &count)); /* fires once at the start */
    g_assert_null(xs_check_watch(watcher));
    expect_command(f, 0, "bytes", "resize", "xvda", "9M");
    char **event = xs_read_watch(watcher, &count);
    g_assert_nonnull(event);
    free(event);
    xs_close(watcher);
    fixture_close(front);
}

/* Several administrators at a time; each change begins when the last one has just ended. */
static void test_under_load(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct request_load load;
    unsigned made = 0;

    f->log_bytes = 1 << 20; /* a line for each */
    request_load_start(f, &load, front);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct command commands[4];
        for (unsigned j = 0; j < G_N_ELEMENTS(commands); j++) {
            g_autofree char *size = g_strdup_printf("%uM", 9 + i * 4 + j);
            commands[j] = fixture_command(f, (const char *const[]){ "resize", "xvda", size, NULL });
        }
        for (unsigned j = 0; j < G_N_ELEMENTS(commands); j++) {
            g_autofree char *text = NULL;
            int status = fixture_command_wait(&commands[j], &text);
            if (status != 0 && !strstr(text, "another change"))
                g_error("%s", text);
            made += status == 0;
        }
    }
    request_load_end(&load);
    g_assert_cmpuint(made, >=, ROUNDS);
    g_assert_cmpuint(load.bad, ==, 0);
    g_assert_cmpuint(load.done, >, 0);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* A connection to the role's own socket that asks for RESIZE xvda. */
static int ask_quickly(struct fixture *f)
{
    static const char request[] = "resize\0xvda";
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/%u/disk",
               g_getenv("ROLEMODEL_RUN_DIR"), guest_domid(f->guest));
    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), ==, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(send(fd, request, sizeof(request), MSG_NOSIGNAL), ==, sizeof(request));
    shutdown(fd, SHUT_WR);
    return fd;
}

/* One change after another without a pause: the next one begins before the queue has gone on. */
static void test_flood(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    int clients[FLOOD];
    unsigned made = 0;

    f->log_bytes = 1 << 20;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < FLOOD; i++)
            clients[i] = ask_quickly(f);
        for (unsigned i = 0; i < FLOOD; i++) {
            char answer[256] = "";
            g_assert_cmpint(recv(clients[i], answer, sizeof(answer) - 1, 0), >, 0);
            close(clients[i]);
            if (!g_str_has_prefix(answer, "ok ") && !strstr(answer, "another change"))
                g_error("%s", answer);
            made += answer[0] == 'o';
        }
    }
    g_assert_cmpuint(made, >=, ROUNDS);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

static void test_queues(struct fixture *f)
{
    f->options[0] = "max-queues=4";
    struct blkfront *front = fixture_start(f, &(struct blkfront_options){ .queues = 4 });

    for (unsigned i = 0; i < ROUNDS; i++) {
        g_autofree char *size = g_strdup_printf("%uM", 9 + i);
        expect_command(f, 0, "bytes", "resize", "xvda", size);
    }
    for (unsigned queue = 0; queue < 4; queue++) {
        g_autofree char *reason = NULL;
        if (!blkfront_verify(front, queue, START_SECTORS, 512, queue + 1, &reason))
            g_error("queue %u: %s", queue, reason);
    }
    fixture_close(front);
}

static void test_shrink(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    expect_command(f, 1, "it has data beyond that size", "resize", "xvda", "4M");
    g_assert_cmpuint(file_size(&f->disks[0]), ==, 8 << 20);
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, START_SECTORS);
    fixture_verify(f, 0, front, START_SECTORS - 64, 64);

    g_assert_cmpint(blkfront_discard(front, 0, START_SECTORS / 2, START_SECTORS / 2, false), ==,
                    BLKIF_RSP_OKAY);
    expect_command(f, 0, "4194304 bytes", "resize", "xvda", "4M");
    g_assert_cmpuint(file_size(&f->disks[0]), ==, 4 << 20);
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, START_SECTORS / 2);
    g_assert_cmpint(request_page(front, BLKIF_OP_WRITE, &pages, START_SECTORS / 2), ==,
                    BLKIF_RSP_ERROR);
    g_assert_cmpint(request_page(front, BLKIF_OP_WRITE, &pages, START_SECTORS / 2 - 8), ==,
                    BLKIF_RSP_OKAY);
    g_assert_cmpuint(file_size(&f->disks[0]), ==, 4 << 20);
    fixture_close(front);
}

/* Others have changed the file. */
static void test_look_anew(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);

    g_assert_cmpint(ftruncate(f->disks[0].fd, 12 << 20), ==, 0);
    expect_command(f, 0, "12582912 bytes", "resize", "xvda");
    fixture_verify(f, 0, front, 8 * MIB_SECTORS, 4 * MIB_SECTORS);
    g_assert_cmpint(ftruncate(f->disks[0].fd, 0), ==, 0);
    expect_command(f, 1, "the file is empty", "resize", "xvda");
    fixture_expect_list(f, "in use", 12,
                        f->disks[0].path); /* as it was: the guest still thinks so */
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, 12 * MIB_SECTORS);
    g_assert_cmpint(ftruncate(f->disks[0].fd, 1 << 20), ==, 0);
    expect_command(f, 0, "1048576 bytes", "resize", "xvda");
    fixture_verify(f, 0, front, 0, MIB_SECTORS);
    fixture_close(front);
}

static void test_wrong_sizes(struct fixture *f)
{
    static const char *const wrong[] = { "",     "M",   "-1",  "1.5G",   "8MB", "x",
                                         "0",    "0G",  "511", "1000",   "8 M", "99999999999T",
                                         "0x10", "1e6", "+8M", "8388609" };
    const struct toolstack_disk read_only = { .vdev = "xvdb", .read_only = true };

    fixture_add_disk(f, "xvda", START_SECTORS);
    fixture_add_special_disk(f, &read_only, START_SECTORS);
    fixture_start_role(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        expect_command(f, 1, "is not a size", "resize", "xvda", wrong[i]);
        g_assert_cmpuint(file_size(&f->disks[0]), ==, 8 << 20);
    }
    expect_command(f, 1, g_strerror(EFBIG), "resize", "xvda",
                   "8388607T"); /* more than any file system */
    expect_command(f, 1, "the disk is read-only", "resize", "xvdb", "16M");
    expect_command(f, 1, "no disk xvdc", "resize", "xvdc", "16M");
    expect_command(f, 2, "use: rolemodel disk resize GUEST VDEV [SIZE]", "resize");
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, START_SECTORS);
    fixture_check_disk(f, 0);
}

/* --- on-error=stop --- */

/* A file that others make shorter: what is read where it was fails, until they undo it. */
static struct blkfront *start_stopped(struct fixture *f, struct pages *pages)
{
    f->options[0] = "on-error=stop";
    struct blkfront *front = fixture_start(f, NULL);
    blkif_request_t request;

    *pages = fixture_pages(f, 2, false);
    request = request_for(BLKIF_OP_READ, 0, START_SECTORS - 8, pages, 1);
    expect_command(f, 0, "no error had stopped it", "resume", "xvda");
    g_assert_cmpint(ftruncate(f->disks[0].fd, 4 << 20), ==, 0);
    request_put(front, &request);
    blkfront_push(front, 0);
    while (!fixture_role_said(f, "stands still until"))
        g_usleep(1000);
    fixture_await_state(f, "stopped");
    request_expect_none(front);
    return front;
}

static void test_resume(struct fixture *f)
{
    struct pages pages;
    struct blkfront *front = start_stopped(f, &pages);
    blkif_request_t other =
        request_for(BLKIF_OP_READ, 1, 0, &(struct pages){ .refs = { pages.refs[1] } }, 1);

    request_put(front, &other); /* waits, too */
    blkfront_push(front, 0);
    request_expect_none(front);
    g_assert_cmpint(ftruncate(f->disks[0].fd, 8 << 20), ==, 0);
    expect_command(f, 0, "", "resume", "xvda");
    g_assert_cmpuint(request_take_all(front, 2, BLKIF_RSP_OKAY), ==, 2);
    expect_command(f, 0, "no error had stopped it", "resume", "xvda");
    fixture_expect_list(f, "in use", 8, f->disks[0].path);
    fixture_verify(f, 0, front, 0, 256);
    fixture_close(front);
}

/* The administrator accepts the new size: what is beyond it is an error now. */
static void test_resize_stopped(struct fixture *f)
{
    struct pages pages;
    struct blkfront *front = start_stopped(f, &pages);

    expect_command(f, 0, "4194304 bytes", "resize", "xvda");
    request_expect_none(front);
    expect_command(f, 0, "", "resume", "xvda");
    g_assert_cmpuint(request_take_all(front, 1, BLKIF_RSP_ERROR), ==, 1);
    fixture_verify(f, 0, front, 0, 256);
    fixture_close(front);
}

static void test_close_stopped(struct fixture *f)
{
    struct pages pages;
    struct blkfront *front = start_stopped(f, &pages);

    fixture_close(front);
    g_assert_cmpint(ftruncate(f->disks[0].fd, 8 << 20), ==, 0);
    fixture_expect_list(f, "waiting", 8, f->disks[0].path);
    fixture_check_disk(f, 0);
}

static void test_end_stopped(struct fixture *f)
{
    struct pages pages;
    struct blkfront *front = start_stopped(f, &pages);
    blkfront_abandon(front); /* and the role is ended with the request kept */
}

/* --- throttle --- */

static void test_throttle(struct fixture *f)
{
    f->options[0] = "iops=1000";
    f->options[1] = "bytes-per-second=100000000";
    struct blkfront *front = fixture_start(f, NULL);

    expect_command(f, 0, "iops=1000 bytes-per-second=100000000\n", "throttle", "xvda");
    expect_command(f, 0, "iops=2048 bytes-per-second=100000000\n", "throttle", "xvda", "iops=2K");
    expect_command(f, 0, "iops=5 bytes-per-second=20971520\n", "throttle", "xvda", "iops=5",
                   "bytes-per-second=20M");
    expect_command(f, 1, "is not understood", "throttle", "xvda", "iops=7", "speed=5");
    expect_command(f, 1, "is not understood", "throttle", "xvda", "iops");
    expect_command(f, 1, "fast is not a", "throttle", "xvda", "iops=fast");
    expect_command(f, 1, "-1 is not a", "throttle", "xvda", "bytes-per-second=-1");
    expect_command(f, 0, "iops=5 bytes-per-second=20971520\n", "throttle", "xvda"); /* as it was */
    expect_command(f, 0, "iops=0 bytes-per-second=0 (0: no limit)\n", "throttle", "xvda", "iops=0",
                   "bytes-per-second=0");
    fixture_verify(f, 0, front, 0, 4096);
    fixture_close(front);
}

/* However long it would have to wait: a limit that is taken away lets it go on, and so does a
 * close. */
static void test_throttle_waits(struct fixture *f)
{
    f->options[0] = "bytes-per-second=1";
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);

    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY); /* into debt */
    request_put(front, &request);
    blkfront_push(front, 0);
    expect_command(f, 0, "bytes", "resize", "xvda", "9M"); /* which does not wait for it */
    request_expect_none(front);
    expect_command(f, 0, "", "throttle", "xvda", "bytes-per-second=0");
    g_assert_cmpuint(request_take_all(front, 1, BLKIF_RSP_OKAY), ==, 1);

    expect_command(f, 0, "", "throttle", "xvda", "bytes-per-second=1");
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    request_put(front, &request);
    blkfront_push(front, 0);
    fixture_close(front);
}

/* --- a guest that comes and goes --- */

/* Whatever it does while changes wait, each is made, and it finds its disk when it comes back. */
static void test_reconnect(struct fixture *f)
{
    f->options[0] = "max-queues=2";
    struct blkfront *front = fixture_start(f, &(struct blkfront_options){ .queues = 2 });
    struct pages pages = fixture_pages(f, 8, false);

    for (unsigned i = 0; i < ROUNDS; i++) {
        g_autofree char *size = g_strdup_printf("%uM", 9 + i);
        for (unsigned j = 0; j < 8; j++) {
            blkif_request_t request = request_for(BLKIF_OP_READ, j, j * 64, &pages, 8);
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        struct command command =
            fixture_command(f, (const char *const[]){ "resize", "xvda", size, NULL });
        g_usleep(i * 200); /* so that the close comes before it, or while it waits, or after */
        if (i % 2)
            fixture_close(front);
        else
            blkfront_abandon(front);
        fixture_command_expect(&command, 0, "bytes");
        front = fixture_connect(f, 0, &(struct blkfront_options){ .queues = 2 });
        g_assert_cmpuint(blkfront_disk(front)->sectors, ==, (9 + i) * MIB_SECTORS);
    }
    fixture_verify(f, 0, front, 0, 512);
    fixture_close(front);
}

/* The role is told to leave with commands under way. */
static void test_stop(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct command commands[8];

    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++)
        commands[i] = fixture_command(f, (const char *const[]){ "resize", "xvda", "9M", NULL });
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_autofree char *text = NULL;
        fixture_command_wait(&commands[i], &text);
        g_assert_cmpstr(text, !=, "");
    }
    blkfront_abandon(front);
}

/* --- zero detection, from the outside --- */

static void try_zeroes(struct fixture *f, const char *discard, bool holes)
{
    const char *const extra[] = { "discard-enable", discard, NULL };
    const struct toolstack_disk disk = { .vdev = "xvda", .extra = extra };
    struct stat before, after;

    f->options[0] = "detect-zeroes=on";
    fixture_add_special_disk(f, &disk, START_SECTORS);
    g_assert_cmpint(fsync(f->disks[0].fd), ==, 0);
    fixture_start_role(f);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    g_autofree uint8_t *zeroes = g_malloc0(4 << 20);

    g_assert_cmpint(fstat(f->disks[0].fd, &before), ==, 0);
    g_assert_cmpint(blkfront_write(front, 0, 0, zeroes, 4 << 20), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    assert_zero(&f->disks[0], 0, START_SECTORS / 2);
    assert_untouched(&f->disks[0], START_SECTORS / 2, START_SECTORS / 2);
    g_assert_cmpint(fstat(f->disks[0].fd, &after), ==, 0);
    if (holes)
        g_assert_cmpint(after.st_blocks, <=, before.st_blocks - (4 << 20 >> 9));
    else
        g_assert_cmpint(after.st_blocks, >=, before.st_blocks);
    fixture_close(front);
}

static void test_zeroes(struct fixture *f)
{
    try_zeroes(f, "1", true);
}

static void test_zeroes_no_discard(struct fixture *f)
{
    try_zeroes(f, "0", false);
}

static void add_tests(void)
{
    fixture_add_test("/disk/commands/resize/grow", test_grow);
    fixture_add_test("/disk/commands/resize/waiting", test_grow_waiting);
    fixture_add_test("/disk/commands/resize/seen", test_grow_is_seen);
    fixture_add_test("/disk/commands/resize/under-load", test_under_load);
    fixture_add_test("/disk/commands/resize/flood", test_flood);
    fixture_add_test("/disk/commands/resize/queues", test_queues);
    fixture_add_test("/disk/commands/resize/shrink", test_shrink);
    fixture_add_test("/disk/commands/resize/look-anew", test_look_anew);
    fixture_add_test("/disk/commands/resize/wrong", test_wrong_sizes);
    fixture_add_test("/disk/commands/stopped/resume", test_resume);
    fixture_add_test("/disk/commands/stopped/resize", test_resize_stopped);
    fixture_add_test("/disk/commands/stopped/close", test_close_stopped);
    fixture_add_test("/disk/commands/stopped/end", test_end_stopped);
    fixture_add_test("/disk/commands/throttle/show-and-set", test_throttle);
    fixture_add_test("/disk/commands/throttle/waits", test_throttle_waits);
    fixture_add_test("/disk/commands/reconnect", test_reconnect);
    fixture_add_test("/disk/commands/stop", test_stop);
    fixture_add_test("/disk/commands/zeroes/holes", test_zeroes);
    fixture_add_test("/disk/commands/zeroes/no-discard", test_zeroes_no_discard);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
