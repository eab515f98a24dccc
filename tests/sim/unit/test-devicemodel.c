/*
 * What emulators tell a simulated guest, and how their handles are restricted.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/sim/unit/emulator.h"

#include <xenctrl.h>
#include <xen/hvm/params.h>
#include <xentoolcore.h>

#include "tests/sim/sim.h"

static void test_interrupts(struct fixture *f, gconstpointer unused)
{
    unsigned d = f->domid;
    assert_works(xendevicemodel_set_pci_intx_level(f->dm, d, 0, 0, 30, 3, 1));
    g_assert_cmpuint(vcpu_intx_level(f->guest, 30, 3), ==, 1);
    g_assert_cmpuint(vcpu_intx_level(f->guest, 30, 2), ==, 0);
    assert_works(xendevicemodel_set_pci_intx_level(f->dm, d, 0, 0, 30, 3, 0));
    g_assert_cmpuint(vcpu_intx_level(f->guest, 30, 3), ==, 0);
    assert_fails(xendevicemodel_set_pci_intx_level(f->dm, d, 0, 1, 30, 3, 1), EINVAL);
    assert_fails(xendevicemodel_set_pci_intx_level(f->dm, d, 0, 0, 32, 3, 1), EINVAL);
    assert_fails(xendevicemodel_set_pci_intx_level(f->dm, d, 0, 0, 30, 4, 1), EINVAL);
    assert_fails(xendevicemodel_set_pci_intx_level(f->dm, d, 0, 0, 30, 0, 2), EINVAL);
    assert_works(xendevicemodel_set_isa_irq_level(f->dm, d, 15, 1));
    assert_fails(xendevicemodel_set_isa_irq_level(f->dm, d, 16, 1), EINVAL);
    assert_fails(xendevicemodel_set_irq_level(f->dm, d, 3, 1), EOPNOTSUPP);
    assert_works(xendevicemodel_set_pci_link_route(f->dm, d, 3, 15));
    assert_fails(xendevicemodel_set_pci_link_route(f->dm, d, 4, 1), EINVAL);

    for (unsigned i = 0; i < 3; i++)
        assert_works(xendevicemodel_inject_msi(f->dm, d, 0xFEE00000, 0x4041));
    assert_works(xendevicemodel_inject_msi(f->dm, d, 0xFEE01000, 0x4041));
    g_assert_cmpuint(vcpu_msi_count(f->guest, 0xFEE00000, 0x4041), ==, 3);
    g_assert_cmpuint(vcpu_msi_count(f->guest, 0xFEE01000, 0x4041), ==, 1);
    g_assert_cmpuint(vcpu_msi_count(f->guest, 0xFEE01000, 0x4042), ==, 0);
    assert_works(xendevicemodel_inject_event(f->dm, d, VCPUS - 1, 14, 3, 0, 0, 0));
    assert_fails(xendevicemodel_inject_event(f->dm, d, VCPUS, 14, 3, 0, 0, 0), EINVAL);
}

static void test_memory(struct fixture *f, gconstpointer unused)
{
    unsigned d = f->domid;
    unsigned long bitmap[2] = { 0 };
    struct xen_dm_op_modified_memory_extent extent = { .nr = 1, .first_pfn = 1 };
    uint8_t *memory = guest_memory(f->guest);

    assert_works(xendevicemodel_track_dirty_vram(f->dm, d, 0, 64, bitmap));
    g_assert_cmphex(bitmap[0], ==, ULONG_MAX);
    g_assert_cmphex(bitmap[1], ==, 0);
    assert_fails(xendevicemodel_track_dirty_vram(f->dm, d, 0, (1 << 18) + 1, bitmap), EINVAL);
    assert_works(xendevicemodel_modified_memory(f->dm, d, 0, 1));
    assert_works(xendevicemodel_modified_memory_bulk(f->dm, d, &extent, 1));
    assert_works(xendevicemodel_pin_memory_cacheattr(f->dm, d, 0, 1, XEN_DMOP_MEM_CACHEATTR_WC));
    assert_fails(xendevicemodel_pin_memory_cacheattr(f->dm, d, 2, 1, XEN_DMOP_MEM_CACHEATTR_WC),
                 EINVAL);
    assert_fails(xendevicemodel_pin_memory_cacheattr(f->dm, d, 0, 1, 2), EINVAL);

    memory[5 * SIM_PAGE] = 0x55;
    assert_works(xendevicemodel_relocate_memory(f->dm, d, 2, 4, 10));
    g_assert_cmphex(memory[11 * SIM_PAGE], ==, 0x55);
    g_assert_cmphex(memory[5 * SIM_PAGE], ==, 0);
    assert_fails(xendevicemodel_relocate_memory(f->dm, d, 2, 4, PAGES - 1), EINVAL);
    assert_fails(xendevicemodel_relocate_memory(f->dm, d, 2, UINT64_MAX, 0), EINVAL);
}

static xc_dominfo_t domain_info(unsigned domid)
{
    xc_dominfo_t info;
    g_assert_cmpint(xc_domain_getinfo(NULL, domid, 1, &info), ==, 1);
    g_assert_cmpuint(info.domid, ==, domid);
    return info;
}

static void test_shutdown(struct fixture *f, gconstpointer unused)
{
    ioreq_t request = read_port(0x10, 4);
    xc_dominfo_t info = domain_info(f->domid);
    g_assert_true(info.hvm && info.running && !info.shutdown && !info.crashed && !info.dying);
    g_assert_cmpuint(info.nr_online_vcpus, ==, VCPUS);
    g_assert_cmpuint(info.max_memkb, ==, PAGES * 4);

    assert_works(xendevicemodel_shutdown(f->dm, f->domid, SHUTDOWN_poweroff));
    info = domain_info(f->domid);
    g_assert_true(info.shutdown && !info.crashed && info.shutdown_reason == SHUTDOWN_poweroff);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_CRASHED);
    g_assert_null(vcpu_crash_reason(f->guest));

    assert_works(xendevicemodel_shutdown(f->dm, f->domid, SHUTDOWN_crash));
    info = domain_info(f->domid);
    g_assert_true(info.crashed && !info.shutdown);
    g_assert_nonnull(vcpu_crash_reason(f->guest));
}

static void test_fault(struct fixture *f, gconstpointer unused)
{
    ioservid_t id;
    sim_fault(&(struct sim_fault){
        .call = "xendevicemodel_create_ioreq_server", .skip = 1, .times = 2, .error = ENOMEM });
    g_assert_cmpuint(create(f, OFF), ==, 0);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, f->domid, OFF, &id), ENOMEM);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, f->domid, OFF, &id), ENOMEM);
    g_assert_cmpuint(create(f, OFF), ==, 1);
    g_assert_cmpuint(sim_fault_struck("xendevicemodel_create_ioreq_server"), ==, 2);
    sim_fault_clear();
}

/* What xentoolcore_restrict_all() leaves of a process's handles. */
static void test_restrict(struct fixture *f, gconstpointer unused)
{
    int other = sim_domain_create(1, PAGES, true);
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    xenevtchn_handle *evtchn = xenevtchn_open(NULL, 0);
    xen_pfn_t gfn = 1;
    xc_dominfo_t info;
    unsigned vcpus;
    void *pages = NULL;

    assert_works(xentoolcore_restrict_all(f->domid));
    assert_works(xendevicemodel_nr_vcpus(f->dm, f->domid, &vcpus));
    assert_fails(xendevicemodel_nr_vcpus(f->dm, other, &vcpus), EPERM);
    assert_works(xendevicemodel_restrict(f->dm, f->domid));
    assert_fails(xendevicemodel_restrict(f->dm, other), EINVAL);

    void *page = xenforeignmemory_map(f->memory, f->domid, PROT_READ, 1, &gfn, NULL);
    g_assert_nonnull(page);
    assert_works(xenforeignmemory_unmap(f->memory, page, 1));
    errno = 0;
    g_assert_null(xenforeignmemory_map(f->memory, other, PROT_READ, 1, &gfn, NULL));
    g_assert_cmpint(errno, ==, EPERM);
    errno = 0;
    g_assert_null(xenforeignmemory_map_resource(f->memory, other, XENMEM_resource_ioreq_server, 0,
                                                1, 1, &pages, PROT_READ, 0));
    g_assert_cmpint(errno, ==, EPERM);
    assert_fails(xenforeignmemory_restrict(f->memory, other), EINVAL);
    assert_fails(xenevtchn_bind_interdomain(evtchn, other, 1), EACCES);
    assert_fails(xc_domain_getinfo(xc, 0, 1, &info), ENOTTY);

    /* Handles that are opened later are free. */
    xendevicemodel_handle *later = xendevicemodel_open(NULL, 0);
    assert_works(xendevicemodel_nr_vcpus(later, other, &vcpus));
    assert_works(xendevicemodel_close(later));
    assert_works(xenevtchn_close(evtchn));
    assert_works(xc_interface_close(xc));
    assert_works(sim_domain_destroy(other));
}

/* What Debian's QEMU and xenstored need of libxenctrl. */
static void test_control(struct fixture *f, gconstpointer unused)
{
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    xen_pfn_t frames[2] = { 0, PAGES - 1 };
    xc_dominfo_t info[4];
    unsigned long value = 1;
    int pv = sim_domain_create(2, PAGES, false);

    g_assert_cmpint(xc_domain_getinfo(xc, 0, 4, info), ==, 3);
    g_assert_cmpuint(info[0].domid, ==, 0);
    g_assert_cmpuint(info[1].domid + info[2].domid, ==, f->domid + pv);
    g_assert_cmpint(xc_domain_getinfo(xc, 0, 1, info), ==, 1);
    assert_fails(xc_domain_getinfo(xc, SIM_DOMAINS - 1, 4, info), ESRCH);

    assert_works(xc_set_hvm_param(xc, f->domid, HVM_PARAM_CALLBACK_IRQ, 77));
    assert_works(xc_get_hvm_param(xc, f->domid, HVM_PARAM_CALLBACK_IRQ, &value));
    g_assert_cmpuint(value, ==, 77);
    assert_fails(xc_get_hvm_param(xc, f->domid, HVM_NR_PARAMS, &value), EINVAL);
    assert_fails(xc_get_hvm_param(xc, pv, HVM_PARAM_CALLBACK_IRQ, &value), EINVAL);
    assert_fails(xc_get_hvm_param(xc, 60, HVM_PARAM_CALLBACK_IRQ, &value), ESRCH);

    assert_works(xc_domain_populate_physmap_exact(xc, f->domid, 2, 0, 0, frames));
    assert_fails(xc_domain_populate_physmap_exact(xc, f->domid, 2, 1, 0, frames), EBUSY);
    assert_fails(xc_domain_iomem_permission(xc, f->domid, 0, 1, 1), ENOSYS);
    assert_works(xc_domain_shutdown(xc, f->domid, SHUTDOWN_poweroff));
    g_assert_cmpint(xc_domain_getinfo(xc, f->domid, 1, info), ==, 1);
    g_assert_true(info[0].shutdown);
    assert_works(sim_domain_destroy(pv));
    assert_works(xc_interface_close(xc));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_test("/devicemodel/interrupts", test_interrupts);
    add_test("/devicemodel/memory", test_memory);
    add_test("/devicemodel/shutdown", test_shutdown);
    add_test("/devicemodel/fault", test_fault);
    add_test("/devicemodel/restrict", test_restrict);
    add_test("/devicemodel/control", test_control);
    return run_tests();
}
