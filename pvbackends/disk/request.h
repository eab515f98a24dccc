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

/* Segments a request may have; indirect requests will raise it. */
#define DISK_SEGMENTS_MAX BLKIF_MAX_SEGMENTS_PER_REQUEST

/* What a request must fit. */
struct disk_limits {
    uint64_t sectors;   /* the disk's size */
    uint32_t alignment; /* of first sector and length, in sectors: 8 for a 4096-byte medium */
    bool read_only;
    bool discard;
};

struct disk_segment {
    uint32_t ref;
    uint16_t offset; /* in the granted page, bytes */
    uint16_t length; /* bytes; offset + length is at most a page */
};

struct disk_request {
    uint64_t id;       /* the guest's, for the response */
    uint8_t operation; /* BLKIF_OP_*, for the response */
    uint64_t sector;   /* first sector */
    uint64_t sectors;  /* length; of a read or write the sum of the segments */
    unsigned nr_segments;
    struct disk_segment segments[DISK_SEGMENTS_MAX];
};

/*
 * Reads SLOT.  BLKIF_RSP_OKAY: *REQUEST is valid.  Otherwise that is the status to respond with,
 * and only id and operation are set.
 */
int disk_request_parse(struct disk_request *request, const struct disk_abi *abi, const void *slot,
                       const struct disk_limits *limits);

#endif
