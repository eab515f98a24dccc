/*
 * The engine of a queue: takes the requests of one ring, moves their data, performs their I/O and
 * responds.  It never sleeps and knows no threads and no event channels; the queue around it
 * decides when it is its turn, and so can a test or a fuzzer.
 *
 * Threads: an engine belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_ENGINE_H
#define DISK_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

#include "pvbackends/disk/counters.h"
#include "pvbackends/disk/media/medium.h"
#include "pvbackends/disk/request.h"
#include "pvbackends/disk/ring.h"
#include "pvbackends/disk/throttle.h"

struct disk_engine;
struct disk_io;

struct disk_engine_config {
    const char *name; /* of the disk, for the log */
    unsigned domid;
    const struct disk_abi *abi;
    uint32_t *ring_refs; /* NR_RING_PAGES grant references; needed only until it is open */
    unsigned nr_ring_pages;
    const struct disk_medium *medium;
    struct disk_limits limits;
    struct disk_throttle *throttle; /* the disk's */
    bool detect_zeroes;             /* a write of zeroes gives their space back */
    bool stop_on_error; /* what fails is kept until disk_engine_retry(), nothing more is taken */
    bool persistent;    /* the frontend grants persistently, and we keep its pages mapped */
    gint *map_failures; /* atomic, the disk's, if so: see mappings.h */
    gint *flush_lost;   /* atomic, the disk's: a page cache has lost what it should have written */
    gint *error_logged; /* atomic, the disk's: only the first error of its medium is logged */
    struct disk_queue_counters *counters; /* this queue's; NULL: nothing is counted */
};

/* Maps the ring.  What else the config points to must outlive the engine. */
struct disk_engine *disk_engine_open(const struct disk_engine_config *config, GError **error);
void disk_engine_close(struct disk_engine *engine); /* NULL is fine; it must be idle */

/*
 * One turn: takes what is on the ring, if TAKE, and delivers what has finished.  True if there was
 * something to do.  *NOTIFY: the guest wants an event.
 */
bool disk_engine_turn(struct disk_engine *engine, bool take, bool *notify);

/* Asks the guest for an event with its next request; true if one has arrived that can be taken. */
bool disk_engine_arm(struct disk_engine *engine);

/*
 * Is there something for a turn, as far as can be seen without a system call?  UNKNOWN: only the
 * descriptors tell, or only time.
 */
enum disk_engine_look { DISK_ENGINE_NOTHING, DISK_ENGINE_WORK, DISK_ENGINE_UNKNOWN };
enum disk_engine_look disk_engine_look(struct disk_engine *engine);

/* The monotonic time (us) of the next turn if the throttle lets nothing be taken before; else 0. */
gint64 disk_engine_due(const struct disk_engine *engine);

/* The guest broke the ring protocol: nothing is taken any more. */
bool disk_engine_broken(const struct disk_engine *engine);

/* Nothing is in flight. */
bool disk_engine_idle(const struct disk_engine *engine);

/* The same but for what failed and is kept: the medium is not in use. */
bool disk_engine_still(const struct disk_engine *engine);

/*
 * Something failed and is kept (stop_on_error), or there is no medium to try it on; try it again,
 * or answer it if the medium has become too short.  Without a medium nothing is tried.
 */
bool disk_engine_halted(const struct disk_engine *engine);
void disk_engine_retry(struct disk_engine *engine);

/*
 * Changes the medium of an engine that is still.  IO is disk_engine_open_io()'s, which is the part
 * that can fail, and belongs to the engine then; NULL if the medium is the same in another size.
 * The old medium is not needed any more.
 */
struct disk_io *disk_engine_open_io(const struct disk_engine *engine,
                                    const struct disk_medium *medium, GError **error);
void disk_engine_use(struct disk_engine *engine, const struct disk_medium *medium,
                     const struct disk_limits *limits, struct disk_io *io);

/* Makes long operations end early, as failed, and those that are kept; for the way out. */
void disk_engine_hurry(struct disk_engine *engine);

/*
 * Readable when I/O may have finished; -1 while none can.  Acknowledge before or after a turn, and
 * have another turn after that.
 */
int disk_engine_fd(struct disk_engine *engine);
void disk_engine_acknowledge(struct disk_engine *engine);

#endif
