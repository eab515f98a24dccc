/*
 * Another process, or one thread of it, stands still as if it hung: at a moment when nobody else
 * waits for it.  Such moments are those in a hypercall of the simulator, of which there is one at a
 * time, and those in which xenstored has a half of a message: it reads no other before the rest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef STOP_H
#define STOP_H

#include <sys/types.h>

/* Returns when all of it stands still; SIGCONT lets it go on. */
void process_stop(pid_t pid);

/*
 * The first thread of that name, as soon as there is one; by ptrace, because a signal stops them
 * all: the process must descend from this one, or we be root.  Returns the thread when it stands
 * still.
 */
pid_t thread_stop(pid_t pid, const char *name);
void thread_continue(pid_t thread);

#endif
