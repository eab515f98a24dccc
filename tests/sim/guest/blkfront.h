/*
 * A block frontend for tests: speaks all of blkif.h, whatever its options ask for and the backend
 * offers, and does exactly what a test tells it, right or wrong.
 *
 * It serves two kinds of tests.  The high-level calls move data and verify it, with as many
 * requests in flight as the ring holds.  The low-level calls put any bytes on the ring.
 *
 * Source: xen/io/blkif.h (units: sectors of 512 bytes always), xen/io/ring.h.
 * Threads: connect and close from one thread; each queue may then have a thread of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_BLKFRONT_H
#define GUEST_BLKFRONT_H

#include <stdint.h>
#include <xen/io/blkif.h>

#include "tests/sim/guest/guest.h"

struct blkfront;

struct blkfront_options {
    unsigned
        ring_order;    /* pages = 1 << order; more than the backend offers is brought down to it */
    unsigned queues;   /* 0 or 1: no multi-queue nodes; more: at most what the backend offers */
    bool persistent;   /* feature-persistent, if the backend offers it */
    unsigned indirect; /* segments of an indirect request; 0: never; at most what is offered */
    const char *protocol; /* "x86_64-abi", "x86_32-abi", "arm-abi"; NULL: the node is not written */
    bool firmware;        /* states 1 -> 4 at once, as edk2 does; otherwise 1 -> 3 -> 4 as Linux */
    uint32_t ring_start;  /* first value of the ring's indexes, to see them wrap */
};

/* What the backend said about the disk. */
struct blkfront_disk {
    uint64_t sectors;
    unsigned sector_size, physical_sector_size;
    unsigned info; /* VDISK_* */
    bool flush, barrier, discard, discard_secure, persistent;
    unsigned max_ring_order, max_queues, max_indirect;
};

/*
 * Takes the device DEVID of GUEST from whatever state to Connected; NULL, with *REASON for the
 * message of the test (g_free), if the backend does not follow within 10 s or fails it.
 */
struct blkfront *blkfront_connect(struct guest *guest, unsigned devid,
                                  const struct blkfront_options *options, char **reason);

/* 5, wait for the backend's 5 or 6, 6: as an orderly frontend.  False if the backend hung. */
bool blkfront_close(struct blkfront *front);

/* Lets everything go as a crashed kernel would: states stay, ring and grants are forgotten. */
void blkfront_abandon(struct blkfront *front);

const struct blkfront_disk *blkfront_disk(const struct blkfront *front);
unsigned blkfront_queues(const struct blkfront *front);
unsigned blkfront_ring_entries(const struct blkfront *front);

/* --- data: each returns a BLKIF_RSP_* status, or BLKFRONT_TIMEOUT --- */

#define BLKFRONT_TIMEOUT (-1000)

/* DATA is any memory; lengths over a request's are split and kept in flight together. */
int blkfront_read(struct blkfront *front, unsigned queue, uint64_t sector, void *data,
                  size_t length);
int blkfront_write(struct blkfront *front, unsigned queue, uint64_t sector, const void *data,
                   size_t length);
int blkfront_flush(struct blkfront *front, unsigned queue);
int blkfront_discard(struct blkfront *front, unsigned queue, uint64_t sector, uint64_t sectors,
                     bool secure);

/*
 * Writes a pattern that depends on position and SEED over SECTORS from SECTOR on, in pieces of
 * random size and in random order, a full ring in flight; reads it back in another order and
 * compares.  Every other use of the queue's ring must have ended.  False, with *REASON (g_free),
 * if a request failed or data is wrong.
 */
bool blkfront_verify(struct blkfront *front, unsigned queue, uint64_t sector, uint64_t sectors,
                     uint32_t seed, char **reason);

/* The pattern's LENGTH bytes from SECTOR on, for comparing with the medium. */
void blkfront_pattern(void *data, uint64_t sector, size_t length, uint32_t seed);

/* --- the ring itself --- */

/* The ring's pages, in this process; LENGTH of a slot is that of the protocol asked for. */
void *blkfront_ring(struct blkfront *front, unsigned queue);
size_t blkfront_slot_size(const struct blkfront *front);

/* The queue's event channel, and the grant of the ring's first page. */
uint32_t blkfront_port(const struct blkfront *front, unsigned queue);
uint32_t blkfront_ring_ref(const struct blkfront *front, unsigned queue);

/*
 * Puts a request on the ring in the layout of the connection's protocol, without publishing it.
 * For BLKIF_OP_DISCARD and BLKIF_OP_INDIRECT cast one of those of blkif.h.  ref and segments are
 * the caller's.  False if the ring is full.
 */
bool blkfront_put(struct blkfront *front, unsigned queue, const blkif_request_t *request);

/* Puts LENGTH raw bytes in the next slot. */
bool blkfront_put_raw(struct blkfront *front, unsigned queue, const void *slot, size_t length);

/* Publishes what was put and notifies if the backend asked for it. */
void blkfront_push(struct blkfront *front, unsigned queue);

/* The next response; false if none came within TIMEOUT_MS. */
bool blkfront_take(struct blkfront *front, unsigned queue, blkif_response_t *response,
                   int timeout_ms);

/* --- measuring --- */

struct blkfront_load {
    bool write, random;
    unsigned block;    /* bytes; several requests if it is more than one can carry */
    unsigned depth;    /* blocks in flight per queue; the ring must have room for their requests */
    unsigned seconds;  /* after one second of warming up */
    uint64_t requests; /* stop after so many blocks instead, if not 0 */
};

struct blkfront_result {
    double iops, mb_per_s;
    double p50_us, p99_us;     /* latency */
    uint64_t requests, errors; /* blocks */
    double elapsed_s;
};

/* Runs LOAD on every queue at once, a thread each. */
struct blkfront_result blkfront_run(struct blkfront *front, const struct blkfront_load *load);

#endif
