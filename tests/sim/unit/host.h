/*
 * A bare simulated host for tests of the hypervisor and the libraries: no xenstored, one guest.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef UNIT_HOST_H
#define UNIT_HOST_H

#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/guest/guest.h"
#include "tests/sim/hypervisor/hypervisor.h"

#define HOST_PAGES 256

struct host {
    char *directory;
    struct guest *guest;
    unsigned domid;
};

static inline void host_set_up(struct host *host, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    host->directory = g_dir_make_tmp("xensim-XXXXXX", &error);
    g_assert_no_error(error);
    g_assert_cmpint(sim_hypervisor_create(host->directory), ==, 0);
    host->domid = sim_domain_create(1, HOST_PAGES, true);
    host->guest = guest_open(host->domid);
}

static inline void host_tear_down(struct host *host, gconstpointer data)
{
    const char *name;
    g_autoptr(GDir) files = g_dir_open(host->directory, 0, NULL);
    while ((name = g_dir_read_name(files))) {
        g_autofree char *path = g_build_filename(host->directory, name, NULL);
        g_assert_cmpint(unlink(path), ==, 0);
    }
    g_assert_cmpint(rmdir(host->directory), ==, 0);
    guest_close(host->guest);
    g_free(host->directory);
}

static inline void host_add(const char *path, void (*fn)(struct host *, gconstpointer))
{
    g_test_add(path, struct host, NULL, host_set_up, fn, host_tear_down);
}

/*
 * A process of its own that runs FN and then waits to be killed; the call returns when FN has.  An
 * assertion that fails in it fails the test.
 */
static inline pid_t host_fork(void (*fn)(struct host *host), struct host *host)
{
    int ready[2];
    char byte;

    g_assert_cmpint(pipe(ready), ==, 0);
    pid_t pid = fork();
    if (pid == 0) {
        fn(host);
        g_assert_cmpint(write(ready[1], "", 1), ==, 1);
        for (;;)
            pause();
    }
    close(ready[1]);
    g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
    close(ready[0]);
    return pid;
}

static inline void host_kill(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Makes the next call of CALL fail with ERROR, or the last SHORT_BY of its items. */
static inline void host_fault(const char *call, int error, unsigned short_by)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct sim_fault_entry *entry = &xen->faults[0];
    *entry = (struct sim_fault_entry){ .times = 1, .error = error, .short_by = short_by };
    g_strlcpy(entry->call, call, sizeof(entry->call));
    xen->faults_set = 1;
}

#define assert_errno(failed, error)                                                                \
    do {                                                                                           \
        errno = 0;                                                                                 \
        g_assert_true(failed);                                                                     \
        g_assert_cmpint(errno, ==, error);                                                         \
    } while (0)

#endif
