/*
 * A backend and a xenstored that do what they should not: the core gives up in time, with an error,
 * and no memory is lost to them that they could still write to.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/ovmf/world.h"

#include <string.h>
#include <xen/io/xenbus.h>

/* Firmware has to go on within 5 s of anything; µs. */
#define LIMIT (5000 * PV_MS)

#define CANARY 0x5A

struct setup {
    struct world *world;
    struct pv_disk disk;
    uint8_t *buffer; /* with a page to guard on each side */
    size_t length;
};

static void set_up(struct setup *setup)
{
    *setup = (struct setup){ .world = world_new(), .length = 4u << 20 };
    setup->buffer = g_malloc(setup->length + 2 * PV_PAGE);
    memset(setup->buffer, CANARY, setup->length + 2 * PV_PAGE);
    g_assert_cmpint(pv_disk_init(&setup->disk, &setup->world->guest, WORLD_DEVICE), ==, PV_OK);
}

static void check_guards(const struct setup *setup)
{
    const uint8_t *end = setup->buffer + PV_PAGE + setup->length;
    for (unsigned i = 0; i < PV_PAGE; i++)
        g_assert_true(setup->buffer[i] == CANARY && end[i] == CANARY);
}

static void tear_down(struct setup *setup)
{
    uint64_t start = setup->world->now;

    pv_disk_close(&setup->disk, UINT64_MAX);
    g_assert_cmpuint(setup->world->now - start, <=, LIMIT);
    start = setup->world->now;
    pv_disk_close(&setup->disk, UINT64_MAX);
    g_assert_cmpuint(setup->world->now, ==, start);
    check_guards(setup);
    g_free(setup->buffer);
    world_free(setup->world);
}

static enum pv_status do_read(struct setup *setup)
{
    uint64_t start = setup->world->now;
    enum pv_status status = pv_disk_read(&setup->disk, 0, setup->buffer + PV_PAGE, setup->length);
    g_assert_cmpuint(setup->world->now - start, <=, LIMIT);
    return status;
}

/* --- connecting --- */

static void check_connect_fails(struct setup *setup, enum pv_status expected)
{
    uint64_t start = setup->world->now;

    g_assert_cmpint(pv_disk_connect(&setup->disk), ==, expected);
    g_assert_nonnull(setup->disk.problem);
    g_assert_cmpuint(setup->world->now - start, <=, LIMIT);
    g_assert_cmpint(do_read(setup), ==, PV_BROKEN);
    tear_down(setup);
}

static void test_never_connects(void)
{
    struct setup setup;

    set_up(&setup);
    setup.world->script.deaf = 1 << XenbusStateInitialised;
    check_connect_fails(&setup, PV_TIMEOUT);

    set_up(&setup);
    world_offer(setup.world, "state", "1");
    check_connect_fails(&setup, PV_TIMEOUT);

    set_up(&setup);
    world_offer(setup.world, "state", NULL);
    check_connect_fails(&setup, PV_TIMEOUT);

    set_up(&setup);
    world_offer(setup.world, "state", "4");
    setup.world->script.deaf = UINT_MAX;
    check_connect_fails(&setup, PV_TIMEOUT);

    set_up(&setup);
    setup.world->script.refuses = true;
    check_connect_fails(&setup, PV_REFUSED);
}

static void test_garbage(void)
{
    static const char *const nodes[][2] = {
        { "state", "9" },
        { "state", "x" },
        { "state", "" },
        { "sectors", "-1" },
        { "sectors", "18446744073709551615" },
        { "sectors", "0x10" },
        { "sector-size", "0" },
        { "sector-size", "511" },
        { "sector-size", "513" },
        { "sector-size", "8192" },
        { "sector-size", "4294967808" },
        { "info", "4294967296" },
        { "feature-flush-cache", "yes" },
        { "feature-max-indirect-segments", "99999999999999999999" },
        { "max-ring-page-order", "-1" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
        struct setup setup;
        set_up(&setup);
        g_test_message("%s '%s'", nodes[i][0], nodes[i][1]);
        world_offer(setup.world, nodes[i][0], nodes[i][1]);
        check_connect_fails(&setup, PV_BROKEN);
    }
}

static void test_frontend_nodes(void)
{
    static const char *const nodes[][2] = {
        { "backend-id", "32752" },
        { "backend-id", "-1" },
        { "backend", NULL },
    };
    struct world *world = world_new();
    struct pv_disk disk;
    g_autofree char *endless = g_strnfill(300, 'a');

    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
        const char *value = nodes[i][1] ? nodes[i][1] : endless;
        g_autofree char *path = g_strconcat(WORLD_FRONTEND "/", nodes[i][0], NULL);
        g_autofree char *good = g_strdup(g_hash_table_lookup(world->nodes, path));
        g_hash_table_insert(world->nodes, g_strdup(path), g_strdup(value));
        g_assert_cmpint(pv_disk_init(&disk, &world->guest, WORLD_DEVICE), !=, PV_OK);
        g_hash_table_insert(world->nodes, g_strdup(path), g_strdup(good));
    }
    world_offer(world, "dev", "\x1b[2J");
    g_assert_cmpint(pv_disk_init(&disk, &world->guest, WORLD_DEVICE), ==, PV_OK);
    g_assert_cmpstr(disk.name, ==, WORLD_DEVICE);
    world_free(world);
}

/* --- answers --- */

static void connect_and_fail(struct setup *setup, enum pv_status expected)
{
    g_assert_cmpint(pv_disk_connect(&setup->disk), ==, PV_OK);
    g_assert_cmpint(do_read(setup), ==, expected);
    g_assert_cmpint(setup->disk.state, ==, PV_DISK_DEAD);
    /* Then it is not asked any more. */
    uint64_t now = setup->world->now;
    g_assert_cmpint(do_read(setup), ==, PV_BROKEN);
    g_assert_cmpint(pv_disk_flush(&setup->disk), ==, PV_BROKEN);
    g_assert_cmpuint(setup->world->now, ==, now);
    tear_down(setup);
}

static void test_silence(void)
{
    struct setup setup;
    set_up(&setup);
    setup.world->script.silent_after = 5;
    connect_and_fail(&setup, PV_TIMEOUT);
}

static void test_gone(void)
{
    struct setup setup;
    set_up(&setup);
    setup.world->script.closed_after = 5;
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_OK);
    uint64_t start = setup.world->now;
    g_assert_cmpint(do_read(&setup), ==, PV_BROKEN);
    g_assert_cmpuint(setup.world->now - start, <, 1000 * PV_MS); /* it said so, after all */
    tear_down(&setup);
}

static void id_of_no_slot(struct world *world, blkif_response_t *response)
{
    response->id |= 0xFF;
}

static void id_of_nobody(struct world *world, blkif_response_t *response)
{
    response->id = 0;
}

/* The slot is right, the request is one that the slot had before. */
static void id_of_before(struct world *world, blkif_response_t *response)
{
    if (world->answers > 70)
        response->id -= 256;
}

static void id_of_another(struct world *world, blkif_response_t *response)
{
    response->id ^= 1;
}

static void other_operation(struct world *world, blkif_response_t *response)
{
    response->operation = BLKIF_OP_WRITE;
}

static void other_status(struct world *world, blkif_response_t *response)
{
    response->status = world->answers % 2 ? 1 : -3;
}

static void test_bad_answers(void)
{
    static void (*const spoils[])(struct world *, blkif_response_t *) = {
        id_of_no_slot, id_of_nobody, id_of_before, id_of_another, other_operation, other_status,
    };
    for (size_t i = 0; i < G_N_ELEMENTS(spoils); i++) {
        struct setup setup;
        set_up(&setup);
        setup.world->script.spoil = spoils[i];
        g_test_message("spoil %zu", i);
        connect_and_fail(&setup, PV_BROKEN);
    }
}

static void test_twice(void)
{
    struct setup setup;
    set_up(&setup);
    setup.world->script.twice_at = 7;
    connect_and_fail(&setup, PV_BROKEN);
}

static void test_jump(void)
{
    struct setup setup;
    set_up(&setup);
    setup.world->script.jump_at = 7;
    connect_and_fail(&setup, PV_BROKEN);
}

/* An error is an error of the request: the next one can work. */
static void test_errors(void)
{
    static const int16_t errors[] = { BLKIF_RSP_ERROR, BLKIF_RSP_EOPNOTSUPP };
    struct setup setup;

    set_up(&setup);
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_OK);
    for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
        setup.world->script.status = errors[i];
        g_assert_cmpint(do_read(&setup), ==, PV_REFUSED);
        g_assert_cmpint(pv_disk_flush(&setup.disk), ==, PV_REFUSED);
        g_assert_cmpint(setup.disk.in_flight, ==, 0);
        setup.world->script.status = 0;
        g_assert_cmpint(do_read(&setup), ==, PV_OK);
    }
    tear_down(&setup);
}

/* --- the end --- */

static void test_never_closes(void)
{
    struct setup setup;

    set_up(&setup);
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_OK);
    setup.world->script.deaf = UINT_MAX;
    setup.world->script.keeps_pages = true;
    struct world *world = setup.world;
    uint64_t start = world->now;
    pv_disk_close(&setup.disk, UINT64_MAX);
    g_assert_cmpuint(world->now - start, <=, LIMIT);
    /* The ring, which it has mapped, is nobody's now; the data's pages could be given back. */
    g_assert_cmpuint(world_pages_abandoned(world), ==, 2);
    g_assert_cmpuint(world_pages_used(world), ==, 0);
    g_assert_cmpuint(world_grants_used(world), ==, 2);
    /* To a backend that wakes up later, Closed must still be to be seen. */
    g_assert_cmpstr(world_node(world, WORLD_FRONTEND, "state"), ==, "6");
    tear_down(&setup);
}

/* It keeps the ring and one page of a disk's data: these alone are lost. */
static void test_keeps_one(void)
{
    struct setup setup;

    set_up(&setup);
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_OK);
    struct world *world = setup.world;
    world->script.guesses = world->script.keeps_pages = true;
    world->table[setup.disk.pool.refs[3]].flags |= GTF_reading;
    pv_disk_close(&setup.disk, UINT64_MAX);
    g_assert_cmpuint(world_pages_abandoned(world), ==, 2 + 1);
    g_assert_cmpuint(world_pages_used(world), ==, 0);
    tear_down(&setup);
}

/* The caller's patience counts if it is less. */
static void test_hurry(void)
{
    struct setup setup;

    set_up(&setup);
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_OK);
    setup.world->script.deaf = UINT_MAX;
    setup.world->script.keeps_pages = true;
    uint64_t start = setup.world->now;
    pv_disk_close(&setup.disk, 100 * PV_MS);
    g_assert_cmpuint(setup.world->now - start, <=, 110 * PV_MS);
    tear_down(&setup);
}

/* --- xenstored --- */

static void test_store_silent(void)
{
    struct setup setup;

    set_up(&setup);
    setup.world->script.store_silent = true;
    check_connect_fails(&setup, PV_TIMEOUT);
}

static void test_store_events(void)
{
    struct setup setup;

    set_up(&setup);
    setup.world->script.watch_events = 200;
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_OK);
    g_assert_cmpint(do_read(&setup), ==, PV_OK);
    tear_down(&setup);
}

static void too_long(struct world *world, struct xsd_sockmsg *head, char *payload)
{
    head->len = XENSTORE_PAYLOAD_MAX + 1;
}

static void other_type(struct world *world, struct xsd_sockmsg *head, char *payload)
{
    head->type = XS_DEBUG;
}

/* Nothing but answers to others, without end: as silence. */
static void other_request(struct world *world, struct xsd_sockmsg *head, char *payload)
{
    head->req_id++;
}

static void test_store_answers(void)
{
    static const struct {
        void (*spoil)(struct world *, struct xsd_sockmsg *, char *);
        enum pv_status status;
    } cases[] = {
        { too_long, PV_BROKEN },
        { other_type, PV_BROKEN },
        { other_request, PV_TIMEOUT },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct setup setup;
        set_up(&setup);
        setup.world->script.spoil_reply = cases[i].spoil;
        check_connect_fails(&setup, cases[i].status);
    }
}

static void test_store_indexes(void)
{
    struct setup setup;

    set_up(&setup);
    setup.world->xs.rsp_prod = setup.world->xs.rsp_cons + XENSTORE_RING_SIZE + 1;
    setup.world->script.store_silent = true;
    check_connect_fails(&setup, PV_BROKEN);

    set_up(&setup);
    setup.world->xs.req_cons = setup.world->xs.req_prod + 1;
    g_assert_cmpint(pv_disk_connect(&setup.disk), ==, PV_BROKEN);
    setup.world->xs.req_cons = setup.world->xs.req_prod;
    tear_down(&setup);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ovmf/hostile/never-connects", test_never_connects);
    g_test_add_func("/ovmf/hostile/garbage", test_garbage);
    g_test_add_func("/ovmf/hostile/frontend-nodes", test_frontend_nodes);
    g_test_add_func("/ovmf/hostile/silence", test_silence);
    g_test_add_func("/ovmf/hostile/gone", test_gone);
    g_test_add_func("/ovmf/hostile/bad-answers", test_bad_answers);
    g_test_add_func("/ovmf/hostile/twice", test_twice);
    g_test_add_func("/ovmf/hostile/jump", test_jump);
    g_test_add_func("/ovmf/hostile/errors", test_errors);
    g_test_add_func("/ovmf/hostile/never-closes", test_never_closes);
    g_test_add_func("/ovmf/hostile/keeps-one", test_keeps_one);
    g_test_add_func("/ovmf/hostile/hurry", test_hurry);
    g_test_add_func("/ovmf/hostile/store-silent", test_store_silent);
    g_test_add_func("/ovmf/hostile/store-events", test_store_events);
    g_test_add_func("/ovmf/hostile/store-answers", test_store_answers);
    g_test_add_func("/ovmf/hostile/store-indexes", test_store_indexes);
    return g_test_run();
}
