/*
 * Ioreq servers: which emulator gets which of a guest's accesses, and the pages through which
 * Xen asks it.  The vCPU's half of a request is in guest/vcpu.c.
 *
 * The rules are those of Xen 4.17: 8 servers a domain, of 256 ranges of each type; the lowest free
 * id is given out and the highest id that has the whole access gets it; only the domain that
 * created a server may use it; ranges that touch become one.
 *
 * Errors: 0 or a negative errno, as the hypercalls.
 * Threads: any, in any process, without the lock, except where it says "lock held".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_IOREQ_H
#define HYPERVISOR_IOREQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <xen/hvm/ioreq.h>

#include "tests/sim/hypervisor/physmap.h"
#include "tests/sim/hypervisor/rangeset.h"

#define SIM_IOREQ_SERVERS 8
#define SIM_IOREQ_PAGE 4096
#define SIM_IOREQ_VCPUS (SIM_IOREQ_PAGE / sizeof(struct ioreq))
#define SIM_MSIS 64 /* different MSIs that are counted */

#define SIM_NO_GFN UINT64_MAX

struct sim_hypervisor;
struct sim_domain;

struct sim_ioreq_server {
    /* As emulators map them, in the order of the resource's frames. */
    _Alignas(SIM_IOREQ_PAGE) uint8_t buffered_page[SIM_IOREQ_PAGE];
    uint8_t page[SIM_IOREQ_PAGE];

    bool used;
    bool enabled;
    bool acquired;              /* the pages exist, because somebody mapped them as a resource */
    uint8_t buffered;           /* HVM_IOREQSRV_BUFIOREQ_* */
    uint32_t emulator;          /* the domid of who created it */
    uint64_t gfn, buffered_gfn; /* pages in the guest instead: the way before resources */
    uint32_t ports[SIM_IOREQ_VCPUS];
    uint32_t buffered_port;
    _Atomic bool pending[SIM_IOREQ_VCPUS]; /* the vCPU waits for an answer of this server */
    struct sim_rangeset ranges[3];         /* by XEN_DMOP_IO_RANGE_* */
};

struct sim_ioreq_domain {
    struct sim_ioreq_server servers[SIM_IOREQ_SERVERS];
    struct ioreq requests[SIM_IOREQ_VCPUS]; /* what each vCPU last asked for */
    _Atomic bool stuck[SIM_IOREQ_VCPUS];    /* the server that it waited for was destroyed */
    uint32_t cf8;                           /* the guest's last write to port 0xCF8 */

    /* Types of frames other than plain memory; of what type ioreq_server goes to whom. */
    struct sim_rangeset frames_server, frames_read_only, frames_emulated;
    uint32_t frames_owner; /* id of the server + 1, or 0 */
    struct sim_rangeset frames_added;

    /* What emulators told the guest. */
    uint8_t intx[32]; /* of each device: a bit for each pin */
    uint16_t isa_irqs;
    uint8_t link_route[4];
    struct {
        uint64_t address;
        uint32_t data, count;
    } msis[SIM_MSIS];
    uint32_t events;   /* injected */
    uint32_t shutdown; /* the reason + 1, or 0 while it runs */
};

/* The target of a device-model operation: an HVM domain other than ours; otherwise *ERROR. */
struct sim_domain *sim_ioreq_target(unsigned domid, int *error);

int sim_ioreq_create(unsigned domid, int buffered, uint16_t *id);
int sim_ioreq_destroy(unsigned domid, uint16_t id);
int sim_ioreq_set_state(unsigned domid, uint16_t id, bool enabled);

/* GFN and BUFFERED_GFN put the pages into the guest; all three may be NULL. */
int sim_ioreq_info(unsigned domid, uint16_t id, uint64_t *gfn, uint64_t *buffered_gfn,
                   uint32_t *buffered_port);

/* TYPE is XEN_DMOP_IO_RANGE_*, the bounds are inclusive. */
int sim_ioreq_map(unsigned domid, uint16_t id, uint32_t type, uint64_t first, uint64_t last);
int sim_ioreq_unmap(unsigned domid, uint16_t id, uint32_t type, uint64_t first, uint64_t last);
int sim_ioreq_map_mem_type(unsigned domid, uint16_t id, uint16_t type, uint32_t flags);

/* Where FRAME (XENMEM_resource_ioreq_server_frame_*) is in the state's file. */
int sim_ioreq_frame(unsigned domid, uint32_t id, uint64_t frame, off_t *offset);

/* The server's pages as Xen sees them, or NULL if they do not exist yet. */
struct ioreq *sim_ioreq_slots(unsigned domid, struct sim_ioreq_server *server);
struct buffered_iopage *sim_ioreq_buffer(unsigned domid, struct sim_ioreq_server *server);

/*
 * Who gets REQUEST, as a server's id, or -1.  What the guest did through ports 0xCF8 and 0xCFC
 * becomes a request of type IOREQ_TYPE_PCI_CONFIG.  Lock held.
 */
int sim_ioreq_select(struct sim_domain *domain, struct ioreq *request);

/* The domain stops running: SHUTDOWN_crash crashes it, other reasons are noted. */
int sim_ioreq_shutdown(unsigned domid, unsigned reason);

void sim_ioreq_domain_gone(struct sim_hypervisor *xen, unsigned domid); /* lock held */

#endif
