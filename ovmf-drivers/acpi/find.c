#include "ovmf-drivers/acpi/find.h"

#include <stdbool.h>

#define STEP 16

#define RSDP_SIZE_V1 20
#define RSDP_SIZE_V2 36
#define RSDP_LENGTH 20

#define SMBIOS_LENGTH 5
#define SMBIOS_SIZE 0x1f
#define SMBIOS_DMI 0x10
#define SMBIOS_DMI_SIZE 15

#define SMBIOS3_LENGTH 6
#define SMBIOS3_SIZE 0x18

/* `left` bytes are there, at least STEP. */
typedef bool (*is_whole)(const uint8_t *at, size_t left);

static bool starts_with(const uint8_t *at, const char *signature)
{
    size_t i = 0;

    while (signature[i] && at[i] == (uint8_t)signature[i])
        i++;
    return signature[i] == 0;
}

static bool sums_to_zero(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum += bytes[i];
    return sum == 0;
}

static bool is_rsdp(const uint8_t *at, size_t left)
{
    uint32_t length;

    if (left < RSDP_SIZE_V1 || !starts_with(at, "RSD PTR ") || !sums_to_zero(at, RSDP_SIZE_V1))
        return false;
    if (at[FIND_RSDP_REVISION] < 2)
        return true;
    if (left < RSDP_SIZE_V2)
        return false;
    length = at[RSDP_LENGTH] | (uint32_t)at[RSDP_LENGTH + 1] << 8 |
             (uint32_t)at[RSDP_LENGTH + 2] << 16 | (uint32_t)at[RSDP_LENGTH + 3] << 24;
    return length >= RSDP_SIZE_V2 && length <= left && sums_to_zero(at, length);
}

static bool is_smbios(const uint8_t *at, size_t left)
{
    uint8_t length = at[SMBIOS_LENGTH];

    /* Version 2.1 said that its length were one less. */
    if (left < SMBIOS_SIZE || !starts_with(at, "_SM_") || length < SMBIOS_SIZE - 1)
        return false;
    return length <= left && sums_to_zero(at, length) && starts_with(at + SMBIOS_DMI, "_DMI_") &&
           sums_to_zero(at + SMBIOS_DMI, SMBIOS_DMI_SIZE);
}

static bool is_smbios3(const uint8_t *at, size_t left)
{
    uint8_t length = at[SMBIOS3_LENGTH];

    return left >= SMBIOS3_SIZE && starts_with(at, "_SM3_") && length >= SMBIOS3_SIZE &&
           length <= left && sums_to_zero(at, length);
}

static size_t find(const uint8_t *area, size_t size, is_whole is_it)
{
    for (size_t at = 0; at < size && size - at >= STEP; at += STEP) {
        if (is_it(area + at, size - at))
            return at;
    }
    return FIND_NOTHING;
}

size_t find_rsdp(const uint8_t *area, size_t size)
{
    return find(area, size, is_rsdp);
}

size_t find_smbios(const uint8_t *area, size_t size)
{
    return find(area, size, is_smbios);
}

size_t find_smbios3(const uint8_t *area, size_t size)
{
    return find(area, size, is_smbios3);
}
