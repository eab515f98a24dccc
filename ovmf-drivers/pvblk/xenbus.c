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
static bool mark(struct xenbus_grants *grants, uint32_t ref)
{
    uint32_t bit = 1u << ref % 32;

    if (ref < GNTTAB_NR_RESERVED_ENTRIES || ref >= XENBUS_REFS_MAX || grants->used[ref / 32] & bit)
        return false;
    grants->used[ref / 32] |= bit;
    grants->count++;
    return true;
}

static bool grant(void *opaque, uint16_t remote, uint32_t gfn, uint32_t *ref)
{
    struct xenbus *xenbus = opaque;

    *ref = 0;
    if (xenbus->share == 0 ||
        EFI_IS_ERROR(xenbus->bus->grant_access(xenbus->bus, remote, gfn, false, ref)) ||
        !mark(xenbus->grants, *ref))
        return false;
    xenbus->share--;
    return true;
}

static bool ungrant(void *opaque, uint32_t ref)
{
    struct xenbus *xenbus = opaque;

    if (EFI_IS_ERROR(xenbus->bus->grant_end_access(xenbus->bus, ref)))
        return false;
    xenbus->grants->used[ref / 32] &= ~(1u << ref % 32);
    xenbus->grants->count--;
    xenbus->share++;
    return true;
}

/* --- xenstore --- */

static enum pv_status to_status(struct pv_store *store, enum efi_xenbus_status status)
{
    switch (status) {
    case EFI_XENBUS_SUCCESS:
        return PV_OK;
    case EFI_XENBUS_NO_ENTRY:
        return PV_ABSENT;
    case EFI_XENBUS_IO_ERROR: /* it has lost its place in the ring */
        store->broken = true;
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
    enum pv_status status = to_status(&xenbus->store, said);
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
        return to_status(&xenbus->store,
                         bus->print(bus, NULL, bus->node, message->node, "%a", message->value));
    case XS_RM:
        return to_status(&xenbus->store, bus->remove(bus, NULL, message->node));
    default:
        return PV_REFUSED;
    }
}

/*
 * Not below this priority: an event's request, to another disk, must not get between this one and
 * its answer, and edk2 sleeps until the next tick if it may.
 */
static enum pv_status talk(struct pv_store *store, const struct pv_store_message *message,
                           size_t *length)
{
    struct xenbus *xenbus = (struct xenbus *)((uint8_t *)store - offsetof(struct xenbus, store));
    struct efi_boot_services *boot = xenbus->pages.boot;
    efi_tpl level = boot->raise_tpl(EFI_TPL_NOTIFY);
    enum pv_status status = request(xenbus, message, length);

    boot->restore_tpl(level);
    return status;
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
                 struct efi_xenbus *bus, struct xenbus_grants *grants)
{
    *xenbus = (struct xenbus){
        .pages = { .boot = boot, .xen = *xen },
        .bus = bus,
        .grants = grants,
        .platform = platform,
        .store = { .talk = talk },
    };
    if (grants->count < XENBUS_GRANTS)
        xenbus->share = (XENBUS_GRANTS - grants->count) / XENBUS_SHARE;
    xenbus->platform.opaque = xenbus;
    xenbus->pv = (struct pv_guest){
        .platform = &xenbus->platform,
        .store = &xenbus->store,
        .patience = block_patience,
    };
}
