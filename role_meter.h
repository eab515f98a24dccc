/*
 * What a role shows of its work in `rolemodel top`: readings of counters that its processes leave
 * in memory, for each device that it serves, and what two of them say.
 *
 * Threads: called by the tool, which is another process than the role's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ROLE_METER_H
#define ROLE_METER_H

#include <glib.h>

struct json_t; /* jansson's */

/* A reading of DEVICE, SIZE bytes that only the role understands. */
typedef void role_meter_fn(const char *device, const void *reading, gsize size, void *opaque);

struct role_meter {
    const char *header; /* the titles over what row() makes */

    /* Calls FN for each device of the guest that is served now.  What is not right is left out. */
    void (*read)(unsigned domid, role_meter_fn *fn, void *opaque);

    /*
     * What happened from reading BEFORE to NOW, SECONDS later: a row of a table, and a JSON object
     * that has the counters too.  BEFORE is NULL if the device was not there.
     */
    char *(*row)(const void *before, const void *now, double seconds);
    struct json_t *(*json)(const void *before, const void *now, double seconds);
};

#endif
