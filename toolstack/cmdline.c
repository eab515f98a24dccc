/* libxl's command line: see cmdline.h. */

#include "toolstack/cmdline.h"

#include <string.h>

/* Far above what libxl writes; keeps the search for a duplicate key short. */
#define KEYVALS_MAX 256

/* Xen's DOMID_FIRST_RESERVED - 1: the highest id that a guest can have. */
#define DOMID_MAX 0x7fef

/* The key of an item that has none, such as the NAME of -role: none that is written has a comma. */
#define NO_KEY ","

/*
 * Those of QEMU's options that are not followed by an argument (7.2, and older ones that libxl or
 * administrators may still pass); every other option is followed by exactly one.
 */
/* clang-format off */
static const char *const flags[] = {
    "S", "alt-grab", "async-teardown", "audio-help", "ctrl-grab", "curses", "daemonize",
    "enable-fips", "enable-kvm", "enable-sync-profile", "full-screen", "h", "help", "localtime",
    "mem-prealloc", "no-acpi", "no-fd-bootchk", "no-frame", "no-hpet", "no-kvm", "no-quit",
    "no-reboot", "no-shutdown", "no-user-config", "nodefaults", "nodefconfig", "nographic",
    "old-param", "one-insn-per-tb", "only-migratable", "portrait", "preconfig", "s", "sdl",
    "semihosting", "show-cursor", "singlestep", "snapshot", "usb", "version", "win2k-hack",
    "xen-attach", "xen-create", "xen-domid-restrict", NULL,
};
/* clang-format on */

/* What is known only when every option has been read. */
struct parse {
    struct dm_cmdline *cmdline;
    GHashTable *chardevs; /* id -> struct dm_qmp_socket; NULL: not a listening socket */
    GPtrArray *controls;  /* ids that -mon options with mode=control name */
    bool has_domid;
};

G_GNUC_PRINTF(2, 3)
static bool refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (error)
        *error = g_error_new_valist(G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, format, args);
    va_end(args);
    return false;
}

static void keyval_free(void *opaque)
{
    struct dm_keyval *keyval = opaque;
    g_free(keyval->key);
    g_free(keyval->value);
    g_free(keyval);
}

static void socket_free(void *opaque)
{
    struct dm_qmp_socket *qmp = opaque;
    if (!qmp)
        return;
    g_free(qmp->id);
    g_free(qmp->path);
    g_free(qmp);
}

static void role_free(void *opaque)
{
    struct dm_role_request *role = opaque;
    g_free(role->name);
    g_ptr_array_unref(role->settings);
    g_free(role);
}

/* Reads up to a comma that stands alone, and steps over it. */
static char *take_value(const char **cursor)
{
    GString *value = g_string_new(NULL);
    const char *p = *cursor;
    for (; *p && !(p[0] == ',' && p[1] != ','); p++) {
        p += *p == ',';
        g_string_append_c(value, *p);
    }
    *cursor = *p ? p + 1 : p;
    return g_string_free(value, FALSE);
}

/*
 * Splits the argument of OPTION; a first item without '=' is the value of the key IMPLIED.
 * Returns an array of struct dm_keyval, or NULL with *error.
 */
static GPtrArray *keyvals_parse(const char *option, const char *text, const char *implied,
                                GError **error)
{
    g_autoptr(GPtrArray) keyvals = g_ptr_array_new_with_free_func(keyval_free);
    const char *cursor = text;

    while (*cursor) {
        gsize length = strcspn(cursor, "=,");
        bool has_value = cursor[length] == '=';
        if (keyvals->len == KEYVALS_MAX) {
            refuse(error, "-%s: more than %d settings", option, KEYVALS_MAX);
            return NULL;
        }
        struct dm_keyval *keyval = g_new0(struct dm_keyval, 1);
        g_ptr_array_add(keyvals, keyval);
        if (has_value) {
            keyval->key = g_strndup(cursor, length);
            cursor += length + 1;
            keyval->value = take_value(&cursor);
        } else if (keyvals->len == 1) {
            keyval->key = g_strdup(implied);
            keyval->value = take_value(&cursor);
        } else {
            keyval->key = g_strndup(cursor, length);
            cursor += length + (cursor[length] == ',');
        }
    }
    return g_steal_pointer(&keyvals);
}

/* The last one counts, as in QEMU. */
static const struct dm_keyval *keyvals_find(GPtrArray *keyvals, const char *key)
{
    for (guint i = keyvals->len; i-- > 0;) {
        const struct dm_keyval *keyval = g_ptr_array_index(keyvals, i);
        if (strcmp(keyval->key, key) == 0)
            return keyval;
    }
    return NULL;
}

static const char *keyvals_get(GPtrArray *keyvals, const char *key)
{
    const struct dm_keyval *keyval = keyvals_find(keyvals, key);
    return keyval ? keyval->value : NULL;
}

static bool keyvals_enabled(GPtrArray *keyvals, const char *key)
{
    static const char *const yes[] = { "on", "yes", "true", "y", NULL };
    const struct dm_keyval *keyval = keyvals_find(keyvals, key);
    return keyval && (!keyval->value || g_strv_contains(yes, keyval->value));
}

static bool take_domid(struct parse *parse, const char *text, GError **error)
{
    guint64 domid;
    if (!g_ascii_string_to_unsigned(text, 10, 1, DOMID_MAX, &domid, NULL))
        return refuse(error, "-xen-domid: '%s' is not a guest's id (1 to %d)", text, DOMID_MAX);
    parse->cmdline->domid = domid;
    parse->has_domid = true;
    return true;
}

static bool take_name(struct parse *parse, const char *text, GError **error)
{
    g_autoptr(GPtrArray) keyvals = keyvals_parse("name", text, "guest", error);
    if (!keyvals)
        return false;
    const char *guest = keyvals_get(keyvals, "guest");
    g_free(parse->cmdline->name);
    parse->cmdline->name = g_strdup(guest ? guest : text);
    return true;
}

static bool take_machine(struct parse *parse, const char *text, GError **error)
{
    g_autoptr(GPtrArray) keyvals = keyvals_parse("machine", text, "type", error);
    if (!keyvals)
        return false;
    const char *type = keyvals_get(keyvals, "type");
    if (type) {
        g_free(parse->cmdline->machine);
        parse->cmdline->machine = g_strdup(type);
    }
    return true;
}

/* Remembers every chardev's id, and what is needed to serve those that are listening sockets. */
static bool take_chardev(struct parse *parse, const char *text, GError **error)
{
    g_autoptr(GPtrArray) keyvals = keyvals_parse("chardev", text, "backend", error);
    if (!keyvals)
        return false;
    const char *backend = keyvals_get(keyvals, "backend");
    const char *id = keyvals_get(keyvals, "id");
    const char *path = keyvals_get(keyvals, "path");
    const char *fd = keyvals_get(keyvals, "fd");
    if (!id)
        return true;
    if (g_hash_table_contains(parse->chardevs, id))
        return refuse(error, "-chardev: the id '%s' is given twice", id);

    struct dm_qmp_socket *qmp = NULL;
    if (g_strcmp0(backend, "socket") == 0 && keyvals_enabled(keyvals, "server") && (path || fd)) {
        guint64 number = 0;
        if (path && fd)
            return refuse(error, "-chardev: '%s' has both path= and fd=; give one", id);
        if (fd && !g_ascii_string_to_unsigned(fd, 10, 0, G_MAXINT, &number, NULL))
            return refuse(error, "-chardev: fd=%s of '%s' is not a descriptor's number", fd, id);
        qmp = g_new0(struct dm_qmp_socket, 1);
        qmp->id = g_strdup(id);
        qmp->path = g_strdup(path);
        qmp->fd = fd ? (int)number : -1;
        qmp->argument = parse->cmdline->arguments->len - 1;
    }
    g_hash_table_insert(parse->chardevs, g_strdup(id), qmp);
    return true;
}

static bool take_mon(struct parse *parse, const char *text, GError **error)
{
    g_autoptr(GPtrArray) keyvals = keyvals_parse("mon", text, "chardev", error);
    if (!keyvals)
        return false;
    const char *chardev = keyvals_get(keyvals, "chardev");
    if (chardev && g_strcmp0(keyvals_get(keyvals, "mode"), "control") == 0)
        g_ptr_array_add(parse->controls, g_strdup(chardev));
    return true;
}

/* Names of roles and of their settings: lower case, digits and '-', a letter first. */
static bool is_name(const char *text)
{
    return g_ascii_islower(*text) &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

/* A setting's name, or "DEVICE:NAME". */
static bool is_setting(const char *text)
{
    const char *colon = strchr(text, ':');
    g_autofree char *device = colon ? g_strndup(text, colon - text) : NULL;
    return is_name(colon ? colon + 1 : text) && (!device || is_name(device));
}

static bool take_role(struct parse *parse, const char *text, GError **error)
{
    g_autoptr(GPtrArray) keyvals = keyvals_parse("role", text, NO_KEY, error);
    if (!keyvals)
        return false;
    const struct dm_keyval *first = keyvals->len ? g_ptr_array_index(keyvals, 0) : NULL;
    bool bare = first && strcmp(first->key, NO_KEY) == 0;
    bool off = first && !bare && strcmp(first->value, "off") == 0 && keyvals->len == 1;
    const char *name = !first ? "" : bare ? first->value : first->key;
    if (!is_name(name) || !(bare || off)) {
        const char *hint = is_name(name) ? name : "NAME";
        return refuse(error,
                      "-role: '%s' is not understood (use -role %s[,key=value...] or "
                      "-role %s=off)",
                      text, hint, hint);
    }
    for (guint i = 1; i < keyvals->len; i++) {
        const struct dm_keyval *keyval = g_ptr_array_index(keyvals, i);
        if (!is_setting(keyval->key) || !keyval->value)
            return refuse(error,
                          "-role %s: '%s' is not understood (use key=value, and two commas for one "
                          "inside a value)",
                          name, keyval->key);
        if (keyvals_find(keyvals, keyval->key) != keyval)
            return refuse(error, "-role %s: %s= is given twice", name, keyval->key);
    }

    struct dm_role_request *role = g_new0(struct dm_role_request, 1);
    role->name = g_strdup(name);
    role->off = off;
    g_ptr_array_remove_index(keyvals, 0);
    role->settings = g_steal_pointer(&keyvals);
    g_ptr_array_add(parse->cmdline->roles, role);
    return true;
}

static const struct {
    const char *name;
    bool (*take)(struct parse *parse, const char *text, GError **error);
} options[] = {
    { "M", take_machine },       { "chardev", take_chardev }, { "machine", take_machine },
    { "mon", take_mon },         { "name", take_name },       { "role", take_role },
    { "xen-domid", take_domid },
};

/* Reads one option and the argument that belongs to it; *argv moves past both. */
static bool take_option(struct parse *parse, char *const **argv, char *const *end, GError **error)
{
    struct dm_cmdline *cmdline = parse->cmdline;
    const char *word = *(*argv)++;
    bool ours = false;

    g_ptr_array_add(cmdline->arguments, g_strdup(word));
    if (*word != '-') /* a disk image, to QEMU */
        return true;
    const char *name = word + 1 + (word[1] == '-');
    if (g_strv_contains(flags, name)) {
        cmdline->attach |= strcmp(name, "xen-attach") == 0;
        cmdline->stopped |= strcmp(name, "S") == 0;
        return true;
    }
    const char *value = *argv < end ? *(*argv)++ : NULL;
    if (value)
        g_ptr_array_add(cmdline->arguments, g_strdup(value));

    for (gsize i = 0; i < G_N_ELEMENTS(options); i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        if (!value)
            return refuse(error, "%s needs an argument", word);
        if (!options[i].take(parse, value, error))
            return false;
        ours = options[i].take == take_role;
    }
    if (ours)
        g_ptr_array_set_size(cmdline->arguments, cmdline->arguments->len - 2);
    return true;
}

/* Moves the chardevs that are control sockets to the result, and checks what must be there. */
static bool finish(struct parse *parse, GError **error)
{
    struct dm_cmdline *cmdline = parse->cmdline;

    for (guint i = 0; i < parse->controls->len; i++) {
        const char *id = g_ptr_array_index(parse->controls, i);
        g_autofree char *key = NULL;
        struct dm_qmp_socket *qmp = NULL;
        if (!g_hash_table_steal_extended(parse->chardevs, id, (gpointer *)&key, (gpointer *)&qmp))
            return refuse(error, "-mon: no -chardev has the id '%s', or another -mon has it", id);
        if (qmp)
            g_ptr_array_add(cmdline->qmp_sockets, qmp);
    }
    if (!cmdline->machine)
        return refuse(error, "-machine is missing: these are not libxl's arguments (is this "
                             "program the guest's device_model_override?)");
    cmdline->pv = strcmp(cmdline->machine, "xenpv") == 0;
    cmdline->probe = !parse->has_domid && strcmp(cmdline->machine, "none") == 0;
    if (!cmdline->probe && !parse->has_domid)
        return refuse(error, "-xen-domid is missing: these are not libxl's arguments (to run one "
                             "role by hand: rolemodel ROLE --domid N)");
    return true;
}

struct dm_cmdline *dm_cmdline_parse(int argc, char *const *argv, GError **error)
{
    struct dm_cmdline *cmdline = g_new0(struct dm_cmdline, 1);
    cmdline->qmp_sockets = g_ptr_array_new_with_free_func(socket_free);
    cmdline->roles = g_ptr_array_new_with_free_func(role_free);
    cmdline->arguments = g_ptr_array_new_with_free_func(g_free);
    struct parse parse = {
        .cmdline = cmdline,
        .chardevs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, socket_free),
        .controls = g_ptr_array_new_with_free_func(g_free),
    };

    bool good = true;
    char *const *next = argv + MIN(argc, 1);
    while (good && next < argv + argc)
        good = take_option(&parse, &next, argv + argc, error);
    good = good && finish(&parse, error);

    g_hash_table_unref(parse.chardevs);
    g_ptr_array_unref(parse.controls);
    if (good)
        return cmdline;
    dm_cmdline_free(cmdline);
    return NULL;
}

void dm_cmdline_free(struct dm_cmdline *cmdline)
{
    if (!cmdline)
        return;
    g_free(cmdline->name);
    g_free(cmdline->machine);
    g_ptr_array_unref(cmdline->qmp_sockets);
    g_ptr_array_unref(cmdline->roles);
    g_ptr_array_unref(cmdline->arguments);
    g_free(cmdline);
}

/* The text of a chardev with `fd=FD` in the place of its path= or fd=. */
static char *chardev_with_fd(const char *text, int fd)
{
    g_autoptr(GPtrArray) keyvals = keyvals_parse("chardev", text, NO_KEY, NULL);
    GString *result = g_string_new(NULL);

    for (guint i = 0; i < keyvals->len; i++) {
        const struct dm_keyval *keyval = g_ptr_array_index(keyvals, i);
        if (!*keyval->key && !keyval->value)
            continue; /* nothing between two commas, which would now be one in a value */
        if (i > 0)
            g_string_append_c(result, ',');
        if (strcmp(keyval->key, "path") == 0 || strcmp(keyval->key, "fd") == 0) {
            g_string_append_printf(result, "fd=%d", fd);
            continue;
        }
        g_autoptr(GString) value = g_string_new(keyval->value);
        g_string_replace(value, ",", ",,", 0);
        if (strcmp(keyval->key, NO_KEY) != 0)
            g_string_append_printf(result, "%s%s", keyval->key, keyval->value ? "=" : "");
        g_string_append(result, value->str);
    }
    return g_string_free(result, FALSE);
}

char **dm_cmdline_qemu_argv(const struct dm_cmdline *cmdline, const char *program, const int *fds)
{
    guint count = cmdline->arguments->len;
    char **argv = g_new0(char *, count + 2);

    argv[0] = g_strdup(program);
    for (guint i = 0; i < count; i++)
        argv[i + 1] = g_strdup(g_ptr_array_index(cmdline->arguments, i));
    for (guint i = 0; i < cmdline->qmp_sockets->len; i++) {
        const struct dm_qmp_socket *qmp = g_ptr_array_index(cmdline->qmp_sockets, i);
        char **slot = &argv[qmp->argument + 1];
        char *text = chardev_with_fd(*slot, fds[i]);
        g_free(*slot);
        *slot = text;
    }
    return argv;
}
