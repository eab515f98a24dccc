/*
 * Memory as the core wants it (core/platform.h), from UEFI's boot services.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBLK_PAGES_H
#define PVBLK_PAGES_H

#include "ovmf-drivers/core/disk.h"
#include "ovmf-drivers/pvblk/xen.h"
#include "ovmf-drivers/uefi/system-table.h"

/* How far the firmware has gone on its way out. */
enum pages_phase {
    PAGES_BOOTING,
    PAGES_LEAVING, /* memory may still change its type, but none is given back */
    PAGES_LEFT,    /* the memory map is final */
};

/* The first member of whatever is a platform's OPAQUE. */
struct pages {
    struct efi_boot_services *boot;
    struct xen xen;
    enum pages_phase phase;
};

/* These are for struct pv_platform. */
void *pages_new(void *opaque, size_t count, bool lasting);
void pages_free(void *opaque, void *pages, size_t count);
void pages_abandon(void *opaque, void *page, bool lasting);
uint32_t pages_gfn(void *opaque, const void *page);

#endif
