/*
 * XenPvBlk's BlockIo and BlockIo2, on the host: the status codes of UEFI 2.10, §13.9 and §13.10,
 * with firmware that has just the services that a disk's handle needs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/ovmf/world.h"

#include <stdarg.h>
#include <string.h>

#include "ovmf-drivers/pvblk/block.h"
#include "ovmf-drivers/uefi/device-path.h"

/* --- firmware --- */

static unsigned reinstalled, signalled, tpl_raised;

void debug_port_say(struct debug_port *port, const char *format, ...)
{
    port->lines++;
}

static efi_tpl EFIAPI raise_tpl(efi_tpl level)
{
    tpl_raised++;
    return EFI_TPL_APPLICATION;
}

static void EFIAPI restore_tpl(efi_tpl level)
{
    g_assert_cmpuint(level, ==, EFI_TPL_APPLICATION);
    tpl_raised--;
}

static efi_status EFIAPI allocate_pool(enum efi_memory_type type, size_t size, void **buffer)
{
    *buffer = g_malloc(size);
    return EFI_SUCCESS;
}

static efi_status EFIAPI free_pool(void *buffer)
{
    g_free(buffer);
    return EFI_SUCCESS;
}

static efi_status EFIAPI install(efi_handle *handle, ...)
{
    *handle = handle;
    return EFI_SUCCESS;
}

static efi_status EFIAPI uninstall(efi_handle handle, ...)
{
    return EFI_SUCCESS;
}

/* Whoever is told asks at once what is there now: he must not be asked to wait. */
static efi_status EFIAPI reinstall(efi_handle handle, const struct efi_guid *protocol, void *old,
                                   void *new)
{
    g_assert_cmpuint(tpl_raised, ==, 0);
    g_assert_true(old == new);
    reinstalled++;
    return EFI_SUCCESS;
}

static efi_status EFIAPI signal_event(efi_event event)
{
    g_assert_cmpuint(tpl_raised, ==, 0);
    signalled++;
    return EFI_SUCCESS;
}

static struct efi_boot_services boot = {
    .raise_tpl = raise_tpl,
    .restore_tpl = restore_tpl,
    .allocate_pool = allocate_pool,
    .free_pool = free_pool,
    .install_multiple_protocol_interfaces = install,
    .uninstall_multiple_protocol_interfaces = uninstall,
    .reinstall_protocol_interface = reinstall,
    .signal_event = signal_event,
};

/* --- a disk --- */

struct setup {
    struct world *world;
    struct debug_port log;
    struct block *block;
    struct efi_block_io *io;
    struct efi_block_io2 *io2;
    uint32_t id, size;
    efi_lba last;
    uint8_t data[64 * 1024];
};

static const struct efi_device_path parent = { EFI_DEVICE_PATH_END,
                                               EFI_DEVICE_PATH_END_ENTIRE,
                                               { sizeof(parent), 0 } };
static const struct block_place below = { .parent = &parent };

static void set_up(struct setup *setup, const char *sector_size, const char *info)
{
    memset(setup, 0, sizeof(*setup));
    reinstalled = signalled = 0;
    setup->world = world_new();
    world_offer(setup->world, "sector-size", sector_size);
    world_offer(setup->world, "info", info);
    g_assert_cmpuint(
        block_add(&setup->world->guest, &boot, &setup->log, WORLD_DEVICE, below, &setup->block), ==,
        EFI_SUCCESS);
    setup->io = &setup->block->io;
    setup->io2 = &setup->block->io2;
    setup->id = setup->io->media->media_id;
    setup->size = setup->io->media->block_size;
    setup->last = setup->io->media->last_block;
}

static void tear_down(struct setup *setup)
{
    g_assert_cmpuint(block_remove(setup->block), ==, EFI_SUCCESS);
    world_free(setup->world);
    g_assert_cmpuint(tpl_raised, ==, 0);
}

/* The same request by both protocols; both must say the same. */
static efi_status read_both(struct setup *setup, uint32_t id, efi_lba lba, size_t size,
                            void *buffer)
{
    efi_status status = setup->io->read_blocks(setup->io, id, lba, size, buffer);
    g_assert_cmpuint(setup->io2->read_blocks_ex(setup->io2, id, lba, NULL, size, buffer), ==,
                     status);
    return status;
}

static efi_status write_both(struct setup *setup, uint32_t id, efi_lba lba, size_t size,
                             void *buffer)
{
    efi_status status = setup->io->write_blocks(setup->io, id, lba, size, buffer);
    g_assert_cmpuint(setup->io2->write_blocks_ex(setup->io2, id, lba, NULL, size, buffer), ==,
                     status);
    return status;
}

static efi_status flush_both(struct setup *setup)
{
    efi_status status = setup->io->flush_blocks(setup->io);
    g_assert_cmpuint(setup->io2->flush_blocks_ex(setup->io2, NULL), ==, status);
    return status;
}

/* --- tests --- */

static void check_conformance(const char *sector_size)
{
    struct setup *s = g_new(struct setup, 1);
    uint8_t *data = s->data;

    set_up(s, sector_size, "0");
    g_assert_cmpuint(s->last, ==, WORLD_SECTORS * PV_SECTOR / s->size - 1);
    g_assert_cmpuint(s->io->media->io_align, <=, 1);
    g_assert_true(s->io->media->present && !s->io->media->read_only && !s->io->media->removable);

    g_assert_cmpuint(read_both(s, s->id, 3, s->size, data), ==, EFI_SUCCESS);
    g_assert_cmpmem(data, s->size, s->world->disk + 3 * s->size, s->size);
    g_assert_cmpuint(read_both(s, s->id, 1, 3 * s->size, data + 1), ==,
                     EFI_SUCCESS); /* unaligned */
    g_assert_cmpmem(data + 1, 3 * s->size, s->world->disk + s->size, 3 * s->size);
    g_assert_cmpuint(read_both(s, s->id, s->last, s->size, data), ==, EFI_SUCCESS);

    g_assert_cmpuint(read_both(s, s->id + 1, 0, s->size, data), ==, EFI_MEDIA_CHANGED);
    g_assert_cmpuint(read_both(s, s->id + 1, s->last + 1, 1, NULL), ==, EFI_MEDIA_CHANGED);
    g_assert_cmpuint(read_both(s, s->id, 0, s->size - 1, data), ==, EFI_BAD_BUFFER_SIZE);
    g_assert_cmpuint(read_both(s, s->id, 0, 1, data), ==, EFI_BAD_BUFFER_SIZE);
    g_assert_cmpuint(read_both(s, s->id, s->last + 1, s->size, data), ==, EFI_INVALID_PARAMETER);
    g_assert_cmpuint(read_both(s, s->id, s->last, 2 * s->size, data), ==, EFI_INVALID_PARAMETER);
    g_assert_cmpuint(read_both(s, s->id, UINT64_MAX, s->size, data), ==, EFI_INVALID_PARAMETER);
    g_assert_cmpuint(read_both(s, s->id, 1, SIZE_MAX - s->size + 1, data), ==,
                     EFI_INVALID_PARAMETER);
    g_assert_cmpuint(read_both(s, s->id, 0, s->size, NULL), ==, EFI_INVALID_PARAMETER);
    g_assert_cmpuint(read_both(s, s->id, 0, 0, data), ==, EFI_SUCCESS);
    g_assert_cmpuint(read_both(s, s->id, 0, 0, NULL), ==, EFI_SUCCESS);

    memset(data, 0xA7, 2 * s->size);
    g_assert_cmpuint(write_both(s, s->id, 5, 2 * s->size, data), ==, EFI_SUCCESS);
    g_assert_cmpmem(data, 2 * s->size, s->world->disk + 5 * s->size, 2 * s->size);
    g_assert_cmpuint(write_both(s, s->id + 1, 5, s->size, data), ==, EFI_MEDIA_CHANGED);
    g_assert_cmpuint(write_both(s, s->id, s->last + 1, s->size, data), ==, EFI_INVALID_PARAMETER);
    g_assert_cmpuint(write_both(s, s->id, 0, s->size / 2, data), ==, EFI_BAD_BUFFER_SIZE);
    g_assert_cmpuint(flush_both(s), ==, EFI_SUCCESS);
    g_assert_cmpuint(s->world->flushes, ==, 2);
    g_assert_cmpuint(s->io->reset(s->io, true), ==, EFI_SUCCESS);
    tear_down(s);
    g_free(s);
}

static void test_conformance(void)
{
    check_conformance("512");
    check_conformance("2048");
    check_conformance("4096");
}

static void test_read_only(void)
{
    struct setup *s = g_new(struct setup, 1);

    set_up(s, "512", "4");
    g_assert_true(s->io->media->read_only);
    g_assert_cmpuint(read_both(s, s->id, 0, s->size, s->data), ==, EFI_SUCCESS);
    g_assert_cmpuint(write_both(s, s->id, 0, s->size, s->data), ==, EFI_WRITE_PROTECTED);
    g_assert_cmpuint(write_both(s, s->id + 1, 0, s->size, s->data), ==, EFI_MEDIA_CHANGED);
    g_assert_cmpuint(flush_both(s), ==, EFI_SUCCESS);
    tear_down(s);
    g_free(s);
}

/* An empty drive, which gets a disc, then another one, and loses it. */
static void test_cd(void)
{
    struct setup *s = g_new(struct setup, 1);
    struct world *world;

    set_up(s, "512", "7");
    world = s->world;
    g_assert_cmpuint(s->size, ==, 2048);
    g_assert_true(s->io->media->removable && s->io->media->present && s->io->media->read_only);

    world->now += 2000 * PV_MS;
    world_offer(world, "sectors", "0");
    g_assert_cmpuint(s->io->read_blocks(s->io, s->id, 0, 0, NULL), ==, EFI_NO_MEDIA);
    g_assert_cmpuint(reinstalled, ==, 2);
    g_assert_false(s->io->media->present);
    g_assert_cmpuint(s->io->read_blocks(s->io, s->id, 0, 2048, s->data), ==, EFI_NO_MEDIA);
    g_assert_cmpuint(s->io->read_blocks(s->io, s->id, 9, 1, NULL), ==, EFI_NO_MEDIA);
    g_assert_cmpuint(flush_both(s), ==, EFI_NO_MEDIA);

    world->now += 2000 * PV_MS;
    world_offer(world, "sectors", "64");
    g_assert_cmpuint(s->io->read_blocks(s->io, s->id, 0, 2048, s->data), ==, EFI_MEDIA_CHANGED);
    g_assert_cmpuint(reinstalled, ==, 4);
    g_assert_cmpuint(s->io->media->last_block, ==, 15);
    g_assert_cmpuint(read_both(s, s->io->media->media_id, 15, 2048, s->data), ==, EFI_SUCCESS);
    g_assert_cmpmem(s->data, 2048, world->disk + 15 * 2048, 2048);
    tear_down(s);
    g_free(s);
}

static void test_tokens(void)
{
    struct setup *s = g_new(struct setup, 1);
    struct efi_block_io2_token token = { .event = s, .status = EFI_NOT_READY };

    set_up(s, "512", "0");
    g_assert_cmpuint(s->io2->read_blocks_ex(s->io2, s->id, 0, &token, 512, s->data), ==,
                     EFI_SUCCESS);
    g_assert_cmpuint(token.status, ==, EFI_SUCCESS);
    g_assert_cmpuint(s->io2->flush_blocks_ex(s->io2, &token), ==, EFI_SUCCESS);
    g_assert_cmpuint(s->io2->write_blocks_ex(s->io2, s->id, 0, &token, 0, NULL), ==, EFI_SUCCESS);
    g_assert_cmpuint(signalled, ==, 3);
    /* What is wrong with a request is said at once. */
    g_assert_cmpuint(s->io2->read_blocks_ex(s->io2, s->id, s->last + 1, &token, 512, s->data), ==,
                     EFI_INVALID_PARAMETER);
    g_assert_cmpuint(signalled, ==, 3);
    s->world->script.status = BLKIF_RSP_ERROR;
    g_assert_cmpuint(s->io2->read_blocks_ex(s->io2, s->id, 0, &token, 512, s->data), ==,
                     EFI_SUCCESS);
    g_assert_cmpuint(token.status, ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(signalled, ==, 4);
    tear_down(s);
    g_free(s);
}

static void test_errors(void)
{
    struct setup *s = g_new(struct setup, 1);

    set_up(s, "512", "0");
    s->world->script.status = BLKIF_RSP_ERROR;
    g_assert_cmpuint(read_both(s, s->id, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(write_both(s, s->id, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(flush_both(s), ==, EFI_DEVICE_ERROR);
    s->world->script.status = 0;
    g_assert_cmpuint(read_both(s, s->id, 0, 512, s->data), ==, EFI_SUCCESS);
    tear_down(s);
    g_free(s);
}

/* A backend that dies costs one wait, which includes letting go of it; then errors come at once. */
static void test_death(void)
{
    struct setup *s = g_new(struct setup, 1);

    set_up(s, "512", "0");
    s->world->script.silent_after = 1;
    s->world->script.deaf = UINT_MAX;
    s->world->script.keeps_pages = true;
    g_assert_cmpuint(s->io->read_blocks(s->io, s->id, 0, 512, s->data), ==, EFI_SUCCESS);
    uint64_t start = s->world->now;
    g_assert_cmpuint(s->io->read_blocks(s->io, s->id, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(s->world->now - start, <=, 5000 * PV_MS);
    g_assert_cmpuint(world_pages_abandoned(s->world), ==, 2);
    start = s->world->now;
    g_assert_cmpuint(read_both(s, s->id, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(flush_both(s), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(s->io->reset(s->io, false), ==, EFI_DEVICE_ERROR);
    block_leave(s->block, &(uint64_t){ 0 });
    g_assert_cmpuint(s->world->now, ==, start);
    tear_down(s);
    g_free(s);
}

/* On the way out: once, and then there is no disk any more. */
static void test_leave(void)
{
    struct setup *s = g_new(struct setup, 1);

    set_up(s, "512", "0");
    block_leave(s->block, &(uint64_t){ 0 });
    g_assert_cmpstr(world_node(s->world, WORLD_FRONTEND, "state"), ==, "1");
    g_assert_cmpstr(world_node(s->world, WORLD_BACKEND_PATH, "state"), ==, "2");
    /* The guest's side of Xen is gone then. */
    s->world->platform.now = NULL;
    s->world->platform.wait = NULL;
    block_leave(s->block, &(uint64_t){ 0 });
    g_assert_cmpuint(read_both(s, s->id, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    tear_down(s);
    g_free(s);
}

static void test_no_disk(void)
{
    struct world *world = world_new();
    struct debug_port log = { .name = "test" };
    struct block *block;

    world->script.deaf = UINT_MAX;
    g_assert_cmpuint(block_add(&world->guest, &boot, &log, WORLD_DEVICE, below, &block), ==,
                     EFI_DEVICE_ERROR);
    g_assert_cmpuint(world->now, <=, 5000 * PV_MS);
    g_assert_cmpuint(log.lines, ==, 1);
    g_assert_cmpuint(block_add(&world->guest, &boot, &log, "51728", below, &block), ==,
                     EFI_DEVICE_ERROR);
    world_free(world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ovmf/block-io/conformance", test_conformance);
    g_test_add_func("/ovmf/block-io/read-only", test_read_only);
    g_test_add_func("/ovmf/block-io/cd", test_cd);
    g_test_add_func("/ovmf/block-io/tokens", test_tokens);
    g_test_add_func("/ovmf/block-io/errors", test_errors);
    g_test_add_func("/ovmf/block-io/death", test_death);
    g_test_add_func("/ovmf/block-io/leave", test_leave);
    g_test_add_func("/ovmf/block-io/no-disk", test_no_disk);
    return g_test_run();
}
