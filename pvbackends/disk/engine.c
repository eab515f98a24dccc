/*
 * What is done with a ring's requests: see engine.h.
 *
 * Each turn takes a batch of requests from the ring, fetches the segments of those that are
 * indirect with one grant copy and the data of all writes with another, submits all its I/O with
 * one system call, and then delivers whatever has finished: the data of all reads with one grant
 * copy, the responses with at most one notification.  No memory is allocated per request.  What
 * there is no memory for waits in the ring: something is in flight then, and when that has
 * finished, it is looked at again.
 */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/engine.h"

#include <inttypes.h>

#include "pvbackends/disk/io.h"
#include "pvbackends/disk/pool.h"
#include "pvbackends/disk/transfer.h"
#include "xen/grant.h"

/* Requests in flight, however long the ring is; the kernel has few places for all of a host. */
#define IN_FLIGHT_MAX 256

/* A request in flight. */
struct slot {
    struct disk_io_op op;
    bool flush_first;  /* the operation under way is the flush before a write */
    int16_t status;    /* to respond with */
    struct slot *next; /* in the free list or a batch */
    struct disk_share share;
    struct disk_buffer buffer;
    struct disk_request request;
};

/* Slots in the order in which they came. */
struct batch {
    struct slot *first, **last;
    bool indirect; /* one of them is */
};

struct disk_engine {
    struct disk_engine_config config;
    struct xen_grants *grants;
    struct disk_io *io;
    void *shared;
    struct disk_ring ring;

    struct disk_pool pool;
    struct disk_transfer transfer;
    struct slot *slots;
    struct slot *free;
    unsigned nr_slots, nr_used; /* the others have not been touched yet */
    unsigned in_flight;

    bool starved; /* the next request waits for memory */
    bool broken;
};

static bool carries_data_in(const struct disk_request *request)
{
    return request->nr_segments > 0 && request->operation != BLKIF_OP_READ;
}

static struct slot *allocate(struct disk_engine *engine)
{
    struct slot *slot = engine->free;
    if (slot)
        engine->free = slot->next;
    else if (engine->nr_used < engine->nr_slots)
        slot = &engine->slots[engine->nr_used++];
    return slot;
}

static void release(struct disk_engine *engine, struct slot *slot)
{
    disk_pool_put(&engine->pool, &slot->buffer);
    slot->next = engine->free;
    engine->free = slot;
}

static void respond(struct disk_engine *engine, struct slot *slot, int16_t status)
{
    disk_ring_respond(&engine->ring, slot->request.id, slot->request.operation, status);
    release(engine, slot);
}

static void batch_add(struct batch *batch, struct slot *slot)
{
    slot->next = NULL;
    *batch->last = slot;
    batch->last = &slot->next;
    batch->indirect |= slot->request.indirect;
}

static struct slot *batch_take(struct batch *batch)
{
    struct slot *slot = batch->first;
    batch->first = slot->next;
    return slot;
}

static void start_io(struct disk_engine *engine, struct slot *slot)
{
    static const enum disk_io_kind kinds[] = {
        [BLKIF_OP_READ] = DISK_IO_READ,
        [BLKIF_OP_WRITE] = DISK_IO_WRITE,
        [BLKIF_OP_FLUSH_DISKCACHE] = DISK_IO_FLUSH,
        [BLKIF_OP_DISCARD] = DISK_IO_DISCARD,
    };
    const struct disk_request *request = &slot->request;

    slot->op.kind = kinds[request->operation];
    slot->op.sector = request->sector;
    slot->op.sectors = request->sectors;
    slot->op.vectors = slot->buffer.chunks;
    slot->op.nr_vectors = slot->buffer.nr_filled;
    slot->flush_first = slot->op.kind == DISK_IO_FLUSH && request->nr_segments > 0;
    engine->in_flight++;
    disk_io_add(engine->io, &slot->op);
}

/* The next request of the ring; NULL, and it stays there, if there is no room for it now. */
static struct slot *take_request(struct disk_engine *engine)
{
    const struct disk_engine_config *config = &engine->config;
    struct slot *slot = allocate(engine);
    uint8_t raw[DISK_SLOT_MAX];

    if (!slot)
        return NULL;
    disk_ring_take(&engine->ring, raw);
    slot->status = disk_request_parse(&slot->request, config->abi, raw, &config->limits);
    if (slot->status == BLKIF_RSP_OKAY &&
        !disk_pool_take(&engine->pool, &slot->buffer, slot->request.nr_segments)) {
        disk_ring_put_back(&engine->ring);
        release(engine, slot);
        return NULL;
    }
    return slot;
}

/* Takes what the guest has put on the ring, and answers what is bad; the number of requests. */
static int take_batch(struct disk_engine *engine, struct batch *batch)
{
    int pending = disk_ring_pending(&engine->ring), taken = 0;

    if (pending < 0) {
        engine->broken = true;
        return 1;
    }
    engine->starved = false;
    for (; taken < pending; taken++) {
        struct slot *slot = take_request(engine);
        engine->starved = !slot;
        if (!slot)
            break;
        if (slot->status == BLKIF_RSP_OKAY)
            batch_add(batch, slot);
        else
            respond(engine, slot, slot->status);
    }
    return taken;
}

/*
 * Fetches the tables of indirect requests, each into the memory that its data will be in: what
 * is checked there is ours already, and read only once.
 */
static void fetch_tables(struct disk_engine *engine, struct batch *batch)
{
    const struct disk_limits *limits = &engine->config.limits;

    if (!batch->indirect)
        return;
    for (struct slot *slot = batch->first; slot; slot = slot->next) {
        if (!slot->request.indirect)
            continue;
        slot->share = disk_transfer_add_table(&engine->transfer, &slot->request, &slot->buffer);
    }
    disk_transfer_run(&engine->transfer);
    for (struct slot *slot = batch->first; slot; slot = slot->next) {
        if (!slot->request.indirect)
            continue;
        slot->status =
            disk_transfer_done(&engine->transfer, slot->share)
                ? disk_request_parse_table(&slot->request, slot->buffer.chunks[0].iov_base, limits)
                : BLKIF_RSP_ERROR;
    }
}

/* Now it is known how long the data is, and those requests that carry some have theirs fetched. */
static void fetch_data(struct disk_engine *engine, struct batch *batch)
{
    for (struct slot *slot = batch->first; slot; slot = slot->next) {
        const struct disk_request *request = &slot->request;
        slot->share.count = 0;
        if (slot->status != BLKIF_RSP_OKAY || request->nr_segments == 0)
            continue;
        disk_buffer_fill(&slot->buffer, request->sectors * DISK_SECTOR);
        if (carries_data_in(request))
            slot->share =
                disk_transfer_add(&engine->transfer, DISK_FROM_GUEST, request, &slot->buffer);
    }
    disk_transfer_run(&engine->transfer);
}

/* True if there was something that could be taken. */
static bool take_requests(struct disk_engine *engine)
{
    struct batch batch = { .last = &batch.first };
    int taken = take_batch(engine, &batch);

    fetch_tables(engine, &batch);
    fetch_data(engine, &batch);
    while (batch.first) {
        struct slot *slot = batch_take(&batch);
        if (slot->status == BLKIF_RSP_OKAY && !disk_transfer_done(&engine->transfer, slot->share))
            slot->status = BLKIF_RSP_ERROR;
        if (slot->status == BLKIF_RSP_OKAY)
            start_io(engine, slot);
        else
            respond(engine, slot, slot->status);
    }
    disk_io_submit(engine->io);
    return taken > 0;
}

static int16_t io_status(struct disk_engine *engine, const struct disk_io_op *op)
{
    if (op->error == 0)
        return BLKIF_RSP_OKAY;
    if (g_atomic_int_compare_and_exchange(engine->config.error_logged, 0, 1))
        g_warning("disk %s: %s: %s at sector %" PRIu64 " (%" PRIu64 " sectors); the guest is told, "
                  "further errors of this disk are not logged",
                  engine->config.name, engine->config.medium->path, g_strerror(op->error),
                  op->sector, op->sectors);
    return op->error == EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;
}

/* Delivers what has finished; true if there was something. */
static bool finish_requests(struct disk_engine *engine)
{
    struct batch batch = { .last = &batch.first };
    struct disk_io_op *op;
    bool progress = false;

    while ((op = disk_io_reap(engine->io))) {
        struct slot *slot = (struct slot *)((char *)op - offsetof(struct slot, op));
        progress = true;
        slot->status = io_status(engine, op);
        if (slot->flush_first && slot->status == BLKIF_RSP_OKAY) {
            slot->flush_first = false;
            op->kind = DISK_IO_WRITE;
            disk_io_add(engine->io, op);
            continue;
        }
        engine->in_flight--;
        slot->share.count = 0;
        if (op->kind == DISK_IO_READ && slot->status == BLKIF_RSP_OKAY)
            slot->share =
                disk_transfer_add(&engine->transfer, DISK_TO_GUEST, &slot->request, &slot->buffer);
        batch_add(&batch, slot);
    }
    disk_io_submit(engine->io);
    disk_transfer_run(&engine->transfer);
    while (batch.first) {
        struct slot *slot = batch_take(&batch);
        bool lost = !disk_transfer_done(&engine->transfer, slot->share);
        respond(engine, slot, lost ? BLKIF_RSP_ERROR : slot->status);
    }
    return progress;
}

static bool set_up(struct disk_engine *engine, GError **error)
{
    const struct disk_engine_config *config = &engine->config;

    engine->grants = xen_grants_open(error);
    if (!engine->grants)
        return false;
    engine->shared = xen_grants_map(engine->grants, config->domid, config->ring_refs,
                                    config->nr_ring_pages, error);
    if (!engine->shared)
        return false;
    disk_ring_init(&engine->ring, engine->shared, (size_t)config->nr_ring_pages * XEN_PAGE_SIZE,
                   config->abi);
    engine->nr_slots = MIN(engine->ring.entries, IN_FLIGHT_MAX);
    engine->slots = g_new0(struct slot, engine->nr_slots);
    disk_transfer_open(&engine->transfer, engine->grants, config->domid);
    if (config->persistent)
        disk_transfer_keep_mapped(&engine->transfer,
                                  engine->ring.entries * BLKIF_MAX_SEGMENTS_PER_REQUEST,
                                  config->map_failures);
    engine->io = disk_io_open(config->medium, engine->nr_slots, error);
    return engine->io && disk_pool_open(&engine->pool, error);
}

struct disk_engine *disk_engine_open(const struct disk_engine_config *config, GError **error)
{
    struct disk_engine *engine = g_new0(struct disk_engine, 1);
    engine->config = *config;
    if (set_up(engine, error))
        return engine;
    disk_engine_close(engine);
    return NULL;
}

void disk_engine_close(struct disk_engine *engine)
{
    if (!engine)
        return;
    if (engine->shared)
        xen_grants_unmap(engine->grants, engine->shared, engine->config.nr_ring_pages);
    disk_io_close(engine->io);
    disk_transfer_close(&engine->transfer);
    xen_grants_close(engine->grants);
    disk_pool_close(&engine->pool);
    g_free(engine->slots);
    g_free(engine);
}

bool disk_engine_turn(struct disk_engine *engine, bool take, bool *notify)
{
    bool progress = take && !engine->broken && take_requests(engine);
    progress |= finish_requests(engine);
    *notify = disk_ring_publish(&engine->ring);
    return progress;
}

bool disk_engine_arm(struct disk_engine *engine)
{
    /* What could not be taken waits for what is in flight, not for the guest. */
    return !engine->broken && !engine->starved && disk_ring_arm(&engine->ring);
}

bool disk_engine_broken(const struct disk_engine *engine)
{
    return engine->broken;
}

bool disk_engine_idle(const struct disk_engine *engine)
{
    return engine->in_flight == 0;
}

void disk_engine_hurry(struct disk_engine *engine)
{
    disk_io_hurry(engine->io);
}

int disk_engine_fd(struct disk_engine *engine)
{
    return disk_io_fd(engine->io);
}

void disk_engine_acknowledge(struct disk_engine *engine)
{
    disk_io_acknowledge(engine->io);
}
