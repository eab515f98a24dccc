/*
 * A guest that attacks the disk role through what it shares with it: ring, grants, event channel.
 *
 * Whatever it does to its first disk, the role answers or closes that one and goes on; the second
 * disk, connected all the while, is served; and an orderly frontend can use the first one again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#include <xen/grant_table.h>

#include "tests/protocol/disk-fixture.h"

#include <string.h>

#define SEED 20261

/* Indexes of the words at the ring's start. */
enum { REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT };

static void set_word(struct blkfront *front, unsigned index, uint32_t value)
{
    uint32_t *ring = blkfront_ring(front, 0);
    __atomic_store_n(&ring[index], value, __ATOMIC_SEQ_CST);
}

/* Runs ATTACK, which begins with its own connection to the first disk and leaves none. */
static void survive(struct fixture *f, fixture_test *attack)
{
    fixture_add_disk(f, "xvda", 2 * MIB_SECTORS);
    fixture_add_disk(f, "xvdb", MIB_SECTORS);
    fixture_start_role(f);
    struct blkfront *bystander = fixture_connect(f, 1, NULL);

    attack(f);
    fixture_verify(f, 1, bystander, 0, 256);
    fixture_check_disk(f, 0);
    fixture_close(bystander);
}

/* --- the ring --- */

/* More requests than the ring holds: the backend closes the disk and says why. */
static void overflow(struct fixture *f)
{
    static const uint32_t claims[] = { 33, 34, 64, 1000, 1u << 31, UINT32_MAX - 1, UINT32_MAX };

    for (size_t i = 0; i < G_N_ELEMENTS(claims); i++) {
        struct blkfront *front = fixture_connect(f, 0, NULL);
        set_word(front, REQ_PROD, claims[i]);
        guest_port_notify(f->guest, blkfront_port(front, 0));
        fixture_expect_backend(f, 0, XenbusStateClosing);
        g_autofree char *error = fixture_backend_read(f, 0, "error");
        g_assert_nonnull(strstr(error, "more requests than it can hold"));
        fixture_close(front);
    }
}

static void test_overflow(struct fixture *f)
{
    survive(f, overflow);
}

/* The same with good requests in flight: they end before the ring is let go. */
static void overflow_in_flight(struct fixture *f)
{
    struct pages pages = fixture_pages(f, 8, false);

    for (unsigned i = 0; i < 20; i++) {
        struct blkfront *front = fixture_connect(f, 0, NULL);
        for (unsigned j = 0; j < 16; j++) {
            blkif_request_t request = request_for(BLKIF_OP_WRITE, j, j * 64, &pages, 8);
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        set_word(front, REQ_PROD, 17 + 32 + i);
        guest_port_notify(f->guest, blkfront_port(front, 0));
        fixture_expect_backend(f, 0, XenbusStateClosing);
        fixture_close(front);
    }
}

static void test_overflow_in_flight(struct fixture *f)
{
    survive(f, overflow_in_flight);
}

/* What is the backend's in the ring is written over: it must not have believed it. */
static void scribble_indexes(struct fixture *f)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_response_t response;

    for (uint32_t i = 0; i < 1000; i++) {
        blkif_request_t request = request_for(BLKIF_OP_READ, i, i, &pages, 1);
        set_word(front, REQ_EVENT, i * 7919);
        set_word(front, RSP_PROD, i); /* what it is anyway: we read it ourselves */
        request_put(front, &request);
        blkfront_push(front, 0);
        guest_port_notify(f->guest, blkfront_port(front, 0));
        g_assert_true(blkfront_take(front, 0, &response, PATIENCE_MS));
        g_assert_cmpuint(response.id, ==, i);
        g_assert_cmpint(response.status, ==, BLKIF_RSP_OKAY);
        set_word(front, RSP_PROD, i + UINT32_MAX / 2);
        set_word(front, RSP_PROD, i + 1);
    }
    fixture_close(front);
}

static void test_scribble_indexes(struct fixture *f)
{
    survive(f, scribble_indexes);
}

/* Slots of random bytes, in all three layouts: an answer each. */
static void random_slots(struct fixture *f)
{
    static const char *const protocols[] = { "x86_64-abi", "x86_32-abi", "arm-abi" };
    GRand *random = g_rand_new_with_seed(SEED);
    uint32_t slot[sizeof(blkif_request_t) / sizeof(uint32_t)];
    blkif_response_t response;

    for (size_t i = 0; i < G_N_ELEMENTS(protocols); i++) {
        struct blkfront_options options = { .protocol = protocols[i] };
        struct blkfront *front = fixture_connect(f, 0, &options);
        for (unsigned round = 0; round < 50; round++) {
            for (unsigned entry = 0; entry < blkfront_ring_entries(front); entry++) {
                for (size_t word = 0; word < G_N_ELEMENTS(slot); word++)
                    slot[word] = g_rand_int(random);
                ((uint8_t *)slot)[0] &= 7; /* rather an operation that exists */
                blkfront_put_raw(front, 0, slot, sizeof(slot));
            }
            blkfront_push(front, 0);
            for (unsigned entry = 0; entry < blkfront_ring_entries(front); entry++)
                g_assert_true(blkfront_take(front, 0, &response, PATIENCE_MS));
        }
        request_expect_none(front);
        fixture_close(front);
    }
    g_rand_free(random);
}

static void test_random_slots(struct fixture *f)
{
    survive(f, random_slots);
}

/* Where in a slot of x86_64 a test may write without directing data to who knows what page. */
static uint32_t harmless_place(GRand *random)
{
    const uint32_t segments = offsetof(blkif_request_t, seg);
    uint32_t where = g_rand_int_range(random, 0, sizeof(blkif_request_t));
    bool reference = where >= segments && (where - segments) % 8 < sizeof(grant_ref_t);
    return reference ? where + sizeof(grant_ref_t) : where;
}

/* A request is made another one while the backend looks at it: it is one or the other. */
static void changed_after_publishing(struct fixture *f)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, BLKIF_MAX_SEGMENTS_PER_REQUEST, false);
    GRand *random = g_rand_new_with_seed(SEED);
    uint8_t *slots = (uint8_t *)blkfront_ring(front, 0) + 64;
    blkif_response_t response;

    for (unsigned i = 0; i < 3000; i++) {
        blkif_request_t request = request_for(i % 2, i, 0, &pages, BLKIF_MAX_SEGMENTS_PER_REQUEST);
        request.nr_segments = 1 + i % BLKIF_MAX_SEGMENTS_PER_REQUEST;
        uint8_t *slot = slots + (i % blkfront_ring_entries(front)) * blkfront_slot_size(front);
        request_put(front, &request);
        blkfront_push(front, 0);
        do {
            __atomic_store_n(&slot[harmless_place(random)], g_rand_int(random), __ATOMIC_RELAXED);
        } while (!blkfront_take(front, 0, &response, 0));
    }
    request_expect_none(front);
    g_rand_free(random);
    fixture_close(front);
}

static void test_changed_after_publishing(struct fixture *f)
{
    survive(f, changed_after_publishing);
}

/* --- grants --- */

struct spoiling {
    uint16_t flags, domid;
    uint32_t frame;  /* 0: leave it */
    bool reads_only; /* writes to the disk may take data from it */
};

/*
 * One bad grant in the middle of a batch, and in the middle of a request: that request fails, no
 * other does, and what it should have written is not on the disk.
 */
static void spoil(struct fixture *f, const struct spoiling *spoiling)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages good = fixture_pages(f, 3, false), bad = fixture_pages(f, 3, false);
    struct grant_entry_v1 *entry = guest_grant_entry(f->guest, bad.refs[1]);

    if (spoiling->frame)
        entry->frame = spoiling->frame;
    entry->domid = spoiling->domid;
    __atomic_store_n(&entry->flags, spoiling->flags, __ATOMIC_SEQ_CST);
    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        bool fails = operation == BLKIF_OP_READ || !spoiling->reads_only;
        for (unsigned i = 0; i < 3; i++) {
            blkif_request_t request = request_for(operation, i, i * 64, i == 1 ? &bad : &good, 3);
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        g_assert_cmpuint(request_take_all(front, 3, BLKIF_RSP_OKAY), ==, fails ? 2 : 3);
    }
    fixture_close(front);
}

static void bad_grants(struct fixture *f)
{
    const uint32_t pages = guest_pages(f->guest);
    const struct spoiling spoilings[] = {
        { .flags = 0 },                                      /* revoked */
        { .flags = GTF_permit_access, .domid = 5 },          /* somebody else's */
        { .flags = GTF_permit_access, .domid = UINT16_MAX }, /* nobody's */
        { .flags = GTF_permit_access, .frame = pages },      /* outside memory */
        { .flags = GTF_permit_access, .frame = UINT32_MAX }, /* far outside */
        { .flags = GTF_accept_transfer },                    /* not for access */
        { .flags = GTF_transitive },                         /* not in version 1 */
        { .flags = GTF_permit_access | GTF_readonly, .reads_only = true },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(spoilings); i++)
        spoil(f, &spoilings[i]);
}

static void test_bad_grants(struct fixture *f)
{
    survive(f, bad_grants);
}

static void bad_references(struct fixture *f)
{
    const uint32_t entries = guest_grant_entries(f->guest);
    const uint32_t bad[] = { entries - 1, entries, entries + 1, 1u << 31, UINT32_MAX };
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 3, false);

    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
            blkif_request_t request = request_for(operation, i, 0, &pages, 3);
            request.seg[i % 3].gref = bad[i];
            g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
        }
    }
    fixture_close(front);
}

static void test_bad_references(struct fixture *f)
{
    survive(f, bad_references);
}

/* Grants end while the backend works with them: each request is answered, some way or other. */
static void revoked_in_flight(struct fixture *f)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    unsigned entries = blkfront_ring_entries(front);
    struct pages pages = fixture_pages(f, 11, false);

    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < entries; i++) {
            blkif_request_t request = request_for(i % 2, i, i * 100, &pages, 11);
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        struct grant_entry_v1 *entry = guest_grant_entry(f->guest, pages.refs[round % 11]);
        __atomic_store_n(&entry->flags, 0, __ATOMIC_SEQ_CST);
        request_take_all(front, entries, BLKIF_RSP_OKAY);
        __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_SEQ_CST);
    }
    fixture_close(front);
}

static void test_revoked_in_flight(struct fixture *f)
{
    survive(f, revoked_in_flight);
}

/* The ring itself: who has it mapped keeps it. */
static void ring_revoked(struct fixture *f)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct grant_entry_v1 *entry = guest_grant_entry(f->guest, blkfront_ring_ref(front, 0));

    uint16_t flags = __atomic_exchange_n(&entry->flags, 0, __ATOMIC_SEQ_CST);
    fixture_verify(f, 0, front, 0, 512);
    __atomic_store_n(&entry->flags, flags, __ATOMIC_SEQ_CST);
    fixture_close(front);
}

static void test_ring_revoked(struct fixture *f)
{
    survive(f, ring_revoked);
}

/* Data goes to the ring's own page, over the requests and the indexes in it. */
static void ring_as_target(struct fixture *f)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    blkif_request_t request = request_for(BLKIF_OP_READ, 0, 0, &pages, 1);

    request.seg[0].gref = blkfront_ring_ref(front, 0);
    request_put(front, &request);
    blkfront_push(front, 0);
    /* Sector 0 reads as zeros, sector 1 as ones: an index of 0, requests that are none. */
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    uint8_t *slots = (uint8_t *)blkfront_ring(front, 0) + SECTOR;
    while (__atomic_load_n(slots, __ATOMIC_ACQUIRE) != 1)
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    guest_port_notify(f->guest, blkfront_port(front, 0));
    fixture_expect_backend(f, 0, XenbusStateClosing);
    fixture_close(front);
}

static void test_ring_as_target(struct fixture *f)
{
    survive(f, ring_as_target);
}

/* --- events --- */

struct storm {
    struct guest *guest;
    uint32_t port;
    gint stop; /* atomic */
    GThread *thread;
};

static gpointer blow(gpointer opaque)
{
    struct storm *storm = opaque;
    while (!g_atomic_int_get(&storm->stop))
        guest_port_notify(storm->guest, storm->port);
    return NULL;
}

/* Without end, on the port of one disk: both disks are served. */
static void event_storm(struct fixture *f)
{
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct storm storm = { .guest = f->guest, .port = blkfront_port(front, 0) };

    storm.thread = g_thread_new("storm", blow, &storm);
    fixture_verify(f, 0, front, 0, 1024);
    unsigned third = fixture_add_disk(f, "xvdc", MIB_SECTORS);
    fixture_expect_backend(f, third, XenbusStateInitWait);
    fixture_check_disk(f, third);
    fixture_close(front);
    g_atomic_int_set(&storm.stop, 1);
    g_thread_join(storm.thread);
}

static void test_event_storm(struct fixture *f)
{
    survive(f, event_storm);
}

static void add_tests(void)
{
    fixture_add_test("/disk/hostile/ring/overflow", test_overflow);
    fixture_add_test("/disk/hostile/ring/overflow-in-flight", test_overflow_in_flight);
    fixture_add_test("/disk/hostile/ring/scribble-indexes", test_scribble_indexes);
    fixture_add_test("/disk/hostile/ring/random-slots", test_random_slots);
    fixture_add_test("/disk/hostile/ring/changed-after-publishing", test_changed_after_publishing);
    fixture_add_test("/disk/hostile/grants/bad", test_bad_grants);
    fixture_add_test("/disk/hostile/grants/bad-references", test_bad_references);
    fixture_add_test("/disk/hostile/grants/revoked-in-flight", test_revoked_in_flight);
    fixture_add_test("/disk/hostile/grants/ring-revoked", test_ring_revoked);
    fixture_add_test("/disk/hostile/grants/ring-as-target", test_ring_as_target);
    fixture_add_test("/disk/hostile/event-storm", test_event_storm);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
