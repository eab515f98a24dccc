/*
 * How an administrator speaks to a running role: the socket RUNDIR/DOMID/ROLE (role_run.h), made
 * for roles that have commands, and who connects to it.
 *
 * A client sends a command and its arguments, each ended by a NUL byte, and then shuts its
 * direction down.  It gets "ok", "ok TEXT" or "error TEXT", where TEXT may have several lines, and
 * a newline after which the connection is closed.
 *
 * Bounds: ROLE_CONTROL_BYTES and ROLE_CONTROL_WORDS for a request; a few clients at a time, and the
 * others wait for their turn; a few seconds to send a request or to take the answer.  A command
 * that has begun has no limit but the role's, which is told if the client leaves before its answer
 * (role_request_on_gone()).
 *
 * Threads: the main context's.  Nothing here waits.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ROLE_CONTROL_H
#define ROLE_CONTROL_H

#include "role.h"

#define ROLE_CONTROL_BYTES 65536
#define ROLE_CONTROL_WORDS 64 /* the command is one of them */

struct role_control;

/*
 * Commands run with INSTANCE.  Fails if another process of the role serves the guest, or if the
 * socket cannot be made; a socket that a process left which is gone is replaced.
 */
struct role_control *role_control_open(const struct role *role, unsigned domid, void *instance,
                                       GError **error);

/* Tells every client that the role stops; after it, no command runs.  NULL is fine. */
void role_control_close(struct role_control *control);

/*
 * The role's command NAME if it takes COUNT arguments (after the guest); else NULL, and *ERROR
 * tells what there is.
 */
const struct role_command *role_command_find(const struct role *role, const char *name,
                                             unsigned count, GError **error);

/* What --help says of the role's commands; g_free(), NULL if it has none. */
char *role_command_help(const struct role *role);

/* `rolemodel ROLE COMMAND GUEST [ARGUMENT...]`, from ROLE on; returns the exit status. */
int role_client_main(const struct role *role, int argc, char **argv);

#endif
