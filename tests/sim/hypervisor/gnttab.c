/* Grant tables and grant copies: see gnttab.h. */

#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <xen/xen.h>

/* Xen counts pins in 8 bits, and refuses the next one when the highest is set. */
#define PINS_MAX 128

/* How often Xen tries to change a shared entry that its guest keeps changing. */
#define TRIES 5

/* Owner of an active entry's lock, when it is no user. */
#define HYPERVISOR UINT32_MAX

/* The first half of a shared entry, which is changed in one piece. */
union entry_head {
    uint32_t raw;
    struct {
        uint16_t flags, domid;
    };
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* May the lock be taken from OWNER, who has had it for WAITED_MS?  If it was killed with it. */
static bool abandoned(uint32_t owner, int64_t waited_ms)
{
    if (owner == HYPERVISOR)
        return waited_ms > 1000;
    return waited_ms > 1 && !sim_user_lives(owner);
}

/*
 * Held for a few instructions by OWNER: the user that copies, or HYPERVISOR.  What those who are
 * killed leave behind is put right by sim_grant_heal().
 */
static void lock_entry(struct sim_grant_active *active, uint32_t owner)
{
    int64_t since = 0;
    for (unsigned spins = 0;; spins++) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_weak_explicit(&active->lock, &seen, owner, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        if (spins < 100)
            continue;
        if (since == 0)
            since = now_ms();
        else if (abandoned(seen, now_ms() - since) &&
                 atomic_compare_exchange_strong(&active->lock, &seen, owner))
            return;
        sched_yield();
    }
}

static void unlock_entry(struct sim_grant_active *active)
{
    atomic_store_explicit(&active->lock, 0, memory_order_release);
}

static unsigned readers(const struct sim_grant_active *active)
{
    return active->mapped.readers + active->copying.readers;
}

static unsigned writers(const struct sim_grant_active *active)
{
    return active->mapped.writers + active->copying.writers;
}

static bool pinned(const struct sim_grant_active *active)
{
    return readers(active) || writers(active);
}

/* Checks the shared entry for a first pin, or a first writer, and marks it as used. */
static int set_status(struct grant_entry_v1 *entry, const struct sim_grant_active *active,
                      unsigned by, bool writable, bool map)
{
    uint32_t *shared = (uint32_t *)entry;
    uint16_t mask = GTF_type_mask | (map ? GTF_sub_page : 0);
    union entry_head head = { .raw = __atomic_load_n(shared, __ATOMIC_ACQUIRE) };

    for (unsigned i = 0; i < TRIES; i++) {
        bool granted = (head.flags & mask) == GTF_permit_access && head.domid == by;
        if (!pinned(active) && !granted)
            return GNTST_general_error;
        if (writable && head.flags & GTF_readonly)
            return GNTST_general_error;
        union entry_head new = head;
        new.flags |= GTF_reading | (writable ? GTF_writing : 0);
        if (__atomic_compare_exchange_n(shared, &head.raw, new.raw, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_ACQUIRE))
            return GNTST_okay;
    }
    return GNTST_general_error;
}

/* Takes the marks back that no pin stands for any more. */
static void clear_status(struct grant_entry_v1 *entry, const struct sim_grant_active *active)
{
    uint16_t flags = (writers(active) ? 0 : GTF_writing) | (pinned(active) ? 0 : GTF_reading);
    if (flags)
        __atomic_fetch_and(&entry->flags, (uint16_t)~flags, __ATOMIC_SEQ_CST);
}

static int pin_shared(struct sim_domain *domain, uint32_t ref, unsigned by, bool writable, bool map)
{
    struct sim_grant_active *active = &domain->gnttab.active[ref];
    struct grant_entry_v1 *entry = &domain->gnttab.entries[ref];
    int status = set_status(entry, active, by, writable, map);
    if (status != GNTST_okay)
        return status;
    uint32_t frame = __atomic_load_n(&entry->frame, __ATOMIC_ACQUIRE);
    if (frame >= domain->pages) {
        clear_status(entry, active);
        return GNTST_bad_page;
    }
    if (!pinned(active)) {
        active->domid = by;
        active->frame = frame;
    }
    return GNTST_okay;
}

static int pin_locked(struct sim_domain *domain, uint32_t ref, unsigned by, bool writable, bool map)
{
    struct sim_grant_active *active = &domain->gnttab.active[ref];
    unsigned pins = writable ? writers(active) : readers(active);

    if (pinned(active) && (active->domid != by || pins >= PINS_MAX))
        return GNTST_general_error;
    if (!pinned(active) || (writable && !writers(active)))
        return pin_shared(domain, ref, by, writable, map);
    return GNTST_okay;
}

static void count(struct sim_pins *pins, bool writable, int by)
{
    uint16_t *number = writable ? &pins->writers : &pins->readers;
    if (by > 0 || *number > 0) /* it may have been healed */
        *number += by;
}

static uint32_t owner_of(uint32_t copier)
{
    return copier == SIM_KERNEL ? HYPERVISOR : copier;
}

static uint32_t last_copier(struct sim_grant_active *active)
{
    return __atomic_load_n(&active->copier, __ATOMIC_RELAXED);
}

/* Is somebody else copying, or was killed in it? */
static bool others_copy(struct sim_grant_active *active, uint32_t copier)
{
    struct sim_pins pins;
    __atomic_load(&active->copying, &pins, __ATOMIC_RELAXED);
    return (pins.readers || pins.writers) && last_copier(active) != copier;
}

/* The last copier's pins, if it was killed with them.  No lock of an entry may be held. */
static void heal_copies(struct sim_grant_active *active, uint32_t copier)
{
    sim_user_reap(copier);
    if (sim_user(copier))
        return;
    lock_entry(active, HYPERVISOR);
    if (active->copier == copier)
        active->copying = (struct sim_pins){ 0 };
    unlock_entry(active);
}

/* COPIER: for a copy of that user; SIM_KERNEL: for a mapping. */
static int pin(unsigned domid, uint32_t ref, unsigned by, bool writable, uint32_t copier,
               uint32_t *frame)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return GNTST_bad_domain;
    if (ref >= SIM_GRANTS)
        return GNTST_bad_gntref;
    struct sim_grant_active *active = &domain->gnttab.active[ref];
    if (copier != SIM_KERNEL && others_copy(active, copier))
        heal_copies(active, last_copier(active));
    lock_entry(active, owner_of(copier));
    int status = pin_locked(domain, ref, by, writable, copier == SIM_KERNEL);
    if (status == GNTST_okay) {
        if (copier != SIM_KERNEL)
            __atomic_store_n(&active->copier, copier, __ATOMIC_RELAXED);
        count(copier == SIM_KERNEL ? &active->mapped : &active->copying, writable, 1);
        *frame = active->frame;
    }
    unlock_entry(active);
    return status;
}

static void unpin(unsigned domid, uint32_t ref, bool writable, uint32_t copier)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return;
    struct sim_grant_active *active = &domain->gnttab.active[ref];
    lock_entry(active, owner_of(copier));
    count(copier == SIM_KERNEL ? &active->mapped : &active->copying, writable, -1);
    clear_status(&domain->gnttab.entries[ref], active);
    unlock_entry(active);
}

int sim_grant_map(unsigned domid, uint32_t ref, unsigned by, bool writable, uint32_t *frame)
{
    return pin(domid, ref, by, writable, SIM_KERNEL, frame);
}

void sim_grant_unmap(unsigned domid, uint32_t ref, bool writable)
{
    unpin(domid, ref, writable, SIM_KERNEL);
}

void sim_grant_heal(unsigned domid, uint32_t ref, struct sim_pins mapped)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain || ref >= SIM_GRANTS)
        return;
    struct sim_grant_active *active = &domain->gnttab.active[ref];
    heal_copies(active, last_copier(active));
    lock_entry(active, HYPERVISOR);
    active->mapped = mapped;
    clear_status(&domain->gnttab.entries[ref], active);
    unlock_entry(active);
}

bool sim_grant_pinned(unsigned domid, uint32_t ref)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain || ref >= SIM_GRANTS)
        return false;
    struct sim_grant_active *active = &domain->gnttab.active[ref];
    lock_entry(active, HYPERVISOR);
    bool yes = pinned(active);
    unlock_entry(active);
    return yes;
}

bool sim_grant_end(struct grant_entry_v1 *entry)
{
    uint16_t flags = __atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE);
    while (!(flags & (GTF_reading | GTF_writing))) {
        if (__atomic_compare_exchange_n(&entry->flags, &flags, 0, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_ACQUIRE))
            return true;
    }
    return false;
}

/* --- copies --- */

/*
 * A copy by Xen races with whatever its guest does at the same time, and nobody is to blame: TSan,
 * which would see memmove(), is not told.  ASan is, and so looks after the local end.
 */
static void copy_bytes(void *to, const void *from, size_t length)
{
#ifdef __x86_64__
    if (__tsan_release) {
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
        return;
    }
#endif
    memmove(to, from, length);
}

static bool is_grant(const struct sim_copy_end *end)
{
    return end->domid != SIM_COPY_LOCAL;
}

static unsigned domid_of(unsigned by, const struct sim_copy_end *end)
{
    return end->domid == DOMID_SELF ? by : end->domid;
}

/* Pins one end and gives its address. */
static int claim(uint32_t user, unsigned by, const struct sim_copy_end *end, bool writable,
                 uint8_t **address)
{
    unsigned domid = domid_of(by, end);
    uint32_t frame;

    if (!is_grant(end)) {
        *address = end->local;
        return GNTST_okay;
    }
    int status = pin(domid, end->ref, by, writable, user, &frame);
    if (status != GNTST_okay)
        return status;
    uint8_t *memory = sim_domain_memory(domid);
    if (!memory) {
        unpin(domid, end->ref, writable, user);
        return GNTST_bad_domain;
    }
    *address = memory + (uint64_t)frame * SIM_PAGE + end->offset;
    return GNTST_okay;
}

static void release(uint32_t user, unsigned by, const struct sim_copy_end *end, bool writable)
{
    if (is_grant(end))
        unpin(domid_of(by, end), end->ref, writable, user);
}

static bool beyond_page(const struct sim_copy_end *end, uint16_t length)
{
    return is_grant(end) && (unsigned)end->offset + length > SIM_PAGE;
}

static int copy_to_claimed(uint32_t user, unsigned by, const struct sim_copy_end *source,
                           const struct sim_copy_end *dest, uint16_t length, const uint8_t *from)
{
    uint8_t *to;
    int status = claim(user, by, dest, true, &to);
    if (status != GNTST_okay)
        return status;
    if (beyond_page(source, length) || beyond_page(dest, length))
        status = GNTST_bad_copy_arg;
    else
        copy_bytes(to, from, length);
    release(user, by, dest, true);
    return status;
}

int sim_grant_copy(uint32_t user, unsigned by, const struct sim_copy_end *source,
                   const struct sim_copy_end *dest, uint16_t length)
{
    uint8_t *from;

    if (is_grant(source) && !sim_domain(domid_of(by, source)))
        return GNTST_bad_domain;
    if (is_grant(dest) && !sim_domain(domid_of(by, dest)))
        return GNTST_bad_domain;
    int status = claim(user, by, source, false, &from);
    if (status != GNTST_okay)
        return status;
    status = copy_to_claimed(user, by, source, dest, length, from);
    release(user, by, source, false);
    return status;
}
