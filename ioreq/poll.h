/*
 * Adaptive polling: how long an emulator's thread looks at its slots for the next request before
 * it sleeps until an event.
 *
 * To look saves the guest the time that a sleeping thread takes to wake up, and costs processor
 * time that somebody else may need, such as the guest.  Whether it pays is measured: the time from
 * an answer to the next request, while the thread sleeps in between and while it looks.  It looks
 * for as long as that makes it clearly shorter, not much longer each time than requests take to
 * come, and not for a while after it was in vain several times.
 *
 * This is the policy alone: it is told times and says how long.  No clock, no thread; ioreq/group.c
 * has both.
 *
 * Units: nanoseconds.
 * Threads: a struct ioreq_poll belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_POLL_H
#define IOREQ_POLL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * No look is longer.  To sleep and wake up costs 5 to 50 us where it can be saved; where it costs
 * more, as under an emulator of machines, the guest is as slow to come with its next request.
 */
#define IOREQ_POLL_MAX_NS 50000

/*
 * No look is shorter either.  Who gives up after as long as a sleep costs wastes no more than that,
 * and a guest that itself has slept for once, and so comes late, still finds us awake.
 */
#define IOREQ_POLL_MIN_NS 20000

/* So many looks in vain, one after the other, end them; or a fifth of them over a longer time. */
#define IOREQ_POLL_PATIENCE 3

/* Looking is judged after so many requests, and then after each. */
#define IOREQ_POLL_TRIAL 64

/*
 * So many requests are slept for before looking is tried: enough to know how long they take to
 * come.  Each time that it did not pay, twice as many, up to the second; a trial passed halves it.
 */
#define IOREQ_POLL_REST_MIN 64
#define IOREQ_POLL_REST_MAX 4096

/* The same if they came too slowly to look at all: then little is spent on measuring them. */
#define IOREQ_POLL_REST_SLOW 512

/* The mean of the last times, about IOREQ_POLL_TRIAL of them or more. */
struct ioreq_poll_mean {
    uint64_t sum;
    unsigned count;
};

struct ioreq_poll {
    bool enabled;
    bool looking;
    struct ioreq_poll_mean asleep, awake; /* from an answer to the next request */
    unsigned failures;                    /* looks in vain: see poll.c */
    unsigned rest;                        /* requests to sleep for before looking is tried */
    unsigned next_rest;                   /* how many the next time */
};

enum ioreq_poll_how {
    IOREQ_POLL_SEEN,  /* found by looking */
    IOREQ_POLL_WOKEN, /* came with an event, after we slept or would have */
};

/* ENABLED false: never to look. */
void ioreq_poll_init(struct ioreq_poll *poll, bool enabled);

/* After an answer: how long to look, at most IOREQ_POLL_MAX_NS; 0 is to sleep at once. */
uint64_t ioreq_poll_window(const struct ioreq_poll *poll);

/*
 * Whether somebody has to measure how long the next request takes to come: then ioreq_poll_request
 * is told, else ioreq_poll_unmeasured() that it came.
 */
bool ioreq_poll_measures(const struct ioreq_poll *poll);

/* A request came GAP after the answer before it. */
void ioreq_poll_request(struct ioreq_poll *poll, uint64_t gap, enum ioreq_poll_how how);

/* A request came, never while looking. */
void ioreq_poll_unmeasured(struct ioreq_poll *poll);

/* A look was in vain: nothing came, or the processor was taken away meanwhile. */
void ioreq_poll_failed(struct ioreq_poll *poll);

#endif
