/*
 * Commands to a running role: `rolemodel clerk COMMAND GUEST` as a process, and clients that do not
 * behave, on the clerk's socket itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "role_control.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define PATIENCE_S 30
#define BIG (1 << 19)

/* More than a role has at a time. */
#define MANY 12

static char *rolemodel;

struct fixture {
    struct guest *guest;
    char *domid;
    char *log;
    char *socket;
    pid_t role;
};

static void await_socket(struct fixture *f)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (!g_file_test(f->socket, G_FILE_TEST_EXISTS)) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(500);
    }
}

static pid_t run_role(struct fixture *f)
{
    const char *argv[] = { rolemodel, "clerk", "--domid", f->domid, NULL };
    return toolstack_run(f->log, argv);
}

static void await_pid(struct fixture *f, pid_t pid)
{
    g_autofree char *path =
        g_strdup_printf("/local/domain/0/device-model/%s/roles/clerk/pid", f->domid);
    g_autofree char *value = g_strdup_printf("%d", pid);
    g_assert_true(toolstack_await(path, value, PATIENCE_S));
}

static void start_role(struct fixture *f)
{
    f->role = run_role(f);
    await_pid(f, f->role);
}

static void stop_role(struct fixture *f)
{
    kill(f->role, SIGTERM);
    g_assert_cmpint(toolstack_wait(f->role), ==, 0);
    f->role = 0;
}

static void set_up(struct fixture *f, gconstpointer unused)
{
    struct toolstack_guest guest = { "pv", 1, 64 };
    int fd = g_file_open_tmp("test-control-XXXXXX", &f->log, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    f->guest = toolstack_create(&guest);
    f->domid = g_strdup_printf("%u", guest_domid(f->guest));
    f->socket = g_build_filename(g_getenv("ROLEMODEL_RUN_DIR"), f->domid, "clerk", NULL);
    start_role(f);
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
    if (f->role)
        stop_role(f);
    g_assert_false(g_file_test(f->socket, G_FILE_TEST_EXISTS));
    toolstack_destroy(f->guest);
    g_unlink(f->log);
    g_free(f->log);
    g_free(f->domid);
    g_free(f->socket);
}

static void assert_said(struct fixture *f, const char *text)
{
    g_autofree char *log = NULL;
    g_assert_true(g_file_get_contents(f->log, &log, NULL, NULL));
    if (!strstr(log, text))
        g_error("the role's log, without '%s':\n%s", text, log);
}

/* --- rolemodel as an administrator's command --- */

struct call {
    GPid pid;
    int output, errors;
};

/* The words after `rolemodel`, NULL-terminated. */
static struct call call_begin(const char *const *words)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autoptr(GError) error = NULL;
    struct call call;

    g_ptr_array_add(argv, rolemodel);
    for (; *words; words++)
        g_ptr_array_add(argv, (char *)*words);
    g_ptr_array_add(argv, NULL);
    g_spawn_async_with_pipes(NULL, (char **)argv->pdata, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL,
                             NULL, &call.pid, NULL, &call.output, &call.errors, &error);
    g_assert_no_error(error);
    return call;
}

static char *read_to_end(int fd)
{
    GString *text = g_string_new(NULL);
    char data[4096];
    ssize_t got;

    while ((got = read(fd, data, sizeof(data))) > 0)
        g_string_append_len(text, data, got);
    close(fd);
    return g_string_free(text, FALSE);
}

/* It ends with STATUS, having said OUTPUT; and on standard error something with ERRORS in it. */
static void call_expect(struct call *call, int status, const char *output, const char *errors)
{
    g_autofree char *said = read_to_end(call->output);
    g_autofree char *complained = read_to_end(call->errors);

    g_assert_cmpint(toolstack_wait(call->pid), ==, status);
    g_assert_cmpstr(said, ==, output);
    if (*errors ? !strstr(complained, errors) : *complained)
        g_error("on standard error, where '%s' is expected: %s", errors, complained);
}

#define expect(status, output, errors, ...)                                                        \
    do {                                                                                           \
        struct call call_ = call_begin((const char *const[]){ __VA_ARGS__, NULL });                \
        call_expect(&call_, status, output, errors);                                               \
    } while (0)

static void await_kept(struct fixture *f, unsigned count)
{
    g_autofree char *wanted = g_strdup_printf("%u\n", count);
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;

    for (;;) {
        struct call call = call_begin((const char *const[]){ "clerk", "count", f->domid, NULL });
        g_autofree char *said = read_to_end(call.output);
        close(call.errors);
        g_assert_cmpint(toolstack_wait(call.pid), ==, 0);
        if (strcmp(said, wanted) == 0)
            return;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
    }
}

static void test_answers(struct fixture *f, gconstpointer unused)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%s/name", f->domid);
    g_autofree char *name = toolstack_read(path);
    g_autofree char *big = g_strnfill(BIG, 'x');
    g_autofree char *line = g_strconcat(big, "\n", NULL);
    g_autofree char *length = g_strdup_printf("%u", BIG);

    expect(0, "", "", "clerk", "say", f->domid);
    expect(0, "\n", "", "clerk", "say", f->domid, "");
    expect(0, "good morning\n", "", "clerk", "say", f->domid, "good morning");
    expect(0, "by name\n", "", "clerk", "say", name, "by name");
    expect(0, "a\nb c\n\nd\n", "", "clerk", "list", f->domid, "a", "b c", "", "d");
    expect(1, "", "rolemodel: out of ink", "clerk", "fail", f->domid, "out of ink");
    expect(0, line, "", "clerk", "fill", f->domid, length);
}

static void test_usage(struct fixture *f, gconstpointer unused)
{
    expect(2, "", "it has: say, list, fail", "clerk", "sing", f->domid);
    expect(2, "", "it has: none", "shmem", "say", f->domid);
    expect(2, "", "use: rolemodel clerk fail GUEST TEXT", "clerk", "fail", f->domid);
    expect(2, "", "use: rolemodel clerk keep GUEST", "clerk", "keep", f->domid, "it");
    expect(2, "", "use: rolemodel clerk say GUEST [TEXT]", "clerk", "say");
    expect(1, "", "there is no guest 'nobody'", "clerk", "say", "nobody");
    expect(1, "", "there is no guest '4711'", "clerk", "say", "4711");
    expect(1, "", "role clerk does not run for guest 0", "clerk", "say", "0");

    struct call help = call_begin((const char *const[]){ "clerk", "--help", NULL });
    g_autofree char *said = read_to_end(help.output);
    close(help.errors);
    g_assert_cmpint(toolstack_wait(help.pid), ==, 0);
    g_assert_nonnull(strstr(said, "list GUEST WORD..."));
    g_assert_nonnull(strstr(said, "Answer those that wait"));
}

static void test_late(struct fixture *f, gconstpointer unused)
{
    const char *const keep[] = { "clerk", "keep", f->domid, NULL };
    struct call first = call_begin(keep), second = call_begin(keep);

    await_kept(f, 2); /* others are answered meanwhile */
    expect(0, "", "", "clerk", "release", f->domid);
    call_expect(&first, 0, "released\n", "");
    call_expect(&second, 0, "released\n", "");
    await_kept(f, 0);
}

static void test_stop(struct fixture *f, gconstpointer unused)
{
    struct call call = call_begin((const char *const[]){ "clerk", "keep", f->domid, NULL });
    g_autofree char *directory = g_path_get_dirname(f->socket);

    await_kept(f, 1);
    stop_role(f);
    call_expect(&call, 1, "", "rolemodel: the role stops");
    g_assert_false(g_file_test(directory, G_FILE_TEST_EXISTS));
    expect(1, "", "does not run", "clerk", "say", f->domid);
}

/* --- the socket --- */

static void test_private(struct fixture *f, gconstpointer unused)
{
    g_autofree char *directory = g_path_get_dirname(f->socket);
    GStatBuf info;

    g_assert_cmpint(g_stat(f->socket, &info), ==, 0);
    g_assert_cmpuint(info.st_mode & 0777, ==, 0600);
    g_assert_cmpint(g_stat(directory, &info), ==, 0);
    g_assert_cmpuint(info.st_mode & 0777, ==, 0700);
}

static void test_stale(struct fixture *f, gconstpointer unused)
{
    kill(f->role, SIGKILL);
    g_assert_cmpint(toolstack_wait(f->role), ==, -SIGKILL);
    g_assert_true(g_file_test(f->socket, G_FILE_TEST_EXISTS));
    expect(1, "", "does not run", "clerk", "say", f->domid);
    start_role(f);
    expect(0, "again\n", "", "clerk", "say", f->domid, "again");
}

/* A second process serves, but gets no commands, and takes nothing with it. */
static void test_second(struct fixture *f, gconstpointer unused)
{
    pid_t second = run_role(f);

    await_pid(f, second);
    assert_said(f, "takes no commands: another process of role clerk serves domain");
    kill(second, SIGTERM);
    g_assert_cmpint(toolstack_wait(second), ==, 0);
    expect(0, "still\n", "", "clerk", "say", f->domid, "still");
}

/* --- clients that do not behave --- */

static int client(struct fixture *f)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    await_socket(f);
    g_strlcpy(address.sun_path, f->socket, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

static void send_bytes(int fd, const char *bytes, gsize length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
        g_assert_cmpint(sent, >, 0);
        bytes += sent;
        length -= sent;
    }
}

static void expect_answer(struct fixture *f, const char *bytes, gsize length, const char *answer)
{
    int fd = client(f);

    send_bytes(fd, bytes, length);
    shutdown(fd, SHUT_WR);
    g_autofree char *line = read_to_end(fd);
    if (!g_str_has_prefix(line, answer) || !g_str_has_suffix(line, "\n"))
        g_error("answered '%s' instead of '%s'", line, answer);
}

static void test_rubbish(struct fixture *f, gconstpointer unused)
{
    static const char good[] = "list\0a\0b";
    static const char words[ROLE_CONTROL_WORDS * 2 + 6] = "list";
    g_autofree char *long_word = g_strnfill(1 << 20, 'a');

    expect_answer(f, good, sizeof(good), "ok a\nb\n");
    expect_answer(f, good, sizeof(good) - 1, "error this is not a request");
    expect_answer(f, "", 0, "error this is not a request");
    expect_answer(f, "", 1, "error role clerk has no command ''");
    expect_answer(f, "fail", 5, "error wrong number of arguments");

    /* The most words, and one more. */
    expect_answer(f, words, 5 + ROLE_CONTROL_WORDS - 1, "ok \n");
    expect_answer(f, words, 5 + ROLE_CONTROL_WORDS, "error more than 64 words");

    /* The most bytes, one more, and very many more. */
    memcpy(long_word, "say", 4);
    long_word[ROLE_CONTROL_BYTES - 1] = '\0';
    expect_answer(f, long_word, ROLE_CONTROL_BYTES, "ok aaa");
    long_word[ROLE_CONTROL_BYTES - 1] = 'a';
    long_word[ROLE_CONTROL_BYTES] = '\0';
    expect_answer(f, long_word, ROLE_CONTROL_BYTES + 1, "error this is not a request");
    expect_answer(f, long_word, 1 << 20, "error this is not a request");
}

/* Nobody waits for a client that does not read its answer yet, and it gets all of it. */
static void test_slow(struct fixture *f, gconstpointer unused)
{
    int fd = client(f);

    send_bytes(fd,
               "fill\0"
               "5000000",
               13);
    shutdown(fd, SHUT_WR);
    expect(0, "meanwhile\n", "", "clerk", "say", f->domid, "meanwhile");
    g_autofree char *line = read_to_end(fd);
    g_assert_cmpuint(strlen(line), ==, strlen("ok \n") + 5000000);
}

/* They cannot keep others out for ever: those that say nothing are dropped after a while. */
static void test_silent(struct fixture *f, gconstpointer unused)
{
    int silent[MANY];

    for (unsigned i = 0; i < MANY; i++)
        silent[i] = client(f);
    expect(0, "now\n", "", "clerk", "say", f->domid, "now");
    for (unsigned i = 0; i < MANY; i++)
        close(silent[i]);
}

/* More commands at a time than there are places: the others come after. */
static void test_many(struct fixture *f, gconstpointer unused)
{
    int clients[MANY];

    for (unsigned i = 0; i < MANY; i++) {
        clients[i] = client(f);
        send_bytes(clients[i], "say\0hello", 10);
    }
    for (unsigned i = MANY; i-- > 0;) {
        shutdown(clients[i], SHUT_WR);
        if (i % 3 == 0)
            close(clients[i]);
    }
    for (unsigned i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            continue;
        g_autofree char *line = read_to_end(clients[i]);
        g_assert_cmpstr(line, ==, "ok hello\n");
    }
}

static void test_gone(struct fixture *f, gconstpointer unused)
{
    int fd = client(f);

    send_bytes(fd, "keep", 5);
    close(fd);
    await_kept(f, 1);
    expect(0, "", "", "clerk", "release", f->domid);
    await_kept(f, 0);

    /* And one that leaves while it is told something long. */
    fd = client(f);
    send_bytes(fd,
               "fill\0"
               "10000000",
               14);
    shutdown(fd, SHUT_WR);
    char byte;
    g_assert_cmpint(read(fd, &byte, 1), ==, 1);
    close(fd);
    expect(0, "here\n", "", "clerk", "say", f->domid, "here");
}

static void add(const char *path, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 2)
        g_error("usage: %s PATH-OF-ROLEMODEL-WITH-THE-CLERK", argv[0]);
    rolemodel = argv[1];
    sim_start();
    add("/control/answers", test_answers);
    add("/control/usage", test_usage);
    add("/control/late", test_late);
    add("/control/stop", test_stop);
    add("/control/private", test_private);
    add("/control/stale", test_stale);
    add("/control/second", test_second);
    add("/control/rubbish", test_rubbish);
    add("/control/slow", test_slow);
    add("/control/silent", test_silent);
    add("/control/many", test_many);
    add("/control/gone", test_gone);
    int status = g_test_run();
    sim_stop();
    return status;
}
