/*
 * A listening Unix socket for QMP clients, at a path of ours or inherited from libxl.
 *
 * Threads: the thread of the default main context.
 * Errors: GError in G_FILE_ERROR, with the path or the descriptor.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_QMP_LISTENER_H
#define TOOLSTACK_QMP_LISTENER_H

#include <glib.h>

struct qmp_listener;

/*
 * Listens at PATH with mode 0600, in the place of a socket that an earlier process left there;
 * anything else at PATH is an error.
 */
struct qmp_listener *qmp_listener_new(const char *path, GError **error);

/* Listens on FD, a bound Unix stream socket; takes it over, and closes it on failure too. */
struct qmp_listener *qmp_listener_new_from_fd(int fd, GError **error);

/* FN owns FD, a new client that is non-blocking and close-on-exec. */
typedef void qmp_listener_fn(int fd, void *opaque);
void qmp_listener_start(struct qmp_listener *listener, qmp_listener_fn *fn, void *opaque);

/* NULL is fine; removes the path of qmp_listener_new(). */
void qmp_listener_free(struct qmp_listener *listener);

#endif
