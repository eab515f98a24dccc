/* The QMP commands of a guest without QEMU: see qmp-commands.h. */

#include "toolstack/qmp-commands.h"

#include <string.h>
#include <unistd.h>

/* libxl gates what it does on QEMU's version; this is the QEMU whose behaviour is followed. */
#define QEMU_MAJOR 7
#define QEMU_MINOR 2
#define QEMU_MICRO 0

/* Descriptors held for add-fd, and the text that goes with each; libxl holds one for a moment. */
#define PASSED_FDS_MAX 32
#define OPAQUE_MAX 1024

#define PARAMETERS_MAX 3

struct qmp_commands {
    const char *status;    /* QEMU's run state */
    JsonArray *chardevs;   /* what query-chardev returns */
    GPtrArray *passed_fds; /* struct passed_fd, by fdset */
    qmp_quit_fn *quit;
    void *opaque;
};

struct passed_fd {
    gint64 fdset;
    int fd;
    char *opaque; /* or NULL */
};

/* One command as it is run; ARGUMENTS have been checked against the command's parameters. */
struct call {
    struct qmp_commands *commands;
    struct qmp_client *client;
    JsonObject *arguments; /* NULL: none */
};

enum parameter_type { TEXT, INTEGER, BOOLEAN };
static const char *const type_names[] = { "string", "integer", "boolean" };

enum parameter_need { REQUIRED, OPTIONAL };

struct parameter {
    const char *name;
    enum parameter_type type;
    enum parameter_need need;
};

struct command {
    const char *name;
    JsonNode *(*run)(struct call *call, GError **error);
    struct parameter parameters[PARAMETERS_MAX];
};

static void passed_fd_free(void *opaque)
{
    struct passed_fd *passed = opaque;
    close(passed->fd);
    g_free(passed->opaque);
    g_free(passed);
}

static JsonNode *object_node(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, object);
    return node;
}

static JsonNode *array_node(JsonArray *array)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, array);
    return node;
}

/* Sets *error; returns NULL, which is also false. */
G_GNUC_PRINTF(2, 3)
static JsonNode *refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error)
        *error = g_error_new_valist(QMP_ERROR, QMP_ERROR_GENERIC, format, args);
    va_end(args);
    return NULL;
}

static JsonNode *run_nothing(struct call *call, GError **error)
{
    return object_node(json_object_new());
}

static JsonNode *run_no_devices(struct call *call, GError **error)
{
    return array_node(json_array_new());
}

static JsonNode *run_no_display(struct call *call, GError **error)
{
    return refuse(error, "this guest has no display, so there is no password to set");
}

static JsonNode *run_query_version(struct call *call, GError **error)
{
    JsonObject *qemu = json_object_new();
    json_object_set_int_member(qemu, "major", QEMU_MAJOR);
    json_object_set_int_member(qemu, "minor", QEMU_MINOR);
    json_object_set_int_member(qemu, "micro", QEMU_MICRO);
    JsonObject *version = json_object_new();
    json_object_set_object_member(version, "qemu", qemu);
    json_object_set_string_member(version, "package", "rolemodel " ROLEMODEL_VERSION);
    return object_node(version);
}

static JsonNode *run_query_status(struct call *call, GError **error)
{
    const char *status = call->commands->status;
    JsonObject *result = json_object_new();
    json_object_set_string_member(result, "status", status);
    json_object_set_boolean_member(result, "singlestep", FALSE);
    json_object_set_boolean_member(result, "running", strcmp(status, "running") == 0);
    return object_node(result);
}

static JsonNode *run_stop(struct call *call, GError **error)
{
    if (strcmp(call->commands->status, "running") == 0)
        call->commands->status = "paused";
    return run_nothing(call, error);
}

static JsonNode *run_cont(struct call *call, GError **error)
{
    call->commands->status = "running";
    return run_nothing(call, error);
}

static JsonNode *run_quit(struct call *call, GError **error)
{
    call->commands->quit(call->commands->opaque);
    return run_nothing(call, error);
}

static JsonNode *run_system_wakeup(struct call *call, GError **error)
{
    return refuse(error, "wake-up from suspend is not supported by this guest");
}

static JsonNode *run_save_devices_state(struct call *call, GError **error)
{
    return refuse(error, "this guest has no emulated devices, so there is no state to save: "
                         "what its roles know is in xenstore and in the guest's own memory");
}

static JsonNode *run_query_chardev(struct call *call, GError **error)
{
    return array_node(json_array_ref(call->commands->chardevs));
}

static JsonNode *run_query_vnc(struct call *call, GError **error)
{
    JsonObject *result = json_object_new();
    json_object_set_boolean_member(result, "enabled", FALSE);
    return object_node(result);
}

/* libxl's probe looks for options it could use; QEMU's are not ours, so there are none. */
static JsonNode *run_query_command_line_options(struct call *call, GError **error)
{
    if (call->arguments && json_object_has_member(call->arguments, "option"))
        return refuse(error, "invalid option name: %s",
                      json_object_get_string_member(call->arguments, "option"));
    return array_node(json_array_new());
}

static JsonNode *run_add_fd(struct call *call, GError **error)
{
    GPtrArray *all = call->commands->passed_fds;
    JsonObject *arguments = call->arguments;
    bool chosen = arguments && json_object_has_member(arguments, "fdset-id");
    gint64 fdset = chosen ? json_object_get_int_member(arguments, "fdset-id") : 0;
    const char *text =
        arguments ? json_object_get_string_member_with_default(arguments, "opaque", NULL) : NULL;

    int fd = qmp_client_take_fd(call->client);
    if (fd < 0)
        return refuse(error, "No file descriptor supplied via SCM_RIGHTS");
    bool full = all->len == PASSED_FDS_MAX;
    bool too_long = text && strlen(text) > OPAQUE_MAX;
    if (fdset < 0 || full || too_long) {
        close(fd);
        if (fdset < 0)
            return refuse(error, "Parameter 'fdset-id' expects a non-negative value");
        return full ? refuse(error, "%d descriptors are held already (use remove-fd)",
                             PASSED_FDS_MAX)
                    : refuse(error, "Parameter 'opaque' has more than %d bytes", OPAQUE_MAX);
    }

    /* The place that keeps the order; with no set chosen, the first number that is not there. */
    guint place = 0;
    for (; place < all->len; place++) {
        const struct passed_fd *other = g_ptr_array_index(all, place);
        if (other->fdset > fdset)
            break;
        if (!chosen)
            fdset = other->fdset + 1;
    }
    struct passed_fd *passed = g_new0(struct passed_fd, 1);
    passed->fdset = fdset;
    passed->fd = fd;
    passed->opaque = g_strdup(text);
    g_ptr_array_insert(all, place, passed);

    JsonObject *result = json_object_new();
    json_object_set_int_member(result, "fd", fd);
    json_object_set_int_member(result, "fdset-id", fdset);
    return object_node(result);
}

static JsonNode *run_remove_fd(struct call *call, GError **error)
{
    GPtrArray *all = call->commands->passed_fds;
    gint64 fdset = json_object_get_int_member(call->arguments, "fdset-id");
    bool one = json_object_has_member(call->arguments, "fd");
    gint64 fd = one ? json_object_get_int_member(call->arguments, "fd") : -1;

    guint before = all->len;
    for (guint i = before; i-- > 0;) {
        const struct passed_fd *passed = g_ptr_array_index(all, i);
        if (passed->fdset == fdset && (!one || passed->fd == fd))
            g_ptr_array_remove_index(all, i);
    }
    if (all->len < before)
        return run_nothing(call, error);
    if (one)
        return refuse(error,
                      "File descriptor named 'fdset-id:%" G_GINT64_FORMAT ", fd:%" G_GINT64_FORMAT
                      "' not found",
                      fdset, fd);
    return refuse(error, "File descriptor named 'fdset-id:%" G_GINT64_FORMAT "' not found", fdset);
}

static JsonNode *run_query_fdsets(struct call *call, GError **error)
{
    GPtrArray *all = call->commands->passed_fds;
    JsonArray *result = json_array_new();
    JsonArray *fds = NULL;
    gint64 last = -1;

    for (guint i = 0; i < all->len; i++) {
        const struct passed_fd *passed = g_ptr_array_index(all, i);
        if (passed->fdset != last) {
            JsonObject *fdset = json_object_new();
            fds = json_array_new();
            json_object_set_int_member(fdset, "fdset-id", passed->fdset);
            json_object_set_array_member(fdset, "fds", fds);
            json_array_add_object_element(result, fdset);
            last = passed->fdset;
        }
        JsonObject *line = json_object_new();
        json_object_set_int_member(line, "fd", passed->fd);
        if (passed->opaque)
            json_object_set_string_member(line, "opaque", passed->opaque);
        json_array_add_object_element(fds, line);
    }
    return array_node(result);
}

static JsonNode *run_query_commands(struct call *call, GError **error);

static const struct command commands_table[] = {
    { "add-fd", run_add_fd, { { "fdset-id", INTEGER, OPTIONAL }, { "opaque", TEXT, OPTIONAL } } },
    { "change-vnc-password", run_no_display, { { "password", TEXT, REQUIRED } } },
    { "cont", run_cont, {} },
    { "query-chardev", run_query_chardev, {} },
    { "query-command-line-options",
      run_query_command_line_options,
      { { "option", TEXT, OPTIONAL } } },
    { "query-commands", run_query_commands, {} },
    { "query-cpus-fast", run_no_devices, {} },
    { "query-fdsets", run_query_fdsets, {} },
    { "query-pci", run_no_devices, {} },
    { "query-status", run_query_status, {} },
    { "query-version", run_query_version, {} },
    { "query-vnc", run_query_vnc, {} },
    { "quit", run_quit, {} },
    { "remove-fd",
      run_remove_fd,
      { { "fdset-id", INTEGER, REQUIRED }, { "fd", INTEGER, OPTIONAL } } },
    { "set_password",
      run_no_display,
      { { "protocol", TEXT, REQUIRED },
        { "password", TEXT, REQUIRED },
        { "connected", TEXT, OPTIONAL } } },
    { "stop", run_stop, {} },
    { "system_wakeup", run_system_wakeup, {} },
    { "xen-save-devices-state",
      run_save_devices_state,
      { { "filename", TEXT, REQUIRED }, { "live", BOOLEAN, OPTIONAL } } },
};

static void add_name(JsonArray *result, const char *name)
{
    JsonObject *line = json_object_new();
    json_object_set_string_member(line, "name", name);
    json_array_add_object_element(result, line);
}

static JsonNode *run_query_commands(struct call *call, GError **error)
{
    JsonArray *result = json_array_new();
    add_name(result, "qmp_capabilities"); /* the protocol's own */
    for (gsize i = 0; i < G_N_ELEMENTS(commands_table); i++)
        add_name(result, commands_table[i].name);
    return array_node(result);
}

static bool has_type(JsonNode *value, enum parameter_type type)
{
    static const GType types[] = { G_TYPE_STRING, G_TYPE_INT64, G_TYPE_BOOLEAN };
    return JSON_NODE_HOLDS_VALUE(value) && json_node_get_value_type(value) == types[type];
}

/* True if ARGUMENTS (NULL: none) are what COMMAND takes. */
static bool check_arguments(const struct command *command, JsonObject *arguments, GError **error)
{
    const struct parameter *end = command->parameters;
    for (; end < command->parameters + PARAMETERS_MAX && end->name; end++) {
        JsonNode *value = arguments ? json_object_get_member(arguments, end->name) : NULL;
        if (!value && end->need == REQUIRED)
            return refuse(error, "Parameter '%s' is missing", end->name);
        if (value && !has_type(value, end->type))
            return refuse(error, "Invalid parameter type for '%s', expected: %s", end->name,
                          type_names[end->type]);
    }

    g_autoptr(GList) names = arguments ? json_object_get_members(arguments) : NULL;
    for (GList *item = names; item; item = item->next) {
        const struct parameter *p = command->parameters;
        while (p < end && strcmp(p->name, item->data) != 0)
            p++;
        if (p == end)
            return refuse(error, "Parameter '%s' is unexpected", (const char *)item->data);
    }
    return true;
}

JsonNode *qmp_commands_run(struct qmp_client *client, const char *name, JsonObject *arguments,
                           void *opaque, GError **error)
{
    struct call call = { .commands = opaque, .client = client, .arguments = arguments };
    for (gsize i = 0; i < G_N_ELEMENTS(commands_table); i++) {
        const struct command *command = &commands_table[i];
        if (strcmp(command->name, name) == 0)
            return check_arguments(command, arguments, error) ? command->run(&call, error) : NULL;
    }
    g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND, "The command %s has not been found",
                name);
    return NULL;
}

struct qmp_commands *qmp_commands_new(bool stopped, qmp_quit_fn *quit, void *opaque)
{
    struct qmp_commands *commands = g_new0(struct qmp_commands, 1);
    commands->status = stopped ? "prelaunch" : "running";
    commands->chardevs = json_array_new();
    commands->passed_fds = g_ptr_array_new_with_free_func(passed_fd_free);
    commands->quit = quit;
    commands->opaque = opaque;
    return commands;
}

void qmp_commands_free(struct qmp_commands *commands)
{
    if (!commands)
        return;
    json_array_unref(commands->chardevs);
    g_ptr_array_unref(commands->passed_fds);
    g_free(commands);
}

void qmp_commands_add_chardev(struct qmp_commands *commands, const char *label,
                              const char *filename)
{
    JsonObject *line = json_object_new();
    json_object_set_boolean_member(line, "frontend-open", TRUE);
    json_object_set_string_member(line, "filename", filename);
    json_object_set_string_member(line, "label", label);
    json_array_add_object_element(commands->chardevs, line);
}
