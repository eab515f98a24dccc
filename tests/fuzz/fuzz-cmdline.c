/*
 * Fuzzer: the command line of the supervisor, and what becomes of it: the guest's roles and QEMU's
 * arguments.
 *
 * The first line of the input is the image of the guest's disk, or empty if the guest has none;
 * each further line is an argument.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/fuzz/fuzz.h"
#include "toolstack/cmdline.h"
#include "toolstack/drives.h"
#include "toolstack/plan.h"

/* The descriptors of QEMU's sockets; nothing here opens them. */
#define FIRST_FD 100

/* One role of each kind, with the disk role's settings. */
static const struct role disk = {
    .name = "disk",
    .backend = "qdisk",
    .beside_qemu = "vdev=xvd",
    .fixed_beside_qemu = "hotplug=off",
};
static const struct role shmem = { .name = "shmem", .hvm_only = true };
static const struct role *const roles[] = { &disk, &shmem, NULL };

/* All that plan.c asks of xenstore: are there nodes?  Our "store" is the image of the disk. */
char **xen_store_list(struct xen_store *store, const char *path)
{
    const char *image = (const char *)store;
    return g_strsplit(*image ? "51712" : "", ",", -1);
}

/*
 * What was understood, as text; if not ALL, without what QEMU does not get to see or sees changed:
 * our own options, and where the sockets listen.
 */
static char *describe(const struct dm_cmdline *cmdline, bool all)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "probe=%d pv=%d attach=%d stopped=%d domid=%u name=%s machine=%s",
                           cmdline->probe, cmdline->pv, cmdline->attach, cmdline->stopped,
                           cmdline->domid, cmdline->name, cmdline->machine);
    for (guint i = 0; i < cmdline->qmp_sockets->len; i++) {
        const struct dm_qmp_socket *qmp = g_ptr_array_index(cmdline->qmp_sockets, i);
        g_string_append_printf(text, "\nsocket %s in %u", qmp->id, qmp->argument);
        if (all)
            g_string_append_printf(text, " path=%s fd=%d", qmp->path, qmp->fd);
    }
    for (guint i = 0; all && i < cmdline->roles->len; i++) {
        const struct dm_role_request *role = g_ptr_array_index(cmdline->roles, i);
        g_string_append_printf(text, "\nrole %s off=%d", role->name, role->off);
        for (guint j = 0; j < role->settings->len; j++) {
            const struct dm_keyval *setting = g_ptr_array_index(role->settings, j);
            g_string_append_printf(text, " %s=%s", setting->key, setting->value);
        }
    }
    for (guint i = 0; all && i < cmdline->arguments->len; i++)
        g_string_append_printf(text, "\n%s", (char *)g_ptr_array_index(cmdline->arguments, i));
    return g_string_free(text, FALSE);
}

/* Is PART what remains of WHOLE when some strings are taken out? */
static bool is_subsequence(char *const *part, char *const *whole)
{
    for (; *whole; whole++) {
        if (*part && strcmp(*part, *whole) == 0)
            part++;
    }
    return !*part;
}

static void check_socket(const struct dm_cmdline *cmdline, const struct dm_qmp_socket *qmp)
{
    g_assert_nonnull(qmp->id);
    g_assert_true(qmp->path ? qmp->fd == -1 : qmp->fd >= 0);
    g_assert_cmpuint(qmp->argument, >, 0);
    g_assert_cmpuint(qmp->argument, <, cmdline->arguments->len);
    const char *option = g_ptr_array_index(cmdline->arguments, qmp->argument - 1);
    g_assert_true(g_str_has_suffix(option, "-chardev"));
}

static void check_role(const struct dm_role_request *role)
{
    g_autoptr(GHashTable) keys = g_hash_table_new(g_str_hash, g_str_equal);

    g_assert_true(g_ascii_islower(*role->name) && !strpbrk(role->name, ",= "));
    g_assert_true(!role->off || role->settings->len == 0);
    for (guint i = 0; i < role->settings->len; i++) {
        const struct dm_keyval *setting = g_ptr_array_index(role->settings, i);
        g_assert_nonnull(setting->value);
        g_assert_true(g_hash_table_add(keys, setting->key));
    }
}

static void check_cmdline(const struct dm_cmdline *cmdline)
{
    g_assert_nonnull(cmdline->machine);
    g_assert_cmpint(cmdline->pv, ==, strcmp(cmdline->machine, "xenpv") == 0);
    g_assert_true(cmdline->probe ? !cmdline->pv : cmdline->domid >= 1 && cmdline->domid < 0x7ff0);
    for (guint i = 0; i < cmdline->qmp_sockets->len; i++)
        check_socket(cmdline, g_ptr_array_index(cmdline->qmp_sockets, i));
    for (guint i = 0; i < cmdline->roles->len; i++)
        check_role(g_ptr_array_index(cmdline->roles, i));
}

/* The items of a chardev as they are written, except path=, fd= and empty ones. */
static char *other_items(const char *text)
{
    GString *items = g_string_new(NULL);
    for (const char *at = text; *at;) {
        gsize key = strcspn(at, "=,");
        bool bare = at[key] != '=';
        const char *end = at + key;
        if (!bare || at == text) { /* a value follows, where two commas are one */
            for (; *end && !(end[0] == ',' && end[1] != ','); end++)
                end += *end == ',';
        }
        bool where = (key == 4 && g_str_has_prefix(at, "path")) || /* where it listens */
                     (key == 2 && g_str_has_prefix(at, "fd"));
        if (end > at && (!where || (bare && at == text)))
            g_string_append_printf(items, ",%.*s", (int)(end - at), at);
        at = *end ? end + 1 : end;
    }
    return g_string_free(items, FALSE);
}

/* QEMU's arguments mean to QEMU what libxl's meant to us, but for the sockets' descriptors. */
static char **check_qemu_argv(const struct dm_cmdline *cmdline, char **argv)
{
    guint sockets = cmdline->qmp_sockets->len;
    g_autofree int *fds = g_new(int, sockets + 1);
    for (guint i = 0; i < sockets; i++)
        fds[i] = FIRST_FD + i;
    char **qemu = dm_cmdline_qemu_argv(cmdline, argv[0], fds);
    guint count = g_strv_length(qemu);
    g_assert_cmpuint(count + 2 * cmdline->roles->len, ==, g_strv_length(argv));
    g_assert_true(sockets > 0 || is_subsequence(qemu, argv));

    g_autoptr(GError) error = NULL;
    struct dm_cmdline *again = dm_cmdline_parse(count, qemu, &error);
    g_assert_no_error(error);
    g_autofree char *before = describe(cmdline, false);
    g_autofree char *after = describe(again, false);
    g_assert_cmpstr(after, ==, before);
    g_assert_cmpuint(again->roles->len, ==, 0);
    for (guint i = 0; i < sockets; i++) {
        const struct dm_qmp_socket *qmp = g_ptr_array_index(again->qmp_sockets, i);
        g_assert_cmpint(qmp->fd, ==, fds[i]);
        g_autofree char *was = other_items(cmdline->arguments->pdata[qmp->argument]);
        g_autofree char *is = other_items(again->arguments->pdata[qmp->argument]);
        g_assert_cmpstr(is, ==, was);
    }
    dm_cmdline_free(again);
    return qemu;
}

/* Whole drives go, with or without their -device, and nothing else; ARGV is taken over. */
static void check_drives(char **argv, const char *image)
{
    g_autoptr(GPtrArray) rest = g_ptr_array_new_with_free_func(g_free);
    guint count = g_strv_length(argv);
    for (guint i = 0; i <= count; i++)
        g_ptr_array_add(rest, g_strdup(argv[i]));

    guint removed = drives_remove(rest, image);
    g_assert_cmpuint(rest->len, >=, 1);
    g_assert_null(g_ptr_array_index(rest, rest->len - 1));
    guint gone = count + 1 - rest->len;
    g_assert_true(2 * removed <= gone && gone <= 4 * removed);
    g_assert_true(is_subsequence((char **)rest->pdata, argv));
    g_strfreev(argv);
}

static void check_entry(const struct plan_entry *entry, const struct dm_cmdline *cmdline)
{
    g_autoptr(GHashTable) keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    g_assert_false(entry->role->hvm_only && cmdline->pv);
    for (char **option = entry->options; *option; option++) {
        const char *value = strchr(*option, '=');
        g_assert_nonnull(value);
        g_assert_true(g_hash_table_add(keys, g_strndup(*option, value - *option)));
    }
    if (!cmdline->pv && entry->role->fixed_beside_qemu)
        g_assert_true(
            g_strv_contains((const char *const *)entry->options, entry->role->fixed_beside_qemu));
}

/* As many roles as can be: those with a backend, unless they are off, and those asked for. */
static void check_plan(const struct dm_cmdline *cmdline, const char *image)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) plan = plan_new(roles, cmdline, (struct xen_store *)image, &error);

    g_assert_cmpint(plan == NULL, ==, error != NULL);
    guint requested = 0;
    for (guint i = 0; plan && i < cmdline->roles->len; i++) {
        const struct dm_role_request *request = g_ptr_array_index(cmdline->roles, i);
        requested += request->off ? 0 : 1;
    }
    if (plan)
        g_assert_true(requested <= plan->len && plan->len <= requested + 1);
    for (guint i = 0; plan && i < plan->len; i++)
        check_entry(g_ptr_array_index(plan, i), cmdline);
}

static void check(char **argv, const char *image)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) other = NULL;
    int argc = g_strv_length(argv);
    struct dm_cmdline *cmdline = dm_cmdline_parse(argc, argv, &error);
    struct dm_cmdline *again = dm_cmdline_parse(argc, argv, &other);

    g_assert_cmpint(cmdline == NULL, ==, error != NULL);
    g_assert_cmpint(cmdline == NULL, ==, again == NULL);
    if (cmdline) {
        g_autofree char *one = describe(cmdline, true);
        g_autofree char *two = describe(again, true);
        g_assert_cmpstr(one, ==, two);
        check_cmdline(cmdline);
        check_plan(cmdline, image);
        check_drives(check_qemu_argv(cmdline, argv), image);
    } else {
        g_assert_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE);
        g_assert_cmpstr(error->message, ==, other->message);
    }
    dm_cmdline_free(cmdline);
    dm_cmdline_free(again);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init_log();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { (const char *)data, (const char *)data + size };
    const char *line = "";
    gsize length = 0;
    fuzz_next_line(&input, &line, &length);
    g_autofree char *image = g_strndup(line, length);

    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
    g_strv_builder_add(argv, "rolemodel-dm");
    while (fuzz_next_line(&input, &line, &length)) {
        g_autofree char *argument = g_strndup(line, length); /* up to a NUL, as any argument */
        g_strv_builder_add(argv, argument);
    }
    g_auto(GStrv) all = g_strv_builder_end(argv);
    check(all, image);
    return 0;
}
