/* QEMU beside us: see qemu.h. */

#define G_LOG_DOMAIN "qemu"
#include "toolstack/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "toolstack/drives.h"
#include "xen/error.h"

/* QEMU's sockets have a name only for a moment; see private_socket(). */
#define SOCKET_DIR "/run/rolemodel-XXXXXX"

struct qemu {
    char **qmp_paths; /* /proc/self/fd/N of each of QEMU's sockets */
    int pidfd;
    int go_fd;
    guint watch;
    qemu_gone_fn *gone;
    void *opaque;
};

static const char *program(void)
{
    const char *other = g_getenv("ROLEMODEL_QEMU");
    return other ? other : QEMU_PROGRAM;
}

bool qemu_available(void)
{
    return access(program(), X_OK) == 0;
}

void qemu_become(const struct dm_cmdline *cmdline, GError **error)
{
    g_autofree int *fds = g_new0(int, cmdline->qmp_sockets->len + 1);
    for (guint i = 0; i < cmdline->qmp_sockets->len; i++) {
        const struct dm_qmp_socket *socket = g_ptr_array_index(cmdline->qmp_sockets, i);
        fds[i] = socket->fd;
    }
    g_auto(GStrv) argv = dm_cmdline_qemu_argv(cmdline, program(), fds);
    execv(argv[0], argv);
    xen_set_error(error, "%s: cannot start QEMU", program());
}

/*
 * A listening socket for QEMU that nobody but us can reach, and that leaves no file behind
 * whatever happens to us: its name is removed at once, and *PATH leads to it through a
 * descriptor of its own, by which it can still be connected to.
 */
static int private_socket(char **path, GError **error)
{
    g_autofree char *dir = g_strdup(SOCKET_DIR);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* for QEMU to inherit: not close-on-exec */
    int handle = -1;

    if (fd >= 0 && g_mkdtemp(dir)) {
        snprintf(address.sun_path, sizeof(address.sun_path), "%s/qmp", dir);
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0)
            handle = open(address.sun_path, O_PATH | O_CLOEXEC);
        int err = errno;
        unlink(address.sun_path);
        rmdir(dir);
        errno = err;
    }
    if (handle >= 0) {
        *path = g_strdup_printf("/proc/self/fd/%d", handle);
        return fd;
    }
    xen_set_error(error, "cannot make a socket for QEMU in %s", dir);
    if (fd >= 0)
        close(fd);
    return -1;
}

/*
 * What the supervisor sends is "go" and the images that are not for QEMU, each ending with NUL;
 * nothing at all if there is nothing to go for.
 */
static GString *read_message(int fd)
{
    GString *message = g_string_new(NULL);
    char piece[512];
    ssize_t got;

    while ((got = read(fd, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR)) {
        if (got > 0)
            g_string_append_len(message, piece, got);
    }
    return message;
}

/* The process that libxl knows: waits to be told, and becomes QEMU. */
static G_NORETURN void wait_and_become_qemu(char **arguments, int go_fd)
{
    GString *message = read_message(go_fd);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();

    if (message->len == 0 || message->str[message->len - 1] != '\0')
        _exit(1); /* the supervisor has said why */
    for (char **argument = arguments; *argument; argument++)
        g_ptr_array_add(argv, *argument);
    g_ptr_array_add(argv, NULL);
    for (gsize at = strlen(message->str) + 1; at < message->len;
         at += strlen(message->str + at) + 1) {
        if (drives_remove(argv, message->str + at) > 0)
            g_message("%s is served by a role and has no emulated disk beside it; firmware without "
                      "a PV driver boots from vdev=hda",
                      message->str + at);
    }
    execv(argv->pdata[0], (char **)argv->pdata);
    g_critical("%s: cannot start QEMU: %s", arguments[0], g_strerror(errno));
    _exit(1);
}

/* Forks so that QEMU has no child it does not know: the new process belongs to init. */
static pid_t fork_away(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        pid_t supervisor = fork();
        if (supervisor != 0)
            _exit(supervisor < 0);
        return 0;
    }
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && status != 0)
        return -1;
    return pid;
}

struct qemu *qemu_split(const struct dm_cmdline *cmdline, GError **error)
{
    guint count = cmdline->qmp_sockets->len;
    g_autofree int *fds = g_new0(int, count + 1);
    struct qemu *qemu = g_new0(struct qemu, 1);
    int go[2];

    qemu->pidfd = qemu->go_fd = -1;
    qemu->qmp_paths = g_new0(char *, count + 1);
    for (guint i = 0; i < count; i++) {
        fds[i] = private_socket(&qemu->qmp_paths[i], error);
        if (fds[i] < 0)
            goto failed; /* the process is about to end; what is open goes with it */
    }
    qemu->pidfd = pidfd_open(getpid(), 0);
    if (qemu->pidfd < 0 || !g_unix_open_pipe(go, FD_CLOEXEC, NULL)) {
        xen_set_error(error, "cannot prepare to start QEMU");
        goto failed;
    }
    pid_t pid = fork_away();
    if (pid < 0) {
        xen_set_error(error, "cannot start the supervisor's process");
        goto failed;
    }
    if (pid > 0) {
        close(go[1]);
        wait_and_become_qemu(dm_cmdline_qemu_argv(cmdline, program(), fds), go[0]);
    }
    close(go[0]);
    qemu->go_fd = go[1];
    for (guint i = 0; i < count; i++)
        close(fds[i]);
    return qemu;

failed:
    qemu_free(qemu);
    return NULL;
}

bool qemu_go(struct qemu *qemu, const char *const *owned, GError **error)
{
    g_autoptr(GString) message = g_string_new("go");
    g_string_append_c(message, '\0');
    for (; *owned; owned++)
        g_string_append_len(message, *owned, strlen(*owned) + 1);

    bool told = write(qemu->go_fd, message->str, message->len) == (ssize_t)message->len;
    if (!told)
        xen_set_error(error, "cannot start QEMU, the process that was to become it has ended");
    close(qemu->go_fd);
    qemu->go_fd = -1;
    return told;
}

const char *qemu_qmp_path(const struct qemu *qemu, guint index)
{
    return qemu->qmp_paths[index];
}

static gboolean on_gone(gint fd, GIOCondition condition, gpointer opaque)
{
    struct qemu *qemu = opaque;
    qemu->watch = 0;
    qemu->gone(qemu->opaque);
    return G_SOURCE_REMOVE;
}

void qemu_watch(struct qemu *qemu, qemu_gone_fn *fn, void *opaque)
{
    qemu->gone = fn;
    qemu->opaque = opaque;
    qemu->watch = g_unix_fd_add(qemu->pidfd, G_IO_IN, on_gone, qemu);
}

void qemu_free(struct qemu *qemu)
{
    if (!qemu)
        return;
    if (qemu->watch)
        g_source_remove(qemu->watch);
    if (qemu->pidfd >= 0)
        close(qemu->pidfd);
    if (qemu->go_fd >= 0)
        close(qemu->go_fd);
    g_strfreev(qemu->qmp_paths);
    g_free(qemu);
}
