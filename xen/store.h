/*
 * Xenstore: one connection per process, with typed reads, transactions and watches that arrive
 * in the GLib main loop.
 *
 * Source: xenstore.h and docs/misc/xenstore.txt of Xen.
 * Threads: a store belongs to the thread that runs the main context; one without a watch, to one
 * thread at a time.
 * Errors: GError in G_FILE_ERROR with the errno of libxenstore (ENOENT: no such node).
 * Units: paths are absolute, or relative to the own domain's home as xenstored resolves them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_STORE_H
#define XEN_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

struct xen_store;
struct xen_store_watch;

/* Connects to xenstored.  The first watch brings a thread and a source of the main context. */
struct xen_store *xen_store_open(GError **error);
void xen_store_close(struct xen_store *store); /* NULL is fine; watches must be gone */

/* The value of DIR/NODE; free with g_free().  A value with an embedded NUL is refused. */
char *xen_store_read(struct xen_store *store, const char *dir, const char *node, GError **error);

/*
 * The value of DIR/NODE as an unsigned decimal number between MIN and MAX.  What a guest wrote is
 * not trusted: signs, blanks, other bases, trailing text and overflow are errors (EINVAL).
 */
bool xen_store_read_uint(struct xen_store *store, const char *dir, const char *node, uint64_t min,
                         uint64_t max, uint64_t *value, GError **error);

/* The same, with FALLBACK where the node does not exist; other errors are errors. */
bool xen_store_read_uint_or(struct xen_store *store, const char *dir, const char *node,
                            uint64_t min, uint64_t max, uint64_t fallback, uint64_t *value,
                            GError **error);

/* Children of PATH as a NULL-terminated array for g_strfreev(); empty if PATH does not exist. */
char **xen_store_list(struct xen_store *store, const char *path);

bool xen_store_write(struct xen_store *store, const char *dir, const char *node, GError **error,
                     const char *format, ...) G_GNUC_PRINTF(5, 6);

/* Makes the node if it is not there, and gives it to OWNER; READER may read it and what is below.
 */
bool xen_store_make(struct xen_store *store, const char *dir, unsigned owner, unsigned reader,
                    GError **error);

/* Removes DIR and all below it; that it is not there is fine. */
bool xen_store_remove(struct xen_store *store, const char *dir, GError **error);

/*
 * True if xenstored says that it does not know the domain: before its introduction and after its
 * destruction.  A xenstored that does not answer says nothing: its guests go on, and so do we.
 */
bool xen_store_domain_gone(struct xen_store *store, unsigned domid);

/*
 * The domain of a guest that an administrator names as xl takes it: by its number, or by its name.
 * *ERROR says that there is none.
 */
bool xen_store_find_domain(struct xen_store *store, const char *guest, unsigned *domid,
                           GError **error);

/*
 * Runs BODY in a transaction: every call on STORE inside it belongs to the transaction.  It is
 * run again when others interfered (so it must have no other effect), abandoned when it fails.
 */
typedef bool xen_store_body(struct xen_store *store, void *opaque, GError **error);
bool xen_store_transaction(struct xen_store *store, xen_store_body *body, void *opaque,
                           GError **error);

/*
 * Calls FN in the main context after PATH or anything below it changed, and once at the start.
 * However often a guest makes it change, FN runs once per turn of the loop (XSA-349: bounded work).
 */
typedef void xen_store_watch_fn(void *opaque);
struct xen_store_watch *xen_store_watch_add(struct xen_store *store, const char *path,
                                            xen_store_watch_fn *fn, void *opaque, GError **error);
void xen_store_watch_remove(struct xen_store_watch *watch); /* NULL is fine; allowed inside FN */

#endif
