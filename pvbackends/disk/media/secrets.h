/*
 * Keys and passwords of storage: of encrypted images, of rbd, iscsi and others.  A description in
 * QEMU's words only names them, in members such as "key-secret": "vm1".  Secret vm1 is what the
 * file vm1 in /etc/rolemodel/secrets ($ROLEMODEL_SECRETS_DIR) has in it, all of it, so that none is
 * in a guest's configuration, in xenstore, or among a process's arguments.
 *
 * Threads: any.
 *
 * Source: qemu-storage-daemon(1) of QEMU 7.2, the object "secret".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_SECRETS_H
#define DISK_SECRETS_H

#include <glib.h>

/*
 * For each secret that BLOCKDEV, a description of QEMU's in JSON, names: the argument of an option
 * --object, for g_strfreev().  NULL and an error that says what to do, if a file is not there or is
 * not its owner's alone.
 */
char **disk_secrets_objects(const char *blockdev, GError **error);

#endif
