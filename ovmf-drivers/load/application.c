/*
 * LoadDrivers: an application that loads all drivers that lie beside it, starts them, and lets them
 * have their devices.  For firmware that cannot be replaced, and for trying a driver from the
 * shell.
 */
#include "ovmf-drivers/load/path.h"
#include "ovmf-drivers/uefi/debug-port.h"
#include "ovmf-drivers/uefi/device-path.h"
#include "ovmf-drivers/uefi/driver.h"
#include "ovmf-drivers/uefi/file.h"
#include "ovmf-drivers/uefi/memory.h"

/* A directory is read so far: many more than there are drivers. */
#define FILES_MAX 1000
/* Of the device that we were loaded from. */
#define DEVICE_PATH_MAX 4096

struct loader {
    efi_handle image;
    struct efi_system_table *system;
    struct efi_loaded_image *self;
    struct debug_port port;
    struct path directory;
    uint32_t started;
};

/* One entry of a directory. */
union entry {
    struct efi_file_info info;
    uint8_t bytes[sizeof(struct efi_file_info) + PATH_MAX_CHARS * sizeof(efi_char16)];
};

static void loader_print(struct loader *loader, const efi_char16 *text)
{
    if (loader->system->con_out)
        loader->system->con_out->output_string(loader->system->con_out, text);
}

static void loader_say(struct loader *loader, const efi_char16 *name, const efi_char16 *what,
                       const char *port_what, efi_status status)
{
    loader_print(loader, name);
    loader_print(loader, what);
    loader_print(loader, u"\r\n");
    debug_port_say(&loader->port, "a driver was %s: 0x%llx", port_what, (unsigned long long)status);
}

/* Bytes of a device path without its end node; 0 if it is longer than we take. */
static size_t device_path_size(const struct efi_device_path *path)
{
    size_t size = 0;

    while (!efi_device_path_is_end((const void *)((const uint8_t *)path + size))) {
        size_t length = efi_device_path_length((const void *)((const uint8_t *)path + size));

        if (length < sizeof(*path) || length > DEVICE_PATH_MAX - size)
            return 0;
        size += length;
    }
    return size;
}

/* The device path of a file of our device, for load_image(); the caller frees it. */
static efi_status loader_file_path(struct loader *loader, const struct path *file,
                                   struct efi_device_path **path)
{
    struct efi_boot_services *boot = loader->system->boot;
    size_t text_size = (path_length(file) + 1) * sizeof(efi_char16);
    struct efi_device_path *device;
    uint8_t *out;
    efi_status status =
        boot->handle_protocol(loader->self->device, &efi_device_path_guid, (void **)&device);
    size_t device_size, node_size = sizeof(struct efi_device_path) + text_size;

    if (EFI_IS_ERROR(status))
        return status;
    device_size = device_path_size(device);
    if (device_size == 0)
        return EFI_UNSUPPORTED;
    status = boot->allocate_pool(
        EFI_LOADER_DATA, device_size + node_size + sizeof(struct efi_device_path), (void **)&out);
    if (EFI_IS_ERROR(status))
        return status;
    *path = (void *)out;
    memcpy(out, device, device_size);
    out += device_size;
    efi_device_path_set((void *)out, EFI_DEVICE_PATH_MEDIA, EFI_DEVICE_PATH_MEDIA_FILE_PATH,
                        node_size);
    memcpy(out + sizeof(struct efi_device_path), file->text, text_size);
    efi_device_path_set((void *)(out + node_size), EFI_DEVICE_PATH_END, EFI_DEVICE_PATH_END_ENTIRE,
                        sizeof(struct efi_device_path));
    return EFI_SUCCESS;
}

/* Applications may lie here, too: ourselves at least. */
static bool loader_is_driver(struct loader *loader, efi_handle image)
{
    struct efi_loaded_image *loaded;

    return !EFI_IS_ERROR(loader->system->boot->handle_protocol(image, &efi_loaded_image_guid,
                                                               (void **)&loaded)) &&
           (loaded->code_type == EFI_BOOT_SERVICES_CODE ||
            loaded->code_type == EFI_RUNTIME_SERVICES_CODE);
}

static void loader_load(struct loader *loader, const efi_char16 *name)
{
    struct efi_boot_services *boot = loader->system->boot;
    struct efi_device_path *path;
    struct path file;
    efi_handle image = NULL;
    efi_status status;

    if (!path_join(&loader->directory, name, &file))
        return;
    status = loader_file_path(loader, &file, &path);
    if (EFI_IS_ERROR(status)) {
        loader_say(loader, name, u": not loaded", "not loaded", status);
        return;
    }
    status = boot->load_image(false, loader->image, path, NULL, 0, &image);
    boot->free_pool(path);
    if (EFI_IS_ERROR(status)) {
        loader_say(loader, name, u": not loaded", "not loaded", status);
        /* What secure boot refuses stays there until it is unloaded. */
        if (image)
            boot->unload_image(image);
        return;
    }
    if (!loader_is_driver(loader, image)) {
        boot->unload_image(image);
        return;
    }
    status = boot->start_image(image, NULL, NULL);
    if (EFI_IS_ERROR(status)) {
        loader_say(loader, name, u": has nothing to do here", "not started", status);
        return;
    }
    loader->started++;
    loader_say(loader, name, u": started", "started", status);
}

static efi_status loader_open(struct loader *loader, struct efi_file **directory)
{
    struct efi_simple_file_system *files;
    struct efi_file *root;
    efi_status status = loader->system->boot->handle_protocol(
        loader->self->device, &efi_simple_file_system_guid, (void **)&files);

    if (EFI_IS_ERROR(status))
        return status;
    status = files->open_volume(files, &root);
    if (EFI_IS_ERROR(status))
        return status;
    status = root->open(root, directory, loader->directory.text, EFI_FILE_MODE_READ, 0);
    root->close(root);
    return status;
}

static efi_status loader_load_all(struct loader *loader)
{
    struct efi_file *directory;
    efi_status status = loader_open(loader, &directory);

    if (EFI_IS_ERROR(status))
        return status;
    for (size_t i = 0; i < FILES_MAX; i++) {
        union entry entry;
        /* With room for the 0 that a name has to end with. */
        size_t size = sizeof(entry) - sizeof(efi_char16);

        memset(&entry, 0, sizeof(entry));
        status = directory->read(directory, &size, &entry);
        if (EFI_IS_ERROR(status) || size == 0)
            break;
        if (!(entry.info.attribute & EFI_FILE_ATTRIBUTE_DIRECTORY) &&
            path_is_image(entry.info.name))
            loader_load(loader, entry.info.name);
    }
    directory->close(directory);
    return status;
}

static void loader_connect(struct loader *loader)
{
    struct efi_boot_services *boot = loader->system->boot;
    efi_handle *handles;
    size_t count;

    if (EFI_IS_ERROR(boot->locate_handle_buffer(EFI_ALL_HANDLES, NULL, NULL, &count, &handles)))
        return;
    for (size_t i = 0; i < count; i++)
        boot->connect_controller(handles[i], NULL, NULL, true);
    boot->free_pool(handles);
}

efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system)
{
    struct loader loader = { .image = image, .system = system, .port = { .name = "LoadDrivers" } };
    efi_status status =
        system->boot->handle_protocol(image, &efi_loaded_image_guid, (void **)&loader.self);

    if (EFI_IS_ERROR(status))
        return status;
    if (!loader.self->file_path || !path_directory(loader.self->file_path, &loader.directory)) {
        loader_print(&loader, u"LoadDrivers: start me from a file, beside the drivers\r\n");
        return EFI_UNSUPPORTED;
    }
    status = loader_load_all(&loader);
    if (EFI_IS_ERROR(status) || loader.started == 0) {
        loader_print(&loader, u"LoadDrivers: no driver was started\r\n");
        return EFI_IS_ERROR(status) ? status : EFI_NOT_FOUND;
    }
    loader_connect(&loader);
    return EFI_SUCCESS;
}
