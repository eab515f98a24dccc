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

/* What a backend may take: firmware must go on within 5 s of one that does not. */
extern const struct pv_patience block_patience;

struct block {
    struct block *next; /* its owner's */
    struct efi_boot_services *boot;
    struct debug_port *log;
    efi_handle handle;
    struct efi_device_path *path; /* NULL: the handle is not ours, and has one */
    struct efi_block_io io;
    struct efi_block_io2 io2;
    struct efi_block_io_media media;
    uint64_t looked; /* when a drive's medium was looked at, µs */
    efi_char16 name[BLOCK_NAME_SIZE];
    struct pv_disk disk;
};

/* Where a disk goes: onto HANDLE, or if that is NULL, onto a new one below the path PARENT. */
struct block_place {
    efi_handle handle;
    const struct efi_device_path *parent;
};

/*
 * Connects the disk DEVICE ("51712") of GUEST; *BLOCK is the caller's, to be removed.  What goes
 * wrong is logged.
 */
efi_status block_add(struct pv_guest *guest, struct efi_boot_services *boot, struct debug_port *log,
                     const char *device, struct block_place place, struct block **block);

/* An error, and nothing done, if somebody still uses it. */
efi_status block_remove(struct block *block);

/*
 * Ends the connection but keeps the handle: the firmware is about to leave.  *DEADLINE is for all
 * disks together; the first one sets it if it is 0.
 */
void block_leave(struct block *block, uint64_t *deadline);

#endif
