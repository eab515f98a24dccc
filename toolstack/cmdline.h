/*
 * The command line that libxl gives to its device model, which is QEMU's with our `-role` in it.
 *
 * libxl starts its `device_model_override` once as a probe (`-machine none`, no domain) and once
 * for the guest.  What a PV guest's device model has no use for (`-m`, `-vnc`, ...) is skipped;
 * for a guest with an emulated platform it is handed on to QEMU.
 *
 * Source: libxl__build_device_model_args_new() in Xen's tools/libs/light/libxl_dm.c; QEMU's
 * qemu-options.hx and util/qemu-option.c.
 * Threads: any; there is no global state.
 * Errors: G_OPTION_ERROR, with the option and what it should have been.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_CMDLINE_H
#define TOOLSTACK_CMDLINE_H

#include <stdbool.h>
#include <glib.h>

/* One `key=value` of an option's argument; `,,` in the text is a comma in the value. */
struct dm_keyval {
    char *key;
    char *value; /* NULL for a key without a value, such as `server` */
};

/* A control socket that libxl wants served: a -chardev that a `-mon mode=control` names. */
struct dm_qmp_socket {
    char *id;       /* the chardev's, such as "libxl-cmd" */
    char *path;     /* where to listen, or NULL: then FD listens already */
    int fd;         /* inherited listening socket, or -1; not owned */
    guint argument; /* internal: the chardev's text in dm_cmdline.arguments */
};

/* `-role NAME[,key=value...]` or `-role NAME=off`; names and keys are not checked here. */
struct dm_role_request {
    char *name;
    bool off;
    GPtrArray *settings; /* struct dm_keyval, each with a value; no key twice */
};

struct dm_cmdline {
    bool probe;     /* libxl only asks what the program can do: no domain, nothing to emulate */
    bool pv;        /* the guest needs no QEMU (-machine xenpv) */
    bool attach;    /* -xen-attach: the domain exists already */
    bool stopped;   /* -S: QEMU's status is "prelaunch" until the QMP command "cont" */
    unsigned domid; /* valid unless PROBE */
    char *name;     /* the guest's, or NULL */
    char *machine;  /* machine type: "xenpv", "xenfv", "pc", "none"... */
    GPtrArray *qmp_sockets; /* struct dm_qmp_socket, in the order of the -mon options */
    GPtrArray *roles;       /* struct dm_role_request, in order; a role may be there twice */
    GPtrArray *arguments;   /* char *: all but the program's name and our own options */
};

/* Takes the arguments of main(); what it returns holds copies of all it needs. */
struct dm_cmdline *dm_cmdline_parse(int argc, char *const *argv, GError **error);
void dm_cmdline_free(struct dm_cmdline *cmdline); /* NULL is fine */

/*
 * QEMU's arguments, for g_strfreev(): PROGRAM, then the original ones without -role, where each of
 * the qmp_sockets listens on the descriptor of the same index in FDS, which QEMU must inherit.
 */
char **dm_cmdline_qemu_argv(const struct dm_cmdline *cmdline, const char *program, const int *fds);

#endif
