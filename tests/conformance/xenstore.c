/* xenstored as dom0 sees it: see conformance.h. */

#include "tests/conformance/conformance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#define HOME "/local/domain/0"
#define DIR HOME "/conformance"

static struct xs_handle *store, *other;

static bool write_node(struct xs_handle *xs, xs_transaction_t t, const char *path,
                       const char *value)
{
    return xs_write(xs, t, path, value, strlen(value));
}

static const char *went(bool ok)
{
    return outcome(ok ? 0 : -1);
}

/* A node's value, or the errno of reading it. */
static const char *value_in(xs_transaction_t t, const char *path)
{
    static char value[256];
    unsigned length;
    char *read = xs_read(store, t, path, &length);
    if (!read)
        return outcome(-1);
    strncpy(value, read, sizeof(value) - 1);
    free(read);
    return value;
}

static const char *value(const char *path)
{
    return value_in(XBT_NULL, path);
}

/* Prints the events that have come: they are here before the reply to what is asked after them. */
static void observe_events(const char *what)
{
    char **event = NULL;
    unsigned count = 0;
    value(DIR);
    for (; (event = xs_check_watch(store)); count++) {
        observe("%s: event: path %s, token %s", what, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
        free(event);
    }
    if (count == 0)
        observe("%s: no event", what);
}

static void nodes(void)
{
    observe("write, relative path: %s", went(write_node(store, XBT_NULL, "conformance/a", "1")));
    observe("read, absolute path: %s", value(DIR "/a"));
    observe("the directory above has been made: '%s'", value(DIR));
    observe("read: a node that is not there: %s", value(DIR "/none"));
    observe("read: a path that ends in /: %s", value(DIR "/a/"));
    observe("read: an empty part: %s", value(HOME "//conformance"));
    observe("write: a character that is not allowed: %s",
            went(write_node(store, XBT_NULL, DIR "/a b", "1")));
    observe("write: a special name: %s", went(write_node(store, XBT_NULL, "@releaseDomain", "1")));
    observe("write: with a zero inside: %s", went(xs_write(store, XBT_NULL, DIR "/z",
                                                           "1\0"
                                                           "2",
                                                           3)));
    unsigned length = 0;
    free(xs_read(store, XBT_NULL, DIR "/z", &length));
    observe("read: with a zero inside: %u bytes", length);
    static char large[XENSTORE_PAYLOAD_MAX + 1];
    observe("write: more than a message holds: %s",
            went(xs_write(store, XBT_NULL, DIR "/large", large, sizeof(large))));

    write_node(store, XBT_NULL, DIR "/c", "3");
    write_node(store, XBT_NULL, DIR "/b", "2");
    unsigned count = 0;
    char **names = xs_directory(store, XBT_NULL, DIR, &count);
    for (unsigned i = 0; i < count; i++)
        observe("directory: %s", names[i]);
    free(names);
    free(xs_directory(store, XBT_NULL, DIR "/a", &count));
    observe("directory: of a leaf: %u", count);
    observe("directory: of nothing: %s",
            outcome_pointer(xs_directory(store, XBT_NULL, DIR "/none", &count)));
    observe("remove: %s", went(xs_rm(store, XBT_NULL, DIR "/z")));
    observe("remove: again: %s", went(xs_rm(store, XBT_NULL, DIR "/z")));
    observe("remove: with no directory above it: %s",
            went(xs_rm(store, XBT_NULL, DIR "/none/none")));
}

static void watches(void)
{
    observe("watch: %s", went(xs_watch(store, DIR, "one")));
    observe_events("watch");
    observe("watch: again: %s", went(xs_watch(store, DIR, "one")));
    observe("watch: with another token: %s", went(xs_watch(store, DIR, "two")));
    observe_events("watch, with another token");
    write_node(other, XBT_NULL, DIR "/a", "2");
    observe_events("write below it");
    observe("unwatch: %s", went(xs_unwatch(store, DIR, "two")));
    observe("unwatch: again: %s", went(xs_unwatch(store, DIR, "two")));

    write_node(other, XBT_NULL, DIR "/a", "3");
    write_node(other, XBT_NULL, DIR "/a", "4");
    write_node(other, XBT_NULL, DIR "/a", "4");
    observe_events("three writes");
    write_node(store, XBT_NULL, DIR "/a", "5");
    observe_events("a write of our own");
    write_node(other, XBT_NULL, DIR "/x/y/z", "1");
    observe_events("write of a node two levels deeper than there are");
    write_node(other, XBT_NULL, HOME "/conformance-not", "1");
    observe_events("write of a node whose name begins so");
    xs_rm(other, XBT_NULL, HOME "/conformance-not");

    xs_watch(store, DIR "/x/y", "deep");
    observe_events("watch of a deep node");
    xs_rm(other, XBT_NULL, DIR "/x");
    observe_events("removal of the node above");
    xs_unwatch(store, DIR "/x/y", "deep");
    xs_unwatch(store, DIR, "one");

    observe("watch of a node that is not there: %s", went(xs_watch(store, "none/here", "none")));
    observe_events("watch of a node that is not there");
    write_node(other, XBT_NULL, HOME "/none/here/now", "1");
    observe_events("write below a watch by relative path");
    xs_rm(other, XBT_NULL, HOME "/none");
    observe_events("removal above a watch by relative path");
    xs_unwatch(store, "none/here", "none");

    observe("watch @releaseDomain: %s", went(xs_watch(store, "@releaseDomain", "gone")));
    observe_events("watch @releaseDomain");
    observe("watch of a special name that is none: %s", went(xs_watch(store, "@none", "none")));
    observe_events("watch of a special name that is none");
    xs_unwatch(store, "@none", "none");
    xs_unwatch(store, "@releaseDomain", "gone");
}

static void transactions(void)
{
    xs_watch(store, DIR, "t");
    observe_events("watch");
    xs_transaction_t t = xs_transaction_start(store);
    write_node(store, t, DIR "/a", "10");
    write_node(store, t, DIR "/a", "11");
    write_node(store, t, DIR "/n", "12");
    xs_rm(store, t, DIR "/b");
    observe("transaction: inside: %s", value_in(t, DIR "/a"));
    observe("transaction: outside: %s", value(DIR "/a"));
    observe_events("before the end of the transaction");
    observe("transaction: end: %s", went(xs_transaction_end(store, t, false)));
    observe_events("after the end of the transaction");
    observe("transaction: afterwards: %s", value(DIR "/a"));
    observe("transaction: end again: %s", went(xs_transaction_end(store, t, false)));
    observe("transaction: use after the end: %s", value_in(t, DIR "/a"));

    t = xs_transaction_start(store);
    write_node(store, t, DIR "/a", "20");
    observe("transaction: abort: %s", went(xs_transaction_end(store, t, true)));
    observe_events("after the abort");
    observe("transaction: after the abort: %s", value(DIR "/a"));

    t = xs_transaction_start(store);
    value_in(t, DIR "/a");
    write_node(store, t, DIR "/c", "30");
    write_node(other, XBT_NULL, DIR "/a", "31");
    observe("transaction: a node it read was written: %s",
            went(xs_transaction_end(store, t, false)));
    t = xs_transaction_start(store);
    write_node(store, t, DIR "/c", "40");
    write_node(other, XBT_NULL, DIR "/a", "41");
    observe("transaction: a node it did not use was written: %s",
            went(xs_transaction_end(store, t, false)));
    t = xs_transaction_start(store);
    value_in(t, DIR "/a");
    write_node(other, XBT_NULL, DIR "/a", "51");
    observe("transaction: it only read, and the node was written: %s",
            went(xs_transaction_end(store, t, false)));
    t = xs_transaction_start(store);
    value_in(t, DIR "/new");
    write_node(other, XBT_NULL, DIR "/new", "61");
    write_node(store, t, DIR "/c", "60");
    observe("transaction: a node it did not find was made: %s",
            went(xs_transaction_end(store, t, false)));
    observe("transaction: afterwards: %s", value(DIR "/c"));
    xs_unwatch(store, DIR, "t");
}

static void domains(void)
{
    observe("domain 0 is introduced: %s", yes(xs_is_domain_introduced(store, 0)));
    observe("a domain that is not there is introduced: %s",
            yes(xs_is_domain_introduced(store, NO_DOMAIN)));
    char *path = xs_get_domain_path(store, NO_DOMAIN);
    observe("path of a domain that is not there: %s", path ? path : outcome(-1));
    free(path);

    struct xs_permissions permissions[] = { { 0, XS_PERM_NONE }, { NO_DOMAIN, XS_PERM_READ } };
    write_node(store, XBT_NULL, DIR "/p", "1");
    observe("permissions for a domain that is not there: %s",
            went(xs_set_permissions(store, XBT_NULL, DIR "/p", permissions, 2)));
    observe("permissions: nothing to anybody: %s",
            went(xs_set_permissions(store, XBT_NULL, DIR "/p", permissions, 1)));
    unsigned count = 0;
    struct xs_permissions *read = xs_get_permissions(store, XBT_NULL, DIR "/p", &count);
    observe("permissions: read back: %u, the first is none: %s", count,
            yes(read && read[0].perms == XS_PERM_NONE));
    free(read);
    observe("permissions: dom0 reads: %s", value(DIR "/p"));
    observe("permissions: dom0 writes: %s", went(write_node(store, XBT_NULL, DIR "/p", "2")));
    observe("introduce a domain that is not there: %s",
            went(xs_introduce_domain(store, NO_DOMAIN, 0, 1)));
    observe("release a domain that is not there: %s", went(xs_release_domain(store, NO_DOMAIN)));
}

void xenstore_area(unsigned domid)
{
    store = xs_open(0);
    other = xs_open(0);
    if (!store || !other)
        give_up("xs_open");
    xs_rm(store, XBT_NULL, DIR);
    nodes();
    watches();
    transactions();
    domains();
    xs_rm(store, XBT_NULL, DIR);
    observe("after removal: %s", value(DIR "/a"));
    xs_close(other);
    xs_close(store);
}
