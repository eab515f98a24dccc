/*
 * The shared ring of a block device: indexes, notification thresholds, and the layouts that the
 * three ABIs give to requests and responses.
 *
 * The pages are shared with a hostile guest.  Only req_prod and rsp_event are read from it, each
 * once; our own positions are kept in private memory and never read back.
 *
 * Source: xen/io/ring.h, xen/io/blkif.h, xen/io/protocols.h.
 * Threads: a ring belongs to its queue's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_RING_H
#define DISK_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/grant_table.h>
#include <xen/io/blkif.h>

/*
 * Where an ABI puts the fields, in bytes from the start of a slot.  32-bit x86 aligns 64-bit
 * integers to 4 bytes; x86_64, ARM (both sizes) and so "native" here align them to 8.
 */
struct disk_abi {
    const char *name;      /* as in the frontend's `protocol` node */
    uint8_t slot_size;     /* of the union of request and response */
    uint8_t id;            /* uint64_t, in requests; a response has it at 0 */
    uint8_t sector;        /* uint64_t */
    uint8_t segments;      /* struct blkif_request_segment[] or, for discard, uint64_t nr_sectors */
    uint8_t indirect_refs; /* grant_ref_t[8], of an indirect request */
    uint8_t response_size;
};

/* The ABI of PROTOCOL, or of this machine if it is NULL; NULL if there is none of that name. */
const struct disk_abi *disk_abi_find(const char *protocol);

/* Bytes enough for a slot of any ABI. */
#define DISK_SLOT_MAX 112

struct disk_ring {
    const struct disk_abi *abi;
    uint8_t *shared;       /* the mapped page(s) */
    uint32_t entries;      /* a power of two */
    uint32_t req_cons;     /* requests taken */
    uint32_t rsp_prod;     /* responses written */
    uint32_t rsp_prod_old; /* responses published */
};

/* SHARED is LENGTH bytes of mapped ring, owned by the caller.  Takes over at the guest's position.
 */
void disk_ring_init(struct disk_ring *ring, void *shared, size_t length,
                    const struct disk_abi *abi);

/* Requests waiting, or -1 if the guest claims more than the ring can hold: stop serving it. */
int disk_ring_pending(const struct disk_ring *ring);

/* Copies the next request to SLOT (DISK_SLOT_MAX bytes) and takes it; there must be one. */
void disk_ring_take(struct disk_ring *ring, void *slot);

/* The request taken last is on the ring after all, and taken anew when its turn comes. */
void disk_ring_put_back(struct disk_ring *ring);

/* Writes a response; ID and OPERATION are the request's, STATUS is BLKIF_RSP_*. */
void disk_ring_respond(struct disk_ring *ring, uint64_t id, uint8_t operation, int16_t status);

/* Publishes the responses; true if the guest asked to be notified of one of them (XSA-391). */
bool disk_ring_publish(struct disk_ring *ring);

/* Asks to be notified of the next request; true if one has arrived meanwhile. */
bool disk_ring_arm(struct disk_ring *ring);

#endif
