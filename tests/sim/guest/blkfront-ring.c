/* The test frontend's end of the shared ring: see blkfront.h. */

#include "tests/sim/guest/blkfront-queue.h"

#include <string.h>

_Static_assert(offsetof(struct blkif_request, id) == 8, "the tests run on 64-bit machines");

/* struct blkif_sring without the slots, whose size is the protocol's. */
struct shared_head {
    uint32_t req_prod, req_event;
    uint32_t rsp_prod, rsp_event;
    uint8_t pad[48];
};

/* 32-bit x86 has no gap before the 64-bit id; the fields behind it keep their distances. */
#define ID_GAP 4

size_t blkfront_layout_size(bool compact)
{
    return sizeof(struct blkif_request) - (compact ? ID_GAP : 0);
}

unsigned blkfront_layout_entries(bool compact, unsigned pages)
{
    size_t slots =
        (pages * (size_t)GUEST_PAGE - sizeof(struct shared_head)) / blkfront_layout_size(compact);
    unsigned entries = 1;
    while (entries * 2 <= slots)
        entries *= 2;
    return entries;
}

static struct shared_head *head(const struct blkfront_queue *queue)
{
    return (struct shared_head *)queue->ring;
}

static uint8_t *slot_at(const struct blkfront_queue *queue, uint32_t index)
{
    const struct blkfront *front = queue->front;
    size_t offset =
        (index & (front->ring_entries - 1)) * blkfront_layout_size(queue->front->compact);
    return queue->ring + sizeof(struct shared_head) + offset;
}

void blkfront_queue_init_ring(struct blkfront_queue *queue, uint32_t start)
{
    *head(queue) = (struct shared_head){
        .req_prod = start,
        .req_event = start + 1,
        .rsp_prod = start,
        .rsp_event = start + 1,
    };
    queue->req_prod = queue->req_published = queue->rsp_cons = start;
}

static uint8_t *next_slot(struct blkfront_queue *queue)
{
    if (queue->req_prod - queue->rsp_cons >= queue->front->ring_entries)
        return NULL;
    return slot_at(queue, queue->req_prod++);
}

bool blkfront_queue_put(struct blkfront_queue *queue, const blkif_request_t *request)
{
    const size_t id = offsetof(struct blkif_request, id);
    const uint8_t *raw = (const uint8_t *)request;
    uint8_t *slot = next_slot(queue);

    if (!slot)
        return false;
    if (queue->front->compact) {
        memcpy(slot, raw, id - ID_GAP);
        memcpy(slot + id - ID_GAP, raw + id, sizeof(*request) - id);
    } else {
        memcpy(slot, raw, sizeof(*request));
    }
    return true;
}

void blkfront_queue_push(struct blkfront_queue *queue)
{
    uint32_t old = queue->req_published, new = queue->req_prod;

    if (old == new)
        return;
    queue->req_published = new;
    /* Release: the slots before the index.  Then a full barrier: the index before the check. */
    __atomic_store_n(&head(queue)->req_prod, new, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t event = __atomic_load_n(&head(queue)->req_event, __ATOMIC_RELAXED);
    if (new - event < new - old)
        guest_port_notify(queue->front->guest, queue->port);
}

bool blkfront_queue_poll(struct blkfront_queue *queue, blkif_response_t *response)
{
    uint32_t prod = __atomic_load_n(&head(queue)->rsp_prod, __ATOMIC_ACQUIRE);
    if (prod == queue->rsp_cons)
        return false;
    if (prod - queue->rsp_cons > queue->front->ring_entries)
        g_error("the backend claims %u responses in a ring of %u", prod - queue->rsp_cons,
                queue->front->ring_entries);
    /* Both layouts have a response's fields at the same places. */
    memcpy(response, slot_at(queue, queue->rsp_cons++),
           offsetof(struct blkif_response, status) + sizeof(response->status));
    return true;
}

/* Asks to be notified of the next response; true if there is one meanwhile. */
static bool arm(struct blkfront_queue *queue)
{
    __atomic_store_n(&head(queue)->rsp_event, queue->rsp_cons + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&head(queue)->rsp_prod, __ATOMIC_RELAXED) != queue->rsp_cons;
}

bool blkfront_queue_take(struct blkfront_queue *queue, blkif_response_t *response, int timeout_ms)
{
    if (blkfront_queue_poll(queue, response))
        return true;
    gint64 end = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    for (;;) {
        if (arm(queue) && blkfront_queue_poll(queue, response))
            return true;
        gint64 left = end - g_get_monotonic_time();
        if (left <= 0)
            return blkfront_queue_poll(queue, response);
        /* Not every event is a response: an old one may be pending. */
        guest_port_wait(queue->front->guest, queue->port, left / G_TIME_SPAN_MILLISECOND + 1);
    }
}

void *blkfront_ring(struct blkfront *front, unsigned queue)
{
    return front->queues[queue].ring;
}

size_t blkfront_slot_size(const struct blkfront *front)
{
    return blkfront_layout_size(front->compact);
}

uint32_t blkfront_port(const struct blkfront *front, unsigned queue)
{
    return front->queues[queue].port;
}

uint32_t blkfront_ring_ref(const struct blkfront *front, unsigned queue)
{
    return front->queues[queue].ring_refs[0];
}

bool blkfront_put(struct blkfront *front, unsigned queue, const blkif_request_t *request)
{
    return blkfront_queue_put(&front->queues[queue], request);
}

bool blkfront_put_raw(struct blkfront *front, unsigned queue, const void *slot, size_t length)
{
    uint8_t *next = next_slot(&front->queues[queue]);
    if (!next)
        return false;
    memcpy(next, slot, MIN(length, blkfront_slot_size(front)));
    return true;
}

void blkfront_push(struct blkfront *front, unsigned queue)
{
    blkfront_queue_push(&front->queues[queue]);
}

bool blkfront_take(struct blkfront *front, unsigned queue, blkif_response_t *response,
                   int timeout_ms)
{
    return blkfront_queue_take(&front->queues[queue], response, timeout_ms);
}
