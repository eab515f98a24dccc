/* Processes and threads that stand still: see stop.h. */

#include "tests/protocol/stop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <glib.h>

#include "tests/sim/hypervisor/hypervisor.h"

#include <xen/io/xs_wire.h>

#define TRIES 10000 /* a millisecond each */
#define ANSWER_MS 1000

static bool task_stands(pid_t pid, const char *task)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%s/stat", pid, task);
    g_autofree char *stat = NULL;
    return !g_file_get_contents(path, &stat, NULL, NULL) || strstr(stat, ") T ");
}

static bool process_stands(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
    const char *task;

    while (tasks && (task = g_dir_read_name(tasks))) {
        if (!task_stands(pid, task))
            return false;
    }
    return true;
}

static void await_standstill(pid_t pid)
{
    for (int i = 0; i < TRIES; i++) {
        if (process_stands(pid))
            return;
        g_usleep(1000);
    }
    g_error("process %d cannot be stopped", pid);
}

/* On a connection of its own, because libxenstore would wait for as long as xenstored does. */
static bool xenstored_answers(void)
{
    struct {
        struct xsd_sockmsg header;
        char path[2];
    } question = { { .type = XS_DIRECTORY, .len = sizeof(question.path) }, "/" };
    size_t size = sizeof(question.header) + sizeof(question.path);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct pollfd answer = { .fd = fd, .events = POLLIN };

    g_strlcpy(address.sun_path, g_getenv("XENSTORED_PATH"), sizeof(address.sun_path));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        write(fd, &question, size) != (ssize_t)size)
        g_error("cannot ask xenstored: %s", g_strerror(errno));
    bool answers = poll(&answer, 1, ANSWER_MS) == 1;
    close(fd);
    return answers;
}

void process_stop(pid_t pid)
{
    struct sim_hypervisor *xen = sim_hypervisor();

    for (int i = 0; i < TRIES; i++) {
        sim_lock(xen);
        kill(pid, SIGSTOP);
        await_standstill(pid);
        sim_unlock(xen);
        if (xenstored_answers())
            return;
        kill(pid, SIGCONT);
        g_usleep(1000);
    }
    g_error("process %d never leaves xenstored alone", pid);
}

static pid_t thread_find(pid_t pid, const char *name)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
    const char *task;

    while (tasks && (task = g_dir_read_name(tasks))) {
        g_autofree char *comm_path = g_strdup_printf("%s/%s/comm", path, task);
        g_autofree char *comm = NULL;
        if (g_file_get_contents(comm_path, &comm, NULL, NULL) && !strcmp(g_strchomp(comm), name))
            return atoi(task);
    }
    return 0;
}

pid_t thread_stop(pid_t pid, const char *name)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    pid_t thread;

    /* A thread gives itself its name when it begins to run. */
    for (int i = 0; !(thread = thread_find(pid, name)) && i < TRIES; i++)
        g_usleep(1000);
    sim_lock(xen);
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) < 0 ||
        ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0 || waitpid(thread, NULL, __WALL) < 0)
        g_error("process %d, thread %s cannot be stopped: %s", pid, name, g_strerror(errno));
    sim_unlock(xen);
    return thread;
}

void thread_continue(pid_t thread)
{
    if (ptrace(PTRACE_DETACH, thread, NULL, NULL) < 0)
        g_error("thread %d cannot be continued: %s", thread, g_strerror(errno));
}
