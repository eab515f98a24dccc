/* Base address registers and the expansion ROM: see pci.h, struct pci_bar and struct pci_decoder.
 */

#define G_LOG_DOMAIN "pci"
#include "hw/pci_internal.h"

#include <inttypes.h>

#include "xen/error.h"

/* The bits of a BAR that are not an address, §6.2.5.1 and §6.2.5.2. */
#define IO_LOW_BITS 0x3
#define MEMORY_LOW_BITS 0xF
#define ROM_LOW_BITS 0x7FF

#define IO_INDICATOR 0x1
#define MEMORY_64 0x4
#define MEMORY_PREFETCHABLE 0x8
#define ROM_ENABLE 0x1

#define IO_MAX_SIZE 256
#define ROM_MAX_SIZE (UINT64_C(16) << 20)
#define MEMORY32_MAX_SIZE (UINT64_C(2) << 30)
#define MEMORY64_MAX_SIZE (UINT64_C(1) << 62)

/* The last address of each space.  No processor has the last of 64 bits. */
#define IO_LAST 0xFFFF
#define MEMORY64_LAST (UINT64_MAX - 1)

static const char *const names[PCI_WINDOWS] = { "BAR 0", "BAR 1", "BAR 2",  "BAR 3",
                                                "BAR 4", "BAR 5", "the ROM" };

static unsigned register_of(unsigned index)
{
    return index == PCI_ROM ? PCI_ROM_ADDRESS : PCI_BASE_ADDRESS(index);
}

static bool is_64bit(const struct pci_window *window)
{
    return window->bar.type == PCI_BAR_MEMORY64;
}

static enum ioreq_space space_of(const struct pci_window *window)
{
    return window->bar.type == PCI_BAR_IO ? IOREQ_PORTS : IOREQ_MEMORY;
}

static uint32_t low_bits(const struct pci_window *window, unsigned index)
{
    if (index == PCI_ROM)
        return ROM_LOW_BITS;
    return window->bar.type == PCI_BAR_IO ? IO_LOW_BITS : MEMORY_LOW_BITS;
}

/* --- the registers, as the description has them --- */

static void check_size(const struct pci_window *window, unsigned index)
{
    uint64_t max = is_64bit(window) ? MEMORY64_MAX_SIZE : MEMORY32_MAX_SIZE;
    if (index == PCI_ROM)
        max = ROM_MAX_SIZE;
    else if (window->bar.type == PCI_BAR_IO)
        max = IO_MAX_SIZE;
    uint64_t size = window->bar.size;
    g_assert(size > low_bits(window, index) && size <= max && (size & (size - 1)) == 0);
}

static void check_window(const struct pci_function *function, unsigned index, bool has_table)
{
    const struct pci_window *window = &function->windows[index];
    check_size(window, index);
    g_assert(!window->bar.ops || !window->bar.memory);
    g_assert(window->bar.ops || window->bar.memory || has_table);
    g_assert(space_of(window) == IOREQ_MEMORY || (!window->bar.memory && !has_table));
    g_assert(index != PCI_ROM || window->bar.type == PCI_BAR_MEMORY32);
    g_assert(!is_64bit(window) || (index + 1 < PCI_BARS && !function->windows[index + 1].bar.size));
}

static void init_register(struct pci_function *function, unsigned index)
{
    const struct pci_bar *bar = &function->windows[index].bar;
    unsigned at = register_of(index);
    bool io = bar->type == PCI_BAR_IO;
    uint32_t type = io ? IO_INDICATOR : 0;
    if (is_64bit(&function->windows[index]))
        type |= MEMORY_64;
    if (bar->prefetchable && !io && index != PCI_ROM)
        type |= MEMORY_PREFETCHABLE;
    pci_put(function->config + at, 4, type);

    /* The read-only zeros below the size are how it is found out, §6.2.5.1. */
    uint64_t mask = ~(bar->size - 1);
    pci_put(function->writable + at, 4, (uint32_t)mask | (index == PCI_ROM ? ROM_ENABLE : 0));
    if (is_64bit(&function->windows[index]))
        pci_put(function->writable + at + 4, 4, mask >> 32);
    struct pci_register command = { PCI_COMMAND, 2, io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY, 0 };
    pci_registers_add(function, 0, &command, 1);
}

void pci_bars_init(struct pci_function *function, const struct pci_description *description)
{
    for (unsigned index = 0; index < PCI_WINDOWS; index++)
        function->windows[index].bar =
            index == PCI_ROM ? description->rom : description->bars[index];
    for (unsigned index = 0; index < PCI_WINDOWS; index++) {
        if (!function->windows[index].bar.size)
            continue;
        check_window(function, index, description->msix.vectors && description->msix.bar == index);
        init_register(function, index);
    }
}

/* --- where the guest wants them --- */

static bool decodes(const struct pci_function *function, unsigned index)
{
    bool io = function->windows[index].bar.type == PCI_BAR_IO;
    uint32_t command = pci_config(function, PCI_COMMAND, 2);
    if (!pci_in_d0(function) || !(command & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
        return false;
    return index != PCI_ROM || function->config[PCI_ROM_ADDRESS] & ROM_ENABLE;
}

/*
 * A guest sizes a BAR by writing ones and may leave decoding on.  What it wrote, not what stuck,
 * tells that apart from the last place in the space, which for 2 GiB is the only one.
 */
static bool being_sized(const struct pci_function *function, unsigned index)
{
    const struct pci_window *window = &function->windows[index];
    const uint8_t *written = function->written + register_of(index);
    if ((pci_get(written, 4) | low_bits(window, index)) == UINT32_MAX)
        return true;
    return is_64bit(window) && pci_get(written + 4, 4) == UINT32_MAX;
}

static uint64_t address_of(const struct pci_function *function, unsigned index)
{
    const struct pci_window *window = &function->windows[index];
    unsigned at = register_of(index);
    uint64_t address = pci_config(function, at, 4) & ~low_bits(window, index);
    if (is_64bit(window))
        address |= (uint64_t)pci_config(function, at + 4, 4) << 32;
    return address;
}

static uint64_t last_of(uint64_t first, const struct pci_window *window)
{
    return first + (window->bar.size - 1); /* FIRST is a multiple of the size: this never wraps */
}

/* Where the guest wants it to answer, or 0. */
static uint64_t wanted(const struct pci_function *function, unsigned index)
{
    const struct pci_window *window = &function->windows[index];
    if (!window->bar.size || !decodes(function, index) || being_sized(function, index))
        return 0;
    uint64_t address = address_of(function, index);
    uint64_t limit = is_64bit(window) ? MEMORY64_LAST : UINT32_MAX;
    if (window->bar.type == PCI_BAR_IO)
        limit = IO_LAST;
    return last_of(address, window) <= limit ? address : 0;
}

/* --- claims --- */

static bool overlap(const struct pci_window *window, uint64_t first, const struct pci_window *other)
{
    return other->claimed && space_of(other) == space_of(window) &&
           first <= last_of(other->claimed, other) && other->claimed <= last_of(first, window);
}

/* Placed memory is in no table of ranges, so that this is the only one to see it. */
static bool is_free(const struct pci_function *function, const struct pci_window *window,
                    uint64_t first, GError **error)
{
    const struct pci_function *other = function->bus->functions;
    for (; other; other = other->next) {
        for (unsigned index = 0; index < PCI_WINDOWS; index++) {
            if (!overlap(window, first, &other->windows[index]))
                continue;
            xen_set_error_errno(error, EEXIST, "%s of %s (slot %u) is at 0x%" PRIx64, names[index],
                                other->name, other->slot, other->windows[index].claimed);
            return false;
        }
    }
    return true;
}

static bool take(struct pci_function *function, unsigned index, uint64_t first, GError **error)
{
    const struct pci_bar *bar = &function->windows[index].bar;
    const struct ioreq_ops *ops = bar->ops;
    void *device = function->device;
    if (bar->memory)
        return bar->memory->place(device, first, error);
    if (function->msix && function->msix_description.bar == index) {
        ops = &pci_msix_ops;
        device = function;
    }
    return function->bus->decoder->claim(function->bus->opaque, space_of(&function->windows[index]),
                                         first, bar->size, ops, device, error);
}

static void claim(struct pci_function *function, unsigned index, uint64_t first)
{
    struct pci_window *window = &function->windows[index];
    g_autoptr(GError) error = NULL;
    if (is_free(function, window, first, &error) && take(function, index, first, &error)) {
        window->claimed = first;
        window->placed = window->bar.memory != NULL;
        return;
    }
    if (!function->failure_logged)
        g_warning("PCI function %s (slot %u): %s does not answer at 0x%" PRIx64 ": %s; "
                  "more failures will not be reported",
                  function->name, function->slot, names[index], first, error->message);
    function->failure_logged = true;
}

static void release(struct pci_function *function, struct pci_window *window)
{
    if (!window->bar.memory)
        function->bus->decoder->release(function->bus->opaque, space_of(window), window->claimed,
                                        window->bar.size);
    window->claimed = 0;
}

/* Memory that is not to be seen for the moment, but to stay: see struct pci_memory. */
static bool lingers(const struct pci_function *function, unsigned index)
{
    const struct pci_window *window = &function->windows[index];
    return window->bar.memory &&
           (being_sized(function, index) || address_of(function, index) == window->claimed);
}

static bool release_unwanted(struct pci_function *function)
{
    bool released = false;
    for (unsigned index = 0; index < PCI_WINDOWS; index++) {
        struct pci_window *window = &function->windows[index];
        if (!window->claimed || window->claimed == wanted(function, index) ||
            lingers(function, index))
            continue;
        release(function, window);
        released = true;
    }
    return released;
}

static void claim_wanted(struct pci_function *function, bool memory)
{
    for (unsigned index = 0; index < PCI_WINDOWS; index++) {
        const struct pci_window *window = &function->windows[index];
        uint64_t first = wanted(function, index);
        if (first && !window->claimed && memory == (window->bar.memory != NULL))
            claim(function, index, first);
    }
}

/* Memory that found no new place leaves the one it had. */
static void withdraw_unclaimed(struct pci_function *function)
{
    for (unsigned index = 0; index < PCI_WINDOWS; index++) {
        struct pci_window *window = &function->windows[index];
        if (!window->placed || window->claimed)
            continue;
        window->bar.memory->withdraw(function->device);
        window->placed = false;
    }
}

/* Memory first, because it leaves its old place only when it has a new one. */
static void claim_all(struct pci_function *function)
{
    claim_wanted(function, true);
    withdraw_unclaimed(function);
    claim_wanted(function, false);
}

/* Releases before it claims, so that BARs can trade places. */
void pci_bars_update(struct pci_function *function)
{
    bool released = release_unwanted(function);
    claim_all(function);
    if (!released)
        return;
    for (struct pci_function *other = function->bus->functions; other; other = other->next) {
        if (other != function)
            claim_all(other);
    }
}
