/*
 * The simulated host's xenstore: Debian's xenstored with real domains, permissions and quotas, and
 * the nodes that the toolstack writes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define EVENT_MS 5000

/* xenstored's limits for a guest. */
#define NODES_MAX 1000
#define NODE_BYTES_MAX 2048

static const struct toolstack_guest small = { .type = "pv", .vcpus = 1, .pages = 256 };

static void assert_node(const char *expected, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void assert_node(const char *expected, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *path = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *value = toolstack_read(path);
    if (g_strcmp0(value, expected) != 0)
        g_error("%s is '%s', not '%s'", path, value, expected);
}

static void assert_refused(bool done, int error)
{
    int seen = errno;
    g_assert_false(done);
    g_assert_cmpint(seen, ==, error);
}

/* "owner NONE|READ.., domain READ": as xenstore-ls -p shows it. */
static char *permissions(const char *path)
{
    static const char letters[] = { 'n', 'r', 'w', 'b' };
    unsigned count;
    struct xs_permissions *all = xs_get_permissions(toolstack_store(), XBT_NULL, path, &count);
    GString *text = g_string_new(NULL);

    g_assert_nonnull(all);
    for (unsigned i = 0; i < count; i++)
        g_string_append_printf(text, "%s%c%u", i ? "," : "", letters[all[i].perms & 3], all[i].id);
    free(all);
    return g_string_free(text, FALSE);
}

static void assert_permissions(const char *path, const char *format, unsigned domid)
{
    g_autofree char *expected = g_strdup_printf(format, domid);
    g_autofree char *seen = permissions(path);
    g_assert_cmpstr(seen, ==, expected);
}

static void test_dom0(void)
{
    assert_node("Domain-0", "/local/domain/0/name");
    assert_node("0", "domid"); /* a connection's relative paths are dom0's */
    g_assert_false(toolstack_exists("/nowhere"));
    toolstack_write("/test/a", "1");
    assert_node("1", "/test/a");
    assert_node("", "/test");
    g_assert_true(xs_is_domain_introduced(toolstack_store(), 0));
}

static void test_guest_paths(void)
{
    struct guest *guest = toolstack_create(&small);
    unsigned domid = guest_domid(guest);
    g_autofree char *name = guest_store_read(guest, "name");
    g_autofree char *own = guest_store_read(guest, "domid");
    g_autofree char *expected = g_strdup_printf("%u", domid);

    g_assert_cmpstr(name, ==, "pv-1");
    g_assert_cmpstr(own, ==, expected);
    g_assert_true(guest_store_printf(guest, "data/a", "%d", 42));
    assert_node("42", "/local/domain/%u/data/a", domid);
    g_assert_true(guest_store_write_bytes(guest, "data/b", "x\0y", 3));
    g_autofree char *path = g_strdup_printf("/local/domain/%u/data/b", domid);
    unsigned length;
    char *bytes = xs_read(toolstack_store(), XBT_NULL, path, &length);
    g_assert_cmpmem(bytes, length, "x\0y", 3);
    free(bytes);
    g_assert_true(guest_store_remove(guest, path));
    g_assert_false(toolstack_exists(path));
    toolstack_destroy(guest);
}

static void test_guest_refused(void)
{
    struct guest *guest = toolstack_create(&small);
    struct guest *other = toolstack_create(&small);
    g_autofree char *others = g_strdup_printf("/local/domain/%u/data/a", guest_domid(other));
    g_autofree char *type = g_strdup_printf("/libxl/%u/type", guest_domid(guest));

    g_assert_true(guest_store_write(other, "data/a", "secret"));
    assert_refused(guest_store_read(guest, others), EACCES);
    assert_refused(guest_store_write(guest, others, "x"), EACCES);
    assert_refused(guest_store_remove(guest, others), EACCES);
    assert_refused(guest_store_write(guest, "name", "x"), EACCES);
    assert_refused(guest_store_write(guest, "new", "x"), EACCES);
    assert_refused(guest_store_write(guest, "/local/domain/0/x", "x"), EACCES);
    assert_refused(guest_store_read(guest, type), EACCES);
    assert_refused(guest_store_read(guest, "data/none"), ENOENT);
    assert_refused(guest_store_write(guest, "data/not valid", "x"), EINVAL);
    assert_node("pv-2", "/local/domain/%u/name", guest_domid(guest));
    toolstack_destroy(other);
    toolstack_destroy(guest);
}

/* More than the ring holds at once, and more than a node, or a message, may have. */
static void test_long_values(void)
{
    struct guest *guest = toolstack_create(&small);
    g_autofree char *value = g_strnfill(5000, 'v');

    value[1900] = '\0';
    for (int i = 0; i < 50; i++)
        g_assert_true(guest_store_write(guest, "data/long", value));
    g_autofree char *seen = guest_store_read(guest, "data/long");
    g_assert_cmpstr(seen, ==, value);
    value[1900] = 'v';
    value[NODE_BYTES_MAX] = '\0';
    assert_refused(guest_store_write(guest, "data/long", value), ENOSPC);
    value[NODE_BYTES_MAX] = 'v';
    assert_refused(guest_store_write(guest, "data/long", value), E2BIG);
    toolstack_destroy(guest);
}

static void test_quota(void)
{
    struct guest *guest = toolstack_create(&small);
    unsigned made = 0;

    while (made < NODES_MAX && guest_store_printf(guest, "data/full", "x")) {
        g_autofree char *path = g_strdup_printf("data/full/%u", made);
        if (!guest_store_write(guest, path, "x"))
            break;
        made++;
    }
    g_assert_cmpint(errno, ==, ENOSPC);
    g_assert_cmpuint(made, >, NODES_MAX / 2); /* some are the toolstack's gifts */
    g_assert_cmpuint(made, <, NODES_MAX);
    g_assert_true(guest_store_remove(guest, "data/full"));
    g_assert_true(guest_store_write(guest, "data/again", "x"));
    toolstack_destroy(guest);
}

/* --- watches of special events, on a connection of their own --- */

static bool event_comes(struct xs_handle *xs, const char *path, int timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + timeout_ms * INT64_C(1000);
    do {
        struct pollfd fd = { .fd = xs_fileno(xs), .events = POLLIN };
        char **event = xs_check_watch(xs);
        bool found = event && strcmp(event[XS_WATCH_PATH], path) == 0;
        free(event);
        if (found)
            return true;
        if (!event)
            poll(&fd, 1, 10);
    } while (g_get_monotonic_time() < deadline);
    return false;
}

static struct xs_handle *watch_domains(void)
{
    struct xs_handle *xs = xs_open(0);
    g_assert_nonnull(xs);
    g_assert_true(xs_watch(xs, "@introduceDomain", "i"));
    g_assert_true(event_comes(xs, "@introduceDomain", EVENT_MS)); /* each fires at its start */
    g_assert_true(xs_watch(xs, "@releaseDomain", "r"));
    g_assert_true(event_comes(xs, "@releaseDomain", EVENT_MS));
    return xs;
}

static void test_domain_events(void)
{
    struct xs_handle *xs = watch_domains();

    struct guest *guest = toolstack_create(&small);
    unsigned domid = guest_domid(guest);
    g_assert_true(event_comes(xs, "@introduceDomain", EVENT_MS));
    g_assert_true(xs_is_domain_introduced(toolstack_store(), domid));
    g_assert_false(event_comes(xs, "@releaseDomain", 50));

    sim_domain_crash(domid, "the test says so");
    g_assert_true(event_comes(xs, "@releaseDomain", EVENT_MS));
    g_assert_true(xs_is_domain_introduced(toolstack_store(), domid));

    toolstack_destroy(guest);
    g_assert_true(event_comes(xs, "@releaseDomain", EVENT_MS));
    g_assert_false(xs_is_domain_introduced(toolstack_store(), domid));
    xs_close(xs);
}

/* What a guest leaves behind is removed with it, also where the toolstack does not look. */
static void test_orphans(void)
{
    struct guest *guest = toolstack_create(&small);
    unsigned domid = guest_domid(guest);
    struct xs_permissions permission = { .id = domid, .perms = XS_PERM_NONE };

    toolstack_write("/test/orphan", "");
    g_assert_true(xs_set_permissions(toolstack_store(), XBT_NULL, "/test/orphan", &permission, 1));
    toolstack_destroy(guest);
    g_assert_false(toolstack_exists("/test/orphan"));
}

static void test_many_guests(void)
{
    struct guest *guests[40];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
            guests[i] = toolstack_create(&small);
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
            g_assert_true(guest_store_write(guests[i], "data/a", "x"));
        for (size_t i = 0; i < G_N_ELEMENTS(guests); i++)
            toolstack_destroy(guests[i]);
    }
}

/* --- disks --- */

static const char *const extra[] = { "direct-io-safe", "1", NULL };

static void test_disk_nodes(void)
{
    struct guest *guest = toolstack_create(&small);
    unsigned domid = guest_domid(guest);
    const struct toolstack_disk disk = { .vdev = "xvdb", .params = "aio:/a", .extra = extra };
    unsigned devid = toolstack_attach_disk(guest, &disk);
    g_autofree char *back = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u", domid, devid);
    g_autofree char *front = g_strdup_printf("/local/domain/%u/device/vbd/%u", domid, devid);
    g_autofree char *libxl = g_strdup_printf("/libxl/%u/device/vbd/%u", domid, devid);
    g_autofree char *number = g_strdup_printf("%u", domid);
    const char *backend[][2] = {
        { "frontend", front },      { "params", "aio:/a" },
        { "frontend-id", number },  { "online", "1" },
        { "removable", "0" },       { "bootable", "1" },
        { "state", "1" },           { "dev", "xvdb" },
        { "type", "qdisk" },        { "mode", "w" },
        { "device-type", "disk" },  { "discard-enable", "1" },
        { "specification", "xen" }, { "direct-io-safe", "1" },
    };
    const char *frontend[][2] = {
        { "backend", back },          { "backend-id", "0" },     { "state", "1" },
        { "trusted", "1" },           { "device-type", "disk" }, { "virtual-device", "51728" },
        { "protocol", "x86_64-abi" },
    };

    g_assert_cmpuint(devid, ==, 51728);
    for (size_t i = 0; i < G_N_ELEMENTS(backend); i++) {
        assert_node(backend[i][1], "%s/%s", back, backend[i][0]);
        assert_node(backend[i][1], "%s/%s", libxl, backend[i][0]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(frontend); i++)
        assert_node(frontend[i][1], "%s/%s", front, frontend[i][0]);
    assert_permissions(back, "n0,r%u", domid);
    assert_permissions(front, "n%u,r0", domid);
    assert_permissions(libxl, "n%u", 0);

    g_autofree char *state = g_strconcat(back, "/state", NULL);
    g_assert_true(guest_store_await(guest, state, "1", 1000));
    assert_refused(guest_store_write(guest, state, "4"), EACCES);
    g_autofree char *path = g_strdup_printf("device/vbd/%u/ring-ref", devid);
    g_assert_true(guest_store_write(guest, path, "8"));
    toolstack_destroy(guest);
    g_assert_false(toolstack_exists(back));
    g_assert_false(toolstack_exists("/local/domain/0/backend"));
    g_assert_false(toolstack_exists(front));
    g_assert_false(toolstack_exists(libxl));
}

static void test_disk_names(void)
{
    static const struct {
        const char *vdev;
        unsigned devid;
    } names[] = {
        { "xvda", 51712 },      { "xvda1", 51713 }, { "xvdp", 51952 }, { "xvdq", 268439552 },
        { "xvdaa", 268442112 }, { "hda", 768 },     { "hdd", 5696 },   { "sda2", 2050 },
    };
    struct guest *guest = toolstack_create(&small);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        struct toolstack_disk disk = { .vdev = names[i].vdev, .params = "aio:/a" };
        g_assert_cmpuint(toolstack_attach_disk(guest, &disk), ==, names[i].devid);
    }
    toolstack_destroy(guest);
}

/* A backend that does as it is told, and nothing else. */
static gpointer close_when_told(gpointer path)
{
    struct xs_handle *xs = xs_open(0);
    for (;;) {
        unsigned length;
        char *state = xs_read(xs, XBT_NULL, path, &length);
        bool told = state && strcmp(state, "5") == 0;
        free(state);
        if (told)
            break;
        g_usleep(1000);
    }
    g_usleep(20000);
    g_assert_true(xs_write(xs, XBT_NULL, path, "6", 1));
    xs_close(xs);
    return NULL;
}

static void test_detach(void)
{
    struct guest *guest = toolstack_create(&small);
    const struct toolstack_disk disk = { .vdev = "xvda", .params = "aio:/a", .read_only = true };
    unsigned devid = toolstack_attach_disk(guest, &disk);
    g_autofree char *back =
        g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u", guest_domid(guest), devid);
    g_autofree char *state = g_strconcat(back, "/state", NULL);

    assert_node("r", "%s/mode", back);
    assert_node("0", "%s/discard-enable", back);
    GThread *backend = g_thread_new("backend", close_when_told, state);
    g_assert_true(toolstack_detach_disk(guest, devid));
    g_thread_join(backend);
    g_assert_false(toolstack_exists(back));
    toolstack_destroy(guest);
}

static gpointer write_soon(gpointer path)
{
    struct xs_handle *xs = xs_open(0);
    g_usleep(50000);
    g_assert_true(xs_write(xs, XBT_NULL, path, "done", 4));
    xs_close(xs);
    return NULL;
}

static void test_await(void)
{
    struct guest *guest = toolstack_create(&small);
    g_autofree char *path = g_strdup_printf("/local/domain/%u/data/a", guest_domid(guest));

    g_assert_false(guest_store_await(guest, "data/a", "done", 20));
    GThread *thread = g_thread_new("writer", write_soon, path);
    g_assert_true(guest_store_await(guest, "data/a", "done", EVENT_MS));
    g_assert_true(toolstack_await(path, "done", 1));
    g_thread_join(thread);
    toolstack_destroy(guest);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sim_start();
    g_test_add_func("/store/dom0", test_dom0);
    g_test_add_func("/store/guest/paths", test_guest_paths);
    g_test_add_func("/store/guest/refused", test_guest_refused);
    g_test_add_func("/store/guest/long-values", test_long_values);
    g_test_add_func("/store/guest/quota", test_quota);
    g_test_add_func("/store/guest/await", test_await);
    g_test_add_func("/store/domains/events", test_domain_events);
    g_test_add_func("/store/domains/orphans", test_orphans);
    g_test_add_func("/store/domains/many", test_many_guests);
    g_test_add_func("/store/disk/nodes", test_disk_nodes);
    g_test_add_func("/store/disk/names", test_disk_names);
    g_test_add_func("/store/disk/detach", test_detach);
    int status = g_test_run();
    sim_stop();
    return status;
}
