/*
 * libxendevicemodel on the simulated hypervisor.
 *
 * Interrupts are recorded, for tests to look at; nothing is injected into anything.
 *
 * Source: xendevicemodel.h, xen/hvm/dm_op.h; errors as of Xen 4.17.
 */
#define __XEN_TOOLS__ 1 /* hvmmem_type_t and dm_op.h */
#include <stdlib.h>
#include <string.h>
#include <xendevicemodel.h>

#include "tests/sim/lib/call.h"
#include "tests/sim/lib/toolcore.h"

#define MAX_DIRTY_FRAMES (UINT32_C(1) << 18) /* of one call of track_dirty_vram(): 1 GiB */
#define PADDR_BITS 52

struct xendevicemodel_handle {
    struct toolcore_handle toolcore; /* first: callbacks get its address */
    domid_t restricted;              /* the only domain it may touch, or DOMID_INVALID */
};

/* --- the handle --- */

static int restrict_to(xendevicemodel_handle *dmod, domid_t domid)
{
    if (dmod->restricted == DOMID_INVALID)
        dmod->restricted = domid;
    return call_result(dmod->restricted == domid ? 0 : -EINVAL);
}

static int restrict_callback(struct toolcore_handle *handle, domid_t domid)
{
    return restrict_to((xendevicemodel_handle *)handle, domid);
}

xendevicemodel_handle *xendevicemodel_open(struct xentoollog_logger *logger,
                                           unsigned int open_flags)
{
    if (open_flags) {
        errno = EINVAL;
        return NULL;
    }
    if (call_fails(__func__) || !sim_hypervisor())
        return NULL;
    xendevicemodel_handle *dmod = calloc(1, sizeof(*dmod));
    if (!dmod)
        return NULL;
    dmod->toolcore.restrict_callback = restrict_callback;
    dmod->restricted = DOMID_INVALID;
    xentoolcore__register_active_handle(&dmod->toolcore);
    return dmod;
}

int xendevicemodel_close(xendevicemodel_handle *dmod)
{
    if (!dmod)
        return 0;
    xentoolcore__deregister_active_handle(&dmod->toolcore);
    free(dmod);
    return 0;
}

int xendevicemodel_restrict(xendevicemodel_handle *dmod, domid_t domid)
{
    return call_fails(__func__) ? -1 : restrict_to(dmod, domid);
}

/* May DMOD do CALL to DOMID?  Otherwise errno is set. */
static bool permitted(const xendevicemodel_handle *dmod, domid_t domid, const char *call)
{
    if (call_fails(call))
        return false;
    if (dmod->restricted == DOMID_INVALID || dmod->restricted == domid)
        return true;
    errno = EPERM;
    return false;
}

/* The same for calls that change the domain themselves: it, with the lock held. */
static struct sim_domain *enter(const xendevicemodel_handle *dmod, domid_t domid, const char *call)
{
    int error = 0;
    if (!permitted(dmod, domid, call))
        return NULL;
    sim_lock(sim_hypervisor());
    struct sim_domain *domain = sim_ioreq_target(domid, &error);
    if (domain)
        return domain;
    sim_unlock(sim_hypervisor());
    errno = -error;
    return NULL;
}

static int leave(int result)
{
    sim_unlock(sim_hypervisor());
    return call_result(result);
}

/* --- ioreq servers --- */

int xendevicemodel_create_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                       int handle_bufioreq, ioservid_t *id)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_ioreq_create(domid, handle_bufioreq, id));
}

int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id)
{
    return permitted(dmod, domid, __func__) ? call_result(sim_ioreq_destroy(domid, id)) : -1;
}

int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
                                          int enabled)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_ioreq_set_state(domid, id, enabled));
}

int xendevicemodel_get_ioreq_server_info(xendevicemodel_handle *dmod, domid_t domid, ioservid_t id,
                                         xen_pfn_t *ioreq_gfn, xen_pfn_t *bufioreq_gfn,
                                         evtchn_port_t *bufioreq_port)
{
    uint64_t gfn = 0, buffered_gfn = 0;
    uint32_t port = 0;

    if (!permitted(dmod, domid, __func__))
        return -1;
    int result = sim_ioreq_info(domid, id, ioreq_gfn ? &gfn : NULL,
                                bufioreq_gfn ? &buffered_gfn : NULL, &port);
    if (result < 0)
        return call_result(result);
    if (ioreq_gfn)
        *ioreq_gfn = gfn;
    if (bufioreq_gfn)
        *bufioreq_gfn = buffered_gfn;
    if (bufioreq_port)
        *bufioreq_port = port;
    return 0;
}

int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                ioservid_t id, int is_mmio, uint64_t start,
                                                uint64_t end)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_ioreq_map(
        domid, id, is_mmio ? XEN_DMOP_IO_RANGE_MEMORY : XEN_DMOP_IO_RANGE_PORT, start, end));
}

int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                    ioservid_t id, int is_mmio, uint64_t start,
                                                    uint64_t end)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_ioreq_unmap(
        domid, id, is_mmio ? XEN_DMOP_IO_RANGE_MEMORY : XEN_DMOP_IO_RANGE_PORT, start, end));
}

static bool function_exists(uint8_t device, uint8_t function)
{
    if (device <= 0x1f && function <= 7)
        return true;
    errno = EINVAL;
    return false;
}

int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                              ioservid_t id, uint16_t segment, uint8_t bus,
                                              uint8_t device, uint8_t function)
{
    uint32_t sbdf = XEN_DMOP_PCI_SBDF((uint32_t)segment, bus, device, function);
    if (!permitted(dmod, domid, __func__) || !function_exists(device, function))
        return -1;
    return call_result(sim_ioreq_map(domid, id, XEN_DMOP_IO_RANGE_PCI, sbdf, sbdf));
}

int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                  ioservid_t id, uint16_t segment, uint8_t bus,
                                                  uint8_t device, uint8_t function)
{
    uint32_t sbdf = XEN_DMOP_PCI_SBDF((uint32_t)segment, bus, device, function);
    if (!permitted(dmod, domid, __func__) || !function_exists(device, function))
        return -1;
    return call_result(sim_ioreq_unmap(domid, id, XEN_DMOP_IO_RANGE_PCI, sbdf, sbdf));
}

int xendevicemodel_map_mem_type_to_ioreq_server(xendevicemodel_handle *dmod, domid_t domid,
                                                ioservid_t id, uint16_t type, uint32_t flags)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_ioreq_map_mem_type(domid, id, type, flags));
}

/* --- interrupts --- */

int xendevicemodel_set_pci_intx_level(xendevicemodel_handle *dmod, domid_t domid, uint16_t segment,
                                      uint8_t bus, uint8_t device, uint8_t intx, unsigned int level)
{
    struct sim_domain *domain = enter(dmod, domid, __func__);
    if (!domain)
        return -1;
    /* The level goes to Xen as a byte. */
    if (segment || bus || device > 0x1f || intx > 3 || (uint8_t)level > 1)
        return leave(-EINVAL);
    uint8_t old = domain->ioreq.intx[device], pin = 1u << intx;
    __atomic_store_n(&domain->ioreq.intx[device], (uint8_t)level ? old | pin : old & ~pin,
                     __ATOMIC_RELAXED);
    return leave(0);
}

int xendevicemodel_set_isa_irq_level(xendevicemodel_handle *dmod, domid_t domid, uint8_t irq,
                                     unsigned int level)
{
    struct sim_domain *domain = enter(dmod, domid, __func__);
    if (!domain)
        return -1;
    if (irq > 15 || (uint8_t)level > 1)
        return leave(-EINVAL);
    uint16_t line = 1u << irq;
    domain->ioreq.isa_irqs =
        (uint8_t)level ? domain->ioreq.isa_irqs | line : domain->ioreq.isa_irqs & ~line;
    return leave(0);
}

/* This one is for ARM: Xen on x86 does not know it. */
int xendevicemodel_set_irq_level(xendevicemodel_handle *dmod, domid_t domid, unsigned int irq,
                                 unsigned int level)
{
    return enter(dmod, domid, __func__) ? leave(-EOPNOTSUPP) : -1;
}

int xendevicemodel_set_pci_link_route(xendevicemodel_handle *dmod, domid_t domid, uint8_t link,
                                      uint8_t irq)
{
    struct sim_domain *domain = enter(dmod, domid, __func__);
    if (!domain)
        return -1;
    if (link > 3 || irq > 15)
        return leave(-EINVAL);
    domain->ioreq.link_route[link] = irq;
    return leave(0);
}

/* The first SIM_MSIS different ones are counted. */
static void count_msi(struct sim_ioreq_domain *ioreq, uint64_t address, uint32_t data)
{
    for (unsigned i = 0; i < SIM_MSIS; i++) {
        bool is_free = ioreq->msis[i].count == 0;
        if (!is_free && (ioreq->msis[i].address != address || ioreq->msis[i].data != data))
            continue;
        ioreq->msis[i].address = address;
        ioreq->msis[i].data = data;
        ioreq->msis[i].count++;
        return;
    }
}

int xendevicemodel_inject_msi(xendevicemodel_handle *dmod, domid_t domid, uint64_t msi_addr,
                              uint32_t msi_data)
{
    struct sim_domain *domain = enter(dmod, domid, __func__);
    if (!domain)
        return -1;
    count_msi(&domain->ioreq, msi_addr, msi_data);
    return leave(0);
}

int xendevicemodel_inject_event(xendevicemodel_handle *dmod, domid_t domid, int vcpu,
                                uint8_t vector, uint8_t type, uint32_t error_code, uint8_t insn_len,
                                uint64_t extra)
{
    struct sim_domain *domain = enter(dmod, domid, __func__);
    if (!domain)
        return -1;
    if ((uint32_t)vcpu >= domain->vcpus)
        return leave(-EINVAL);
    domain->ioreq.events++;
    return leave(0);
}

/* --- memory --- */

/* Nothing sees the guest's writes, so all of them may have been: emulators redraw. */
int xendevicemodel_track_dirty_vram(xendevicemodel_handle *dmod, domid_t domid, uint64_t first_pfn,
                                    uint32_t nr, unsigned long *dirty_bitmap)
{
    if (!enter(dmod, domid, __func__))
        return -1;
    if (nr > MAX_DIRTY_FRAMES)
        return leave(-EINVAL);
    if (dirty_bitmap)
        memset(dirty_bitmap, 0xFF, (nr + 7) / 8);
    return leave(0);
}

/* Xen looks at the extents only while it logs dirty pages, which is not simulated. */
int xendevicemodel_modified_memory_bulk(xendevicemodel_handle *dmod, domid_t domid,
                                        struct xen_dm_op_modified_memory_extent extents[],
                                        uint32_t nr)
{
    return enter(dmod, domid, __func__) ? leave(0) : -1;
}

int xendevicemodel_modified_memory(xendevicemodel_handle *dmod, domid_t domid, uint64_t first_pfn,
                                   uint32_t nr)
{
    return enter(dmod, domid, __func__) ? leave(0) : -1;
}

int xendevicemodel_set_mem_type(xendevicemodel_handle *dmod, domid_t domid, hvmmem_type_t mem_type,
                                uint64_t first_pfn, uint32_t nr)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_physmap_set_type(domid, mem_type, first_pfn, nr));
}

int xendevicemodel_relocate_memory(xendevicemodel_handle *dmod, domid_t domid, uint32_t size,
                                   uint64_t src_gfn, uint64_t dst_gfn)
{
    if (!permitted(dmod, domid, __func__))
        return -1;
    return call_result(sim_physmap_move(domid, src_gfn, dst_gfn, size));
}

static bool is_cache_type(uint32_t type)
{
    switch (type) {
    case XEN_DMOP_MEM_CACHEATTR_UC:
    case XEN_DMOP_MEM_CACHEATTR_WC:
    case XEN_DMOP_MEM_CACHEATTR_WT:
    case XEN_DMOP_MEM_CACHEATTR_WP:
    case XEN_DMOP_MEM_CACHEATTR_WB:
    case XEN_DMOP_MEM_CACHEATTR_UCM:
        return true;
    default:
        return false;
    }
}

/* What is pinned is not remembered, so there is never anything to delete. */
int xendevicemodel_pin_memory_cacheattr(xendevicemodel_handle *dmod, domid_t domid, uint64_t start,
                                        uint64_t end, uint32_t type)
{
    if (!enter(dmod, domid, __func__))
        return -1;
    if (end < start || (start | end) >> (PADDR_BITS - 12))
        return leave(-EINVAL);
    if (type == XEN_DMOP_DELETE_MEM_CACHEATTR)
        return leave(-ENOENT);
    return leave(is_cache_type(type) ? 0 : -EINVAL);
}

/* --- the domain --- */

int xendevicemodel_shutdown(xendevicemodel_handle *dmod, domid_t domid, unsigned int reason)
{
    if (!enter(dmod, domid, __func__))
        return -1;
    return leave(sim_ioreq_shutdown(domid, reason));
}

int xendevicemodel_nr_vcpus(xendevicemodel_handle *dmod, domid_t domid, unsigned int *vcpus)
{
    struct sim_domain *domain = enter(dmod, domid, __func__);
    if (!domain)
        return -1;
    *vcpus = domain->vcpus;
    return leave(0);
}
