/* Memory that an emulator adds to a guest: see frames.h. */

#define G_LOG_DOMAIN "frames"
#include "xen/frames.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xendevicemodel.h>
#include <xenforeignmemory.h>

#include "xen/error.h"
#include "xen/grant.h" /* XEN_PAGE_SIZE */

#define KIB_PER_FRAME (XEN_PAGE_SIZE / 1024)
#define FRAMES_PER_TABLE 512   /* of a page table of the guest's physical map */
#define UPPER_TABLES 3         /* of a place, at most: two levels, and the end of a range */
#define BATCH 4096             /* frames of one hypercall */
#define UNIT_ORDER 8           /* XEN_FRAMES_UNIT */
#define PROBE FRAMES_PER_TABLE /* distance of the frames that are looked at, 2 MiB */

/* 1 GiB, 2 MiB, 4 KiB: the guest's processor translates large pages faster. */
static const unsigned orders[] = { 18, 9, 0 };

struct xen_frames {
    unsigned domid;
    uint64_t first;
    uint64_t count;
    uint64_t places[1 + XEN_FRAMES_PLACES]; /* where they are or have been */
    unsigned places_len;
    bool loss_logged;
    xc_interface *xc;
    xendevicemodel_handle *dm;
    xenforeignmemory_handle *memory;
};

void xen_frames_free(struct xen_frames *frames)
{
    if (!frames)
        return;
    if (frames->xc)
        xc_interface_close(frames->xc);
    if (frames->dm)
        xendevicemodel_close(frames->dm);
    if (frames->memory)
        xenforeignmemory_close(frames->memory);
    g_free(frames);
}

static struct xen_frames *open_all(unsigned domid, uint64_t first, uint64_t count, GError **error)
{
    g_assert(count > 0 && count % XEN_FRAMES_UNIT == 0);
    struct xen_frames *frames = g_new0(struct xen_frames, 1);
    frames->domid = domid;
    frames->first = first;
    frames->count = count;
    frames->places[frames->places_len++] = first;
    frames->xc = xc_interface_open(NULL, NULL, 0);
    frames->dm = frames->xc ? xendevicemodel_open(NULL, 0) : NULL;
    frames->memory = frames->dm ? xenforeignmemory_open(NULL, 0) : NULL;
    if (frames->memory)
        return frames;
    xen_set_error(error, "cannot open Xen's interfaces (/dev/xen/privcmd)");
    xen_frames_free(frames);
    return NULL;
}

/* --- the guest's limits --- */

static bool describe(xc_interface *xc, unsigned domid, xc_dominfo_t *info, GError **error)
{
    if (xc_domain_getinfo(xc, domid, 1, info) == 1 && info->domid == domid)
        return true;
    xen_set_error_errno(error, ESRCH, "domain %u", domid);
    return false;
}

bool xen_frames_address_bits(unsigned domid, unsigned *bits, GError **error)
{
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    xc_dominfo_t info;
    if (!xc) {
        xen_set_error(error, "cannot open Xen's interfaces (/dev/xen/privcmd)");
        return false;
    }
    bool good = describe(xc, domid, &info, error);
    *bits = good ? info.gpaddr_bits : 0;
    xc_interface_close(xc);
    return good;
}

static uint64_t pool_bytes(uint64_t count)
{
    uint64_t tables = count / FRAMES_PER_TABLE + count / FRAMES_PER_TABLE / FRAMES_PER_TABLE;
    return (tables + UPPER_TABLES) * (1 + XEN_FRAMES_PLACES) * XEN_PAGE_SIZE;
}

/* What has become page tables cannot be taken back. */
static bool raise_pool(struct xen_frames *frames, GError **error)
{
    uint64_t more = pool_bytes(frames->count), pool;
    if (xc_get_paging_mempool_size(frames->xc, frames->domid, &pool) == 0 &&
        xc_set_paging_mempool_size(frames->xc, frames->domid, pool + more) == 0)
        return true;
    xen_set_error(error, "cannot give domain %u %" PRIu64 " KiB more for its page tables",
                  frames->domid, more / 1024);
    return false;
}

static bool change_memory(struct xen_frames *frames, bool raise, GError **error)
{
    xc_dominfo_t info;
    if (!describe(frames->xc, frames->domid, &info, error))
        return false;
    uint64_t share = frames->count * KIB_PER_FRAME;
    uint64_t kib = raise ? info.max_memkb + share : info.max_memkb - share;
    if (xc_domain_setmaxmem(frames->xc, frames->domid, kib) == 0)
        return true;
    xen_set_error(error, "cannot let domain %u have %" PRIu64 " KiB of memory", frames->domid, kib);
    return false;
}

/*
 * Reads and writes limits that the guest's other roles change too: one process at a time, and
 * what all of them have in common is their program.
 */
static bool change_limits(struct xen_frames *frames, bool raise, GError **error)
{
    int lock = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (lock >= 0)
        flock(lock, LOCK_EX);
    bool changed = (!raise || raise_pool(frames, error)) && change_memory(frames, raise, error);
    if (lock >= 0)
        close(lock);
    return changed;
}

/* --- adding and removing --- */

/* Adds extents of 2^ORDER frames from the frame DONE on; returns how many frames came. */
static uint64_t populate(struct xen_frames *frames, uint64_t done, unsigned order)
{
    g_autofree xen_pfn_t *extents = g_new(xen_pfn_t, BATCH);
    uint64_t wanted = (frames->count - done) >> order, came = 0;

    while (came < wanted) {
        int batch = MIN(wanted - came, BATCH);
        for (int i = 0; i < batch; i++)
            extents[i] = frames->first + done + ((came + i) << order);
        int result =
            xc_domain_populate_physmap(frames->xc, frames->domid, batch, order, 0, extents);
        if (result > 0)
            came += result;
        if (result != batch)
            break;
    }
    return came << order;
}

/* Takes the first COUNT frames out of the guest.  There is nobody to tell of a failure. */
static void depopulate(struct xen_frames *frames, uint64_t count)
{
    xen_pfn_t extents[BATCH / XEN_FRAMES_UNIT];

    for (uint64_t done = 0; done < count;) {
        unsigned batch = 0;
        for (; batch < G_N_ELEMENTS(extents) && done < count; batch++, done += XEN_FRAMES_UNIT)
            extents[batch] = frames->first + done;
        xc_domain_decrease_reservation(frames->xc, frames->domid, batch, UNIT_ORDER, extents);
    }
}

static bool populate_all(struct xen_frames *frames, GError **error)
{
    uint64_t done = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(orders); i++)
        done += populate(frames, done, orders[i]);
    if (done == frames->count)
        return true;

    xc_physinfo_t host = { 0 };
    xc_physinfo(frames->xc, &host);
    depopulate(frames, done);
    xen_set_error_errno(error, ENOMEM,
                        "domain %u needs %" PRIu64 " MiB more memory, and the host has %" PRIu64
                        " MiB free; make dom0 smaller (xl mem-set 0), or the guest's memory",
                        frames->domid, frames->count / XEN_FRAMES_UNIT,
                        (uint64_t)host.free_pages / XEN_FRAMES_UNIT);
    return false;
}

struct xen_frames *xen_frames_new(unsigned domid, uint64_t first, uint64_t count, GError **error)
{
    struct xen_frames *frames = open_all(domid, first, count, error);
    if (!frames)
        return NULL;
    if (change_limits(frames, true, error)) {
        if (populate_all(frames, error))
            return frames;
        change_limits(frames, false, NULL);
    }
    xen_frames_free(frames);
    return NULL;
}

struct xen_frames *xen_frames_adopt(unsigned domid, uint64_t first, uint64_t count, GError **error)
{
    return open_all(domid, first, count, error);
}

/* --- moving --- */

/* Is there memory at any of these frames? */
static bool any_populated(struct xen_frames *frames, const xen_pfn_t *gfns, unsigned count)
{
    g_autofree int *errors = g_new0(int, count);
    void *mapping =
        xenforeignmemory_map(frames->memory, frames->domid, PROT_READ, count, gfns, errors);
    bool found = false;

    if (!mapping)
        return false;
    for (unsigned i = 0; i < count; i++)
        found |= errors[i] == 0;
    xenforeignmemory_unmap(frames->memory, mapping, count);
    return found;
}

static bool is_free(struct xen_frames *frames, uint64_t first)
{
    g_autofree xen_pfn_t *gfns = g_new(xen_pfn_t, BATCH);

    for (uint64_t done = 0; done < frames->count;) {
        unsigned batch = 0;
        for (; batch < BATCH && done < frames->count; batch++, done += PROBE)
            gfns[batch] = first + done;
        if (any_populated(frames, gfns, batch))
            return false;
    }
    xen_pfn_t last = first + (frames->count - 1);
    return !any_populated(frames, &last, 1);
}

/* Remembers the place; false if it is one too many. */
static bool note_place(struct xen_frames *frames, uint64_t first)
{
    for (unsigned i = 0; i < frames->places_len; i++) {
        if (frames->places[i] == first)
            return true;
    }
    if (frames->places_len == G_N_ELEMENTS(frames->places))
        return false;
    frames->places[frames->places_len++] = first;
    return true;
}

static bool relocate(struct xen_frames *frames, uint64_t offset, uint64_t count, uint64_t first)
{
    return xendevicemodel_relocate_memory(frames->dm, frames->domid, count, frames->first + offset,
                                          first + offset) == 0;
}

/* Moves one batch; returns how many frames could not be moved. */
static uint64_t move_batch(struct xen_frames *frames, uint64_t offset, uint64_t first)
{
    uint64_t count = MIN(frames->count - offset, BATCH), lost = 0;

    if (relocate(frames, offset, count, first))
        return 0;
    for (uint64_t i = 0; i < count; i++)
        lost += !relocate(frames, offset + i, 1, first);
    return lost;
}

bool xen_frames_move(struct xen_frames *frames, uint64_t first, GError **error)
{
    uint64_t lost = 0;

    if (first == frames->first)
        return true;
    if (!is_free(frames, first)) {
        xen_set_error_errno(error, EEXIST, "the guest has other memory at 0x%" PRIx64,
                            first * XEN_PAGE_SIZE);
        return false;
    }
    if (!note_place(frames, first)) {
        xen_set_error_errno(error, ENOSPC, "it has been at %u other places", XEN_FRAMES_PLACES);
        return false;
    }
    for (uint64_t offset = 0; offset < frames->count; offset += BATCH)
        lost += move_batch(frames, offset, first);
    frames->first = first;
    if (lost && !frames->loss_logged)
        g_warning("domain %u: %" PRIu64 " of %" PRIu64 " frames at 0x%" PRIx64
                  " were not there to be moved; more will not be reported",
                  frames->domid, lost, frames->count, first * XEN_PAGE_SIZE);
    frames->loss_logged |= lost > 0;
    return true;
}

uint64_t xen_frames_first(const struct xen_frames *frames)
{
    return frames->first;
}

uint64_t xen_frames_count(const struct xen_frames *frames)
{
    return frames->count;
}
