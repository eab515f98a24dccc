/*
 * XenAcpi: gives hvmloader's ACPI tables and SMBIOS to the operating systems that a firmware boots
 * which does not know Xen, as Debian's OVMF.
 *
 * They are looked at again when firmware publishes such a table of its own
 * (install_configuration_table() signals the event group that has the table's GUID), and when it is
 * about to boot.
 */
#include "ovmf-drivers/acpi/find.h"
#include "ovmf-drivers/acpi/tables.h"
#include "ovmf-drivers/uefi/memory.h"

/* Lives as long as the firmware. */
struct driver {
    struct debug_port port;
    struct tables tables;
};

/* Any hypervisor's leaves begin at a multiple of 0x100; Viridian's may be before Xen's. */
static bool runs_on_xen(void)
{
    for (uint32_t leaf = 0x40000000; leaf < 0x40010000; leaf += 0x100) {
        uint32_t eax = leaf, ecx = 0, name[3];

        __asm__ volatile("cpuid" : "+a"(eax), "=b"(name[0]), "+c"(ecx), "=d"(name[2]));
        name[1] = ecx;
        if (memcmp(name, "XenVMMXenVMM", sizeof(name)) == 0)
            return true;
    }
    return false;
}

static void EFIAPI driver_install(efi_event event, void *context)
{
    struct driver *driver = context;

    tables_install(&driver->tables);
}

/* Without an event, what is installed now may be all there is: no reason to fail. */
static void driver_watch(struct driver *driver, const struct efi_guid *group)
{
    efi_event event;
    efi_status status = driver->tables.system->boot->create_event_ex(
        EFI_EVENT_NOTIFY_SIGNAL, EFI_TPL_CALLBACK, driver_install, driver, group, &event);

    if (EFI_IS_ERROR(status))
        debug_port_say(&driver->port, "no event: 0x%llx", (unsigned long long)status);
}

efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system)
{
    struct driver *driver;
    efi_status status;

    if (!runs_on_xen())
        return EFI_UNSUPPORTED;
    status = system->boot->allocate_pool(EFI_BOOT_SERVICES_DATA, sizeof(*driver), (void **)&driver);
    if (EFI_IS_ERROR(status))
        return status;
    driver->port = (struct debug_port){ .name = "XenAcpi" };
    tables_find(&driver->tables, system, &driver->port, (uint8_t *)(uintptr_t)FIND_AREA_START,
                FIND_AREA_SIZE);
    debug_port_say(&driver->port, "version %s", ROLEMODEL_VERSION);
    if (!driver->tables.found[TABLE_ACPI].address)
        debug_port_say(&driver->port,
                       "there are no ACPI tables of hvmloader's (acpi=0 in xl.cfg?)");

    tables_install(&driver->tables);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        if (driver->tables.found[i].address)
            driver_watch(driver, &driver->tables.found[i].guid);
    }
    driver_watch(driver, &efi_event_group_ready_to_boot);
    return EFI_SUCCESS;
}
