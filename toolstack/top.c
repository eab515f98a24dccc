/*
 * `rolemodel top`: what the roles of all guests, or of one, do now.
 *
 * What there is to see of a role only its meter knows (role_meter.h); here are the guests, the
 * readings of the interval before, and the screen.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "top"
#include "toolstack/toolstack.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "role_meter.h"
#include "xen/store.h"

#define SECONDS_MIN 0.1
#define SECONDS_MAX 3600.0

/* More digits of rates say nothing. */
#define REAL_DIGITS 9

/* To the upper left corner, and what is below cleared. */
#define CLEAR_SCREEN "\033[H\033[J"

struct top {
    const struct role *const *roles;
    struct xen_store *store;
    gint json;
    double interval;
    gint count;        /* of intervals; 0 is for ever */
    const char *guest; /* the only one to show, or NULL */

    GHashTable *before, *now; /* "DOMID/ROLE/DEVICE" to GBytes: the readings */
    double seconds;           /* between them; 0 before there are two */
    GString *table;
    json_t *devices;

    /* Of the reading that is taken. */
    unsigned domid;
    const char *name;
    const struct role *role;
};

static void add_row(struct top *top, gconstpointer before, gconstpointer now)
{
    g_autofree char *row = top->role->meter->row(before, now, top->seconds);
    g_string_append_printf(top->table, "%5u  %-20s %s\n", top->domid, top->name, row);
}

static void add_json(struct top *top, gconstpointer before, gconstpointer now)
{
    g_autofree char *name = g_utf8_make_valid(top->name, -1); /* jansson takes no other */
    json_t *device = json_pack("{s:i, s:s, s:s}", "domid", (int)top->domid, "guest", name, "role",
                               top->role->name);
    json_t *more = top->role->meter->json(before, now, top->seconds);

    json_object_update(device, more);
    json_decref(more);
    json_array_append_new(top->devices, device);
}

static void on_reading(const char *device, const void *reading, gsize size, void *opaque)
{
    struct top *top = opaque;
    char *key = g_strdup_printf("%u/%s/%s", top->domid, top->role->name, device);
    GBytes *before = g_hash_table_lookup(top->before, key);
    gconstpointer old = before ? g_bytes_get_data(before, NULL) : NULL;

    if (top->seconds > 0 && top->json)
        add_json(top, old, reading);
    else if (top->seconds > 0)
        add_row(top, old, reading);
    g_hash_table_insert(top->now, key, g_bytes_new(reading, size));
}

static void read_guest(struct top *top, const char *domid)
{
    g_autofree char *domain = g_strconcat("/local/domain/", domid, NULL);
    g_autofree char *name = xen_store_read(top->store, domain, "name", NULL);

    top->domid = g_ascii_strtoull(domid, NULL, 10);
    top->name = name ? name : "?";
    top->role->meter->read(top->domid, on_reading, top);
}

static void read_role(struct top *top, const struct role *role, char **domids)
{
    top->role = role;
    g_string_append_printf(top->table, "%5s  %-20s %s\n", "DOMID", "GUEST", role->meter->header);
    for (char **domid = domids; *domid; domid++)
        read_guest(top, *domid);
}

/* A reading of everything, and what it says since the one before. */
static void take_readings(struct top *top, char **domids)
{
    for (const struct role *const *role = top->roles; *role; role++) {
        if ((*role)->meter)
            read_role(top, *role, domids);
    }
    g_hash_table_unref(top->before);
    top->before = g_steal_pointer(&top->now);
}

static void show(struct top *top)
{
    if (top->json) {
        json_t *root = json_pack("{s:f, s:O}", "seconds", top->seconds, "devices", top->devices);
        json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(REAL_DIGITS));
        json_decref(root);
        putchar('\n');
    } else {
        fputs(isatty(STDOUT_FILENO) ? CLEAR_SCREEN : "", stdout);
        fputs(top->table->str, stdout);
    }
    fflush(stdout);
}

/* The numbers of the guests to show, as text; NULL if the one that is wanted is not there. */
static char **list_guests(struct top *top, GError **error)
{
    unsigned domid;

    if (!top->guest)
        return xen_store_list(top->store, "/local/domain");
    if (!xen_store_find_domain(top->store, top->guest, &domid, error))
        return NULL;
    char **domids = g_new0(char *, 2);
    domids[0] = g_strdup_printf("%u", domid);
    return domids;
}

static bool turn(struct top *top, GError **error)
{
    g_auto(GStrv) domids = list_guests(top, error);

    if (!domids)
        return false;
    top->now =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    top->table = g_string_new(NULL);
    top->devices = json_array();
    take_readings(top, domids);
    if (top->seconds > 0)
        show(top);
    g_string_free(top->table, TRUE);
    json_decref(top->devices);
    return true;
}

/* Until the guest that is shown has gone, or for as long as was asked for. */
static bool run(struct top *top, GError **error)
{
    gint64 last = g_get_monotonic_time();
    bool good = turn(top, error);

    for (gint shown = 0; good && (top->count == 0 || shown < top->count); shown++) {
        g_usleep(top->interval * G_USEC_PER_SEC);
        gint64 now = g_get_monotonic_time();
        top->seconds = (double)(now - last) / G_USEC_PER_SEC;
        last = now;
        good = turn(top, error);
    }
    return good;
}

static bool parse_command_line(struct top *top, int argc, char **argv, GError **error)
{
    const GOptionEntry entries[] = {
        { "json", 0, 0, G_OPTION_ARG_NONE, &top->json, "One JSON object for each interval", NULL },
        { "interval", 'i', 0, G_OPTION_ARG_DOUBLE, &top->interval, "How long one is (1)",
          "SECONDS" },
        { "count", 'n', 0, G_OPTION_ARG_INT, &top->count, "How many (until it is ended)", "N" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new("[GUEST]");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, "What the roles of all guests, or of one, do now");
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    top->guest = argc > 1 ? argv[1] : NULL;
    if (argc > 2)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "unexpected argument '%s'",
                    argv[2]);
    else if (!(top->interval >= SECONDS_MIN && top->interval <= SECONDS_MAX) || top->count < 0)
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "--interval is from %.1f to %.0f seconds, and --count not less than 0",
                    SECONDS_MIN, SECONDS_MAX);
    else
        return true;
    return false;
}

int top_main(const struct role *const *roles, int argc, char **argv)
{
    struct top top = { .roles = roles, .interval = 1 };
    g_autoptr(GError) error = NULL;

    if (!parse_command_line(&top, argc, argv, &error)) {
        g_critical("%s", error->message);
        return 2;
    }
    top.before = g_hash_table_new(g_str_hash, g_str_equal);
    top.store = xen_store_open(&error);
    bool good = top.store && run(&top, &error);
    if (!good)
        g_critical("%s", error->message);
    xen_store_close(top.store);
    g_hash_table_unref(top.before);
    return good ? 0 : 1;
}
