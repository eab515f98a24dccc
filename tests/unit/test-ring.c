/*
 * The shared ring against a hostile guest, and against Xen's own macros: the frontend here is
 * written with xen/io/ring.h, so that layout and notification rules are checked against the
 * specification and not against our own belief.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <stdint.h>
#include <string.h>
#define mb() __sync_synchronize()
#define wmb() __sync_synchronize()
#include <xen/io/ring.h>
#include <xen/io/blkif.h>
#include <xen/io/protocols.h>

#include "pvbackends/disk/ring.h"

#define PAGE 4096

struct fixture {
    uint8_t *page;
    blkif_front_ring_t front; /* x86_64's layout is the compiler's own here */
    struct disk_ring ring;
};

static void set_up(struct fixture *f, gconstpointer data)
{
    f->page = g_aligned_alloc0(1, PAGE, PAGE);
    blkif_sring_t *shared = (blkif_sring_t *)f->page;
    SHARED_RING_INIT(shared);
    FRONT_RING_INIT(&f->front, shared, PAGE);
    disk_ring_init(&f->ring, f->page, PAGE, disk_abi_find(XEN_IO_PROTO_ABI_X86_64));
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_aligned_free(f->page);
}

static bool front_put(struct fixture *f, uint64_t id)
{
    int notify;
    blkif_request_t *request = RING_GET_REQUEST(&f->front, f->front.req_prod_pvt);
    memset(request, 0, sizeof(*request));
    request->operation = BLKIF_OP_WRITE;
    request->id = id;
    f->front.req_prod_pvt++;
    RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&f->front, notify);
    return notify;
}

static void test_entries(struct fixture *f, gconstpointer data)
{
    g_assert_cmpuint(f->ring.entries, ==, RING_SIZE(&f->front));
    g_assert_cmpuint(f->ring.abi->slot_size, ==, sizeof(union blkif_sring_entry));
    /* 32-bit x86: 4-byte alignment, and still 32 slots in a page. */
    disk_ring_init(&f->ring, f->page, PAGE, disk_abi_find(XEN_IO_PROTO_ABI_X86_32));
    g_assert_cmpuint(f->ring.entries, ==, 32);
    disk_ring_init(&f->ring, f->page, 16 * PAGE, disk_abi_find(XEN_IO_PROTO_ABI_X86_64));
    g_assert_cmpuint(f->ring.entries, ==, 512);
}

static void test_round_trip(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    for (uint64_t id = 0; id < 1000; id++) {
        bool notify = front_put(f, id << 32 | 7);
        g_assert_true(notify);
        g_assert_cmpint(disk_ring_pending(&f->ring), ==, 1);
        disk_ring_take(&f->ring, slot);
        g_assert_cmpuint(((blkif_request_t *)slot)->id, ==, id << 32 | 7);
        g_assert_cmpint(disk_ring_pending(&f->ring), ==, 0);

        disk_ring_respond(&f->ring, id << 32 | 7, BLKIF_OP_WRITE, -1);
        g_assert_false(RING_HAS_UNCONSUMED_RESPONSES(&f->front));
        g_assert_true(disk_ring_publish(&f->ring));
        g_assert_true(RING_HAS_UNCONSUMED_RESPONSES(&f->front));
        blkif_response_t *response = RING_GET_RESPONSE(&f->front, f->front.rsp_cons);
        g_assert_cmpuint(response->id, ==, id << 32 | 7);
        g_assert_cmpint(response->operation, ==, BLKIF_OP_WRITE);
        g_assert_cmpint(response->status, ==, -1);
        f->front.rsp_cons++;
        f->front.sring->rsp_event = f->front.rsp_cons + 1;
        g_assert_false(disk_ring_arm(&f->ring));
    }
}

/* Taken, left for later, and taken once more: what is in the slot by then. */
static void test_put_back(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    front_put(f, 5);
    disk_ring_take(&f->ring, slot);
    disk_ring_put_back(&f->ring);
    g_assert_cmpint(disk_ring_pending(&f->ring), ==, 1);
    g_assert_true(disk_ring_arm(&f->ring));
    RING_GET_REQUEST(&f->front, 0)->id = 6;
    disk_ring_take(&f->ring, slot);
    g_assert_cmpuint(((blkif_request_t *)slot)->id, ==, 6);
    g_assert_cmpint(disk_ring_pending(&f->ring), ==, 0);
}

/* XSA-391: neither a notification too few nor one that was not asked for. */
static void test_notifications(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    for (int i = 0; i < 8; i++)
        front_put(f, i);
    for (int i = 0; i < 8; i++)
        disk_ring_take(&f->ring, slot);
    f->front.sring->rsp_event = 4; /* wake me with the fourth */
    for (int i = 1; i <= 8; i++) {
        disk_ring_respond(&f->ring, i, BLKIF_OP_READ, 0);
        g_assert_cmpint(disk_ring_publish(&f->ring), ==, i == 4);
        g_assert_false(disk_ring_publish(&f->ring));
    }
    /* Not armed: the frontend need not notify us; armed: it must. */
    g_assert_false(disk_ring_arm(&f->ring));
    g_assert_true(front_put(f, 9));
    g_assert_false(front_put(f, 10));
    g_assert_true(disk_ring_arm(&f->ring)); /* has work: do not sleep */
}

static void test_indexes_wrap(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    uint32_t start = UINT32_MAX - 3;
    blkif_sring_t *shared = f->front.sring;
    shared->req_prod = shared->rsp_prod = start;
    shared->rsp_event = shared->req_event = start + 1;
    f->front.req_prod_pvt = f->front.rsp_cons = start;
    disk_ring_init(&f->ring, f->page, PAGE, f->ring.abi);
    for (uint32_t i = 0; i < 16; i++) {
        g_assert_true(front_put(f, i));
        g_assert_cmpint(disk_ring_pending(&f->ring), ==, 1);
        disk_ring_take(&f->ring, slot);
        disk_ring_respond(&f->ring, i, 0, 0);
        g_assert_true(disk_ring_publish(&f->ring));
        shared->rsp_event = start + i + 2;
        g_assert_false(disk_ring_arm(&f->ring));
    }
}

static void test_too_many_requests(struct fixture *f, gconstpointer data)
{
    blkif_sring_t *shared = f->front.sring;
    static const uint32_t bad[] = { 33, 1000, 0x7fffffff, 0x80000000, UINT32_MAX };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        shared->req_prod = bad[i];
        g_assert_cmpint(disk_ring_pending(&f->ring), ==, -1);
        g_assert_true(disk_ring_arm(&f->ring)); /* never sleep on a broken ring unnoticed */
    }
    shared->req_prod = 32;
    g_assert_cmpint(disk_ring_pending(&f->ring), ==, 32);
}

/* More than the ring holds, counted from the responses that are still to come. */
static void test_overrun_of_unanswered(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    for (int i = 0; i < 32; i++)
        front_put(f, i);
    for (int i = 0; i < 32; i++)
        disk_ring_take(&f->ring, slot);
    f->front.sring->req_prod = 33;
    g_assert_cmpint(disk_ring_pending(&f->ring), ==, -1);
}

static void test_guest_cannot_move_us(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    front_put(f, 1);
    disk_ring_take(&f->ring, slot);
    f->front.sring->rsp_prod = 0x12345678; /* ours to write; never read back */
    f->front.sring->req_event = 0x12345678;
    disk_ring_respond(&f->ring, 1, 0, 0);
    disk_ring_publish(&f->ring);
    g_assert_cmpuint(f->front.sring->rsp_prod, ==, 1);
    g_assert_cmpint(disk_ring_pending(&f->ring), ==, 0);
}

/* XSA-155: what the guest does to a slot after it was taken changes nothing. */
static void test_slot_changes_after_take(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX], before[DISK_SLOT_MAX];
    front_put(f, 42);
    disk_ring_take(&f->ring, slot);
    memcpy(before, slot, sizeof(slot));
    memset(RING_GET_REQUEST(&f->front, 0), 0xff, sizeof(blkif_request_t));
    g_assert_cmpmem(slot, sizeof(blkif_request_t), before, sizeof(blkif_request_t));
}

/* XSA-216: no byte of a response but its three fields is ours. */
static void test_response_leaks_nothing(struct fixture *f, gconstpointer data)
{
    uint8_t slot[DISK_SLOT_MAX];
    front_put(f, 1);
    disk_ring_take(&f->ring, slot);
    uint8_t *bytes = (uint8_t *)RING_GET_RESPONSE(&f->front, 0);
    memset(bytes, 0xaa, sizeof(blkif_response_t));
    disk_ring_respond(&f->ring, 1, 2, 3);
    static const uint8_t expected[16] = { [0] = 1, [8] = 2, [10] = 3 };
    g_assert_cmpmem(bytes, sizeof(blkif_response_t), expected, sizeof(expected));
}

static void test_32_bit_layout(struct fixture *f, gconstpointer data)
{
    /* What a 32-bit compiler makes of blkif.h, spelt out with explicit packing. */
    struct __attribute__((packed, aligned(4))) request_32 {
        uint8_t operation, nr_segments;
        uint16_t handle;
        uint64_t id, sector_number;
        struct blkif_request_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
    };
    struct __attribute__((packed, aligned(4))) response_32 {
        uint64_t id;
        uint8_t operation, pad;
        int16_t status;
    };
    const struct disk_abi *abi = disk_abi_find(XEN_IO_PROTO_ABI_X86_32);
    g_assert_cmpuint(abi->slot_size, ==, sizeof(struct request_32));
    g_assert_cmpuint(abi->id, ==, offsetof(struct request_32, id));
    g_assert_cmpuint(abi->sector, ==, offsetof(struct request_32, sector_number));
    g_assert_cmpuint(abi->segments, ==, offsetof(struct request_32, seg));
    g_assert_cmpuint(abi->response_size, ==, sizeof(struct response_32));

    const struct disk_abi *abi64 = disk_abi_find(NULL);
    g_assert_cmpuint(abi64->slot_size, ==, sizeof(struct blkif_request));
    g_assert_cmpuint(abi64->id, ==, offsetof(struct blkif_request, id));
    g_assert_cmpuint(abi64->sector, ==, offsetof(struct blkif_request, sector_number));
    g_assert_cmpuint(abi64->segments, ==, offsetof(struct blkif_request, seg));
    g_assert_cmpuint(abi64->segments, ==, offsetof(struct blkif_request_discard, nr_sectors));
    g_assert_cmpuint(abi64->response_size, ==, sizeof(struct blkif_response));
    g_assert_null(disk_abi_find("x86_16-abi"));
    g_assert_null(disk_abi_find(""));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function)                                                                        \
    g_test_add("/ring/" name, struct fixture, NULL, set_up, function, tear_down)
    ADD("entries", test_entries);
    ADD("round-trip", test_round_trip);
    ADD("put-back", test_put_back);
    ADD("notifications", test_notifications);
    ADD("indexes-wrap", test_indexes_wrap);
    ADD("too-many-requests", test_too_many_requests);
    ADD("overrun-of-unanswered", test_overrun_of_unanswered);
    ADD("guest-cannot-move-us", test_guest_cannot_move_us);
    ADD("slot-changes-after-take", test_slot_changes_after_take);
    ADD("response-leaks-nothing", test_response_leaks_nothing);
    ADD("layouts", test_32_bit_layout);
    return g_test_run();
}
