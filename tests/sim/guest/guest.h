/*
 * A simulated guest, from the inside: its memory, its grant table, its event channels, its
 * connection to xenstored.  Frontends and vCPUs for tests are built on it; a new frontend needs
 * nothing else.
 *
 * Units: frames are pages of 4096 bytes; gfn 0 is the first byte of the guest's memory.
 * Threads: memory, grants and ports may be used from any thread; a poller and the xenstore
 * connection belong to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_GUEST_H
#define GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <glib.h>
#include <xen/grant_table.h>

#define GUEST_PAGE 4096

struct guest;

/* The inside of a domain that exists (toolstack_create() calls this). */
struct guest *guest_open(unsigned domid);
void guest_close(struct guest *guest);

unsigned guest_domid(const struct guest *guest);
unsigned guest_vcpus(const struct guest *guest);

/* --- memory: mapped here whole and for as long as the guest is open --- */

void *guest_memory(struct guest *guest); /* of gfn 0 */
size_t guest_pages(const struct guest *guest);

/* COUNT adjacent frames that nobody uses, zeroed; ends the test if there are none. */
void *guest_alloc(struct guest *guest, size_t count);
void guest_free(struct guest *guest, void *address, size_t count);
uint64_t guest_gfn(const struct guest *guest, const void *address);

/* --- grants (version 1 entries), as a guest's kernel makes them --- */

/* Lets domain TO use the page at ADDRESS; the reference.  A reference is free until then. */
uint32_t guest_grant(struct guest *guest, unsigned to, const void *address, bool read_only);

/* Ends it; false, with the grant still in force, while somebody has it mapped. */
bool guest_ungrant(struct guest *guest, uint32_t ref);

/* The entry itself, for hostile guests: any flags, any frame, at any time. */
struct grant_entry_v1 *guest_grant_entry(struct guest *guest, uint32_t ref);
uint32_t guest_grant_entries(const struct guest *guest);

/* --- event channels --- */

/* A new port that domain REMOTE may bind. */
uint32_t guest_port_alloc(struct guest *guest, unsigned remote);
void guest_port_close(struct guest *guest, uint32_t port);
void guest_port_notify(struct guest *guest, uint32_t port);

/* Events on PORT since the last call, as 0 or 1; a guest that polls needs no more. */
bool guest_port_pending(struct guest *guest, uint32_t port);

/* Sleeps until PORT is pending and takes it, at most TIMEOUT_MS (-1: for ever); false: it was not.
 */
bool guest_port_wait(struct guest *guest, uint32_t port, int timeout_ms);

/* --- xenstore, as the guest: through its own ring, with its own permissions and quota --- */

/* Paths are absolute or relative to /local/domain/N.  Errors are errno values of xenstored. */
char *guest_store_read(struct guest *guest, const char *path); /* g_free(); NULL and errno */
bool guest_store_write(struct guest *guest, const char *path, const char *value);
bool guest_store_write_bytes(struct guest *guest, const char *path, const void *value,
                             size_t length);
bool guest_store_remove(struct guest *guest, const char *path);
bool guest_store_printf(struct guest *guest, const char *path, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* Waits until PATH holds VALUE (polling every millisecond), at most TIMEOUT_MS. */
bool guest_store_await(struct guest *guest, const char *path, const char *value, int timeout_ms);

#endif
