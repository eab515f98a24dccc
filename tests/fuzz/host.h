/*
 * A simulated host inside the fuzzer, with one guest that the fuzzer plays.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_HOST_H
#define TESTS_FUZZ_HOST_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/guest/guest.h"
#include "tests/sim/hypervisor/hypervisor.h"

/* A guest of PAGES; for LLVMFuzzerInitialize(). */
static inline struct guest *fuzz_make_guest(size_t pages)
{
    static FILE *remover; /* never closed: sees its end when this process ends, in whatever way */
    char directory[] = "/dev/shm/xensim-fuzz-XXXXXX"; /* in memory: an input may make files */

    if (!mkdtemp(directory))
        g_error("cannot make a directory in /dev/shm");
    g_autofree char *command = g_strdup_printf("trap '' INT; read _; rm -rf %s", directory);
    remover = popen(command, "we");
    if (!remover || sim_hypervisor_create(directory) < 0)
        g_error("cannot make a simulated host in %s", directory);
    g_setenv("ROLEMODEL_RUN_DIR", directory, TRUE);
    return guest_open(sim_domain_create(1, pages, false));
}

#endif
