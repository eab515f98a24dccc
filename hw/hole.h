/*
 * The PCI hole of an HVM guest: where hvmloader will put each BAR, and what will find no room.
 *
 * hvmloader's rules, as of Xen 4.17.4 (and 4.18 to 4.20):
 *
 * - Bus 0 is scanned in order of device and function; BARs 0 to 5, then the ROM.  A 64-bit BAR
 *   takes two of the six.  A function of class 0680 that is not the PIIX4's stops the guest.
 * - BARs are placed from the largest to the smallest, equal ones in the order of the scan, each at
 *   the next multiple of its size.  I/O ports begin at 0xC000 and end with 0xFFFF.
 * - The low hole ends at 0xFC000000.  It begins at 4 GiB - mmio_hole; without that at 0xF0000000,
 *   and then the address is doubled (0xE0000000, 0xC0000000, 0x80000000) as long as the hole is
 *   smaller than the sum of the memory BARs and, unless hvmloader may move RAM
 *   (hvmloader/allow-memory-relocate, which libxl sets to 0 for QEMU), no RAM is in the way.
 * - 64-bit BARs above 1 GiB always go above 4 GiB and do not count in that sum.  If there is one,
 *   or if the hole is too small, other 64-bit BARs go there too while the sum of what is still to
 *   be placed is larger than what is left of the hole: the largest ones first.
 * - A 32-bit BAR above 1 GiB counts in the sum until the end, even once it has been placed.
 * - So a BAR of 2 GiB cannot be low: its only place would end at 4 GiB, behind the hole's end.
 * - The high hole begins behind the RAM above 4 GiB and ends where the vCPU's addresses do.
 * - ROMs and 32-bit BARs are always low.  Prefetchable makes no difference.
 * - What does not fit is left unset ("no space for resource!") and the guest starts without it.
 *
 * Reserved device memory (RMRRs, xl.cfg's rdm=) would shift BARs; it is not considered.
 *
 * Source: tools/firmware/hvmloader/pci.c, pci_setup(); tools/libs/light/libxl_dom.c and
 * tools/libs/guest/xg_dom_x86.c for the RAM.
 * Threads: any; there is no global state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_HOLE_H
#define HW_HOLE_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/* The six BARs and, as the last one, the expansion ROM. */
#define HOLE_BARS 7
#define HOLE_ROM 6

/* Where the low hole ends: then come the pages of Xen and of the platform. */
#define HOLE_END UINT32_C(0xFC000000)

/* What xl takes as mmio_hole, in MiB; 0 in struct hole_guest is hvmloader's default. */
#define HOLE_MIN_MIB 256
#define HOLE_MAX_MIB 3840

enum hole_kind {
    HOLE_MEMORY32, /* and ROMs */
    HOLE_MEMORY64,
    HOLE_IO,
};

/* SIZE is a power of two in bytes, or 0 where there is no BAR. */
struct hole_bar {
    uint64_t size;
    enum hole_kind kind;
};

struct hole_function {
    char name[32]; /* for people */
    uint8_t devfn; /* device << 3 | function */
    uint16_t vendor;
    uint16_t device;
    uint16_t class_code; /* base class << 8 | sub-class */
    struct hole_bar bars[HOLE_BARS];
};

struct hole_guest {
    uint64_t ram;          /* bytes at start, without what belongs to the VGA */
    unsigned mmio_hole;    /* MiB, or 0 */
    bool relocate;         /* hvmloader may move RAM */
    unsigned address_bits; /* of a vCPU's physical addresses */
    const struct hole_function *functions;
    guint functions_len;
};

struct hole_placement {
    const struct hole_function *function;
    unsigned bar;
    bool fits;
    uint64_t address; /* if it fits */
};

struct hole_map {
    uint64_t hole_start; /* the low hole */
    uint64_t hole_end;
    uint64_t low_ram_end;
    uint64_t high_ram_end;                 /* 4 GiB if there is no RAM above */
    const struct hole_function *fatal;     /* stops hvmloader by its class; NULL if none does */
    const struct hole_placement *homeless; /* the first that does not fit; NULL if all do */
    struct hole_placement *placements;     /* in hvmloader's order */
    guint placements_len;
};

/* FUNCTIONS of the guest must outlive the map. */
struct hole_map *hole_map_new(const struct hole_guest *guest);
void hole_map_free(struct hole_map *map);

/* The offset of BAR in configuration space, as hvmloader names it. */
unsigned hole_bar_offset(unsigned bar);

/*
 * The smallest mmio_hole in MiB that makes everything fit; 0 if it is not set and need not be; -1
 * if no value does.
 */
int hole_smallest(const struct hole_guest *guest);

#endif
