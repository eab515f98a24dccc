/* The toolstack's way to write xenstore: see toolstack-store.h. */

#include "tests/sim/toolstack-store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/toolstack.h"

static struct xs_handle *connection;

struct xs_handle *toolstack_store(void)
{
    if (!connection)
        connection = xs_open(0);
    if (!connection)
        g_error("cannot connect to xenstored: %s", g_strerror(errno));
    return connection;
}

void toolstack_disconnect(void)
{
    xs_close(g_steal_pointer(&connection));
}

static void need(bool done, const char *what, const char *path)
{
    if (!done)
        g_error("xenstore: cannot %s %s: %s", what, path, g_strerror(errno));
}

void store_transaction(store_body *body, const void *opaque)
{
    for (;;) {
        xs_transaction_t t = xs_transaction_start(toolstack_store());
        need(t != XBT_NULL, "start", "a transaction");
        body(t, opaque);
        if (xs_transaction_end(toolstack_store(), t, false))
            return;
        need(errno == EAGAIN, "end", "a transaction");
    }
}

static void write_node(xs_transaction_t t, const struct store_owner *owner, const char *value,
                       const char *path)
{
    need(xs_write(toolstack_store(), t, path, value, strlen(value)), "write", path);
    if (!owner)
        return;
    struct xs_permissions permissions[] = {
        { .id = owner->owner, .perms = XS_PERM_NONE },
        { .id = owner->reader, .perms = XS_PERM_READ },
    };
    need(xs_set_permissions(toolstack_store(), t, path, permissions, owner->reader < 0 ? 1 : 2),
         "set the permissions of", path);
}

#define FORMATTED_PATH(path, format)                                                               \
    va_list args;                                                                                  \
    va_start(args, format);                                                                        \
    g_autofree char *path = g_strdup_vprintf(format, args);                                        \
    va_end(args)

void store_put(xs_transaction_t t, const struct store_owner *owner, const char *value,
               const char *format, ...)
{
    FORMATTED_PATH(path, format);
    write_node(t, owner, value, path);
}

void store_make(xs_transaction_t t, const struct store_owner *owner, const char *format, ...)
{
    FORMATTED_PATH(path, format);
    write_node(t, owner, "", path);
}

static bool is_empty(xs_transaction_t t, const char *path)
{
    unsigned count = 0;
    char **names = xs_directory(toolstack_store(), t, path, &count);
    free(names);
    return names && count == 0;
}

void store_remove(xs_transaction_t t, bool upwards, const char *format, ...)
{
    FORMATTED_PATH(path, format);
    do {
        need(xs_rm(toolstack_store(), t, path) || errno == ENOENT, "remove", path);
        *strrchr(path, '/') = '\0';
    } while (upwards && *path && is_empty(t, path));
}

char *store_get(xs_transaction_t t, const char *format, ...)
{
    FORMATTED_PATH(path, format);
    unsigned length;
    char *value = xs_read(toolstack_store(), t, path, &length);
    need(value || errno == ENOENT, "read", path);
    char *copy = g_strdup(value);
    free(value);
    return copy;
}

char **store_list(xs_transaction_t t, const char *format, ...)
{
    FORMATTED_PATH(path, format);
    unsigned count = 0;
    char **names = xs_directory(toolstack_store(), t, path, &count);
    char **copy = g_new0(char *, count + 1);
    for (unsigned i = 0; i < count; i++)
        copy[i] = g_strdup(names[i]);
    free(names);
    return copy;
}

char *toolstack_read(const char *path)
{
    return store_get(XBT_NULL, "%s", path);
}

void toolstack_write(const char *path, const char *value)
{
    store_put(XBT_NULL, NULL, value, "%s", path);
}

bool toolstack_exists(const char *path)
{
    g_autofree char *value = toolstack_read(path);
    return value != NULL;
}

bool toolstack_await(const char *path, const char *value, unsigned seconds)
{
    gint64 deadline = g_get_monotonic_time() + seconds * G_USEC_PER_SEC;
    do {
        g_autofree char *now = toolstack_read(path);
        if (g_strcmp0(now, value) == 0)
            return true;
        g_usleep(1000);
    } while (g_get_monotonic_time() < deadline);
    return false;
}
