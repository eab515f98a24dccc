/*
 * The map of a guest's PCI hole as a picture: one column with a row for each stretch of addresses,
 * from the highest down.  Rows are of one height, because sizes differ by a factor of a thousand
 * million.
 */

#include "toolstack/hole.h"

#define WIDTH 640
#define ROW 22
#define FOUR_GIB (UINT64_C(1) << 32)

struct row {
    uint64_t first;
    uint64_t size;
    const char *name; /* a function's, or NULL: then TEXT says it all */
    const char *text;
    const char *color;
};

static gint compare_rows(gconstpointer a, gconstpointer b)
{
    const struct row *left = a, *right = b;
    return left->first > right->first ? -1 : left->first < right->first;
}

static void add_row(GArray *rows, uint64_t first, uint64_t end, const char *text, const char *color)
{
    struct row row = { .first = first, .size = end - first, .text = text, .color = color };
    if (end > first)
        g_array_append_val(rows, row);
}

/* Memory BARs that fit, the RAM, and what is free of the low hole. */
static GArray *make_rows(const struct hole_map *map)
{
    GArray *rows = g_array_new(FALSE, TRUE, sizeof(struct row));
    uint64_t used = map->hole_start;

    for (guint i = 0; i < map->placements_len; i++) {
        const struct hole_placement *placement = &map->placements[i];
        const struct hole_bar *bar = &placement->function->bars[placement->bar];
        struct row row = {
            .first = placement->address,
            .size = bar->size,
            .name = placement->function->name,
            .text = placement->bar == HOLE_ROM ? "ROM" : "BAR",
            .color = bar->kind == HOLE_MEMORY64 ? "#bfdbfe" : "#bbf7d0",
        };
        if (!placement->fits || bar->kind == HOLE_IO)
            continue;
        g_array_append_val(rows, row);
        if (row.first < FOUR_GIB)
            used = MAX(used, row.first + row.size);
    }
    add_row(rows, 0, map->low_ram_end, "RAM", "#e5e7eb");
    add_row(rows, FOUR_GIB, map->high_ram_end, "RAM", "#e5e7eb");
    add_row(rows, used, map->hole_end, "free", "#ffffff");
    add_row(rows, map->hole_end, FOUR_GIB, "firmware and interrupt controllers", "#fde68a");
    g_array_sort(rows, compare_rows);
    return rows;
}

char *hole_svg(const struct hole_platform *platform, const struct hole_map *map)
{
    g_autoptr(GArray) rows = make_rows(map);
    g_autofree char *advice = hole_advice(platform, map);
    g_autofree char *escaped = g_markup_escape_text(advice ? advice : "everything fits", -1);
    GString *svg = g_string_new(NULL);
    unsigned height = (rows->len + 2) * ROW;

    g_string_append_printf(svg,
                           "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
                           "font-family=\"sans-serif\" font-size=\"12\">\n"
                           "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n"
                           "<text x=\"8\" y=\"16\" fill=\"%s\">%s</text>\n",
                           WIDTH, height, advice ? "#b91c1c" : "#166534", escaped);
    for (guint i = 0; i < rows->len; i++) {
        const struct row *row = &g_array_index(rows, struct row, i);
        g_autofree char *size = hole_format_size(row->size);
        g_autofree char *name = g_markup_escape_text(row->name ? row->name : "", -1);
        unsigned y = (i + 1) * ROW;
        g_string_append_printf(
            svg,
            "<rect x=\"120\" y=\"%u\" width=\"%u\" height=\"%u\" fill=\"%s\" stroke=\"#6b7280\"/>\n"
            "<text x=\"112\" y=\"%u\" text-anchor=\"end\">%#" G_GINT64_MODIFIER "x</text>\n"
            "<text x=\"128\" y=\"%u\">%s%s%s, %s</text>\n",
            y, WIDTH - 128, ROW, row->color, y + 16, row->first, y + 16, name, row->name ? " " : "",
            row->text, size);
    }
    g_string_append(svg, "</svg>\n");
    return g_string_free(svg, FALSE);
}
