/*
 * What a driver is to firmware: its image, its binding to controllers, its names.  Source:
 * UEFI 2.10, §9 (loaded image), §11.1 (driver binding), §11.5 (component name 2), appendix of
 * deprecated protocols (component name, with ISO 639-2 languages: "eng" instead of "en").
 */
#pragma once

#include "ovmf-drivers/uefi/system-table.h"

static const struct efi_guid efi_loaded_image_guid = {
    0x5b1b31a1, 0x9562, 0x11d2, { 0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b }
};

struct efi_loaded_image {
    uint32_t revision;
    efi_handle parent;
    struct efi_system_table *system;
    efi_handle device;
    struct efi_device_path *file_path;
    void *reserved;
    uint32_t load_options_size;
    void *load_options;
    void *image_base;
    uint64_t image_size;
    enum efi_memory_type code_type, data_type;
    efi_status(EFIAPI *unload)(efi_handle image);
};

_Static_assert(sizeof(struct efi_loaded_image) == 96, "UEFI 2.10, §9.1.1");

static const struct efi_guid efi_driver_binding_guid = {
    0x18a031ab, 0xb443, 0x4d1a, { 0xa5, 0xc0, 0x0c, 0x09, 0x26, 0x1e, 0x9f, 0x71 }
};

/* The driver with the highest version gets a controller first; 0x10 to 0xffffffef are for drivers
 * of hardware vendors and others, what is outside for platform firmware. */
struct efi_driver_binding {
    efi_status(EFIAPI *supported)(struct efi_driver_binding *self, efi_handle controller,
                                  struct efi_device_path *remaining);
    efi_status(EFIAPI *start)(struct efi_driver_binding *self, efi_handle controller,
                              struct efi_device_path *remaining);
    efi_status(EFIAPI *stop)(struct efi_driver_binding *self, efi_handle controller,
                             size_t child_count, efi_handle *children);
    uint32_t version;
    efi_handle image, binding;
};

_Static_assert(sizeof(struct efi_driver_binding) == 48, "UEFI 2.10, §11.1");

static const struct efi_guid efi_component_name_guid = {
    0x107a772c, 0xd5e1, 0x11d4, { 0x9a, 0x46, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d }
};
static const struct efi_guid efi_component_name2_guid = {
    0x6a7a5cff, 0xe8d9, 0x4f70, { 0xba, 0xda, 0x75, 0xab, 0x30, 0x25, 0xce, 0x14 }
};

/* Both protocols: the first has codes such as "eng" one behind the other in `supported_languages`,
 * the second has RFC 4646 codes such as "en", separated by ';'. */
struct efi_component_name {
    efi_status(EFIAPI *get_driver_name)(struct efi_component_name *self, const char *language,
                                        const efi_char16 **name);
    efi_status(EFIAPI *get_controller_name)(struct efi_component_name *self, efi_handle controller,
                                            efi_handle child, const char *language,
                                            const efi_char16 **name);
    const char *supported_languages;
};

/* Installed by drivers of add-in cards and images that may be loaded by newer firmware (§11.7). */
static const struct efi_guid efi_driver_supported_version_guid = {
    0x5c198761, 0x16a8, 0x4e69, { 0x97, 0x2c, 0x89, 0xd6, 0x79, 0x54, 0xf8, 0x1d }
};

struct efi_driver_supported_version {
    uint32_t length;
    uint32_t firmware_version;
};
