/*
 * `rolemodel list`: the processes that make up each guest's device model.
 *
 * A role's state is what the supervisor has noted; it asks every role, and nobody else does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "list"
#include "toolstack/toolstack.h"

#include <stdio.h>
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

static void print_process(const char *domid, const char *name, const char *role, uint64_t pid,
                          const char *state)
{
    unsigned long pss = process_pss(pid);
    printf("%5s  %-20s %-12s %8" G_GUINT64_FORMAT " %9lu  %s\n", domid, name, role, pid, pss,
           pss > 0 ? state : "gone");
}

static void print_role(struct xen_store *store, const char *domid, const char *name,
                       const char *role, bool asked)
{
    g_autofree char *dir = g_strdup_printf("device-model/%s/roles/%s", domid, role);
    g_autofree char *state = xen_store_read(store, dir, "state", NULL);
    uint64_t pid;

    if (xen_store_read_uint(store, dir, "pid", 1, G_MAXINT, &pid, NULL))
        print_process(domid, name, role, pid, asked && state ? state : "running");
}

static void list_guest(struct xen_store *store, const char *domid)
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
        print_process(domid, name, "qemu", primary, "running");
    bool asked = supervisor && process_pss(supervisor) > 0;
    for (char **role = roles; *role; role++)
        print_role(store, domid, name, *role, asked);
}

int list_main(const struct role *const *roles, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    struct xen_store *store = xen_store_open(&error);

    if (!store) {
        g_critical("%s", error->message);
        return 1;
    }
    printf("%5s  %-20s %-12s %8s %9s  %s\n", "DOMID", "GUEST", "ROLE", "PID", "PSS(KiB)", "STATE");
    g_auto(GStrv) guests = xen_store_list(store, "device-model");
    for (char **domid = guests; *domid; domid++)
        list_guest(store, *domid);
    xen_store_close(store);
    return 0;
}
