/*
 * The test frontend, against a backend that offers all of blkif.h: multi-page rings, queues,
 * persistent grants, indirect segments.  The backend here knows the guest's memory and grants
 * from the simulator and takes layouts and ring macros from Xen's headers; its disk is memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdint.h>
#define mb() __sync_synchronize()
#define wmb() __sync_synchronize()
#include <xen/grant_table.h>

#include "tests/sim/guest/blkfront.h"
#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#include <string.h>

#define SECTOR 512
#define DISK_SECTORS (8 << 20 >> 9)
#define QUEUES_MAX 4
#define ORDER_MAX 4
#define PER_INDIRECT_PAGE (GUEST_PAGE / sizeof(struct blkif_request_segment))

struct backend {
    struct guest *guest;
    unsigned devid;
    uint8_t *disk;
    unsigned nr_queues;
    struct queue {
        blkif_back_ring_t ring;
        uint32_t port;
        unsigned served;
    } queues[QUEUES_MAX];

    /* What was seen. */
    bool persistent;
    unsigned ring_pages, max_segments, indirect, read_only_reads, writable_writes;
    GThread *thread;
};

/* --- xenstore; the toolstack's connection is the backend thread's while that runs --- */

static char *backend_path(struct backend *backend, const char *node)
{
    return g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u/%s", guest_domid(backend->guest),
                           backend->devid, node);
}

static void offer(struct backend *backend, const char *node, uint64_t value)
{
    g_autofree char *path = backend_path(backend, node);
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, value);
    toolstack_write(path, text);
}

/* A number of the frontend's; -1 if it is not there. */
static int64_t ask(struct backend *backend, const char *dir, const char *node)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/device/vbd/%u/%s%s",
                                            guest_domid(backend->guest), backend->devid, dir, node);
    g_autofree char *text = toolstack_read(path);
    return text ? g_ascii_strtoll(text, NULL, 10) : -1;
}

static void await_frontend(struct backend *backend, int64_t state)
{
    gint64 end = g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND;
    while (ask(backend, "", "state") != state)
        g_assert_cmpint(g_get_monotonic_time(), <, end);
}

/* --- the ring --- */

static uint8_t *granted(struct backend *backend, uint32_t ref)
{
    const struct grant_entry_v1 *entry = guest_grant_entry(backend->guest, ref);
    g_assert_cmpuint(entry->flags & GTF_type_mask, ==, GTF_permit_access);
    g_assert_cmpuint(entry->domid, ==, 0);
    return (uint8_t *)guest_memory(backend->guest) + (size_t)entry->frame * GUEST_PAGE;
}

static void open_queue(struct backend *backend, struct queue *queue, const char *dir)
{
    uint8_t *first = NULL;
    for (unsigned i = 0; i < backend->ring_pages; i++) {
        g_autofree char *node =
            backend->ring_pages == 1 ? g_strdup("ring-ref") : g_strdup_printf("ring-ref%u", i);
        int64_t ref = ask(backend, dir, node);
        g_assert_cmpint(ref, >=, 0);
        uint8_t *page = granted(backend, ref);
        first = first ? first : page;
        g_assert_true(page == first + (size_t)i * GUEST_PAGE); /* as guest_alloc() has it */
    }
    if (backend->ring_pages > 1)
        g_assert_cmpint(ask(backend, dir, "ring-ref"), ==, -1);
    queue->port = ask(backend, dir, "event-channel");
    blkif_sring_t *shared = (blkif_sring_t *)first;
    BACK_RING_ATTACH(&queue->ring, shared, shared->rsp_prod, backend->ring_pages * GUEST_PAGE);
}

static void copy_segment(struct backend *backend, const struct blkif_request_segment *segment,
                         bool write, uint64_t *sector)
{
    uint16_t flags = guest_grant_entry(backend->guest, segment->gref)->flags;
    uint8_t *page = granted(backend, segment->gref) + segment->first_sect * SECTOR;
    size_t length = (segment->last_sect - segment->first_sect + 1) * SECTOR;
    uint8_t *disk = backend->disk + *sector * SECTOR;

    g_assert_cmpuint(segment->last_sect, <, GUEST_PAGE / SECTOR);
    g_assert_cmpuint(*sector + length / SECTOR, <=, DISK_SECTORS);
    backend->read_only_reads += !write && flags & GTF_readonly;
    backend->writable_writes += write && !(flags & GTF_readonly);
    memcpy(write ? disk : page, write ? page : disk, length);
    *sector += length / SECTOR;
}

static uint8_t serve_indirect(struct backend *backend, const blkif_request_indirect_t *request)
{
    uint64_t sector = request->sector_number;
    g_assert_cmpuint(request->nr_segments, >, BLKIF_MAX_SEGMENTS_PER_REQUEST);
    for (unsigned i = 0; i < request->nr_segments; i++) {
        uint32_t ref = request->indirect_grefs[i / PER_INDIRECT_PAGE];
        const struct blkif_request_segment *segments = (void *)granted(backend, ref);
        copy_segment(backend, &segments[i % PER_INDIRECT_PAGE],
                     request->indirect_op == BLKIF_OP_WRITE, &sector);
    }
    backend->indirect++;
    backend->max_segments = MAX(backend->max_segments, request->nr_segments);
    return request->indirect_op;
}

/* The operation to answer with, as Linux's frontend wants it. */
static uint8_t serve(struct backend *backend, const blkif_request_t *request)
{
    const blkif_request_discard_t *discard = (const void *)request;
    uint64_t sector = request->sector_number;

    if (request->operation == BLKIF_OP_INDIRECT)
        return serve_indirect(backend, (const void *)request);
    if (request->operation == BLKIF_OP_DISCARD) {
        memset(backend->disk + sector * SECTOR, discard->flag & BLKIF_DISCARD_SECURE ? 0xdd : 0,
               discard->nr_sectors * SECTOR);
        return request->operation;
    }
    g_assert_cmpuint(request->nr_segments, <=, BLKIF_MAX_SEGMENTS_PER_REQUEST);
    for (unsigned i = 0; i < request->nr_segments; i++)
        copy_segment(backend, &request->seg[i], request->operation == BLKIF_OP_WRITE, &sector);
    backend->max_segments = MAX(backend->max_segments, request->nr_segments);
    return request->operation;
}

static void turn(struct backend *backend, struct queue *queue)
{
    blkif_back_ring_t *ring = &queue->ring;
    blkif_request_t request;
    int notify;

    while (__atomic_load_n(&ring->sring->req_prod, __ATOMIC_ACQUIRE) != ring->req_cons) {
        RING_COPY_REQUEST(ring, ring->req_cons++, &request);
        uint8_t operation = serve(backend, &request);
        *RING_GET_RESPONSE(ring, ring->rsp_prod_pvt++) =
            (blkif_response_t){ .id = request.id, .operation = operation };
        queue->served++;
    }
    RING_PUSH_RESPONSES_AND_CHECK_NOTIFY(ring, notify);
    if (notify)
        sim_evtchn_raise(guest_domid(backend->guest), queue->port);
}

static gpointer run(gpointer opaque)
{
    struct backend *backend = opaque;

    await_frontend(backend, 3);
    backend->nr_queues = MAX(1, ask(backend, "", "multi-queue-num-queues"));
    backend->ring_pages = 1u << MAX(0, ask(backend, "", "ring-page-order"));
    backend->persistent = ask(backend, "", "feature-persistent") == 1;
    for (unsigned i = 0; i < backend->nr_queues; i++) {
        g_autofree char *dir = backend->nr_queues > 1 ? g_strdup_printf("queue-%u/", i) : NULL;
        open_queue(backend, &backend->queues[i], dir ? dir : "");
    }
    offer(backend, "state", 4);
    while (ask(backend, "", "state") != 5) {
        for (unsigned i = 0; i < 1000; i++)
            turn(backend, &backend->queues[i % backend->nr_queues]);
    }
    offer(backend, "state", 5);
    await_frontend(backend, 6);
    offer(backend, "state", 6);
    return NULL;
}

/* --- tests --- */

static void start(struct backend *backend)
{
    static const struct toolstack_guest guest = { "pv", 1, 64 << 20 >> 12 };
    struct toolstack_disk disk = { .vdev = "xvda", .params = "aio:/nowhere" };

    *backend = (struct backend){ .guest = toolstack_create(&guest) };
    backend->devid = toolstack_attach_disk(backend->guest, &disk);
    backend->disk = g_malloc0(DISK_SECTORS * SECTOR);
    offer(backend, "max-ring-page-order", ORDER_MAX);
    offer(backend, "multi-queue-max-queues", QUEUES_MAX);
    offer(backend, "feature-persistent", 1);
    offer(backend, "feature-max-indirect-segments", 1024);
    offer(backend, "feature-discard", 1);
    offer(backend, "discard-secure", 1);
    offer(backend, "feature-flush-cache", 1);
    offer(backend, "sector-size", SECTOR);
    offer(backend, "sectors", DISK_SECTORS);
    offer(backend, "info", 0);
    offer(backend, "state", 2);
    backend->thread = g_thread_new("backend", run, backend);
}

static void end(struct backend *backend, struct blkfront *front)
{
    g_assert_true(blkfront_close(front));
    g_thread_join(backend->thread);
    toolstack_destroy(backend->guest);
    g_free(backend->disk);
}

static struct blkfront *connect_with(struct backend *backend,
                                     const struct blkfront_options *options)
{
    g_autofree char *reason = NULL;
    struct blkfront *front = blkfront_connect(backend->guest, backend->devid, options, &reason);
    g_assert_cmpstr(reason, ==, NULL);
    return front;
}

static void verify(struct blkfront *front)
{
    unsigned queues = blkfront_queues(front);
    uint64_t share = DISK_SECTORS / queues;
    for (unsigned i = 0; i < queues; i++) {
        g_autofree char *reason = NULL;
        if (!blkfront_verify(front, i, i * share, share, i + 1, &reason))
            g_error("%s", reason);
    }
}

static void test_options(gconstpointer data)
{
    const struct blkfront_options *options = data;
    struct backend backend;
    start(&backend);
    struct blkfront *front = connect_with(&backend, options);
    unsigned order = MIN(options->ring_order, ORDER_MAX);
    unsigned queues = MAX(1, MIN(options->queues, QUEUES_MAX));
    unsigned segments = MIN(options->indirect, 1024);

    g_assert_cmpuint(blkfront_ring_entries(front), ==, 32u << order);
    g_assert_cmpuint(blkfront_queues(front), ==, queues);
    verify(front);
    struct blkfront_load load = { .random = true, .block = 4096, .depth = 32, .requests = 10007 };
    struct blkfront_result result = blkfront_run(front, &load);
    g_assert_cmpuint(result.requests, ==, load.requests);
    g_assert_cmpuint(result.errors, ==, 0);
    g_assert_cmpfloat(result.p99_us, >=, result.p50_us);
    verify(front);

    g_assert_cmpuint(backend.nr_queues, ==, queues);
    g_assert_cmpuint(backend.ring_pages, ==, 1u << order);
    g_assert_true(backend.persistent == options->persistent);
    for (unsigned i = 0; i < queues; i++)
        g_assert_cmpuint(backend.queues[i].served, >, 0);
    g_assert_true((backend.indirect > 0) == (segments > BLKIF_MAX_SEGMENTS_PER_REQUEST));
    g_assert_cmpuint(backend.max_segments, <=, MAX(segments, BLKIF_MAX_SEGMENTS_PER_REQUEST));
    g_assert_cmpuint(backend.read_only_reads, ==, 0);
    g_assert_true((backend.writable_writes > 0) == options->persistent);
    end(&backend, front);
}

static void test_discard(void)
{
    struct backend backend;
    start(&backend);
    struct blkfront *front = connect_with(&backend, NULL);

    g_assert_true(blkfront_disk(front)->discard_secure);
    memset(backend.disk, 1, DISK_SECTORS * SECTOR);
    g_assert_cmpint(blkfront_discard(front, 0, 7, 3, false), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_discard(front, 0, 12, 1, true), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    for (unsigned i = 0; i < 20; i++)
        g_assert_cmpuint(backend.disk[i * SECTOR + 5], ==,
                         i >= 7 && i < 10 ? 0
                         : i == 12        ? 0xdd
                                          : 1);
    end(&backend, front);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        struct blkfront_options options;
    } tests[] = {
        { "/blkfront/plain", { 0 } },
        { "/blkfront/order/1", { .ring_order = 1 } },
        { "/blkfront/order/too-large", { .ring_order = 7 } },
        { "/blkfront/queues/2", { .queues = 2 } },
        { "/blkfront/queues/too-many", { .queues = 9, .ring_order = 2 } },
        { "/blkfront/persistent", { .persistent = true } },
        { "/blkfront/indirect/12", { .indirect = 12 } },
        { "/blkfront/indirect/600", { .indirect = 600 } },
        { "/blkfront/indirect/too-many", { .indirect = 5000 } },
        { "/blkfront/wrap", { .ring_start = UINT32_MAX - 50 } },
        { "/blkfront/all", { .ring_order = 4, .queues = 4, .persistent = true, .indirect = 256 } },
    };
    g_test_init(&argc, &argv, NULL);
    sim_start();
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add_data_func(tests[i].path, &tests[i].options, test_options);
    g_test_add_func("/blkfront/discard", test_discard);
    int status = g_test_run();
    sim_stop();
    return status;
}
