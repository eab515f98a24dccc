/*
 * The emulated disks that libxl gives an HVM guest beside its PV disks.
 *
 * libxl 4.17 shows each of the first disks twice: xvda is a backend node and, for firmware, an
 * emulated IDE or AHCI disk of QEMU's as well.  Where QEMU serves both it sees to it that only one
 * is in use.  Two processes cannot, so an image that a role serves is not given to QEMU.
 *
 * Source: libxl__build_device_model_args_new() in libxl_dm.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_DRIVES_H
#define TOOLSTACK_DRIVES_H

#include <glib.h>

/*
 * Takes the -drive of the image FILE out of ARGV, and the -device on it if it has one.  ARGV is an
 * array of strings that frees them; returns the number of drives taken out.
 */
guint drives_remove(GPtrArray *argv, const char *file);

#endif
