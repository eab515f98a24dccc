/*
 * The disk role and what a frontend may choose: rings of several pages, queues, indirect requests.
 * In every combination data arrives where it belongs, and what cannot be had is refused with a
 * word.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <string.h>
#include <xen/io/protocols.h>

#define TWO_QUEUES "max-queues=2"
#define QUEUES 2
#define ORDER 4 /* what the role offers */
#define SEGMENTS 256

static unsigned disk_sectors(struct fixture *f)
{
    return f->disks[0].sectors;
}

/* --- every combination --- */

/* A queue's part of the disk. */
struct share {
    struct blkfront *front;
    unsigned queue;
    uint64_t sector, sectors;
    uint32_t seed;
    char *reason; /* what is wrong, or NULL */
    GThread *thread;
};

static gpointer verify_share(gpointer opaque)
{
    struct share *share = opaque;
    blkfront_verify(share->front, share->queue, share->sector, share->sectors, share->seed,
                    &share->reason);
    return NULL;
}

/* All queues at once, each its part of the disk, and what the image has then. */
static void verify_queues(struct fixture *f, struct blkfront *front, uint32_t seed)
{
    unsigned queues = blkfront_queues(front);
    uint64_t each = disk_sectors(f) / queues;
    struct share shares[QUEUES];

    for (unsigned i = 0; i < queues; i++) {
        shares[i] = (struct share){ front, i, i * each, each, seed + i, NULL, NULL };
        shares[i].thread = g_thread_new("share", verify_share, &shares[i]);
    }
    for (unsigned i = 0; i < queues; i++) {
        g_autofree uint8_t *expected = g_malloc(each * SECTOR);
        g_thread_join(shares[i].thread);
        if (shares[i].reason)
            g_error("%s", shares[i].reason);
        blkfront_pattern(expected, i * each, each * SECTOR, seed + i);
        assert_on_disk(&f->disks[0], i * each, expected, each * SECTOR);
    }
}

/* As many in flight as the ring holds. */
static void load_queues(struct blkfront *front, bool write)
{
    struct blkfront_load load = { .write = write,
                                  .random = true,
                                  .block = 4096,
                                  .depth = blkfront_ring_entries(front),
                                  .requests = 4001 };
    struct blkfront_result result = blkfront_run(front, &load);
    g_assert_cmpuint(result.requests, ==, load.requests);
    g_assert_cmpuint(result.errors, ==, 0);
}

static void combine(struct fixture *f, const struct blkfront_options *options)
{
    struct blkfront *front = fixture_connect(f, 0, options);

    g_test_message("order %u, queues %u, persistent %d, indirect %u, %s", options->ring_order,
                   options->queues, options->persistent, options->indirect,
                   options->protocol ? options->protocol : "native");
    g_assert_cmpuint(blkfront_ring_entries(front), ==, 32u << options->ring_order);
    g_assert_cmpuint(blkfront_queues(front), ==, options->queues);
    load_queues(front, false);
    verify_queues(f, front, 100 + options->ring_order);
    load_queues(front, true);
    verify_queues(f, front, 200 + options->ring_order);
    fixture_close(front);
}

static void test_combinations(struct fixture *f)
{
    static const char *const protocols[] = { NULL, XEN_IO_PROTO_ABI_X86_32 };
    f->options[0] = TWO_QUEUES;
    f->options[1] = "persistent=on";
    struct blkfront *front = fixture_start(f, NULL);
    const struct blkfront_disk *disk = blkfront_disk(front);

    g_assert_cmpuint(disk->max_ring_order, ==, ORDER);
    g_assert_cmpuint(disk->max_queues, ==, QUEUES);
    g_assert_cmpuint(disk->max_indirect, ==, SEGMENTS);
    g_assert_true(disk->persistent);
    fixture_close(front);
    for (unsigned i = 0; i < 16; i++) {
        struct blkfront_options options = {
            .ring_order = i & 1 ? ORDER : 0,
            .queues = i & 2 ? QUEUES : 1,
            .indirect = i & 4 ? SEGMENTS : 0,
            .persistent = i & 8,
            .protocol = protocols[(i ^ i >> 1 ^ i >> 2 ^ i >> 3) & 1],
            .ring_start = UINT32_MAX - 1000,
        };
        combine(f, &options);
    }
}

/* One after the other on the same disk, as firmware and kernels follow each other: no rests. */
static void test_every_order(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);

    g_assert_cmpuint(blkfront_disk(front)->max_queues, ==, 1); /* a guest with one vCPU */
    fixture_close(front);
    for (int order = ORDER; order >= 0; order--) {
        struct blkfront_options options = { .ring_order = order };
        front = fixture_connect(f, 0, &options);
        g_assert_cmpuint(blkfront_ring_entries(front), ==, 32u << order);
        fixture_verify(f, 0, front, order, 4096);
        fixture_close(front);
    }
}

/* --- more than the role has memory for at a time --- */

/*
 * Long requests in every entry, or such as have many segments with little in them: they wait for
 * each other, and each is answered.
 */
static void fill_with(struct fixture *f, unsigned last_sector)
{
    static const struct blkfront_options options = { .ring_order = ORDER };
    struct blkfront *front = fixture_start(f, &options);
    struct pages pages = fixture_pages(f, BLKIF_MAX_SEGMENTS_PER_REQUEST, false);
    unsigned entries = blkfront_ring_entries(front);

    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < entries; i++) {
            blkif_request_t request = request_for(round % 2 ? BLKIF_OP_WRITE : BLKIF_OP_READ, i, i,
                                                  &pages, BLKIF_MAX_SEGMENTS_PER_REQUEST);
            for (unsigned j = 0; j < BLKIF_MAX_SEGMENTS_PER_REQUEST; j++)
                request.seg[j].last_sect = last_sector;
            request_put(front, &request);
        }
        blkfront_push(front, 0);
        g_assert_cmpuint(request_take_all(front, entries, BLKIF_RSP_OKAY), ==, entries);
        request_expect_none(front);
    }
    fixture_verify(f, 0, front, 0, disk_sectors(f));
    fixture_close(front);
}

static void test_more_than_memory(struct fixture *f)
{
    fill_with(f, SECTORS_PER_PAGE - 1);
}

static void test_many_segments(struct fixture *f)
{
    fill_with(f, 0);
}

/* What needs no memory is bounded as well. */
static void test_many_without_data(struct fixture *f)
{
    static const struct blkfront_options options = { .ring_order = ORDER };
    struct blkfront *front = fixture_start(f, &options);
    unsigned entries = blkfront_ring_entries(front);

    for (unsigned i = 0; i < entries; i++) {
        blkif_request_t request = { .operation = BLKIF_OP_FLUSH_DISKCACHE, .id = i };
        if (i % 2)
            request = request_discard(i, i * 8, 8, 0);
        request_put(front, &request);
    }
    blkfront_push(front, 0);
    g_assert_cmpuint(request_take_all(front, entries, BLKIF_RSP_OKAY), ==, entries);
    fixture_close(front);
}

/* Pieces of pages, so that they straddle the chunks of the role's memory. */
static void odd_pieces(struct fixture *f, bool persistent)
{
    struct blkfront_options options = { .persistent = persistent };
    f->options[0] = persistent ? "persistent=on" : NULL;
    struct blkfront *front = fixture_start(f, &options);
    struct pages pages = fixture_pages(f, BLKIF_MAX_SEGMENTS_PER_REQUEST, false);
    blkif_request_t request =
        request_for(BLKIF_OP_WRITE, 1, 3, &pages, BLKIF_MAX_SEGMENTS_PER_REQUEST);
    size_t length = (size_t)BLKIF_MAX_SEGMENTS_PER_REQUEST * GUEST_PAGE;
    uint8_t *sector = pages.data;
    uint64_t at = 3;

    fixture_verify(f, 0, front, 0, disk_sectors(f)); /* chunks are no neighbours any more */
    blkfront_pattern(pages.data, 3, length, 9);
    for (unsigned i = 0; i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
        request.seg[i].first_sect = i % 3;
        request.seg[i].last_sect = 5 + i % 2;
    }
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    for (unsigned i = 0; i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++) {
        unsigned sectors = 6 + i % 2 - i % 3;
        assert_on_disk(&f->disks[0], at, sector + i % 3 * SECTOR, (size_t)sectors * SECTOR);
        at += sectors;
        sector += GUEST_PAGE;
    }

    g_autofree uint8_t *written = g_memdup2(pages.data, length);
    memset(pages.data, 0xee, length);
    request.operation = BLKIF_OP_READ;
    g_assert_cmpint(request_do(front, &request), ==, BLKIF_RSP_OKAY);
    for (size_t i = 0; i < length / SECTOR; i++) {
        unsigned segment = i / SECTORS_PER_PAGE, place = i % SECTORS_PER_PAGE;
        if (place >= request.seg[segment].first_sect && place <= request.seg[segment].last_sect)
            g_assert_cmpmem(pages.data + i * SECTOR, SECTOR, written + i * SECTOR, SECTOR);
        else
            g_assert_cmpuint(pages.data[i * SECTOR], ==, 0xee);
    }
    fixture_close(front);
}

static void test_odd_pieces(struct fixture *f)
{
    odd_pieces(f, false);
}

static void test_odd_pieces_mapped(struct fixture *f)
{
    odd_pieces(f, true);
}

/* --- what cannot be had --- */

/* Nodes of a frontend that is good but for one of them: "name", "value" or NULL for none. */
struct nodes {
    const char *words; /* in the error; NULL: it is served */
    const char *wrong[6];
};

/* Two queues with rings of two pages, and what a single queue needs; the first page's grant. */
static uint32_t publish_all(struct fixture *f)
{
    uint32_t first = 0;

    for (unsigned queue = 0; queue < QUEUES; queue++) {
        struct pages ring = fixture_pages(f, 2, false);
        g_autofree char *port = g_strdup_printf("queue-%u/event-channel", queue);
        ((uint32_t *)ring.data)[1] = ((uint32_t *)ring.data)[3] = 1;
        first = queue == 0 ? ring.refs[0] : first;
        fixture_set_number(f, 0, port, guest_port_alloc(f->guest, 0));
        for (unsigned page = 0; page < 2; page++) {
            g_autofree char *node = g_strdup_printf("queue-%u/ring-ref%u", queue, page);
            g_autofree char *flat = g_strdup_printf("ring-ref%u", page);
            fixture_set_number(f, 0, node, ring.refs[page]);
            fixture_set_number(f, 0, flat, ring.refs[page]);
        }
    }
    fixture_set_number(f, 0, "event-channel", guest_port_alloc(f->guest, 0));
    fixture_set(f, 0, "ring-page-order", "1");
    fixture_set(f, 0, "multi-queue-num-queues", "2");
    fixture_set(f, 0, "num-ring-pages", NULL);
    fixture_set(f, 0, "ring-ref", NULL);
    fixture_set(f, 0, "protocol", NULL);
    return first;
}

static void try_nodes(struct fixture *f, const struct nodes *nodes)
{
    publish_all(f);
    for (unsigned i = 0; nodes->wrong[i]; i += 2) {
        g_test_message("%s '%s'", nodes->wrong[i], nodes->wrong[i + 1]);
        fixture_set(f, 0, nodes->wrong[i], *nodes->wrong[i + 1] ? nodes->wrong[i + 1] : NULL);
    }
    fixture_set_state(f, 0, XenbusStateInitialised);
    fixture_expect_backend(f, 0, nodes->words ? XenbusStateClosing : XenbusStateConnected);
    g_autofree char *error = fixture_backend_read(f, 0, "error");
    if (nodes->words && (!error || !strstr(error, nodes->words)))
        g_error("it should say '%s': %s", nodes->words, error);
    fixture_settle(f, 0);
    fixture_set_state(f, 0, XenbusStateInitialising);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
}

static void test_wrong_nodes(struct fixture *f)
{
    static const struct nodes all[] = {
        { NULL, { NULL } },
        { "ring-page-order is not a number from 0 to 4", { "ring-page-order", "5", NULL } },
        { "ring-page-order is not", { "ring-page-order", "31", NULL } },
        { "ring-page-order is not", { "ring-page-order", "32", NULL } },
        { "ring-page-order is not", { "ring-page-order", "-1", NULL } },
        { "ring-page-order is not", { "ring-page-order", "4294967297", NULL } },
        { "queue-0/ring-ref2", { "ring-page-order", "2", NULL } },
        { "queue-1/ring-ref1", { "queue-1/ring-ref1", "", NULL } },
        { "queue-1/ring-ref0", { "queue-1/ring-ref0", "x", NULL } },
        { "cannot map", { "queue-1/ring-ref0", "4294967295", NULL } },
        { "queue-0/ring-ref", { "ring-page-order", "0", "queue-0/ring-ref0", "", NULL } },
        { "queues is not a number from 1 to 2", { "multi-queue-num-queues", "3", NULL } },
        { "queues is not", { "multi-queue-num-queues", "0", NULL } },
        { "queues is not", { "multi-queue-num-queues", "4294967297", NULL } },
        { "queue-1/event-channel", { "queue-1/event-channel", "", NULL } },
        { "cannot bind", { "queue-1/event-channel", "0", NULL } },
        { "num-ring-pages is not", { "ring-page-order", "", "num-ring-pages", "32", NULL } },
        { "a power of two", { "ring-page-order", "", "num-ring-pages", "3", NULL } },
        /* These are good: the old node; a leftover of it; a single page with a number. */
        { NULL, { "ring-page-order", "", "num-ring-pages", "2", NULL } },
        { NULL, { "num-ring-pages", "77", NULL } },
        { NULL, { "ring-page-order", "0", NULL } },
        { NULL, { "multi-queue-num-queues", "1", NULL } },
        { NULL, { "multi-queue-num-queues", "", NULL } },
    };
    f->options[0] = TWO_QUEUES;
    struct blkfront *front = fixture_start(f, NULL);

    fixture_close(front);
    fixture_set_state(f, 0, XenbusStateInitialising);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
        try_nodes(f, &all[i]);
    fixture_set(f, 0, "num-ring-pages", NULL);
    fixture_check_disk(f, 0);
}

/* One page as all pages of both rings: Xen allows it, and only the guest suffers. */
static void test_same_page(struct fixture *f)
{
    f->options[0] = TWO_QUEUES;
    struct blkfront *front = fixture_start(f, NULL);

    fixture_close(front);
    fixture_set_state(f, 0, XenbusStateInitialising);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    publish_all(f);
    struct pages page = fixture_pages(f, 1, false);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *node = g_strdup_printf("queue-%u/ring-ref%u", i / 2, i % 2);
        fixture_set_number(f, 0, node, page.refs[0]);
    }
    fixture_set_state(f, 0, XenbusStateInitialised);
    fixture_expect_backend(f, 0, XenbusStateConnected);
    fixture_settle(f, 0);
    fixture_check_disk(f, 0);
}

/* Two queues cannot have one port; the one that was open is closed again. */
static void test_same_port(struct fixture *f)
{
    f->options[0] = TWO_QUEUES;
    struct blkfront *front = fixture_start(f, NULL);

    fixture_close(front);
    fixture_set_state(f, 0, XenbusStateInitialising);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    uint32_t ref = publish_all(f);
    uint32_t port = guest_port_alloc(f->guest, 0);
    fixture_set_number(f, 0, "queue-0/event-channel", port);
    fixture_set_number(f, 0, "queue-1/event-channel", port);
    fixture_set_state(f, 0, XenbusStateInitialised);
    fixture_expect_backend(f, 0, XenbusStateClosing);
    g_assert_true(guest_ungrant(f->guest, ref)); /* nobody has it mapped */
    fixture_settle(f, 0);
    fixture_check_disk(f, 0);
}

/* One queue breaks the rules: the disk is closed, and what the other one has asked for is done. */
static void test_one_queue_breaks(struct fixture *f)
{
    static const struct blkfront_options options = { .ring_order = 1, .queues = QUEUES };
    f->options[0] = TWO_QUEUES;
    struct blkfront *front = fixture_start(f, NULL);

    fixture_close(front);
    for (unsigned broken = 0; broken < QUEUES; broken++) {
        front = fixture_connect(f, 0, &options);
        verify_queues(f, front, broken);
        uint32_t *ring = blkfront_ring(front, broken);
        __atomic_store_n(ring, 10000, __ATOMIC_SEQ_CST);
        guest_port_notify(f->guest, blkfront_port(front, broken));
        fixture_expect_backend(f, 0, XenbusStateClosing);
        g_autofree char *error = fixture_backend_read(f, 0, "error");
        g_assert_nonnull(strstr(error, "more requests than it can hold"));
        fixture_close(front);
    }
    fixture_check_disk(f, 0);
}

static void test_bad_option(struct fixture *f)
{
    static const char *const bad[] = { "max-queues=0", "max-queues=9",
                                       "max-queues=", "max-queues=x" };

    fixture_add_disk(f, "xvda", MIB_SECTORS);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        f->options[0] = bad[i];
        fixture_run_role(f);
        fixture_wait_role(f, 1, "a number from 1 to 8 is needed");
    }
}

static void add_tests(void)
{
    fixture_add_test("/disk/transport/combinations", test_combinations);
    fixture_add_test("/disk/transport/every-order", test_every_order);
    fixture_add_test("/disk/transport/more-than-memory", test_more_than_memory);
    fixture_add_test("/disk/transport/many-segments", test_many_segments);
    fixture_add_test("/disk/transport/many-without-data", test_many_without_data);
    fixture_add_test("/disk/transport/odd-pieces", test_odd_pieces);
    fixture_add_test("/disk/transport/odd-pieces/mapped", test_odd_pieces_mapped);
    fixture_add_test("/disk/transport/wrong-nodes", test_wrong_nodes);
    fixture_add_test("/disk/transport/same-page", test_same_page);
    fixture_add_test("/disk/transport/same-port", test_same_port);
    fixture_add_test("/disk/transport/one-queue-breaks", test_one_queue_breaks);
    fixture_add_test("/disk/transport/bad-option", test_bad_option);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
