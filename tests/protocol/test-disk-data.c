/*
 * The disk role's data path: every kind of request that blkif.h has, right and wrong, through a
 * real ring; what the guest reads and what is in the image are compared with what must be there.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/protocols.h>

/* The images' own content: each word of a sector is its number. */
static void assert_untouched(const struct disk_file *disk, uint64_t sector, uint64_t sectors)
{
    uint64_t words[SECTOR / sizeof(uint64_t)];
    for (uint64_t i = sector; i < sector + sectors; i++) {
        g_assert_cmpint(pread(disk->fd, words, SECTOR, i * SECTOR), ==, SECTOR);
        for (size_t j = 0; j < G_N_ELEMENTS(words); j++)
            g_assert_cmpuint(words[j], ==, i);
    }
}

static void assert_zero(const struct disk_file *disk, uint64_t sector, uint64_t sectors)
{
    uint8_t data[SECTOR], zero[SECTOR] = { 0 };
    for (uint64_t i = sector; i < sector + sectors; i++) {
        g_assert_cmpint(pread(disk->fd, data, SECTOR, i * SECTOR), ==, SECTOR);
        g_assert_cmpmem(data, SECTOR, zero, SECTOR);
    }
}

static void assert_on_disk(const struct disk_file *disk, uint64_t sector, const void *data,
                           size_t length)
{
    g_autofree uint8_t *found = g_malloc(length);
    g_assert_cmpint(pread(disk->fd, found, length, sector * SECTOR), ==, length);
    g_assert_cmpmem(found, length, data, length);
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

/* --- the ring --- */

static void test_full_ring(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    unsigned entries = blkfront_ring_entries(front);
    struct pages pages = fixture_pages(f, entries, false);

    g_assert_cmpuint(entries, ==, 32);
    blkfront_pattern(pages.data, 0, (size_t)entries * GUEST_PAGE, 1);
    for (unsigned i = 0; i < entries; i++) {
        blkif_request_t request =
            request_for(BLKIF_OP_WRITE, i, (uint64_t)i * SECTORS_PER_PAGE, &pages, 1);
        request.seg[0].gref = pages.refs[i];
        request_put(front, &request);
    }
    blkif_request_t one_more = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);
    g_assert_false(blkfront_put(front, 0, &one_more));
    blkfront_push(front, 0);
    g_assert_cmpuint(request_take_all(front, entries, BLKIF_RSP_OKAY), ==, entries);
    request_expect_none(front);
    assert_on_disk(&f->disks[0], 0, pages.data, (size_t)entries * GUEST_PAGE);
    fixture_close(front);
}

/* Several times around the ring, and around the range of its indexes. */
static void test_wrap(struct fixture *f)
{
    static const struct blkfront_options options = { .ring_start = UINT32_MAX - 100 };
    struct blkfront *front = fixture_start(f, &options);
    for (unsigned i = 0; i < 4; i++)
        fixture_verify(f, 0, front, i, f->disks[0].sectors - 4);
    fixture_close(front);
}

/* One that is answered at once before or behind one that takes its time: each gets its own. */
static void test_order(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    for (unsigned i = 0; i < 100; i++) {
        unsigned slow = i % 2;
        blkif_request_t request = request_for(BLKIF_OP_WRITE, slow, 0, &pages, 1);
        blkif_request_t wrong = request_for(77, !slow, 0, &pages, 1);
        request_put(front, slow == 0 ? &request : &wrong);
        request_put(front, slow == 0 ? &wrong : &request);
        blkfront_push(front, 0);
        for (unsigned j = 0; j < 2; j++) {
            blkif_response_t response;
            g_assert_true(blkfront_take(front, 0, &response, PATIENCE_MS));
            g_assert_cmpint(response.status, ==,
                            response.id == slow ? BLKIF_RSP_OKAY : BLKIF_RSP_EOPNOTSUPP);
            g_assert_cmpuint(response.operation, ==, response.id == slow ? BLKIF_OP_WRITE : 77);
        }
    }
    fixture_close(front);
}

/* All of them named the same: the backend must not care. */
static void test_same_id(struct fixture *f)
{
    const uint64_t id = UINT64_C(0xfedcba9876543210);
    struct blkfront *front = fixture_start(f, NULL);
    unsigned entries = blkfront_ring_entries(front);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_response_t response;

    for (unsigned i = 0; i < entries; i++) {
        blkif_request_t request = request_for(BLKIF_OP_READ, id, i, &pages, 1);
        request_put(front, &request);
    }
    blkfront_push(front, 0);
    for (unsigned i = 0; i < entries; i++) {
        g_assert_true(blkfront_take(front, 0, &response, PATIENCE_MS));
        g_assert_cmpuint(response.id, ==, id);
        g_assert_cmpint(response.status, ==, BLKIF_RSP_OKAY);
    }
    request_expect_none(front);
    fixture_close(front);
}

/* Padding and the rest of a response must not carry what is in the backend's memory (XSA-216). */
static void test_response_bytes(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    const uint8_t *slot = (uint8_t *)blkfront_ring(front, 0) + 64;

    blkif_request_t request = request_for(BLKIF_OP_READ, UINT64_MAX, 0, &pages, 1);
    memset(request.seg, 0xff, sizeof(request.seg));
    request.seg[0] = (struct blkif_request_segment){ pages.refs[0], 0, 0 };
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(slot[9], ==, 0);
    g_assert_cmpmem(slot + 12, 4, "\0\0\0\0", 4);
    fixture_close(front);
}

/*
 * A guest that has said that it wants to hear of a later response only is not disturbed (XSA-391).
 * The second response shows that the backend has decided about the first.
 */
static void test_notification(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    uint32_t *ring = blkfront_ring(front, 0); /* req_prod, req_event, rsp_prod, rsp_event */
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);

    guest_port_pending(f->guest, blkfront_port(front, 0));
    __atomic_store_n(&ring[3], 100, __ATOMIC_SEQ_CST);
    for (uint32_t i = 1; i <= 2; i++) {
        request_put(front, &request);
        blkfront_push(front, 0);
        gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
        while (__atomic_load_n(&ring[2], __ATOMIC_ACQUIRE) < i)
            g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
    g_assert_false(guest_port_pending(f->guest, blkfront_port(front, 0)));
    request_take_all(front, 1, BLKIF_RSP_OKAY);
    fixture_close(front);
}

static void test_abi(struct fixture *f, const char *protocol)
{
    struct blkfront_options options = { .protocol = protocol };
    struct blkfront *front = fixture_start(f, &options);
    struct pages pages = fixture_pages(f, 2, false);
    blkif_request_t request = request_for(BLKIF_OP_WRITE, UINT64_MAX - 5, 9, &pages, 2);

    blkfront_pattern(pages.data, 9, 2 * GUEST_PAGE, 3);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    assert_on_disk(&f->disks[0], 9, pages.data, 2 * GUEST_PAGE);
    g_assert_cmpint(blkfront_discard(front, 0, 9, 3, false), ==, BLKIF_RSP_OKAY);
    assert_zero(&f->disks[0], 9, 3);
    assert_on_disk(&f->disks[0], 12, pages.data + 3 * SECTOR, 2 * GUEST_PAGE - 3 * SECTOR);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

static void test_abi_native(struct fixture *f)
{
    test_abi(f, NULL);
}

static void test_abi_x86_64(struct fixture *f)
{
    test_abi(f, XEN_IO_PROTO_ABI_X86_64);
}

static void test_abi_x86_32(struct fixture *f)
{
    test_abi(f, XEN_IO_PROTO_ABI_X86_32);
}

static void test_abi_arm(struct fixture *f)
{
    test_abi(f, XEN_IO_PROTO_ABI_ARM);
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
    g_assert_false(disk->barrier);
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
    refuse_changes(f, &disk, VDISK_READONLY | VDISK_CDROM);
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
    fixture_close(front);
}

static void test_operations(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    for (unsigned operation = 0; operation < 256; operation++) {
        blkif_request_t request = request_for(operation, operation, 0, &pages, 1);
        bool known = operation == BLKIF_OP_READ || operation == BLKIF_OP_WRITE ||
                     operation == BLKIF_OP_FLUSH_DISKCACHE || operation == BLKIF_OP_DISCARD;
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
    fixture_add_test("/disk/data/ring/full", test_full_ring);
    fixture_add_test("/disk/data/ring/wrap", test_wrap);
    fixture_add_test("/disk/data/ring/order", test_order);
    fixture_add_test("/disk/data/ring/same-id", test_same_id);
    fixture_add_test("/disk/data/ring/response-bytes", test_response_bytes);
    fixture_add_test("/disk/data/ring/notification", test_notification);
    fixture_add_test("/disk/data/abi/native", test_abi_native);
    fixture_add_test("/disk/data/abi/x86_64", test_abi_x86_64);
    fixture_add_test("/disk/data/abi/x86_32", test_abi_x86_32);
    fixture_add_test("/disk/data/abi/arm", test_abi_arm);
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
