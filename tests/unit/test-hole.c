/*
 * The PCI hole.  The placements are what hvmloader of Xen 4.17.7 printed for these guests in the
 * rig, with Debian 12's QEMU (`xl dmesg`); their vCPUs have 40 bits of
 * physical addresses, and the NICs of vif= were given with -device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <stdio.h>
#include <string.h>

#include "hw/hole.h"
#include "hw/pci_role.h"
#include "toolstack/hole-config.h"
#include "toolstack/hole-xlcfg.h"
#include "toolstack/hole.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define RIG_ADDRESS_BITS 40

static const struct role *const no_roles[] = { NULL };

static struct hole_platform *read_config(const char *text)
{
    GError *error = NULL;
    struct hole_platform *platform = hole_config_read(no_roles, text, &error);
    g_assert_no_error(error);
    platform->address_bits = RIG_ADDRESS_BITS;
    return platform;
}

/* One of hvmloader's lines; the lowest bits of what it wrote into the BAR tell its kind. */
static void assert_placed(const struct hole_placement *placement, const char *line)
{
    unsigned slot, function, offset;
    unsigned long long size, value = 0;
    bool fits = !strstr(line, "no space");
    int count = sscanf(line, "pci dev %x:%x bar %x size %llx: %llx", &slot, &function, &offset,
                       &size, &value);

    g_assert_cmpint(count, ==, fits ? 5 : 4);
    g_test_message("%s", line);
    g_assert_cmphex(placement->function->devfn, ==, slot << 3 | function);
    g_assert_cmphex(hole_bar_offset(placement->bar), ==, offset);
    g_assert_cmphex(placement->function->bars[placement->bar].size, ==, size);
    g_assert_cmpint(placement->fits, ==, fits);
    if (fits)
        g_assert_cmphex(placement->address, ==, value & ~(value & 1 ? 3ULL : 15ULL));
}

static const struct {
    const char *name;
    const char *config;
    const char *hvmloader;
} rig[] = {
#include "tests/unit/hole-vectors.inc"
};

static void test_rig(gconstpointer opaque)
{
    gsize number = GPOINTER_TO_SIZE(opaque);
    struct hole_platform *platform = read_config(rig[number].config);
    struct hole_guest guest = hole_platform_guest(platform);
    struct hole_map *map = hole_map_new(&guest);
    g_auto(GStrv) lines = g_strsplit(rig[number].hvmloader, "\n", -1);

    g_assert_cmpuint(map->placements_len, ==, g_strv_length(lines) - 1);
    for (guint i = 0; i < map->placements_len; i++)
        assert_placed(&map->placements[i], lines[i]);
    hole_map_free(map);
    hole_platform_free(platform);
}

static char *advice_for(const char *config)
{
    struct hole_platform *platform = read_config(config);
    struct hole_guest guest = hole_platform_guest(platform);
    struct hole_map *map = hole_map_new(&guest);
    char *advice = hole_advice(platform, map);
    hole_map_free(map);
    hole_platform_free(platform);
    return advice;
}

#define HVM "type='hvm'\nmemory=512\n"

static void assert_advice(const char *config, const char *part)
{
    g_autofree char *advice = advice_for(config);
    g_test_message("%s", advice ? advice : "(fits)");
    g_assert_nonnull(advice);
    g_assert_nonnull(strstr(advice, part));
}

static void test_advice(void)
{
    g_assert_null(advice_for(HVM));
    assert_advice(HVM "mmio_hole=256\nvga='qxl'\nvideoram=256", "set mmio_hole = 384");
    assert_advice(HVM "device_model_args_hvm=['-device','pci-testdev,membar=1T']",
                  "make it smaller");
    assert_advice(HVM "mmio_hole=512\ndevice_model_args_hvm=['-machine','max-ram-below-4g=3G']",
                  "set mmio_hole = 1024");
    assert_advice(HVM "device_model_args_hvm=['-device','e1000,addr=1e','-device','VGA,addr=1e']",
                  "e1000 and VGA are both at 1e.0");
}

/* What no QEMU device of the rig has shows the planner alone. */
static void test_planner(void)
{
    struct hole_function functions[] = {
        { .name = "a", .devfn = 4 << 3, .bars[0] = { 2 * GIB, HOLE_MEMORY32 } },
        { .name = "b", .devfn = 5 << 3, .bars[0] = { 512 * MIB, HOLE_MEMORY32 } },
    };
    struct hole_guest guest = {
        .ram = 256 * MIB,
        .address_bits = 40,
        .functions = functions,
        .functions_len = 2,
    };

    /* The hole grows to 2 GiB at most; by hand it may be larger, and 2 GiB need an aligned place.
     */
    struct hole_map *map = hole_map_new(&guest);
    g_assert_cmphex(map->hole_start, ==, 0x80000000);
    g_assert_true(map->homeless == &map->placements[0]);
    g_assert_cmpstr(map->homeless->function->name, ==, "a");
    hole_map_free(map);
    g_assert_cmpint(hole_smallest(&guest), ==, -1);

    functions[0].bars[0].size = GIB;
    g_assert_cmpint(hole_smallest(&guest), ==, 0);
    guest.mmio_hole = 256;
    g_assert_cmpint(hole_smallest(&guest), ==, 2048);

    /* RAM is moved out of the way where that is allowed. */
    guest.mmio_hole = 0;
    guest.ram = 3 * GIB;
    guest.relocate = true;
    map = hole_map_new(&guest);
    g_assert_cmphex(map->low_ram_end, ==, 0x80000000);
    g_assert_cmphex(map->high_ram_end, ==, 4 * GIB + GIB);
    g_assert_null(map->homeless);
    hole_map_free(map);
    guest.relocate = false;
    map = hole_map_new(&guest);
    g_assert_cmphex(map->hole_start, ==, 0xC0000000);
    g_assert_nonnull(map->homeless);
    hole_map_free(map);

    functions[1].class_code = 0x0680;
    map = hole_map_new(&guest);
    g_assert_true(map->fatal == &functions[1]);
    hole_map_free(map);
}

static void assert_string(const struct xlcfg *cfg, const char *name, const char *expected)
{
    const char *value;
    g_assert_true(xlcfg_string(cfg, name, "none", &value, NULL));
    g_assert_cmpstr(value, ==, expected);
}

static void test_xlcfg(void)
{
    struct xlcfg *cfg =
        xlcfg_parse("# a comment\nname = \"g\" # another\n\nmemory=512; vcpus = 0x2\r\n"
                    "disk = [ 'a,b',\n  # between\n  \"c'\\\"\", ]\nlist=[]\nmemory = \"1024\"",
                    NULL);
    guint64 number;

    g_assert_nonnull(cfg);
    assert_string(cfg, "name", "g");
    assert_string(cfg, "missing", "none");
    g_assert_true(xlcfg_number(cfg, "memory", 1, 4096, 0, &number, NULL));
    g_assert_cmpuint(number, ==, 1024);
    g_assert_true(xlcfg_number(cfg, "vcpus", 1, 4096, 0, &number, NULL));
    g_assert_cmpuint(number, ==, 2);
    g_assert_true(xlcfg_number(cfg, "missing", 1, 4096, 7, &number, NULL));
    g_assert_cmpuint(number, ==, 7);
    char *const *disks = xlcfg_list(cfg, "disk");
    g_assert_cmpstr(disks[0], ==, "a,b");
    g_assert_cmpstr(disks[1], ==, "c'\"");
    g_assert_null(disks[2]);
    g_assert_null(xlcfg_list(cfg, "list")[0]);
    g_assert_null(xlcfg_list(cfg, "missing")[0]);
    xlcfg_free(cfg);
}

/* The slot of a role's function is the same number as for the role itself: role.h. */
static void test_role_slot(void)
{
    static const struct pci_description card = {
        .class_code = 0xFF0000,
        .bars[1] = { .size = 16, .type = PCI_BAR_IO },
        .rom = { .size = 2048 },
    };
    static char given[][16] = { "poll=off", "slot=29", "slot=0x1d" };
    static char refused[][16] = { "slot=0", "slot=32", "slot=0x20", "slot=" };
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < G_N_ELEMENTS(given); i++) {
        struct hole_function function = { .name = "card" };
        char *const options[] = { given[i], NULL };
        g_assert_true(pci_role_hole(&card, 7, options, &function, &error));
        g_assert_cmphex(function.devfn, ==, (i ? 29 : 7) << 3);
        g_assert_cmphex(function.class_code, ==, 0xFF00);
        g_assert_cmphex(function.bars[1].size, ==, 16);
        g_assert_cmpuint(function.bars[1].kind, ==, HOLE_IO);
        g_assert_cmphex(function.bars[HOLE_ROM].size, ==, 2048);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        struct hole_function function = { .name = "card" };
        char *const options[] = { refused[i], NULL };
        g_assert_false(pci_role_hole(&card, 7, options, &function, &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
    }
}

static void assert_refused(const char *text, const char *part)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(hole_config_read(no_roles, text, &error));
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
}

static void test_refused(void)
{
    assert_refused("memory=1\nfoo", "line 2: expected '=' behind foo");
    assert_refused("=1", "line 1: expected NAME = VALUE");
    assert_refused("\na = 'b", "line 2: a string has no closing quote");
    assert_refused("a = 'b\\x'", "line 1");
    assert_refused("a = [ 'b' 'c' ]", "line 1: expected ',' or ']'");
    assert_refused("a = [ 'b',", "line 1: expected a number, a string");
    assert_refused("a = [ [ ] ]", "lists in lists");
    assert_refused("a = 1 2", "line 1: there is more behind the value");
    assert_refused("a = b", "line 1: expected a number");
    assert_refused("type='pvh'", "line 1: type: 'pvh' has no PCI hole");
    assert_refused(HVM "mmio_hole=100", "line 3: mmio_hole = 100 is not a number from 256 to 3840");
    assert_refused(HVM "mmio_hole=[1]", "line 3: mmio_hole is a list");
    assert_refused(HVM "vga='matrox'", "line 3: vga: 'matrox' is not");
    assert_refused(HVM "device_model_args=['-role','nonsense']",
                   "line 3: device_model_args: 'nonsense' is not a role");
    assert_refused(HVM "pci=['nonsense']", "'nonsense' is not a device like 0000:01:00.0");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(rig); i++) {
        g_autofree char *path = g_strdup_printf("/hole/rig/%s", rig[i].name);
        g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_rig);
    }
    g_test_add_func("/hole/advice", test_advice);
    g_test_add_func("/hole/planner", test_planner);
    g_test_add_func("/hole/xlcfg", test_xlcfg);
    g_test_add_func("/hole/role-slot", test_role_slot);
    g_test_add_func("/hole/refused", test_refused);
    return g_test_run();
}
