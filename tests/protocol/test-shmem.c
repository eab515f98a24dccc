/*
 * The shmem role as a real process, driven by the guest's vCPUs: its registers, requests that make
 * no sense, its end, and Debian's QEMU beside it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "role.h"
#include "tests/protocol/stop.h"
#include "tests/sim/guest/vcpu.h"
#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define VCPUS 4
#define PAGES (64 << 20 >> 12)
#define PATIENCE_S 10
#define PATIENCE_MS (PATIENCE_S * 1000)
#define LOG_BYTES 16384 /* what a role may say during one test */

#define SLOT 30
#define COMMAND 0x04
#define CLASS 0x08
#define BAR0 0x10
#define DECODE 0x0002
#define WINDOW 0xF0000000
#define WINDOW_SIZE 256

#define INTR_MASK (WINDOW + 0x0)
#define INTR_STATUS (WINDOW + 0x4)
#define IV_POSITION (WINDOW + 0x8)
#define DOORBELL (WINDOW + 0xC)

#define QEMU "/usr/libexec/xen-qemu-system-i386"

static const char *rolemodel;

struct fixture {
    struct guest *guest; /* NULL once it is destroyed */
    char *log;
    pid_t role; /* 0 once it has ended */
};

/* --- the role --- */

static pid_t run_role(struct fixture *f, const char *option)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    const char *argv[] = { rolemodel, "shmem", "--domid", domid, option ? "--option" : NULL,
                           option,    NULL };
    return toolstack_run(f->log, argv);
}

/* A role that was started by hand notes its pid when it is ready. */
static pid_t start_role(struct fixture *f, const char *option)
{
    pid_t pid = run_role(f, option);
    g_autofree char *path =
        g_strdup_printf("/local/domain/0/device-model/%u/roles/shmem/pid", guest_domid(f->guest));
    g_autofree char *value = g_strdup_printf("%d", pid);
    if (!toolstack_await(path, value, PATIENCE_S))
        g_error("the role did not become ready");
    return pid;
}

static void expect_end(struct fixture *f, pid_t role, int status, const char *text)
{
    g_autofree char *log = NULL;
    int ended = toolstack_wait(role);
    if (!g_file_get_contents(f->log, &log, NULL, NULL))
        log = g_strdup("");
    if (ended != status || (text && !strstr(log, text)) || strlen(log) > LOG_BYTES)
        g_error("the role ended with status %d, not %d; it said (looking for '%s'):\n%s", ended,
                status, text ? text : "", log);
}

static void set_up(struct fixture *f, gconstpointer type)
{
    struct toolstack_guest guest = { type ? type : "hvm", VCPUS, PAGES };
    int fd = g_file_open_tmp("test-shmem-XXXXXX", &f->log, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    f->guest = toolstack_create(&guest);
    f->role = type ? 0 : start_role(f, NULL);
}

static void tear_down(struct fixture *f, gconstpointer type)
{
    if (f->role) {
        kill(f->role, SIGTERM);
        expect_end(f, f->role, 0, NULL);
    }
    if (f->guest)
        toolstack_destroy(f->guest);
    g_unlink(f->log);
    g_free(f->log);
}

static unsigned count_servers(const struct fixture *f)
{
    const struct sim_domain *domain = sim_domain(guest_domid(f->guest));
    unsigned count = 0;
    for (unsigned i = 0; i < SIM_IOREQ_SERVERS; i++)
        count += domain->ioreq.servers[i].used;
    return count;
}

/* --- as its driver uses it --- */

static void map_window(struct fixture *f, unsigned slot, uint32_t address)
{
    vcpu_config_write(f->guest, slot, 0, BAR0, 4, address);
    vcpu_config_write(f->guest, slot, 0, COMMAND, 2, DECODE);
}

static void test_configuration(struct fixture *f, gconstpointer type)
{
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0x11101AF4);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 1, 1), ==, 0x1A);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, CLASS, 4), ==, 0x05000001);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 1, 0, 4), ==, 0xFFFFFFFF);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT - 1, 0, 0, 4), ==, 0xFFFFFFFF);
    vcpu_config_write(f->guest, SLOT, 0, BAR0, 4, 0xFFFFFFFF);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, BAR0, 4), ==, 0xFFFFFF00);

    /* Through the ports, as firmware does. */
    vcpu_out(f->guest, 0xCF8, 4, 0x80000000 | SLOT << 11);
    g_assert_cmphex(vcpu_in(f->guest, 0xCFC, 4), ==, 0x11101AF4);
    g_assert_cmphex(vcpu_in(f->guest, 0xCFE, 2), ==, 0x1110);
}

static void test_registers(struct fixture *f, gconstpointer type)
{
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 0xFFFFFFFF); /* not mapped yet */
    map_window(f, SLOT, WINDOW);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 0);
    vcpu_store(f->guest, INTR_MASK, 4, 0x12345678);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 0x12345678);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK + 1, 2), ==, 0x3456);
    vcpu_store(f->guest, INTR_STATUS, 4, 5);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 8), ==, 0x512345678);
    g_assert_cmphex(vcpu_load(f->guest, INTR_STATUS, 4), ==, 0); /* reading clears it */
    g_assert_cmphex(vcpu_load(f->guest, IV_POSITION, 4), ==, 0);
    g_assert_cmphex(vcpu_load(f->guest, DOORBELL, 4), ==, 0xFFFFFFFF);

    /* The window goes where the guest puts it. */
    map_window(f, SLOT, WINDOW + 0x100000);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 0xFFFFFFFF);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK + 0x100000, 4), ==, 0x12345678);
    vcpu_config_write(f->guest, SLOT, 0, COMMAND, 2, 0);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK + 0x100000, 4), ==, 0xFFFFFFFF);
}

/* rep movs: the data of all repetitions is in the guest's memory. */
static void test_string(struct fixture *f, gconstpointer type)
{
    uint32_t *data = guest_alloc(f->guest, 2);
    uint64_t address = guest_gfn(f->guest, data) * GUEST_PAGE;
    ioreq_t request = { .type = IOREQ_TYPE_COPY,
                        .addr = WINDOW,
                        .size = 4,
                        .count = WINDOW_SIZE / 4,
                        .dir = IOREQ_READ,
                        .data_is_ptr = 1,
                        .data = address + GUEST_PAGE - 8 };

    map_window(f, SLOT, WINDOW);
    vcpu_store(f->guest, INTR_MASK, 4, 0xABCD);
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, PATIENCE_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(data[1021], ==, 0);
    g_assert_cmphex(data[1022], ==, 0xABCD);
    g_assert_cmphex(data[1024], ==, 0);          /* IVPosition */
    g_assert_cmphex(data[1025], ==, 0xFFFFFFFF); /* Doorbell */

    /* Downwards, into the registers. */
    request.dir = IOREQ_WRITE;
    request.df = 1;
    request.count = 2;
    request.addr = INTR_STATUS;
    request.data = address + 4;
    data[0] = 0x1111;
    data[1] = 0x2222;
    g_assert_cmpint(vcpu_issue(f->guest, 1, &request, PATIENCE_MS), ==, VCPU_ANSWERED);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 8), ==, 0x222200001111);
}

/* --- requests that make no sense, which a vCPU waits for all the same --- */

static void issue_nonsense(struct fixture *f, ioreq_t request)
{
    enum vcpu_outcome outcome = vcpu_issue(f->guest, 2, &request, PATIENCE_MS);
    if (outcome != VCPU_ANSWERED && outcome != VCPU_UNCLAIMED)
        g_error("type %u, address %#" PRIx64 ", size %u, count %u: outcome %d", request.type,
                request.addr, request.size, request.count, outcome);
}

static void test_nonsense(struct fixture *f, gconstpointer type)
{
    static const uint32_t sizes[] = { 0, 1, 3, 4, 5, 8, 9, 255, 256, 4096, 0x80000000, UINT32_MAX };
    static const uint32_t counts[] = { 0, 1, 2, 64, 4096, 4097, 0x10000000, UINT32_MAX };
    static const uint64_t data[] = { 0, GUEST_PAGE - 1, UINT64_MAX - 3, UINT64_C(1) << 47 };
    const uint64_t addresses[] = { WINDOW, WINDOW + WINDOW_SIZE - 1,
                                   (uint64_t)(SLOT << 3) << 32 | 0,
                                   (uint64_t)(SLOT << 3) << 32 | 0xFE,
                                   (uint64_t)(SLOT << 3) << 32 | 0xFFFFFFFF };

    map_window(f, SLOT, WINDOW);
    for (unsigned i = 0;
         i < G_N_ELEMENTS(sizes) * G_N_ELEMENTS(counts) * G_N_ELEMENTS(addresses) * 8; i++) {
        unsigned rest = i / 8;
        uint64_t address = addresses[rest % G_N_ELEMENTS(addresses)];
        rest /= G_N_ELEMENTS(addresses);
        ioreq_t request = { .type = address >> 32 ? IOREQ_TYPE_PCI_CONFIG : IOREQ_TYPE_COPY,
                            .addr = address,
                            .dir = i & 1,
                            .df = i >> 1 & 1,
                            .data_is_ptr = i >> 2 & 1,
                            .data = data[i / 8 % G_N_ELEMENTS(data)],
                            .size = sizes[rest % G_N_ELEMENTS(sizes)],
                            .count = counts[rest / G_N_ELEMENTS(sizes)] };
        issue_nonsense(f, request);
    }
    map_window(f, SLOT, WINDOW);
    vcpu_store(f->guest, INTR_MASK, 4, 7);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 7);
    g_assert_null(vcpu_crash_reason(f->guest));
}

/* Xen asks every server to forget mappings; the guest's clock concerns only those with a ring. */
static void test_broadcasts(struct fixture *f, gconstpointer type)
{
    ioreq_t request = { .type = IOREQ_TYPE_INVALIDATE };
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, PATIENCE_MS), ==, VCPU_ANSWERED);
    request = (ioreq_t){ .type = IOREQ_TYPE_TIMEOFFSET, .data = 1 };
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, PATIENCE_MS), ==, VCPU_UNCLAIMED);
}

/* --- several vCPUs, and the end --- */

#define MASK 0x12345678

struct load {
    struct fixture *f;
    unsigned vcpu;
    gint *stop;
    unsigned answered, unclaimed, others;
};

static gpointer read_window(gpointer opaque)
{
    struct load *load = opaque;
    while (!g_atomic_int_get(load->stop)) {
        ioreq_t request = {
            .type = IOREQ_TYPE_COPY, .addr = INTR_MASK, .size = 4, .count = 1, .dir = IOREQ_READ
        };
        enum vcpu_outcome outcome = vcpu_issue(load->f->guest, load->vcpu, &request, PATIENCE_MS);
        if (outcome == VCPU_ANSWERED && (uint32_t)request.data == MASK)
            load->answered++;
        else if (outcome == VCPU_UNCLAIMED)
            load->unclaimed++;
        else
            load->others++;
    }
    return NULL;
}

/* A role that is told to end answers what is under way, and vCPUs go on without it. */
static void test_end(struct fixture *f, gconstpointer type)
{
    struct load load[VCPUS];
    GThread *threads[VCPUS];
    gint stop = 0;

    map_window(f, SLOT, WINDOW);
    vcpu_store(f->guest, INTR_MASK, 4, MASK);
    for (unsigned i = 0; i < VCPUS; i++) {
        load[i] = (struct load){ f, i, &stop, 0, 0, 0 };
        threads[i] = g_thread_new("vcpu", read_window, &load[i]);
    }
    g_usleep(200000);
    kill(f->role, SIGTERM);
    expect_end(f, f->role, 0, NULL);
    f->role = 0;
    g_assert_cmpuint(count_servers(f), ==, 0);
    g_usleep(300000); /* one that was woken just before the end may take 100 ms to notice */
    g_atomic_int_set(&stop, 1);
    for (unsigned i = 0; i < VCPUS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpuint(load[i].answered, >, 0);
        g_assert_cmpuint(load[i].unclaimed, >, 0);
        g_assert_cmpuint(load[i].others, ==, 0);
    }
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0xFFFFFFFF);
}

/* A role that is killed leaves its server behind; a new one has a younger server, which wins. */
static void test_killed(struct fixture *f, gconstpointer type)
{
    ioreq_t request = { .type = IOREQ_TYPE_PCI_CONFIG,
                        .addr = (uint64_t)(SLOT << 3) << 32,
                        .size = 4,
                        .count = 1,
                        .dir = IOREQ_READ };
    kill(f->role, SIGKILL);
    expect_end(f, f->role, -SIGKILL, NULL);
    g_assert_cmpint(vcpu_issue(f->guest, 3, &request, 50), ==, VCPU_TIMEOUT);
    f->role = start_role(f, NULL);
    g_assert_cmpuint(count_servers(f), ==, 2);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0x11101AF4);
    g_assert_cmpint(vcpu_issue(f->guest, 3, &request, 50), ==, VCPU_TIMEOUT); /* for ever */
}

static void test_guest_ends(struct fixture *f, gconstpointer type)
{
    map_window(f, SLOT, WINDOW);
    toolstack_destroy(f->guest);
    f->guest = NULL;
    expect_end(f, f->role, 0, NULL);
    f->role = 0;
}

static void test_slots(struct fixture *f, gconstpointer type)
{
    g_autofree char *primary =
        g_strdup_printf("/local/domain/%u/image/device-model-pid", guest_domid(f->guest));
    pid_t roles[SIM_IOREQ_SERVERS];

    toolstack_write(primary, "77");
    for (unsigned i = 1; i < SIM_IOREQ_SERVERS; i++) {
        g_autofree char *option = g_strdup_printf("slot=%u", i);
        roles[i] = start_role(f, option);
        map_window(f, i, WINDOW + i * WINDOW_SIZE);
        vcpu_store(f->guest, INTR_MASK + i * WINDOW_SIZE, 4, i);
    }
    for (unsigned i = 1; i < SIM_IOREQ_SERVERS; i++)
        g_assert_cmphex(vcpu_load(f->guest, INTR_MASK + i * WINDOW_SIZE, 4), ==, i);
    expect_end(f, run_role(f, "slot=20"), 1, "served by the primary device model, shmem (see");
    expect_end(f, run_role(f, "slot=20"), 1, "8 ioreq servers already");
    for (unsigned i = 1; i < SIM_IOREQ_SERVERS; i++) {
        kill(roles[i], SIGTERM);
        expect_end(f, roles[i], 0, NULL);
    }
}

/* --- its supervisor, which is the test --- */

static pid_t start_supervised(struct fixture *f, int *supervisor)
{
    int ends[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), ==, 0);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    g_autofree char *fd = g_strdup_printf("%d", ends[1]);
    const char *argv[] = { rolemodel, "shmem", "--domid", domid, "--notify-fd", fd, NULL };
    pid_t pid = toolstack_run(f->log, argv);
    close(ends[1]);
    *supervisor = ends[0];
    return pid;
}

static char hear(int supervisor)
{
    struct pollfd fd = { .fd = supervisor, .events = POLLIN };
    char answer = '\0';
    g_assert_cmpint(poll(&fd, 1, PATIENCE_MS), ==, 1);
    g_assert_cmpint(read(supervisor, &answer, 1), ==, 1);
    return answer;
}

static char ask(int supervisor)
{
    static const char question = ROLE_QUESTION;
    g_assert_cmpint(write(supervisor, &question, 1), ==, 1);
    return hear(supervisor);
}

/* The thread has come round by the second question or, on a busy host, a later one. */
static void assert_goes_on(int supervisor)
{
    ask(supervisor);
    for (unsigned i = 0; i < PATIENCE_MS; i++) {
        g_usleep(1000);
        if (ask(supervisor) == ROLE_GOES_ON)
            return;
    }
    g_error("the role does not go on");
}

static void test_asked(struct fixture *f, gconstpointer type)
{
    int supervisor;
    f->role = start_supervised(f, &supervisor);
    g_assert_cmpint(hear(supervisor), ==, ROLE_GOES_ON);
    for (unsigned i = 0; i < 5; i++)
        assert_goes_on(supervisor);
    map_window(f, SLOT, WINDOW);

    pid_t thread = thread_stop(f->role, "ioreq");
    ask(supervisor);
    for (unsigned i = 0; i < 10; i++)
        g_assert_cmpint(ask(supervisor), ==, ROLE_HANGS);
    thread_continue(thread);
    assert_goes_on(supervisor);
    vcpu_store(f->guest, INTR_MASK, 4, 7);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 7);
    close(supervisor);
}

/* A supervisor that reads nothing, and then is gone. */
static void test_deserted(struct fixture *f, gconstpointer type)
{
    static const char question = ROLE_QUESTION;
    int supervisor;
    f->role = start_supervised(f, &supervisor);
    g_assert_cmpint(hear(supervisor), ==, ROLE_GOES_ON);
    g_assert_cmpint(write(supervisor, &question, 1), ==, 1);
    map_window(f, SLOT, WINDOW);
    vcpu_store(f->guest, INTR_MASK, 4, 7);
    close(supervisor);
    for (unsigned i = 0; i < 20; i++) {
        g_usleep(10000);
        g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 7);
    }
}

/* --- what cannot work --- */

static void test_wrong_type(struct fixture *f, gconstpointer type)
{
    expect_end(f, run_role(f, NULL), 1, "has no emulated PCI bus");
}

/* Whatever Xen refuses, the role says so and leaves nothing behind. */
static void test_faults(struct fixture *f, gconstpointer type)
{
    static const char *const calls[] = { "xendevicemodel_open",
                                         "xendevicemodel_nr_vcpus",
                                         "xendevicemodel_create_ioreq_server",
                                         "xendevicemodel_map_pcidev_to_ioreq_server",
                                         "xendevicemodel_set_ioreq_server_state",
                                         "xenforeignmemory_open",
                                         "xenforeignmemory_map_resource",
                                         "xenevtchn_open",
                                         "xenevtchn_bind_interdomain" };

    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        sim_fault(&(struct sim_fault){ .call = calls[i], .times = 1, .error = ENOSPC });
        expect_end(f, run_role(f, NULL), 1, g_strerror(ENOSPC));
        g_assert_cmpuint(sim_fault_struck(calls[i]), ==, 1);
        sim_fault_clear();
        g_assert_cmpuint(count_servers(f), ==, 0);
    }
}

/* --- Debian's QEMU as the primary emulator --- */

static void test_beside_qemu(struct fixture *f, gconstpointer type)
{
    g_autofree char *state =
        g_strdup_printf("/local/domain/0/device-model/%u/state", guest_domid(f->guest));

    if (access(QEMU, X_OK) < 0) {
        g_test_skip(QEMU " is not there");
        return;
    }
    pid_t qemu = toolstack_run_device_model(f->guest, f->log, QEMU, NULL);
    g_assert_true(toolstack_await(state, "running", PATIENCE_S));
    g_assert_cmphex(vcpu_config_read(f->guest, 0, 0, 0, 4), ==, 0x12378086);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0xFFFFFFFF);
    f->role = start_role(f, NULL);
    map_window(f, SLOT, WINDOW);
    vcpu_store(f->guest, INTR_MASK, 4, 0x55);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0x11101AF4);
    g_assert_cmphex(vcpu_config_read(f->guest, 0, 0, 0, 4), ==, 0x12378086);
    vcpu_out(f->guest, 0x70, 1, 0x0D); /* the RTC's register D: the battery is well */
    g_assert_cmphex(vcpu_in(f->guest, 0x71, 1), ==, 0x80);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 0x55);

    ioreq_t request = { .type = IOREQ_TYPE_INVALIDATE };
    g_assert_cmpint(vcpu_issue(f->guest, 0, &request, PATIENCE_MS), ==, VCPU_ANSWERED);
    kill(qemu, SIGHUP);
    g_assert_cmpint(toolstack_wait(qemu), ==, 0);
    g_assert_cmphex(vcpu_load(f->guest, INTR_MASK, 4), ==, 0x55);
}

static void add(const char *path, const char *type, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, type, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 2)
        g_error("usage: %s PATH-OF-ROLEMODEL", argv[0]);
    rolemodel = argv[1];
    sim_start();
    add("/shmem/configuration", NULL, test_configuration);
    add("/shmem/registers", NULL, test_registers);
    add("/shmem/string", NULL, test_string);
    add("/shmem/nonsense", NULL, test_nonsense);
    add("/shmem/broadcasts", NULL, test_broadcasts);
    add("/shmem/end", NULL, test_end);
    add("/shmem/killed", NULL, test_killed);
    add("/shmem/guest-ends", NULL, test_guest_ends);
    add("/shmem/slots", NULL, test_slots);
    add("/shmem/asked", "hvm", test_asked);
    add("/shmem/deserted", "hvm", test_deserted);
    add("/shmem/pv", "pv", test_wrong_type);
    add("/shmem/pvh", "pvh", test_wrong_type);
    add("/shmem/faults", "hvm", test_faults);
    add("/shmem/beside-qemu", "hvm", test_beside_qemu);
    int status = g_test_run();
    sim_stop();
    return status;
}
