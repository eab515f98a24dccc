/* `rolemodel hole`: the map of a guest's PCI hole, as a table, JSON or a picture. */

#include "toolstack/hole.h"
#include "toolstack/toolstack.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "toolstack/hole-config.h"

static const char *kind_name(const struct hole_placement *placement)
{
    static const char *const names[] = { "mem32", "mem64", "io" };
    return placement->bar == HOLE_ROM ? "rom"
                                      : names[placement->function->bars[placement->bar].kind];
}

static json_t *bar_json(const struct hole_placement *placement)
{
    const struct hole_function *function = placement->function;
    g_autofree char *device = g_strdup_printf("%02x:%x", function->devfn >> 3, function->devfn & 7);
    return json_pack("{s:s, s:s, s:i, s:s, s:I, s:o}", "device", device, "name", function->name,
                     "offset", (int)hole_bar_offset(placement->bar), "kind", kind_name(placement),
                     "size", (json_int_t)function->bars[placement->bar].size, "address",
                     placement->fits ? json_integer(placement->address) : json_null());
}

static char *make_json(const struct hole_platform *platform, const struct hole_map *map)
{
    struct hole_guest guest = hole_platform_guest(platform);
    g_autofree char *advice = hole_advice(platform, map);
    int smallest = hole_smallest(&guest);
    json_t *bars = json_array(), *unknown = json_array();

    for (guint i = 0; i < map->placements_len; i++)
        json_array_append_new(bars, bar_json(&map->placements[i]));
    for (guint i = 0; i < platform->unknown->len; i++)
        json_array_append_new(unknown, json_string(g_ptr_array_index(platform->unknown, i)));
    json_t *root =
        json_pack("{s:b, s:s?, s:i, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "fits", !advice, "advice",
                  advice, "mmio_hole", (int)platform->mmio_hole, "smallest_mmio_hole",
                  smallest < 0 ? json_null() : json_integer(smallest), "low_ram_end",
                  (json_int_t)map->low_ram_end, "hole_start", (json_int_t)map->hole_start,
                  "hole_end", (json_int_t)map->hole_end, "high_ram_end",
                  (json_int_t)map->high_ram_end, "bars", bars, "unknown", unknown);
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    char *copy = g_strdup(text);
    free(text);
    return copy;
}

static void print_bar(const struct hole_placement *placement)
{
    const struct hole_function *function = placement->function;
    g_autofree char *size = hole_format_size(function->bars[placement->bar].size);
    g_autofree char *address =
        placement->fits ? g_strdup_printf("%#12" G_GINT64_MODIFIER "x", placement->address)
                        : g_strdup("  no room");

    printf("%-12s  %-9s  %02x.%x  %02x   %-5s  %s\n", address, size, function->devfn >> 3,
           function->devfn & 7, hole_bar_offset(placement->bar), kind_name(placement),
           function->name);
}

static gint compare_address(gconstpointer a, gconstpointer b)
{
    const struct hole_placement *const *left = a, *const *right = b;
    uint64_t x = (*left)->fits ? (*left)->address : UINT64_MAX;
    uint64_t y = (*right)->fits ? (*right)->address : UINT64_MAX;
    return x < y ? -1 : x > y;
}

static void print_table(const struct hole_platform *platform, const struct hole_map *map)
{
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();

    printf("RAM       below %#" G_GINT64_MODIFIER "x", map->low_ram_end);
    if (map->high_ram_end > UINT64_C(1) << 32)
        printf(", and from 0x100000000 to %#" G_GINT64_MODIFIER "x", map->high_ram_end);
    printf("\nPCI hole  from %#" G_GINT64_MODIFIER "x to %#" G_GINT64_MODIFIER "x\n\n",
           map->hole_start, map->hole_end);
    printf("     ADDRESS  SIZE       SLOT  BAR  KIND   DEVICE\n");
    for (guint i = 0; i < map->placements_len; i++)
        g_ptr_array_add(sorted, &map->placements[i]);
    g_ptr_array_sort(sorted, compare_address);
    for (guint i = 0; i < sorted->len; i++)
        print_bar(g_ptr_array_index(sorted, i));
    printf("\n");
    for (guint i = 0; i < platform->unknown->len; i++)
        printf("%s: not known here, its BARs are not in the map\n",
               (const char *)g_ptr_array_index(platform->unknown, i));
    g_autofree char *advice = hole_advice(platform, map);
    printf("%s\n", advice ? advice : "everything fits");
}

static struct hole_platform *read_platform(const struct role *const *roles, const char *config,
                                           int domid, GError **error)
{
    if (config) {
        g_autofree char *text = NULL;
        if (!g_file_get_contents(config, &text, NULL, error))
            return NULL;
        struct hole_platform *platform = hole_config_read(roles, text, error);
        if (!platform)
            g_prefix_error(error, "%s: ", config);
        return platform;
    }
    struct xen_store *store = xen_store_open(error);
    struct hole_platform *platform = store ? hole_read_guest(roles, store, domid, error) : NULL;
    xen_store_close(store);
    return platform;
}

/* Returns the exit status. */
static int show(const struct hole_platform *platform, bool as_json, const char *svg, GError **error)
{
    struct hole_guest guest = hole_platform_guest(platform);
    struct hole_map *map = hole_map_new(&guest);
    g_autofree char *advice = hole_advice(platform, map);
    g_autofree char *json = as_json ? make_json(platform, map) : NULL;
    g_autofree char *picture = svg ? hole_svg(platform, map) : NULL;
    int status = advice ? 1 : 0;

    if (json)
        puts(json);
    else
        print_table(platform, map);
    if (picture && !g_file_set_contents(svg, picture, -1, error))
        status = 2;
    hole_map_free(map);
    return status;
}

int hole_main(const struct role *const *roles, int argc, char **argv)
{
    g_autofree char *config = NULL, *svg = NULL;
    gint domid = 0;
    gboolean as_json = FALSE;
    g_autoptr(GError) error = NULL;
    const GOptionEntry entries[] = {
        { "config", 0, 0, G_OPTION_ARG_FILENAME, &config, "The guest's configuration", "FILE" },
        { "domid", 0, 0, G_OPTION_ARG_INT, &domid, "A running guest", "N" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &as_json, "Print JSON instead of a table", NULL },
        { "svg", 0, 0, G_OPTION_ARG_FILENAME, &svg, "Draw the map too", "FILE" },
        { NULL },
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- where an HVM guest's BARs go, and what does not fit");
    struct hole_platform *platform = NULL;
    int status = 2;

    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error)) {
        if (argc > 1 || !config == (domid <= 0))
            g_set_error(&error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "give either --config FILE or --domid N");
        else
            platform = read_platform(roles, config, domid, &error);
    }
    if (platform)
        status = show(platform, as_json, svg, &error);
    if (error)
        g_critical("hole: %s", error->message);
    hole_platform_free(platform);
    return status;
}
