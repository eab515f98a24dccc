/*
 * The core of XenPvBlk with an orderly backend: data, negotiation, life.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/ovmf/world.h"

#include "ovmf-drivers/core/text.h"

#include <string.h>
#include <xen/io/xenbus.h>

static void init(struct world *world, struct pv_disk *disk)
{
    g_assert_cmpint(pv_disk_init(disk, &world->guest, WORLD_DEVICE), ==, PV_OK);
    g_assert_cmpstr(disk->name, ==, "xvda");
}

static void start(struct world *world, struct pv_disk *disk)
{
    init(world, disk);
    g_assert_cmpint(pv_disk_connect(disk), ==, PV_OK);
    g_assert_cmpstr(world_node(world, WORLD_FRONTEND, "state"), ==, "4");
}

/* The backend waits, as before the first frontend, and nothing of this one is left. */
static void end(struct world *world, struct pv_disk *disk)
{
    pv_disk_close(disk, UINT64_MAX);
    g_assert_cmpstr(world_node(world, WORLD_FRONTEND, "state"), ==, "1");
    g_assert_cmpstr(world_node(world, WORLD_BACKEND_PATH, "state"), ==, "2");
    static const char *const nodes[] = { "ring-ref",      "ring-ref0",       "ring-ref3",
                                         "event-channel", "ring-page-order", "protocol" };
    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++)
        g_assert_null(world_node(world, WORLD_FRONTEND, nodes[i]));
    g_assert_cmpuint(world_grants_used(world), ==, 0);
    g_assert_cmpuint(world_pages_used(world), ==, 0);
}

/* Reads SECTORS from SECTOR on into memory that is not aligned, with a byte to guard on each side.
 */
static void check_read(struct world *world, struct pv_disk *disk, uint64_t sector, size_t sectors)
{
    size_t length = sectors * PV_SECTOR;
    g_autofree uint8_t *buffer = g_malloc(length + 2);

    memset(buffer, 0x5A, length + 2);
    g_assert_cmpint(pv_disk_read(disk, sector, buffer + 1, length), ==, PV_OK);
    g_assert_cmpmem(buffer + 1, length, world->disk + sector * PV_SECTOR, length);
    g_assert_cmphex(buffer[0], ==, 0x5A);
    g_assert_cmphex(buffer[length + 1], ==, 0x5A);
}

static void check_data(struct world *world, struct pv_disk *disk)
{
    static const size_t lengths[] = { 1, 7, 8, 9, 87, 88, 89, 511, 512, 513, 2048, 8000 };
    const size_t length = 3000 * PV_SECTOR;
    g_autofree uint8_t *data = g_malloc(length);

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++)
        check_read(world, disk, i * 13, lengths[i]);
    check_read(world, disk, 0, WORLD_SECTORS);
    check_read(world, disk, WORLD_SECTORS - 1, 1);
    memset(data, 0xA7, length);
    g_assert_cmpint(pv_disk_write(disk, 1001, data, length), ==, PV_OK);
    g_assert_cmpmem(world->disk + 1001 * PV_SECTOR, length, data, length);
    check_read(world, disk, 0, 1001);
    check_read(world, disk, 4001, 100);
}

/* --- what is negotiated --- */

static void test_direct(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    start(world, &disk);
    g_assert_cmpstr(world_node(world, WORLD_FRONTEND, "ring-page-order"), ==, "1");
    check_data(world, &disk);
    g_assert_cmpuint(world->indirect, ==, 0);
    g_assert_cmpuint(world->most_in_flight, ==, 64); /* the whole ring */
    end(world, &disk);
    world_free(world);
}

static void test_single_page(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    world_offer(world, "max-ring-page-order", NULL);
    start(world, &disk);
    g_assert_null(world_node(world, WORLD_FRONTEND, "ring-page-order"));
    check_data(world, &disk);
    g_assert_cmpuint(world->most_in_flight, ==, 32);
    end(world, &disk);
    world_free(world);
}

static void check_indirect(const char *offered, unsigned pages, unsigned in_flight)
{
    struct world *world = world_new();
    struct pv_disk disk;

    world_offer(world, "feature-max-indirect-segments", offered);
    start(world, &disk);
    g_assert_cmpuint(disk.segments, ==, pages);
    check_data(world, &disk);
    g_assert_cmpuint(world->indirect, >, 0);
    g_assert_cmpuint(world->direct, >, 0); /* small ones need no table */
    g_assert_cmpuint(world->most_in_flight, ==, in_flight);
    end(world, &disk);
    world_free(world);
}

static void test_indirect(void)
{
    check_indirect("12", 12, 42);
    check_indirect("32", 32, 16);
    check_indirect("256", 64, 8);
    check_indirect("4294967295", 64, 8);
}

static void test_out_of_order(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    world->script.newest_first = true;
    start(world, &disk);
    check_data(world, &disk);
    end(world, &disk);
    world_free(world);
}

/* What is mapped all the time could be in use for ever, if a backend hangs: only the ring is. */
static void test_persistent(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    world_offer(world, "feature-persistent", "1");
    start(world, &disk);
    g_assert_null(world_node(world, WORLD_FRONTEND, "feature-persistent"));
    end(world, &disk);
    world_free(world);
}

/* --- media --- */

static void test_large_sectors(void)
{
    struct world *world = world_new();
    struct pv_disk disk;
    uint8_t data[8192];

    world_offer(world, "sector-size", "4096");
    start(world, &disk);
    g_assert_cmpuint(disk.medium.sector_size, ==, 4096);
    check_read(world, &disk, 8, 8);
    check_read(world, &disk, 80, 8000);
    g_assert_cmpint(pv_disk_read(&disk, 4, data, 4096), ==, PV_REFUSED);
    g_assert_cmpint(pv_disk_read(&disk, 8, data, 512), ==, PV_REFUSED);
    end(world, &disk);
    world_free(world);
}

static void test_limits(void)
{
    struct world *world = world_new();
    struct pv_disk disk;
    uint8_t data[1024];

    start(world, &disk);
    g_assert_cmpint(pv_disk_read(&disk, WORLD_SECTORS, data, 512), ==, PV_REFUSED);
    g_assert_cmpint(pv_disk_read(&disk, WORLD_SECTORS - 1, data, 1024), ==, PV_REFUSED);
    g_assert_cmpint(pv_disk_read(&disk, UINT64_MAX, data, 512), ==, PV_REFUSED);
    g_assert_cmpint(pv_disk_read(&disk, 0, data, SIZE_MAX & ~(size_t)511), ==, PV_REFUSED);
    g_assert_cmpint(pv_disk_write(&disk, WORLD_SECTORS, data, 512), ==, PV_REFUSED);
    g_assert_cmpint(pv_disk_read(&disk, 0, data, 0), ==, PV_OK);
    g_assert_cmpuint(world->answers, ==, 0);
    end(world, &disk);
    g_assert_cmpint(pv_disk_read(&disk, 0, data, 512), ==, PV_BROKEN);
    world_free(world);
}

static void test_read_only(void)
{
    struct world *world = world_new();
    struct pv_disk disk;
    uint8_t data[512] = { 0 };

    world_offer(world, "info", "7");
    start(world, &disk);
    g_assert_true(disk.medium.read_only && disk.medium.cdrom && disk.medium.removable);
    g_assert_cmpint(pv_disk_write(&disk, 0, data, 512), ==, PV_REFUSED);
    check_read(world, &disk, 0, 8);
    end(world, &disk);
    world_free(world);
}

static void test_empty_drive(void)
{
    struct world *world = world_new();
    struct pv_disk disk;
    uint8_t data[512];

    world_offer(world, "info", "7");
    world_offer(world, "sectors", "0");
    start(world, &disk);
    g_assert_cmpuint(disk.medium.sectors, ==, 0);
    g_assert_cmpint(pv_disk_read(&disk, 0, data, 512), ==, PV_REFUSED);
    world_offer(world, "sectors", "64");
    g_assert_cmpint(pv_disk_refresh(&disk), ==, PV_OK);
    check_read(world, &disk, 0, 64);
    end(world, &disk);
    world_free(world);
}

static void check_flush(const char *flush, const char *barrier, unsigned flushes)
{
    struct world *world = world_new();
    struct pv_disk disk;

    world_offer(world, "feature-flush-cache", flush);
    world_offer(world, "feature-barrier", barrier);
    start(world, &disk);
    g_assert_cmpint(pv_disk_flush(&disk), ==, PV_OK);
    g_assert_cmpuint(world->flushes, ==, flushes);
    world->script.status = BLKIF_RSP_ERROR;
    g_assert_cmpint(pv_disk_flush(&disk), ==, flushes ? PV_REFUSED : PV_OK);
    end(world, &disk);
    world_free(world);
}

static void test_flush(void)
{
    check_flush("1", "1", 1);
    check_flush(NULL, "1", 1);
    check_flush("0", NULL, 0);
}

/* --- life --- */

static void test_again(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    for (unsigned i = 0; i < 5; i++) {
        start(world, &disk);
        check_read(world, &disk, 3, 300);
        end(world, &disk);
        end(world, &disk);
    }
    world_free(world);
}

/* A frontend before us went away without a word, in any state; the backend is where it left it. */
static void test_left_behind(void)
{
    static const char *const states[][2] = { { "1", "2" }, { "4", "4" }, { "3", "4" }, { "5", "5" },
                                             { "6", "6" }, { "4", "5" }, { "1", "6" } };
    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        struct world *world = world_new();
        struct pv_disk disk;
        g_hash_table_insert(world->nodes, g_strdup(WORLD_FRONTEND "/state"),
                            g_strdup(states[i][0]));
        world_offer(world, "state", states[i][1]);
        g_hash_table_insert(world->nodes, g_strdup(WORLD_FRONTEND "/multi-queue-num-queues"),
                            g_strdup("4"));
        start(world, &disk);
        g_assert_null(world_node(world, WORLD_FRONTEND, "multi-queue-num-queues"));
        check_read(world, &disk, 0, 100);
        end(world, &disk);
        world_free(world);
    }
}

static void test_short_of_memory(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    world->pages_limit = 100;
    start(world, &disk);
    g_assert_cmpuint(disk.nr_slots, ==, 8);
    check_data(world, &disk);
    end(world, &disk);

    pv_grants_init(&world->grants, world->table, 100);
    start(world, &disk);
    check_data(world, &disk);
    end(world, &disk);

    world->pages_limit = 10;
    init(world, &disk);
    g_assert_cmpint(pv_disk_connect(&disk), ==, PV_NO_MEMORY);
    end(world, &disk);
    world_free(world);
}

static void test_no_disk(void)
{
    struct world *world = world_new();
    struct pv_disk disk;

    g_assert_cmpint(pv_disk_init(&disk, &world->guest, "51728"), ==, PV_ABSENT);
    g_assert_cmpint(pv_disk_init(&disk, &world->guest, "../51712"), ==, PV_REFUSED);
    pv_disk_close(&disk, UINT64_MAX);
    world_free(world);
}

/* --- parts --- */

static void test_numbers(void)
{
    static const struct {
        const char *text;
        uint64_t max;
        bool good;
    } cases[] = {
        { "0", 0, true },
        { "1", 0, false },
        { "18446744073709551615", UINT64_MAX, true },
        { "18446744073709551616", UINT64_MAX, false },
        { "99999999999999999999", UINT64_MAX, false },
        { "0042", 42, true },
        { "43", 42, false },
        { "", 9, false },
        { "-1", UINT64_MAX, false },
        { " 1", 9, false },
        { "1 ", 9, false },
        { "0x1", 9, false },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint64_t number = 77;
        g_assert_cmpint(pv_number_parse(cases[i].text, cases[i].max, &number), ==, cases[i].good);
        g_assert_cmpuint(number, ==,
                         cases[i].good ? g_ascii_strtoull(cases[i].text, NULL, 10) : 77);
    }
    char text[PV_NUMBER_SIZE];
    g_assert_cmpstr(pv_number_format(text, UINT64_MAX), ==, "18446744073709551615");
    g_assert_cmpstr(pv_number_format(text, 0), ==, "0");
}

/* What others have granted stays, and so does what is still in use. */
static void test_grants(void)
{
    static struct grant_entry_v1 table[32];
    struct pv_grants grants;
    uint32_t refs[32], count = 0;

    table[2].flags = table[20].flags = GTF_permit_access;
    pv_grants_init(&grants, table, G_N_ELEMENTS(table));
    while (pv_grants_make(&grants, 5, 100 + count, &refs[count]))
        count++;
    g_assert_cmpuint(count, ==, 32 - GNTTAB_NR_RESERVED_ENTRIES - 1);
    for (uint32_t i = 0; i < count; i++) {
        g_assert_cmpuint(refs[i], >=, GNTTAB_NR_RESERVED_ENTRIES);
        g_assert_cmpuint(refs[i], !=, 20);
        g_assert_true(i == 0 ||
                      refs[i] < refs[i - 1]); /* an operating system begins with the first */
        g_assert_cmpuint(table[refs[i]].frame, ==, 100 + i);
        g_assert_cmpuint(table[refs[i]].domid, ==, 5);
    }
    table[refs[3]].flags |= GTF_reading;
    g_assert_false(pv_grants_end(&grants, refs[3]));
    g_assert_true(pv_grants_end(&grants, refs[4]));
    g_assert_true(pv_grants_make(&grants, 6, 1, &refs[0]));
    g_assert_cmpuint(refs[0], ==, refs[4]);
    g_assert_false(pv_grants_make(&grants, 6, 1, &refs[0]));
}

/* A backend cannot have answered what it was not asked. */
static void test_ring(void)
{
    g_autofree blkif_sring_t *shared = g_malloc0(PV_PAGE);
    struct pv_ring ring;
    blkif_response_t response;

    g_assert_cmpuint(pv_ring_entries(1), ==, 32);
    g_assert_cmpuint(pv_ring_entries(2), ==, 64);
    g_assert_cmpuint(pv_ring_entries(4), ==, 128);
    pv_ring_init(&ring, shared, 1);
    g_assert_cmpint(pv_ring_take(&ring, &response), ==, PV_TAKEN_NONE);
    g_assert_false(pv_ring_arm(&ring));
    shared->rsp_prod = 1;
    g_assert_cmpint(pv_ring_take(&ring, &response), ==, PV_TAKEN_BROKEN);
    pv_ring_put(&ring);
    g_assert_cmpint(pv_ring_take(&ring, &response), ==, PV_TAKEN_BROKEN);
    g_assert_true(pv_ring_push(&ring));
    g_assert_true(pv_ring_arm(&ring));
    g_assert_cmpint(pv_ring_take(&ring, &response), ==, PV_TAKEN_RESPONSE);
    shared->rsp_prod = 0;
    g_assert_cmpint(pv_ring_take(&ring, &response), ==, PV_TAKEN_BROKEN);
    /* Whether to notify is the backend's to say. */
    shared->rsp_prod = 1;
    shared->req_event = 3;
    pv_ring_put(&ring);
    g_assert_false(pv_ring_push(&ring));
    pv_ring_put(&ring);
    g_assert_true(pv_ring_push(&ring));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ovmf/numbers", test_numbers);
    g_test_add_func("/ovmf/grants", test_grants);
    g_test_add_func("/ovmf/ring", test_ring);
    g_test_add_func("/ovmf/disk/direct", test_direct);
    g_test_add_func("/ovmf/disk/single-page", test_single_page);
    g_test_add_func("/ovmf/disk/indirect", test_indirect);
    g_test_add_func("/ovmf/disk/out-of-order", test_out_of_order);
    g_test_add_func("/ovmf/disk/persistent", test_persistent);
    g_test_add_func("/ovmf/disk/large-sectors", test_large_sectors);
    g_test_add_func("/ovmf/disk/limits", test_limits);
    g_test_add_func("/ovmf/disk/read-only", test_read_only);
    g_test_add_func("/ovmf/disk/empty-drive", test_empty_drive);
    g_test_add_func("/ovmf/disk/flush", test_flush);
    g_test_add_func("/ovmf/disk/again", test_again);
    g_test_add_func("/ovmf/disk/left-behind", test_left_behind);
    g_test_add_func("/ovmf/disk/short-of-memory", test_short_of_memory);
    g_test_add_func("/ovmf/disk/no-disk", test_no_disk);
    return g_test_run();
}
