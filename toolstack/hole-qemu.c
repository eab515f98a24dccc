/* QEMU's PCI functions: see hole-qemu.h. */

#include "toolstack/hole-qemu.h"

#include <stdio.h>
#include <string.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define SLOTS 32
#define DEVFN(slot, function) ((slot) << 3 | (function))

/* clang-format off */
#define MEM(bytes) { .size = (bytes), .kind = HOLE_MEMORY32 }
#define MEM64(bytes) { .size = (bytes), .kind = HOLE_MEMORY64 }
#define IO(bytes) { .size = (bytes), .kind = HOLE_IO }
#define ROM(bytes) [HOLE_ROM] = MEM(bytes)

/* What a machine has without being asked: the PIIX3 and PIIX4 (the host bridge has no BARs). */
static const struct hole_function chipset[] = {
    { .name = "host bridge", .devfn = DEVFN(0, 0), .class_code = 0x0600 },
    { .name = "ISA bridge", .devfn = DEVFN(1, 0), .class_code = 0x0601 },
    { .name = "IDE", .devfn = DEVFN(1, 1), .class_code = 0x0101, .bars[4] = IO(16) },
    { .name = "ACPI", .devfn = DEVFN(1, 3), .vendor = 0x8086, .device = 0x7113,
      .class_code = 0x0680 },
};
static const struct hole_function piix3_usb =
    { .name = "piix3-usb-uhci", .devfn = DEVFN(1, 2), .bars[4] = IO(32) };
static const struct hole_function xen_platform =
    { .name = "xen-platform", .bars = { IO(256), MEM(16 * MIB) } };

/* Models of -device; the sizes of ROMs are those of Debian 12's ipxe-qemu and seabios. */
static const struct hole_function models[] = {
    { "VGA", .bars = { MEM(16 * MIB), [2] = MEM(4 * KIB), ROM(64 * KIB) } },
    { "cirrus-vga", .bars = { MEM(32 * MIB), MEM(4 * KIB), ROM(64 * KIB) } },
    { "qxl-vga", .bars = { MEM(64 * MIB), MEM(64 * MIB), MEM(8 * KIB), IO(32), ROM(64 * KIB) } },
    { "rtl8139", .bars = { IO(256), MEM(256), ROM(256 * KIB) } },
    { "e1000", .bars = { MEM(128 * KIB), IO(64), ROM(256 * KIB) } },
    { "e1000e", .bars = { MEM(128 * KIB), MEM(128 * KIB), IO(32), MEM(16 * KIB),
                          ROM(256 * KIB) } },
    { "ne2k_pci", .bars = { IO(256), ROM(256 * KIB) } },
    { "pcnet", .bars = { IO(32), MEM(32), ROM(256 * KIB) } },
    { "vmxnet3", .bars = { MEM(4 * KIB), MEM(4 * KIB), MEM(8 * KIB), ROM(256 * KIB) } },
    { "virtio-net-pci", .bars = { IO(32), MEM(4 * KIB), [4] = MEM64(16 * KIB), ROM(256 * KIB) } },
    { "virtio-serial", .bars = { IO(64), MEM(4 * KIB), [4] = MEM64(16 * KIB) } },
    { "piix3-usb-uhci", .bars[4] = IO(32) },
    { "ich9-usb-ehci1", .bars[0] = MEM(4 * KIB) },
    { "ich9-usb-uhci1", .bars[4] = IO(32) },
    { "ich9-usb-uhci2", .bars[4] = IO(32) },
    { "ich9-usb-uhci3", .bars[4] = IO(32) },
    { "nec-usb-xhci", .bars[0] = MEM64(16 * KIB) },
    { "qemu-xhci", .bars[0] = MEM64(16 * KIB) },
    { "ahci", .bars = { [4] = IO(32), [5] = MEM(4 * KIB) } },
    { "lsi53c895a", .bars = { IO(256), MEM(1 * KIB), MEM(8 * KIB) } },
    { "intel-hda", .bars[0] = MEM(16 * KIB) },
    { "ich9-intel-hda", .bars[0] = MEM(16 * KIB) },
    { "AC97", .bars = { IO(1 * KIB), IO(256) } },
    { "ES1370", .bars[0] = IO(256) },
    { "pci-testdev", .bars = { MEM(4 * KIB), IO(256) } },
};

/* Devices that are on another bus than PCI; a '*' at the end stands for any rest. */
static const char *const elsewhere[] = {
    "usb-*", "ide-*", "scsi-*", "virtserialport", "hda-*", "isa-*", "xen-backend", "tpm-*",
};
/* clang-format on */

/* BARs whose size a property sets. */
static const struct {
    const char *model;
    const char *property;
    unsigned bar;
    enum hole_kind kind;
    uint64_t unit; /* bytes of a number without a suffix */
    uint64_t max;
} sized[] = {
    { "VGA", "vgamem_mb", 0, HOLE_MEMORY32, MIB, 512 * MIB },
    { "qxl-vga", "ram_size_mb", 0, HOLE_MEMORY32, MIB, 2 * GIB },
    { "qxl-vga", "vram_size_mb", 1, HOLE_MEMORY32, MIB, 2 * GIB },
    { "pci-testdev", "membar", 2, HOLE_MEMORY64, 1, UINT64_C(1) << 48 },
};

static unsigned host_address_bits(void)
{
    FILE *info = fopen("/proc/cpuinfo", "re");
    char line[256];
    unsigned bits = 0;

    /* Only the first processor: with many of them the file is slow to read. */
    while (info && bits == 0 && fgets(line, sizeof(line), info)) {
        if (sscanf(line, "address sizes : %u bits", &bits) != 1)
            bits = 0;
    }
    if (info)
        fclose(info);
    return bits >= 36 && bits <= 52 ? bits : 36;
}

struct hole_platform *hole_platform_new(void)
{
    struct hole_platform *platform = g_new0(struct hole_platform, 1);
    platform->address_bits = host_address_bits();
    platform->functions = g_array_new(FALSE, TRUE, sizeof(struct hole_function));
    platform->unknown = g_ptr_array_new_with_free_func(g_free);
    return platform;
}

void hole_platform_free(struct hole_platform *platform)
{
    if (!platform)
        return;
    g_array_unref(platform->functions);
    g_ptr_array_unref(platform->unknown);
    g_free(platform);
}

struct hole_guest hole_platform_guest(const struct hole_platform *platform)
{
    return (struct hole_guest){
        .ram = platform->ram,
        .mmio_hole = platform->mmio_hole,
        .relocate = platform->relocate,
        .address_bits = platform->address_bits,
        .functions = (const struct hole_function *)platform->functions->data,
        .functions_len = platform->functions->len,
    };
}

/* QEMU, too, gives out whole slots; a slot is taken once something is in its function 0. */
bool hole_platform_add(struct hole_platform *platform, struct hole_function *function)
{
    uint32_t taken = 0;

    for (guint i = 0; i < platform->functions->len; i++) {
        uint8_t devfn = g_array_index(platform->functions, struct hole_function, i).devfn;
        if ((devfn & 7) == 0)
            taken |= UINT32_C(1) << (devfn >> 3);
    }
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (taken & UINT32_C(1) << slot)
            continue;
        function->devfn = DEVFN(slot, 0);
        g_array_append_val(platform->functions, *function);
        return true;
    }
    return false;
}

/* The value of KEY among the items behind the first. */
static const char *property(char *const *items, const char *key)
{
    size_t length = strlen(key);
    const char *value = NULL;

    for (char *const *item = items + 1; *item; item++) {
        if (strncmp(*item, key, length) == 0 && (*item)[length] == '=')
            value = *item + length + 1;
    }
    return value;
}

/* As QEMU reads sizes: a number and perhaps one of K, M, G, T.  0 if it is not one. */
static uint64_t read_size(const char *text, uint64_t unit)
{
    char *end;
    uint64_t value = g_ascii_strtoull(text, &end, 0);

    if (*end) {
        const char *letter = strchr("BKMGT", g_ascii_toupper(*end));
        if (!letter || end[1])
            return 0;
        unit = UINT64_C(1) << 10 * (letter - "BKMGT");
    }
    return value <= UINT64_MAX / unit ? value * unit : 0;
}

static uint64_t power_of_two(uint64_t size)
{
    uint64_t power = 1;
    while (power < size && power < UINT64_C(1) << 62)
        power <<= 1;
    return power;
}

static void set_sizes(struct hole_function *function, char *const *items)
{
    for (gsize i = 0; i < G_N_ELEMENTS(sized); i++) {
        const char *text =
            strcmp(sized[i].model, function->name) == 0 ? property(items, sized[i].property) : NULL;
        uint64_t size = text ? read_size(text, sized[i].unit) : 0;
        if (size)
            function->bars[sized[i].bar] =
                (struct hole_bar){ .size = MIN(power_of_two(size), sized[i].max),
                                   .kind = sized[i].kind };
    }
}

/* addr=1d.7 as QEMU reads it: hexadecimal, with or without 0x. */
static bool read_address(const char *text, uint8_t *devfn)
{
    char *end;
    guint64 slot = g_ascii_strtoull(text, &end, 16);
    guint64 function = *end == '.' ? g_ascii_strtoull(end + 1, &end, 16) : 0;

    *devfn = DEVFN(slot & 31, function & 7);
    return *text && !*end && slot < SLOTS && function < 8;
}

static bool is_elsewhere(const char *model)
{
    for (gsize i = 0; i < G_N_ELEMENTS(elsewhere); i++) {
        if (g_pattern_match_simple(elsewhere[i], model))
            return true;
    }
    return false;
}

static void add_device(struct hole_platform *platform, const char *argument)
{
    g_auto(GStrv) items = g_strsplit(argument, ",", -1);
    struct hole_function function = { .name = "" };
    bool known = false;

    if (!items[0] || is_elsewhere(items[0]))
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(models); i++) {
        if (strcmp(models[i].name, items[0]) == 0) {
            function = models[i];
            known = true;
        }
    }
    g_strlcpy(function.name, items[0], sizeof(function.name));
    if (known)
        set_sizes(&function, items);
    else
        g_ptr_array_add(platform->unknown, g_strdup(items[0]));
    const char *rombar = property(items, "rombar");
    if (rombar && strcmp(rombar, "0") == 0)
        function.bars[HOLE_ROM].size = 0;

    const char *address = property(items, "addr");
    if (address && read_address(address, &function.devfn))
        g_array_append_val(platform->functions, function);
    else
        hole_platform_add(platform, &function);
}

/* Several -machine add up, as in QEMU; the machine's own devices come first all the same. */
static void add_machine(struct hole_platform *platform, GPtrArray *arguments)
{
    bool usb = false, xenfv = false;

    for (guint i = 0; i < arguments->len; i++) {
        const char *option = g_ptr_array_index(arguments, i);
        usb |= strcmp(option, "-usb") == 0;
        if (strcmp(option, "-machine") != 0 || i + 1 == arguments->len)
            continue;
        /* What property() does not look at is put before: the type may be missing. */
        g_autofree char *machine = g_strconcat(",", g_ptr_array_index(arguments, i + 1), NULL);
        g_auto(GStrv) items = g_strsplit(machine, ",", -1);
        if (items[1] && !strchr(items[1], '='))
            xenfv = g_str_has_prefix(items[1], "xenfv");
        const char *limit = property(items, "max-ram-below-4g");
        uint64_t bytes = limit ? read_size(limit, 1) : 0;
        if (bytes && bytes < 4 * GIB)
            platform->qemu_hole = (4 * GIB - bytes) / MIB;
    }
    g_array_append_vals(platform->functions, chipset, G_N_ELEMENTS(chipset));
    if (usb)
        g_array_append_val(platform->functions, piix3_usb);
    struct hole_function copy = xen_platform;
    if (xenfv)
        hole_platform_add(platform, &copy);
}

void hole_platform_add_qemu(struct hole_platform *platform, GPtrArray *arguments)
{
    add_machine(platform, arguments);
    for (guint i = 0; i + 1 < arguments->len; i++) {
        const char *option = g_ptr_array_index(arguments, i);
        const char *value = g_ptr_array_index(arguments, i + 1);
        if (strcmp(option, "-m") == 0)
            platform->ram = read_size(value, MIB);
        else if (strcmp(option, "-device") == 0)
            add_device(platform, value);
    }
}
