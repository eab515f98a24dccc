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

/* The path of NAME there, of the directory itself if NAME is NULL; g_free(). */
char *role_run_path(unsigned domid, const char *name);

/* Makes the directory, if it is not there. */
bool role_run_make(unsigned domid, GError **error);

/* Removes NAME, and the directory if it was the last. */
void role_run_remove(unsigned domid, const char *name);

#endif
