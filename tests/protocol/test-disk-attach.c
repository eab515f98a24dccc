/*
 * `rolemodel disk attach`: disks that no toolstack has attached.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/image-fixture.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#define START_SECTORS (8 * MIB_SECTORS)

/* The role, and that it takes commands; FIRST: with xvda. */
static void start_for_attach(struct fixture *f, bool first)
{
    if (first)
        fixture_add_disk(f, "xvda", START_SECTORS);
    fixture_start_role(f);
    g_autofree char *path =
        g_strdup_printf("/local/domain/0/device-model/%u/roles/disk/pid", guest_domid(f->guest));
    g_autofree char *pid = g_strdup_printf("%d", f->role);
    g_assert_true(toolstack_await(path, pid, PATIENCE_S));
}

/* An image that is to be disk DEVID: its index. */
static unsigned make_second(struct fixture *f, unsigned devid)
{
    struct disk_file *disk = &f->disks[f->nr_disks];
    *disk = fixture_make_image(f, "disc", MIB_SECTORS);
    disk->devid = devid;
    return f->nr_disks++;
}

static void attach(struct fixture *f, int status, const char *words, const char *format,
                   const char *path)
{
    g_autofree char *spec = g_strconcat(format, path, NULL);
    expect_command(f, status, words, "attach", spec);
}

static void try_attach(struct fixture *f, bool first)
{
    start_for_attach(f, first);
    unsigned disk = make_second(f, 51728);
    const char *path = f->disks[disk].path;
    g_autofree char *note = g_strdup_printf("/libxl/%u/device/vbd/51728", guest_domid(f->guest));

    attach(f, 0, "", "format=raw,vdev=xvdb,access=rw,target=", path);
    g_assert_true(toolstack_exists(note));
    struct blkfront *front = fixture_connect(f, disk, NULL);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, MIB_SECTORS);
    g_assert_true(blkfront_disk(front)->discard);
    fixture_verify(f, disk, front, 0, MIB_SECTORS);
    expect_command(f, 0, "xvdb     in use          1  ", "list");
    expect_command(f, 0, "2097152 bytes", "resize", "xvdb", "2M");
    attach(f, 1, "the guest has a disk xvdb already", "vdev=xvdb,target=", path);
    fixture_close(front);
    fixture_check_disk(f, disk);
    if (first)
        fixture_check_disk(f, 0);

    g_assert_true(toolstack_detach_disk(f->guest, 51728));
    fixture_await_unlocked(&f->disks[disk]);
    for (bool gone = false; !gone;) {
        struct command command = fixture_command(f, (const char *const[]){ "list", NULL });
        g_autofree char *text = NULL;
        g_assert_cmpint(fixture_command_wait(&command, &text), ==, 0);
        gone = !strstr(text, "xvdb");
    }
    attach(f, 0, "", "vdev=xvdb,access=ro,target=", path);
    front = fixture_connect(f, disk, NULL);
    g_assert_cmpuint(blkfront_disk(front)->info, ==, VDISK_READONLY);
    fixture_close(front);
}

static void test_attach(struct fixture *f)
{
    try_attach(f, true);
}

static void test_attach_first(struct fixture *f)
{
    try_attach(f, false);
}

/* As it runs beside QEMU: what the toolstack attaches is not ours, what we are told is. */
static void test_attach_no_hotplug(struct fixture *f)
{
    f->options[0] = "hotplug=off";
    try_attach(f, true);
}

/* All of it, as a guest that looks: names and values of everything about its disks. */
static char *list_store(struct fixture *f)
{
    static const char *const paths[] = { "/local/domain/0/backend", "/local/domain/%u/device",
                                         "/libxl/%u/device" };
    g_autoptr(GString) all = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autoptr(GPtrArray) todo = g_ptr_array_new_with_free_func(g_free);
        const char *percent = strstr(paths[i], "%u");
        g_ptr_array_add(todo, percent
                                  ? g_strdup_printf("%.*s%u%s", (int)(percent - paths[i]), paths[i],
                                                    guest_domid(f->guest), percent + 2)
                                  : g_strdup(paths[i]));
        while (todo->len > 0) {
            g_autofree char *path = g_ptr_array_steal_index(todo, todo->len - 1);
            unsigned count = 0;
            char **names = xs_directory(toolstack_store(), XBT_NULL, path, &count);
            g_string_append_printf(all, "%s\n", path);
            for (unsigned j = 0; names && j < count; j++)
                g_ptr_array_add(todo, g_strdup_printf("%s/%s", path, names[j]));
            free(names);
        }
    }
    return g_string_free(g_steal_pointer(&all), FALSE);
}

static void try_attach_wrong(struct fixture *f, bool first)
{
    start_for_attach(f, first);
    unsigned disk = make_second(f, 51728);
    const char *path = f->disks[disk].path;
    g_autofree char *before = list_store(f);
    g_autofree char *missing = g_strconcat(path, "-missing", NULL);

    attach(f, 1, "speed=5 is not understood", "vdev=xvdb,speed=5,target=", path);
    attach(f, 1, "access=w+ is not understood", "vdev=xvdb,access=w+,target=", path);
    attach(f, 1, "backendtype=phy is not understood", "vdev=xvdb,backendtype=phy,target=", path);
    attach(f, 1, "xvda to xvdz", "target=", path);
    attach(f, 1, "xvda to xvdz", "vdev=hdb,target=", path);
    attach(f, 1, "xvda to xvdz", "vdev=xvdaa,target=", path);
    attach(f, 1, "xvda to xvdz", "vdev=xvd,target=", path);
    attach(f, 1, "target=PATH is missing", "vdev=xvdb", "");
    attach(f, 1, "", "vdev=xvdb,target=", "");
    attach(f, 1, g_strerror(ENOENT), "vdev=xvdb,target=", missing);
    attach(f, 1, "is a directory", "vdev=xvdb,target=", f->directory);
    attach(f, 1, "is not in qcow2 format", "vdev=xvdb,format=qcow2,target=", path);
    if (first) {
        attach(f, 1, "the guest has a disk xvda already", "vdev=xvda,target=", path);
        attach(f, 1, "another process is using", "vdev=xvdb,target=", f->disks[0].path);
    }
    g_autofree char *after = list_store(f);
    g_assert_cmpstr(after, ==, before);

    attach(f, 0, "", "vdev=xvdb,target=", path);
    fixture_check_disk(f, disk);
}

static void test_attach_wrong(struct fixture *f)
{
    try_attach_wrong(f, true);
}

static void test_attach_wrong_first(struct fixture *f)
{
    try_attach_wrong(f, false);
}

static void test_attach_cd(struct fixture *f)
{
    start_for_attach(f, true);
    unsigned disk = make_second(f, 1 << 28 | 25 << 8);

    expect_command(f, 0, "", "attach", "vdev=xvdz,devtype=cdrom");
    struct blkfront *front = fixture_connect(f, disk, NULL);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, 0);
    expect_command(f, 0, "", "insert", "xvdz", f->disks[disk].path);
    g_assert_cmpuint(fixture_backend_number(f, disk, "sectors"), ==, MIB_SECTORS);
    fixture_close(front);
}

/* xl takes the disk away by force while its requests hang, and another comes in its place. */
static void test_attach_early(struct fixture *f)
{
    start_for_attach(f, false);
    const char *path = image_new_path(f);
    unsigned other = make_second(f, 51728);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);

    image_run("qemu-img create -q -f qcow2 %s 1M", path);
    f->disks[0].devid = 51728;
    attach(f, 0, "", "format=qcow2,vdev=xvdb,target=", path);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    pid_t daemon = image_daemon(f, 0);
    kill(daemon, SIGSTOP);
    request_put(front, &request);
    blkfront_push(front, 0);
    toolstack_destroy_disks(guest_domid(f->guest));
    attach(f, 1, "still finishes its requests", "vdev=xvdb,target=", f->disks[other].path);
    kill(daemon, SIGCONT);
    blkfront_abandon(front);
    fixture_await_unlocked(&f->disks[other]);
    for (bool attached = false; !attached;) {
        g_autofree char *spec = g_strconcat("vdev=xvdb,target=", f->disks[other].path, NULL);
        struct command command = fixture_command(f, (const char *const[]){ "attach", spec, NULL });
        g_autofree char *text = NULL;
        attached = fixture_command_wait(&command, &text) == 0;
        g_assert_true(attached || strstr(text, "still finishes"));
    }
    fixture_check_disk(f, other);
}

static void add_tests(void)
{
    fixture_add_test("/disk/attach/attach", test_attach);
    fixture_add_test("/disk/attach/first", test_attach_first);
    fixture_add_test("/disk/attach/no-hotplug", test_attach_no_hotplug);
    fixture_add_test("/disk/attach/wrong", test_attach_wrong);
    fixture_add_test("/disk/attach/wrong-first", test_attach_wrong_first);
    fixture_add_test("/disk/attach/cd", test_attach_cd);
    fixture_add_test("/disk/attach/early", test_attach_early);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
