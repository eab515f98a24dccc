/*
 * QEMU as a guest's primary emulator: the process that libxl started becomes QEMU when the
 * supervisor, by then a process of its own, says so.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_QEMU_H
#define TOOLSTACK_QEMU_H

#include <stdbool.h>
#include <glib.h>

#include "toolstack/cmdline.h"

struct qemu;

/* Is there a QEMU for Xen on this machine?  ROLEMODEL_QEMU names another than the usual one. */
bool qemu_available(void);

/* Becomes QEMU with libxl's arguments, for libxl's probe; returns only with an error. */
void qemu_become(const struct dm_cmdline *cmdline, GError **error);

/*
 * Splits the process in two.  It returns in the new one, the supervisor.  The calling one waits:
 * for qemu_go(), and becomes QEMU with the same pid; or for the supervisor's end, and exits with
 * status 1.  Must be called before there are threads, open libraries of Xen or sources.
 */
struct qemu *qemu_split(const struct dm_cmdline *cmdline, GError **error);

/* Lets QEMU start, without the emulated disks on OWNED: images that roles serve (drives.h). */
bool qemu_go(struct qemu *qemu, const char *const *owned, GError **error);
void qemu_free(struct qemu *qemu); /* NULL is fine; QEMU itself is left alone */

/* The path of the socket behind cmdline->qmp_sockets[INDEX], for qmp_proxy_new(). */
const char *qemu_qmp_path(const struct qemu *qemu, guint index);

/* Calls FN once when the process is gone, whether it had become QEMU or not. */
typedef void qemu_gone_fn(void *opaque);
void qemu_watch(struct qemu *qemu, qemu_gone_fn *fn, void *opaque);

#endif
