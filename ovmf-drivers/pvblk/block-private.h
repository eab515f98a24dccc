/*
 * Between block.c (handles) and block-io.c (requests).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_BLOCK_PRIVATE_H
#define PVBLK_BLOCK_PRIVATE_H

#include "ovmf-drivers/pvblk/block.h"

/* How long a backend that has failed may take to close, in µs. */
#define BLOCK_BURIAL (500 * PV_MS)

/* Fills in the functions; describes the medium that the disk has now. */
void block_io_init(struct block *block);
void block_io_describe(struct block *block);

#endif
