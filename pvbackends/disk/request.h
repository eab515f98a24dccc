/*
 * One block request: read from a private copy of its slot, checked against the disk, and put in
 * a form that the rest of the role can trust.
 *
 * Units: sectors are always 512 bytes, whatever `sector-size` says (blkif.h, and what every
 * frontend does).
 * Threads: pure functions.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_REQUEST_H
#define DISK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "pvbackends/disk/ring.h"

#define DISK_SECTOR 512
#define DISK_SECTORS_PER_PAGE 8

/* Segments an indirect request may have; their table is in one page (blkif.h has room for 8). */
#define DISK_SEGMENTS_MAX 256
_Static_assert(DISK_SEGMENTS_MAX * sizeof(struct blkif_request_segment) <= 4096, "one page");

/* What a request must fit. */
struct disk_limits {
    uint64_t sectors;   /* the disk's size */
    uint32_t alignment; /* of first sector and length, in sectors: 8 for a 4096-byte medium */
    bool read_only;
    bool discard;
    bool secure_discard;
};

struct disk_segment {
    uint32_t ref;
    uint16_t offset; /* in the granted page, bytes */
    uint16_t length; /* bytes; offset + length is at most a page */
};

struct disk_request {
    uint64_t id;       /* the guest's, for the response */
    uint8_t operation; /* BLKIF_OP_*, for the response; of an indirect request the inner one */
    uint64_t sector;   /* first sector */
    uint64_t sectors;  /* length; of a read or write the sum of the segments */
    unsigned nr_segments;
    bool secure;        /* a discard that leaves nothing */
    bool indirect;      /* its segments are in the table, and not known yet */
    uint32_t table_ref; /* the page that the table is at the start of */
    struct disk_segment segments[DISK_SEGMENTS_MAX];
};

/*
 * Reads SLOT.  BLKIF_RSP_OKAY: *REQUEST is valid, or indirect and needs its table.  Otherwise that
 * is the status to respond with, and only id and operation are set.
 */
int disk_request_parse(struct disk_request *request, const struct disk_abi *abi, const void *slot,
                       const struct disk_limits *limits);

/*
 * Reads TABLE, a private copy of the indirect request's nr_segments segments, which have the same
 * layout in all ABIs.  As above.
 */
int disk_request_parse_table(struct disk_request *request, const void *table,
                             const struct disk_limits *limits);

/* Does the disk have the request's sectors, and can the medium address them? */
bool disk_request_in_range(const struct disk_request *request, const struct disk_limits *limits);

#endif
