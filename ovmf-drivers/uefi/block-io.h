/*
 * Block devices.  Source: UEFI 2.10, §13.9 (BlockIo) and §13.10 (BlockIo2).  An LBA and
 * `last_block` count blocks of `block_size` bytes.
 */
#pragma once

#include "ovmf-drivers/uefi/types.h"

static const struct efi_guid efi_block_io_guid = {
    0x964e5b21, 0x6459, 0x11d2, { 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
};
static const struct efi_guid efi_block_io2_guid = {
    0xa77b2472, 0xe282, 0x4e9f, { 0xa2, 0x45, 0xc2, 0xc0, 0xe2, 0x7b, 0xbc, 0xc1 }
};

struct efi_block_io_media {
    uint32_t media_id;
    efi_bool removable, present, logical_partition, read_only, write_caching;
    uint32_t block_size;
    /* 0 or 1: buffers need no alignment; else a power of two. */
    uint32_t io_align;
    efi_lba last_block;
    /* Since revision 2. */
    efi_lba lowest_aligned_lba;
    uint32_t logical_blocks_per_physical_block;
    /* Since revision 3, in blocks. */
    uint32_t optimal_transfer_length_granularity;
};

_Static_assert(sizeof(struct efi_block_io_media) == 48, "UEFI 2.10, §13.9.1");
_Static_assert(offsetof(struct efi_block_io_media, last_block) == 24, "UEFI 2.10, §13.9.1");

#define EFI_BLOCK_IO_REVISION 0x00010000u
#define EFI_BLOCK_IO_REVISION2 0x00020001u
#define EFI_BLOCK_IO_REVISION3 0x0002001fu

struct efi_block_io {
    uint64_t revision;
    struct efi_block_io_media *media;
    efi_status(EFIAPI *reset)(struct efi_block_io *self, efi_bool extended);
    efi_status(EFIAPI *read_blocks)(struct efi_block_io *self, uint32_t media_id, efi_lba lba,
                                    size_t size, void *buffer);
    efi_status(EFIAPI *write_blocks)(struct efi_block_io *self, uint32_t media_id, efi_lba lba,
                                     size_t size, void *buffer);
    efi_status(EFIAPI *flush_blocks)(struct efi_block_io *self);
};

/* If `event` is NULL, the request is finished when the function returns.  Else the event is
 * signalled when it is, with its status here. */
struct efi_block_io2_token {
    efi_event event;
    efi_status status;
};

struct efi_block_io2 {
    struct efi_block_io_media *media;
    efi_status(EFIAPI *reset)(struct efi_block_io2 *self, efi_bool extended);
    efi_status(EFIAPI *read_blocks_ex)(struct efi_block_io2 *self, uint32_t media_id, efi_lba lba,
                                       struct efi_block_io2_token *token, size_t size,
                                       void *buffer);
    efi_status(EFIAPI *write_blocks_ex)(struct efi_block_io2 *self, uint32_t media_id, efi_lba lba,
                                        struct efi_block_io2_token *token, size_t size,
                                        void *buffer);
    efi_status(EFIAPI *flush_blocks_ex)(struct efi_block_io2 *self,
                                        struct efi_block_io2_token *token);
};
