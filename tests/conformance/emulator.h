/*
 * Emulators that print what they are asked, and the guest that they make ask: see conformance.h and
 * accesses.h.
 *
 * Each emulator is an ioreq server with a letter.  It answers a read with bytes of which the upper
 * half is its letter (A: 0xa0) and the lower half the number of the element in the request.  One
 * more server, without a letter, has the ports by which the guest is led.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <xen/hvm/ioreq.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>

#include "tests/conformance/accesses.h"

struct emulator {
    char letter;
    ioservid_t id;
    bool hold;    /* leave requests unanswered */
    bool holding; /* and there is one */
    unsigned invalidations;
    volatile struct ioreq *slots; /* one for each vCPU */
    xenforeignmemory_resource_handle *resource;
    evtchn_port_t port; /* of vCPU 0, the only one that does anything */
};

/* The guest, and our handles for it. */
struct host {
    unsigned domid;
    xendevicemodel_handle *dm;
    xenforeignmemory_handle *memory;
    xenevtchn_handle *evtchn;
};
extern struct host host;

/* Opens the handles and waits until the guest asks what to do.  They are never closed. */
void host_open(unsigned domid);

/* A new server, with its page mapped, enabled and bound. */
struct emulator *emulator_new(char letter);
void emulator_destroy(struct emulator *emulator);

/* Gives it ranges; LAST belongs to them. */
void emulator_claim_ports(struct emulator *emulator, uint64_t first, uint64_t last);
void emulator_claim_memory(struct emulator *emulator, uint64_t first, uint64_t last);
void emulator_claim_pci(struct emulator *emulator, unsigned bus, unsigned function);

/* Lets go of the page and the ports, as the death of a process does; and takes them again. */
void emulator_detach(struct emulator *emulator);
void emulator_attach(struct emulator *emulator);

/* Puts STATE into the slot of vCPU 0, with NOTIFY sends the event that tells Xen to look. */
void emulator_set_state(struct emulator *emulator, unsigned state, bool notify);

/* Answers the request that it holds. */
void emulator_answer(struct emulator *emulator);

/* The guest makes the accesses of STEP, until the last is done or somebody holds a request. */
void guest_makes(enum access_step step);

/* The guest begins with the first access of STEP. */
void guest_starts(enum access_step step);

/* Prints whether the guest goes on after that, which it should (or should not), and what it got. */
void guest_goes_on(const char *after);
void guest_waits(const char *after);

#endif
