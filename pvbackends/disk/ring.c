/* The shared ring: see ring.h. */

#include "pvbackends/disk/ring.h"

#include <string.h>
#include <xen/io/protocols.h>

/* The head of every shared ring (struct blkif_sring): four indexes and padding, then the slots. */
struct shared_head {
    uint32_t req_prod, req_event;
    uint32_t rsp_prod, rsp_event;
    uint8_t pad[48];
};

static const struct disk_abi abis[] = {
    { XEN_IO_PROTO_ABI_X86_64, 112, 8, 16, 24, 28, 16 },
    { XEN_IO_PROTO_ABI_X86_32, 108, 4, 12, 20, 24, 12 },
    { XEN_IO_PROTO_ABI_ARM, 112, 8, 16, 24, 28, 16 },
};

const struct disk_abi *disk_abi_find(const char *protocol)
{
    if (!protocol)
        protocol = XEN_IO_PROTO_ABI_NATIVE;
    for (size_t i = 0; i < sizeof(abis) / sizeof(abis[0]); i++) {
        if (strcmp(abis[i].name, protocol) == 0)
            return &abis[i];
    }
    return NULL;
}

static struct shared_head *head(const struct disk_ring *ring)
{
    return (struct shared_head *)ring->shared;
}

static uint8_t *slot_at(const struct disk_ring *ring, uint32_t index)
{
    size_t offset = (size_t)(index & (ring->entries - 1)) * ring->abi->slot_size;
    return ring->shared + sizeof(struct shared_head) + offset;
}

void disk_ring_init(struct disk_ring *ring, void *shared, size_t length, const struct disk_abi *abi)
{
    size_t slots = (length - sizeof(struct shared_head)) / abi->slot_size;

    *ring = (struct disk_ring){ .abi = abi, .shared = shared, .entries = 1 };
    while (ring->entries * 2 <= slots)
        ring->entries *= 2;
    ring->rsp_prod = __atomic_load_n(&head(ring)->rsp_prod, __ATOMIC_RELAXED);
    ring->rsp_prod_old = ring->req_cons = ring->rsp_prod;
}

int disk_ring_pending(const struct disk_ring *ring)
{
    /* Acquire: what is in the slots is at least as new as the index. */
    uint32_t prod = __atomic_load_n(&head(ring)->req_prod, __ATOMIC_ACQUIRE);
    if (prod - ring->rsp_prod > ring->entries || prod - ring->req_cons > ring->entries)
        return -1;
    return prod - ring->req_cons;
}

void disk_ring_take(struct disk_ring *ring, void *slot)
{
    memcpy(slot, slot_at(ring, ring->req_cons++), ring->abi->slot_size);
    /* The copy is what we use from here on, whatever the guest does to the slot (XSA-155). */
    __asm__ volatile("" ::: "memory");
}

void disk_ring_put_back(struct disk_ring *ring)
{
    ring->req_cons--;
}

void disk_ring_respond(struct disk_ring *ring, uint64_t id, uint8_t operation, int16_t status)
{
    uint8_t response[sizeof(struct blkif_response)] = { 0 }; /* no byte of ours leaks (XSA-216) */

    memcpy(response, &id, sizeof(id));
    response[sizeof(id)] = operation;
    memcpy(response + sizeof(id) + 2, &status, sizeof(status));
    memcpy(slot_at(ring, ring->rsp_prod++), response, ring->abi->response_size);
}

bool disk_ring_publish(struct disk_ring *ring)
{
    uint32_t old = ring->rsp_prod_old, new = ring->rsp_prod;

    if (old == new)
        return false;
    ring->rsp_prod_old = new;
    __atomic_store_n(&head(ring)->rsp_prod, new, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t event = __atomic_load_n(&head(ring)->rsp_event, __ATOMIC_RELAXED);
    return new - event < new - old;
}

bool disk_ring_arm(struct disk_ring *ring)
{
    __atomic_store_n(&head(ring)->req_event, ring->req_cons + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return disk_ring_pending(ring) != 0;
}
