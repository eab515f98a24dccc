/* The BARs of the host's PCI devices, from sysfs: see hole-config.h. */

#include "toolstack/hole-config.h"

#include <stdio.h>
#include <string.h>

/* Of a line of `resource`: <linux/ioport.h>. */
#define RESOURCE_IO 0x100
#define RESOURCE_MEMORY 0x200
#define RESOURCE_MEMORY64 0x100000

/* QEMU shows the guest no memory BAR below a page. */
#define MIN_MEMORY 4096

static bool read_number(const char *dir, const char *name, unsigned *value, GError **error)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, error))
        return false;
    *value = g_ascii_strtoull(text, NULL, 16);
    return true;
}

static struct hole_bar read_bar(const char *line)
{
    struct hole_bar bar = { .size = 0 };
    unsigned long long start, end, flags;

    if (sscanf(line, "%llx %llx %llx", &start, &end, &flags) != 3 || end <= start)
        return bar;
    bar.size = end - start + 1;
    bar.kind = flags & RESOURCE_IO         ? HOLE_IO
               : flags & RESOURCE_MEMORY64 ? HOLE_MEMORY64
                                           : HOLE_MEMORY32;
    if (flags & RESOURCE_MEMORY)
        bar.size = MAX(bar.size, MIN_MEMORY);
    if (bar.size & (bar.size - 1))
        bar.size = 0; /* not a BAR's size */
    return bar;
}

static bool read_function(const char *dir, struct hole_function *function, GError **error)
{
    g_autofree char *path = g_build_filename(dir, "resource", NULL);
    g_autofree char *text = NULL;
    unsigned vendor, device, class_code;

    if (!read_number(dir, "vendor", &vendor, error) ||
        !read_number(dir, "device", &device, error) ||
        !read_number(dir, "class", &class_code, error) ||
        !g_file_get_contents(path, &text, NULL, error))
        return false;
    function->vendor = vendor;
    function->device = device;
    function->class_code = class_code >> 8;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; i < HOLE_BARS && lines[i]; i++)
        function->bars[i] = read_bar(lines[i]);
    function->bars[HOLE_ROM].kind = HOLE_MEMORY32;
    return true;
}

/* "[0000:]01:00.0" in full. */
static char *full_bdf(const char *bdf, GError **error)
{
    unsigned domain = 0, bus, slot, number;
    int colons = g_strrstr(bdf, ":") != strchr(bdf, ':') ? 2 : 1;
    int length = 0;
    int count = colons == 2
                    ? sscanf(bdf, "%4x:%2x:%2x.%1u%n", &domain, &bus, &slot, &number, &length) - 1
                    : sscanf(bdf, "%2x:%2x.%1u%n", &bus, &slot, &number, &length);

    if (count == 3 && bdf[length] == '\0')
        return g_strdup_printf("%04x:%02x:%02x.%u", domain, bus, slot, number);
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "pci: '%s' is not a device like 0000:01:00.0", bdf);
    return NULL;
}

bool hole_platform_add_host(struct hole_platform *platform, const char *bdf, int devfn,
                            GError **error)
{
    struct hole_function function = { .name = "" };
    g_autofree char *name = full_bdf(bdf, error);

    if (!name)
        return false;
    g_autofree char *dir = g_strdup_printf("/sys/bus/pci/devices/%s", name);
    if (!read_function(dir, &function, error))
        return false;
    g_snprintf(function.name, sizeof(function.name), "host %s", name);
    if (devfn >= 0) {
        function.devfn = devfn;
        g_array_append_val(platform->functions, function);
        return true;
    }
    if (hole_platform_add(platform, &function))
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "pci: the guest's bus has no free slot for %s", name);
    return false;
}
