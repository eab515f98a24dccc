/*
 * The Xen libraries fail under the disk role: one call at a time, each way it can.  The guest or
 * the administrator is told, the role does not crash, and it recovers when the fault is over.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <string.h>

static void set_fault(const char *call, int error)
{
    struct sim_fault fault = { .call = call, .times = 1, .error = error };
    sim_fault(&fault);
}

static void assert_struck(const char *call, unsigned times)
{
    g_assert_cmpuint(sim_fault_struck(call), ==, times);
    sim_fault_clear();
}

/* --- connecting --- */

/* A connection for which CALL fails is refused with WORDS; the next one is good. */
static void refuse_once(struct fixture *f, const char *call, int error, const char *words)
{
    g_autofree char *reason = NULL;

    set_fault(call, error);
    struct blkfront *front = blkfront_connect(f->guest, f->disks[0].devid, NULL, &reason);
    g_assert_null(front);
    assert_struck(call, 1);
    if (!strstr(reason, words) || !strstr(reason, g_strerror(error)))
        g_error("%s failed, and the guest was told: %s", call, reason);
    fixture_check_disk(f, 0);
}

static void test_connect(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    fixture_close(front);
    refuse_once(f, "xengnttab_open", EMFILE, "cannot open the grant device");
    refuse_once(f, "xengnttab_map_domain_grant_refs", ENOMEM, "cannot map");
    refuse_once(f, "xenevtchn_open", ENFILE, "cannot open event channels");
    refuse_once(f, "xenevtchn_bind_interdomain", ENOSPC, "cannot bind");
}

/* The pages of the ring are mapped all or not at all. */
static void test_map_short(struct fixture *f)
{
    struct sim_fault fault = { .call = "xengnttab_map_domain_grant_refs",
                               .times = 1,
                               .short_by = 1 };
    struct blkfront *front = fixture_start(f, NULL);
    fixture_close(front);

    sim_fault(&fault);
    g_assert_null(blkfront_connect(f->guest, f->disks[0].devid, NULL, NULL));
    assert_struck(fault.call, 1);
    fixture_check_disk(f, 0);
}

/* --- copying --- */

/* The call fails as a whole: all its requests are answered as errors, no write is done. */
static void test_copy_fails(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 4, false);

    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        blkif_request_t request = request_for(operation, 7, 64, &pages, 4);
        memset(pages.data, 0xee, 4 * GUEST_PAGE);
        set_fault("xengnttab_grant_copy", EINVAL);
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
        assert_struck("xengnttab_grant_copy", 1);
        request.operation = BLKIF_OP_READ;
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
        g_assert_cmpuint(*(uint64_t *)pages.data, ==, 64); /* as the image was made */
    }
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* Some copies of a batch fail: the requests that they belong to fail, and only these. */
static void test_copy_short(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 2, false);

    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        for (unsigned short_by = 1; short_by <= 3; short_by++) {
            struct sim_fault fault = { .call = "xengnttab_grant_copy",
                                       .times = 1,
                                       .short_by = short_by };
            blkif_request_t request = request_for(operation, 0, 64, &pages, 2);
            sim_fault(&fault);
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
            assert_struck(fault.call, 1);
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
        }
    }
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* Half of the copies fail for a while, under a full ring: each request is answered. */
static void test_copy_fails_often(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    unsigned entries = blkfront_ring_entries(front), good = 0;
    struct pages pages = fixture_pages(f, 3, false);

    for (unsigned round = 0; round < 50; round++) {
        struct sim_fault fault = { .call = "xengnttab_grant_copy", .times = 1, .short_by = round };
        sim_fault(&fault);
        for (unsigned i = 0; i < entries; i++) {
            blkif_request_t request = request_for(i % 2, i, i * 32, &pages, 3);
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        good += request_take_all(front, entries, BLKIF_RSP_OKAY);
        sim_fault_clear();
    }
    g_assert_cmpuint(good, <, 50 * entries);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* Slow copies: the guest closes and comes back meanwhile. */
static void test_copy_slow(struct fixture *f)
{
    struct sim_fault fault = { .call = "xengnttab_grant_copy",
                               .times = UINT32_MAX,
                               .delay_us = 2000 };
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    sim_fault(&fault);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned j = 0; j < blkfront_ring_entries(front); j++) {
            blkif_request_t request = request_for(j % 2, j, j * 8, &pages, 1);
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        fixture_close(front);
        front = fixture_connect(f, 0, NULL);
    }
    sim_fault_clear();
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* --- events --- */

/*
 * xenstored has ports too.  It is done with the guest's when it has answered the toolstack a few
 * times; then the next call that strikes is the role's.
 */
static void set_port_fault(struct fixture *f, const char *call)
{
    for (unsigned i = 0; i < 4; i++)
        g_free(fixture_backend_read(f, 0, "state"));
    set_fault(call, EIO);
}

static void await_struck(const char *call)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (sim_fault_struck(call) == 0)
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    sim_fault_clear();
}

/* A notification is lost: the next one brings what it would have told. */
static void test_notify_fails(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 1, 0, &pages, 1);
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    blkif_response_t response;

    set_port_fault(f, "xenevtchn_notify");
    request_put(front, &request);
    blkfront_push(front, 0);
    while (!blkfront_take(front, 0, &response, 0))
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    g_assert_cmpint(response.status, ==, BLKIF_RSP_OKAY);
    sim_fault_clear();
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* Looking for the port fails once: it is looked for again. */
static void test_pending_fails(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    for (unsigned i = 0; i < 20; i++) {
        blkif_request_t request = request_for(BLKIF_OP_READ, i, i, &pages, 1);
        set_port_fault(f, "xenevtchn_pending");
        guest_port_notify(f->guest, blkfront_port(front, 0));
        await_struck("xenevtchn_pending");
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    }
    fixture_close(front);
}

/* A port that stays masked is deaf; the next connection has another one. */
static void test_unmask_fails(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);

    set_port_fault(f, "xenevtchn_unmask");
    guest_port_notify(f->guest, blkfront_port(front, 0));
    await_struck("xenevtchn_unmask");
    fixture_close(front);
    fixture_check_disk(f, 0);
}

static void add_tests(void)
{
    fixture_add_test("/disk/faults/connect", test_connect);
    fixture_add_test("/disk/faults/map-short", test_map_short);
    fixture_add_test("/disk/faults/copy/fails", test_copy_fails);
    fixture_add_test("/disk/faults/copy/short", test_copy_short);
    fixture_add_test("/disk/faults/copy/fails-often", test_copy_fails_often);
    fixture_add_test("/disk/faults/copy/slow", test_copy_slow);
    fixture_add_test("/disk/faults/notify", test_notify_fails);
    fixture_add_test("/disk/faults/pending", test_pending_fails);
    fixture_add_test("/disk/faults/unmask", test_unmask_fails);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
