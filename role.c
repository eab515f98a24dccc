/* What every role's process does: see role.h. */

#define G_LOG_DOMAIN "role"
#include "role.h"

#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "role_control.h"

/* A directory of xenstore with more than this is not one that we or libxl wrote. */
#define PROCESSES_SHOWN 16

struct role_process {
    const struct role *role;
    gint domid;
    gint notify_fd; /* the supervisor's; -1 without one */
    role_check_fn *check;
    void *check_opaque;
    GHashTable *options;
    struct xen_store *store;
    struct xen_store_watch *release_watch;
    struct role_control *control; /* NULL without commands */
    GMainLoop *loop;
    void *instance;
    bool stopping;
};

unsigned role_process_domid(struct role_process *process)
{
    return process->domid;
}

struct xen_store *role_process_store(struct role_process *process)
{
    return process->store;
}

const char *role_process_option(struct role_process *process, const char *key)
{
    return g_hash_table_lookup(process->options, key);
}

bool role_parse_uint(const char *text, guint64 min, guint64 max, guint64 *value, GError **error)
{
    bool hex = g_str_has_prefix(text, "0x");
    return g_ascii_string_to_unsigned(text + (hex ? 2 : 0), hex ? 16 : 10, min, max, value, error);
}

bool role_process_option_uint(struct role_process *process, const char *key, guint64 min,
                              guint64 max, guint64 fallback, guint64 *value, GError **error)
{
    const char *text = role_process_option(process, key);
    *value = fallback;
    if (!text)
        return true;
    if (role_parse_uint(text, min, max, value, NULL))
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "role %s: %s=%s: a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT
                " is needed",
                process->role->name, key, text, min, max);
    return false;
}

void role_process_stopped(struct role_process *process)
{
    g_main_loop_quit(process->loop);
}

void role_process_set_check(struct role_process *process, role_check_fn *check, void *opaque)
{
    process->check = check;
    process->check_opaque = opaque;
}

static void begin_stop(struct role_process *process)
{
    if (process->stopping)
        return;
    process->stopping = true;
    role_control_close(g_steal_pointer(&process->control));
    process->role->stop(process->instance);
}

static gboolean on_signal(gpointer opaque)
{
    begin_stop(opaque);
    return G_SOURCE_CONTINUE;
}

static void on_release_domain(void *opaque)
{
    struct role_process *process = opaque;
    if (xen_store_domain_gone(process->store, process->domid))
        begin_stop(process);
}

static bool is_option(const struct role *role, const char *key)
{
    const char *colon = strchr(key, ':');
    const char *const *known = colon ? role->device_options : role->options;
    return known && g_strv_contains(known, colon ? colon + 1 : key);
}

static bool take_options(struct role_process *process, char **pairs, GError **error)
{
    for (char **pair = pairs; pair && *pair; pair++) {
        char *equals = strchr(*pair, '=');
        g_autofree char *key = equals ? g_strndup(*pair, equals - *pair) : g_strdup(*pair);
        const char *const *known = process->role->options;
        if (!is_option(process->role, key)) {
            g_autofree char *list = g_strjoinv(", ", (char **)known);
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION,
                        "role %s has no option '%s' (it has: %s)", process->role->name, key,
                        known ? list : "none");
            return false;
        }
        if (!equals) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "role %s: option '%s' needs a value (%s=...)", process->role->name, key,
                        key);
            return false;
        }
        g_hash_table_insert(process->options, g_steal_pointer(&key), g_strdup(equals + 1));
    }
    return true;
}

static bool parse_command_line(struct role_process *process, int argc, char **argv, GError **error)
{
    g_auto(GStrv) pairs = NULL;
    GOptionEntry entries[] = {
        { "domid", 'd', 0, G_OPTION_ARG_INT, &process->domid, "The guest to serve", "N" },
        { "option", 'o', 0, G_OPTION_ARG_STRING_ARRAY, &pairs, "Set an option of the role",
          "KEY=VALUE" },
        { "notify-fd", 0, 0, G_OPTION_ARG_INT, &process->notify_fd,
          "Say on this socket that the role is ready, and answer (the supervisor's)", "FD" },
        { NULL }
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, entries, NULL);
    g_autofree char *commands = role_command_help(process->role);
    g_option_context_set_summary(context, process->role->summary);
    g_option_context_set_description(context, commands);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    if (argc > 1) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "unexpected argument '%s'",
                    argv[1]);
        return false;
    }
    if (process->domid < 1) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "--domid N is needed: the number of a running guest (xl list)");
        return false;
    }
    return take_options(process, pairs, error);
}

static bool write_pid(struct xen_store *store, void *opaque, GError **error)
{
    const struct role_process *process = opaque;
    g_autofree char *domain = g_strdup_printf("/local/domain/%d", process->domid);
    g_autofree char *dir =
        g_strdup_printf("device-model/%d/roles/%s", process->domid, process->role->name);
    g_autofree char *exists = xen_store_read(store, domain, NULL, error);
    return exists && xen_store_write(store, dir, "pid", error, "%d", getpid());
}

char *role_guest_processes(struct role_process *process)
{
    g_autofree char *domain = g_strdup_printf("/local/domain/%d", process->domid);
    g_autofree char *dir = g_strdup_printf("device-model/%d/roles", process->domid);
    g_autofree char *primary =
        xen_store_read(process->store, domain, "image/device-model-pid", NULL);
    g_auto(GStrv) names = xen_store_list(process->store, dir);
    g_autoptr(GString) list = g_string_new(primary ? "the primary device model" : "");

    for (unsigned i = 0; names[i] && i < PROCESSES_SHOWN; i++)
        g_string_append_printf(list, "%s%s", list->len ? ", " : "", names[i]);
    return list->len ? g_string_free(g_steal_pointer(&list), FALSE) : NULL;
}

/* For `rolemodel list`, if the role was started by hand; the supervisor does it for its own. */
static bool register_process(struct role_process *process, GError **error)
{
    return xen_store_transaction(process->store, write_pid, process, error);
}

/*
 * libxl knows the guest's type.  A PV or PVH guest has no emulated platform; under a toolstack that
 * does not say, Xen will.
 */
static bool check_guest_type(struct role_process *process, GError **error)
{
    if (!process->role->hvm_only)
        return true;
    g_autofree char *dir = g_strdup_printf("/libxl/%d", process->domid);
    g_autofree char *type = xen_store_read(process->store, dir, "type", NULL);
    if (!type || strcmp(type, "hvm") == 0)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                "role %s: domain %d is of type %s and has no emulated PCI bus; use type=\"hvm\" in "
                "its configuration, or leave the role out",
                process->role->name, process->domid, type);
    return false;
}

static bool start(struct role_process *process, GError **error)
{
    process->store = xen_store_open(error);
    if (!process->store)
        return false;
    if (xen_store_domain_gone(process->store, process->domid)) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "domain %d does not exist (see xl list)", process->domid);
        return false;
    }
    if (!check_guest_type(process, error))
        return false;
    process->instance = process->role->start(process, error);
    return process->instance != NULL;
}

/* There is one answer to a question, so that the socket has room for it even if nobody reads. */
static void answer(struct role_process *process, char text)
{
    if (write(process->notify_fd, &text, 1) < 0)
        g_warning("cannot answer the supervisor: %s", g_strerror(errno));
}

static bool goes_on(struct role_process *process)
{
    return process->stopping || !process->check || process->check(process->check_opaque);
}

/* Without the supervisor, which may have ended, the role goes on as if it was started by hand. */
static gboolean on_question(gint fd, GIOCondition condition, gpointer opaque)
{
    struct role_process *process = opaque;
    char question;

    ssize_t got = read(fd, &question, 1);
    if (got == 1)
        answer(process, goes_on(process) ? ROLE_GOES_ON : ROLE_HANGS);
    if (got == 1 || (got < 0 && errno == EAGAIN))
        return G_SOURCE_CONTINUE;
    close(fd);
    return G_SOURCE_REMOVE;
}

static bool tell_ready(struct role_process *process, GError **error)
{
    if (process->notify_fd < 0)
        return register_process(process, error);
    answer(process, ROLE_GOES_ON);
    g_unix_fd_add(process->notify_fd, G_IO_IN | G_IO_HUP, on_question, process);
    return true;
}

/* Without it the role cannot be spoken to; that is no reason not to serve the guest. */
static void open_control(struct role_process *process)
{
    g_autoptr(GError) error = NULL;
    if (!process->role->commands)
        return;
    process->control = role_control_open(process->role, process->domid, process->instance, &error);
    if (!process->control)
        g_warning("role %s takes no commands: %s", process->role->name, error->message);
}

/* The guest may have gone already; the watch fires once at its start, so we see that too. */
static void follow_guest(struct role_process *process)
{
    g_autoptr(GError) error = NULL;
    process->release_watch =
        xen_store_watch_add(process->store, "@releaseDomain", on_release_domain, process, &error);
    if (!process->release_watch)
        g_warning("%s", error->message);
}

int role_main(const struct role *role, int argc, char **argv)
{
    struct role_process process = { .role = role, .notify_fd = -1 };
    g_autoptr(GError) error = NULL;
    int status = 1;

    signal(SIGPIPE, SIG_IGN); /* a supervisor that died must not take us with it */
    process.loop = g_main_loop_new(NULL, FALSE);
    process.options = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_unix_signal_add(SIGTERM, on_signal, &process);
    g_unix_signal_add(SIGINT, on_signal, &process);
    g_unix_signal_add(SIGHUP, on_signal, &process);
    if (parse_command_line(&process, argc, argv, &error) && start(&process, &error)) {
        open_control(&process);
        if (!tell_ready(&process, &error))
            g_warning("%s", error->message);
        follow_guest(&process);
        g_main_loop_run(process.loop);
        status = 0;
    } else {
        g_critical("%s", error->message);
    }
    role_control_close(process.control);
    xen_store_watch_remove(process.release_watch);
    xen_store_close(process.store);
    g_hash_table_unref(process.options);
    g_main_loop_unref(process.loop);
    return status;
}
