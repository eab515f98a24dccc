/*
 * What the guest of the conformance set does: one list for the micro guest in the rig, which makes
 * these accesses with real instructions, and for the simulated vCPU.
 *
 * The guest does nothing of its own accord.  It reads SYNC_PORT, 4 bytes, which gives the index of
 * an access or, as long as nobody is there to answer, all-ones; makes that access; writes what it
 * got to the two RESULT ports, 4 bytes each: the first four bytes that it read and the last four
 * (zeros for what it did not read).  Then it reads SYNC_PORT again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef ACCESSES_H
#define ACCESSES_H

#include <stdint.h>

#define SYNC_PORT 0x6F00
#define RESULT_FIRST_PORT 0x6F04
#define RESULT_LAST_PORT 0x6F08
#define CONTROL_PORTS_END 0x6F0B

/* The guest's memory for string instructions, where nothing else of its memory is. */
#define BUFFER 0x800000
#define BUFFER_PAGES 4

/* What the tests claim: ports and, where no RAM is, memory. */
#define PORTS 0x7000
#define MEMORY 0xE0000000

#define CF8 0xCF8
#define CFC 0xCFC
/* Function F of device 5 on bus 0. */
#define CONFIG_DEVICE 5
#define CONFIG(f, reg) (0x80000000 | CONFIG_DEVICE << 11 | (f) << 8 | (reg))
#define CONFIG_BUS_1(reg) (CONFIG(0, reg) | 1 << 16)

/* What a plain write writes, as much of it as fits, and rep stos. */
#define PLAIN_VALUE UINT64_C(0x8877665544332211)

enum access_kind {
    ACCESS_IN,
    ACCESS_OUT,
    ACCESS_INS,  /* rep ins: a port to BUFFER + offset */
    ACCESS_OUTS, /* rep outs: BUFFER + offset to a port */
    ACCESS_LOAD,
    ACCESS_STORE,
    ACCESS_LOADS,      /* rep movs: memory to BUFFER + offset */
    ACCESS_STORES,     /* rep movs: BUFFER + offset to memory */
    ACCESS_FILL,       /* rep stos */
    ACCESS_INVALIDATE, /* a hypercall after which emulators must forget their mappings */
};

/* Accesses of one step belong together. */
enum access_step {
    STEP_PROBE,
    STEP_SIZES,
    STEP_EDGES,
    STEP_JOINT,
    STEP_PARTIAL,
    STEP_STRINGS,
    STEP_LONG_STRINGS,
    STEP_MEMORY,
    STEP_MEMORY_PAGES,
    STEP_MEMORY_EDGES,
    STEP_MEMORY_STRINGS,
    STEP_UNCLAIMED,
    STEP_PCI,
    STEP_PCI_FUNCTIONS,
    STEP_PCI_DISABLED,
    STEP_INVALIDATE,
};

struct access {
    uint8_t step, kind;
    uint8_t size;    /* of one element */
    uint8_t down;    /* strings: with the direction flag set */
    uint16_t count;  /* strings: elements */
    uint16_t offset; /* strings: of the first element, in BUFFER */
    uint32_t address;
    uint32_t value; /* out: what to write, if not 0 */
};

#define PLAIN(step, what, size, address, value)                                                    \
    {                                                                                              \
        STEP_##step, ACCESS_##what, size, 0, 1, 0, address, value                                  \
    }
#define STRING(step, what, size, address, count, offset, down)                                     \
    {                                                                                              \
        STEP_##step, ACCESS_##what, size, down, count, offset, address, 0                          \
    }
#define UP 0
#define DOWN 1

static const struct access accesses[] = {
    PLAIN(PROBE, IN, 4, PORTS, 0),

    PLAIN(SIZES, IN, 1, PORTS, 0),
    PLAIN(SIZES, IN, 2, PORTS, 0),
    PLAIN(SIZES, IN, 4, PORTS, 0),
    PLAIN(SIZES, IN, 4, PORTS + 1, 0),
    PLAIN(SIZES, OUT, 1, PORTS, 0),
    PLAIN(SIZES, OUT, 2, PORTS, 0),
    PLAIN(SIZES, OUT, 4, PORTS, 0),
    PLAIN(SIZES, OUT, 2, PORTS + 3, 0),

    PLAIN(EDGES, IN, 4, PORTS + 0xC, 0),
    PLAIN(EDGES, IN, 1, PORTS + 0xF, 0),
    PLAIN(EDGES, IN, 4, PORTS + 0xD, 0),
    PLAIN(EDGES, IN, 2, PORTS + 0xF, 0),
    PLAIN(EDGES, IN, 1, PORTS + 0x10, 0),
    PLAIN(EDGES, IN, 4, PORTS - 2, 0),
    PLAIN(EDGES, OUT, 4, PORTS + 0xE, 0),

    PLAIN(JOINT, IN, 4, PORTS + 0xE, 0),

    PLAIN(PARTIAL, IN, 4, PORTS, 0),
    PLAIN(PARTIAL, IN, 2, PORTS + 1, 0),
    PLAIN(PARTIAL, IN, 2, PORTS + 2, 0),
    PLAIN(PARTIAL, IN, 1, PORTS + 3, 0),

    STRING(STRINGS, INS, 1, PORTS, 5, 0, UP),
    STRING(STRINGS, INS, 4, PORTS, 3, 0, UP),
    STRING(STRINGS, INS, 2, PORTS, 3, 16, DOWN),
    STRING(STRINGS, INS, 4, PORTS, 1, 0, UP),
    STRING(STRINGS, INS, 4, PORTS, 0, 0, UP),
    STRING(STRINGS, INS, 4, PORTS + 0xE, 2, 0, UP),
    STRING(STRINGS, OUTS, 1, PORTS, 5, 0, UP),
    STRING(STRINGS, OUTS, 4, PORTS, 3, 0, UP),
    STRING(STRINGS, OUTS, 4, PORTS, 3, 16, DOWN),

    STRING(LONG_STRINGS, INS, 4, PORTS, 3, 4090, UP),
    STRING(LONG_STRINGS, INS, 4, PORTS, 1500, 0, UP),
    STRING(LONG_STRINGS, INS, 1, PORTS, 5000, 0, UP),
    STRING(LONG_STRINGS, INS, 4, PORTS, 4, 4100, DOWN),
    STRING(LONG_STRINGS, OUTS, 2, PORTS, 4, 4091, UP),

    PLAIN(MEMORY, LOAD, 1, MEMORY + 3, 0),
    PLAIN(MEMORY, LOAD, 2, MEMORY + 1, 0),
    PLAIN(MEMORY, LOAD, 4, MEMORY + 5, 0),
    PLAIN(MEMORY, LOAD, 8, MEMORY + 8, 0),
    PLAIN(MEMORY, LOAD, 16, MEMORY + 16, 0),
    PLAIN(MEMORY, LOAD, 8, MEMORY + 0xFFC, 0),
    PLAIN(MEMORY, LOAD, 4, MEMORY + 0xFFF, 0),
    PLAIN(MEMORY, STORE, 1, MEMORY + 3, 0),
    PLAIN(MEMORY, STORE, 2, MEMORY + 1, 0),
    PLAIN(MEMORY, STORE, 4, MEMORY + 5, 0),
    PLAIN(MEMORY, STORE, 8, MEMORY + 8, 0),
    PLAIN(MEMORY, STORE, 8, MEMORY + 0xFFC, 0),

    STRING(MEMORY_PAGES, LOADS, 4, MEMORY + 0xFF8, 4, 0, UP),
    STRING(MEMORY_PAGES, LOADS, 4, MEMORY + 0xFFA, 3, 0, UP),
    STRING(MEMORY_PAGES, LOADS, 2, MEMORY + 0xFFC, 2, 0, UP),
    STRING(MEMORY_PAGES, LOADS, 4, MEMORY + 0x1004, 4, 16, DOWN),
    STRING(MEMORY_PAGES, LOADS, 4, MEMORY, 4, 4088, UP),
    STRING(MEMORY_PAGES, STORES, 4, MEMORY + 0xFF8, 4, 0, UP),
    STRING(MEMORY_PAGES, STORES, 4, MEMORY, 4, 4088, UP),
    STRING(MEMORY_PAGES, FILL, 4, MEMORY + 0xFF8, 4, 0, UP),
    STRING(MEMORY_PAGES, FILL, 4, MEMORY + 0xFFA, 3, 0, UP),
    STRING(MEMORY_PAGES, FILL, 4, MEMORY + 0x1004, 4, 0, DOWN),

    PLAIN(MEMORY_EDGES, LOAD, 4, MEMORY + 0x10, 0),
    PLAIN(MEMORY_EDGES, LOAD, 2, MEMORY + 0x14, 0),
    PLAIN(MEMORY_EDGES, LOAD, 4, MEMORY + 0x14, 0),
    PLAIN(MEMORY_EDGES, LOAD, 4, MEMORY + 0xE, 0),
    PLAIN(MEMORY_EDGES, LOAD, 8, MEMORY + 0x10, 0),
    PLAIN(MEMORY_EDGES, LOAD, 8, MEMORY + 0xFFC, 0),

    STRING(MEMORY_STRINGS, LOADS, 4, MEMORY, 3, 0, UP),
    STRING(MEMORY_STRINGS, LOADS, 1, MEMORY + 1, 5, 0, UP),
    STRING(MEMORY_STRINGS, LOADS, 4, MEMORY + 8, 3, 16, DOWN),
    STRING(MEMORY_STRINGS, STORES, 4, MEMORY, 3, 0, UP),
    STRING(MEMORY_STRINGS, STORES, 4, MEMORY + 8, 3, 16, DOWN),
    STRING(MEMORY_STRINGS, FILL, 4, MEMORY, 3, 0, UP),
    STRING(MEMORY_STRINGS, FILL, 1, MEMORY, 5, 0, UP),
    STRING(MEMORY_STRINGS, LOADS, 4, MEMORY + 0x18, 2, 0, UP),
    STRING(MEMORY_STRINGS, LOADS, 4, MEMORY + 0x18, 4, 0, UP),
    STRING(MEMORY_STRINGS, LOADS, 4, MEMORY + 8, 4, 16, DOWN),

    PLAIN(UNCLAIMED, IN, 1, PORTS, 0),
    PLAIN(UNCLAIMED, IN, 2, PORTS, 0),
    PLAIN(UNCLAIMED, IN, 4, PORTS, 0),
    PLAIN(UNCLAIMED, OUT, 4, PORTS, 0),
    STRING(UNCLAIMED, INS, 4, PORTS, 3, 0, UP),
    PLAIN(UNCLAIMED, LOAD, 1, MEMORY, 0),
    PLAIN(UNCLAIMED, LOAD, 8, MEMORY, 0),
    PLAIN(UNCLAIMED, STORE, 4, MEMORY, 0),
    STRING(UNCLAIMED, LOADS, 4, MEMORY, 3, 0, UP),
    PLAIN(UNCLAIMED, OUT, 4, CF8, CONFIG(0, 0x10)),
    PLAIN(UNCLAIMED, IN, 4, CF8, 0),
    PLAIN(UNCLAIMED, IN, 4, CFC, 0),

    PLAIN(PCI, OUT, 4, CF8, CONFIG(0, 0x10)),
    PLAIN(PCI, IN, 4, CFC, 0),
    PLAIN(PCI, IN, 2, CFC, 0),
    PLAIN(PCI, IN, 2, CFC + 2, 0),
    PLAIN(PCI, IN, 1, CFC + 3, 0),
    PLAIN(PCI, IN, 2, CFC + 1, 0),
    PLAIN(PCI, IN, 4, CFC + 2, 0),
    PLAIN(PCI, IN, 2, CFC - 1, 0),
    PLAIN(PCI, OUT, 4, CFC, 0),
    PLAIN(PCI, OUT, 2, CFC + 2, 0),
    PLAIN(PCI, OUT, 1, CFC + 1, 0),
    STRING(PCI, INS, 4, CFC, 3, 0, UP),
    PLAIN(PCI, OUT, 1, CF8, 0),
    PLAIN(PCI, OUT, 2, CF8, 0),
    PLAIN(PCI, IN, 4, CFC, 0),
    PLAIN(PCI, OUT, 4, CF8, CONFIG(0, 0x13)),
    PLAIN(PCI, IN, 4, CFC, 0),
    PLAIN(PCI, OUT, 4, CF8, CONFIG(0, 0xFC)),
    PLAIN(PCI, IN, 4, CFC, 0),
    PLAIN(PCI, IN, 4, CFC + 3, 0),

    PLAIN(PCI_FUNCTIONS, OUT, 4, CF8, CONFIG(0, 0)),
    PLAIN(PCI_FUNCTIONS, IN, 4, CFC, 0),
    PLAIN(PCI_FUNCTIONS, OUT, 4, CF8, CONFIG(1, 0)),
    PLAIN(PCI_FUNCTIONS, IN, 4, CFC, 0),
    PLAIN(PCI_FUNCTIONS, OUT, 4, CF8, CONFIG(2, 0)),
    PLAIN(PCI_FUNCTIONS, IN, 4, CFC, 0),
    PLAIN(PCI_FUNCTIONS, OUT, 4, CFC, 0),
    PLAIN(PCI_FUNCTIONS, OUT, 4, CF8, CONFIG_BUS_1(0)),
    PLAIN(PCI_FUNCTIONS, IN, 4, CFC, 0),

    PLAIN(PCI_DISABLED, OUT, 4, CF8, CONFIG(0, 0) & 0x7FFFFFFF),
    PLAIN(PCI_DISABLED, IN, 4, CFC, 0),

    { .step = STEP_INVALIDATE, .kind = ACCESS_INVALIDATE },
};

#define ACCESSES (sizeof(accesses) / sizeof(accesses[0]))

/* --- what the guest does beside the access itself --- */

static inline uint64_t access_value(const struct access *a)
{
    return a->value ? a->value : PLAIN_VALUE;
}

/* Before a string: what will be overwritten is 0x5a, what will be written 1, 2, 3... */
static inline void access_prepare(const struct access *a, uint8_t *buffer)
{
    int read = a->kind == ACCESS_INS || a->kind == ACCESS_LOADS;
    for (unsigned i = 0; i < BUFFER_PAGES * 4096; i++)
        buffer[i] = read ? 0x5A : i + 1;
}

/* The results to write, from LENGTH bytes that were read. */
static inline void access_result(const void *bytes, unsigned length, uint32_t *first,
                                 uint32_t *last)
{
    __builtin_memcpy(first, bytes, 4);
    if (length > 4)
        __builtin_memcpy(last, (const char *)bytes + length - 4, 4);
}

/* The same after a string; with the direction flag its last element has the lowest address. */
static inline void access_string_result(const struct access *a, const uint8_t *buffer,
                                        uint32_t *first, uint32_t *last)
{
    unsigned length = a->size * a->count;
    access_result(buffer + a->offset - (a->down ? length - a->size : 0), length, first, last);
}

#endif
