/* A guest's PCI hole from its xl.cfg: see hole-config.h. */

#include "toolstack/hole-config.h"

#include <string.h>

#include "toolstack/cmdline.h"
#include "toolstack/hole-xlcfg.h"

#define MIB (UINT64_C(1) << 20)

/* Far above what a host has. */
#define MEMORY_MAX_MIB (UINT64_C(1) << 24)

/* xl's kinds of vga=, how libxl gives them to QEMU, and the videoram they have by default. */
static const struct {
    const char *name;
    const char *device; /* NULL for none */
    unsigned videoram;  /* MiB */
    unsigned parts;     /* of videoram that the device is told of */
} vga_kinds[] = {
    { "stdvga", "VGA", 16, 1 },
    { "cirrus", "cirrus-vga", 8, 1 },
    { "qxl", "qxl-vga", 128, 2 },
    { "none", NULL, 0, 1 },
};

static const struct {
    const char *name;
    const char *devices;
} sound_cards[] = {
    { "hda", "intel-hda" },
    { "intel-hda", "intel-hda" },
    { "ac97", "AC97" },
    { "es1370", "ES1370" },
};

static void append(GPtrArray *arguments, const char *option, const char *value)
{
    g_ptr_array_add(arguments, g_strdup(option));
    g_ptr_array_add(arguments, g_strdup(value));
}

static bool refuse(const struct xlcfg *cfg, GError **error, const char *name, const char *value,
                   const char *what)
{
    unsigned line = xlcfg_line(cfg, name);
    g_autofree char *where = line ? g_strdup_printf("line %u: ", line) : g_strdup("");

    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "%s%s: '%s' %s", where, name,
                value, what);
    return false;
}

/* The machine and the memory: neither has a place in the order of devices. */
static bool add_machine(const struct xlcfg *cfg, guint64 videoram, guint64 *hole,
                        GPtrArray *arguments, GError **error)
{
    guint64 memory, maxmem, platform_pci;

    if (!xlcfg_number(cfg, "memory", 1, MEMORY_MAX_MIB, 0, &memory, error) ||
        !xlcfg_number(cfg, "maxmem", 1, MEMORY_MAX_MIB, memory, &maxmem, error) ||
        !xlcfg_number(cfg, "xen_platform_pci", 0, 1, 1, &platform_pci, error) ||
        !xlcfg_number(cfg, "mmio_hole", HOLE_MIN_MIB, HOLE_MAX_MIB, 0, hole, error))
        return false;
    maxmem = MAX(memory, maxmem);
    if (maxmem <= videoram) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "memory = %" G_GUINT64_FORMAT " leaves nothing beside videoram", maxmem);
        return false;
    }
    g_autoptr(GString) machine = g_string_new(platform_pci ? "xenfv" : "pc,accel=xen");
    if (*hole)
        g_string_append_printf(machine, ",max-ram-below-4g=%" G_GUINT64_FORMAT,
                               4096 * MIB - *hole * MIB);
    g_autofree char *ram = g_strdup_printf("%" G_GUINT64_FORMAT, maxmem - videoram);
    append(arguments, "-machine", machine->str);
    append(arguments, "-m", ram);
    return true;
}

static bool add_vga(const struct xlcfg *cfg, guint64 *videoram, GPtrArray *arguments,
                    GError **error)
{
    const char *kind;
    guint64 stdvga;

    if (!xlcfg_number(cfg, "stdvga", 0, 1, 0, &stdvga, error) ||
        !xlcfg_string(cfg, "vga", stdvga ? "stdvga" : "cirrus", &kind, error))
        return false;
    for (gsize i = 0; i < G_N_ELEMENTS(vga_kinds); i++) {
        if (strcmp(vga_kinds[i].name, kind) != 0)
            continue;
        if (!xlcfg_number(cfg, "videoram", 0, 4096, vga_kinds[i].videoram, videoram, error))
            return false;
        unsigned size = *videoram / vga_kinds[i].parts;
        g_autofree char *text = NULL;
        if (strcmp(kind, "qxl") == 0)
            text = g_strdup_printf("qxl-vga,vram_size_mb=%u,ram_size_mb=%u", size, size);
        else if (vga_kinds[i].device)
            text = g_strdup_printf("%s,vgamem_mb=%u", vga_kinds[i].device, size);
        if (text)
            append(arguments, "-device", text);
        return true;
    }
    return refuse(cfg, error, "vga", kind, "is not one of stdvga, cirrus, qxl and none");
}

/* libxl gives -usb, a controller of usbversion's kind, or neither. */
static bool add_usb(const struct xlcfg *cfg, GPtrArray *arguments, GError **error)
{
    guint64 usb, version;
    char *const *devices = xlcfg_list(cfg, "usbdevice");

    if (!xlcfg_number(cfg, "usb", 0, 1, 0, &usb, error) ||
        !xlcfg_number(cfg, "usbversion", 1, 3, 0, &version, error))
        return false;
    if (usb || *devices) {
        g_ptr_array_add(arguments, g_strdup("-usb"));
    } else if (version == 1) {
        append(arguments, "-device", "piix3-usb-uhci");
    } else if (version == 2) {
        append(arguments, "-device", "ich9-usb-ehci1,addr=1d.7");
        append(arguments, "-device", "ich9-usb-uhci1,addr=1d.0");
        append(arguments, "-device", "ich9-usb-uhci2,addr=1d.1");
        append(arguments, "-device", "ich9-usb-uhci3,addr=1d.2");
    } else if (version == 3) {
        append(arguments, "-device", "nec-usb-xhci");
    }
    return true;
}

static bool add_sound(const struct xlcfg *cfg, GPtrArray *arguments, GError **error)
{
    const char *cards;

    if (!xlcfg_string(cfg, "soundhw", "", &cards, error))
        return false;
    g_auto(GStrv) names = g_strsplit(cards, ",", -1);
    for (char **name = names; *name; name++) {
        for (gsize i = 0; i < G_N_ELEMENTS(sound_cards); i++) {
            if (strcmp(sound_cards[i].name, *name) == 0)
                append(arguments, "-device", sound_cards[i].devices);
        }
    }
    return true;
}

/* What vif= items say of KEY, or FALLBACK. */
static char *vif_value(char *const *items, const char *key, const char *fallback)
{
    for (; *items; items++) {
        g_auto(GStrv) pair = g_strsplit(*items, "=", 2);
        if (g_strv_length(pair) == 2 && strcmp(g_strstrip(pair[0]), key) == 0)
            return g_strdup(g_strstrip(pair[1]));
    }
    return g_strdup(fallback);
}

static void add_nics(const struct xlcfg *cfg, GPtrArray *arguments)
{
    for (char *const *vif = xlcfg_list(cfg, "vif"); *vif; vif++) {
        g_auto(GStrv) items = g_strsplit(*vif, ",", -1);
        g_autofree char *type = vif_value(items, "type", "ioemu");
        g_autofree char *model = vif_value(items, "model", "rtl8139");
        if (strcmp(type, "vif") != 0 && strcmp(model, "netfront") != 0)
            append(arguments, "-device", model);
    }
}

static bool has_scsi_disk(const struct xlcfg *cfg)
{
    for (char *const *disk = xlcfg_list(cfg, "disk"); *disk; disk++) {
        if (g_regex_match_simple("(^|,|=)\\s*sd[a-z]+\\s*(,|$)", *disk, 0, 0) &&
            !strstr(*disk, "cdrom"))
            return true;
    }
    return false;
}

static void add_list(const struct xlcfg *cfg, const char *name, GPtrArray *arguments)
{
    for (char *const *argument = xlcfg_list(cfg, name); *argument; argument++)
        g_ptr_array_add(arguments, g_strdup(*argument));
}

/* libxl's arguments, as far as they show in the hole, in libxl's order. */
static GPtrArray *make_arguments(const struct xlcfg *cfg, guint64 *hole, GError **error)
{
    g_autoptr(GPtrArray) arguments = g_ptr_array_new_with_free_func(g_free);
    const char *hdtype;
    guint64 spice, agent, videoram;

    g_ptr_array_add(arguments, g_strdup("rolemodel-dm"));
    append(arguments, "-xen-domid", "1"); /* any; there must be one */
    if (!xlcfg_string(cfg, "hdtype", "ide", &hdtype, error) ||
        !xlcfg_number(cfg, "spice", 0, 1, 0, &spice, error) ||
        !xlcfg_number(cfg, "spicevdagent", 0, 1, 0, &agent, error))
        return NULL;
    if (has_scsi_disk(cfg))
        append(arguments, "-device", "lsi53c895a");
    if (spice && agent)
        append(arguments, "-device", "virtio-serial");
    if (!add_vga(cfg, &videoram, arguments, error) || !add_usb(cfg, arguments, error) ||
        !add_sound(cfg, arguments, error))
        return NULL;
    add_nics(cfg, arguments);
    add_list(cfg, "device_model_args", arguments);
    if (!add_machine(cfg, videoram, hole, arguments, error))
        return NULL;
    add_list(cfg, "device_model_args_hvm", arguments);
    if (strcmp(hdtype, "ahci") == 0)
        append(arguments, "-device", "ahci");
    return g_steal_pointer(&arguments);
}

bool hole_platform_add_role(struct hole_platform *platform, const struct role *role,
                            char *const *options, GError **error)
{
    struct hole_function function = { .name = "" };

    if (!role->pci)
        return true;
    if (!role->pci(options, &function, error))
        return false;
    g_strlcpy(function.name, role->name, sizeof(function.name));
    g_array_append_val(platform->functions, function);
    return true;
}

static bool add_roles(struct hole_platform *platform, const struct xlcfg *cfg,
                      const struct role *const *roles, const struct dm_cmdline *cmdline,
                      GError **error)
{
    for (guint i = 0; i < cmdline->roles->len; i++) {
        const struct dm_role_request *request = g_ptr_array_index(cmdline->roles, i);
        g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
        for (guint j = 0; j < request->settings->len; j++) {
            const struct dm_keyval *setting = g_ptr_array_index(request->settings, j);
            g_autofree char *option = g_strdup_printf("%s=%s", setting->key, setting->value);
            g_strv_builder_add(builder, option);
        }
        g_auto(GStrv) options = g_strv_builder_end(builder);
        const struct role *const *role = roles;
        while (*role && strcmp((*role)->name, request->name) != 0)
            role++;
        if (!*role)
            return refuse(cfg, error, "device_model_args", request->name, "is not a role");
        if (!request->off && !hole_platform_add_role(platform, *role, options, error))
            return false;
    }
    return true;
}

static bool add_host_devices(struct hole_platform *platform, const struct xlcfg *cfg,
                             GError **error)
{
    for (char *const *pci = xlcfg_list(cfg, "pci"); *pci; pci++) {
        g_auto(GStrv) items = g_strsplit(*pci, ",", 2);
        if (strchr(items[0], '@') || strchr(items[0], '='))
            return refuse(cfg, error, "pci", *pci, "is more than [DOMAIN:]BUS:DEVICE.FUNCTION");
        if (!hole_platform_add_host(platform, items[0], -1, error))
            return false;
    }
    return true;
}

static bool is_hvm(const struct xlcfg *cfg, GError **error)
{
    const char *type, *builder;

    if (!xlcfg_string(cfg, "type", NULL, &type, error) ||
        !xlcfg_string(cfg, "builder", "generic", &builder, error))
        return false;
    if (strcmp(type ? type : builder, "hvm") != 0)
        return refuse(cfg, error, "type", type ? type : "pv", "has no PCI hole, only 'hvm' has");
    return true;
}

struct hole_platform *hole_config_read(const struct role *const *roles, const char *text,
                                       GError **error)
{
    struct hole_platform *platform = NULL;
    struct xlcfg *cfg = xlcfg_parse(text, error);
    g_autoptr(GPtrArray) arguments = NULL;
    guint64 hole;

    if (cfg && is_hvm(cfg, error))
        arguments = make_arguments(cfg, &hole, error);
    struct dm_cmdline *cmdline =
        arguments ? dm_cmdline_parse(arguments->len, (char *const *)arguments->pdata, error) : NULL;
    if (cmdline) {
        platform = hole_platform_new();
        platform->mmio_hole = hole;
        hole_platform_add_qemu(platform, cmdline->arguments);
        if (!add_roles(platform, cfg, roles, cmdline, error) ||
            !add_host_devices(platform, cfg, error)) {
            hole_platform_free(platform);
            platform = NULL;
        }
    }
    dm_cmdline_free(cmdline);
    xlcfg_free(cfg);
    return platform;
}
