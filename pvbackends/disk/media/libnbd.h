/*
 * libnbd, loaded when the first medium needs it: it brings TLS and XML libraries, which would cost
 * every start of a guest with raw disks more than all the rest.
 *
 * Threads: any.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_LIBNBD_H
#define DISK_LIBNBD_H

#include <glib.h>
#include <libnbd.h>

/* Its calls, by their names without "nbd_". */
struct libnbd {
    __typeof__(nbd_create) *create;
    __typeof__(nbd_close) *close;
    __typeof__(nbd_get_error) *get_error;
    __typeof__(nbd_get_errno) *get_errno;
    __typeof__(nbd_set_export_name) *set_export_name;
    __typeof__(nbd_set_pread_initialize) *set_pread_initialize;
    __typeof__(nbd_set_request_structured_replies) *set_request_structured_replies;
    __typeof__(nbd_get_size) *get_size;
    __typeof__(nbd_get_block_size) *get_block_size;
    __typeof__(nbd_can_multi_conn) *can_multi_conn;
    __typeof__(nbd_can_trim) *can_trim;
    __typeof__(nbd_poll) *poll;
    __typeof__(nbd_aio_connect_unix) *aio_connect_unix;
    __typeof__(nbd_aio_connect_socket) *aio_connect_socket;
    __typeof__(nbd_aio_disconnect) *aio_disconnect;
    __typeof__(nbd_aio_get_fd) *aio_get_fd;
    __typeof__(nbd_aio_get_direction) *aio_get_direction;
    __typeof__(nbd_aio_notify_read) *aio_notify_read;
    __typeof__(nbd_aio_notify_write) *aio_notify_write;
    __typeof__(nbd_aio_is_ready) *aio_is_ready;
    __typeof__(nbd_aio_is_processing) *aio_is_processing;
    __typeof__(nbd_aio_is_dead) *aio_is_dead;
    __typeof__(nbd_aio_is_closed) *aio_is_closed;
    __typeof__(nbd_aio_pread) *aio_pread;
    __typeof__(nbd_aio_pwrite) *aio_pwrite;
    __typeof__(nbd_aio_flush) *aio_flush;
    __typeof__(nbd_aio_trim) *aio_trim;
    __typeof__(nbd_aio_zero) *aio_zero;
};

/* g_free(), but the library stays loaded: nobody can tell what of it still runs. */
struct libnbd *libnbd_load(GError **error);

#endif
