/*
 * A xenstore inside the fuzzer: the calls of libxenstore that xen/store.c uses, on a table in this
 * process, so that an input costs microseconds and always does the same.  Transactions never
 * conflict.  Only one client: the role.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef FUZZ_FAKE_STORE_H
#define FUZZ_FAKE_STORE_H

#include <glib.h>

/* What others do to the store; watches of the role fire.  VALUE may have NUL bytes. */
void fake_store_write(const char *path, const void *value, gsize length);
void fake_store_remove(const char *path); /* with all below it */

/* The value, or NULL; valid until the next change. */
const char *fake_store_read(const char *path);

#endif
