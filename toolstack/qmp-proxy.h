/*
 * QMP for a guest with QEMU: libxl connects to us, and each client gets a connection to QEMU.
 *
 * Bytes and descriptors (SCM_RIGHTS) pass unchanged in both directions; a descriptor travels with
 * or before the bytes that it came with, never after them.  Each direction holds one buffer and
 * reads no further until that is sent on, so that a slow reader slows its writer as it would
 * without us.  The end of one direction is passed on while the other goes on.  QEMU serves one
 * client of a socket at a time; the next one waits until then, as it would without us.
 *
 * Source: docs/interop/qmp-spec.txt and chardev/char-socket.c of QEMU; unix(7).
 * Threads: the thread of the default main context.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_QMP_PROXY_H
#define TOOLSTACK_QMP_PROXY_H

#include "toolstack/qmp-listener.h"

struct qmp_proxy;

/*
 * Takes LISTENER over, on failure too.  QEMU_PATH leads to QEMU's listening socket; it may be
 * /proc/self/fd/N of an O_PATH descriptor, where the socket has no name any more, and N must then
 * stay open.  Fails only if QEMU_PATH is too long for a socket.
 */
struct qmp_proxy *qmp_proxy_new(struct qmp_listener *listener, const char *qemu_path,
                                GError **error);
void qmp_proxy_free(struct qmp_proxy *proxy); /* NULL is fine; disconnects the clients */

#endif
