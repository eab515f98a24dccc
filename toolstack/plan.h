/*
 * Which roles a guest gets, and with which options: from the role table, the guest's backend
 * nodes in xenstore, and what was asked for with -role.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_PLAN_H
#define TOOLSTACK_PLAN_H

#include <glib.h>

#include "role.h"
#include "toolstack/cmdline.h"
#include "xen/store.h"

struct plan_entry {
    const struct role *role;
    char **options; /* "key=value", NULL-terminated */
    bool now;       /* start it with the guest; else when its first backend node appears */
};

/* An array of struct plan_entry; NULL and G_OPTION_ERROR for what cannot be. */
GPtrArray *plan_new(const struct role *const *roles, const struct dm_cmdline *cmdline,
                    struct xen_store *store, GError **error);

/* Does the guest have backend nodes that ask for ROLE? */
bool plan_has_nodes(const struct role *role, unsigned domid, struct xen_store *store);

#endif
