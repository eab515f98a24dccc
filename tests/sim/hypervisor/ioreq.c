/* Ioreq servers: see ioreq.h. */

#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_* */
#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <string.h>
#include <xen/xen.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/memory.h>
#include <xen/sched.h>

_Static_assert(SIM_VCPUS == SIM_IOREQ_VCPUS, "every vCPU needs a slot in the page");
_Static_assert(SIM_HVM_PARAMS >= HVM_NR_PARAMS, "every parameter needs a place");

/* --- domains and servers by their numbers --- */

struct sim_domain *sim_ioreq_target(unsigned domid, int *error)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        *error = -ESRCH;
    else if (domid == sim_user_domid())
        *error = -EPERM;
    else if (!domain->hvm)
        *error = -EINVAL;
    else if (sim_user_domid() != 0)
        *error = -EPERM;
    else
        return domain;
    return NULL;
}

/* The target with the lock held; without it, and *ERROR, if there is none. */
static struct sim_domain *enter(unsigned domid, int *error)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen) {
        *error = -ENOENT;
        return NULL;
    }
    sim_lock(xen);
    struct sim_domain *domain = sim_ioreq_target(domid, error);
    if (!domain)
        sim_unlock(xen);
    return domain;
}

static int leave(int result)
{
    sim_unlock(sim_hypervisor());
    return result;
}

static struct sim_ioreq_server *find_server(struct sim_domain *domain, unsigned id, int *error)
{
    struct sim_ioreq_server *server = &domain->ioreq.servers[id % SIM_IOREQ_SERVERS];
    if (id >= SIM_IOREQ_SERVERS || !server->used) {
        *error = -ENOENT;
        return NULL;
    }
    if (server->emulator != sim_user_domid()) {
        *error = -EPERM;
        return NULL;
    }
    return server;
}

/* --- life --- */

static void close_ports(unsigned domid, const struct sim_ioreq_server *server)
{
    for (unsigned vcpu = 0; vcpu < SIM_IOREQ_VCPUS && server->ports[vcpu]; vcpu++)
        sim_evtchn_close(domid, SIM_KERNEL, server->ports[vcpu]);
    if (server->buffered_port)
        sim_evtchn_close(domid, SIM_KERNEL, server->buffered_port);
}

/* The ports have numbers of the guest, but are Xen's; our domain may bind them. */
static int open_ports(unsigned domid, unsigned vcpus, struct sim_ioreq_server *server)
{
    unsigned count = vcpus + (server->buffered ? 1 : 0);
    for (unsigned i = 0; i < count; i++) {
        int port = sim_evtchn_alloc_unbound(domid, SIM_KERNEL, server->emulator);
        if (port < 0) {
            close_ports(domid, server);
            return port;
        }
        *(i < vcpus ? &server->ports[i] : &server->buffered_port) = port;
    }
    return 0;
}

/* Of what a former server of that number has left; nobody waits for that one any more. */
static void clear_server(struct sim_ioreq_server *server)
{
    memset(server->page, 0, sizeof(server->page));
    memset(server->buffered_page, 0, sizeof(server->buffered_page));
    memset(server->ports, 0, sizeof(server->ports));
    server->buffered_port = 0;
    server->gfn = server->buffered_gfn = SIM_NO_GFN;
    server->acquired = false;
    for (unsigned type = 0; type < 3; type++)
        server->ranges[type].count = 0;
}

static int create(unsigned domid, struct sim_domain *domain, int buffered, uint16_t *id)
{
    unsigned i = 0;
    while (i < SIM_IOREQ_SERVERS && domain->ioreq.servers[i].used)
        i++;
    if (i == SIM_IOREQ_SERVERS)
        return -ENOSPC;
    struct sim_ioreq_server *server = &domain->ioreq.servers[i];
    clear_server(server);
    server->buffered = buffered;
    server->emulator = sim_user_domid();
    int result = open_ports(domid, domain->vcpus, server);
    server->used = result == 0;
    *id = i;
    return result;
}

int sim_ioreq_create(unsigned domid, int buffered, uint16_t *id)
{
    int result = 0;
    struct sim_domain *domain = enter(domid, &result);
    if (!domain)
        return result;
    if (buffered < HVM_IOREQSRV_BUFIOREQ_OFF || buffered > HVM_IOREQSRV_BUFIOREQ_ATOMIC)
        return leave(-EINVAL);
    return leave(create(domid, domain, buffered, id));
}

/*
 * A vCPU that waits for the server waits for ever, as nothing will wake it any more.  But one that
 * an event has woken goes on, even if it has not yet looked at what the server did.
 */
static void forget_server(unsigned domid, struct sim_domain *domain, unsigned id)
{
    struct sim_ioreq_server *server = &domain->ioreq.servers[id];
    server->used = false;
    server->enabled = false;
    for (unsigned vcpu = 0; vcpu < SIM_IOREQ_VCPUS; vcpu++) {
        if (!atomic_load(&server->pending[vcpu]))
            continue;
        bool woken = sim_evtchn_take(domid, server->ports[vcpu]);
        atomic_store(&domain->ioreq.stuck[vcpu], !woken);
        atomic_store(&server->pending[vcpu], false);
        if (woken)
            sim_evtchn_raise(domid, server->ports[vcpu]);
    }
    if (domain->ioreq.frames_owner == id + 1)
        domain->ioreq.frames_owner = 0;
}

int sim_ioreq_destroy(unsigned domid, uint16_t id)
{
    int result = 0;
    struct sim_domain *domain = enter(domid, &result);
    if (!domain)
        return result;
    struct sim_ioreq_server *server = find_server(domain, id, &result);
    if (!server)
        return leave(result);
    forget_server(domid, domain, id);
    close_ports(domid, server);
    return leave(0);
}

void sim_ioreq_domain_gone(struct sim_hypervisor *xen, unsigned domid)
{
    struct sim_domain *domain = &xen->domains[domid];
    for (unsigned id = 0; id < SIM_IOREQ_SERVERS; id++)
        forget_server(domid, domain, id);
    for (unsigned vcpu = 0; vcpu < SIM_IOREQ_VCPUS; vcpu++)
        atomic_store(&domain->ioreq.stuck[vcpu], false);
    sim_physmap_domain_gone(xen, domid);
}

/* --- pages --- */

static void *guest_page(unsigned domid, uint64_t gfn)
{
    uint8_t *memory = sim_domain_memory(domid);
    return memory ? memory + gfn * SIM_PAGE : NULL;
}

struct ioreq *sim_ioreq_slots(unsigned domid, struct sim_ioreq_server *server)
{
    if (server->gfn != SIM_NO_GFN)
        return guest_page(domid, server->gfn);
    return server->acquired ? (void *)server->page : NULL;
}

struct buffered_iopage *sim_ioreq_buffer(unsigned domid, struct sim_ioreq_server *server)
{
    if (server->buffered_gfn != SIM_NO_GFN)
        return guest_page(domid, server->buffered_gfn);
    return server->buffered && server->acquired ? (void *)server->buffered_page : NULL;
}

int sim_ioreq_set_state(unsigned domid, uint16_t id, bool enabled)
{
    int result = 0;
    struct sim_domain *domain = enter(domid, &result);
    if (!domain)
        return result;
    struct sim_ioreq_server *server = find_server(domain, id, &result);
    if (!server)
        return leave(result);
    /* As in Xen, a page that comes into being later never gets the ports. */
    struct ioreq *slot = sim_ioreq_slots(domid, server);
    for (unsigned vcpu = 0; enabled && !server->enabled && slot && vcpu < domain->vcpus; vcpu++)
        __atomic_store_n(&slot[vcpu].vp_eport, server->ports[vcpu], __ATOMIC_RELAXED);
    server->enabled = enabled;
    return leave(0);
}

static bool gfn_in_use(const struct sim_domain *domain, uint64_t gfn)
{
    for (unsigned i = 0; i < SIM_IOREQ_SERVERS; i++) {
        const struct sim_ioreq_server *server = &domain->ioreq.servers[i];
        if (server->used && (server->gfn == gfn || server->buffered_gfn == gfn))
            return true;
    }
    return gfn >= domain->pages;
}

/* A frame that the toolstack reserved for servers, or else one of the two for the only one. */
static uint64_t find_gfn(const struct sim_domain *domain)
{
    uint64_t base = domain->hvm_params[HVM_PARAM_IOREQ_SERVER_PFN];
    uint64_t count = domain->hvm_params[HVM_PARAM_NR_IOREQ_SERVER_PAGES];

    for (uint64_t i = 0; base && i < count && i < 2 * SIM_IOREQ_SERVERS; i++) {
        if (!gfn_in_use(domain, base + i))
            return base + i;
    }
    for (unsigned param = HVM_PARAM_IOREQ_PFN; param <= HVM_PARAM_BUFIOREQ_PFN; param++) {
        uint64_t gfn = domain->hvm_params[param];
        if (gfn && !gfn_in_use(domain, gfn))
            return gfn;
    }
    return SIM_NO_GFN;
}

static int put_pages_in_guest(struct sim_domain *domain, struct sim_ioreq_server *server)
{
    if (server->acquired)
        return -EPERM;
    if (server->gfn != SIM_NO_GFN)
        return 0;
    server->gfn = find_gfn(domain);
    if (server->gfn != SIM_NO_GFN && server->buffered) {
        server->buffered_gfn = find_gfn(domain);
        if (server->buffered_gfn == SIM_NO_GFN)
            server->gfn = SIM_NO_GFN;
    }
    return server->gfn == SIM_NO_GFN ? -ENOMEM : 0;
}

int sim_ioreq_info(unsigned domid, uint16_t id, uint64_t *gfn, uint64_t *buffered_gfn,
                   uint32_t *buffered_port)
{
    int result = 0;
    struct sim_domain *domain = enter(domid, &result);
    if (!domain)
        return result;
    struct sim_ioreq_server *server = find_server(domain, id, &result);
    if (!server)
        return leave(result);
    if (gfn || buffered_gfn)
        result = put_pages_in_guest(domain, server);
    if (result == 0 && gfn)
        *gfn = server->gfn;
    if (result == 0 && buffered_gfn && server->buffered)
        *buffered_gfn = server->buffered_gfn;
    if (result == 0 && buffered_port && server->buffered)
        *buffered_port = server->buffered_port;
    return leave(result);
}

static int find_frame(struct sim_domain *domain, uint32_t id, uint64_t frame, off_t *offset)
{
    int result = 0;
    struct sim_ioreq_server *server = find_server(domain, id, &result);
    if (!server)
        return result;
    if (server->gfn != SIM_NO_GFN)
        return -EPERM;
    server->acquired = true;
    if (frame > XENMEM_resource_ioreq_server_frame_ioreq(0))
        return -EINVAL;
    bool buffered = frame == XENMEM_resource_ioreq_server_frame_bufioreq;
    if (buffered && !server->buffered)
        return -ENOENT;
    *offset = (buffered ? server->buffered_page : server->page) - (uint8_t *)sim_hypervisor();
    return 0;
}

int sim_ioreq_frame(unsigned domid, uint32_t id, uint64_t frame, off_t *offset)
{
    int result = 0;
    struct sim_domain *domain = enter(domid, &result);
    return domain ? leave(find_frame(domain, id, frame, offset)) : result;
}

/* --- ranges --- */

static int change_range(unsigned domid, uint16_t id, uint32_t type, uint64_t first, uint64_t last,
                        bool map)
{
    int result = 0;
    if (first > last)
        return -EINVAL;
    struct sim_domain *domain = enter(domid, &result);
    if (!domain)
        return result;
    struct sim_ioreq_server *server = find_server(domain, id, &result);
    if (!server)
        return leave(result);
    if (type > XEN_DMOP_IO_RANGE_PCI)
        return leave(-EINVAL);
    struct sim_rangeset *set = &server->ranges[type];
    if (map)
        return leave(sim_rangeset_overlaps(set, first, last) ? -EEXIST
                                                             : sim_rangeset_add(set, first, last));
    return leave(sim_rangeset_contains(set, first, last) ? sim_rangeset_cut(set, first, last)
                                                         : -ENOENT);
}

int sim_ioreq_map(unsigned domid, uint16_t id, uint32_t type, uint64_t first, uint64_t last)
{
    return change_range(domid, id, type, first, last, true);
}

int sim_ioreq_unmap(unsigned domid, uint16_t id, uint32_t type, uint64_t first, uint64_t last)
{
    return change_range(domid, id, type, first, last, false);
}

/* --- frames of type ioreq_server --- */

static int own_frames(struct sim_ioreq_domain *ioreq, uint16_t id, uint32_t flags)
{
    if (flags == 0) {
        if (ioreq->frames_owner != id + 1u)
            return -EINVAL;
        ioreq->frames_owner = 0;
        ioreq->frames_server.count = 0;
        return 0;
    }
    /* Frames that a destroyed server has left behind are in the way too. */
    if (ioreq->frames_owner || ioreq->frames_server.count > 0)
        return -EBUSY;
    ioreq->frames_owner = id + 1u;
    return 0;
}

int sim_ioreq_map_mem_type(unsigned domid, uint16_t id, uint16_t type, uint32_t flags)
{
    int result = 0;
    if (type != HVMMEM_ioreq_server || (flags & ~XEN_DMOP_IOREQ_MEM_ACCESS_WRITE))
        return -EINVAL;
    struct sim_domain *domain = enter(domid, &result);
    if (!domain)
        return result;
    if (!find_server(domain, id, &result))
        return leave(result);
    return leave(own_frames(&domain->ioreq, id, flags));
}

/* --- routing --- */

/* What a PCI host bridge makes of an access to port 0xCFC: SBDF << 32 | register. */
static bool is_pci_access(const struct sim_domain *domain, const struct ioreq *request,
                          uint64_t *address)
{
    uint32_t cf8 = domain->ioreq.cf8;
    if (request->type == IOREQ_TYPE_PCI_CONFIG) {
        *address = request->addr;
        return true;
    }
    if (request->type != IOREQ_TYPE_PIO || (request->addr & ~UINT64_C(3)) != 0xCFC ||
        !(cf8 & 0x80000000))
        return false;
    *address = (uint64_t)(cf8 >> 8 & 0xFFFF) << 32 | (cf8 & 0xFC) | (request->addr & 3);
    return true;
}

/* The bytes that an access to memory touches; false if it leaves the address space. */
static bool memory_bounds(const struct ioreq *request, uint64_t *first, uint64_t *last)
{
    uint64_t others = request->count ? (uint64_t)(request->count - 1) * request->size : 0;
    *first = request->df ? request->addr - others : request->addr;
    *last = (request->df ? request->addr : request->addr + others) + request->size - 1;
    return request->size > 0 && *first <= *last;
}

static int select_frames(const struct sim_domain *domain, const struct ioreq *request)
{
    uint64_t gfn = request->addr / SIM_PAGE;
    bool mine = request->dir == IOREQ_WRITE && domain->ioreq.frames_owner &&
                sim_rangeset_contains(&domain->ioreq.frames_server, gfn, gfn);
    return mine ? (int)domain->ioreq.frames_owner - 1 : -1;
}

static int select_range(const struct sim_domain *domain, unsigned type, uint64_t first,
                        uint64_t last)
{
    for (int id = SIM_IOREQ_SERVERS - 1; id >= 0; id--) {
        const struct sim_ioreq_server *server = &domain->ioreq.servers[id];
        if (server->used && server->enabled &&
            sim_rangeset_contains(&server->ranges[type], first, last))
            return id;
    }
    return -1;
}

int sim_ioreq_select(struct sim_domain *domain, struct ioreq *request)
{
    uint64_t address, first, last;

    if (is_pci_access(domain, request, &address)) {
        int id = select_range(domain, XEN_DMOP_IO_RANGE_PCI, address >> 32, address >> 32);
        if (id >= 0) {
            request->type = IOREQ_TYPE_PCI_CONFIG;
            request->addr = address;
        }
        return id;
    }
    if (request->type == IOREQ_TYPE_PIO && request->size > 0)
        return select_range(domain, XEN_DMOP_IO_RANGE_PORT, request->addr,
                            request->addr + request->size - 1);
    if (request->type != IOREQ_TYPE_COPY || !memory_bounds(request, &first, &last))
        return -1;
    int id = select_frames(domain, request);
    return id >= 0 ? id : select_range(domain, XEN_DMOP_IO_RANGE_MEMORY, first, last);
}

/* --- shutdown --- */

int sim_ioreq_shutdown(unsigned domid, unsigned reason)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return -ESRCH;
    if (reason == SHUTDOWN_crash) {
        sim_domain_crash(domid, "an emulator crashed the domain");
        return 0;
    }
    struct sim_hypervisor *xen = sim_hypervisor();
    sim_lock(xen);
    bool running = domain->ioreq.shutdown == 0;
    if (running)
        domain->ioreq.shutdown = reason + 1;
    sim_unlock(xen);
    if (running)
        sim_evtchn_raise_virq_dom_exc(xen);
    return 0;
}
