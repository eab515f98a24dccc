/*
 * The system table, what a driver or application is entered with; runtime services; configuration
 * tables; text output.  Source: UEFI 2.10, §4.3, §4.5, §4.6, §8, §12.4.
 */
#pragma once

#include "ovmf-drivers/uefi/boot-services.h"

/* Text output (§12.4).  Strings end with 0, lines with u"\r\n". */
struct efi_text_output {
    efi_status(EFIAPI *reset)(struct efi_text_output *self, efi_bool extended);
    efi_status(EFIAPI *output_string)(struct efi_text_output *self, const efi_char16 *string);
    efi_status(EFIAPI *test_string)(struct efi_text_output *self, const efi_char16 *string);
    efi_status(EFIAPI *query_mode)(struct efi_text_output *self, size_t mode, size_t *columns,
                                   size_t *rows);
    efi_status(EFIAPI *set_mode)(struct efi_text_output *self, size_t mode);
    efi_status(EFIAPI *set_attribute)(struct efi_text_output *self, size_t attribute);
    efi_status(EFIAPI *clear_screen)(struct efi_text_output *self);
    efi_status(EFIAPI *set_cursor_position)(struct efi_text_output *self, size_t column,
                                            size_t row);
    efi_status(EFIAPI *enable_cursor)(struct efi_text_output *self, efi_bool visible);
    void *mode;
};

/* Runtime services (chapter 8).  Members that nobody here calls are `void *`. */
enum efi_reset_type { EFI_RESET_COLD, EFI_RESET_WARM, EFI_RESET_SHUTDOWN, EFI_RESET_PLATFORM };

struct efi_runtime_services {
    struct efi_table_header header;
    efi_status(EFIAPI *get_time)(struct efi_time *time, void *capabilities);
    void *set_time, *get_wakeup_time, *set_wakeup_time;
    void *set_virtual_address_map, *convert_pointer;
    efi_status(EFIAPI *get_variable)(const efi_char16 *name, const struct efi_guid *vendor,
                                     uint32_t *attributes, size_t *size, void *data);
    void *get_next_variable_name;
    efi_status(EFIAPI *set_variable)(const efi_char16 *name, const struct efi_guid *vendor,
                                     uint32_t attributes, size_t size, const void *data);
    void *get_next_high_monotonic_count;
    void(EFIAPI *reset_system)(enum efi_reset_type how, efi_status status, size_t data_size,
                               void *data);
    void *update_capsule, *query_capsule_capabilities, *query_variable_info;
};

_Static_assert(sizeof(struct efi_runtime_services) == 24 + 14 * sizeof(void *),
               "UEFI 2.10, §4.5.1");

/* Configuration tables (§4.6). */
struct efi_configuration_table {
    struct efi_guid guid;
    void *table;
};

static const struct efi_guid efi_acpi_10_table_guid = {
    0xeb9d2d30, 0x2d88, 0x11d3, { 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d }
};
static const struct efi_guid efi_acpi_20_table_guid = {
    0x8868e871, 0xe4f1, 0x11d3, { 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81 }
};
static const struct efi_guid efi_smbios_table_guid = {
    0xeb9d2d31, 0x2d88, 0x11d3, { 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d }
};
static const struct efi_guid efi_smbios3_table_guid = {
    0xf2fd1544, 0x9794, 0x4a2c, { 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94 }
};

struct efi_system_table {
    struct efi_table_header header;
    efi_char16 *firmware_vendor;
    uint32_t firmware_revision;
    efi_handle console_in_handle;
    void *con_in;
    efi_handle console_out_handle;
    struct efi_text_output *con_out;
    efi_handle standard_error_handle;
    struct efi_text_output *std_err;
    struct efi_runtime_services *runtime;
    struct efi_boot_services *boot;
    size_t table_count;
    struct efi_configuration_table *tables;
};

_Static_assert(sizeof(struct efi_system_table) == 120, "UEFI 2.10, §4.3.1");

/* Where firmware enters a driver or an application (§4.1); meson.build names it to the linker. */
efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system);
