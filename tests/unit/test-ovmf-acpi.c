/* What XenAcpi finds below 1 MiB, and which tables of the firmware's own it lets stand. */

#include <string.h>
#include <sys/mman.h>
#include <glib.h>

#include "ovmf-drivers/acpi/find.h"
#include "ovmf-drivers/acpi/suffices.h"
#include "ovmf-drivers/acpi/tables.h"

#define AREA 4096

static uint8_t area[AREA];

static void empty_area(void)
{
    memset(area, 0, sizeof(area));
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* Makes `size` bytes sum up to zero by the one at `sum`. */
static void set_sum(uint8_t *bytes, size_t size, size_t sum)
{
    uint8_t total = 0;

    bytes[sum] = 0;
    for (size_t i = 0; i < size; i++)
        total += bytes[i];
    bytes[sum] = -total;
}

static void put_rsdp(uint8_t *at, uint8_t revision, uint32_t length)
{
    memcpy(at, "RSD PTR ", 8);
    at[15] = revision;
    put32(at + 16, 0xfc00a000);
    set_sum(at, 20, 8);
    if (revision >= 2) {
        put32(at + 20, length);
        set_sum(at, 36, 32);
    }
}

static void put_smbios(uint8_t *at, uint8_t length)
{
    memcpy(at, "_SM_", 4);
    at[5] = length;
    memcpy(at + 16, "_DMI_", 5);
    at[22] = 77;
    set_sum(at + 16, 15, 5);
    set_sum(at, length, 4);
}

static void put_smbios3(uint8_t *at)
{
    memcpy(at, "_SM3_", 5);
    at[6] = 0x18;
    at[16] = 99;
    set_sum(at, 0x18, 5);
}

/* Every bit of the structure counts: with any one changed, it is not found. */
static void every_bit_counts(size_t at, size_t size, size_t (*find)(const uint8_t *, size_t))
{
    g_assert_cmpuint(find(area, AREA), ==, at);
    for (size_t bit = 0; bit < size * 8; bit++) {
        area[at + bit / 8] ^= 1u << bit % 8;
        g_assert_cmpuint(find(area, AREA), ==, FIND_NOTHING);
        area[at + bit / 8] ^= 1u << bit % 8;
    }
}

static void test_rsdp(void)
{
    empty_area();
    g_assert_cmpuint(find_rsdp(area, AREA), ==, FIND_NOTHING);
    put_rsdp(area + 32, 0, 0);
    every_bit_counts(32, 15, find_rsdp);

    put_rsdp(area + 32, 2, 36);
    every_bit_counts(32, 36, find_rsdp);

    /* One that is not whole does not hide the next. */
    put_rsdp(area + 512, 2, 36);
    area[32 + 33] ^= 1;
    g_assert_cmpuint(find_rsdp(area, AREA), ==, 512);
}

static void test_rsdp_place(void)
{
    empty_area();
    put_rsdp(area + 40, 2, 36);
    g_assert_cmpuint(find_rsdp(area, AREA), ==, FIND_NOTHING);
    put_rsdp(area + AREA - 48, 2, 36);
    g_assert_cmpuint(find_rsdp(area, AREA), ==, AREA - 48);
    for (size_t size = 0; size < AREA - 48 + 36; size++)
        g_assert_cmpuint(find_rsdp(area, size), ==, FIND_NOTHING);
}

/* Lengths that would reach out of the area; a copy of the right size shows it to the sanitizers. */
static void test_rsdp_length(void)
{
    static const uint32_t lengths[] = { 0, 20, 35, 37, 65, 0x7fffffff, 0x80000000, UINT32_MAX };

    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autofree uint8_t *exact = g_malloc0(64);

        put_rsdp(exact, 2, lengths[i]);
        g_assert_cmpuint(find_rsdp(exact, 64), ==, lengths[i] == 37 ? 0 : FIND_NOTHING);
    }
}

static void test_smbios(void)
{
    empty_area();
    put_smbios(area + 64, 0x1f);
    g_assert_cmpuint(find_smbios(area, AREA), ==, 64);
    every_bit_counts(64, 31, find_smbios);
    put_smbios(area + 64, 0x1e);
    g_assert_cmpuint(find_smbios(area, AREA), ==, 64);
    put_smbios(area + 64, 0x10);
    g_assert_cmpuint(find_smbios(area, AREA), ==, FIND_NOTHING);
    empty_area();
    put_smbios(area + AREA - 32, 0x1f);
    g_assert_cmpuint(find_smbios(area, AREA - 2), ==, FIND_NOTHING);
    g_assert_cmpuint(find_smbios(area, AREA), ==, AREA - 32);

    /* Lengths that reach out of the area, beyond which all is zero and the sum right. */
    put_smbios(area + 128, 0x1f);
    area[128 + 4] -= 0xff - 0x1f;
    area[128 + 5] = 0xff;
    g_assert_cmpuint(find_smbios(area, AREA), ==, 128);
    g_assert_cmpuint(find_smbios(area, 128 + 0xfe), ==, FIND_NOTHING);

    empty_area();
    g_assert_cmpuint(find_smbios3(area, AREA), ==, FIND_NOTHING);
    put_smbios3(area + 128);
    every_bit_counts(128, 24, find_smbios3);
    area[128 + 5] -= 0xff - 0x18;
    area[128 + 6] = 0xff;
    g_assert_cmpuint(find_smbios3(area, AREA), ==, 128);
    g_assert_cmpuint(find_smbios3(area, 128 + 0xfe), ==, FIND_NOTHING);
}

/* A page below 4 GiB, because an RSDT has pointers of 32 bits. */
static uint8_t *low_page(void)
{
    uint8_t *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

    g_assert_true(page != MAP_FAILED);
    return page;
}

/* `page`: an RSDP, at 256 its table, at 1024 and 2048 two tables that this lists. */
static void put_tables(uint8_t *page, size_t width, const char *first, const char *second)
{
    uint64_t tables[2] = { (uintptr_t)page + 1024, (uintptr_t)page + 2048 };
    uint64_t list = (uintptr_t)page + 256;

    memset(page, 0, 4096);
    page[15] = width == 8 ? 2 : 0;
    memcpy(page + (width == 8 ? 24 : 16), &list, width);
    put32(page + 256 + 4, 36 + 2 * width);
    memcpy(page + 256 + 36, &tables[0], width);
    memcpy(page + 256 + 36 + width, &tables[1], width);
    memcpy(page + 1024, first, 4);
    memcpy(page + 2048, second, 4);
}

static void test_suffices(void)
{
    uint8_t *page = low_page();

    memset(page, 0, 4096);
    g_assert_false(acpi_suffices(page));
    for (size_t width = 4; width <= 8; width += 4) {
        put_tables(page, width, "BGRT", "FPDT");
        g_assert_false(acpi_suffices(page));
        put_tables(page, width, "BGRT", "FACP");
        g_assert_true(acpi_suffices(page));
        put32(page + 256 + 4, 36 + width); /* only the first */
        g_assert_false(acpi_suffices(page));
        put32(page + 256 + 4, 3);
        g_assert_false(acpi_suffices(page));
        put_tables(page, width, "FACP", "BGRT");
        put32(page + 256 + 4, UINT32_MAX);
        g_assert_true(acpi_suffices(page));
    }
    munmap(page, 4096);
}

/* Firmware with up to four configuration tables. */
static struct {
    struct efi_system_table system;
    struct efi_boot_services boot;
    struct efi_configuration_table tables[4];
    unsigned installs, lines;
    efi_status status;
} firmware;

static void *published(const struct efi_guid *guid)
{
    for (size_t i = 0; i < firmware.system.table_count; i++) {
        if (efi_guid_equal(&firmware.tables[i].guid, guid))
            return firmware.tables[i].table;
    }
    return NULL;
}

static efi_status EFIAPI publish(const struct efi_guid *guid, void *table)
{
    size_t i = 0;

    if (firmware.status != EFI_SUCCESS)
        return firmware.status;
    while (i < firmware.system.table_count && !efi_guid_equal(&firmware.tables[i].guid, guid))
        i++;
    g_assert_cmpuint(i, <, G_N_ELEMENTS(firmware.tables));
    firmware.tables[i] = (struct efi_configuration_table){ *guid, table };
    if (i == firmware.system.table_count)
        firmware.system.table_count++;
    return EFI_SUCCESS;
}

static efi_status EFIAPI ours_published(const struct efi_guid *guid, void *table)
{
    firmware.installs++;
    return publish(guid, table);
}

void debug_port_say(struct debug_port *port, const char *format, ...)
{
    firmware.lines++;
}

/* Tables in `area` as hvmloader leaves them, and firmware that has none. */
static struct tables *new_world(uint8_t revision)
{
    static struct tables tables;

    memset(&firmware, 0, sizeof(firmware));
    firmware.system.boot = &firmware.boot;
    firmware.system.tables = firmware.tables;
    firmware.boot.install_configuration_table = ours_published;
    empty_area();
    put_rsdp(area + 32, revision, 36);
    put_smbios(area + 128, 0x1f);
    tables_find(&tables, &firmware.system, NULL, area, AREA);
    return &tables;
}

static void test_install(void)
{
    struct tables *tables = new_world(2);

    tables_install(tables);
    g_assert_true(published(&efi_acpi_20_table_guid) == area + 32);
    g_assert_true(published(&efi_smbios_table_guid) == area + 128);
    g_assert_cmpuint(firmware.system.table_count, ==, 2);
    tables_install(tables);
    g_assert_cmpuint(firmware.installs, ==, 2);

    tables_install(new_world(0));
    g_assert_true(published(&efi_acpi_10_table_guid) == area + 32);
    g_assert_null(published(&efi_acpi_20_table_guid));
}

static void test_install_nothing(void)
{
    struct tables *tables = new_world(2);

    empty_area();
    tables_find(tables, &firmware.system, NULL, area, AREA);
    tables_install(tables);
    g_assert_cmpuint(firmware.installs, ==, 0);
}

/* Firmware's own stand if they are any use, whether they come before ours or after. */
static void test_firmware_has_tables(void)
{
    struct tables *tables = new_world(2);
    uint8_t *page = low_page(), smbios[32] = { 0 };

    put_tables(page, 8, "BGRT", "FACP");
    publish(&efi_acpi_20_table_guid, page);
    publish(&efi_smbios_table_guid, smbios);
    tables_install(tables);
    g_assert_cmpuint(firmware.installs, ==, 0);

    put_tables(page, 8, "BGRT", "FPDT");
    tables_install(tables);
    g_assert_cmpuint(firmware.installs, ==, 1);
    g_assert_true(published(&efi_acpi_20_table_guid) == area + 32);
    g_assert_true(published(&efi_smbios_table_guid) == smbios);
    munmap(page, 4096);
}

static void test_install_bounded(void)
{
    struct tables *tables = new_world(2);
    uint8_t *page = low_page();

    put_tables(page, 8, "BGRT", "FPDT");
    for (unsigned i = 0; i < 2 * TABLES_INSTALLS_MAX; i++) {
        publish(&efi_acpi_20_table_guid, page);
        tables_install(tables);
    }
    g_assert_cmpuint(firmware.installs, ==, TABLES_INSTALLS_MAX);
    munmap(page, 4096);

    tables = new_world(2);
    firmware.status = EFI_OUT_OF_RESOURCES;
    for (unsigned i = 0; i < 2 * TABLES_INSTALLS_MAX; i++)
        tables_install(tables);
    g_assert_cmpuint(firmware.installs, ==, TABLES_INSTALLS_MAX);
    g_assert_cmpuint(firmware.lines, ==, TABLES_INSTALLS_MAX);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi/rsdp", test_rsdp);
    g_test_add_func("/acpi/rsdp-place", test_rsdp_place);
    g_test_add_func("/acpi/rsdp-length", test_rsdp_length);
    g_test_add_func("/acpi/smbios", test_smbios);
    g_test_add_func("/acpi/suffices", test_suffices);
    g_test_add_func("/acpi/install", test_install);
    g_test_add_func("/acpi/install-nothing", test_install_nothing);
    g_test_add_func("/acpi/firmware-has-tables", test_firmware_has_tables);
    g_test_add_func("/acpi/install-bounded", test_install_bounded);
    return g_test_run();
}
