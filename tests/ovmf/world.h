/*
 * Xen, xenstored and a block backend, as the core of the UEFI drivers meets them: all in the test's
 * own memory and thread.  They do their work whenever the core waits or notifies; the clock goes on
 * only while the core waits, so that a test of a deadline takes no time.
 *
 * The backend is an orderly one unless `script` says otherwise.  It reaches the guest's memory
 * through the grant table alone, and ends the test if a reference is not good.
 *
 * The disk is device/vbd/51712, "xvda", of domain WORLD_BACKEND.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_OVMF_WORLD_H
#define TESTS_OVMF_WORLD_H

#include "ovmf-drivers/core/disk.h"
#include "ovmf-drivers/core/grants.h"

#include <glib.h>

#define WORLD_DEVICE "51712"
#define WORLD_FRONTEND "device/vbd/" WORLD_DEVICE
#define WORLD_BACKEND 3
#define WORLD_BACKEND_PATH "/local/domain/3/backend/qdisk/7/" WORLD_DEVICE
#define WORLD_SECTORS 8192
#define WORLD_GRANTS 2048
#define WORLD_PAGES 2048

struct world;

/* What the backend does wrong; all zero: nothing. */
struct world_script {
    unsigned deaf;         /* it does not follow these states of the frontend (bits 1 << state) */
    bool refuses;          /* goes to Closing when it should connect */
    bool keeps_pages;      /* goes on using the ring in the end */
    bool newest_first;     /* answers in this order; no fault */
    unsigned silent_after; /* answers no more after so many; 0: never */
    unsigned closed_after; /* the same, and its state goes to Closed */
    unsigned twice_at;     /* gives the Nth answer twice */
    unsigned jump_at;      /* after the Nth answer claims 1000 more */
    int16_t status;        /* of each answer, if not 0; nothing is done then */
    bool lies;             /* with `status` 0: says that it is done, and did nothing */
    void (*spoil)(struct world *world, blkif_response_t *response);
    /* Whatever xenstored answers; HEAD->len bytes are at PAYLOAD, room is for XENSTORE_PAYLOAD_MAX.
     */
    void (*spoil_reply)(struct world *world, struct xsd_sockmsg *head, char *payload);
    /* Called whenever the core waits. */
    void (*step)(struct world *world);
    void *opaque;
    bool store_silent;     /* xenstored reads and does not answer */
    unsigned watch_events; /* that many events and old answers before each answer */
    bool guesses;          /* uses references that may be gone; Xen would not let it */
};

struct world {
    struct world_script script;
    uint64_t now;
    unsigned waits;

    struct pv_platform platform;
    struct pv_grants grants;
    struct pv_store store;
    struct pv_guest guest;

    uint8_t *memory;
    bool used[WORLD_PAGES], lasting[WORLD_PAGES], abandoned[WORLD_PAGES];
    size_t pages_limit; /* of pages_new() */
    struct grant_entry_v1 table[WORLD_GRANTS];
    unsigned ports;

    struct xenstore_domain_interface xs;
    GHashTable *nodes; /* absolute path, or relative to the guest: value */
    GByteArray *received, *replies;

    /* The backend. */
    uint8_t *disk;
    uint64_t sectors;
    blkif_sring_t *ring; /* NULL: not connected */
    unsigned ring_pages;
    uint32_t entries, req_cons, rsp_prod;
    unsigned answers, most_in_flight;
    unsigned direct, indirect, flushes; /* requests */
    GArray *waiting;                    /* requests that were taken, blkif_request_t */
};

/* A world with a disk of SECTORS, or of WORLD_SECTORS with the other. */
struct world *world_new_sized(uint64_t sectors);
struct world *world_new(void);

/* Ends the test if something was not given back. */
void world_free(struct world *world);

/* The node NODE of the backend; NULL: none. */
void world_offer(struct world *world, const char *node, const char *value);
const char *world_node(struct world *world, const char *dir, const char *node);

/* What is left over: pages in use, grants, ports. */
unsigned world_pages_used(const struct world *world);
unsigned world_pages_abandoned(const struct world *world);
unsigned world_grants_used(const struct world *world);

#endif
