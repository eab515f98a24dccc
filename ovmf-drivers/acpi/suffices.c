#include "ovmf-drivers/acpi/suffices.h"
#include "ovmf-drivers/acpi/find.h"
#include "ovmf-drivers/uefi/memory.h"

/* ACPI 6.4, §5.2.5.3, §5.2.6 to §5.2.8. */
#define RSDP_RSDT 16
#define RSDP_XSDT 24
#define TABLE_LENGTH 4
#define TABLE_HEADER_SIZE 36
#define TABLE_SIZE_MAX 4096

static uint64_t number(const uint8_t *at, size_t size)
{
    uint64_t value = 0;

    memcpy(&value, at, size);
    return value;
}

/* `table` is an XSDT or RSDT, of pointers of `width` bytes. */
static bool lists_fadt(const uint8_t *table, size_t width)
{
    uint64_t length = number(table + TABLE_LENGTH, 4);

    if (length > TABLE_SIZE_MAX)
        length = TABLE_SIZE_MAX;
    for (size_t at = TABLE_HEADER_SIZE; at + width <= length; at += width) {
        const uint8_t *entry = (const uint8_t *)(uintptr_t)number(table + at, width);

        if (entry && memcmp(entry, "FACP", 4) == 0)
            return true;
    }
    return false;
}

bool acpi_suffices(const void *rsdp)
{
    const uint8_t *bytes = rsdp;
    uint64_t xsdt = bytes[FIND_RSDP_REVISION] >= 2 ? number(bytes + RSDP_XSDT, 8) : 0;
    uint64_t rsdt = number(bytes + RSDP_RSDT, 4);

    return (xsdt && lists_fadt((const uint8_t *)(uintptr_t)xsdt, 8)) ||
           (rsdt && lists_fadt((const uint8_t *)(uintptr_t)rsdt, 4));
}
