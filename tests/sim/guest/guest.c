/* A guest's memory, grants and event channels: see guest.h. */

#include "tests/sim/guest/guest-internal.h"

#include <string.h>
#include <sys/mman.h>

#define FIRST_PAGE 1 /* gfn 0 is never handed out: a frame that was forgotten is seen */

struct guest *guest_open(unsigned domid)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        g_error("there is no domain %u", domid);
    struct guest *guest = g_new0(struct guest, 1);
    guest->domid = domid;
    guest->domain = domain;
    guest->pages = domain->pages;
    guest->memory = mmap(NULL, guest->pages * GUEST_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
                         sim_domain_memory_fd(domid), 0);
    if (guest->memory == MAP_FAILED)
        g_error("cannot map the memory of domain %u: %s", domid, g_strerror(errno));
    pthread_mutex_init(&guest->lock, NULL);
    guest->pages_used = g_new0(uint8_t, guest->pages);
    guest->next_page = FIRST_PAGE;
    guest->free_refs = g_new(uint32_t, SIM_GRANTS);
    /* The first references are the toolstack's, for the xenstore ring and the console. */
    for (uint32_t ref = SIM_GRANTS - 1; ref >= GNTTAB_NR_RESERVED_ENTRIES; ref--)
        guest->free_refs[guest->free_count++] = ref;
    return guest;
}

void guest_close(struct guest *guest)
{
    guest_store_close(guest->store);
    munmap(guest->memory, guest->pages * GUEST_PAGE);
    pthread_mutex_destroy(&guest->lock);
    g_free(guest->pages_used);
    g_free(guest->free_refs);
    g_free(guest);
}

unsigned guest_domid(const struct guest *guest)
{
    return guest->domid;
}

unsigned guest_vcpus(const struct guest *guest)
{
    return guest->domain->vcpus;
}

/* --- memory --- */

void *guest_memory(struct guest *guest)
{
    return guest->memory;
}

size_t guest_pages(const struct guest *guest)
{
    return guest->pages;
}

/* Is there room for COUNT pages at PAGE?  If not, *PAGE is where to look next. */
static bool room_at(const struct guest *guest, size_t *page, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!guest->pages_used[*page + i])
            continue;
        *page += i + 1;
        return false;
    }
    return true;
}

static size_t find_room(const struct guest *guest, size_t from, size_t to, size_t count)
{
    for (size_t page = from; page + count <= to;) {
        if (room_at(guest, &page, count))
            return page;
    }
    return 0;
}

void *guest_alloc(struct guest *guest, size_t count)
{
    size_t end = guest->pages > GUEST_SPECIAL_FRAMES ? guest->pages - GUEST_SPECIAL_FRAMES : 0;

    pthread_mutex_lock(&guest->lock);
    size_t page = find_room(guest, guest->next_page, end, count);
    if (page == 0)
        page = find_room(guest, FIRST_PAGE, end, count);
    if (page == 0)
        g_error("domain %u has no %zu adjacent free pages", guest->domid, count);
    memset(guest->pages_used + page, 1, count);
    guest->next_page = page + count;
    pthread_mutex_unlock(&guest->lock);
    void *address = guest->memory + page * GUEST_PAGE;
    memset(address, 0, count * GUEST_PAGE);
    return address;
}

void guest_free(struct guest *guest, void *address, size_t count)
{
    if (!address)
        return;
    pthread_mutex_lock(&guest->lock);
    memset(guest->pages_used + guest_gfn(guest, address), 0, count);
    pthread_mutex_unlock(&guest->lock);
}

uint64_t guest_gfn(const struct guest *guest, const void *address)
{
    return ((const uint8_t *)address - guest->memory) / GUEST_PAGE;
}

/* --- grants --- */

struct grant_entry_v1 *guest_grant_entry(struct guest *guest, uint32_t ref)
{
    g_assert_cmpuint(ref, <, SIM_GRANTS);
    return &guest->domain->gnttab.entries[ref];
}

uint32_t guest_grant_entries(const struct guest *guest)
{
    return SIM_GRANTS;
}

static uint32_t take_ref(struct guest *guest)
{
    pthread_mutex_lock(&guest->lock);
    if (guest->free_count == 0)
        g_error("domain %u has no free grant references", guest->domid);
    uint32_t ref = guest->free_refs[--guest->free_count];
    pthread_mutex_unlock(&guest->lock);
    return ref;
}

static void put_ref(struct guest *guest, uint32_t ref)
{
    pthread_mutex_lock(&guest->lock);
    if (ref >= GNTTAB_NR_RESERVED_ENTRIES)
        guest->free_refs[guest->free_count++] = ref;
    pthread_mutex_unlock(&guest->lock);
}

uint32_t guest_grant(struct guest *guest, unsigned to, const void *address, bool read_only)
{
    uint32_t ref = take_ref(guest);
    struct grant_entry_v1 *entry = guest_grant_entry(guest, ref);
    uint16_t flags = GTF_permit_access | (read_only ? GTF_readonly : 0);

    __atomic_store_n(&entry->frame, guest_gfn(guest, address), __ATOMIC_RELAXED);
    __atomic_store_n(&entry->domid, to, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->flags, flags, __ATOMIC_RELEASE);
    return ref;
}

bool guest_ungrant(struct guest *guest, uint32_t ref)
{
    struct grant_entry_v1 *entry = guest_grant_entry(guest, ref);
    if (!sim_grant_end(entry)) {
        sim_gntdev_reap_mappers(guest->domid, ref);
        if (!sim_grant_end(entry))
            return false;
    }
    put_ref(guest, ref);
    return true;
}

/* --- event channels --- */

uint32_t guest_port_alloc(struct guest *guest, unsigned remote)
{
    int port = sim_evtchn_alloc_unbound(guest->domid, SIM_KERNEL, remote);
    if (port < 0)
        g_error("domain %u gets no event channel: %s", guest->domid, g_strerror(-port));
    return port;
}

void guest_port_close(struct guest *guest, uint32_t port)
{
    sim_evtchn_close(guest->domid, SIM_KERNEL, port);
}

void guest_port_notify(struct guest *guest, uint32_t port)
{
    sim_evtchn_notify(guest->domid, SIM_KERNEL, port);
}

bool guest_port_pending(struct guest *guest, uint32_t port)
{
    return sim_evtchn_take(guest->domid, port);
}

bool guest_port_wait(struct guest *guest, uint32_t port, int timeout_ms)
{
    return sim_evtchn_wait(guest->domid, port, timeout_ms);
}
