/*
 * Simulated vCPUs: where their accesses go, and how they wait for answers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/sim/unit/emulator.h"

/* --- routing --- */

static void test_unclaimed(struct fixture *f, gconstpointer unused)
{
    ioreq_t request = read_port(0x10, 4);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_UNCLAIMED);
    g_assert_cmphex(request.data, ==, UINT64_MAX);
    g_assert_cmphex(vcpu_in(f->guest, 0x10, 1), ==, 0xFF);
    g_assert_cmphex(vcpu_load(f->guest, 0xF0000000, 8), ==, UINT64_MAX);
    g_assert_cmphex(vcpu_config_read(f->guest, 3, 0, 0, 2), ==, 0xFFFF);
    vcpu_out(f->guest, 0x10, 4, 1);
    vcpu_store(f->guest, 0xF0000000, 4, 1);

    /* A string instruction stores what it read. */
    uint8_t *page = guest_alloc(f->guest, 1);
    request = read_port(0x10, 2);
    request.data_is_ptr = 1;
    request.count = 3;
    request.data = guest_gfn(f->guest, page) * GUEST_PAGE + 8;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_UNCLAIMED);
    g_assert_cmphex(page[7], ==, 0);
    g_assert_cmphex(page[8], ==, 0xFF);
    g_assert_cmphex(page[13], ==, 0xFF);
    g_assert_cmphex(page[14], ==, 0);
    request.data = UINT64_MAX - 2;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_UNCLAIMED);
}

static void test_answers(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    serve_ports(&e, f, 0x10, 0x17);
    e.answer = 0x1234567800;
    g_assert_cmphex(vcpu_in(f->guest, 0x10, 4), ==, 0x34567810);
    g_assert_cmphex(vcpu_in(f->guest, 0x17, 1), ==, 0x17);
    vcpu_out(f->guest, 0x12, 2, 0xABCD1234);
    stop(&e);
    g_assert_cmphex(e.last.data, ==, 0x1234);
    g_assert_cmpuint(e.last.size, ==, 2);
    g_assert_cmpuint(e.last.count, ==, 1);
    g_assert_cmpint(e.served, ==, 3);
    g_assert_cmpuint(e.slots[0].state, ==, STATE_IOREQ_NONE);
    detach(&e);
}

/* An access has to be inside wholly; the highest id of those that have it gets it. */
static void test_routing(struct fixture *f, gconstpointer unused)
{
    struct emulator e[3];
    for (unsigned i = 0; i < 3; i++) {
        serve_ports(&e[i], f, 0x10 * i, 0x3F);
        e[i].answer = 0x100 * i;
    }
    g_assert_cmphex(vcpu_in(f->guest, 0x00, 4), ==, 0x000);
    g_assert_cmphex(vcpu_in(f->guest, 0x0F, 2), ==, 0x00F);
    g_assert_cmphex(vcpu_in(f->guest, 0x10, 4), ==, 0x110);
    g_assert_cmphex(vcpu_in(f->guest, 0x1F, 2), ==, 0x11F);
    g_assert_cmphex(vcpu_in(f->guest, 0x30, 4), ==, 0x230);
    g_assert_cmphex(vcpu_in(f->guest, 0x3D, 4), ==, 0xFFFFFFFF);
    assert_works(enable(f, 2, 0));
    g_assert_cmphex(vcpu_in(f->guest, 0x30, 4), ==, 0x130);
    assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, 1));
    g_assert_cmphex(vcpu_in(f->guest, 0x30, 4), ==, 0x030);
    assert_works(enable(f, 2, 1));
    g_assert_cmphex(vcpu_in(f->guest, 0x30, 4), ==, 0x230);
    for (unsigned i = 0; i < 3; i++)
        detach(&e[i]);
}

/* A string instruction is routed by all the memory that it walks through, down or up. */
static void test_string(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioservid_t id = create(f, OFF);
    assert_works(map(f, id, 1, 0x10000000, 0x1000000F));
    attach(&e, f, id, false);
    start(&e);

    ioreq_t up = {
        .type = IOREQ_TYPE_COPY, .addr = 0x10000000, .size = 4, .count = 4, .dir = IOREQ_WRITE
    };
    ioreq_t down = up;
    down.df = 1;
    down.addr = 0x1000000C;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &up, LONG_MS), ==, VCPU_ANSWERED);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &down, LONG_MS), ==, VCPU_ANSWERED);
    up.count = 5;
    down.addr = 0x10000008;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &up, LONG_MS), ==, VCPU_UNCLAIMED);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &down, LONG_MS), ==, VCPU_UNCLAIMED);
    down.addr = 4;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &down, LONG_MS), ==, VCPU_UNCLAIMED);
    detach(&e);
}

static void test_pci(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioservid_t id = create(f, OFF);
    assert_works(xendevicemodel_map_pcidev_to_ioreq_server(f->dm, f->domid, id, 0, 0, 30, 1));
    assert_fails(xendevicemodel_map_pcidev_to_ioreq_server(f->dm, f->domid, id, 0, 0, 30, 1),
                 EEXIST);
    assert_fails(xendevicemodel_map_pcidev_to_ioreq_server(f->dm, f->domid, id, 0, 0, 32, 0),
                 EINVAL);
    attach(&e, f, id, false);
    start(&e);

    g_assert_cmphex(vcpu_config_read(f->guest, 30, 1, 0x42, 2), ==, 0x42);
    g_assert_cmphex(vcpu_config_read(f->guest, 30, 0, 0x42, 2), ==, 0xFFFF);
    /* As a guest does it: the address in port 0xCF8, the data in 0xCFC. */
    vcpu_out(f->guest, 0xCF8, 4, 0x80000000 | 30 << 11 | 1 << 8 | 0x40);
    g_assert_cmphex(vcpu_in(f->guest, 0xCFE, 2), ==, 0x42);
    vcpu_out(f->guest, 0xCF8, 4, 30 << 11 | 1 << 8 | 0x40);
    g_assert_cmphex(vcpu_in(f->guest, 0xCFE, 2), ==, 0xFFFF);
    stop(&e);
    g_assert_cmpuint(e.last.type, ==, IOREQ_TYPE_PCI_CONFIG);
    g_assert_cmphex(e.last.addr >> 32, ==, 30 << 3 | 1);
    assert_works(xendevicemodel_unmap_pcidev_from_ioreq_server(f->dm, f->domid, id, 0, 0, 30, 1));
    assert_fails(xendevicemodel_unmap_pcidev_from_ioreq_server(f->dm, f->domid, id, 0, 0, 30, 1),
                 ENOENT);
    detach(&e);
}

/* --- the vCPU's half --- */

static void set_state(struct emulator *e, unsigned vcpu, unsigned state)
{
    e->slots[vcpu].state = state;
    xenevtchn_notify(e->evtchn, e->ports[vcpu]);
}

static void test_timeout(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    e.answer = 0x100;

    ioreq_t request = read_port(0x10, 4), other = read_port(0x14, 4);
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    g_assert_cmpuint(e.slots[1].state, ==, STATE_IOREQ_READY);
    g_assert_cmpint(vcpu_issue(f->guest, 1, &other, SHORT_MS), ==, VCPU_TIMEOUT);
    g_assert_cmphex(e.slots[1].addr, ==, 0x10);
    start(&e);
    /* The late answer is for the same access again. */
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, LONG_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(request.data, ==, 0x110);
    g_assert_cmpint(g_atomic_int_get(&e.served), ==, 1);
    g_assert_cmpint(vcpu_issue(f->guest, 1, &other, LONG_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(other.data, ==, 0x114);
    detach(&e);
}

static void test_spurious(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    serve_ports(&e, f, 0x10, 0x17);
    g_atomic_int_set(&e.spurious, 5);
    e.answer = 1;
    g_assert_cmphex(vcpu_in(f->guest, 0x10, 4), ==, 0x11);
    g_assert_cmphex(vcpu_in(f->guest, 0x11, 4), ==, 0x12);
    g_assert_null(vcpu_crash_reason(f->guest));
    detach(&e);
}

static gpointer issue_read(gpointer opaque)
{
    struct fixture *f = opaque;
    ioreq_t request = read_port(0x10, 4);
    return GINT_TO_POINTER(vcpu_issue(f->guest, 0, &request, LONG_MS));
}

/* Has vCPU 0 wait for an emulator that does the states of STATES (0 ends them). */
static enum vcpu_outcome play_states(struct fixture *f, const unsigned *states)
{
    struct emulator e;
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    GThread *thread = g_thread_new("vcpu", issue_read, f);
    while (__atomic_load_n((uint8_t *)&e.slots[0] + 30, __ATOMIC_ACQUIRE) % 16 != STATE_IOREQ_READY)
        g_usleep(100);
    for (; *states; states++) {
        set_state(&e, 0, *states);
        g_usleep(10000);
    }
    enum vcpu_outcome outcome = GPOINTER_TO_INT(g_thread_join(thread));
    detach(&e);
    return outcome;
}

/* Xen has a check for this, but a vCPU that was asleep does not know the state before. */
static void test_backwards(struct fixture *f, gconstpointer unused)
{
    static const unsigned states[] = { STATE_IOREQ_INPROCESS, STATE_IOREQ_READY, STATE_IORESP_READY,
                                       0 };
    g_assert_cmpint(play_states(f, states), ==, VCPU_ANSWERED);
    g_assert_null(vcpu_crash_reason(f->guest));
}

/* Only an event makes a vCPU look. */
static void test_no_event(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioreq_t request = read_port(0x10, 4);
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    e.slots[0].data = 3;
    e.slots[0].state = STATE_IORESP_READY;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    xenevtchn_notify(e.evtchn, e.ports[0]);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, LONG_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(request.data, ==, 3);
    detach(&e);
}

static void test_unknown_state(struct fixture *f, gconstpointer unused)
{
    static const unsigned states[] = { 9, 0 };
    g_assert_cmpint(play_states(f, states), ==, VCPU_CRASHED);
    g_assert_cmpstr(vcpu_crash_reason(f->guest), ==, "Weird HVM iorequest state 9");
    ioreq_t request = read_port(0x50, 1);
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, 0), ==, VCPU_CRASHED);
}

static void test_bad_slot(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioreq_t request = read_port(0x10, 4);
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    e.slots[2].state = STATE_IOREQ_INPROCESS;
    g_assert_cmpint(vcpu_issue(f->guest, 2, &request, 0), ==, VCPU_CRASHED);
    g_assert_cmpstr(vcpu_crash_reason(f->guest), ==, "device model set bad IO state 2");
    detach(&e);
}

static void test_bad_port(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioreq_t request = read_port(0x10, 4);
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    e.slots[2].vp_eport++;
    g_assert_cmpint(vcpu_issue(f->guest, 2, &request, 0), ==, VCPU_CRASHED);
    g_assert_nonnull(strstr(vcpu_crash_reason(f->guest), "device model set bad event channel"));
    detach(&e);
}

/* The page comes into being when it is mapped: enabling before that is too early. */
static void test_enabled_early(struct fixture *f, gconstpointer unused)
{
    ioreq_t request = read_port(0x10, 4);
    ioservid_t id = create(f, OFF);
    assert_works(map(f, id, 0, 0x10, 0x17));
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_UNCLAIMED);
    assert_works(enable(f, id, 1));
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_CRASHED);
}

static gpointer read_other(gpointer opaque)
{
    struct fixture *f = opaque;
    ioreq_t request = read_port(0x20, 4);
    return GINT_TO_POINTER(vcpu_issue(f->guest, 2, &request, 10 * SHORT_MS));
}

static void test_destroyed(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioreq_t request = read_port(0x10, 4);
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, e.id));

    /* One that sleeps is not woken either. */
    struct emulator other;
    serve_ports(&other, f, 0x20, 0x27);
    stop(&other);
    GThread *thread = g_thread_new("vcpu", read_other, f);
    g_usleep(20000);
    assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, other.id));
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, VCPU_TIMEOUT);
    detach(&other);

    /* The next server of that id starts afresh, but the vCPU waits for ever. */
    struct emulator next;
    serve_ports(&next, f, 0x10, 0x17);
    next.answer = 5;
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, LONG_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(request.data, ==, 0x15);
    detach(&next);
    detach(&e);
}

#define ANY UINT64_MAX

struct load {
    struct fixture *f;
    unsigned vcpu;
    uint64_t answer; /* or ANY, or nobody's */
};

static gpointer read_often(gpointer opaque)
{
    struct load *load = opaque;
    for (unsigned i = 0; i < 2000; i++) {
        ioreq_t request = read_port(0x10 + i % 16, 1);
        enum vcpu_outcome outcome = vcpu_issue(load->f->guest, load->vcpu, &request, LONG_MS);
        if (load->answer == ANY) {
            g_assert_cmpint(outcome, !=, VCPU_TIMEOUT);
            g_assert_cmpint(outcome, !=, VCPU_CRASHED);
            continue;
        }
        g_assert_cmpint(outcome, ==, VCPU_ANSWERED);
        g_assert_cmphex(request.data, ==, load->answer + 0x10 + i % 16);
    }
    return NULL;
}

/* A vCPU that was woken in time goes on without the server. */
static void test_destroyed_after(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioreq_t request = read_port(0x10, 4);
    serve_ports(&e, f, 0x10, 0x17);
    stop(&e);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    e.slots[0].state = STATE_IORESP_READY;
    xenevtchn_notify(e.evtchn, e.ports[0]);
    assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, e.id));
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, LONG_MS), ==, VCPU_UNCLAIMED);
    detach(&e);
}

/* vCPUs ask all the time while their server, which answers all, comes and goes. */
static void test_comes_and_goes(struct fixture *f, gconstpointer unused)
{
    struct load load[VCPUS];
    GThread *threads[VCPUS];
    for (unsigned i = 0; i < VCPUS; i++) {
        load[i] = (struct load){ f, i, ANY };
        threads[i] = g_thread_new("vcpu", read_often, &load[i]);
    }
    for (unsigned round = 0; round < 50; round++) {
        struct emulator e;
        serve_ports(&e, f, 0x10, 0x1F);
        g_usleep(500);
        stop(&e);
        assert_works(enable(f, e.id, 0));
        for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++)
            serve(&e, vcpu);
        assert_works(xendevicemodel_destroy_ioreq_server(f->dm, f->domid, e.id));
        detach(&e);
    }
    for (unsigned i = 0; i < VCPUS; i++)
        g_thread_join(threads[i]);
}

/* A process that died has left its server behind; another one carries on. */
static void test_taken_over(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioreq_t request = read_port(0x10, 4);
    serve_ports(&e, f, 0x10, 0x17);
    detach(&e);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, SHORT_MS), ==, VCPU_TIMEOUT);

    attach(&e, f, e.id, false);
    e.answer = 7;
    start(&e);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, LONG_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(request.data, ==, 0x17);
    detach(&e);
}

static void test_vcpus(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    struct load load[VCPUS];
    GThread *threads[VCPUS];
    ioservid_t id = create(f, OFF);
    assert_works(map(f, id, 0, 0x10, 0x1F));
    attach(&e, f, id, false);
    e.answer = 0x5500;
    start(&e);
    for (unsigned i = 0; i < VCPUS; i++) {
        load[i] = (struct load){ f, i, e.answer };
        threads[i] = g_thread_new("vcpu", read_often, &load[i]);
    }
    for (unsigned i = 0; i < VCPUS; i++)
        g_thread_join(threads[i]);
    stop(&e);
    g_assert_cmpint(e.served, ==, VCPUS * 2000);
    detach(&e);
}

/* --- broadcasts and buffered requests --- */

static void test_invalidate(struct fixture *f, gconstpointer unused)
{
    struct emulator e[2];
    ioreq_t request = { .type = IOREQ_TYPE_INVALIDATE };
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_UNCLAIMED);
    serve_ports(&e[0], f, 0x10, 0x17);
    serve_ports(&e[1], f, 0x20, 0x27);
    g_assert_cmpint(vcpu_issue(f->guest, 3, &request, LONG_MS), ==, VCPU_ANSWERED);
    for (unsigned i = 0; i < 2; i++) {
        stop(&e[i]);
        g_assert_cmpuint(e[i].last.type, ==, IOREQ_TYPE_INVALIDATE);
        g_assert_cmphex(e[i].last.data, ==, UINT64_MAX);
        g_assert_cmpint(e[i].served, ==, 1);
    }
    start(&e[0]); /* both have to answer */
    g_assert_cmpint(vcpu_issue(f->guest, 3, &request, SHORT_MS), ==, VCPU_TIMEOUT);
    start(&e[1]);
    g_assert_cmpint(vcpu_issue(f->guest, 3, &request, LONG_MS), ==, VCPU_ANSWERED);
    detach(&e[0]);
    detach(&e[1]);
}

static bool buffered_event(struct emulator *e)
{
    struct pollfd fd = { .fd = xenevtchn_fd(e->evtchn), .events = POLLIN };
    while (poll(&fd, 1, 0) > 0) {
        int port = xenevtchn_pending(e->evtchn);
        xenevtchn_unmask(e->evtchn, port);
        if (port == (int)e->buffered_port)
            return true;
    }
    return false;
}

static void attach_buffered(struct emulator *e, struct fixture *f, ioservid_t id)
{
    evtchn_port_t port = 0;
    attach(e, f, id, true);
    assert_works(xendevicemodel_get_ioreq_server_info(f->dm, f->domid, id, NULL, NULL, &port));
    g_assert_cmpuint(port, !=, 0);
    int local = xenevtchn_bind_interdomain(e->evtchn, f->domid, port);
    g_assert_cmpint(local, >, 0);
    e->buffered_port = local;
    g_assert_true(buffered_event(e)); /* of the binding */
    g_assert_false(buffered_event(e));
}

static void test_time_offset(struct fixture *f, gconstpointer unused)
{
    struct emulator e, deaf;
    ioreq_t request = { .type = IOREQ_TYPE_TIMEOFFSET, .data = 0x1122334455667788 };
    attach(&deaf, f, create(f, OFF), false);
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_UNCLAIMED);
    attach_buffered(&e, f, create(f, ATOMIC));
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, 0), ==, VCPU_ANSWERED);
    g_assert_true(buffered_event(&e));
    g_assert_cmpuint(e.buffered->write_pointer, ==, 2);
    g_assert_cmpuint(e.buffered->buf_ioreq[0].type, ==, IOREQ_TYPE_TIMEOFFSET);
    g_assert_cmpuint(e.buffered->buf_ioreq[0].size, ==, 3);
    g_assert_cmphex(e.buffered->buf_ioreq[0].data, ==, 0x55667788);
    g_assert_cmphex(e.buffered->buf_ioreq[1].data, ==, 0x11223344);
    detach(&e);
    detach(&deaf);
}

static void test_buffered(struct fixture *f, gconstpointer unused)
{
    struct emulator e;
    ioservid_t id = create(f, ATOMIC);
    assert_works(map(f, id, 1, 0xA0000, 0x1FFFFF));
    attach_buffered(&e, f, id);
    ioreq_t request = {
        .type = IOREQ_TYPE_COPY, .addr = 0xA0010, .size = 2, .count = 1, .data = 0xBEEF
    };
    for (unsigned i = 0; i < IOREQ_BUFFER_SLOT_NUM; i++)
        g_assert_cmpint(vcpu_issue_buffered(f->guest, &request), ==, VCPU_ANSWERED);
    g_assert_cmpint(vcpu_issue_buffered(f->guest, &request), ==, VCPU_UNCLAIMED); /* full */
    g_assert_cmphex(e.buffered->buf_ioreq[510].addr, ==, 0xA0010);
    g_assert_cmphex(e.buffered->buf_ioreq[510].data, ==, 0xBEEF);
    g_assert_cmpuint(e.buffered->buf_ioreq[510].size, ==, 1);

    /* The emulator reads all; Xen brings both pointers down with its next request. */
    e.buffered->read_pointer = IOREQ_BUFFER_SLOT_NUM;
    g_assert_cmpint(vcpu_issue_buffered(f->guest, &request), ==, VCPU_ANSWERED);
    g_assert_cmpuint(e.buffered->read_pointer, ==, 0);
    g_assert_cmpuint(e.buffered->write_pointer, ==, 1);

    e.buffered->read_pointer = 0x80000000; /* nonsense does no harm */
    g_assert_cmpint(vcpu_issue_buffered(f->guest, &request), ==, VCPU_UNCLAIMED);
    e.buffered->read_pointer = e.buffered->write_pointer;
    request.addr = 0x100000; /* has no room in the ring's 20 bits */
    g_assert_cmpint(vcpu_issue_buffered(f->guest, &request), ==, VCPU_UNCLAIMED);
    request.addr = 0x9FFFF; /* nobody's */
    g_assert_cmpint(vcpu_issue_buffered(f->guest, &request), ==, VCPU_UNCLAIMED);
    detach(&e);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_test("/vcpu/unclaimed", test_unclaimed);
    add_test("/vcpu/answers", test_answers);
    add_test("/vcpu/routing", test_routing);
    add_test("/vcpu/string", test_string);
    add_test("/vcpu/pci", test_pci);
    add_test("/vcpu/timeout", test_timeout);
    add_test("/vcpu/spurious", test_spurious);
    add_test("/vcpu/backwards", test_backwards);
    add_test("/vcpu/no-event", test_no_event);
    add_test("/vcpu/unknown-state", test_unknown_state);
    add_test("/vcpu/bad-slot", test_bad_slot);
    add_test("/vcpu/bad-port", test_bad_port);
    add_test("/vcpu/enabled-early", test_enabled_early);
    add_test("/vcpu/destroyed", test_destroyed);
    add_test("/vcpu/destroyed-after", test_destroyed_after);
    add_test("/vcpu/comes-and-goes", test_comes_and_goes);
    add_test("/vcpu/taken-over", test_taken_over);
    add_test("/vcpu/vcpus", test_vcpus);
    add_test("/vcpu/invalidate", test_invalidate);
    add_test("/vcpu/time-offset", test_time_offset);
    add_test("/vcpu/buffered", test_buffered);
    return run_tests();
}
