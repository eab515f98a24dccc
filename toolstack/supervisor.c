/*
 * The supervisor: what libxl starts as a guest's device model.
 *
 * PV and PVH guests (`-machine xenpv`): this process is the device model.  It starts the roles,
 * serves QMP and says `running` when all are ready.
 *
 * HVM guests: QEMU is the primary emulator, and it becomes the very process that libxl started, so
 * that libxl's pid, its signals and its view of QEMU's end are what they always were.  The
 * supervisor steps aside into a process of its own first, lets the roles claim their devices, and
 * then gives way:
 *
 *     libxl ── starts ──> rolemodel-dm ──────── waits ───────> becomes QEMU
 *                              └── supervisor: roles, then "go" ──┘
 *
 * Either way the roles are the supervisor's children, go on without it, and leave with the guest.
 *
 * Source: libxl_dm.c, libxl_exec.c of Xen for what libxl expects of a device model.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "supervisor"
#include "toolstack/toolstack.h"

#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

#include "role_run.h"
#include "toolstack/cmdline.h"
#include "toolstack/hole.h"
#include "toolstack/plan.h"
#include "toolstack/qemu.h"
#include "toolstack/qmp-commands.h"
#include "toolstack/qmp-proxy.h"
#include "toolstack/team.h"
#include "xen/store.h"

struct supervisor {
    const struct role *const *roles;
    const struct dm_cmdline *cmdline;
    GMainLoop *loop;
    int status;   /* exit status */
    bool serving; /* the guest has been let start */
    bool leaving;

    struct xen_store *store;
    struct xen_store_watch *release_watch;
    GPtrArray *plan;         /* struct plan_entry */
    GPtrArray *node_watches; /* struct node_watch: roles that wait for their first device */
    struct team *team;

    struct qmp_commands *commands; /* without QEMU */
    GPtrArray *servers;            /* struct qmp_server */
    struct qemu *qemu;             /* beside QEMU */
    GPtrArray *proxies;            /* struct qmp_proxy */
};

/* A role to be started when the toolstack adds a device for it. */
struct node_watch {
    struct supervisor *supervisor;
    const struct plan_entry *entry;
    struct xen_store_watch *watch;
};

/* Stops the roles, then the main loop. */
static void leave(void *opaque)
{
    struct supervisor *supervisor = opaque;
    supervisor->leaving = true;
    if (team_size(supervisor->team) > 0)
        team_stop(supervisor->team);
    else
        g_main_loop_quit(supervisor->loop);
}

static void fail(struct supervisor *supervisor, const GError *error)
{
    g_critical("%s", error->message);
    supervisor->status = 1;
    leave(supervisor);
}

static bool serve_socket(struct supervisor *supervisor, guint index, GError **error)
{
    const struct dm_qmp_socket *socket = g_ptr_array_index(supervisor->cmdline->qmp_sockets, index);
    struct qmp_listener *listener = socket->path ? qmp_listener_new(socket->path, error)
                                                 : qmp_listener_new_from_fd(socket->fd, error);
    if (!listener)
        return false;
    if (supervisor->qemu) {
        const char *path = qemu_qmp_path(supervisor->qemu, index);
        struct qmp_proxy *proxy = qmp_proxy_new(listener, path, error);
        if (proxy)
            g_ptr_array_add(supervisor->proxies, proxy);
        return proxy != NULL;
    }
    g_autofree char *where = socket->path ? g_strdup_printf("unix:%s,server=on", socket->path)
                                          : g_strdup_printf("fd:%d", socket->fd);
    qmp_commands_add_chardev(supervisor->commands, socket->id, where);
    g_ptr_array_add(supervisor->servers,
                    qmp_server_new(listener, qmp_commands_run, supervisor->commands));
    return true;
}

static bool serve_qmp(struct supervisor *supervisor, GError **error)
{
    for (guint i = 0; i < supervisor->cmdline->qmp_sockets->len; i++) {
        if (!serve_socket(supervisor, i, error))
            return false;
    }
    return true;
}

/*
 * Adds the images of the disks that ROLE has claimed: those whose nodes are in InitWait by now.
 * libxl's params are "FORMAT:PATH".  A CD stays QEMU's as well: two can read it, and `xl cd-insert`
 * speaks to QEMU's drive.
 */
static void add_images(struct supervisor *supervisor, const struct role *role, GStrvBuilder *images)
{
    g_autofree char *dir =
        g_strdup_printf("backend/%s/%u", role->backend, supervisor->cmdline->domid);
    g_auto(GStrv) nodes = xen_store_list(supervisor->store, dir);

    for (char **node = nodes; *node; node++) {
        g_autofree char *path = g_strdup_printf("%s/%s", dir, *node);
        g_autofree char *params = xen_store_read(supervisor->store, path, "params", NULL);
        g_autofree char *type = xen_store_read(supervisor->store, path, "device-type", NULL);
        const char *image = params ? strchr(params, ':') : NULL;
        uint64_t state;
        if (image && g_strcmp0(type, "cdrom") != 0 &&
            xen_store_read_uint(supervisor->store, path, "state", XenbusStateInitWait,
                                XenbusStateInitWait, &state, NULL))
            g_strv_builder_add(images, image + 1);
    }
}

/* Which QEMU must not open as well. */
static char **owned_images(struct supervisor *supervisor)
{
    g_autoptr(GStrvBuilder) images = g_strv_builder_new();

    for (guint i = 0; i < supervisor->plan->len; i++) {
        const struct plan_entry *entry = g_ptr_array_index(supervisor->plan, i);
        if (entry->role->backend)
            add_images(supervisor, entry->role, images);
    }
    return g_strv_builder_end(images);
}

/*
 * Without QEMU we tell libxl, which waits for it, that the guest may run; beside QEMU, QEMU starts
 * now and tells.
 */
static bool let_guest_start(struct supervisor *supervisor, GError **error)
{
    if (supervisor->qemu) {
        g_auto(GStrv) images = owned_images(supervisor);
        return qemu_go(supervisor->qemu, (const char *const *)images, error);
    }
    g_autofree char *dir = g_strdup_printf("device-model/%u", supervisor->cmdline->domid);
    return xen_store_write(supervisor->store, dir, "state", error, "running");
}

static void on_team_ready(void *opaque)
{
    struct supervisor *supervisor = opaque;
    g_autoptr(GError) error = NULL;

    if (supervisor->serving || supervisor->leaving)
        return;
    supervisor->serving = let_guest_start(supervisor, &error);
    if (!supervisor->serving)
        fail(supervisor, error);
}

/* A role that was added later may fail without harm to the rest. */
static void on_team_failed(void *opaque)
{
    struct supervisor *supervisor = opaque;
    if (supervisor->serving)
        return;
    supervisor->status = 1;
    leave(supervisor);
}

struct state_note {
    const char *dir;
    bool silent;
};

/* Whatever libxl has removed with the guest stays removed. */
static bool write_state(struct xen_store *store, void *opaque, GError **error)
{
    const struct state_note *note = opaque;
    g_autofree char *pid = xen_store_read(store, note->dir, "pid", error);
    return pid && xen_store_write(store, note->dir, "state", error, "%s",
                                  note->silent ? "not answering" : "running");
}

static void on_team_silent(const struct role *role, bool silent, void *opaque)
{
    struct supervisor *supervisor = opaque;
    g_autofree char *dir =
        g_strdup_printf("device-model/%u/roles/%s", supervisor->cmdline->domid, role->name);
    struct state_note note = { dir, silent };
    g_autoptr(GError) error = NULL;

    if (!xen_store_transaction(supervisor->store, write_state, &note, &error))
        g_debug("role %s: %s", role->name, error->message);
}

static void on_team_empty(void *opaque)
{
    struct supervisor *supervisor = opaque;
    if (supervisor->leaving)
        g_main_loop_quit(supervisor->loop);
}

static const struct team_events team_events = {
    .ready = on_team_ready,
    .failed = on_team_failed,
    .silent = on_team_silent,
    .empty = on_team_empty,
};

static void on_release_domain(void *opaque)
{
    struct supervisor *supervisor = opaque;
    if (xen_store_domain_gone(supervisor->store, supervisor->cmdline->domid))
        leave(supervisor);
}

static bool write_pid(struct xen_store *store, unsigned domid, const char *name, int pid,
                      GError **error)
{
    g_autofree char *dir = g_strdup_printf("device-model/%u/roles/%s", domid, name);
    return xen_store_write(store, dir, "pid", error, "%d", pid);
}

static bool write_role(const struct role *role, int pid, void *opaque, GError **error)
{
    struct supervisor *supervisor = opaque;
    return write_pid(supervisor->store, supervisor->cmdline->domid, role->name, pid, error);
}

static bool write_processes(struct xen_store *store, void *opaque, GError **error)
{
    struct supervisor *supervisor = opaque;
    unsigned domid = supervisor->cmdline->domid;
    g_autofree char *domain = g_strdup_printf("/local/domain/%u", domid);
    g_autofree char *exists = xen_store_read(store, domain, NULL, error);
    return exists && write_pid(store, domid, "supervisor", getpid(), error) &&
           team_each(supervisor->team, write_role, supervisor, error);
}

/* Where `rolemodel list` finds us and the roles; libxl removes it with the guest. */
static bool register_processes(struct supervisor *supervisor, GError **error)
{
    return xen_store_transaction(supervisor->store, write_processes, supervisor, error);
}

static void on_nodes(void *opaque)
{
    struct node_watch *watch = opaque;
    struct supervisor *supervisor = watch->supervisor;
    const struct plan_entry *entry = watch->entry;
    g_autoptr(GError) error = NULL;

    if (supervisor->leaving || team_has(supervisor->team, entry->role) ||
        !plan_has_nodes(entry->role, supervisor->cmdline->domid, supervisor->store))
        return;
    g_message("role %s: started for a device that was added", entry->role->name);
    if (!team_start(supervisor->team, entry->role, entry->options, &error) ||
        !register_processes(supervisor, &error))
        g_warning("role %s: %s", entry->role->name, error->message);
}

static void node_watch_free(gpointer opaque)
{
    struct node_watch *watch = opaque;
    xen_store_watch_remove(watch->watch);
    g_free(watch);
}

/*
 * Beside QEMU a device that comes later is QEMU's: both would see it at the same time, and who
 * is first would be chance.
 */
static bool watch_nodes(struct supervisor *supervisor, const struct plan_entry *entry,
                        GError **error)
{
    if (supervisor->qemu)
        return true;
    g_autofree char *path =
        g_strdup_printf("backend/%s/%u", entry->role->backend, supervisor->cmdline->domid);
    struct node_watch *watch = g_new0(struct node_watch, 1);
    watch->supervisor = supervisor;
    watch->entry = entry;
    watch->watch = xen_store_watch_add(supervisor->store, path, on_nodes, watch, error);
    g_ptr_array_add(supervisor->node_watches, watch);
    return watch->watch != NULL;
}

/* The first thing, because it is a fork: see team_start(). */
static bool start_roles(struct supervisor *supervisor, GError **error)
{
    for (guint i = 0; i < supervisor->plan->len; i++) {
        const struct plan_entry *entry = g_ptr_array_index(supervisor->plan, i);
        if (entry->now && !team_start(supervisor->team, entry->role, entry->options, error))
            return false;
    }
    return true;
}

static bool watch_for_roles(struct supervisor *supervisor, GError **error)
{
    for (guint i = 0; i < supervisor->plan->len; i++) {
        const struct plan_entry *entry = g_ptr_array_index(supervisor->plan, i);
        if (!entry->now && !watch_nodes(supervisor, entry, error))
            return false;
    }
    return true;
}

/* What is done while the roles start. */
static bool prepare(struct supervisor *supervisor, GError **error)
{
    role_run_sweep(supervisor->store); /* after guests of the past */
    supervisor->commands = qmp_commands_new(supervisor->cmdline->stopped, leave, supervisor);
    if (supervisor->qemu)
        qemu_watch(supervisor->qemu, leave, supervisor);
    supervisor->release_watch = xen_store_watch_add(supervisor->store, "@releaseDomain",
                                                    on_release_domain, supervisor, error);
    return supervisor->release_watch && watch_for_roles(supervisor, error) &&
           serve_qmp(supervisor, error) && register_processes(supervisor, error);
}

static bool set_up(struct supervisor *supervisor, GError **error)
{
    const struct dm_cmdline *cmdline = supervisor->cmdline;

    if (!cmdline->pv) {
        supervisor->qemu = qemu_split(cmdline, error);
        if (!supervisor->qemu)
            return false;
    }
    signal(SIGPIPE, SIG_IGN); /* only now: QEMU would have inherited it */
    supervisor->store = xen_store_open(error);
    if (!supervisor->store)
        return false;
    supervisor->plan = plan_new(supervisor->roles, cmdline, supervisor->store, error);
    if (!supervisor->plan || !hole_check(cmdline, supervisor->plan, supervisor->store, error))
        return false;
    bool good = start_roles(supervisor, error);
    supervisor->loop = g_main_loop_new(NULL, FALSE);
    good = good && prepare(supervisor, error);
    team_watch(supervisor->team);
    if (good && team_size(supervisor->team) == 0)
        on_team_ready(supervisor);
    return good;
}

static gboolean on_signal(gpointer opaque)
{
    leave(opaque);
    return G_SOURCE_CONTINUE;
}

/* Serves the guest that CMDLINE is about until it ends; returns the exit status. */
static int supervise(const struct role *const *roles, const struct dm_cmdline *cmdline, int argc,
                     char **argv)
{
    struct supervisor supervisor = { .roles = roles, .cmdline = cmdline };
    g_autoptr(GError) error = NULL;

    supervisor.node_watches = g_ptr_array_new_with_free_func(node_watch_free);
    supervisor.servers = g_ptr_array_new_with_free_func((GDestroyNotify)qmp_server_free);
    supervisor.proxies = g_ptr_array_new_with_free_func((GDestroyNotify)qmp_proxy_free);
    supervisor.team = team_new(cmdline->domid, argc, argv, &team_events, &supervisor);

    bool good = set_up(&supervisor, &error);
    if (good) {
        g_unix_signal_add(SIGHUP, on_signal, &supervisor); /* libxl's way to end it */
        g_unix_signal_add(SIGTERM, on_signal, &supervisor);
        g_unix_signal_add(SIGINT, on_signal, &supervisor);
    } else {
        /* What was started already is stopped in the main loop. */
        g_critical("%s", error->message);
        supervisor.status = 1;
        supervisor.leaving = true;
        team_stop(supervisor.team);
    }
    if (!supervisor.leaving || team_size(supervisor.team) > 0)
        g_main_loop_run(supervisor.loop);

    g_ptr_array_unref(supervisor.servers);
    g_ptr_array_unref(supervisor.proxies);
    g_ptr_array_unref(supervisor.node_watches);
    qmp_commands_free(supervisor.commands);
    qemu_free(supervisor.qemu);
    team_free(supervisor.team);
    xen_store_watch_remove(supervisor.release_watch);
    xen_store_close(supervisor.store);
    g_clear_pointer(&supervisor.plan, g_ptr_array_unref);
    g_clear_pointer(&supervisor.loop, g_main_loop_unref);
    return supervisor.status;
}

/* libxl asks what its device model can do, before it knows what kind of guest it is for. */
static int answer_probe(const struct dm_cmdline *cmdline)
{
    struct supervisor supervisor = { .cmdline = cmdline };
    g_autoptr(GError) error = NULL;

    if (qemu_available()) {
        qemu_become(cmdline, &error);
        g_critical("%s", error->message);
        return 1;
    }
    supervisor.loop = g_main_loop_new(NULL, FALSE);
    supervisor.servers = g_ptr_array_new_with_free_func((GDestroyNotify)qmp_server_free);
    supervisor.team = team_new(0, 0, NULL, &team_events, &supervisor);
    supervisor.commands = qmp_commands_new(cmdline->stopped, leave, &supervisor);
    if (serve_qmp(&supervisor, &error)) {
        g_main_loop_run(supervisor.loop);
    } else {
        g_critical("%s", error->message);
        supervisor.status = 1;
    }
    g_ptr_array_unref(supervisor.servers);
    qmp_commands_free(supervisor.commands);
    team_free(supervisor.team);
    g_main_loop_unref(supervisor.loop);
    return supervisor.status;
}

int supervisor_main(const struct role *const *roles, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    struct dm_cmdline *cmdline = dm_cmdline_parse(argc, argv, &error);
    int status = 1;

    if (!cmdline)
        g_critical("%s", error->message);
    else
        status = cmdline->probe ? answer_probe(cmdline) : supervise(roles, cmdline, argc, argv);
    dm_cmdline_free(cmdline);
    return status;
}
