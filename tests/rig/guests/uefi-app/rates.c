/*
 * Measures BlockIo: each disk of SIZE bytes or more is read from its start, in large calls and in
 * small ones.  The disks take turns.
 */
#include "tests/rig/guests/uefi-app/disks.h"

#define SIZE (64ull << 20)
#define TURNS 4
#define SHARE (SIZE / TURNS)
#define TURN_TIME 10000000 /* microseconds */
#define LARGE (1u << 20)
#define SMALL (64u << 10)

/* Reads the turn's share in calls of `call` bytes, or as much of it as can be had in TURN_TIME, and
 * says how many bytes that were in how many microseconds. */
static void measure(struct disks *disks, const struct disk *disk, unsigned turn, uint32_t call,
                    uint8_t *buffer)
{
    struct efi_block_io *io = disk->io;
    uint64_t start = disks_now(disks), taken = 0, done = 0;

    while (done < SHARE && taken < TURN_TIME) {
        efi_lba lba = (turn * SHARE + done) / io->media->block_size;
        efi_status status = io->read_blocks(io, io->media->media_id, lba, call, buffer);

        if (status != EFI_SUCCESS) {
            debug_port_say(&disks->port, "read: %s", status_name(status));
            return;
        }
        done += call;
        taken = disks_now(disks) - start;
    }
    debug_port_say(&disks->port, "read %s %llu %u %llu %llu", disk_is_pv(disk) ? "pv" : "emulated",
                   (unsigned long long)disk_size(disk), call, (unsigned long long)done,
                   (unsigned long long)taken);
}

efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system)
{
    static const uint32_t calls[] = { LARGE, SMALL };
    struct disks disks;
    uint8_t *buffer;

    disks_find(&disks, "rates", image, system);
    disks_list(&disks);
    buffer = disks_memory(&disks, LARGE);
    for (unsigned turn = 0; buffer && turn < TURNS; turn++)
        for (size_t call = 0; call < sizeof(calls) / sizeof(calls[0]); call++)
            for (size_t i = 0; i < disks.count; i++)
                if (!disks.disk[i].io->media->logical_partition &&
                    disk_size(&disks.disk[i]) >= SIZE)
                    measure(&disks, &disks.disk[i], turn, calls[call], buffer);
    debug_port_say(&disks.port, "done");
    return EFI_NOT_FOUND;
}
