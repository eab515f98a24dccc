/*
 * What a toolstack does to a guest, in the same xenstore nodes and the same order as libxl 4.17:
 * creating the domain, attaching and detaching disks, destroying it.
 *
 * Errors: these end the test with a message (g_error); a test has no use for half a guest.
 * Threads: one at a time; the main one starts programs, because they end with the thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_H
#define TOOLSTACK_H

#include <stdbool.h>
#include <stddef.h>
#include <glib.h>
#include <xenstore.h>

#include "tests/sim/guest/guest.h"

/* The connection of dom0's toolstack to xenstored, opened at first use and closed by sim_stop(). */
struct xs_handle *toolstack_store(void);
void toolstack_disconnect(void); /* for sim_stop() */

struct toolstack_guest {
    const char *type; /* "pv", "pvh" or "hvm", as in /libxl/N/type */
    unsigned vcpus;
    size_t pages; /* of memory */
};

/* Creates a domain, introduces it to xenstored, writes the nodes libxl writes; returns its inside.
 */
struct guest *toolstack_create(const struct toolstack_guest *configuration);

/*
 * Destroys it as `xl destroy` does: the device model told to go, backends set to Closed, nodes
 * removed, then the domain.  Returns when xenstored has forgotten it.  Closes GUEST, so frontends
 * must have been closed or abandoned.
 */
void toolstack_destroy(struct guest *guest);

struct toolstack_disk {
    const char *vdev;   /* "xvda" */
    const char *params; /* "aio:/path", as libxl writes it */
    bool read_only, cdrom;
    const char *const *extra; /* more nodes of the backend: "name", "value", ..., NULL; or NULL */
};

/* Backend and frontend nodes, both Initialising; returns the device's number (51712 for xvda). */
unsigned toolstack_attach_disk(struct guest *guest, const struct toolstack_disk *disk);

/* Asks the backend to let go (online 0, state 5), waits up to 10 s for 6, removes the nodes. */
bool toolstack_detach_disk(struct guest *guest, unsigned devid);

/* Plain access, as xenstore-read and xenstore-write by root.  Read: g_free(); NULL if absent. */
char *toolstack_read(const char *path);
void toolstack_write(const char *path, const char *value);
bool toolstack_exists(const char *path);

/* Waits until PATH has VALUE, for at most SECONDS; false if it never had. */
bool toolstack_await(const char *path, const char *value, unsigned seconds);

/* Removes the nodes of a guest's disks without asking the backends (for toolstack_destroy()). */
void toolstack_destroy_disks(unsigned domid);

/*
 * Runs a program on the host (NULL-terminated arguments) and returns its pid; standard error goes
 * to LOG, a path, or to ours if that is NULL.  Wait for it with toolstack_wait(), which returns
 * the exit status or minus the signal, and ends the test if that takes longer than a minute.
 */
pid_t toolstack_run(const char *log, const char *const *argv);
int toolstack_wait(pid_t pid);

/*
 * Runs PROGRAM as the guest's device model, with libxl's arguments and then EXTRA's (or NULL), and
 * notes its pid where libxl does.  Its QMP sockets are toolstack_qmp_path(GUEST, "libxl") and
 * "libxenstat".  It is up when device-model/DOMID/state says "running".
 */
pid_t toolstack_run_device_model(struct guest *guest, const char *log, const char *program,
                                 const char *const *extra);
char *toolstack_qmp_path(struct guest *guest, const char *client); /* g_free() */

#endif
