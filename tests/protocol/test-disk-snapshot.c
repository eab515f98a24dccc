/*
 * `rolemodel disk snapshot`: the guest goes on in a new file, what it had before is in the old one,
 * and if something fails, nothing has changed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/image-fixture.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DISK_SECTORS (16 * MIB_SECTORS)
#define LENGTH ((size_t)1 << 20)

/* Numbers alone are the names of guests' directories. */
static const char *new_overlay(struct fixture *f)
{
    g_autofree char *number = g_strdup(image_new_path(f));
    struct disk_file *file = &f->disks[f->nr_disks - 1];
    g_free(file->path);
    file->path = g_strconcat(number, ".overlay", NULL);
    return file->path;
}

static void write_pattern(struct blkfront *front, uint32_t seed)
{
    g_autofree uint8_t *data = g_malloc(LENGTH);
    blkfront_pattern(data, 0, LENGTH, seed);
    g_assert_cmpint(blkfront_write(front, 0, 0, data, LENGTH), ==, BLKIF_RSP_OKAY);
}

static void assert_pattern(const uint8_t *data, uint32_t seed)
{
    g_autofree uint8_t *expected = g_malloc(LENGTH);
    blkfront_pattern(expected, 0, LENGTH, seed);
    g_assert_cmpmem(data, LENGTH, expected, LENGTH);
}

static void assert_guest_has(struct blkfront *front, uint32_t seed)
{
    g_autofree uint8_t *data = g_malloc(LENGTH);
    g_assert_cmpint(blkfront_read(front, 0, 0, data, LENGTH), ==, BLKIF_RSP_OKAY);
    assert_pattern(data, seed);
}

static void assert_image_has(struct fixture *f, const char *format, uint32_t seed)
{
    g_autofree uint8_t *data = image_read(f, format, DISK_SECTORS);
    assert_pattern(data, seed);
}

static void assert_params(struct fixture *f, const char *expected)
{
    g_autofree char *note =
        g_strdup_printf("/libxl/%u/device/vbd/%u/params", guest_domid(f->guest), f->disks[0].devid);
    g_autofree char *noted = toolstack_read(note);
    g_autofree char *params = fixture_backend_read(f, 0, "params");
    g_assert_cmpstr(params, ==, expected);
    g_assert_cmpstr(noted, ==, expected);
}

static void end_role(struct fixture *f)
{
    kill(f->role, SIGTERM);
    fixture_wait_role(f, 0, NULL);
}

static void test_chain(struct fixture *f)
{
    struct blkfront *front = image_start(f, "raw", "aio", DISK_SECTORS);
    const char *first = new_overlay(f), *second = new_overlay(f);
    g_autofree char *params = g_strconcat("qcow2:", second, NULL);

    write_pattern(front, 1);
    expect_command(f, 0, first, "snapshot", "xvda", first);
    write_pattern(front, 2);
    expect_command(f, 0, second, "snapshot", "xvda", second);
    write_pattern(front, 3);
    assert_guest_has(front, 3);
    assert_params(f, params);
    fixture_close(front);
    end_role(f);

    assert_image_has(f, "raw", 1);
    g_autofree char *base = g_steal_pointer(&f->disks[0].path);
    f->disks[0].path = g_strdup(first);
    assert_image_has(f, "qcow2", 2);
    g_free(f->disks[0].path);
    f->disks[0].path = g_strdup(second);
    assert_image_has(f, "qcow2", 3);
    g_free(f->disks[0].path);
    f->disks[0].path = g_steal_pointer(&base);
}

static void test_refused(struct fixture *f)
{
    struct blkfront *front = image_start(f, "raw", "aio", DISK_SECTORS);
    g_autofree char *params = g_strconcat("aio:", f->disks[0].path, NULL);

    write_pattern(front, 1);
    expect_command(f, 1, "is there already", "snapshot", "xvda", f->disks[0].path);
    expect_command(f, 1, "give the whole path", "snapshot", "xvda", "overlay");
    expect_command(f, 1, "No such file", "snapshot", "xvda", "/nonexistent/overlay");
    assert_params(f, params);
    assert_guest_has(front, 1);
    write_pattern(front, 2);
    fixture_close(front);
    end_role(f);
    assert_image_has(f, "raw", 2);
}

/* The overlay can be made, but not opened: it must not stand in the way of the next attempt. */
static void test_no_daemon(struct fixture *f)
{
    const char *path = g_getenv("PATH");
    g_autofree char *old_path = g_strdup(path);
    g_autofree char *tools = g_strdup_printf("%s/tools", f->directory);

    image_run("mkdir %s && ln -s \"$(command -v qemu-img)\" %s/qemu-img", tools, tools);
    fixture_add_disk(f, "xvda", DISK_SECTORS);
    image_use_directory(f);
    g_setenv("PATH", tools, TRUE);
    fixture_start_role(f);
    g_setenv("PATH", old_path, TRUE);
    const char *overlay = new_overlay(f);
    struct blkfront *front = fixture_connect(f, 0, NULL);

    write_pattern(front, 1);
    expect_command(f, 1, "qemu-storage-daemon", "snapshot", "xvda", overlay);
    g_assert_cmpint(access(overlay, F_OK), <, 0);
    assert_guest_has(front, 1);
    fixture_verify(f, 0, front, 0, 512);
    fixture_close(front);
    image_run("rm -r %s", tools);
}

/*
 * While there is no daemon, what it had not made durable is only in the write log: to close the
 * medium then would lose it.
 */
static void test_image_away(struct fixture *f)
{
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const char *overlay = new_overlay(f);
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);
    pid_t daemon = image_daemon(f, 0);

    write_pattern(front, 1);
    kill(daemon, SIGSTOP); /* it has no chance to write back */
    image_run("mv %s %s", f->disks[0].path, away);
    kill(daemon, SIGKILL);
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (!fixture_role_said(f, "tried again until it works"))
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    expect_command(f, 1, "cannot be made durable now", "snapshot", "xvda", overlay);
    g_assert_cmpint(access(overlay, F_OK), <, 0);
    expect_command(f, 1, "cannot be made durable now", "resize", "xvda", "32M");
    image_run("mv %s %s", away, f->disks[0].path);
    assert_guest_has(front, 1);
    expect_command(f, 0, overlay, "snapshot", "xvda", overlay);
    assert_guest_has(front, 1);
    fixture_close(front);
    end_role(f);
    assert_image_has(f, "qcow2", 1);
}

/* A change fails, and what there was before cannot be had again until somebody has looked after it.
 */
static void test_lost(struct fixture *f)
{
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const char *overlay = new_overlay(f);
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);
    struct pages pages = fixture_pages(f, 1, false);

    write_pattern(front, 1);
    image_run("mv %s %s", f->disks[0].path, away);
    expect_command(f, 1, "No such file", "snapshot", "xvda", overlay);
    g_assert_true(fixture_role_said(f, "the guest's requests fail"));
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 0), ==, BLKIF_RSP_ERROR);
    expect_command(f, 1, "No such file", "resize", "xvda");
    image_run("mv %s %s", away, f->disks[0].path);
    expect_command(f, 0, "16777216 bytes", "resize", "xvda");
    assert_guest_has(front, 1);
    write_pattern(front, 2);
    expect_command(f, 0, overlay, "snapshot", "xvda", overlay);
    fixture_close(front);
    end_role(f);
    assert_image_has(f, "qcow2", 2);
}

/* A role of another guest with PARAMS; it must end, having said WORDS, or serve if WORDS are NULL.
 */
static void assert_other(const char *params, bool read_only, const char *words)
{
    const struct toolstack_disk disk = { .read_only = read_only };
    struct fixture other;

    fixture_open(&other);
    image_use_directory(&other);
    image_attach(&other, params, &disk);
    fixture_run_role(&other);
    if (words)
        fixture_wait_role(&other, 1, words);
    else
        fixture_expect_backend(&other, 0, XenbusStateInitWait);
    fixture_end(&other);
}

/* Nobody writes to what is behind an overlay, until that is given up. */
static void test_bases(struct fixture *f)
{
    struct blkfront *front = image_start(f, "raw", "aio", DISK_SECTORS);
    const char *first = new_overlay(f), *second = new_overlay(f);
    g_autofree char *base = g_strconcat("aio:", f->disks[0].path, NULL);
    g_autofree char *middle = g_strconcat("qcow2:", first, NULL);
    g_autofree char *top = g_strconcat("qcow2:", second, NULL);

    expect_command(f, 0, first, "snapshot", "xvda", first);
    expect_command(f, 0, second, "snapshot", "xvda", second);
    expect_command(f, 1, "is there already", "snapshot", "xvda", second);
    fixture_close(front);
    end_role(f);
    if (getxattr(first, "user.rolemodel.overlay", NULL, 0) < 0) {
        g_test_skip("the file system has no attributes for users");
        return;
    }
    assert_other(base, false, first);
    assert_other(middle, false, "is the base of");
    assert_other(base, true, NULL);
    assert_other(middle, true, NULL);
    assert_other(top, false, NULL);
    g_unlink(second);
    assert_other(middle, false, NULL);
    assert_other(base, false, "is the base of");
    g_assert_cmpint(removexattr(f->disks[0].path, "user.rolemodel.overlay"), ==, 0);
    assert_other(base, false, NULL);
}

/* What xl takes when the guest reboots names the overlay, or the administrator is told. */
static void test_reboot(struct fixture *f)
{
    struct blkfront *front = image_start(f, "raw", "aio", DISK_SECTORS);
    const char *first = new_overlay(f), *second = new_overlay(f);
    g_autofree char *vm = g_strdup_printf("/local/domain/%u/vm", guest_domid(f->guest));
    g_autofree char *uuid = toolstack_read(vm); /* /vm/UUID */
    g_autofree char *copy =
        g_strdup_printf("%s/userdata-d.%u.%s.libxl-json", g_getenv("ROLEMODEL_LIBXL_DIR"),
                        guest_domid(f->guest), strrchr(uuid, '/') + 1);
    static const char config[] = "{\"disks\": [{\"vdev\": \"xvda\", \"pdev_path\": \"/old\"}]}";
    g_autofree char *text = NULL;
    g_autofree char *named = g_strdup_printf("\"pdev_path\": \"%s\"", first);

    g_assert_true(g_file_set_contents(copy, config, sizeof(config), NULL));
    expect_command(f, 0, "also if xl reboots the guest", "snapshot", "xvda", first);
    g_assert_true(g_file_get_contents(copy, &text, NULL, NULL));
    g_assert_nonnull(strstr(text, named));
    g_assert_nonnull(strstr(text, "\"format\": \"qcow2\""));

    g_unlink(copy);
    expect_command(f, 0, "use xl shutdown and xl create: xl's own copy", "snapshot", "xvda",
                   second);
    write_pattern(front, 1);
    assert_guest_has(front, 1);
    fixture_close(front);
}

/* The same if errors stop the disk: the guest gets none, whatever it does. */
static void test_lost_stopped(struct fixture *f)
{
    f->options[0] = "on-error=stop";
    struct blkfront *front = image_start(f, "qcow2", "qcow2", DISK_SECTORS);
    const char *overlay = new_overlay(f);
    g_autofree char *away = g_strconcat(f->disks[0].path, ".away", NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);

    write_pattern(front, 1);
    image_run("mv %s %s", f->disks[0].path, away);
    expect_command(f, 1, "No such file", "snapshot", "xvda", overlay);
    g_assert_true(fixture_role_said(f, "the guest's requests wait"));
    request_put(front, &request);
    blkfront_push(front, 0);
    fixture_await_state(f, "stopped");
    expect_command(f, 1, "No such file", "resume", "xvda");
    fixture_await_state(f, "stopped");
    request_expect_none(front);

    fixture_close(front); /* it may close and come back, and then it waits, too */
    front = fixture_connect(f, 0, NULL);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, DISK_SECTORS);
    request_put(front, &request);
    blkfront_push(front, 0);
    expect_command(f, 1, "No such file", "resume", "xvda");
    request_expect_none(front);

    image_run("mv %s %s", away, f->disks[0].path);
    expect_command(f, 0, "", "resume", "xvda");
    g_assert_cmpuint(request_take_all(front, 1, BLKIF_RSP_OKAY), ==, 1);
    fixture_expect_list(f, "in use", 16, f->disks[0].path);
    assert_guest_has(front, 1);
    write_pattern(front, 2);
    fixture_close(front);
    end_role(f);
    assert_image_has(f, "qcow2", 2);
}

static void add_tests(void)
{
    fixture_add_test("/disk/snapshot/chain", test_chain);
    fixture_add_test("/disk/snapshot/refused", test_refused);
    fixture_add_test("/disk/snapshot/no-daemon", test_no_daemon);
    fixture_add_test("/disk/snapshot/image-away", test_image_away);
    fixture_add_test("/disk/snapshot/lost", test_lost);
    fixture_add_test("/disk/snapshot/bases", test_bases);
    fixture_add_test("/disk/snapshot/reboot", test_reboot);
    fixture_add_test("/disk/snapshot/lost/stopped", test_lost_stopped);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
