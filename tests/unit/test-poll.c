/* The policy of polling, fed with times: when it looks, for how long, and when it stops. */

#include <glib.h>

#include "xen/poll.h"

#define US 1000
#define MAX_NS (50 * US)

static struct xen_poll fresh(void)
{
    struct xen_poll poll;
    xen_poll_init(&poll, MAX_NS);
    return poll;
}

/* COUNT requests, each GAP after the answer before. */
static void feed(struct xen_poll *poll, unsigned count, uint64_t gap, enum xen_poll_how how)
{
    for (unsigned i = 0; i < count; i++)
        xen_poll_request(poll, gap, how);
}

/* One that came with an event, as the group reports it; true if it had to be measured. */
static bool feed_asleep(struct xen_poll *poll, uint64_t gap)
{
    bool measures = xen_poll_measures(poll);
    if (measures)
        feed(poll, 1, gap, XEN_POLL_WOKEN);
    else
        xen_poll_unmeasured(poll);
    return measures;
}

static void test_off(void)
{
    struct xen_poll poll;
    xen_poll_init(&poll, 0);
    feed(&poll, 1000, 1 * US, XEN_POLL_WOKEN);
    for (unsigned i = 0; i < 1000; i++)
        g_assert_false(feed_asleep(&poll, 1 * US));
    g_assert_cmpuint(xen_poll_window(&poll), ==, 0);
}

/* One that looks already. */
static struct xen_poll looking(uint64_t asleep)
{
    struct xen_poll poll = fresh();
    feed(&poll, XEN_POLL_REST_MIN, asleep, XEN_POLL_WOKEN);
    g_assert_cmpuint(xen_poll_window(&poll), >, 0);
    return poll;
}

/* It has to know how requests come while it sleeps before it looks. */
static void test_start(void)
{
    struct xen_poll poll = fresh();
    for (unsigned i = 0; i < XEN_POLL_REST_MIN; i++) {
        g_assert_cmpuint(xen_poll_window(&poll), ==, 0);
        feed(&poll, 1, 5 * US, XEN_POLL_WOKEN);
    }
    g_assert_cmpuint(xen_poll_window(&poll), >, 0);
}

static void test_window(void)
{
    static const uint64_t gaps[] = { 0, 100, 5 * US, 10 * US, 15 * US, 30 * US, 37 * US };
    for (unsigned i = 0; i < G_N_ELEMENTS(gaps); i++) {
        struct xen_poll poll = looking(50 * US);
        g_assert_cmpuint(xen_poll_window(&poll), ==, MAX_NS);
        feed(&poll, 100, gaps[i], XEN_POLL_SEEN);
        uint64_t window = xen_poll_window(&poll);
        g_assert_cmpuint(window, >=, MAX(gaps[i], XEN_POLL_MIN_NS));
        g_assert_cmpuint(window, <=, MAX_NS);
        g_assert_cmpuint(window, <=, MAX(4 * gaps[i], XEN_POLL_MIN_NS));
    }
}

/* Requests that come later than it may look at all are slept for, and most are not measured. */
static void test_slow(void)
{
    static const uint64_t gaps[] = { 60 * US, 1000 * US, UINT64_MAX };
    for (unsigned i = 0; i < G_N_ELEMENTS(gaps); i++) {
        struct xen_poll poll = fresh();
        unsigned measured = 0;
        for (unsigned k = 0; k < 100000; k++) {
            measured += feed_asleep(&poll, gaps[i]);
            g_assert_cmpuint(xen_poll_window(&poll), ==, 0);
        }
        g_assert_cmpuint(measured, <, 100000 / 7);
        /* Idle for so long, it is soon as quick as ever. */
        unsigned quick = 0;
        while (xen_poll_window(&poll) == 0) {
            feed_asleep(&poll, 1 * US);
            g_assert_cmpuint(++quick, <=, 2 * XEN_POLL_REST_SLOW);
        }
    }
}

/* How many requests have to come before it looks again; fails if it does not. */
static unsigned rest_of(struct xen_poll *poll)
{
    unsigned requests = 0;
    while (xen_poll_window(poll) == 0) {
        feed_asleep(poll, 8 * US);
        g_assert_cmpuint(++requests, <=, XEN_POLL_REST_MAX);
    }
    return requests;
}

/* It stays with what pays, and leaves what does not, after a trial. */
static void test_pays(void)
{
    struct xen_poll poll = looking(8 * US);
    feed(&poll, 100000, 5 * US, XEN_POLL_SEEN);
    g_assert_cmpuint(xen_poll_window(&poll), >, 0);
    feed(&poll, 200, 7 * US, XEN_POLL_SEEN); /* as when the host gets busy */
    g_assert_cmpuint(xen_poll_window(&poll), ==, 0);
    g_assert_cmpuint(rest_of(&poll), <=, 2 * XEN_POLL_REST_MIN);

    /* Each time it takes longer to try again. */
    unsigned rest = 0;
    for (unsigned i = 0; i < 20; i++) {
        feed(&poll, XEN_POLL_TRIAL - 1, 9 * US, XEN_POLL_SEEN);
        g_assert_cmpuint(xen_poll_window(&poll), >, 0);
        feed(&poll, 1, 9 * US, XEN_POLL_SEEN);
        unsigned next = rest_of(&poll);
        g_assert_cmpuint(next, ==, rest ? MIN(2 * rest, XEN_POLL_REST_MAX) : next);
        rest = next;
    }
    g_assert_cmpuint(rest, ==, XEN_POLL_REST_MAX);
}

/* Nothing comes any more. */
static void test_failures(void)
{
    struct xen_poll poll = looking(8 * US);
    for (unsigned i = 0; i < XEN_POLL_PATIENCE; i++) {
        g_assert_cmpuint(xen_poll_window(&poll), >, 0);
        xen_poll_failed(&poll);
    }
    g_assert_cmpuint(xen_poll_window(&poll), ==, 0);
    g_assert_cmpuint(rest_of(&poll), ==, 2 * XEN_POLL_REST_MIN);
}

/* One look in vain for every COUNT requests that were seen: whether it still looks. */
static bool survives(unsigned count)
{
    struct xen_poll poll = looking(8 * US);
    for (unsigned i = 0; i < 1000 && xen_poll_window(&poll) > 0; i++) {
        feed(&poll, count, 1 * US, XEN_POLL_SEEN);
        xen_poll_failed(&poll);
    }
    return xen_poll_window(&poll) > 0;
}

static void test_mixed(void)
{
    g_assert_true(survives(10));
    g_assert_true(survives(5));
    g_assert_false(survives(2));
    g_assert_false(survives(0));

    /* A request that came with an event after a failure is no success. */
    struct xen_poll poll = looking(8 * US);
    for (unsigned k = 0; k < XEN_POLL_PATIENCE; k++) {
        xen_poll_failed(&poll);
        feed(&poll, 1, 1 * US, XEN_POLL_WOKEN);
    }
    g_assert_cmpuint(xen_poll_window(&poll), ==, 0);
}

/*
 * Where every look fails, as on a host without a free processor, next to nothing is spent: of a
 * million quick requests, which take seconds, the looks take less than 20 ms.
 */
static void test_busy_host(void)
{
    struct xen_poll poll = fresh();
    uint64_t spent = 0;
    for (unsigned i = 0; i < 1000000; i++) {
        feed(&poll, 1, 5 * US, XEN_POLL_WOKEN);
        uint64_t window = xen_poll_window(&poll);
        spent += window;
        if (window > 0)
            xen_poll_failed(&poll);
    }
    g_assert_cmpuint(spent, >, 0);
    g_assert_cmpuint(spent, <, 20000 * US);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/poll/off", test_off);
    g_test_add_func("/poll/start", test_start);
    g_test_add_func("/poll/window", test_window);
    g_test_add_func("/poll/slow", test_slow);
    g_test_add_func("/poll/pays", test_pays);
    g_test_add_func("/poll/failures", test_failures);
    g_test_add_func("/poll/mixed", test_mixed);
    g_test_add_func("/poll/busy-host", test_busy_host);
    return g_test_run();
}
