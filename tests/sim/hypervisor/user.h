/*
 * Users: who has a Xen device open.  A user is what an open /dev/xen/evtchn, gntdev or gntalloc is
 * in Linux: event ports and mapped grants belong to it, fork() shares it, and it ends with the last
 * descriptor, also when a process is killed.
 *
 * A user is a file of its slot and generation in $XENSIM, open and flock()ed for as long as the
 * user lives; so anybody can find out whether it still does.  For event channels the file is a
 * FIFO, which is the descriptor that programs poll.
 *
 * Errors: negative errno.
 * Threads: any; functions that change users take the hypervisor's lock, which is recursive.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_USER_H
#define HYPERVISOR_USER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SIM_USERS 1024
#define SIM_UNRESTRICTED 0xffff

/* Slot in the upper 12 bits, generation in the lower 20. */
typedef uint32_t sim_user_id;
#define SIM_KERNEL 0 /* no user: the domain's own kernel, or Xen */

enum sim_user_kind { SIM_USER_FREE, SIM_USER_EVTCHN, SIM_USER_GNTDEV, SIM_USER_GNTALLOC };

struct sim_user {
    uint32_t kind; /* enum sim_user_kind */
    uint32_t generation;
    uint16_t domid;      /* the domain it runs in */
    uint16_t restricted; /* the only domain it may bind to, or SIM_UNRESTRICTED */
    uint64_t inode;      /* of its file */
};

struct sim_users {
    struct sim_user slots[SIM_USERS]; /* slot 0 is never used: SIM_KERNEL */
};

/* The domain that this process runs in: $XENSIM_DOMID, or 0. */
unsigned sim_user_domid(void);

/* Opens a user; its descriptor is the caller's, and the user lives until it is closed. */
int sim_user_open(enum sim_user_kind kind, bool cloexec, sim_user_id *user);

/* The user that FD is open on, or -EINVAL. */
int sim_user_find(int fd, enum sim_user_kind kind, sim_user_id *user);

/* The user's slot, or NULL if it is gone.  Lock held. */
struct sim_user *sim_user(sim_user_id user);

/* A descriptor for writing into the user's FIFO; cached, never to be closed. */
int sim_user_fifo(sim_user_id user);

/* Is any of its descriptors open? */
bool sim_user_lives(sim_user_id user);

/* Frees what the user held if its last descriptor is closed. */
void sim_user_reap(sim_user_id user);

/* The same for all users. */
void sim_user_reap_all(void);

/* Forgets descriptors that a forked child may find closed or reused (user.c's own). */
void sim_user_forked(void);

#endif
