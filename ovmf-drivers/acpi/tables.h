/*
 * Which of the tables that were found become configuration tables, and when.
 *
 * A table of ours is installed where firmware has none, or one that is no use (suffices.h).
 * Firmware may change its own at any time before it boots, so tables_install() is to be called
 * again then. Somebody who puts his back each time is let win after TABLES_INSTALLS_MAX.
 */
#pragma once

#include "ovmf-drivers/uefi/debug-port.h"
#include "ovmf-drivers/uefi/system-table.h"

#define TABLES_INSTALLS_MAX 16

enum { TABLE_ACPI, TABLE_SMBIOS, TABLE_SMBIOS3, TABLE_COUNT };

/* One configuration table; `address` is NULL if none was found. */
struct table {
    const char *name;
    struct efi_guid guid;
    void *address;
    /* Whether firmware's own is any use; NULL: it is. */
    bool (*suffices)(const void *table);
};

/* The caller's; lives as long as the firmware. */
struct tables {
    struct efi_system_table *system;
    struct debug_port *port;
    uint32_t installs;
    struct table found[TABLE_COUNT];
};

/* Looks for tables in the `size` bytes at `area`, which stays where it is; keeps all three. */
void tables_find(struct tables *tables, struct efi_system_table *system, struct debug_port *port,
                 uint8_t *area, size_t size);

void tables_install(struct tables *tables);
