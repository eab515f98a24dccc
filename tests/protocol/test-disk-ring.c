/*
 * The disk role and the shared ring: indexes, responses, notification, and the layouts of all ABIs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <string.h>
#include <xen/io/protocols.h>

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

/*
 * A guest that asks again as soon as it sees the answer, just when the backend goes to sleep: it
 * does not notify if the backend has not asked for that yet, so the backend has to look again.
 */
static void test_ping_pong(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    uint32_t *ring = blkfront_ring(front, 0); /* req_prod, req_event, rsp_prod, rsp_event */
    blkif_request_t request = { .operation = 77 };
    blkif_response_t response;

    for (uint32_t i = 0; i < 20000; i++) {
        gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
        request_put(front, &request);
        blkfront_push(front, 0);
        while (__atomic_load_n(&ring[2], __ATOMIC_ACQUIRE) == i) {
            if (g_get_monotonic_time() > end)
                g_error("the backend sleeps with a request on its ring (round %u)", i);
        }
        g_assert_true(blkfront_take(front, 0, &response, 0));
    }
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

/* --- layouts --- */

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

static void add_tests(void)
{
    fixture_add_test("/disk/ring/full", test_full_ring);
    fixture_add_test("/disk/ring/wrap", test_wrap);
    fixture_add_test("/disk/ring/ping-pong", test_ping_pong);
    fixture_add_test("/disk/ring/order", test_order);
    fixture_add_test("/disk/ring/same-id", test_same_id);
    fixture_add_test("/disk/ring/response-bytes", test_response_bytes);
    fixture_add_test("/disk/ring/notification", test_notification);
    fixture_add_test("/disk/ring/abi/native", test_abi_native);
    fixture_add_test("/disk/ring/abi/x86_64", test_abi_x86_64);
    fixture_add_test("/disk/ring/abi/x86_32", test_abi_x86_32);
    fixture_add_test("/disk/ring/abi/arm", test_abi_arm);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
