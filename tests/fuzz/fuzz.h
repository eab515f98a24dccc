/*
 * What every fuzzer here has: libFuzzer calls LLVMFuzzerInitialize() once and then
 * LLVMFuzzerTestOneInput() with one input after another, in one process.
 *
 * A fuzzer asks more than "no crash": it asserts (g_assert) what holds for any input.  It releases
 * all it made before it returns, runs no threads and never sleeps, so that the same input does the
 * same again.  Where the input can be text, it is lines of text: seeds are then easy to write, and
 * findings to read.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_log(const gchar *domain, GLogLevelFlags level, const gchar *message,
                            gpointer opaque)
{
    if (!(level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR)))
        return;
    g_printerr("%s\n", message);
    abort(); /* libFuzzer keeps the input for this signal, not for GLib's SIGTRAP */
}

/* For LLVMFuzzerInitialize(): what GLib finds critical is a finding, and nothing else is said. */
static inline void fuzz_init_log(void)
{
    g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR);
    g_log_set_default_handler(fuzz_log, NULL);
}

struct fuzz_input {
    const char *at;
    const char *end;
};

/* Takes the next line, which has LENGTH bytes of any kind before its line break; false at the end.
 */
static inline bool fuzz_next_line(struct fuzz_input *input, const char **line, gsize *length)
{
    if (input->at == input->end)
        return false;
    const char *stop = memchr(input->at, '\n', input->end - input->at);
    *line = input->at;
    *length = (stop ? stop : input->end) - input->at;
    input->at = stop ? stop + 1 : input->end;
    return true;
}

#endif
