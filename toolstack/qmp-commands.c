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
    json_t *chardevs;      /* what query-chardev returns */
    GPtrArray *passed_fds; /* struct passed_fd, by fdset */
    qmp_quit_fn *quit;
    void *opaque;
};

struct passed_fd {
    json_int_t fdset;
    int fd;
    char *opaque; /* or NULL */
};

/* One command as it is run; ARGUMENTS have been checked against the command's parameters. */
struct call {
    struct qmp_commands *commands;
    struct qmp_client *client;
    json_t *arguments; /* NULL: none */
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
    json_t *(*run)(struct call *call, GError **error);
    struct parameter parameters[PARAMETERS_MAX];
};

static void passed_fd_free(void *opaque)
{
    struct passed_fd *passed = opaque;
    close(passed->fd);
    g_free(passed->opaque);
    g_free(passed);
}

/* Sets *error; returns NULL, which is also false. */
G_GNUC_PRINTF(2, 3)
static json_t *refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error)
        *error = g_error_new_valist(QMP_ERROR, QMP_ERROR_GENERIC, format, args);
    va_end(args);
    return NULL;
}

static json_t *run_nothing(struct call *call, GError **error)
{
    return json_object();
}

static json_t *run_no_devices(struct call *call, GError **error)
{
    return json_array();
}

static json_t *run_no_display(struct call *call, GError **error)
{
    return refuse(error, "this guest has no display, so there is no password to set");
}

static json_t *run_query_version(struct call *call, GError **error)
{
    return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", QEMU_MAJOR, "minor", QEMU_MINOR,
                     "micro", QEMU_MICRO, "package", "rolemodel " ROLEMODEL_VERSION);
}

static json_t *run_query_status(struct call *call, GError **error)
{
    const char *status = call->commands->status;
    return json_pack("{s:s, s:b, s:b}", "status", status, "singlestep", false, "running",
                     strcmp(status, "running") == 0);
}

static json_t *run_stop(struct call *call, GError **error)
{
    if (strcmp(call->commands->status, "running") == 0)
        call->commands->status = "paused";
    return run_nothing(call, error);
}

static json_t *run_cont(struct call *call, GError **error)
{
    call->commands->status = "running";
    return run_nothing(call, error);
}

static json_t *run_quit(struct call *call, GError **error)
{
    call->commands->quit(call->commands->opaque);
    return run_nothing(call, error);
}

static json_t *run_system_wakeup(struct call *call, GError **error)
{
    return refuse(error, "wake-up from suspend is not supported by this guest");
}

static json_t *run_save_devices_state(struct call *call, GError **error)
{
    return refuse(error, "this guest has no emulated devices, so there is no state to save: "
                         "what its roles know is in xenstore and in the guest's own memory");
}

static json_t *run_query_chardev(struct call *call, GError **error)
{
    return json_incref(call->commands->chardevs);
}

static json_t *run_query_vnc(struct call *call, GError **error)
{
    return json_pack("{s:b}", "enabled", false);
}

/* libxl's probe looks for options it could use; QEMU's are not ours, so there are none. */
static json_t *run_query_command_line_options(struct call *call, GError **error)
{
    const char *option = json_string_value(json_object_get(call->arguments, "option"));
    if (option)
        return refuse(error, "invalid option name: %s", option);
    return json_array();
}

static json_t *run_add_fd(struct call *call, GError **error)
{
    GPtrArray *all = call->commands->passed_fds;
    const json_t *number = json_object_get(call->arguments, "fdset-id");
    json_int_t fdset = json_integer_value(number); /* 0 if there is none */
    const char *text = json_string_value(json_object_get(call->arguments, "opaque"));

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
        if (!number)
            fdset = other->fdset + 1;
    }
    struct passed_fd *passed = g_new0(struct passed_fd, 1);
    passed->fdset = fdset;
    passed->fd = fd;
    passed->opaque = g_strdup(text);
    g_ptr_array_insert(all, place, passed);

    return json_pack("{s:i, s:I}", "fd", fd, "fdset-id", fdset);
}

static json_t *run_remove_fd(struct call *call, GError **error)
{
    GPtrArray *all = call->commands->passed_fds;
    json_int_t fdset = json_integer_value(json_object_get(call->arguments, "fdset-id"));
    const json_t *one = json_object_get(call->arguments, "fd");
    json_int_t fd = json_integer_value(one);

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
                      "File descriptor named 'fdset-id:%" JSON_INTEGER_FORMAT
                      ", fd:%" JSON_INTEGER_FORMAT "' not found",
                      fdset, fd);
    return refuse(error, "File descriptor named 'fdset-id:%" JSON_INTEGER_FORMAT "' not found",
                  fdset);
}

static json_t *run_query_fdsets(struct call *call, GError **error)
{
    GPtrArray *all = call->commands->passed_fds;
    json_t *result = json_array();
    json_t *fds = NULL; /* of the set that is the last in the result */
    json_int_t last = -1;

    for (guint i = 0; i < all->len; i++) {
        const struct passed_fd *passed = g_ptr_array_index(all, i);
        if (passed->fdset != last) {
            fds = json_array();
            last = passed->fdset;
            json_array_append_new(result, json_pack("{s:I, s:o}", "fdset-id", last, "fds", fds));
        }
        json_array_append_new(fds,
                              json_pack("{s:i, s:s*}", "fd", passed->fd, "opaque", passed->opaque));
    }
    return result;
}

static json_t *run_query_commands(struct call *call, GError **error);

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

static json_t *run_query_commands(struct call *call, GError **error)
{
    json_t *result = json_pack("[{s:s}]", "name", "qmp_capabilities"); /* the protocol's own */
    for (gsize i = 0; i < G_N_ELEMENTS(commands_table); i++)
        json_array_append_new(result, json_pack("{s:s}", "name", commands_table[i].name));
    return result;
}

static bool has_type(const json_t *value, enum parameter_type type)
{
    switch (type) {
    case TEXT:
        return json_is_string(value);
    case INTEGER:
        return json_is_integer(value);
    case BOOLEAN:
        return json_is_boolean(value);
    }
    return false;
}

/* True if ARGUMENTS (NULL: none) are what COMMAND takes. */
static bool check_arguments(const struct command *command, json_t *arguments, GError **error)
{
    const struct parameter *end = command->parameters;
    for (; end < command->parameters + PARAMETERS_MAX && end->name; end++) {
        const json_t *value = json_object_get(arguments, end->name);
        if (!value && end->need == REQUIRED)
            return refuse(error, "Parameter '%s' is missing", end->name);
        if (value && !has_type(value, end->type))
            return refuse(error, "Invalid parameter type for '%s', expected: %s", end->name,
                          type_names[end->type]);
    }

    const char *name;
    json_t *value;
    json_object_foreach(arguments, name, value)
    {
        const struct parameter *p = command->parameters;
        while (p < end && strcmp(p->name, name) != 0)
            p++;
        if (p == end)
            return refuse(error, "Parameter '%s' is unexpected", name);
    }
    return true;
}

json_t *qmp_commands_run(struct qmp_client *client, const char *name, json_t *arguments,
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
    commands->chardevs = json_array();
    commands->passed_fds = g_ptr_array_new_with_free_func(passed_fd_free);
    commands->quit = quit;
    commands->opaque = opaque;
    return commands;
}

void qmp_commands_free(struct qmp_commands *commands)
{
    if (!commands)
        return;
    json_decref(commands->chardevs);
    g_ptr_array_unref(commands->passed_fds);
    g_free(commands);
}

void qmp_commands_add_chardev(struct qmp_commands *commands, const char *label,
                              const char *filename)
{
    /* Both are the command line's; jansson takes nothing but UTF-8. */
    g_autofree char *name = g_utf8_make_valid(label, -1);
    g_autofree char *where = g_utf8_make_valid(filename, -1);
    json_array_append_new(commands->chardevs, json_pack("{s:b, s:s, s:s}", "frontend-open", true,
                                                        "filename", where, "label", name));
}
