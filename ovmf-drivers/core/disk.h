/*
 * A PV disk: from what xenstore says of it to reads and writes of any length.
 *
 *   connect.c   negotiation with the backend
 *   close.c     tear-down, so that the next frontend (the operating system's) finds it as new
 *   transfer.c  requests: splitting, pipelining, answers
 *
 * Data goes through a pool of pages that stay granted while the disk is connected; as many requests
 * are in flight as the pool and the ring have room for.  A backend that is silent for longer than
 * the patience allows, or says what cannot be, costs the disk: calls fail at once then, and nothing
 * is trusted any more until it is closed.
 *
 * Units: sectors are 512 bytes, whatever the medium's own sectors are (blkif.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_DISK_H
#define PV_DISK_H

#include "ovmf-drivers/core/platform.h"
#include "ovmf-drivers/core/pool.h"
#include "ovmf-drivers/core/ring.h"
#include "ovmf-drivers/core/store.h"

#define PV_SECTOR 512u
#define PV_SLOTS_MAX 64
#define PV_PATH_SIZE 256
#define PV_NAME_SIZE 16

/* How long a backend may take for anything, in µs. */
struct pv_patience {
    uint64_t ready;   /* until it is ready for us, as it should be before the guest starts */
    uint64_t connect; /* for all of it */
    uint64_t answer;  /* until the next answer comes, while there are requests */
    uint64_t close;   /* for all of it */
};

/* What a disk needs; disks may share it. */
struct pv_guest {
    const struct pv_platform *platform;
    struct pv_store *store;
    struct pv_patience patience;
};

struct pv_medium {
    uint64_t sectors;     /* 0: a drive without a medium */
    uint32_t sector_size; /* bytes: 512, 1024, 2048 or 4096; what sectors must be aligned to */
    bool read_only, removable, cdrom;
};

enum pv_disk_state {
    PV_DISK_CLOSED,
    PV_DISK_OPEN, /* something was said to the backend */
    PV_DISK_CONNECTED,
    PV_DISK_DEAD,
};

/* A request of the ring, with its part of the pool. */
struct pv_slot {
    uint64_t id; /* 0: not in flight */
    uint8_t operation;
    uint8_t *target; /* where a read's data goes */
    size_t length;
};

struct pv_disk {
    struct pv_guest *guest;
    enum pv_disk_state state;
    const char *problem; /* why it is not connected, in words */
    struct pv_medium medium;
    char name[PV_NAME_SIZE]; /* "xvda", or the device's number */

    char frontend[PV_PATH_SIZE], backend[PV_PATH_SIZE];
    uint16_t domid; /* the backend's */
    uint32_t port;  /* 0: none */
    uint8_t flush;  /* BLKIF_OP_*; 0: the backend has none, and needs none */
    bool indirect;
    uint32_t segments; /* pages of a request */
    uint32_t nr_slots;
    struct pv_pool ring_pages;
    struct pv_ring ring;
    struct pv_pool pool; /* the slots' pages, then their tables of segments if it is indirect */
    struct pv_slot slots[PV_SLOTS_MAX];
    uint32_t in_flight;
    uint64_t last_id;
};

/* The device "device/vbd/ID", ID as a directory of xenstore has it; says nothing to the backend. */
enum pv_status pv_disk_init(struct pv_disk *disk, struct pv_guest *guest, const char *id);

/* To PV_DISK_CONNECTED, or why not (and DISK->problem); then it is to be closed all the same. */
enum pv_status pv_disk_connect(struct pv_disk *disk);

/* What the medium is now: a drive may have got another one. */
enum pv_status pv_disk_refresh(struct pv_disk *disk);

/*
 * SECTOR and LENGTH (bytes) must be multiples of the medium's sector size; what is past its end is
 * refused.  BUFFER is any memory.  PV_REFUSED: the backend answered with an error.
 */
enum pv_status pv_disk_read(struct pv_disk *disk, uint64_t sector, void *buffer, size_t length);
enum pv_status pv_disk_write(struct pv_disk *disk, uint64_t sector, const void *buffer,
                             size_t length);

/* When it returns PV_OK, what was written is on the medium, as far as the backend can tell. */
enum pv_status pv_disk_flush(struct pv_disk *disk);

/*
 * Ends the connection: Closing, Closed, nodes removed, grants ended, Initialising.  For all states,
 * any number of times; with no more patience than PATIENCE µs (what is over the guest's is cut).
 */
void pv_disk_close(struct pv_disk *disk, uint64_t patience);

/* --- between the files of the core --- */

/* Nothing is asked of the backend any more; returns STATUS. */
enum pv_status pv_disk_die(struct pv_disk *disk, enum pv_status status, const char *problem);

/* The backend's state: 0 if it has none.  PV_OK, or what xenstore says. */
enum pv_status pv_disk_backend_state(struct pv_disk *disk, unsigned *state);

enum pv_status pv_disk_set_state(struct pv_disk *disk, unsigned state);

/*
 * Waits for the backend to be in one of STATES, a set of bits 1 << state; *STATE is the one it is
 * in.  PV_TIMEOUT after DEADLINE.
 */
enum pv_status pv_disk_await(struct pv_disk *disk, unsigned states, uint64_t deadline,
                             unsigned *state);

#endif
