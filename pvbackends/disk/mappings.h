/*
 * The pages of a frontend that grants persistently: each is mapped when it is first used and stays
 * so.  There is a bound on them, for a queue and for the whole process; what was not used for the
 * longest time makes room.
 *
 * A page that cannot be mapped is no error here: it is for the caller to copy, and if that cannot
 * be done either, Xen says so.  A guest that gives a mapped reference to another page goes on
 * sharing the one that it had granted first, which is its own.
 *
 * Threads: mappings belong to their queue's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_MAPPINGS_H
#define DISK_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

#include "xen/grant.h"

/* Pages of a queue, as in Linux's backend; blkif.h wishes for 11 for each request in the ring. */
#define DISK_MAPPINGS_MAX 1056

/* Pages of the process: each is a mapping of the kernel's, of which it has 65530 for everything. */
#define DISK_MAPPINGS_OF_PROCESS 32768

/* Xen's library writes a line about each map that fails: so many of a disk, and no more are tried.
 */
#define DISK_MAPPING_FAILURES_MAX 8

struct disk_mapping;

struct disk_mappings {
    struct xen_grants *grants; /* the caller's */
    unsigned domid;
    unsigned max, count;
    gint *failures; /* atomic, the disk's */
    bool replaced;  /* one, since the last turn */
    struct disk_mapping *entries;
    struct disk_mapping **buckets;
    GQueue used; /* most recently first */
};

/* For up to MAX pages, at most DISK_MAPPINGS_MAX. */
void disk_mappings_open(struct disk_mappings *mappings, struct xen_grants *grants, unsigned domid,
                        unsigned max, gint *failures);
void disk_mappings_close(struct disk_mappings *mappings); /* unmaps; a zeroed one is fine */

/* The page of REF, for reading and writing, until the next call; NULL if it cannot be had. */
void *disk_mappings_find(struct disk_mappings *mappings, uint32_t ref);

/* A new batch begins: in each, one page at most makes room for another. */
void disk_mappings_turn(struct disk_mappings *mappings);

#endif
