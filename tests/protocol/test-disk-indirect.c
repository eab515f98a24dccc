/*
 * Indirect requests to the disk role: segments by the hundred in a table that the guest grants,
 * good ones and such as no honest guest makes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <string.h>
#include <xen/grant_table.h>
#include <xen/io/protocols.h>

#define SEGMENTS 256 /* what the role offers */

/* Pages for the longest request, and a table that has them in order. */
struct field {
    uint8_t *data;
    uint32_t refs[SEGMENTS];
    struct blkif_request_segment *table;
    uint32_t table_ref;
};

static struct field *make_field(struct fixture *f, bool read_only)
{
    struct field *field = g_new0(struct field, 1);
    struct pages table = fixture_pages(f, 1, true);

    field->data = guest_alloc(f->guest, SEGMENTS);
    field->table = (struct blkif_request_segment *)table.data;
    field->table_ref = table.refs[0];
    for (unsigned i = 0; i < SEGMENTS; i++) {
        field->refs[i] = guest_grant(f->guest, 0, field->data + (size_t)i * GUEST_PAGE, read_only);
        field->table[i] = (struct blkif_request_segment){ field->refs[i], 0, SECTORS_PER_PAGE - 1 };
    }
    return field;
}

static blkif_request_t indirect(uint8_t operation, uint64_t id, uint64_t sector,
                                const struct field *field, unsigned count)
{
    union {
        blkif_request_t request;
        blkif_request_indirect_t indirect;
    } slot = { 0 };
    slot.indirect = (blkif_request_indirect_t){
        .operation = BLKIF_OP_INDIRECT,
        .indirect_op = operation,
        .nr_segments = count,
        .id = id,
        .sector_number = sector,
        .indirect_grefs = { field->table_ref },
    };
    return slot.request;
}

static int run(struct blkfront *front, uint8_t operation, uint64_t sector,
               const struct field *field, unsigned count)
{
    blkif_request_t request = indirect(operation, 77, sector, field, count);
    return request_do(front, &request);
}

/* Any number there may be, also such as do not need a table; grants as strict as they can be. */
static void test_counts(struct fixture *f, const char *protocol)
{
    static const unsigned counts[] = { 1, 2, 4, 5, 11, 12, 128, 255, 256 };
    struct blkfront_options options = { .protocol = protocol };
    struct blkfront *front = fixture_start(f, &options);
    g_autofree struct field *from = make_field(f, true), *to = make_field(f, false);

    g_assert_cmpuint(blkfront_disk(front)->max_indirect, ==, SEGMENTS);
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        size_t length = (size_t)counts[i] * GUEST_PAGE;
        blkfront_pattern(from->data, i, length, i);
        memset(to->data, 0xee, SEGMENTS * GUEST_PAGE);
        g_assert_cmpint(run(front, BLKIF_OP_WRITE, i, from, counts[i]), ==, BLKIF_RSP_OKAY);
        assert_on_disk(&f->disks[0], i, from->data, length);
        g_assert_cmpint(run(front, BLKIF_OP_READ, i, to, counts[i]), ==, BLKIF_RSP_OKAY);
        g_assert_cmpint(memcmp(to->data, from->data, length), ==, 0);
        if (counts[i] < SEGMENTS)
            g_assert_cmpuint(to->data[length], ==, 0xee);
    }
    fixture_close(front);
}

static void test_counts_native(struct fixture *f)
{
    test_counts(f, NULL);
}

static void test_counts_x86_32(struct fixture *f)
{
    test_counts(f, XEN_IO_PROTO_ABI_X86_32);
}

/* Segments of a sector or some: gathered without a gap, and scattered to where they belong. */
static void test_pieces(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);
    g_autofree uint8_t *expected = g_malloc(SEGMENTS * GUEST_PAGE);
    size_t length = 0;

    fixture_verify(f, 0, front, 0, f->disks[0].sectors); /* chunks are no neighbours any more */
    blkfront_pattern(field->data, 0, SEGMENTS * GUEST_PAGE, 5);
    for (unsigned i = 0; i < SEGMENTS; i++) {
        struct blkif_request_segment *segment = &field->table[i];
        segment->first_sect = i % 7;
        segment->last_sect = segment->first_sect + i % (SECTORS_PER_PAGE - segment->first_sect);
        size_t piece = (segment->last_sect - segment->first_sect + 1) * SECTOR;
        memcpy(expected + length,
               field->data + (size_t)i * GUEST_PAGE + segment->first_sect * SECTOR, piece);
        length += piece;
    }
    g_assert_cmpint(run(front, BLKIF_OP_WRITE, 7, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    assert_on_disk(&f->disks[0], 7, expected, length);

    g_autofree uint8_t *before = g_memdup2(field->data, SEGMENTS * GUEST_PAGE);
    for (unsigned i = 0; i < SEGMENTS; i++)
        memset(field->data + (size_t)i * GUEST_PAGE + field->table[i].first_sect * SECTOR, 0,
               (field->table[i].last_sect - field->table[i].first_sect + 1) * SECTOR);
    g_assert_cmpint(run(front, BLKIF_OP_READ, 7, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(memcmp(field->data, before, SEGMENTS * GUEST_PAGE), ==, 0);
    fixture_close(front);
}

/* More than there is memory for at a time, with requests of all kinds between them. */
static void test_full_ring(struct fixture *f, unsigned last_sector)
{
    static const struct blkfront_options options = { .ring_order = 4 };
    struct blkfront *front = fixture_start(f, &options);
    g_autofree struct field *field = make_field(f, false);
    struct pages pages = fixture_pages(f, 3, false);
    unsigned entries = blkfront_ring_entries(front);

    for (unsigned i = 0; i < SEGMENTS; i++)
        field->table[i].last_sect = last_sector;
    for (unsigned i = 0; i < entries; i++) {
        blkif_request_t request = indirect(i % 2, i, i, field, 1 + i * 37 % SEGMENTS);
        if (i % 5 == 4)
            request = request_for(BLKIF_OP_READ, i, i, &pages, 3);
        if (i % 50 == 49)
            request = request_for(BLKIF_OP_FLUSH_DISKCACHE, i, 0, &pages, 0);
        request_put(front, &request);
    }
    blkfront_push(front, 0);
    g_assert_cmpuint(request_take_all(front, entries, BLKIF_RSP_OKAY), ==, entries);
    request_expect_none(front);
    fixture_verify(f, 0, front, 0, f->disks[0].sectors);
    fixture_close(front);
}

static void test_full_ring_of_pages(struct fixture *f)
{
    test_full_ring(f, SECTORS_PER_PAGE - 1);
}

static void test_full_ring_of_sectors(struct fixture *f)
{
    test_full_ring(f, 0);
}

/* --- hostile --- */

static void test_bad_counts(struct fixture *f)
{
    static const unsigned counts[] = { 0, 257, 258, 512, 513, 4096, 32768, 65535 };
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);

    memset(field->data, 0xee, SEGMENTS * GUEST_PAGE);
    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
            g_assert_cmpint(run(front, operation, 0, field, counts[i]), ==, BLKIF_RSP_ERROR);
    }
    g_assert_cmpuint(field->data[0], ==, 0xee);
    assert_untouched(&f->disks[0], 0, f->disks[0].sectors);
    fixture_close(front);
}

/* Not indirect ones in indirect ones either. */
static void test_bad_operations(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);

    for (unsigned operation = BLKIF_OP_WRITE + 1; operation < 256; operation++)
        g_assert_cmpint(run(front, operation, 0, field, 20), ==, BLKIF_RSP_ERROR);
    assert_untouched(&f->disks[0], 0, f->disks[0].sectors);
    fixture_close(front);
}

static void test_bad_segments(struct fixture *f)
{
    static const uint8_t wrong[][2] = { { 1, 0 }, { 0, 8 }, { 8, 8 }, { 7, 255 }, { 255, 255 } };
    static const unsigned places[] = { 0, 5, 254, 255 };
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);

    for (size_t i = 0; i < G_N_ELEMENTS(wrong) * G_N_ELEMENTS(places); i++) {
        struct blkif_request_segment *segment = &field->table[places[i % G_N_ELEMENTS(places)]];
        segment->first_sect = wrong[i / G_N_ELEMENTS(places)][0];
        segment->last_sect = wrong[i / G_N_ELEMENTS(places)][1];
        for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++)
            g_assert_cmpint(run(front, operation, 0, field, SEGMENTS), ==, BLKIF_RSP_ERROR);
        segment->first_sect = 0;
        segment->last_sect = SECTORS_PER_PAGE - 1;
    }
    uint64_t end = f->disks[0].sectors, length = SEGMENTS * SECTORS_PER_PAGE;
    g_assert_cmpint(run(front, BLKIF_OP_WRITE, end - length + 1, field, SEGMENTS), ==,
                    BLKIF_RSP_ERROR);
    g_assert_cmpint(run(front, BLKIF_OP_WRITE, UINT64_MAX, field, SEGMENTS), ==, BLKIF_RSP_ERROR);
    assert_untouched(&f->disks[0], 0, end);
    g_assert_cmpint(run(front, BLKIF_OP_WRITE, end - length, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
}

/* The table's grant, then one of the data's. */
static void test_bad_grants(struct fixture *f)
{
    static const struct {
        uint16_t flags, domid;
        uint32_t frame;
    } spoilings[] = {
        { 0, 0, 0 },
        { GTF_permit_access, 5, 0 },
        { GTF_permit_access, 0, UINT32_MAX },
        { GTF_accept_transfer, 0, 0 },
    };
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);
    const uint32_t refs[] = { field->table_ref, field->refs[0], field->refs[200],
                              field->refs[255] };

    for (size_t i = 0; i < G_N_ELEMENTS(spoilings) * G_N_ELEMENTS(refs); i++) {
        struct grant_entry_v1 *entry = guest_grant_entry(f->guest, refs[i % G_N_ELEMENTS(refs)]);
        struct grant_entry_v1 good = *entry;
        unsigned how = i / G_N_ELEMENTS(refs);
        *entry = (struct grant_entry_v1){ .flags = spoilings[how].flags,
                                          .domid = spoilings[how].domid,
                                          .frame = spoilings[how].frame ? spoilings[how].frame
                                                                        : good.frame };
        g_assert_cmpint(run(front, BLKIF_OP_WRITE, 0, field, SEGMENTS), ==, BLKIF_RSP_ERROR);
        assert_untouched(&f->disks[0], 0, SEGMENTS * SECTORS_PER_PAGE);
        g_assert_cmpint(run(front, BLKIF_OP_READ, 0, field, SEGMENTS), ==, BLKIF_RSP_ERROR);
        *entry = good;
    }
    g_assert_cmpint(run(front, BLKIF_OP_READ, 0, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
}

/* References that no grant table has, in the request and in the table. */
static void test_bad_references(struct fixture *f)
{
    const uint32_t bad[] = { guest_grant_entries(f->guest), 1u << 31, UINT32_MAX };
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct field wrong = *field;
        wrong.table_ref = bad[i];
        g_assert_cmpint(run(front, BLKIF_OP_WRITE, 0, &wrong, 20), ==, BLKIF_RSP_ERROR);
        field->table[19].gref = bad[i];
        g_assert_cmpint(run(front, BLKIF_OP_WRITE, 0, field, 20), ==, BLKIF_RSP_ERROR);
        g_assert_cmpint(run(front, BLKIF_OP_WRITE, 0, field, 19), ==, BLKIF_RSP_OKAY);
        field->table[19].gref = field->refs[19];
    }
    fixture_close(front);
}

/* The table is written over while the backend looks at it: it has looked once. */
static void test_changing_table(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);
    GRand *random = g_rand_new_with_seed(20262);
    blkif_response_t response;

    for (unsigned i = 0; i < 1500; i++) {
        blkif_request_t request = indirect(i % 2, i, 0, field, 1 + i % SEGMENTS);
        request_put(front, &request);
        blkfront_push(front, 0);
        do {
            struct blkif_request_segment *segment =
                &field->table[g_rand_int_range(random, 0, SEGMENTS)];
            segment->first_sect = g_rand_int_range(random, 0, 4) ? 0 : g_rand_int(random);
            segment->last_sect = g_rand_int_range(random, 0, 4) ? 7 : g_rand_int(random);
            segment->gref = field->refs[g_rand_int_range(random, 0, SEGMENTS)];
        } while (!blkfront_take(front, 0, &response, 0));
        g_assert_cmpuint(response.id, ==, i);
    }
    request_expect_none(front);
    g_rand_free(random);
    for (unsigned i = 0; i < SEGMENTS; i++)
        field->table[i] = (struct blkif_request_segment){ field->refs[i], 0, SECTORS_PER_PAGE - 1 };
    g_assert_cmpint(run(front, BLKIF_OP_READ, 0, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
}

/* Data goes over the table that says so: what was said first counts. */
static void test_table_as_target(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);
    struct grant_entry_v1 *entry = guest_grant_entry(f->guest, field->table_ref);

    __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_SEQ_CST);
    field->table[0].gref = field->table_ref;
    g_assert_cmpint(run(front, BLKIF_OP_READ, 0, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    for (unsigned i = 1; i < SEGMENTS; i++)
        g_assert_cmpuint(*(uint64_t *)(field->data + (size_t)i * GUEST_PAGE), ==,
                         i * SECTORS_PER_PAGE);
    fixture_close(front);
}

/* The copy of the tables fails, as a call or in part: these requests fail, and nothing else. */
static void test_copy_fails(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    g_autofree struct field *field = make_field(f, false);
    const struct sim_fault faults[] = {
        { .call = "xengnttab_grant_copy", .times = 1, .error = EINVAL },
        { .call = "xengnttab_grant_copy", .times = 1, .short_by = 1 },
        { .call = "xengnttab_grant_copy", .skip = 1, .times = 1, .error = ENOMEM },
        { .call = "xengnttab_grant_copy", .skip = 1, .times = 1, .short_by = 1 },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(faults); i++) {
        for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
            sim_fault(&faults[i]);
            g_assert_cmpint(run(front, operation, 0, field, SEGMENTS), ==, BLKIF_RSP_ERROR);
            g_assert_cmpuint(sim_fault_struck(faults[i].call), ==, 1);
            sim_fault_clear();
        }
        assert_untouched(&f->disks[0], 0, SEGMENTS * SECTORS_PER_PAGE);
    }
    g_assert_cmpint(run(front, BLKIF_OP_READ, 0, field, SEGMENTS), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
}

static void add_tests(void)
{
    fixture_add_test("/disk/indirect/counts/native", test_counts_native);
    fixture_add_test("/disk/indirect/counts/x86_32", test_counts_x86_32);
    fixture_add_test("/disk/indirect/pieces", test_pieces);
    fixture_add_test("/disk/indirect/full-ring/pages", test_full_ring_of_pages);
    fixture_add_test("/disk/indirect/full-ring/sectors", test_full_ring_of_sectors);
    fixture_add_test("/disk/indirect/bad-counts", test_bad_counts);
    fixture_add_test("/disk/indirect/bad-operations", test_bad_operations);
    fixture_add_test("/disk/indirect/bad-segments", test_bad_segments);
    fixture_add_test("/disk/indirect/bad-grants", test_bad_grants);
    fixture_add_test("/disk/indirect/bad-references", test_bad_references);
    fixture_add_test("/disk/indirect/changing-table", test_changing_table);
    fixture_add_test("/disk/indirect/table-as-target", test_table_as_target);
    fixture_add_test("/disk/indirect/copy-fails", test_copy_fails);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
