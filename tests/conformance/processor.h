/*
 * What Xen's instruction emulator makes of the accesses of accesses.h, for the simulated vCPU,
 * which knows requests but no instructions: where an access is taken apart, and what comes as one
 * request with a pointer and a count.
 *
 * Source: the observations on real Xen in `expected`.
 * Threads: processor_run() is one; processor_stop() is for another.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PROCESSOR_H
#define PROCESSOR_H

#include "tests/sim/guest/guest.h"

struct processor {
    struct guest *guest;
    gint stop;
};

/* The guest of the conformance set on vCPU 0, until it crashes or processor_stop(). */
void *processor_run(void *processor);
void processor_stop(struct processor *processor);

#endif
