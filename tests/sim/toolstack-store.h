/*
 * The toolstack's way to write xenstore: formatted paths, permissions, transactions.  For the
 * toolstack's own files; tests use toolstack.h.
 *
 * Errors: all of these end the test with a message (g_error).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_STORE_H
#define TOOLSTACK_STORE_H

#include <stdbool.h>
#include <glib.h>
#include <xenstore.h>

/* Who may use a node: its owner everything, READER (if there is one) may read, others nothing. */
struct store_owner {
    unsigned owner;
    int reader; /* -1: nobody */
};

/* Runs BODY in a transaction, again if others interfered. */
typedef void store_body(xs_transaction_t t, const void *opaque);
void store_transaction(store_body *body, const void *opaque);

/* Writes VALUE with the permissions of the directory, or of OWNER if that is not NULL. */
void store_put(xs_transaction_t t, const struct store_owner *owner, const char *value,
               const char *format, ...) G_GNUC_PRINTF(4, 5);

/* An empty node. */
void store_make(xs_transaction_t t, const struct store_owner *owner, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Removes what is there and below it; with what is empty then above it, if UPWARDS. */
void store_remove(xs_transaction_t t, bool upwards, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The value for g_free(), or NULL. */
char *store_get(xs_transaction_t t, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Names below a directory, for g_strfreev(); empty if it is not there. */
char **store_list(xs_transaction_t t, const char *format, ...) G_GNUC_PRINTF(2, 3);

#endif
