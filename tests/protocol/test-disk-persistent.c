/*
 * The disk role and frontends that promise to use the same grants always: pages are mapped once,
 * not too many, and let go with the connection; a frontend that does not keep the promise harms
 * nobody but itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <string.h>
#include <xen/grant_table.h>

/* Of a ring of one page. */
#define MAPPED_MAX (32 * BLKIF_MAX_SEGMENTS_PER_REQUEST)

#define COPY "xengnttab_grant_copy"
#define MAP "xengnttab_map_domain_grant_refs"

static struct blkfront *start(struct fixture *f, const struct blkfront_options *options)
{
    static const struct blkfront_options plain = { .persistent = true };
    f->options[0] = "persistent=on";
    struct blkfront *front = fixture_start(f, options ? options : &plain);
    g_assert_true(blkfront_disk(front)->persistent);
    return front;
}

/* From now on every call of CALL fails, and is counted by sim_fault_struck(). */
static void let_fail(const char *call)
{
    struct sim_fault fault = { .call = call, .times = UINT16_MAX, .error = EINVAL };
    sim_fault(&fault);
}

static bool is_mapped(struct fixture *f, uint32_t ref)
{
    const struct grant_entry_v1 *entry = guest_grant_entry(f->guest, ref);
    return __atomic_load_n(&entry->flags, __ATOMIC_SEQ_CST) & GTF_writing;
}

static int one_page(struct blkfront *front, uint8_t operation, uint64_t sector, uint32_t ref)
{
    struct pages page = { .refs = { ref } };
    blkif_request_t request = request_for(operation, ref, sector, &page, 1);
    return request_do(front, &request);
}

/* Mapped at the first use; after that nothing is mapped any more, and nothing copied by Xen. */
static void test_mapped_once(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct pages pages = fixture_pages(f, 11, false);
    blkif_request_t request = request_for(BLKIF_OP_WRITE, 1, 8, &pages, 11);

    for (unsigned i = 0; i < 11; i++)
        g_assert_false(is_mapped(f, pages.refs[i]));
    blkfront_pattern(pages.data, 8, 11 * GUEST_PAGE, 1);
    let_fail(COPY);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    let_fail(MAP);
    for (unsigned i = 0; i < 11; i++)
        g_assert_true(is_mapped(f, pages.refs[i]));
    for (unsigned i = 0; i < 100; i++) {
        blkfront_pattern(pages.data, 8, 11 * GUEST_PAGE, i);
        request.operation = BLKIF_OP_WRITE;
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
        assert_on_disk(&f->disks[0], 8, pages.data, 11 * GUEST_PAGE);
        memset(pages.data, 0xee, 11 * GUEST_PAGE);
        request.operation = BLKIF_OP_READ;
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
        assert_on_disk(&f->disks[0], 8, pages.data, 11 * GUEST_PAGE);
    }
    g_assert_cmpuint(sim_fault_struck(COPY), ==, 0);
    g_assert_cmpuint(sim_fault_struck(MAP), ==, 0);
    sim_fault_clear();
    fixture_close(front);
    for (unsigned i = 0; i < 11; i++)
        g_assert_true(guest_ungrant(f->guest, pages.refs[i]));
}

/* Not unless both say so. */
static void test_not_asked_for(struct fixture *f)
{
    static const struct blkfront_options options = { .persistent = false };
    struct blkfront *front = start(f, &options);
    struct pages pages = fixture_pages(f, 1, false);

    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_true(guest_ungrant(f->guest, pages.refs[0]));
    fixture_close(front);
}

static void test_not_offered(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);

    g_assert_false(blkfront_disk(front)->persistent);
    fixture_close(front);
    fixture_set(f, 0, "feature-persistent", "1");
    front = fixture_connect(f, 0, NULL);
    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_true(guest_ungrant(f->guest, pages.refs[0]));
    fixture_close(front);
}

/* --- more pages than are kept --- */

struct crowd {
    uint8_t *data;
    unsigned count;
    uint32_t *refs;
};

static struct crowd make_crowd(struct fixture *f, unsigned count)
{
    struct crowd crowd = { guest_alloc(f->guest, count), count, g_new(uint32_t, count) };
    for (unsigned i = 0; i < count; i++)
        crowd.refs[i] = guest_grant(f->guest, 0, crowd.data + (size_t)i * GUEST_PAGE, false);
    return crowd;
}

static unsigned count_mapped(struct fixture *f, const struct crowd *crowd)
{
    unsigned mapped = 0;
    for (unsigned i = 0; i < crowd->count; i++)
        mapped += is_mapped(f, crowd->refs[i]);
    return mapped;
}

/* What was not used for the longest time makes room. */
static void test_least_recently_used(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct crowd crowd = make_crowd(f, MAPPED_MAX + 3);

    for (unsigned i = 0; i < MAPPED_MAX; i++) {
        g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, crowd.refs[i]), ==, BLKIF_RSP_OKAY);
        g_assert_true(is_mapped(f, crowd.refs[i]));
    }
    g_assert_cmpuint(count_mapped(f, &crowd), ==, MAPPED_MAX);
    one_page(front, BLKIF_OP_READ, 0, crowd.refs[0]);
    for (unsigned i = 0; i < 3; i++) {
        one_page(front, BLKIF_OP_READ, 0, crowd.refs[MAPPED_MAX + i]);
        g_assert_true(is_mapped(f, crowd.refs[MAPPED_MAX + i]));
        g_assert_true(is_mapped(f, crowd.refs[0]));
        g_assert_false(is_mapped(f, crowd.refs[1 + i]));
        g_assert_true(is_mapped(f, crowd.refs[2 + i]));
        g_assert_cmpuint(count_mapped(f, &crowd), ==, MAPPED_MAX);
    }
    fixture_close(front);
    g_assert_cmpuint(count_mapped(f, &crowd), ==, 0);
    g_free(crowd.refs);
}

/* All of them again and again, in full rings: most are copied, and everything is where it should.
 */
static void test_too_many_pages(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct crowd crowd = make_crowd(f, 2 * MAPPED_MAX);

    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 32; i++) {
            unsigned first = (round * 32 + i) * 11 % (crowd.count - 11);
            blkif_request_t request = { .operation = BLKIF_OP_READ,
                                        .nr_segments = 11,
                                        .id = i,
                                        .sector_number = first * SECTORS_PER_PAGE };
            for (unsigned j = 0; j < 11; j++)
                request.seg[j] = (struct blkif_request_segment){ crowd.refs[first + j], 0, 7 };
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        g_assert_cmpuint(request_take_all(front, 32, BLKIF_RSP_OKAY), ==, 32);
        g_assert_cmpuint(count_mapped(f, &crowd), <=, MAPPED_MAX);
        for (unsigned i = 0; i < 32; i++) {
            unsigned first = (round * 32 + i) * 11 % (crowd.count - 11);
            uint8_t *data = crowd.data + (size_t)first * GUEST_PAGE;
            assert_on_disk(&f->disks[0], first * SECTORS_PER_PAGE, data, 11 * GUEST_PAGE);
        }
        memset(crowd.data, 0xee, (size_t)crowd.count * GUEST_PAGE);
    }
    g_assert_cmpuint(count_mapped(f, &crowd), ==, MAPPED_MAX);
    fixture_close(front);
    g_free(crowd.refs);
}

/* A longer ring has more, but not as many as it has segments. */
static void test_bound_of_long_ring(struct fixture *f)
{
    static const struct blkfront_options options = { .ring_order = 4, .persistent = true };
    struct blkfront *front = start(f, &options);
    struct crowd crowd = make_crowd(f, 1200);

    for (unsigned i = 0; i < crowd.count; i++)
        g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, crowd.refs[i]), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(count_mapped(f, &crowd), ==, 1056);
    fixture_close(front);
    g_assert_cmpuint(count_mapped(f, &crowd), ==, 0);
    g_free(crowd.refs);
}

/* --- promises that are not kept --- */

/* Read-only grants cannot be mapped as blkif.h wants it: they are copied, for writes. */
static void test_read_only(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct pages constant = fixture_pages(f, 11, true), good = fixture_pages(f, 3, false);
    blkif_request_t request = request_for(BLKIF_OP_WRITE, 1, 8, &constant, 11);

    blkfront_pattern(constant.data, 8, 11 * GUEST_PAGE, 1);
    for (unsigned i = 0; i < 20; i++)
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    assert_on_disk(&f->disks[0], 8, constant.data, 11 * GUEST_PAGE);
    request.operation = BLKIF_OP_READ;
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    request = request_for(BLKIF_OP_READ, 1, 8, &good, 3);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    g_assert_cmpmem(good.data, 3 * GUEST_PAGE, constant.data, 3 * GUEST_PAGE);
    fixture_close(front);
}

/* So many lines of Xen's library in the log, and not one more, whatever comes. */
static void test_failures_are_bounded(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    uint32_t none = guest_grant_entries(f->guest);
    struct pages good = fixture_pages(f, 1, false);
    static const struct blkfront_options again = { .persistent = true };

    let_fail(MAP);
    for (unsigned i = 0; i < 6; i++)
        g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, none + i), ==, BLKIF_RSP_ERROR);
    g_assert_cmpuint(sim_fault_struck(MAP), ==, 6);
    sim_fault_clear();
    fixture_close(front);
    front = fixture_connect(f, 0, &again);
    let_fail(MAP);
    for (unsigned i = 0; i < 20; i++)
        g_assert_cmpint(one_page(front, BLKIF_OP_WRITE, 0, none + i), ==, BLKIF_RSP_ERROR);
    g_assert_cmpuint(sim_fault_struck(MAP), ==, 2);
    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, good.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(sim_fault_struck(MAP), ==, 2);
    sim_fault_clear();
    fixture_close(front);
}

/* A page that cannot be mapped for a while is copied, and mapped later. */
static void test_map_fails(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    struct sim_fault fault = { .call = MAP, .times = 1, .error = ENOMEM };

    sim_fault(&fault);
    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_false(is_mapped(f, pages.refs[0]));
    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_true(is_mapped(f, pages.refs[0]));
    sim_fault_clear();
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* Gone before its first use: an error, and what should have been written is not. */
static void test_vanished(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct pages pages = fixture_pages(f, 3, false);
    struct grant_entry_v1 *entry = guest_grant_entry(f->guest, pages.refs[1]);

    __atomic_store_n(&entry->flags, 0, __ATOMIC_SEQ_CST);
    for (unsigned operation = BLKIF_OP_READ; operation <= BLKIF_OP_WRITE; operation++) {
        blkif_request_t request = request_for(operation, 1, 0, &pages, 3);
        g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_ERROR);
    }
    assert_untouched(&f->disks[0], 0, 3 * SECTORS_PER_PAGE);
    __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_SEQ_CST);
    blkif_request_t request = request_for(BLKIF_OP_READ, 1, 0, &pages, 3);
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    fixture_close(front);
}

/*
 * A mapped reference is given to another page: Xen keeps the one that was mapped, so that is where
 * data goes, until the connection ends.
 */
static void test_given_to_another(struct fixture *f)
{
    static const struct blkfront_options again = { .persistent = true };
    struct blkfront *front = start(f, NULL);
    struct pages pages = fixture_pages(f, 2, false);
    struct grant_entry_v1 *entry = guest_grant_entry(f->guest, pages.refs[0]);

    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 0, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    memset(pages.data, 0xee, 2 * GUEST_PAGE);
    entry->frame = guest_gfn(f->guest, pages.data + GUEST_PAGE);
    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 8, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(*(uint64_t *)pages.data, ==, 8);
    g_assert_cmpuint(pages.data[GUEST_PAGE], ==, 0xee);
    fixture_close(front);
    front = fixture_connect(f, 0, &again);
    g_assert_cmpint(one_page(front, BLKIF_OP_READ, 16, pages.refs[0]), ==, BLKIF_RSP_OKAY);
    g_assert_cmpuint(*(uint64_t *)pages.data, ==, 8);
    g_assert_cmpuint(*(uint64_t *)(pages.data + GUEST_PAGE), ==, 16);
    fixture_close(front);
}

/* Entries change all the time, under full rings: each request is answered. */
static void test_changing_grants(struct fixture *f)
{
    struct blkfront *front = start(f, NULL);
    struct pages pages = fixture_pages(f, 22, false);
    GRand *random = g_rand_new_with_seed(20263);

    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 32; i++) {
            blkif_request_t request = request_for(i % 2, i, i * 100, &pages, 11);
            for (unsigned j = 0; j < 11; j++)
                request.seg[j].gref = pages.refs[g_rand_int_range(random, 0, 22)];
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        struct grant_entry_v1 *entry = guest_grant_entry(f->guest, pages.refs[round % 22]);
        __atomic_store_n(&entry->flags, round % 3 ? 0 : GTF_permit_access | GTF_readonly,
                         __ATOMIC_SEQ_CST);
        request_take_all(front, 32, BLKIF_RSP_OKAY);
        __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_SEQ_CST);
    }
    g_rand_free(random);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

static void test_bad_node(struct fixture *f)
{
    static const char *const bad[] = { "2", "-1", "", "yes", "4294967297" };
    static const struct blkfront_options again = { .persistent = true };
    struct blkfront *front = start(f, NULL);

    fixture_close(front);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        fixture_set_state(f, 0, XenbusStateInitialising);
        fixture_expect_backend(f, 0, XenbusStateInitWait);
        fixture_set(f, 0, "feature-persistent", bad[i]);
        fixture_set_state(f, 0, XenbusStateInitialised);
        fixture_expect_backend(f, 0, XenbusStateClosing);
        g_autofree char *error = fixture_backend_read(f, 0, "error");
        g_assert_nonnull(strstr(error, "feature-persistent is not a number from 0 to 1"));
        fixture_settle(f, 0);
    }
    front = fixture_connect(f, 0, &again);
    fixture_verify(f, 0, front, 0, 1024);
    fixture_close(front);
}

/* --- ends --- */

/* The guest is destroyed with everything mapped; the role lets go of it. */
static void test_guest_destroyed(struct fixture *f)
{
    static const struct blkfront_options options = { .ring_order = 2,
                                                     .persistent = true,
                                                     .indirect = 256 };
    struct blkfront *front = start(f, &options);

    fixture_verify(f, 0, front, 0, f->disks[0].sectors);
    blkfront_abandon(front);
    toolstack_destroy(f->guest);
    f->guest = NULL;
    fixture_wait_role(f, 0, NULL);
}

static void test_bad_option(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    f->options[0] = "persistent=yes";
    fixture_run_role(f);
    fixture_wait_role(f, 1, "persistent=yes is not understood");
}

static void add_tests(void)
{
    fixture_add_test("/disk/persistent/mapped-once", test_mapped_once);
    fixture_add_test("/disk/persistent/not-asked-for", test_not_asked_for);
    fixture_add_test("/disk/persistent/not-offered", test_not_offered);
    fixture_add_test("/disk/persistent/least-recently-used", test_least_recently_used);
    fixture_add_test("/disk/persistent/too-many-pages", test_too_many_pages);
    fixture_add_test("/disk/persistent/bound-of-long-ring", test_bound_of_long_ring);
    fixture_add_test("/disk/persistent/read-only", test_read_only);
    fixture_add_test("/disk/persistent/failures-are-bounded", test_failures_are_bounded);
    fixture_add_test("/disk/persistent/map-fails", test_map_fails);
    fixture_add_test("/disk/persistent/vanished", test_vanished);
    fixture_add_test("/disk/persistent/given-to-another", test_given_to_another);
    fixture_add_test("/disk/persistent/changing-grants", test_changing_grants);
    fixture_add_test("/disk/persistent/bad-node", test_bad_node);
    fixture_add_test("/disk/persistent/guest-destroyed", test_guest_destroyed);
    fixture_add_test("/disk/persistent/bad-option", test_bad_option);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
