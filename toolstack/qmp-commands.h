/*
 * The QMP commands of a guest without QEMU, for what libxl and its tools ask of a PV guest's
 * device model.
 *
 * One object serves every socket of the guest, so that they agree on what they see.  The guest
 * has no emulated devices, so that lists of them are empty; its vCPUs belong to Xen, so that
 * `stop` and `cont` change no more than what `query-status` says.
 *
 * Source: QEMU 7.2's QAPI schema (qapi/misc.json and others), tools/libs/light/libxl_qmp.c.
 * Threads: the thread of the default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_QMP_COMMANDS_H
#define TOOLSTACK_QMP_COMMANDS_H

#include <stdbool.h>

#include "toolstack/qmp.h"

struct qmp_commands;

/*
 * A client wants the device model to end.  It gets its reply when this has returned, so that this
 * may leave the main loop, but must neither exit nor free the server.
 */
typedef void qmp_quit_fn(void *opaque);

/* STOPPED as QEMU's -S: the status is "prelaunch" until "cont". */
struct qmp_commands *qmp_commands_new(bool stopped, qmp_quit_fn *quit, void *opaque);
void qmp_commands_free(struct qmp_commands *commands); /* after the servers; NULL is fine */

/* Adds a line to query-chardev, such as "libxl-cmd" and "unix:/run/xen/qmp-libxl-5,server=on". */
void qmp_commands_add_chardev(struct qmp_commands *commands, const char *label,
                              const char *filename);

/* For qmp_server_new(), with the struct qmp_commands as opaque pointer. */
qmp_run_fn qmp_commands_run;

#endif
