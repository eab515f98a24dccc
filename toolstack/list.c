/*
 * `rolemodel list`: the processes that make up each guest's device model.
 *
 * A role's state is what the supervisor has noted; it asks every role, and nobody else does.  The
 * programs that a role has started, such as a disk's qemu-storage-daemon, follow it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "list"
#include "toolstack/toolstack.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/store.h"

/* Proportional set size of a process in KiB, 0 if it is gone. */
static unsigned long process_pss(uint64_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/smaps_rollup", pid);
    g_autofree char *text = NULL;
    unsigned long pss = 0;

    if (g_file_get_contents(path, &text, NULL, NULL)) {
        const char *line = strstr(text, "\nPss:");
        if (line)
            sscanf(line, "\nPss: %lu", &pss);
    }
    return pss;
}

/* A JSON object for each process. */
static void add_process(json_t *processes, const char *domid, const char *name, const char *role,
                        uint64_t pid, const char *state)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1); /* jansson takes no other */
    unsigned long pss = process_pss(pid);
    json_t *process = json_pack("{s:i, s:s, s:s, s:I, s:I, s:s}", "domid", atoi(domid), "guest",
                                valid, "role", role, "pid", (json_int_t)pid, "pss_kib",
                                (json_int_t)pss, "state", pss > 0 ? state : "gone");
    if (process)
        json_array_append_new(processes, process);
}

/* The name by which process PID was called; NULL if it has gone. */
static char *process_name(uint64_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/cmdline", pid);
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_get_contents(path, &text, &length, NULL) || length == 0)
        return NULL;
    g_autofree char *name = g_path_get_basename(text);
    return g_utf8_make_valid(name, -1);
}

/* PIDS, a line of numbers. */
static void add_programs(json_t *processes, const char *domid, const char *name, const char *pids)
{
    g_auto(GStrv) words = g_strsplit(pids, " ", -1);

    for (char **word = words; *word; word++) {
        uint64_t pid = g_ascii_strtoull(*word, NULL, 10);
        g_autofree char *program = pid ? process_name(pid) : NULL;
        if (program)
            add_process(processes, domid, name, program, pid, "running");
    }
}

/* Linux knows of each thread which processes it has started. */
static void add_children(json_t *processes, const char *domid, const char *name, uint64_t role)
{
    g_autofree char *path = g_strdup_printf("/proc/%" G_GUINT64_FORMAT "/task", role);
    g_autoptr(GDir) threads = g_dir_open(path, 0, NULL);
    const char *thread;

    while (threads && (thread = g_dir_read_name(threads))) {
        g_autofree char *file = g_build_filename(path, thread, "children", NULL);
        g_autofree char *pids = NULL;
        if (g_file_get_contents(file, &pids, NULL, NULL))
            add_programs(processes, domid, name, pids);
    }
}

static void add_role(struct xen_store *store, json_t *processes, const char *domid,
                     const char *name, const char *role, bool asked)
{
    g_autofree char *dir = g_strdup_printf("device-model/%s/roles/%s", domid, role);
    g_autofree char *state = xen_store_read(store, dir, "state", NULL);
    uint64_t pid;

    if (!xen_store_read_uint(store, dir, "pid", 1, G_MAXINT, &pid, NULL))
        return;
    add_process(processes, domid, name, role, pid, asked && state ? state : "running");
    if (strcmp(role, "supervisor") != 0) /* whose children are the roles */
        add_children(processes, domid, name, pid);
}

static void list_guest(struct xen_store *store, json_t *processes, const char *domid)
{
    g_autofree char *domain = g_strconcat("/local/domain/", domid, NULL);
    g_autofree char *known = xen_store_read(store, domain, "name", NULL);
    const char *name = known ? known : "?";
    g_autofree char *dir = g_strdup_printf("device-model/%s/roles", domid);
    g_auto(GStrv) roles = xen_store_list(store, dir);
    uint64_t supervisor = 0, primary = 0;

    if (!roles[0])
        return;
    xen_store_read_uint(store, dir, "supervisor/pid", 1, G_MAXINT, &supervisor, NULL);
    xen_store_read_uint(store, domain, "image/device-model-pid", 1, G_MAXINT, &primary, NULL);
    if (primary && primary != supervisor)
        add_process(processes, domid, name, "qemu", primary, "running");
    bool asked = supervisor && process_pss(supervisor) > 0;
    for (char **role = roles; *role; role++)
        add_role(store, processes, domid, name, *role, asked);
}

static void print_json(json_t *processes)
{
    json_dumpf(processes, stdout, JSON_INDENT(2));
    putchar('\n');
}

static void print_table(json_t *processes)
{
    gsize index;
    json_t *process;

    printf("%5s  %-20s %-20s %8s %9s  %s\n", "DOMID", "GUEST", "ROLE", "PID", "PSS(KiB)", "STATE");
    json_array_foreach(processes, index, process)
    {
        int domid;
        json_int_t pid, pss;
        const char *name, *role, *state;
        json_unpack(process, "{s:i, s:s, s:s, s:I, s:I, s:s}", "domid", &domid, "guest", &name,
                    "role", &role, "pid", &pid, "pss_kib", &pss, "state", &state);
        printf("%5d  %-20s %-20s %8lld %9lld  %s\n", domid, name, role, (long long)pid,
               (long long)pss, state);
    }
}

static bool parse_command_line(int argc, char **argv, gint *json, GError **error)
{
    const GOptionEntry entries[] = {
        { "json", 0, 0, G_OPTION_ARG_NONE, json, "A JSON array instead of a table", NULL },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_summary(context, "The processes of each guest's device model");
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    if (argc == 1)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "unexpected argument '%s'", argv[1]);
    return false;
}

int list_main(const struct role *const *roles, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    gint json = FALSE;

    if (!parse_command_line(argc, argv, &json, &error)) {
        g_critical("%s", error->message);
        return 2;
    }
    struct xen_store *store = xen_store_open(&error);
    if (!store) {
        g_critical("%s", error->message);
        return 1;
    }
    json_t *processes = json_array();
    g_auto(GStrv) guests = xen_store_list(store, "device-model");
    for (char **domid = guests; *domid; domid++)
        list_guest(store, processes, *domid);
    if (json)
        print_json(processes);
    else
        print_table(processes);
    json_decref(processes);
    xen_store_close(store);
    return 0;
}
