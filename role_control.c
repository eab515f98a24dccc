/* The role's end of its socket: see role_control.h. */

#define G_LOG_DOMAIN "role"
#include "role_control.h"

#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "role_run.h"
#include "xen/error.h"

#define CLIENTS_MAX 8

/* How long a client may take to send its request, and again to take the answer. */
#define CLIENT_SECONDS 10

/* How long to let a process without free descriptors find some. */
#define ACCEPT_PAUSE_SECONDS 1

/* Another process of the guest may remove the directory that we have just made. */
#define MAKE_TRIES 3

struct role_control {
    const struct role *role;
    void *instance;
    unsigned domid;
    int fd;
    guint source; /* accepts; 0 while there are as many clients as there may be */
    GPtrArray *clients;
};

struct client {
    struct role_control *control;
    int fd;
    guint source;   /* reads the request, writes the answer, or sees that the client leaves */
    guint deadline; /* of the first two */
    GByteArray *input;
    bool too_long;
    struct role_request *request; /* the role has it */
    GString *output;
    gsize sent;
};

struct role_request {
    struct client *client; /* NULL: nobody waits for the answer any more */
    role_gone_fn *gone;    /* then, unless NULL */
    void *gone_opaque;
    char **argv;
};

static void stop_waiting(struct client *client)
{
    if (client->source)
        g_source_remove(client->source);
    if (client->deadline)
        g_source_remove(client->deadline);
    client->source = client->deadline = 0;
}

/* It may be answered, and freed, in the call. */
static void lose_client(struct role_request *request)
{
    request->client = NULL;
    if (request->gone)
        request->gone(request->gone_opaque);
}

static void client_free(gpointer opaque)
{
    struct client *client = opaque;
    if (client->request)
        lose_client(client->request);
    stop_waiting(client);
    close(client->fd);
    g_byte_array_unref(client->input);
    g_string_free(client->output, TRUE);
    g_free(client);
}

static gboolean resume_accepting(gpointer opaque);

static void client_drop(struct client *client)
{
    struct role_control *control = client->control;
    g_ptr_array_remove_fast(control->clients, client);
    if (!control->source)
        resume_accepting(control);
}

static gboolean on_deadline(gpointer opaque)
{
    client_drop(opaque);
    return G_SOURCE_CONTINUE; /* client_drop() has removed the source */
}

static void wait_for(struct client *client, GIOCondition condition, GUnixFDSourceFunc fn)
{
    client->source = g_unix_fd_add(client->fd, condition, fn, client);
    client->deadline = g_timeout_add_seconds(CLIENT_SECONDS, on_deadline, client);
}

/* Sends what the socket takes; true if there is nothing left to do for the client. */
static bool send_output(struct client *client)
{
    const GString *output = client->output;

    while (client->sent < output->len) {
        ssize_t sent = send(client->fd, output->str + client->sent, output->len - client->sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EINTR)
            return errno != EAGAIN;
        client->sent += MAX(sent, 0);
    }
    return true;
}

static gboolean on_writable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct client *client = opaque;
    if (send_output(client))
        client_drop(client);
    return G_SOURCE_CONTINUE;
}

static void set_output(struct client *client, const char *word, const char *text)
{
    g_string_printf(client->output, "%s%s%s\n", word, text ? " " : "", text ? text : "");
}

/* CLIENT may be gone after it. */
static void client_answer(struct client *client, const char *word, const char *text)
{
    stop_waiting(client);
    set_output(client, word, text);
    if (send_output(client))
        client_drop(client);
    else
        wait_for(client, G_IO_OUT, on_writable);
}

static void request_answer(struct role_request *request, const char *word, const char *text)
{
    struct client *client = request->client;
    if (client) {
        client->request = NULL;
        client_answer(client, word, text);
    }
    g_strfreev(request->argv);
    g_free(request);
}

void role_request_reply(struct role_request *request, const char *text)
{
    request_answer(request, "ok", text);
}

void role_request_fail(struct role_request *request, const GError *error)
{
    request_answer(request, "error", error->message);
}

void role_request_on_gone(struct role_request *request, role_gone_fn *gone, void *opaque)
{
    request->gone = gone;
    request->gone_opaque = opaque;
}

static gboolean on_hang_up(gint fd, GIOCondition condition, gpointer opaque)
{
    client_drop(opaque);
    return G_SOURCE_CONTINUE; /* client_drop() has removed the source */
}

/* The words of the request, or NULL and *error. */
static char **parse(const struct client *client, GError **error)
{
    const GByteArray *input = client->input;
    g_autoptr(GStrvBuilder) words = g_strv_builder_new();
    unsigned count = 0;

    if (client->too_long || input->len == 0 || input->data[input->len - 1] != '\0') {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                    "this is not a request: up to %u words with a NUL byte after each, in up to %u "
                    "bytes, are one",
                    ROLE_CONTROL_WORDS, ROLE_CONTROL_BYTES);
        return NULL;
    }
    for (gsize at = 0; at < input->len; count++) {
        const char *word = (const char *)input->data + at;
        if (count < ROLE_CONTROL_WORDS)
            g_strv_builder_add(words, word);
        at += strlen(word) + 1;
    }
    if (count <= ROLE_CONTROL_WORDS)
        return g_strv_builder_end(words);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "more than %u words",
                ROLE_CONTROL_WORDS);
    return NULL;
}

/* CLIENT may be gone after it. */
static void run(struct client *client)
{
    const struct role_control *control = client->control;
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) argv = parse(client, &error);
    const struct role_command *command =
        argv ? role_command_find(control->role, argv[0], g_strv_length(argv) - 1, &error) : NULL;

    if (!command) {
        client_answer(client, "error", error->message);
        return;
    }
    struct role_request *request = g_new0(struct role_request, 1);
    request->client = client;
    request->argv = g_steal_pointer(&argv);
    client->request = request;
    client->source = g_unix_fd_add(client->fd, G_IO_HUP, on_hang_up, client);
    command->run(request, request->argv + 1, control->instance);
}

/* What is too long is read all the same: a client that still sends would not see the answer. */
static gboolean on_readable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct client *client = opaque;
    guint8 data[4096];
    ssize_t got = read(fd, data, sizeof(data));

    if (got > 0) {
        client->too_long |= client->input->len + got > ROLE_CONTROL_BYTES;
        if (!client->too_long)
            g_byte_array_append(client->input, data, got);
    } else if (got == 0) {
        stop_waiting(client);
        run(client);
    } else if (errno != EAGAIN && errno != EINTR) {
        client_drop(client);
    }
    return G_SOURCE_CONTINUE; /* stop_waiting() has removed the source */
}

static void client_new(struct role_control *control, int fd)
{
    struct client *client = g_new0(struct client, 1);
    client->control = control;
    client->fd = fd;
    client->input = g_byte_array_new();
    client->output = g_string_new(NULL);
    g_ptr_array_add(control->clients, client);
    wait_for(client, G_IO_IN, on_readable);
}

static gboolean on_connection(gint fd, GIOCondition condition, gpointer opaque)
{
    struct role_control *control = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (client >= 0) {
        client_new(control, client);
        if (control->clients->len < CLIENTS_MAX)
            return G_SOURCE_CONTINUE;
        control->source = 0; /* until one leaves */
        return G_SOURCE_REMOVE;
    }
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
        return G_SOURCE_CONTINUE;
    /* The client stays in the queue and the socket readable: try later, not in a busy loop. */
    g_warning("cannot accept a command: %s", g_strerror(errno));
    control->source = g_timeout_add_seconds(ACCEPT_PAUSE_SECONDS, resume_accepting, control);
    return G_SOURCE_REMOVE;
}

static gboolean resume_accepting(gpointer opaque)
{
    struct role_control *control = opaque;
    control->source = g_unix_fd_add(control->fd, G_IO_IN, on_connection, control);
    return G_SOURCE_REMOVE;
}

/* In the place of what another process left; 0 or an errno. */
static int bind_over(int fd, const struct sockaddr_un *address)
{
    const struct sockaddr *plain = (const struct sockaddr *)address;

    if (bind(fd, plain, sizeof(*address)) == 0)
        return 0;
    if (errno != EADDRINUSE)
        return errno;
    if (role_run_listens(address->sun_path))
        return EEXIST;
    unlink(address->sun_path);
    return bind(fd, plain, sizeof(*address)) == 0 ? 0 : errno;
}

static bool make_socket(struct role_control *control, const struct sockaddr_un *address,
                        GError **error)
{
    int problem = ENOENT;

    control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* On Linux bind() gives the file the mode of the socket: private from its first moment. */
    if (control->fd < 0 || fchmod(control->fd, 0600) < 0) {
        xen_set_error(error, "cannot make a socket");
        return false;
    }
    for (unsigned i = 0; i < MAKE_TRIES && problem == ENOENT; i++) {
        if (!role_run_make(control->domid, error))
            return false;
        problem = bind_over(control->fd, address);
    }
    if (problem == 0 && listen(control->fd, SOMAXCONN) < 0)
        problem = errno;
    if (problem == EEXIST)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST,
                    "another process of role %s serves domain %u, and gets its commands",
                    control->role->name, control->domid);
    else if (problem)
        xen_set_error_errno(error, problem, "cannot put a socket at %s", address->sun_path);
    return !problem;
}

struct role_control *role_control_open(const struct role *role, unsigned domid, void *instance,
                                       GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *path = role_run_path(domid, role->name);

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) >= sizeof(address.sun_path)) {
        xen_set_error_errno(error, ENAMETOOLONG, "cannot put a socket at %s", path);
        return NULL;
    }
    struct role_control *control = g_new0(struct role_control, 1);
    control->role = role;
    control->domid = domid;
    control->instance = instance;
    control->clients = g_ptr_array_new_with_free_func(client_free);
    if (make_socket(control, &address, error)) {
        resume_accepting(control);
        return control;
    }
    if (control->fd >= 0)
        close(control->fd);
    g_ptr_array_unref(control->clients);
    g_free(control);
    return NULL;
}

/* One whose answer is under way keeps it. */
static void say_goodbye(struct client *client)
{
    if (client->output->len == 0)
        set_output(client, "error", "the role stops");
    send_output(client);
}

void role_control_close(struct role_control *control)
{
    if (!control)
        return;
    role_run_remove(control->domid, control->role->name);
    if (control->source)
        g_source_remove(control->source);
    for (guint i = 0; i < control->clients->len; i++)
        say_goodbye(g_ptr_array_index(control->clients, i));
    g_ptr_array_unref(control->clients);
    close(control->fd);
    g_free(control);
}
