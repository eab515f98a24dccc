/*
 * libxl's copy of a guest's configuration: what is changed in it and what is not, and that its lock
 * is kept as libxl keeps it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pvbackends/disk/libxl-config.h"

#define UUID "f10ed589-4870-40d0-a4cc-758e10e8c9e3"
#define NAME(kind, what) "userdata-" kind ".5." UUID "." what

/* As libxl writes it, with what a later one might add. */
#define CONFIG                                                                                     \
    "{\n"                                                                                          \
    "    \"c_info\": { \"type\": \"pv\", \"name\": \"a\\u00e9\", \"uuid\": \"" UUID "\" },\n"      \
    "    \"b_info\": { \"max_memkb\": 229376, \"tsc_mode\": \"native\", \"sched_params\": { },\n"  \
    "        \"shadow_memkb\": 9223372036854775807, \"device_model\": \"/dm\" },\n"                \
    "    \"disks\": [\n"                                                                           \
    "        { \"pdev_path\": \"/a.img\", \"vdev\": \"xvda\", \"format\": \"raw\" },\n"            \
    "        { \"pdev_path\": \"/b.img\", \"vdev\": \"xvdb\", \"backend\": \"qdisk\",\n"           \
    "          \"format\": \"raw\", \"readwrite\": 1, \"colo_port\": null, \"new\": [1, {}] },\n"  \
    "        { \"vdev\": \"xvdc\", \"removable\": 1, \"format\": \"empty\", \"is_cdrom\": 1 }\n"   \
    "    ],\n"                                                                                     \
    "    \"nics\": [ { \"devid\": 0, \"mac\": \"00:16:3e:00:00:01\" } ],\n"                        \
    "    \"on_reboot\": \"restart\"\n"                                                             \
    "}\n"

struct fixture {
    char *dir, *copy, *lock;
};

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("rolemodel-libxl-XXXXXX", NULL);
    f->copy = g_build_filename(f->dir, NAME("d", "libxl-json"), NULL);
    f->lock = g_build_filename(f->dir, NAME("l", "domain-userdata-lock"), NULL);
    g_setenv("ROLEMODEL_LIBXL_DIR", f->dir, TRUE);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_unlink(f->copy);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0); /* neither the lock nor anything else is left */
    g_free(f->copy);
    g_free(f->lock);
    g_free(f->dir);
}

static void write_copy(struct fixture *f, const char *text)
{
    g_assert_true(g_file_set_contents(f->copy, text, strlen(text) + 1, NULL));
}

static bool set_image(const char *vdev, const char *path, GError **error)
{
    return libxl_config_set_image(5, UUID, vdev, "qcow2", path, error);
}

/* It is CONFIG, but for what xvdb has. */
static void assert_xvdb(struct fixture *f, const char *path, const char *format)
{
    g_autofree char *text = NULL;
    gsize length;
    json_t *expected = json_loads(CONFIG, 0, NULL);
    json_t *disk = json_array_get(json_object_get(expected, "disks"), 1);

    json_object_set_new(disk, "pdev_path", json_string(path));
    json_object_set_new(disk, "format", json_string(format));
    g_assert_true(g_file_get_contents(f->copy, &text, &length, NULL));
    g_assert_cmpuint(length, ==, strlen(text) + 1); /* libxl looks for the NUL */
    json_t *found = json_loads(text, 0, NULL);
    g_assert_true(json_equal(found, expected));
    json_decref(found);
    json_decref(expected);
}

static void test_change(struct fixture *f, gconstpointer data)
{
    GStatBuf status;

    write_copy(f, CONFIG);
    g_assert_true(set_image("xvdb", "/images/\"über\".qcow2", NULL));
    assert_xvdb(f, "/images/\"über\".qcow2", "qcow2");
    g_assert_true(set_image("xvdb", "/second.qcow2", NULL));
    assert_xvdb(f, "/second.qcow2", "qcow2");
    g_assert_cmpint(g_stat(f->copy, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0077, ==, 0);
}

static void assert_fails(struct fixture *f, const char *vdev, const char *path, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    g_file_get_contents(f->copy, &before, NULL, NULL);
    g_assert_false(set_image(vdev, path, &error));
    g_assert_nonnull(strstr(error->message, words));
    g_file_get_contents(f->copy, &after, NULL, NULL);
    g_assert_cmpstr(before, ==, after);
}

static void test_refused(struct fixture *f, gconstpointer data)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "{ \"disks\": { \"vdev\": \"xvdb\" } }",
        "{ \"disks\": [ \"xvdb\", null, { \"vdev\": 1 } ] }",
        "{ \"disks\": [], \"disks\": [ { \"vdev\": \"xvdb\" } ] }",
        "{ \"disks\": [ { \"vdev\": \"xvdb\" } ], \"large\": 18446744073709551615 }",
    };

    assert_fails(f, "xvdb", "/o", "No such file");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        write_copy(f, bad[i]);
        assert_fails(f, "xvdb", "/o", f->copy);
    }
    write_copy(f, CONFIG);
    assert_fails(f, "xvd", "/o", "no disk xvd in it");
    assert_fails(f, "xvdb", "/\xff", "UTF-8");
    g_assert_false(libxl_config_set_image(5, "../x", "xvdb", "qcow2", "/o", NULL));
    g_setenv("ROLEMODEL_LIBXL_DIR", "/nonexistent", TRUE);
    assert_fails(f, "xvdb", "/o", "No such file");
}

/* What `xl config-update` has left is what xl will take. */
static void test_config_update(struct fixture *f, gconstpointer data)
{
    g_autofree char *update = g_build_filename(f->dir, NAME("d", "xl"), NULL);
    g_autoptr(GError) error = NULL;

    write_copy(f, CONFIG);
    g_assert_true(g_file_set_contents(update, "", 0, NULL));
    g_assert_false(set_image("xvdb", "/o", &error));
    g_assert_nonnull(strstr(error->message, update));
    g_unlink(update);
}

static int lock(struct fixture *f)
{
    int fd = open(f->lock, O_RDWR | O_CREAT, 0666);
    g_assert_cmpint(syscall(SYS_flock, fd, LOCK_EX | LOCK_NB), ==, 0);
    return fd;
}

/* What libxl does while the code under test tries to get the lock. */
static struct {
    struct fixture *f; /* NULL: nothing */
    unsigned tries;
    int first, second; /* libxl's locks */
} libxl;

/* In the place of libc's. */
int flock(int fd, int operation)
{
    if (libxl.f && ++libxl.tries == 2) { /* given back, and another libxl is quicker */
        g_unlink(libxl.f->lock);
        libxl.second = lock(libxl.f);
        close(libxl.first);
    } else if (libxl.f && libxl.tries == 4) {
        assert_xvdb(libxl.f, "/b.img", "raw");
        g_unlink(libxl.f->lock);
        close(libxl.second);
    }
    return syscall(SYS_flock, fd, operation);
}

/* A lock on a file that was removed is none. */
static void test_lock(struct fixture *f, gconstpointer data)
{
    write_copy(f, CONFIG);
    libxl.first = lock(f);
    libxl.f = f;
    g_assert_true(set_image("xvdb", "/o", NULL));
    libxl.f = NULL;
    g_assert_cmpuint(libxl.tries, ==, 5);
    assert_xvdb(f, "/o", "qcow2");
}

static void test_lock_kept(struct fixture *f, gconstpointer data)
{
    write_copy(f, CONFIG);
    int fd = lock(f);
    assert_fails(f, "xvdb", "/o", "somebody else has the lock");
    g_assert_cmpint(g_unlink(f->lock), ==, 0); /* it is still there */
    close(fd);
}

static void add(const char *path, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/libxl-config/change", test_change);
    add("/libxl-config/refused", test_refused);
    add("/libxl-config/config-update", test_config_update);
    add("/libxl-config/lock", test_lock);
    add("/libxl-config/lock-kept", test_lock_kept);
    return g_test_run();
}
