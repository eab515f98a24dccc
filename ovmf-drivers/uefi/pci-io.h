/*
 * A PCI function.  Source: UEFI 2.10, §14.4.  Counts are in units of the width, offsets in bytes.
 */
#pragma once

#include "ovmf-drivers/uefi/boot-services.h"

static const struct efi_guid efi_pci_io_guid = {
    0x4cf5b200, 0x68b8, 0x4ca5, { 0x9e, 0xec, 0xb2, 0x3e, 0x3f, 0x50, 0x02, 0x9a }
};

/* Fifo: the address stays; fill: the buffer stays. */
enum efi_pci_io_width {
    EFI_PCI_IO_UINT8,
    EFI_PCI_IO_UINT16,
    EFI_PCI_IO_UINT32,
    EFI_PCI_IO_UINT64,
    EFI_PCI_IO_FIFO_UINT8,
    EFI_PCI_IO_FIFO_UINT16,
    EFI_PCI_IO_FIFO_UINT32,
    EFI_PCI_IO_FIFO_UINT64,
    EFI_PCI_IO_FILL_UINT8,
    EFI_PCI_IO_FILL_UINT16,
    EFI_PCI_IO_FILL_UINT32,
    EFI_PCI_IO_FILL_UINT64,
};

/* Instead of a BAR's number: offsets are addresses. */
#define EFI_PCI_IO_PASS_THROUGH_BAR 0xff

enum efi_pci_io_attribute_operation {
    EFI_PCI_IO_ATTRIBUTES_GET,
    EFI_PCI_IO_ATTRIBUTES_SET,
    EFI_PCI_IO_ATTRIBUTES_ENABLE,
    EFI_PCI_IO_ATTRIBUTES_DISABLE,
    EFI_PCI_IO_ATTRIBUTES_SUPPORTED,
};

#define EFI_PCI_IO_ATTRIBUTE_IO 0x0100u
#define EFI_PCI_IO_ATTRIBUTE_MEMORY 0x0200u
#define EFI_PCI_IO_ATTRIBUTE_BUS_MASTER 0x0400u

enum efi_pci_io_map_operation {
    EFI_PCI_IO_BUS_MASTER_READ,
    EFI_PCI_IO_BUS_MASTER_WRITE,
    EFI_PCI_IO_BUS_MASTER_COMMON_BUFFER,
};

struct efi_pci_io;

typedef efi_status(EFIAPI *efi_pci_io_poll)(struct efi_pci_io *self, enum efi_pci_io_width width,
                                            uint8_t bar, uint64_t offset, uint64_t mask,
                                            uint64_t value, uint64_t delay, uint64_t *result);
typedef efi_status(EFIAPI *efi_pci_io_access)(struct efi_pci_io *self, enum efi_pci_io_width width,
                                              uint8_t bar, uint64_t offset, size_t count,
                                              void *buffer);
typedef efi_status(EFIAPI *efi_pci_io_config)(struct efi_pci_io *self, enum efi_pci_io_width width,
                                              uint32_t offset, size_t count, void *buffer);

struct efi_pci_io {
    efi_pci_io_poll poll_mem, poll_io;
    struct {
        efi_pci_io_access read, write;
    } mem, io;
    struct {
        efi_pci_io_config read, write;
    } pci;
    efi_status(EFIAPI *copy_mem)(struct efi_pci_io *self, enum efi_pci_io_width width,
                                 uint8_t to_bar, uint64_t to_offset, uint8_t from_bar,
                                 uint64_t from_offset, size_t count);
    efi_status(EFIAPI *map)(struct efi_pci_io *self, enum efi_pci_io_map_operation operation,
                            void *host_address, size_t *size, efi_physical_address *device_address,
                            void **mapping);
    efi_status(EFIAPI *unmap)(struct efi_pci_io *self, void *mapping);
    efi_status(EFIAPI *allocate_buffer)(struct efi_pci_io *self, enum efi_allocate_type how,
                                        enum efi_memory_type type, size_t pages, void **buffer,
                                        uint64_t attributes);
    efi_status(EFIAPI *free_buffer)(struct efi_pci_io *self, size_t pages, void *buffer);
    efi_status(EFIAPI *flush)(struct efi_pci_io *self);
    efi_status(EFIAPI *get_location)(struct efi_pci_io *self, size_t *segment, size_t *bus,
                                     size_t *device, size_t *function);
    efi_status(EFIAPI *attributes)(struct efi_pci_io *self,
                                   enum efi_pci_io_attribute_operation operation,
                                   uint64_t attributes, uint64_t *result);
    efi_status(EFIAPI *get_bar_attributes)(struct efi_pci_io *self, uint8_t bar, uint64_t *supports,
                                           void **resources);
    efi_status(EFIAPI *set_bar_attributes)(struct efi_pci_io *self, uint64_t attributes,
                                           uint8_t bar, uint64_t *offset, uint64_t *length);
    uint64_t rom_size;
    void *rom_image;
};

_Static_assert(sizeof(struct efi_pci_io) == 20 * sizeof(void *), "UEFI 2.10, §14.4.2");

/* A 64-bit address-space descriptor, in the list that get_bar_attributes() gives (pool memory, the
 * caller's to free; an end tag 0x79 closes it).  Source: ACPI 6.4, §6.4.3.5.1. */
struct efi_acpi_address_space {
    uint8_t tag;
    uint16_t length;
    /* 0 is memory, 1 is ports. */
    uint8_t kind;
    uint8_t general_flags, specific_flags;
    uint64_t granularity, minimum, maximum, translation, size;
} __attribute__((packed));

#define EFI_ACPI_ADDRESS_SPACE_TAG 0x8a

_Static_assert(sizeof(struct efi_acpi_address_space) == 46, "ACPI 6.4, §6.4.3.5.1");
