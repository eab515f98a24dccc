/*
 * CD drives: empty ones, `rolemodel disk insert` and `eject`, and what xl writes to change a disc.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <unistd.h>

#define ROUNDS 20

static const struct toolstack_disk cd = { .vdev = "xvda", .cdrom = true };

static void write_params(struct fixture *f, const char *params)
{
    g_autofree char *path = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u/params",
                                            guest_domid(f->guest), f->disks[0].devid);
    toolstack_write(path, params);
}

static void expect_params(struct fixture *f, const char *path)
{
    g_autofree char *params = fixture_backend_read(f, 0, "params");
    g_autofree char *wanted = g_strdup_printf("aio:%s", path);
    g_assert_cmpstr(params, ==, wanted);
}

static void await_sectors(struct fixture *f, uint64_t sectors)
{
    g_autofree char *path = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u/sectors",
                                            guest_domid(f->guest), f->disks[0].devid);
    g_autofree char *value = g_strdup_printf("%" G_GUINT64_FORMAT, sectors);
    g_assert_true(toolstack_await(path, value, PATIENCE_S));
}

/* A drive whose PARAMS the toolstack has written. */
static void start_drive(struct fixture *f, const char *params)
{
    fixture_add_special_disk(f, &cd, MIB_SECTORS);
    if (params)
        write_params(f, params);
    fixture_start_role(f);
}

static void try_empty(struct fixture *f, const char *params)
{
    start_drive(f, params);
    struct disk_file disc = fixture_make_image(f, "disc", 2 * MIB_SECTORS);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, 0);
    g_assert_cmpuint(blkfront_disk(front)->info, ==,
                     VDISK_CDROM | VDISK_REMOVABLE | VDISK_READONLY);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 0), ==, BLKIF_RSP_ERROR);
    g_assert_cmpint(request_page(front, BLKIF_OP_WRITE, &pages, 0), ==, BLKIF_RSP_ERROR);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    fixture_expect_list(f, "in use", 0, "(no medium)");
    expect_command(f, 1, "there is nothing to resize", "resize", "xvda");
    expect_command(f, 0, "", "eject", "xvda"); /* twice is fine */

    expect_command(f, 0, "", "insert", "xvda", disc.path);
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, disc.sectors);
    expect_params(f, disc.path);
    fixture_expect_list(f, "in use", 2, disc.path);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 8), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(*(uint64_t *)pages.data, ==, 8);
    g_assert_cmpint(request_page(front, BLKIF_OP_WRITE, &pages, 8), ==, BLKIF_RSP_ERROR);
    g_assert_true(fixture_image_locked(&disc));

    expect_command(f, 0, "", "eject", "xvda");
    g_assert_cmpuint(fixture_backend_number(f, 0, "sectors"), ==, 0);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 8), ==, BLKIF_RSP_ERROR);
    g_assert_false(fixture_image_locked(&disc));
    fixture_close(front);
    fixture_remove_image(&disc);
}

static void test_empty(struct fixture *f)
{
    try_empty(f, "");
}

static void test_empty_aio(struct fixture *f)
{
    try_empty(f, "aio:");
}

static void test_insert_wrong(struct fixture *f)
{
    start_drive(f, NULL);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    g_autofree char *missing = g_build_filename(f->directory, "missing", NULL);
    struct disk_file disc = fixture_make_image(f, "disc", 8);

    expect_command(f, 1, "No such file", "insert", "xvda", missing);
    expect_command(f, 1, "is a directory", "insert", "xvda", f->directory);
    expect_command(f, 1, "is not in qcow2 format", "insert", "xvda", disc.path, "qcow2");
    g_assert_cmpint(ftruncate(disc.fd, 0), ==, 0);
    expect_command(f, 1, "the file is empty", "insert", "xvda", disc.path);
    expect_command(f, 1, "no disk xvdb", "insert", "xvdb", disc.path);
    expect_params(f, f->disks[0].path);
    fixture_expect_list(f, "in use", 1, f->disks[0].path);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 8), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(*(uint64_t *)pages.data, ==, 8);
    expect_command(f, 0, "", "insert", "xvda", f->disks[0].path); /* the same one */
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 8), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
    fixture_remove_image(&disc);
}

static void test_insert_no_drive(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    expect_command(f, 1, "not a CD drive", "insert", "xvda", f->disks[0].path);
    expect_command(f, 1, "not a CD drive", "eject", "xvda");
    fixture_check_disk(f, 0);
}

/* A guest that reads all the time gets what was in the drive or an error, and all of its answers.
 */
static void test_insert_under_load(struct fixture *f)
{
    start_drive(f, NULL);
    struct disk_file disc = fixture_make_image(f, "disc", 2 * MIB_SECTORS);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct request_load load;

    request_load_start(f, &load, front);
    for (unsigned i = 0; i < ROUNDS; i++) {
        expect_command(f, 0, "", "eject", "xvda");
        expect_command(f, 0, "", "insert", "xvda", i % 2 ? f->disks[0].path : disc.path);
    }
    request_load_end(&load);
    g_assert_cmpuint(load.bad, >=, load.done / 2); /* its writes at least */
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &load.pages, MIB_SECTORS - 8), ==,
                    BLKIF_RSP_OKAY);
    g_assert_cmpuint(*(uint64_t *)load.pages.data, ==, MIB_SECTORS - 8);
    fixture_close(front);
    fixture_remove_image(&disc);
}

/* `xl cd-eject` and `xl cd-insert` write params and nothing else. */
static void test_toolstack(struct fixture *f)
{
    start_drive(f, NULL);
    struct disk_file disc = fixture_make_image(f, "disc", 2 * MIB_SECTORS);
    g_autofree char *params = g_strdup_printf("aio:%s", disc.path);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    write_params(f, "");
    await_sectors(f, 0);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, 8), ==, BLKIF_RSP_ERROR);
    write_params(f, params);
    await_sectors(f, disc.sectors);
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, disc.sectors - 8), ==,
                    BLKIF_RSP_OKAY);

    write_params(f, "aio:/nowhere");
    g_autofree char *said = g_strdup_printf("/nowhere: %s", g_strerror(ENOENT));
    for (unsigned i = 0; !fixture_role_said(f, said); i++) {
        g_assert_cmpuint(i, <, PATIENCE_MS);
        g_usleep(1000);
    }
    g_assert_cmpint(request_page(front, BLKIF_OP_READ, &pages, disc.sectors - 8), ==,
                    BLKIF_RSP_OKAY);

    write_params(f, ""); /* while there is no guest, either */
    await_sectors(f, 0);
    fixture_close(front);
    write_params(f, params);
    /* Closed says nothing of the disk; the next connection does. */
    for (unsigned i = 0;; i++) {
        front = fixture_connect(f, 0, NULL);
        uint64_t sectors = blkfront_disk(front)->sectors;
        fixture_close(front);
        if (sectors == disc.sectors)
            break;
        g_assert_cmpuint(i, <, PATIENCE_MS);
    }
    fixture_remove_image(&disc);
}

/*
 * What the toolstack writes while another change waits comes after that, even if that fails and so
 * writes nothing.
 */
static void test_toolstack_meanwhile(struct fixture *f)
{
    const struct sim_fault slow = { .call = "xengnttab_grant_copy",
                                    .times = 1,
                                    .delay_us = 300000 };
    start_drive(f, NULL);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 8, &pages, 1);

    sim_fault(&slow);
    request_put(front, &request);
    blkfront_push(front, 0);
    while (sim_fault_struck(slow.call) == 0)
        g_usleep(100);
    struct command command =
        fixture_command(f, (const char *const[]){ "resize", "xvda", "9M", NULL });
    g_usleep(100000); /* most likely it waits now */
    write_params(f, "");
    fixture_command_expect(&command, 1, "the disk is read-only");
    await_sectors(f, 0);
    sim_fault_clear();
    g_assert_cmpuint(request_take_all(front, 1, BLKIF_RSP_OKAY), ==, 1);
    fixture_close(front);
}

static void add_tests(void)
{
    fixture_add_test("/disk/cd/empty", test_empty);
    fixture_add_test("/disk/cd/empty-aio", test_empty_aio);
    fixture_add_test("/disk/cd/wrong", test_insert_wrong);
    fixture_add_test("/disk/cd/no-drive", test_insert_no_drive);
    fixture_add_test("/disk/cd/under-load", test_insert_under_load);
    fixture_add_test("/disk/cd/toolstack", test_toolstack);
    fixture_add_test("/disk/cd/toolstack-meanwhile", test_toolstack_meanwhile);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
