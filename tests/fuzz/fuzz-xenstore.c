/*
 * Every xenstore value that a guest can write, in any order and number, as the disk role sees it
 * through the backend state machine.
 *
 * Input: records of a command byte and, for a value of the fuzzer's own, a length byte and so many
 * bytes; see command().  In between the toolstack detaches and attaches the disk and ends the role.
 * Checked: whatever happened before, a frontend that closes and starts anew in an orderly way is
 * served again.
 *
 * The state machine, the vbd and its queue are the product's; grants and event channels are the
 * simulator's; the store is fake-store.c, the I/O fake-io.c.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/blkif.h>

#include "pvbackends/disk/frontend.h"
#include "pvbackends/disk/request.h"
#include "pvbackends/disk/vbd.h"
#include "tests/fuzz/fake-store.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/host.h"

#define COMMANDS_MAX 64
#define HANG_S 8

static struct guest *guest;
static char *image, *frontend, *backend, *backend_state;
static blkif_sring_t *ring;
static struct xen_store *store;
static struct xenbus_bus *bus; /* NULL: the role has ended */
static bool stopping;
static char ref[16], port[16], port_2[16];

/* The nodes of blkif.h, and what an honest frontend writes. */
static const struct {
    const char *name, *good;
} nodes[] = {
    { "state", "3" },
    { "state", "4" },
    { "state", "6" },
    { "state", "1" },
    { "ring-ref", ref },
    { "event-channel", port },
    { "protocol", "x86_64-abi" },
    { "ring-page-order", "0" },
    { "num-ring-pages", "1" },
    { "ring-ref0", ref },
    { "multi-queue-num-queues", "1" },
    { "queue-0/ring-ref", ref },
    { "queue-0/event-channel", port },
    { "feature-persistent", "1" },
    { "state", "5" },
    { "state", "2" },
    { "ring-page-order", "1" },
    { "num-ring-pages", "2" },
    { "ring-ref1", ref },
    { "multi-queue-num-queues", "2" },
    { "queue-0/ring-ref0", ref },
    { "queue-0/ring-ref1", ref },
    { "queue-1/ring-ref", ref },
    { "queue-1/event-channel", port_2 },
    { "queue-1/ring-ref0", ref },
    { "queue-1/ring-ref1", ref },
    { "ring-page-order", "2" },
    { "ring-ref2", ref },
    { "ring-ref3", ref },
    { "state", "3" },
    { "state", "4" },
    { "state", "6" },
};

static void settle(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        continue;
}

static void write_node(unsigned node, const void *value, size_t length)
{
    g_autofree char *path = g_strconcat(frontend, "/", nodes[node].name, NULL);
    fake_store_write(path, value, length);
}

static void write_good(unsigned node)
{
    write_node(node, nodes[node].good, strlen(nodes[node].good));
}

static void set_state(const char *state)
{
    write_node(0, state, strlen(state));
}

static gboolean hang(gpointer opaque)
{
    g_error("the backend is in state %s and stays there", fake_store_read(backend_state));
    return G_SOURCE_REMOVE;
}

static void await_backend(const char *state)
{
    guint alarm = g_timeout_add_seconds(HANG_S, hang, NULL);
    while (g_strcmp0(fake_store_read(backend_state), state) != 0)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(alarm);
}

/* --- the toolstack --- */

static void write_backend(const char *node, const char *value)
{
    g_autofree char *path = g_strconcat(backend, "/", node, NULL);
    fake_store_write(path, value, strlen(value));
}

/* What libxl writes; PARAMS NULL: the image. */
static void attach_disk(const char *params, const char *type)
{
    g_autofree char *whole = g_strconcat("aio:", image, NULL);

    fake_store_remove(backend);
    fake_store_remove(frontend);
    set_state("1");
    write_backend("frontend", frontend);
    write_backend("params", params ? params : whole);
    write_backend("frontend-id", "1");
    write_backend("online", "1");
    write_backend("dev", "xvda");
    write_backend("mode", "w");
    write_backend("device-type", type);
    write_backend("state", "1");
}

static bool options_of(const char *name, struct vbd_options *options, void *opaque, GError **error)
{
    *options = (struct vbd_options){ .max_queues = 2,
                                     .max_ring_page_order = DISK_RING_ORDER_MAX,
                                     .max_indirect_segments = DISK_SEGMENTS_MAX };
    return true;
}

static void start_role(void)
{
    static struct vbd_role role = { .options = options_of };
    g_autoptr(GError) error = NULL;
    bus = xenbus_bus_new(store, guest_domid(guest), &vbd_driver, &role, true, &error);
    if (!bus)
        g_error("%s", error->message);
}

static void on_stopped(void *opaque)
{
    bus = NULL;
}

/* libxl leaves a device that is closed as it is, and waits for the backend to see a new one. */
static void detach_disk(void)
{
    const char *state = fake_store_read(backend_state);
    if (g_strcmp0(state, "6") == 0 || g_strcmp0(state, "1") == 0)
        return;
    write_backend("online", "0");
    write_backend("state", "5");
}

/* After this the disk is as a guest finds it: the role is there, and the disk is its own. */
static void restore_disk(void)
{
    guint alarm = g_timeout_add_seconds(HANG_S, hang, NULL);
    g_autofree char *online = g_strconcat(backend, "/online", NULL);

    while (stopping && bus)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(alarm);
    if (stopping || g_strcmp0(fake_store_read(online), "1") != 0) {
        set_state("6");
        if (!stopping)
            await_backend("6");
        fake_store_remove(backend);
        settle();
        attach_disk(NULL, "disk");
    }
    if (stopping)
        start_role();
    stopping = false;
}

/* --- the guest --- */

/* What a new driver does after any other, and finds a backend that serves it. */
static void connect_orderly(void)
{
    restore_disk();
    fake_store_remove(frontend);
    set_state("6");
    settle();
    set_state("1");
    await_backend("2");
    memset(ring, 0, GUEST_PAGE);
    for (unsigned node = 4; node <= 6; node++)
        write_good(node);
    set_state("3");
    await_backend("4");
    set_state("4");
    settle();
    set_state("6");
    await_backend("6");
    set_state("1");
    await_backend("2");
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init_log();
    guest = fuzz_make_guest(64);
    image = g_strconcat(sim_directory(), "/image", NULL);
    if (!g_file_set_contents(image, "", 0, NULL) || truncate(image, 1 << 20) < 0)
        g_error("cannot make a disk");
    frontend = g_strdup_printf("/local/domain/%u/device/vbd/51712", guest_domid(guest));
    backend = g_strdup_printf("/local/domain/0/backend/qdisk/%u/51712", guest_domid(guest));
    backend_state = g_strconcat(backend, "/state", NULL);
    ring = guest_alloc(guest, 1);
    g_snprintf(ref, sizeof(ref), "%u", guest_grant(guest, 0, ring, false));
    g_snprintf(port, sizeof(port), "%u", guest_port_alloc(guest, 0));
    g_snprintf(port_2, sizeof(port_2), "%u", guest_port_alloc(guest, 0));
    store = xen_store_open(NULL);
    attach_disk(NULL, "disk");
    start_role();
    connect_orderly();
    return 0;
}

/* Things that happen beside a guest's writes to xenstore. */
static void other_event(unsigned which)
{
    static const char *const wrong[] = { "qcow2:/x", "aio:", "aio:/x/y", "" };

    switch (which % 8) {
    case 0: /* a claim of more requests than the ring can hold */
        ring->req_prod = 1000;
        guest_port_notify(guest, strtoul(port, NULL, 10));
        break;
    case 1:
        detach_disk();
        break;
    case 2: /* the toolstack does not wait */
        attach_disk(NULL, "disk");
        break;
    case 3:
        if (!stopping)
            xenbus_bus_stop(bus, on_stopped, NULL);
        stopping = true;
        break;
    case 4:
        attach_disk(NULL, "cdrom");
        break;
    default: /* what cannot be served: as if it had been detached */
        attach_disk(wrong[which % G_N_ELEMENTS(wrong)], "disk");
        settle();
        write_backend("online", "0");
        break;
    }
}

static const uint8_t *command(const uint8_t *data, const uint8_t *end)
{
    uint8_t what = *data++;
    unsigned node = what % G_N_ELEMENTS(nodes);
    size_t length;

    switch (what / G_N_ELEMENTS(nodes) % 4) {
    case 0:
        write_good(node);
        break;
    case 1:
        other_event(node);
        break;
    case 2: /* a value of its own */
        length = data < end ? MIN(*data, end - data - 1) : 0;
        data += data < end;
        write_node(node, data, length);
        data += length;
        break;
    case 3: {
        g_autofree char *path = g_strconcat(frontend, "/", nodes[node].name, NULL);
        fake_store_remove(path);
        break;
    }
    }
    /* Not always, so that several changes are seen at once. */
    if (!(what & 0x80))
        settle();
    return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size;

    for (unsigned i = 0; i < COMMANDS_MAX && data < end; i++)
        data = command(data, end);
    connect_orderly();
    return 0;
}
