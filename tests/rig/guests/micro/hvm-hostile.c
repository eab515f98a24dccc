/*
 * A guest that does to the functions of the shmem role (slot 30) and the doorbell (slot 29) what no
 * driver would, for a while: accesses of every width, unaligned, across the ends of windows, with
 * REP in both directions, to configuration space too, which moves the windows about.  In the end
 * both must work as if nothing had been.  Ends with the line `hostile: PASS` or `hostile: FAIL`.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "micro.h"

#include <xen/xen.h>
#include <xen/sched.h>

#ifndef GIGACYCLES
#define GIGACYCLES 75 /* half a minute or so */
#endif

#define CONFIG_ADDRESS 0xCF8
#define CONFIG_DATA 0xCFC
#define COMMAND 0x04
#define BAR0 0x10
#define BAR1 0x14
#define BAR2 0x18
#define BAR3 0x1C

#define SHMEM 30
#define DOORBELL 29
#define SHMEM_WINDOW 0xF1000000
#define SHMEM_MEMORY 0xF2000000
#define DOORBELL_WINDOW 0xF1010000
#define DOORBELL_PORTS 0xC800

static uint32_t random_state = 0x12345678;

static uint32_t random32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

/* --- configuration space --- */

static void select(unsigned slot, unsigned reg)
{
    out32(CONFIG_ADDRESS, 0x80000000 | slot << 11 | (reg & 0xFC));
}

static void set_config(unsigned slot, unsigned reg, uint32_t value)
{
    select(slot, reg);
    out32(CONFIG_DATA, value);
}

/* Where the BARs are at home; everything else about the functions stays as it was made. */
static void restore(void)
{
    set_config(SHMEM, COMMAND, 0);
    set_config(DOORBELL, COMMAND, 0);
    set_config(SHMEM, BAR0, SHMEM_WINDOW);
    set_config(SHMEM, BAR2, SHMEM_MEMORY);
    set_config(SHMEM, BAR3, 0);
    set_config(DOORBELL, BAR0, DOORBELL_WINDOW);
    set_config(DOORBELL, BAR1, DOORBELL_PORTS);
    set_config(SHMEM, COMMAND, 2);
    set_config(DOORBELL, COMMAND, 3);
}

static void attack_config(void)
{
    static const uint32_t favourites[] = {
        0,          1,          3,         0xFFFFFFFF, SHMEM_WINDOW, SHMEM_MEMORY, DOORBELL_WINDOW,
        0xFEE00000, 0xFFFFF000, 0x80000000
    };
    unsigned slot = random32() & 1 ? SHMEM : DOORBELL;
    uint32_t value = random32();
    if (random32() & 1)
        value = favourites[random32() % (sizeof(favourites) / sizeof(favourites[0]))];
    /* Half of the time where it matters. */
    select(slot, random32() & 1 ? BAR0 + random32() % 0x18 : random32());
    uint16_t port = CONFIG_DATA + random32() % 4;
    switch (random32() % 6) {
    case 0:
        out8(port, value);
        break;
    case 1:
        out16(port, value);
        break;
    case 2:
        out32(port, value);
        break;
    case 3:
        in8(port);
        break;
    case 4:
        in16(port);
        break;
    default:
        in32(port);
    }
}

/* --- windows --- */

static uint32_t buffer[4096]; /* what REP reads and writes: more than a page on each side */

static uintptr_t random_target(void)
{
    switch (random32() % 5) {
    case 0:
        return SHMEM_WINDOW + random32() % 272 - 8;
    case 1:
        return DOORBELL_WINDOW + random32() % 4112 - 8;
    case 2:
        return DOORBELL_WINDOW + 0x800 + random32() % 0x60; /* the table of MSI-X */
    case 3:
        return SHMEM_MEMORY + random32() % 0x100010 - 8;
    default:
        return SHMEM_WINDOW + random32() % 16;
    }
}

static void attack_string(uintptr_t target)
{
    uintptr_t ours = (uintptr_t)buffer + 4096 + random32() % 4096;
    uint32_t count = random32() % 900;
    bool down = random32() & 1, out = random32() & 1;
    uintptr_t to = out ? target : ours, from = out ? ours : target;

    if (down)
        __asm__ volatile("std");
    switch (random32() % 3) {
    case 0:
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    case 1:
        __asm__ volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
        break;
    default:
        __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    }
    __asm__ volatile("cld");
}

static void attack_memory(void)
{
    volatile uint8_t *at = (volatile uint8_t *)random_target();
    uint32_t value = random32();
    switch (random32() % 8) {
    case 0:
        *at = value;
        break;
    case 1:
        *(volatile uint16_t *)at = value;
        break;
    case 2:
        *(volatile uint32_t *)at = value;
        break;
    case 3:
        (void)*at;
        break;
    case 4:
        (void)*(volatile uint16_t *)at;
        break;
    case 5:
        (void)*(volatile uint32_t *)at;
        break;
    case 6: /* in one instruction; across pages Xen itself gives up, and so ends the guest */
        at = (volatile uint8_t *)((uintptr_t)at & ~3u);
        __asm__ volatile("lock xaddl %0, (%1)" : "+r"(value) : "r"(at) : "memory");
        break;
    default:
        attack_string((uintptr_t)at);
    }
}

static void attack_ports(void)
{
    uint16_t port = DOORBELL_PORTS + random32() % 24 - 4;
    uint32_t count = random32() % 100;
    void *ours = (uint8_t *)buffer + 4096;
    switch (random32() % 6) {
    case 0:
        out8(port, random32());
        break;
    case 1:
        out16(port, random32());
        break;
    case 2:
        out32(port, random32());
        break;
    case 3:
        in32(port);
        break;
    case 4:
        __asm__ volatile("rep insl" : "+D"(ours), "+c"(count) : "d"(port) : "memory");
        break;
    default:
        __asm__ volatile("rep outsw" : "+S"(ours), "+c"(count) : "d"(port) : "memory");
    }
}

/* --- afterwards --- */

static void check(const char *what, uint32_t value, uint32_t expected)
{
    if (value == expected)
        return;
    say("hostile: FAIL %s: %8x, expected %8x\n", what, value, expected);
    micro_shutdown(SHUTDOWN_poweroff);
}

static uint32_t exchange(uintptr_t at, uint32_t value)
{
    *(volatile uint32_t *)at = value;
    return *(volatile uint32_t *)at;
}

void micro_main(void)
{
    uint32_t accesses = 0;
    uint64_t length = GIGACYCLES * UINT64_C(1000000000), end = __builtin_ia32_rdtsc() + length;
    bool told = false;

    say("hostile: begins\n");
    for (uint64_t now; (now = __builtin_ia32_rdtsc()) < end;) {
        if (!told && end - now < length / 4) {
            say("hostile: last quarter\n");
            told = true;
        }
        if (accesses % 256 == 0)
            restore();
        unsigned kind = random32() % 8;
        if (kind == 0)
            attack_config();
        else if (kind == 1)
            attack_ports();
        else
            attack_memory();
        accesses++;
    }
    restore();
    check("shmem's id", (select(SHMEM, 0), in32(CONFIG_DATA)), 0x11101AF4);
    check("doorbell's id", (select(DOORBELL, 0), in32(CONFIG_DATA)), 0x10F01AF4);
    check("shmem's register", exchange(SHMEM_WINDOW, 0x1234), 0x1234);
    check("doorbell's register", exchange(DOORBELL_WINDOW, 0x5678), 0x5678);
    check("shmem's memory", exchange(SHMEM_MEMORY + 0x1000, 0x9ABC), 0x9ABC);
    out32(DOORBELL_PORTS, 0xDEF0);
    check("doorbell's port", in32(DOORBELL_PORTS), 0xDEF0);
    say("hostile: 0x%x attacks\nhostile: PASS\n", accesses);
    micro_shutdown(SHUTDOWN_poweroff);
}
