/* The core's world behind XENBUS: see xenbus.h. */

#include "ovmf-drivers/pvblk/xenbus.h"

#include <xen/grant_table.h>

#include "ovmf-drivers/core/text.h"
#include "ovmf-drivers/pvblk/block.h"

_Static_assert(offsetof(struct xenbus, pages) == 0, "pages.h");

/* --- time and events --- */

static uint64_t now(void *opaque)
{
    struct xenbus *xenbus = opaque;
    uint64_t time = xen_time(&xenbus->pages.xen);

    if (time > xenbus->now)
        xenbus->now = time;
    return xenbus->now;
}

/* An event would be seen in the ring only, so whoever waits for one looks there soon. */
static void wait(void *opaque, uint32_t port, uint64_t until)
{
    struct xenbus *xenbus = opaque;
    do {
        xen_yield(&xenbus->pages.xen);
    } while (port == 0 && now(xenbus) < until);
}

static bool port_new(void *opaque, uint16_t remote, uint32_t *port)
{
    struct efi_xenbus *bus = ((struct xenbus *)opaque)->bus;

    *port = 0;
    if (bus->port_allocate(bus, remote, port) != 0)
        *port = 0;
    return *port != 0;
}

static void port_close(void *opaque, uint32_t port)
{
    struct efi_xenbus *bus = ((struct xenbus *)opaque)->bus;
    bus->port_close(bus, port);
}

static void port_notify(void *opaque, uint32_t port)
{
    struct efi_xenbus *bus = ((struct xenbus *)opaque)->bus;
    bus->port_notify(bus, port);
}

/* --- grants --- */

/* False: the reference cannot be one that is free. */
static bool mark(struct xenbus_shared *shared, uint32_t ref)
{
    uint32_t bit = 1u << ref % 32;

    if (ref < GNTTAB_NR_RESERVED_ENTRIES || ref >= XENBUS_REFS_MAX || shared->used[ref / 32] & bit)
        return false;
    shared->used[ref / 32] |= bit;
    shared->grants++;
    return true;
}

/* A grant whose reference is not good is there all the same, so there must be no more of these. */
static bool grant(void *opaque, uint16_t remote, uint32_t gfn, uint32_t *ref)
{
    struct xenbus *xenbus = opaque;
    uint32_t made = 0;

    *ref = 0;
    if (xenbus->share == 0 ||
        EFI_IS_ERROR(xenbus->bus->grant_access(xenbus->bus, remote, gfn, false, &made)))
        return false;
    bool good = mark(xenbus->shared, made);
    xenbus->share = good ? xenbus->share - 1 : 0;
    *ref = good ? made : UINT32_MAX;
    return good;
}

static bool ungrant(void *opaque, uint32_t ref)
{
    struct xenbus *xenbus = opaque;

    if (EFI_IS_ERROR(xenbus->bus->grant_end_access(xenbus->bus, ref)))
        return false;
    xenbus->shared->used[ref / 32] &= ~(1u << ref % 32);
    xenbus->shared->grants--;
    xenbus->share++;
    return true;
}

/* --- xenstore --- */

static enum pv_status to_status(struct xenbus *xenbus, enum efi_xenbus_status status)
{
    switch (status) {
    case EFI_XENBUS_SUCCESS:
        return PV_OK;
    case EFI_XENBUS_NO_ENTRY:
        return PV_ABSENT;
    case EFI_XENBUS_IO_ERROR: /* it has lost its place in the ring, which is all disks' */
        xenbus->shared->store_broken = true;
        return PV_BROKEN;
    default:
        return PV_REFUSED;
    }
}

/* TEXT into the payload; it may have any length. */
static enum pv_status take_text(struct pv_store *store, const char *text, size_t *length)
{
    for (*length = 0; *length <= XENSTORE_PAYLOAD_MAX; (*length)++) {
        store->payload[*length] = text[*length];
        if (text[*length] == '\0')
            return PV_OK;
    }
    return PV_BROKEN;
}

static enum pv_status read(struct xenbus *xenbus, const struct pv_store_message *message,
                           size_t *length)
{
    struct efi_xenbus *bus = xenbus->bus;
    void *text = NULL;
    enum efi_xenbus_status said;

    if (pv_text_equal(message->dir, bus->node))
        said = bus->read(bus, NULL, message->node, &text);
    else if (pv_text_equal(message->dir, bus->backend))
        said = bus->backend_read(bus, NULL, message->node, &text);
    else
        return PV_REFUSED; /* the toolstack has given the device to another backend */
    enum pv_status status = to_status(xenbus, said);
    if (status != PV_OK)
        return status;
    if (!text)
        return PV_BROKEN;
    status = take_text(&xenbus->store, text, length);
    xenbus->pages.boot->free_pool(text);
    return status;
}

/* What is written or removed is the frontend's own. */
static enum pv_status request(struct xenbus *xenbus, const struct pv_store_message *message,
                              size_t *length)
{
    struct efi_xenbus *bus = xenbus->bus;

    *length = 0;
    switch (message->type) {
    case XS_READ:
        return read(xenbus, message, length);
    case XS_WRITE:
        return to_status(xenbus,
                         bus->print(bus, NULL, bus->node, message->node, "%a", message->value));
    case XS_RM:
        return to_status(xenbus, bus->remove(bus, NULL, message->node));
    default:
        return PV_REFUSED;
    }
}

/* At the caller's high priority, which keeps edk2 from sleeping until the next tick, too. */
static enum pv_status talk(struct pv_store *store, const struct pv_store_message *message,
                           size_t *length)
{
    struct xenbus *xenbus = (struct xenbus *)((uint8_t *)store - offsetof(struct xenbus, store));
    return xenbus->shared->store_broken ? PV_BROKEN : request(xenbus, message, length);
}

/* --- all of it --- */

const char *xenbus_device(const struct efi_xenbus *bus)
{
    static const char directory[] = "device/vbd/";
    const size_t prefix = sizeof(directory) - 1;

    if (!bus->type || !bus->node || !bus->backend || !pv_text_equal(bus->type, "vbd"))
        return NULL;
    for (size_t i = 0; i < prefix; i++) {
        if (bus->node[i] != directory[i])
            return NULL;
    }
    return bus->node + prefix;
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

void xenbus_open(struct xenbus *xenbus, const struct xen *xen, struct efi_boot_services *boot,
                 struct efi_xenbus *bus, struct xenbus_shared *shared)
{
    *xenbus = (struct xenbus){
        .pages = { .boot = boot, .xen = *xen },
        .bus = bus,
        .shared = shared,
        .platform = platform,
        .store = { .talk = talk },
    };
    if (shared->grants < XENBUS_GRANTS)
        xenbus->share = (XENBUS_GRANTS - shared->grants) / XENBUS_SHARE;
    xenbus->platform.opaque = xenbus;
    xenbus->pv = (struct pv_guest){
        .platform = &xenbus->platform,
        .store = &xenbus->store,
        .patience = block_patience,
    };
}
