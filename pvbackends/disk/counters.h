/*
 * What a disk has done, in a file of shared memory that others may read while it runs:
 * RUNDIR/DOMID/disk-DEVID.counters (role_run.h).
 *
 * The role locks the file (F_OFD_SETLK) as long as it serves the disk: one that nobody has locked
 * was left by a role that was killed, and is removed when the role starts again.
 *
 * Threads: a queue's counters are written by the thread that serves it, and by no other; each is
 * read whole, but they are not of one moment.  Without a lock and without a system call.
 * Units: sectors of 512 bytes; latency in microseconds, from the ring to the answer.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_COUNTERS_H
#define DISK_COUNTERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <glib.h>

#include "pvbackends/disk/frontend.h"
#include "pvbackends/disk/request.h"

enum disk_counter {
    DISK_OO_REQ,        /* turns in which the next request had to wait for room */
    DISK_ERRORS,        /* requests answered with an error */
    DISK_NOTIFICATIONS, /* events sent to the guest */
    DISK_IN_FLIGHT,     /* requests, now */
    DISK_MAPPED,        /* pages of the guest that stay mapped, now */
    DISK_COUNTERS,
};

/* BLKIF_OP_* up to this are what is counted by operation. */
#define DISK_OPERATIONS (BLKIF_OP_DISCARD + 1)

/* Bucket 0 is below 1 us, bucket N from 2^(N-1) us to below 2^N us; the last has all the rest. */
#define DISK_LATENCY_BUCKETS 32

/* A cache line is nobody else's. */
#define DISK_CACHE_LINE 64

struct disk_queue_counters {
    _Alignas(DISK_CACHE_LINE) _Atomic uint64_t values[DISK_COUNTERS];
    _Atomic uint64_t sectors[DISK_OPERATIONS]; /* of those that were done without an error */
    /* All that were answered are in one of the buckets of their operation, so this is how many. */
    _Atomic uint64_t latency[DISK_OPERATIONS][DISK_LATENCY_BUCKETS];
};

#define DISK_COUNTERS_MAGIC "rm-disk"
#define DISK_COUNTERS_VERSION 1
#define DISK_VDEV_MAX 32

/* The file. */
struct disk_counters_file {
    char magic[8];
    uint32_t version;
    uint32_t size;              /* of all of it */
    uint64_t started;           /* when it was made: microseconds since 1970 */
    _Atomic uint32_t nr_queues; /* connected; counters of the others stay as they are */
    char vdev[DISK_VDEV_MAX];   /* "xvda", ended by a NUL */
    struct disk_queue_counters queues[DISK_QUEUES_MAX];
};
_Static_assert(sizeof(struct disk_queue_counters) == 26 * DISK_CACHE_LINE, "fixed layout");
_Static_assert(offsetof(struct disk_counters_file, queues) == DISK_CACHE_LINE, "fixed layout");

/* --- for the role --- */

struct disk_counters;

/* Makes the file of the disk with number DEVID, which the guest's configuration calls VDEV. */
struct disk_counters *disk_counters_open(unsigned domid, const char *devid, const char *vdev,
                                         GError **error);
void disk_counters_close(struct disk_counters *counters); /* and removes it; NULL is fine */

/* NULL of NULL, which the functions below take. */
struct disk_queue_counters *disk_counters_queue(struct disk_counters *counters, unsigned queue);

void disk_counters_set_queues(struct disk_counters *counters, unsigned nr_queues);

/* Removes what roles that were killed have left of the guest. */
void disk_counters_clean(unsigned domid);

/* --- for its queues: NULL counts nothing --- */

static inline void disk_counters_add(_Atomic uint64_t *counter, uint64_t more)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + more, memory_order_relaxed);
}

static inline void disk_counters_set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/* The time in microseconds, for disk_counters_answered(). */
static inline uint64_t disk_counters_clock(const struct disk_queue_counters *counters)
{
    struct timespec now;
    if (!counters)
        return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline size_t disk_latency_bucket(uint64_t us)
{
    /* As many bits as the number has, also if it has none. */
    return 63 ^ (size_t)__builtin_clzll(2 * MIN(us, G_MAXINT32) + 1);
}

/* REQUEST is answered with STATUS, US microseconds after it was taken from the ring. */
static inline void disk_counters_answered(struct disk_queue_counters *counters,
                                          const struct disk_request *request, int16_t status,
                                          uint64_t us)
{
    const size_t operation = request->operation;

    if (!counters)
        return;
    if (status != BLKIF_RSP_OKAY)
        disk_counters_add(&counters->values[DISK_ERRORS], 1);
    if (operation >= DISK_OPERATIONS)
        return;
    if (status == BLKIF_RSP_OKAY)
        disk_counters_add(&counters->sectors[operation], request->sectors);
    disk_counters_add(&counters->latency[operation][disk_latency_bucket(us)], 1);
}

static inline void disk_counters_starved(struct disk_queue_counters *counters)
{
    if (counters)
        disk_counters_add(&counters->values[DISK_OO_REQ], 1);
}

static inline void disk_counters_notified(struct disk_queue_counters *counters)
{
    if (counters)
        disk_counters_add(&counters->values[DISK_NOTIFICATIONS], 1);
}

/* How it is now. */
static inline void disk_counters_now(struct disk_queue_counters *counters, unsigned in_flight,
                                     unsigned mapped)
{
    if (!counters)
        return;
    disk_counters_set(&counters->values[DISK_IN_FLIGHT], in_flight);
    disk_counters_set(&counters->values[DISK_MAPPED], mapped);
}

/* --- for readers --- */

/*
 * Calls FN with a copy of each file of the guest's that belongs to a running role and is what it
 * must be, in the order of their numbers.
 */
typedef void disk_counters_fn(const char *devid, const struct disk_counters_file *file,
                              void *opaque);
void disk_counters_each(unsigned domid, disk_counters_fn *fn, void *opaque);

#endif
