/*
 * The end of a connection: see disk.h.
 *
 * The next frontend must find the backend waiting and no node of ours: Linux's writes
 * "ring-page-order" only if it wants more than one page, and would be believed to want what we did.
 * QEMU's backend looks at Initialising only when it is Closed, so that is waited for.
 */
#include "ovmf-drivers/core/disk.h"

#include <xen/io/xenbus.h>

#define IN(state) (1u << (state))

static const char *const own_nodes[] = {
    "ring-ref", "ring-ref0", "ring-ref1", "event-channel", "ring-page-order", "protocol",
};

static void remove_nodes(struct pv_disk *disk)
{
    for (size_t i = 0; i < sizeof(own_nodes) / sizeof(own_nodes[0]); i++)
        pv_store_remove(disk->guest->store, disk->frontend, own_nodes[i]);
}

/* True if the backend has let go of the disk. */
static bool say_closed(struct pv_disk *disk, uint64_t deadline)
{
    const unsigned gone = IN(XenbusStateUnknown) | IN(XenbusStateClosed) | IN(XenbusStateInitWait);
    unsigned state;

    if (pv_disk_set_state(disk, XenbusStateClosing) != PV_OK)
        return false;
    pv_disk_await(disk, gone | IN(XenbusStateClosing), deadline, &state);
    if (pv_disk_set_state(disk, XenbusStateClosed) != PV_OK)
        return false;
    return pv_disk_await(disk, gone, deadline, &state) == PV_OK;
}

static void release(struct pv_disk *disk)
{
    const struct pv_guest *guest = disk->guest;
    bool released = pv_pool_close(&disk->pool, guest->platform);

    released &= pv_pool_close(&disk->ring_pages, guest->platform);
    if (disk->port)
        guest->platform->port_close(guest->platform->opaque, disk->port);
    disk->port = 0;
    if (!released)
        disk->problem = "the backend keeps pages of ours, which nobody can use now";
}

void pv_disk_close(struct pv_disk *disk, uint64_t patience)
{
    const struct pv_guest *guest = disk->guest;
    uint64_t most = guest->patience.close;
    unsigned state;

    if (disk->state == PV_DISK_CLOSED)
        return; /* and there may be no clock any more */
    disk->state = PV_DISK_CLOSED;
    uint64_t deadline = pv_now(guest->platform) + (patience < most ? patience : most);
    bool closed = say_closed(disk, deadline);
    if (!closed)
        disk->problem = "the backend does not close";
    remove_nodes(disk);
    release(disk);
    if (closed && pv_disk_set_state(disk, XenbusStateInitialising) == PV_OK)
        pv_disk_await(disk, IN(XenbusStateUnknown) | IN(XenbusStateInitWait), deadline, &state);
}
