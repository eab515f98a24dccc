/* What hvmloader has left in PCI configuration space: see bios.S. */

#include "micro.h"

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA 0xCFC
#define ID 0x00
#define HEADER_TYPE 0x0C
#define MULTIFUNCTION (1u << 23)
#define BAR0 0x10
#define BAR5 0x24
#define ROM 0x30
#define NOBODY 0xFFFFFFFF

static uint32_t config(unsigned devfn, unsigned offset)
{
    out32(CONFIG_ADDRESS, 0x80000000 | devfn << 8 | offset);
    return in32(CONFIG_DATA);
}

static void put(char character)
{
    out8(0xE9, character);
}

static void put_hex(uint32_t value, unsigned digits)
{
    while (digits--)
        put("0123456789abcdef"[value >> (4 * digits) & 0xF]);
}

static void tell(unsigned devfn, unsigned offset)
{
    uint32_t value = config(devfn, offset);
    if (!value)
        return;
    for (const char *text = "config "; *text; text++)
        put(*text);
    put_hex(devfn >> 3, 2);
    put(':');
    put_hex(devfn & 7, 1);
    put(' ');
    put_hex(offset, 2);
    put(' ');
    put_hex(value, 8);
    put('\n');
}

void bios_main(void);
void bios_main(void)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        if (config(devfn, ID) == NOBODY)
            continue;
        for (unsigned offset = BAR0; offset <= BAR5; offset += 4)
            tell(devfn, offset);
        tell(devfn, ROM);
        if (devfn % 8 == 0 && !(config(devfn, HEADER_TYPE) & MULTIFUNCTION))
            devfn += 7;
    }
}
