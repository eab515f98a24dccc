/*
 * Ioreq servers of the simulated hypervisor: Xen's rules for servers, their ranges and pages.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/sim/unit/emulator.h"

#include <xenctrl.h>
#include <xen/hvm/params.h>

/* --- servers and ranges --- */

static void test_create(struct fixture *f, gconstpointer unused)
{
    ioservid_t id;
    for (unsigned i = 0; i < SIM_IOREQ_SERVERS; i++)
        g_assert_cmpuint(create(f, i % 3), ==, i);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, f->domid, OFF, &id), ENOSPC);
    assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, 5));
    assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, 2));
    assert_fails(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, 2), ENOENT);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, f->domid, 3, &id), EINVAL);
    g_assert_cmpuint(create(f, OFF), ==, 2);
    g_assert_cmpuint(create(f, OFF), ==, 5);
    assert_fails(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, 8), ENOENT);
    assert_fails(enable(f, 8, 1), ENOENT);
}

static void test_target(struct fixture *f, gconstpointer unused)
{
    ioservid_t id;
    unsigned vcpus = 0;
    int pv = sim_domain_create(1, PAGES, false);

    assert_fails(xendevicemodel_create_ioreq_server(f->dm, pv, OFF, &id), EINVAL);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, 0, OFF, &id), EPERM);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, 60, OFF, &id), ESRCH);
    assert_fails(xendevicemodel_nr_vcpus(f->dm, pv, &vcpus), EINVAL);
    assert_works(xendevicemodel_nr_vcpus(f->dm, f->domid, &vcpus));
    g_assert_cmpuint(vcpus, ==, VCPUS);
    assert_works(sim_domain_destroy(pv));
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, pv, OFF, &id), ESRCH);
}

/* Only the domain that created a server may use it, and only dom0 may create one. */
static void test_emulator(struct fixture *f, gconstpointer unused)
{
    ioservid_t id = create(f, OFF), other;
    g_setenv("XENSIM_DOMID", "7", TRUE);
    assert_fails(xendevicemodel_create_ioreq_server(f->dm, f->domid, OFF, &other), EPERM);
    assert_fails(map(f, id, 0, 1, 2), EPERM);
    g_unsetenv("XENSIM_DOMID");
    assert_works(map(f, id, 0, 1, 2));
}

static void test_ranges(struct fixture *f, gconstpointer unused)
{
    ioservid_t id = create(f, OFF);
    for (int is_mmio = 0; is_mmio < 2; is_mmio++) {
        assert_works(map(f, id, is_mmio, 0x100, 0x1FF));
        assert_fails(map(f, id, is_mmio, 0x1FF, 0x200), EEXIST);
        assert_fails(map(f, id, is_mmio, 0, 0x100), EEXIST);
        assert_fails(map(f, id, is_mmio, 0x120, 0x130), EEXIST);
        assert_fails(map(f, id, is_mmio, 0, UINT64_MAX), EEXIST);
        assert_fails(map(f, id, is_mmio, 0x300, 0x2FF), EINVAL);
        assert_fails(unmap(f, id, is_mmio, 0x100, 0x200), ENOENT);
        assert_fails(unmap(f, id, is_mmio, 0x300, 0x301), ENOENT);
        assert_fails(unmap(f, id, is_mmio, 0x2, 0x1), EINVAL);
        /* What touches becomes one, and can be unmapped in other pieces. */
        assert_works(map(f, id, is_mmio, 0x200, 0x2FF));
        assert_works(unmap(f, id, is_mmio, 0x180, 0x27F));
        assert_fails(unmap(f, id, is_mmio, 0x17F, 0x180), ENOENT);
        assert_works(unmap(f, id, is_mmio, 0x100, 0x17F));
        assert_works(unmap(f, id, is_mmio, 0x280, 0x2FF));
        assert_works(map(f, id, is_mmio, 0, UINT64_MAX));
        assert_works(unmap(f, id, is_mmio, 0, UINT64_MAX));
    }
    assert_fails(map(f, 1, 0, 1, 2), ENOENT);
}

static void test_range_limit(struct fixture *f, gconstpointer unused)
{
    ioservid_t id = create(f, OFF);
    for (unsigned i = 0; i < SIM_RANGES; i++)
        assert_works(map(f, id, 1, i * 0x100, i * 0x100 + 0x7F));
    assert_fails(map(f, id, 1, SIM_RANGES * 0x100, SIM_RANGES * 0x100), ENOMEM);
    assert_fails(unmap(f, id, 1, 0x10, 0x20), ENOMEM); /* would leave two */
    assert_works(map(f, id, 1, 0x80, 0xFF));           /* makes one of two */
    assert_works(map(f, id, 1, SIM_RANGES * 0x100, SIM_RANGES * 0x100));
    assert_works(map(f, id, 0, 0, 1)); /* each type has its own */
}

/* The same against a plain table, with random ranges. */
static void test_rangeset(void)
{
    enum { NUMBERS = 600 };
    bool table[NUMBERS] = { false };
    g_autofree struct sim_rangeset *set = g_new0(struct sim_rangeset, 1);

    for (unsigned round = 0; round < 20000; round++) {
        uint64_t first = g_test_rand_int_range(0, NUMBERS);
        uint64_t length = g_test_rand_int_range(0, 20);
        uint64_t last = MIN(first + length, NUMBERS - 1);
        bool all = true, any = false;
        for (uint64_t i = first; i <= last; i++) {
            all &= table[i];
            any |= table[i];
        }
        g_assert_cmpint(sim_rangeset_contains(set, first, last), ==, all);
        g_assert_cmpint(sim_rangeset_overlaps(set, first, last), ==, any);
        if (!any)
            g_assert_cmpint(sim_rangeset_add(set, first, last), ==, 0);
        else if (all)
            g_assert_cmpint(sim_rangeset_cut(set, first, last), ==, 0);
        else if (round % 4 == 0)
            g_assert_cmpint(sim_rangeset_clear(set, first, last), ==, 0);
        else
            continue;
        memset(&table[first], !any, last - first + 1);
        for (uint32_t i = 1; i < set->count; i++)
            g_assert_cmpuint(set->range[i].first, >, set->range[i - 1].last + 1);
    }
}

/* --- pages --- */

static void *map_frames(struct fixture *f, ioservid_t id, unsigned long frame, unsigned long count)
{
    void *pages = NULL;
    xenforeignmemory_resource_handle *resource =
        xenforeignmemory_map_resource(f->memory, f->domid, XENMEM_resource_ioreq_server, id, frame,
                                      count, &pages, PROT_READ | PROT_WRITE, 0);
    if (!resource)
        return NULL;
    assert_works(xenforeignmemory_unmap_resource(f->memory, resource));
    return pages;
}

static void test_resource(struct fixture *f, gconstpointer unused)
{
    size_t size = 0;
    ioservid_t plain = create(f, OFF), buffered = create(f, ATOMIC);
    g_assert_nonnull(map_frames(f, plain, 1, 1));
    g_assert_nonnull(map_frames(f, buffered, 0, 2));
    errno = 0;
    g_assert_null(map_frames(f, plain, 0, 1));
    g_assert_cmpint(errno, ==, ENOENT);
    g_assert_null(map_frames(f, buffered, 0, 3));
    g_assert_cmpint(errno, ==, EINVAL);
    g_assert_null(map_frames(f, 7, 1, 1));
    g_assert_cmpint(errno, ==, ENOENT);
    assert_works(xenforeignmemory_resource_size(f->memory, f->domid, XENMEM_resource_ioreq_server,
                                                plain, &size));
    g_assert_cmpuint(size, ==, 2 * SIM_PAGE);
    assert_fails(
        xenforeignmemory_resource_size(f->memory, f->domid, XENMEM_resource_grant_table, 0, &size),
        EOPNOTSUPP);
}

/* The older way: pages of the guest, that the toolstack has reserved. */
static void test_gfn(struct fixture *f, gconstpointer unused)
{
    xen_pfn_t gfn = 0, buffered_gfn = 0;
    evtchn_port_t port;
    ioservid_t id = create(f, ATOMIC), mapped = create(f, OFF);
    assert_fails(xendevicemodel_get_ioreq_server_info(f->dm, f->domid, id, &gfn, NULL, NULL),
                 ENOMEM);
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    assert_works(xc_set_hvm_param(xc, f->domid, HVM_PARAM_IOREQ_SERVER_PFN, 0x20));
    assert_works(xc_set_hvm_param(xc, f->domid, HVM_PARAM_NR_IOREQ_SERVER_PAGES, 2));
    assert_fails(xc_set_hvm_param(xc, f->domid, HVM_PARAM_IOREQ_SERVER_PFN, 0x21), EEXIST);
    xc_interface_close(xc);

    assert_works(
        xendevicemodel_get_ioreq_server_info(f->dm, f->domid, id, &gfn, &buffered_gfn, &port));
    g_assert_cmphex(gfn, ==, 0x20);
    g_assert_cmphex(buffered_gfn, ==, 0x21);
    errno = 0;
    g_assert_null(map_frames(f, id, 0, 2)); /* one way or the other */
    g_assert_cmpint(errno, ==, EPERM);
    g_assert_nonnull(map_frames(f, mapped, 1, 1));
    assert_fails(xendevicemodel_get_ioreq_server_info(f->dm, f->domid, mapped, &gfn, NULL, NULL),
                 EPERM);

    ioreq_t *slots = xenforeignmemory_map(f->memory, f->domid, PROT_READ, 1, &gfn, NULL);
    ioreq_t request = read_port(0x10, 4);
    g_assert_nonnull(slots);
    assert_works(map(f, id, 0, 0x10, 0x17));
    assert_works(enable(f, id, 1));
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    g_assert_cmpuint(slots[1].state, ==, STATE_IOREQ_READY);
    g_assert_cmphex(slots[1].addr, ==, 0x10);
    assert_works(xenforeignmemory_unmap(f->memory, slots, 1));
}

static void test_mem_type(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioservid_t id = create(f, OFF), other = create(f, OFF);
    unsigned d = f->domid;
    attach(&e, f, id, false);
    start(&e);

    assert_fails(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_ioreq_server, 8, 2), EINVAL);
    assert_fails(xendevicemodel_map_mem_type_to_ioreq_server(f->dm, d, id, HVMMEM_ram_rw, 2),
                 EINVAL);
    assert_fails(xendevicemodel_map_mem_type_to_ioreq_server(f->dm, d, id, HVMMEM_ioreq_server, 1),
                 EINVAL);
    assert_works(xendevicemodel_map_mem_type_to_ioreq_server(f->dm, d, id, HVMMEM_ioreq_server, 2));
    assert_fails(
        xendevicemodel_map_mem_type_to_ioreq_server(f->dm, d, other, HVMMEM_ioreq_server, 2),
        EBUSY);
    assert_works(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_ioreq_server, 8, 2));
    assert_fails(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_ram_ro, 9, 1), EINVAL);
    assert_fails(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_ram_rw, PAGES - 1, 2), EINVAL);
    assert_fails(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_ram_rw, 8, 0), EINVAL);

    ioreq_t request = {
        .type = IOREQ_TYPE_COPY, .addr = 0x9004, .size = 4, .count = 1, .dir = IOREQ_WRITE
    };
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, LONG_MS), ==, VCPU_ANSWERED);
    request.addr = 0xA000;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, LONG_MS), ==, VCPU_UNCLAIMED);
    assert_works(xendevicemodel_map_mem_type_to_ioreq_server(f->dm, d, id, HVMMEM_ioreq_server, 0));
    assert_fails(xendevicemodel_map_mem_type_to_ioreq_server(f->dm, d, id, HVMMEM_ioreq_server, 0),
                 EINVAL);
    request.addr = 0x9004;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, LONG_MS), ==, VCPU_UNCLAIMED);
    assert_works(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_mmio_dm, 8, 4));
    assert_fails(xendevicemodel_set_mem_type(f->dm, d, HVMMEM_ram_rw, 9, 1), EINVAL);
    detach(&e);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ioreq/rangeset", test_rangeset);
    add_test("/ioreq/create", test_create);
    add_test("/ioreq/target", test_target);
    add_test("/ioreq/emulator", test_emulator);
    add_test("/ioreq/ranges", test_ranges);
    add_test("/ioreq/range-limit", test_range_limit);
    add_test("/ioreq/resource", test_resource);
    add_test("/ioreq/gfn", test_gfn);
    add_test("/ioreq/mem-type", test_mem_type);
    return run_tests();
}
