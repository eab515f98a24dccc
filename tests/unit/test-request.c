/*
 * Reading block requests from a hostile guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <string.h>
#include <xen/io/protocols.h>

#include "pvbackends/disk/request.h"

static const struct disk_limits disk = { .sectors = 1000, .alignment = 1, .discard = true };

/* A valid read of one whole page at sector 0, for each test to spoil. */
static blkif_request_t page_read(void)
{
    blkif_request_t request = { .operation = BLKIF_OP_READ, .nr_segments = 1, .id = 99 };
    request.seg[0] = (struct blkif_request_segment){ .gref = 5, .first_sect = 0, .last_sect = 7 };
    return request;
}

static int parse(const blkif_request_t *raw, const struct disk_limits *limits,
                 struct disk_request *request)
{
    /* What follows the slot would pass as a twelfth segment. */
    uint8_t slot[DISK_SLOT_MAX + sizeof(struct blkif_request_segment)] = { 0 };
    memcpy(slot, raw, sizeof(*raw));
    int status = disk_request_parse(request, disk_abi_find(XEN_IO_PROTO_ABI_X86_64), slot, limits);
    g_assert_cmpuint(request->id, ==, raw->id); /* answerable whatever it is */
    g_assert_cmpuint(request->operation, ==,
                     raw->operation == BLKIF_OP_INDIRECT ? raw->nr_segments : raw->operation);
    return status;
}

static void assert_status(const blkif_request_t *raw, const struct disk_limits *limits, int status)
{
    struct disk_request request;
    g_assert_cmpint(parse(raw, limits, &request), ==, status);
}

static void test_valid(void)
{
    struct disk_request request;
    blkif_request_t raw = page_read();
    raw.nr_segments = 11;
    raw.sector_number = 1000 - 11 * 8 + 7;
    for (int i = 0; i < 11; i++)
        raw.seg[i] = (struct blkif_request_segment){ .gref = i, .first_sect = 0, .last_sect = 7 };
    raw.seg[10].first_sect = 7;
    g_assert_cmpint(parse(&raw, &disk, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.sectors, ==, 81);
    g_assert_cmpuint(request.nr_segments, ==, 11);
    g_assert_cmpuint(request.segments[10].ref, ==, 10);
    g_assert_cmpuint(request.segments[10].offset, ==, 7 * 512);
    g_assert_cmpuint(request.segments[10].length, ==, 512);
    raw.sector_number++;
    assert_status(&raw, &disk, BLKIF_RSP_ERROR);
}

static void test_segment_count(void)
{
    blkif_request_t raw = page_read();
    for (unsigned count = 0; count < 256; count++) {
        memset(raw.seg, 0, sizeof(raw.seg));
        raw.nr_segments = count;
        assert_status(&raw, &disk, count >= 1 && count <= 11 ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR);
    }
}

static void test_segment_bounds(void)
{
    blkif_request_t raw = page_read();
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned last = 0; last < 256; last++) {
            raw.seg[0].first_sect = first;
            raw.seg[0].last_sect = last;
            assert_status(&raw, &disk,
                          first <= last && last <= 7 ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR);
        }
    }
}

static void test_past_the_end(void)
{
    static const uint64_t bad[] = { 993,
                                    1000,
                                    1001,
                                    UINT64_MAX,
                                    UINT64_MAX - 7,
                                    UINT64_MAX / 512,
                                    (uint64_t)1 << 55,
                                    (uint64_t)1 << 63 };
    blkif_request_t raw = page_read();
    for (int operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        raw.operation = operation;
        raw.sector_number = 992;
        assert_status(&raw, &disk, BLKIF_RSP_OKAY);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
            raw.sector_number = bad[i];
            assert_status(&raw, &disk, BLKIF_RSP_ERROR);
        }
    }
    struct disk_limits tiny = { .sectors = 4, .alignment = 1 };
    raw.sector_number = 0;
    assert_status(&raw, &tiny, BLKIF_RSP_ERROR);
}

static void test_read_only(void)
{
    struct disk_limits read_only = disk;
    read_only.read_only = true;
    blkif_request_t raw = page_read();
    assert_status(&raw, &read_only, BLKIF_RSP_OKAY);
    raw.operation = BLKIF_OP_WRITE;
    assert_status(&raw, &read_only, BLKIF_RSP_ERROR);
    raw.operation = BLKIF_OP_FLUSH_DISKCACHE;
    assert_status(&raw, &read_only, BLKIF_RSP_ERROR); /* with data it is a write */
    raw.nr_segments = 0;
    assert_status(&raw, &read_only, BLKIF_RSP_OKAY);
    raw.operation = BLKIF_OP_DISCARD;
    assert_status(&raw, &read_only, BLKIF_RSP_ERROR);
}

static void test_operations(void)
{
    blkif_request_t raw = page_read();
    for (unsigned operation = BLKIF_OP_INDIRECT + 1; operation < 256; operation++) {
        raw.operation = operation;
        assert_status(&raw, &disk, BLKIF_RSP_EOPNOTSUPP);
    }
    raw.operation = BLKIF_OP_RESERVED_1;
    assert_status(&raw, &disk, BLKIF_RSP_EOPNOTSUPP);
}

/* A flush, or a barrier, may carry data or none. */
static void assert_flushes(uint8_t operation)
{
    struct disk_request request;
    blkif_request_t raw = page_read();
    raw.operation = operation;
    g_assert_cmpint(parse(&raw, &disk, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.nr_segments, ==, 1);
    raw.sector_number = 1000;
    assert_status(&raw, &disk, BLKIF_RSP_ERROR);
    raw.nr_segments = 0; /* then the sector means nothing */
    g_assert_cmpint(parse(&raw, &disk, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.nr_segments, ==, 0);
}

static void test_flush_with_data(void)
{
    assert_flushes(BLKIF_OP_FLUSH_DISKCACHE);
    assert_flushes(BLKIF_OP_WRITE_BARRIER);
}

static void test_discard(void)
{
    struct disk_request request;
    blkif_request_t raw = { 0 };
    blkif_request_discard_t *discard = (blkif_request_discard_t *)&raw;
    discard->operation = BLKIF_OP_DISCARD;
    discard->sector_number = 10;
    discard->nr_sectors = 990;
    g_assert_cmpint(parse(&raw, &disk, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.sector, ==, 10);
    g_assert_cmpuint(request.sectors, ==, 990);
    g_assert_cmpuint(request.nr_segments, ==, 0);
    discard->nr_sectors = 0; /* system calls disagree about what that means */
    assert_status(&raw, &disk, BLKIF_RSP_ERROR);
    discard->nr_sectors = 991;
    assert_status(&raw, &disk, BLKIF_RSP_ERROR);
    discard->nr_sectors = UINT64_MAX - 9; /* 10 + this wraps to 0 */
    assert_status(&raw, &disk, BLKIF_RSP_ERROR);
    discard->nr_sectors = 1;
    struct disk_limits without = disk;
    without.discard = false;
    assert_status(&raw, &without, BLKIF_RSP_EOPNOTSUPP);
}

static void test_secure_discard(void)
{
    struct disk_request request;
    blkif_request_discard_t discard = { .operation = BLKIF_OP_DISCARD, .nr_sectors = 1 };
    blkif_request_t raw = { 0 };
    struct disk_limits able = disk;
    able.secure_discard = true;

    memcpy(&raw, &discard, sizeof(discard));
    g_assert_cmpint(parse(&raw, &able, &request), ==, BLKIF_RSP_OKAY);
    g_assert_false(request.secure);
    discard.flag = BLKIF_DISCARD_SECURE;
    memcpy(&raw, &discard, sizeof(discard));
    g_assert_cmpint(parse(&raw, &able, &request), ==, BLKIF_RSP_OKAY);
    g_assert_true(request.secure);
    assert_status(&raw, &disk, BLKIF_RSP_EOPNOTSUPP); /* not pretended */
}

/* --- indirect --- */

static blkif_request_indirect_t indirect_read(unsigned count)
{
    return (blkif_request_indirect_t){ .operation = BLKIF_OP_INDIRECT,
                                       .indirect_op = BLKIF_OP_READ,
                                       .nr_segments = count,
                                       .id = 99,
                                       .sector_number = 5,
                                       .handle = 0xffff,
                                       .indirect_grefs = { 0x12345678, 1, 2, 3 } };
}

static int parse_indirect(const blkif_request_indirect_t *raw, struct disk_request *request)
{
    union {
        blkif_request_t request;
        blkif_request_indirect_t indirect;
    } slot = { 0 };
    slot.indirect = *raw;
    return parse(&slot.request, &disk, request);
}

static void test_indirect(void)
{
    struct disk_request request;
    struct blkif_request_segment table[DISK_SEGMENTS_MAX];

    for (unsigned count = 1; count <= 65535; count++) {
        blkif_request_indirect_t raw = indirect_read(count);
        bool good = count <= DISK_SEGMENTS_MAX;
        g_assert_cmpint(parse_indirect(&raw, &request), ==,
                        good ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR);
        g_assert_true(!good || request.indirect);
        g_assert_cmpuint(request.nr_segments, ==, good ? count : 0);
    }
    blkif_request_indirect_t none = indirect_read(0);
    g_assert_cmpint(parse_indirect(&none, &request), ==, BLKIF_RSP_ERROR);

    blkif_request_indirect_t raw = indirect_read(DISK_SEGMENTS_MAX);
    g_assert_cmpint(parse_indirect(&raw, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.table_ref, ==, 0x12345678);
    g_assert_cmpuint(request.sector, ==, 5);
    for (unsigned i = 0; i < DISK_SEGMENTS_MAX; i++)
        table[i] = (struct blkif_request_segment){ .gref = i, .first_sect = 3, .last_sect = 3 };
    table[17].last_sect = 5;
    g_assert_cmpint(disk_request_parse_table(&request, table, &disk), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.sectors, ==, DISK_SEGMENTS_MAX + 2);
    g_assert_cmpuint(request.segments[255].ref, ==, 255);
    g_assert_cmpuint(request.segments[17].offset, ==, 3 * 512);
    g_assert_cmpuint(request.segments[17].length, ==, 3 * 512);
}

static void test_indirect_wrong(void)
{
    static const struct blkif_request_segment wrong[] = {
        { 0, 1, 0 }, { 0, 0, 8 }, { 0, 8, 8 }, { 0, 0, 255 }
    };
    struct disk_request request;
    blkif_request_indirect_t raw = indirect_read(20);

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        struct blkif_request_segment table[20] = { 0 };
        table[19] = wrong[i];
        g_assert_cmpint(parse_indirect(&raw, &request), ==, BLKIF_RSP_OKAY);
        g_assert_cmpint(disk_request_parse_table(&request, table, &disk), ==, BLKIF_RSP_ERROR);
    }
    struct blkif_request_segment table[20] = { 0 };
    for (unsigned past = 0; past <= 2; past++) {
        raw.sector_number = 1000 - 20 + past;
        g_assert_cmpint(parse_indirect(&raw, &request), ==, BLKIF_RSP_OKAY);
        g_assert_cmpint(disk_request_parse_table(&request, table, &disk), ==,
                        past ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY);
    }
    for (unsigned operation = 0; operation < 256; operation++) {
        raw.indirect_op = operation;
        g_assert_cmpint(parse_indirect(&raw, &request), ==,
                        operation <= BLKIF_OP_WRITE ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR);
    }
    struct disk_limits read_only = { .sectors = 1000, .alignment = 1, .read_only = true };
    raw.indirect_op = BLKIF_OP_WRITE;
    g_assert_cmpint(disk_request_parse(&request, disk_abi_find(NULL), &raw, &read_only), ==,
                    BLKIF_RSP_ERROR);
}

/* No gap before the id; the rest keeps its distances. */
static void test_indirect_32_bit(void)
{
    uint8_t slot[DISK_SLOT_MAX] = { BLKIF_OP_INDIRECT, BLKIF_OP_WRITE, 200, 0 };
    uint64_t id = 0x1122334455667788, sector = 77;
    uint32_t ref = 4711;
    struct disk_request request;
    memcpy(slot + 4, &id, 8);
    memcpy(slot + 12, &sector, 8);
    memcpy(slot + 24, &ref, 4);
    g_assert_cmpint(
        disk_request_parse(&request, disk_abi_find(XEN_IO_PROTO_ABI_X86_32), slot, &disk), ==,
        BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.id, ==, id);
    g_assert_cmpuint(request.operation, ==, BLKIF_OP_WRITE);
    g_assert_cmpuint(request.sector, ==, 77);
    g_assert_cmpuint(request.nr_segments, ==, 200);
    g_assert_cmpuint(request.table_ref, ==, 4711);
}

static void test_alignment(void)
{
    struct disk_limits native4k = { .sectors = 1000, .alignment = 8 };
    blkif_request_t raw = page_read();
    for (unsigned sector = 0; sector < 64; sector++) {
        raw.sector_number = sector;
        assert_status(&raw, &native4k, sector % 8 ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY);
    }
    raw.sector_number = 8;
    raw.seg[0].last_sect = 3;
    assert_status(&raw, &native4k, BLKIF_RSP_ERROR);
}

static void test_32_bit(void)
{
    uint8_t slot[DISK_SLOT_MAX] = { BLKIF_OP_READ, 1, 0, 0 };
    uint64_t id = 0x1122334455667788, sector = 77;
    struct blkif_request_segment segment = { .gref = 9, .first_sect = 2, .last_sect = 3 };
    struct disk_request request;
    memcpy(slot + 4, &id, 8);
    memcpy(slot + 12, &sector, 8);
    memcpy(slot + 20, &segment, 8);
    g_assert_cmpint(
        disk_request_parse(&request, disk_abi_find(XEN_IO_PROTO_ABI_X86_32), slot, &disk), ==,
        BLKIF_RSP_OKAY);
    g_assert_cmpuint(request.id, ==, id);
    g_assert_cmpuint(request.sector, ==, 77);
    g_assert_cmpuint(request.sectors, ==, 2);
    g_assert_cmpuint(request.segments[0].ref, ==, 9);
    g_assert_cmpuint(request.segments[0].offset, ==, 1024);
}

/* Whatever the bytes, what is accepted lies inside the disk and inside pages. */
static void test_random(void)
{
    GRand *rand = g_rand_new_with_seed(1);
    unsigned accepted = 0;
    for (int i = 0; i < 300000; i++) {
        uint8_t slot[DISK_SLOT_MAX];
        struct disk_request request;
        const struct disk_abi *abi = disk_abi_find(i & 1 ? XEN_IO_PROTO_ABI_X86_32 : NULL);
        for (size_t j = 0; j < sizeof(slot); j++)
            slot[j] = g_rand_int_range(rand, 0, 256) & g_rand_int_range(rand, 0, 8);
        slot[abi->sector + 7] = slot[abi->sector + 6] = 0;
        if (i % 3)
            memset(slot + abi->sector + 1, 0, 7);
        if (disk_request_parse(&request, abi, slot, &disk) != BLKIF_RSP_OKAY)
            continue;
        accepted++;
        if (request.indirect) {
            uint8_t table[DISK_SEGMENTS_MAX * sizeof(struct blkif_request_segment)];
            for (size_t j = 0; j < sizeof(table); j++)
                table[j] = g_rand_int_range(rand, 0, 256) & g_rand_int_range(rand, 0, 8);
            if (disk_request_parse_table(&request, table, &disk) != BLKIF_RSP_OKAY)
                continue;
        }
        g_assert_cmpuint(request.nr_segments, <=, DISK_SEGMENTS_MAX);
        uint64_t bytes = 0;
        for (unsigned s = 0; s < request.nr_segments; s++) {
            g_assert_cmpuint(request.segments[s].length, >=, 512);
            g_assert_cmpuint(request.segments[s].offset + request.segments[s].length, <=, 4096);
            bytes += request.segments[s].length;
        }
        if (request.operation != BLKIF_OP_DISCARD && request.nr_segments == 0) /* flush, barrier */
            continue;
        g_assert_true(request.operation == BLKIF_OP_DISCARD || bytes == request.sectors * 512);
        g_assert_cmpuint(request.sector, <=, 1000);
        g_assert_cmpuint(request.sectors, <=, 1000 - request.sector);
    }
    g_test_message("%u of 300000 accepted", accepted);
    g_assert_cmpuint(accepted, >, 1000); /* or the test looks at nothing */
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/request/valid", test_valid);
    g_test_add_func("/request/segment-count", test_segment_count);
    g_test_add_func("/request/segment-bounds", test_segment_bounds);
    g_test_add_func("/request/past-the-end", test_past_the_end);
    g_test_add_func("/request/read-only", test_read_only);
    g_test_add_func("/request/operations", test_operations);
    g_test_add_func("/request/flush-with-data", test_flush_with_data);
    g_test_add_func("/request/discard", test_discard);
    g_test_add_func("/request/secure-discard", test_secure_discard);
    g_test_add_func("/request/alignment", test_alignment);
    g_test_add_func("/request/32-bit", test_32_bit);
    g_test_add_func("/request/indirect", test_indirect);
    g_test_add_func("/request/indirect/wrong", test_indirect_wrong);
    g_test_add_func("/request/indirect/32-bit", test_indirect_32_bit);
    g_test_add_func("/request/random", test_random);
    return g_test_run();
}
