/*
 * /dev/xen/gntdev and /dev/xen/gntalloc: who has which grants mapped, and which pages of dom0 are
 * shared with whom, kept where it can be undone when the process is gone.
 *
 * Source: Linux's gntdev.c and gntalloc.c.
 * Errors: negative errno.
 * Threads: any; everything here takes the hypervisor's lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_GNTDEV_H
#define HYPERVISOR_GNTDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/hypervisor/user.h"

#define SIM_MAPS 65536         /* mapped grants of a host, by all processes together */
#define SIM_MAPS_REQUEST 65536 /* gntdev's parameter "limit": grants of one mapping */
#define SIM_SHARES 1024        /* gntalloc's parameter "limit": pages shared by all users */
#define SIM_SHARES_FRAME 4096  /* the first of dom0's frames that gntalloc hands out */
#define SIM_SHARES_REF 8192    /* and the first of their grant references */

/* What happens at the end of a mapping. */
struct sim_unmap_notify {
    uint32_t offset; /* of a byte in the mapping to be cleared; SIM_NO_BYTE: none */
    uint32_t port;   /* to be notified through; SIM_NO_PORT: none */
};
#define SIM_NO_BYTE UINT32_MAX
#define SIM_NO_PORT UINT32_MAX

/* A mapped grant.  Those of one mapping are adjacent; the first knows what is of all of them. */
struct sim_map {
    sim_user_id user; /* SIM_KERNEL: free */
    uint32_t ref, frame;
    uint32_t generation; /* of the domain */
    uint16_t domid;
    bool writable;
    uint32_t count; /* 0 but for the first */
    uint64_t address;
    struct sim_unmap_notify notify;
};

/* A page of dom0 that gntalloc shares; its frame and reference follow from its index. */
struct sim_share {
    sim_user_id user; /* SIM_KERNEL: free */
    bool ending;      /* unshared, but the other domain still has it mapped */
    uint32_t count;   /* 0 but for the first */
    uint64_t address;
    struct sim_unmap_notify notify;
};

struct sim_gntdev {
    uint32_t maps_used; /* from here on all are free */
    struct sim_map maps[SIM_MAPS];
    struct sim_share shares[SIM_SHARES];
};

/* Maps REFS[i] of DOMIDS[i * STRIDE] at adjacent addresses. */
struct sim_map_request {
    uint32_t count;
    const uint32_t *refs, *domids;
    unsigned stride;
    int prot; /* PROT_* */
    struct sim_unmap_notify notify;
};
int sim_gntdev_map(sim_user_id user, const struct sim_map_request *request, void **address);
int sim_gntdev_unmap(sim_user_id user, void *address, uint32_t count);

/* Shares COUNT zeroed pages of dom0 with DOMID and maps them here. */
struct sim_share_request {
    unsigned domid;
    uint32_t count;
    bool writable;
    struct sim_unmap_notify notify;
};
int sim_gntalloc_share(sim_user_id user, const struct sim_share_request *request, uint32_t *refs,
                       void **address);
int sim_gntalloc_unshare(sim_user_id user, void *address, uint32_t count);

/* Does USER have anything mapped or shared? */
bool sim_gntdev_busy(sim_user_id user);

/* Ends what USER had.  Lock held. */
void sim_gntdev_user_gone(sim_user_id user);

/* Ends the use of the entry by those who are dead. */
void sim_gntdev_reap_mappers(unsigned domid, uint32_t ref);

#endif
