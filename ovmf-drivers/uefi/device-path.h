/*
 * Device paths: packed nodes, one behind the other, closed by an end node.  Source: UEFI 2.10,
 * chapter 10.
 */
#pragma once

#include "ovmf-drivers/uefi/types.h"

static const struct efi_guid efi_device_path_guid = {
    0x09576e91, 0x6d3f, 0x11d2, { 0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
};

/* A node's head; `length` is the node's with this head, in bytes, little endian, not aligned. */
struct efi_device_path {
    uint8_t type, subtype;
    uint8_t length[2];
};

#define EFI_DEVICE_PATH_HARDWARE 0x01
#define EFI_DEVICE_PATH_HARDWARE_PCI 0x01
#define EFI_DEVICE_PATH_HARDWARE_VENDOR 0x04
#define EFI_DEVICE_PATH_HARDWARE_CONTROLLER 0x05
#define EFI_DEVICE_PATH_ACPI 0x02
#define EFI_DEVICE_PATH_MESSAGING 0x03
#define EFI_DEVICE_PATH_MESSAGING_VENDOR 0x0a
#define EFI_DEVICE_PATH_MEDIA 0x04
#define EFI_DEVICE_PATH_MEDIA_FILE_PATH 0x04
#define EFI_DEVICE_PATH_END 0x7f
#define EFI_DEVICE_PATH_END_INSTANCE 0x01
#define EFI_DEVICE_PATH_END_ENTIRE 0xff

/* A vendor's node: of hardware, messaging or media; its data follows. */
struct efi_device_path_vendor {
    struct efi_device_path head;
    struct efi_guid guid;
} __attribute__((packed));

struct efi_device_path_controller {
    struct efi_device_path head;
    uint32_t number;
} __attribute__((packed));

_Static_assert(sizeof(struct efi_device_path_vendor) == 20, "UEFI 2.10, §10.3.2.4");
_Static_assert(sizeof(struct efi_device_path_controller) == 8, "UEFI 2.10, §10.3.2.5");

static inline size_t efi_device_path_length(const struct efi_device_path *node)
{
    return (size_t)node->length[0] | (size_t)node->length[1] << 8;
}

static inline bool efi_device_path_is_end(const struct efi_device_path *node)
{
    return node->type == EFI_DEVICE_PATH_END && node->subtype == EFI_DEVICE_PATH_END_ENTIRE;
}

/* Sets the head of a node of `length` bytes. */
static inline void efi_device_path_set(struct efi_device_path *node, uint8_t type, uint8_t subtype,
                                       size_t length)
{
    *node = (struct efi_device_path){ type, subtype, { length & 0xff, length >> 8 & 0xff } };
}
