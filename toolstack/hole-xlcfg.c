/* The part of xl.cfg's syntax that is needed: see hole-xlcfg.h. */

#include "toolstack/hole-xlcfg.h"

#include <string.h>

#define NAME_CHARS G_CSET_a_2_z G_CSET_A_2_Z "0123456789_"

struct assignment {
    unsigned line;
    bool list;
    GPtrArray *values; /* char *, NULL-terminated; one unless it is a list */
};

struct xlcfg {
    GHashTable *assignments; /* name -> struct assignment */
};

struct reader {
    const char *at;
    unsigned line;
};

static void assignment_free(gpointer opaque)
{
    struct assignment *assignment = opaque;
    g_ptr_array_unref(assignment->values);
    g_free(assignment);
}

static bool refuse(unsigned line, const char *what, GError **error)
{
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "line %u: %s", line, what);
    return false;
}

/* Steps over blanks, and with LINES over the ends of lines and comments too. */
static void skip(struct reader *reader, bool lines)
{
    for (;; reader->at++) {
        if (*reader->at == '#' && lines)
            reader->at += strcspn(reader->at, "\n");
        if (*reader->at == '\n' && lines)
            reader->line++;
        else if (*reader->at != ' ' && *reader->at != '\t' && *reader->at != '\r')
            return;
    }
}

static bool read_string(struct reader *reader, GPtrArray *values, GError **error)
{
    char quote = *reader->at++;
    g_autoptr(GString) text = g_string_new(NULL);

    for (; *reader->at != quote; reader->at++) {
        if (*reader->at == '\0' || *reader->at == '\n')
            return refuse(reader->line, "a string has no closing quote", error);
        if (*reader->at == '\\') {
            reader->at++;
            if (*reader->at != '\\' && *reader->at != '"' && *reader->at != '\'')
                return refuse(reader->line, "only \\\\, \\\" and \\' are understood in a string",
                              error);
        }
        g_string_append_c(text, *reader->at);
    }
    reader->at++;
    g_ptr_array_add(values, g_string_free(g_steal_pointer(&text), FALSE));
    return true;
}

static bool read_scalar(struct reader *reader, GPtrArray *values, GError **error)
{
    if (*reader->at == '"' || *reader->at == '\'')
        return read_string(reader, values, error);
    gsize length = strspn(reader->at, NAME_CHARS);
    if (length == 0 || !g_ascii_isdigit(*reader->at))
        return refuse(reader->line, "expected a number, a string in quotes or a list in brackets",
                      error);
    g_ptr_array_add(values, g_strndup(reader->at, length));
    reader->at += length;
    return true;
}

static bool read_list(struct reader *reader, GPtrArray *values, GError **error)
{
    reader->at++;
    for (;;) {
        skip(reader, true);
        if (*reader->at == ']')
            break;
        if (*reader->at == '[')
            return refuse(reader->line, "lists in lists are not understood", error);
        if (!read_scalar(reader, values, error))
            return false;
        skip(reader, true);
        if (*reader->at == ',')
            reader->at++;
        else if (*reader->at != ']')
            return refuse(reader->line, "expected ',' or ']' in a list", error);
    }
    reader->at++;
    return true;
}

static bool read_assignment(struct reader *reader, struct xlcfg *cfg, GError **error)
{
    gsize length = strspn(reader->at, NAME_CHARS);
    if (length == 0 || g_ascii_isdigit(*reader->at))
        return refuse(reader->line, "expected NAME = VALUE", error);
    g_autofree char *name = g_strndup(reader->at, length);
    reader->at += length;
    skip(reader, false);
    if (*reader->at != '=') {
        g_autofree char *what = g_strdup_printf("expected '=' behind %s", name);
        return refuse(reader->line, what, error);
    }
    reader->at++;
    skip(reader, false);

    struct assignment *assignment = g_new0(struct assignment, 1);
    assignment->line = reader->line;
    assignment->list = *reader->at == '[';
    assignment->values = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_replace(cfg->assignments, g_steal_pointer(&name), assignment);
    if (!(assignment->list ? read_list : read_scalar)(reader, assignment->values, error))
        return false;
    g_ptr_array_add(assignment->values, NULL);

    skip(reader, false);
    if (*reader->at == ';')
        reader->at++;
    else if (*reader->at && *reader->at != '\n' && *reader->at != '#')
        return refuse(reader->line, "there is more behind the value", error);
    return true;
}

struct xlcfg *xlcfg_parse(const char *text, GError **error)
{
    struct xlcfg *cfg = g_new0(struct xlcfg, 1);
    struct reader reader = { .at = text, .line = 1 };

    cfg->assignments = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, assignment_free);
    for (skip(&reader, true); *reader.at; skip(&reader, true)) {
        if (!read_assignment(&reader, cfg, error)) {
            xlcfg_free(cfg);
            return NULL;
        }
    }
    return cfg;
}

void xlcfg_free(struct xlcfg *cfg)
{
    if (!cfg)
        return;
    g_hash_table_unref(cfg->assignments);
    g_free(cfg);
}

bool xlcfg_string(const struct xlcfg *cfg, const char *name, const char *fallback,
                  const char **value, GError **error)
{
    const struct assignment *found = g_hash_table_lookup(cfg->assignments, name);
    if (found && found->list) {
        g_autofree char *what = g_strdup_printf("%s is a list and should not be", name);
        return refuse(found->line, what, error);
    }
    *value = found ? g_ptr_array_index(found->values, 0) : fallback;
    return true;
}

bool xlcfg_number(const struct xlcfg *cfg, const char *name, guint64 min, guint64 max,
                  guint64 fallback, guint64 *value, GError **error)
{
    const struct assignment *found = g_hash_table_lookup(cfg->assignments, name);
    const char *text;

    *value = fallback;
    if (!xlcfg_string(cfg, name, NULL, &text, error))
        return false;
    if (!text)
        return true;
    bool hex = g_str_has_prefix(text, "0x");
    if (g_ascii_string_to_unsigned(text + (hex ? 2 : 0), hex ? 16 : 10, min, max, value, NULL))
        return true;
    g_autofree char *what =
        g_strdup_printf("%s = %s is not a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                        name, text, min, max);
    return refuse(found->line, what, error);
}

char *const *xlcfg_list(const struct xlcfg *cfg, const char *name)
{
    static char *const none[] = { NULL };
    const struct assignment *found = g_hash_table_lookup(cfg->assignments, name);

    return found ? (char *const *)found->values->pdata : none;
}

unsigned xlcfg_line(const struct xlcfg *cfg, const char *name)
{
    const struct assignment *found = g_hash_table_lookup(cfg->assignments, name);
    return found ? found->line : 0;
}
