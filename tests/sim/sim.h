/*
 * A simulated Xen host for one test program: a hypervisor in shared memory, with Debian's own
 * xenstored beside it.
 *
 * sim_start() makes the host in a directory of its own and puts into this process's environment
 * what programs need to run on it: $XENSIM (the directory), $XENSTORED_PATH, $ROLEMODEL_RUN_DIR,
 * $ROLEMODEL_LIBXL_DIR, and the simulated libraries in $LD_LIBRARY_PATH.  So any child, rolemodel
 * or Debian's QEMU, runs on it unchanged.  The calling program itself links with the simulated
 * libraries.
 *
 * A program has one host.  xenstored dies with it; the directory of one that did not come to
 * sim_stop() is removed when the next host starts.  $XENSIM has xenstored.log and xenstored.pid.
 *
 * Errors: a host that cannot be made ends the program with a message; there is nothing to test.
 * Threads: start and stop from main().
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <glib.h>

void sim_start(void);

/* Ends xenstored and removes the directory.  Domains and processes of the test must be gone. */
void sim_stop(void);

/*
 * Faults on demand.  CALL is a function of the Xen libraries ("xengnttab_grant_copy"); after SKIP
 * good calls in any process of the host, the next TIMES of them
 *   - wait DELAY_US microseconds first, if that is not 0;
 *   - fail with ERROR (an errno), if that is not 0;
 *   - do only a part of their work and say so as the real call does, if SHORT_BY is not 0:
 *     the last SHORT_BY of the items get an error status (grant copies, mapped frames).
 */
struct sim_fault {
    const char *call;
    unsigned skip, times;
    unsigned delay_us;
    int error;
    unsigned short_by;
};
void sim_fault(const struct sim_fault *fault);

/* Forgets all faults; the number of times that one of CALL struck since it was set. */
void sim_fault_clear(void);
unsigned sim_fault_struck(const char *call);

#endif
