/* Xenstore for the GLib main loop: see store.h. */

#define G_LOG_DOMAIN "xenstore"
#include "xen/store.h"

#include <glib-unix.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include "xen/error.h"

/* A transaction that keeps colliding is a fault somewhere else; give up with an error. */
#define TRANSACTION_TRIES 100

struct xen_store {
    struct xs_handle *xs;
    xs_transaction_t transaction; /* XBT_NULL outside xen_store_transaction() */
    GHashTable *watches;          /* token -> struct xen_store_watch */
    guint last_token;
    guint source;
};

struct xen_store_watch {
    struct xen_store *store;
    char *path;
    char *token;
    xen_store_watch_fn *fn;
    void *opaque;
    bool fired;
};

/* Reads the events that have arrived, then calls each watch that fired once. */
static gboolean store_dispatch(gint fd, GIOCondition condition, gpointer opaque)
{
    struct xen_store *store = opaque;
    g_autoptr(GPtrArray) fired = g_ptr_array_new_with_free_func(g_free);
    char **event;

    while ((event = xs_check_watch(store->xs))) {
        struct xen_store_watch *watch = g_hash_table_lookup(store->watches, event[XS_WATCH_TOKEN]);
        if (watch && !watch->fired) {
            watch->fired = true;
            g_ptr_array_add(fired, g_strdup(watch->token));
        }
        free(event);
    }
    if (errno != EAGAIN && errno != EINTR) {
        /* xenstored cannot be restarted under its clients: without it there is no control path. */
        g_warning("lost the connection to xenstored: %s", g_strerror(errno));
        store->source = 0;
        return G_SOURCE_REMOVE;
    }

    /* By token, because a callback may remove any watch. */
    for (guint i = 0; i < fired->len; i++) {
        struct xen_store_watch *watch =
            g_hash_table_lookup(store->watches, g_ptr_array_index(fired, i));
        if (watch) {
            watch->fired = false;
            watch->fn(watch->opaque);
        }
    }
    return G_SOURCE_CONTINUE;
}

struct xen_store *xen_store_open(GError **error)
{
    struct xs_handle *xs = xs_open(XS_UNWATCH_FILTER);
    if (!xs) {
        xen_set_error(error, "cannot connect to xenstored (is this a Xen dom0, and am I root?)");
        return NULL;
    }
    struct xen_store *store = g_new0(struct xen_store, 1);
    store->xs = xs;
    store->transaction = XBT_NULL;
    store->watches = g_hash_table_new(g_str_hash, g_str_equal);
    return store;
}

void xen_store_close(struct xen_store *store)
{
    if (!store)
        return;
    g_assert(g_hash_table_size(store->watches) == 0);
    if (store->source)
        g_source_remove(store->source);
    g_hash_table_unref(store->watches);
    xs_close(store->xs);
    g_free(store);
}

static char *join(const char *dir, const char *node)
{
    return node ? g_strconcat(dir, "/", node, NULL) : g_strdup(dir);
}

char *xen_store_read(struct xen_store *store, const char *dir, const char *node, GError **error)
{
    g_autofree char *path = join(dir, node);
    unsigned length;
    char *raw = xs_read(store->xs, store->transaction, path, &length);
    if (!raw) {
        xen_set_error(error, "xenstore: cannot read %s", path);
        return NULL;
    }
    char *value = NULL;
    if (memchr(raw, '\0', length))
        xen_set_error_errno(error, EINVAL, "xenstore: %s holds a NUL byte", path);
    else
        value = g_strdup(raw);
    free(raw);
    return value;
}

bool xen_store_read_uint(struct xen_store *store, const char *dir, const char *node, uint64_t min,
                         uint64_t max, uint64_t *value, GError **error)
{
    g_autofree char *text = xen_store_read(store, dir, node, error);
    if (!text)
        return false;
    guint64 number;
    if (!g_ascii_string_to_unsigned(text, 10, min, max, &number, NULL)) {
        /* Not the text itself: a guest may have written it, and this goes to the log. */
        xen_set_error_errno(error, EINVAL,
                            "xenstore: %s/%s is not a number from %" PRIu64 " to %" PRIu64, dir,
                            node, min, max);
        return false;
    }
    *value = number;
    return true;
}

bool xen_store_read_uint_or(struct xen_store *store, const char *dir, const char *node,
                            uint64_t min, uint64_t max, uint64_t fallback, uint64_t *value,
                            GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (xen_store_read_uint(store, dir, node, min, max, value, &problem))
        return true;
    if (g_error_matches(problem, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        *value = fallback;
        return true;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return false;
}

char **xen_store_list(struct xen_store *store, const char *path)
{
    unsigned count = 0;
    char **names = xs_directory(store->xs, store->transaction, path, &count);
    char **copy = g_new0(char *, count + 1);
    for (unsigned i = 0; i < count; i++)
        copy[i] = g_strdup(names[i]);
    free(names);
    return copy;
}

bool xen_store_write(struct xen_store *store, const char *dir, const char *node, GError **error,
                     const char *format, ...)
{
    g_autofree char *path = join(dir, node);
    va_list args;
    va_start(args, format);
    g_autofree char *value = g_strdup_vprintf(format, args);
    va_end(args);
    if (xs_write(store->xs, store->transaction, path, value, strlen(value)))
        return true;
    xen_set_error(error, "xenstore: cannot write %s", path);
    return false;
}

bool xen_store_make(struct xen_store *store, const char *dir, unsigned owner, unsigned reader,
                    GError **error)
{
    struct xs_permissions permissions[] = { { .id = owner, .perms = XS_PERM_NONE },
                                            { .id = reader, .perms = XS_PERM_READ } };

    if (xs_mkdir(store->xs, store->transaction, dir) &&
        xs_set_permissions(store->xs, store->transaction, dir, permissions,
                           G_N_ELEMENTS(permissions)))
        return true;
    xen_set_error(error, "xenstore: cannot make %s", dir);
    return false;
}

bool xen_store_remove(struct xen_store *store, const char *dir, GError **error)
{
    if (xs_rm(store->xs, store->transaction, dir) || errno == ENOENT)
        return true;
    xen_set_error(error, "xenstore: cannot remove %s", dir);
    return false;
}

bool xen_store_domain_gone(struct xen_store *store, unsigned domid)
{
    errno = 0; /* stays so if the answer is "no" */
    return !xs_is_domain_introduced(store->xs, domid) && errno == 0;
}

static bool has_name(struct xen_store *store, const char *domid, const char *name)
{
    g_autofree char *domain = g_strconcat("/local/domain/", domid, NULL);
    g_autofree char *known = xen_store_read(store, domain, "name", NULL);
    return g_strcmp0(known, name) == 0;
}

/* The number, as text, of a domain that is there; NULL if there is none. */
static char *find_domain(struct xen_store *store, const char *guest)
{
    g_auto(GStrv) domids = xen_store_list(store, "/local/domain");

    if (g_strv_contains((const char *const *)domids, guest))
        return g_strdup(guest);
    for (char **domid = domids; *domid; domid++) {
        if (has_name(store, *domid, guest))
            return g_strdup(*domid);
    }
    return NULL;
}

bool xen_store_find_domain(struct xen_store *store, const char *guest, unsigned *domid,
                           GError **error)
{
    g_autofree char *text = find_domain(store, guest);
    guint64 number;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT16, &number, NULL)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "there is no guest '%s' (see xl list)",
                    guest);
        return false;
    }
    *domid = number;
    return true;
}

bool xen_store_transaction(struct xen_store *store, xen_store_body *body, void *opaque,
                           GError **error)
{
    g_assert(store->transaction == XBT_NULL);
    for (int i = 0; i < TRANSACTION_TRIES; i++) {
        store->transaction = xs_transaction_start(store->xs);
        if (store->transaction == XBT_NULL) {
            xen_set_error(error, "xenstore: cannot start a transaction");
            return false;
        }
        bool done = body(store, opaque, error);
        xs_transaction_t transaction = store->transaction;
        store->transaction = XBT_NULL;
        bool ended = xs_transaction_end(store->xs, transaction, !done);
        if (!done)
            return false;
        if (ended)
            return true;
        if (errno != EAGAIN)
            break;
    }
    xen_set_error(error, "xenstore: cannot commit a transaction");
    return false;
}

struct xen_store_watch *xen_store_watch_add(struct xen_store *store, const char *path,
                                            xen_store_watch_fn *fn, void *opaque, GError **error)
{
    struct xen_store_watch *watch = g_new0(struct xen_store_watch, 1);
    watch->store = store;
    watch->path = g_strdup(path);
    watch->token = g_strdup_printf("%u", ++store->last_token);
    watch->fn = fn;
    watch->opaque = opaque;
    g_hash_table_insert(store->watches, watch->token, watch);
    if (!store->source)
        store->source = g_unix_fd_add(xs_fileno(store->xs), G_IO_IN, store_dispatch, store);
    if (xs_watch(store->xs, path, watch->token))
        return watch;
    xen_set_error(error, "xenstore: cannot watch %s", path);
    xen_store_watch_remove(watch);
    return NULL;
}

void xen_store_watch_remove(struct xen_store_watch *watch)
{
    if (!watch)
        return;
    g_hash_table_remove(watch->store->watches, watch->token);
    xs_unwatch(watch->store->xs, watch->path, watch->token);
    g_free(watch->path);
    g_free(watch->token);
    g_free(watch);
}
