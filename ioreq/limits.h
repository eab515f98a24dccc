/*
 * What to say when one of Xen's limits is reached, and what can be done.
 *
 * Each looks at *ERROR, which the failed call has set, and says more in it if it was the limit.
 *
 * Source: Xen's include/xen/sched.h (MAX_NR_IOREQ_SERVERS), common/ioreq.c (MAX_NR_IO_RANGES).
 * Threads: that of the bus.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef IOREQ_LIMITS_H
#define IOREQ_LIMITS_H

#include "ioreq/bus.h"

#define IOREQ_MAX_SERVERS 8  /* of a guest */
#define IOREQ_MAX_RANGES 256 /* of a server and kind; ranges that touch count as one */

/* A server could not be created. */
void ioreq_explain_servers(unsigned domid, GError **error);

/* A range of SPACE could not be mapped; BUS has those that could. */
void ioreq_explain_ranges(const struct ioreq_bus *bus, enum ioreq_space space, GError **error);

#endif
