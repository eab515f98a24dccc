/*
 * What is done with a ring's requests: see engine.h.
 *
 * Each turn takes a batch of requests from the ring, fetches the data of all its writes with one
 * grant copy, submits all its I/O with one system call, and then delivers whatever has finished:
 * the data of all reads with one grant copy, the responses with at most one notification.  No
 * memory is allocated per request.
 */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/engine.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <xen/grant_table.h>

#include "pvbackends/disk/io.h"
#include "xen/error.h"
#include "xen/grant.h"

/* Every page of a request, so that its data is contiguous and aligned for O_DIRECT. */
#define BUFFER_SIZE (DISK_SEGMENTS_MAX * XEN_PAGE_SIZE)

/* A request in flight. */
struct slot {
    struct disk_request request;
    struct disk_io_op op;
    uint8_t *buffer;
    bool flush_first;  /* the operation under way is the flush before a write */
    int16_t status;    /* to respond with */
    unsigned copy;     /* index of its first grant copy in the batch */
    struct slot *next; /* in the free list or the batch */
};

struct disk_engine {
    struct disk_engine_config config;
    struct xen_grants *grants;
    struct disk_io *io;
    void *shared;
    struct disk_ring ring;

    uint8_t *buffers;
    struct slot *slots; /* one for each entry of the ring */
    struct slot *free;
    unsigned in_flight;
    xen_grant_copy *copies; /* the batch being gathered */
    unsigned nr_copies;

    bool broken;
};

static bool carries_data_in(const struct disk_request *request)
{
    return request->nr_segments > 0 && request->operation != BLKIF_OP_READ;
}

static void release(struct disk_engine *engine, struct slot *slot)
{
    slot->next = engine->free;
    engine->free = slot;
}

static void respond(struct disk_engine *engine, struct slot *slot, int16_t status)
{
    disk_ring_respond(&engine->ring, slot->request.id, slot->request.operation, status);
    release(engine, slot);
}

/* Adds the copies between the guest's segments and the slot's buffer to the batch. */
static void gather_copies(struct disk_engine *engine, struct slot *slot)
{
    const struct disk_request *request = &slot->request;
    unsigned domid = engine->config.domid;
    uint8_t *at = slot->buffer;

    slot->copy = engine->nr_copies;
    for (unsigned i = 0; i < request->nr_segments; i++) {
        const struct disk_segment *segment = &request->segments[i];
        engine->copies[engine->nr_copies++] =
            carries_data_in(request)
                ? xen_grant_copy_from(domid, segment->ref, segment->offset, at, segment->length)
                : xen_grant_copy_to(domid, segment->ref, segment->offset, at, segment->length);
        at += segment->length;
    }
}

static void do_copies(struct disk_engine *engine)
{
    xen_grants_copy(engine->grants, engine->copies, engine->nr_copies);
    engine->nr_copies = 0;
}

static bool copied(const struct disk_engine *engine, const struct slot *slot)
{
    for (unsigned i = 0; i < slot->request.nr_segments; i++) {
        if (engine->copies[slot->copy + i].status != GNTST_okay)
            return false;
    }
    return true;
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
    slot->op.buffer = slot->buffer;
    slot->flush_first = slot->op.kind == DISK_IO_FLUSH && request->nr_segments > 0;
    engine->in_flight++;
    disk_io_add(engine->io, &slot->op);
}

/* Takes what the guest has put on the ring; true if there was something. */
static bool take_requests(struct disk_engine *engine)
{
    uint8_t raw[DISK_SLOT_MAX];
    struct slot *batch = NULL, **last = &batch;
    int pending = disk_ring_pending(&engine->ring);

    if (pending < 0) {
        engine->broken = true;
        return true;
    }
    for (int i = 0; i < pending && engine->free; i++) {
        struct slot *slot = engine->free;
        engine->free = slot->next;
        disk_ring_take(&engine->ring, raw);
        int status =
            disk_request_parse(&slot->request, engine->config.abi, raw, &engine->config.limits);
        if (status != BLKIF_RSP_OKAY) {
            respond(engine, slot, status);
            continue;
        }
        if (carries_data_in(&slot->request))
            gather_copies(engine, slot);
        slot->next = NULL;
        *last = slot;
        last = &slot->next;
    }
    do_copies(engine);
    while (batch) {
        struct slot *slot = batch;
        batch = slot->next;
        if (carries_data_in(&slot->request) && !copied(engine, slot))
            respond(engine, slot, BLKIF_RSP_ERROR);
        else
            start_io(engine, slot);
    }
    disk_io_submit(engine->io);
    return pending > 0;
}

static int16_t io_status(struct disk_engine *engine, const struct disk_io_op *op)
{
    if (op->error == 0)
        return BLKIF_RSP_OKAY;
    if (!*engine->config.error_logged)
        g_warning("disk %s: %s: %s at sector %" PRIu64 " (%" PRIu64 " sectors); the guest is told, "
                  "further errors of this disk are not logged",
                  engine->config.name, engine->config.medium->path, g_strerror(op->error),
                  op->sector, op->sectors);
    *engine->config.error_logged = true;
    return op->error == EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;
}

/* Delivers what has finished; true if there was something. */
static bool finish_requests(struct disk_engine *engine)
{
    struct slot *batch = NULL, **last = &batch;
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
        if (op->kind == DISK_IO_READ && slot->status == BLKIF_RSP_OKAY)
            gather_copies(engine, slot);
        slot->next = NULL;
        *last = slot;
        last = &slot->next;
    }
    disk_io_submit(engine->io);
    do_copies(engine);
    while (batch) {
        struct slot *slot = batch;
        batch = slot->next;
        bool lost = slot->op.kind == DISK_IO_READ && slot->status == BLKIF_RSP_OKAY &&
                    !copied(engine, slot);
        respond(engine, slot, lost ? BLKIF_RSP_ERROR : slot->status);
    }
    return progress;
}

/* One slot, with its buffer, for each entry of the ring.  Memory comes with the first use. */
static bool allocate_slots(struct disk_engine *engine, GError **error)
{
    uint32_t entries = engine->ring.entries;
    engine->buffers = mmap(NULL, (size_t)entries * BUFFER_SIZE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (engine->buffers == MAP_FAILED) {
        engine->buffers = NULL;
        xen_set_error(error, "cannot allocate I/O buffers");
        return false;
    }
    engine->slots = g_new0(struct slot, entries);
    engine->copies = g_new(xen_grant_copy, (size_t)entries * DISK_SEGMENTS_MAX);
    for (uint32_t i = entries; i-- > 0;) {
        engine->slots[i].buffer = engine->buffers + (size_t)i * BUFFER_SIZE;
        release(engine, &engine->slots[i]);
    }
    return true;
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
    engine->io = disk_io_open(config->medium, engine->ring.entries, error);
    return engine->io && allocate_slots(engine, error);
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
    xen_grants_close(engine->grants);
    if (engine->buffers)
        munmap(engine->buffers, (size_t)engine->ring.entries * BUFFER_SIZE);
    g_free(engine->slots);
    g_free(engine->copies);
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
    return !engine->broken && disk_ring_arm(&engine->ring);
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
