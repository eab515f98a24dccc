/* Ioreq servers: see server.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/server.h"

#include <inttypes.h>
#include <xen/memory.h>

#include "ioreq/request.h"
#include "xen/devicemodel.h"
#include "xen/error.h"
#include "xen/evtchn.h"
#include "xen/grant.h" /* XEN_PAGE_SIZE */
#include "xen/memory.h"

/* The vCPUs that have a slot in the page; Xen gives a guest on x86 no more (HVM_MAX_VCPUS). */
#define MAX_VCPUS (XEN_PAGE_SIZE / sizeof(struct ioreq))

/* Configuration space that is reached through ports 0xCF8 and 0xCFC. */
#define PCI_CONFIG_SIZE 256

struct ioreq_server {
    unsigned domid;
    struct ioreq_bus *bus;
    struct ioreq_memory guest_memory;

    struct xen_devicemodel *dm;
    struct xen_memory *memory;
    struct xen_evtchn *evtchn;
    ioservid_t id;
    bool created;
    struct xen_resource *resource;
    volatile struct ioreq *slots; /* one for each vCPU, in the shared page */

    unsigned vcpus;
    evtchn_port_t ports[MAX_VCPUS]; /* of each vCPU */
    guint source;
    bool refusal_logged; /* the guest can cause refusals, so only the first is logged */
};

static bool read_guest(void *opaque, uint64_t address, void *buffer, size_t length)
{
    return xen_memory_read(opaque, address, buffer, length);
}

static bool write_guest(void *opaque, uint64_t address, const void *buffer, size_t length)
{
    return xen_memory_write(opaque, address, buffer, length);
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
    server->evtchn = server->memory ? xen_evtchn_open(error) : NULL;
    if (!server->evtchn)
        return false;
    server->created = xen_devicemodel_create_server(server->dm, &server->id, error);
    return server->created;
}

struct ioreq_server *ioreq_server_new(unsigned domid, GError **error)
{
    struct ioreq_server *server = g_new0(struct ioreq_server, 1);
    server->domid = domid;
    server->bus = ioreq_bus_new();
    if (!create(server, error)) {
        ioreq_server_free(server);
        return NULL;
    }
    server->guest_memory = (struct ioreq_memory){ read_guest, write_guest, server->memory };
    return server;
}

static void serve(struct ioreq_server *server, unsigned vcpu)
{
    struct ioreq request;
    enum ioreq_outcome outcome =
        ioreq_serve(&server->slots[vcpu], server->bus, &server->guest_memory, &request);

    if (outcome == IOREQ_NOT_READY)
        return;
    xen_evtchn_notify(server->evtchn, server->ports[vcpu]);
    if (outcome == IOREQ_REFUSED && !server->refusal_logged) {
        server->refusal_logged = true;
        g_warning("domain %u, vCPU %u: refused a request of type %u, address 0x%" PRIx64
                  ", size %u, count %u; more of them will not be reported",
                  server->domid, vcpu, request.type, request.addr, request.size, request.count);
    }
}

static void on_event(struct xen_evtchn *evtchn, evtchn_port_t local, void *opaque)
{
    struct ioreq_server *server = opaque;
    xen_evtchn_unmask(evtchn, local);
    for (unsigned vcpu = 0; vcpu < server->vcpus; vcpu++) {
        if (server->ports[vcpu] == local) {
            serve(server, vcpu);
            return;
        }
    }
}

/* Binding sets the event pending, so that a request which came before it is not missed. */
static bool bind_vcpus(struct ioreq_server *server, GError **error)
{
    for (unsigned vcpu = 0; vcpu < server->vcpus; vcpu++) {
        if (!xen_evtchn_bind(server->evtchn, server->domid, server->slots[vcpu].vp_eport,
                             &server->ports[vcpu], error)) {
            g_prefix_error(error, "vCPU %u: ", vcpu);
            return false;
        }
    }
    return true;
}

bool ioreq_server_start(struct ioreq_server *server, GError **error)
{
    g_assert(!server->resource);
    server->resource = xen_resource_map(server->memory, XENMEM_resource_ioreq_server, server->id,
                                        XENMEM_resource_ioreq_server_frame_ioreq(0), 1, error);
    if (!server->resource)
        return false;
    server->slots = xen_resource_address(server->resource);

    /* Xen fills in vp_eport when it enables the server. */
    if (!xen_devicemodel_enable_server(server->dm, server->id, error) || !bind_vcpus(server, error))
        return false;
    server->source = xen_evtchn_attach(server->evtchn, on_event, server);
    return true;
}

/* A vCPU that runs fetches its answer at once; one that is paused is not waited for. */
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
    xen_devicemodel_disable_server(server->dm, server->id);
    for (unsigned vcpu = 0; server->source && vcpu < server->vcpus; vcpu++)
        serve(server, vcpu);
    for (int i = 0; server->source && i < FETCH_TRIES && !answers_fetched(server); i++)
        g_usleep(FETCH_PAUSE_US);
    xen_devicemodel_destroy_server(server->dm, server->id);
}

void ioreq_server_free(struct ioreq_server *server)
{
    if (!server)
        return;
    if (server->created)
        destroy(server);
    if (server->source)
        g_source_remove(server->source);
    xen_resource_unmap(server->resource);
    xen_evtchn_close(server->evtchn);
    xen_memory_close(server->memory);
    xen_devicemodel_close(server->dm);
    ioreq_bus_free(server->bus);
    g_free(server);
}

bool ioreq_server_map(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                      uint64_t size, const struct ioreq_ops *ops, void *opaque, GError **error)
{
    enum xen_range kind = space == IOREQ_PORTS ? XEN_RANGE_PIO : XEN_RANGE_MMIO;
    g_assert(space == IOREQ_PORTS || space == IOREQ_MEMORY);
    if (!ioreq_bus_add(server->bus, space, first, size, ops, opaque, error))
        return false;
    if (xen_devicemodel_map_range(server->dm, server->id, kind, first, first + (size - 1), error))
        return true;
    ioreq_bus_remove(server->bus, space, first);
    return false;
}

void ioreq_server_unmap(struct ioreq_server *server, enum ioreq_space space, uint64_t first,
                        uint64_t size)
{
    enum xen_range kind = space == IOREQ_PORTS ? XEN_RANGE_PIO : XEN_RANGE_MMIO;
    g_autoptr(GError) error = NULL;
    ioreq_bus_remove(server->bus, space, first);
    if (!xen_devicemodel_unmap_range(server->dm, server->id, kind, first, first + (size - 1),
                                     &error))
        g_debug("%s", error->message);
}

bool ioreq_server_add_pci(struct ioreq_server *server, unsigned device, unsigned function,
                          const struct ioreq_ops *ops, void *opaque, GError **error)
{
    uint64_t first = (uint64_t)(device << 3 | function) << 32;
    g_assert(device < 32 && function < 8);
    if (!ioreq_bus_add(server->bus, IOREQ_PCI, first, PCI_CONFIG_SIZE, ops, opaque, error))
        return false;
    if (xen_devicemodel_map_pci(server->dm, server->id, device, function, error))
        return true;
    ioreq_bus_remove(server->bus, IOREQ_PCI, first);
    return false;
}
