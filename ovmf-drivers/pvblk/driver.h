/*
 * XenPvBlk: what the driver is, between its files.
 *
 *   driver.c    the image and its binding to the Xen platform device
 *   bus-disk.c  its binding to a disk of the firmware's own XENBUS
 *   names.c     its names
 *   guest.c     Xen as the core wants it; xenbus.c: the same behind XENBUS
 *   pages.c     memory, for both; xen.c: hypercalls
 *   block.c     a disk's handle; block-io.c: its requests
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_DRIVER_H
#define PVBLK_DRIVER_H

#include "ovmf-drivers/pvblk/block.h"
#include "ovmf-drivers/pvblk/guest.h"
#include "ovmf-drivers/pvblk/xenbus.h"
#include "ovmf-drivers/uefi/driver.h"
#include "ovmf-drivers/uefi/pci-io.h"

/* Of the image: it lives until the firmware does. */
struct driver {
    struct efi_driver_binding binding, disk_binding;
    struct efi_component_name name, name2;
    struct efi_boot_services *boot;
    struct xen xen;
    struct debug_port log;
    struct controller *controller; /* a guest has one platform device; NULL: not started */
    struct bus_disk *disks;        /* behind XENBUS */
    struct xenbus_shared shared;   /* by these */
    efi_event before_exit, exit;
};

/* The platform device, while we are bound to it. */
struct controller {
    struct driver *driver;
    efi_handle handle;
    struct efi_pci_io *pci;
    struct guest guest;
    struct block *blocks;
};

/* A handle of XENBUS, while we are bound to it. */
struct bus_disk {
    struct bus_disk *next;
    efi_handle handle;
    struct xenbus xenbus;
    struct block *block; /* NULL: it could not be connected */
};

void names_init(struct driver *driver);

/* Fills in the second binding, but for its handle. */
void bus_disks_init(struct driver *driver, efi_handle image);

/* Ends their connections but keeps their handles. */
void bus_disks_leave(struct driver *driver, enum pages_phase phase);

#endif
