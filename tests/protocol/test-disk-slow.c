/*
 * What takes long with one disk, such as a tool of QEMU's that waits for storage: the role goes on
 * with everything else, and with that disk when it has ended.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/image-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DISK_SECTORS (8 * MIB_SECTORS)

/* A program that the role runs, and that does not go on before the test says so. */
struct slow_tool {
    char *directory, *path, *gate, *reached;
};

static struct slow_tool slow_tool_make(struct fixture *f, const char *name)
{
    g_autofree char *real = g_find_program_in_path(name);
    struct slow_tool tool = { .directory = g_strdup_printf("%s/tools", f->directory) };

    g_assert_nonnull(real);
    tool.path = g_build_filename(tool.directory, name, NULL);
    tool.gate = g_build_filename(tool.directory, "gate", NULL);
    tool.reached = g_build_filename(tool.directory, "reached", NULL);
    g_autofree char *script = g_strdup_printf("#!/bin/sh\n: >%s\nread go <%s\nexec %s \"$@\"\n",
                                              tool.reached, tool.gate, real);
    g_assert_cmpint(mkdir(tool.directory, 0700), ==, 0);
    g_assert_cmpint(mkfifo(tool.gate, 0600), ==, 0);
    g_assert_true(g_file_set_contents(tool.path, script, -1, NULL));
    g_assert_cmpint(chmod(tool.path, 0700), ==, 0);
    return tool;
}

/* Starts the role with it in its PATH. */
static void slow_tool_start_role(struct fixture *f, const struct slow_tool *tool)
{
    g_autofree char *old = g_strdup(g_getenv("PATH"));
    g_autofree char *path = g_strconcat(tool->directory, ":", old, NULL);

    g_setenv("PATH", path, TRUE);
    fixture_start_role(f);
    g_setenv("PATH", old, TRUE);
}

static void slow_tool_await(const struct slow_tool *tool)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (access(tool->reached, F_OK) < 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

static void slow_tool_let_go(const struct slow_tool *tool)
{
    int fd = open(tool->gate, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(write(fd, "\n", 1), ==, 1);
    close(fd);
}

static void slow_tool_free(struct slow_tool *tool)
{
    image_run("rm -r %s", tool->directory);
    g_free(tool->directory);
    g_free(tool->path);
    g_free(tool->gate);
    g_free(tool->reached);
}

static const char *overlay_path(struct fixture *f)
{
    struct disk_file *file = &f->disks[f->nr_disks];
    g_autofree char *number = g_strdup(image_new_path(f));
    g_free(file->path);
    file->path = g_strconcat(number, ".overlay", NULL);
    return file->path;
}

static void end_role(struct fixture *f)
{
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
}

/* xvda and xvdb, and a snapshot of xvda that stands still in the middle. */
static struct command start_snapshot(struct fixture *f, struct slow_tool *tool,
                                     struct blkfront **front)
{
    *tool = slow_tool_make(f, "qemu-img");
    fixture_add_disk(f, "xvda", DISK_SECTORS);
    fixture_add_disk(f, "xvdb", DISK_SECTORS);
    slow_tool_start_role(f, tool);
    *front = fixture_connect(f, 0, NULL);
    fixture_verify(f, 0, *front, 0, 64);
    struct command command =
        fixture_command(f, (const char *const[]){ "snapshot", "xvda", overlay_path(f), NULL });
    slow_tool_await(tool);
    return command;
}

static void test_change(struct fixture *f)
{
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_WRITE, 0, 8, &pages, 1);
    struct slow_tool tool;
    struct blkfront *front;
    struct command snapshot = start_snapshot(f, &tool, &front);

    expect_command(f, 0, "xvda     changing", "list");
    expect_command(f, 0, "xvdb     waiting ", "list");
    expect_command(f, 1, "another change is under way", "resize", "xvda", "9M");
    expect_command(f, 1, "another change is under way", "snapshot", "xvda", "/nonexistent");
    expect_command(f, 0, "9437184 bytes", "resize", "xvdb", "9M");
    fixture_check_disk(f, 1);
    request_put(front, &request);
    blkfront_push(front, 0);
    request_expect_none(front); /* the guest waits */

    slow_tool_let_go(&tool);
    fixture_command_expect(&snapshot, 0, "from here on the disk is");
    g_assert_cmpuint(request_take_all(front, 1, BLKIF_RSP_OKAY), ==, 1);
    fixture_close(front);
    end_role(f);
    slow_tool_free(&tool);
}

/* The guest closes and comes back meanwhile: it finds the new medium. */
static void test_closed_meanwhile(struct fixture *f)
{
    struct slow_tool tool;
    struct blkfront *front;
    struct command snapshot = start_snapshot(f, &tool, &front);

    blkfront_abandon(front);
    fixture_set_state(f, 0, XenbusStateClosing);
    fixture_check_disk(f, 1); /* the role has seen it by then */
    slow_tool_let_go(&tool);
    fixture_command_expect(&snapshot, 0, "from here on the disk is");
    fixture_settle(f, 0);
    front = fixture_connect(f, 0, NULL);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
    end_role(f);
    slow_tool_free(&tool);
}

/* So does the toolstack, with the disk. */
static void test_detached_meanwhile(struct fixture *f)
{
    struct slow_tool tool;
    struct blkfront *front;
    struct command snapshot = start_snapshot(f, &tool, &front);
    g_autofree char *nodes = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u",
                                             guest_domid(f->guest), f->disks[0].devid);

    blkfront_abandon(front);
    g_assert_true(xs_rm(toolstack_store(), XBT_NULL, nodes));
    fixture_check_disk(f, 1);
    slow_tool_let_go(&tool);
    fixture_command_expect(&snapshot, 0, "from here on the disk is");
    fixture_await_unlocked(&f->disks[0]);
    g_assert_false(toolstack_exists(nodes));
    end_role(f);
    slow_tool_free(&tool);
}

/* The role is told to end: it does, after that. */
static void test_end_meanwhile(struct fixture *f)
{
    struct slow_tool tool;
    struct blkfront *front;
    struct command snapshot = start_snapshot(f, &tool, &front);

    kill(f->role, SIGTERM);
    fixture_command_expect(&snapshot, 1, "the role stops");
    fixture_expect_backend(f, 1, XenbusStateClosed); /* which has nothing to wait for */
    g_assert_cmpint(kill(f->role, 0), ==, 0);
    slow_tool_let_go(&tool);
    fixture_wait_role(f, 0, NULL);
    blkfront_abandon(front);
    slow_tool_free(&tool);
}

/* The toolstack puts another disk in the place of one that is being opened: that is what is served.
 */
static void test_replaced_meanwhile(struct fixture *f)
{
    struct slow_tool tool = slow_tool_make(f, "qemu-storage-daemon");

    fixture_add_disk(f, "xvda", DISK_SECTORS);
    slow_tool_start_role(f, &tool);
    const char *path = image_new_path(f);
    image_run("qemu-img create -q -f qcow2 %s 1M", path);
    g_autofree char *params = g_strconcat("qcow2:", path, NULL);
    const struct toolstack_disk first = { .vdev = "xvdb", .params = params };
    g_autofree char *nodes =
        g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u", guest_domid(f->guest),
                        toolstack_attach_disk(f->guest, &first));
    slow_tool_await(&tool);
    g_assert_true(xs_rm(toolstack_store(), XBT_NULL, nodes));
    unsigned second = fixture_add_disk(f, "xvdb", DISK_SECTORS);
    slow_tool_let_go(&tool);
    fixture_check_disk(f, second);
    end_role(f);
    slow_tool_free(&tool);
}

/* xvda, and the attachment of xvdb, whose daemon does not come up. */
static struct command start_attach(struct fixture *f, struct slow_tool *tool, char **spec)
{
    *tool = slow_tool_make(f, "qemu-storage-daemon");
    fixture_add_disk(f, "xvda", DISK_SECTORS);
    slow_tool_start_role(f, tool);
    const char *path = image_new_path(f);
    f->disks[1].devid = 51728;
    image_run("qemu-img create -q -f qcow2 %s 1M", path);
    *spec = g_strconcat("format=qcow2,vdev=xvdb,target=", path, NULL);
    struct command command = fixture_command(f, (const char *const[]){ "attach", *spec, NULL });
    slow_tool_await(tool);
    return command;
}

static void test_attach(struct fixture *f)
{
    g_autofree char *spec = NULL;
    struct slow_tool tool;
    struct command attach = start_attach(f, &tool, &spec);

    fixture_expect_list(f, "waiting", 8, f->disks[0].path);
    expect_command(f, 1, "no disk xvdb", "resize", "xvdb");
    expect_command(f, 1, "has a disk xvdb already", "attach", spec);
    fixture_check_disk(f, 0);
    slow_tool_let_go(&tool);
    fixture_command_expect(&attach, 0, "");
    struct blkfront *front = fixture_connect(f, 1, NULL);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, MIB_SECTORS);
    fixture_close(front);
    end_role(f);
    slow_tool_free(&tool);
}

/* The role ends, and nothing of the disk is left. */
static void test_end_of_attach(struct fixture *f)
{
    g_autofree char *spec = NULL;
    struct slow_tool tool;
    struct command attach = start_attach(f, &tool, &spec);
    g_autofree char *nodes =
        g_strdup_printf("/local/domain/0/backend/qdisk/%u/51728", guest_domid(f->guest));

    kill(f->role, SIGTERM);
    fixture_command_expect(&attach, 1, "the role stops");
    fixture_expect_backend(f, 0, XenbusStateClosed);
    slow_tool_let_go(&tool);
    fixture_wait_role(f, 0, NULL);
    g_assert_false(toolstack_exists(nodes));
    slow_tool_free(&tool);
}

/* Storage that is away keeps its disk from closing, and nothing else from going on. */
static void test_close(struct fixture *f)
{
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);
    struct pages pages = fixture_pages(f, 1, false);
    pid_t daemon = image_daemon(f, 0);

    g_assert_cmpint(request_page(front, BLKIF_OP_WRITE, &pages, 0), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
    kill(daemon, SIGSTOP); /* it has no chance to write back */
    image_run("mv %s %s", f->disks[0].path, away);
    kill(daemon, SIGKILL);
    toolstack_destroy_disks(guest_domid(f->guest));
    while (!fixture_role_said(f, "writes of the guest need it"))
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    fixture_add_disk(f, "xvdb", DISK_SECTORS);
    fixture_check_disk(f, 1);
    expect_command(f, 0, "xvdb     waiting ", "list");
    g_assert_false(fixture_role_said(f, "are not on the medium")); /* it has not been given up */
    image_run("mv %s %s", away, f->disks[0].path);
    end_role(f);
    g_assert_false(fixture_role_said(f, "are not on the medium"));
}

/* A change of a disk whose guest waits for a daemon that stands still; REQUEST is what it wants. */
static struct command start_waiting(struct fixture *f, struct blkfront *front, pid_t daemon,
                                    const blkif_request_t *request)
{
    image_stop_daemon(daemon);
    request_put(front, request);
    blkfront_push(front, 0);
    image_await_in_flight(f, 1);
    struct command command =
        fixture_command(f, (const char *const[]){ "resize", "xvda", "16M", NULL });
    fixture_await_state(f, "pausing");
    return command;
}

static void hang_up(struct command *command)
{
    g_autofree char *text = NULL;
    kill(command->pid, SIGINT);
    fixture_command_wait(command, &text);
}

/* Ctrl-C: it is not made, neither now nor later, and the disk goes on. */
static void test_cancel(struct fixture *f)
{
    f->options[0] = "max-queues=2";
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    pid_t daemon = image_daemon(f, 0);

    fixture_close(front);
    front = fixture_connect(f, 0, &(struct blkfront_options){ .queues = 2 });
    struct pages pages = fixture_pages(f, 2, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);
    struct command command = start_waiting(f, front, daemon, &request);
    expect_command(f, 1, "waits until the disk's requests are finished", "resize", "xvda", "32M");
    hang_up(&command);
    fixture_await_state(f, "in use");
    command = fixture_command(f, (const char *const[]){ "resize", "xvda", "32M", NULL });
    fixture_await_state(f, "pausing"); /* once more, with one queue that has paused before */
    hang_up(&command);
    fixture_await_state(f, "in use");
    kill(daemon, SIGCONT);
    g_assert_cmpuint(request_take_all(front, 1, BLKIF_RSP_OKAY), ==, 1);
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, DISK_SECTORS);
    for (unsigned queue = 0; queue < 2; queue++) {
        g_autofree char *reason = NULL;
        if (!blkfront_verify(front, queue, 0, 64, queue, &reason))
            g_error("queue %u: %s", queue, reason);
    }
    expect_command(f, 0, "16777216 bytes", "resize", "xvda", "16M");
    fixture_close(front);
    end_role(f);
}

/* The role is told to end: nothing is changed any more. */
static void test_end_of_waiting(struct fixture *f)
{
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);
    pid_t daemon = image_daemon(f, 0);
    struct command command = start_waiting(f, front, daemon, &request);

    kill(f->role, SIGTERM);
    fixture_command_expect(&command, 1, "the role stops");
    kill(daemon, SIGCONT);
    fixture_wait_role(f, 0, NULL);
    blkfront_abandon(front);
    g_free(image_read(f, "qcow2", DISK_SECTORS)); /* it has the old size */
}

static void add_tests(void)
{
    fixture_add_test("/disk/slow/change", test_change);
    fixture_add_test("/disk/slow/change/closed", test_closed_meanwhile);
    fixture_add_test("/disk/slow/change/detached", test_detached_meanwhile);
    fixture_add_test("/disk/slow/change/end", test_end_meanwhile);
    fixture_add_test("/disk/slow/attach", test_attach);
    fixture_add_test("/disk/slow/attach/end", test_end_of_attach);
    fixture_add_test("/disk/slow/attach/replaced", test_replaced_meanwhile);
    fixture_add_test("/disk/slow/close", test_close);
    fixture_add_test("/disk/slow/waiting/cancel", test_cancel);
    fixture_add_test("/disk/slow/waiting/end", test_end_of_waiting);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
