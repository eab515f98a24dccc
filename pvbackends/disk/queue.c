/*
 * A queue's thread: see queue.h.
 *
 * Each turn takes a batch of requests from the ring, fetches the data of all its writes with one
 * grant copy, submits all its I/O with one system call, and then delivers whatever has finished:
 * the data of all reads with one grant copy, the responses with at most one notification.  No
 * memory is allocated per request.
 */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/queue.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/grant_table.h>

#include "pvbackends/disk/io.h"
#include "xen/error.h"
#include "xen/evtchn.h"
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

struct disk_queue {
    struct disk_queue_config config;
    struct xen_evtchn *evtchn;
    struct xen_grants *grants;
    struct disk_io *io;
    evtchn_port_t port;
    void *shared;
    struct disk_ring ring;

    uint8_t *buffers;
    struct slot *slots; /* one for each entry of the ring */
    struct slot *free;
    unsigned in_flight;
    xen_grant_copy *copies; /* the batch being gathered */
    unsigned nr_copies;

    bool broken;
    GThread *thread;
    int stop_fd;
    gint stop; /* atomic */
};

static bool carries_data_in(const struct disk_request *request)
{
    return request->nr_segments > 0 && request->operation != BLKIF_OP_READ;
}

static void release(struct disk_queue *queue, struct slot *slot)
{
    slot->next = queue->free;
    queue->free = slot;
}

static void respond(struct disk_queue *queue, struct slot *slot, int16_t status)
{
    disk_ring_respond(&queue->ring, slot->request.id, slot->request.operation, status);
    release(queue, slot);
}

/* Adds the copies between the guest's segments and the slot's buffer to the batch. */
static void gather_copies(struct disk_queue *queue, struct slot *slot)
{
    const struct disk_request *request = &slot->request;
    unsigned domid = queue->config.domid;
    uint8_t *at = slot->buffer;

    slot->copy = queue->nr_copies;
    for (unsigned i = 0; i < request->nr_segments; i++) {
        const struct disk_segment *segment = &request->segments[i];
        queue->copies[queue->nr_copies++] =
            carries_data_in(request)
                ? xen_grant_copy_from(domid, segment->ref, segment->offset, at, segment->length)
                : xen_grant_copy_to(domid, segment->ref, segment->offset, at, segment->length);
        at += segment->length;
    }
}

static void do_copies(struct disk_queue *queue)
{
    xen_grants_copy(queue->grants, queue->copies, queue->nr_copies);
    queue->nr_copies = 0;
}

static bool copied(const struct disk_queue *queue, const struct slot *slot)
{
    for (unsigned i = 0; i < slot->request.nr_segments; i++) {
        if (queue->copies[slot->copy + i].status != GNTST_okay)
            return false;
    }
    return true;
}

static void start_io(struct disk_queue *queue, struct slot *slot)
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
    queue->in_flight++;
    disk_io_add(queue->io, &slot->op);
}

/* Takes what the guest has put on the ring; true if there was something. */
static bool take_requests(struct disk_queue *queue)
{
    uint8_t raw[DISK_SLOT_MAX];
    struct slot *batch = NULL, **last = &batch;
    int pending = disk_ring_pending(&queue->ring);

    if (pending < 0) {
        queue->broken = true;
        return true;
    }
    for (int i = 0; i < pending && queue->free; i++) {
        struct slot *slot = queue->free;
        queue->free = slot->next;
        disk_ring_take(&queue->ring, raw);
        int status =
            disk_request_parse(&slot->request, queue->config.abi, raw, &queue->config.limits);
        if (status != BLKIF_RSP_OKAY) {
            respond(queue, slot, status);
            continue;
        }
        if (carries_data_in(&slot->request))
            gather_copies(queue, slot);
        slot->next = NULL;
        *last = slot;
        last = &slot->next;
    }
    do_copies(queue);
    while (batch) {
        struct slot *slot = batch;
        batch = slot->next;
        if (carries_data_in(&slot->request) && !copied(queue, slot))
            respond(queue, slot, BLKIF_RSP_ERROR);
        else
            start_io(queue, slot);
    }
    disk_io_submit(queue->io);
    return pending > 0;
}

static int16_t io_status(struct disk_queue *queue, const struct disk_io_op *op)
{
    if (op->error == 0)
        return BLKIF_RSP_OKAY;
    if (!*queue->config.error_logged)
        g_warning("disk %s: %s: %s at sector %" PRIu64 " (%" PRIu64 " sectors); the guest is told, "
                  "further errors of this disk are not logged",
                  queue->config.name, queue->config.medium->path, g_strerror(op->error), op->sector,
                  op->sectors);
    *queue->config.error_logged = true;
    return op->error == EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;
}

/* Delivers what has finished; true if there was something. */
static bool finish_requests(struct disk_queue *queue)
{
    struct slot *batch = NULL, **last = &batch;
    struct disk_io_op *op;
    bool progress = false;

    while ((op = disk_io_reap(queue->io))) {
        struct slot *slot = (struct slot *)((char *)op - offsetof(struct slot, op));
        progress = true;
        slot->status = io_status(queue, op);
        if (slot->flush_first && slot->status == BLKIF_RSP_OKAY) {
            slot->flush_first = false;
            op->kind = DISK_IO_WRITE;
            disk_io_add(queue->io, op);
            continue;
        }
        queue->in_flight--;
        if (op->kind == DISK_IO_READ && slot->status == BLKIF_RSP_OKAY)
            gather_copies(queue, slot);
        slot->next = NULL;
        *last = slot;
        last = &slot->next;
    }
    disk_io_submit(queue->io);
    do_copies(queue);
    while (batch) {
        struct slot *slot = batch;
        batch = slot->next;
        bool lost =
            slot->op.kind == DISK_IO_READ && slot->status == BLKIF_RSP_OKAY && !copied(queue, slot);
        respond(queue, slot, lost ? BLKIF_RSP_ERROR : slot->status);
    }
    return progress;
}

/* Sleeps until the guest, the medium or the main thread wants something. */
static void wait_for_work(struct disk_queue *queue)
{
    struct pollfd fds[] = {
        { .fd = disk_io_fd(queue->io), .events = POLLIN },
        { .fd = queue->stop_fd, .events = POLLIN },
        /* Last, because it is left out when there is nothing more to expect from the guest. */
        { .fd = xen_evtchn_fd(queue->evtchn), .events = POLLIN },
    };
    bool deaf = queue->broken || g_atomic_int_get(&queue->stop);
    eventfd_t count;

    poll(fds, deaf ? 2 : 3, -1);
    if (fds[0].revents)
        disk_io_acknowledge(queue->io);
    if (fds[1].revents)
        eventfd_read(queue->stop_fd, &count);
    if (!deaf && fds[2].revents && xen_evtchn_next(queue->evtchn) >= 0)
        xen_evtchn_unmask(queue->evtchn, queue->port);
}

static gboolean tell_broken(gpointer opaque)
{
    struct disk_queue *queue = opaque;
    queue->config.broken(queue->config.opaque);
    return G_SOURCE_REMOVE;
}

static void queue_free(struct disk_queue *queue)
{
    if (queue->shared)
        xen_grants_unmap(queue->grants, queue->shared, queue->config.nr_ring_pages);
    disk_io_close(queue->io);
    xen_grants_close(queue->grants);
    xen_evtchn_close(queue->evtchn);
    if (queue->buffers)
        munmap(queue->buffers, (size_t)queue->ring.entries * BUFFER_SIZE);
    if (queue->stop_fd >= 0)
        close(queue->stop_fd);
    g_free(queue->slots);
    g_free(queue->copies);
    g_free(queue);
}

static gboolean tell_stopped(gpointer opaque)
{
    struct disk_queue *queue = opaque;
    struct disk_queue_config config = queue->config;
    g_thread_join(queue->thread);
    queue_free(queue);
    config.stopped(config.opaque);
    return G_SOURCE_REMOVE;
}

static gpointer queue_thread(gpointer opaque)
{
    struct disk_queue *queue = opaque;

    for (;;) {
        bool stop = g_atomic_int_get(&queue->stop);
        bool was_broken = queue->broken;
        bool progress = false;

        if (stop)
            disk_io_hurry(queue->io);
        else if (!was_broken)
            progress = take_requests(queue);
        if (queue->broken && !was_broken)
            g_idle_add_full(G_PRIORITY_DEFAULT, tell_broken, queue, NULL);
        progress |= finish_requests(queue);
        if (disk_ring_publish(&queue->ring))
            xen_evtchn_notify(queue->evtchn, queue->port);
        if (stop && queue->in_flight == 0)
            break;
        if (!progress && (stop || queue->broken || !disk_ring_arm(&queue->ring)))
            wait_for_work(queue);
    }
    /* Not at idle priority: a guest that never stops writing to xenstore would hold it up. */
    g_idle_add_full(G_PRIORITY_DEFAULT, tell_stopped, queue, NULL);
    return NULL;
}

/* One slot, with its buffer, for each entry of the ring.  Memory comes with the first use. */
static bool allocate_slots(struct disk_queue *queue, GError **error)
{
    uint32_t entries = queue->ring.entries;
    queue->buffers = mmap(NULL, (size_t)entries * BUFFER_SIZE, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (queue->buffers == MAP_FAILED) {
        queue->buffers = NULL;
        xen_set_error(error, "cannot allocate I/O buffers");
        return false;
    }
    queue->slots = g_new0(struct slot, entries);
    queue->copies = g_new(xen_grant_copy, (size_t)entries * DISK_SEGMENTS_MAX);
    for (uint32_t i = entries; i-- > 0;) {
        queue->slots[i].buffer = queue->buffers + (size_t)i * BUFFER_SIZE;
        release(queue, &queue->slots[i]);
    }
    return true;
}

static bool set_up(struct disk_queue *queue, GError **error)
{
    const struct disk_queue_config *config = &queue->config;

    queue->grants = xen_grants_open(error);
    queue->evtchn = queue->grants ? xen_evtchn_open(error) : NULL;
    if (!queue->evtchn)
        return false;
    queue->shared = xen_grants_map(queue->grants, config->domid, config->ring_refs,
                                   config->nr_ring_pages, error);
    if (!queue->shared)
        return false;
    disk_ring_init(&queue->ring, queue->shared, (size_t)config->nr_ring_pages * XEN_PAGE_SIZE,
                   config->abi);
    queue->io = disk_io_open(config->medium, queue->ring.entries, error);
    if (!queue->io || !allocate_slots(queue, error) ||
        !xen_evtchn_bind(queue->evtchn, config->domid, config->port, &queue->port, error))
        return false;
    queue->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->stop_fd < 0)
        xen_set_error(error, "cannot create an eventfd");
    return queue->stop_fd >= 0;
}

struct disk_queue *disk_queue_start(const struct disk_queue_config *config, GError **error)
{
    struct disk_queue *queue = g_new0(struct disk_queue, 1);
    queue->config = *config;
    queue->stop_fd = -1;
    if (set_up(queue, error)) {
        queue->thread = g_thread_try_new(config->name, queue_thread, queue, error);
        if (queue->thread)
            return queue;
    }
    queue_free(queue);
    return NULL;
}

void disk_queue_stop(struct disk_queue *queue)
{
    g_atomic_int_set(&queue->stop, 1);
    eventfd_write(queue->stop_fd, 1);
}
