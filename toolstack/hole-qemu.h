/*
 * The PCI functions that QEMU shows a guest, told from its command line: what is on which slot,
 * and the sizes of its BARs.
 *
 * Known are the devices that libxl 4.17 asks for and some that administrators add by
 * device_model_args; of others the slot is counted and the name noted.
 *
 * Source: measured with Debian 12's QEMU 7.2 (`info pci`, and hvmloader's `pci dev` lines);
 * libxl__build_device_model_args_new() in libxl_dm.c for which there are.
 * Threads: any; there is no global state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_HOLE_QEMU_H
#define TOOLSTACK_HOLE_QEMU_H

#include "hw/hole.h"

/* A guest as far as the hole is concerned, whatever it is told from. */
struct hole_platform {
    uint64_t ram; /* bytes */
    /* What each of the three that must agree has been given, in MiB; 0 for nothing. */
    unsigned mmio_hole; /* libxl and hvmloader */
    unsigned qemu_hole; /* QEMU's max-ram-below-4g */
    bool relocate;      /* hvmloader may move RAM */
    unsigned address_bits;
    GArray *functions;  /* struct hole_function */
    GPtrArray *unknown; /* char *: devices whose BARs are not known */
};

/* Without functions; the vCPU's address width is the host's. */
struct hole_platform *hole_platform_new(void);
void hole_platform_free(struct hole_platform *platform); /* NULL is fine */

/* For hole_map_new(); valid until the platform changes. */
struct hole_guest hole_platform_guest(const struct hole_platform *platform);

/* Adds what ARGUMENTS (char *, libxl's) make QEMU show; sets ram and qemu_hole. */
void hole_platform_add_qemu(struct hole_platform *platform, GPtrArray *arguments);

/* Puts FUNCTION at the first slot that nothing has yet; false if all are taken. */
bool hole_platform_add(struct hole_platform *platform, struct hole_function *function);

#endif
