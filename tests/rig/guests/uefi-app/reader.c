/*
 * Reads the disk that it was loaded from, again and again, until a read fails; so somebody can take
 * the disk away meanwhile.
 */
#include "tests/rig/guests/uefi-app/disks.h"

#define CALL (1u << 20)

efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system)
{
    struct disks disks;
    struct efi_block_io *io;
    efi_status status = EFI_SUCCESS;
    uint8_t *buffer;

    disks_find(&disks, "reader", image, system);
    disks_list(&disks);
    buffer = disks_memory(&disks, CALL);
    if (!disks.whole || !buffer || disk_size(disks.whole) < CALL)
        return EFI_NOT_FOUND;
    io = disks.whole->io;
    system->boot->set_watchdog_timer(0, 0, 0, NULL);
    debug_port_say(&disks.port, "reading");
    while (status == EFI_SUCCESS)
        status = io->read_blocks(io, io->media->media_id, 0, CALL, buffer);
    debug_port_say(&disks.port, "a read failed: %s", status_name(status));
    status = io->read_blocks(io, io->media->media_id, 0, CALL, buffer);
    debug_port_say(&disks.port, "the next one: %s", status_name(status));
    status = io->write_blocks(io, io->media->media_id, 0, io->media->block_size, buffer);
    debug_port_say(&disks.port, "and a write: %s", status_name(status));
    return EFI_NOT_FOUND;
}
