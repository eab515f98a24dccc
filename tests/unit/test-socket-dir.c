/*
 * The directory for sockets: private, gone afterwards, and what was left behind is cleared away.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pvbackends/disk/media/socket-dir.h"

static void test_life(void)
{
    g_autofree char *run = g_dir_make_tmp("rolemodel-run-XXXXXX", NULL);
    g_autofree char *guest = g_build_filename(run, "5", NULL);
    GStatBuf status;

    g_setenv("ROLEMODEL_RUN_DIR", run, TRUE);
    g_autofree char *first = disk_socket_dir_make(5, NULL);
    g_autofree char *second = disk_socket_dir_make(5, NULL);
    g_assert_cmpstr(first, !=, second);
    g_assert_true(g_str_has_prefix(first, guest));
    g_assert_cmpint(g_stat(first, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0700);
    g_assert_cmpint(g_stat(guest, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0700);
    disk_socket_dir_remove(first);
    g_assert_false(g_file_test(first, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(second, G_FILE_TEST_EXISTS));
    disk_socket_dir_remove(second);
    g_assert_false(g_file_test(guest, G_FILE_TEST_EXISTS));
    disk_socket_dir_remove(NULL);
    g_rmdir(run);
}

/* Of a process that is no more; a process that lives keeps its own, and others' names are theirs.
 */
static void test_left_behind(void)
{
    g_autofree char *run = g_dir_make_tmp("rolemodel-run-XXXXXX", NULL);
    pid_t gone = fork();
    if (gone == 0)
        _exit(0);
    g_assert_cmpint(waitpid(gone, NULL, 0), ==, gone);
    g_autofree char *guest = g_build_filename(run, "5", NULL);
    g_autofree char *stale = g_strdup_printf("%s/daemon-%d-abcdef", guest, gone);
    g_autofree char *socket = disk_socket_dir_name(stale, 1);
    g_autofree char *ours = g_strdup_printf("%s/daemon-%d-abcdef", guest, getpid());
    g_autofree char *other = g_strdup_printf("%s/other-%d", guest, gone);

    g_setenv("ROLEMODEL_RUN_DIR", run, TRUE);
    g_assert_cmpint(g_mkdir_with_parents(stale, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(ours, 0700), ==, 0);
    g_assert_cmpint(g_mkdir(other, 0700), ==, 0);
    g_assert_true(g_file_set_contents(socket, "", 0, NULL));
    g_autofree char *made = disk_socket_dir_make(5, NULL);
    g_assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(ours, G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(other, G_FILE_TEST_EXISTS));
    g_rmdir(ours);
    g_rmdir(other);
    disk_socket_dir_remove(made);
    g_rmdir(run);
}

static void test_too_long(void)
{
    g_autofree char *run = g_strnfill(100, 'x');
    g_autoptr(GError) error = NULL;

    g_setenv("ROLEMODEL_RUN_DIR", run, TRUE);
    g_assert_null(disk_socket_dir_make(5, &error));
    g_assert_nonnull(strstr(error->message, "too long"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket-dir/life", test_life);
    g_test_add_func("/socket-dir/left-behind", test_left_behind);
    g_test_add_func("/socket-dir/too-long", test_too_long);
    return g_test_run();
}
