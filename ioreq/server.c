/* Ioreq servers: see server.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/server.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <xen/memory.h>

#include "ioreq/buffered.h"
#include "ioreq/group.h"
#include "ioreq/limits.h"
#include "ioreq/request.h"
#include "xen/devicemodel.h"
#include "xen/error.h"
#include "xen/grant.h" /* XEN_PAGE_SIZE */
#include "xen/memory.h"

/* The vCPUs that have a slot in the page; Xen gives a guest on x86 no more (HVM_MAX_VCPUS). */
#define MAX_VCPUS (XEN_PAGE_SIZE / sizeof(struct ioreq))

#define MAX_GROUPS ((MAX_VCPUS + IOREQ_GROUP_VCPUS - 1) / IOREQ_GROUP_VCPUS)

/* Configuration space that is reached through ports 0xCF8 and 0xCFC. */
#define PCI_CONFIG_SIZE 256

struct ioreq_server {
    unsigned domid;
    bool poll;
    bool buffered;

    /*
     * Of all below that changes after the start.  POSIX's and not GLib's, whose locks
     * ThreadSanitizer does not see; recursive, because callbacks map and unmap.
     */
    pthread_mutex_t lock;
    struct ioreq_bus *bus;
    struct ioreq_memory guest_memory;
    struct xen_devicemodel *dm;
    struct xen_memory *memory;
    bool refusal_logged; /* the guest can cause refusals, so only the first is logged */

    ioservid_t id;
    bool created;
    unsigned vcpus;
    struct xen_resource *resource;
    volatile struct ioreq *slots; /* one for each vCPU, in the shared page */
    struct buffered_iopage *ring; /* NULL if it is not buffered */
    struct ioreq_group *groups[MAX_GROUPS];
    unsigned group_count;
};

void ioreq_server_lock(struct ioreq_server *server)
{
    pthread_mutex_lock(&server->lock);
}

void ioreq_server_unlock(struct ioreq_server *server)
{
    pthread_mutex_unlock(&server->lock);
}

/* --- requests: in the groups' threads --- */

static void log_refusal(struct ioreq_server *server, const char *from, const struct ioreq *request)
{
    if (server->refusal_logged)
        return;
    server->refusal_logged = true;
    g_warning("domain %u, %s: refused a request of type %u, address 0x%" PRIx64
              ", size %u, count %u; more of them will not be reported",
              server->domid, from, request->type, request->addr, request->size, request->count);
}

/* At most one ring full: a guest that fills it as fast has to wait for the next turn. */
static bool drain_locked(struct ioreq_server *server)
{
    struct ioreq request;

    for (unsigned i = 0; i < IOREQ_BUFFERED_MAX; i++) {
        memset(&request, 0, sizeof(request));
        enum ioreq_buffered_outcome outcome = ioreq_buffered_take(server->ring, &request);
        if (outcome == IOREQ_BUFFERED_EMPTY)
            return false;
        if (outcome == IOREQ_BUFFERED_BAD ||
            !ioreq_perform(&request, server->bus, &server->guest_memory))
            log_refusal(server, "buffered", &request);
    }
    return true;
}

static bool drain(void *opaque)
{
    struct ioreq_server *server = opaque;
    ioreq_server_lock(server);
    bool more = drain_locked(server);
    ioreq_server_unlock(server);
    return more;
}

static void serve(void *opaque, unsigned vcpu)
{
    struct ioreq_server *server = opaque;
    struct ioreq request;

    ioreq_server_lock(server);
    /* A vCPU expects that what it has written before has been written. */
    if (server->ring)
        drain_locked(server);
    if (ioreq_serve(&server->slots[vcpu], server->bus, &server->guest_memory, &request) ==
        IOREQ_REFUSED) {
        g_autofree char *from = g_strdup_printf("vCPU %u", vcpu);
        log_refusal(server, from, &request);
    }
    ioreq_server_unlock(server);
}

/* --- creation --- */

static bool read_guest(void *opaque, uint64_t address, void *buffer, size_t length)
{
    return xen_memory_read(opaque, address, buffer, length);
}

static bool write_guest(void *opaque, uint64_t address, const void *buffer, size_t length)
{
    return xen_memory_write(opaque, address, buffer, length);
}

static void init_lock(struct ioreq_server *server)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&server->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

static bool create(struct ioreq_server *server, GError **error)
{
    server->dm = xen_devicemodel_open(server->domid, error);
    if (!server->dm || !xen_devicemodel_vcpus(server->dm, &server->vcpus, error))
        return false;
    if (server->vcpus > MAX_VCPUS) {
        xen_set_error_errno(error, E2BIG,
                            "domain %u may have %u vCPUs, an ioreq server serves %zu; "
                            "set maxvcpus= in the guest's configuration",
                            server->domid, server->vcpus, MAX_VCPUS);
        return false;
    }
    server->memory = xen_memory_open(server->domid, error);
    if (!server->memory)
        return false;
    server->created =
        xen_devicemodel_create_server(server->dm, server->buffered, &server->id, error);
    if (!server->created)
        ioreq_explain_servers(server->domid, error);
    return server->created;
}

static struct ioreq_server *new_server(unsigned domid, bool buffered, GError **error)
{
    struct ioreq_server *server = g_new0(struct ioreq_server, 1);
    server->domid = domid;
    server->poll = true;
    server->buffered = buffered;
    server->bus = ioreq_bus_new();
    init_lock(server);
    if (!create(server, error)) {
        ioreq_server_free(server);
        return NULL;
    }
    server->guest_memory = (struct ioreq_memory){ read_guest, write_guest, server->memory };
    return server;
}

struct ioreq_server *ioreq_server_new(unsigned domid, GError **error)
{
    return new_server(domid, false, error);
}

struct ioreq_server *ioreq_server_new_buffered(unsigned domid, GError **error)
{
    return new_server(domid, true, error);
}

bool ioreq_server_set_poll(struct ioreq_server *server, const char *poll, GError **error)
{
    g_assert(!server->resource);
    if (poll && strcmp(poll, "auto") != 0 && strcmp(poll, "off") != 0) {
        xen_set_error_errno(error, EINVAL, "poll=%s: it is auto or off", poll);
        return false;
    }
    server->poll = !poll || strcmp(poll, "auto") == 0;
    return true;
}

/* --- start and end --- */

/* The frame with the ring is next to that with the slots. */
static bool map_pages(struct ioreq_server *server, GError **error)
{
    unsigned frames = server->buffered ? 2 : 1;
    unsigned first = server->buffered ? XENMEM_resource_ioreq_server_frame_bufioreq
                                      : XENMEM_resource_ioreq_server_frame_ioreq(0);
    server->resource = xen_resource_map(server->memory, XENMEM_resource_ioreq_server, server->id,
                                        first, frames, error);
    if (!server->resource)
        return false;
    uint8_t *pages = xen_resource_address(server->resource);
    server->ring = server->buffered ? (void *)pages : NULL;
    server->slots = (void *)(pages + (frames - 1) * XEN_PAGE_SIZE);
    return true;
}

/* The first group has the buffered requests, if there are any. */
static bool start_groups(struct ioreq_server *server, evtchn_port_t buffered, GError **error)
{
    for (unsigned vcpu = 0; vcpu < server->vcpus; vcpu += IOREQ_GROUP_VCPUS) {
        struct ioreq_group_config config = {
            .domid = server->domid,
            .first = vcpu,
            .vcpus = MIN(server->vcpus - vcpu, IOREQ_GROUP_VCPUS),
            .slots = &server->slots[vcpu],
            .buffered = vcpu == 0 ? buffered : 0,
            .poll = server->poll,
            .serve = serve,
            .drain = drain,
            .opaque = server,
        };
        struct ioreq_group *group = ioreq_group_start(&config, error);
        if (!group)
            return false;
        server->groups[server->group_count++] = group;
    }
    return true;
}

bool ioreq_server_start(struct ioreq_server *server, GError **error)
{
    evtchn_port_t buffered = 0;

    g_assert(!server->resource);
    if (!map_pages(server, error))
        return false;
    if (server->buffered &&
        !xen_devicemodel_buffered_port(server->dm, server->id, &buffered, error))
        return false;
    /* Xen fills in vp_eport when it enables the server. */
    return xen_devicemodel_enable_server(server->dm, server->id, error) &&
           start_groups(server, buffered, error);
}

bool ioreq_server_check(struct ioreq_server *server)
{
    bool good = true;
    for (unsigned i = 0; i < server->group_count; i++)
        good &= ioreq_group_check(server->groups[i]);
    return good;
}

/*
 * A vCPU that runs fetches its answer at once, unless the host is very busy; for one that is paused
 * this is how long we wait in vain.
 */
#define FETCH_TRIES 1000
#define FETCH_PAUSE_US 1000

static bool answers_fetched(const struct ioreq_server *server)
{
    for (unsigned vcpu = 0; vcpu < server->vcpus; vcpu++) {
        const volatile struct ioreq *slot = &server->slots[vcpu];
        if (slot->state == STATE_IORESP_READY)
            return false;
    }
    return true;
}

/*
 * A vCPU whose server vanishes before it has answered would never run again; if it vanishes with
 * the answer, the vCPU goes on with what was in its register before.
 */
static void destroy(struct ioreq_server *server)
{
    ioreq_server_lock(server);
    xen_devicemodel_disable_server(server->dm, server->id);
    ioreq_server_unlock(server);
    for (unsigned i = 0; i < server->group_count; i++)
        ioreq_group_stop(server->groups[i]);
    for (unsigned i = 0; i < server->group_count; i++)
        ioreq_group_finish(server->groups[i]);
    if (server->group_count > 0 && server->ring)
        drain(server);
    for (int i = 0; server->group_count > 0 && i < FETCH_TRIES && !answers_fetched(server); i++)
        g_usleep(FETCH_PAUSE_US);
    xen_devicemodel_destroy_server(server->dm, server->id);
}

void ioreq_server_free(struct ioreq_server *server)
{
    if (!server)
        return;
    if (server->created)
        destroy(server);
    for (unsigned i = 0; i < server->group_count; i++)
        ioreq_group_free(server->groups[i]);
    xen_resource_unmap(server->resource);
    xen_memory_close(server->memory);
    xen_devicemodel_close(server->dm);
    ioreq_bus_free(server->bus);
    pthread_mutex_destroy(&server->lock);
    g_free(server);
}

/* --- ranges --- */

static enum xen_range kind_of(enum ioreq_space space)
{
    g_assert(space == IOREQ_PORTS || space == IOREQ_MEMORY);
    return space == IOREQ_PORTS ? XEN_RANGE_PIO : XEN_RANGE_MMIO;
}

/* FIRST is in the bus and was refused by Xen. */
static void give_up_range(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                          GError **error)
{
    ioreq_bus_remove(server->bus, space, first);
    ioreq_explain_ranges(server->bus, space, error);
}

bool ioreq_server_map(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                      uint64_t size, const struct ioreq_ops *ops, void *opaque, GError **error)
{
    enum xen_range kind = kind_of(space);
    ioreq_server_lock(server);
    bool mapped = ioreq_bus_add(server->bus, space, first, size, ops, opaque, error);
    if (mapped && !xen_devicemodel_map_range(server->dm, server->id, kind, first,
                                             first + (size - 1), error)) {
        give_up_range(server, space, first, error);
        mapped = false;
    }
    ioreq_server_unlock(server);
    return mapped;
}

void ioreq_server_unmap(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                        uint64_t size)
{
    enum xen_range kind = kind_of(space);
    g_autoptr(GError) error = NULL;
    ioreq_server_lock(server);
    ioreq_bus_remove(server->bus, space, first);
    if (!xen_devicemodel_unmap_range(server->dm, server->id, kind, first, first + (size - 1),
                                     &error))
        g_debug("%s", error->message);
    ioreq_server_unlock(server);
}

bool ioreq_server_add_pci(struct ioreq_server *server, unsigned device, unsigned function,
                          const struct ioreq_ops *ops, void *opaque, GError **error)
{
    uint64_t first = (uint64_t)(device << 3 | function) << 32;
    g_assert(device < 32 && function < 8);
    ioreq_server_lock(server);
    bool added = ioreq_bus_add(server->bus, IOREQ_PCI, first, PCI_CONFIG_SIZE, ops, opaque, error);
    if (added && !xen_devicemodel_map_pci(server->dm, server->id, device, function, error)) {
        give_up_range(server, IOREQ_PCI, first, error);
        added = false;
    }
    ioreq_server_unlock(server);
    return added;
}
