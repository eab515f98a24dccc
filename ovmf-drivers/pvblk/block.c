/* Handles, device paths, life of a disk: see block.h. */

#include "ovmf-drivers/pvblk/block-private.h"

#include "ovmf-drivers/core/text.h"
#include "ovmf-drivers/uefi/device-path.h"

/* All disks together have so long to close, and the last ones still a little, in µs. */
#define LEAVE_PATIENCE (4000 * PV_MS)
#define LEAVE_PATIENCE_LEAST (100 * PV_MS)

const struct pv_patience block_patience = {
    .ready = 1500 * PV_MS,
    .connect = 4000 * PV_MS,
    .answer = 3500 * PV_MS,
    .close = 2000 * PV_MS,
};

#define END_LENGTH sizeof(struct efi_device_path)

static size_t path_length(const struct efi_device_path *path)
{
    size_t length = 0;
    const struct efi_device_path *node = path;

    while (!efi_device_path_is_end(node)) {
        size_t step = efi_device_path_length(node);
        length += step;
        node = (const void *)((const uint8_t *)node + step);
    }
    return length;
}

/* Below PARENT a controller's node, whose number is the device's: the same at every boot. */
static struct efi_device_path *make_path(struct efi_boot_services *boot,
                                         const struct efi_device_path *parent, uint32_t number)
{
    struct efi_device_path_controller node = { .number = number };
    size_t length = path_length(parent);
    void *path;

    if (EFI_IS_ERROR(
            boot->allocate_pool(EFI_BOOT_SERVICES_DATA, length + sizeof(node) + END_LENGTH, &path)))
        return NULL;
    efi_device_path_set(&node.head, EFI_DEVICE_PATH_HARDWARE, EFI_DEVICE_PATH_HARDWARE_CONTROLLER,
                        sizeof(node));
    __builtin_memcpy(path, parent, length);
    __builtin_memcpy((uint8_t *)path + length, &node, sizeof(node));
    efi_device_path_set((void *)((uint8_t *)path + length + sizeof(node)), EFI_DEVICE_PATH_END,
                        EFI_DEVICE_PATH_END_ENTIRE, END_LENGTH);
    return path;
}

/* "PV disk xvda". */
static void make_name(struct block *block)
{
    const char *const parts[] = { block->disk.medium.cdrom ? "PV CD " : "PV disk ",
                                  block->disk.name };
    size_t length = 0;

    for (size_t i = 0; i < 2; i++) {
        for (const char *at = parts[i]; *at && length < BLOCK_NAME_SIZE - 1; at++)
            block->name[length++] = *at;
    }
    block->name[length] = 0;
}

static const char *words(enum pv_status status)
{
    switch (status) {
    case PV_OK:
        return "no error";
    case PV_ABSENT:
        return "a node of xenstore is missing";
    case PV_REFUSED:
        return "refused";
    case PV_TIMEOUT:
        return "timeout";
    case PV_NO_MEMORY:
        return "no memory";
    default:
        return "protocol error";
    }
}

/*
 * The core is entered at this priority alone (block-io.c does the same): events ask disks for
 * something, too, and disks have xenstore and the grant table in common.
 */
static enum pv_status open_disk(struct block *block, struct pv_guest *guest, const char *device)
{
    efi_tpl level = block->boot->raise_tpl(EFI_TPL_NOTIFY);
    enum pv_status status = pv_disk_init(&block->disk, guest, device);

    if (status == PV_OK)
        status = pv_disk_connect(&block->disk);
    block->boot->restore_tpl(level);
    return status;
}

static void close_disk(struct block *block, uint64_t patience)
{
    efi_tpl level = block->boot->raise_tpl(EFI_TPL_NOTIFY);
    pv_disk_close(&block->disk, patience);
    block->boot->restore_tpl(level);
}

static void free_block(struct block *block, uint64_t patience)
{
    struct efi_boot_services *boot = block->boot;
    close_disk(block, patience);
    if (block->path)
        boot->free_pool(block->path);
    boot->free_pool(block);
}

static efi_status connect(struct block *block, struct pv_guest *guest, const char *device)
{
    enum pv_status status = open_disk(block, guest, device);

    if (status == PV_OK)
        return EFI_SUCCESS;
    debug_port_say(block->log, "disk %s: %s (%s)", *block->disk.name ? block->disk.name : device,
                   block->disk.problem ? block->disk.problem : "xenstore has no such disk",
                   words(status));
    return status == PV_NO_MEMORY ? EFI_OUT_OF_RESOURCES : EFI_DEVICE_ERROR;
}

static efi_status install(struct block *block)
{
    if (!block->path)
        return block->boot->install_multiple_protocol_interfaces(
            &block->handle, &efi_block_io_guid, &block->io, &efi_block_io2_guid, &block->io2, NULL);
    return block->boot->install_multiple_protocol_interfaces(
        &block->handle, &efi_device_path_guid, block->path, &efi_block_io_guid, &block->io,
        &efi_block_io2_guid, &block->io2, NULL);
}

static efi_status uninstall(struct block *block)
{
    if (!block->path)
        return block->boot->uninstall_multiple_protocol_interfaces(
            block->handle, &efi_block_io_guid, &block->io, &efi_block_io2_guid, &block->io2, NULL);
    return block->boot->uninstall_multiple_protocol_interfaces(
        block->handle, &efi_device_path_guid, block->path, &efi_block_io_guid, &block->io,
        &efi_block_io2_guid, &block->io2, NULL);
}

static void describe(const struct block *block)
{
    const struct pv_disk *disk = &block->disk;
    debug_port_say(block->log,
                   "disk %s: %llu sectors, %u bytes each%s; %u requests of %u pages, %u of ring",
                   disk->name, (unsigned long long)disk->medium.sectors, disk->medium.sector_size,
                   disk->medium.read_only ? ", read-only" : "", disk->nr_slots, disk->segments,
                   disk->ring_pages.count);
}

efi_status block_add(struct pv_guest *guest, struct efi_boot_services *boot, struct debug_port *log,
                     const char *device, struct block_place place, struct block **result)
{
    struct block *block;
    uint64_t number;

    if (!pv_number_parse(device, UINT32_MAX, &number))
        return EFI_DEVICE_ERROR;
    if (EFI_IS_ERROR(boot->allocate_pool(EFI_BOOT_SERVICES_DATA, sizeof(*block), (void **)&block)))
        return EFI_OUT_OF_RESOURCES;
    __builtin_memset(block, 0, sizeof(*block));
    block->boot = boot;
    block->log = log;
    block->handle = place.handle;
    block_io_init(block);
    efi_status status = connect(block, guest, device);
    if (!EFI_IS_ERROR(status)) {
        make_name(block);
        block_io_describe(block);
        if (!place.handle)
            block->path = make_path(boot, place.parent, number);
        status = place.handle || block->path ? install(block) : EFI_OUT_OF_RESOURCES;
    }
    if (EFI_IS_ERROR(status)) {
        free_block(block, BLOCK_BURIAL);
        return status;
    }
    describe(block);
    *result = block;
    return EFI_SUCCESS;
}

efi_status block_remove(struct block *block)
{
    efi_status status = uninstall(block);

    if (!EFI_IS_ERROR(status))
        free_block(block, UINT64_MAX);
    return status;
}

void block_leave(struct block *block, uint64_t *deadline)
{
    struct pv_disk *disk = &block->disk;
    if (disk->state == PV_DISK_CLOSED)
        return; /* and there may be no clock any more */
    uint64_t now = pv_now(disk->guest->platform);
    if (*deadline == 0)
        *deadline = now + LEAVE_PATIENCE;
    uint64_t left = now < *deadline ? *deadline - now : 0;
    disk->problem = NULL;
    close_disk(block, left > LEAVE_PATIENCE_LEAST ? left : LEAVE_PATIENCE_LEAST);
    debug_port_say(block->log, "disk %s: %s", disk->name,
                   disk->problem ? disk->problem : "left to the operating system");
}
