/*
 * What tests of ioreq servers need: an HVM domain of a bare simulated host, and emulators for it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef UNIT_EMULATOR_H
#define UNIT_EMULATOR_H

#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_*, hvmmem_type_t */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xen/memory.h>
#include <glib.h>

#include "tests/sim/guest/vcpu.h"
#include "tests/sim/hypervisor/hypervisor.h"

#define VCPUS 4
#define PAGES 64
#define SHORT_MS 50
#define LONG_MS 10000

#define OFF HVM_IOREQSRV_BUFIOREQ_OFF
#define ATOMIC HVM_IOREQSRV_BUFIOREQ_ATOMIC

/* A domain, and the handles of its emulators. */
struct fixture {
    struct guest *guest;
    unsigned domid;
    xendevicemodel_handle *dm;
    xenforeignmemory_handle *memory;
};

static inline void set_up(struct fixture *f, gconstpointer unused)
{
    int domid = sim_domain_create(VCPUS, PAGES, true);
    g_assert_cmpint(domid, >, 0);
    f->domid = domid;
    f->guest = guest_open(domid);
    f->dm = xendevicemodel_open(NULL, 0);
    f->memory = xenforeignmemory_open(NULL, 0);
    g_assert_nonnull(f->dm);
    g_assert_nonnull(f->memory);
}

static inline void tear_down(struct fixture *f, gconstpointer unused)
{
    guest_close(f->guest);
    g_assert_cmpint(xendevicemodel_close(f->dm), ==, 0);
    g_assert_cmpint(xenforeignmemory_close(f->memory), ==, 0);
    g_assert_cmpint(sim_domain_destroy(f->domid), ==, 0);
}

#define assert_fails(call, error)                                                                  \
    do {                                                                                           \
        errno = 0;                                                                                 \
        g_assert_cmpint(call, ==, -1);                                                             \
        g_assert_cmpint(errno, ==, error);                                                         \
    } while (0)

#define assert_works(call) g_assert_cmpint(call, ==, 0)

static inline ioservid_t create(struct fixture *f, int buffered)
{
    ioservid_t id = 99;
    assert_works(xendevicemodel_create_ioreq_server(f->dm, f->domid, buffered, &id));
    return id;
}

static inline int map(struct fixture *f, ioservid_t id, int is_mmio, uint64_t first, uint64_t last)
{
    return xendevicemodel_map_io_range_to_ioreq_server(f->dm, f->domid, id, is_mmio, first, last);
}

static inline int unmap(struct fixture *f, ioservid_t id, int is_mmio, uint64_t first,
                        uint64_t last)
{
    return xendevicemodel_unmap_io_range_from_ioreq_server(f->dm, f->domid, id, is_mmio, first,
                                                           last);
}

static inline int enable(struct fixture *f, ioservid_t id, int enabled)
{
    return xendevicemodel_set_ioreq_server_state(f->dm, f->domid, id, enabled);
}

/* A thread that answers a server's requests. */
struct emulator {
    struct fixture *f;
    ioservid_t id;
    xenforeignmemory_resource_handle *resource;
    buffered_iopage_t *buffered; /* only if the server has one */
    ioreq_t *slots;
    xenevtchn_handle *evtchn;
    evtchn_port_t ports[VCPUS], buffered_port;
    GThread *thread;
    gint stop;
    gint served;   /* requests */
    gint spurious; /* notifications before the answer */
    uint64_t answer;
    ioreq_t last; /* valid once it was answered and the emulator has stopped */
};

static inline bool serve(struct emulator *e, unsigned vcpu)
{
    _Atomic uint8_t *state = (_Atomic uint8_t *)((uint8_t *)&e->slots[vcpu] + 30);
    if ((atomic_load(state) & 15) != STATE_IOREQ_READY)
        return false;
    e->last = e->slots[vcpu];
    atomic_store(state, (atomic_load(state) & ~15) | STATE_IOREQ_INPROCESS);
    for (int i = 0; i < g_atomic_int_get(&e->spurious); i++) {
        xenevtchn_notify(e->evtchn, e->ports[vcpu]);
        g_usleep(1000);
    }
    if (e->last.dir == IOREQ_READ)
        e->slots[vcpu].data = e->answer + e->last.addr;
    g_atomic_int_inc(&e->served);
    atomic_store(state, (atomic_load(state) & ~15) | STATE_IORESP_READY);
    xenevtchn_notify(e->evtchn, e->ports[vcpu]);
    return true;
}

static inline void on_event(struct emulator *e)
{
    int port = xenevtchn_pending(e->evtchn);
    if (port < 0)
        return;
    xenevtchn_unmask(e->evtchn, port);
    for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++) {
        if (e->ports[vcpu] == (evtchn_port_t)port)
            serve(e, vcpu);
    }
}

static inline gpointer emulate(gpointer opaque)
{
    struct emulator *e = opaque;
    while (!g_atomic_int_get(&e->stop)) {
        struct pollfd fd = { .fd = xenevtchn_fd(e->evtchn), .events = POLLIN };
        if (poll(&fd, 1, 10) > 0)
            on_event(e);
    }
    return NULL;
}

/* Maps the server's pages, enables it and binds its ports, as emulators do; no thread yet. */
static inline void attach(struct emulator *e, struct fixture *f, ioservid_t id, bool buffered)
{
    void *pages = NULL;

    *e = (struct emulator){ .f = f, .id = id };
    e->resource =
        xenforeignmemory_map_resource(f->memory, f->domid, XENMEM_resource_ioreq_server, id,
                                      !buffered, 1 + buffered, &pages, PROT_READ | PROT_WRITE, 0);
    g_assert_nonnull(e->resource);
    e->buffered = buffered ? pages : NULL;
    e->slots = (ioreq_t *)((uint8_t *)pages + buffered * SIM_PAGE);
    assert_works(enable(f, id, 1));
    e->evtchn = xenevtchn_open(NULL, 0);
    g_assert_nonnull(e->evtchn);
    for (unsigned vcpu = 0; vcpu < VCPUS; vcpu++) {
        g_assert_cmpuint(e->slots[vcpu].vp_eport, !=, 0);
        int port = xenevtchn_bind_interdomain(e->evtchn, f->domid, e->slots[vcpu].vp_eport);
        g_assert_cmpint(port, >, 0);
        e->ports[vcpu] = port;
    }
}

static inline void start(struct emulator *e)
{
    e->thread = g_thread_new("emulator", emulate, e);
}

static inline void stop(struct emulator *e)
{
    g_atomic_int_set(&e->stop, 1);
    if (e->thread)
        g_thread_join(e->thread);
    e->thread = NULL;
    g_atomic_int_set(&e->stop, 0);
}

static inline void detach(struct emulator *e)
{
    stop(e);
    assert_works(xenevtchn_close(e->evtchn));
    assert_works(xenforeignmemory_unmap_resource(e->f->memory, e->resource));
}

/* A server for ports FIRST to LAST with an emulator that runs. */
static inline void serve_ports(struct emulator *e, struct fixture *f, uint64_t first, uint64_t last)
{
    ioservid_t id = create(f, OFF);
    assert_works(map(f, id, 0, first, last));
    attach(e, f, id, false);
    start(e);
}

static inline ioreq_t read_port(uint64_t port, unsigned size)
{
    return (ioreq_t){
        .type = IOREQ_TYPE_PIO, .addr = port, .size = size, .count = 1, .dir = IOREQ_READ
    };
}

/* --- the program --- */

static inline void add_test(const char *path, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

/* Runs the tests on a host of their own, which is removed. */
static inline int run_tests(void)
{
    const char *name;
    g_autofree char *directory = g_dir_make_tmp("xensim-XXXXXX", NULL);
    g_assert_cmpint(sim_hypervisor_create(directory), >=, 0);
    int result = g_test_run();
    g_autoptr(GDir) files = g_dir_open(directory, 0, NULL);
    while ((name = g_dir_read_name(files))) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        g_assert_cmpint(unlink(path), ==, 0);
    }
    g_assert_cmpint(rmdir(directory), ==, 0);
    return result;
}

#endif
