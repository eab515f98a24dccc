/*
 * A PCI bus of its own for tests of functions: what they claim is on an ioreq bus, what they send
 * is written down.  Whatever a test does, claims are possible places and never overlap.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef UNIT_PCI_WORLD_H
#define UNIT_PCI_WORLD_H

#include "hw/pci.h"
#include "hw/shmem_registers.h"

#define COMMAND 0x04
#define STATUS 0x06
#define BAR(n) (0x10 + 4 * (n))
#define ROM 0x30
#define IO_DECODE 0x0001
#define DECODE 0x0002
#define MASTER 0x0004
#define ONES 0xFFFFFFFF
#define SLOT 30
#define NEIGHBOUR 29
#define MESSAGES 4096

struct message {
    uint64_t address;
    uint32_t data;
};

struct world {
    struct shmem_registers registers; /* first, so that the world is the device of any BAR */
    struct ioreq_bus *bus;
    struct pci_bus pci;
    unsigned claims; /* in force */
    unsigned attempts;
    bool refuse;

    uint64_t placed; /* the memory's address; 0 for nowhere */
    uint64_t placed_size;
    unsigned placements, withdrawals;

    bool line[32]; /* INTA# of each slot */
    unsigned changes;
    struct message messages[MESSAGES];
    unsigned sent;
};

static bool world_refuses(struct world *world, GError **error)
{
    world->attempts++;
    if (world->refuse)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "no");
    return world->refuse;
}

static bool world_claim(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size,
                        const struct ioreq_ops *ops, void *device, GError **error)
{
    struct world *world = opaque;
    uint64_t last = first + (size - 1);
    g_assert_cmphex(first, !=, 0);
    g_assert_cmphex(first & (size - 1), ==, 0);
    g_assert_cmphex(last, <=, space == IOREQ_PORTS ? 0xFFFF : UINT64_MAX - 1);
    if (space == IOREQ_MEMORY && world->placed)
        g_assert_true(last < world->placed || first > world->placed + (world->placed_size - 1));
    if (world_refuses(world, error) ||
        !ioreq_bus_add(world->bus, space, first, size, ops, device, error))
        return false;
    world->claims++;
    return true;
}

static void world_release(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size)
{
    struct world *world = opaque;
    ioreq_bus_remove(world->bus, space, first);
    world->claims--;
}

static bool world_place(void *opaque, uint64_t first, GError **error)
{
    struct world *world = opaque;
    g_assert_cmphex(first, !=, 0);
    g_assert_cmphex(first, !=, world->placed);
    if (world_refuses(world, error))
        return false;
    world->placed = first;
    world->placements++;
    return true;
}

static void world_withdraw(void *opaque)
{
    struct world *world = opaque;
    g_assert_cmphex(world->placed, !=, 0);
    world->placed = 0;
    world->withdrawals++;
}

static void world_set_intx(void *opaque, unsigned slot, unsigned pin, bool level)
{
    struct world *world = opaque;
    g_assert_cmpuint(pin, ==, 0);
    g_assert_true(world->line[slot] != level);
    world->line[slot] = level;
    world->changes++;
}

static void world_inject(void *opaque, uint64_t address, uint32_t data)
{
    struct world *world = opaque;
    world->messages[world->sent++ % MESSAGES] = (struct message){ address, data };
}

static const struct pci_decoder world_decoder = { world_claim, world_release };
static const struct pci_interrupts world_interrupts = { world_set_intx, world_inject };
static const struct pci_memory world_memory = { world_place, world_withdraw };

/* A window that reads as its own offsets and forgets what is written. */
static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    return offset;
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
}

static const struct ioreq_ops window_ops = { window_read, window_write };

static inline struct pci_function *world_add(struct world *world, unsigned slot,
                                             const struct pci_description *description)
{
    g_autoptr(GError) error = NULL;
    struct pci_function *function = pci_function_new(&world->pci, slot, description, world);
    ioreq_bus_add(world->bus, IOREQ_PCI, (uint64_t)slot << 35, PCI_CONFIG_SIZE, &pci_config_ops,
                  function, &error);
    g_assert_no_error(error);
    return function;
}

static inline void world_make(struct world *world)
{
    world->bus = ioreq_bus_new();
    world->pci = (struct pci_bus){ &world_decoder, &world_interrupts, world, NULL };
}

/* A world can be made anew after it. */
static inline void world_end(struct world *world)
{
    while (world->pci.functions)
        pci_function_free(world->pci.functions);
    for (unsigned slot = 0; slot < G_N_ELEMENTS(world->line); slot++)
        g_assert_false(world->line[slot]);
    ioreq_bus_free(world->bus);
    *world = (struct world){ 0 };
}

static inline void set_up(struct world *world, gconstpointer description)
{
    world_make(world);
    if (description)
        world_add(world, SLOT, description);
}

static inline void tear_down(struct world *world, gconstpointer description)
{
    world_end(world);
}

static inline uint32_t config_of(struct world *world, unsigned slot, unsigned offset, unsigned size)
{
    return ioreq_bus_read(world->bus, IOREQ_PCI, ((uint64_t)slot << 35) + offset, size);
}

static inline void set_config_of(struct world *world, unsigned slot, unsigned offset, unsigned size,
                                 uint32_t value)
{
    ioreq_bus_write(world->bus, IOREQ_PCI, ((uint64_t)slot << 35) + offset, size, value);
}

static inline uint32_t config(struct world *world, unsigned offset, unsigned size)
{
    return config_of(world, SLOT, offset, size);
}

static inline void set_config(struct world *world, unsigned offset, unsigned size, uint32_t value)
{
    set_config_of(world, SLOT, offset, size, value);
}

static inline uint64_t memory(struct world *world, uint64_t address, unsigned size)
{
    return ioreq_bus_read(world->bus, IOREQ_MEMORY, address, size);
}

static inline void set_memory(struct world *world, uint64_t address, unsigned size, uint64_t value)
{
    ioreq_bus_write(world->bus, IOREQ_MEMORY, address, size, value);
}

static inline uint32_t ports(struct world *world, uint64_t port, unsigned size)
{
    return ioreq_bus_read(world->bus, IOREQ_PORTS, port, size);
}

static inline void expect_warning(void)
{
    g_test_expect_message("pci", G_LOG_LEVEL_WARNING, "*does not answer*");
}

#define world_test(path, description, function)                                                    \
    g_test_add(path, struct world, description, set_up, function, tear_down)

#endif
