/*
 * An ioreq server: a secondary emulator of one guest, beside whatever else emulates for it.
 *
 * Xen stops a vCPU that touches one of the server's ranges, leaves a request in the vCPU's slot of
 * a shared page and sends an event; the device answers and sends one back.
 *
 * Where ranges of servers overlap, the highest id wins, which is not always the youngest server:
 * the lowest free id is given out first.
 *
 * Limits of Xen: a guest has 8 servers, a server 256 ranges of each kind, and one page of slots for
 * 128 vCPUs; a guest that may have more is refused.
 *
 * Source: hvm/dm_op.h, hvm/ioreq.h.
 * Threads: a server belongs to the thread that runs the default main context, except where it says
 * otherwise.  From start to free, requests are served in threads of the server's own, one for each
 * 8 vCPUs (ioreq/group.h), but never two at once: devices' callbacks run under one lock of the
 * server's and need none of their own among themselves.  They must not wait for the main thread,
 * which may be waiting for that lock.  What else a device does in the main thread needs
 * ioreq_server_lock().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_SERVER_H
#define IOREQ_SERVER_H

#include "ioreq/bus.h"

struct ioreq_server;

/* Creates a server, not yet started, for a guest that must be of type HVM.  ENOSPC: it has 8. */
struct ioreq_server *ioreq_server_new(unsigned domid, GError **error);

/*
 * The same with a ring for buffered writes (ioreq/buffered.h), for a device that has the legacy VGA
 * window.  They are done before any request that came after them.
 */
struct ioreq_server *ioreq_server_new_buffered(unsigned domid, GError **error);

/*
 * Whether to look for requests without sleeping where that pays (xen/poll.h): "auto", which is
 * also what NULL means and what a server does if nobody asks, or "off"; anything else is an error.
 * Before start.  For the value of a role's option "poll".
 */
bool ioreq_server_set_poll(struct ioreq_server *server, const char *poll, GError **error);

/*
 * Answers the accesses that are under way and destroys the server; NULL is fine.  When it returns,
 * no callback runs or will run; not to be called by one.  Without this (the process was killed)
 * accesses to its ranges stop the guest's vCPUs for ever.
 */
void ioreq_server_free(struct ioreq_server *server);

/*
 * Routes SIZE ports or bytes from FIRST to a device, at any time and from any thread, also from
 * callbacks; OPS and OPAQUE must live until unmap or free has returned.  SPACE is IOREQ_PORTS or
 * IOREQ_MEMORY; FIRST names the range to unmap.  EEXIST where the server has some of it already.
 */
bool ioreq_server_map(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                      uint64_t size, const struct ioreq_ops *ops, void *opaque, GError **error);
void ioreq_server_unmap(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                        uint64_t size);

/*
 * Routes the 256 bytes of configuration space of the function at 00:DEVICE.FUNCTION, from any
 * thread.
 */
bool ioreq_server_add_pci(struct ioreq_server *server, unsigned device, unsigned function,
                          const struct ioreq_ops *ops, void *opaque, GError **error);

/* Between these, from any thread and also nested, no callback runs in another thread. */
void ioreq_server_lock(struct ioreq_server *server);
void ioreq_server_unlock(struct ioreq_server *server);

/* From here on requests are served. */
bool ioreq_server_start(struct ioreq_server *server, GError **error);

/*
 * Do all of its threads go on, as they were asked to show by the last call?  False while a callback
 * hangs, or whoever has the lock.  Does not wait.
 */
bool ioreq_server_check(struct ioreq_server *server);

#endif
