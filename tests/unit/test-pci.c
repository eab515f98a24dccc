/* A PCI function on a bus of its own, as firmware, operating systems and hostile guests use it. */

#include <string.h>

#include "hw/pci.h"
#include "hw/shmem_registers.h"

#define COMMAND 0x04
#define BAR0 0x10
#define BAR2 0x18
#define DECODE 0x0002
#define ONES 0xFFFFFFFF

struct world {
    struct ioreq_bus *bus;
    struct pci_function *function;
    struct shmem_registers registers;
    unsigned claims; /* in force */
    unsigned attempts;
    bool refuse;
};

static bool claim(void *opaque, uint64_t first, uint64_t size, const struct ioreq_ops *ops,
                  void *device, GError **error)
{
    struct world *world = opaque;
    g_assert_cmphex(first, !=, 0);
    g_assert_cmphex(first + size, <=, ONES);
    g_assert_true(device == &world->registers);
    world->attempts++;
    if (world->refuse) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "no");
        return false;
    }
    if (!ioreq_bus_add(world->bus, IOREQ_MEMORY, first, size, ops, device, error))
        return false;
    world->claims++;
    return true;
}

static void release(void *opaque, uint64_t first, uint64_t size)
{
    struct world *world = opaque;
    ioreq_bus_remove(world->bus, IOREQ_MEMORY, first);
    world->claims--;
}

static const struct pci_decoder decoder = { claim, release };

/* BAR2's ops: its own address in the window, and no writes. */
static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset;
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
}

static const struct ioreq_ops window_ops = { window_read, window_write };

static const struct pci_description description = {
    .vendor = 0x1AF4,
    .device = 0x1110,
    .subsystem_vendor = 0x1AF4,
    .subsystem = 0x1100,
    .class_code = 0x050000,
    .revision = 1,
    .interrupt_pin = 1,
    .bars = { [0] = { 256, &shmem_registers_ops }, [2] = { 1 << 20, &window_ops } },
};

static void set_up(struct world *world, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    world->bus = ioreq_bus_new();
    world->function = pci_function_new(&description, &world->registers, &decoder, world);
    ioreq_bus_add(world->bus, IOREQ_PCI, 0, PCI_CONFIG_SIZE, &pci_config_ops, world->function,
                  &error);
    g_assert_no_error(error);
}

static void tear_down(struct world *world, gconstpointer data)
{
    pci_function_free(world->function);
    ioreq_bus_free(world->bus);
}

static uint32_t config(struct world *world, unsigned offset, unsigned size)
{
    return ioreq_bus_read(world->bus, IOREQ_PCI, offset, size);
}

static void set_config(struct world *world, unsigned offset, unsigned size, uint32_t value)
{
    ioreq_bus_write(world->bus, IOREQ_PCI, offset, size, value);
}

static uint64_t memory(struct world *world, uint64_t address, unsigned size)
{
    return ioreq_bus_read(world->bus, IOREQ_MEMORY, address, size);
}

static void set_memory(struct world *world, uint64_t address, unsigned size, uint64_t value)
{
    ioreq_bus_write(world->bus, IOREQ_MEMORY, address, size, value);
}

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

static void test_sizing(struct world *world, gconstpointer data)
{
    static const uint32_t masks[PCI_BARS + 1] = { 0xFFFFFF00, 0, 0xFFF00000 };
    set_config(world, COMMAND, 2, DECODE);
    for (unsigned bar = 0; bar < G_N_ELEMENTS(masks); bar++) {
        set_config(world, BAR0 + 4 * bar, 4, ONES);
        g_assert_cmphex(config(world, BAR0 + 4 * bar, 4), ==, masks[bar]);
    }
    /* The expansion ROM's register is not there either. */
    set_config(world, 0x30, 4, 0xFFFFF800);
    g_assert_cmphex(config(world, 0x30, 4), ==, 0);
    g_assert_cmpuint(world->attempts, ==, 0);
}

static void test_decoding(struct world *world, gconstpointer data)
{
    set_config(world, BAR0, 4, 0xF0000000);
    g_assert_cmpuint(world->claims, ==, 0);
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmpuint(world->claims, ==, 1);
    set_memory(world, 0xF0000000, 4, 0x12345678);
    g_assert_cmphex(memory(world, 0xF0000000, 4), ==, 0x12345678);
    g_assert_cmphex(memory(world, 0xF0000100, 4), ==, ONES);
    g_assert_cmphex(memory(world, 0xF00000FD, 4), ==, ONES);

    /* Sized while it decodes, as careless firmware does: gone, and back. */
    set_config(world, BAR0, 4, ONES);
    g_assert_cmpuint(world->claims, ==, 0);
    g_assert_cmphex(memory(world, 0xFFFFFF00, 4), ==, ONES);
    set_config(world, BAR0, 4, 0xF0000000);
    g_assert_cmphex(memory(world, 0xF0000000, 4), ==, 0x12345678);

    set_config(world, COMMAND + 1, 1, 0x04); /* the other byte of the register */
    g_assert_cmpuint(world->claims, ==, 1);
    set_config(world, COMMAND, 1, 0);
    g_assert_cmpuint(world->claims, ==, 0);
    g_assert_cmphex(memory(world, 0xF0000000, 4), ==, ONES);
}

static void test_moving(struct world *world, gconstpointer data)
{
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR0, 4, 0xF0000000);
    set_memory(world, 0xF0000000, 4, 0xCAFEF00D);
    set_config(world, BAR0, 4, 0xF1000000);
    g_assert_cmphex(memory(world, 0xF0000000, 4), ==, ONES);
    g_assert_cmphex(memory(world, 0xF1000000, 4), ==, 0xCAFEF00D);

    /* Byte by byte: each one moves it. */
    set_config(world, BAR0 + 3, 1, 0xE0);
    g_assert_cmphex(memory(world, 0xE0000000, 4), ==, 0xCAFEF00D);
    set_config(world, BAR0 + 1, 2, 0x02AB);
    g_assert_cmphex(memory(world, 0xE002AB00, 4), ==, 0xCAFEF00D);

    /* The low bits are not part of the address. */
    set_config(world, BAR0, 4, 0xE00000FF);
    g_assert_cmphex(config(world, BAR0, 4), ==, 0xE0000000);
    g_assert_cmphex(memory(world, 0xE0000000, 4), ==, 0xCAFEF00D);

    /* The same value again changes nothing. */
    unsigned attempts = world->attempts;
    set_config(world, BAR0, 4, 0xE0000000);
    g_assert_cmpuint(world->attempts, ==, attempts);
    g_assert_cmpuint(world->claims, ==, 1);
}

/* Address 0 and the top are never claimed; the place below the top is. */
static void test_impossible_places(struct world *world, gconstpointer data)
{
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR0, 4, 0);
    set_config(world, BAR0, 4, 0xFFFFFF00);
    set_config(world, BAR2, 4, 0xFFF00000);
    g_assert_cmpuint(world->attempts, ==, 0);
    set_config(world, BAR0, 4, 0xFFFFFE00);
    set_config(world, BAR2, 4, 0xFFE00000);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xFFFFFE08, 4), ==, 0);
}

static void expect_warning(void)
{
    g_test_expect_message("pci", G_LOG_LEVEL_WARNING, "*1af4:1110: BAR*does not answer*");
}

/* One BAR on top of another does not answer, and does as soon as there is room. */
static void test_overlap(struct world *world, gconstpointer data)
{
    set_config(world, COMMAND, 2, DECODE);
    set_config(world, BAR2, 4, 0xF0000000);
    expect_warning();
    set_config(world, BAR0, 4, 0xF0000000);
    g_test_assert_expected_messages();
    g_assert_cmpuint(world->claims, ==, 1);
    g_assert_cmphex(memory(world, 0xF0000008, 1), ==, 8);

    set_config(world, BAR2, 4, 0xF0100000);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xF0000008, 1), ==, 0);
    g_assert_cmphex(memory(world, 0xF0100008, 1), ==, 8);

    /* Both in one write: BAR1 lies between them, so byte lanes never join; off and on do. */
    set_config(world, COMMAND, 2, 0);
    set_config(world, BAR0, 4, 0xF0100000);
    set_config(world, BAR2, 4, 0xF0000000);
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmpuint(world->claims, ==, 2);
    g_assert_cmphex(memory(world, 0xF0000008, 1), ==, 8);
    g_assert_cmphex(memory(world, 0xF0100008, 1), ==, 0);
}

/* However often the guest makes it fail, there is one line in the log. */
static void test_claim_fails(struct world *world, gconstpointer data)
{
    world->refuse = true;
    expect_warning();
    for (unsigned i = 0; i < 1000; i++) {
        set_config(world, BAR0, 4, 0xF0000000 + 0x100 * i);
        set_config(world, COMMAND, 2, i & DECODE);
    }
    g_test_assert_expected_messages();
    g_assert_cmpuint(world->attempts, >, 500);
    g_assert_cmpuint(world->claims, ==, 0);

    world->refuse = false;
    set_config(world, COMMAND, 2, DECODE);
    g_assert_cmpuint(world->claims, ==, 1);
}

static void test_random(struct world *world, gconstpointer data)
{
    static const uint8_t favourites[] = { COMMAND, BAR0, BAR0 + 1, BAR0 + 3, BAR2, BAR2 + 2 };
    world->refuse = true; /* the warning, once and for all */
    expect_warning();
    set_config(world, BAR0, 4, 0xF0000000);
    set_config(world, COMMAND, 2, DECODE);
    g_test_assert_expected_messages();
    world->refuse = false;

    for (unsigned i = 0; i < 200000; i++) {
        unsigned size = 1u << g_test_rand_int_range(0, 4);
        unsigned offset = g_test_rand_int_range(0, PCI_CONFIG_SIZE + 8);
        if (g_test_rand_bit())
            offset = favourites[g_test_rand_int_range(0, G_N_ELEMENTS(favourites))];
        uint64_t value = (uint64_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
        ioreq_bus_write(world->bus, IOREQ_PCI, offset, size,
                        g_test_rand_bit() ? value : UINT64_MAX);
        ioreq_bus_read(world->bus, IOREQ_PCI, offset, size);
        g_assert_cmphex(config(world, 0, 4), ==, 0x11101AF4);
        g_assert_cmpuint(world->claims, <=, config(world, COMMAND, 2) & DECODE ? 2 : 0);
    }
}

/* Registers of ivshmem, in and across parts. */
static void test_shmem_registers(struct world *world, gconstpointer data)
{
    const uint64_t base = 0xF0000000;
    set_config(world, BAR0, 4, base);
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
    static const struct {
        const char *path;
        void (*test)(struct world *world, gconstpointer data);
    } tests[] = {
        { "/pci/header", test_header },
        { "/pci/write-masks", test_write_masks },
        { "/pci/config-edges", test_config_edges },
        { "/pci/sizing", test_sizing },
        { "/pci/decoding", test_decoding },
        { "/pci/moving", test_moving },
        { "/pci/impossible-places", test_impossible_places },
        { "/pci/overlap", test_overlap },
        { "/pci/claim-fails", test_claim_fails },
        { "/pci/random", test_random },
        { "/pci/shmem-registers", test_shmem_registers },
    };
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, struct world, NULL, set_up, tests[i].test, tear_down);
    return g_test_run();
}
