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
#include <string.h>

#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/pool.h"
#include "pvbackends/disk/transfer.h"
#include "xen/grant.h"

/* Requests in flight, however long the ring is; the kernel has few places for all of a host. */
#define IN_FLIGHT_MAX 256

/* A request in flight. */
struct slot {
    struct disk_io_op op;
    bool flush_before; /* the operation under way is the flush before a write */
    bool flush_after;  /* one follows the write */
    uint64_t since;    /* when it was taken, by disk_counters_clock() */
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
    const struct disk_medium *medium;
    struct disk_io *io;
    void *shared;
    struct disk_ring ring;

    struct disk_pool pool;
    struct disk_transfer transfer;
    struct slot *slots;
    struct slot *free;
    unsigned nr_slots, nr_used; /* the others have not been touched yet */
    unsigned in_flight;
    uint64_t now; /* when the batch began, or its I/O was found finished */

    /* What failed and is to be tried again, not to be answered; part of what is in flight. */
    struct batch held;
    unsigned nr_held;
    bool hurried; /* it is answered after all */

    /* Why nothing is taken. */
    bool starved;           /* the next request waits for what is in flight */
    struct slot *barrier;   /* was taken, and the others wait for it */
    gint64 throttled_until; /* monotonic time; 0 if it is not */
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
    if (slot == engine->barrier)
        engine->barrier = NULL;
    disk_counters_answered(engine->config.counters, &slot->request, status,
                           engine->now - slot->since);
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

static bool is_zero(const struct disk_buffer *buffer)
{
    for (unsigned i = 0; i < buffer->nr_filled; i++) {
        const char *bytes = buffer->chunks[i].iov_base;
        if (bytes[0] != 0 || memcmp(bytes, bytes + 1, buffer->chunks[i].iov_len - 1) != 0)
            return false;
    }
    return true;
}

static enum disk_io_kind first_step(const struct disk_engine *engine, const struct slot *slot)
{
    static const enum disk_io_kind kinds[] = {
        [BLKIF_OP_READ] = DISK_IO_READ,           [BLKIF_OP_WRITE] = DISK_IO_WRITE,
        [BLKIF_OP_WRITE_BARRIER] = DISK_IO_FLUSH, [BLKIF_OP_FLUSH_DISKCACHE] = DISK_IO_FLUSH,
        [BLKIF_OP_DISCARD] = DISK_IO_DISCARD,
    };
    const struct disk_request *request = &slot->request;

    if (request->secure)
        return DISK_IO_SECURE_DISCARD;
    if (request->operation == BLKIF_OP_WRITE && engine->config.detect_zeroes &&
        is_zero(&slot->buffer))
        return DISK_IO_ZERO;
    return kinds[request->operation];
}

/* What follows an operation that went well; false if it was the last. */
static bool next_step(struct slot *slot)
{
    if (slot->flush_before) {
        slot->flush_before = false;
        slot->op.kind = DISK_IO_WRITE;
        return true;
    }
    if (slot->flush_after && slot->op.kind == DISK_IO_WRITE) {
        slot->flush_after = false;
        slot->op.kind = DISK_IO_FLUSH;
        return true;
    }
    return false;
}

static void start_io(struct disk_engine *engine, struct slot *slot)
{
    const struct disk_request *request = &slot->request;

    slot->op.kind = first_step(engine, slot);
    slot->op.sector = request->sector;
    slot->op.sectors = request->sectors;
    slot->op.vectors = slot->buffer.chunks;
    slot->op.nr_vectors = slot->buffer.nr_filled;
    slot->flush_before = slot->op.kind == DISK_IO_FLUSH && request->nr_segments > 0;
    slot->flush_after = request->operation == BLKIF_OP_WRITE_BARRIER;
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
    slot->since = engine->now;
    slot->status = disk_request_parse(&slot->request, config->abi, raw, &config->limits);
    if (slot->status == BLKIF_RSP_OKAY &&
        !disk_pool_take(&engine->pool, &slot->buffer, slot->request.nr_segments)) {
        disk_ring_put_back(&engine->ring);
        release(engine, slot);
        return NULL;
    }
    return slot;
}

/* There is no medium, and nobody shall be told. */
static bool is_away(const struct disk_engine *engine)
{
    return engine->medium->lost && engine->config.stop_on_error && !engine->hurried;
}

/* Whether nothing may be taken yet.  It says nothing about the guest. */
static bool waits(struct disk_engine *engine)
{
    if (engine->config.throttle)
        engine->throttled_until = disk_throttle_until(engine->config.throttle);
    return engine->barrier || engine->nr_held > 0 || engine->throttled_until > 0 || is_away(engine);
}

/* So many requests, and the data that is known of this one. */
static void charge(struct disk_engine *engine, unsigned requests,
                   const struct disk_request *request)
{
    bool data = request->nr_segments > 0;
    if (engine->config.throttle)
        disk_throttle_charge(engine->config.throttle, requests,
                             data ? request->sectors * DISK_SECTOR : 0);
}

/* A request that all others wait for goes back to the ring until nothing is before it. */
static bool is_early(const struct disk_engine *engine, const struct batch *batch,
                     const struct slot *slot)
{
    return slot->request.operation == BLKIF_OP_WRITE_BARRIER && slot->status == BLKIF_RSP_OKAY &&
           (engine->in_flight > 0 || batch->first);
}

/* Adds the next request to the batch, or answers it if it is bad; false if its turn has not come.
 */
static bool take_into(struct disk_engine *engine, struct batch *batch)
{
    struct slot *slot = take_request(engine);

    if (!slot)
        return false;
    if (is_early(engine, batch, slot)) {
        disk_ring_put_back(&engine->ring);
        release(engine, slot);
        return false;
    }
    if (slot->status != BLKIF_RSP_OKAY) {
        respond(engine, slot, slot->status);
        return true;
    }
    if (slot->request.operation == BLKIF_OP_WRITE_BARRIER)
        engine->barrier = slot;
    charge(engine, 1, &slot->request);
    batch_add(batch, slot);
    return true;
}

/* Takes what the guest has put on the ring; the number of requests. */
static int take_batch(struct disk_engine *engine, struct batch *batch)
{
    int pending = disk_ring_pending(&engine->ring), taken = 0;

    if (pending < 0) {
        engine->broken = true;
        return 1;
    }
    if (pending > 0)
        engine->now = disk_counters_clock(engine->config.counters);
    engine->starved = false;
    for (; taken < pending && !waits(engine); taken++) {
        engine->starved = !take_into(engine, batch);
        if (engine->starved) {
            disk_counters_starved(engine->config.counters);
            break;
        }
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
        charge(engine, 0, &slot->request);
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

static void count_state(struct disk_engine *engine)
{
    disk_counters_now(engine->config.counters, engine->in_flight, engine->transfer.mappings.count);
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
    count_state(engine); /* before a medium that takes its time in the call */
    disk_io_submit(engine->io);
    return taken > 0;
}

static void log_error(const struct disk_engine *engine, const struct disk_io_op *op,
                      const char *consequence)
{
    if (!g_atomic_int_compare_and_exchange(engine->config.error_logged, 0, 1))
        return;
    g_warning("disk %s: %s: %s at sector %" PRIu64 " (%" PRIu64 " sectors); %s",
              engine->config.name, engine->medium->path, g_strerror(op->error), op->sector,
              op->sectors, consequence);
}

static int16_t io_status(const struct disk_engine *engine, const struct disk_io_op *op)
{
    if (op->error == 0)
        return BLKIF_RSP_OKAY;
    log_error(engine, op, "the guest is told, further errors of this disk are not logged");
    return op->error == EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;
}

/* A page cache forgets what it could not write, so to flush again proves nothing. */
static bool forgets(const struct disk_medium *medium)
{
    return medium->driver == &disk_io_aio && !medium->direct;
}

/* It says so once, to each of the queues: from then on no flush of the disk is a good one. */
static void judge_flush(const struct disk_engine *engine, struct disk_io_op *op)
{
    gint *lost = engine->config.flush_lost;

    if (op->kind != DISK_IO_FLUSH || !lost || !forgets(engine->medium))
        return;
    if (op->error != 0)
        g_atomic_int_set(lost, 1);
    else if (g_atomic_int_get(lost))
        op->error = EIO;
}

/* What failed and is tried again later, if an administrator wants it so. */
static bool hold(struct disk_engine *engine, struct slot *slot)
{
    if (!engine->config.stop_on_error || engine->hurried || slot->op.error == 0 ||
        slot->op.error == EOPNOTSUPP || (slot->op.kind == DISK_IO_FLUSH && forgets(engine->medium)))
        return false;
    log_error(engine, &slot->op,
              "the disk stands still until `rolemodel disk resume` tries it again");
    batch_add(&engine->held, slot);
    engine->nr_held++;
    return true;
}

/* What is left to be done of a request whose operation OP has finished; false if nothing. */
static bool continue_io(struct disk_engine *engine, struct slot *slot)
{
    struct disk_io_op *op = &slot->op;

    if (hold(engine, slot))
        return true;
    bool again = op->kind == DISK_IO_ZERO && op->error == EOPNOTSUPP;
    if (again)
        op->kind = DISK_IO_WRITE;
    else if (op->error != 0 || !next_step(slot))
        return false;
    disk_io_add(engine->io, op);
    return true;
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
        judge_flush(engine, op);
        if (continue_io(engine, slot))
            continue;
        engine->in_flight--;
        slot->status = io_status(engine, op);
        slot->share.count = 0;
        if (op->kind == DISK_IO_READ && slot->status == BLKIF_RSP_OKAY)
            slot->share =
                disk_transfer_add(&engine->transfer, DISK_TO_GUEST, &slot->request, &slot->buffer);
        batch_add(&batch, slot);
    }
    disk_io_submit(engine->io);
    disk_transfer_run(&engine->transfer);
    if (batch.first)
        engine->now = disk_counters_clock(engine->config.counters);
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
    engine->medium = config->medium;
    engine->io = disk_engine_open_io(engine, config->medium, error);
    return engine->io && disk_pool_open(&engine->pool, error);
}

struct disk_engine *disk_engine_open(const struct disk_engine_config *config, GError **error)
{
    struct disk_engine *engine = g_new0(struct disk_engine, 1);
    engine->config = *config;
    engine->held.last = &engine->held.first;
    if (set_up(engine, error))
        return engine;
    disk_engine_close(engine);
    return NULL;
}

void disk_engine_close(struct disk_engine *engine)
{
    if (!engine)
        return;
    disk_counters_now(engine->config.counters, 0, 0);
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
    count_state(engine);
    *notify = disk_ring_publish(&engine->ring);
    if (*notify)
        disk_counters_notified(engine->config.counters);
    return progress;
}

bool disk_engine_arm(struct disk_engine *engine)
{
    /* What could not be taken waits for what is in flight or for the time, not for the guest. */
    return !engine->broken && !engine->starved && !waits(engine) && disk_ring_arm(&engine->ring);
}

enum disk_engine_look disk_engine_look(struct disk_engine *engine)
{
    if (engine->broken || engine->throttled_until > 0 || engine->nr_held > 0 || is_away(engine))
        return DISK_ENGINE_UNKNOWN;
    if (engine->in_flight > 0) {
        enum disk_io_look io = disk_io_look(engine->io);
        if (io != DISK_IO_NOTHING)
            return io == DISK_IO_FINISHED ? DISK_ENGINE_WORK : DISK_ENGINE_UNKNOWN;
    }
    if (engine->starved || engine->barrier)
        return DISK_ENGINE_NOTHING;
    return disk_ring_pending(&engine->ring) != 0 ? DISK_ENGINE_WORK : DISK_ENGINE_NOTHING;
}

gint64 disk_engine_due(const struct disk_engine *engine)
{
    return engine->throttled_until;
}

bool disk_engine_broken(const struct disk_engine *engine)
{
    return engine->broken;
}

bool disk_engine_idle(const struct disk_engine *engine)
{
    return engine->in_flight == 0;
}

bool disk_engine_still(const struct disk_engine *engine)
{
    return engine->in_flight == engine->nr_held;
}

bool disk_engine_halted(const struct disk_engine *engine)
{
    return engine->nr_held > 0 || is_away(engine);
}

/* The medium may have become shorter, and must not be made longer by what was kept. */
static void retry(struct disk_engine *engine, struct slot *slot)
{
    const struct disk_request *request = &slot->request;

    if (request->sectors == 0 || disk_request_in_range(request, &engine->config.limits)) {
        disk_io_add(engine->io, &slot->op);
    } else {
        engine->in_flight--;
        respond(engine, slot, BLKIF_RSP_ERROR);
    }
}

void disk_engine_retry(struct disk_engine *engine)
{
    if (is_away(engine))
        return;
    engine->nr_held = 0;
    while (engine->held.first)
        retry(engine, batch_take(&engine->held));
    engine->held.last = &engine->held.first;
    disk_io_submit(engine->io);
}

void disk_engine_hurry(struct disk_engine *engine)
{
    if (engine->hurried)
        return;
    engine->hurried = true;
    disk_io_hurry(engine->io);
    disk_engine_retry(engine);
}

struct disk_io *disk_engine_open_io(const struct disk_engine *engine,
                                    const struct disk_medium *medium, GError **error)
{
    return disk_io_open(medium, engine->nr_slots, error);
}

void disk_engine_use(struct disk_engine *engine, const struct disk_medium *medium,
                     const struct disk_limits *limits, struct disk_io *io)
{
    if (io) {
        disk_io_close(engine->io);
        engine->io = io;
    }
    engine->medium = medium;
    engine->config.limits = *limits;
}

int disk_engine_fd(struct disk_engine *engine)
{
    /* The news of what has finished already is not worth a wake-up. */
    bool wanted = engine->in_flight > 0 || engine->io->driver->works_alone;
    return wanted ? disk_io_fd(engine->io) : -1;
}

void disk_engine_acknowledge(struct disk_engine *engine)
{
    disk_io_acknowledge(engine->io);
}
