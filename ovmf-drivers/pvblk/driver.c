/*
 * XenPvBlk: the image, and its binding to the Xen platform device (PCI 5853:0001), below which it
 * puts a handle for every PV disk of the guest.
 *
 * Source: UEFI 2.10, §11.1 and §7.4.
 */
#include "ovmf-drivers/pvblk/driver.h"

#include "ovmf-drivers/core/text.h"
#include "ovmf-drivers/uefi/device-path.h"

#define XEN_VENDOR 0x5853
#define XEN_PLATFORM_DEVICE 0x0001
#define MEMORY_BAR 1

/*
 * edk2's XenIoPciDxe says 0x10, and the higher one gets the device: where that is, we come after
 * XenBusDxe (bus-disk.c).
 */
#define BINDING_VERSION 0x1

/* A guest has no more disks than that, whatever xenstore says. */
#define DISKS_MAX 64

static struct driver *driver_of(struct efi_driver_binding *binding)
{
    return (struct driver *)((uint8_t *)binding - offsetof(struct driver, binding));
}

/* --- finding the device --- */

static efi_status open_pci(struct driver *driver, efi_handle handle, struct efi_pci_io **pci)
{
    return driver->boot->open_protocol(handle, &efi_pci_io_guid, (void **)pci,
                                       driver->binding.image, handle, EFI_OPEN_BY_DRIVER);
}

static void close_pci(struct driver *driver, efi_handle handle)
{
    driver->boot->close_protocol(handle, &efi_pci_io_guid, driver->binding.image, handle);
}

static efi_status EFIAPI supported(struct efi_driver_binding *self, efi_handle handle,
                                   struct efi_device_path *remaining)
{
    struct driver *driver = driver_of(self);
    struct efi_pci_io *pci;
    uint16_t ids[2];
    efi_status status = open_pci(driver, handle, &pci);

    if (EFI_IS_ERROR(status))
        return status;
    status = pci->pci.read(pci, EFI_PCI_IO_UINT16, 0, 2, ids);
    close_pci(driver, handle);
    if (EFI_IS_ERROR(status))
        return status;
    return ids[0] == XEN_VENDOR && ids[1] == XEN_PLATFORM_DEVICE ? EFI_SUCCESS : EFI_UNSUPPORTED;
}

/* --- disks --- */

/* From now on the child needs the device to be there. */
static efi_status adopt(struct controller *controller, struct block *block)
{
    void *ignored;
    return controller->driver->boot->open_protocol(controller->handle, &efi_pci_io_guid, &ignored,
                                                   controller->driver->binding.image, block->handle,
                                                   EFI_OPEN_BY_CHILD_CONTROLLER);
}

static efi_status disown(struct controller *controller, struct block *block)
{
    return controller->driver->boot->close_protocol(
        controller->handle, &efi_pci_io_guid, controller->driver->binding.image, block->handle);
}

static void add_disk(struct controller *controller, const char *device,
                     const struct efi_device_path *path)
{
    struct driver *driver = controller->driver;
    const struct block_place place = { .parent = path };
    struct block *block;

    if (EFI_IS_ERROR(
            block_add(&controller->guest.pv, driver->boot, &driver->log, device, place, &block)))
        return;
    block->next = controller->blocks;
    controller->blocks = block;
    adopt(controller, block);
}

/* The names of all disks, as xenstore lists them; the caller's to free. */
static char *list_disks(struct controller *controller, size_t *length)
{
    struct efi_boot_services *boot = controller->driver->boot;
    const char *names;
    void *copy;

    if (pv_store_list(&controller->guest.store, "device/vbd", &names, length) != PV_OK ||
        EFI_IS_ERROR(boot->allocate_pool(EFI_BOOT_SERVICES_DATA, *length + 1, &copy)))
        return NULL;
    __builtin_memcpy(copy, names, *length + 1);
    return copy;
}

static void add_disks(struct controller *controller, const struct efi_device_path *path)
{
    size_t length;
    char *names = list_disks(controller, &length);
    unsigned count = 0;

    if (!names)
        return;
    for (const char *name = names; name < names + length && count < DISKS_MAX; count++) {
        add_disk(controller, name, path);
        name += pv_text_length(name) + 1;
    }
    controller->driver->boot->free_pool(names);
}

/* Its neighbours stay in the list if somebody still uses it. */
static efi_status remove_disk(struct controller *controller, struct block **link)
{
    struct block *block = *link, *next = block->next;

    disown(controller, block);
    efi_status status = block_remove(block);
    if (EFI_IS_ERROR(status))
        adopt(controller, block);
    else
        *link = next;
    return status;
}

static struct block **find_disk(struct controller *controller, efi_handle handle)
{
    struct block **link = &controller->blocks;
    while (*link && (*link)->handle != handle)
        link = &(*link)->next;
    return *link ? link : NULL;
}

/* --- the device --- */

/* The memory BAR; its list of resources has nothing else in it. */
static bool find_memory(struct controller *controller, uint64_t *address, uint64_t *length)
{
    struct efi_acpi_address_space *resource;

    if (EFI_IS_ERROR(controller->pci->get_bar_attributes(controller->pci, MEMORY_BAR, NULL,
                                                         (void **)&resource)))
        return false;
    bool found = resource->tag == EFI_ACPI_ADDRESS_SPACE_TAG && resource->kind == 0 &&
                 resource->minimum != 0;
    *address = resource->minimum;
    *length = resource->size;
    controller->driver->boot->free_pool(resource);
    return found;
}

static efi_status open_controller(struct controller *controller)
{
    struct driver *driver = controller->driver;
    struct efi_device_path *path;
    uint64_t address, length;
    efi_status status =
        driver->boot->handle_protocol(controller->handle, &efi_device_path_guid, (void **)&path);

    if (EFI_IS_ERROR(status))
        return status;
    if (!find_memory(controller, &address, &length))
        return EFI_UNSUPPORTED;
    status = guest_open(&controller->guest, &driver->xen, driver->boot, address, length);
    if (EFI_IS_ERROR(status)) {
        debug_port_say(&driver->log, "Xen does not let us have its pages");
        return status;
    }
    add_disks(controller, path);
    return EFI_SUCCESS;
}

static void close_controller(struct controller *controller)
{
    struct driver *driver = controller->driver;

    guest_close(&controller->guest);
    close_pci(driver, controller->handle);
    driver->controller = NULL;
    driver->boot->free_pool(controller);
}

static efi_status EFIAPI start(struct efi_driver_binding *self, efi_handle handle,
                               struct efi_device_path *remaining)
{
    struct driver *driver = driver_of(self);
    struct controller *controller;
    struct efi_pci_io *pci;

    if (driver->controller)
        return EFI_ALREADY_STARTED;
    efi_status status = open_pci(driver, handle, &pci);
    if (EFI_IS_ERROR(status))
        return status;
    status = driver->boot->allocate_pool(EFI_BOOT_SERVICES_DATA, sizeof(*controller),
                                         (void **)&controller);
    if (EFI_IS_ERROR(status)) {
        close_pci(driver, handle);
        return status;
    }
    __builtin_memset(controller, 0, sizeof(*controller));
    controller->driver = driver;
    controller->handle = handle;
    controller->pci = pci;
    driver->controller = controller;
    status = open_controller(controller);
    if (EFI_IS_ERROR(status))
        close_controller(controller);
    return status;
}

static efi_status EFIAPI stop(struct efi_driver_binding *self, efi_handle handle, size_t count,
                              efi_handle *children)
{
    struct controller *controller = driver_of(self)->controller;
    efi_status status = EFI_SUCCESS;

    if (!controller || controller->handle != handle)
        return EFI_DEVICE_ERROR;
    for (size_t i = 0; i < count; i++) {
        struct block **link = find_disk(controller, children[i]);
        if (!link || EFI_IS_ERROR(remove_disk(controller, link)))
            status = EFI_DEVICE_ERROR;
    }
    if (count == 0) {
        if (controller->blocks)
            return EFI_DEVICE_ERROR;
        close_controller(controller);
    }
    return status;
}

/* --- the way out --- */

static void leave(struct driver *driver, enum pages_phase phase)
{
    struct controller *controller = driver->controller;
    uint64_t deadline = 0;

    if (controller) {
        controller->guest.pages.phase = phase;
        for (struct block *block = controller->blocks; block; block = block->next)
            block_leave(block, &deadline);
        guest_close(&controller->guest);
    }
    bus_disks_leave(driver, phase);
}

static void EFIAPI before_exit(efi_event event, void *context)
{
    leave(context, PAGES_LEAVING);
}

static void EFIAPI at_exit(efi_event event, void *context)
{
    leave(context, PAGES_LEFT);
}

/*
 * Firmware older than UEFI 2.9 has only the second.  At EFI_TPL_NOTIFY that is before XenBusDxe,
 * which takes its disks away at EFI_TPL_CALLBACK.
 */
static efi_status listen(struct driver *driver)
{
    struct efi_boot_services *boot = driver->boot;
    efi_status status =
        boot->create_event_ex(EFI_EVENT_NOTIFY_SIGNAL, EFI_TPL_CALLBACK, before_exit, driver,
                              &efi_event_group_before_exit_boot_services, &driver->before_exit);

    if (!EFI_IS_ERROR(status))
        status = boot->create_event_ex(EFI_EVENT_NOTIFY_SIGNAL, EFI_TPL_NOTIFY, at_exit, driver,
                                       &efi_event_group_exit_boot_services, &driver->exit);
    return status;
}

/* --- the image --- */

/* Each binding has a handle; the first one has the image's. */
static efi_status install(struct driver *driver)
{
    struct efi_boot_services *boot = driver->boot;
    efi_handle *second = &driver->disk_binding.binding;
    efi_status status = boot->install_multiple_protocol_interfaces(
        second, &efi_driver_binding_guid, &driver->disk_binding, &efi_component_name_guid,
        &driver->name, &efi_component_name2_guid, &driver->name2, NULL);

    if (EFI_IS_ERROR(status))
        return status;
    status = boot->install_multiple_protocol_interfaces(
        &driver->binding.binding, &efi_driver_binding_guid, &driver->binding,
        &efi_component_name_guid, &driver->name, &efi_component_name2_guid, &driver->name2, NULL);
    if (EFI_IS_ERROR(status))
        boot->uninstall_multiple_protocol_interfaces(
            *second, &efi_driver_binding_guid, &driver->disk_binding, &efi_component_name_guid,
            &driver->name, &efi_component_name2_guid, &driver->name2, NULL);
    return status;
}

/* Whatever of it there is. */
static void free_driver(struct driver *driver)
{
    if (driver->before_exit)
        driver->boot->close_event(driver->before_exit);
    if (driver->exit)
        driver->boot->close_event(driver->exit);
    driver->boot->free_pool(driver);
}

efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system)
{
    struct xen xen;
    struct driver *driver;

    if (!xen_find(&xen))
        return EFI_UNSUPPORTED;
    efi_status status =
        system->boot->allocate_pool(EFI_BOOT_SERVICES_DATA, sizeof(*driver), (void **)&driver);
    if (EFI_IS_ERROR(status))
        return status;
    *driver = (struct driver){
        .binding = { .supported = supported,
                     .start = start,
                     .stop = stop,
                     .version = BINDING_VERSION,
                     .image = image,
                     .binding = image },
        .boot = system->boot,
        .xen = xen,
        .log = { .name = "XenPvBlk" },
    };
    bus_disks_init(driver, image);
    names_init(driver);
    status = listen(driver);
    if (!EFI_IS_ERROR(status))
        status = install(driver);
    if (EFI_IS_ERROR(status)) {
        free_driver(driver);
        return status;
    }
    debug_port_say(&driver->log, "version %s", ROLEMODEL_VERSION);
    return EFI_SUCCESS;
}
