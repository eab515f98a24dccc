/*
 * Inside the test frontend: see blkfront.h for what it does.
 *
 *   blkfront.c       negotiation and life cycle
 *   blkfront-ring.c  the shared ring: layouts, indexes, notification
 *   blkfront-io.c    requests with data, and the granted pages they use
 *   blkfront-verify.c  patterns written and read back
 *   blkfront-load.c  measuring
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_BLKFRONT_QUEUE_H
#define GUEST_BLKFRONT_QUEUE_H

#include "tests/sim/guest/blkfront.h"

#define BLKFRONT_SECTOR 512
#define BLKFRONT_SECTORS_PER_PAGE (GUEST_PAGE / BLKFRONT_SECTOR)
#define BLKFRONT_SEGMENTS_PER_PAGE (GUEST_PAGE / sizeof(struct blkif_request_segment))
#define BLKFRONT_SEGMENTS_MAX (BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST * BLKFRONT_SEGMENTS_PER_PAGE)

/* How long a backend may take for anything. */
#define BLKFRONT_PATIENCE_MS 10000

/* A page for data, granted for the life of the connection. */
struct blkfront_page {
    uint8_t *address;
    uint32_t ref;           /* the backend may write */
    uint32_t ref_read_only; /* what a write request gives, unless grants are persistent */
    struct blkfront_page *next;
};

/* A request with data, from put to response; its number is the request's id. */
struct blkfront_flight {
    bool busy;
    uint8_t operation; /* as the response must have it: of an indirect request the inner one */
    uint8_t *target;   /* where a read's data goes; NULL if nobody waits for it any more */
    size_t length;
    unsigned nr_pages;
    struct blkfront_page **pages; /* data, then indirect pages */
};

struct blkfront_queue {
    struct blkfront *front;
    uint8_t *ring;
    uint32_t *ring_refs;
    uint32_t port;
    uint32_t req_prod;      /* requests put */
    uint32_t req_published; /* of these, what the backend knows of */
    uint32_t rsp_cons;
    GPtrArray *pages;           /* all of them */
    struct blkfront_page *free; /* last used, first reused */
    struct blkfront_flight *flights;
};

struct blkfront {
    struct guest *guest;
    char *path;    /* device/vbd/DEVID */
    char *backend; /* absolute */
    struct blkfront_disk disk;
    bool compact; /* the layout of 32-bit x86 */
    bool persistent;
    unsigned segments; /* most in one request */
    unsigned ring_pages, ring_entries;
    unsigned nr_queues;
    struct blkfront_queue *queues;
};

/* blkfront-ring.c */
size_t blkfront_layout_size(bool compact);
unsigned blkfront_layout_entries(bool compact, unsigned pages);
void blkfront_queue_init_ring(struct blkfront_queue *queue, uint32_t start);
bool blkfront_queue_put(struct blkfront_queue *queue, const blkif_request_t *request);
void blkfront_queue_push(struct blkfront_queue *queue);
bool blkfront_queue_poll(struct blkfront_queue *queue, blkif_response_t *response);
bool blkfront_queue_take(struct blkfront_queue *queue, blkif_response_t *response, int timeout_ms);

/* blkfront-io.c */
struct blkfront_page *blkfront_page_take(struct blkfront_queue *queue);
uint32_t blkfront_page_ref(const struct blkfront_queue *queue, struct blkfront_page *page,
                           bool read_only);
/* False if the backend still has one of them mapped. */
bool blkfront_queue_free_pages(struct blkfront_queue *queue);

/*
 * Fills REQUEST, direct or indirect as their number asks for, with COUNT segments that cover
 * LENGTH bytes of PAGES; indirect pages are appended to PAGES.  Returns their number in all.
 */
unsigned blkfront_build(struct blkfront_queue *queue, blkif_request_t *request, uint8_t operation,
                        struct blkfront_page **pages, unsigned count, size_t length);
void blkfront_set_place(blkif_request_t *request, uint64_t id, uint64_t sector);

struct blkfront_piece {
    uint64_t sector;
    uint8_t *data;
    size_t length;
};

/* Reads or writes all pieces, in any order, with as many in flight as the ring holds. */
int blkfront_move(struct blkfront_queue *queue, uint8_t operation,
                  const struct blkfront_piece *pieces, size_t count);

#endif
