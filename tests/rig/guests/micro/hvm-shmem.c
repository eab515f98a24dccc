/*
 * Uses the shmem role's PCI function as a driver would, and as none would.  Ends with the line
 * `shmem: PASS`, or `shmem: FAIL` and what was wrong, and powers off.
 *
 * Under QEMU it can be pointed at the real ivshmem-plain; what QEMU does differently from the
 * specification or leaves open is then not checked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "micro.h"

#include <xen/xen.h>
#include <xen/sched.h>

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA 0xCFC
#define CONFIG_ENABLE 0x80000000

#define ID 0x00
#define COMMAND 0x04
#define COMMAND_MEMORY 0x0002
#define CLASS_REVISION 0x08
#define BAR0 0x10
#define INTERRUPT_LINE 0x3C

#define SHMEM_ID 0x11101AF4
#define ONES 0xFFFFFFFF
#define BAR_SIZE 0x100
#define FIRST_PLACE 0xF0000000
#define SECOND_PLACE 0xF1000000

#define INTR_MASK 0x0
#define INTR_STATUS 0x4
#define IV_POSITION 0x8
#define DOORBELL 0xC

static unsigned slot;

static void select(unsigned reg)
{
    out32(CONFIG_ADDRESS, CONFIG_ENABLE | slot << 11 | (reg & 0xFC));
}

static uint32_t config(unsigned reg)
{
    select(reg);
    return in32(CONFIG_DATA);
}

static void set_config(unsigned reg, uint32_t value)
{
    select(reg);
    out32(CONFIG_DATA, value);
}

static void set_decoding(bool on)
{
    select(COMMAND);
    out16(CONFIG_DATA, on ? COMMAND_MEMORY : 0);
}

/* Accesses of one size each, which the compiler must not change. */
static uint8_t read8(uintptr_t address)
{
    uint8_t value;
    __asm__ volatile("movb (%1), %0" : "=q"(value) : "r"(address) : "memory");
    return value;
}

static uint16_t read16(uintptr_t address)
{
    uint16_t value;
    __asm__ volatile("movw (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static uint32_t read32(uintptr_t address)
{
    uint32_t value;
    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static uint64_t read64(uintptr_t address)
{
    uint64_t value;
    __asm__ volatile("movq (%1), %%xmm0\n\tmovq %%xmm0, %0"
                     : "=m"(value)
                     : "r"(address)
                     : "memory");
    return value;
}

static void write8(uintptr_t address, uint8_t value)
{
    __asm__ volatile("movb %1, (%0)" : : "r"(address), "q"(value) : "memory");
}

static void write16(uintptr_t address, uint16_t value)
{
    __asm__ volatile("movw %1, (%0)" : : "r"(address), "r"(value) : "memory");
}

static void write32(uintptr_t address, uint32_t value)
{
    __asm__ volatile("movl %1, (%0)" : : "r"(address), "r"(value) : "memory");
}

static void write64(uintptr_t address, uint64_t value)
{
    __asm__ volatile("movq %1, %%xmm0\n\tmovq %%xmm0, (%0)"
                     :
                     : "r"(address), "m"(value)
                     : "memory");
}

/* String instructions, which reach a device model as one request with a pointer and a count. */
static void move32(uintptr_t to, uintptr_t from, unsigned count)
{
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void move32_down(uintptr_t to, uintptr_t from, unsigned count)
{
    __asm__ volatile("std\n\trep movsl\n\tcld" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void fill32(uintptr_t to, uint32_t value, unsigned count)
{
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

static void in32_string(void *to, uint16_t port, unsigned count)
{
    __asm__ volatile("rep insl" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}

static _Noreturn void fail(const char *what, uint64_t value, uint64_t expected)
{
    say("shmem: FAIL %s: %8x%8x, expected %8x%8x\n", what, (uint32_t)(value >> 32), (uint32_t)value,
        (uint32_t)(expected >> 32), (uint32_t)expected);
    micro_shutdown(SHUTDOWN_poweroff);
}

static void check(const char *what, uint64_t value, uint64_t expected)
{
    if (value != expected)
        fail(what, value, expected);
}

/* Where nobody answers, a read gives all-ones; QEMU's empty memory gives zeros. */
static void check_nobody(const char *what, uintptr_t address)
{
    check(what, read32(address), micro_on_xen() ? ONES : 0);
}

static void find(void)
{
    for (slot = 0; slot < 32; slot++) {
        if (config(ID) == SHMEM_ID) {
            say("shmem: found 00:%2x.0\n", slot);
            return;
        }
    }
    fail("no function 1af4:1110", 0, SHMEM_ID);
}

static void check_header(void)
{
    check("class and revision", config(CLASS_REVISION), 0x05000001);
    set_config(ID, 0);
    check("read-only id", config(ID), SHMEM_ID);

    select(INTERRUPT_LINE);
    out8(CONFIG_DATA, 0x5A);
    check("config read8", in8(CONFIG_DATA), 0x5A);
    select(ID);
    check("config read8 at 3", in8(CONFIG_DATA + 3), 0x11);
    check("config read16 at 2", in16(CONFIG_DATA + 2), 0x1110);
    if (micro_on_xen()) {
        check("config read16 at 1", in16(CONFIG_DATA + 1), 0x101A);
        uint32_t ids[3] = { 0 };
        in32_string(ids, CONFIG_DATA, 3);
        for (unsigned i = 0; i < 3; i++)
            check("config rep insl", ids[i], SHMEM_ID);
        select(0xFC);
        check("config read32 past the end", in32(CONFIG_DATA + 3), ONES);
    }
    say("config ok\n");
}

static void size_bar(void)
{
    set_decoding(false);
    set_config(BAR0, ONES);
    uint32_t mask = config(BAR0);
    check("bar0 flags", mask & 0xF, 0);
    say("bar0 size 0x%x\n", -mask);
    check("bar0 size", -mask, BAR_SIZE);
}

static void place_bar(uint32_t address)
{
    set_config(BAR0, address);
    check("bar0 address", config(BAR0), address);
}

/* What the specification says and QEMU does. */
static void check_registers(uintptr_t bar)
{
    write32(bar + INTR_MASK, 0xA1B2C3D4);
    check("mask", read32(bar + INTR_MASK), 0xA1B2C3D4);
    write32(bar + INTR_STATUS, 5);
    check("status", read32(bar + INTR_STATUS), 5);
    check("status read again", read32(bar + INTR_STATUS), 0);
    write32(bar + IV_POSITION, 7);
    check("position", read32(bar + IV_POSITION), 0);
    write32(bar + DOORBELL, 0x10001);
    check("mask after doorbell", read32(bar + INTR_MASK), 0xA1B2C3D4);
    say("read32 ok\n");

    check("read8 of mask", read8(bar + INTR_MASK), 0xD4);
    check("read16 of mask", read16(bar + INTR_MASK), 0xC3D4);
    say("read8 ok\nread16 ok\n");

    write32(bar + INTR_STATUS, 9);
    check("read64", read64(bar + INTR_MASK), 0x9A1B2C3D4);
    check("status after read64", read32(bar + INTR_STATUS), 0);
    write64(bar + INTR_MASK, 0x300000002);
    check("mask after write64", read32(bar + INTR_MASK), 2);
    check("status after write64", read32(bar + INTR_STATUS), 3);
    say("read64 ok\n");
}

/* Parts of registers and several at once, wherever they begin. */
static void check_parts(uintptr_t bar)
{
    write32(bar + INTR_MASK, 0x44332211);
    for (unsigned i = 0; i < 4; i++)
        check("read8 in mask", read8(bar + i), 0x11 * (i + 1));
    check("read16 in mask", read16(bar + 1), 0x3322);
    write8(bar + 2, 0xAA);
    write16(bar + 0, 0xBBCC);
    check("mask after parts", read32(bar), 0x44AABBCC);
    write32(bar + 2, 0x99887766);
    check("mask after write across", read32(bar + INTR_MASK), 0x7766BBCC);
    check("read across", read32(bar + 2), 0x99887766);
    check("status after read across", read32(bar + INTR_STATUS), 0);

    write32(bar + INTR_MASK, 0x01020304);
    check("doorbell read", read32(bar + DOORBELL), ONES);
    check("position and doorbell", read64(bar + IV_POSITION), 0xFFFFFFFF00000000);
    for (unsigned offset = 0x10; offset < BAR_SIZE; offset += 0x3C) {
        write32(bar + offset, 0);
        check("unknown register, read32", read32(bar + offset), ONES);
        check("unknown register, read8", read8(bar + offset), 0xFF);
    }
    check("mask after unknown registers", read32(bar + INTR_MASK), 0x01020304);
    check("read across the end", read32(bar + BAR_SIZE - 2), ONES);
    say("parts ok\n");
}

static void check_strings(uintptr_t bar)
{
    uint32_t data[4] = { 0x11111111, 0x22222222, 0x33333333, 0x44444444 };
    move32(bar, (uintptr_t)data, 4);
    check("mask after string", read32(bar + INTR_MASK), 0x11111111);
    move32((uintptr_t)data, bar, 4);
    check("string, mask", data[0], 0x11111111);
    check("string, status", data[1], 0x22222222);
    check("string, position", data[2], 0);
    check("string, doorbell", data[3], ONES);

    data[0] = 0x55555555;
    data[1] = 0x66666666;
    move32_down(bar + INTR_STATUS, (uintptr_t)&data[1], 2);
    move32_down((uintptr_t)&data[3], bar + INTR_STATUS, 2);
    check("string downwards, mask", data[2], 0x55555555);
    check("string downwards, status", data[3], 0x66666666);

    fill32(bar, 0x77777777, 3);
    check("fill, mask", read32(bar + INTR_MASK), 0x77777777);
    check("fill, status", read32(bar + INTR_STATUS), 0x77777777);
    say("strings ok\n");
}

static void check_moves(void)
{
    write32(FIRST_PLACE + INTR_MASK, 0xFEEDC0DE);
    place_bar(SECOND_PLACE);
    check_nobody("the old place", FIRST_PLACE + INTR_MASK);
    check("the new place", read32(SECOND_PLACE + INTR_MASK), 0xFEEDC0DE);
    set_decoding(false);
    check_nobody("with decoding off", SECOND_PLACE + INTR_MASK);
    set_decoding(true);
    check("with decoding on", read32(SECOND_PLACE + INTR_MASK), 0xFEEDC0DE);

    set_config(BAR0, ONES);
    check_nobody("while being sized", SECOND_PLACE + INTR_MASK);
    place_bar(FIRST_PLACE);
    check("back again", read32(FIRST_PLACE + INTR_MASK), 0xFEEDC0DE);
    say("moves ok\n");
}

void micro_main(void)
{
    find();
    check_header();
    size_bar();
    place_bar(FIRST_PLACE);
    check_nobody("before decoding", FIRST_PLACE);
    set_decoding(true);
    check_registers(FIRST_PLACE);
    if (micro_on_xen()) {
        check_parts(FIRST_PLACE);
        check_strings(FIRST_PLACE);
    }
    check_moves();
    say("shmem: PASS\n");
    micro_shutdown(SHUTDOWN_poweroff);
}
