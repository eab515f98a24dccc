/*
 * Event channels: a table of ports per domain, and what Linux's /dev/xen/evtchn does with the ports
 * that are bound through it.
 *
 * A port belongs to a user (user.h) or to its domain's kernel (SIM_KERNEL).  When a user's port
 * fires, it is masked and its number goes into the user's FIFO; while it is masked, it only becomes
 * pending.  A kernel's port becomes pending and wakes whoever sleeps on it.
 *
 * Source: Xen's event_channel.c (errors, and what closing does to the peer), Linux's evtchn.c.
 * Errors: negative errno.
 * Threads: any; notify, unmask and take do not lock, the others take the hypervisor's lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_EVTCHN_H
#define HYPERVISOR_EVTCHN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/hypervisor/user.h"

#define SIM_PORTS 2048 /* of a domain; number 0 is never used */
#define SIM_VIRQS 24

struct sim_port {
    _Alignas(64) _Atomic uint64_t route; /* state, remote domain and port, user: see evtchn.c */
    _Atomic uint32_t flags;              /* SIM_PORT_*; the futex of those who sleep */
};

struct sim_evtchn_domain {
    uint32_t virq_port[SIM_VIRQS]; /* 0: not bound */
    uint32_t ports_used;           /* numbers from here on were never used */
    struct sim_port ports[SIM_PORTS];
};

struct sim_hypervisor;

/* New port of DOMID, for USER of it, that REMOTE may bind to.  Returns the port. */
int sim_evtchn_alloc_unbound(unsigned domid, sim_user_id user, unsigned remote);

/* New port of DOMID bound to REMOTE's port; it is pending at once, as in Xen.  Returns the port. */
int sim_evtchn_bind_interdomain(unsigned domid, sim_user_id user, unsigned remote,
                                unsigned remote_port);
int sim_evtchn_bind_virq(unsigned domid, sim_user_id user, unsigned virq);

/* -ENOTCONN if the port is not USER's.  The peer goes back to unbound. */
int sim_evtchn_close(unsigned domid, sim_user_id user, unsigned port);

/* Sends an event to the other end.  Without one it is dropped; -ENOTCONN if not USER's. */
int sim_evtchn_notify(unsigned domid, sim_user_id user, unsigned port);

/* The same, whoever's the port is, as a kernel can. */
void sim_evtchn_send(unsigned domid, unsigned port);
bool sim_evtchn_is_open(unsigned domid, unsigned port);

/* Lets a user's port fire again, which it does at once if it is pending. */
void sim_evtchn_unmask(unsigned domid, sim_user_id user, unsigned port);

/* To be called when a user has read PORT from its FIFO: for TSan, which cannot know. */
void sim_evtchn_read(unsigned domid, unsigned port);

/* Takes the event of a kernel's port; false if there was none. */
bool sim_evtchn_take(unsigned domid, unsigned port);

/* The same, after sleeping for it at most TIMEOUT_MS (-1: for ever). */
bool sim_evtchn_wait(unsigned domid, unsigned port, int timeout_ms);

/* Makes a kernel's or user's port fire as if its other end had notified. */
void sim_evtchn_raise(unsigned domid, unsigned port);

/* Raises a virtual interrupt, if somebody bound it. */
void sim_evtchn_raise_virq(unsigned domid, unsigned virq);
void sim_evtchn_raise_virq_dom_exc(struct sim_hypervisor *xen);

/* Closes all ports of a domain, or of a user.  Lock held. */
void sim_evtchn_domain_gone(struct sim_hypervisor *xen, unsigned domid);
void sim_evtchn_user_gone(struct sim_hypervisor *xen, unsigned domid, sim_user_id user);

#endif
