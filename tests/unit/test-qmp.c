/*
 * The QMP server and its commands, over real sockets in a temporary directory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/unit/qmp-client.h"
#include "toolstack/qmp-commands.h"

#define NEGOTIATE "{\"execute\":\"qmp_capabilities\"}"
#define STATUS "{\"execute\":\"query-status\"}"
#define RUNNING "{\"return\":{\"status\":\"running\",\"singlestep\":false,\"running\":true}}"
#define GENERIC(desc) "{\"error\":{\"class\":\"GenericError\",\"desc\":\"" desc "\"}}"
#define NOT_FOUND(desc) "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"" desc "\"}}"

struct fixture {
    char *dir;
    char *path;
    struct qmp_commands *commands;
    struct qmp_server *server;
    bool quit;
};

static void note_quit(void *opaque)
{
    struct fixture *f = opaque;
    f->quit = true;
}

static void setup(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("rolemodel-qmp-XXXXXX", &error);
    g_assert_no_error(error);
    f->path = g_build_filename(f->dir, "qmp", NULL);
    f->commands = qmp_commands_new(false, note_quit, f);
    struct qmp_listener *listener = qmp_listener_new(f->path, &error);
    g_assert_no_error(error);
    f->server = qmp_server_new(listener, qmp_commands_run, f->commands);
}

static void teardown(struct fixture *f, gconstpointer data)
{
    qmp_server_free(f->server);
    qmp_commands_free(f->commands);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0); /* so the socket is gone */
    g_free(f->path);
    g_free(f->dir);
}

/* A client past the greeting and the negotiation. */
static int open_client(const char *path)
{
    int fd = connect_to(path);
    g_autofree char *greeting = receive(fd);
    g_assert_cmpstr(greeting, ==,
                    "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0},"
                    "\"package\":\"rolemodel " ROLEMODEL_VERSION "\"},\"capabilities\":[]}}");
    assert_answer(fd, NEGOTIATE, "{\"return\":{}}");
    return fd;
}

static void test_negotiation(struct fixture *f, gconstpointer data)
{
    int fd = connect_to(f->path);
    g_free(receive(fd));
    assert_answer(fd, "{\"execute\":\"query-version\",\"id\":7}",
                  "{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"Expecting capabilities "
                  "negotiation with 'qmp_capabilities'\"},\"id\":7}");
    assert_answer(fd, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}",
                  GENERIC("Parameter 'enable' must be an empty list: no capability is offered"));
    assert_answer(fd, "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}\r\n",
                  "{\"return\":{}}");
    assert_answer(fd, NEGOTIATE,
                  NOT_FOUND("Capabilities negotiation is already complete, command ignored"));
    close(fd);
}

static void test_commands(struct fixture *f, gconstpointer data)
{
    static const char *const table[][2] = {
        { "{\"execute\":\"nonesuch\"}", NOT_FOUND("The command nonesuch has not been found") },
        { STATUS, RUNNING },
        { "{\"execute\":\"stop\"}", "{\"return\":{}}" },
        { STATUS, "{\"return\":{\"status\":\"paused\",\"singlestep\":false,\"running\":false}}" },
        { "{\"execute\":\"cont\"}", "{\"return\":{}}" },
        { STATUS, RUNNING },
        { "{\"execute\":\"query-chardev\"}",
          "{\"return\":[{\"frontend-open\":true,\"filename\":\"unix:/x,server=on\","
          "\"label\":\"libxl-cmd\"}]}" },
        { "{\"execute\":\"query-vnc\"}", "{\"return\":{\"enabled\":false}}" },
        { "{\"execute\":\"query-pci\"}", "{\"return\":[]}" },
        { "{\"execute\":\"query-cpus-fast\"}", "{\"return\":[]}" },
        { "{\"execute\":\"query-command-line-options\"}", "{\"return\":[]}" },
        { "{\"execute\":\"query-command-line-options\",\"arguments\":{\"option\":\"run-with\"}}",
          GENERIC("invalid option name: run-with") },
        { "{\"execute\":\"change-vnc-password\"}", GENERIC("Parameter 'password' is missing") },
        { "{\"execute\":\"change-vnc-password\",\"arguments\":{\"password\":\"x\"}}",
          GENERIC("this guest has no display, so there is no password to set") },
        { "{\"execute\":\"query-status\",\"arguments\":{\"foo\":1}}",
          GENERIC("Parameter 'foo' is unexpected") },
        { "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":\"a\"}}",
          GENERIC("Invalid parameter type for 'fdset-id', expected: integer") },
        { "{\"execute\":\"xen-save-devices-state\",\"arguments\":{\"filename\":\"/x\"}}",
          GENERIC("this guest has no emulated devices, so there is no state to save: what its "
                  "roles know is in xenstore and in the guest's own memory") },
        { "{\"execute\":\"query-status\",\"id\":{\"a\":[1,null,\"\\u00e9\"]}}",
          "{\"return\":{\"status\":\"running\",\"singlestep\":false,\"running\":true},"
          "\"id\":{\"a\":[1,null,\"\303\251\"]}}" },
        { "{\"execute\":\"quit\",\"id\":1}", "{\"return\":{},\"id\":1}" },
    };
    qmp_commands_add_chardev(f->commands, "libxl-cmd", "unix:/x,server=on");
    int fd = open_client(f->path);
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++) {
        g_assert_false(f->quit);
        assert_answer(fd, table[i][0], table[i][1]);
    }
    g_assert_true(f->quit);
    close(fd);
}

/* QEMU's -S: "prelaunch" is not "paused", and ends with "cont". */
static void test_stopped(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->dir, "stopped", NULL);
    struct qmp_commands *commands = qmp_commands_new(true, note_quit, f);
    struct qmp_listener *listener = qmp_listener_new(path, &error);
    g_assert_no_error(error);
    struct qmp_server *server = qmp_server_new(listener, qmp_commands_run, commands);
    int fd = open_client(path);
    assert_answer(fd, "{\"execute\":\"stop\"}", "{\"return\":{}}");
    assert_answer(fd, STATUS,
                  "{\"return\":{\"status\":\"prelaunch\",\"singlestep\":false,\"running\":false}}");
    assert_answer(fd, "{\"execute\":\"cont\"}", "{\"return\":{}}");
    assert_answer(fd, STATUS, RUNNING);
    close(fd);
    qmp_server_free(server);
    qmp_commands_free(commands);
}

static void test_garbage(struct fixture *f, gconstpointer data)
{
    static const char *const table[][2] = {
        { "{\"exec\":1}", GENERIC("QMP input member 'exec' is unexpected") },
        { "{\"execute\":5}", GENERIC("QMP input member 'execute' must be a string") },
        { "{}", GENERIC("QMP input lacks member 'execute'") },
        { "{\"execute\":\"x\",\"arguments\":5}",
          GENERIC("QMP input member 'arguments' must be an object") },
        { "[1,2]", GENERIC("QMP input must be a JSON object") },
        { "nonsense\n", GENERIC("JSON parse error, expecting an object") },
        { "}\n", GENERIC("JSON parse error, expecting an object") },
        { "{\"execute\":\"a\n", GENERIC("JSON parse error, control character in a string") },
    };
    static const char *const broken[] = {
        "{\"execute\":\"query-status\"]",
        "{\"a\" 1}",
        "{\"execute\":\"\377\"}",
        "{\"a\":[}]",
        "{\"a\":\"\\ud800\"}",
        "{,}",
        "{\"a\":1e9999999}",
        "{\"a\":-}",
    };
    int fd = open_client(f->path);
    for (gsize i = 0; i < G_N_ELEMENTS(table); i++)
        assert_answer(fd, table[i][0], table[i][1]);
    for (gsize i = 0; i < G_N_ELEMENTS(broken); i++) {
        send_text(fd, broken[i]);
        g_autofree char *line = receive(fd);
        g_assert_true(g_str_has_prefix(line, "{\"error\":{\"class\":\"GenericError\""));
    }
    send_bytes(fd, "{\0}", 3);
    g_free(receive(fd));
    assert_answer(fd, STATUS, RUNNING);
    close(fd);
}

/* Whatever the size of the pieces, the messages are the same. */
static void test_pieces(struct fixture *f, gconstpointer data)
{
    static const char text[] =
        " \r\n{\"execute\": \"query-status\", \"id\": \"}]\\\"\\\\\"}{ \"execute\"\n:\"query-pci\"}"
        "\n{\"execute\":\"query-fdsets\"}";
    for (gsize piece = 1; piece <= sizeof(text); piece++) {
        int fd = open_client(f->path);
        for (gsize at = 0; at < strlen(text); at += piece) {
            send_bytes(fd, text + at, MIN(piece, strlen(text) - at));
            g_main_context_iteration(NULL, FALSE);
        }
        assert_receive(fd, "{\"return\":{\"status\":\"running\",\"singlestep\":false,"
                           "\"running\":true},\"id\":\"}]\\\"\\\\\"}");
        assert_receive(fd, "{\"return\":[]}");
        assert_receive(fd, "{\"return\":[]}");
        close(fd);
    }
}

static void test_limits(struct fixture *f, gconstpointer data)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int other = open_client(f->path);

    /* A message just within the limit, then one beyond it. */
    int fd = open_client(f->path);
    g_string_set_size(text, (1 << 20) - strlen("{\"execute\":\"query-pci\",\"id\":\"\"}"));
    memset(text->str, 'x', text->len);
    g_autofree char *longest =
        g_strdup_printf("{\"execute\":\"query-pci\",\"id\":\"%s\"}", text->str);
    g_autofree char *echo = g_strdup_printf("{\"return\":[],\"id\":\"%s\"}", text->str);
    assert_answer(fd, longest, echo);
    send_text(fd, "{\"id\":\"xxxxxxxxxxxxxxxxxxxxxxxxxx");
    send_text(fd, text->str);
    assert_receive(fd, GENERIC("The message is longer than 1 MiB"));
    assert_closed(fd);

    fd = open_client(f->path);
    g_string_set_size(text, 65);
    memset(text->str, '[', text->len);
    assert_answer(fd, text->str, GENERIC("JSON nesting depth limit exceeded"));
    assert_closed(fd);

    /* A client that never reads: others are served meanwhile, and in the end it is let go. */
    fd = open_client(f->path);
    bool gone = false;
    for (gint64 start = g_get_monotonic_time(); !gone; turn(start)) {
        static const char command[] = "{\"execute\":\"query-commands\"}";
        gone = send(fd, command, strlen(command), MSG_NOSIGNAL) < 0 && errno != EAGAIN;
        assert_answer(other, STATUS, RUNNING);
    }
    close(fd);

    /* More clients than are served: the last one is turned away, the others are not. */
    int clients[15];
    for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
        clients[i] = open_client(f->path);
    assert_closed(connect_to(f->path));
    assert_answer(other, STATUS, RUNNING);
    for (gsize i = 0; i < G_N_ELEMENTS(clients); i++)
        close(clients[i]);
    close(other);
}

/* Replies larger than a socket's buffer reach a client that reads late. */
static void test_late_reader(struct fixture *f, gconstpointer data)
{
    enum { COMMANDS = 600 };
    int fd = open_client(f->path);
    for (int i = 0; i < COMMANDS; i++)
        send_text(fd, "{\"execute\":\"query-commands\"}");
    for (int i = 0; i < 1000; i++)
        g_main_context_iteration(NULL, FALSE);
    for (int i = 0; i < COMMANDS; i++) {
        g_autofree char *line = receive(fd);
        g_assert_nonnull(strstr(line, "xen-save-devices-state"));
    }
    close(fd);
}

/* The number after KEY in the reply to TEXT. */
static int number_in_answer(int fd, const char *key)
{
    g_autofree char *line = receive(fd);
    const char *at = line ? strstr(line, key) : NULL;
    g_assert_nonnull(at);
    return g_ascii_strtoll(at + strlen(key), NULL, 10);
}

static void test_add_fd(struct fixture *f, gconstpointer data)
{
    int before = count_fds();
    int fds[2];
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    int fd = open_client(f->path);

    assert_answer(fd, "{\"execute\":\"add-fd\"}",
                  GENERIC("No file descriptor supplied via SCM_RIGHTS"));
    send_with_fds(fd, "{\"execute\":\"add-fd\",\"arguments\":{\"opaque\":\"rdonly:/x\"}}", fds, 1);
    int passed = number_in_answer(fd, "\"fd\":");
    struct stat ours, theirs;
    g_assert_cmpint(fstat(fds[0], &ours), ==, 0);
    g_assert_cmpint(fstat(passed, &theirs), ==, 0);
    g_assert_cmpuint(ours.st_ino, ==, theirs.st_ino);
    g_assert_cmpint(fcntl(passed, F_GETFD), ==, FD_CLOEXEC);

    /* A number of the client's choice; then two descriptors, of which the first counts. */
    send_with_fds(fd, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":5}}", fds, 1);
    g_assert_cmpint(number_in_answer(fd, "\"fdset-id\":"), ==, 5);
    send_with_fds(fd, "{\"execute\":\"add-fd\"}", (const int[]){ fds[1], fds[0] }, 2);
    g_assert_cmpint(number_in_answer(fd, "\"fdset-id\":"), ==, 1);
    assert_answer(fd, "{\"execute\":\"add-fd\"}",
                  GENERIC("No file descriptor supplied via SCM_RIGHTS"));
    send_with_fds(fd, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":-1}}", fds, 1);
    assert_receive(fd, GENERIC("Parameter 'fdset-id' expects a non-negative value"));

    /* Descriptors that nobody asks for are replaced, the last one goes with the client. */
    for (int i = 0; i < 3; i++) {
        send_with_fds(fd, STATUS, fds, 1);
        assert_receive(fd, RUNNING);
    }

    /* The sets are those of the guest, not of one client. */
    close(fd);
    fd = open_client(f->path);
    send_text(fd, "{\"execute\":\"query-fdsets\"}");
    g_autofree char *line = receive(fd);
    g_autofree char *first = g_strdup_printf("{\"return\":[{\"fdset-id\":0,\"fds\":[{\"fd\":%d,"
                                             "\"opaque\":\"rdonly:/x\"}]},{\"fdset-id\":1,",
                                             passed);
    g_assert_true(g_str_has_prefix(line, first));
    assert_answer(fd, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":5,\"fd\":0}}",
                  GENERIC("File descriptor named 'fdset-id:5, fd:0' not found"));
    for (const char *set = "015"; *set; set++) {
        g_autofree char *text =
            g_strdup_printf("{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":%c}}", *set);
        assert_answer(fd, text, "{\"return\":{}}");
    }
    assert_answer(fd, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":5}}",
                  GENERIC("File descriptor named 'fdset-id:5' not found"));
    assert_answer(fd, "{\"execute\":\"query-fdsets\"}", "{\"return\":[]}");

    for (int i = 0; i < 32; i++) {
        send_with_fds(fd, "{\"execute\":\"add-fd\"}", fds, 1);
        g_assert_cmpint(number_in_answer(fd, "\"fdset-id\":"), ==, i);
    }
    send_with_fds(fd, "{\"execute\":\"add-fd\"}", fds, 1);
    assert_receive(fd, GENERIC("32 descriptors are held already (use remove-fd)"));
    for (int i = 0; i < 32; i++) {
        g_autofree char *text =
            g_strdup_printf("{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":%d}}", i);
        assert_answer(fd, text, "{\"return\":{}}");
    }
    close(fds[0]);
    close(fds[1]);
    close(fd);
    for (gint64 start = g_get_monotonic_time(); count_fds() > before;)
        turn(start);
}

static void test_listener(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct stat st;
    g_assert_cmpint(stat(f->path, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 0777, ==, 0600);

    /* A socket that was left behind is replaced; a file is not, and says so. */
    g_autofree char *stale = g_build_filename(f->dir, "stale", NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, stale);
    int left = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(left, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    close(left);
    struct qmp_listener *listener = qmp_listener_new(stale, &error);
    g_assert_no_error(error);
    qmp_listener_free(listener);
    g_assert_false(g_file_test(stale, G_FILE_TEST_EXISTS));

    g_assert_true(g_file_set_contents(stale, "mine", -1, NULL));
    g_assert_null(qmp_listener_new(stale, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST);
    g_assert_nonnull(strstr(error->message, "remove it"));
    g_clear_error(&error);
    g_assert_cmpint(g_unlink(stale), ==, 0);

    char path[200];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    g_assert_null(qmp_listener_new(path, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG);
    g_clear_error(&error);
    g_assert_null(qmp_listener_new("/nonesuch/qmp", &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
    g_clear_error(&error);
    g_assert_null(qmp_listener_new_from_fd(open("/dev/null", O_RDONLY), &error));
    g_assert_nonnull(error);
}

/* A process out of descriptors keeps its clients waiting, without a busy loop. */
static void test_no_descriptors(struct fixture *f, gconstpointer data)
{
    int fd = connect_to(f->path);
    struct rlimit before, none;
    g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
    int lowest = dup(fd);
    close(lowest);
    none = (struct rlimit){ .rlim_cur = lowest, .rlim_max = before.rlim_max };
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
    g_test_expect_message("qmp", G_LOG_LEVEL_WARNING, "cannot accept a QMP client*");
    int busy = 0;
    for (int i = 0; i < 100; i++)
        busy += g_main_context_iteration(NULL, FALSE);
    g_test_assert_expected_messages();
    g_assert_cmpint(busy, <, 5);
    g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);
    g_autofree char *greeting = receive(fd);
    g_assert_nonnull(greeting);
    close(fd);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/qmp/" name, struct fixture, NULL, setup, fn, teardown)
    ADD("negotiation", test_negotiation);
    ADD("commands", test_commands);
    ADD("stopped", test_stopped);
    ADD("garbage", test_garbage);
    ADD("pieces", test_pieces);
    ADD("limits", test_limits);
    ADD("late-reader", test_late_reader);
    ADD("add-fd", test_add_fd);
    ADD("listener", test_listener);
    ADD("no-descriptors", test_no_descriptors);
    return g_test_run();
}
