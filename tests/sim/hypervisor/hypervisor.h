/*
 * The simulated hypervisor: state that every process on a simulated host shares.
 *
 * There is no daemon.  The state is a file, $XENSIM/hypervisor, that each process maps when it
 * first calls a Xen library; a hypercall is a function that changes it, under one lock except on
 * the hot paths (notify, unmask, grant copy, ioreq pages), which use atomics as Xen's do.  Guest
 * memory is a file per domain, $XENSIM/memory-N.GENERATION: a frame number is a page of it.
 *
 * What a process holds (event ports, mapped grants) is freed when it is gone, as Linux does, but
 * only when somebody needs it or asks for it: sim_user_reap_all().
 *
 *   hypervisor.c  the file, the lock, domains, faults
 *   user.c        who has which of Xen's devices open, and is it still alive
 *   evtchn.c      event channels and /dev/xen/evtchn
 *   gnttab.c      grant tables and grant copies
 *   gntdev.c      /dev/xen/gntdev and /dev/xen/gntalloc
 *   ioreq.c       ioreq servers, routing, the vCPU's half of a request
 *
 * Errors: functions return 0 or a positive value, or a negative errno, as hypercalls do.
 * Threads: any, in any process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_HYPERVISOR_H
#define HYPERVISOR_HYPERVISOR_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/hypervisor/evtchn.h"
#include "tests/sim/hypervisor/gntdev.h"
#include "tests/sim/hypervisor/gnttab.h"
#include "tests/sim/hypervisor/ioreq.h"
#include "tests/sim/hypervisor/user.h"

#define SIM_PAGE 4096
#define SIM_DOMAINS 64
#define SIM_VCPUS 128 /* as many as one ioreq page has room for */
#define SIM_FAULTS 16
#define SIM_HVM_PARAMS 64
#define SIM_REASON 128

enum sim_domain_state {
    SIM_DOMAIN_NONE,
    SIM_DOMAIN_ALIVE,
    SIM_DOMAIN_CRASHED, /* still there, as with on_crash="preserve" */
};

struct sim_domain {
    _Atomic uint32_t state; /* enum sim_domain_state */
    uint32_t generation;    /* of the domid: the memory file's name changes with it */
    uint32_t vcpus;
    bool hvm;
    uint64_t pages;
    char crash_reason[SIM_REASON];
    uint64_t hvm_params[SIM_HVM_PARAMS];
    struct sim_evtchn_domain evtchn;
    struct sim_gnttab_domain gnttab;
    struct sim_ioreq_domain ioreq;
};

struct sim_fault_entry {
    char call[64]; /* empty: free */
    uint32_t skip, times, struck;
    uint32_t delay_us;
    int32_t error;
    uint32_t short_by;
};

struct sim_hypervisor {
    pthread_mutex_t lock; /* robust, recursive, and shared between processes */
    _Atomic uint32_t faults_set;
    struct sim_fault_entry faults[SIM_FAULTS];
    struct sim_users users;
    struct sim_gntdev gntdev;
    struct sim_domain domains[SIM_DOMAINS];
};

/* Creates the state in DIRECTORY with domain 0 in it, and sets $XENSIM. */
int sim_hypervisor_create(const char *directory);

/* The state, mapped at first use; NULL with errno ENOENT if $XENSIM is not set or has none. */
struct sim_hypervisor *sim_hypervisor(void);

/* The directory, $XENSIM; valid once sim_hypervisor() has returned the state. */
const char *sim_directory(void);

/* A descriptor of it, and a file in it: they keep working after a chroot().  Or -errno. */
int sim_directory_fd(void);
int sim_open(const char *name, int flags);

/* Recursive: who has it may call functions that take it. */
void sim_lock(struct sim_hypervisor *xen);
void sim_unlock(struct sim_hypervisor *xen);

/* Domains.  A free domid is chosen, never the last one used; the new domid is returned. */
int sim_domain_create(unsigned vcpus, uint64_t pages, bool hvm);
int sim_domain_destroy(unsigned domid);
void sim_domain_crash(unsigned domid, const char *reason);

/* The domain if it is there, or NULL.  DOMID_SELF is not known here. */
struct sim_domain *sim_domain(unsigned domid);

/* The domain's memory, mapped whole in this process at first use; NULL if there is none. */
uint8_t *sim_domain_memory(unsigned domid);

/* A descriptor of the memory file, for mapping single pages; owned by the simulator.  -1: none. */
int sim_domain_memory_fd(unsigned domid);

/* A descriptor of the state's own file, for mapping pages that live in it (ioreq pages). */
int sim_hypervisor_fd(void);

/*
 * Faults on demand (sim.h).  Each library function asks at its start; if one struck, it has
 * already been waited for, and *FAULT says the rest.  Costs one load while none is set.
 */
struct sim_struck {
    int error;
    unsigned short_by;
};
bool sim_struck(const char *call, struct sim_struck *fault);

/*
 * What TSan cannot see, because the simulator is never instrumented: whoever waited for an event
 * comes after whoever sent it.  Nothing unless the program is built with TSan.
 */
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));
static inline void sim_sent(void *address)
{
    if (__tsan_release)
        __tsan_release(address);
}
static inline void sim_received(void *address)
{
    if (__tsan_acquire)
        __tsan_acquire(address);
}

#endif
