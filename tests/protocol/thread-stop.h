/*
 * One thread of another process stands still, as if it hung: by ptrace, because a signal stops them
 * all.  The process must descend from this one, or we be root.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef THREAD_STOP_H
#define THREAD_STOP_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <glib.h>

/* The first thread of PID that has this name, or 0. */
static inline pid_t thread_find(pid_t pid, const char *name)
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

/* Returns the thread, for thread_continue(), when it stands still. */
static inline pid_t thread_stop(pid_t pid, const char *name)
{
    pid_t thread;
    /* A thread gives itself its name when it begins to run. */
    for (int i = 0; !(thread = thread_find(pid, name)) && i < 10000; i++)
        g_usleep(1000);
    if (ptrace(PTRACE_SEIZE, thread, NULL, NULL) < 0 ||
        ptrace(PTRACE_INTERRUPT, thread, NULL, NULL) < 0 || waitpid(thread, NULL, __WALL) < 0)
        g_error("process %d, thread %s cannot be stopped: %s", pid, name, g_strerror(errno));
    return thread;
}

static inline void thread_continue(pid_t thread)
{
    if (ptrace(PTRACE_DETACH, thread, NULL, NULL) < 0)
        g_error("thread %d cannot be continued: %s", thread, g_strerror(errno));
}

#endif
