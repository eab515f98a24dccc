/*
 * Fuzzer: QMP, with up to four clients, our server or QEMU at the other end, and our proxy between.
 *
 * The first letter of the input says who is there:
 *   s  our server
 *   t  our server in QEMU's place, behind the proxy
 *   p  a QEMU behind the proxy, which does what the input says
 *   b  a QEMU behind the proxy that is busy with another client
 *   g  a QEMU behind the proxy that is gone
 * Each further line is what one of them does: a letter, an action and a text.  The letters a to d
 * are clients, who connect when they first do something, A to D QEMU's ends of their connections.
 *   a TEXT  sends a line                    a|  sends no more, but reads on
 *   a+TEXT  sends a piece of a line         a!  hangs up
 *   a@TEXT  sends a line with descriptors   a-  does not read from now on
 *   a*TEXT  floods: sends the text again and again
 * Then the main loop turns until it is quiet; not after a line that begins with '&', so that what
 * it does and what the next one does is seen at once.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <sanitizer/allocator_interface.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "toolstack/qmp-commands.h"
#include "toolstack/qmp-proxy.h"

#define CLIENTS 4

/*
 * Floods: more than sockets hold, but to the server no more than it answers in some milliseconds.
 * So its limits of 1 MiB are left to the unit test.
 */
#define FLOOD_BYTES (256 << 10)
#define FLOOD_REQUESTS 64
#define FLOOD_REQUESTS_BYTES (16 << 10)
#define FLOODS_MAX 2

/* How deep messages may be nested (qmp.h), and when the main loop must be quiet at last. */
#define DEPTH_MAX 64
#define TURNS_MAX 10000

/* What a client may make us hold on the heap: always, and if it floods us or does not read. */
#define HELD_MAX (256 << 10)
#define HELD_EXCUSED_MAX (4 << 20)

/* Descriptors that go with one message: more than the server takes; and how many may be held. */
#define DESCRIPTORS 3
#define HELD_FDS_MAX 64

/* One end of a connection, played by us. */
struct end {
    int fd; /* -1: never there, or hung up */
    bool there;
    bool finished; /* it sends no more */
    bool ended;    /* it was told that no more will come */
    bool deaf;
    bool excused;  /* it was deaf or flooded the other end, which may hang up for that */
    GString *sent; /* these two are made once: to let them grow anew takes time */
    GString *received;
    gsize fds_sent;
    gsize fds_received;
};

static struct talk {
    struct end client;
    struct end qemu;
} talks[CLIENTS];

static char mode;
static int floods;
static size_t heap_before;
static int fds_before;
static struct sockaddr_un front; /* where clients connect */
static socklen_t front_length;

/* Made once. */
static int qemu_fd;
static int null_fd;
static char *qemu_path, *busy_path, *gone_path;

/* How many descriptors are open; one system call tells it. */
static int count_fds(void)
{
    struct pollfd fds[256];
    int count = 0;
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = (struct pollfd){ .fd = i };
    poll(fds, G_N_ELEMENTS(fds), 0);
    for (guint i = 0; i < G_N_ELEMENTS(fds); i++)
        count += !(fds[i].revents & POLLNVAL);
    return count;
}

/* --- the ends --- */

static void end_init(struct end *end)
{
    end->fd = -1;
    end->sent = g_string_new(NULL);
    end->received = g_string_new(NULL);
}

static void end_reset(struct end *end)
{
    if (end->fd >= 0)
        close(end->fd);
    *end = (struct end){
        .fd = -1,
        .sent = g_string_truncate(end->sent, 0),
        .received = g_string_truncate(end->received, 0),
    };
}

static void end_hang_up(struct end *end)
{
    if (end->fd >= 0)
        close(end->fd);
    end->fd = -1;
    end->finished = true;
}

/* Closes the descriptors that came with MESSAGE; returns how many they were. */
static gsize close_rights(struct msghdr *message)
{
    const struct cmsghdr *part = CMSG_FIRSTHDR(message);
    gsize count = part ? (part->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    for (gsize i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
        close(fd);
    }
    return count;
}

/* Reads a piece, if END reads and there is any. */
static bool end_read(struct end *end)
{
    static char bytes[64 << 10];
    union {
        char space[CMSG_SPACE((DESCRIPTORS + 1) * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = { .iov_base = bytes, .iov_len = sizeof(bytes) };
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    if (end->fd < 0 || end->deaf || end->ended)
        return false;
    ssize_t length = recvmsg(end->fd, &message, MSG_CMSG_CLOEXEC);
    if (length < 0 && errno == EAGAIN)
        return false;
    end->ended = length <= 0;
    if (end->ended)
        return true;
    g_string_append_len(end->received, bytes, length);
    end->fds_received += close_rights(&message);
    return true;
}

static bool read_all(void)
{
    bool any = false;
    for (int i = 0; i < CLIENTS; i++) {
        while (end_read(&talks[i].client) || end_read(&talks[i].qemu))
            any = true;
    }
    return any;
}

/* What we may hold on the heap because of END: its own records, and what the limits allow. */
static size_t end_allowance(const struct end *end)
{
    if (!end->there)
        return 0;
    return end->sent->allocated_len + end->received->allocated_len +
           (end->excused ? HELD_EXCUSED_MAX : HELD_MAX);
}

static void check_heap(void)
{
    size_t allowance = HELD_MAX;
    for (int i = 0; i < CLIENTS; i++)
        allowance += end_allowance(&talks[i].client) + end_allowance(&talks[i].qemu);
    g_assert_cmpuint(__sanitizer_get_current_allocated_bytes(), <=, heap_before + allowance);
}

/* Lets the main loop turn, and everybody read, until nothing more happens. */
static void settle(void)
{
    int turns = 0;
    while (g_main_context_iteration(NULL, FALSE) | read_all())
        g_assert_cmpint(++turns, <, TURNS_MAX);
    check_heap();
}

static ssize_t end_send_piece(struct end *end, const char *bytes, gsize length, bool rights)
{
    union {
        char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
        struct cmsghdr align;
    } control = { 0 };
    struct iovec iov = { .iov_base = (char *)bytes, .iov_len = length };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
    if (rights) {
        message.msg_control = &control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(DESCRIPTORS * sizeof(int));
        for (int i = 0; i < DESCRIPTORS; i++)
            memcpy(CMSG_DATA(part) + i * sizeof(int), &null_fd, sizeof(int));
    }
    return sendmsg(end->fd, &message, MSG_NOSIGNAL);
}

/* Sends as much as the other end takes, now or after some turns. */
static void end_send(struct end *end, const char *bytes, gsize length, bool rights)
{
    bool waited = false;
    while (length > 0 && !end->finished) {
        ssize_t n = end_send_piece(end, bytes, length, rights);
        if (n < 0 && (errno != EAGAIN || waited))
            return;
        waited = n < 0;
        if (waited) {
            settle();
            continue;
        }
        end->fds_sent += rights ? DESCRIPTORS : 0;
        rights = false;
        g_string_append_len(end->sent, bytes, n);
        bytes += n;
        length -= n;
    }
}

static void end_flood(struct end *end, const char *text, gsize length)
{
    if (length == 0 || floods++ >= FLOODS_MAX)
        return;
    g_autoptr(GString) all = g_string_new(NULL);
    gsize times = FLOOD_BYTES / length;
    if (mode != 'p')
        times = MIN(FLOOD_REQUESTS, FLOOD_REQUESTS_BYTES / length);
    for (gsize i = 0; i < times; i++)
        g_string_append_len(all, text, length);
    end->excused = true;
    end_send(end, all->str, all->len, false);
}

/* --- what is expected of our server --- */

/* Something that a client has sent and that needs a reply. */
struct request {
    const char *text;
    gsize length;
    enum { MESSAGE, MALFORMED, TOO_DEEP } kind;
};

/* Where the message that begins at BEGIN ends, or what is wrong with it; NULL: it goes on. */
static const char *message_end(const char *begin, const char *end, struct request *request)
{
    bool in_string = false;
    bool escaped = false;
    int depth = 0;

    for (const char *at = begin; at < end; at++) {
        if (in_string && (guchar)*at < 0x20) {
            request->kind = MALFORMED;
            return at + 1;
        }
        if (*at == '"' && !escaped)
            in_string = !in_string;
        escaped = in_string && *at == '\\' && !escaped;
        if (in_string)
            continue;
        if ((*at == '{' || *at == '[') && ++depth > DEPTH_MAX) {
            request->kind = TOO_DEEP;
            return at;
        }
        if ((*at == '}' || *at == ']') && --depth == 0) {
            request->kind = MESSAGE;
            return at + 1;
        }
    }
    request->kind = MESSAGE;
    return NULL;
}

/* Takes the next request out of SENT; false if no more is complete. */
static bool next_request(struct fuzz_input *sent, struct request *request)
{
    while (sent->at < sent->end && g_ascii_isspace(*sent->at))
        sent->at++;
    if (sent->at == sent->end)
        return false;
    const char *stop = sent->at;
    if (*stop == '{' || *stop == '[') {
        stop = message_end(stop, sent->end, request);
    } else {
        request->kind = MALFORMED;
        while (stop < sent->end && !g_ascii_isspace(*stop) && *stop != '{' && *stop != '[')
            stop++;
        stop = stop < sent->end ? stop : NULL;
    }
    if (!stop)
        return false;
    request->text = sent->at;
    request->length = stop - sent->at;
    sent->at = stop;
    return true;
}

static void check_reply(const struct request *request, const char *text, gsize length)
{
    json_auto_t *asked = NULL;
    if (request->kind == MESSAGE)
        asked = json_loadb(request->text, request->length, JSON_ALLOW_NUL, NULL);
    json_t *asked_id = json_object_get(asked, "id");

    json_auto_t *reply = json_loadb(text, length, JSON_ALLOW_NUL, NULL);
    json_t *error = json_object_get(reply, "error");
    json_t *id = json_object_get(reply, "id");
    g_assert_true(asked_id ? json_equal(id, asked_id) : !id);
    g_assert_cmpuint(json_object_size(reply), ==, id ? 2 : 1);
    if (!error) {
        g_assert_nonnull(json_object_get(reply, "return"));
        g_assert_true(json_is_object(asked));
        return;
    }
    const char *class = json_string_value(json_object_get(error, "class"));
    g_assert_true(g_str_equal(class, "GenericError") || g_str_equal(class, "CommandNotFound"));
    g_assert_true(json_is_string(json_object_get(error, "desc")));
}

/* Takes a line, of which the client has received the end, out of RECEIVED. */
static bool next_reply(struct fuzz_input *received, const char **text, gsize *length)
{
    const char *stop = memmem(received->at, received->end - received->at, "\r\n", 2);
    if (!stop)
        return false;
    *text = received->at;
    *length = stop - *text;
    received->at = stop + 2;
    return true;
}

/* The greeting, and a reply for each request, in order; or the connection has ended. */
static void check_served(const struct end *client)
{
    struct fuzz_input sent = { client->sent->str, client->sent->str + client->sent->len };
    struct fuzz_input received = { client->received->str,
                                   client->received->str + client->received->len };
    struct request request = { .kind = MESSAGE };
    const char *text;
    gsize length;

    bool served = next_reply(&received, &text, &length);
    if (served)
        g_assert_true(g_str_has_prefix(text, "{\"QMP\":{\"version\":{"));
    while (served && request.kind != TOO_DEEP && next_request(&sent, &request)) {
        served = next_reply(&received, &text, &length);
        if (served)
            check_reply(&request, text, length);
    }
    bool connected = client->fd >= 0 && !client->ended;
    bool must_end = client->finished || request.kind == TOO_DEEP;
    g_assert_true(served ? received.at == received.end : !connected);
    g_assert_true(connected ? !must_end : must_end || client->excused);
}

/* --- what is expected of our proxy --- */

/* All that FROM has sent, and its end, have come to TO; unless that has gone. */
static void check_passed(const struct end *from, const struct end *to)
{
    if (!to->there)
        return;
    g_assert_cmpuint(to->received->len, <=, from->sent->len);
    g_assert_true(memcmp(to->received->str, from->sent->str, to->received->len) == 0);
    g_assert_cmpuint(to->fds_received, <=, from->fds_sent);
    if (to->fd < 0)
        return;
    g_assert_cmpuint(to->received->len, ==, from->sent->len);
    g_assert_cmpuint(to->fds_received, ==, from->fds_sent);
    g_assert_cmpint(to->ended, ==, from->finished);
}

static void check_talk(const struct talk *talk)
{
    const struct end *client = &talk->client;
    if (!client->there)
        return;
    switch (mode) {
    case 'p':
        check_passed(client, &talk->qemu);
        check_passed(&talk->qemu, client);
        break;
    case 'b':
    case 'g':
        g_assert_cmpuint(client->received->len, ==, 0);
        g_assert_true(client->fd < 0 || client->ended == (mode == 'g'));
        break;
    default:
        check_served(client);
    }
}

/* --- the input --- */

/* Connects a client; AND_GO: it hangs up before anybody has seen it. */
static void talk_connect(struct talk *talk, bool and_go)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&front, front_length), ==, 0);
    talk->client.fd = fd;
    talk->client.there = true;
    if (and_go)
        end_hang_up(&talk->client);
    settle();
    if (mode != 'p')
        return;
    talk->qemu.fd = accept4(qemu_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    talk->qemu.there = true;
    g_assert_cmpint(talk->qemu.fd, >=, 0);
}

static void end_act(struct end *end, char action, const char *text, gsize length)
{
    g_autoptr(GString) line = g_string_new_len(text, length);
    g_string_append(line, "\r\n");

    switch (action) {
    case ' ':
    case '@':
        end_send(end, line->str, line->len, action == '@');
        break;
    case '+':
        end_send(end, text, length, false);
        break;
    case '*':
        end_flood(end, text, length);
        break;
    case '-':
        end->deaf = end->excused = true;
        break;
    case '|':
        shutdown(end->fd, SHUT_WR);
        end->finished = true;
        break;
    case '!':
        end_hang_up(end);
    }
}

static void act(const char *line, gsize length)
{
    bool together = length > 0 && *line == '&';
    line += together;
    length -= together;
    if (length < 2 || !g_ascii_isalpha(*line))
        return;
    int index = g_ascii_tolower(*line) - 'a';
    if (index >= CLIENTS)
        return;
    struct talk *talk = &talks[index];
    struct end *end = g_ascii_islower(*line) ? &talk->client : &talk->qemu;
    if (end == &talk->client && !end->there)
        talk_connect(talk, line[1] == '!');
    if (end->fd >= 0)
        end_act(end, line[1], line + 2, length - 2);
    if (!together)
        settle();
}

/* Where clients connect: a socket with a name that the kernel makes up, in no directory. */
static struct qmp_listener *open_front(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    front = (struct sockaddr_un){ .sun_family = AF_UNIX };
    g_assert_cmpint(bind(fd, (struct sockaddr *)&front, sizeof(front.sun_family)), ==, 0);
    front_length = sizeof(front);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&front, &front_length), ==, 0);
    return qmp_listener_new_from_fd(fd, NULL);
}

static void note_quit(void *opaque)
{
}

/* The path that the proxy is to find QEMU at; NULL if there is no proxy. */
static const char *path_of_qemu(void)
{
    switch (mode) {
    case 't':
    case 'p':
        return qemu_path;
    case 'b':
        return busy_path;
    case 'g':
        return gone_path;
    default:
        return NULL;
    }
}

static void play(struct fuzz_input *input)
{
    struct qmp_commands *commands = qmp_commands_new(true, note_quit, NULL);
    qmp_commands_add_chardev(commands, "libxl-cmd", "unix:/run/xen/qmp-libxl-5,server=on");
    struct qmp_listener *listener = open_front();
    struct qmp_server *server = NULL;
    struct qmp_proxy *proxy = NULL;
    if (path_of_qemu()) {
        proxy = qmp_proxy_new(listener, path_of_qemu(), NULL);
        listener = mode == 't' ? qmp_listener_new_from_fd(dup(qemu_fd), NULL) : NULL;
    }
    if (listener)
        server = qmp_server_new(listener, qmp_commands_run, commands);

    const char *line;
    gsize length;
    while (fuzz_next_line(input, &line, &length))
        act(line, length);
    for (int i = 0; i < CLIENTS; i++)
        talks[i].client.deaf = talks[i].qemu.deaf = false;
    settle();
    g_assert_cmpint(count_fds(), <=, fds_before + HELD_FDS_MAX);
    for (int i = 0; i < CLIENTS; i++)
        check_talk(&talks[i]);

    qmp_proxy_free(proxy);
    qmp_server_free(server);
    qmp_commands_free(commands);
}

/* A socket of QEMU in DIR, of which only the path that is returned is left, as qemu.c does. */
static char *make_qemu(const char *dir, int *fd)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/qemu", dir);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(*fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    int path_fd = open(address.sun_path, O_PATH | O_CLOEXEC);
    g_assert_cmpint(g_unlink(address.sun_path), ==, 0);
    return g_strdup_printf("/proc/self/fd/%d", path_fd);
}

/* Connects to QEMU until its queue is full. */
static void make_busy(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    int fd;
    do
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    while (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init_log();
    g_main_context_iteration(NULL, FALSE); /* it opens its own descriptor */
    g_autofree char *dir = g_dir_make_tmp("rolemodel-fuzz-XXXXXX", NULL);
    int busy_fd, gone_fd;
    qemu_path = make_qemu(dir, &qemu_fd);
    g_assert_cmpint(listen(qemu_fd, CLIENTS), ==, 0);
    busy_path = make_qemu(dir, &busy_fd);
    g_assert_cmpint(listen(busy_fd, 0), ==, 0);
    make_busy(busy_path);
    gone_path = make_qemu(dir, &gone_fd); /* nobody listens */
    g_assert_cmpint(g_rmdir(dir), ==, 0);
    null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < CLIENTS; i++) {
        end_init(&talks[i].client);
        end_init(&talks[i].qemu);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { (const char *)data, (const char *)data + size };
    const char *line = "";
    gsize length = 0;
    fuzz_next_line(&input, &line, &length);
    mode = length > 0 ? *line : '\0';
    floods = 0;
    heap_before = __sanitizer_get_current_allocated_bytes();
    fds_before = count_fds();

    play(&input);
    for (int i = 0; i < CLIENTS; i++) {
        end_reset(&talks[i].client);
        end_reset(&talks[i].qemu);
    }
    g_assert_cmpint(count_fds(), ==, fds_before);
    return 0;
}
