/*
 * A role: one kind of device model, run as a process of its own for one guest.
 *
 * To add a role, write a folder with a `const struct role` in it and name that in the table of
 * roles.c (docs/writing-a-role.rst).  Everything every role needs is done here: the command line
 * (`rolemodel ROLE --domid N [--option KEY=VALUE]...`), the connection to xenstore, telling the
 * supervisor that it is ready and that it goes on, taking an administrator's commands (`rolemodel
 * ROLE COMMAND GUEST`), and leaving when it is told to (SIGTERM, SIGINT, SIGHUP) or when the guest
 * is gone.
 *
 * Threads: all of this runs in the thread of main() and its GLib main loop.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ROLE_H
#define ROLE_H

#include <stdbool.h>
#include <glib.h>

#include "xen/store.h"

struct hole_function;
struct role_meter;
struct role_process;
struct role_request;

/*
 * What an administrator may ask of a running role: `rolemodel ROLE NAME GUEST [ARGUMENT...]`.
 */
struct role_command {
    const char *name;            /* does not begin with "-" */
    const char *arguments;       /* those after GUEST, for messages: "VDEV [SIZE]"; or NULL */
    const char *summary;         /* one line for --help */
    unsigned min_args, max_args; /* how many of them, at most 63 */

    /*
     * ARGV are those arguments, ending with NULL, and not checked any further; they last until the
     * request is answered.  That is done exactly once, now or later, and also if the role has been
     * told to stop in between or the client has left.  It must not wait.
     */
    void (*run)(struct role_request *request, char *const *argv, void *instance);
};

struct role {
    const char *name;    /* as in `rolemodel NAME` and `-role NAME` */
    const char *summary; /* one line for --help */

    /*
     * The backend type whose xenstore nodes ask for this role, such as "qdisk"; NULL for a role
     * that runs only when it is asked for with `-role`.
     */
    const char *backend;

    /* True if the guest must have an emulated platform (type="hvm"): ioreq roles. */
    bool hvm_only;

    /*
     * Options, as in `-role NAME,KEY=VALUE,...`, for a guest whose QEMU would serve the same
     * backend type: how the two share it.  NULL if there is nothing to share.
     */
    const char *beside_qemu;

    /* The same for an option that must be so beside QEMU and cannot be set otherwise. */
    const char *fixed_beside_qemu;

    /* Keys that --option takes, ending with NULL; others are refused before start(). */
    const char *const *options;

    /* Those of them that may also be given for one of the role's devices, as DEVICE:KEY; or NULL.
     */
    const char *const *device_options;

    /* What it can be asked while it runs, ending with an empty entry; NULL if nothing. */
    const struct role_command *commands;

    /* What `rolemodel top` shows of it (role_meter.h); NULL if nothing. */
    const struct role_meter *meter;

    /*
     * The PCI function that the guest will see with OPTIONS ("key=value", NULL-terminated): place
     * and BARs, for the check of the guest's PCI hole (hw/hole.h).  NULL for a role without one.
     */
    bool (*pci)(char *const *options, struct hole_function *function, GError **error);

    /*
     * Makes the role ready to serve, or sets *error.  What it returns is passed to stop(); the
     * supervisor lets the guest start once every role's start() has returned.
     */
    void *(*start)(struct role_process *process, GError **error);

    /*
     * Begins to stop; the role calls role_process_stopped() when the last request is finished and
     * everything is released, at once or later.  The guest may be paused, dead or gone.
     */
    void (*stop)(void *instance);
};

/* All roles, ending with NULL. */
extern const struct role *const role_table[];

unsigned role_process_domid(struct role_process *process);
struct xen_store *role_process_store(struct role_process *process);

/* The value given with --option KEY=VALUE, or NULL; owned by the process. */
const char *role_process_option(struct role_process *process, const char *key);

/* The same as an unsigned number (decimal, or hexadecimal after 0x) between MIN and MAX. */
bool role_process_option_uint(struct role_process *process, const char *key, guint64 min,
                              guint64 max, guint64 fallback, guint64 *value, GError **error);

/* The same of a TEXT, where there is no process yet. */
bool role_parse_uint(const char *text, guint64 min, guint64 max, guint64 *value, GError **error);

void role_process_stopped(struct role_process *process);

/*
 * The supervisor asks every few seconds whether the role goes on.  That the main loop does is shown
 * by its answer; CHECK is for the role's threads: has each come round since the last call?  It asks
 * them to come round again, and must not wait for them.  It is not called any more once the role
 * stops.  For a pci_role that has been done.
 */
typedef bool role_check_fn(void *opaque);
void role_process_set_check(struct role_process *process, role_check_fn *check, void *opaque);

/* Who serves the guest: "the primary device model, disk, shmem"; NULL if xenstore knows nobody. */
char *role_guest_processes(struct role_process *process);

/*
 * The answer to a command, which frees REQUEST: it is done, with TEXT for the administrator (one
 * line or several, or NULL); or it failed.  Neither TEXT nor ERROR is taken over.
 */
void role_request_reply(struct role_request *request, const char *text);
void role_request_fail(struct role_request *request, const GError *error);

/*
 * Calls GONE if nobody waits for the answer any more, because the client has left or the role has
 * been told to stop: what has not begun need not be done then.  The request is to be answered all
 * the same, and may be in GONE.
 */
typedef void role_gone_fn(void *opaque);
void role_request_on_gone(struct role_request *request, role_gone_fn *gone, void *opaque);

/*
 * What supervisor and role say to each other on the socket that --notify-fd names, a byte each: the
 * role that it goes on, first when it is ready and then whenever it is asked.
 */
#define ROLE_QUESTION '?'
#define ROLE_GOES_ON '+'
#define ROLE_HANGS '-' /* the main loop goes on, but not what set_check() named */

/* Runs ROLE with the arguments after its name; returns the exit status for main(). */
int role_main(const struct role *role, int argc, char **argv);

#endif
