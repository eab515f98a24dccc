/*
 * The write log of a medium that another process serves: what the guest has been told is written,
 * until a flush has made it durable.  If that process dies, its caches die with it; the log is
 * then done again, in its order, before anything else is.
 *
 * The order: a write has a place in it from before it is sent (begin) and gets its number when it
 * has been done (finish), before the guest is told.  Writes that overlap are never under way at
 * the same time, so the order of those that matter to each other is the order they were done in.
 *
 * The log is also the gate.  It is open for one epoch, which is one life of the process; what
 * belongs to an earlier one can neither be finished nor flushed any more and has to be sent again.
 *
 * Memory: at most CAPACITY bytes, logged and under way, data and bookkeeping.  Who finds no room
 * waits, and a flush is due long before.
 * Threads: any, except where it says otherwise.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_WRITE_LOG_H
#define DISK_WRITE_LOG_H

#include "pvbackends/disk/media/io.h"

struct disk_write_log;

/* One write, discard or zeroing; units as in struct disk_io_op. */
struct disk_write {
    enum disk_io_kind kind;
    uint64_t sector, sectors;
    uint64_t number; /* in the log, from 1 */
    GList link;      /* the log's */
    uint8_t data[];  /* of a DISK_IO_WRITE: a copy, in one piece */
};

struct disk_write_log *disk_write_log_new(size_t capacity);
void disk_write_log_free(struct disk_write_log *log); /* NULL is fine; nothing may be under way */

/*
 * Writes 1 to the eventfd FD whenever somebody who was told to wait may try again, when a flush is
 * due whose sender is gone, and when the log is opened; until ignored.
 */
void disk_write_log_listen(struct disk_write_log *log, int fd);
void disk_write_log_ignore(struct disk_write_log *log, int fd);

/* The gate; EPOCH is not 0. */
void disk_write_log_open(struct disk_write_log *log, unsigned epoch);
void disk_write_log_close(struct disk_write_log *log);
unsigned disk_write_log_epoch(struct disk_write_log *log); /* 0: closed */

/*
 * Takes room for OP and copies its data, which is then to be sent from the copy.  NULL if it has to
 * wait: there is no room, or it overlaps what is under way.
 */
struct disk_write *disk_write_log_begin(struct disk_write_log *log, const struct disk_io_op *op);

/* WRITE has been done in EPOCH, and is the log's; false if that is over, and WRITE still ours. */
bool disk_write_log_finish(struct disk_write_log *log, struct disk_write *write, unsigned epoch);

/* WRITE has failed, or will not be sent again; frees it. */
void disk_write_log_abandon(struct disk_write_log *log, struct disk_write *write);

/* Of a flush: the MARK is taken before it is sent; false if EPOCH is over and it proves nothing. */
uint64_t disk_write_log_mark(struct disk_write_log *log);
bool disk_write_log_flushed(struct disk_write_log *log, uint64_t mark, unsigned epoch);

/* True for one of those who ask when a flush is due: who sends it, and says when it has ended. */
bool disk_write_log_claim_flush(struct disk_write_log *log);
void disk_write_log_release_flush(struct disk_write_log *log);

/*
 * To do it again, by one thread and only while the log is closed: what is in it, struct disk_write
 * in `data`, oldest first; and that all of it is durable now.
 */
const GList *disk_write_log_first(struct disk_write_log *log);
unsigned disk_write_log_length(struct disk_write_log *log);
void disk_write_log_clear(struct disk_write_log *log);

#endif
