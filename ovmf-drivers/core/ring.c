/* The shared ring: see ring.h. */

#include "ovmf-drivers/core/ring.h"

uint32_t pv_ring_entries(uint32_t pages)
{
    uint32_t room =
        (pages * PV_PAGE - offsetof(blkif_sring_t, ring)) / sizeof(union blkif_sring_entry);
    uint32_t entries = 1;

    while (entries * 2 <= room)
        entries *= 2;
    return entries;
}

void pv_ring_init(struct pv_ring *ring, void *shared, uint32_t pages)
{
    *ring = (struct pv_ring){ .shared = shared, .entries = pv_ring_entries(pages) };
    ring->shared->req_event = 1;
    ring->shared->rsp_event = 1;
}

void *pv_ring_next(struct pv_ring *ring)
{
    return &ring->shared->ring[ring->produced & (ring->entries - 1)].req;
}

void pv_ring_put(struct pv_ring *ring)
{
    ring->produced++;
}

bool pv_ring_push(struct pv_ring *ring)
{
    uint32_t old = ring->published;

    __atomic_store_n(&ring->shared->req_prod, ring->produced, __ATOMIC_RELEASE);
    ring->published = ring->produced;
    /* A fence of the processor: the index must be seen before the event is looked at. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t event = __atomic_load_n(&ring->shared->req_event, __ATOMIC_RELAXED);
    return ring->produced - event < ring->produced - old;
}

static uint32_t produced_responses(const struct pv_ring *ring)
{
    return __atomic_load_n(&ring->shared->rsp_prod, __ATOMIC_ACQUIRE);
}

enum pv_taken pv_ring_take(struct pv_ring *ring, blkif_response_t *response)
{
    uint32_t there = produced_responses(ring) - ring->consumed;

    if (there == 0)
        return PV_TAKEN_NONE;
    if (there > ring->published - ring->consumed)
        return PV_TAKEN_BROKEN;
    const volatile blkif_response_t *shared =
        &ring->shared->ring[ring->consumed & (ring->entries - 1)].rsp;
    response->id = shared->id;
    response->operation = shared->operation;
    response->status = shared->status;
    ring->consumed++;
    return PV_TAKEN_RESPONSE;
}

bool pv_ring_arm(struct pv_ring *ring)
{
    __atomic_store_n(&ring->shared->rsp_event, ring->consumed + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return produced_responses(ring) != ring->consumed;
}
