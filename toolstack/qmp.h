/*
 * The QMP protocol as a server: clients, messages, negotiation and replies.  What the commands do
 * is the business of a function that the server is given (qmp-commands.h).
 *
 * Source: docs/interop/qmp-spec.txt of QEMU; the replies to faulty input are those of QEMU 7.2.
 * Unlike QEMU: several clients at once; no out-of-band execution; no events, which libxl ignores;
 * JSON as jansson reads it (of a key that is there twice, the last value counts; integers are
 * those of 64 bits with a sign).
 *
 * Nothing here blocks.  What a client can make us hold is bounded: a message has at most 1 MiB and
 * 64 levels, unread replies 1 MiB, a server 16 clients; a client that goes beyond is disconnected.
 *
 * Threads: the thread of the default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_QMP_H
#define TOOLSTACK_QMP_H

#include <glib.h>
#include <jansson.h>

#include "toolstack/qmp-listener.h"

/* The two classes of error that clients tell apart. */
enum qmp_error {
    QMP_ERROR_GENERIC,
    QMP_ERROR_COMMAND_NOT_FOUND,
};
#define QMP_ERROR (qmp_error_quark())
GQuark qmp_error_quark(void);

struct qmp_server;
struct qmp_client;

/*
 * Runs COMMAND; ARGUMENTS is NULL if the client gave none.  Returns what goes into "return", to be
 * freed by the caller, or NULL with *error (of another domain than QMP_ERROR: a generic error).
 * It must not free the server.  "query-version" must not fail: its value, asked for with CLIENT
 * NULL, is part of the greeting.
 */
typedef json_t *qmp_run_fn(struct qmp_client *client, const char *command, json_t *arguments,
                           void *opaque, GError **error);

/* Takes the listener over. */
struct qmp_server *qmp_server_new(struct qmp_listener *listener, qmp_run_fn *run, void *opaque);
void qmp_server_free(struct qmp_server *server); /* NULL is fine; disconnects the clients */

/*
 * Inside qmp_run_fn: the descriptor that the client passed last (SCM_RIGHTS), now the caller's, or
 * -1.  Of several in one message only the first is kept, as in QEMU.
 */
int qmp_client_take_fd(struct qmp_client *client);

#endif
