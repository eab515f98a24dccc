/*
 * This guest's side of Xen, as the core wants it (core/platform.h), on UEFI's boot services.
 *
 * The shared info page and the grant table are put into the memory BAR of the Xen platform device,
 * which has no other use: no memory is taken from the operating system, and when it maps these
 * pages where it wants them, they leave a hole where nobody looks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_GUEST_H
#define PVBLK_GUEST_H

#include "ovmf-drivers/core/grants.h"
#include "ovmf-drivers/pvblk/pages.h"

struct xen_shared_info;

struct guest {
    struct pages pages;
    uint64_t first_gfn; /* of what is mapped */
    uint32_t nr_grant_frames;
    volatile struct xen_shared_info *shared; /* NULL: not open */
    uint64_t now;                            /* the latest time that was told, µs */
    struct pv_platform platform;
    struct pv_grants grants;
    struct pv_store store;
    struct pv_guest pv;
};

/* Maps what is needed from ADDRESS on, where there are LENGTH bytes without any use. */
efi_status guest_open(struct guest *guest, const struct xen *xen, struct efi_boot_services *boot,
                      uint64_t address, uint64_t length);

/* Takes it away again.  All disks must be closed; a guest that is not open stays so. */
void guest_close(struct guest *guest);

#endif
