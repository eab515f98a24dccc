/*
 * Lists the disks that firmware has, says which of them this was loaded from, and does to that what
 * UEFI 2.10, §13.9 and §13.10, have an answer for.
 */
#include "tests/rig/guests/uefi-app/disks.h"
#include "ovmf-drivers/uefi/memory.h"

/* The largest read, so that it takes more than one request. */
#define AREA (256u << 10)
/* Where buffers may be anywhere, they are put here behind a page's start. */
#define ODD 3

struct test {
    struct disks *disks;
    struct disk *disk;
    struct efi_block_io *io;
    struct efi_block_io_media *media;
    /* Page-aligned, and of AREA bytes and a page. */
    uint8_t *expected, *buffer;
    size_t area;
    unsigned right, wrong;
};

static void check(struct test *test, bool holds, const char *what)
{
    if (holds) {
        test->right++;
        return;
    }
    test->wrong++;
    debug_port_say(&test->disks->port, "wrong: %s", what);
}

static void check_status(struct test *test, const char *what, efi_status wanted, efi_status got)
{
    if (wanted != got)
        debug_port_say(&test->disks->port, "%s: %s (0x%llx) instead of %s", what, status_name(got),
                       (unsigned long long)got, status_name(wanted));
    check(test, wanted == got, what);
}

static efi_status read(struct test *test, efi_lba lba, size_t size, void *buffer)
{
    return test->io->read_blocks(test->io, test->media->media_id, lba, size, buffer);
}

static efi_status write(struct test *test, efi_lba lba, size_t size, void *buffer)
{
    return test->io->write_blocks(test->io, test->media->media_id, lba, size, buffer);
}

/* The same data in one read, block by block, and behind an unaligned address. */
static void test_reads(struct test *test)
{
    uint32_t block = test->media->block_size;

    check_status(test, "read", EFI_SUCCESS, read(test, 0, test->area, test->expected));
    for (size_t at = 0; at < test->area; at += block)
        if (read(test, at / block, block, test->buffer + at) != EFI_SUCCESS)
            check(test, false, "read of one block");
    check(test, memcmp(test->buffer, test->expected, test->area) == 0, "data, block by block");

    memset(test->buffer, 0xa5, test->area + EFI_PAGE_SIZE);
    if (test->media->io_align > 1) {
        check_status(test, "read to an unaligned buffer", EFI_INVALID_PARAMETER,
                     read(test, 0, block, test->buffer + 1));
    } else {
        check_status(test, "read to an unaligned buffer", EFI_SUCCESS,
                     read(test, 0, test->area, test->buffer + ODD));
        check(test, memcmp(test->buffer + ODD, test->expected, test->area) == 0, "unaligned data");
        check(test, test->buffer[ODD - 1] == 0xa5 && test->buffer[ODD + test->area] == 0xa5,
              "bytes beside an unaligned buffer");
    }
    check_status(test, "read of the last block", EFI_SUCCESS,
                 read(test, test->media->last_block, block, test->buffer));
    check_status(test, "read of nothing", EFI_SUCCESS, read(test, 0, 0, test->buffer));
}

static void test_bad_reads(struct test *test)
{
    uint32_t block = test->media->block_size;
    efi_lba end = test->media->last_block + 1;

    check_status(
        test, "read with a bad MediaId", EFI_MEDIA_CHANGED,
        test->io->read_blocks(test->io, test->media->media_id + 1, 0, block, test->buffer));
    check_status(test, "read of half a block", EFI_BAD_BUFFER_SIZE,
                 read(test, 0, block / 2, test->buffer));
    check_status(test, "read of a block and a half", EFI_BAD_BUFFER_SIZE,
                 read(test, 0, block + block / 2, test->buffer));
    check_status(test, "read past the end", EFI_INVALID_PARAMETER,
                 read(test, end, block, test->buffer));
    check_status(test, "read across the end", EFI_INVALID_PARAMETER,
                 read(test, end - 1, 2 * block, test->buffer));
    check_status(test, "read at an LBA that wraps around", EFI_INVALID_PARAMETER,
                 read(test, ~(efi_lba)0, 2 * block, test->buffer));
    check_status(test, "read at an LBA whose bytes wrap around", EFI_INVALID_PARAMETER,
                 read(test, (efi_lba)1 << 60, block, test->buffer));
    check_status(test, "read to no buffer", EFI_INVALID_PARAMETER, read(test, 0, block, NULL));
}

static void test_bad_writes(struct test *test)
{
    uint32_t block = test->media->block_size;
    efi_lba end = test->media->last_block + 1;

    check_status(
        test, "write with a bad MediaId", EFI_MEDIA_CHANGED,
        test->io->write_blocks(test->io, test->media->media_id + 1, 0, block, test->buffer));
    if (test->media->read_only) {
        check_status(test, "write to a read-only disk", EFI_WRITE_PROTECTED,
                     write(test, 0, block, test->expected));
        return;
    }
    check_status(test, "write of half a block", EFI_BAD_BUFFER_SIZE,
                 write(test, 0, block / 2, test->buffer));
    check_status(test, "write past the end", EFI_INVALID_PARAMETER,
                 write(test, end, block, test->buffer));
    check_status(test, "write across the end", EFI_INVALID_PARAMETER,
                 write(test, end - 1, 2 * block, test->buffer));
    check_status(test, "write from no buffer", EFI_INVALID_PARAMETER, write(test, 0, block, NULL));
}

/* At the end of the disk, where afterwards is what was there. */
static void test_writes(struct test *test)
{
    uint32_t block = test->media->block_size;
    efi_lba lba = test->media->last_block + 1 - test->area / block;
    size_t odd = test->media->io_align > 1 ? 0 : ODD;
    bool as_before;

    if (test->media->read_only)
        return;
    check_status(test, "read before the write", EFI_SUCCESS,
                 read(test, lba, test->area, test->expected));
    for (size_t i = 0; i < test->area; i++)
        test->buffer[odd + i] = test->expected[i] ^ (uint8_t)(i * 7 + i / block);
    check_status(test, "write", EFI_SUCCESS, write(test, lba, test->area, test->buffer + odd));
    check_status(test, "flush", EFI_SUCCESS, test->io->flush_blocks(test->io));
    memset(test->buffer, 0, test->area + EFI_PAGE_SIZE);
    check_status(test, "read after the write", EFI_SUCCESS,
                 read(test, lba, test->area, test->buffer + odd));
    as_before = true;
    for (size_t i = 0; i < test->area; i++)
        as_before &= test->buffer[odd + i] == (test->expected[i] ^ (uint8_t)(i * 7 + i / block));
    check(test, as_before, "data that were written");
    check_status(test, "write of what was there", EFI_SUCCESS,
                 write(test, lba, test->area, test->expected));
}

/* Without an event it is BlockIo; with one it tells when. */
static void test_io2(struct test *test)
{
    struct efi_boot_services *boot = test->disks->system->boot;
    struct efi_block_io2 *io2 = test->disk->io2;
    struct efi_block_io2_token token = { .status = EFI_NOT_READY };
    uint32_t id = test->media->media_id, block = test->media->block_size;
    size_t which;

    if (!io2)
        return;
    check_status(test, "ReadBlocksEx without a token", EFI_SUCCESS,
                 io2->read_blocks_ex(io2, id, 0, NULL, test->area, test->expected));
    check_status(test, "ReadBlocksEx without an event", EFI_SUCCESS,
                 io2->read_blocks_ex(io2, id, 0, &token, block, test->buffer));
    check_status(test, "CreateEvent", EFI_SUCCESS,
                 boot->create_event(0, 0, NULL, NULL, &token.event));
    memset(test->buffer, 0xa5, test->area);
    check_status(test, "ReadBlocksEx", EFI_SUCCESS,
                 io2->read_blocks_ex(io2, id, 0, &token, test->area, test->buffer));
    boot->wait_for_event(1, &token.event, &which);
    check_status(test, "the token's status", EFI_SUCCESS, token.status);
    check(test, memcmp(test->buffer, test->expected, test->area) == 0, "data of ReadBlocksEx");
    check_status(test, "ReadBlocksEx with a bad MediaId", EFI_MEDIA_CHANGED,
                 io2->read_blocks_ex(io2, id + 1, 0, &token, block, test->buffer));
    check_status(
        test, "ReadBlocksEx past the end", EFI_INVALID_PARAMETER,
        io2->read_blocks_ex(io2, id, test->media->last_block + 1, &token, block, test->buffer));
    if (test->media->read_only)
        check_status(test, "WriteBlocksEx to a read-only disk", EFI_WRITE_PROTECTED,
                     io2->write_blocks_ex(io2, id, 0, &token, block, test->expected));
    else
        check_status(test, "FlushBlocksEx", EFI_SUCCESS, io2->flush_blocks_ex(io2, NULL));
    boot->close_event(token.event);
}

static void test_disk(struct test *test)
{
    test->io = test->disk->io;
    test->media = test->io->media;
    test->right = test->wrong = 0;
    check_status(test, "reset", EFI_SUCCESS, test->io->reset(test->io, false));
    if (!test->media->present) {
        check_status(test, "read without a medium", EFI_NO_MEDIA,
                     read(test, 0, 2048, test->buffer));
    } else {
        test->area = disk_size(test->disk) < AREA ? disk_size(test->disk) : AREA;
        test_reads(test);
        test_bad_reads(test);
        test_bad_writes(test);
        test_writes(test);
        test_io2(test);
    }
    debug_port_say(&test->disks->port, "disk %u: %u right, %u wrong",
                   (unsigned)(test->disk - test->disks->disk), test->right, test->wrong);
}

efi_status EFIAPI efi_main(efi_handle image, struct efi_system_table *system)
{
    struct disks disks;
    struct test test = { .disks = &disks };

    disks_find(&disks, "disks", image, system);
    disks_list(&disks);
    if (!disks.whole)
        debug_port_say(&disks.port, "loaded from nowhere");
    else
        debug_port_say(&disks.port, "loaded from disk %u", (unsigned)(disks.whole - disks.disk));

    test.expected = disks_memory(&disks, AREA + EFI_PAGE_SIZE);
    test.buffer = disks_memory(&disks, AREA + EFI_PAGE_SIZE);
    for (size_t i = 0; test.expected && test.buffer && i < disks.count; i++) {
        test.disk = &disks.disk[i];
        if (test.disk == disks.whole || !test.disk->io->media->present)
            test_disk(&test);
    }
    debug_port_say(&disks.port, "done");
    return EFI_NOT_FOUND;
}
