/*
 * Grants through libxengnttab, with a guest that grants: mapping, sharing pages of dom0; what Xen
 * and Linux say to what is wrong; and processes and domains that end.  Copies: test-grant-copy.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <sys/mman.h>
#include <xenevtchn.h>
#include <xengnttab.h>
#include <xentoolcore.h>

#include "tests/sim/unit/host.h"

#define PAGE 4096
#define RW (PROT_READ | PROT_WRITE)

static uint16_t flags_of(struct host *host, uint32_t ref)
{
    return __atomic_load_n(&guest_grant_entry(host->guest, ref)->flags, __ATOMIC_ACQUIRE);
}

/* --- mapping --- */

static void test_map(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *page = guest_alloc(host->guest, 1);
    uint32_t ref = guest_grant(host->guest, 0, page, false);

    g_assert_cmpint(xengnttab_set_max_grants(xgt, 10), ==, 0);
    page[5] = 1;
    uint8_t *mapped = xengnttab_map_grant_ref(xgt, host->domid, ref, RW);
    g_assert_nonnull(mapped);
    g_assert_cmpuint(mapped[5], ==, 1);
    mapped[6] = 2;
    g_assert_cmpuint(page[6], ==, 2);
    g_assert_cmpuint(flags_of(host, ref), ==, GTF_permit_access | GTF_reading | GTF_writing);
    g_assert_false(guest_ungrant(host->guest, ref));
    assert_errno(xengnttab_unmap(xgt, NULL, 1) < 0, EINVAL);
    assert_errno(xengnttab_unmap(xgt, mapped, 2) < 0, EINVAL);
    assert_errno(xengnttab_unmap(xgt, page, 1) < 0, EINVAL);
    g_assert_cmpint(xengnttab_unmap(xgt, mapped, 1), ==, 0);
    g_assert_cmpuint(flags_of(host, ref), ==, GTF_permit_access);
    g_assert_true(guest_ungrant(host->guest, ref));
    g_assert_cmpuint(flags_of(host, ref), ==, 0);
    g_assert_null(xengnttab_map_grant_ref(xgt, host->domid, ref, RW));
    xengnttab_close(xgt);
}

/* The pages of a ring: in any order in the guest, adjacent here. */
static void test_map_many(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    static const unsigned order[] = { 3, 4, 5, 0, 2, 1, 7, 6 };
    uint32_t refs[G_N_ELEMENTS(order)];
    uint8_t *pages = guest_alloc(host->guest, G_N_ELEMENTS(order));

    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        pages[order[i] * PAGE] = i + 1;
        refs[i] = guest_grant(host->guest, 0, pages + order[i] * PAGE, false);
    }
    uint8_t *mapped = xengnttab_map_domain_grant_refs(xgt, 8, host->domid, refs, RW);
    g_assert_nonnull(mapped);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++)
        g_assert_cmpuint(mapped[i * PAGE], ==, i + 1);
    /* The same grant may be mapped more than once. */
    uint8_t *again = xengnttab_map_grant_ref(xgt, host->domid, refs[0], PROT_READ);
    g_assert_cmpuint(*again, ==, 1);
    g_assert_cmpint(xengnttab_unmap(xgt, mapped, 8), ==, 0);
    g_assert_cmpuint(flags_of(host, refs[0]), ==, GTF_permit_access | GTF_reading);
    g_assert_cmpint(xengnttab_unmap(xgt, again, 1), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++)
        g_assert_true(guest_ungrant(host->guest, refs[i]));
    guest_free(host->guest, pages, 8);
    xengnttab_close(xgt);
}

static void test_map_domains(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    struct guest *other = guest_open(sim_domain_create(1, 64, false));
    uint8_t *pages[] = { guest_alloc(host->guest, 1), guest_alloc(other, 1) };
    uint32_t domids[] = { host->domid, guest_domid(other) };
    uint32_t refs[] = { guest_grant(host->guest, 0, pages[0], false),
                        guest_grant(other, 0, pages[1], false) };

    pages[0][0] = 1;
    pages[1][0] = 2;
    uint8_t *mapped = xengnttab_map_grant_refs(xgt, 2, domids, refs, PROT_READ);
    g_assert_cmpuint(mapped[0], ==, 1);
    g_assert_cmpuint(mapped[PAGE], ==, 2);
    g_assert_cmpint(xengnttab_unmap(xgt, mapped, 2), ==, 0);
    guest_close(other);
    xengnttab_close(xgt);
}

static void write_to(struct host *host);
static uint8_t *read_only_page;

static void test_map_read_only(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint32_t ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), true);
    int status;

    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, ref, RW), EINVAL);
    g_assert_cmpuint(flags_of(host, ref), ==, GTF_permit_access | GTF_readonly);
    read_only_page = xengnttab_map_grant_ref(xgt, host->domid, ref, PROT_READ);
    g_assert_nonnull(read_only_page);
    g_assert_cmpuint(flags_of(host, ref), ==, GTF_permit_access | GTF_readonly | GTF_reading);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        write_to(host);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    xengnttab_unmap(xgt, read_only_page, 1);
    xengnttab_close(xgt);
}

static void write_to(struct host *host)
{
    *(volatile uint8_t *)read_only_page = 1;
}

static void test_map_refused(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *page = guest_alloc(host->guest, 1);
    uint32_t ref = guest_grant(host->guest, 0, page, false);
    uint32_t others = guest_grant(host->guest, 5, page, false);
    uint32_t pair[] = { ref, others };
    struct grant_entry_v1 *entry = guest_grant_entry(host->guest, others);

    assert_errno(!xengnttab_map_grant_ref(xgt, 50, ref, RW), EINVAL);
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, SIM_GRANTS, RW), EINVAL);
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, others, RW), EINVAL);
    assert_errno(!xengnttab_map_domain_grant_refs(xgt, 0, host->domid, pair, RW), EINVAL);
    assert_errno(!xengnttab_map_domain_grant_refs(xgt, 65537, host->domid, pair, RW), EINVAL);
    assert_errno(!xengnttab_map_domain_grant_refs(xgt, 2, host->domid, pair, RW), EINVAL);
    g_assert_cmpuint(flags_of(host, ref), ==, GTF_permit_access); /* the good one was undone */
    entry->domid = 0;
    entry->flags = GTF_permit_access | GTF_sub_page;
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, others, RW), EINVAL);
    entry->flags = GTF_accept_transfer;
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, others, RW), EINVAL);
    entry->flags = GTF_permit_access;
    entry->frame = HOST_PAGES;
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, others, RW), EINVAL);
    g_assert_cmpuint(flags_of(host, others), ==, GTF_permit_access);
    xengnttab_close(xgt);
}

/* --- the end of a mapping --- */

static void test_notify(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
    uint32_t port = guest_port_alloc(host->guest, 0);
    int local = xenevtchn_bind_interdomain(xce, host->domid, port);
    uint8_t *page = guest_alloc(host->guest, 1);
    uint32_t ref = guest_grant(host->guest, 0, page, false);

    assert_errno(!xengnttab_map_grant_ref_notify(xgt, host->domid, ref, PROT_READ, 7, -1), EINVAL);
    assert_errno(!xengnttab_map_grant_ref_notify(xgt, host->domid, ref, RW, 7, 999), EINVAL);
    memset(page, 0xff, PAGE);
    uint8_t *mapped = xengnttab_map_grant_ref_notify(xgt, host->domid, ref, RW, 7, local);
    g_assert_nonnull(mapped);
    g_assert_false(guest_port_pending(host->guest, port));
    g_assert_cmpint(xengnttab_unmap(xgt, mapped, 1), ==, 0);
    g_assert_true(guest_port_pending(host->guest, port));
    g_assert_cmpuint(page[6], ==, 0xff);
    g_assert_cmpuint(page[7], ==, 0);
    g_assert_cmpuint(page[8], ==, 0xff);

    /* Beyond the mapping: no byte, and no event either. */
    mapped = xengnttab_map_grant_ref_notify(xgt, host->domid, ref, PROT_READ, PAGE, -1);
    g_assert_nonnull(mapped);
    xengnttab_unmap(xgt, mapped, 1);
    g_assert_false(guest_port_pending(host->guest, port));
    xenevtchn_close(xce);
    xengnttab_close(xgt);
}

static uint32_t shared_ref, shared_port;

static void map_in_child(struct host *host)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
    int local = xenevtchn_bind_interdomain(xce, host->domid, shared_port);
    g_assert_nonnull(xengnttab_map_grant_ref_notify(xgt, host->domid, shared_ref, RW, 0, local));
}

static void test_killed(struct host *host, gconstpointer data)
{
    uint8_t *page = guest_alloc(host->guest, 1);
    shared_ref = guest_grant(host->guest, 0, page, false);
    shared_port = guest_port_alloc(host->guest, 0);
    *page = 1;
    pid_t pid = host_fork(map_in_child, host);
    g_assert_false(guest_ungrant(host->guest, shared_ref));
    g_assert_cmpuint(*page, ==, 1);
    host_kill(pid);
    g_assert_true(guest_ungrant(host->guest, shared_ref));
    g_assert_cmpuint(*page, ==, 0);
    g_assert_true(guest_port_pending(host->guest, shared_port));
}

static void test_reaped(struct host *host, gconstpointer data)
{
    shared_ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);
    shared_port = guest_port_alloc(host->guest, 0);
    host_kill(host_fork(map_in_child, host));
    sim_user_reap_all();
    g_assert_true(guest_port_pending(host->guest, shared_port));
    g_assert_cmpuint(flags_of(host, shared_ref), ==, GTF_permit_access);
}

/* Mappings outlive the handle, and what becomes of its descriptor. */
static void test_restrict(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    xengntshr_handle *xgs = xengntshr_open(NULL, 0);
    uint8_t *page = guest_alloc(host->guest, 1);
    uint32_t ref = guest_grant(host->guest, 0, page, false);
    uint8_t *mapped = xengnttab_map_grant_ref(xgt, host->domid, ref, RW);
    xengnttab_grant_copy_segment_t segment = { .flags = GNTCOPY_source_gref };

    g_assert_cmpint(xentoolcore_restrict_all(host->domid), ==, 0);
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, ref, RW), ENOTTY);
    assert_errno(xengnttab_unmap(xgt, mapped, 1) < 0, ENOTTY);
    assert_errno(xengnttab_grant_copy(xgt, 1, &segment) < 0, ENOTTY);
    assert_errno(!xengntshr_share_pages(xgs, host->domid, 1, &ref, 1), ENOTTY);
    g_assert_cmpint(xengnttab_set_max_grants(xgt, 10), ==, 0);
    *mapped = 9;
    g_assert_cmpuint(*page, ==, 9);
    xengntshr_close(xgs);
    xengnttab_close(xgt);
    sim_user_reap_all();
    g_assert_false(guest_ungrant(host->guest, ref));
}

static void test_domain_gone(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *page = guest_alloc(host->guest, 1);
    uint32_t ref = guest_grant(host->guest, 0, page, false);
    int domid;

    *page = 3;
    uint8_t *mapped = xengnttab_map_grant_ref(xgt, host->domid, ref, RW);
    g_assert_cmpint(sim_domain_destroy(host->domid), ==, 0);
    g_assert_cmpuint(*mapped, ==, 3); /* its pages live for as long as they are mapped */
    g_assert_null(xengnttab_map_grant_ref(xgt, host->domid, ref, RW));
    while ((domid = sim_domain_create(1, 32, false)) != (int)host->domid)
        g_assert_cmpint(sim_domain_destroy(domid), ==, 0);
    struct guest *next = guest_open(domid);
    uint32_t next_ref = guest_grant(next, 0, guest_alloc(next, 1), false);
    uint8_t *again = xengnttab_map_grant_ref(xgt, domid, next_ref, RW);
    g_assert_cmpuint(*again, ==, 0);
    g_assert_cmpint(xengnttab_unmap(xgt, mapped, 1), ==, 0); /* is not the new domain's */
    g_assert_false(guest_ungrant(next, next_ref));
    g_assert_cmpint(xengnttab_unmap(xgt, again, 1), ==, 0);
    g_assert_true(guest_ungrant(next, next_ref));
    guest_close(next);
    xengnttab_close(xgt);
}

/* --- pages of dom0 --- */

static uint32_t shared_refs[4];

/* A process in the guest, which maps what dom0 shares. */
static void map_in_guest(struct host *host)
{
    g_autofree char *domid = g_strdup_printf("%u", host->domid);
    setenv("XENSIM_DOMID", domid, 1);
    assert_errno(!xengntshr_open(NULL, 0), ENOENT);
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint8_t *pages = xengnttab_map_domain_grant_refs(xgt, 4, 0, shared_refs, RW);
    g_assert_nonnull(pages);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpuint(pages[i * PAGE]++, ==, i + 1);
}

static void test_share(struct host *host, gconstpointer data)
{
    xengntshr_handle *xgs = xengntshr_open(NULL, 0);
    uint8_t *pages = xengntshr_share_pages(xgs, host->domid, 4, shared_refs, 1);
    g_assert_nonnull(pages);
    for (unsigned i = 0; i < 4; i++) {
        g_assert_cmpuint(pages[i * PAGE], ==, 0);
        pages[i * PAGE] = i + 1;
    }
    pid_t pid = host_fork(map_in_guest, host);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpuint(pages[i * PAGE], ==, i + 2);
    assert_errno(xengntshr_unshare(xgs, pages, 3) < 0, EINVAL);
    g_assert_cmpint(xengntshr_unshare(xgs, pages, 4), ==, 0);
    /* Until the guest lets go, the pages are not used for anything else. */
    uint32_t others[4];
    pages = xengntshr_share_pages(xgs, host->domid, 4, others, 0);
    g_assert_cmpuint(others[0], ==, shared_refs[3] + 1);
    xengntshr_unshare(xgs, pages, 4);
    host_kill(pid);
    sim_user_reap_all();
    pages = xengntshr_share_pages(xgs, host->domid, 4, others, 0);
    g_assert_cmpuint(others[0], ==, shared_refs[0]);
    g_assert_cmpuint(*pages, ==, 0);
    xengntshr_unshare(xgs, pages, 4);
    xengntshr_close(xgs);
}

static void test_share_limits(struct host *host, gconstpointer data)
{
    xengntshr_handle *xgs = xengntshr_open(NULL, 0);
    xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
    uint32_t port = guest_port_alloc(host->guest, 0), refs[1025];
    int local = xenevtchn_bind_interdomain(xce, host->domid, port);

    assert_errno(!xengntshr_share_pages(xgs, host->domid, 1025, refs, 1), ENOSPC);
    assert_errno(!xengntshr_share_page_notify(xgs, host->domid, refs, 1, 0, 999), EINVAL);
    uint8_t *pages = xengntshr_share_pages(xgs, host->domid, 1023, refs, 1);
    uint8_t *page = xengntshr_share_page_notify(xgs, host->domid, refs, 1, 3, local);
    g_assert_nonnull(pages);
    g_assert_nonnull(page);
    assert_errno(!xengntshr_share_pages(xgs, host->domid, 1, refs, 1), ENOSPC);
    g_assert_cmpint(xengntshr_unshare(xgs, page, 1), ==, 0);
    g_assert_true(guest_port_pending(host->guest, port));
    g_assert_cmpint(xengntshr_unshare(xgs, pages, 1023), ==, 0);
    xenevtchn_close(xce);
    xengntshr_close(xgs);
}

static void test_faults(struct host *host, gconstpointer data)
{
    xengnttab_handle *xgt = xengnttab_open(NULL, 0);
    uint32_t ref = guest_grant(host->guest, 0, guest_alloc(host->guest, 1), false);

    host_fault("xengnttab_map_grant_ref", 0, 1);
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, ref, RW), EINVAL);
    host_fault("xengnttab_map_grant_ref", ENOMEM, 0);
    assert_errno(!xengnttab_map_grant_ref(xgt, host->domid, ref, RW), ENOMEM);
    host_fault("xengnttab_open", ENOENT, 0);
    assert_errno(!xengnttab_open(NULL, 0), ENOENT);
    xengnttab_close(xgt);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    host_add("/gnttab/map", test_map);
    host_add("/gnttab/map-many", test_map_many);
    host_add("/gnttab/map-domains", test_map_domains);
    host_add("/gnttab/map-read-only", test_map_read_only);
    host_add("/gnttab/map-refused", test_map_refused);
    host_add("/gnttab/notify", test_notify);
    host_add("/gnttab/killed", test_killed);
    host_add("/gnttab/reaped", test_reaped);
    host_add("/gnttab/restrict", test_restrict);
    host_add("/gnttab/domain-gone", test_domain_gone);
    host_add("/gnttab/share", test_share);
    host_add("/gnttab/share-limits", test_share_limits);
    host_add("/gnttab/faults", test_faults);
    return g_test_run();
}
