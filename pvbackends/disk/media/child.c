/* Helper programs: see child.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "xen/error.h"

/* A longer line is cut. */
#define LINE_MAX_BYTES 1024

struct disk_child {
    GPid pid;
    int pid_fd;
    int output_fd;
    bool ended;
    int status;
    char text[LINE_MAX_BYTES]; /* said, not yet a whole line */
    size_t length;
};

/*
 * In the child, between fork and exec.  A process group of its own, or ^C would end it before us,
 * who are still writing.
 */
static void before_exec(gpointer opaque)
{
    pid_t parent = GPOINTER_TO_INT(opaque);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
}

struct disk_child *disk_child_start(const char *const *argv, GError **error)
{
    const GSpawnFlags flags =
        G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_STDOUT_TO_DEV_NULL;
    struct disk_child *child = g_new0(struct disk_child, 1);

    child->pid_fd = child->output_fd = -1;
    if (!g_spawn_async_with_pipes(NULL, (char **)argv, NULL, flags, before_exec,
                                  GINT_TO_POINTER(getpid()), &child->pid, NULL, NULL,
                                  &child->output_fd, error)) {
        g_free(child);
        return NULL;
    }
    fcntl(child->output_fd, F_SETFL, O_NONBLOCK);
    child->pid_fd = pidfd_open(child->pid, 0);
    if (child->pid_fd >= 0)
        return child;
    xen_set_error(error, "cannot watch process %d", child->pid);
    kill(child->pid, SIGKILL);
    TEMP_FAILURE_RETRY(waitpid(child->pid, &child->status, 0));
    child->ended = true;
    disk_child_free(child);
    return NULL;
}

void disk_child_free(struct disk_child *child)
{
    if (!child || !child->ended)
        return;
    if (child->pid_fd >= 0)
        close(child->pid_fd);
    if (child->output_fd >= 0)
        close(child->output_fd);
    g_free(child);
}

GPid disk_child_pid(const struct disk_child *child)
{
    return child->pid;
}

int disk_child_fd(const struct disk_child *child)
{
    return child->pid_fd;
}

int disk_child_output_fd(const struct disk_child *child)
{
    return child->output_fd;
}

static char *take(struct disk_child *child, size_t length, size_t used)
{
    char *line = g_strndup(child->text, length);
    child->length -= used;
    memmove(child->text, child->text + used, child->length);
    return line;
}

char *disk_child_line(struct disk_child *child)
{
    size_t room = sizeof(child->text) - child->length;
    ssize_t got =
        child->output_fd < 0
            ? 0
            : TEMP_FAILURE_RETRY(read(child->output_fd, child->text + child->length, room));
    bool last = got == 0 && room > 0;
    if (got > 0)
        child->length += got;
    if (last && child->output_fd >= 0) {
        close(child->output_fd);
        child->output_fd = -1;
    }
    char *end = memchr(child->text, '\n', child->length);
    if (end)
        return take(child, end - child->text, end - child->text + 1);
    last |= child->length == sizeof(child->text);
    return last && child->length > 0 ? take(child, child->length, child->length) : NULL;
}

bool disk_child_ended(struct disk_child *child, unsigned wait_ms)
{
    struct pollfd fd = { .fd = child->pid_fd, .events = POLLIN };

    if (!child->ended && TEMP_FAILURE_RETRY(poll(&fd, 1, wait_ms)) > 0)
        child->ended = TEMP_FAILURE_RETRY(waitpid(child->pid, &child->status, 0)) == child->pid;
    return child->ended;
}

char *disk_child_end(const struct disk_child *child)
{
    if (WIFSIGNALED(child->status))
        return g_strdup_printf("was killed by signal %d", WTERMSIG(child->status));
    return g_strdup_printf("ended with status %d", WEXITSTATUS(child->status));
}

void disk_child_signal(struct disk_child *child, int number)
{
    if (!child->ended)
        kill(child->pid, number);
}
