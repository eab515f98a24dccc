/*
 * The part of Debian's libxentoolcore that is for Xen's own libraries: a list of open handles,
 * which xentoolcore_restrict_all() restricts one by one.  Xen's header of it is not installed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef LIB_TOOLCORE_H
#define LIB_TOOLCORE_H

#include <xentoolcore.h>

struct toolcore_handle {
    int (*restrict_callback)(struct toolcore_handle *handle, domid_t domid);
    struct {
        struct toolcore_handle *next, **previous;
    } list;
};

void xentoolcore__register_active_handle(struct toolcore_handle *handle);
void xentoolcore__deregister_active_handle(struct toolcore_handle *handle);

/* For handles that cannot be restricted: their descriptor becomes /dev/null. */
int xentoolcore__restrict_by_dup2_null(int fd);

#endif
