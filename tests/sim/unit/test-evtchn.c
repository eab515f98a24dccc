/*
 * Event channels through libxenevtchn, as programs see Linux's /dev/xen/evtchn, with a guest at the
 * other end; and what becomes of them when processes and domains end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <xenevtchn.h>
#include <xentoolcore.h>

#include "tests/sim/unit/host.h"

static xenevtchn_handle *open_polled(void)
{
    xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
    g_assert_nonnull(xce);
    int fd = xenevtchn_fd(xce);
    g_assert_cmpint(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), ==, 0);
    return xce;
}

static bool readable(xenevtchn_handle *xce, int timeout_ms)
{
    struct pollfd pollfd = { .fd = xenevtchn_fd(xce), .events = POLLIN };
    return poll(&pollfd, 1, timeout_ms) == 1;
}

static void assert_quiet(xenevtchn_handle *xce)
{
    g_assert_false(readable(xce, 0));
    assert_errno(xenevtchn_pending(xce) < 0, EAGAIN);
}

/* A port of the guest and ours, bound, with the first event taken. */
static int bind_quietly(struct host *host, xenevtchn_handle *xce, uint32_t *port)
{
    *port = guest_port_alloc(host->guest, 0);
    int local = xenevtchn_bind_interdomain(xce, host->domid, *port);
    g_assert_cmpint(local, >, 0);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    g_assert_cmpint(xenevtchn_unmask(xce, local), ==, 0);
    return local;
}

static void test_open(struct host *host, gconstpointer data)
{
    assert_errno(!xenevtchn_open(NULL, 2), EINVAL);
    xenevtchn_handle *xce = xenevtchn_open(NULL, XENEVTCHN_NO_CLOEXEC);
    g_assert_cmpint(fcntl(xenevtchn_fd(xce), F_GETFD), ==, 0);
    g_assert_cmpint(xenevtchn_close(xce), ==, 0);
    xce = xenevtchn_open(NULL, 0);
    g_assert_cmpint(fcntl(xenevtchn_fd(xce), F_GETFD), ==, FD_CLOEXEC);
    g_assert_cmpint(xenevtchn_close(xce), ==, 0);
    g_assert_cmpint(xenevtchn_close(NULL), ==, 0);
}

static void test_bind(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    uint32_t port = guest_port_alloc(host->guest, 0);

    assert_quiet(xce);
    assert_errno(xenevtchn_bind_interdomain(xce, 40, port) < 0, ESRCH);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, 0) < 0, EINVAL);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, port + 1) < 0, EINVAL);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, UINT32_MAX) < 0, EINVAL);
    uint32_t others = guest_port_alloc(host->guest, 7);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, others) < 0, EINVAL);

    int local = xenevtchn_bind_interdomain(xce, host->domid, port);
    g_assert_cmpint(local, >, 0);
    g_assert_true(readable(xce, 0)); /* pending at once */
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, port) < 0, EINVAL);
    xenevtchn_close(xce);
}

static void test_events(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    assert_quiet(xce);
    guest_port_notify(host->guest, port);
    guest_port_notify(host->guest, port);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    assert_quiet(xce); /* masked from the first on; the second waits */
    guest_port_notify(host->guest, port);
    assert_quiet(xce);
    g_assert_cmpint(xenevtchn_unmask(xce, local), ==, 0);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    g_assert_cmpint(xenevtchn_unmask(xce, local), ==, 0);
    g_assert_cmpint(xenevtchn_unmask(xce, local), ==, 0);
    assert_quiet(xce);

    g_assert_false(guest_port_pending(host->guest, port));
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0);
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0);
    g_assert_true(guest_port_pending(host->guest, port));
    g_assert_false(guest_port_pending(host->guest, port));
    xenevtchn_close(xce);
}

static void test_not_ours(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled(), *other = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    assert_errno(xenevtchn_notify(other, local) < 0, ENOTCONN);
    assert_errno(xenevtchn_unbind(other, local) < 0, ENOTCONN);
    assert_errno(xenevtchn_notify(xce, local + 1) < 0, ENOTCONN);
    assert_errno(xenevtchn_unbind(xce, 1u << 30) < 0, EINVAL);
    guest_port_notify(host->guest, port);
    g_assert_cmpint(xenevtchn_unmask(other, local), ==, 0); /* ignored */
    guest_port_notify(host->guest, port);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    assert_quiet(xce);
    assert_quiet(other);
    xenevtchn_close(other);
    xenevtchn_close(xce);
}

static void test_unbind(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    g_assert_cmpint(xenevtchn_unbind(xce, local), ==, 0);
    assert_errno(xenevtchn_unbind(xce, local) < 0, ENOTCONN);
    assert_errno(xenevtchn_notify(xce, local) < 0, ENOTCONN);
    guest_port_notify(host->guest, port); /* dropped */
    assert_quiet(xce);

    /* The guest's end is unbound again, and we may bind to it again. */
    local = xenevtchn_bind_interdomain(xce, host->domid, port);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    guest_port_close(host->guest, port);
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0); /* nobody is there, which is no error */
    xenevtchn_close(xce);
}

static void test_unbound(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    int local = xenevtchn_bind_unbound_port(xce, host->domid);
    g_assert_cmpint(local, >, 0);
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0);
    assert_quiet(xce);
    int port = sim_evtchn_bind_interdomain(host->domid, SIM_KERNEL, 0, local);
    g_assert_cmpint(port, >, 0);
    g_assert_true(guest_port_pending(host->guest, port)); /* the binder's, as in Xen */
    guest_port_notify(host->guest, port);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    xenevtchn_close(xce);
}

/* Two handles of dom0 with each other, as libxenvchan has them in loopback. */
static void test_loopback(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled(), *other = open_polled();
    int offered = xenevtchn_bind_unbound_port(xce, DOMID_SELF);
    int bound = xenevtchn_bind_interdomain(other, DOMID_SELF, offered);
    g_assert_cmpint(bound, >, 0);
    g_assert_cmpint(bound, !=, offered);
    g_assert_cmpint(xenevtchn_pending(other), ==, bound);
    g_assert_cmpint(xenevtchn_notify(other, bound), ==, 0);
    g_assert_cmpint(xenevtchn_pending(xce), ==, offered);
    xenevtchn_close(other);
    xenevtchn_close(xce);
}

static void test_full(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    int last = 0, port;
    unsigned ports = 0;

    while ((port = xenevtchn_bind_unbound_port(xce, host->domid)) > 0) {
        last = port;
        ports++;
    }
    g_assert_cmpint(errno, ==, ENOSPC);
    g_assert_cmpuint(ports, >=, 1024);
    g_assert_cmpint(xenevtchn_unbind(xce, last), ==, 0);
    g_assert_cmpint(xenevtchn_bind_unbound_port(xce, host->domid), ==, last);
    xenevtchn_close(xce);
}

static void test_virq(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    assert_errno(xenevtchn_bind_virq(xce, 24) < 0, EINVAL);
    int port = xenevtchn_bind_virq(xce, VIRQ_DOM_EXC);
    g_assert_cmpint(port, >, 0);
    assert_errno(xenevtchn_bind_virq(xce, VIRQ_DOM_EXC) < 0, EEXIST);
    assert_quiet(xce);
    sim_domain_crash(host->domid, "for the test");
    g_assert_cmpint(xenevtchn_pending(xce), ==, port);
    xenevtchn_unmask(xce, port);
    g_assert_cmpint(sim_domain_destroy(host->domid), ==, 0);
    g_assert_cmpint(xenevtchn_pending(xce), ==, port);
    g_assert_cmpint(xenevtchn_unbind(xce, port), ==, 0);
    g_assert_cmpint(xenevtchn_bind_virq(xce, VIRQ_DOM_EXC), ==, port);
    xenevtchn_close(xce);
}

static void test_domain_gone(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    g_assert_cmpint(sim_domain_destroy(host->domid), ==, 0);
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0);
    g_assert_cmpint(xenevtchn_unbind(xce, local), ==, 0);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, port) < 0, ESRCH);
    xenevtchn_close(xce);
}

static void test_restrict(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled(), *all = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    assert_errno(xenevtchn_restrict(xce, 0) < 0, EINVAL);
    assert_errno(xenevtchn_restrict(xce, DOMID_SELF) < 0, EINVAL);
    g_assert_cmpint(xenevtchn_restrict(xce, host->domid + 1), ==, 0);
    assert_errno(xenevtchn_restrict(xce, host->domid) < 0, EACCES);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, port) < 0, EACCES);
    assert_errno(xenevtchn_bind_virq(xce, VIRQ_DOM_EXC) < 0, EACCES);
    assert_errno(xenevtchn_bind_unbound_port(xce, host->domid + 1) < 0, EACCES);
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0); /* what is bound stays so */
    xenevtchn_close(xce);

    g_assert_cmpint(xentoolcore_restrict_all(host->domid), ==, 0);
    assert_errno(xenevtchn_bind_interdomain(all, host->domid + 1, port) < 0, EACCES);
    g_assert_cmpint(xenevtchn_bind_interdomain(all, host->domid, port), >, 0);
    xenevtchn_close(all);
}

static void test_fdopen(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    assert_errno(!xenevtchn_fdopen(NULL, xenevtchn_fd(xce), XENEVTCHN_NO_CLOEXEC), EINVAL);
    xenevtchn_handle *again = xenevtchn_fdopen(NULL, dup(xenevtchn_fd(xce)), 0);
    g_assert_nonnull(again);
    xenevtchn_close(xce); /* the device stays open */
    guest_port_notify(host->guest, port);
    g_assert_cmpint(xenevtchn_pending(again), ==, local);
    g_assert_cmpint(xenevtchn_notify(again, local), ==, 0);
    g_assert_true(guest_port_pending(host->guest, port));
    xenevtchn_close(again);
}

/* --- processes --- */

static uint32_t shared_port;

static void bind_in_child(struct host *host)
{
    xenevtchn_handle *xce = open_polled();
    g_assert_cmpint(xenevtchn_bind_interdomain(xce, host->domid, shared_port), >, 0);
    g_assert_cmpint(xenevtchn_bind_virq(xce, VIRQ_DOM_EXC), >, 0);
}

static void test_killed(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();

    shared_port = guest_port_alloc(host->guest, 0);
    pid_t pid = host_fork(bind_in_child, host);
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, shared_port) < 0, EINVAL);
    assert_errno(xenevtchn_bind_virq(xce, VIRQ_DOM_EXC) < 0, EEXIST);
    host_kill(pid);
    int local = xenevtchn_bind_interdomain(xce, host->domid, shared_port);
    g_assert_cmpint(local, >, 0);
    g_assert_cmpint(xenevtchn_bind_virq(xce, VIRQ_DOM_EXC), >, 0);
    guest_port_notify(host->guest, shared_port);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    xenevtchn_close(xce);
}

static xenevtchn_handle *inherited;
static int inherited_port;

/* As a daemon that keeps only what it needs: the number of what was closed is used again. */
static void use_inherited(struct host *host)
{
    int keep = xenevtchn_fd(inherited);
    for (int fd = 3; fd < 64; fd++) {
        struct stat status;
        if (fd != keep && fstat(fd, &status) == 0 && !S_ISFIFO(status.st_mode))
            close(fd);
    }
    g_assert_cmpint(xenevtchn_notify(inherited, inherited_port), ==, 0);
    g_assert_cmpint(xenevtchn_unmask(inherited, inherited_port), ==, 0);
    g_assert_nonnull(xenevtchn_open(NULL, 0));
}

static void test_forked(struct host *host, gconstpointer data)
{
    uint32_t port;
    inherited = open_polled();
    inherited_port = bind_quietly(host, inherited, &port);
    pid_t pid = host_fork(use_inherited, host);
    g_assert_true(guest_port_pending(host->guest, port));
    xenevtchn_close(inherited);
    /* The child still has it, so it is still bound. */
    xenevtchn_handle *xce = open_polled();
    assert_errno(xenevtchn_bind_interdomain(xce, host->domid, port) < 0, EINVAL);
    host_kill(pid);
    g_assert_cmpint(xenevtchn_bind_interdomain(xce, host->domid, port), >, 0);
    xenevtchn_close(xce);
}

/* --- sleeping, and doing it all at once --- */

static gpointer notify_later(gpointer data)
{
    struct host *host = data;
    g_usleep(20000);
    guest_port_notify(host->guest, shared_port);
    return NULL;
}

static void test_blocking(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = xenevtchn_open(NULL, 0);
    int local = bind_quietly(host, xce, &shared_port);
    GThread *thread = g_thread_new("notify", notify_later, host);
    g_assert_cmpint(xenevtchn_pending(xce), ==, local);
    g_thread_join(thread);
    xenevtchn_close(xce);
}

static void test_wait(struct host *host, gconstpointer data)
{
    xenevtchn_handle *xce = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);

    gint64 start = g_get_monotonic_time();
    g_assert_false(guest_port_wait(host->guest, port, 30));
    g_assert_cmpint(g_get_monotonic_time() - start, >=, 30000);
    g_assert_false(guest_port_wait(host->guest, port, 0));
    xenevtchn_notify(xce, local);
    g_assert_true(guest_port_wait(host->guest, port, -1));
    g_assert_false(guest_port_wait(host->guest, port, 1));
    xenevtchn_close(xce);
}

static gpointer wait_for_ever(gpointer data)
{
    struct host *host = data;
    return GINT_TO_POINTER(guest_port_wait(host->guest, shared_port, -1));
}

static void test_wait_ends(struct host *host, gconstpointer data)
{
    shared_port = guest_port_alloc(host->guest, 0);
    GThread *thread = g_thread_new("wait", wait_for_ever, host);
    g_usleep(20000);
    g_assert_cmpint(sim_domain_destroy(host->domid), ==, 0);
    g_assert_false(GPOINTER_TO_INT(g_thread_join(thread)));
}

#define ROUNDS 20000
#define NOTIFIERS 4

struct traffic {
    struct host *host;
    xenevtchn_handle *xce;
    uint32_t port;
    int local;
    int sent; /* to us; a plain number would do for one notifier */
    int answered;
};

static gpointer notify_often(gpointer data)
{
    struct traffic *traffic = data;
    for (int i = 0; i < ROUNDS; i++) {
        g_atomic_int_inc(&traffic->sent);
        guest_port_notify(traffic->host->guest, traffic->port);
    }
    return NULL;
}

static gpointer answer(gpointer data)
{
    struct traffic *traffic = data;
    for (int seen = 0; seen < NOTIFIERS * ROUNDS;) {
        int port = xenevtchn_pending(traffic->xce); /* blocks for ever if an event was lost */
        g_assert_cmpint(port, ==, traffic->local);
        xenevtchn_unmask(traffic->xce, port);
        seen = g_atomic_int_get(&traffic->sent);
        g_atomic_int_set(&traffic->answered, seen);
        xenevtchn_notify(traffic->xce, port);
    }
    return NULL;
}

static void test_threads(struct host *host, gconstpointer data)
{
    struct traffic traffic = { .host = host, .xce = xenevtchn_open(NULL, 0) };
    GThread *threads[NOTIFIERS];

    traffic.local = bind_quietly(host, traffic.xce, &traffic.port);
    GThread *answerer = g_thread_new("answer", answer, &traffic);
    for (int i = 0; i < NOTIFIERS; i++)
        threads[i] = g_thread_new("notify", notify_often, &traffic);
    while (g_atomic_int_get(&traffic.answered) < NOTIFIERS * ROUNDS)
        g_assert_true(guest_port_wait(host->guest, traffic.port, 10000));
    for (int i = 0; i < NOTIFIERS; i++)
        g_thread_join(threads[i]);
    g_thread_join(answerer);
    xenevtchn_close(traffic.xce);
}

/* What one thread wrote before it notified, the other may read after it was told. */
static int plain;

static gpointer count_up(gpointer data)
{
    struct traffic *traffic = data;
    for (int i = 0; i < 1000; i++) {
        g_assert_cmpint(xenevtchn_pending(traffic->xce), ==, traffic->local);
        plain++;
        xenevtchn_unmask(traffic->xce, traffic->local);
        xenevtchn_notify(traffic->xce, traffic->local);
    }
    return NULL;
}

static void test_order(struct host *host, gconstpointer data)
{
    struct traffic traffic = { .host = host, .xce = xenevtchn_open(NULL, 0) };

    plain = 0;
    traffic.local = bind_quietly(host, traffic.xce, &traffic.port);
    GThread *thread = g_thread_new("count", count_up, &traffic);
    for (int i = 0; i < 1000; i++) {
        plain++;
        guest_port_notify(host->guest, traffic.port);
        g_assert_true(guest_port_wait(host->guest, traffic.port, 10000));
    }
    g_thread_join(thread);
    g_assert_cmpint(plain, ==, 2000);
    xenevtchn_close(traffic.xce);
}

static void test_faults(struct host *host, gconstpointer data)
{
    host_fault("xenevtchn_open", EMFILE, 0);
    assert_errno(!xenevtchn_open(NULL, 0), EMFILE);
    xenevtchn_handle *xce = open_polled();
    uint32_t port;
    int local = bind_quietly(host, xce, &port);
    host_fault("xenevtchn_notify", EIO, 0);
    assert_errno(xenevtchn_notify(xce, local) < 0, EIO);
    g_assert_false(guest_port_pending(host->guest, port));
    g_assert_cmpint(xenevtchn_notify(xce, local), ==, 0);
    xenevtchn_close(xce);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    host_add("/evtchn/open", test_open);
    host_add("/evtchn/bind", test_bind);
    host_add("/evtchn/events", test_events);
    host_add("/evtchn/not-ours", test_not_ours);
    host_add("/evtchn/unbind", test_unbind);
    host_add("/evtchn/unbound", test_unbound);
    host_add("/evtchn/loopback", test_loopback);
    host_add("/evtchn/full", test_full);
    host_add("/evtchn/virq", test_virq);
    host_add("/evtchn/domain-gone", test_domain_gone);
    host_add("/evtchn/restrict", test_restrict);
    host_add("/evtchn/fdopen", test_fdopen);
    host_add("/evtchn/killed", test_killed);
    host_add("/evtchn/forked", test_forked);
    host_add("/evtchn/blocking", test_blocking);
    host_add("/evtchn/wait", test_wait);
    host_add("/evtchn/wait-ends", test_wait_ends);
    host_add("/evtchn/threads", test_threads);
    host_add("/evtchn/order", test_order);
    host_add("/evtchn/faults", test_faults);
    return g_test_run();
}
