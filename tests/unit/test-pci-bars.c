/* Base address registers and expansion ROMs: sizing, decoding and moves, as §6.2.5 has them. */

#include "tests/unit/pci-world.h"

#define GIB (UINT64_C(1) << 30)

/* A ROM, ports, and memory of each kind. */
static const struct pci_description card = {
    .name = "card",
    .vendor = 0x1AF4,
    .bars[0] = { .size = 256, .ops = &window_ops },
    .bars[1] = { .size = 32, .ops = &window_ops, .type = PCI_BAR_IO },
    .bars[2] = { .size = 4096, .ops = &window_ops },
    .bars[4] = { .size = 8 * GIB, .ops = &window_ops, .type = PCI_BAR_MEMORY64 },
    .rom = { .size = 2048, .ops = &window_ops },
};

static const struct pci_description small64 = {
    .vendor = 0x1AF4,
    .bars[0] = { .size = 4096, .ops = &window_ops, .type = PCI_BAR_MEMORY64 },
};

static const struct pci_description small = {
    .name = "small",
    .vendor = 0x1AF4,
    .bars[0] = { .size = 256, .ops = &window_ops },
    .bars[2] = { .size = 1 << 20, .ops = &window_ops },
};

static const struct pci_description placing = {
    .name = "placing",
    .vendor = 0x1AF4,
    .bars[0] = { .size = 4096, .ops = &window_ops },
    .bars[2] = { .size = 2 * GIB,
                 .memory = &world_memory,
                 .type = PCI_BAR_MEMORY64,
                 .prefetchable = true },
};

/* --- sizing --- */

/* As firmware does: write ones, take the type away, and what is left says the size. */
static void check_sizing(struct world *world, unsigned at, const struct pci_bar *bar,
                         uint32_t type_mask, uint32_t type)
{
    bool wide = bar->type == PCI_BAR_MEMORY64;
    set_config(world, COMMAND, 2, IO_DECODE | DECODE);
    g_assert_cmphex(config(world, at, 4), ==, type);
    set_config(world, at, 4, ONES);
    if (wide)
        set_config(world, at + 4, 4, ONES);
    uint64_t value = config(world, at, 4);
    g_assert_cmphex(value & type_mask, ==, at == ROM ? 1 : type);
    value &= ~(uint64_t)type_mask;
    value |= wide ? (uint64_t)config(world, at + 4, 4) << 32 : UINT64_C(0xFFFFFFFF) << 32;
    g_assert_cmphex(~value + 1, ==, bar->size);
    if (!wide && at < BAR(5))
        g_assert_cmphex(config(world, at + 4, 4), ==, 0);
    g_assert_cmpuint(world->attempts, ==, 0); /* though decoding was on */
}

static void size_bar(struct world *world, unsigned index, struct pci_bar bar, uint32_t type)
{
    struct pci_description description = { .vendor = 1 };
    bar.ops = &window_ops;
    description.bars[index] = bar;
    world_make(world);
    world_add(world, SLOT, &description);
    check_sizing(world, BAR(index), &bar, bar.type == PCI_BAR_IO ? 0x3 : 0xF, type);
    world_end(world);
}

static void test_sizing(struct world *world, gconstpointer data)
{
    world_end(world);
    for (unsigned log = 2; log <= 8; log++)
        size_bar(world, log % 6, (struct pci_bar){ .size = 1u << log, .type = PCI_BAR_IO }, 1);
    /* Ports are never prefetchable: the bit belongs to the address. */
    size_bar(world, 0, (struct pci_bar){ .size = 16, .type = PCI_BAR_IO, .prefetchable = true }, 1);
    for (unsigned log = 4; log <= 62; log++) {
        struct pci_bar bar = { .size = UINT64_C(1) << log };
        if (log <= 31)
            size_bar(world, log % 6, bar, 0);
        bar.prefetchable = true;
        if (log <= 31)
            size_bar(world, log % 6, bar, 8);
        bar.type = PCI_BAR_MEMORY64;
        size_bar(world, log % 5, bar, 0xC);
        bar.prefetchable = false;
        size_bar(world, log % 5, bar, 4);
    }
    for (unsigned log = 11; log <= 24; log++) {
        struct pci_description description = { .vendor = 1 };
        description.rom = (struct pci_bar){ .size = 1u << log, .ops = &window_ops };
        world_make(world);
        world_add(world, SLOT, &description);
        check_sizing(world, ROM, &description.rom, 0x7FF, 0);
        world_end(world);
    }
    world_make(world);
}

/* Either half alone, and with other bits than a BAR has; the BAR comes back where it was. */
static void test_sizing_halves(struct world *world, gconstpointer data)
{
    set_config(world, BAR(5), 4, 0x10);
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmphex(memory(world, 0x1000000123, 1), ==, 0x23);
    set_config(world, BAR(4), 4, ONES);
    g_assert_cmphex(config(world, BAR(4), 4), ==, 0x00000004);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, BAR(4), 4, 0);
    g_assert_cmpuint(world->claims, ==, 1);
    set_config(world, BAR(5), 4, ONES);
    g_assert_cmphex(config(world, BAR(5), 4), ==, 0xFFFFFFFE);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, BAR(5), 4, 0x10);
    g_assert_cmphex(memory(world, 0x1000000123, 1), ==, 0x23);

    /* A small one has places in the last 4 GiB of all, but this is none of them. */
    world_add(world, NEIGHBOUR, &small64);
    set_config_of(world, NEIGHBOUR, COMMAND, 2, DECODE);
    set_config_of(world, NEIGHBOUR, BAR(0), 4, 0xE0000000);
    unsigned attempts = world->attempts;
    set_config_of(world, NEIGHBOUR, BAR(1), 4, ONES);
    g_assert_cmphex(config_of(world, NEIGHBOUR, BAR(1), 4), ==, ONES);
    set_config(world, BAR(0), 4, 0xFFFFFFF0);
    set_config(world, ROM, 4, 0xFFFFF801);
    set_config(world, ROM, 4, 0xFFFFFFFF);
    g_assert_cmpuint(world->attempts, ==, attempts);
    for (unsigned at = BAR(0); at < BAR(1); at++) /* byte by byte */
        set_config(world, at, 1, 0xFF);
    g_assert_cmphex(config(world, BAR(0), 4), ==, 0xFFFFFF00);
    g_assert_cmpuint(world->attempts, ==, attempts);
}

/* --- decoding --- */

static void test_decoding(struct world *world, gconstpointer data)
{
    set_config(world, BAR(0), 4, 0xF0000000);
    set_config(world, BAR(1), 4, 0xC000);
    set_config(world, ROM, 4, 0xF0100000);
    g_assert_cmpuint(world->claims, ==, 0);

    set_config(world, COMMAND, 2, IO_DECODE);
    g_assert_cmpuint(world->claims, ==, 1);
    g_assert_cmphex(ports(world, 0xC01E, 2), ==, 0x1E);
    g_assert_cmphex(ports(world, 0xC01F, 2), ==, 0xFFFF);
    g_assert_cmphex(memory(world, 0xF0000001, 1), ==, 0xFF);

    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmpuint(world->claims, ==, 1);
    g_assert_cmphex(ports(world, 0xC01E, 2), ==, 0xFFFF);
    g_assert_cmphex(memory(world, 0xF0000001, 1), ==, 1);
    g_assert_cmphex(memory(world, 0xF00000FD, 4), ==, ONES);

    /* The ROM needs its own enable, too, §6.2.5.2. */
    g_assert_cmphex(memory(world, 0xF0100001, 1), ==, 0xFF);
    set_config(world, ROM, 1, 1);
    g_assert_cmphex(config(world, ROM, 4), ==, 0xF0100001);
    g_assert_cmphex(memory(world, 0xF0100001, 1), ==, 1);
    g_assert_cmphex(memory(world, 0xF01007FF, 1), ==, 0xFF);
    g_assert_cmphex(memory(world, 0xF0100800, 1), ==, 0xFF);
    set_config(world, COMMAND + 1, 1, 0x04); /* the other byte of the register */
    g_assert_cmpuint(world->claims, ==, 2);
    set_config(world, COMMAND, 1, 0);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, COMMAND, 1, DECODE);
    set_config(world, ROM, 1, 0);
    g_assert_cmpuint(world->claims, ==, 1);

    /* Ports and memory are spaces of their own, so the same address is no conflict. */
    set_config(world, BAR(0), 4, 0xC000);
    set_config(world, COMMAND, 2, IO_DECODE | DECODE);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xC042, 1), ==, 0x42);
    g_assert_cmphex(ports(world, 0xC01E, 2), ==, 0x1E);
}

/* Address 0 and what is beyond the space are no places; the last place is one. */
static void test_impossible_places(struct world *world, gconstpointer data)
{
    static const uint32_t beyond[] = { 0, 0x10000, 0xFFFF0000, 0xFFFFFFE0 };
    set_config(world, COMMAND, 2, IO_DECODE | DECODE);
    set_config(world, ROM, 4, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(beyond); i++)
        set_config(world, BAR(1), 4, beyond[i]);
    set_config(world, BAR(4), 4, 0xC); /* as a 64-bit address: the end of everything */
    set_config(world, BAR(5), 4, 0xFFFFFFFE);
    g_assert_cmphex(config(world, BAR(5), 4), ==, 0xFFFFFFFE);
    g_assert_cmpuint(world->attempts, ==, 0);

    set_config(world, BAR(0), 4, 0xFFFFFF00);
    set_config(world, BAR(1), 4, 0xFFE0);
    set_config(world, BAR(2), 4, 0xFFFFE000);
    g_assert_cmpuint(world->claims, ==, 3);
    g_assert_cmphex(memory(world, 0xFFFFFFFF, 1), ==, 0xFF);
    g_assert_cmphex(memory(world, 0xFFFFFF42, 1), ==, 0x42);
    g_assert_cmphex(ports(world, 0xFFFE, 2), ==, 0x1E);
}

/* 2 GiB below 4 GiB have one place only. */
static void test_two_gib(struct world *world, gconstpointer data)
{
    static const struct pci_description big = {
        .vendor = 1, .bars[0] = { .size = 2 * GIB, .ops = &window_ops }
    };
    world_add(world, SLOT, &big);
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR(0), 4, ONES);
    g_assert_cmphex(config(world, BAR(0), 4), ==, 0x80000000);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, BAR(0), 4, 0x80000000);
    g_assert_cmpuint(world->claims, ==, 1);
    g_assert_cmphex(memory(world, 0xFFFFFFFC, 4), ==, 0x7FFFFFFC);
    set_config(world, BAR(0), 4, 0);
    g_assert_cmpuint(world->claims, ==, 0);
}

/* --- moves --- */

static void test_moving(struct world *world, gconstpointer data)
{
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR(0), 4, 0xF0000000);
    set_config(world, BAR(0), 4, 0xF1000000);
    g_assert_cmphex(memory(world, 0xF0000001, 1), ==, 0xFF);
    g_assert_cmphex(memory(world, 0xF1000001, 1), ==, 1);

    /* Byte by byte: each one moves it. */
    set_config(world, BAR(0) + 3, 1, 0xE0);
    g_assert_cmphex(memory(world, 0xE0000001, 1), ==, 1);
    set_config(world, BAR(0) + 1, 2, 0x02AB);
    g_assert_cmphex(memory(world, 0xE002AB01, 1), ==, 1);

    /* The low bits are not part of the address. */
    set_config(world, BAR(0), 4, 0xE00000FF);
    g_assert_cmphex(config(world, BAR(0), 4), ==, 0xE0000000);
    g_assert_cmphex(memory(world, 0xE0000001, 1), ==, 1);

    /* The same value again changes nothing. */
    unsigned attempts = world->attempts;
    set_config(world, BAR(0), 4, 0xE0000000);
    g_assert_cmpuint(world->attempts, ==, attempts);
    g_assert_cmpuint(world->claims, ==, 1);
}

/* Half by half, it is for a moment where nobody wants it; that must not hurt the neighbours. */
static void test_moving_halves(struct world *world, gconstpointer data)
{
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR(0), 4, 0x80001000);
    g_assert_cmpuint(world->claims, ==, 1);
    expect_warning();
    set_config(world, BAR(4), 4, 0); /* 0: nowhere */
    set_config(world, BAR(5), 4, 2); /* 8 GiB */
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 2 * 4 * GIB + 5, 1), ==, 5);
    set_config(world, BAR(5), 4, 4);
    g_assert_cmphex(memory(world, 2 * 4 * GIB + 5, 1), ==, 0xFF);
    g_assert_cmphex(memory(world, 4 * 4 * GIB + 5, 1), ==, 5);
    g_assert_cmphex(memory(world, 0x80001001, 1), ==, 1);

    /* A 64-bit BAR that fits below 4 GiB: high half to 0 puts it onto another one first. */
    world_add(world, NEIGHBOUR, &placing);
    world->placed_size = 2 * GIB;
    set_config_of(world, NEIGHBOUR, BAR(2), 4, 0x80000000);
    set_config_of(world, NEIGHBOUR, BAR(3), 4, 1);
    set_config_of(world, NEIGHBOUR, COMMAND, 2, DECODE);
    g_assert_cmphex(world->placed, ==, 0x180000000);
    set_config_of(world, NEIGHBOUR, BAR(3), 4, 0);
    g_test_assert_expected_messages();
    g_assert_cmphex(world->placed, ==, 0);
    g_assert_cmphex(memory(world, 0x80001001, 1), ==, 1);
    set_config_of(world, NEIGHBOUR, BAR(2), 4, 0);
    set_config_of(world, NEIGHBOUR, BAR(3), 4, 1);
    g_assert_cmphex(world->placed, ==, 0x100000000);
}

/* One BAR on top of another does not answer, and does as soon as there is room. */
static void test_overlap(struct world *world, gconstpointer data)
{
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR(2), 4, 0xF0000000);
    expect_warning();
    set_config(world, BAR(0), 4, 0xF0000F00);
    g_test_assert_expected_messages();
    g_assert_cmpuint(world->claims, ==, 1);
    g_assert_cmphex(memory(world, 0xF0000F08, 2), ==, 0xF08);

    set_config(world, BAR(2), 4, 0xF0100000);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xF0000F08, 2), ==, 8);
    g_assert_cmphex(memory(world, 0xF0100F08, 2), ==, 0xF08);
    set_config(world, BAR(0), 4, 0xF0101000); /* right behind it */
    g_assert_cmpuint(world->claims, ==, 2);

    /* Both at once: off and on. */
    set_config(world, COMMAND, 2, 0);
    set_config(world, BAR(0), 4, 0xF0100000);
    set_config(world, BAR(2), 4, 0xF0101000);
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xF0101F08, 2), ==, 0xF08);
    g_assert_cmphex(memory(world, 0xF0100008, 1), ==, 8);
}

/* Two functions trade places with decoding on: the first waits for the second. */
static void test_trading_places(struct world *world, gconstpointer data)
{
    static const unsigned slots[] = { SLOT, NEIGHBOUR };
    world_add(world, NEIGHBOUR, &small);
    for (unsigned i = 0; i < 2; i++) {
        set_config_of(world, slots[i], COMMAND, 2, DECODE);
        set_config_of(world, slots[i], BAR(2), 4, 0xF0000000 + i * 0x100000);
    }
    g_assert_cmpuint(world->claims, ==, 2);
    expect_warning();
    set_config_of(world, SLOT, BAR(2), 4, 0xF0100000);
    g_test_assert_expected_messages();
    g_assert_cmpuint(world->claims, ==, 1);
    set_config_of(world, NEIGHBOUR, BAR(2), 4, 0xF0000000);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xF0000001, 1), ==, 1);
    g_assert_cmphex(memory(world, 0xF0100001, 1), ==, 1);

    /* It also gets what the other one stops decoding. */
    set_config_of(world, NEIGHBOUR, BAR(0), 4, 0xE0000000);
    set_config_of(world, SLOT, BAR(0), 4, 0xE0000000);
    g_assert_cmpuint(world->claims, ==, 3);
    set_config_of(world, NEIGHBOUR, COMMAND, 2, 0);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xE0000001, 1), ==, 1);
}

/* However often the guest makes it fail, there is one line in the log. */
static void test_claim_fails(struct world *world, gconstpointer data)
{
    world->refuse = true;
    expect_warning();
    for (unsigned i = 0; i < 1000; i++) {
        set_config(world, BAR(0), 4, 0xF0000000 + 0x100 * i);
        set_config(world, COMMAND, 2, i & DECODE);
    }
    g_test_assert_expected_messages();
    g_assert_cmpuint(world->attempts, >, 500);
    g_assert_cmpuint(world->claims, ==, 0);

    /* Any write to the function tries it again. */
    set_config(world, COMMAND, 2, DECODE);
    world->refuse = false;
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, 0x3C, 1, 11);
    g_assert_cmpuint(world->claims, ==, 1);
}

/* --- placed memory --- */

static void test_placed(struct world *world, gconstpointer data)
{
    world->placed_size = 2 * GIB;
    set_config(world, BAR(3), 4, 0x40);
    g_assert_cmpuint(world->placements, ==, 0);
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmphex(world->placed, ==, 0x4000000000);
    set_config(world, BAR(2), 4, 0x80000000);
    g_assert_cmphex(world->placed, ==, 0x4080000000);
    g_assert_cmpuint(world->placements, ==, 2);
    g_assert_cmpuint(world->withdrawals, ==, 0); /* it has moved */

    /* What cannot be placed leaves the place that it had, and is tried again. */
    world->refuse = true;
    expect_warning();
    set_config(world, BAR(3), 4, 0x50);
    g_test_assert_expected_messages();
    g_assert_cmphex(world->placed, ==, 0);
    set_config(world, BAR(3), 4, 0x51);
    g_assert_cmpuint(world->withdrawals, ==, 1);
    world->refuse = false;
    set_config(world, BAR(3), 4, 0x51);
    g_assert_cmphex(world->placed, ==, 0x5180000000);

    /* Accesses to it are not ours, and no other BAR may be there. */
    g_assert_cmphex(memory(world, 0x5180000000, 4), ==, ONES);
    set_config(world, BAR(3), 4, 0);
    set_config(world, BAR(0), 4, 0xF0000000);
    g_assert_cmphex(world->placed, ==, 0x80000000);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, BAR(3), 4, 1);
    g_assert_cmpuint(world->claims, ==, 1);

    /* It stays with who has it when the function goes. */
    unsigned withdrawals = world->withdrawals;
    pci_function_free(world->pci.functions);
    g_assert_cmpuint(world->withdrawals, ==, withdrawals);
}

/* Linux sizes BARs with decoding off, half by half, and lets each be as it was in between. */
static void test_placed_lingers(struct world *world, gconstpointer data)
{
    world->placed_size = 2 * GIB;
    set_config(world, BAR(2), 4, 0x80000000);
    set_config(world, BAR(3), 4, 0x40);
    g_assert_cmphex(world->placed, ==, 0);
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, COMMAND, 2, 0);
    set_config(world, BAR(2), 4, ONES);
    set_config(world, BAR(2), 4, 0x8000000C);
    set_config(world, BAR(3), 4, ONES);
    set_config(world, BAR(3), 4, 0x40);
    g_assert_cmphex(world->placed, ==, 0x4080000000);
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmphex(world->placed, ==, 0x4080000000);
    g_assert_cmpuint(world->placements, ==, 1);
    g_assert_cmpuint(world->withdrawals, ==, 0);

    /* While it stays there, it is in the way of others. */
    set_config(world, COMMAND, 2, 0);
    world_add(world, NEIGHBOUR, &placing);
    g_test_expect_message("pci", G_LOG_LEVEL_WARNING, "*BAR 2 does not answer at 0x4080000000*");
    set_config_of(world, NEIGHBOUR, BAR(2), 4, 0x80000000);
    set_config_of(world, NEIGHBOUR, BAR(3), 4, 0x40);
    set_config_of(world, NEIGHBOUR, COMMAND, 2, DECODE);
    g_test_assert_expected_messages();
    g_assert_cmpuint(world->placements, ==, 1);

    /* Another address, and it leaves, though only decoding gives it the new place. */
    set_config(world, BAR(3), 4, 0x50);
    g_assert_cmpuint(world->withdrawals, ==, 1);
    g_assert_cmphex(world->placed, ==, 0x4080000000); /* the neighbour's */
    g_assert_cmpuint(world->placements, ==, 2);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    world_test("/pci-bars/sizing", NULL, test_sizing);
    world_test("/pci-bars/sizing-halves", &card, test_sizing_halves);
    world_test("/pci-bars/decoding", &card, test_decoding);
    world_test("/pci-bars/impossible-places", &card, test_impossible_places);
    world_test("/pci-bars/two-gib", NULL, test_two_gib);
    world_test("/pci-bars/moving", &small, test_moving);
    world_test("/pci-bars/moving-halves", &card, test_moving_halves);
    world_test("/pci-bars/overlap", &card, test_overlap);
    world_test("/pci-bars/trading-places", &small, test_trading_places);
    world_test("/pci-bars/claim-fails", &small, test_claim_fails);
    world_test("/pci-bars/placed", &placing, test_placed);
    world_test("/pci-bars/placed-lingers", &placing, test_placed_lingers);
    return g_test_run();
}
