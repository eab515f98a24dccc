/* hvmloader's placement of BARs: see hole.h. */

#include "hw/hole.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define DEFAULT_HOLE_START UINT32_C(0xF0000000)
#define IO_START UINT64_C(0xC000)
#define IO_END UINT64_C(0x10000)

/* Larger 64-bit BARs go high whatever there is. */
#define HUGE_BAR GIB

#define CLASS_BRIDGE_OTHER 0x0680
#define PIIX4_VENDOR 0x8086
#define PIIX4_DEVICE 0x7113

/* A stretch of addresses from which BARs are given out upwards. */
struct space {
    uint64_t next;
    uint64_t end;
};

struct placer {
    struct space low;
    struct space high;
    struct space io;
    uint64_t pending; /* memory BARs still to be placed, as hvmloader counts them */
    bool relocate64;  /* 64-bit BARs may go high */
};

unsigned hole_bar_offset(unsigned bar)
{
    return bar == HOLE_ROM ? 0x30 : 0x10 + 4 * bar;
}

static const struct hole_bar *bar_of(const struct hole_placement *placement)
{
    return &placement->function->bars[placement->bar];
}

static bool is_huge(const struct hole_bar *bar)
{
    return bar->kind == HOLE_MEMORY64 && bar->size > HUGE_BAR;
}

static gint compare_devfn(gconstpointer a, gconstpointer b)
{
    const struct hole_function *const *left = a, *const *right = b;
    return (gint)(*left)->devfn - (gint)(*right)->devfn;
}

static gint compare_size(gconstpointer a, gconstpointer b, gpointer opaque)
{
    uint64_t left = bar_of(a)->size, right = bar_of(b)->size;
    return left > right ? -1 : left < right;
}

/* Every BAR in the order in which hvmloader places them. */
static GArray *scan(const struct hole_guest *guest)
{
    g_autoptr(GPtrArray) functions = g_ptr_array_new();
    GArray *placements = g_array_new(FALSE, TRUE, sizeof(struct hole_placement));

    for (guint i = 0; i < guest->functions_len; i++)
        g_ptr_array_add(functions, (gpointer)&guest->functions[i]);
    g_ptr_array_sort(functions, compare_devfn);
    for (guint i = 0; i < functions->len; i++) {
        const struct hole_function *function = g_ptr_array_index(functions, i);
        for (unsigned bar = 0; bar < HOLE_BARS; bar++) {
            struct hole_placement placement = { .function = function, .bar = bar };
            if (function->bars[bar].size)
                g_array_append_val(placements, placement);
        }
    }
    g_array_sort_with_data(placements, compare_size, NULL); /* documented to be stable */
    return placements;
}

static const struct hole_function *find_fatal(const struct hole_guest *guest)
{
    for (guint i = 0; i < guest->functions_len; i++) {
        const struct hole_function *function = &guest->functions[i];
        if (function->class_code == CLASS_BRIDGE_OTHER &&
            !(function->vendor == PIIX4_VENDOR && function->device == PIIX4_DEVICE))
            return function;
    }
    return NULL;
}

/* libxl's split of the RAM: what the hole would cover is above 4 GiB. */
static void split_ram(const struct hole_guest *guest, struct hole_map *map)
{
    uint64_t start = guest->mmio_hole ? 4 * GIB - guest->mmio_hole * MIB : DEFAULT_HOLE_START;

    map->low_ram_end = MIN(guest->ram, start);
    map->high_ram_end = 4 * GIB + (guest->ram - map->low_ram_end);
}

/* All in 32 bits, as hvmloader has it: doubling 0x80000000 gives 0 and ends the growth. */
static uint32_t grow(const struct hole_guest *guest, uint64_t low_ram_end, uint64_t needed)
{
    uint32_t start = DEFAULT_HOLE_START;

    while (needed > HOLE_END - start) {
        uint32_t lower = start << 1;
        if (lower == 0 || (!guest->relocate && lower < low_ram_end))
            break;
        start = lower;
    }
    return start;
}

/* hvmloader moves the RAM that is in its way behind all other. */
static void move_ram(struct hole_map *map)
{
    if (map->low_ram_end <= map->hole_start)
        return;
    map->high_ram_end += map->low_ram_end - map->hole_start;
    map->low_ram_end = map->hole_start;
}

static bool take(struct space *space, uint64_t size, uint64_t *address)
{
    uint64_t first = (space->next + size - 1) & ~(size - 1);

    if (first < space->next || size > space->end || first > space->end - size)
        return false;
    space->next = first + size;
    *address = first;
    return true;
}

static struct space *choose(struct placer *placer, const struct hole_bar *bar)
{
    if (bar->kind == HOLE_IO)
        return &placer->io;
    bool high = bar->kind == HOLE_MEMORY64 && placer->relocate64 &&
                (is_huge(bar) || placer->pending > placer->low.end - placer->low.next);
    if (bar->size <= HUGE_BAR)
        placer->pending -= bar->size;
    return high ? &placer->high : &placer->low;
}

static void place(struct placer *placer, struct hole_placement *placement)
{
    const struct hole_bar *bar = bar_of(placement);
    struct space *space = choose(placer, bar);

    placement->fits = take(space, bar->size, &placement->address);
    /* The high hole stays aligned for one that did not fit. */
    if (!placement->fits && space == &placer->high)
        space->next = (space->next + bar->size - 1) & ~(bar->size - 1);
}

struct hole_map *hole_map_new(const struct hole_guest *guest)
{
    struct hole_map *map = g_new0(struct hole_map, 1);
    g_autoptr(GArray) bars = scan(guest);
    struct placer placer = { .io = { IO_START, IO_END } };

    for (guint i = 0; i < bars->len; i++) {
        const struct hole_bar *bar = bar_of(&g_array_index(bars, struct hole_placement, i));
        placer.relocate64 |= is_huge(bar);
        placer.pending += bar->kind == HOLE_IO || is_huge(bar) ? 0 : bar->size;
    }
    split_ram(guest, map);
    map->hole_start = guest->mmio_hole ? 4 * GIB - guest->mmio_hole * MIB
                                       : grow(guest, map->low_ram_end, placer.pending);
    map->hole_end = HOLE_END;
    move_ram(map);
    placer.relocate64 |= placer.pending > map->hole_end - map->hole_start;
    placer.low = (struct space){ map->hole_start, map->hole_end };
    placer.high = (struct space){ map->high_ram_end, UINT64_C(1) << guest->address_bits };

    map->fatal = find_fatal(guest);
    map->placements_len = bars->len;
    map->placements = (struct hole_placement *)g_array_free(g_steal_pointer(&bars), FALSE);
    for (guint i = 0; i < map->placements_len; i++) {
        place(&placer, &map->placements[i]);
        if (!map->placements[i].fits && !map->homeless)
            map->homeless = &map->placements[i];
    }
    return map;
}

void hole_map_free(struct hole_map *map)
{
    if (!map)
        return;
    g_free(map->placements);
    g_free(map);
}

static bool fits(const struct hole_guest *guest, unsigned mmio_hole)
{
    struct hole_guest changed = *guest;
    changed.mmio_hole = mmio_hole;
    struct hole_map *map = hole_map_new(&changed);
    bool good = !map->fatal && !map->homeless;
    hole_map_free(map);
    return good;
}

int hole_smallest(const struct hole_guest *guest)
{
    if (!guest->mmio_hole && fits(guest, 0))
        return 0;
    for (unsigned mib = HOLE_MIN_MIB; mib <= HOLE_MAX_MIB; mib++) {
        if (fits(guest, mib))
            return mib;
    }
    return -1;
}
