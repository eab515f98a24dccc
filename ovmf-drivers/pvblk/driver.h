/*
 * XenPvBlk: what the driver is, between its files.
 *
 *   driver.c  the image and its binding to the Xen platform device
 *   names.c   its names
 *   guest.c   Xen as the core wants it; xen.c: hypercalls
 *   block.c   a disk's handle; block-io.c: its requests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_DRIVER_H
#define PVBLK_DRIVER_H

#include "ovmf-drivers/pvblk/block.h"
#include "ovmf-drivers/pvblk/guest.h"
#include "ovmf-drivers/uefi/driver.h"
#include "ovmf-drivers/uefi/pci-io.h"

/* Of the image: it lives until the firmware does. */
struct driver {
    struct efi_driver_binding binding;
    struct efi_component_name name, name2;
    struct efi_boot_services *boot;
    struct xen xen;
    struct debug_port log;
    struct controller *controller; /* a guest has one platform device; NULL: not started */
};

/* The platform device, while we are bound to it. */
struct controller {
    struct driver *driver;
    efi_handle handle;
    struct efi_pci_io *pci;
    struct guest guest;
    struct block *blocks;
    efi_event before_exit, exit;
};

void names_init(struct driver *driver);

#endif
