/* The header and configuration accesses of a PCI function, as guests use and misuse them. */

#include <string.h>

#include "tests/unit/pci-world.h"

static const struct pci_description plain = {
    .vendor = 0x1AF4,
    .device = 0x1110,
    .subsystem_vendor = 0x1AF4,
    .subsystem = 0x1100,
    .class_code = 0x050000,
    .revision = 1,
    .interrupt_pin = 1,
    .bars[0] = { .size = 256, .ops = &shmem_registers_ops },
    .bars[2] = { .size = 1 << 20, .ops = &window_ops },
};

/* Everything that a description can have. */
static const struct pci_description full = {
    .vendor = 0x1AF4,
    .device = 0x1110,
    .class_code = 0x050000,
    .interrupt_pin = 1,
    .bars[0] = { .size = 4096, .ops = &window_ops },
    .bars[1] = { .size = 64, .ops = &window_ops, .type = PCI_BAR_IO },
    .bars[2] = { .size = UINT64_C(8) << 30,
                 .memory = &world_memory,
                 .type = PCI_BAR_MEMORY64,
                 .prefetchable = true },
    .bars[4] = { .size = 1 << 20, .ops = &window_ops },
    .rom = { .size = 64 << 10, .ops = &window_ops },
    .power_management = true,
    .msi = { .vectors = 8, .masking = true },
    .msix = { .vectors = 64, .bar = 0, .table = 0x800, .pba = 0xC00 },
};

static void test_header(struct world *world, gconstpointer data)
{
    static const uint8_t expected[64] = {
        [0x00] = 0xF4, 0x1A,          0x10, 0x11, [0x08] = 0x01, 0x00,          0x00,
        0x05,          [0x2C] = 0xF4, 0x1A, 0x00, 0x11,          [0x3D] = 0x01,
    };
    for (unsigned offset = 0; offset < PCI_CONFIG_SIZE; offset++) {
        for (unsigned size = 1; size <= 4 && offset + size <= PCI_CONFIG_SIZE; size *= 2) {
            uint32_t value = 0;
            if (offset + size <= sizeof(expected))
                memcpy(&value, expected + offset, size);
            if (offset + size <= sizeof(expected) || offset >= sizeof(expected))
                g_assert_cmphex(config(world, offset, size), ==, value);
        }
    }
}

/* Writes of every byte, and what of it sticks. */
static void test_write_masks(struct world *world, gconstpointer data)
{
    static const uint8_t sticks[64] = {
        [0x04] = 0x06, 0x04, [0x0C] = 0xFF, 0xFF, [0x11] = 0xFF,
        0xFF,          0xFF, [0x1A] = 0xF0, 0xFF, [0x3C] = 0xFF,
    };
    for (unsigned offset = 0; offset < PCI_CONFIG_SIZE; offset++) {
        uint8_t before = config(world, offset, 1);
        uint8_t mask = offset < sizeof(sticks) ? sticks[offset] : 0;
        set_config(world, offset, 1, 0xFF);
        g_assert_cmphex(config(world, offset, 1), ==, before | mask);
        set_config(world, offset, 1, 0x00);
        g_assert_cmphex(config(world, offset, 1), ==, before & ~mask);
    }
    /* Wide and unaligned writes are no more and no less than their bytes. */
    set_config(world, 0x0B, 4, 0x33221100);
    g_assert_cmphex(config(world, 0x08, 4), ==, 0x05000001);
    g_assert_cmphex(config(world, 0x0C, 4), ==, 0x00002211);
    set_config(world, 0x3A, 4, 0xAABBCCDD);
    g_assert_cmphex(config(world, 0x3C, 4), ==, 0x000001BB);
}

/* A decode enable that would enable nothing is not there; the others are independent. */
static void test_command(struct world *world, gconstpointer data)
{
    static const struct pci_description none = { .vendor = 1 };
    static const struct pci_description ports_only = {
        .vendor = 1, .bars[5] = { .size = 8, .ops = &window_ops, .type = PCI_BAR_IO }
    };
    static const struct pci_description rom_only = { .vendor = 1,
                                                     .rom = { .size = 2048, .ops = &window_ops } };
    static const struct {
        const struct pci_description *description;
        uint16_t sticks;
    } cases[] = {
        { &none, 0x404 }, { &ports_only, 0x405 }, { &rom_only, 0x406 }, { &full, 0x407 }
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        world_add(world, i, cases[i].description);
        set_config_of(world, i, COMMAND, 2, 0xFFFF);
        g_assert_cmphex(config_of(world, i, COMMAND, 2), ==, cases[i].sticks);
        set_config_of(world, i, COMMAND, 2, 0);
        g_assert_cmphex(config_of(world, i, COMMAND, 2), ==, 0);
    }
}

/* §6.2.3: a one clears the error bit, a zero leaves it; nothing sets it from outside. */
static void test_status(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    set_config(world, STATUS, 2, 0xFFFF);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0);
    pci_function_set_status(function, 0xFFFF);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0xF900);
    set_config(world, STATUS, 2, 0);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0xF900);
    set_config(world, STATUS, 2, 0x2000);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0xD900);
    set_config(world, STATUS + 1, 1, 0x81);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0x5800);
    set_config(world, COMMAND, 4, 0x48000004); /* the register beside it, in one write */
    g_assert_cmphex(config(world, COMMAND, 4), ==, 0x10000004);
}

static void test_config_edges(struct world *world, gconstpointer data)
{
    g_assert_cmphex(config(world, 0xFF, 4), ==, ONES);
    g_assert_cmphex(config(world, 0xFF, 2), ==, 0xFFFF);
    g_assert_cmphex(config(world, 0xFD, 4), ==, ONES);
    g_assert_cmphex(config(world, 0x100, 1), ==, 0xFF);
    g_assert_cmphex(config(world, 0xFF, 1), ==, 0);
    g_assert_cmphex(config(world, 0xFC, 4), ==, 0);
    set_config(world, 0xFF, 4, 0);
}

/* Placed memory is where its BAR says, unless that is being sized. */
static void assert_stays(struct world *world)
{
    uint32_t low = config(world, BAR(2), 4) & ~0xFu, high = config(world, BAR(3), 4);
    bool sized = low == (uint32_t)-world->placed_size || high == ONES;
    g_assert_true(sized || world->placed == ((uint64_t)high << 32 | low));
}

/* Whatever is written anywhere: identity stays, and nothing decodes that is switched off. */
static void test_random(struct world *world, gconstpointer data)
{
    static const uint8_t favourites[] = { COMMAND, BAR(0),     BAR(1), BAR(2),     BAR(3),
                                          BAR(4),  BAR(0) + 3, ROM,    BAR(2) + 2, 0x44 };
    struct pci_function *function = world->pci.functions;
    world->placed_size = full.bars[2].size;
    world->refuse = true; /* the warning, once and for all */
    expect_warning();
    set_config(world, BAR(0), 4, 0xF0000000);
    set_config(world, COMMAND, 2, DECODE);
    g_test_assert_expected_messages();
    world->refuse = false;

    for (unsigned i = 0; i < 200000; i++) {
        unsigned size = 1u << g_test_rand_int_range(0, 4);
        unsigned offset = g_test_rand_int_range(0, PCI_CONFIG_SIZE + 8);
        if (g_test_rand_bit())
            offset = favourites[g_test_rand_int_range(0, G_N_ELEMENTS(favourites))];
        uint64_t value = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
        uint64_t address = ((uint64_t)SLOT << 35) + offset;
        ioreq_bus_write(world->bus, IOREQ_PCI, address, size,
                        g_test_rand_bit() ? value : UINT64_MAX);
        ioreq_bus_read(world->bus, IOREQ_PCI, address, size);
        pci_function_set_intx(function, g_test_rand_bit());
        pci_function_raise(function, g_test_rand_int_range(0, 70));

        uint16_t command = config(world, COMMAND, 2);
        bool asleep = config(world, pci_function_capability(function, 1, 0) + 4, 1) & 3;
        unsigned most = (command & IO_DECODE ? 1 : 0) + (command & DECODE ? 3 : 0);
        g_assert_cmphex(config(world, 0, 4), ==, 0x11101AF4);
        g_assert_cmpuint(world->claims, <=, asleep ? 0 : most);
        if (world->placed)
            assert_stays(world);
        g_assert_true(!world->line[SLOT] || !(command & 0x400 || asleep));
    }
}

/* Registers of ivshmem, in and across parts. */
static void test_shmem_registers(struct world *world, gconstpointer data)
{
    const uint64_t base = 0xF0000000;
    set_config(world, BAR(0), 4, base);
    set_config(world, COMMAND, 2, DECODE);

    set_memory(world, base, 8, UINT64_C(0x8877665544332211));
    g_assert_cmphex(world->registers.mask, ==, 0x44332211);
    g_assert_cmphex(world->registers.status, ==, 0x88776655);
    g_assert_cmphex(memory(world, base + 1, 1), ==, 0x22);
    g_assert_cmphex(memory(world, base + 2, 2), ==, 0x4433);
    g_assert_cmphex(memory(world, base + 3, 2), ==, 0x5544);
    g_assert_cmphex(world->registers.status, ==, 0);

    world->registers.status = 0x01020304;
    g_assert_cmphex(memory(world, base, 8), ==, UINT64_C(0x0102030444332211));
    g_assert_cmphex(memory(world, base, 8), ==, 0x44332211);
    world->registers.status = 0x01020304;
    g_assert_cmphex(memory(world, base + 5, 1), ==, 0x03);
    g_assert_cmphex(memory(world, base + 4, 4), ==, 0);
    world->registers.status = 7;
    g_assert_cmphex(memory(world, base, 4), ==, 0x44332211);
    g_assert_cmphex(memory(world, base + 8, 8), ==, UINT64_C(0xFFFFFFFF00000000));
    g_assert_cmphex(world->registers.status, ==, 7);

    set_memory(world, base + 2, 1, 0xAA);
    set_memory(world, base + 3, 2, 0xBBCC);
    g_assert_cmphex(world->registers.mask, ==, 0xCCAA2211);
    g_assert_cmphex(world->registers.status, ==, 0xBB);

    set_memory(world, base + 8, 8, UINT64_MAX);
    g_assert_cmphex(memory(world, base + 8, 4), ==, 0);
    g_assert_cmphex(memory(world, base + 12, 4), ==, ONES);
    for (unsigned offset = 16; offset <= 248; offset++)
        g_assert_cmphex(memory(world, base + offset, 8), ==, UINT64_MAX);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    world_test("/pci/header", &plain, test_header);
    world_test("/pci/write-masks", &plain, test_write_masks);
    world_test("/pci/command", NULL, test_command);
    world_test("/pci/status", &plain, test_status);
    world_test("/pci/config-edges", &plain, test_config_edges);
    world_test("/pci/random", &full, test_random);
    world_test("/pci/shmem-registers", &plain, test_shmem_registers);
    return g_test_run();
}
