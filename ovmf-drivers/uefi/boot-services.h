/*
 * Boot services: events, memory, protocols, images.  Source: UEFI 2.10, §4.4 and chapter 7.  The
 * table is whole and in the specification's order; members nobody here calls are `void *`.
 *
 * Sizes are bytes, times are 100 ns (set_timer) or microseconds (stall).
 */
#pragma once

#include "ovmf-drivers/uefi/types.h"

struct efi_device_path;

/* Memory (§7.2). */
#define EFI_PAGE_SIZE 4096
#define EFI_SIZE_TO_PAGES(bytes) (((bytes) + EFI_PAGE_SIZE - 1) / EFI_PAGE_SIZE)

enum efi_allocate_type {
    EFI_ALLOCATE_ANY_PAGES,
    EFI_ALLOCATE_MAX_ADDRESS,
    EFI_ALLOCATE_ADDRESS,
};

enum efi_memory_type {
    EFI_RESERVED_MEMORY,
    EFI_LOADER_CODE,
    EFI_LOADER_DATA,
    EFI_BOOT_SERVICES_CODE,
    EFI_BOOT_SERVICES_DATA,
    EFI_RUNTIME_SERVICES_CODE,
    EFI_RUNTIME_SERVICES_DATA,
    EFI_CONVENTIONAL_MEMORY,
    EFI_UNUSABLE_MEMORY,
    EFI_ACPI_RECLAIM_MEMORY,
    EFI_ACPI_MEMORY_NVS,
    EFI_MEMORY_MAPPED_IO,
    EFI_MEMORY_MAPPED_IO_PORT_SPACE,
    EFI_PAL_CODE,
    EFI_PERSISTENT_MEMORY,
    EFI_UNACCEPTED_MEMORY,
};

/* The array that get_memory_map() fills has its own stride: descriptor_size. */
struct efi_memory_descriptor {
    uint32_t type;
    efi_physical_address physical_start;
    uint64_t virtual_start;
    uint64_t pages;
    uint64_t attribute;
};

_Static_assert(sizeof(struct efi_memory_descriptor) == 40, "UEFI 2.10, §7.2.3");

/* Events and priorities (§7.1). */
#define EFI_TPL_APPLICATION 4
#define EFI_TPL_CALLBACK 8
#define EFI_TPL_NOTIFY 16
#define EFI_TPL_HIGH_LEVEL 31

#define EFI_EVENT_TIMER 0x80000000u
#define EFI_EVENT_RUNTIME 0x40000000u
#define EFI_EVENT_NOTIFY_WAIT 0x00000100u
#define EFI_EVENT_NOTIFY_SIGNAL 0x00000200u
#define EFI_EVENT_SIGNAL_EXIT_BOOT_SERVICES 0x00000201u
#define EFI_EVENT_SIGNAL_VIRTUAL_ADDRESS_CHANGE 0x60000202u

enum efi_timer_delay { EFI_TIMER_CANCEL, EFI_TIMER_PERIODIC, EFI_TIMER_RELATIVE };

typedef void(EFIAPI *efi_event_notify)(efi_event event, void *context);

/* Groups of create_event_ex(). */
static const struct efi_guid efi_event_group_exit_boot_services = {
    0x27abf055, 0xb1b8, 0x4c26, { 0x80, 0x48, 0x74, 0x8f, 0x37, 0xba, 0xa2, 0xdf }
};
/* Since UEFI 2.9: signalled before the memory map is final, so memory may still be freed.  Firmware
 * that does not know it never signals it. */
static const struct efi_guid efi_event_group_before_exit_boot_services = {
    0x8be0e274, 0x3970, 0x4b44, { 0x80, 0xc5, 0x1a, 0xb9, 0x50, 0x2f, 0x3b, 0xfc }
};
static const struct efi_guid efi_event_group_ready_to_boot = {
    0x7ce88fb3, 0x4bd7, 0x4679, { 0x87, 0xa8, 0xa8, 0xd8, 0xde, 0xe5, 0x0d, 0x2b }
};

/* Protocols (§7.3). */
enum efi_interface_type { EFI_NATIVE_INTERFACE };
enum efi_locate_search_type { EFI_ALL_HANDLES, EFI_BY_REGISTER_NOTIFY, EFI_BY_PROTOCOL };

#define EFI_OPEN_BY_HANDLE_PROTOCOL 0x01u
#define EFI_OPEN_GET_PROTOCOL 0x02u
#define EFI_OPEN_TEST_PROTOCOL 0x04u
#define EFI_OPEN_BY_CHILD_CONTROLLER 0x08u
#define EFI_OPEN_BY_DRIVER 0x10u
#define EFI_OPEN_EXCLUSIVE 0x20u

struct efi_open_protocol_entry {
    efi_handle agent, controller;
    uint32_t attributes;
    uint32_t open_count;
};

struct efi_boot_services {
    struct efi_table_header header;

    efi_tpl(EFIAPI *raise_tpl)(efi_tpl level);
    void(EFIAPI *restore_tpl)(efi_tpl level);

    efi_status(EFIAPI *allocate_pages)(enum efi_allocate_type how, enum efi_memory_type type,
                                       size_t pages, efi_physical_address *address);
    efi_status(EFIAPI *free_pages)(efi_physical_address address, size_t pages);
    efi_status(EFIAPI *get_memory_map)(size_t *size, struct efi_memory_descriptor *map, size_t *key,
                                       size_t *descriptor_size, uint32_t *descriptor_version);
    efi_status(EFIAPI *allocate_pool)(enum efi_memory_type type, size_t size, void **buffer);
    efi_status(EFIAPI *free_pool)(void *buffer);

    efi_status(EFIAPI *create_event)(uint32_t type, efi_tpl level, efi_event_notify notify,
                                     void *context, efi_event *event);
    efi_status(EFIAPI *set_timer)(efi_event event, enum efi_timer_delay how, uint64_t trigger_time);
    efi_status(EFIAPI *wait_for_event)(size_t count, efi_event *events, size_t *index);
    efi_status(EFIAPI *signal_event)(efi_event event);
    efi_status(EFIAPI *close_event)(efi_event event);
    efi_status(EFIAPI *check_event)(efi_event event);

    efi_status(EFIAPI *install_protocol_interface)(efi_handle *handle,
                                                   const struct efi_guid *protocol,
                                                   enum efi_interface_type type, void *interface);
    efi_status(EFIAPI *reinstall_protocol_interface)(efi_handle handle,
                                                     const struct efi_guid *protocol,
                                                     void *old_interface, void *new_interface);
    efi_status(EFIAPI *uninstall_protocol_interface)(efi_handle handle,
                                                     const struct efi_guid *protocol,
                                                     void *interface);
    efi_status(EFIAPI *handle_protocol)(efi_handle handle, const struct efi_guid *protocol,
                                        void **interface);
    void *reserved;
    efi_status(EFIAPI *register_protocol_notify)(const struct efi_guid *protocol, efi_event event,
                                                 void **registration);
    efi_status(EFIAPI *locate_handle)(enum efi_locate_search_type how,
                                      const struct efi_guid *protocol, void *search_key,
                                      size_t *size, efi_handle *handles);
    efi_status(EFIAPI *locate_device_path)(const struct efi_guid *protocol,
                                           struct efi_device_path **path, efi_handle *device);
    efi_status(EFIAPI *install_configuration_table)(const struct efi_guid *guid, void *table);

    efi_status(EFIAPI *load_image)(efi_bool boot_policy, efi_handle parent,
                                   struct efi_device_path *path, void *source, size_t source_size,
                                   efi_handle *image);
    efi_status(EFIAPI *start_image)(efi_handle image, size_t *exit_data_size,
                                    efi_char16 **exit_data);
    efi_status(EFIAPI *exit)(efi_handle image, efi_status status, size_t exit_data_size,
                             efi_char16 *exit_data);
    efi_status(EFIAPI *unload_image)(efi_handle image);
    efi_status(EFIAPI *exit_boot_services)(efi_handle image, size_t map_key);

    efi_status(EFIAPI *get_next_monotonic_count)(uint64_t *count);
    efi_status(EFIAPI *stall)(size_t microseconds);
    efi_status(EFIAPI *set_watchdog_timer)(size_t seconds, uint64_t code, size_t data_size,
                                           efi_char16 *data);

    efi_status(EFIAPI *connect_controller)(efi_handle controller, efi_handle *drivers,
                                           struct efi_device_path *remaining, efi_bool recursive);
    efi_status(EFIAPI *disconnect_controller)(efi_handle controller, efi_handle driver,
                                              efi_handle child);

    efi_status(EFIAPI *open_protocol)(efi_handle handle, const struct efi_guid *protocol,
                                      void **interface, efi_handle agent, efi_handle controller,
                                      uint32_t attributes);
    efi_status(EFIAPI *close_protocol)(efi_handle handle, const struct efi_guid *protocol,
                                       efi_handle agent, efi_handle controller);
    efi_status(EFIAPI *open_protocol_information)(efi_handle handle,
                                                  const struct efi_guid *protocol,
                                                  struct efi_open_protocol_entry **entries,
                                                  size_t *count);

    efi_status(EFIAPI *protocols_per_handle)(efi_handle handle, struct efi_guid ***protocols,
                                             size_t *count);
    efi_status(EFIAPI *locate_handle_buffer)(enum efi_locate_search_type how,
                                             const struct efi_guid *protocol, void *search_key,
                                             size_t *count, efi_handle **handles);
    efi_status(EFIAPI *locate_protocol)(const struct efi_guid *protocol, void *registration,
                                        void **interface);
    /* Pairs of `const struct efi_guid *` and interface, then NULL. */
    efi_status(EFIAPI *install_multiple_protocol_interfaces)(efi_handle *handle, ...);
    efi_status(EFIAPI *uninstall_multiple_protocol_interfaces)(efi_handle handle, ...);

    efi_status(EFIAPI *calculate_crc32)(const void *data, size_t size, uint32_t *crc32);
    void(EFIAPI *copy_mem)(void *to, const void *from, size_t size);
    void(EFIAPI *set_mem)(void *buffer, size_t size, uint8_t value);
    efi_status(EFIAPI *create_event_ex)(uint32_t type, efi_tpl level, efi_event_notify notify,
                                        const void *context, const struct efi_guid *group,
                                        efi_event *event);
};

_Static_assert(sizeof(struct efi_boot_services) == 24 + 44 * sizeof(void *), "UEFI 2.10, §4.4.1");
