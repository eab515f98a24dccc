/* Leaves and hypercalls: see xen.h. */

#include "ovmf-drivers/pvblk/xen.h"

#include <stddef.h>

/* Calls as they are today, not as they were in Xen 3.0. */
#define __XEN_INTERFACE_VERSION__ 0x00040d00

#include <xen/xen.h>
#include <xen/event_channel.h>
#include <xen/grant_table.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>
#include <xen/memory.h>
#include <xen/sched.h>

/*
 * Xen's own structures of these calls have members of the type `long`, which has 32 bits in a UEFI
 * image.
 */
struct add_to_physmap {
    uint16_t domid;
    uint16_t size;
    uint32_t space;
    uint64_t index;
    uint64_t gfn;
};

struct remove_from_physmap {
    uint16_t domid;
    uint64_t gfn;
};

struct reservation {
    uint64_t *gfns;
    uint64_t count;
    uint32_t order, flags;
    uint16_t domid;
};

_Static_assert(sizeof(struct add_to_physmap) == 24, "xen/memory.h");
_Static_assert(sizeof(struct reservation) == 32, "xen/memory.h");
_Static_assert(sizeof(struct sched_poll) == 24, "xen/sched.h");

struct leaf {
    uint32_t a, b, c, d;
};

/* Sub-leaf 0. */
static struct leaf cpuid(uint32_t number)
{
    struct leaf leaf;
    __asm__ volatile("cpuid"
                     : "=a"(leaf.a), "=b"(leaf.b), "=c"(leaf.c), "=d"(leaf.d)
                     : "a"(number), "c"(0));
    return leaf;
}

/* Twelve characters, in the order of the registers that hold them. */
static bool says(uint32_t first, uint32_t second, uint32_t third, const char *text)
{
    const uint32_t registers[] = { first, second, third };
    return __builtin_memcmp(registers, text, sizeof(registers)) == 0;
}

static bool has_vmmcall(void)
{
    struct leaf vendor = cpuid(0);
    return says(vendor.b, vendor.d, vendor.c, "AuthenticAMD") ||
           says(vendor.b, vendor.d, vendor.c, "HygonGenuine");
}

bool xen_find(struct xen *xen)
{
    *xen = (struct xen){ .vmmcall = has_vmmcall() };
    /* Another interface (Hyper-V's) may be in front; without a hypervisor these are any values. */
    for (uint32_t base = 0x40000000; base < 0x40010000; base += 0x100) {
        struct leaf leaf = cpuid(base);
        if (says(leaf.b, leaf.c, leaf.d, "XenVMMXenVMM") && leaf.a >= base + 2) {
            if (leaf.a >= base + 3)
                xen->tsc_khz = cpuid(base + 3).c;
            return true;
        }
    }
    return false;
}

static int64_t hypercall(const struct xen *xen, uint64_t number, uint64_t command, void *argument,
                         uint64_t count)
{
    int64_t result = number;

    if (xen->vmmcall)
        __asm__ volatile("vmmcall"
                         : "+a"(result), "+D"(command), "+S"(argument), "+d"(count)
                         :
                         : "memory");
    else
        __asm__ volatile("vmcall"
                         : "+a"(result), "+D"(command), "+S"(argument), "+d"(count)
                         :
                         : "memory");
    return result;
}

uint64_t xen_param(const struct xen *xen, uint32_t index)
{
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = index };
    return hypercall(xen, __HYPERVISOR_hvm_op, HVMOP_get_param, &param, 0) == 0 ? param.value : 0;
}

/* Setting this parameter, even to none, makes Xen look which mode the processor is in. */
bool xen_latch_width(const struct xen *xen)
{
    struct xen_hvm_param param = { .domid = DOMID_SELF, .index = HVM_PARAM_CALLBACK_IRQ };
    return hypercall(xen, __HYPERVISOR_hvm_op, HVMOP_set_param, &param, 0) == 0;
}

static bool map(const struct xen *xen, uint32_t space, uint64_t index, uint64_t gfn)
{
    struct add_to_physmap map = { DOMID_SELF, 0, space, index, gfn };
    return hypercall(xen, __HYPERVISOR_memory_op, XENMEM_add_to_physmap, &map, 0) == 0;
}

bool xen_map_shared_info(const struct xen *xen, uint64_t gfn)
{
    return map(xen, XENMAPSPACE_shared_info, 0, gfn);
}

bool xen_map_grant_frame(const struct xen *xen, uint32_t index, uint64_t gfn)
{
    return map(xen, XENMAPSPACE_grant_table, index, gfn);
}

void xen_unmap(const struct xen *xen, uint64_t gfn)
{
    struct remove_from_physmap unmap = { DOMID_SELF, gfn };
    hypercall(xen, __HYPERVISOR_memory_op, XENMEM_remove_from_physmap, &unmap, 0);
}

bool xen_replace(const struct xen *xen, uint64_t gfn)
{
    struct reservation page = { .gfns = &gfn, .count = 1, .domid = DOMID_SELF };
    return hypercall(xen, __HYPERVISOR_memory_op, XENMEM_decrease_reservation, &page, 0) == 1 &&
           hypercall(xen, __HYPERVISOR_memory_op, XENMEM_populate_physmap, &page, 0) == 1;
}

uint32_t xen_grant_frames_max(const struct xen *xen)
{
    struct gnttab_query_size size = { .dom = DOMID_SELF };
    if (hypercall(xen, __HYPERVISOR_grant_table_op, GNTTABOP_query_size, &size, 1) != 0 ||
        size.status != GNTST_okay)
        return 0;
    return size.max_nr_frames;
}

bool xen_grant_version_1(const struct xen *xen)
{
    struct gnttab_set_version version = { .version = 1 };
    return hypercall(xen, __HYPERVISOR_grant_table_op, GNTTABOP_set_version, &version, 1) == 0 &&
           version.version == 1;
}

bool xen_port_new(const struct xen *xen, uint16_t remote, uint32_t *port)
{
    struct evtchn_alloc_unbound unbound = { .dom = DOMID_SELF, .remote_dom = remote };
    if (hypercall(xen, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, &unbound, 0) != 0)
        return false;
    *port = unbound.port;
    return true;
}

void xen_port_close(const struct xen *xen, uint32_t port)
{
    struct evtchn_close close = { port };
    hypercall(xen, __HYPERVISOR_event_channel_op, EVTCHNOP_close, &close, 0);
}

void xen_port_notify(const struct xen *xen, uint32_t port)
{
    struct evtchn_send send = { port };
    hypercall(xen, __HYPERVISOR_event_channel_op, EVTCHNOP_send, &send, 0);
}

uint64_t xen_time(const struct xen *xen)
{
    uint64_t ticks = __builtin_ia32_rdtsc(), khz = xen->tsc_khz;
    return ticks / khz * 1000 + ticks % khz * 1000 / khz;
}

void xen_yield(const struct xen *xen)
{
    hypercall(xen, __HYPERVISOR_sched_op, SCHEDOP_yield, NULL, 0);
}

void xen_poll(const struct xen *xen, uint32_t port, uint64_t until)
{
    struct sched_poll poll = { .nr_ports = port != 0, .timeout = until };
    set_xen_guest_handle(poll.ports, &port);
    hypercall(xen, __HYPERVISOR_sched_op, SCHEDOP_poll, &poll, 0);
}
