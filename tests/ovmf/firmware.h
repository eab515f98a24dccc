/*
 * Firmware that has XENBUS, with a disk, for the whole driver on the host: boot services, the
 * protocol and Xen, all on the same world as the other tests' (world.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TESTS_OVMF_FIRMWARE_H
#define TESTS_OVMF_FIRMWARE_H

#include "ovmf-drivers/uefi/driver.h"
#include "ovmf-drivers/uefi/xenbus.h"
#include "tests/ovmf/world.h"

struct firmware {
    struct world *world;
    struct efi_boot_services boot;
    struct efi_system_table system;
    struct efi_xenbus bus; /* the disk's, and its handle */
    efi_tpl level;
    unsigned requests; /* to xenstore */

    /* What the driver has: */
    struct efi_driver_binding *bindings[2]; /* the disk's, the platform device's */
    unsigned nr_bindings;
    efi_event_notify before_exit, at_exit;
    void *context;     /* of these: the driver */
    unsigned opened;   /* the disk's XENBUS */
    efi_handle handle; /* that has BlockIo; NULL: none */
    unsigned said;     /* lines of the log */
    void *moved;       /* a page on its way to another type */

    /* What goes wrong; all zero: nothing. */
    enum efi_xenbus_status status; /* of each request */
    unsigned dies_after;           /* from this request on there is an I/O error */
    const char *text;              /* instead of each value that is read */
    bool no_text;                  /* NULL instead of it */
    bool one_ref;                  /* the same reference again and again */
    bool toolstack_refs;           /* one of the toolstack's */
    unsigned grabs;                /* the backend maps the last 3 of so many grants at once */
    bool no_port;
    bool in_use; /* nobody may take BlockIo away */
};

/* One for all, because boot services are not told whose they are. */
extern struct firmware firmware;

/* A new world, with the image started in it. */
void firmware_start(void);

#endif
