/*
 * The hypervisor as its guest's firmware finds it: CPUID leaves and hypercalls.
 *
 * Hypercalls are the processor's instruction itself: there is no hypercall page, because data of an
 * image cannot be executed.  Source: xen/arch-x86/cpuid.h and the public headers of each call.
 *
 * Threads: none; calls are made from one task.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_XEN_H
#define PVBLK_XEN_H

#include <stdbool.h>
#include <stdint.h>

struct xen {
    bool vmmcall;     /* AMD's instruction, not Intel's */
    uint32_t tsc_khz; /* of the time-stamp counter; 0: Xen does not say */
};

/* False if this is no Xen guest. */
bool xen_find(struct xen *xen);

/* A parameter HVM_PARAM_* of this guest; 0 if it cannot be had. */
uint64_t xen_param(const struct xen *xen, uint32_t index);

/*
 * Has Xen lay out the shared info page for a 64-bit guest: the 32-bit loader that ran before us has
 * made it another one.
 */
bool xen_latch_width(const struct xen *xen);

/* Puts a page of Xen's at GFN: the shared info page, or the grant table's frame INDEX. */
bool xen_map_shared_info(const struct xen *xen, uint64_t gfn);
bool xen_map_grant_frame(const struct xen *xen, uint32_t index, uint64_t gfn);
void xen_unmap(const struct xen *xen, uint64_t gfn);

/* Puts other memory at GFN; what was there goes back to Xen as soon as nobody has it mapped. */
bool xen_replace(const struct xen *xen, uint64_t gfn);

/* Frames that the grant table may have; and entries of version 1 from now on. */
uint32_t xen_grant_frames_max(const struct xen *xen);
bool xen_grant_version_1(const struct xen *xen);

bool xen_port_new(const struct xen *xen, uint16_t remote, uint32_t *port);
void xen_port_close(const struct xen *xen, uint32_t port);
void xen_port_notify(const struct xen *xen, uint32_t port);

/* µs since some time, by the time-stamp counter, whose frequency must be known. */
uint64_t xen_time(const struct xen *xen);

/* Lets others have the processor, if there are any. */
void xen_yield(const struct xen *xen);

/* Sleeps until PORT (0: none) is pending, or until Xen's system time is UNTIL (ns), or shorter. */
void xen_poll(const struct xen *xen, uint32_t port, uint64_t until);

#endif
