/*
 * As much of libxenctrl on the simulated hypervisor as rolemodel and Debian's QEMU and xenstored
 * import.
 *
 * Source: xenctrl.h; errors as of Xen 4.17.
 */
#include <stdlib.h>
#include <string.h>
#include <xenctrl.h>
#include <xen/hvm/params.h>

#include "tests/sim/lib/call.h"
#include "tests/sim/lib/toolcore.h"

#define MAX_ORDER 18 /* of one extent: 1 GiB */

struct xc_interface_core {
    struct toolcore_handle toolcore; /* first: callbacks get its address */
    bool restricted;
};

/* --- the handle --- */

/* The real one's descriptor becomes /dev/null: it is of no use for any domain. */
static int restrict_callback(struct toolcore_handle *handle, domid_t domid)
{
    ((xc_interface *)handle)->restricted = true;
    return 0;
}

xc_interface *xc_interface_open(xentoollog_logger *logger, xentoollog_logger *dombuild_logger,
                                unsigned open_flags)
{
    if (call_fails(__func__) || !sim_hypervisor())
        return NULL;
    xc_interface *xch = calloc(1, sizeof(*xch));
    if (!xch)
        return NULL;
    xch->toolcore.restrict_callback = restrict_callback;
    xentoolcore__register_active_handle(&xch->toolcore);
    return xch;
}

int xc_interface_close(xc_interface *xch)
{
    if (!xch)
        return 0;
    xentoolcore__deregister_active_handle(&xch->toolcore);
    free(xch);
    return 0;
}

/* xenstored goes on without a handle if it could not open one. */
static bool permitted(const xc_interface *xch, const char *call)
{
    if (call_fails(call))
        return false;
    if (!xch || !xch->restricted)
        return true;
    errno = ENOTTY;
    return false;
}

/* --- domains --- */

static void describe(unsigned domid, const struct sim_domain *domain, xc_dominfo_t *info)
{
    uint32_t state = atomic_load(&domain->state);
    uint32_t shutdown = domain->ioreq.shutdown;

    memset(info, 0, sizeof(*info));
    info->domid = domid;
    info->crashed = state == SIM_DOMAIN_CRASHED;
    info->shutdown = !info->crashed && shutdown != 0;
    info->shutdown_reason = info->crashed ? SHUTDOWN_crash : shutdown ? shutdown - 1 : 0;
    info->running = !info->crashed && !info->shutdown;
    info->hvm = info->hap = domain->hvm;
    info->nr_pages = domain->pages;
    info->max_memkb = domain->pages * (SIM_PAGE / 1024);
    info->nr_online_vcpus = domain->vcpus;
    info->max_vcpu_id = domain->vcpus - 1;
    info->handle[14] = domid >> 8;
    info->handle[15] = domid & 0xFF;
    info->gpaddr_bits = SIM_ADDRESS_BITS;
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first_domid, unsigned int max_doms,
                      xc_dominfo_t *info)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    unsigned count = 0;

    if (!xen || !permitted(xch, __func__))
        return -1;
    sim_lock(xen);
    for (uint32_t domid = first_domid; domid < SIM_DOMAINS && count < max_doms; domid++) {
        const struct sim_domain *domain = sim_domain(domid);
        if (domain)
            describe(domid, domain, &info[count++]);
    }
    sim_unlock(xen);
    return count > 0 ? (int)count : call_result(-ESRCH);
}

int xc_domain_shutdown(xc_interface *xch, uint32_t domid, int reason)
{
    return permitted(xch, __func__) ? call_result(sim_ioreq_shutdown(domid, reason)) : -1;
}

/* --- memory --- */

/* A guest has its memory from its creation; what is beyond is added.  How many extents came. */
static unsigned long populate(unsigned domid, const xen_pfn_t *extents, unsigned long count,
                              unsigned order)
{
    unsigned long done = 0;
    while (done < count && order <= MAX_ORDER &&
           sim_physmap_add(domid, extents[done], UINT64_C(1) << order) == 0)
        done++;
    return done;
}

int xc_domain_populate_physmap(xc_interface *xch, uint32_t domid, unsigned long nr_extents,
                               unsigned int extent_order, unsigned int mem_flags,
                               xen_pfn_t *extent_start)
{
    struct sim_struck fault = { 0 };
    if (sim_struck(__func__, &fault) && fault.error)
        return 0; /* as when the host has no memory: none of the extents */
    if (!permitted(xch, __func__))
        return -1;
    if (!sim_domain(domid))
        return call_result(-ESRCH);
    return populate(domid, extent_start, nr_extents, extent_order);
}

int xc_domain_populate_physmap_exact(xc_interface *xch, uint32_t domid, unsigned long nr_extents,
                                     unsigned int extent_order, unsigned int mem_flags,
                                     xen_pfn_t *extent_start)
{
    if (!permitted(xch, __func__))
        return -1;
    if (!sim_domain(domid))
        return call_result(-ESRCH);
    bool all = populate(domid, extent_start, nr_extents, extent_order) == nr_extents;
    return all ? 0 : call_result(-EBUSY);
}

int xc_domain_decrease_reservation(xc_interface *xch, uint32_t domid, unsigned long nr_extents,
                                   unsigned int extent_order, xen_pfn_t *extent_start)
{
    unsigned long done = 0;
    if (!permitted(xch, __func__))
        return -1;
    while (done < nr_extents && extent_order <= MAX_ORDER &&
           sim_physmap_remove(domid, extent_start[done], UINT64_C(1) << extent_order) == 0)
        done++;
    return done;
}

/* Limits are not simulated: any is fine. */
static int any_limit(xc_interface *xch, uint32_t domid, const char *call)
{
    if (!permitted(xch, call))
        return -1;
    return call_result(sim_domain(domid) ? 0 : -ESRCH);
}

int xc_domain_setmaxmem(xc_interface *xch, uint32_t domid, uint64_t max_memkb)
{
    return any_limit(xch, domid, __func__);
}

int xc_get_paging_mempool_size(xc_interface *xch, uint32_t domid, uint64_t *size)
{
    *size = 0;
    return any_limit(xch, domid, __func__);
}

int xc_set_paging_mempool_size(xc_interface *xch, uint32_t domid, uint64_t size)
{
    return any_limit(xch, domid, __func__);
}

int xc_physinfo(xc_interface *xch, xc_physinfo_t *info)
{
    memset(info, 0, sizeof(*info));
    return permitted(xch, __func__) ? 0 : -1;
}

/* --- parameters of HVM guests --- */

static struct sim_domain *find_hvm(xc_interface *xch, uint32_t domid, int param, const char *call)
{
    if (!permitted(xch, call))
        return NULL;
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        errno = ESRCH;
    else if (!domain->hvm || param < 0 || param >= HVM_NR_PARAMS)
        errno = EINVAL;
    else
        return domain;
    return NULL;
}

int xc_get_hvm_param(xc_interface *handle, uint32_t dom, int param, unsigned long *value)
{
    struct sim_domain *domain = find_hvm(handle, dom, param, __func__);
    if (!domain)
        return -1;
    sim_lock(sim_hypervisor());
    *value = domain->hvm_params[param];
    sim_unlock(sim_hypervisor());
    return 0;
}

/* These keep their first value. */
static bool is_constant(int param)
{
    return param == HVM_PARAM_VIRIDIAN || param == HVM_PARAM_IOREQ_SERVER_PFN ||
           param == HVM_PARAM_NR_IOREQ_SERVER_PAGES || param == HVM_PARAM_ALTP2M ||
           param == HVM_PARAM_MCA_CAP;
}

int xc_set_hvm_param(xc_interface *handle, uint32_t dom, int param, unsigned long value)
{
    struct sim_domain *domain = find_hvm(handle, dom, param, __func__);
    int result = 0;

    if (!domain)
        return -1;
    sim_lock(sim_hypervisor());
    uint64_t *place = &domain->hvm_params[param];
    if (is_constant(param) && *place != 0 && *place != value)
        result = -EEXIST;
    else
        *place = value;
    sim_unlock(sim_hypervisor());
    return call_result(result);
}

/* --- passthrough: there are no devices to pass --- */

static int no_passthrough(const xc_interface *xch, const char *call)
{
    return permitted(xch, call) ? call_result(-ENOSYS) : -1;
}

int xc_domain_iomem_permission(xc_interface *xch, uint32_t domid, unsigned long first_mfn,
                               unsigned long nr_mfns, uint8_t allow_access)
{
    return no_passthrough(xch, __func__);
}

int xc_domain_memory_mapping(xc_interface *xch, uint32_t domid, unsigned long first_gfn,
                             unsigned long first_mfn, unsigned long nr_mfns, uint32_t add_mapping)
{
    return no_passthrough(xch, __func__);
}

int xc_domain_ioport_mapping(xc_interface *xch, uint32_t domid, uint32_t first_gport,
                             uint32_t first_mport, uint32_t nr_ports, uint32_t add_mapping)
{
    return no_passthrough(xch, __func__);
}

int xc_domain_bind_pt_pci_irq(xc_interface *xch, uint32_t domid, uint8_t machine_irq, uint8_t bus,
                              uint8_t device, uint8_t intx)
{
    return no_passthrough(xch, __func__);
}

int xc_domain_unbind_pt_irq(xc_interface *xch, uint32_t domid, uint8_t machine_irq,
                            uint8_t irq_type, uint8_t bus, uint8_t device, uint8_t intx,
                            uint8_t isa_irq)
{
    return no_passthrough(xch, __func__);
}

int xc_domain_update_msi_irq(xc_interface *xch, uint32_t domid, uint32_t gvec, uint32_t pirq,
                             uint32_t gflags, uint64_t gtable)
{
    return no_passthrough(xch, __func__);
}

int xc_domain_unbind_msi_irq(xc_interface *xch, uint32_t domid, uint32_t gvec, uint32_t pirq,
                             uint32_t gflags)
{
    return no_passthrough(xch, __func__);
}

int xc_physdev_map_pirq(xc_interface *xch, uint32_t domid, int index, int *pirq)
{
    return no_passthrough(xch, __func__);
}

int xc_physdev_map_pirq_msi(xc_interface *xch, uint32_t domid, int index, int *pirq, int devfn,
                            int bus, int entry_nr, uint64_t table_base)
{
    return no_passthrough(xch, __func__);
}

int xc_physdev_unmap_pirq(xc_interface *xch, uint32_t domid, int pirq)
{
    return no_passthrough(xch, __func__);
}
