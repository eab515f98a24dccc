/*
 * Capabilities and interrupts of a PCI function, as a driver finds and uses them: PCI 3.0 §6.7 and
 * §6.8, PM 1.2 §3.2.
 */

#include <string.h>

#include "tests/unit/pci-world.h"

#define MSG UINT64_C(0xFEE01000)
#define TABLE_BAR 0xF0000000
#define TABLE (TABLE_BAR + 0x1000)
#define PBA (TABLE_BAR + 0x800)
#define VECTORS 70
#define DATA 0x10030 /* and the next 69 have a vector that is not 0 */
#define INTX_DISABLE 0x0400
#define INTERRUPT_STATUS 0x0008

static const uint8_t vendor_bytes[] = { 0xAA, 0xBB, 0xCC, 0xDD };

static const struct pci_description card = {
    .vendor = 0x1AF4,
    .interrupt_pin = 1,
    .bars[0] = { .size = 8192, .ops = &window_ops },
    .bars[1] = { .size = 32, .ops = &window_ops, .type = PCI_BAR_IO },
    .power_management = true,
    .msi = { .vectors = 8, .masking = true },
    .msix = { .vectors = VECTORS, .bar = 0, .table = 0x1000, .pba = 0x800 },
    .vendor_bytes = { { 4, vendor_bytes }, { 1, vendor_bytes } },
};

static const struct pci_description msi32 = { .vendor = 0x1AF4,
                                              .msi = { .vectors = 32, .address32 = true } };

static const struct pci_description msi32_masking = {
    .vendor = 0x1AF4, .msi = { .vectors = 32, .address32 = true, .masking = true }
};

static const struct pci_description bare = { .vendor = 0x1AF4 };

/* --- the list --- */

/* As Linux's pci_find_capability(): follow the links, at most 48 of them. */
static unsigned find(struct world *world, uint8_t id)
{
    if (!(config(world, STATUS, 2) & 0x10))
        return 0;
    unsigned at = config(world, 0x34, 1) & ~3u;
    for (unsigned i = 0; i < 48 && at >= 0x40; i++) {
        unsigned entry = config(world, at, 2);
        if ((entry & 0xFF) == id)
            return at;
        at = entry >> 8 & ~3u;
    }
    return 0;
}

static void test_list(struct world *world, gconstpointer data)
{
    static const uint8_t ids[] = { PCI_CAPABILITY_PM, PCI_CAPABILITY_MSI, PCI_CAPABILITY_MSIX,
                                   PCI_CAPABILITY_VENDOR };
    static const unsigned sizes[] = { 8, 0x18, 12, 7 };
    struct pci_function *function = world->pci.functions;
    unsigned end = 0x40;
    for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
        unsigned at = find(world, ids[i]);
        g_assert_cmpuint(at, >=, end);
        g_assert_cmpuint(at % 4, ==, 0);
        g_assert_cmpuint(at, ==, pci_function_capability(function, ids[i], 0));
        end = at + sizes[i];
    }
    g_assert_cmpuint(find(world, 0x10), ==, 0);
    g_assert_cmpuint(pci_function_capability(function, 0x10, 0), ==, 0);

    unsigned at = find(world, PCI_CAPABILITY_VENDOR);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0xAA07);
    g_assert_cmphex(config(world, at + 4, 4), ==, 0x00DDCCBB);
    set_config(world, at + 4, 4, 0);
    g_assert_cmphex(config(world, at + 4, 4), ==, 0x00DDCCBB);
    unsigned second = pci_function_capability(function, PCI_CAPABILITY_VENDOR, 1);
    g_assert_cmpuint(config(world, at + 1, 1), ==, second);
    g_assert_cmpuint(second, ==, end + 1); /* on the next dword, §6.7 */
    g_assert_cmphex(config(world, second, 4), ==, 0xAA040009);
    g_assert_cmpuint(pci_function_capability(function, PCI_CAPABILITY_VENDOR, 2), ==, 0);
    set_config(world, STATUS, 2, 0xFFFF); /* read-only, §6.2.3 */
    g_assert_cmphex(config(world, STATUS, 2), ==, 0x10);
}

static void test_no_list(struct world *world, gconstpointer data)
{
    g_assert_cmphex(config(world, STATUS, 2), ==, 0);
    g_assert_cmphex(config(world, 0x34, 4), ==, 0);
    g_assert_cmpuint(find(world, PCI_CAPABILITY_PM), ==, 0);
}

/* --- power --- */

static void test_power(struct world *world, gconstpointer data)
{
    unsigned at = find(world, PCI_CAPABILITY_PM);
    g_assert_cmphex(config(world, at + 2, 2), ==, 3); /* version 1.2; no D1, D2, PME# */
    g_assert_cmphex(config(world, at + 4, 2), ==, 8); /* D0, No_Soft_Reset */
    set_config(world, BAR(0), 4, TABLE_BAR);
    set_config(world, BAR(1), 4, 0xC000);
    set_config(world, COMMAND, 2, IO_DECODE | DECODE | MASTER);
    g_assert_cmpuint(world->claims, ==, 2);

    for (unsigned state = 1; state <= 2; state++) { /* complete normally, change nothing */
        set_config(world, at + 4, 2, state);
        g_assert_cmphex(config(world, at + 4, 2), ==, 8);
    }
    set_config(world, at + 4, 4, ONES); /* D3hot; PME_En and PME_Status are not there */
    g_assert_cmphex(config(world, at + 4, 4), ==, 0xB);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, at + 4, 1, 1);
    g_assert_cmphex(config(world, at + 4, 2), ==, 0xB);

    /* Configuration space answers, and what is set there holds afterwards. */
    set_config(world, BAR(0), 4, TABLE_BAR + 0x10000);
    g_assert_cmphex(config(world, COMMAND, 2), ==, 7);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, at + 4, 1, 0);
    g_assert_cmphex(config(world, at + 4, 2), ==, 8);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, TABLE_BAR + 0x10020, 4), ==, 0x20);
}

/* --- INTx --- */

static void test_intx(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned pm = find(world, PCI_CAPABILITY_PM), msi = find(world, PCI_CAPABILITY_MSI);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0x10);
    pci_function_set_intx(function, true);
    pci_function_set_intx(function, true);
    g_assert_true(world->line[SLOT]);
    g_assert_cmpuint(world->changes, ==, 1);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0x10 | INTERRUPT_STATUS);

    /* Disabling takes the line away and leaves the status, §6.2.3. */
    set_config(world, COMMAND, 2, INTX_DISABLE);
    g_assert_false(world->line[SLOT]);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0x10 | INTERRUPT_STATUS);
    pci_function_set_intx(function, false);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0x10);
    pci_function_set_intx(function, true);
    g_assert_cmpuint(world->changes, ==, 2);
    set_config(world, COMMAND, 2, 0);
    g_assert_true(world->line[SLOT]);

    set_config(world, pm + 4, 1, 3);
    g_assert_false(world->line[SLOT]);
    set_config(world, pm + 4, 1, 0);
    g_assert_true(world->line[SLOT]);
    set_config(world, msi + 2, 2, 1);
    g_assert_false(world->line[SLOT]);
    set_config(world, msi + 2, 2, 0);
    g_assert_true(world->line[SLOT]);
    set_config(world, find(world, PCI_CAPABILITY_MSIX) + 3, 1, 0x80);
    g_assert_false(world->line[SLOT]);
    set_config(world, find(world, PCI_CAPABILITY_MSIX) + 3, 1, 0);
    g_assert_true(world->line[SLOT]); /* and tear_down() sees it lowered */
}

static void test_no_pin(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    pci_function_set_intx(function, true);
    g_assert_cmphex(config(world, STATUS, 2), ==, 0);
    g_assert_cmpuint(world->changes, ==, 0);
    g_assert_false(pci_function_raise(function, 0));
}

static void test_nothing_enabled(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    set_config(world, COMMAND, 2, MASTER);
    for (unsigned vector = 0; vector < VECTORS; vector++)
        g_assert_false(pci_function_raise(function, vector));
    g_assert_cmpuint(world->sent, ==, 0);
    g_assert_cmpuint(world->changes, ==, 0);
    /* Nor later: what was not enabled did not happen. */
    set_config(world, find(world, PCI_CAPABILITY_MSI) + 4, 4, MSG);
    set_config(world, find(world, PCI_CAPABILITY_MSI) + 2, 2, 1);
    g_assert_cmpuint(world->sent, ==, 0);
}

/* --- MSI --- */

static void expect_message(struct world *world, uint64_t address, uint32_t data)
{
    g_assert_cmpuint(world->sent, ==, 1);
    g_assert_cmphex(world->messages[0].address, ==, address);
    g_assert_cmphex(world->messages[0].data, ==, data);
    world->sent = 0;
}

static void test_msi(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = find(world, PCI_CAPABILITY_MSI);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0x0186); /* masking, 64-bit, 8 vectors */
    set_config(world, at + 2, 2, 0xFFFF);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0x01F7);
    set_config(world, at + 4, 4, ONES);
    set_config(world, at + 8, 4, ONES);
    set_config(world, at + 0xC, 4, ONES);
    set_config(world, at + 0x10, 4, ONES);
    set_config(world, at + 0x14, 4, ONES);
    g_assert_cmphex(config(world, at + 4, 4), ==, 0xFFFFFFFC);
    g_assert_cmphex(config(world, at + 8, 4), ==, ONES);
    g_assert_cmphex(config(world, at + 0xC, 4), ==, 0xFFFF);
    g_assert_cmphex(config(world, at + 0x10, 4), ==, 0xFF);
    g_assert_cmphex(config(world, at + 0x14, 4), ==, 0);

    set_config(world, COMMAND, 2, MASTER);
    set_config(world, at + 4, 4, MSG);
    set_config(world, at + 8, 4, 1);
    set_config(world, at + 0xC, 2, 0x4041);
    set_config(world, at + 0x10, 4, 0);
    set_config(world, at + 2, 2, 0x0031); /* 8 vectors: the three lowest bits are ours */
    g_assert_true(pci_function_raise(function, 6));
    expect_message(world, 1ull << 32 | MSG, 0x4046);
    g_assert_false(pci_function_raise(function, 8));
    set_config(world, at + 2, 2, 0x0071); /* a reserved encoding */
    g_assert_true(pci_function_raise(function, 7));
    expect_message(world, 1ull << 32 | MSG, 0x4047);
    set_config(world, at + 2, 2, 0x0011); /* 2 of the 8 */
    g_assert_true(pci_function_raise(function, 7));
    expect_message(world, 1ull << 32 | MSG, 0x4041);
    set_config(world, at + 2, 2, 0x0001);
    g_assert_true(pci_function_raise(function, 7));
    expect_message(world, 1ull << 32 | MSG, 0x4041);
}

static void test_msi_masks(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = find(world, PCI_CAPABILITY_MSI);
    set_config(world, COMMAND, 2, MASTER);
    set_config(world, at + 4, 4, MSG);
    set_config(world, at + 0xC, 2, 0x40);
    set_config(world, at + 0x10, 4, 0x04);
    set_config(world, at + 2, 2, 0x0031);
    for (unsigned i = 0; i < 3; i++)
        g_assert_true(pci_function_raise(function, 2));
    g_assert_cmphex(config(world, at + 0x14, 4), ==, 0x04);
    g_assert_true(pci_function_raise(function, 3));
    expect_message(world, MSG, 0x43);
    set_config(world, at + 0x10, 1, 0); /* one message, however often it was raised */
    expect_message(world, MSG, 0x42);
    g_assert_cmphex(config(world, at + 0x14, 4), ==, 0);

    /* Of 2 vectors each stands for four of the 8, with its mask and pending bits, too. */
    set_config(world, at + 2, 2, 0x0011);
    set_config(world, at + 0x10, 4, 0x02);
    g_assert_true(pci_function_raise(function, 7));
    g_assert_cmphex(config(world, at + 0x14, 4), ==, 0x02);
    set_config(world, at + 0x10, 4, 0);
    expect_message(world, MSG, 0x41);
    set_config(world, at + 2, 2, 0x0031);

    /* What may not master the bus may not send, either. */
    set_config(world, COMMAND, 2, 0);
    g_assert_true(pci_function_raise(function, 1));
    g_assert_cmpuint(world->sent, ==, 0);
    set_config(world, find(world, PCI_CAPABILITY_PM) + 4, 1, 3);
    set_config(world, COMMAND, 2, MASTER);
    g_assert_cmpuint(world->sent, ==, 0);
    set_config(world, find(world, PCI_CAPABILITY_PM) + 4, 1, 0);
    expect_message(world, MSG, 0x41);

    /* Disabled: it does not come later. */
    set_config(world, at + 0x10, 4, 0xFF);
    g_assert_true(pci_function_raise(function, 0));
    set_config(world, at + 2, 2, 0);
    g_assert_cmphex(config(world, at + 0x14, 4), ==, 0);
    set_config(world, at + 0x10, 4, 0);
    set_config(world, at + 2, 2, 1);
    g_assert_cmpuint(world->sent, ==, 0);
}

static void test_msi_32(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = find(world, PCI_CAPABILITY_MSI);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0x000A); /* 32 vectors */
    set_config(world, COMMAND, 2, MASTER);
    set_config(world, at + 4, 4, MSG | 3);
    set_config(world, at + 8, 4, 0xFFFFABFF); /* the data, and what is no register */
    g_assert_cmphex(config(world, at + 8, 4), ==, 0x0000ABFF);
    g_assert_cmphex(config(world, at + 0xC, 4), ==, 0);
    set_config(world, at + 2, 2, 0x0051);
    g_assert_true(pci_function_raise(function, 31));
    expect_message(world, MSG, 0xABFF);
    g_assert_true(pci_function_raise(function, 0));
    expect_message(world, MSG, 0xABE0);
    g_assert_false(pci_function_raise(function, 32));

    /* A message to memory is none. */
    static const uint32_t elsewhere[] = { 0, 0x1000, 0xFED00000, 0xFEF00000, 0xFFFFFFFC };
    for (unsigned i = 0; i < G_N_ELEMENTS(elsewhere); i++) {
        set_config(world, at + 4, 4, elsewhere[i]);
        g_assert_true(pci_function_raise(function, 0));
        g_assert_cmpuint(world->sent, ==, 0);
    }
    set_config(world, at + 4, 4, 0xFEEFFFFC);
    g_assert_cmpuint(world->sent, ==, 0);
    g_assert_true(pci_function_raise(function, 0));
    expect_message(world, 0xFEEFFFFC, 0xABE0);
}

/* With a 32-bit address the mask and pending bits are 4 bytes lower, §6.8.1. */
static void test_msi_32_masks(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = find(world, PCI_CAPABILITY_MSI);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0x010A);
    set_config(world, COMMAND, 2, MASTER);
    set_config(world, at + 4, 4, MSG);
    set_config(world, at + 8, 4, 0x40);
    set_config(world, at + 0xC, 4, ONES);
    g_assert_cmphex(config(world, at + 0xC, 4), ==, ONES);
    set_config(world, at + 2, 2, 0x0051);
    g_assert_true(pci_function_raise(function, 31));
    g_assert_cmpuint(world->sent, ==, 0);
    g_assert_cmphex(config(world, at + 0x10, 4), ==, 0x80000000);
    set_config(world, at + 0x10, 4, ONES);
    g_assert_cmphex(config(world, at + 0x10, 4), ==, 0x80000000);
    set_config(world, at + 0xC, 4, 0x7FFFFFFF);
    expect_message(world, MSG, 0x5F);
    g_assert_cmphex(config(world, at + 0x10, 4), ==, 0);
}

/* --- MSI-X --- */

static unsigned set_up_msix(struct world *world)
{
    unsigned at = find(world, PCI_CAPABILITY_MSIX);
    set_config(world, BAR(0), 4, TABLE_BAR);
    set_config(world, COMMAND, 2, DECODE | MASTER);
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        set_memory(world, TABLE + 16 * vector, 8, MSG + (UINT64_C(1) << 40));
        set_memory(world, TABLE + 16 * vector + 8, 4, DATA + vector);
    }
    set_config(world, at + 2, 2, 0x8000);
    return at;
}

static void test_msix_registers(struct world *world, gconstpointer data)
{
    unsigned at = find(world, PCI_CAPABILITY_MSIX);
    g_assert_cmphex(config(world, at + 2, 2), ==, VECTORS - 1);
    g_assert_cmphex(config(world, at + 4, 4), ==, 0x1000);
    g_assert_cmphex(config(world, at + 8, 4), ==, 0x800);
    set_config(world, at, 4, ONES);
    set_config(world, at + 4, 4, ONES);
    set_config(world, at + 8, 4, ONES);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0xC000 | (VECTORS - 1));
    g_assert_cmphex(config(world, at, 1), ==, PCI_CAPABILITY_MSIX);
    g_assert_cmphex(config(world, at + 4, 4), ==, 0x1000);
    g_assert_cmphex(config(world, at + 8, 4), ==, 0x800);

    set_config(world, BAR(0), 4, TABLE_BAR);
    set_config(world, COMMAND, 2, DECODE);
    for (unsigned vector = 0; vector < VECTORS; vector++) { /* masked after reset */
        uint64_t entry = TABLE + 16 * vector;
        g_assert_cmphex(memory(world, entry, 8), ==, 0);
        g_assert_cmphex(memory(world, entry + 8, 8), ==, UINT64_C(1) << 32);
        set_memory(world, entry, 8, UINT64_MAX);
        set_memory(world, entry + 8, 8, UINT64_MAX);
        g_assert_cmphex(memory(world, entry, 8), ==, UINT64_MAX - 3);
        g_assert_cmphex(memory(world, entry + 8, 8), ==, 0x1FFFFFFFF);
        set_memory(world, entry + 12, 4, 0);
        g_assert_cmphex(memory(world, entry + 8, 8), ==, 0xFFFFFFFF);
    }
    /* The pending bits are read-only; the rest of the BAR is the device's. */
    set_memory(world, PBA, 8, UINT64_MAX);
    set_memory(world, PBA + 8, 8, UINT64_MAX);
    g_assert_cmphex(memory(world, PBA, 8), ==, 0);
    g_assert_cmphex(memory(world, PBA + 8, 8), ==, 0);
    g_assert_cmphex(memory(world, PBA + 12, 4), ==, 0); /* it has whole qwords, §6.8.2 */
    g_assert_cmphex(memory(world, PBA + 16, 8), ==, 0x810);
    g_assert_cmphex(memory(world, PBA - 8, 8), ==, 0x7F8);
    g_assert_cmphex(memory(world, TABLE - 4, 4), ==, 0xFFC);
    g_assert_cmphex(memory(world, TABLE - 4, 8), ==, UINT64_C(0xFFFFFFFC) << 32);
    g_assert_cmphex(memory(world, TABLE + 16 * VECTORS, 4), ==, 0x1000 + 16 * VECTORS);
}

static void test_msix(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    set_up_msix(world);
    set_config(world, find(world, PCI_CAPABILITY_MSI) + 2, 2, 1); /* MSI-X goes first */
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        uint64_t pba = PBA + vector / 8;
        uint8_t bit = 1u << vector % 8;
        g_assert_true(pci_function_raise(function, vector));
        g_assert_true(pci_function_raise(function, vector));
        g_assert_cmpuint(world->sent, ==, 0);
        g_assert_cmphex(memory(world, pba, 1), ==, bit);
        set_memory(world, TABLE + 16 * vector + 12, 4, 0);
        expect_message(world, MSG + (UINT64_C(1) << 40), DATA + vector);
        g_assert_cmphex(memory(world, pba, 1), ==, 0);
        g_assert_true(pci_function_raise(function, vector));
        expect_message(world, MSG + (UINT64_C(1) << 40), DATA + vector);
        set_memory(world, TABLE + 16 * vector + 12, 1, 1);
    }
    g_assert_false(pci_function_raise(function, VECTORS));
    g_assert_false(pci_function_raise(function, UINT_MAX));
}

/* Address and data may change while the vector is masked; what is sent is what is there then. */
static void test_msix_function_mask(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = set_up_msix(world);
    set_config(world, at + 2, 2, 0xC000);
    for (unsigned vector = 0; vector < 3; vector++) {
        set_memory(world, TABLE + 16 * vector + 12, 4, vector == 1);
        g_assert_true(pci_function_raise(function, vector));
    }
    g_assert_cmpuint(world->sent, ==, 0);
    g_assert_cmphex(memory(world, PBA, 8), ==, 7);
    set_memory(world, TABLE, 4, MSG + 0x1000);
    set_config(world, at + 2, 2, 0x8000);
    g_assert_cmpuint(world->sent, ==, 2);
    g_assert_cmphex(world->messages[0].address, ==, MSG + 0x1000 + (UINT64_C(1) << 40));
    g_assert_cmphex(world->messages[1].data, ==, DATA + 2);
    g_assert_cmphex(memory(world, PBA, 8), ==, 2);
    world->sent = 0;

    /* In D3hot, or without the bus, they pend. */
    set_config(world, COMMAND, 2, DECODE);
    g_assert_true(pci_function_raise(function, 0));
    set_memory(world, TABLE + 16 + 12, 4, 0);
    g_assert_cmpuint(world->sent, ==, 0);
    set_config(world, find(world, PCI_CAPABILITY_PM) + 4, 1, 3);
    set_config(world, COMMAND, 2, DECODE | MASTER);
    g_assert_cmpuint(world->sent, ==, 0);
    set_config(world, find(world, PCI_CAPABILITY_PM) + 4, 1, 0);
    g_assert_cmpuint(world->sent, ==, 2);
    g_assert_cmphex(memory(world, PBA, 8), ==, 0);

    /* Disabled: gone. */
    set_config(world, at + 2, 2, 0xC000);
    g_assert_true(pci_function_raise(function, 0));
    set_config(world, at + 2, 2, 0x4000);
    g_assert_cmphex(memory(world, PBA, 8), ==, 0);
    set_config(world, at + 2, 2, 0x8000);
    g_assert_cmpuint(world->sent, ==, 2);
}

/* All 2048, in a BAR that has nothing else. */
static void test_msix_many(struct world *world, gconstpointer data)
{
    static const struct pci_description many = {
        .vendor = 1,
        .bars[2] = { .size = 64 << 10, .type = PCI_BAR_MEMORY64 },
        .msix = { .vectors = 2048, .bar = 2, .table = 0, .pba = 0x8000 },
    };
    struct pci_function *function = world_add(world, SLOT, &many);
    unsigned at = find(world, PCI_CAPABILITY_MSIX);
    g_assert_cmphex(config(world, at + 2, 2), ==, 0x7FF);
    g_assert_cmphex(config(world, at + 8, 4), ==, 0x8002);
    set_config(world, BAR(3), 4, 1);
    set_config(world, COMMAND, 2, DECODE | MASTER);
    set_config(world, at + 2, 2, 0xC000);
    for (unsigned vector = 0; vector < 2048; vector++) {
        set_memory(world, (UINT64_C(1) << 32) + 16 * vector, 8, MSG);
        set_memory(world, (UINT64_C(1) << 32) + 16 * vector + 8, 8, vector);
        g_assert_true(pci_function_raise(function, vector));
    }
    for (unsigned i = 0; i < 32; i++)
        g_assert_cmphex(memory(world, (UINT64_C(1) << 32) + 0x8000 + 8 * i, 8), ==, UINT64_MAX);
    g_assert_cmphex(memory(world, (UINT64_C(1) << 32) + 0x8100, 8), ==, 0);
    set_memory(world, (UINT64_C(1) << 32) + 0x8100, 8, 1);
    set_config(world, at + 2, 2, 0x8000);
    g_assert_cmpuint(world->sent, ==, 2048);
    for (unsigned vector = 0; vector < 2048; vector++)
        g_assert_cmphex(world->messages[vector].data, ==, vector);
}

/* --- event channels --- */

/*
 * Linux on Xen gives messages the number of an event channel (xen_msi_compose_msg()), which Xen's
 * hvm_inject_msi() takes for one, and masks that; the mask bits it leaves set.
 */
static const struct {
    uint64_t address;
    uint32_t data;
    bool sent; /* though masked */
} masked_messages[] = {
    { UINT64_C(0x100FEE55008), 0x4300, true }, /* 0x155 */
    { UINT64_C(0x100FEE00008), 0x4300, true },
    { 0xFEE01008, 0x4300, true },
    { 0xFEEFF008, 0x4300, true },
    { 0xFEE01008, 0x4301, false },             /* a vector */
    { UINT64_C(0xFFFEE00008), 0x4300, false }, /* channel 0 is none */
    { 0xFED01008, 0x4300, false },             /* memory */
};

static void test_channels_msi(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = find(world, PCI_CAPABILITY_MSI);
    set_config(world, COMMAND, 2, MASTER);
    set_config(world, at + 0x10, 4, ONES);
    for (unsigned i = 0; i < G_N_ELEMENTS(masked_messages); i++) {
        set_config(world, at + 4, 4, masked_messages[i].address);
        set_config(world, at + 8, 4, masked_messages[i].address >> 32);
        set_config(world, at + 0xC, 2, masked_messages[i].data);
        set_config(world, at + 2, 2, 1);
        g_assert_true(pci_function_raise(function, 0));
        g_assert_cmphex(config(world, at + 0x14, 4), ==, !masked_messages[i].sent);
        if (masked_messages[i].sent)
            expect_message(world, masked_messages[i].address, masked_messages[i].data);
        g_assert_cmpuint(world->sent, ==, 0);
        set_config(world, at + 2, 2, 0);
    }
}

static void test_channels_msix(struct world *world, gconstpointer data)
{
    struct pci_function *function = world->pci.functions;
    unsigned at = set_up_msix(world);
    for (unsigned i = 0; i < G_N_ELEMENTS(masked_messages); i++) {
        set_memory(world, TABLE, 8, masked_messages[i].address);
        set_memory(world, TABLE + 8, 4, masked_messages[i].data);
        set_config(world, at + 2, 2, 0x8000);
        g_assert_true(pci_function_raise(function, 0));
        g_assert_cmphex(memory(world, PBA, 8), ==, !masked_messages[i].sent);
        if (masked_messages[i].sent)
            expect_message(world, masked_messages[i].address, masked_messages[i].data);
        g_assert_cmpuint(world->sent, ==, 0);
        set_config(world, at + 2, 2, 0);
    }

    /* What masks all of the function does so. */
    set_memory(world, TABLE, 8, masked_messages[0].address);
    set_memory(world, TABLE + 8, 4, masked_messages[0].data);
    set_config(world, at + 2, 2, 0xC000);
    g_assert_true(pci_function_raise(function, 0));
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, at + 2, 2, 0x8000);
    g_assert_cmpuint(world->sent, ==, 0);
    set_config(world, COMMAND, 2, DECODE | MASTER);
    expect_message(world, masked_messages[0].address, masked_messages[0].data);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    world_test("/pci-interrupts/list", &card, test_list);
    world_test("/pci-interrupts/no-list", &bare, test_no_list);
    world_test("/pci-interrupts/power", &card, test_power);
    world_test("/pci-interrupts/intx", &card, test_intx);
    world_test("/pci-interrupts/no-pin", &bare, test_no_pin);
    world_test("/pci-interrupts/nothing-enabled", &card, test_nothing_enabled);
    world_test("/pci-interrupts/msi", &card, test_msi);
    world_test("/pci-interrupts/msi-masks", &card, test_msi_masks);
    world_test("/pci-interrupts/msi-32", &msi32, test_msi_32);
    world_test("/pci-interrupts/msi-32-masks", &msi32_masking, test_msi_32_masks);
    world_test("/pci-interrupts/msix-registers", &card, test_msix_registers);
    world_test("/pci-interrupts/msix", &card, test_msix);
    world_test("/pci-interrupts/msix-function-mask", &card, test_msix_function_mask);
    world_test("/pci-interrupts/msix-many", NULL, test_msix_many);
    world_test("/pci-interrupts/channels-msi", &card, test_channels_msi);
    world_test("/pci-interrupts/channels-msix", &card, test_channels_msix);
    return g_test_run();
}
