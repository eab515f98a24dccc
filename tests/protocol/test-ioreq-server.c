/*
 * An ioreq server with several vCPUs, threads and a ring for buffered writes, in this process, on
 * the simulated hypervisor: what a role's process has under its devices (ioreq/server.h).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "ioreq/buffered.h"
#include "ioreq/group.h"
#include "ioreq/server.h"
#include "tests/sim/guest/vcpu.h"
#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define PAGES 1024
#define PATIENCE_MS 10000
#define MAX_VCPUS 20

#define MEMORY 0xF0000000
#define REGISTER_SIZE 8 /* each vCPU has one */
#define MEMORY_SIZE (MAX_VCPUS * REGISTER_SIZE)
#define SWITCH 0xF1000000 /* where a write maps and unmaps the next page */
#define HANG 0xF2000000   /* where a read hangs until it is let go */
#define VGA 0xA0000
#define VGA_SIZE 0x20000

#define LOG_ENTRIES 16384

struct setting {
    unsigned vcpus;
    const char *poll;
    bool buffered;
};

struct fixture {
    struct guest *guest;
    struct ioreq_server *server;
    uint64_t registers[MAX_VCPUS];
    bool switched;
    gint hanging;      /* atomic: a callback does, until this is 0 */
    gint inside;       /* atomic: callbacks that run */
    unsigned overlaps; /* how often there were two of them */
    struct {
        uint64_t offset, value;
        unsigned size;
    } log[LOG_ENTRIES]; /* of writes to the VGA window */
    unsigned logged;
};

static gint warnings; /* atomic */

/* --- the devices --- */

static void enter(struct fixture *f)
{
    f->overlaps += g_atomic_int_add(&f->inside, 1) != 0;
}

static void leave(struct fixture *f)
{
    g_atomic_int_add(&f->inside, -1);
}

static uint64_t memory_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fixture *f = opaque;
    uint64_t value;
    enter(f);
    memcpy(&value, (uint8_t *)f->registers + offset, sizeof(value));
    leave(f);
    return value;
}

static void memory_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fixture *f = opaque;
    enter(f);
    memcpy((uint8_t *)f->registers + offset, &value, size);
    leave(f);
}

static const struct ioreq_ops memory_ops = { memory_read, memory_write };

/* As a PCI function whose BAR is switched on and off. */
static void switch_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fixture *f = opaque;
    enter(f);
    if (value && !f->switched)
        f->switched = ioreq_server_map(f->server, IOREQ_MEMORY, SWITCH + GUEST_PAGE, GUEST_PAGE,
                                       &memory_ops, f, NULL);
    else if (!value && f->switched)
        ioreq_server_unmap(f->server, IOREQ_MEMORY, SWITCH + GUEST_PAGE, GUEST_PAGE);
    f->switched = value != 0;
    leave(f);
}

static uint64_t switch_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct fixture *)opaque)->switched;
}

static const struct ioreq_ops switch_ops = { switch_read, switch_write };

static uint64_t hang_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fixture *f = opaque;
    g_atomic_int_set(&f->hanging, 1);
    while (g_atomic_int_get(&f->hanging))
        g_usleep(1000);
    return 0;
}

static const struct ioreq_ops hang_ops = { hang_read, memory_write };

static uint64_t vga_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((struct fixture *)opaque)->logged;
}

static void vga_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fixture *f = opaque;
    enter(f);
    g_assert_cmpuint(f->logged, <, LOG_ENTRIES);
    f->log[f->logged].offset = offset;
    f->log[f->logged].size = size;
    f->log[f->logged++].value = value;
    leave(f);
}

static const struct ioreq_ops vga_ops = { vga_read, vga_write };

/* --- the server --- */

static void map(struct fixture *f, uint64_t first, uint64_t size, const struct ioreq_ops *ops)
{
    g_autoptr(GError) error = NULL;
    ioreq_server_map(f->server, IOREQ_MEMORY, first, size, ops, f, &error);
    g_assert_no_error(error);
}

static void start_server(struct fixture *f, const struct setting *setting)
{
    g_autoptr(GError) error = NULL;
    f->server = setting->buffered ? ioreq_server_new_buffered(guest_domid(f->guest), &error)
                                  : ioreq_server_new(guest_domid(f->guest), &error);
    g_assert_no_error(error);
    g_assert_true(ioreq_server_set_poll(f->server, setting->poll, &error));
    map(f, MEMORY, MEMORY_SIZE, &memory_ops);
    map(f, SWITCH, GUEST_PAGE, &switch_ops);
    map(f, VGA, VGA_SIZE, &vga_ops);
    ioreq_server_start(f->server, &error);
    g_assert_no_error(error);
}

static void set_up(struct fixture *f, gconstpointer opaque)
{
    const struct setting *setting = opaque;
    f->guest = toolstack_create(&(struct toolstack_guest){ "hvm", setting->vcpus, PAGES });
    g_atomic_int_set(&warnings, 0);
    start_server(f, setting);
}

static void tear_down(struct fixture *f, gconstpointer setting)
{
    ioreq_server_free(f->server);
    g_assert_cmpuint(f->overlaps, ==, 0);
    g_assert_null(vcpu_crash_reason(f->guest));
    toolstack_destroy(f->guest);
}

/* The devices are the server's threads' while it runs. */
static uint64_t get_register(struct fixture *f, unsigned vcpu)
{
    ioreq_server_lock(f->server);
    uint64_t value = f->registers[vcpu];
    ioreq_server_unlock(f->server);
    return value;
}

static void set_register(struct fixture *f, unsigned vcpu, uint64_t value)
{
    ioreq_server_lock(f->server);
    f->registers[vcpu] = value;
    ioreq_server_unlock(f->server);
}

/* --- many vCPUs --- */

struct load {
    struct fixture *f;
    unsigned vcpu;
    gint *stop;       /* atomic */
    unsigned answers; /* 0 is to go on until stop */
    unsigned answered, unclaimed, wrong;
    GThread *thread;
};

static enum vcpu_outcome issue(struct load *load, uint8_t dir, uint64_t *value)
{
    ioreq_t request = { .type = IOREQ_TYPE_COPY,
                        .addr = MEMORY + load->vcpu * REGISTER_SIZE,
                        .size = REGISTER_SIZE,
                        .count = 1,
                        .dir = dir,
                        .data = *value };
    enum vcpu_outcome outcome = vcpu_issue(load->f->guest, load->vcpu, &request, PATIENCE_MS);
    *value = request.data;
    return outcome;
}

/* Counts in the vCPU's register, which has what was last written if that was answered. */
static gpointer count(gpointer opaque)
{
    struct load *load = opaque;
    uint64_t expected = 0;

    while (!g_atomic_int_get(load->stop) && (!load->answers || load->answered < load->answers)) {
        uint64_t value = 0, next = expected + 1;
        enum vcpu_outcome outcome = issue(load, IOREQ_READ, &value);
        if (outcome == VCPU_ANSWERED) {
            load->answered++;
            load->wrong += value != expected;
            outcome = issue(load, IOREQ_WRITE, &next);
        }
        if (outcome == VCPU_ANSWERED)
            expected++;
        else if (outcome == VCPU_UNCLAIMED)
            load->unclaimed++;
        else
            load->wrong++;
    }
    return NULL;
}

static void start_loads(struct fixture *f, struct load *loads, gint *stop, unsigned answers)
{
    for (unsigned i = 0; i < guest_vcpus(f->guest); i++) {
        loads[i] = (struct load){ .f = f, .vcpu = i, .stop = stop, .answers = answers };
        loads[i].thread = g_thread_new("vcpu", count, &loads[i]);
    }
}

static void join_loads(struct fixture *f, struct load *loads)
{
    for (unsigned i = 0; i < guest_vcpus(f->guest); i++) {
        g_thread_join(loads[i].thread);
        g_assert_cmpuint(loads[i].wrong, ==, 0);
    }
}

static void test_load(struct fixture *f, gconstpointer setting)
{
    struct load loads[MAX_VCPUS];
    gint stop = 0;

    start_loads(f, loads, &stop, 500);
    /* Meanwhile the main thread and a callback change the ranges. */
    for (unsigned i = 0; i < 200; i++) {
        map(f, SWITCH + (2 + i % 3) * GUEST_PAGE, GUEST_PAGE, &memory_ops);
        ioreq_server_unmap(f->server, IOREQ_MEMORY, SWITCH + (2 + i % 3) * GUEST_PAGE, GUEST_PAGE);
    }
    join_loads(f, loads);
    for (unsigned i = 0; i < guest_vcpus(f->guest); i++)
        g_assert_cmpuint(get_register(f, i), ==, 500);
}

/* --- do the threads go on? --- */

static void assert_goes_on(struct fixture *f)
{
    ioreq_server_check(f->server);
    for (unsigned i = 0; i < PATIENCE_MS; i++) {
        g_usleep(1000);
        if (ioreq_server_check(f->server))
            return;
    }
    g_error("a thread does not come round");
}

static gpointer read_and_hang(gpointer opaque)
{
    struct fixture *f = opaque;
    ioreq_t request = {
        .type = IOREQ_TYPE_COPY, .addr = HANG, .size = 4, .count = 1, .dir = IOREQ_READ
    };
    unsigned last = guest_vcpus(f->guest) - 1;
    return GINT_TO_POINTER(vcpu_issue(f->guest, last, &request, -1));
}

/* Threads that sleep, threads that are given no time to, and one whose callback hangs. */
static void test_check(struct fixture *f, gconstpointer setting)
{
    struct load loads[MAX_VCPUS];
    gint stop = 0;

    for (unsigned i = 0; i < 5; i++)
        assert_goes_on(f);
    start_loads(f, loads, &stop, 0);
    for (unsigned i = 0; i < 20; i++)
        assert_goes_on(f);
    g_atomic_int_set(&stop, 1);
    join_loads(f, loads);

    map(f, HANG, GUEST_PAGE, &hang_ops);
    GThread *vcpu = g_thread_new("vcpu", read_and_hang, f);
    while (!g_atomic_int_get(&f->hanging))
        g_usleep(1000);
    ioreq_server_check(f->server);
    for (unsigned i = 0; i < 10; i++) {
        g_usleep(1000);
        g_assert_false(ioreq_server_check(f->server));
    }
    g_atomic_int_set(&f->hanging, 0);
    assert_goes_on(f);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(vcpu)), ==, VCPU_ANSWERED);
}

static void test_switch(struct fixture *f, gconstpointer setting)
{
    for (unsigned i = 0; i < 100; i++) {
        set_register(f, 0, i);
        vcpu_store(f->guest, SWITCH, 4, 1);
        g_assert_cmpuint(vcpu_load(f->guest, SWITCH + GUEST_PAGE, 8), ==, i);
        vcpu_store(f->guest, SWITCH, 4, 0);
        g_assert_cmphex(vcpu_load(f->guest, SWITCH + GUEST_PAGE, 8), ==, UINT64_MAX);
    }
}

/* However often the server ends under load, every vCPU gets its answer or finds nobody. */
static void test_end(struct fixture *f, gconstpointer setting)
{
    for (unsigned round = 0; round < 20; round++) {
        struct load loads[MAX_VCPUS];
        gint stop = 0;

        memset(f->registers, 0, sizeof(f->registers));
        start_loads(f, loads, &stop, 0);
        g_usleep(2000);
        gint64 begin = g_get_monotonic_time();
        ioreq_server_free(f->server);
        g_assert_cmpint(g_get_monotonic_time() - begin, <, 5 * G_USEC_PER_SEC);
        g_atomic_int_set(&stop, 1);
        join_loads(f, loads);
        start_server(f, setting);
    }
}

static uint64_t processor_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A guest that was busy and is not any more costs nothing. */
static void test_idle(struct fixture *f, gconstpointer setting)
{
    for (unsigned i = 0; i < 2000; i++)
        vcpu_load(f->guest, MEMORY, 4);
    assert_goes_on(f);
    uint64_t before = processor_ns();
    g_usleep(300000);
    g_assert_cmpuint(processor_ns() - before, <, 30000000);
}

/* --- buffered writes --- */

static enum vcpu_outcome write_buffered(struct fixture *f, uint64_t address, unsigned size,
                                        uint64_t value)
{
    ioreq_t request = { .type = IOREQ_TYPE_COPY,
                        .addr = address,
                        .size = size,
                        .count = 1,
                        .dir = IOREQ_WRITE,
                        .data = value };
    return vcpu_issue_buffered(f->guest, &request);
}

static void test_buffered(struct fixture *f, gconstpointer setting)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    unsigned sent = 0;

    for (unsigned i = 0; sent < 10000; i++) {
        unsigned size = sizes[i % 4];
        uint64_t value = UINT64_C(0x0123456789ABCDEF) * (sent + 1);
        if (write_buffered(f, VGA + sent, size, value & ioreq_ones(size)) != VCPU_ANSWERED) {
            g_usleep(50); /* the ring is full */
            continue;
        }
        /* A read that comes later sees what was written before. */
        if (++sent % 1000 == 0)
            g_assert_cmpuint(vcpu_load(f->guest, VGA, 4), ==, sent);
    }
    ioreq_server_lock(f->server);
    g_assert_cmpuint(f->logged, ==, sent);
    for (unsigned i = 0; i < sent; i++) {
        g_assert_cmphex(f->log[i].offset, ==, i);
        g_assert_cmphex(f->log[i].value, ==,
                        UINT64_C(0x0123456789ABCDEF) * (i + 1) & ioreq_ones(f->log[i].size));
    }
    ioreq_server_unlock(f->server);
}

/* Without any other request: by the ring's own event. */
static void test_buffered_alone(struct fixture *f, gconstpointer setting)
{
    for (unsigned i = 0; i < 20; i++) {
        g_assert_cmpint(write_buffered(f, VGA, 4, i), ==, VCPU_ANSWERED);
        for (unsigned tries = 0, logged = 0; logged <= i; tries++) {
            g_assert_cmpuint(tries, <, PATIENCE_MS);
            g_usleep(1000);
            ioreq_server_lock(f->server);
            logged = f->logged;
            ioreq_server_unlock(f->server);
        }
    }
    /* The guest's clock: nobody here keeps one, but it is no nonsense. */
    ioreq_t request = { .type = IOREQ_TYPE_TIMEOFFSET, .data = 1 };
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, PATIENCE_MS), ==, VCPU_ANSWERED);
    vcpu_load(f->guest, VGA, 4);
    g_assert_cmpint(g_atomic_int_get(&warnings), ==, 0);
}

/* Indexes that Xen would not leave: dropped, said once, and the ring goes on. */
static void test_buffered_hostile(struct fixture *f, gconstpointer setting)
{
    static const uint32_t hostile[][2] = { { 0, 512 },        { 1, 0 },
                                           { 5, 0x80000000 }, { UINT32_MAX, UINT32_MAX - 1 },
                                           { 0, UINT32_MAX }, { 0x7FFFFFFF, 7 } };
    struct sim_ioreq_server *server = sim_domain(guest_domid(f->guest))->ioreq.servers;
    uint64_t *indexes = (uint64_t *)server->buffered_page;

    for (unsigned i = 0; i < G_N_ELEMENTS(hostile); i++) {
        __atomic_store_n(indexes, (uint64_t)hostile[i][1] << 32 | hostile[i][0], __ATOMIC_SEQ_CST);
        g_assert_cmpuint(vcpu_load(f->guest, VGA, 4), ==, i);
        g_assert_cmpint(write_buffered(f, VGA, 4, i), ==, VCPU_ANSWERED);
        g_assert_cmpuint(vcpu_load(f->guest, VGA, 4), ==, i + 1);
    }
    g_assert_cmpint(g_atomic_int_get(&warnings), ==, 1);
}

/* --- what cannot work --- */

static void test_refusals(struct fixture *f, gconstpointer setting)
{
    for (unsigned i = 0; i < 10; i++) {
        ioreq_t request = {
            .type = IOREQ_TYPE_COPY, .addr = MEMORY, .size = 3, .count = 1, .dir = IOREQ_READ
        };
        g_assert_cmpint(vcpu_issue(f->guest, 0, &request, PATIENCE_MS), ==, VCPU_ANSWERED);
        g_assert_cmphex(request.data, ==, UINT64_MAX);
    }
    g_assert_cmpint(g_atomic_int_get(&warnings), ==, 1);
}

static void expect_error(GError **error, int code, const char *text)
{
    g_assert_error(*error, G_FILE_ERROR, code);
    if (!strstr((*error)->message, text))
        g_error("'%s' is not in: %s", text, (*error)->message);
    g_clear_error(error);
}

static void test_servers(struct fixture *f, gconstpointer setting)
{
    unsigned domid = guest_domid(f->guest);
    struct ioreq_server *servers[SIM_IOREQ_SERVERS] = { NULL };
    g_autoptr(GError) error = NULL;

    for (unsigned i = 1; i < SIM_IOREQ_SERVERS; i++) {
        servers[i] = ioreq_server_new(domid, &error);
        g_assert_no_error(error);
    }
    g_assert_null(ioreq_server_new(domid, &error));
    expect_error(&error, G_FILE_ERROR_NOSPC, "8 ioreq servers already");
    for (unsigned i = 1; i < SIM_IOREQ_SERVERS; i++)
        ioreq_server_free(servers[i]);
}

static void test_ranges(struct fixture *f, gconstpointer setting)
{
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < 253; i++)
        map(f, 0xE0000000 + i * 2 * GUEST_PAGE, GUEST_PAGE, &memory_ops);
    g_assert_false(
        ioreq_server_map(f->server, IOREQ_MEMORY, 0xD0000000, GUEST_PAGE, &memory_ops, f, &error));
    g_test_message("%s", error->message);
    expect_error(&error, G_FILE_ERROR_NOMEM, "256 of memory");
    g_assert_false(
        ioreq_server_map(f->server, IOREQ_MEMORY, MEMORY + 8, 1, &memory_ops, f, &error));
    expect_error(&error, G_FILE_ERROR_EXIST, "overlaps");
    ioreq_server_unmap(f->server, IOREQ_MEMORY, 0xE0000000, GUEST_PAGE);
    map(f, 0xD0000000, GUEST_PAGE, &memory_ops);
    set_register(f, 0, 5);
    g_assert_cmphex(vcpu_load(f->guest, 0xD0000000, 4), ==, 5);
    g_assert_cmphex(vcpu_load(f->guest, 0xE0000000, 4), ==, 0xFFFFFFFF);
}

/* What was started before the failure ends, and nothing is left in Xen. */
static void test_faults(struct fixture *f, gconstpointer setting)
{
    static const struct {
        const char *call;
        unsigned skip;
    } faults[] = { { "xendevicemodel_get_ioreq_server_info", 0 },
                   { "xenforeignmemory_map_resource", 0 },
                   { "xenevtchn_open", 1 },
                   { "xenevtchn_bind_interdomain", IOREQ_GROUP_VCPUS + 3 } };

    for (unsigned i = 0; i < G_N_ELEMENTS(faults); i++) {
        g_autoptr(GError) error = NULL;
        struct ioreq_server *server = ioreq_server_new_buffered(guest_domid(f->guest), &error);
        g_assert_no_error(error);
        sim_fault(&(struct sim_fault){
            .call = faults[i].call, .skip = faults[i].skip, .times = 1, .error = ENOSPC });
        g_assert_false(ioreq_server_start(server, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC);
        g_assert_cmpuint(sim_fault_struck(faults[i].call), ==, 1);
        sim_fault_clear();
        ioreq_server_free(server);
        g_assert_false(sim_domain(guest_domid(f->guest))->ioreq.servers[1].used);
    }
}

static void test_poll_option(struct fixture *f, gconstpointer setting)
{
    g_autoptr(GError) error = NULL;
    struct ioreq_server *server = ioreq_server_new(guest_domid(f->guest), &error);
    g_assert_no_error(error);
    g_assert_true(ioreq_server_set_poll(server, NULL, &error));
    g_assert_true(ioreq_server_set_poll(server, "off", &error));
    g_assert_false(ioreq_server_set_poll(server, "on", &error));
    expect_error(&error, G_FILE_ERROR_INVAL, "auto or off");
    ioreq_server_free(server);
}

static void count_warning(const gchar *domain, GLogLevelFlags level, const gchar *message,
                          gpointer unused)
{
    g_atomic_int_inc(&warnings);
}

int main(int argc, char **argv)
{
    static const struct setting one = { 1, "auto", false }, one_blocking = { 1, "off", false },
                                eight = { 8, "auto", false }, eight_blocking = { 8, "off", false },
                                groups = { MAX_VCPUS, "auto", true },
                                groups_blocking = { MAX_VCPUS, "off", true };
    static const struct {
        const char *path;
        const struct setting *setting;
        void (*test)(struct fixture *f, gconstpointer setting);
    } tests[] = {
        { "/ioreq-server/load/1", &one, test_load },
        { "/ioreq-server/load/1-blocking", &one_blocking, test_load },
        { "/ioreq-server/load/8", &eight, test_load },
        { "/ioreq-server/load/8-blocking", &eight_blocking, test_load },
        { "/ioreq-server/load/20", &groups, test_load },
        { "/ioreq-server/load/20-blocking", &groups_blocking, test_load },
        { "/ioreq-server/check/1-blocking", &one_blocking, test_check },
        { "/ioreq-server/check/8", &eight, test_check },
        { "/ioreq-server/check/20", &groups, test_check },
        { "/ioreq-server/switch", &groups, test_switch },
        { "/ioreq-server/end/8", &eight, test_end },
        { "/ioreq-server/end/20-blocking", &groups_blocking, test_end },
        { "/ioreq-server/idle", &one, test_idle },
        { "/ioreq-server/buffered", &groups, test_buffered },
        { "/ioreq-server/buffered-blocking", &groups_blocking, test_buffered },
        { "/ioreq-server/buffered-alone", &groups, test_buffered_alone },
        { "/ioreq-server/buffered-hostile", &groups, test_buffered_hostile },
        { "/ioreq-server/refusals", &eight, test_refusals },
        { "/ioreq-server/servers", &one, test_servers },
        { "/ioreq-server/ranges", &one, test_ranges },
        { "/ioreq-server/faults", &groups, test_faults },
        { "/ioreq-server/poll-option", &one, test_poll_option },
    };
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR);
    g_log_set_handler("ioreq", G_LOG_LEVEL_WARNING, count_warning, NULL);
    sim_start();
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, struct fixture, tests[i].setting, set_up, tests[i].test,
                   tear_down);
    int status = g_test_run();
    sim_stop();
    return status;
}
