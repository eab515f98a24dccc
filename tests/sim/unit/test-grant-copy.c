/*
 * Grant copies through libxengnttab: between a guest's pages and ours, what Xen and Linux say to
 * what is wrong, guests that change their grants meanwhile, and processes that are killed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <sys/mman.h>
#include <xengnttab.h>

#include "tests/sim/unit/host.h"

#define PAGE 4096
#define RW (PROT_READ | PROT_WRITE)

static uint16_t flags_of(struct host *host, uint32_t ref)
{
    return __atomic_load_n(&guest_grant_entry(host->guest, ref)->flags, __ATOMIC_ACQUIRE);
}

typedef xengnttab_grant_copy_segment_t segment;

static segment copy_from(unsigned domid, uint32_t ref, uint16_t offset, void *to, uint16_t length)
{
    return (segment){ .source.foreign = { ref, offset, domid },
                      .dest.virt = to,
                      .len = length,
                      .flags = GNTCOPY_source_gref,
                      .status = 77 };
}

static segment copy_to(unsigned domid, uint32_t ref, uint16_t offset, void *from, uint16_t length)
{
    return (segment){ .source.virt = from,
                      .dest.foreign = { ref, offset, domid },
                      .len = length,
                      .flags = GNTCOPY_dest_gref,
                      .status = 77 };
}

static int copy_one(xengnttab_handle *xgt, segment piece)
{
    g_assert_cmpint(xengnttab_grant_copy(xgt, 1, &piece), ==, 0);
    return piece.status;
}

static void test_copy(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *pages = guest_alloc(host->guest, 2);
    uint32_t refs[] = { guest_grant(host->guest, 0, pages, true),
                        guest_grant(host->guest, 0, pages + PAGE, false) };
    g_autofree uint8_t *local = g_malloc0(3 * PAGE);

    for (unsigned i = 0; i < PAGE; i++)
        pages[i] = i % 251;
    segment segments[] = {
        copy_from(host->domid, refs[0], 0, local + 100, PAGE), /* crosses local pages */
        copy_to(host->domid, refs[1], 512, local + 100, 1024),
        copy_from(host->domid, refs[0], PAGE - 1, local + 2 * PAGE, 1),
    };
    g_assert_cmpint(xengnttab_grant_copy(xgt, G_N_ELEMENTS(segments), segments), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(segments); i++)
        g_assert_cmpint(segments[i].status, ==, GNTST_okay);
    g_assert_cmpmem(local + 100, PAGE, pages, PAGE);
    g_assert_cmpmem(pages + PAGE + 512, 1024, pages, 1024);
    g_assert_cmpuint(pages[PAGE + 511] | pages[PAGE + 512 + 1024], ==, 0);
    g_assert_cmpuint(local[2 * PAGE], ==, pages[PAGE - 1]);

    segment both = { .source.foreign = { refs[0], 16, host->domid },
                     .dest.foreign = { refs[1], 0, host->domid },
                     .len = 64,
                     .flags = GNTCOPY_source_gref | GNTCOPY_dest_gref };
    g_assert_cmpint(copy_one(xgt, both), ==, GNTST_okay);
    g_assert_cmpmem(pages + PAGE, 64, pages + 16, 64);
    g_assert_true(guest_ungrant(host->guest, refs[0]));
    g_assert_true(guest_ungrant(host->guest, refs[1]));
    g_assert_cmpint(xengnttab_grant_copy(xgt, 0, NULL), ==, 0);
    xengnttab_close(xgt);
}

static void test_copy_status(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *page = guest_alloc(host->guest, 1), local[64] = { 0 };
    unsigned domid = host->domid;
    uint32_t ref = guest_grant(host->guest, 0, page, true);
    struct grant_entry_v1 *entry = guest_grant_entry(host->guest, ref);

    g_assert_cmpint(copy_one(xgt, copy_from(50, ref, 0, local, 64)), ==, GNTST_bad_domain);
    g_assert_cmpint(copy_one(xgt, copy_to(50, ref, 0, local, 64)), ==, GNTST_bad_domain);
    g_assert_cmpint(copy_one(xgt, copy_from(domid, SIM_GRANTS, 0, local, 64)), ==,
                    GNTST_bad_gntref);
    g_assert_cmpint(copy_one(xgt, copy_from(domid, UINT32_MAX, 0, local, 64)), ==,
                    GNTST_bad_gntref);
    g_assert_cmpint(copy_one(xgt, copy_to(domid, ref, 0, local, 64)), ==, GNTST_general_error);
    g_assert_cmpint(copy_one(xgt, copy_from(domid, ref + 1, 0, local, 64)), ==,
                    GNTST_general_error);
    entry->domid = 3;
    g_assert_cmpint(copy_one(xgt, copy_from(domid, ref, 0, local, 64)), ==, GNTST_general_error);
    entry->domid = 0;
    entry->frame = HOST_PAGES;
    g_assert_cmpint(copy_one(xgt, copy_from(domid, ref, 0, local, 64)), ==, GNTST_bad_page);
    entry->frame = UINT32_MAX;
    g_assert_cmpint(copy_one(xgt, copy_from(domid, ref, 0, local, 64)), ==, GNTST_bad_page);
    g_assert_cmpuint(entry->flags, ==, GTF_permit_access | GTF_readonly);
    g_assert_cmpint(copy_one(xgt, copy_from(domid, ref, 0, local, 0)), ==, GNTST_okay);
    xengnttab_close(xgt);
}

/* What gntdev refuses fails the call. */
static void test_copy_refused(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint32_t ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    uint8_t local[64];
    segment segments[] = {
        copy_from(host->domid, ref, PAGE - 63, local, 64),
        copy_to(host->domid, ref, PAGE, local, 1),
        copy_from(host->domid, ref, UINT16_MAX, local, UINT16_MAX),
        { .source.virt = local, .dest.virt = local, .len = 1 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(segments); i++)
        assert_errno(xengnttab_grant_copy(xgt, 1, &segments[i]) < 0, EINVAL);
    g_assert_cmpint(copy_one(xgt, copy_from(host->domid, ref, PAGE, local, 0)), ==, GNTST_okay);
    xengnttab_close(xgt);
}

/* What is in use stays what it was when it was pinned, whatever the guest writes meanwhile. */
static void test_copy_while_mapped(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *pages = guest_alloc(host->guest, 2), byte = 0;
    uint32_t ref = guest_grant(host->guest, 0, pages, false);
    struct grant_entry_v1 *entry = guest_grant_entry(host->guest, ref);
    void *mapped = xengnttab_map_grant_ref(xgt, host->domid, ref, RW);

    pages[0] = 1;
    pages[PAGE] = 2;
    entry->frame++;
    entry->domid = 9;
    entry->flags = 0;
    g_assert_cmpint(copy_one(xgt, copy_from(host->domid, ref, 0, &byte, 1)), ==, GNTST_okay);
    g_assert_cmpuint(byte, ==, 1);
    xengnttab_unmap(xgt, mapped, 1);
    g_assert_cmpint(copy_one(xgt, copy_from(host->domid, ref, 0, &byte, 1)), ==,
                    GNTST_general_error);
    g_assert_cmpuint(entry->flags, ==, 0);
    xengnttab_close(xgt);
}

/* Xen counts pins in 8 bits and takes no risks. */
static void test_many_pins(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint32_t ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    void *mapped[128];
    uint8_t byte = 0;

    for (unsigned i = 0; i < 128; i++) {
        mapped[i] = xengnttab_map_grant_ref(xgt, host->domid, ref, RW);
        g_assert_nonnull(mapped[i]);
    }
    g_assert_null(xengnttab_map_grant_ref(xgt, host->domid, ref, RW));
    g_assert_cmpint(copy_one(xgt, copy_to(host->domid, ref, 0, &byte, 1)), ==, GNTST_general_error);
    g_assert_cmpint(copy_one(xgt, copy_from(host->domid, ref, 0, &byte, 1)), ==, GNTST_okay);
    for (unsigned i = 0; i < 128; i++)
        g_assert_cmpint(xengnttab_unmap(xgt, mapped[i], 1), ==, 0);
    g_assert_true(guest_ungrant(host->guest, ref));
    xengnttab_close(xgt);
}

/* --- all at once --- */

#define COPIES 20000

static uint32_t shared_ref;
static int stop;

static gpointer flip(gpointer data)
{
    struct host *host = data;
    struct grant_entry_v1 *entry = guest_grant_entry(host->guest, shared_ref);
    g_autoptr(GRand) rand = g_rand_new();

    while (!g_atomic_int_get(&stop)) {
        __atomic_store_n(&entry->flags, g_rand_int(rand), __ATOMIC_RELAXED);
        __atomic_store_n(&entry->frame, g_rand_int_range(rand, 0, HOST_PAGES + 50),
                         __ATOMIC_RELAXED);
        __atomic_store_n(&entry->domid, g_rand_int_range(rand, 0, 2), __ATOMIC_RELAXED);
    }
    return NULL;
}

static gpointer copy_often(gpointer data)
{
    struct host *host = data;
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t local[PAGE];

    for (unsigned i = 0; i < COPIES; i++) {
        int status = copy_one(xgt, i & 1 ? copy_to(host->domid, shared_ref, 0, local, 64)
                                         : copy_from(host->domid, shared_ref, 0, local, 64));
        g_assert_true(status == GNTST_okay || status == GNTST_general_error ||
                      status == GNTST_bad_page);
    }
    xengnttab_close(xgt);
    return NULL;
}

static void run_threads(struct host *host, GThreadFunc other)
{
    GThread *threads[3];

    stop = 0;
    GThread *flipper = other ? g_thread_new("flip", other, host) : NULL;
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("copy", copy_often, host);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_atomic_int_set(&stop, 1);
    if (flipper)
        g_thread_join(flipper);
}

static void test_threads(struct host *host, gconstpointer data)
{
    shared_ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    run_threads(host, NULL);
    g_assert_true(guest_ungrant(host->guest, shared_ref));
}

static void test_hostile(struct host *host, gconstpointer data)
{
    shared_ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    run_threads(host, flip);
    g_assert_false(sim_grant_pinned(host->domid, shared_ref));
}

/* A guest that ends the grant and grants something else while it is being copied. */
static gpointer grant_again(gpointer data)
{
    struct host *host = data;
    struct grant_entry_v1 *entry = guest_grant_entry(host->guest, shared_ref);
    while (!g_atomic_int_get(&stop)) {
        if (sim_grant_end(entry))
            __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_grant_again(struct host *host, gconstpointer data)
{
    shared_ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    run_threads(host, grant_again);
    g_assert_cmpuint(flags_of(host, shared_ref), ==, GTF_permit_access);
    g_assert_true(guest_ungrant(host->guest, shared_ref));
}

/* Whatever a process that is killed was doing, the guest gets its page back. */
static void test_killed(struct host *host, gconstpointer data)
{
    uint8_t *page = guest_alloc(host->guest, 1);
    for (unsigned i = 0; i < 100; i++) {
        shared_ref = guest_grant(host->guest, 0, page, false);
        pid_t pid = fork();
        while (pid == 0)
            copy_often(host);
        g_usleep(g_test_rand_int_range(1000, 3000));
        host_kill(pid);
        g_assert_true(guest_ungrant(host->guest, shared_ref));
    }
}

static void test_faults(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint32_t ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    uint8_t local[4];
    segment segments[3];

    for (unsigned i = 0; i < 3; i++)
        segments[i] = copy_from(host->domid, ref, 0, local + i, 1);
    host_fault("xengnttab_grant_copy", 0, 2);
    g_assert_cmpint(xengnttab_grant_copy(xgt, 3, segments), ==, 0);
    g_assert_cmpint(segments[0].status, ==, GNTST_okay);
    g_assert_cmpint(segments[1].status, ==, GNTST_general_error);
    g_assert_cmpint(segments[2].status, ==, GNTST_general_error);
    host_fault("xengnttab_grant_copy", ENOMEM, 0);
    assert_errno(xengnttab_grant_copy(xgt, 3, segments) < 0, ENOMEM);
    xengnttab_close(xgt);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    host_add("/grant-copy/copy", test_copy);
    host_add("/grant-copy/copy-status", test_copy_status);
    host_add("/grant-copy/copy-refused", test_copy_refused);
    host_add("/grant-copy/copy-while-mapped", test_copy_while_mapped);
    host_add("/grant-copy/many-pins", test_many_pins);
    host_add("/grant-copy/threads", test_threads);
    host_add("/grant-copy/hostile", test_hostile);
    host_add("/grant-copy/grant-again", test_grant_again);
    host_add("/grant-copy/killed", test_killed);
    host_add("/grant-copy/faults", test_faults);
    return g_test_run();
}
