/*
 * Event channels: a handle is a set of bound ports with one file descriptor.
 *
 * A thread polls the descriptor and calls xen_evtchn_next().  A port is masked when it is returned
 * and must be unmasked before it can fire again; unmask before looking at the shared ring, or a
 * notification is lost.
 *
 * Source: xenevtchn.h.
 * Threads: a handle belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_EVTCHN_H
#define XEN_EVTCHN_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include <xenevtchn.h>

struct xen_evtchn;

struct xen_evtchn *xen_evtchn_open(GError **error);
void xen_evtchn_close(struct xen_evtchn *evtchn); /* NULL is fine; unbinds every port */

/* Binds to PORT of DOMID; *LOCAL is ours, for notify, unmask and next. */
bool xen_evtchn_bind(struct xen_evtchn *evtchn, unsigned domid, evtchn_port_t port,
                     evtchn_port_t *local, GError **error);
void xen_evtchn_notify(struct xen_evtchn *evtchn, evtchn_port_t local);
void xen_evtchn_unmask(struct xen_evtchn *evtchn, evtchn_port_t local);

/* For poll(); readable while a port is pending. */
int xen_evtchn_fd(struct xen_evtchn *evtchn);

/* The next pending port, or -1; never blocks. */
int xen_evtchn_next(struct xen_evtchn *evtchn);

#endif
