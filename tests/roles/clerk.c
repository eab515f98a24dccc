/*
 * The clerk: a role that serves nothing and only takes commands, so that what becomes of them can
 * be tested.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "clerk"
#include "role.h"

struct clerk {
    struct role_process *process;
    GPtrArray *kept; /* requests that wait for an answer */
};

static void say(struct role_request *request, char *const *argv, void *instance)
{
    role_request_reply(request, argv[0]);
}

/* The arguments, a line each. */
static void list(struct role_request *request, char *const *argv, void *instance)
{
    g_autofree char *lines = g_strjoinv("\n", (char **)argv);
    role_request_reply(request, lines);
}

static void fail(struct role_request *request, char *const *argv, void *instance)
{
    g_autoptr(GError) error = g_error_new_literal(G_FILE_ERROR, G_FILE_ERROR_FAILED, argv[0]);
    role_request_fail(request, error);
}

/* An answer of so many bytes. */
static void fill(struct role_request *request, char *const *argv, void *instance)
{
    gsize length = g_ascii_strtoull(argv[0], NULL, 10);
    g_autofree char *text = g_strnfill(length, 'x');
    role_request_reply(request, text);
}

/* Not answered before somebody asks for that. */
static void keep(struct role_request *request, char *const *argv, void *instance)
{
    struct clerk *clerk = instance;
    g_ptr_array_add(clerk->kept, request);
}

static void count(struct role_request *request, char *const *argv, void *instance)
{
    const struct clerk *clerk = instance;
    g_autofree char *text = g_strdup_printf("%u", clerk->kept->len);
    role_request_reply(request, text);
}

static void release_all(struct clerk *clerk)
{
    for (guint i = 0; i < clerk->kept->len; i++)
        role_request_reply(g_ptr_array_index(clerk->kept, i), "released");
    g_ptr_array_set_size(clerk->kept, 0);
}

static void release(struct role_request *request, char *const *argv, void *instance)
{
    release_all(instance);
    role_request_reply(request, NULL);
}

static void *clerk_start(struct role_process *process, GError **error)
{
    struct clerk *clerk = g_new0(struct clerk, 1);
    clerk->process = process;
    clerk->kept = g_ptr_array_new();
    return clerk;
}

/* What is open is answered now: nobody hears it any more. */
static void clerk_stop(void *instance)
{
    struct clerk *clerk = instance;
    struct role_process *process = clerk->process;
    release_all(clerk);
    g_ptr_array_unref(clerk->kept);
    g_free(clerk);
    role_process_stopped(process);
}

static const struct role_command commands[] = {
    { "say", "[TEXT]", "Say that", 0, 1, say },
    { "list", "WORD...", "Say them line by line", 1, 63, list },
    { "fail", "TEXT", "Fail with that", 1, 1, fail },
    { "fill", "BYTES", "Say so much", 1, 1, fill },
    { "keep", NULL, "Wait for release", 0, 0, keep },
    { "count", NULL, "Say how many wait", 0, 0, count },
    { "release", NULL, "Answer those that wait", 0, 0, release },
    { NULL }
};

const struct role clerk_role = {
    .name = "clerk",
    .summary = "Takes commands (for tests)",
    .commands = commands,
    .start = clerk_start,
    .stop = clerk_stop,
};
