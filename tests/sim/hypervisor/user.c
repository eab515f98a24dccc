/* Users of the Xen devices: see user.h. */

#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define GENERATION_BITS 20
#define GENERATION_MASK ((1u << GENERATION_BITS) - 1)

/* Descriptors of others' FIFOs that this process writes into: generation << 32 | descriptor + 1. */
static _Atomic uint64_t fifos[SIM_USERS];
static pthread_mutex_t fifos_lock = PTHREAD_MUTEX_INITIALIZER;

static unsigned slot_of(sim_user_id user)
{
    return user >> GENERATION_BITS;
}

unsigned sim_user_domid(void)
{
    const char *domid = getenv("XENSIM_DOMID");
    return domid ? strtoul(domid, NULL, 10) : 0;
}

struct sim_user *sim_user(sim_user_id user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen || slot_of(user) == 0 || slot_of(user) >= SIM_USERS)
        return NULL;
    struct sim_user *slot = &xen->users.slots[slot_of(user)];
    bool same = slot->generation == (user & GENERATION_MASK);
    return same && slot->kind != SIM_USER_FREE ? slot : NULL;
}

static void file_name(char *name, size_t size, enum sim_user_kind kind, sim_user_id user)
{
    static const char *const kinds[] = { "free", "evtchn", "gntdev", "gntalloc" };
    snprintf(name, size, "%s-%u.%u", kinds[kind], slot_of(user), user & GENERATION_MASK);
}

/* Makes the user's file, and opens and locks it; the descriptor or -errno. */
static int create_file(enum sim_user_kind kind, sim_user_id user, bool cloexec)
{
    char name[48];
    struct stat status;
    int flags = O_RDWR | (cloexec ? O_CLOEXEC : 0) | (kind == SIM_USER_EVTCHN ? 0 : O_CREAT);

    file_name(name, sizeof(name), kind, user);
    if (kind == SIM_USER_EVTCHN && (mkfifoat(sim_directory_fd(), name, 0666) < 0 ||
                                    fchmodat(sim_directory_fd(), name, 0666, 0) < 0))
        return -errno;
    int fd = sim_open(name, flags);
    if (fd < 0)
        return fd;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &status) < 0) {
        int error = errno;
        close(fd);
        unlinkat(sim_directory_fd(), name, 0);
        return -error;
    }
    sim_hypervisor()->users.slots[slot_of(user)].inode = status.st_ino;
    return fd;
}

static unsigned free_slot(const struct sim_hypervisor *xen)
{
    for (unsigned slot = 1; slot < SIM_USERS; slot++) {
        if (xen->users.slots[slot].kind == SIM_USER_FREE)
            return slot;
    }
    return 0;
}

static int open_locked(struct sim_hypervisor *xen, enum sim_user_kind kind, bool cloexec,
                       sim_user_id *user)
{
    unsigned domid = sim_user_domid();
    if (!sim_domain(domid))
        return -ENODEV;
    unsigned number = free_slot(xen);
    if (number == 0) {
        sim_user_reap_all();
        number = free_slot(xen);
    }
    if (number == 0)
        return -ENFILE;
    struct sim_user *slot = &xen->users.slots[number];
    uint32_t generation = (slot->generation + 1) & GENERATION_MASK;
    slot->generation = generation ? generation : 1;
    *user = number << GENERATION_BITS | slot->generation;
    slot->domid = domid;
    slot->restricted = SIM_UNRESTRICTED;
    slot->kind = kind; /* before there is a file: who is killed now leaves none behind */
    int fd = create_file(kind, *user, cloexec);
    if (fd < 0)
        slot->kind = SIM_USER_FREE;
    return fd;
}

int sim_user_open(enum sim_user_kind kind, bool cloexec, sim_user_id *user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    sim_lock(xen);
    int fd = open_locked(xen, kind, cloexec, user);
    sim_unlock(xen);
    return fd;
}

int sim_user_find(int fd, enum sim_user_kind kind, sim_user_id *user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct stat status;

    if (!xen)
        return -ENOENT;
    if (fstat(fd, &status) < 0)
        return -errno;
    sim_lock(xen);
    int result = -EINVAL;
    for (unsigned number = 1; number < SIM_USERS && result < 0; number++) {
        const struct sim_user *slot = &xen->users.slots[number];
        if (slot->kind != kind || slot->inode != status.st_ino)
            continue;
        *user = number << GENERATION_BITS | slot->generation;
        result = 0;
    }
    sim_unlock(xen);
    return result;
}

/* The file is locked by the user's own descriptors for as long as there are any. */
static bool is_dead(const struct sim_user *slot, sim_user_id user)
{
    char name[48];
    file_name(name, sizeof(name), slot->kind, user);
    int fd = sim_open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fd == -ENOENT;
    bool dead = flock(fd, LOCK_EX | LOCK_NB) == 0;
    close(fd);
    return dead;
}

bool sim_user_lives(sim_user_id user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return false;
    sim_lock(xen);
    const struct sim_user *slot = sim_user(user);
    bool lives = slot && !is_dead(slot, user);
    sim_unlock(xen);
    return lives;
}

static void end(struct sim_hypervisor *xen, struct sim_user *slot, sim_user_id user)
{
    char name[48];
    if (slot->kind == SIM_USER_EVTCHN)
        sim_evtchn_user_gone(xen, slot->domid, user);
    else
        sim_gntdev_user_gone(user);
    file_name(name, sizeof(name), slot->kind, user);
    unlinkat(sim_directory_fd(), name, 0);
    slot->kind = SIM_USER_FREE;
}

void sim_user_reap(sim_user_id user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return;
    sim_lock(xen);
    struct sim_user *slot = sim_user(user);
    if (slot && is_dead(slot, user))
        end(xen, slot, user);
    sim_unlock(xen);
}

/* Mappings first: their end may be notified through ports of the same process. */
static void reap_kinds(struct sim_hypervisor *xen, bool evtchn)
{
    for (unsigned number = 1; number < SIM_USERS; number++) {
        const struct sim_user *slot = &xen->users.slots[number];
        if (slot->kind != SIM_USER_FREE && (slot->kind == SIM_USER_EVTCHN) == evtchn)
            sim_user_reap(number << GENERATION_BITS | slot->generation);
    }
}

void sim_user_reap_all(void)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return;
    sim_lock(xen);
    reap_kinds(xen, false);
    reap_kinds(xen, true);
    sim_unlock(xen);
}

/*
 * Puts the user's FIFO into the cache.  A descriptor that was there before is replaced in place:
 * another thread may be about to write to its number, which must never be anybody else's.
 */
static int open_fifo(sim_user_id user)
{
    char name[48];
    unsigned slot = slot_of(user);
    uint64_t old = atomic_load(&fifos[slot]);
    int old_fd = (int)(uint32_t)old - 1;

    file_name(name, sizeof(name), SIM_USER_EVTCHN, user);
    int fd = sim_open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return fd;
    if (old != 0 && dup3(fd, old_fd, O_CLOEXEC) == old_fd) {
        close(fd);
        fd = old_fd;
    }
    atomic_store(&fifos[slot], (uint64_t)(user & GENERATION_MASK) << 32 | (uint32_t)(fd + 1));
    return fd;
}

static int cached_fifo(sim_user_id user)
{
    uint64_t cached = atomic_load_explicit(&fifos[slot_of(user)], memory_order_acquire);
    return cached >> 32 == (user & GENERATION_MASK) ? (int)(uint32_t)cached - 1 : -1;
}

int sim_user_fifo(sim_user_id user)
{
    int fd = cached_fifo(user);
    if (fd >= 0)
        return fd;
    pthread_mutex_lock(&fifos_lock);
    fd = cached_fifo(user);
    if (fd < 0)
        fd = open_fifo(user);
    pthread_mutex_unlock(&fifos_lock);
    return fd;
}

void sim_user_forked(void)
{
    for (unsigned slot = 0; slot < SIM_USERS; slot++)
        atomic_store_explicit(&fifos[slot], 0, memory_order_relaxed);
    pthread_mutex_init(&fifos_lock, NULL);
}
