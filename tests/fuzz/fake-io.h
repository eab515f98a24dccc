/*
 * The disk role's I/O for fuzzers: see fake-io.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef FUZZ_FAKE_IO_H
#define FUZZ_FAKE_IO_H

#include <stdbool.h>

/* While it is set, nothing that was done is delivered. */
extern bool fake_io_holds;

#endif
