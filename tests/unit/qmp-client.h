/*
 * A QMP client for the tests, in the same thread as what it talks to: every function that waits
 * turns the default main context until it has what it waits for, or fails the test in the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_QMP_CLIENT_H
#define TESTS_QMP_CLIENT_H

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE (10 * G_USEC_PER_SEC)

/* A client's socket: non-blocking, so that nothing here can wait for the loop it has to turn. */
static inline int connect_to(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_assert_cmpuint(strlen(path), <, sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return fd;
}

/* Turns the main loop once or, if it has nothing to do, gives way to the kernel. */
static inline void turn(gint64 start)
{
    g_assert_cmpint(g_get_monotonic_time() - start, <, PATIENCE);
    if (!g_main_context_iteration(NULL, FALSE))
        g_usleep(100);
}

/* The next line without its CR LF, for g_free(); NULL if the other side closed the connection. */
static inline char *receive(int fd)
{
    GString *line = g_string_new(NULL);
    for (gint64 start = g_get_monotonic_time();;) {
        char byte;
        ssize_t n = recv(fd, &byte, 1, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            g_string_free(line, TRUE);
            return NULL;
        }
        if (n < 0) {
            turn(start);
            continue;
        }
        g_string_append_c(line, byte);
        if (line->len >= 2 && memcmp(line->str + line->len - 2, "\r\n", 2) == 0) {
            g_string_truncate(line, line->len - 2);
            return g_string_free(line, FALSE);
        }
    }
}

/* Sends everything, or as much as there is somebody to take it. */
static inline void send_bytes(int fd, const char *bytes, gsize length)
{
    for (gint64 start = g_get_monotonic_time(); length > 0;) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return;
        if (n < 0)
            turn(start);
        bytes += MAX(n, 0);
        length -= MAX(n, 0);
    }
}

static inline void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

static inline void send_with_fds(int fd, const char *text, const int *fds, gsize count)
{
    char control[CMSG_SPACE(4 * sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = (char *)text, .iov_len = strlen(text) };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = CMSG_SPACE(count * sizeof(int)),
    };
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(part), fds, count * sizeof(int));
    g_assert_cmpint(sendmsg(fd, &message, 0), ==, strlen(text));
}

static inline void assert_receive(int fd, const char *expected)
{
    g_autofree char *line = receive(fd);
    g_assert_cmpstr(line, ==, expected);
}

static inline void assert_answer(int fd, const char *text, const char *expected)
{
    send_text(fd, text);
    assert_receive(fd, expected);
}

static inline void assert_closed(int fd)
{
    for (char *line; (line = receive(fd));)
        g_free(line);
    close(fd);
}

static inline int count_fds(void)
{
    int count = 0;
    GDir *dir = g_dir_open("/proc/self/fd", 0, NULL);
    while (g_dir_read_name(dir))
        count++;
    g_dir_close(dir);
    return count;
}

#endif
