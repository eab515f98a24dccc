/*
 * libxl's own copy of a guest's configuration.  From it xl makes a guest that reboots again, and
 * `xl save` and `xl migrate` take it along; of what has changed while the guest ran, libxl finds
 * out by itself only about CDs.
 *
 * The copy is userdata-d.DOMID.UUID.libxl-json in /var/lib/xen, or $ROLEMODEL_LIBXL_DIR.  Who
 * changes it holds libxl's lock, which is flock()'s, on a file that whoever had it removes.
 *
 * Source: libxl_internal.c (libxl__lock_domain_userdata), libxl_dom.c (libxl__userdata_store) and
 * xl_vmcontrol.c (reload_domain_config) of Xen 4.17.
 * Threads: any.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef LIBXL_CONFIG_H
#define LIBXL_CONFIG_H

#include <stdbool.h>
#include <glib.h>

/*
 * From now on the disk VDEV has the image PATH, of FORMAT (libxl's name), there.  Waits for the
 * lock for up to 2 s.  If it fails, what a reboot takes is as it was; so if there is no UUID.
 */
bool libxl_config_set_image(unsigned domid, const char *uuid, const char *vdev, const char *format,
                            const char *path, GError **error);

#endif
