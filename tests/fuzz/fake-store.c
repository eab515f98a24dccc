/* See fake-store.h. */

#include "tests/fuzz/fake-store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xenstore.h>

#define HOME "/local/domain/0/" /* of the domain that the role runs in */

struct watch {
    char *path, *token;
};

struct xs_handle {
    GQueue events; /* tokens */
    int fd;
};

static struct xs_handle store = { .events = G_QUEUE_INIT, .fd = -1 };
static GHashTable *nodes;  /* path -> GByteArray, with a NUL after the value */
static GPtrArray *watches; /* struct watch */

static char *absolute(const char *path)
{
    return path[0] == '/' || path[0] == '@' ? g_strdup(path) : g_strconcat(HOME, path, NULL);
}

static bool is_below(const char *path, const char *ancestor)
{
    size_t length = strlen(ancestor);
    return strncmp(path, ancestor, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static void fire(struct watch *watch)
{
    g_queue_push_tail(&store.events, g_strdup(watch->token));
    eventfd_write(store.fd, 1);
}

static void changed(const char *path)
{
    for (guint i = 0; watches && i < watches->len; i++) {
        struct watch *watch = g_ptr_array_index(watches, i);
        if (is_below(path, watch->path))
            fire(watch);
    }
}

static void set_up(void)
{
    if (nodes)
        return;
    nodes =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_byte_array_unref);
    watches = g_ptr_array_new();
    store.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

void fake_store_write(const char *path, const void *value, gsize length)
{
    set_up();
    GByteArray *node = g_byte_array_sized_new(length + 1);
    g_byte_array_append(node, value, length);
    g_byte_array_append(node, (const guint8 *)"", 1);
    g_hash_table_insert(nodes, absolute(path), node);
    changed(path);
}

void fake_store_remove(const char *path)
{
    GHashTableIter iterator;
    gpointer key;

    set_up();
    g_hash_table_iter_init(&iterator, nodes);
    while (g_hash_table_iter_next(&iterator, &key, NULL)) {
        if (is_below(key, path))
            g_hash_table_iter_remove(&iterator);
    }
    changed(path);
}

const char *fake_store_read(const char *path)
{
    GByteArray *node = nodes ? g_hash_table_lookup(nodes, path) : NULL;
    return node ? (const char *)node->data : NULL;
}

/* --- libxenstore --- */

struct xs_handle *xs_open(unsigned long flags)
{
    set_up();
    return &store;
}

void xs_close(struct xs_handle *handle)
{
}

int xs_fileno(struct xs_handle *handle)
{
    return handle->fd;
}

void *xs_read(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              unsigned *length)
{
    g_autofree char *full = absolute(path);
    GByteArray *node = g_hash_table_lookup(nodes, full);
    if (!node) {
        errno = ENOENT;
        return NULL;
    }
    *length = node->len - 1;
    char *copy = malloc(node->len);
    memcpy(copy, node->data, node->len);
    return copy;
}

bool xs_write(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
              const void *data, unsigned length)
{
    g_autofree char *full = absolute(path);
    fake_store_write(full, data, length);
    return true;
}

/* The names of the children, as the real call returns them: one block of memory. */
char **xs_directory(struct xs_handle *handle, xs_transaction_t transaction, const char *path,
                    unsigned *count)
{
    g_autofree char *full = absolute(path);
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    size_t length = strlen(full), bytes = 0;
    GHashTableIter iterator;
    gpointer key;

    g_hash_table_iter_init(&iterator, nodes);
    while (g_hash_table_iter_next(&iterator, &key, NULL)) {
        const char *rest = (const char *)key + length;
        if (is_below(key, full) && *rest == '/')
            g_hash_table_add(names, g_strndup(rest + 1, strcspn(rest + 1, "/")));
    }
    g_hash_table_iter_init(&iterator, names);
    while (g_hash_table_iter_next(&iterator, &key, NULL))
        bytes += sizeof(char *) + strlen(key) + 1;
    *count = g_hash_table_size(names);
    char **result = malloc(bytes + 1);
    char *at = (char *)(result + *count);
    unsigned i = 0;
    g_hash_table_iter_init(&iterator, names);
    while (g_hash_table_iter_next(&iterator, &key, NULL)) {
        result[i++] = at;
        at = g_stpcpy(at, key) + 1;
    }
    return result;
}

xs_transaction_t xs_transaction_start(struct xs_handle *handle)
{
    return 1;
}

bool xs_transaction_end(struct xs_handle *handle, xs_transaction_t transaction, bool abort)
{
    return true;
}

bool xs_is_domain_introduced(struct xs_handle *handle, unsigned domid)
{
    return true;
}

bool xs_watch(struct xs_handle *handle, const char *path, const char *token)
{
    struct watch *watch = g_new(struct watch, 1);
    watch->path = absolute(path);
    watch->token = g_strdup(token);
    g_ptr_array_add(watches, watch);
    fire(watch);
    return true;
}

bool xs_unwatch(struct xs_handle *handle, const char *path, const char *token)
{
    for (guint i = 0; i < watches->len; i++) {
        struct watch *watch = g_ptr_array_index(watches, i);
        if (strcmp(watch->token, token) == 0) {
            g_ptr_array_remove_index(watches, i);
            g_free(watch->path);
            g_free(watch->token);
            g_free(watch);
            return true;
        }
    }
    return false;
}

char **xs_check_watch(struct xs_handle *handle)
{
    eventfd_t count;
    g_autofree char *token = g_queue_pop_head(&store.events);
    if (!token) {
        eventfd_read(store.fd, &count);
        errno = EAGAIN;
        return NULL;
    }
    char **event = malloc(2 * sizeof(char *) + strlen(token) + 1 + 1);
    event[XS_WATCH_TOKEN] = (char *)(event + 2);
    event[XS_WATCH_PATH] = g_stpcpy(event[XS_WATCH_TOKEN], token);
    return event;
}
