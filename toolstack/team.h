/*
 * The team of a guest: its role processes, started, watched and stopped together.
 *
 * Threads: the thread of the default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_TEAM_H
#define TOOLSTACK_TEAM_H

#include <stdbool.h>
#include <glib.h>

#include "role.h"

struct team;

struct team_events {
    /* Every role started so far is ready; again after a role that was started later. */
    void (*ready)(void *opaque);
    /* A role ended before it was ready, or badly after; it has said why on standard error. */
    void (*failed)(void *opaque);
    /* A role does not answer any more, or does again (or has ended: then it is SILENT no more). */
    void (*silent)(const struct role *role, bool silent, void *opaque);
    /* The last role has gone. */
    void (*empty)(void *opaque);
};

/* ARGC and ARGV are those of main(), as ps shows them: a role's process puts its own there. */
struct team *team_new(unsigned domid, int argc, char **argv, const struct team_events *events,
                      void *opaque);
void team_free(struct team *team); /* NULL is fine; the processes are left alone */

/*
 * Starts ROLE with OPTIONS ("key=value" strings, NULL-terminated).
 *
 * Until team_watch() this is a fork: to load the program and its libraries once more takes longer
 * than all the rest of starting a guest's device model.  That needs a process without threads,
 * sources and watches, so afterwards it is a fork and an exec.
 */
bool team_start(struct team *team, const struct role *role, char *const *options, GError **error);

/*
 * From now on the events come, in the main context, and roles that are ready are asked every few
 * seconds whether they go on.  One that does not is only reported.
 */
void team_watch(struct team *team);

/* Calls FN for each role's process that runs. */
typedef bool team_each_fn(const struct role *role, int pid, void *opaque, GError **error);
bool team_each(const struct team *team, team_each_fn *fn, void *opaque, GError **error);

bool team_has(const struct team *team, const struct role *role);
unsigned team_size(const struct team *team);

/*
 * Asks every role to finish and leave; `empty` tells when they have.  There is no limit but theirs:
 * a disk whose storage is away may need more than a minute (media/daemon.h).
 */
void team_stop(struct team *team);

#endif
