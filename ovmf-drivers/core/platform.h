/*
 * What the core needs of the world it runs in: UEFI on Xen, or a test.
 *
 * Everything in core/ is C without a library: it is compiled into the UEFI drivers and, as it is,
 * into the host's tests.  It runs in one thread and never calls back but through this table.
 *
 * Units: time in microseconds, frames (gfn) are pages of 4096 bytes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_PLATFORM_H
#define PV_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_PAGE 4096u
#define PV_MS UINT64_C(1000)

enum pv_status {
    PV_OK,
    PV_ABSENT,  /* there is no such node */
    PV_REFUSED, /* the peer, or we, would not do it; the next request may work */
    PV_TIMEOUT,
    PV_BROKEN, /* the peer said what cannot be, or went away: this is final */
    PV_NO_MEMORY,
};

struct pv_platform {
    void *opaque;

    /* A clock that never goes back. */
    uint64_t (*now)(void *opaque);

    /*
     * Sleeps until PORT has had an event, or until the clock shows UNTIL, or shorter.  An event
     * since the last call for the port counts.  PORT 0, which nobody has: only sleeps.
     */
    void (*wait)(void *opaque, uint32_t port, uint64_t until);

    /*
     * COUNT adjacent pages of zeroes; NULL if there are none.  A part may be given back alone.
     * LASTING: the backend has them mapped all the time, and will still if it does not answer in
     * the end; so they should be of a kind that nobody else takes over.
     */
    void *(*pages_new)(void *opaque, size_t count, bool lasting);
    void (*pages_free)(void *opaque, void *pages, size_t count);

    /*
     * Takes a page out of use for ever: a backend that went away can still write to it.  LASTING:
     * it was made so, and need not become so.
     */
    void (*page_abandon)(void *opaque, void *page, bool lasting);

    uint32_t (*gfn)(void *opaque, const void *page);

    /*
     * Lets domain REMOTE read and write the page GFN; *REF is not 0.  False: there are no more, and
     * *REF is 0; if it is not, the page may be REMOTE's all the same, and for ever.
     */
    bool (*grant)(void *opaque, uint16_t remote, uint32_t gfn, uint32_t *ref);

    /* Ends it; false while the peer uses the page, which stays granted then, for ever. */
    bool (*ungrant)(void *opaque, uint32_t ref);

    /* A new event channel for domain REMOTE. */
    bool (*port_new)(void *opaque, uint16_t remote, uint32_t *port);
    void (*port_close)(void *opaque, uint32_t port);
    void (*port_notify)(void *opaque, uint32_t port);
};

static inline uint64_t pv_now(const struct pv_platform *platform)
{
    return platform->now(platform->opaque);
}

#endif
