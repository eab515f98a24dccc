/*
 * Image locks, with QEMU's own qemu-io as the other party: what we hold it must respect, and
 * what it holds we must.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pvbackends/disk/media/lock.h"

struct fixture {
    char *path;
};

/* A qcow2 image, because QEMU lets a raw one be written while it reads it. */
static void set_up(struct fixture *f, gconstpointer data)
{
    close(g_file_open_tmp("rolemodel-lock-XXXXXX", &f->path, NULL));
    g_autofree char *create = g_strdup_printf("qemu-img create -q -f qcow2 %s 1M", f->path);
    int status;
    g_assert_true(g_spawn_command_line_sync(create, NULL, NULL, &status, NULL));
    g_assert_true(g_spawn_check_wait_status(status, NULL));
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_unlink(f->path);
    g_free(f->path);
}

static int open_locked(struct fixture *f, bool write)
{
    int fd = open(f->path, write ? O_RDWR : O_RDONLY);
    g_assert_cmpint(fd, >=, 0);
    g_autoptr(GError) error = NULL;
    if (disk_lock_take(fd, write, 0, f->path, &error))
        return fd;
    g_assert_nonnull(strstr(error->message, f->path));
    g_assert_nonnull(strstr(error->message, "lsof"));
    close(fd);
    return -1;
}

static void test_ours(struct fixture *f, gconstpointer data)
{
    int reader = open_locked(f, false);
    g_assert_cmpint(reader, >=, 0);
    int second = open_locked(f, false);
    g_assert_cmpint(second, >=, 0); /* readers share */
    g_assert_cmpint(open_locked(f, true), ==, -1);
    close(reader);
    g_assert_cmpint(open_locked(f, true), ==, -1);
    close(second);
    int writer = open_locked(f, true);
    g_assert_cmpint(writer, >=, 0);
    g_assert_cmpint(open_locked(f, true), ==, -1);
    g_assert_cmpint(open_locked(f, false), ==, -1);
    close(writer);
    writer = open_locked(f, true); /* the lock left with the descriptor */
    g_assert_cmpint(writer, >=, 0);
    close(writer);
}

/* Runs a QEMU tool on the image; true if it could open it, false if a lock was in its way. */
static bool tool_opens(const char *command, const char *path)
{
    g_autofree char *line = g_strdup_printf("%s %s", command, path);
    g_autofree char *output = NULL, *problem = NULL;
    int status;
    g_assert_true(g_spawn_command_line_sync(line, &output, &problem, &status, NULL));
    bool opened = g_spawn_check_wait_status(status, NULL);
    if (!opened)
        g_assert_nonnull(strstr(problem, "lock"));
    return opened;
}

#define WRITER "qemu-io -f qcow2 -c 'read 0 512'"
#define READER "qemu-img info -f qcow2"

static void test_qemu_respects_ours(struct fixture *f, gconstpointer data)
{
    g_assert_true(tool_opens(WRITER, f->path));
    int reader = open_locked(f, false);
    g_assert_true(tool_opens(READER, f->path));
    g_assert_false(tool_opens(WRITER, f->path));
    close(reader);
    int writer = open_locked(f, true);
    g_assert_false(tool_opens(WRITER, f->path));
    g_assert_false(tool_opens(READER, f->path));
    close(writer);
    g_assert_true(tool_opens(WRITER, f->path));
}

/* A qemu-io that has opened the image and waits for commands on a pipe. */
static GPid start_qemu_io(const char *path, const char *access, int *input)
{
    const char *argv[] = { "qemu-io", access, "-f", "qcow2", path, NULL };
    static const char command[] = "length\n";
    char answer[64];
    GPid pid;
    int output;
    g_assert_true(g_spawn_async_with_pipes(NULL, (char **)argv, NULL,
                                           G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                                           NULL, &pid, input, &output, NULL, NULL));
    /* Its answer to a command shows that the image is open. */
    g_assert_cmpint(write(*input, command, strlen(command)), ==, strlen(command));
    g_assert_cmpint(read(output, answer, sizeof(answer)), >, 0);
    close(output);
    return pid;
}

static void stop_qemu_io(GPid pid, int input)
{
    close(input);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    g_spawn_close_pid(pid);
}

static void test_we_respect_qemus(struct fixture *f, gconstpointer data)
{
    int input;
    GPid pid = start_qemu_io(f->path, "-dunmap", &input);
    g_assert_cmpint(open_locked(f, true), ==, -1);
    g_assert_cmpint(open_locked(f, false), ==, -1);
    stop_qemu_io(pid, input);

    pid = start_qemu_io(f->path, "-r", &input);
    g_assert_cmpint(open_locked(f, true), ==, -1);
    int reader = open_locked(f, false);
    g_assert_cmpint(reader, >=, 0);
    close(reader);
    stop_qemu_io(pid, input);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/lock/ours", struct fixture, NULL, set_up, test_ours, tear_down);
    g_test_add("/lock/qemu-respects-ours", struct fixture, NULL, set_up, test_qemu_respects_ours,
               tear_down);
    g_test_add("/lock/we-respect-qemus", struct fixture, NULL, set_up, test_we_respect_qemus,
               tear_down);
    return g_test_run();
}
