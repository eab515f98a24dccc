/* Clock, events, memory: see guest.h. */

#include "ovmf-drivers/pvblk/guest.h"

#include <xen/hvm/params.h>

#include "ovmf-drivers/pvblk/block.h"

/* Of the grant table: 4096 grants, of which a disk takes 500 to 710. */
#define GRANT_FRAMES 8

#define STORE_PATIENCE (2000 * PV_MS)

/* Xen's, of a 64-bit guest; the public one has members of the type `long`. */
struct vcpu_time {
    uint32_t version; /* odd while it changes */
    uint32_t pad0;
    uint64_t tsc_timestamp, system_time;
    uint32_t mul; /* nanoseconds of a tick, in 2^-32 */
    int8_t shift;
    uint8_t pad1[3];
};

struct vcpu {
    uint64_t upcall, pending_words, arch[2];
    struct vcpu_time time;
};

struct xen_shared_info {
    struct vcpu vcpus[32];
    uint64_t pending[64], mask[64];
};

_Static_assert(offsetof(struct guest, pages) == 0, "pages.h");
_Static_assert(offsetof(struct xen_shared_info, pending) == 2048, "xen/xen.h");

static uint64_t to_nanoseconds(const struct vcpu_time *time)
{
    uint64_t ticks = __builtin_ia32_rdtsc() - time->tsc_timestamp;
    ticks = time->shift < 0 ? ticks >> -time->shift : ticks << time->shift;
    return time->system_time + (uint64_t)((unsigned __int128)ticks * time->mul >> 32);
}

/* Xen's system time, by what it says of the first processor, which is the one that we run on. */
static uint64_t now(void *opaque)
{
    struct guest *guest = opaque;
    const volatile struct vcpu_time *shared = &guest->shared->vcpus[0].time;
    struct vcpu_time time;

    do {
        time.version = shared->version;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        time.tsc_timestamp = shared->tsc_timestamp;
        time.system_time = shared->system_time;
        time.mul = shared->mul;
        time.shift = shared->shift;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (time.version & 1 || time.version != shared->version);

    uint64_t microseconds = to_nanoseconds(&time) / 1000;
    if (microseconds > guest->now)
        guest->now = microseconds;
    return guest->now;
}

/*
 * The processor sleeps instead of spinning: the backend may need it.  An event that comes before
 * its bit is cleared here is seen by the caller, who looks at the ring once more in any case.
 */
static void wait(void *opaque, uint32_t port, uint64_t until)
{
    struct guest *guest = opaque;

    xen_poll(&guest->pages.xen, port, until * 1000);
    if (port)
        __atomic_fetch_and(&guest->shared->pending[port / 64], ~(UINT64_C(1) << port % 64),
                           __ATOMIC_SEQ_CST);
}

static void set_mask(struct guest *guest, uint32_t port)
{
    __atomic_fetch_or(&guest->shared->mask[port / 64], UINT64_C(1) << port % 64, __ATOMIC_SEQ_CST);
}

/* Masked: nobody is to be interrupted.  A poll sees it all the same. */
static bool port_new(void *opaque, uint16_t remote, uint32_t *port)
{
    struct guest *guest = opaque;
    if (!xen_port_new(&guest->pages.xen, remote, port))
        return false;
    if (*port / 64 >= 64) {
        xen_port_close(&guest->pages.xen, *port);
        *port = 0;
        return false;
    }
    set_mask(guest, *port);
    return true;
}

static void port_close(void *opaque, uint32_t port)
{
    struct guest *guest = opaque;
    xen_port_close(&guest->pages.xen, port);
}

static void port_notify(void *opaque, uint32_t port)
{
    struct guest *guest = opaque;
    xen_port_notify(&guest->pages.xen, port);
}

static bool grant(void *opaque, uint16_t remote, uint32_t gfn, uint32_t *ref)
{
    struct guest *guest = opaque;
    return pv_grants_make(&guest->grants, remote, gfn, ref);
}

static bool ungrant(void *opaque, uint32_t ref)
{
    struct guest *guest = opaque;
    return pv_grants_end(&guest->grants, ref);
}

static const struct pv_platform platform = {
    .now = now,
    .wait = wait,
    .pages_new = pages_new,
    .pages_free = pages_free,
    .page_abandon = pages_abandon,
    .gfn = pages_gfn,
    .grant = grant,
    .ungrant = ungrant,
    .port_new = port_new,
    .port_close = port_close,
    .port_notify = port_notify,
};

static bool map_grants(struct guest *guest)
{
    uint32_t frames = xen_grant_frames_max(&guest->pages.xen);

    if (frames > GRANT_FRAMES)
        frames = GRANT_FRAMES;
    while (guest->nr_grant_frames < frames &&
           xen_map_grant_frame(&guest->pages.xen, guest->nr_grant_frames,
                               guest->first_gfn + 1 + guest->nr_grant_frames))
        guest->nr_grant_frames++;
    pv_grants_init(&guest->grants, (void *)((guest->first_gfn + 1) * PV_PAGE),
                   guest->nr_grant_frames * PV_PAGE / sizeof(struct grant_entry_v1));
    return guest->nr_grant_frames > 0;
}

static bool open_store(struct guest *guest)
{
    uint64_t page = xen_param(&guest->pages.xen, HVM_PARAM_STORE_PFN);
    uint64_t port = xen_param(&guest->pages.xen, HVM_PARAM_STORE_EVTCHN);

    if (page == 0 || port == 0 || port / 64 >= 64)
        return false;
    set_mask(guest, port);
    pv_store_init(&guest->store, &guest->platform, (void *)(page * PV_PAGE), port, STORE_PATIENCE);
    return true;
}

efi_status guest_open(struct guest *guest, const struct xen *xen, struct efi_boot_services *boot,
                      uint64_t address, uint64_t length)
{
    *guest = (struct guest){ .pages = { .boot = boot, .xen = *xen }, .platform = platform };
    guest->platform.opaque = guest;
    guest->pv = (struct pv_guest){
        .platform = &guest->platform,
        .store = &guest->store,
        .patience = block_patience,
    };
    guest->first_gfn = address / PV_PAGE;
    if (address % PV_PAGE || length < (1 + GRANT_FRAMES) * PV_PAGE)
        return EFI_UNSUPPORTED;
    if (!xen_latch_width(xen) || !xen_map_shared_info(xen, guest->first_gfn))
        return EFI_UNSUPPORTED;
    guest->shared = (void *)address;
    if (guest->shared->vcpus[0].time.mul != 0 && xen_grant_version_1(xen) && map_grants(guest) &&
        open_store(guest))
        return EFI_SUCCESS;
    guest_close(guest);
    return EFI_UNSUPPORTED;
}

void guest_close(struct guest *guest)
{
    if (!guest->shared)
        return;
    for (uint32_t i = 0; i < guest->nr_grant_frames; i++)
        xen_unmap(&guest->pages.xen, guest->first_gfn + 1 + i);
    xen_unmap(&guest->pages.xen, guest->first_gfn);
    guest->shared = NULL;
}
