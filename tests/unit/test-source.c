/*
 * What the toolstack's words about a medium become, for us or for QEMU.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "pvbackends/disk/media/source.h"

static json_t *describe(const char *params, bool read_only, char **format)
{
    g_autoptr(GError) error = NULL;
    struct disk_source source = { .params = params, .read_only = read_only };
    const char *target;
    g_autofree char *text = disk_source_describe(&source, format, &target, &error);
    g_assert_no_error(error);
    g_assert_nonnull(text);
    json_t *node = json_loads(text, 0, NULL);
    g_assert_cmpstr(json_string_value(json_object_get(node, "node-name")), ==, "disk");
    g_assert_cmpint(json_is_true(json_object_get(node, "read-only")), ==, read_only);
    return node;
}

static const char *text_at(json_t *node, const char *outer, const char *inner)
{
    json_t *object = outer ? json_object_get(node, outer) : node;
    return json_string_value(json_object_get(object, inner));
}

static void test_raw(void)
{
    struct disk_source source = { .params = "aio:/images/a:b.img" };
    GError *error = NULL;
    const char *target;
    char *format;

    g_assert_null(disk_source_describe(&source, &format, &target, &error));
    g_assert_no_error(error);
    g_assert_null(format);
    g_assert_cmpstr(target, ==, "/images/a:b.img");
}

/* The name of a file may have anything in it that JSON would misunderstand. */
static void test_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("rolemodel-source-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "a,\"b\"}{:\\.img", NULL);
    g_autofree char *params = g_strconcat("vhd:", path, NULL);
    g_autofree char *format = NULL;

    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    json_t *node = describe(params, false, &format);
    g_assert_cmpstr(format, ==, "vpc");
    g_assert_cmpstr(text_at(node, NULL, "driver"), ==, "vpc");
    g_assert_cmpstr(text_at(node, NULL, "discard"), ==, "unmap");
    g_assert_cmpstr(text_at(node, "file", "driver"), ==, "file");
    g_assert_cmpstr(text_at(node, "file", "filename"), ==, path);
    json_decref(node);
    g_unlink(path);
    g_rmdir(dir);
}

/* What is ours to say is said, whatever stands there; the rest is left as it is. */
static void test_json(void)
{
    g_autofree char *format = NULL;
    json_t *node = describe("aio:json:{\"driver\":\"rbd\",\"pool\":\"p\",\"node-name\":\"x\","
                            "\"read-only\":false,\"cache\":{\"direct\":true}}",
                            true, &format);
    g_assert_cmpstr(format, ==, "rbd");
    g_assert_cmpstr(text_at(node, NULL, "pool"), ==, "p");
    g_assert_cmpstr(text_at(node, NULL, "discard"), ==, "ignore");
    g_assert_true(json_is_true(json_object_get(json_object_get(node, "cache"), "direct")));
    json_decref(node);
}

static json_t *server_of(json_t *node)
{
    g_assert_cmpstr(text_at(node, NULL, "driver"), ==, "nbd");
    return json_object_get(node, "server");
}

static void test_nbd(void)
{
    static const struct {
        const char *params, *host, *port, *export;
    } inet[] = {
        { "aio:nbd://host:1234/a/b", "host", "1234", "a/b" },
        { "aio:nbd://host/x%20y", "host", "10809", "x y" },
        { "aio:nbd://[::1]:7/", "::1", "7", "" },
        { "aio:nbd://10.0.0.1", "10.0.0.1", "10809", "" },
    };
    g_autofree char *format = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(inet); i++) {
        g_clear_pointer(&format, g_free);
        json_t *node = describe(inet[i].params, i % 2, &format);
        g_assert_cmpstr(format, ==, "nbd");
        g_assert_cmpstr(text_at(server_of(node), NULL, "type"), ==, "inet");
        g_assert_cmpstr(text_at(server_of(node), NULL, "host"), ==, inet[i].host);
        g_assert_cmpstr(text_at(server_of(node), NULL, "port"), ==, inet[i].port);
        g_assert_cmpstr(text_at(node, NULL, "export"), ==, inet[i].export);
        json_decref(node);
    }
    g_clear_pointer(&format, g_free);
    json_t *node = describe("aio:nbd+unix:///name?socket=/run/a%26b", false, &format);
    g_assert_cmpstr(text_at(server_of(node), NULL, "type"), ==, "unix");
    g_assert_cmpstr(text_at(server_of(node), NULL, "path"), ==, "/run/a&b");
    g_assert_cmpstr(text_at(node, NULL, "export"), ==, "name");
    json_decref(node);
}

static void test_refusals(void)
{
    static const struct {
        const char *params, *words;
    } wrong[] = {
        { "", "without a medium" },
        { "aio", "without a medium" },
        { "aio:", "without a medium" },
        { "qcow2:", "without a medium" },
        { ":/a", "name of an image format" },
        { "Qcow2:/a", "name of an image format" },
        { "q,c:/a", "name of an image format" },
        { "a1234567890123456789012345678901234:/a", "name of an image format" },
        { "qcow2:/nonexistent", "check the path" },
        { "qcow2:/dev/null", "not a file or a block device" },
        { "qcow2:json:{}", "use format=raw" },
        { "aio:json:", "not JSON" },
        { "aio:json:{} x", "not JSON" },
        { "aio:json:{\"driver\":\"raw\",\"driver\":\"qcow2\"}", "not JSON" },
        { "aio:json:[]", "not an object" },
        { "aio:json:{}", "not an object with a" },
        { "aio:json:{\"driver\":1}", "not an object with a" },
        { "aio:nbd:unix:/a", "nbd+unix:///EXPORT?socket=PATH" },
        { "aio:nbd+unix:///a", "nbd+unix:///EXPORT?socket=PATH" },
        { "aio:nbd+unix:///a?sock=/b", "nbd+unix:///EXPORT?socket=PATH" },
        { "aio:nbd+unix:///a?socket=/b&socket2=/c", "nbd+unix:///EXPORT?socket=PATH" },
        { "aio:nbd://", "nbd://HOST:PORT/EXPORT" },
        { "aio:nbd:///a", "nbd://HOST:PORT/EXPORT" },
        { "aio:nbd://host:99999/a", "nbd://HOST:PORT/EXPORT" },
        { "aio:nbd://host/a?socket=/b", "nbd://HOST:PORT/EXPORT" },
        { "aio:nbd+tcp://host/a", "nbd://HOST:PORT/EXPORT" },
        { "qcow2:nbd://host/a", "is format=raw" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        struct disk_source source = { .params = wrong[i].params };
        g_assert_null(disk_source_open(&source, &error));
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, wrong[i].words));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/source/raw", test_raw);
    g_test_add_func("/source/file", test_file);
    g_test_add_func("/source/json", test_json);
    g_test_add_func("/source/nbd", test_nbd);
    g_test_add_func("/source/refusals", test_refusals);
    return g_test_run();
}
