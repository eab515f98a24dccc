/* Reading, writing, flushing: see disk.h. */

#include "ovmf-drivers/core/disk.h"

#include <xen/io/xenbus.h>

#define SECTORS_PER_PAGE (PV_PAGE / PV_SECTOR)

/* How often a silent backend's state is looked at: one that has closed need not be waited for. */
#define LOOK (250 * PV_MS)

/* The slot's number is in the low bits of a request's id; the rest is never used again. */
#define ID_SLOT_BITS 8
_Static_assert(PV_SLOTS_MAX <= 1 << ID_SLOT_BITS, "a slot's number is a part of the id");

struct transfer {
    uint8_t operation;
    uint64_t sector;
    uint8_t *data;
    size_t left; /* bytes that were not asked for yet */
    bool done;   /* nothing is left to be asked for */
    enum pv_status status;
};

/* While nothing is answered: when to look at the backend's state, and when to give up. */
struct watch {
    uint64_t look, deadline;
};

static uint8_t *slot_data(const struct pv_disk *disk, uint32_t slot)
{
    return pv_pool_page(&disk->pool, slot * disk->segments);
}

static void fill_segments(const struct pv_disk *disk, uint32_t slot, size_t length,
                          struct blkif_request_segment *segments)
{
    const uint32_t *refs = disk->pool.refs + slot * disk->segments;

    for (; length > 0; refs++, segments++) {
        size_t bytes = length < PV_PAGE ? length : PV_PAGE;
        *segments = (struct blkif_request_segment){ *refs, 0, bytes / PV_SECTOR - 1 };
        length -= bytes;
    }
}

static uint32_t segments_of(size_t length)
{
    return (length + PV_PAGE - 1) / PV_PAGE;
}

static void put_direct(struct pv_disk *disk, uint32_t number, const struct transfer *transfer)
{
    const struct pv_slot *slot = &disk->slots[number];
    blkif_request_t *request = pv_ring_next(&disk->ring);

    request->operation = transfer->operation;
    request->nr_segments = segments_of(slot->length);
    request->handle = 0;
    request->id = slot->id;
    request->sector_number = transfer->sector;
    fill_segments(disk, number, slot->length, request->seg);
    pv_ring_put(&disk->ring);
}

static void put_indirect(struct pv_disk *disk, uint32_t number, const struct transfer *transfer)
{
    const struct pv_slot *slot = &disk->slots[number];
    uint32_t table = disk->nr_slots * disk->segments + number;
    blkif_request_indirect_t *request = pv_ring_next(&disk->ring);

    fill_segments(disk, number, slot->length, (void *)pv_pool_page(&disk->pool, table));
    request->operation = BLKIF_OP_INDIRECT;
    request->indirect_op = transfer->operation;
    request->nr_segments = segments_of(slot->length);
    request->id = slot->id;
    request->sector_number = transfer->sector;
    request->handle = 0;
    request->indirect_grefs[0] = disk->pool.refs[table];
    pv_ring_put(&disk->ring);
}

/* Puts the next part of the transfer into slot NUMBER and on the ring. */
static void issue(struct pv_disk *disk, uint32_t number, struct transfer *transfer)
{
    struct pv_slot *slot = &disk->slots[number];
    size_t room = (size_t)disk->segments * PV_PAGE;
    bool writes = transfer->operation == BLKIF_OP_WRITE;

    slot->id = ++disk->last_id << ID_SLOT_BITS | number;
    slot->operation = transfer->operation;
    slot->length = transfer->left < room ? transfer->left : room;
    slot->target = transfer->operation == BLKIF_OP_READ ? transfer->data : NULL;
    if (writes)
        __builtin_memcpy(slot_data(disk, number), transfer->data, slot->length);
    if (segments_of(slot->length) > BLKIF_MAX_SEGMENTS_PER_REQUEST)
        put_indirect(disk, number, transfer);
    else
        put_direct(disk, number, transfer);
    disk->in_flight++;
    transfer->sector += slot->length / PV_SECTOR;
    if (slot->length > 0) /* a flush has no data */
        transfer->data += slot->length;
    transfer->left -= slot->length;
    transfer->done = transfer->left == 0;
}

static void issue_all(struct pv_disk *disk, struct transfer *transfer)
{
    const struct pv_platform *platform = disk->guest->platform;

    for (uint32_t i = 0; i < disk->nr_slots && !transfer->done; i++) {
        if (disk->slots[i].id == 0)
            issue(disk, i, transfer);
    }
    if (disk->ring.produced != disk->ring.published && pv_ring_push(&disk->ring))
        platform->port_notify(platform->opaque, disk->port);
}

/* A response that was copied; what it says may be anything. */
static bool finish(struct pv_disk *disk, const blkif_response_t *response,
                   struct transfer *transfer)
{
    uint32_t number = response->id & ((1 << ID_SLOT_BITS) - 1);

    if (number >= disk->nr_slots)
        return false;
    struct pv_slot *slot = &disk->slots[number];
    if (slot->id == 0 || slot->id != response->id)
        return false;
    /* Of an indirect request blkif.h leaves open which of its operations is meant. */
    if (response->operation != slot->operation && response->operation != BLKIF_OP_INDIRECT)
        return false;
    if (response->status != BLKIF_RSP_OKAY && response->status != BLKIF_RSP_ERROR &&
        response->status != BLKIF_RSP_EOPNOTSUPP)
        return false;
    if (response->status != BLKIF_RSP_OKAY) {
        transfer->status = PV_REFUSED;
        transfer->done = true;
    } else if (slot->target) {
        __builtin_memcpy(slot->target, slot_data(disk, number), slot->length);
    }
    slot->id = 0;
    disk->in_flight--;
    return true;
}

/* Takes what has been answered; their number, or -1 if the backend cannot be trusted. */
static int collect(struct pv_disk *disk, struct transfer *transfer)
{
    blkif_response_t response;
    int count = 0;

    /* No more than were there when we came: the next requests should be on their way soon. */
    for (uint32_t i = disk->in_flight; i > 0; i--) {
        switch (pv_ring_take(&disk->ring, &response)) {
        case PV_TAKEN_NONE:
            return count;
        case PV_TAKEN_BROKEN:
            return -1;
        case PV_TAKEN_RESPONSE:
            if (!finish(disk, &response, transfer))
                return -1;
            count++;
        }
    }
    return count;
}

/* Has the backend let go of the disk?  Xenstore may take its patience for that, if there is time.
 */
static bool has_gone(struct pv_disk *disk, uint64_t now, struct watch *watch)
{
    unsigned state;

    if (now + disk->guest->store->patience > watch->deadline) {
        watch->look = watch->deadline;
        return false;
    }
    watch->look = now + LOOK;
    return pv_disk_backend_state(disk, &state) != PV_OK || state != XenbusStateConnected;
}

/* Nothing was answered: sleeps a while, if there is still somebody to wait for. */
static enum pv_status wait_for_answer(struct pv_disk *disk, struct watch *watch)
{
    const struct pv_platform *platform = disk->guest->platform;
    uint64_t now = pv_now(platform);

    if (now >= watch->deadline)
        return pv_disk_die(disk, PV_TIMEOUT, "the backend does not answer");
    if (now >= watch->look && has_gone(disk, now, watch))
        return pv_disk_die(disk, PV_BROKEN, "the backend went away");
    if (!pv_ring_arm(&disk->ring))
        platform->wait(platform->opaque, disk->port,
                       watch->look < watch->deadline ? watch->look : watch->deadline);
    return PV_OK;
}

static struct watch watch_from_now(const struct pv_disk *disk)
{
    uint64_t now = pv_now(disk->guest->platform);
    return (struct watch){ now + LOOK, now + disk->guest->patience.answer };
}

static enum pv_status run(struct pv_disk *disk, struct transfer *transfer)
{
    struct watch watch = watch_from_now(disk);

    while (!transfer->done || disk->in_flight > 0) {
        issue_all(disk, transfer);
        int count = collect(disk, transfer);
        if (count < 0)
            return pv_disk_die(disk, PV_BROKEN, "the backend's answer makes no sense");
        if (count > 0) {
            watch = watch_from_now(disk);
            continue;
        }
        enum pv_status status = wait_for_answer(disk, &watch);
        if (status != PV_OK)
            return status;
    }
    return transfer->status;
}

static enum pv_status move(struct pv_disk *disk, uint8_t operation, uint64_t sector, void *buffer,
                           size_t length)
{
    const struct pv_medium *medium = &disk->medium;
    struct transfer transfer = { operation, sector, buffer, length, length == 0, PV_OK };

    if (disk->state != PV_DISK_CONNECTED)
        return PV_BROKEN;
    if (length % medium->sector_size || sector % (medium->sector_size / PV_SECTOR) ||
        length / PV_SECTOR > medium->sectors || sector > medium->sectors - length / PV_SECTOR)
        return PV_REFUSED;
    return run(disk, &transfer);
}

enum pv_status pv_disk_read(struct pv_disk *disk, uint64_t sector, void *buffer, size_t length)
{
    return move(disk, BLKIF_OP_READ, sector, buffer, length);
}

enum pv_status pv_disk_write(struct pv_disk *disk, uint64_t sector, const void *buffer,
                             size_t length)
{
    if (disk->medium.read_only)
        return PV_REFUSED;
    /* Only a read writes to the transfer's data. */
    return move(disk, BLKIF_OP_WRITE, sector, (void *)buffer, length);
}

enum pv_status pv_disk_flush(struct pv_disk *disk)
{
    struct transfer transfer = { disk->flush, 0, NULL, 0, false, PV_OK };

    if (disk->state != PV_DISK_CONNECTED)
        return PV_BROKEN;
    return disk->flush && !disk->medium.read_only ? run(disk, &transfer) : PV_OK;
}
