/*
 * A simulated vCPU: issues accesses as an HVM guest's instructions would, routed to ioreq servers
 * by Xen's rules, and waits for their answers.
 *
 * Source: Xen's common/ioreq.c and arch/x86/hvm/{emulate,io,ioreq}.c, hvm/ioreq.h.
 * Threads: each vCPU belongs to one thread; different vCPUs run at the same time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef GUEST_VCPU_H
#define GUEST_VCPU_H

#include <stdint.h>
#include <xen/hvm/ioreq.h>

#include "tests/sim/guest/guest.h"

enum vcpu_outcome {
    VCPU_ANSWERED,  /* a server answered; *data is its answer */
    VCPU_UNCLAIMED, /* no server has the address: reads are all-ones, writes dropped */
    VCPU_TIMEOUT,   /* no answer came in time; the request is still in the page, unless the server
                       was destroyed: then the vCPU waits for ever, as it does on Xen */
    VCPU_CRASHED,   /* the server broke the protocol, and Xen crashed the domain */
};

/*
 * Issues REQUEST (type, addr, data, size, count, dir, df, data_is_ptr; the rest is filled in) as
 * vCPU number VCPU.  The data of a read comes back in request->data.  TIMEOUT_MS -1: for ever.
 * A PCI access is type IOREQ_TYPE_PCI_CONFIG with addr = SBDF << 32 | register.
 */
enum vcpu_outcome vcpu_issue(struct guest *guest, unsigned vcpu, ioreq_t *request, int timeout_ms);

/*
 * The same for a write that Xen buffers, as it does for the legacy VGA window: on the server's
 * ring, without an answer.  VCPU_UNCLAIMED if no server has the address or its ring cannot take it.
 */
enum vcpu_outcome vcpu_issue_buffered(struct guest *guest, ioreq_t *request);

/* The usual ones, on vCPU 0, waiting 10 s; reads are all-ones unless answered. */
uint64_t vcpu_in(struct guest *guest, uint16_t port, unsigned size);
void vcpu_out(struct guest *guest, uint16_t port, unsigned size, uint32_t value);
uint64_t vcpu_load(struct guest *guest, uint64_t address, unsigned size);
void vcpu_store(struct guest *guest, uint64_t address, unsigned size, uint64_t value);
uint32_t vcpu_config_read(struct guest *guest, unsigned device, unsigned function, unsigned reg,
                          unsigned size);
void vcpu_config_write(struct guest *guest, unsigned device, unsigned function, unsigned reg,
                       unsigned size, uint32_t value);

/* Did Xen crash the domain, and why?  NULL if not. */
const char *vcpu_crash_reason(struct guest *guest);

/* INTx levels and MSIs that emulators raised, for tests to count. */
unsigned vcpu_intx_level(struct guest *guest, unsigned device, unsigned intx);
unsigned vcpu_msi_count(struct guest *guest, uint64_t address, uint32_t data);

#endif
