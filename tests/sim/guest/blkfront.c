/* The test frontend's negotiation and life cycle: see blkfront.h. */

#include "tests/sim/guest/blkfront-queue.h"

#include <stdlib.h>
#include <string.h>
#include <xen/io/protocols.h>
#include <xen/io/xenbus.h>

#define POLL_US 300

/* A set of backend states, as bits. */
#define IN(state) (1u << (state))

static char *read_node(struct blkfront *front, const char *dir, const char *node)
{
    g_autofree char *path = g_strdup_printf("%s/%s", dir, node);
    return guest_store_read(front->guest, path);
}

static uint64_t read_number(struct blkfront *front, const char *dir, const char *node,
                            uint64_t fallback)
{
    g_autofree char *text = read_node(front, dir, node);
    return text ? strtoull(text, NULL, 10) : fallback;
}

static enum xenbus_state backend_state(struct blkfront *front)
{
    return read_number(front, front->backend, "state", XenbusStateUnknown);
}

/* Waits until the backend is in one of STATES; the state it is in then, or in the end. */
static enum xenbus_state await_backend(struct blkfront *front, unsigned states)
{
    gint64 end = g_get_monotonic_time() + BLKFRONT_PATIENCE_MS * G_TIME_SPAN_MILLISECOND;
    enum xenbus_state state = backend_state(front);
    while (!(states & IN(state)) && g_get_monotonic_time() < end) {
        g_usleep(POLL_US);
        state = backend_state(front);
    }
    return state;
}

static void set_state(struct blkfront *front, enum xenbus_state state)
{
    g_autofree char *path = g_strdup_printf("%s/state", front->path);
    guest_store_printf(front->guest, path, "%d", state);
}

/* True, or what went wrong in *REASON. */
static bool expect_backend(struct blkfront *front, enum xenbus_state wanted, unsigned give_up,
                           char **reason)
{
    enum xenbus_state state = await_backend(front, IN(wanted) | give_up);
    if (state == wanted)
        return true;
    g_autofree char *error = read_node(front, front->backend, "error");
    *reason = g_strdup_printf("%s is in state %d, not %d%s%s", front->backend, state, wanted,
                              error ? ": " : "", error ? error : "");
    return false;
}

/*
 * To a backend in InitWait, as Linux does it when it finds a device that somebody else has used.
 * Firmware has no patience for that: it connects over what is there.
 */
static bool reset_backend(struct blkfront *front, bool firmware, char **reason)
{
    enum xenbus_state state = backend_state(front);

    if (firmware && state == XenbusStateConnected)
        return true;
    if (state == XenbusStateConnected) {
        set_state(front, XenbusStateClosing);
        state = await_backend(front, IN(XenbusStateClosing) | IN(XenbusStateClosed));
    }
    if (state == XenbusStateClosing) {
        set_state(front, XenbusStateClosed);
        await_backend(front, IN(XenbusStateClosed) | IN(XenbusStateInitWait));
    }
    /* A device that nobody has used is in this state already. */
    if (read_number(front, front->path, "state", 0) != XenbusStateInitialising)
        set_state(front, XenbusStateInitialising);
    return expect_backend(front, XenbusStateInitWait, 0, reason);
}

static unsigned max_ring_order(struct blkfront *front)
{
    uint64_t order = read_number(front, front->backend, "max-ring-page-order", 0);
    uint64_t pages = read_number(front, front->backend, "max-ring-pages", 1);
    uint64_t old_order = pages > 1 ? g_bit_storage(pages) - 1 : 0;
    return MIN(MAX(order, old_order), 8);
}

static void read_features(struct blkfront *front)
{
    struct blkfront_disk *disk = &front->disk;
    const char *dir = front->backend;

    disk->flush = read_number(front, dir, "feature-flush-cache", 0);
    disk->barrier = read_number(front, dir, "feature-barrier", 0);
    disk->discard = read_number(front, dir, "feature-discard", 0);
    disk->discard_secure = read_number(front, dir, "discard-secure", 0);
    disk->persistent = read_number(front, dir, "feature-persistent", 0);
    disk->max_ring_order = max_ring_order(front);
    disk->max_queues = read_number(front, dir, "multi-queue-max-queues", 1);
    disk->max_indirect = read_number(front, dir, "feature-max-indirect-segments", 0);
}

static void read_properties(struct blkfront *front)
{
    struct blkfront_disk *disk = &front->disk;
    const char *dir = front->backend;

    disk->sectors = read_number(front, dir, "sectors", 0);
    disk->sector_size = read_number(front, dir, "sector-size", BLKFRONT_SECTOR);
    disk->physical_sector_size = read_number(front, dir, "physical-sector-size", disk->sector_size);
    disk->info = read_number(front, dir, "info", 0);
}

static void negotiate(struct blkfront *front, const struct blkfront_options *options)
{
    const struct blkfront_disk *disk = &front->disk;
    unsigned indirect =
        MIN(MIN(options->indirect, disk->max_indirect), (unsigned)BLKFRONT_SEGMENTS_MAX);

    front->compact = g_strcmp0(options->protocol, XEN_IO_PROTO_ABI_X86_32) == 0;
    front->persistent = options->persistent && disk->persistent;
    front->segments = MAX(indirect, BLKIF_MAX_SEGMENTS_PER_REQUEST);
    front->ring_pages = 1u << MIN(options->ring_order, disk->max_ring_order);
    front->ring_entries = blkfront_layout_entries(front->compact, front->ring_pages);
    front->nr_queues = MAX(1, MIN(options->queues, disk->max_queues));
}

static void open_queue(struct blkfront *front, struct blkfront_queue *queue, uint32_t ring_start)
{
    queue->front = front;
    queue->ring = guest_alloc(front->guest, front->ring_pages);
    queue->ring_refs = g_new(uint32_t, front->ring_pages);
    for (unsigned i = 0; i < front->ring_pages; i++)
        queue->ring_refs[i] =
            guest_grant(front->guest, 0, queue->ring + (size_t)i * GUEST_PAGE, false);
    queue->port = guest_port_alloc(front->guest, 0);
    queue->pages = g_ptr_array_new_with_free_func(g_free);
    queue->flights = g_new0(struct blkfront_flight, front->ring_entries);
    blkfront_queue_init_ring(queue, ring_start);
}

/* False if the backend still has the ring mapped; its pages are lost to the guest then. */
static bool close_queue(struct blkfront *front, struct blkfront_queue *queue)
{
    bool released = true;
    for (unsigned i = 0; i < front->ring_pages; i++)
        released &= guest_ungrant(front->guest, queue->ring_refs[i]);
    if (released)
        guest_free(front->guest, queue->ring, front->ring_pages);
    guest_port_close(front->guest, queue->port);
    return released;
}

static void free_queue(struct blkfront *front, struct blkfront_queue *queue)
{
    for (unsigned i = 0; i < front->ring_entries; i++)
        g_free(queue->flights[i].pages);
    g_free(queue->flights);
    g_ptr_array_unref(queue->pages);
    g_free(queue->ring_refs);
}

/* What the process has of it; what the guest has is somebody else's business. */
static void front_free(struct blkfront *front)
{
    for (unsigned i = 0; front->queues && i < front->nr_queues; i++)
        free_queue(front, &front->queues[i]);
    g_free(front->queues);
    g_free(front->backend);
    g_free(front->path);
    g_free(front);
}

static bool release(struct blkfront *front)
{
    bool released = true;
    for (unsigned i = 0; front->queues && i < front->nr_queues; i++) {
        released &= blkfront_queue_free_pages(&front->queues[i]);
        released &= close_queue(front, &front->queues[i]);
    }
    front_free(front);
    return released;
}

static void publish_queue(struct blkfront *front, const struct blkfront_queue *queue,
                          const char *dir)
{
    g_autofree char *port = g_strdup_printf("%s/event-channel", dir);
    guest_store_printf(front->guest, port, "%u", queue->port);
    for (unsigned i = 0; i < front->ring_pages; i++) {
        g_autofree char *ref = front->ring_pages == 1 ? g_strdup_printf("%s/ring-ref", dir)
                                                      : g_strdup_printf("%s/ring-ref%u", dir, i);
        guest_store_printf(front->guest, ref, "%u", queue->ring_refs[i]);
    }
}

/* VALUE, or no node if it is 0: another driver may have left one. */
static void publish_number(struct blkfront *front, const char *node, unsigned value)
{
    g_autofree char *path = g_strdup_printf("%s/%s", front->path, node);
    if (value)
        guest_store_printf(front->guest, path, "%u", value);
    else
        guest_store_remove(front->guest, path);
}

static void publish(struct blkfront *front, const char *protocol)
{
    bool multi_page = front->ring_pages > 1, multi_queue = front->nr_queues > 1;
    g_autofree char *abi = g_strdup_printf("%s/protocol", front->path);

    if (protocol)
        guest_store_write(front->guest, abi, protocol);
    else
        guest_store_remove(front->guest, abi);
    publish_number(front, "feature-persistent", front->persistent);
    publish_number(front, "ring-page-order", multi_page ? g_bit_storage(front->ring_pages) - 1 : 0);
    publish_number(front, "num-ring-pages", multi_page ? front->ring_pages : 0);
    publish_number(front, "multi-queue-num-queues", multi_queue ? front->nr_queues : 0);
    if (multi_queue || multi_page)
        publish_number(front, "ring-ref", 0);
    if (multi_queue)
        publish_number(front, "event-channel", 0);
    for (unsigned i = 0; i < front->nr_queues; i++) {
        g_autofree char *dir =
            multi_queue ? g_strdup_printf("%s/queue-%u", front->path, i) : g_strdup(front->path);
        publish_queue(front, &front->queues[i], dir);
    }
}

static bool connect_front(struct blkfront *front, const struct blkfront_options *options,
                          char **reason)
{
    if (!reset_backend(front, options->firmware, reason))
        return false;
    read_features(front);
    negotiate(front, options);
    front->queues = g_new0(struct blkfront_queue, front->nr_queues);
    for (unsigned i = 0; i < front->nr_queues; i++)
        open_queue(front, &front->queues[i], options->ring_start);
    publish(front, options->protocol);
    set_state(front, options->firmware ? XenbusStateConnected : XenbusStateInitialised);
    if (!expect_backend(front, XenbusStateConnected, IN(XenbusStateClosing) | IN(XenbusStateClosed),
                        reason))
        return false;
    read_properties(front);
    if (!options->firmware)
        set_state(front, XenbusStateConnected);
    return true;
}

struct blkfront *blkfront_connect(struct guest *guest, unsigned devid,
                                  const struct blkfront_options *options, char **reason)
{
    static const struct blkfront_options plain = { 0 };
    struct blkfront *front = g_new0(struct blkfront, 1);
    g_autofree char *ignored = NULL;

    if (!reason)
        reason = &ignored;
    front->guest = guest;
    front->path = g_strdup_printf("device/vbd/%u", devid);
    front->backend = read_node(front, front->path, "backend");
    if (!front->backend) {
        *reason = g_strdup_printf("%s/backend is not there", front->path);
        front_free(front);
        return NULL;
    }
    if (connect_front(front, options ? options : &plain, reason))
        return front;
    release(front);
    return NULL;
}

bool blkfront_close(struct blkfront *front)
{
    const unsigned gone = IN(XenbusStateClosed) | IN(XenbusStateUnknown);

    set_state(front, XenbusStateClosing);
    bool followed =
        (gone | IN(XenbusStateClosing)) & IN(await_backend(front, gone | IN(XenbusStateClosing)));
    set_state(front, XenbusStateClosed);
    followed = followed && gone & IN(await_backend(front, gone));
    return release(front) && followed;
}

void blkfront_abandon(struct blkfront *front)
{
    front_free(front);
}

const struct blkfront_disk *blkfront_disk(const struct blkfront *front)
{
    return &front->disk;
}

unsigned blkfront_queues(const struct blkfront *front)
{
    return front->nr_queues;
}

unsigned blkfront_ring_entries(const struct blkfront *front)
{
    return front->ring_entries;
}
