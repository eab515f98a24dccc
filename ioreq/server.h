/*
 * An ioreq server: a secondary emulator of one guest, beside whatever else emulates for it.
 *
 * Xen stops a vCPU that touches one of the server's ranges, leaves a request in the vCPU's slot of
 * a shared page and sends an event; the device answers and sends one back.  Requests are served
 * in the default main context, so devices need no locks.
 *
 * Where ranges of servers overlap, the highest id wins, which is not always the youngest server:
 * the lowest free id is given out first.  Xen limits a server to 256 ranges of each kind and a
 * guest to 8 servers.
 *
 * Source: hvm/dm_op.h, hvm/ioreq.h.
 * Threads: the thread that runs the default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_SERVER_H
#define IOREQ_SERVER_H

#include "ioreq/bus.h"

struct ioreq_server;

/* Creates a server, not yet started, for a guest that must be of type HVM. */
struct ioreq_server *ioreq_server_new(unsigned domid, GError **error);

/*
 * Answers the accesses that are under way and destroys the server; NULL is fine.  Without this
 * (the process was killed) accesses to its ranges stop the guest's vCPUs for ever.
 */
void ioreq_server_free(struct ioreq_server *server);

/*
 * Routes SIZE ports or bytes from FIRST to a device, at any time; OPS and OPAQUE must live until
 * unmap or free.  SPACE is IOREQ_PORTS or IOREQ_MEMORY; FIRST names the range to unmap.
 */
bool ioreq_server_map(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                      uint64_t size, const struct ioreq_ops *ops, void *opaque, GError **error);
void ioreq_server_unmap(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                        uint64_t size);

/* Routes the 256 bytes of configuration space of the function at 00:DEVICE.FUNCTION. */
bool ioreq_server_add_pci(struct ioreq_server *server, unsigned device, unsigned function,
                          const struct ioreq_ops *ops, void *opaque, GError **error);

/* From here on requests are served. */
bool ioreq_server_start(struct ioreq_server *server, GError **error);

#endif
