/* QEMU's emulated disks: see drives.h. */

#include "toolstack/drives.h"

#include <string.h>

/* Is TEXT, the argument of a -drive, about FILE?  A comma in a name may be doubled or not. */
static gboolean is_about(const char *text, const char *file)
{
    g_auto(GStrv) parts = g_strsplit(file, ",", -1);
    g_autofree char *doubled = g_strjoinv(",,", parts);
    g_autofree char *plain = g_strdup_printf("file=%s,", file);
    g_autofree char *escaped = g_strdup_printf("file=%s,", doubled);
    return g_str_has_prefix(text, plain) || g_str_has_prefix(text, escaped);
}

/* Does a setting of TEXT read SETTING, such as "drive=ide0"? */
static gboolean has_setting(const char *text, const char *setting)
{
    g_auto(GStrv) settings = g_strsplit(text, ",", -1);
    return g_strv_contains((const char *const *)settings, setting);
}

static char *drive_id(const char *text)
{
    g_auto(GStrv) settings = g_strsplit(text, ",", -1);
    for (char **setting = settings; *setting; setting++) {
        if (g_str_has_prefix(*setting, "id="))
            return g_strdup(*setting + strlen("id="));
    }
    return NULL;
}

static gboolean is_option(const GPtrArray *argv, guint index, const char *name)
{
    const char *option = index + 1 < argv->len ? g_ptr_array_index(argv, index) : NULL;
    return option && strcmp(option, name) == 0 && g_ptr_array_index(argv, index + 1);
}

guint drives_remove(GPtrArray *argv, const char *file)
{
    guint removed = 0;

    for (guint i = 0; i < argv->len; i++) {
        if (!is_option(argv, i, "-drive") || !is_about(g_ptr_array_index(argv, i + 1), file))
            continue;
        g_autofree char *id = drive_id(g_ptr_array_index(argv, i + 1));
        g_autofree char *use = g_strconcat("drive=", id, NULL);
        g_ptr_array_remove_range(argv, i, 2);
        /* libxl writes the -device right after; ids may be there twice, so take no other. */
        if (id && is_option(argv, i, "-device") && has_setting(g_ptr_array_index(argv, i + 1), use))
            g_ptr_array_remove_range(argv, i, 2);
        removed++;
        i--;
    }
    return removed;
}
