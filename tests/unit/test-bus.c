/* The table of ranges, beside one that says for each address who has it. */

#include <string.h>

#include "ioreq/bus.h"

#define ADDRESSES 600
#define NOBODY 0

struct world {
    struct ioreq_bus *bus;
    unsigned owner[ADDRESSES]; /* of each address; NOBODY or a device's number */
    unsigned first[ADDRESSES]; /* of the range that the address is in */
    unsigned count;
    uint64_t offset; /* of the last access that reached a device */
};

struct device {
    struct world *world;
    unsigned number;
};

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    struct device *device = opaque;
    device->world->offset = offset;
    return device->number;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
}

static const struct ioreq_ops ops = { device_read, device_write };

static bool is_free(const struct world *world, unsigned first, unsigned size)
{
    for (unsigned i = first; i < first + size; i++) {
        if (world->owner[i] != NOBODY)
            return false;
    }
    return true;
}

static void add(struct world *world, unsigned first, unsigned size, struct device *device)
{
    g_autoptr(GError) error = NULL;
    bool expected = is_free(world, first, size);
    bool added = ioreq_bus_add(world->bus, IOREQ_MEMORY, first, size, &ops, device, &error);
    g_assert_cmpint(added, ==, expected);
    if (!added) {
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST);
        return;
    }
    world->count++;
    for (unsigned i = first; i < first + size; i++) {
        world->owner[i] = device->number;
        world->first[i] = first;
    }
}

static void remove_at(struct world *world, unsigned address)
{
    if (world->owner[address] == NOBODY)
        return;
    unsigned first = world->first[address];
    ioreq_bus_remove(world->bus, IOREQ_MEMORY, first);
    world->count--;
    for (unsigned i = first; i < ADDRESSES && world->owner[i] != NOBODY && world->first[i] == first;
         i++)
        world->owner[i] = NOBODY;
}

static void check(struct world *world, unsigned address, unsigned size)
{
    bool inside = world->owner[address] != NOBODY && world->owner[address + size - 1] != NOBODY &&
                  world->first[address] == world->first[address + size - 1];
    uint64_t value = ioreq_bus_read(world->bus, IOREQ_MEMORY, address, size);
    g_assert_cmphex(value, ==, inside ? world->owner[address] : ioreq_ones(size));
    if (inside)
        g_assert_cmpuint(world->offset, ==, address - world->first[address]);
    g_assert_cmphex(ioreq_bus_read(world->bus, IOREQ_PORTS, address, 4), ==, 0xFFFFFFFF);
}

static void test_random(void)
{
    struct world world = { .bus = ioreq_bus_new() };
    struct device devices[64];

    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++)
        devices[i] = (struct device){ &world, i + 1 };
    for (unsigned i = 0; i < 20000; i++) {
        unsigned first = g_test_rand_int_range(0, ADDRESSES - 8);
        unsigned size = g_test_rand_int_range(1, g_test_rand_bit() ? 3 : ADDRESSES - first);
        if (g_test_rand_bit())
            add(&world, first, size, &devices[g_test_rand_int_range(0, 64)]);
        else
            remove_at(&world, first);
        check(&world, g_test_rand_int_range(0, ADDRESSES - 8), 1 << g_test_rand_int_range(0, 4));
        g_assert_cmpuint(ioreq_bus_count(world.bus, IOREQ_MEMORY), ==, world.count);
        g_assert_cmpuint(ioreq_bus_count(world.bus, IOREQ_PCI), ==, 0);
    }
    ioreq_bus_free(world.bus);
}

/* The ends of the address space, and neighbours, which touch but do not overlap. */
static void test_ends(void)
{
    struct world world = { .bus = ioreq_bus_new() };
    struct device low = { &world, 1 }, high = { &world, 2 }, middle = { &world, 3 };

    g_assert_true(ioreq_bus_add(world.bus, IOREQ_MEMORY, 0, 16, &ops, &low, NULL));
    g_assert_true(ioreq_bus_add(world.bus, IOREQ_MEMORY, UINT64_MAX - 15, 16, &ops, &high, NULL));
    g_assert_true(ioreq_bus_add(world.bus, IOREQ_MEMORY, 16, UINT64_MAX - 31, &ops, &middle, NULL));
    g_assert_false(ioreq_bus_add(world.bus, IOREQ_MEMORY, UINT64_MAX, 1, &ops, &high, NULL));
    g_assert_false(ioreq_bus_add(world.bus, IOREQ_MEMORY, 0, 1, &ops, &low, NULL));
    g_assert_cmpuint(ioreq_bus_read(world.bus, IOREQ_MEMORY, 0, 8), ==, 1);
    g_assert_cmpuint(ioreq_bus_read(world.bus, IOREQ_MEMORY, 8, 8), ==, 1);
    g_assert_cmphex(ioreq_bus_read(world.bus, IOREQ_MEMORY, 9, 8), ==, UINT64_MAX);
    g_assert_cmpuint(ioreq_bus_read(world.bus, IOREQ_MEMORY, 16, 8), ==, 3);
    g_assert_cmpuint(ioreq_bus_read(world.bus, IOREQ_MEMORY, UINT64_MAX, 1), ==, 2);
    ioreq_bus_remove(world.bus, IOREQ_MEMORY, 16);
    g_assert_cmphex(ioreq_bus_read(world.bus, IOREQ_MEMORY, 16, 8), ==, UINT64_MAX);
    ioreq_bus_free(world.bus);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bus/random", test_random);
    g_test_add_func("/bus/ends", test_ends);
    return g_test_run();
}
