/*
 * The disk role's data path: every kind of request that blkif.h has, right and wrong, through a
 * real ring; what the guest reads and what is in the image are compared with what must be there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <string.h>
#include <unistd.h>

/* A request that is wrong is refused before it comes to the medium, whose errors are logged. */
static void assert_medium_not_asked(struct fixture *f)
{
    g_assert_false(fixture_role_said(f, "the guest is told"));
}

/* --- segments --- */

/* The sectors that REQUEST names of PAGES, in order: to DATA, or from it. */
static size_t gather(const blkif_request_t *request, const struct pages *pages, uint8_t *data,
                     bool to_pages)
{
    size_t length = 0;
    for (unsigned i = 0; i < request->nr_segments; i++) {
        const struct blkif_request_segment *segment = &request->seg[i];
        size_t piece = (segment->last_sect - segment->first_sect + 1) * SECTOR;
        uint8_t *at = pages->data + (size_t)i * GUEST_PAGE + segment->first_sect * SECTOR;
        memcpy(to_pages ? at : data + length, to_pages ? data + length : at, piece);
        length += piece;
    }
    return length;
}

/* Gives the segments of REQUEST different first and last sectors, depending on SALT. */
static void vary_segments(blkif_request_t *request, unsigned salt)
{
    for (unsigned i = 0; i < request->nr_segments; i++) {
        request->seg[i].first_sect = (salt + i * 3) % SECTORS_PER_PAGE;
        request->seg[i].last_sect =
            request->seg[i].first_sect +
            (salt * 5 + i) % (SECTORS_PER_PAGE - request->seg[i].first_sect);
    }
}

static void test_segment_counts(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, BLKIF_MAX_SEGMENTS_PER_REQUEST, false);
    g_autofree uint8_t *data = g_malloc(BLKIF_MAX_SEGMENTS_PER_REQUEST * GUEST_PAGE);
    uint64_t sector = 1;

    for (unsigned count = 1; count <= BLKIF_MAX_SEGMENTS_PER_REQUEST; count++) {
        for (unsigned salt = 0; salt < 16; salt++) {
            blkif_request_t request = request_for(BLKIF_OP_WRITE, salt, sector, &pages, count);
            vary_segments(&request, salt);
            blkfront_pattern(pages.data, sector, (size_t)count * GUEST_PAGE, salt + 1);
            size_t length = gather(&request, &pages, data, false);
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
            assert_on_disk(&f->disks[0], sector, data, length);

            memset(pages.data, 0xee, (size_t)count * GUEST_PAGE);
            request.operation = BLKIF_OP_READ;
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
            g_autofree uint8_t *read = g_malloc(length);
            gather(&request, &pages, read, false);
            g_assert_cmpmem(read, length, data, length);
            sector += length / SECTOR;
        }
    }
    fixture_close(front);
}

/* Every part of a page, at a sector that is nowhere near a page's border; the rest is left alone.
 */
static void test_first_and_last(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    uint8_t expected[GUEST_PAGE];
    uint64_t sector = 3;

    for (unsigned first = 0; first < SECTORS_PER_PAGE; first++) {
        for (unsigned last = first; last < SECTORS_PER_PAGE; last++) {
            size_t length = (last - first + 1) * SECTOR;
            blkif_request_t request = request_for(BLKIF_OP_READ, 1, sector, &pages, 1);
            request.seg[0].first_sect = first;
            request.seg[0].last_sect = last;
            memset(pages.data, 0xee, GUEST_PAGE);
            memset(expected, 0xee, GUEST_PAGE);
            g_assert_cmpint(
                pread(f->disks[0].fd, expected + first * SECTOR, length, sector * SECTOR), ==,
                length);
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
            g_assert_cmpmem(pages.data, GUEST_PAGE, expected, GUEST_PAGE);

            blkfront_pattern(pages.data, sector, GUEST_PAGE, 7);
            request.operation = BLKIF_OP_WRITE;
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
            assert_on_disk(&f->disks[0], sector, pages.data + first * SECTOR, length);
            sector += length / SECTOR + 1;
            assert_untouched(&f->disks[0], sector - 1, 1);
        }
    }
    fixture_close(front);
}

static void test_bad_segments(struct fixture *f)
{
    static const struct {
        uint8_t first, last;
    } bad[] = { { 1, 0 }, { 7, 0 }, { 0, 8 }, { 8, 8 }, { 7, 8 }, { 0, 255 }, { 255, 255 } };
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 3, false);

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        for (unsigned which = 0; which < 3; which++) {
            blkif_request_t request = request_for(BLKIF_OP_WRITE, i, 0, &pages, 3);
            request.seg[which].first_sect = bad[i].first;
            request.seg[which].last_sect = bad[i].last;
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
            request.operation = BLKIF_OP_READ;
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
        }
    }
    for (unsigned count = BLKIF_MAX_SEGMENTS_PER_REQUEST + 1; count <= 255; count++) {
        blkif_request_t request = request_for(BLKIF_OP_WRITE, count, 0, &pages, 3);
        request.nr_segments = count;
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    }
    assert_untouched(&f->disks[0], 0, 3 * SECTORS_PER_PAGE);
    fixture_close(front);
}

/* --- what the disk is --- */

static void assert_node(struct fixture *f, unsigned disk, const char *node, const char *expected)
{
    g_autofree char *value = fixture_backend_read(f, disk, node);
    g_assert_cmpstr(value, ==, expected);
}

static void test_properties(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    const struct blkfront_disk *disk = blkfront_disk(front);

    g_assert_cmpuint(disk->sectors, ==, f->disks[0].sectors);
    g_assert_cmpuint(disk->sector_size, ==, SECTOR);
    g_assert_cmpuint(disk->physical_sector_size, ==, SECTOR);
    g_assert_cmpuint(disk->info, ==, 0);
    g_assert_true(disk->flush);
    g_assert_true(disk->discard);
    g_assert_false(disk->discard_secure);
    g_assert_true(disk->barrier);
    assert_node(f, 0, "discard-alignment", "0");
    fixture_close(front);
}

/* A sector that is not complete is not part of the disk. */
static void test_odd_size(struct fixture *f)
{
    fixture_add_disk(f, "xvda", 100);
    g_assert_cmpint(ftruncate(f->disks[0].fd, 99 * SECTOR + 511), ==, 0);
    fixture_start_role(f);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, 99);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 91, &pages, 1);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    request.sector_number = 92;
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    fixture_close(front);
}

static void refuse_changes(struct fixture *f, const struct toolstack_disk *disk, unsigned info)
{
    fixture_add_special_disk(f, disk, 128);
    fixture_start_role(f);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_WRITE, 1, 0, &pages, 1);
    blkif_request_t discard = request_discard(2, 0, 8, 0);

    g_assert_cmpuint(blkfront_disk(front)->info, ==, info);
    g_assert_false(blkfront_disk(front)->discard);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    request.operation = BLKIF_OP_FLUSH_DISKCACHE;
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    g_assert_cmpint(request_do(front, &discard), !=, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    assert_untouched(&f->disks[0], 0, 128);
    assert_medium_not_asked(f);

    request.operation = BLKIF_OP_READ;
    request.sector_number = 5;
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    assert_on_disk(&f->disks[0], 5, pages.data, GUEST_PAGE);
    fixture_close(front);
}

static void test_read_only(struct fixture *f)
{
    struct toolstack_disk disk = { .vdev = "xvda", .read_only = true };
    refuse_changes(f, &disk, VDISK_READONLY);
}

static void test_cdrom(struct fixture *f)
{
    struct toolstack_disk disk = { .vdev = "xvda", .cdrom = true };
    refuse_changes(f, &disk, VDISK_READONLY | VDISK_CDROM | VDISK_REMOVABLE);
}

/* --- limits --- */

static void test_end_of_disk(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 2, false);
    uint64_t end = f->disks[0].sectors;
    const uint64_t
        bad[] = { end - 7,        end - 1,           end,
                  end + 1,        UINT64_MAX,        UINT64_MAX - 7,
                  UINT64_MAX - 8, UINT64_C(1) << 63, UINT64_C(1) << 55 /* times 512 it is 0 */ };

    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        blkif_request_t request = request_for(operation, 0, end - 8, &pages, 1);
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
            request = request_for(operation, i, bad[i], &pages, 1);
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
        }
        request = request_for(operation, 0, end - 15, &pages, 2);
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    }
    assert_untouched(&f->disks[0], 0, 16);
    struct blkif_request_segment one = { pages.refs[0], 3, 3 };
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, end - 1, &pages, 1);
    request.seg[0] = one;
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    assert_medium_not_asked(f);
    fixture_close(front);
}

static void test_operations(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    for (unsigned operation = 0; operation < 256; operation++) {
        blkif_request_t request = request_for(operation, operation, 0, &pages, 1);
        bool known = operation == BLKIF_OP_READ || operation == BLKIF_OP_WRITE ||
                     operation == BLKIF_OP_WRITE_BARRIER || operation == BLKIF_OP_FLUSH_DISKCACHE ||
                     operation == BLKIF_OP_DISCARD || operation == BLKIF_OP_INDIRECT;
        if (!known)
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_EOPNOTSUPP);
    }
    blkif_request_t empty = request_for(BLKIF_OP_READ, 0, 0, &pages, 0);
    g_assert_cmpint(request_do(front, &empty), ==, BLKIF_RSP_ERROR);
    empty.operation = BLKIF_OP_WRITE;
    g_assert_cmpint(request_do(front, &empty), ==, BLKIF_RSP_ERROR);
    assert_untouched(&f->disks[0], 0, 8);
    fixture_close(front);
}

/* --- flush and discard --- */

static void test_flush_with_data(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 4, true);
    blkif_request_t request = request_for(BLKIF_OP_FLUSH_DISKCACHE, 4, 21, &pages, 4);

    blkfront_pattern(pages.data, 21, 4 * GUEST_PAGE, 1);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    assert_on_disk(&f->disks[0], 21, pages.data, 4 * GUEST_PAGE);

    /* An empty flush has no place on the disk: what is in the field does not matter. */
    request = request_for(BLKIF_OP_FLUSH_DISKCACHE, 5, UINT64_MAX, &pages, 0);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
}

static void test_discard(struct fixture *f)
{
    static const struct {
        uint64_t sector, sectors;
    } ranges[] = { { 1, 1 }, { 7, 2 }, { 17, 30 }, { 64, 8 }, { 101, 999 }, { 2048, 4096 } };
    struct blkfront *front = fixture_start(f, NULL);
    const struct disk_file *disk = &f->disks[0];

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++) {
        uint64_t sector = ranges[i].sector, end = sector + ranges[i].sectors;
        g_assert_cmpint(blkfront_discard(front, 0, sector, ranges[i].sectors, false), ==,
                        BLKIF_RSP_OKAY);
        assert_zero(disk, sector, ranges[i].sectors);
        assert_untouched(disk, sector - 1, 1);
        assert_untouched(disk, end, 1);
    }
    g_assert_cmpint(blkfront_discard(front, 0, 0, disk->sectors, false), ==, BLKIF_RSP_OKAY);
    assert_zero(disk, 0, disk->sectors);
    g_assert_cmpint(lseek(disk->fd, 0, SEEK_END), ==, disk->sectors * SECTOR);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

static void test_bad_discard(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    const struct disk_file *disk = &f->disks[0];
    const struct {
        uint64_t sector, sectors;
    } ranges[] = { { 0, 0 },
                   { 0, disk->sectors + 1 },
                   { disk->sectors, 1 },
                   { disk->sectors - 1, 2 },
                   { 1, UINT64_MAX },
                   { UINT64_MAX, 1 },
                   { UINT64_MAX, 2 },
                   { UINT64_C(1) << 55, 1 },
                   { 0, UINT64_C(1) << 55 } };

    for (size_t i = 0; i < G_N_ELEMENTS(ranges); i++)
        g_assert_cmpint(blkfront_discard(front, 0, ranges[i].sector, ranges[i].sectors, false), ==,
                        BLKIF_RSP_ERROR);
    g_assert_cmpint(blkfront_discard(front, 0, 0, 8, true), ==, BLKIF_RSP_EOPNOTSUPP);
    assert_untouched(disk, 0, disk->sectors);
    assert_medium_not_asked(f);
    fixture_close(front);
}

static void test_no_discard(struct fixture *f)
{
    static const char *const extra[] = { "discard-enable", "0", NULL };
    struct toolstack_disk disk = { .vdev = "xvda", .extra = extra };
    fixture_add_special_disk(f, &disk, 128);
    fixture_start_role(f);
    struct blkfront *front = fixture_connect(f, 0, NULL);

    assert_node(f, 0, "feature-discard", NULL);
    g_assert_cmpint(blkfront_discard(front, 0, 0, 8, false), ==, BLKIF_RSP_EOPNOTSUPP);
    assert_untouched(&f->disks[0], 0, 128);
    fixture_close(front);
}

/* --- the medium --- */

/* The image becomes shorter under the disk: an error where it is gone, data where it is not. */
static void test_truncated(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct disk_file *disk = &f->disks[0];
    struct pages pages = fixture_pages(f, 2, false);
    uint64_t half = disk->sectors / 2;

    g_assert_cmpint(ftruncate(disk->fd, half * SECTOR), ==, 0);
    for (unsigned i = 0; i < 100; i++) {
        blkif_request_t request = request_for(BLKIF_OP_READ, i, half + i * 8, &pages, 1);
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    }
    memset(pages.data, 0xee, 2 * GUEST_PAGE);
    blkif_request_t across = request_for(BLKIF_OP_READ, 1, half - 8, &pages, 2);
    g_assert_cmpint(request_do(front, &across), ==, BLKIF_RSP_ERROR);
    blkif_request_t good = request_for(BLKIF_OP_READ, 2, half - 8, &pages, 1);
    g_assert_cmpint(request_do(front, &good), ==, BLKIF_RSP_OKAY);
    assert_on_disk(disk, half - 8, pages.data, GUEST_PAGE);

    g_assert_cmpint(ftruncate(disk->fd, disk->sectors * SECTOR), ==, 0);
    fixture_verify(f, 0, front, half - 100, 200);
    fixture_close(front);
    g_autofree char *log = NULL;
    g_assert_true(g_file_get_contents(f->log, &log, NULL, NULL));
    g_assert_nonnull(strstr(log, "further errors of this disk are not logged"));
    g_assert_null(strstr(strstr(log, "further errors") + 1, "further errors"));
}

static void add_tests(void)
{
    fixture_add_test("/disk/data/segments/counts", test_segment_counts);
    fixture_add_test("/disk/data/segments/first-and-last", test_first_and_last);
    fixture_add_test("/disk/data/segments/bad", test_bad_segments);
    fixture_add_test("/disk/data/properties", test_properties);
    fixture_add_test("/disk/data/odd-size", test_odd_size);
    fixture_add_test("/disk/data/read-only", test_read_only);
    fixture_add_test("/disk/data/cdrom", test_cdrom);
    fixture_add_test("/disk/data/end-of-disk", test_end_of_disk);
    fixture_add_test("/disk/data/operations", test_operations);
    fixture_add_test("/disk/data/flush-with-data", test_flush_with_data);
    fixture_add_test("/disk/data/discard/ranges", test_discard);
    fixture_add_test("/disk/data/discard/bad", test_bad_discard);
    fixture_add_test("/disk/data/discard/off", test_no_discard);
    fixture_add_test("/disk/data/truncated", test_truncated);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
