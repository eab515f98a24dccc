/*
 * Negotiation with a block backend: see disk.h.
 *
 * The order of states is Linux's (Initialised, then Connected), which every backend knows.
 */
#include "ovmf-drivers/core/disk.h"

#include <xen/io/xenbus.h>

#include "ovmf-drivers/core/text.h"

#define IN(state) (1u << (state))

/* How often the backend's state is looked at. */
#define LOOK (2 * PV_MS)

/* More than that would be past 2^63 bytes. */
#define SECTORS_MAX (UINT64_MAX >> 10)

/* Pages of a request's data if the backend takes indirect ones, and of all slots together. */
#define INDIRECT_SEGMENTS 64
#define INDIRECT_PAGES 512

/* Domains above are Xen's own. */
#define DOMID_MAX 0x7FEF

enum pv_status pv_disk_die(struct pv_disk *disk, enum pv_status status, const char *problem)
{
    if (disk->state != PV_DISK_DEAD)
        disk->problem = problem;
    disk->state = PV_DISK_DEAD;
    return status;
}

static struct pv_store *store_of(const struct pv_disk *disk)
{
    return disk->guest->store;
}

/* TEXT with a NUL, if it fits. */
static bool copy_text(char *to, size_t size, const char *text)
{
    size_t length = pv_text_length(text);
    if (length >= size)
        return false;
    __builtin_memcpy(to, text, length + 1);
    return true;
}

static bool is_name(const char *text)
{
    for (; *text; text++) {
        if (*text <= ' ' || *text > '~')
            return false;
    }
    return true;
}

static void read_name(struct pv_disk *disk, const char *id)
{
    const char *name;

    if (pv_store_read(store_of(disk), disk->backend, "dev", &name) == PV_OK && *name &&
        is_name(name) && copy_text(disk->name, sizeof(disk->name), name))
        return;
    copy_text(disk->name, sizeof(disk->name), id);
}

enum pv_status pv_disk_init(struct pv_disk *disk, struct pv_guest *guest, const char *id)
{
    static const char directory[] = "device/vbd/";
    const size_t prefix = sizeof(directory) - 1;
    const char *backend;
    uint64_t domid;

    *disk = (struct pv_disk){ .guest = guest, .state = PV_DISK_CLOSED };
    __builtin_memcpy(disk->frontend, directory, prefix);
    if (!pv_number_parse(id, UINT32_MAX, &(uint64_t){ 0 }) ||
        !copy_text(disk->frontend + prefix, sizeof(disk->frontend) - prefix, id))
        return PV_REFUSED;
    enum pv_status status =
        pv_store_read_number(guest->store, disk->frontend, "backend-id", DOMID_MAX, 0, &domid);
    if (status == PV_OK)
        status = pv_store_read(guest->store, disk->frontend, "backend", &backend);
    if (status != PV_OK)
        return status;
    disk->domid = domid;
    if (!copy_text(disk->backend, sizeof(disk->backend), backend))
        return PV_REFUSED;
    read_name(disk, id);
    return PV_OK;
}

enum pv_status pv_disk_backend_state(struct pv_disk *disk, unsigned *state)
{
    uint64_t number = 0;
    enum pv_status status = pv_store_read_number(store_of(disk), disk->backend, "state",
                                                 XenbusStateReconfigured, 0, &number);
    *state = number;
    return status;
}

enum pv_status pv_disk_set_state(struct pv_disk *disk, unsigned state)
{
    return pv_store_write_number(store_of(disk), disk->frontend, "state", state);
}

enum pv_status pv_disk_await(struct pv_disk *disk, unsigned states, uint64_t deadline,
                             unsigned *state)
{
    const struct pv_platform *platform = disk->guest->platform;

    for (;;) {
        enum pv_status status = pv_disk_backend_state(disk, state);
        if (status != PV_OK || states & IN(*state))
            return status;
        uint64_t now = pv_now(platform);
        if (now >= deadline)
            return PV_TIMEOUT;
        platform->wait(platform->opaque, 0, now + LOOK < deadline ? now + LOOK : deadline);
    }
}

/* From whatever a frontend before us has left to a backend that waits for one. */
static enum pv_status await_ready(struct pv_disk *disk, uint64_t deadline)
{
    unsigned state;
    const unsigned settled = IN(XenbusStateInitWait) | IN(XenbusStateConnected) |
                             IN(XenbusStateClosing) | IN(XenbusStateClosed);
    uint64_t ready = pv_now(disk->guest->platform) + disk->guest->patience.ready;
    enum pv_status status = pv_disk_await(disk, settled, ready, &state);

    if (status != PV_OK || state == XenbusStateInitWait)
        return status;
    if (state == XenbusStateConnected) {
        status = pv_disk_set_state(disk, XenbusStateClosing);
        if (status == PV_OK)
            status = pv_disk_await(disk, IN(XenbusStateClosing) | IN(XenbusStateClosed), deadline,
                                   &state);
    }
    if (status == PV_OK && state == XenbusStateClosing) {
        status = pv_disk_set_state(disk, XenbusStateClosed);
        if (status == PV_OK)
            status = pv_disk_await(disk, IN(XenbusStateClosed) | IN(XenbusStateInitWait), deadline,
                                   &state);
    }
    if (status == PV_OK)
        status = pv_disk_set_state(disk, XenbusStateInitialising);
    return status == PV_OK ? pv_disk_await(disk, IN(XenbusStateInitWait), deadline, &state)
                           : status;
}

struct features {
    uint64_t indirect, ring_order, ring_pages, flush, barrier;
};

static enum pv_status read_features(struct pv_disk *disk, struct features *features)
{
    const struct {
        const char *node;
        uint64_t fallback, *number;
    } nodes[] = {
        { "feature-max-indirect-segments", 0, &features->indirect },
        { "max-ring-page-order", 0, &features->ring_order },
        { "feature-flush-cache", 0, &features->flush },
        { "feature-barrier", 0, &features->barrier },
    };
    enum pv_status status = PV_OK;

    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]) && status == PV_OK; i++)
        status = pv_store_read_number(store_of(disk), disk->backend, nodes[i].node, UINT32_MAX,
                                      nodes[i].fallback, nodes[i].number);
    disk->flush = features->flush     ? BLKIF_OP_FLUSH_DISKCACHE
                  : features->barrier ? BLKIF_OP_WRITE_BARRIER
                                      : 0;
    return status;
}

/* As many slots as are useful, of at most SEGMENTS pages. */
static void plan(struct pv_disk *disk, const struct features *features, uint64_t segments)
{
    disk->indirect = segments > BLKIF_MAX_SEGMENTS_PER_REQUEST;
    disk->segments = BLKIF_MAX_SEGMENTS_PER_REQUEST;
    disk->nr_slots = PV_SLOTS_MAX;
    if (disk->indirect) {
        disk->segments = segments < INDIRECT_SEGMENTS ? segments : INDIRECT_SEGMENTS;
        disk->nr_slots = INDIRECT_PAGES / disk->segments;
    }
    if (features->ring_order == 0 && disk->nr_slots > pv_ring_entries(1))
        disk->nr_slots = pv_ring_entries(1);
}

/* The ring's pages, and the slots' and their tables', or nothing. */
static bool take_pages(struct pv_disk *disk)
{
    const struct pv_platform *platform = disk->guest->platform;
    uint32_t ring = disk->nr_slots > pv_ring_entries(1) ? PV_RING_PAGES_MAX : 1;
    uint32_t pages = disk->nr_slots * (disk->segments + disk->indirect);

    if (!pv_pool_open(&disk->ring_pages, platform, disk->domid, ring, true))
        return false;
    if (pv_pool_open(&disk->pool, platform, disk->domid, pages, false))
        return true;
    pv_pool_close(&disk->ring_pages, platform);
    return false;
}

/* If memory or grants are short: fewer requests, then shorter ones. */
static bool open_pages(struct pv_disk *disk, const struct features *features)
{
    plan(disk, features, features->indirect);
    while (!take_pages(disk)) {
        disk->nr_slots /= 2;
        if (disk->nr_slots == 0 && !disk->indirect)
            return false;
        if (disk->nr_slots == 0)
            plan(disk, features, 0);
    }
    return true;
}

static bool open_ring(struct pv_disk *disk)
{
    const struct pv_platform *platform = disk->guest->platform;

    pv_ring_init(&disk->ring, disk->ring_pages.pages, disk->ring_pages.count);
    return platform->port_new(platform->opaque, disk->domid, &disk->port);
}

/* The node with VALUE, or none: another driver may have left one. */
static enum pv_status publish_or_remove(struct pv_disk *disk, const char *node, uint32_t value)
{
    if (value > 0)
        return pv_store_write_number(store_of(disk), disk->frontend, node, value);
    enum pv_status status = pv_store_remove(store_of(disk), disk->frontend, node);
    return status == PV_ABSENT ? PV_OK : status;
}

static enum pv_status publish_ring(struct pv_disk *disk)
{
    const struct pv_pool *pages = &disk->ring_pages;
    enum pv_status status = PV_OK;

    if (pages->count == 1)
        return pv_store_write_number(store_of(disk), disk->frontend, "ring-ref", pages->refs[0]);
    for (uint32_t i = 0; i < pages->count && status == PV_OK; i++) {
        const char node[] = { 'r', 'i', 'n', 'g', '-', 'r', 'e', 'f', '0' + i, '\0' };
        status = pv_store_write_number(store_of(disk), disk->frontend, node, pages->refs[i]);
    }
    return status;
}

static enum pv_status publish(struct pv_disk *disk, const struct features *features)
{
    enum pv_status status = publish_ring(disk);
    const struct {
        const char *node;
        uint32_t value;
    } numbers[] = {
        { "ring-page-order", disk->ring_pages.count - 1 },
        { "num-ring-pages", 0 },
        { "multi-queue-num-queues", 0 },
        { "feature-persistent", 0 },
        { "event-channel", disk->port },
    };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && status == PV_OK; i++)
        status = publish_or_remove(disk, numbers[i].node, numbers[i].value);
    if (status == PV_OK)
        status = pv_store_write(store_of(disk), disk->frontend, "protocol", "x86_64-abi");
    return status == PV_OK ? pv_disk_set_state(disk, XenbusStateInitialised) : status;
}

enum pv_status pv_disk_refresh(struct pv_disk *disk)
{
    uint64_t sectors, size, info;
    struct pv_store *store = store_of(disk);
    enum pv_status status =
        pv_store_read_number(store, disk->backend, "sectors", SECTORS_MAX, 0, &sectors);

    if (status == PV_OK)
        status =
            pv_store_read_number(store, disk->backend, "sector-size", PV_PAGE, PV_SECTOR, &size);
    if (status == PV_OK)
        status = pv_store_read_number(store, disk->backend, "info", UINT32_MAX, 0, &info);
    if (status != PV_OK)
        return status;
    if (size < PV_SECTOR || (size & (size - 1)) != 0)
        return PV_BROKEN;
    disk->medium = (struct pv_medium){
        .sectors = sectors,
        .sector_size = size,
        .read_only = info & VDISK_READONLY,
        .removable = info & (VDISK_REMOVABLE | VDISK_CDROM),
        .cdrom = info & VDISK_CDROM,
    };
    return PV_OK;
}

static enum pv_status await_connected(struct pv_disk *disk, uint64_t deadline)
{
    const unsigned refused =
        IN(XenbusStateUnknown) | IN(XenbusStateClosing) | IN(XenbusStateClosed);
    unsigned state;
    enum pv_status status =
        pv_disk_await(disk, IN(XenbusStateConnected) | refused, deadline, &state);

    return status == PV_OK && state != XenbusStateConnected ? PV_REFUSED : status;
}

enum pv_status pv_disk_connect(struct pv_disk *disk)
{
    uint64_t deadline = pv_now(disk->guest->platform) + disk->guest->patience.connect;
    struct features features;

    disk->state = PV_DISK_OPEN;
    enum pv_status status = await_ready(disk, deadline);
    if (status != PV_OK)
        return pv_disk_die(disk, status, "the backend does not get ready");
    status = read_features(disk, &features);
    if (status != PV_OK)
        return pv_disk_die(disk, status, "the backend's features make no sense");
    if (!open_pages(disk, &features) || !open_ring(disk))
        return pv_disk_die(disk, PV_NO_MEMORY, "no memory, grants or event channels are left");
    status = publish(disk, &features);
    if (status != PV_OK)
        return pv_disk_die(disk, status, "xenstore does not take the ring's nodes");
    status = await_connected(disk, deadline);
    if (status != PV_OK)
        return pv_disk_die(disk, status, "the backend does not connect");
    status = pv_disk_refresh(disk);
    if (status != PV_OK)
        return pv_disk_die(disk, status, "the backend's size or sectors make no sense");
    status = pv_disk_set_state(disk, XenbusStateConnected);
    if (status != PV_OK)
        return pv_disk_die(disk, status, "xenstore does not take the state");
    disk->state = PV_DISK_CONNECTED;
    return PV_OK;
}
