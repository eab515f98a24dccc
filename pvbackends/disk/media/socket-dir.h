/*
 * Where the role's sockets are: a directory of its own, that nobody else may enter, in the guest's
 * (role_run.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_SOCKET_DIR_H
#define DISK_SOCKET_DIR_H

#include <glib.h>

/* A new directory (g_free), and away with those that were left behind by processes that are gone.
 */
char *disk_socket_dir_make(unsigned domid, GError **error);

/* The name of socket NUMBER there; it is short enough for a socket address.  g_free() */
char *disk_socket_dir_name(const char *directory, unsigned number);

/* Removes it, and the guest's if it was the last one; the sockets must be gone.  NULL is fine. */
void disk_socket_dir_remove(const char *directory);

#endif
