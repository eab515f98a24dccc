/*
 * A xenstore client, one request at a time: over the page that a guest shares with xenstored, or by
 * somebody else's client (talk).
 *
 * Paths are a directory and a node of it; both are absolute or relative to the guest's own
 * directory.  Every call ends within the patience that the store was opened with; one that was not
 * answered in time, or wrongly, breaks the store: all calls after it fail at once.
 *
 * Watches are not used, and events of those that somebody before us has set are skipped.
 * Source: xen/io/xs_wire.h.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PV_STORE_H
#define PV_STORE_H

#include "ovmf-drivers/core/platform.h"

#include <xen/io/xs_wire.h> /* needs the types of the one above */

/* A path in pieces (NODE may be NULL), and a value or NULL. */
struct pv_store_message {
    uint32_t type; /* XS_* */
    const char *dir, *node, *value;
};

struct pv_store {
    /* Puts the answer into payload, with a NUL behind its *LENGTH bytes. */
    enum pv_status (*talk)(struct pv_store *store, const struct pv_store_message *message,
                           size_t *length);
    uint64_t patience; /* that a call may take; 0: nobody knows */
    bool broken;
    char payload[XENSTORE_PAYLOAD_MAX + 1];

    /* Over the page: */
    const struct pv_platform *platform;
    struct xenstore_domain_interface *ring;
    uint32_t port, last_id;
};

/* Over the page RING. */
void pv_store_init(struct pv_store *store, const struct pv_platform *platform, void *ring,
                   uint32_t port, uint64_t patience);

/*
 * *VALUE is text that ends with its first NUL, and is valid until the next call.  *LENGTH is that
 * of the whole answer: of a directory, names that end with a NUL each.
 */
enum pv_status pv_store_read(struct pv_store *store, const char *dir, const char *node,
                             const char **value);
enum pv_status pv_store_list(struct pv_store *store, const char *dir, const char **names,
                             size_t *length);
enum pv_status pv_store_write(struct pv_store *store, const char *dir, const char *node,
                              const char *value);
enum pv_status pv_store_remove(struct pv_store *store, const char *dir, const char *node);

/* The number in a node, or FALLBACK if there is no node; PV_BROKEN if it is none up to MAX. */
enum pv_status pv_store_read_number(struct pv_store *store, const char *dir, const char *node,
                                    uint64_t max, uint64_t fallback, uint64_t *number);
enum pv_status pv_store_write_number(struct pv_store *store, const char *dir, const char *node,
                                     uint64_t number);

#endif
