/*
 * The registers of an ivshmem function without interrupts and peers:
 *
 *   0x00  IntrMask    read, write
 *   0x04  IntrStatus  read, write; reading any byte of it clears it
 *   0x08  IVPosition  read: always 0, there are no peers
 *   0x0C  Doorbell    write: ignored, there is nobody to ring
 *
 * Each has 32 bits; the rest of the window is reserved.  What cannot be read reads as all-ones.
 * Accesses of any size and alignment have the parts of the registers that they cover.
 *
 * Source: QEMU's docs/specs/ivshmem-spec, "Device registers".
 * Threads: as struct ioreq_ops.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_SHMEM_REGISTERS_H
#define HW_SHMEM_REGISTERS_H

#include "ioreq/bus.h"

#define SHMEM_REGISTERS_SIZE 256

/* All-zero after reset. */
struct shmem_registers {
    uint32_t mask;
    uint32_t status;
};

/* OPAQUE is the struct shmem_registers. */
extern const struct ioreq_ops shmem_registers_ops;

#endif
