/*
 * Foreign mappings of a simulated guest's memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/sim/unit/emulator.h"

#include <xenctrl.h>

#include "tests/sim/sim.h"

static uint8_t *guest_page(struct fixture *f, uint64_t gfn)
{
    return (uint8_t *)guest_memory(f->guest) + gfn * SIM_PAGE;
}

/* Whether the kernel can reach PAGE: write() takes what is readable, read() fills what is not. */
static bool can_read(const void *page)
{
    int ends[2];
    g_assert_cmpint(pipe(ends), ==, 0);
    bool result = write(ends[1], page, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return result;
}

static bool can_write(void *page)
{
    int ends[2];
    g_assert_cmpint(pipe(ends), ==, 0);
    g_assert_cmpint(write(ends[1], "", 1), ==, 1);
    bool result = read(ends[0], page, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return result;
}

static void test_order(struct fixture *f, gconstpointer unused)
{
    static const xen_pfn_t gfns[] = { 5, 6, 7, 2, PAGES - 1, 5 };
    int errors[G_N_ELEMENTS(gfns)];

    for (unsigned i = 0; i < PAGES; i++)
        guest_page(f, i)[SIM_PAGE - 1] = i;
    for (unsigned round = 0; round < 2; round++) {
        uint8_t *map = xenforeignmemory_map(f->memory, f->domid, PROT_READ | PROT_WRITE,
                                            G_N_ELEMENTS(gfns), gfns, round == 0 ? errors : NULL);
        g_assert_nonnull(map);
        for (unsigned i = 0; i < G_N_ELEMENTS(gfns); i++) {
            g_assert_cmpint(errors[i], ==, 0);
            g_assert_cmpuint(map[(i + 1) * SIM_PAGE - 1], ==, gfns[i]);
            map[i * SIM_PAGE + 1] = i;
        }
        g_assert_cmpuint(guest_page(f, 2)[1], ==, 3);
        g_assert_cmpuint(guest_page(f, 5)[1], ==, 5);
        assert_works(xenforeignmemory_unmap(f->memory, map, G_N_ELEMENTS(gfns)));
        g_assert_false(can_read(map));
    }
}

static void test_protection(struct fixture *f, gconstpointer unused)
{
    xen_pfn_t gfn = 3;
    void *map = xenforeignmemory_map(f->memory, f->domid, PROT_READ, 1, &gfn, NULL);
    g_assert_nonnull(map);
    g_assert_true(can_read(map));
    g_assert_false(can_write(map));
    assert_works(xenforeignmemory_unmap(f->memory, map, 1));
}

/* Each page has its own error where the caller has room for it; otherwise one fails all. */
static void test_errors(struct fixture *f, gconstpointer unused)
{
    static const xen_pfn_t gfns[] = { 1, PAGES, 2, UINT64_MAX, UINT64_MAX >> 12 };
    int errors[G_N_ELEMENTS(gfns)];

    uint8_t *map = xenforeignmemory_map(f->memory, f->domid, PROT_READ | PROT_WRITE,
                                        G_N_ELEMENTS(gfns), gfns, errors);
    g_assert_nonnull(map);
    for (unsigned i = 0; i < G_N_ELEMENTS(gfns); i++) {
        bool fails = gfns[i] >= PAGES;
        g_assert_cmpint(errors[i], ==, fails ? -EINVAL : 0);
        g_assert_cmpint(can_read(map + i * SIM_PAGE), ==, !fails);
    }
    assert_works(xenforeignmemory_unmap(f->memory, map, G_N_ELEMENTS(gfns)));

    errno = 0;
    g_assert_null(xenforeignmemory_map(f->memory, f->domid, PROT_READ, 3, gfns, NULL));
    g_assert_cmpint(errno, ==, EINVAL);
    errno = 0;
    g_assert_null(xenforeignmemory_map(f->memory, 60, PROT_READ, 1, gfns, NULL));
    g_assert_cmpint(errno, ==, ESRCH);
    map = xenforeignmemory_map(f->memory, 0, PROT_READ, 1, gfns, errors);
    g_assert_nonnull(map);
    g_assert_cmpint(errors[0], ==, -ESRCH); /* our own memory is not foreign */
    assert_works(xenforeignmemory_unmap(f->memory, map, 1));
}

static void test_hint(struct fixture *f, gconstpointer unused)
{
    static const xen_pfn_t gfns[] = { 9, 8 };
    void *room = mmap(NULL, 4 * SIM_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *at = (uint8_t *)room + SIM_PAGE;

    guest_page(f, 8)[0] = 8;
    g_assert_true(
        xenforeignmemory_map2(f->memory, f->domid, at, PROT_READ, MAP_FIXED, 2, gfns, NULL) == at);
    g_assert_cmpuint(at[SIM_PAGE], ==, 8);
    g_assert_true(can_read(room));
    assert_works(xenforeignmemory_unmap(f->memory, at, 2));
    munmap(room, 4 * SIM_PAGE);
}

/* Pages that are mapped stay, whatever becomes of the domain; the domid's next owner has others. */
static void test_outlives(struct fixture *f, gconstpointer unused)
{
    xen_pfn_t gfn = 3;
    int domid = sim_domain_create(1, PAGES, false);
    uint8_t *map = xenforeignmemory_map(f->memory, domid, PROT_READ | PROT_WRITE, 1, &gfn, NULL);
    g_assert_nonnull(map);
    map[0] = 0x42;
    assert_works(sim_domain_destroy(domid));
    g_assert_cmphex(map[0], ==, 0x42);
    for (unsigned i = 0; i < SIM_DOMAINS; i++) {
        int next = sim_domain_create(1, PAGES, false);
        uint8_t *other = xenforeignmemory_map(f->memory, next, PROT_READ, 1, &gfn, NULL);
        g_assert_nonnull(other);
        g_assert_cmphex(other[0], ==, 0);
        assert_works(xenforeignmemory_unmap(f->memory, other, 1));
        assert_works(sim_domain_destroy(next));
    }
    assert_works(xenforeignmemory_unmap(f->memory, map, 1));
}

/* Frames beyond the guest's memory, as QEMU adds them for video memory, and moves them. */
static void test_added(struct fixture *f, gconstpointer unused)
{
    xen_pfn_t gfns[] = { PAGES - 1, 0x1000, 0x1001, 0x1002, 0x1003 };
    int errors[G_N_ELEMENTS(gfns)];
    xc_interface *xc = xc_interface_open(NULL, NULL, 0);
    unsigned d = f->domid;

    assert_works(xc_domain_populate_physmap_exact(xc, d, 3, 0, 0, &gfns[1]));
    uint8_t *map = xenforeignmemory_map(f->memory, d, PROT_READ | PROT_WRITE, G_N_ELEMENTS(gfns),
                                        gfns, errors);
    g_assert_nonnull(map);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpint(errors[i], ==, 0);
        g_assert_cmpuint(map[i * SIM_PAGE], ==, 0);
        map[i * SIM_PAGE] = i + 1;
    }
    g_assert_cmpint(errors[4], ==, -EINVAL);
    g_assert_cmpuint(guest_page(f, PAGES - 1)[0], ==, 1);
    assert_works(xenforeignmemory_unmap(f->memory, map, G_N_ELEMENTS(gfns)));

    assert_fails(xendevicemodel_relocate_memory(f->dm, d, 4, 0x1000, 0x8000), EINVAL);
    assert_works(xendevicemodel_relocate_memory(f->dm, d, 3, 0x1000, 0x1001));
    g_assert_null(xenforeignmemory_map(f->memory, d, PROT_READ, 1, &gfns[1], NULL));
    map = xenforeignmemory_map(f->memory, d, PROT_READ, 3, &gfns[2], NULL);
    g_assert_nonnull(map);
    assert_works(xenforeignmemory_unmap(f->memory, map, 3));
    xen_pfn_t far = SIM_MAX_GFN;
    assert_fails(xc_domain_populate_physmap_exact(xc, d, 1, 0, 0, &far), EBUSY);
    assert_fails(xc_domain_populate_physmap_exact(xc, d, 1, 0, 0, (xen_pfn_t[]){ UINT64_MAX }),
                 EBUSY);
    assert_works(xc_interface_close(xc));
}

static void test_faults(struct fixture *f, gconstpointer unused)
{
    static const xen_pfn_t gfns[] = { 1, 2, 3 };
    int errors[3];

    sim_fault(&(struct sim_fault){ .call = "xenforeignmemory_map", .times = 1, .error = EAGAIN });
    errno = 0;
    g_assert_null(xenforeignmemory_map(f->memory, f->domid, PROT_READ, 3, gfns, errors));
    g_assert_cmpint(errno, ==, EAGAIN);
    sim_fault_clear();

    sim_fault(&(struct sim_fault){ .call = "xenforeignmemory_map", .times = 2, .short_by = 2 });
    uint8_t *map = xenforeignmemory_map(f->memory, f->domid, PROT_READ, 3, gfns, errors);
    g_assert_nonnull(map);
    g_assert_cmpint(errors[0], ==, 0);
    g_assert_cmpint(errors[1], ==, -EINVAL);
    g_assert_cmpint(errors[2], ==, -EINVAL);
    g_assert_true(can_read(map));
    g_assert_false(can_read(map + SIM_PAGE));
    assert_works(xenforeignmemory_unmap(f->memory, map, 3));
    g_assert_null(xenforeignmemory_map(f->memory, f->domid, PROT_READ, 3, gfns, NULL));
    sim_fault_clear();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_test("/foreignmemory/order", test_order);
    add_test("/foreignmemory/protection", test_protection);
    add_test("/foreignmemory/errors", test_errors);
    add_test("/foreignmemory/hint", test_hint);
    add_test("/foreignmemory/outlives", test_outlives);
    add_test("/foreignmemory/added", test_added);
    add_test("/foreignmemory/faults", test_faults);
    return run_tests();
}
