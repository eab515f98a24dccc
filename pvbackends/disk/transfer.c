/* Moving data between a guest's pages and our memory: see transfer.h. */

#include "pvbackends/disk/transfer.h"

#include <string.h>

void disk_transfer_open(struct disk_transfer *transfer, struct xen_grants *grants, unsigned domid)
{
    *transfer = (struct disk_transfer){
        .grants = grants,
        .domid = domid,
        .copies = g_new(xen_grant_copy, DISK_PIECES_MAX),
    };
}

void disk_transfer_keep_mapped(struct disk_transfer *transfer, unsigned max, gint *failures)
{
    disk_mappings_open(&transfer->mappings, transfer->grants, transfer->domid, max, failures);
    transfer->persistent = true;
}

void disk_transfer_close(struct disk_transfer *transfer)
{
    disk_mappings_close(&transfer->mappings);
    g_free(transfer->copies);
    transfer->copies = NULL;
}

static inline void add_piece(struct disk_transfer *transfer, enum disk_direction direction,
                             uint32_t ref, unsigned offset, void *local, unsigned length)
{
    unsigned domid = transfer->domid;
    uint8_t *page = transfer->persistent ? disk_mappings_find(&transfer->mappings, ref) : NULL;

    if (page) {
        memcpy(direction == DISK_FROM_GUEST ? local : page + offset,
               direction == DISK_FROM_GUEST ? page + offset : local, length);
        return;
    }
    g_assert(transfer->nr_copies < DISK_PIECES_MAX);
    xen_grant_copy *copy = &transfer->copies[transfer->nr_copies++];
    if (direction == DISK_FROM_GUEST)
        *copy = xen_grant_copy_from(domid, ref, offset, local, length);
    else
        *copy = xen_grant_copy_to(domid, ref, offset, local, length);
}

struct disk_share disk_transfer_add(struct disk_transfer *transfer, enum disk_direction direction,
                                    const struct disk_request *request,
                                    const struct disk_buffer *buffer)
{
    struct disk_share share = { .first = transfer->nr_copies };
    const struct iovec *chunk = buffer->chunks;
    unsigned at = 0; /* in the chunk */

    for (unsigned i = 0; i < request->nr_segments; i++) {
        const struct disk_segment *segment = &request->segments[i];
        unsigned length;
        for (unsigned done = 0; done < segment->length; done += length) {
            length = MIN(segment->length - done, (unsigned)chunk->iov_len - at);
            add_piece(transfer, direction, segment->ref, segment->offset + done,
                      (uint8_t *)chunk->iov_base + at, length);
            at += length;
            if (at == chunk->iov_len) {
                chunk++;
                at = 0;
            }
        }
    }
    share.count = transfer->nr_copies - share.first;
    return share;
}

struct disk_share disk_transfer_add_table(struct disk_transfer *transfer,
                                          const struct disk_request *request,
                                          const struct disk_buffer *buffer)
{
    struct disk_share share = { .first = transfer->nr_copies };
    add_piece(transfer, DISK_FROM_GUEST, request->table_ref, 0, buffer->chunks[0].iov_base,
              request->nr_segments * sizeof(struct blkif_request_segment));
    share.count = transfer->nr_copies - share.first;
    return share;
}

void disk_transfer_run(struct disk_transfer *transfer)
{
    xen_grants_copy(transfer->grants, transfer->copies, transfer->nr_copies);
    transfer->nr_copies = 0;
    disk_mappings_turn(&transfer->mappings);
}
