/*
 * BlockIo and BlockIo2 (UEFI 2.10, §13.9 and §13.10).
 *
 * What the medium is comes first, then what the request is: a caller may ask for anything in order
 * to find out whether the medium has changed.
 */
#include "ovmf-drivers/pvblk/block-private.h"

/* How often a drive whose medium can change is asked for it, in µs. */
#define LOOK (1000 * PV_MS)

static struct block *block_of(struct efi_block_io *io)
{
    return (struct block *)((uint8_t *)io - offsetof(struct block, io));
}

static struct block *block_of2(struct efi_block_io2 *io2)
{
    return (struct block *)((uint8_t *)io2 - offsetof(struct block, io2));
}

/*
 * A CD has blocks of 2048 bytes for whoever looks for El Torito on it, though a file behind it may
 * be read in smaller pieces.
 */
static uint32_t block_size(const struct pv_medium *medium)
{
    return medium->cdrom && medium->sector_size < 2048 ? 2048 : medium->sector_size;
}

void block_io_describe(struct block *block)
{
    const struct pv_medium *medium = &block->disk.medium;
    uint32_t size = block_size(medium);
    uint64_t blocks = medium->sectors / (size / PV_SECTOR);

    block->media.removable = medium->removable;
    block->media.present = blocks > 0;
    block->media.read_only = medium->read_only;
    block->media.write_caching = block->disk.flush && !medium->read_only;
    block->media.block_size = size;
    block->media.last_block = blocks > 0 ? blocks - 1 : 0;
}

static bool same_medium(const struct pv_medium *a, const struct pv_medium *b)
{
    return a->sectors == b->sectors && a->sector_size == b->sector_size &&
           a->read_only == b->read_only;
}

/* True if the drive has another medium than it had. */
static bool look_at_medium(struct block *block)
{
    struct pv_disk *disk = &block->disk;
    const struct pv_medium old = disk->medium;

    if (!old.removable || disk->state != PV_DISK_CONNECTED)
        return false;
    uint64_t now = pv_now(disk->guest->platform);
    if (now - block->looked < LOOK)
        return false;
    block->looked = now;
    if (pv_disk_refresh(disk) != PV_OK || same_medium(&disk->medium, &old))
        return false;
    block->media.media_id++;
    block_io_describe(block);
    return true;
}

/* Whoever is above us (partitions, file systems) begins again with the other medium. */
static void announce(struct block *block)
{
    block->boot->reinstall_protocol_interface(block->handle, &efi_block_io_guid, &block->io,
                                              &block->io);
    block->boot->reinstall_protocol_interface(block->handle, &efi_block_io2_guid, &block->io2,
                                              &block->io2);
}

enum operation { READ, WRITE, FLUSH };

struct request {
    enum operation operation;
    uint32_t media_id;
    efi_lba lba;
    size_t size;
    void *buffer;
};

static efi_status check(const struct block *block, const struct request *request)
{
    const struct efi_block_io_media *media = &block->media;

    if (!media->present)
        return EFI_NO_MEDIA;
    if (request->operation == FLUSH)
        return EFI_SUCCESS;
    if (request->media_id != media->media_id)
        return EFI_MEDIA_CHANGED;
    if (request->operation == WRITE && media->read_only)
        return EFI_WRITE_PROTECTED;
    if (request->size == 0)
        return EFI_SUCCESS;
    if (!request->buffer)
        return EFI_INVALID_PARAMETER;
    if (request->size % media->block_size)
        return EFI_BAD_BUFFER_SIZE;
    uint64_t last = request->size / media->block_size - 1;
    if (request->lba > media->last_block || last > media->last_block - request->lba)
        return EFI_INVALID_PARAMETER;
    return EFI_SUCCESS;
}

/*
 * Its pages change hands now, while there is time: what a dead backend could still write to must
 * not become the operating system's.
 */
static void bury(struct block *block)
{
    debug_port_say(block->log, "disk %s: %s", block->disk.name, block->disk.problem);
    pv_disk_close(&block->disk, BLOCK_BURIAL);
}

static efi_status carry_out(struct block *block, const struct request *request)
{
    uint64_t sector = request->lba * (block->media.block_size / PV_SECTOR);
    enum pv_status status;

    if (request->operation == FLUSH)
        status = pv_disk_flush(&block->disk);
    else if (request->size == 0)
        return EFI_SUCCESS;
    else if (request->operation == READ)
        status = pv_disk_read(&block->disk, sector, request->buffer, request->size);
    else
        status = pv_disk_write(&block->disk, sector, request->buffer, request->size);
    if (block->disk.state == PV_DISK_DEAD)
        bury(block);
    return status == PV_OK ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}

/* One at a time: an event of a higher priority may ask for something else meanwhile. */
static efi_status serve(struct block *block, const struct request *request)
{
    efi_tpl level = block->boot->raise_tpl(EFI_TPL_NOTIFY);
    bool changed = look_at_medium(block);
    efi_status status = check(block, request);

    if (!EFI_IS_ERROR(status))
        status = carry_out(block, request);
    block->boot->restore_tpl(level);
    if (changed)
        announce(block);
    return status;
}

static efi_status EFIAPI reset(struct efi_block_io *io, efi_bool extended)
{
    return block_of(io)->disk.state == PV_DISK_CONNECTED ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}

static efi_status EFIAPI read_blocks(struct efi_block_io *io, uint32_t media_id, efi_lba lba,
                                     size_t size, void *buffer)
{
    return serve(block_of(io), &(struct request){ READ, media_id, lba, size, buffer });
}

static efi_status EFIAPI write_blocks(struct efi_block_io *io, uint32_t media_id, efi_lba lba,
                                      size_t size, void *buffer)
{
    return serve(block_of(io), &(struct request){ WRITE, media_id, lba, size, buffer });
}

static efi_status EFIAPI flush_blocks(struct efi_block_io *io)
{
    return serve(block_of(io), &(struct request){ .operation = FLUSH });
}

/* What is wrong with the request itself is the call's result; the rest is the token's. */
static efi_status serve2(struct block *block, const struct request *request,
                         struct efi_block_io2_token *token)
{
    efi_status status = serve(block, request);

    if (!token || !token->event || (EFI_IS_ERROR(status) && status != EFI_DEVICE_ERROR))
        return status;
    token->status = status;
    block->boot->signal_event(token->event);
    return EFI_SUCCESS;
}

static efi_status EFIAPI reset2(struct efi_block_io2 *io2, efi_bool extended)
{
    return reset(&block_of2(io2)->io, extended);
}

static efi_status EFIAPI read_blocks_ex(struct efi_block_io2 *io2, uint32_t media_id, efi_lba lba,
                                        struct efi_block_io2_token *token, size_t size,
                                        void *buffer)
{
    return serve2(block_of2(io2), &(struct request){ READ, media_id, lba, size, buffer }, token);
}

static efi_status EFIAPI write_blocks_ex(struct efi_block_io2 *io2, uint32_t media_id, efi_lba lba,
                                         struct efi_block_io2_token *token, size_t size,
                                         void *buffer)
{
    return serve2(block_of2(io2), &(struct request){ WRITE, media_id, lba, size, buffer }, token);
}

static efi_status EFIAPI flush_blocks_ex(struct efi_block_io2 *io2,
                                         struct efi_block_io2_token *token)
{
    return serve2(block_of2(io2), &(struct request){ .operation = FLUSH }, token);
}

void block_io_init(struct block *block)
{
    block->io = (struct efi_block_io){
        .revision = EFI_BLOCK_IO_REVISION2,
        .media = &block->media,
        .reset = reset,
        .read_blocks = read_blocks,
        .write_blocks = write_blocks,
        .flush_blocks = flush_blocks,
    };
    block->io2 = (struct efi_block_io2){
        .media = &block->media,
        .reset = reset2,
        .read_blocks_ex = read_blocks_ex,
        .write_blocks_ex = write_blocks_ex,
        .flush_blocks_ex = flush_blocks_ex,
    };
    block->media.io_align = 1; /* data is copied, so buffers may be anywhere */
    block->media.logical_blocks_per_physical_block = 1;
}
