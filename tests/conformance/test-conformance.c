/*
 * The conformance set on the simulator: test-conformance PROGRAM EXPECTED runs the areas on a
 * simulated host and compares what they print with what real Xen printed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <glib/gstdio.h>

#include "tests/conformance/processor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

static const struct toolstack_guest guest_configuration = { .type = "pvh",
                                                            .vcpus = 2,
                                                            .pages = 16 * 256 };

/* Appends what PROGRAM prints about AREA to the file SAID. */
static bool run(const char *program, const char *area, const char *domid, const char *said)
{
    const char *const argv[] = { "sh",  "-c", "exec \"$@\" >>\"$0\"", said, program, area,
                                 domid, NULL };
    int status = toolstack_wait(toolstack_run(NULL, argv));
    if (status != 0)
        printf("area %s ended with status %d\n", area, status);
    return status == 0;
}

/* Areas that need a guest, all the same one; NULL ends them. */
static bool run_with_guest(const char *program, const char *said, const char *const *areas)
{
    struct processor processor = { .guest = toolstack_create(&guest_configuration) };
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(processor.guest));
    GThread *thread = g_thread_new("vcpu", processor_run, &processor);
    bool ok = true;
    for (; ok && *areas; areas++)
        ok = run(program, *areas, domid, said);
    processor_stop(&processor);
    g_thread_join(thread);
    toolstack_destroy(processor.guest);
    return ok;
}

/* In the order of the rig's scenario. */
static bool run_areas(const char *program, const char *said)
{
    static const char *const hosts[] = { "evtchn", "gnttab", "xenstore" };
    static const char *const guests[][3] = {
        { "memory", "ioreq" }, { "ioreq-busy" }, { "ioreq-port" }, { "ioreq-orphan" }
    };
    bool ok = true;
    for (unsigned i = 0; ok && i < G_N_ELEMENTS(hosts); i++)
        ok = run(program, hosts[i], NULL, said);
    for (unsigned i = 0; ok && i < G_N_ELEMENTS(guests); i++)
        ok = run_with_guest(program, said, guests[i]);
    return ok;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s PROGRAM EXPECTED\n", argv[0]);
        return 2;
    }
    g_autofree char *directory = g_dir_make_tmp("conformance-XXXXXX", NULL);
    g_autofree char *said = g_build_filename(directory, "said", NULL);

    sim_start();
    bool ok = run_areas(argv[1], said);
    const char *const diff[] = { "diff", "-u", argv[2], said, NULL };
    ok = toolstack_wait(toolstack_run(NULL, diff)) == 0 && ok;
    sim_stop();
    g_unlink(said);
    g_rmdir(directory);
    return ok ? 0 : 1;
}
