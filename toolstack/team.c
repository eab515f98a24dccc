/* The role processes of a guest: see team.h. */

#define G_LOG_DOMAIN "team"
#include "toolstack/team.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where a role finds the socket on which it says that it is ready, and answers. */
#define NOTIFY_FD 3

/* How often each role is asked whether it goes on: often enough to know, seldom enough to cost. */
#define ASK_SECONDS 2

/*
 * When a role that does not answer is reported.  On a busy host, or with a medium that has to spin
 * up, it is back before; a Linux guest complains of what it waits for after 120 s.
 */
#define SILENT_SECONDS 10

/*
 * Turns of the timer and not a clock's time: if this process stands still, or all of dom0 does, the
 * roles have had no time to answer either.
 */
#define SILENT_TURNS (SILENT_SECONDS / ASK_SECONDS)

struct team {
    unsigned domid;
    int argc;
    char **argv;
    char *program; /* our own executable, which is every role's */
    bool watched;
    const struct team_events *events;
    void *opaque;
    GPtrArray *members;
    guint timer;
    bool stopping;
};

struct member {
    struct team *team;
    const struct role *role;
    GPid pid;
    guint child_watch;
    guint notify_watch;
    int notify_fd;
    bool ready;
    bool asked;     /* and it has not answered */
    unsigned turns; /* of the timer since it last said that it goes on */
};

static void stop_listening(struct member *member)
{
    if (member->notify_watch)
        g_source_remove(member->notify_watch);
    member->notify_watch = 0;
    if (member->notify_fd >= 0)
        close(member->notify_fd);
    member->notify_fd = -1;
}

static void member_free(gpointer opaque)
{
    struct member *member = opaque;
    stop_listening(member);
    if (member->child_watch)
        g_source_remove(member->child_watch);
    g_free(member);
}

struct team *team_new(unsigned domid, int argc, char **argv, const struct team_events *events,
                      void *opaque)
{
    struct team *team = g_new0(struct team, 1);
    team->domid = domid;
    team->argc = argc;
    team->argv = argv;
    team->program = g_file_read_link("/proc/self/exe", NULL);
    team->events = events;
    team->opaque = opaque;
    team->members = g_ptr_array_new_with_free_func(member_free);
    return team;
}

void team_free(struct team *team)
{
    if (!team)
        return;
    if (team->timer)
        g_source_remove(team->timer);
    g_ptr_array_unref(team->members);
    g_free(team->program);
    g_free(team);
}

static bool all_ready(const struct team *team)
{
    for (guint i = 0; i < team->members->len; i++) {
        const struct member *member = g_ptr_array_index(team->members, i);
        if (!member->ready)
            return false;
    }
    return true;
}

static bool is_silent(const struct member *member)
{
    return member->turns > SILENT_TURNS;
}

static void set_ready(struct member *member)
{
    struct team *team = member->team;
    member->ready = true;
    if (all_ready(team) && !team->stopping)
        team->events->ready(team->opaque);
}

static void take_answer(struct member *member, char answer)
{
    struct team *team = member->team;
    member->asked = false;
    if (answer != ROLE_GOES_ON)
        return;
    if (is_silent(member)) {
        g_message("role %s (process %d) answers again, after %u s", member->role->name, member->pid,
                  (member->turns - 1) * ASK_SECONDS);
        team->events->silent(member->role, false, team->opaque);
    }
    member->turns = 0;
    if (!member->ready)
        set_ready(member);
}

/* The role said something, or closed its end: then on_left() will tell the rest. */
static gboolean on_notify(gint fd, GIOCondition condition, gpointer opaque)
{
    struct member *member = opaque;
    char answer;
    ssize_t got = read(fd, &answer, 1);

    if (got == 1)
        take_answer(member, answer);
    else if (got == 0 || errno != EAGAIN)
        stop_listening(member);
    return G_SOURCE_CONTINUE; /* stop_listening() has removed the source */
}

static void report_silent(const struct member *member)
{
    struct team *team = member->team;
    g_warning("role %s (process %d) has not answered for %u s: what the guest asks of it waits. It "
              "may wait for slow storage; `cat /proc/%d/task/*/stack` shows where it hangs. If it "
              "does not answer again, destroy the guest, and if the process is still there then, "
              "`kill -9 %d` ends it",
              member->role->name, member->pid, SILENT_SECONDS, member->pid, member->pid);
    team->events->silent(member->role, true, team->opaque);
}

static void ask(struct member *member)
{
    static const char question = ROLE_QUESTION;

    if (!member->ready)
        return;
    if (member->turns++ == SILENT_TURNS)
        report_silent(member);
    if (!member->asked)
        member->asked = write(member->notify_fd, &question, 1) == 1;
}

static gboolean on_timer(gpointer opaque)
{
    struct team *team = opaque;
    for (guint i = 0; i < team->members->len; i++)
        ask(g_ptr_array_index(team->members, i));
    return G_SOURCE_CONTINUE;
}

static void log_exit(const struct member *member, int status)
{
    if (WIFSIGNALED(status))
        g_warning("role %s (process %d) was ended by signal %d (%s); what it served stands still "
                  "until the guest is restarted",
                  member->role->name, member->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0 && member->ready) /* else it has just said why */
        g_warning("role %s (process %d) ended with status %d", member->role->name, member->pid,
                  WEXITSTATUS(status));
}

static void on_left(GPid pid, gint status, gpointer opaque)
{
    struct member *member = opaque;
    struct team *team = member->team;
    bool failed = !member->ready || !WIFEXITED(status) || WEXITSTATUS(status) != 0;

    if (!team->stopping || WIFSIGNALED(status))
        log_exit(member, status);
    if (!team->stopping && is_silent(member))
        team->events->silent(member->role, false, team->opaque);
    member->child_watch = 0;
    g_spawn_close_pid(pid);
    g_ptr_array_remove_fast(team->members, member);
    if (failed && !team->stopping)
        team->events->failed(team->opaque);
    else if (team->members->len == 0)
        team->events->empty(team->opaque);
}

static char **role_argv(const struct team *team, const struct role *role, char *const *options)
{
    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
    g_autofree char *domid = g_strdup_printf("%u", team->domid);
    g_autofree char *notify_fd = g_strdup_printf("%d", NOTIFY_FD);

    g_strv_builder_add_many(argv, team->program, role->name, "--domid", domid, "--notify-fd",
                            notify_fd, NULL);
    for (char *const *option = options; *option; option++)
        g_strv_builder_add_many(argv, "--option", *option, NULL);
    return g_strv_builder_end(argv);
}

/* Makes ps show the role's command line instead of libxl's; what does not fit is cut off. */
static void retitle(const struct team *team, char *const *title)
{
    char *at = team->argv[0];
    char *end = team->argv[team->argc - 1] + strlen(team->argv[team->argc - 1]);

    memset(at, 0, end - at);
    for (; *title && at < end; title++)
        at += g_strlcpy(at, *title, end - at) + 1;
    prctl(PR_SET_NAME, "rolemodel");
}

static G_NORETURN void become_role(const struct team *team, const struct role *role, char **argv,
                                   int notify_fd)
{
    /* Nothing of the supervisor's stays open here: QEMU waits for the end of one of its pipes. */
    if (dup2(notify_fd, NOTIFY_FD) < 0 || close_range(NOTIFY_FD + 1, ~0U, 0) < 0) {
        g_critical("role %s: cannot close the supervisor's files: %s", role->name,
                   g_strerror(errno));
        _exit(1);
    }
    retitle(team, argv);
    exit(role_main(role, g_strv_length(argv) - 1, argv + 1));
}

static bool fork_role(const struct team *team, const struct role *role, char **argv, int notify_fd,
                      GPid *pid, GError **error)
{
    *pid = fork();
    if (*pid == 0)
        become_role(team, role, argv, notify_fd);
    if (*pid < 0)
        g_set_error(error, G_SPAWN_ERROR, G_SPAWN_ERROR_FORK, "cannot fork: %s", g_strerror(errno));
    return *pid > 0;
}

static bool exec_role(char **argv, int notify_fd, GPid *pid, GError **error)
{
    int target = NOTIFY_FD;
    return g_spawn_async_with_pipes_and_fds(NULL, (const char *const *)argv, NULL,
                                            G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1, -1, -1,
                                            &notify_fd, &target, 1, pid, NULL, NULL, NULL, error);
}

static void watch(struct member *member)
{
    member->notify_watch = g_unix_fd_add(member->notify_fd, G_IO_IN | G_IO_HUP, on_notify, member);
    member->child_watch = g_child_watch_add(member->pid, on_left, member);
}

bool team_start(struct team *team, const struct role *role, char *const *options, GError **error)
{
    g_auto(GStrv) argv = role_argv(team, role, options);
    int notify[2];
    GPid pid;

    /* Neither end ever waits for the other. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, notify) < 0) {
        g_set_error(error, G_SPAWN_ERROR, G_SPAWN_ERROR_FAILED, "cannot make a socket: %s",
                    g_strerror(errno));
        return false;
    }
    bool started = team->watched ? exec_role(argv, notify[1], &pid, error)
                                 : fork_role(team, role, argv, notify[1], &pid, error);
    close(notify[1]);
    if (!started) {
        close(notify[0]);
        return false;
    }
    struct member *member = g_new0(struct member, 1);
    member->team = team;
    member->role = role;
    member->pid = pid;
    member->notify_fd = notify[0];
    g_ptr_array_add(team->members, member);
    if (team->watched)
        watch(member);
    return true;
}

void team_watch(struct team *team)
{
    team->watched = true;
    team->timer = g_timeout_add_seconds(ASK_SECONDS, on_timer, team);
    for (guint i = 0; i < team->members->len; i++)
        watch(g_ptr_array_index(team->members, i));
}

bool team_each(const struct team *team, team_each_fn *fn, void *opaque, GError **error)
{
    for (guint i = 0; i < team->members->len; i++) {
        const struct member *member = g_ptr_array_index(team->members, i);
        if (!fn(member->role, member->pid, opaque, error))
            return false;
    }
    return true;
}

bool team_has(const struct team *team, const struct role *role)
{
    for (guint i = 0; i < team->members->len; i++) {
        const struct member *member = g_ptr_array_index(team->members, i);
        if (member->role == role)
            return true;
    }
    return false;
}

unsigned team_size(const struct team *team)
{
    return team->members->len;
}

void team_stop(struct team *team)
{
    team->stopping = true;
    for (guint i = 0; i < team->members->len; i++) {
        const struct member *member = g_ptr_array_index(team->members, i);
        kill(member->pid, SIGTERM);
    }
}
