/*
 * The conformance set: what Xen's user-space libraries do, observed through their public interface
 * only.  It is run on real Xen in the rig, which gave `expected`, and on the simulator, which
 * has to give the same.
 *
 * Each area is a function that makes observations in a fixed order.  Nothing that varies from run
 * to run is printed: no domain, port, grant reference, process or time.
 *
 * After a change run the rig's scenario `conformance`; it fails, and leaves what Xen printed as
 * `said` in its results.  Having understood every difference, make that the new `expected`.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <stdbool.h>

/* A domain that does not exist, and never will while the tests run. */
#define NO_DOMAIN 999

/* How long "nothing happens" is waited for, and how long something may take to happen. */
#define QUIET_MS 150
#define PATIENCE_MS 20000

void evtchn_area(unsigned domid);
void gnttab_area(unsigned domid);
void xenstore_area(unsigned domid);

/* These need the guest of accesses.h; all but the first are the end of it. */
void memory_area(unsigned domid);
void ioreq_area(unsigned domid);
void ioreq_busy_area(unsigned domid);
void ioreq_port_area(unsigned domid);
void ioreq_orphan_area(unsigned domid);

/* The part of the area ioreq for which the guest does nothing. */
void ioreq_calls(void);

/* One observation, a line of output. */
__attribute__((format(printf, 1, 2))) void observe(const char *format, ...);

/* How a call went: "ok", or the name of errno, for calls that return -1 or NULL. */
const char *outcome(long result);
const char *outcome_pointer(const void *result);

const char *yes(bool is);

/* Ends the program: the observations cannot be made at all. */
__attribute__((format(printf, 1, 2))) _Noreturn void give_up(const char *format, ...);

/* Waits until FD is readable; false if it was not in time. */
bool readable(int fd, int timeout_ms);

#endif
