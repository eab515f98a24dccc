/*
 * The mark of an image that has an overlay: who may write to it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "pvbackends/disk/media/base-mark.h"

struct fixture {
    char *dir, *base, *overlay;
};

static void make(const char *path)
{
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static void set_up(struct fixture *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("rolemodel-mark-XXXXXX", NULL);
    f->base = g_build_filename(f->dir, "base", NULL);
    f->overlay = g_build_filename(f->dir, "overlay", NULL);
    make(f->base);
    make(f->overlay);
}

static void tear_down(struct fixture *f, gconstpointer data)
{
    g_unlink(f->base);
    g_unlink(f->overlay);
    g_rmdir(f->dir);
    g_free(f->base);
    g_free(f->overlay);
    g_free(f->dir);
}

/* Has the file system such attributes? */
static bool can_mark(struct fixture *f)
{
    if (setxattr(f->base, "user.rolemodel.test", "", 0, 0) == 0)
        return true;
    g_test_skip(g_strerror(errno));
    return false;
}

static void assert_refused(struct fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *remedy = g_strconcat("setfattr -x user.rolemodel.overlay ", f->base, NULL);
    g_autofree char *target = g_strconcat("target=", f->overlay, NULL);

    g_assert_false(disk_base_check(f->base, &error));
    g_assert_nonnull(strstr(error->message, remedy));
    g_assert_nonnull(strstr(error->message, target));
}

static void test_marked(struct fixture *f, gconstpointer data)
{
    if (!can_mark(f))
        return;
    g_assert_true(disk_base_check(f->base, NULL));
    g_assert_true(disk_base_mark(f->base, f->overlay, NULL));
    assert_refused(f);
    g_assert_true(disk_base_check(f->overlay, NULL));
    g_assert_cmpint(removexattr(f->base, "user.rolemodel.overlay"), ==, 0);
    g_assert_true(disk_base_check(f->base, NULL));
}

/* The overlay has been given up: by removing it, and then for another. */
static void test_moot(struct fixture *f, gconstpointer data)
{
    g_autofree char *second = g_strconcat(f->overlay, "2", NULL);

    if (!can_mark(f))
        return;
    g_assert_true(disk_base_mark(f->base, f->overlay, NULL));
    g_unlink(f->overlay);
    g_assert_true(disk_base_check(f->base, NULL));
    g_assert_true(disk_base_mark(f->base, second, NULL));
    make(f->overlay);
    g_assert_true(disk_base_check(f->base, NULL));
    g_unlink(f->overlay);
    g_free(f->overlay);
    f->overlay = g_steal_pointer(&second);
    make(f->overlay);
    assert_refused(f);
}

static void test_impossible(struct fixture *f, gconstpointer data)
{
    static const char *const bases[] = { "/nonexistent", "/dev/null", "/proc/self/status" };

    for (size_t i = 0; i < G_N_ELEMENTS(bases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(disk_base_mark(bases[i], f->overlay, &error));
        g_assert_true(g_str_has_prefix(error->message, bases[i]));
        g_assert_true(disk_base_check(bases[i], NULL));
    }
}

static void add(const char *path, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("/base-mark/marked", test_marked);
    add("/base-mark/moot", test_moot);
    add("/base-mark/impossible", test_impossible);
    return g_test_run();
}
