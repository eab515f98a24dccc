/*
 * XenPvBlk beside firmware that has XENBUS: its binding to a disk, and what it asks of the
 * protocol.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/ovmf/firmware.h"

#include <string.h>

#include "ovmf-drivers/pvblk/driver.h"

/* Its handle. */
#define DISK ((efi_handle)&firmware.bus)

struct setup {
    struct driver *driver;
    struct efi_driver_binding *binding;
    uint8_t data[128 * 1024];
};

static struct setup *set_up(void)
{
    struct setup *s = g_new0(struct setup, 1);

    firmware_start();
    s->driver = firmware.context;
    s->binding = &s->driver->disk_binding;
    return s;
}

static efi_status supported(struct setup *s)
{
    return s->binding->supported(s->binding, DISK, NULL);
}

static efi_status start(struct setup *s)
{
    return s->binding->start(s->binding, DISK, NULL);
}

static efi_status stop(struct setup *s)
{
    return s->binding->stop(s->binding, DISK, 0, NULL);
}

static struct efi_block_io *start_disk(struct setup *s)
{
    g_assert_cmpuint(supported(s), ==, EFI_SUCCESS);
    g_assert_cmpuint(start(s), ==, EFI_SUCCESS);
    g_assert_true(firmware.handle == DISK);
    return &s->driver->disks->block->io;
}

static void leave(struct setup *s)
{
    firmware.level = EFI_TPL_NOTIFY;
    firmware.at_exit(NULL, firmware.context);
    firmware.level = EFI_TPL_APPLICATION;
}

/* Pages of the ring that a backend keeps are of a kind that nobody takes over. */
static unsigned forget_ring(void)
{
    struct world *world = firmware.world;
    unsigned count = 0;

    for (size_t i = 0; i < WORLD_PAGES; i++) {
        if (world->used[i] && world->lasting[i]) {
            world->used[i] = false;
            count++;
        }
    }
    return count;
}

/* The handle is free for whoever comes next, and nothing is left of us. */
static void check_free(struct setup *s)
{
    g_assert_cmpuint(stop(s), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(firmware.opened, ==, 0);
    g_assert_cmpuint(firmware.level, ==, EFI_TPL_APPLICATION);
    g_assert_null(firmware.handle);
    g_assert_null(s->driver->disks);
    if (!firmware.world->script.keeps_pages)
        g_assert_cmpuint(s->driver->shared.grants, ==, 0);
    world_free(firmware.world);
    g_free(s->driver);
    g_free(s);
}

static void tear_down(struct setup *s)
{
    g_assert_cmpuint(stop(s), ==, EFI_SUCCESS);
    check_free(s);
}

/* --- tests --- */

static void check_data(struct setup *s, struct efi_block_io *io)
{
    struct world *world = firmware.world;
    uint32_t id = io->media->media_id;
    uint64_t began = world->now;

    g_assert_cmpuint(io->read_blocks(io, id, 7, sizeof(s->data), s->data), ==, EFI_SUCCESS);
    g_assert_cmpmem(s->data, sizeof(s->data), world->disk + 7 * PV_SECTOR, sizeof(s->data));
    memset(s->data, 0x5C, sizeof(s->data));
    g_assert_cmpuint(io->write_blocks(io, id, 1000, sizeof(s->data), s->data), ==, EFI_SUCCESS);
    g_assert_cmpmem(s->data, sizeof(s->data), world->disk + 1000 * PV_SECTOR, sizeof(s->data));
    unsigned flushes = world->flushes;
    g_assert_cmpuint(io->flush_blocks(io), ==, EFI_SUCCESS);
    g_assert_cmpuint(world->flushes, ==, flushes + 1);
    g_assert_cmpuint(world->now - began, <, 200 * PV_MS); /* the world's clock: no needless wait */
}

static void check_left(void)
{
    g_assert_cmpstr(world_node(firmware.world, WORLD_FRONTEND, "state"), ==, "1");
    g_assert_cmpstr(world_node(firmware.world, WORLD_BACKEND_PATH, "state"), ==, "2");
    g_assert_null(world_node(firmware.world, WORLD_FRONTEND, "ring-ref"));
    g_assert_null(world_node(firmware.world, WORLD_FRONTEND, "event-channel"));
}

static void test_data(void)
{
    static const char *const segments[] = { "0", "32", "256" };

    for (size_t i = 0; i < G_N_ELEMENTS(segments); i++) {
        struct setup *s = set_up();
        world_offer(firmware.world, "feature-max-indirect-segments", segments[i]);
        struct efi_block_io *io = start_disk(s);
        g_assert_cmpuint(supported(s), ==, EFI_ALREADY_STARTED);
        check_data(s, io);
        g_assert_cmpuint(s->driver->shared.grants, ==, world_grants_used(firmware.world));
        tear_down(s);
    }
}

/* Nothing but disks is ours, and only where there is a clock. */
static void test_binding(void)
{
    struct setup *s = set_up();

    /* XenPvBlkDxe and XenIoPciDxe say 0x10. */
    g_assert_cmpuint(firmware.nr_bindings, ==, 2);
    g_assert_cmpuint(s->driver->disk_binding.version, >, 0x10);
    g_assert_cmpuint(s->driver->binding.version, <, 0x10);
    g_assert_true(s->driver->binding.binding == &firmware && s->binding->image == &firmware);
    g_assert_nonnull(s->binding->binding);
    g_assert_true(s->binding->binding != &firmware);

    firmware.bus.type = "vif";
    g_assert_cmpuint(supported(s), ==, EFI_UNSUPPORTED);
    firmware.bus.type = NULL;
    g_assert_cmpuint(supported(s), ==, EFI_UNSUPPORTED);
    firmware.bus.type = "vbd";
    firmware.bus.node = "device/vif/0";
    g_assert_cmpuint(supported(s), ==, EFI_UNSUPPORTED);
    firmware.bus.node = "device/vbd";
    g_assert_cmpuint(supported(s), ==, EFI_UNSUPPORTED);
    firmware.bus.node = WORLD_FRONTEND;
    firmware.bus.backend = NULL;
    g_assert_cmpuint(supported(s), ==, EFI_UNSUPPORTED);
    firmware.bus.backend = WORLD_BACKEND_PATH;
    s->driver->xen.tsc_khz = 0;
    g_assert_cmpuint(supported(s), ==, EFI_UNSUPPORTED);
    s->driver->xen.tsc_khz = 1;
    start_disk(s);
    tear_down(s);
}

static void test_names(void)
{
    struct setup *s = set_up();
    struct efi_component_name *names = &s->driver->name2;
    const efi_char16 *name;

    g_assert_cmpuint(names->get_controller_name(names, DISK, NULL, "en", &name), ==,
                     EFI_UNSUPPORTED);
    start_disk(s);
    g_assert_cmpuint(names->get_controller_name(names, DISK, NULL, "en", &name), ==, EFI_SUCCESS);
    g_assert_cmpmem(name, 26, u"PV disk xvda", 26);
    g_assert_cmpuint(names->get_controller_name(names, DISK, DISK, "en", &name), ==,
                     EFI_UNSUPPORTED);
    g_assert_cmpuint(names->get_controller_name(names, names, NULL, "en", &name), ==,
                     EFI_UNSUPPORTED);
    tear_down(s);
}

static void test_again(void)
{
    struct setup *s = set_up();

    for (unsigned i = 0; i < 3; i++) {
        check_data(s, start_disk(s));
        g_assert_cmpuint(stop(s), ==, EFI_SUCCESS);
        check_left();
    }
    start_disk(s);
    firmware.in_use = true;
    g_assert_cmpuint(stop(s), ==, EFI_DEVICE_ERROR);
    check_data(s, &s->driver->disks->block->io);
    firmware.in_use = false;
    tear_down(s);
}

/* Ours comes first; then, when the memory map is final, XenBusDxe takes the handle away. */
static void test_leave(void)
{
    struct setup *s = set_up();
    struct efi_block_io *io = start_disk(s);

    firmware.before_exit(NULL, firmware.context);
    check_left();
    /* Where no page was given back. */
    g_assert_cmpuint(world_pages_used(firmware.world), >, 0);
    unsigned requests = firmware.requests;
    leave(s);
    g_assert_cmpuint(io->read_blocks(io, io->media->media_id, 0, 512, s->data), ==,
                     EFI_DEVICE_ERROR);
    g_assert_cmpuint(stop(s), ==, EFI_SUCCESS);
    g_assert_cmpuint(stop(s), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(firmware.requests, ==, requests);
    g_assert_cmpuint(s->driver->shared.grants, ==, 0);
    memset(firmware.world->used, 0, sizeof(firmware.world->used));
    world_free(firmware.world);
    g_free(s->driver);
    g_free(s);
}

/* It has the ring's page to the end, which must be nobody's then. */
static void test_leave_dead(void)
{
    struct setup *s = set_up();

    start_disk(s);
    firmware.world->script.deaf = UINT_MAX;
    firmware.world->script.keeps_pages = true;
    leave(s);
    g_assert_cmpuint(firmware.world->now, <=, 5000 * PV_MS);
    g_assert_cmpuint(world_pages_abandoned(firmware.world), ==, 0);
    g_assert_cmpuint(forget_ring(), ==, 1);
    memset(firmware.world->used, 0, sizeof(firmware.world->used));
    tear_down(s);
}

static void test_death(void)
{
    struct setup *s = set_up();
    struct efi_block_io *io = start_disk(s);

    firmware.world->script.silent_after = 1;
    firmware.world->script.deaf = UINT_MAX;
    firmware.world->script.keeps_pages = true;
    g_assert_cmpuint(io->read_blocks(io, 0, 0, 512, s->data), ==, EFI_SUCCESS);
    uint64_t began = firmware.world->now;
    g_assert_cmpuint(io->read_blocks(io, 0, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    g_assert_cmpuint(firmware.world->now - began, <=, 5000 * PV_MS);
    g_assert_cmpuint(world_pages_abandoned(firmware.world), ==, 0);
    g_assert_cmpuint(forget_ring(), ==, 1);
    g_assert_cmpuint(io->read_blocks(io, 0, 0, 512, s->data), ==, EFI_DEVICE_ERROR);
    tear_down(s);
}

/* It stays ours: the driver that would get it next waits for ever. */
static void test_no_backend(void)
{
    struct setup *s = set_up();

    firmware.world->script.deaf = UINT_MAX;
    g_assert_cmpuint(start(s), ==, EFI_SUCCESS);
    g_assert_cmpuint(firmware.world->now, <=, 5000 * PV_MS);
    g_assert_cmpuint(firmware.said, ==, 1);
    g_assert_null(firmware.handle);
    g_assert_cmpuint(supported(s), ==, EFI_ALREADY_STARTED);
    leave(s);
    tear_down(s);
}

static void check_refused(struct setup *s)
{
    g_assert_cmpuint(start(s), ==, EFI_SUCCESS);
    g_assert_null(firmware.handle);
    tear_down(s);
}

/* Whoever comes next may have it. */
static void check_passed_on(struct setup *s)
{
    g_assert_cmpuint(start(s), ==, EFI_OUT_OF_RESOURCES);
    g_assert_cmpuint(supported(s), ==, EFI_SUCCESS);
    check_left();
    check_free(s);
}

static void test_answers(void)
{
    g_autofree char *endless = g_strnfill(5000, '1');
    static const enum efi_xenbus_status statuses[] = { 1, EFI_XENBUS_NO_ENTRY, 9, 16, 99, -1 };
    const char *const texts[] = { "", "x", "-1", "99999999999999999999", endless };

    for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
        struct setup *s = set_up();
        firmware.status = statuses[i];
        check_refused(s);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        struct setup *s = set_up();
        firmware.text = texts[i];
        check_refused(s);
    }
    struct setup *s = set_up();
    firmware.no_text = true;
    check_refused(s);
    s = set_up();
    firmware.bus.backend = "/local/domain/3/backend/qdisk/7/51728";
    check_refused(s);
}

/* The ring of xenstore fails at any time: no request comes after that. */
static void test_io_error(void)
{
    for (unsigned after = 1;; after++) {
        struct setup *s = set_up();
        firmware.dies_after = after;
        firmware.world->script.keeps_pages = true; /* nobody can tell it to let go of them */
        g_assert_cmpuint(start(s), ==, EFI_SUCCESS);
        bool connected = firmware.handle;
        g_assert_cmpuint(stop(s), ==, EFI_SUCCESS);
        forget_ring();
        check_free(s);
        if (connected)
            break;
        g_assert_cmpuint(after, <, 100);
    }
}

/* There is one ring for all disks. */
static void test_io_error_elsewhere(void)
{
    struct setup *s = set_up();

    s->driver->shared.store_broken = true;
    check_refused(s);
}

static void test_no_port(void)
{
    struct setup *s = set_up();
    firmware.no_port = true;
    check_passed_on(s);
}

/* A page that was granted under a reference that is not ours is not given back. */
static void test_references(void)
{
    struct setup *s = set_up();
    world_offer(firmware.world, "feature-max-indirect-segments", "32"); /* one page of ring */
    firmware.world->script.guesses = true;
    firmware.one_ref = true;
    g_assert_cmpuint(start(s), ==, EFI_OUT_OF_RESOURCES);
    g_assert_cmpuint(world_pages_abandoned(firmware.world), ==, 1);
    check_free(s);

    s = set_up();
    firmware.toolstack_refs = true;
    g_assert_cmpuint(start(s), ==, EFI_OUT_OF_RESOURCES);
    g_assert_cmpuint(forget_ring(), ==, 1);
    check_free(s);
}

/* A backend maps what it was not told of, and is not told of: the first attempt has too many pages.
 */
static void test_grabs(void)
{
    struct setup *s = set_up();
    struct world *world = firmware.world;

    world_offer(world, "feature-max-indirect-segments", "256");
    world->script.guesses = world->script.keeps_pages = true;
    firmware.grabs = XENBUS_GRANTS / XENBUS_SHARE;
    check_data(s, start_disk(s));
    g_assert_cmpuint(world_pages_abandoned(world), ==, 3);
    g_assert_cmpuint(stop(s), ==, EFI_SUCCESS);
    forget_ring();
    check_free(s);
}

/* Many disks: each gets a part of what is left, and what edk2 has is never used up. */
static void test_share(void)
{
    struct setup *s = set_up();
    uint32_t least = UINT32_MAX;

    world_offer(firmware.world, "feature-max-indirect-segments", "256");
    s->driver->shared.grants = 0;
    for (uint32_t others = 0; others < XENBUS_GRANTS - 60; others += 100) {
        s->driver->shared.grants = others;
        check_data(s, start_disk(s));
        uint32_t mine = s->driver->shared.grants - others;
        g_assert_cmpuint(mine, <=, (XENBUS_GRANTS - others) / XENBUS_SHARE);
        g_assert_cmpuint(mine, ==, world_grants_used(firmware.world));
        least = MIN(least, mine);
        g_assert_cmpuint(stop(s), ==, EFI_SUCCESS);
        g_assert_cmpuint(s->driver->shared.grants, ==, others);
    }
    g_assert_cmpuint(least, <, 65);
    s->driver->shared.grants = XENBUS_GRANTS;
    g_assert_cmpuint(start(s), ==, EFI_OUT_OF_RESOURCES);
    s->driver->shared.grants = 0;
    check_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ovmf/bus-disk/data", test_data);
    g_test_add_func("/ovmf/bus-disk/binding", test_binding);
    g_test_add_func("/ovmf/bus-disk/names", test_names);
    g_test_add_func("/ovmf/bus-disk/again", test_again);
    g_test_add_func("/ovmf/bus-disk/leave", test_leave);
    g_test_add_func("/ovmf/bus-disk/leave-dead", test_leave_dead);
    g_test_add_func("/ovmf/bus-disk/death", test_death);
    g_test_add_func("/ovmf/bus-disk/no-backend", test_no_backend);
    g_test_add_func("/ovmf/bus-disk/answers", test_answers);
    g_test_add_func("/ovmf/bus-disk/io-error", test_io_error);
    g_test_add_func("/ovmf/bus-disk/io-error/elsewhere", test_io_error_elsewhere);
    g_test_add_func("/ovmf/bus-disk/no-port", test_no_port);
    g_test_add_func("/ovmf/bus-disk/references", test_references);
    g_test_add_func("/ovmf/bus-disk/grabs", test_grabs);
    g_test_add_func("/ovmf/bus-disk/share", test_share);
    return g_test_run();
}
