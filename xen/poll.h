/*
 * Adaptive polling: how long a thread that serves a guest looks for the next request before it
 * sleeps until an event.
 *
 * To look saves the guest the time that a sleeping thread takes to wake up, and costs processor
 * time that somebody else may need, such as the guest.  Whether it pays is measured: the time from
 * an answer to the next request, while the thread sleeps in between and while it looks.  It looks
 * for as long as that makes it clearly shorter, not much longer each time than requests take to
 * come, and not for a while after it was in vain several times.
 *
 * All but xen_poll_look() is the policy alone: it is told times and says how long.
 *
 * Units: nanoseconds.
 * Threads: a struct xen_poll belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_POLL_H
#define XEN_POLL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * No look is shorter.  Who gives up after as long as a sleep costs wastes no more than that,
 * and a guest that itself has slept for once, and so comes late, still finds us awake.
 */
#define XEN_POLL_MIN_NS 20000

/* So many looks in vain, one after the other, end them; or a fifth of them over a longer time. */
#define XEN_POLL_PATIENCE 3

/* Looking is judged after so many requests, and then after each. */
#define XEN_POLL_TRIAL 64

/*
 * So many requests are slept for before looking is tried: enough to know how long they take to
 * come.  Each time that it did not pay, twice as many, up to the second; a trial passed halves it.
 */
#define XEN_POLL_REST_MIN 64
#define XEN_POLL_REST_MAX 4096

/* The same if they came too slowly to look at all: then little is spent on measuring them. */
#define XEN_POLL_REST_SLOW 512

/* The mean of the last times, about XEN_POLL_TRIAL of them or more. */
struct xen_poll_mean {
    uint64_t sum;
    unsigned count;
};

struct xen_poll {
    uint64_t max; /* no look is longer; 0: never to look */
    bool looking;
    struct xen_poll_mean asleep, awake; /* from an answer to the next request */
    unsigned failures;                  /* looks in vain: see poll.c */
    unsigned rest;                      /* requests to sleep for before looking is tried */
    unsigned next_rest;                 /* how many the next time */
};

enum xen_poll_how {
    XEN_POLL_SEEN,  /* found by looking */
    XEN_POLL_WOKEN, /* came with an event, after we slept or would have */
};

/* No look is longer than MAX; 0: never to look. */
void xen_poll_init(struct xen_poll *poll, uint64_t max);

/* After an answer: how long to look, at most MAX; 0 is to sleep at once. */
uint64_t xen_poll_window(const struct xen_poll *poll);

/*
 * Whether somebody has to measure how long the next request takes to come: then xen_poll_request
 * is told, else xen_poll_unmeasured() that it came.
 */
bool xen_poll_measures(const struct xen_poll *poll);

/* A request came GAP after the answer before it. */
void xen_poll_request(struct xen_poll *poll, uint64_t gap, enum xen_poll_how how);

/* A request came, never while looking. */
void xen_poll_unmeasured(struct xen_poll *poll);

/* A look was in vain: nothing came, or the processor was taken away meanwhile. */
void xen_poll_failed(struct xen_poll *poll);

/*
 * Calls READY again and again for as long as that pays, and tells the policy how it ended.  SINCE:
 * when the last answer was given, by xen_poll_clock().  True if READY was so at last.
 */
bool xen_poll_look(struct xen_poll *poll, uint64_t since, bool (*ready)(void *opaque),
                   void *opaque);
uint64_t xen_poll_clock(void);

#endif
