/*
 * XenPvBlk's second binding: a disk that the firmware's own XenBusDxe offers (uefi/xenbus.h).  Its
 * handle gets the block protocols, as it would from edk2's XenPvBlkDxe: boot options that were made
 * with either of them are good for both.
 *
 * Source: UEFI 2.10, §11.1.
 */
#include "ovmf-drivers/pvblk/driver.h"

/* edk2's XenPvBlkDxe says 0x10: the higher one gets the disk. */
#define BINDING_VERSION 0x100

static struct driver *driver_of(struct efi_driver_binding *binding)
{
    return (struct driver *)((uint8_t *)binding - offsetof(struct driver, disk_binding));
}

static efi_status open_bus(struct driver *driver, efi_handle handle, struct efi_xenbus **bus)
{
    return driver->boot->open_protocol(handle, &efi_xenbus_guid, (void **)bus,
                                       driver->disk_binding.binding, handle, EFI_OPEN_BY_DRIVER);
}

static void close_bus(struct driver *driver, efi_handle handle)
{
    driver->boot->close_protocol(handle, &efi_xenbus_guid, driver->disk_binding.binding, handle);
}

static efi_status EFIAPI supported(struct efi_driver_binding *self, efi_handle handle,
                                   struct efi_device_path *remaining)
{
    struct driver *driver = driver_of(self);
    struct efi_xenbus *bus;

    if (driver->xen.tsc_khz == 0)
        return EFI_UNSUPPORTED; /* a disk that waits for ever is better than none */
    efi_status status = open_bus(driver, handle, &bus);
    if (EFI_IS_ERROR(status))
        return status;
    bool is_disk = xenbus_device(bus) != NULL;
    close_bus(driver, handle);
    return is_disk ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

/*
 * A disk that cannot be connected stays ours all the same: edk2's driver would get it next, and
 * wait for its backend for ever.  Where that was only for want of grants, it may have it.
 */
static bool open_disk(struct driver *driver, struct bus_disk *disk, struct efi_xenbus *bus)
{
    const struct block_place place = { .handle = disk->handle };

    xenbus_open(&disk->xenbus, &driver->xen, driver->boot, bus, &driver->shared);
    return block_add(&disk->xenbus.pv, driver->boot, &driver->log, xenbus_device(bus), place,
                     &disk->block) != EFI_OUT_OF_RESOURCES;
}

static efi_status EFIAPI start(struct efi_driver_binding *self, efi_handle handle,
                               struct efi_device_path *remaining)
{
    struct driver *driver = driver_of(self);
    struct bus_disk *disk;
    struct efi_xenbus *bus;
    efi_status status = open_bus(driver, handle, &bus);

    if (EFI_IS_ERROR(status))
        return status;
    status = driver->boot->allocate_pool(EFI_BOOT_SERVICES_DATA, sizeof(*disk), (void **)&disk);
    if (EFI_IS_ERROR(status)) {
        close_bus(driver, handle);
        return status;
    }
    __builtin_memset(disk, 0, sizeof(*disk));
    disk->handle = handle;
    if (!open_disk(driver, disk, bus)) {
        driver->boot->free_pool(disk);
        close_bus(driver, handle);
        return EFI_OUT_OF_RESOURCES;
    }
    disk->next = driver->disks;
    driver->disks = disk;
    return EFI_SUCCESS;
}

/* XenBusDxe, too, calls this on its way out: by then at_exit() has been there. */
static efi_status EFIAPI stop(struct efi_driver_binding *self, efi_handle handle, size_t count,
                              efi_handle *children)
{
    struct driver *driver = driver_of(self);
    struct bus_disk **link = &driver->disks, *disk;

    while (*link && (*link)->handle != handle)
        link = &(*link)->next;
    disk = *link;
    if (!disk || (disk->block && EFI_IS_ERROR(block_remove(disk->block))))
        return EFI_DEVICE_ERROR;
    *link = disk->next;
    close_bus(driver, handle);
    driver->boot->free_pool(disk);
    return EFI_SUCCESS;
}

void bus_disks_leave(struct driver *driver, enum pages_phase phase)
{
    uint64_t deadline = 0;

    for (struct bus_disk *disk = driver->disks; disk; disk = disk->next) {
        disk->xenbus.pages.phase = phase;
        if (disk->block)
            block_leave(disk->block, &deadline);
    }
}

void bus_disks_init(struct driver *driver, efi_handle image)
{
    driver->disk_binding = (struct efi_driver_binding){
        .supported = supported,
        .start = start,
        .stop = stop,
        .version = BINDING_VERSION,
        .image = image,
    };
}
