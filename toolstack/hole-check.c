/* The check of a guest's PCI hole: see hole.h. */

#define G_LOG_DOMAIN "hole"
#include "toolstack/hole.h"

#include <string.h>

#include "toolstack/hole-config.h"
#include "toolstack/plan.h"

#define MIB (UINT64_C(1) << 20)

/* Of host devices that xenstore may name; a bus has no more slots. */
#define HOST_DEVICES_MAX 32

char *hole_format_size(uint64_t size)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
    unsigned unit = 0;

    for (; size && size % 1024 == 0 && unit + 1 < G_N_ELEMENTS(units); unit++)
        size /= 1024;
    return g_strdup_printf("%" G_GUINT64_FORMAT " %s", size, units[unit]);
}

static char *describe(const struct hole_placement *placement)
{
    const struct hole_function *function = placement->function;
    g_autofree char *size = hole_format_size(function->bars[placement->bar].size);
    g_autofree char *bar = placement->bar == HOLE_ROM ? g_strdup("the ROM")
                                                      : g_strdup_printf("BAR %u", placement->bar);
    return g_strdup_printf("%s of %s at %02x.%x (%s)", bar, function->name, function->devfn >> 3,
                           function->devfn & 7, size);
}

/* Why no mmio_hole helps, and what does. */
static const char *hopeless(const struct hole_placement *placement)
{
    switch (placement->function->bars[placement->bar].kind) {
    case HOLE_IO:
        return "and no mmio_hole gives more I/O ports; take a device out";
    case HOLE_MEMORY64:
        return "below 4 GiB or in what a vCPU can address above; make it smaller";
    default:
        return "and no mmio_hole gives enough: what must be below 4 GiB is more than can be there; "
               "make it smaller, or give it a 64-bit BAR";
    }
}

/* Two functions in one place: the guest would see that of the ioreq server with the higher id. */
static char *find_collision(const struct hole_platform *platform)
{
    const struct hole_function *functions = (const void *)platform->functions->data;

    for (guint i = 0; i < platform->functions->len; i++) {
        for (guint j = 0; j < i; j++) {
            if (functions[i].devfn == functions[j].devfn)
                return g_strdup_printf("%s and %s are both at %02x.%x of the guest's PCI bus; give "
                                       "one of them another slot, such as a role with "
                                       "-role %s,slot=N",
                                       functions[j].name, functions[i].name,
                                       functions[i].devfn >> 3, functions[i].devfn & 7,
                                       functions[i].name);
        }
    }
    return NULL;
}

char *hole_advice(const struct hole_platform *platform, const struct hole_map *map)
{
    char *collision = find_collision(platform);
    if (collision)
        return collision;
    if (map->fatal)
        return g_strdup_printf("%s has the PCI class 0680, at which hvmloader stops; take it out "
                               "of the guest's configuration",
                               map->fatal->name);
    if (platform->qemu_hole != platform->mmio_hole)
        return g_strdup_printf(
            "mmio_hole is %u MiB for libxl and hvmloader, but %u MiB for QEMU (0 is the default); "
            "set mmio_hole = %u and take max-ram-below-4g out of device_model_args",
            platform->mmio_hole, platform->qemu_hole,
            MAX(platform->mmio_hole, platform->qemu_hole));
    if (!map->homeless)
        return NULL;

    struct hole_guest guest = hole_platform_guest(platform);
    int smallest = hole_smallest(&guest);
    g_autofree char *what = describe(map->homeless);
    if (smallest < 0)
        return g_strdup_printf("%s finds no room, %s", what, hopeless(map->homeless));
    g_autofree char *now = platform->mmio_hole ? g_strdup_printf("it is %u", platform->mmio_hole)
                                               : g_strdup("it is not set");
    return g_strdup_printf("%s finds no room; set mmio_hole = %d in the guest's configuration (%s)",
                           what, smallest, now);
}

/* hvmloader's two settings. */
static void read_settings(struct hole_platform *platform, struct xen_store *store, unsigned domid)
{
    g_autofree char *dir = g_strdup_printf("/local/domain/%u", domid);
    uint64_t bytes, relocate;

    if (xen_store_read_uint_or(store, dir, "platform/mmio_hole_size", 0, UINT32_MAX, 0, &bytes,
                               NULL))
        platform->mmio_hole = bytes / MIB;
    if (xen_store_read_uint_or(store, dir, "hvmloader/allow-memory-relocate", 0, 1, 1, &relocate,
                               NULL))
        platform->relocate = relocate;
}

/* The command line of process PID as an array of its own. */
static GPtrArray *read_cmdline(uint64_t pid, GError **error)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/cmdline", pid);
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_get_contents(path, &text, &length, error))
        return NULL;
    GPtrArray *arguments = g_ptr_array_new_with_free_func(g_free);
    for (gsize at = 0; at < length; at += strlen(text + at) + 1)
        g_ptr_array_add(arguments, g_strdup(text + at));
    return arguments;
}

/* `rolemodel NAME ... --option KEY=VALUE ...` */
static bool add_process(struct hole_platform *platform, const struct role *role, uint64_t pid,
                        GError **error)
{
    g_autoptr(GPtrArray) arguments = read_cmdline(pid, error);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();

    if (!arguments)
        return false;
    for (guint i = 0; i + 1 < arguments->len; i++) {
        if (strcmp(g_ptr_array_index(arguments, i), "--option") == 0)
            g_strv_builder_add(builder, g_ptr_array_index(arguments, i + 1));
    }
    g_auto(GStrv) options = g_strv_builder_end(builder);
    return hole_platform_add_role(platform, role, options, error);
}

static bool add_roles(struct hole_platform *platform, const struct role *const *roles,
                      struct xen_store *store, unsigned domid, GError **error)
{
    g_autofree char *dir = g_strdup_printf("device-model/%u/roles", domid);

    for (; *roles; roles++) {
        g_autofree char *node = g_strdup_printf("%s/pid", (*roles)->name);
        uint64_t pid;
        if (!xen_store_read_uint_or(store, dir, node, 0, G_MAXINT, 0, &pid, error))
            return false;
        if (pid && !add_process(platform, *roles, pid, error))
            return false;
    }
    return true;
}

static bool add_host_devices(struct hole_platform *platform, struct xen_store *store,
                             unsigned domid, GError **error)
{
    g_autofree char *dir = g_strdup_printf("/local/domain/0/backend/pci/%u/0", domid);
    uint64_t count;

    if (!xen_store_read_uint_or(store, dir, "num_devs", 0, HOST_DEVICES_MAX, 0, &count, error))
        return false;
    for (uint64_t i = 0; i < count; i++) {
        g_autofree char *node = g_strdup_printf("dev-%" G_GUINT64_FORMAT, i);
        g_autofree char *bdf = xen_store_read(store, dir, node, NULL);
        g_autofree char *place = g_strdup_printf("vdevfn-%" G_GUINT64_FORMAT, i);
        g_autofree char *devfn = xen_store_read(store, dir, place, NULL);
        if (bdf && !hole_platform_add_host(
                       platform, bdf, devfn ? (int)g_ascii_strtoull(devfn, NULL, 16) : -1, error))
            return false;
    }
    return true;
}

struct hole_platform *hole_read_guest(const struct role *const *roles, struct xen_store *store,
                                      unsigned domid, GError **error)
{
    g_autofree char *dir = g_strdup_printf("/local/domain/%u", domid);
    uint64_t pid;

    if (!xen_store_read_uint(store, dir, "image/device-model-pid", 1, G_MAXINT, &pid, error)) {
        g_prefix_error(error, "guest %u has no device model: ", domid);
        return NULL;
    }
    g_autoptr(GPtrArray) arguments = read_cmdline(pid, error);
    if (!arguments)
        return NULL;
    struct hole_platform *platform = hole_platform_new();
    read_settings(platform, store, domid);
    hole_platform_add_qemu(platform, arguments);
    if (platform->ram > 0 && add_roles(platform, roles, store, domid, error) &&
        add_host_devices(platform, store, domid, error))
        return platform;
    if (error && !*error)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "process %" G_GUINT64_FORMAT " of guest %u is not QEMU: only a guest with "
                    "type=\"hvm\" has a PCI hole",
                    pid, domid);
    hole_platform_free(platform);
    return NULL;
}

/* With a ROM that is not there in this installation the guest may well fit. */
static bool is_certain(const struct hole_map *map)
{
    return !map->homeless || map->homeless->bar != HOLE_ROM;
}

static bool is_restored(const struct dm_cmdline *cmdline)
{
    return g_ptr_array_find_with_equal_func(cmdline->arguments, "-incoming", g_str_equal, NULL);
}

bool hole_check(const struct dm_cmdline *cmdline, const GPtrArray *plan, struct xen_store *store,
                GError **error)
{
    if (cmdline->pv || is_restored(cmdline)) /* a restored guest has been placed long ago */
        return true;
    struct hole_platform *platform = hole_platform_new();
    read_settings(platform, store, cmdline->domid);
    hole_platform_add_qemu(platform, cmdline->arguments);
    for (guint i = 0; i < plan->len; i++) {
        const struct plan_entry *entry = g_ptr_array_index(plan, i);
        /* A role that does not like its options says so itself. */
        hole_platform_add_role(platform, entry->role, entry->options, NULL);
    }
    struct hole_guest guest = hole_platform_guest(platform);
    struct hole_map *map = hole_map_new(&guest);
    g_autofree char *advice = hole_advice(platform, map);
    bool good = !advice || !is_certain(map);
    if (!good)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "PCI hole: %s; `rolemodel hole --config FILE` shows the map", advice);
    hole_map_free(map);
    hole_platform_free(platform);
    return good;
}
