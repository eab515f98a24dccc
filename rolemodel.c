/*
 * rolemodel: device models for Xen guests, one small process per role.
 *
 * One binary: called as rolemodel-dm it is the supervisor that libxl starts for a guest; called
 * as `rolemodel ROLE` it is one role; the other commands are for the administrator.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>

#include "role.h"
#include "role_control.h"
#include "toolstack/toolstack.h"

struct command {
    const char *name;
    const char *summary;
    int (*main)(const struct role *const *roles, int argc, char **argv);
};

static const struct command commands[] = {
    { "dm", "The supervisor, with libxl's arguments (also as rolemodel-dm)", supervisor_main },
    { "list", "What runs: guest, role, process, memory", list_main },
    { "top", "What the roles do now: of each disk requests, data, latency", top_main },
    { "hole", "Where an HVM guest's PCI memory goes, and what does not fit", hole_main },
};

static int usage(FILE *to)
{
    fputs("Usage: rolemodel COMMAND [OPTION...]\n\nCommands:\n", to);
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\nRoles (rolemodel ROLE --domid N, or rolemodel ROLE COMMAND GUEST; see ROLE --help):\n",
          to);
    for (const struct role *const *role = role_table; *role; role++)
        fprintf(to, "  %-8s %s\n", (*role)->name, (*role)->summary);
    return to == stdout ? 0 : 2;
}

/* To be the role, or to speak to the one that runs. */
static int run_role(const struct role *role, int argc, char **argv)
{
    if (argc > 1 && argv[1][0] != '-')
        return role_client_main(role, argc, argv);
    return role_main(role, argc, argv);
}

/* One line to standard error, which libxl keeps as the guest's device-model log. */
static void log_line(const gchar *domain, GLogLevelFlags level, const gchar *message,
                     gpointer opaque)
{
    if (level & G_LOG_LEVEL_DEBUG && !g_getenv("ROLEMODEL_DEBUG"))
        return;
    fprintf(stderr, "rolemodel: %s\n", message);
}

int main(int argc, char **argv)
{
    g_log_set_default_handler(log_line, NULL);

    g_autofree char *called = g_path_get_basename(argv[0]);
    if (strcmp(called, "rolemodel-dm") == 0)
        return supervisor_main(role_table, argc, argv);

    const char *name = argc > 1 ? argv[1] : "--help";
    if (strcmp(name, "--version") == 0) {
        puts("rolemodel " ROLEMODEL_VERSION);
        return 0;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0)
        return usage(argc > 1 ? stdout : stderr);
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].main(role_table, argc - 1, argv + 1);
    }
    for (const struct role *const *role = role_table; *role; role++) {
        if (strcmp((*role)->name, name) == 0)
            return run_role(*role, argc - 1, argv + 1);
    }
    fprintf(stderr, "rolemodel: there is no command or role '%s'\n\n", name);
    return usage(stderr);
}
