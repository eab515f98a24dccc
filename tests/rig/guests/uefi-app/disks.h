/*
 * What the UEFI test applications share: the firmware's disks, and words on the debug port.  An
 * application prints lines on port 0xE9, which Xen shows in its log as "(d7) disks: ...", and ends
 * with an error, whereupon firmware boots from what is next.
 */
#pragma once

#include "ovmf-drivers/uefi/block-io.h"
#include "ovmf-drivers/uefi/debug-port.h"
#include "ovmf-drivers/uefi/device-path.h"
#include "ovmf-drivers/uefi/driver.h"
#include "ovmf-drivers/uefi/system-table.h"

#define DISKS_MAX 32

/* One handle with BlockIo: a whole disk, or a partition of one. */
struct disk {
    efi_handle handle;
    struct efi_block_io *io;
    /* NULL if there is none. */
    struct efi_block_io2 *io2;
    const struct efi_device_path *path;
};

struct disks {
    struct efi_system_table *system;
    struct debug_port port;
    size_t count;
    struct disk disk[DISKS_MAX];
    /* That the application was loaded from, and the whole disk that it is a part of; may be NULL.
     */
    struct disk *partition, *whole;
};

/* `name` is that of the application, with which its lines begin. */
void disks_find(struct disks *disks, const char *name, efi_handle image,
                struct efi_system_table *system);

/* One line for each disk and partition. */
void disks_list(struct disks *disks);

/* Bytes; 0 if the device has no medium. */
uint64_t disk_size(const struct disk *disk);

/* Whether firmware emulates nothing for it: false for IDE and AHCI. */
bool disk_is_pv(const struct disk *disk);

/* The name of a status code. */
const char *status_name(efi_status status);

/* Memory for `size` bytes, aligned to a page, or NULL; it is never freed. */
uint8_t *disks_memory(struct disks *disks, size_t size);

/* Microseconds since some time. */
uint64_t disks_now(struct disks *disks);
