/*
 * A disk behind firmware's own XENBUS protocol (uefi/xenbus.h), as the core wants it: xenstore,
 * grants and events are asked of the protocol, and what it says is checked as a backend's words
 * are.
 *
 * The firmware has the shared info page, so there is neither Xen's clock nor an event to wait for:
 * the clock is the processor's, and waiting is giving the processor away for a moment.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_XENBUS_H
#define PVBLK_XENBUS_H

#include "ovmf-drivers/pvblk/pages.h"
#include "ovmf-drivers/uefi/xenbus.h"

/*
 * edk2's table has 2040 free references, for all drivers; it does not say when they are used up,
 * and goes on with the toolstack's.  All disks together keep to these, and each to a part of those
 * that are left.
 */
#define XENBUS_GRANTS 1536
#define XENBUS_SHARE 4 /* one in four */

#define XENBUS_REFS_MAX 8192

/* What there is once for all disks; zero at first. */
struct xenbus_shared {
    uint32_t grants;                     /* that they have */
    uint32_t used[XENBUS_REFS_MAX / 32]; /* a bit for each reference of these */
    bool store_broken;
};

struct xenbus {
    struct pages pages;
    struct efi_xenbus *bus;
    struct xenbus_shared *shared;
    uint32_t share; /* grants that it may still make */
    uint64_t now;   /* the latest time that was told, µs */
    struct pv_platform platform;
    struct pv_store store;
    struct pv_guest pv;
};

/* A disk's device as xenstore has it ("51712"), a part of BUS; NULL: this is no disk. */
const char *xenbus_device(const struct efi_xenbus *bus);

/* There is nothing to be closed, but BUS and SHARED must be there until the disk is. */
void xenbus_open(struct xenbus *xenbus, const struct xen *xen, struct efi_boot_services *boot,
                 struct efi_xenbus *bus, struct xenbus_shared *shared);

#endif
