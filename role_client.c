/* The administrator's end of a role's socket: see role_control.h. */

#define G_LOG_DOMAIN "role"
#include "role_control.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "role_run.h"
#include "xen/error.h"

#define USAGE 2 /* the exit status */

/* Commands answer with some lines. */
#define ANSWER_MAX (1 << 20)

static bool send_all(int fd, const char *data, gsize length, GError **error)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            xen_set_error(error, "cannot send the command");
            return false;
        }
        data += MAX(sent, 0);
        length -= MAX(sent, 0);
    }
    shutdown(fd, SHUT_WR);
    return true;
}

/* All that comes until the other end closes. */
static bool receive_all(int fd, GString *answer, GError **error)
{
    char data[4096];
    ssize_t got;

    while ((got = read(fd, data, sizeof(data))) != 0 && answer->len < ANSWER_MAX) {
        if (got > 0)
            g_string_append_len(answer, data, got);
        else if (errno != EINTR)
            break;
    }
    if (got == 0 && answer->len > 0 && answer->str[answer->len - 1] == '\n') {
        g_string_truncate(answer, answer->len - 1);
        return true;
    }
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                "the role did not answer (the guest's device-model log may say why)");
    return false;
}

static int connect_role(const struct role *role, unsigned domid, const char *guest, GError **error)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_autofree char *path = role_run_path(domid, role->name);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT,
                    "role %s does not run for guest %s (`rolemodel list` shows what runs)",
                    role->name, guest);
    else
        xen_set_error(error, "cannot connect to %s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* TEXT of the answer, printed where it belongs. */
static bool take_answer(const GString *answer, GError **error)
{
    const char *text = strchr(answer->str, ' ');

    if (g_str_has_prefix(answer->str, "ok")) {
        if (text)
            puts(text + 1);
        return true;
    }
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s", text ? text + 1 : answer->str);
    return false;
}

static bool ask(const struct role *role, unsigned domid, const char *guest, const GString *request,
                GError **error)
{
    g_autoptr(GString) answer = g_string_new(NULL);
    int fd = connect_role(role, domid, guest, error);
    if (fd < 0)
        return false;
    bool answered =
        send_all(fd, request->str, request->len, error) && receive_all(fd, answer, error);
    close(fd);
    return answered && take_answer(answer, error);
}

/* COMMAND and what comes after GUEST. */
static GString *make_request(int argc, char **argv, GError **error)
{
    GString *request = g_string_new(NULL);

    for (int i = 1; i < argc; i++) {
        if (i != 2)
            g_string_append_len(request, argv[i], strlen(argv[i]) + 1);
    }
    if (request->len <= ROLE_CONTROL_BYTES)
        return request;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                "the arguments are too long (%u bytes are the most)", ROLE_CONTROL_BYTES);
    g_string_free(request, TRUE);
    return NULL;
}

static bool speak(const struct role *role, int argc, char **argv, GError **error)
{
    struct xen_store *store = xen_store_open(error);
    unsigned domid;
    bool found = store && xen_store_find_domain(store, argv[2], &domid, error);

    xen_store_close(store);
    if (!found)
        return false;
    g_autoptr(GString) request = make_request(argc, argv, error);
    return request && ask(role, domid, argv[2], request, error);
}

int role_client_main(const struct role *role, int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    int status = 0;

    /* Without a guest it is not a command: no count of arguments after it is right then. */
    if (!role_command_find(role, argv[1], argc > 2 ? (unsigned)argc - 3 : G_MAXUINT, &error))
        status = USAGE;
    else if (!speak(role, argc, argv, &error))
        status = 1;
    if (status)
        g_critical("%s", error->message);
    return status;
}
