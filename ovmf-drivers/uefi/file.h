/*
 * Files.  Source: UEFI 2.10, §13.4 (simple file system) and §13.5 (file).
 */
#pragma once

#include "ovmf-drivers/uefi/types.h"

static const struct efi_guid efi_simple_file_system_guid = {
    0x964e5b22, 0x6459, 0x11d2, { 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
};
static const struct efi_guid efi_file_info_guid = {
    0x09576e92, 0x6d3f, 0x11d2, { 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
};

#define EFI_FILE_MODE_READ 1ull
#define EFI_FILE_MODE_WRITE 2ull
#define EFI_FILE_MODE_CREATE (1ull << 63)

#define EFI_FILE_ATTRIBUTE_DIRECTORY 0x10u

/* `size` is that of the whole, with the name, which ends with 0. */
struct efi_file_info {
    uint64_t size;
    uint64_t file_size, physical_size;
    struct efi_time created, accessed, modified;
    uint64_t attribute;
    efi_char16 name[];
};

_Static_assert(offsetof(struct efi_file_info, name) == 80, "UEFI 2.10, §13.5.16");

struct efi_file {
    uint64_t revision;
    efi_status(EFIAPI *open)(struct efi_file *self, struct efi_file **file, const efi_char16 *name,
                             uint64_t mode, uint64_t attributes);
    efi_status(EFIAPI *close)(struct efi_file *self);
    efi_status(EFIAPI *delete)(struct efi_file *self);
    /* Of a directory: one struct efi_file_info; size 0 is its end. */
    efi_status(EFIAPI *read)(struct efi_file *self, size_t *size, void *buffer);
    efi_status(EFIAPI *write)(struct efi_file *self, size_t *size, void *buffer);
    efi_status(EFIAPI *get_position)(struct efi_file *self, uint64_t *position);
    efi_status(EFIAPI *set_position)(struct efi_file *self, uint64_t position);
    efi_status(EFIAPI *get_info)(struct efi_file *self, const struct efi_guid *type, size_t *size,
                                 void *buffer);
    efi_status(EFIAPI *set_info)(struct efi_file *self, const struct efi_guid *type, size_t size,
                                 void *buffer);
    efi_status(EFIAPI *flush)(struct efi_file *self);
    /* Revision 2 goes on with four more. */
};

struct efi_simple_file_system {
    uint64_t revision;
    efi_status(EFIAPI *open_volume)(struct efi_simple_file_system *self, struct efi_file **root);
};
