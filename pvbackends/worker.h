/*
 * What takes long, in a thread of its own: the main loop goes on meanwhile.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBACKENDS_WORKER_H
#define PVBACKENDS_WORKER_H

typedef void worker_fn(void *opaque);

/*
 * Calls WORK in a thread called NAME and then DONE in the main context, but not before this has
 * returned.  What OPAQUE points to is WORK's until then.  Where no thread can be had, WORK is done
 * in the main context, too.
 */
void worker_run(const char *name, worker_fn *work, worker_fn *done, void *opaque);

#endif
