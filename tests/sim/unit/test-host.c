/*
 * Simulated hosts that come and go, and programs on them.
 *
 * Called as `test-host CHILD` it is a program on a host, or one that makes a host of its own.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <dlfcn.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define END_MS 5000

static const struct toolstack_guest small = { .type = "pv", .vcpus = 1, .pages = 256 };

static char *program;

static int run(const char *log, const char *argument, const char *const *argv)
{
    const char *child[] = { program, argument, NULL };
    return toolstack_wait(toolstack_run(log, argument ? child : argv));
}

static void test_run(void)
{
    static const char *const fails[] = { "sh", "-c", "exit 3", NULL };
    static const char *const dies[] = { "sh", "-c", "kill $$", NULL };
    static const char *const finds[] = { "xenstore-exists", "/test/run", NULL };
    static const char *const finds_not[] = { "xenstore-exists", "/test/none", NULL };
    static const char *const missing[] = { "/no/such/program", NULL };
    g_autofree char *log = g_build_filename(sim_directory(), "run.log", NULL);
    g_autofree char *said = NULL;

    toolstack_write("/test/run", "yes");
    g_assert_cmpint(run(NULL, "uses-libraries", NULL), ==, 0);
    g_assert_cmpint(run(NULL, NULL, fails), ==, 3);
    g_assert_cmpint(run(NULL, NULL, dies), ==, -SIGTERM);
    g_assert_cmpint(run(NULL, NULL, finds), ==, 0);
    g_assert_cmpint(run(NULL, NULL, finds_not), ==, 1);
    g_assert_cmpint(run(log, NULL, missing), ==, 127);
    g_assert_true(g_file_get_contents(log, &said, NULL, NULL));
    g_assert_cmpstr(said, ==, "/no/such/program: cannot be run\n");
}

/* A Xen library by soname is the simulated one. */
static int child_uses_libraries(void)
{
    void *library = dlopen("libxenevtchn.so.1", RTLD_NOW);
    if (!library)
        return 1;
    void *(*open_channels)(void *, unsigned) =
        (void *(*)(void *, unsigned))dlsym(library, "xenevtchn_open");
    Dl_info info;
    if (!open_channels || !dladdr((void *)open_channels, &info) || !open_channels(NULL, 0))
        return 2;
    g_autofree char *directory = g_path_get_dirname(info.dli_fname);
    return g_str_has_prefix(g_getenv("LD_LIBRARY_PATH"), directory) ? 0 : 3;
}

/* Makes a host, says where it is and who its xenstored is, and dies without a word. */
static int child_dies(void)
{
    sim_start();
    g_autofree char *path = g_build_filename(sim_directory(), "xenstored.pid", NULL);
    g_autofree char *pid = NULL;
    g_assert_true(g_file_get_contents(path, &pid, NULL, NULL));
    fprintf(stderr, "%s %s", sim_directory(), pid);
    raise(SIGKILL);
    return 0;
}

static int child_lives(void)
{
    sim_start();
    toolstack_destroy(toolstack_create(&small));
    sim_stop();
    return 0;
}

/* Processes that our children leave behind become ours (main()), so that they can be waited for. */
static bool ends_soon(pid_t pid)
{
    for (int i = 0; i < END_MS && kill(pid, 0) == 0; i++) {
        waitpid(pid, NULL, WNOHANG);
        g_usleep(1000);
    }
    return kill(pid, 0) < 0;
}

/* The next host that starts removes the directory; it may be another test's. */
static void test_dead_host(void)
{
    g_autofree char *log = g_build_filename(sim_directory(), "dies.log", NULL);
    g_autofree char *said = NULL;

    g_assert_cmpint(run(log, "dies", NULL), ==, -SIGKILL);
    g_assert_true(g_file_get_contents(log, &said, NULL, NULL));
    g_auto(GStrv) words = g_strsplit(said, " ", 2);
    g_assert_cmpstr(words[0], !=, sim_directory());
    g_assert_true(ends_soon(atoi(words[1])));

    g_assert_cmpint(run(NULL, "lives", NULL), ==, 0);
    g_assert_false(g_file_test(words[0], G_FILE_TEST_EXISTS));
    g_assert_true(g_file_test(sim_directory(), G_FILE_TEST_IS_DIR));
}

static void test_faults(void)
{
    struct sim_struck struck;
    g_assert_false(sim_struck("one", &struck));
    sim_fault(&(struct sim_fault){ .call = "one", .skip = 1, .times = 2, .error = EIO });
    sim_fault(&(struct sim_fault){ .call = "two", .times = 1, .delay_us = 2000, .short_by = 3 });
    g_assert_false(sim_struck("one", &struck));
    g_assert_true(sim_struck("one", &struck));
    g_assert_cmpint(struck.error, ==, EIO);
    g_assert_true(sim_struck("one", &struck));
    g_assert_false(sim_struck("one", &struck));
    gint64 start = g_get_monotonic_time();
    g_assert_true(sim_struck("two", &struck));
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 2000);
    g_assert_cmpint(struck.short_by, ==, 3);
    g_assert_cmpuint(sim_fault_struck("one"), ==, 2);
    g_assert_cmpuint(sim_fault_struck("two"), ==, 1);
    sim_fault_clear();
    g_assert_cmpuint(sim_fault_struck("one"), ==, 0);
    g_assert_false(sim_struck("one", &struck));
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*main)(void);
    } children[] = {
        { "uses-libraries", child_uses_libraries },
        { "dies", child_dies },
        { "lives", child_lives },
    };
    for (size_t i = 0; argc > 1 && i < G_N_ELEMENTS(children); i++) {
        if (strcmp(argv[1], children[i].name) == 0)
            return children[i].main();
    }
    program = g_file_read_link("/proc/self/exe", NULL);
    g_test_init(&argc, &argv, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sim_start();
    g_test_add_func("/host/run", test_run);
    g_test_add_func("/host/dead", test_dead_host);
    g_test_add_func("/host/faults", test_faults);
    int status = g_test_run();
    sim_stop();
    g_free(program);
    return status;
}
