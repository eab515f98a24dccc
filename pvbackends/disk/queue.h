/*
 * A queue: one shared ring, served by a thread of its own from the guest's request to the
 * response, with nothing shared with other queues but the medium.
 *
 * Threads: all of this is called in the main context, which also gets the events.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_QUEUE_H
#define DISK_QUEUE_H

#include "pvbackends/disk/engine.h"

struct disk_queue;

/* What a queue tells the main context. */
struct disk_queue_events {
    /* The guest broke the ring protocol: no request is taken any more, stop the queue. */
    void (*broken)(void *opaque);
    /* An operation failed and is kept (stop_on_error): nothing is taken until disk_queue_retry().
     */
    void (*halted)(void *opaque);
    /* The answer to disk_queue_pause(). */
    void (*paused)(void *opaque);
    /* The answer to disk_queue_stop(): all finished and unmapped, the queue is freed. */
    void (*stopped)(void *opaque);
};

struct disk_queue_config {
    struct disk_engine_config engine;
    uint32_t port; /* the frontend's event channel */
    bool poll;     /* look for work without sleeping where it pays: see xen/poll.h */
    const struct disk_queue_events *events;
    void *opaque;
};

/*
 * Maps the ring and makes the thread, which waits.  What else the config points to must outlive the
 * queue.  It is served from disk_queue_start() on, or given up at once by disk_queue_cancel().
 */
struct disk_queue *disk_queue_open(const struct disk_queue_config *config, GError **error);
void disk_queue_start(struct disk_queue *queue);
void disk_queue_cancel(struct disk_queue *queue); /* one that was not started */

/*
 * Has the thread come round since the last call, and so hangs in no system call?  Asks it to come
 * round again, and does not wait for it.
 */
bool disk_queue_check(struct disk_queue *queue);

/* Tries again what failed and was kept. */
void disk_queue_retry(struct disk_queue *queue);

/*
 * Takes no more requests, finishes those in flight, and calls `paused`.  From then on the engine
 * belongs to the main context, until disk_queue_resume(); a queue that is told to stop meanwhile
 * stops after that.  If it is resumed before, it goes on; `paused` is called all the same, once and
 * soon, and not before that it may be paused again.
 */
void disk_queue_pause(struct disk_queue *queue);
struct disk_engine *disk_queue_engine(struct disk_queue *queue); /* while it is paused */
void disk_queue_resume(struct disk_queue *queue);

/* Takes no more requests, finishes those in flight, and calls `stopped`; once. */
void disk_queue_stop(struct disk_queue *queue);

#endif
