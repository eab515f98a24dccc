/*
 * A guest that attacks the disk role through xenstore: what it publishes before it connects, and
 * its state.  However it behaves there, an orderly frontend can use the disk afterwards.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include <signal.h>
#include <string.h>

/* --- connecting by hand --- */

/* An empty ring and a port, good for any number of connections. */
struct wire {
    uint32_t ref, port;
};

static struct wire make_wire(struct fixture *f)
{
    struct pages page = fixture_pages(f, 1, false);
    ((uint32_t *)page.data)[1] = 1; /* req_event and rsp_event, as in an unused ring */
    ((uint32_t *)page.data)[3] = 1;
    return (struct wire){ page.refs[0], guest_port_alloc(f->guest, 0) };
}

static void publish(struct fixture *f, unsigned disk, struct wire wire)
{
    fixture_set_number(f, disk, "ring-ref", wire.ref);
    fixture_set_number(f, disk, "event-channel", wire.port);
    fixture_set(f, disk, "protocol", NULL);
}

/* --- what is published --- */

struct garbage {
    const char *node, *value; /* NULL: no such node */
    size_t length;            /* of a value with zero bytes */
};

static void publish_garbage(struct fixture *f, const struct garbage *garbage)
{
    g_autofree char *path = g_strdup_printf("device/vbd/%u/%s", f->disks[0].devid, garbage->node);
    if (garbage->length)
        g_assert_true(guest_store_write_bytes(f->guest, path, garbage->value, garbage->length));
    else
        fixture_set(f, 0, garbage->node, garbage->value);
}

/* The backend must say what is wrong and close, and let the frontend try again. */
static void refuse(struct fixture *f, struct wire wire, const struct garbage *garbage,
                   enum xenbus_state state)
{
    g_autofree char *shown = garbage->value ? g_strescape(garbage->value, NULL) : NULL;
    g_test_message("%s '%s'", garbage->node, shown ? shown : "(none)");
    fixture_set_state(f, 0, XenbusStateInitialising);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    publish(f, 0, wire);
    publish_garbage(f, garbage);
    fixture_set_state(f, 0, state);
    fixture_expect_backend(f, 0, XenbusStateClosing);
    g_autofree char *error = fixture_backend_read(f, 0, "error");
    g_assert_nonnull(error);
    g_assert_true(g_str_is_ascii(error));
    g_assert_null(strpbrk(error, "\r\n\x1b"));
    fixture_settle(f, 0);
}

static void test_garbage(struct fixture *f)
{
    static const char *const numbers[] = {
        NULL,
        "",
        " ",
        "x",
        "-1",
        "+8",
        " 8",
        "8 ",
        "8\n",
        "8x",
        "0x8",
        "1e1",
        "8.0",
        "4294967295",
        "4294967296",
        "4294967304",
        "4294967288",
        "1844674407",
        "1000",
        "18446744073709551615",
        "18446744073709551624",
        "99999999999999999999999999999999999999",
    };
    static const char *const protocols[] = {
        "",           "x86_64",   "x86_64-abi ", "X86_64-ABI",  "x86_32-abi\nx", "\033[31mred",
        "%s%s%s%n%n", "\xff\xfe", "../../etc",   "arm-abi-abi",
    };
    struct blkfront *front = fixture_start(f, NULL);
    struct wire wire = make_wire(f);
    g_autofree char *text = g_strnfill(2000, '7');
    const struct garbage special[] = {
        { "event-channel", "0", 0 },
        { "ring-ref", "8\0", 2 },
        { "ring-ref", "\0", 1 },
        { "event-channel",
          "1\0"
          "2",
          3 },
        { "ring-ref", text, 0 },
        { "event-channel", text, 0 },
        { "protocol", text, 0 },
        { "protocol", "x86_64-abi\0", 11 },
    };

    fixture_close(front);
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        struct garbage ref = { "ring-ref", numbers[i], 0 };
        struct garbage port = { "event-channel", numbers[i], 0 };
        refuse(f, wire, &ref, XenbusStateInitialised);
        refuse(f, wire, &port, XenbusStateConnected);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(protocols); i++) {
        struct garbage protocol = { "protocol", protocols[i], 0 };
        refuse(f, wire, &protocol, i % 2 ? XenbusStateInitialised : XenbusStateConnected);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(special); i++)
        refuse(f, wire, &special[i], XenbusStateInitialised);
    fixture_check_disk(f, 0);
}

/* Another disk's ring and port: the ring can be shared if the guest wants that, the port cannot. */
static void test_port_of_another_disk(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_add_disk(f, "xvdb", MIB_SECTORS);
    fixture_start_role(f);
    struct wire wire = make_wire(f);
    publish(f, 1, wire);
    fixture_set_state(f, 1, XenbusStateConnected);
    fixture_expect_backend(f, 1, XenbusStateConnected);

    g_autofree char *port = g_strdup_printf("%u", wire.port);
    struct garbage taken = { "event-channel", port, 0 };
    refuse(f, make_wire(f), &taken, XenbusStateInitialised);
    fixture_check_disk(f, 0);
    fixture_check_disk(f, 1);
}

/* Nodes change while the backend reads them, without any pause. */
static void test_changing(struct fixture *f)
{
    static const char *const refs[] = { "8", "1000", "x", "4294967295", NULL };
    struct blkfront *front = fixture_start(f, NULL);
    struct wire wire = make_wire(f);

    fixture_close(front);
    for (unsigned i = 0; i < 200; i++) {
        publish(f, 0, wire);
        fixture_set_state(f, 0, i % 3 ? XenbusStateInitialised : XenbusStateConnected);
        fixture_set(f, 0, "ring-ref", refs[i % G_N_ELEMENTS(refs)]);
        fixture_set(f, 0, "protocol", i % 2 ? "x86_32-abi" : "nonsense");
        fixture_set_state(f, 0, XenbusStateConnected);
        fixture_set(f, 0, "event-channel", refs[(i + 1) % G_N_ELEMENTS(refs)]);
        fixture_set_state(f, 0, i % 9);
    }
    fixture_settle(f, 0);
    fixture_check_disk(f, 0);
}

/* --- states --- */

/* Guests side by side, because each step waits for its own backend. */
#define LANES 16
#define FIRST_STATE XenbusStateInitialising
#define STATES (XenbusStateReconfigured - XenbusStateInitialising + 1)

struct lane {
    struct fixture fixture;
    unsigned sequence; /* three states, as digits of base STATES */
    enum xenbus_state backend;
};

static enum xenbus_state state_of(const struct lane *lane, unsigned step)
{
    static const unsigned divisors[] = { 1, STATES, STATES * STATES };
    return FIRST_STATE + lane->sequence / divisors[step] % STATES;
}

/* Where a backend goes from STATE when the frontend, with good nodes, goes to FRONTEND. */
static enum xenbus_state follow(enum xenbus_state state, enum xenbus_state frontend)
{
    switch (frontend) {
    case XenbusStateInitialising:
    case XenbusStateInitWait:
        return XenbusStateInitWait;
    case XenbusStateInitialised:
    case XenbusStateConnected:
        return XenbusStateConnected;
    case XenbusStateClosing:
        return state == XenbusStateClosed ? state : XenbusStateClosing;
    case XenbusStateClosed:
        return state == XenbusStateInitWait ? state : XenbusStateClosed;
    default:
        return state;
    }
}

static void open_lanes(struct lane *lanes)
{
    for (unsigned i = 0; i < LANES; i++) {
        fixture_open(&lanes[i].fixture);
        fixture_add_disk(&lanes[i].fixture, "xvda", MIB_SECTORS);
        fixture_run_role(&lanes[i].fixture);
        publish(&lanes[i].fixture, 0, make_wire(&lanes[i].fixture));
    }
    for (unsigned i = 0; i < LANES; i++)
        fixture_expect_backend(&lanes[i].fixture, 0, XenbusStateInitWait);
}

static void close_lanes(struct lane *lanes)
{
    for (unsigned i = 0; i < LANES; i++)
        kill(lanes[i].fixture.role, SIGTERM);
    for (unsigned i = 0; i < LANES; i++)
        fixture_end(&lanes[i].fixture);
}

/* All lanes together: the frontends go to STATE, then their backends to WANTED. */
static void step_lanes(struct lane *lanes, enum xenbus_state state, enum xenbus_state wanted)
{
    for (unsigned i = 0; i < LANES; i++)
        fixture_set_state(&lanes[i].fixture, 0, state);
    for (unsigned i = 0; i < LANES; i++)
        fixture_expect_backend(&lanes[i].fixture, 0, wanted);
}

/* An orderly connection, and back to where everything was at the start. */
static void connect_lanes(struct lane *lanes)
{
    step_lanes(lanes, XenbusStateInitialising, XenbusStateInitWait);
    step_lanes(lanes, XenbusStateInitialised, XenbusStateConnected);
    step_lanes(lanes, XenbusStateClosed, XenbusStateClosed);
    step_lanes(lanes, XenbusStateInitialising, XenbusStateInitWait);
}

/* Three states, the backend following each. */
static void jump(struct lane *lanes)
{
    for (unsigned i = 0; i < LANES; i++)
        lanes[i].backend = XenbusStateInitWait;
    for (unsigned step = 0; step < 3; step++) {
        for (unsigned i = 0; i < LANES; i++)
            fixture_set_state(&lanes[i].fixture, 0, state_of(&lanes[i], step));
        for (unsigned i = 0; i < LANES; i++) {
            lanes[i].backend = follow(lanes[i].backend, state_of(&lanes[i], step));
            fixture_expect_backend(&lanes[i].fixture, 0, lanes[i].backend);
        }
    }
}

/* Three states, faster than the backend can follow, and the next three upon them. */
static void jump_fast(struct lane *lanes)
{
    for (unsigned i = 0; i < LANES; i++) {
        for (unsigned step = 0; step < 3; step++)
            fixture_set_state(&lanes[i].fixture, 0, state_of(&lanes[i], step));
    }
}

/* Runs HOW with every sequence; after each EVERY rounds an orderly connection must work. */
static void all_sequences(void (*how)(struct lane *lanes), unsigned every)
{
    g_autofree struct lane *lanes = g_new0(struct lane, LANES);

    open_lanes(lanes);
    for (unsigned round = 0; round < STATES * STATES * STATES / LANES; round++) {
        for (unsigned i = 0; i < LANES; i++)
            lanes[i].sequence = round * LANES + i;
        how(lanes);
        if (round % every != every - 1)
            continue;
        for (unsigned i = 0; i < LANES && how == jump_fast; i++)
            fixture_settle(&lanes[i].fixture, 0);
        connect_lanes(lanes);
    }
    for (unsigned i = 0; i < LANES; i++)
        fixture_check_disk(&lanes[i].fixture, 0);
    close_lanes(lanes);
}

static void test_jumps(struct fixture *f)
{
    all_sequences(jump, 1);
}

static void test_fast_jumps(struct fixture *f)
{
    all_sequences(jump_fast, 4);
}

/* What is no state at all counts as none: the frontend is gone until it says something better. */
static void test_senseless_states(struct fixture *f)
{
    static const char *const states[] = { "", "x", "-1", "9", "4 ", "04x", "4294967300", NULL };
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_start_role(f);
    struct wire wire = make_wire(f);

    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        publish(f, 0, wire);
        fixture_set_state(f, 0, XenbusStateConnected);
        fixture_expect_backend(f, 0, XenbusStateConnected);
        fixture_set(f, 0, "state", states[i]);
        fixture_expect_backend(f, 0, XenbusStateClosed);
        fixture_set_state(f, 0, XenbusStateInitialising);
        fixture_expect_backend(f, 0, XenbusStateInitWait);
    }
    fixture_check_disk(f, 0);
}

/* Without end on one disk: the other one is opened, used and closed in the midst of it. */
static void test_store_storm(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_add_disk(f, "xvdb", MIB_SECTORS);
    fixture_start_role(f);
    struct wire wire = make_wire(f);

    publish(f, 0, wire);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 500; i++)
            fixture_set_state(f, 0, XenbusStateInitialised + i % 2);
        fixture_check_disk(f, 1);
    }
    fixture_settle(f, 0);
    fixture_check_disk(f, 0);
}

/* --- the directory --- */

/* A guest may remove its own nodes; then it takes the toolstack to get the disk back. */
static void test_directory_removed(struct fixture *f)
{
    fixture_add_disk(f, "xvda", MIB_SECTORS);
    fixture_add_disk(f, "xvdb", MIB_SECTORS);
    fixture_start_role(f);
    struct blkfront *bystander = fixture_connect(f, 1, NULL);
    struct blkfront *front = fixture_connect(f, 0, NULL);
    struct pages pages = fixture_pages(f, 1, false);
    g_autofree char *path = g_strdup_printf("device/vbd/%u", f->disks[0].devid);

    for (unsigned i = 0; i < 16; i++) {
        blkif_request_t request = request_for(BLKIF_OP_WRITE, i, i, &pages, 1);
        request_put(front, &request);
    }
    blkfront_push(front, 0);
    g_assert_true(guest_store_remove(f->guest, path));
    fixture_expect_backend(f, 0, XenbusStateClosed);
    blkfront_abandon(front);
    fixture_verify(f, 1, bystander, 0, 128);

    g_assert_true(toolstack_detach_disk(f->guest, f->disks[0].devid));
    fixture_reattach_disk(f, 0);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    fixture_check_disk(f, 0);
    fixture_close(bystander);
}

/* The toolstack takes the backend's nodes away without asking, as after a crash of its own. */
static void test_backend_removed(struct fixture *f)
{
    struct blkfront *front = fixture_start(f, NULL);
    fixture_verify(f, 0, front, 0, 128);
    g_autofree char *path = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u",
                                            guest_domid(f->guest), f->disks[0].devid);
    g_assert_true(xs_rm(toolstack_store(), XBT_NULL, path));
    blkfront_abandon(front);
    fixture_reattach_disk(f, 0);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    fixture_check_disk(f, 0);
}

static void add_tests(void)
{
    fixture_add_test("/disk/states/garbage", test_garbage);
    fixture_add_test("/disk/states/port-of-another-disk", test_port_of_another_disk);
    fixture_add_test("/disk/states/changing", test_changing);
    fixture_add_test("/disk/states/jumps", test_jumps);
    fixture_add_test("/disk/states/fast-jumps", test_fast_jumps);
    fixture_add_test("/disk/states/senseless", test_senseless_states);
    fixture_add_test("/disk/states/store-storm", test_store_storm);
    fixture_add_test("/disk/states/directory-removed", test_directory_removed);
    fixture_add_test("/disk/states/backend-removed", test_backend_removed);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
