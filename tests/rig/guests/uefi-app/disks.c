#include "tests/rig/guests/uefi-app/disks.h"
#include "ovmf-drivers/uefi/memory.h"

/* Device paths of OVMF's IDE and AHCI disks end so (UEFI 2.10, §10.3.4.1 and §10.3.4.16). */
#define PATH_ATAPI 0x01
#define PATH_SATA 0x12

#define PATH_TEXT 96

static void *protocol_of(struct disks *disks, efi_handle handle, const struct efi_guid *guid)
{
    void *interface = NULL;
    efi_status status = disks->system->boot->handle_protocol(handle, guid, &interface);

    return EFI_IS_ERROR(status) ? NULL : interface;
}

static const struct efi_device_path *path_next(const struct efi_device_path *node)
{
    return (const void *)((const uint8_t *)node + efi_device_path_length(node));
}

/* The bytes of a path without its end. */
static size_t path_length(const struct efi_device_path *path)
{
    const struct efi_device_path *node = path;

    while (node->type != EFI_DEVICE_PATH_END)
        node = path_next(node);
    return (const uint8_t *)node - (const uint8_t *)path;
}

static bool path_begins_with(const struct efi_device_path *path,
                             const struct efi_device_path *start)
{
    return path_length(start) <= path_length(path) && memcmp(path, start, path_length(start)) == 0;
}

void disks_find(struct disks *disks, const char *name, efi_handle image,
                struct efi_system_table *system)
{
    struct efi_boot_services *boot = system->boot;
    struct efi_loaded_image *loaded;
    efi_handle *handles;
    size_t count = 0;

    *disks = (struct disks){ .system = system, .port = { .name = name } };
    loaded = protocol_of(disks, image, &efi_loaded_image_guid);
    boot->locate_handle_buffer(EFI_BY_PROTOCOL, &efi_block_io_guid, NULL, &count, &handles);
    for (size_t i = 0; i < count && disks->count < DISKS_MAX; i++) {
        struct disk *disk = &disks->disk[disks->count];

        *disk = (struct disk){
            .handle = handles[i],
            .io = protocol_of(disks, handles[i], &efi_block_io_guid),
            .io2 = protocol_of(disks, handles[i], &efi_block_io2_guid),
            .path = protocol_of(disks, handles[i], &efi_device_path_guid),
        };
        if (!disk->io || !disk->path)
            continue;
        disks->count++;
        if (loaded && loaded->device == disk->handle)
            disks->partition = disk;
    }
    for (size_t i = 0; disks->partition && i < disks->count; i++) {
        if (!disks->disk[i].io->media->logical_partition &&
            path_begins_with(disks->partition->path, disks->disk[i].path))
            disks->whole = &disks->disk[i];
    }
}

/* The path's nodes as type.subtype, in hex. */
static void path_print(const struct efi_device_path *path, char text[static PATH_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;

    for (const struct efi_device_path *node = path;
         node->type != EFI_DEVICE_PATH_END && at + 7 < PATH_TEXT; node = path_next(node)) {
        if (at > 0)
            text[at++] = '/';
        text[at++] = digits[node->type >> 4];
        text[at++] = digits[node->type & 15];
        text[at++] = '.';
        text[at++] = digits[node->subtype >> 4];
        text[at++] = digits[node->subtype & 15];
    }
    text[at] = 0;
}

uint64_t disk_size(const struct disk *disk)
{
    const struct efi_block_io_media *media = disk->io->media;

    return media->present ? (media->last_block + 1) * media->block_size : 0;
}

bool disk_is_pv(const struct disk *disk)
{
    for (const struct efi_device_path *node = disk->path; node->type != EFI_DEVICE_PATH_END;
         node = path_next(node)) {
        if (node->type == EFI_DEVICE_PATH_MESSAGING &&
            (node->subtype == PATH_ATAPI || node->subtype == PATH_SATA))
            return false;
    }
    return true;
}

void disks_list(struct disks *disks)
{
    for (size_t i = 0; i < disks->count; i++) {
        const struct disk *disk = &disks->disk[i];
        const struct efi_block_io_media *media = disk->io->media;
        char path[PATH_TEXT];

        path_print(disk->path, path);
        debug_port_say(&disks->port, "%s %u: %s, %llu bytes in blocks of %u,%s%s%s%s path %s",
                       media->logical_partition ? "partition" : "disk", (unsigned)i,
                       disk_is_pv(disk) ? "pv" : "emulated", (unsigned long long)disk_size(disk),
                       media->block_size, media->present ? "" : " no medium,",
                       media->removable ? " removable," : "", media->read_only ? " read-only," : "",
                       disk->io2 ? " BlockIo2," : "", path);
    }
}

const char *status_name(efi_status status)
{
    switch (status) {
    case EFI_SUCCESS:
        return "SUCCESS";
    case EFI_INVALID_PARAMETER:
        return "INVALID_PARAMETER";
    case EFI_UNSUPPORTED:
        return "UNSUPPORTED";
    case EFI_BAD_BUFFER_SIZE:
        return "BAD_BUFFER_SIZE";
    case EFI_NOT_READY:
        return "NOT_READY";
    case EFI_DEVICE_ERROR:
        return "DEVICE_ERROR";
    case EFI_WRITE_PROTECTED:
        return "WRITE_PROTECTED";
    case EFI_NO_MEDIA:
        return "NO_MEDIA";
    case EFI_MEDIA_CHANGED:
        return "MEDIA_CHANGED";
    case EFI_TIMEOUT:
        return "TIMEOUT";
    default:
        return "another status";
    }
}

uint8_t *disks_memory(struct disks *disks, size_t size)
{
    efi_physical_address address = 0;
    efi_status status = disks->system->boot->allocate_pages(EFI_ALLOCATE_ANY_PAGES, EFI_LOADER_DATA,
                                                            EFI_SIZE_TO_PAGES(size), &address);

    return EFI_IS_ERROR(status) ? NULL : (uint8_t *)(uintptr_t)address;
}

/* Xen's leaf of the time (public/arch-x86/cpuid.h); its base may be behind another hypervisor's. */
static uint32_t tsc_khz(void)
{
    for (uint32_t base = 0x40000000; base < 0x40010000; base += 0x100) {
        uint32_t eax = base, ebx, ecx = 0, edx;

        __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
        if (ebx != 0x566e6558) /* "XenV" */
            continue;
        eax = base + 3;
        ecx = 0;
        __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
        return ecx;
    }
    return 0;
}

uint64_t disks_now(struct disks *disks)
{
    uint32_t low, high, khz = tsc_khz();

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return khz == 0 ? 0 : ((uint64_t)high << 32 | low) * 1000 / khz;
}
