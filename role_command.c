/* A role's table of commands, as both ends of its socket read it: see role_control.h. */

#include "role_control.h"

#include <string.h>

static const struct role_command none = { NULL };

static const struct role_command *first(const struct role *role)
{
    return role->commands ? role->commands : &none;
}

static void append_usage(GString *text, const struct role_command *command)
{
    g_string_append_printf(text, "%s GUEST%s%s", command->name, command->arguments ? " " : "",
                           command->arguments ? command->arguments : "");
}

static char *list_names(const struct role *role)
{
    GString *text = g_string_new(NULL);
    for (const struct role_command *command = first(role); command->name; command++)
        g_string_append_printf(text, "%s%s", text->len ? ", " : "", command->name);
    return g_string_free(text, FALSE);
}

const struct role_command *role_command_find(const struct role *role, const char *name,
                                             unsigned count, GError **error)
{
    const struct role_command *command = first(role);

    while (command->name && strcmp(command->name, name) != 0)
        command++;
    if (!command->name) {
        g_autofree char *names = list_names(role);
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "role %s has no command '%s' (it has: %s)", role->name, name,
                    *names ? names : "none");
        return NULL;
    }
    if (count < command->min_args || count > command->max_args) {
        g_autoptr(GString) usage = g_string_new(NULL);
        append_usage(usage, command);
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "wrong number of arguments; use: rolemodel %s %s", role->name, usage->str);
        return NULL;
    }
    return command;
}

char *role_command_help(const struct role *role)
{
    if (!first(role)->name)
        return NULL;
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "Commands to a running role (rolemodel %s COMMAND ...):\n",
                           role->name);
    for (const struct role_command *command = first(role); command->name; command++) {
        g_autoptr(GString) usage = g_string_new(NULL);
        append_usage(usage, command);
        g_string_append_printf(text, "  %-30s %s\n", usage->str, command->summary);
    }
    return g_string_free(text, FALSE);
}
