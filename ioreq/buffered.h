/*
 * Buffered requests: writes for which no vCPU waits, on a ring in a page shared with Xen.
 *
 * Xen buffers writes to the legacy VGA window and the setting of the guest's clock, and leaves a
 * server without such a ring out.  It appends entries of 8 bytes, with 4 bytes of data; a write of
 * 8 has two.  Both indexes count on over the ring's end until Xen takes multiples of its length off
 * both at once, which it does only where the emulator moves its own index in one piece (servers
 * that are created with HVM_IOREQSRV_BUFIOREQ_ATOMIC).
 *
 * Whatever the indexes say, each call looks at no more than two entries and leaves fewer behind.
 *
 * Source: hvm/ioreq.h (struct buffered_iopage), Xen's common/ioreq.c (ioreq_send_buffered).
 * Threads: a ring is read by one thread at a time, while Xen writes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_BUFFERED_H
#define IOREQ_BUFFERED_H

#include <stdint.h>
#include <xen/hvm/ioreq.h>

/* Entries on a ring, and so the most requests that can have come before any other request. */
#define IOREQ_BUFFERED_MAX IOREQ_BUFFER_SLOT_NUM

enum ioreq_buffered_outcome {
    IOREQ_BUFFERED_EMPTY,
    IOREQ_BUFFERED_TAKEN, /* *request is the oldest one, which is off the ring now */
    IOREQ_BUFFERED_BAD,   /* the indexes or the entry made no sense and were dropped */
};

/* Takes one request off RING.  Only with IOREQ_BUFFERED_TAKEN is *REQUEST set, and all of it. */
enum ioreq_buffered_outcome ioreq_buffered_take(struct buffered_iopage *ring,
                                                struct ioreq *request);

#endif
