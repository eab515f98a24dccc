/*
 * The throttle, with a clock that the test turns.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>

#include "pvbackends/disk/throttle.h"

#define START (7 * G_USEC_PER_SEC)

static gint64 now; /* us */

static gint64 clock_read(void)
{
    return now;
}

static struct disk_throttle *make(uint64_t requests, uint64_t bytes)
{
    now = START;
    struct disk_throttle *throttle = disk_throttle_new(clock_read);
    disk_throttle_set(throttle, requests, bytes);
    return throttle;
}

/* Nothing may be taken for SECONDS, and then it may: up to the rounding. */
static void expect_wait(struct disk_throttle *throttle, double seconds)
{
    gint64 until = disk_throttle_until(throttle);

    g_assert_cmpint(until, >=, now + (gint64)(seconds * G_USEC_PER_SEC) - 1);
    g_assert_cmpint(until, <=, now + (gint64)(seconds * G_USEC_PER_SEC) + 2);
    now = until - 2;
    g_assert_cmpint(disk_throttle_until(throttle), >, now);
    now = until;
    g_assert_cmpint(disk_throttle_until(throttle), ==, 0);
}

static void expect_free(struct disk_throttle *throttle)
{
    g_assert_cmpint(disk_throttle_until(throttle), ==, 0);
}

/* How many requests of BYTES are taken in SECONDS by one who always wants more. */
static unsigned run(struct disk_throttle *throttle, unsigned seconds, uint64_t bytes)
{
    gint64 end = now + seconds * G_USEC_PER_SEC;
    unsigned taken = 0;

    for (;;) {
        gint64 until = disk_throttle_until(throttle);
        now = MAX(now, until);
        if (now > end)
            return taken;
        if (until > 0)
            continue;
        disk_throttle_charge(throttle, 1, bytes);
        taken++;
    }
}

static void test_none(void)
{
    struct disk_throttle *throttle = make(0, 0);
    uint64_t requests, bytes;

    disk_throttle_get(throttle, &requests, &bytes);
    g_assert_cmpuint(requests, ==, 0);
    g_assert_cmpuint(bytes, ==, 0);
    for (unsigned i = 0; i < 1000; i++) {
        disk_throttle_charge(throttle, G_MAXUINT32, G_MAXINT64);
        expect_free(throttle);
    }
    /* What was done without a limit is not owed when there is one. */
    disk_throttle_set(throttle, 1, 1);
    expect_free(throttle);
    disk_throttle_free(throttle);
    disk_throttle_free(NULL);
}

static void test_debt(void)
{
    struct disk_throttle *throttle = make(0, 1000);

    expect_free(throttle);
    disk_throttle_charge(throttle, 1, 3000); /* however large */
    expect_wait(throttle, 3);
    disk_throttle_charge(throttle, 1, 250);
    disk_throttle_charge(throttle, 1, 250); /* by one who did not ask, as an indirect request */
    expect_wait(throttle, 0.5);
    expect_free(throttle);
    disk_throttle_free(throttle);
}

static void test_requests(void)
{
    struct disk_throttle *throttle = make(100, 0);

    g_assert_cmpuint(run(throttle, 10, G_MAXUINT32), >=, 999);
    g_assert_cmpuint(run(throttle, 10, G_MAXUINT32), <=, 1011);
    disk_throttle_free(throttle);
}

static void test_bytes(void)
{
    struct disk_throttle *throttle = make(0, 1 << 20);
    unsigned taken = run(throttle, 10, 4096);

    g_assert_cmpuint(taken, >=, 2559);
    g_assert_cmpuint(taken, <=, 2562 + 26);
    disk_throttle_free(throttle);
}

/* The one that is slower decides. */
static void test_both(void)
{
    struct disk_throttle *throttle = make(10, 1000);

    disk_throttle_charge(throttle, 1, 2000);
    expect_wait(throttle, 2);
    disk_throttle_charge(throttle, 5, 10);
    disk_throttle_set(throttle, 10, 1000);
    disk_throttle_charge(throttle, 5, 10);
    expect_wait(throttle, 0.5);
    disk_throttle_free(throttle);
}

/* A tenth of a second's worth, however long nothing was done; one request at least. */
static void test_saved(void)
{
    struct disk_throttle *throttle = make(100, 0);

    now += 3600 * (gint64)G_USEC_PER_SEC;
    expect_free(throttle);
    disk_throttle_charge(throttle, 10, 0);
    expect_free(throttle);
    disk_throttle_charge(throttle, 1, 0);
    expect_wait(throttle, 0.01);

    disk_throttle_set(throttle, 1, 0);
    now += 3600 * (gint64)G_USEC_PER_SEC;
    expect_free(throttle);
    disk_throttle_charge(throttle, 1, 0);
    expect_free(throttle);
    disk_throttle_charge(throttle, 1, 0);
    expect_wait(throttle, 1);
    disk_throttle_free(throttle);
}

static void test_change(void)
{
    struct disk_throttle *throttle = make(1, 0);
    uint64_t requests, bytes;

    disk_throttle_charge(throttle, 1000, 0);
    g_assert_cmpint(disk_throttle_until(throttle), >, now);
    disk_throttle_set(throttle, 0, 5);
    expect_free(throttle); /* what was owed is forgotten */
    disk_throttle_get(throttle, &requests, &bytes);
    g_assert_cmpuint(requests, ==, 0);
    g_assert_cmpuint(bytes, ==, 5);
    disk_throttle_charge(throttle, 1000, 5);
    expect_wait(throttle, 1);
    disk_throttle_charge(throttle, 1, UINT64_C(1) << 40); /* some centuries */
    g_assert_cmpint(disk_throttle_until(throttle), >, now);
    disk_throttle_free(throttle);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/throttle/none", test_none);
    g_test_add_func("/throttle/debt", test_debt);
    g_test_add_func("/throttle/requests", test_requests);
    g_test_add_func("/throttle/bytes", test_bytes);
    g_test_add_func("/throttle/both", test_both);
    g_test_add_func("/throttle/saved", test_saved);
    g_test_add_func("/throttle/change", test_change);
    return g_test_run();
}
