/* The QMP protocol: see qmp.h. */

#include "toolstack/qmp.h"

#include <errno.h>
#include <glib-unix.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* libxl's messages have some hundred bytes; see qmp.h. */
#define MESSAGE_MAX (1 << 20)
#define OUTPUT_MAX (1 << 20)
#define CLIENTS_MAX 16

/* jansson is recursive: this bounds its stack. */
#define DEPTH_MAX 64

/* A buffer that grew beyond this is given back when it is empty. */
#define BUFFER_KEEP 4096

struct qmp_server {
    struct qmp_listener *listener;
    qmp_run_fn *run;
    void *opaque;
    GPtrArray *clients;
};

struct qmp_client {
    struct qmp_server *server;
    int fd;
    int passed_fd; /* or -1 */
    guint input_source;
    guint output_source; /* 0 while there is no output */
    GString *output;
    bool negotiated;

    /* Where the input is between two messages or in one. */
    GString *input; /* the message so far, from its opening brace */
    unsigned depth; /* of braces and brackets; 0 between messages */
    bool in_string;
    bool escaped; /* the last byte was a backslash in a string */
    bool stray;   /* between messages, in something that is not an object or an array */
};

G_DEFINE_QUARK(qmp - error - quark, qmp_error)

static GString *buffer_clear(GString *buffer)
{
    if (buffer->allocated_len <= BUFFER_KEEP)
        return g_string_truncate(buffer, 0);
    g_string_free(buffer, TRUE);
    return g_string_new(NULL);
}

static void client_free(void *opaque)
{
    struct qmp_client *client = opaque;
    g_source_remove(client->input_source);
    if (client->output_source)
        g_source_remove(client->output_source);
    if (client->passed_fd >= 0)
        close(client->passed_fd);
    close(client->fd);
    g_string_free(client->input, TRUE);
    g_string_free(client->output, TRUE);
    g_free(client);
}

static void client_drop(struct qmp_client *client)
{
    g_ptr_array_remove_fast(client->server->clients, client);
}

static gboolean client_writable(gint fd, GIOCondition condition, gpointer opaque);

/* Sends what the socket takes; false if the client is gone or does not read. */
static bool client_flush(struct qmp_client *client)
{
    GString *output = client->output;
    gsize sent = 0;
    while (sent < output->len) {
        ssize_t n = send(client->fd, output->str + sent, output->len - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n < 0 && errno != EINTR)
            return false;
        sent += MAX(n, 0);
    }
    g_string_erase(output, 0, sent);
    if (output->len > OUTPUT_MAX)
        return false;
    if (output->len > 0) {
        if (!client->output_source)
            client->output_source = g_unix_fd_add(client->fd, G_IO_OUT, client_writable, client);
        return true;
    }
    client->output = buffer_clear(output);
    if (client->output_source)
        g_source_remove(client->output_source);
    client->output_source = 0;
    return true;
}

static gboolean client_writable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct qmp_client *client = opaque;
    if (!client_flush(client))
        client_drop(client);
    return G_SOURCE_CONTINUE; /* flushing and dropping remove the source themselves */
}

/* Sends MESSAGE and takes it over; false as client_flush(). */
static bool client_send(struct qmp_client *client, json_t *message)
{
    g_autofree char *text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    g_string_append(client->output, text);
    g_string_append(client->output, "\r\n");
    return client_flush(client);
}

/* Replies with RESULT, which is taken over, or if it is NULL with ERROR. */
static bool client_reply(struct qmp_client *client, json_t *result, const GError *error, json_t *id)
{
    if (result)
        return client_send(client, json_pack("{s:o, s:O*}", "return", result, "id", id));
    bool missing = error->domain == QMP_ERROR && error->code == QMP_ERROR_COMMAND_NOT_FOUND;
    g_autofree char *text = g_utf8_make_valid(error->message, -1); /* jansson takes no other */
    return client_send(client, json_pack("{s:{s:s, s:s}, s:O*}", "error", "class",
                                         missing ? "CommandNotFound" : "GenericError", "desc", text,
                                         "id", id));
}

static bool client_refuse(struct qmp_client *client, const char *problem)
{
    g_autoptr(GError) error = g_error_new_literal(QMP_ERROR, QMP_ERROR_GENERIC, problem);
    return client_reply(client, NULL, error, NULL);
}

/* The name of the command in REQUEST, with *arguments if there are any; or NULL with *error. */
static const char *request_check(json_t *request, json_t **arguments, GError **error)
{
    const char *command = NULL;
    const char *key;
    json_t *value;

    json_object_foreach(request, key, value)
    {
        if (strcmp(key, "execute") == 0) {
            if (!json_is_string(value)) {
                g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
                            "QMP input member 'execute' must be a string");
                return NULL;
            }
            command = json_string_value(value);
        } else if (strcmp(key, "arguments") == 0) {
            if (!json_is_object(value)) {
                g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
                            "QMP input member 'arguments' must be an object");
                return NULL;
            }
            *arguments = value;
        } else if (strcmp(key, "id") != 0) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "QMP input member '%s' is unexpected",
                        key);
            return NULL;
        }
    }
    if (!command)
        g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "QMP input lacks member 'execute'");
    return command;
}

/* qmp_capabilities: ends the negotiation; we offer nothing that a client could enable. */
static json_t *client_negotiate(struct qmp_client *client, json_t *arguments, GError **error)
{
    const char *key;
    json_t *value;

    json_object_foreach(arguments, key, value)
    {
        if (strcmp(key, "enable") != 0) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC, "Parameter '%s' is unexpected", key);
            return NULL;
        }
        if (!json_is_array(value) || json_array_size(value) > 0) {
            g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
                        "Parameter 'enable' must be an empty list: no capability is offered");
            return NULL;
        }
    }
    client->negotiated = true;
    return json_object();
}

static json_t *client_run(struct qmp_client *client, json_t *request, GError **error)
{
    json_t *arguments = NULL;
    const char *command = request_check(request, &arguments, error);
    if (!command)
        return NULL;
    bool negotiates = strcmp(command, "qmp_capabilities") == 0;
    if (negotiates && client->negotiated) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
                    "Capabilities negotiation is already complete, command ignored");
        return NULL;
    }
    if (negotiates)
        return client_negotiate(client, arguments, error);
    if (!client->negotiated) {
        g_set_error(error, QMP_ERROR, QMP_ERROR_COMMAND_NOT_FOUND,
                    "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    return client->server->run(client, command, arguments, client->server->opaque, error);
}

/* Answers the message that is complete in client->input. */
static bool client_answer(struct qmp_client *client)
{
    g_autoptr(GError) error = NULL;
    json_error_t problem;
    json_auto_t *request =
        json_loadb(client->input->str, client->input->len, JSON_ALLOW_NUL, &problem);
    if (!request) {
        g_autofree char *text = g_strconcat("JSON parse error, ", problem.text, NULL);
        return client_refuse(client, text);
    }
    if (!json_is_object(request))
        return client_refuse(client, "QMP input must be a JSON object");
    json_t *result = client_run(client, request, &error);
    return client_reply(client, result, error, json_object_get(request, "id"));
}

static void client_message_end(struct qmp_client *client)
{
    client->depth = 0;
    client->in_string = client->escaped = false;
    client->input = buffer_clear(client->input);
}

/*
 * Takes one byte of input: jansson wants whole documents, so this finds where they end.
 * Returns false if the client is to be disconnected.
 */
static bool client_take(struct qmp_client *client, char byte)
{
    if (client->depth == 0) {
        bool opens = byte == '{' || byte == '[';
        if (!opens && !g_ascii_isspace(byte)) {
            client->stray = true;
            return true;
        }
        if (client->stray && !client_refuse(client, "JSON parse error, expecting an object"))
            return false;
        client->stray = false;
        if (!opens)
            return true;
    }
    if (client->input->len == MESSAGE_MAX) {
        client_refuse(client, "The message is longer than 1 MiB");
        return false;
    }
    g_string_append_c(client->input, byte);

    if (client->in_string) {
        /* No string has a line break in it: whoever lost a quote is understood again after it. */
        if ((guchar)byte < 0x20) {
            client_message_end(client);
            return client_refuse(client, "JSON parse error, control character in a string");
        }
        if (client->escaped)
            client->escaped = false;
        else if (byte == '\\')
            client->escaped = true;
        else if (byte == '"')
            client->in_string = false;
    } else if (byte == '"') {
        client->in_string = true;
    } else if (byte == '{' || byte == '[') {
        if (++client->depth > DEPTH_MAX) {
            client_refuse(client, "JSON nesting depth limit exceeded");
            return false;
        }
    } else if ((byte == '}' || byte == ']') && --client->depth == 0) {
        bool good = client_answer(client);
        client_message_end(client);
        return good;
    }
    return true;
}

/* Keeps the first of the descriptors that came with a message, in the place of an older one. */
static void client_take_rights(struct qmp_client *client, struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        gsize count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (gsize i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            if (i > 0) {
                close(fd);
                continue;
            }
            if (client->passed_fd >= 0)
                close(client->passed_fd);
            client->passed_fd = fd;
        }
    }
}

static gboolean client_readable(gint fd, GIOCondition condition, gpointer opaque)
{
    struct qmp_client *client = opaque;
    char bytes[4096];
    /* The kernel closes descriptors for which there is no room. */
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };

    ssize_t length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    bool good = length > 0;
    if (good)
        client_take_rights(client, &message);
    for (ssize_t i = 0; good && i < length; i++)
        good = client_take(client, bytes[i]);
    if (!good)
        client_drop(client);
    return G_SOURCE_CONTINUE; /* dropping has removed the source */
}

static void server_accept(int fd, void *opaque)
{
    struct qmp_server *server = opaque;
    if (server->clients->len == CLIENTS_MAX) {
        close(fd);
        return;
    }
    struct qmp_client *client = g_new0(struct qmp_client, 1);
    client->server = server;
    client->fd = fd;
    client->passed_fd = -1;
    client->input = g_string_new(NULL);
    client->output = g_string_new(NULL);
    client->input_source = g_unix_fd_add(fd, G_IO_IN, client_readable, client);
    g_ptr_array_add(server->clients, client);

    json_t *version = server->run(NULL, "query-version", NULL, server->opaque, NULL);
    json_t *message = json_pack("{s:{s:o, s:[]}}", "QMP", "version", version, "capabilities");
    if (!client_send(client, message))
        client_drop(client);
}

struct qmp_server *qmp_server_new(struct qmp_listener *listener, qmp_run_fn *run, void *opaque)
{
    struct qmp_server *server = g_new0(struct qmp_server, 1);
    server->listener = listener;
    server->run = run;
    server->opaque = opaque;
    server->clients = g_ptr_array_new_with_free_func(client_free);
    qmp_listener_start(listener, server_accept, server);
    return server;
}

void qmp_server_free(struct qmp_server *server)
{
    if (!server)
        return;
    qmp_listener_free(server->listener);
    g_ptr_array_unref(server->clients);
    g_free(server);
}

int qmp_client_take_fd(struct qmp_client *client)
{
    int fd = client->passed_fd;
    client->passed_fd = -1;
    return fd;
}
