/*
 * A PV disk as UEFI sees it: a handle with a device path, BlockIo and BlockIo2.
 *
 * Source: UEFI 2.10, §13.9 and §13.10.  A request of BlockIo2 is done when its call returns; its
 * event is signalled then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_BLOCK_H
#define PVBLK_BLOCK_H

#include "ovmf-drivers/core/disk.h"
#include "ovmf-drivers/uefi/block-io.h"
#include "ovmf-drivers/uefi/debug-port.h"
#include "ovmf-drivers/uefi/system-table.h"

#define BLOCK_NAME_SIZE 32

struct block {
    struct block *next; /* its owner's */
    struct efi_boot_services *boot;
    struct debug_port *log;
    efi_handle handle;
    struct efi_device_path *path;
    struct efi_block_io io;
    struct efi_block_io2 io2;
    struct efi_block_io_media media;
    uint64_t looked; /* when a drive's medium was looked at, µs */
    efi_char16 name[BLOCK_NAME_SIZE];
    struct pv_disk disk;
};

/*
 * Connects the disk DEVICE ("51712") of GUEST and puts it below PARENT; *BLOCK is the caller's, to
 * be removed.  What goes wrong is logged.
 */
efi_status block_add(struct pv_guest *guest, struct efi_boot_services *boot, struct debug_port *log,
                     const char *device, const struct efi_device_path *parent,
                     struct block **block);

/* An error, and nothing done, if somebody still uses it. */
efi_status block_remove(struct block *block);

/* Ends the connection but keeps the handle: the firmware is about to leave. */
void block_leave(struct block *block, uint64_t patience);

#endif
