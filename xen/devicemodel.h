/*
 * Device-model operations on one guest: ioreq servers, the ranges routed to them, and interrupts.
 *
 * Source: xendevicemodel.h, hvm/dm_op.h.
 * Threads: a handle belongs to one thread at a time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef XEN_DEVICEMODEL_H
#define XEN_DEVICEMODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>
#include <xendevicemodel.h>

struct xen_devicemodel;

struct xen_devicemodel *xen_devicemodel_open(unsigned domid, GError **error);
void xen_devicemodel_close(struct xen_devicemodel *dm); /* NULL is fine */

/*
 * Creates an ioreq server, BUFFERED with a ring for writes that no vCPU waits for, whose reader
 * must move its index atomically.  ENOSPC if the guest has 8.  Destroy it, or accesses hang the
 * guest.
 */
bool xen_devicemodel_create_server(struct xen_devicemodel *dm, bool buffered, ioservid_t *id,
                                   GError **error);

/* Xen's port for the events of that ring. */
bool xen_devicemodel_buffered_port(struct xen_devicemodel *dm, ioservid_t id, evtchn_port_t *port,
                                   GError **error);
void xen_devicemodel_destroy_server(struct xen_devicemodel *dm, ioservid_t id);

/* Xen routes requests to the server only while it is enabled. */
bool xen_devicemodel_enable_server(struct xen_devicemodel *dm, ioservid_t id, GError **error);

/* No new request arrives after this; those in the page can still be answered. */
void xen_devicemodel_disable_server(struct xen_devicemodel *dm, ioservid_t id);

/* What is routed to the server; FIRST and LAST are inclusive, in ports or bytes. */
enum xen_range { XEN_RANGE_PIO, XEN_RANGE_MMIO };
bool xen_devicemodel_map_range(struct xen_devicemodel *dm, ioservid_t id, enum xen_range kind,
                               uint64_t first, uint64_t last, GError **error);
bool xen_devicemodel_unmap_range(struct xen_devicemodel *dm, ioservid_t id, enum xen_range kind,
                                 uint64_t first, uint64_t last, GError **error);

/* Config space of segment 0, bus 0, DEVICE.FUNCTION. */
bool xen_devicemodel_map_pci(struct xen_devicemodel *dm, ioservid_t id, uint8_t device,
                             uint8_t function, GError **error);

/* The level of a line of the function's device on bus 0; PIN is 0 for INTA#. */
bool xen_devicemodel_set_intx(struct xen_devicemodel *dm, uint8_t device, uint8_t pin, bool level,
                              GError **error);

/* A message signalled interrupt, as the guest programmed it. */
bool xen_devicemodel_inject_msi(struct xen_devicemodel *dm, uint64_t address, uint32_t data,
                                GError **error);

/* The number of vCPUs the guest may have, whether online or not. */
bool xen_devicemodel_vcpus(struct xen_devicemodel *dm, unsigned *count, GError **error);

#endif
