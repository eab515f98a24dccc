/*
 * How the xen/ floor reports failure: a GError whose code is the errno that the Xen library left,
 * in GLib's file-error domain, so that callers can tell "no such node" from "permission denied"
 * without a domain of our own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_ERROR_H
#define XEN_ERROR_H

#include <errno.h>
#include <glib.h>

/* Sets *error from errno, with a message made like printf and errno's own text after it. */
#define xen_set_error(error, ...) xen_set_error_errno(error, errno, __VA_ARGS__)

G_GNUC_PRINTF(3, 4)
static inline void xen_set_error_errno(GError **error, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(err), "%s: %s", what, g_strerror(err));
}

#endif
