/*
 * The QMP proxy: with our own server in QEMU's place, and with a bare socket where the order of
 * events matters.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdbool.h>

#include "tests/unit/qmp-client.h"
#include "toolstack/qmp-commands.h"
#include "toolstack/qmp-proxy.h"

struct fixture {
    char *dir;
    char *path;  /* where libxl connects */
    char *qemu;  /* /proc/self/fd/N */
    int path_fd; /* N: QEMU's socket, which has no name any more */
    int qemu_fd; /* its listening end */
    struct qmp_proxy *proxy;
};

static void setup(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("rolemodel-qmp-XXXXXX", &error);
    g_assert_no_error(error);

    g_autofree char *name = g_build_filename(f->dir, "qemu", NULL);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strcpy(address.sun_path, name);
    f->qemu_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(f->qemu_fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(f->qemu_fd, 1), ==, 0);
    f->path_fd = open(name, O_PATH | O_CLOEXEC);
    g_assert_cmpint(f->path_fd, >=, 0);
    g_assert_cmpint(g_unlink(name), ==, 0);
    f->qemu = g_strdup_printf("/proc/self/fd/%d", f->path_fd);

    f->path = g_build_filename(f->dir, "qmp", NULL);
    struct qmp_listener *listener = qmp_listener_new(f->path, &error);
    g_assert_no_error(error);
    f->proxy = qmp_proxy_new(listener, f->qemu, &error);
    g_assert_no_error(error);
}

static void teardown(struct fixture *f, gconstpointer data)
{
    qmp_proxy_free(f->proxy);
    if (f->qemu_fd >= 0)
        close(f->qemu_fd);
    close(f->path_fd);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->qemu);
    g_free(f->path);
    g_free(f->dir);
}

/* QEMU's side of the next connection. */
static int accept_link(struct fixture *f)
{
    for (gint64 start = g_get_monotonic_time();; turn(start)) {
        int fd = accept4(f->qemu_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            return fd;
    }
}

/* Turns the loop while there is anything to do; fails if that never ends. */
static void settle(void)
{
    for (int quiet = 0, turns = 0; quiet < 20; turns++) {
        g_assert_cmpint(turns, <, 10000);
        quiet = g_main_context_iteration(NULL, FALSE) ? 0 : quiet + 1;
    }
}

/* Sends until nobody takes more; returns how many bytes that were: 0, 1, 2... modulo 251. */
static gsize fill(int fd)
{
    gsize total = 0;
    for (int quiet = 0; quiet < 20;) {
        guint8 block[1000];
        for (gsize i = 0; i < sizeof(block); i++)
            block[i] = (total + i) % 251;
        ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL);
        quiet = n > 0 ? 0 : quiet + 1;
        total += MAX(n, 0);
        settle();
    }
    return total;
}

/* Reads all there is, which must be what fill() sent; returns how many bytes that were. */
static gsize drain(int fd)
{
    gsize total = 0;
    for (int quiet = 0; quiet < 20;) {
        guint8 block[1000];
        ssize_t n = recv(fd, block, sizeof(block), 0);
        quiet = n > 0 ? 0 : quiet + 1;
        for (ssize_t i = 0; i < n; i++)
            g_assert_cmpuint(block[i], ==, (total + i) % 251);
        total += MAX(n, 0);
        settle();
    }
    return total;
}

static void no_quit(void *opaque)
{
}

/* Two sessions with our own server, whose add-fd sees the descriptor of the client. */
static void test_session(struct fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct qmp_commands *commands = qmp_commands_new(false, no_quit, NULL);
    struct qmp_listener *listener = qmp_listener_new_from_fd(f->qemu_fd, &error);
    g_assert_no_error(error);
    f->qemu_fd = -1;
    struct qmp_server *server = qmp_server_new(listener, qmp_commands_run, commands);

    int fd = connect_to(f->path);
    int other = connect_to(f->path);
    for (int i = 0; i < 2; i++) {
        int client = i ? fd : other;
        g_autofree char *greeting = receive(client);
        g_assert_true(g_str_has_prefix(greeting, "{\"QMP\":"));
        assert_answer(client, "{\"execute\":\"qmp_capabilities\",\"id\":1}",
                      "{\"return\":{},\"id\":1}");
    }
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    send_text(fd, "{\"execute\":\"query-pci\"}");
    send_with_fds(fd, "{\"execute\":\"add-fd\",\"arguments\":{\"fdset-id\":3}}", &null, 1);
    assert_receive(fd, "{\"return\":[]}");
    g_autofree char *added = receive(fd);
    g_assert_nonnull(strstr(added, "\"fdset-id\":3"));
    assert_answer(fd, "{\"execute\":\"remove-fd\",\"arguments\":{\"fdset-id\":3}}",
                  "{\"return\":{}}");
    close(null);
    close(fd);
    assert_answer(other, "{\"execute\":\"query-fdsets\"}", "{\"return\":[]}");

    /* QEMU goes: so does the client's connection. */
    qmp_server_free(server);
    qmp_commands_free(commands);
    assert_closed(other);
}

static void test_half_close(struct fixture *f, gconstpointer data)
{
    int fd = connect_to(f->path);
    int qemu = accept_link(f);
    send_text(fd, "to QEMU\r\n");
    shutdown(fd, SHUT_WR);
    assert_receive(qemu, "to QEMU");
    g_assert_null(receive(qemu)); /* the end of one direction only */
    send_text(qemu, "still there\r\n");
    assert_receive(fd, "still there");
    settle();
    close(qemu);
    assert_closed(fd);

    /* The same from the other side. */
    fd = connect_to(f->path);
    qemu = accept_link(f);
    send_text(qemu, "bye\r\n");
    shutdown(qemu, SHUT_WR);
    assert_receive(fd, "bye");
    g_assert_null(receive(fd));
    send_text(fd, "still there\r\n");
    assert_receive(qemu, "still there");
    settle();
    close(fd);
    assert_closed(qemu);
}

/* A client that sends and goes at once is heard; one that goes while it is idle is noticed. */
static void test_hang_up(struct fixture *f, gconstpointer data)
{
    int fd = connect_to(f->path);
    int qemu = accept_link(f);
    send_text(fd, "last words\r\n");
    close(fd);
    assert_receive(qemu, "last words");
    assert_closed(qemu);

    fd = connect_to(f->path);
    qemu = accept_link(f);
    shutdown(fd, SHUT_WR);
    g_assert_null(receive(qemu));
    settle();
    close(fd);
    settle();
    g_assert_cmpint(send(qemu, "x", 1, MSG_NOSIGNAL), ==, -1);
    close(qemu);
}

/* A reader that stops, stops its writer; nothing is lost, and nobody turns in circles. */
static void test_back_pressure(struct fixture *f, gconstpointer data)
{
    int fd = connect_to(f->path);
    int qemu = accept_link(f);
    for (int i = 0; i < 2; i++) {
        int from = i ? qemu : fd;
        gsize sent = fill(from);
        g_assert_cmpuint(sent, <, 4 << 20);
        settle();
        g_assert_cmpuint(drain(i ? fd : qemu), ==, sent);
    }

    /* The same with a client that goes before QEMU has read. */
    gsize sent = fill(fd);
    close(fd);
    settle();
    g_assert_cmpuint(drain(qemu), ==, sent);
    assert_closed(qemu);

    /* And one that goes with bytes of both directions under way. */
    fd = connect_to(f->path);
    qemu = accept_link(f);
    sent = fill(fd);
    fill(qemu);
    close(fd);
    settle();
    g_assert_cmpuint(drain(qemu), ==, sent);
    assert_closed(qemu);
}

/* Descriptors come with their bytes, all of them, and none stays behind. */
static void test_descriptors(struct fixture *f, gconstpointer data)
{
    int before = count_fds();
    int fd = connect_to(f->path);
    int qemu = accept_link(f);
    int fds[4];
    for (gsize i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 3; i++)
        send_with_fds(fd, "four", fds, 4);
    send_text(fd, "none");

    gsize bytes = 0, arrived = 0;
    for (gint64 start = g_get_monotonic_time(); bytes < 16; turn(start)) {
        char text[16], control[CMSG_SPACE(16 * sizeof(int))];
        struct iovec iov = { .iov_base = text, .iov_len = 4 };
        struct msghdr message = {
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = control,
            .msg_controllen = sizeof(control),
        };
        ssize_t n = recvmsg(qemu, &message, MSG_CMSG_CLOEXEC);
        bytes += MAX(n, 0);
        struct cmsghdr *part = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
        gsize count = part ? (part->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
        for (gsize i = 0; i < count; i++) {
            int passed;
            memcpy(&passed, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            close(passed);
        }
        arrived += count;
        if (n > 0)
            g_assert_cmpuint(arrived, ==, MIN(bytes, 12));
    }

    /* Some under way to a QEMU that does not read, when the client goes. */
    fill(fd);
    for (gsize i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
    close(fd);
    close(qemu);
    settle();
    g_assert_cmpint(count_fds(), ==, before);
}

/* QEMU's queue of connections is full: the client waits, or goes without waiting. */
static void test_busy(struct fixture *f, gconstpointer data)
{
    int queued[2];
    for (gsize i = 0; i < G_N_ELEMENTS(queued); i++)
        queued[i] = connect_to(f->qemu);
    int before = count_fds();
    int fd = connect_to(f->path);
    int impatient = connect_to(f->path);
    settle();
    close(impatient);
    for (gsize i = 0; i < G_N_ELEMENTS(queued); i++) {
        close(accept_link(f));
        close(queued[i]);
    }
    int qemu = accept_link(f);
    send_text(fd, "at last\r\n");
    assert_receive(qemu, "at last");
    close(fd);
    close(qemu);
    settle();
    g_assert_cmpint(count_fds(), ==, before - 2);
}

static void test_gone(struct fixture *f, gconstpointer data)
{
    close(f->qemu_fd);
    f->qemu_fd = -1;
    g_test_expect_message("qmp", G_LOG_LEVEL_WARNING, "cannot connect*QEMU*refused");
    assert_closed(connect_to(f->path));
    g_test_assert_expected_messages();

    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_build_filename(f->dir, "other", NULL);
    char name[200];
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    g_assert_null(qmp_proxy_new(qmp_listener_new(path, NULL), name, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NAMETOOLONG);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add("/qmp-proxy/" name, struct fixture, NULL, setup, fn, teardown)
    ADD("session", test_session);
    ADD("half-close", test_half_close);
    ADD("hang-up", test_hang_up);
    ADD("back-pressure", test_back_pressure);
    ADD("descriptors", test_descriptors);
    ADD("busy", test_busy);
    ADD("gone", test_gone);
    return g_test_run();
}
