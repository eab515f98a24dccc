/*
 * The directory in which the processes of a guest leave what others on this host shall find while
 * they run: RUNDIR/DOMID, where RUNDIR is $ROLEMODEL_RUN_DIR or /run/rolemodel.  Only root may look
 * into it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ROLE_RUN_H
#define ROLE_RUN_H

#include <stdbool.h>
#include <glib.h>

struct xen_store;

/* The path of NAME there, of the directory itself if NAME is NULL; g_free(). */
char *role_run_path(unsigned domid, const char *name);

/* Makes the directory, if it is not there. */
bool role_run_make(unsigned domid, GError **error);

/* Removes NAME, and the directory if it was the last. */
void role_run_remove(unsigned domid, const char *name);

/* Does a process listen on the socket at PATH? */
bool role_run_listens(const char *path);

/*
 * Removes the directories of guests that are gone, which processes that were killed have left:
 * those with no socket on which somebody listens.
 */
void role_run_sweep(struct xen_store *store);

#endif
