/* Component name and component name 2 (UEFI 2.10, §11.5): see driver.h. */

#include "ovmf-drivers/pvblk/driver.h"

static const efi_char16 driver_name[] = u"rolemodel Xen PV Block Driver";
static const efi_char16 controller_name[] = u"Xen PV disks";

static bool is_english(const char *language, const char *english)
{
    for (; *english; english++, language++) {
        if (*language != *english)
            return false;
    }
    /* "en-US" is English, too. */
    return *language == '\0' || *language == '-';
}

static efi_status tell_driver(const char *language, const char *english, const efi_char16 **name)
{
    if (!language || !name)
        return EFI_INVALID_PARAMETER;
    if (!is_english(language, english))
        return EFI_UNSUPPORTED;
    *name = driver_name;
    return EFI_SUCCESS;
}

static const struct block *find_block(const struct controller *controller, efi_handle child)
{
    for (const struct block *block = controller->blocks; block; block = block->next) {
        if (block->handle == child)
            return block;
    }
    return NULL;
}

/* What HANDLE's device is called, or CHILD's below it; NULL: it is not ours. */
static const efi_char16 *find_name(const struct driver *driver, efi_handle handle, efi_handle child)
{
    const struct controller *controller = driver->controller;

    if (controller && controller->handle == handle) {
        const struct block *block = child ? find_block(controller, child) : NULL;
        return block ? block->name : child ? NULL : controller_name;
    }
    for (const struct bus_disk *disk = driver->disks; disk; disk = disk->next) {
        if (disk->handle == handle && disk->block && !child)
            return disk->block->name;
    }
    return NULL;
}

static efi_status tell_controller(const struct driver *driver, efi_handle handle, efi_handle child,
                                  const char *language, const char *english,
                                  const efi_char16 **name)
{
    if (!handle || !language || !name)
        return EFI_INVALID_PARAMETER;
    const efi_char16 *found =
        is_english(language, english) ? find_name(driver, handle, child) : NULL;
    if (!found)
        return EFI_UNSUPPORTED;
    *name = found;
    return EFI_SUCCESS;
}

static const struct driver *driver_of(const struct efi_component_name *self)
{
    return (const struct driver *)((const uint8_t *)self - offsetof(struct driver, name));
}

static const struct driver *driver_of2(const struct efi_component_name *self)
{
    return (const struct driver *)((const uint8_t *)self - offsetof(struct driver, name2));
}

static efi_status EFIAPI get_driver_name(struct efi_component_name *self, const char *language,
                                         const efi_char16 **name)
{
    return tell_driver(language, "eng", name);
}

static efi_status EFIAPI get_driver_name2(struct efi_component_name *self, const char *language,
                                          const efi_char16 **name)
{
    return tell_driver(language, "en", name);
}

static efi_status EFIAPI get_controller_name(struct efi_component_name *self, efi_handle handle,
                                             efi_handle child, const char *language,
                                             const efi_char16 **name)
{
    return tell_controller(driver_of(self), handle, child, language, "eng", name);
}

static efi_status EFIAPI get_controller_name2(struct efi_component_name *self, efi_handle handle,
                                              efi_handle child, const char *language,
                                              const efi_char16 **name)
{
    return tell_controller(driver_of2(self), handle, child, language, "en", name);
}

void names_init(struct driver *driver)
{
    driver->name = (struct efi_component_name){
        .get_driver_name = get_driver_name,
        .get_controller_name = get_controller_name,
        .supported_languages = "eng",
    };
    driver->name2 = (struct efi_component_name){
        .get_driver_name = get_driver_name2,
        .get_controller_name = get_controller_name2,
        .supported_languages = "en",
    };
}
