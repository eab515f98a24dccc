/*
 * Taking a role's images out of QEMU's arguments: AHCI disks as libxl 4.17 wrote them in the rig,
 * IDE disks as its source has them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>

#include "toolstack/drives.h"

static GPtrArray *arguments(const char *text)
{
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) words = g_strsplit(text, " ", -1);
    for (char **word = words; *word; word++)
        g_ptr_array_add(argv, g_strdup(*word));
    g_ptr_array_add(argv, NULL);
    return argv;
}

static void assert_result(const char *text, const char *file, guint removed, const char *expected)
{
    g_autoptr(GPtrArray) argv = arguments(text);
    g_assert_cmpuint(drives_remove(argv, file), ==, removed);
    g_autofree char *result = g_strjoinv(" ", (char **)argv->pdata);
    g_assert_cmpstr(result, ==, expected);
}

#define AHCI "-device ahci,id=ahci0"
#define BOOT                                                                                       \
    " -drive file=/i/boot,if=none,id=ahcidisk-0,format=raw,cache=writeback"                        \
    " -device ide-hd,bus=ahci0.0,unit=0,drive=ahcidisk-0"
#define DATA                                                                                       \
    " -drive file=/i/data,if=none,id=ahcidisk-0,format=raw,cache=writeback"                        \
    " -device ide-hd,bus=ahci0.0,unit=0,drive=ahcidisk-0"

static void test_ahci(void)
{
    assert_result("q " AHCI BOOT DATA " -m 224", "/i/data", 1, "q " AHCI BOOT " -m 224");
    assert_result("q " AHCI DATA BOOT " -m 224", "/i/data", 1, "q " AHCI BOOT " -m 224");
    assert_result("q " AHCI BOOT DATA, "/i/dat", 0, "q " AHCI BOOT DATA);
    assert_result("q " AHCI BOOT DATA, "", 0, "q " AHCI BOOT DATA);
}

static void test_ide(void)
{
    assert_result("q -drive file=/i/a,if=ide,index=0,media=disk,format=raw,cache=writeback "
                  "-drive file=/i/b,if=ide,index=1,media=disk,format=raw,cache=writeback",
                  "/i/a", 1,
                  "q -drive file=/i/b,if=ide,index=1,media=disk,format=raw,cache=writeback");
}

static void test_names(void)
{
    assert_result("q -drive file=/i/a,,b,if=ide -x", "/i/a,b", 1, "q -x");
    assert_result("q -drive file=/i/a,b,if=ide -x", "/i/a,b", 1, "q -x");
    assert_result("q -name -drive -drive", "/i/a", 0, "q -name -drive -drive");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/drives/ahci", test_ahci);
    g_test_add_func("/drives/ide", test_ide);
    g_test_add_func("/drives/names", test_names);
    return g_test_run();
}
