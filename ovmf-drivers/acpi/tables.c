#include "ovmf-drivers/acpi/tables.h"
#include "ovmf-drivers/acpi/find.h"
#include "ovmf-drivers/acpi/suffices.h"

static void *at(uint8_t *area, size_t offset)
{
    return offset == FIND_NOTHING ? NULL : area + offset;
}

void tables_find(struct tables *tables, struct efi_system_table *system, struct debug_port *port,
                 uint8_t *area, size_t size)
{
    uint8_t *rsdp = at(area, find_rsdp(area, size));
    bool is_v1 = rsdp && rsdp[FIND_RSDP_REVISION] < 2;

    *tables = (struct tables){
        .system = system,
        .port = port,
        .found = {
            [TABLE_ACPI] = {
                .name = "ACPI",
                .guid = is_v1 ? efi_acpi_10_table_guid : efi_acpi_20_table_guid,
                .address = rsdp,
                .suffices = acpi_suffices,
            },
            [TABLE_SMBIOS] = {
                .name = "SMBIOS",
                .guid = efi_smbios_table_guid,
                .address = at(area, find_smbios(area, size)),
            },
            [TABLE_SMBIOS3] = {
                .name = "SMBIOS 3",
                .guid = efi_smbios3_table_guid,
                .address = at(area, find_smbios3(area, size)),
            },
        },
    };
}

static void *firmware_table(const struct efi_system_table *system, const struct efi_guid *guid)
{
    for (size_t i = 0; i < system->table_count; i++) {
        if (efi_guid_equal(&system->tables[i].guid, guid))
            return system->tables[i].table;
    }
    return NULL;
}

static bool table_is_wanted(const struct tables *tables, const struct table *table)
{
    const void *theirs = firmware_table(tables->system, &table->guid);

    if (!table->address || theirs == table->address)
        return false;
    return !theirs || (table->suffices && !table->suffices(theirs));
}

static void table_install(struct tables *tables, struct table *table)
{
    efi_status status =
        tables->system->boot->install_configuration_table(&table->guid, table->address);

    tables->installs++;
    if (EFI_IS_ERROR(status))
        debug_port_say(tables->port, "%s: not installed: 0x%llx", table->name,
                       (unsigned long long)status);
    else
        debug_port_say(tables->port, "%s at 0x%llx: installed", table->name,
                       (unsigned long long)(uintptr_t)table->address);
}

void tables_install(struct tables *tables)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        struct table *table = &tables->found[i];

        if (table_is_wanted(tables, table) && tables->installs < TABLES_INSTALLS_MAX)
            table_install(tables, table);
    }
}
