/*
 * The doorbell of docs/writing-a-role.rst as a real process: its registers through both of its
 * BARs, messages, the level of its line, and its end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <glib/gstdio.h>

#include "tests/sim/guest/vcpu.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define PAGES (16 << 20 >> 12)
#define PATIENCE_S 10

#define SLOT 29
#define COMMAND 0x04
#define BAR0 0x10
#define BAR1 0x14
#define CAPABILITIES 0x34
#define CAPABILITY_MSIX 0x11
#define MEMORY 0xF0000000
#define PORTS 0xC000

#define SCRATCH 0x0
#define RINGS 0x4
#define RING 0x8
#define LINE 0xC
#define TABLE (MEMORY + 0x800)
#define VECTORS 4
#define MESSAGE 0xFEE00000

static const char *rolemodel;

struct fixture {
    struct guest *guest;
    char *log;
    pid_t role;
};

static pid_t run_role(struct fixture *f, const char *option)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    const char *argv[] = { rolemodel, "doorbell", "--domid", domid, "--option", option, NULL };
    return toolstack_run(f->log, argv);
}

static pid_t start_role(struct fixture *f, const char *option)
{
    pid_t pid = run_role(f, option);
    g_autofree char *path = g_strdup_printf("/local/domain/0/device-model/%u/roles/doorbell/pid",
                                            guest_domid(f->guest));
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
    if (ended != status || !strstr(log, text))
        g_error("the role ended with status %d, not %d; it said (looking for '%s'):\n%s", ended,
                status, text, log);
}

static void set_up(struct fixture *f, gconstpointer unused)
{
    struct toolstack_guest guest = { "hvm", 1, PAGES };
    int fd = g_file_open_tmp("test-doorbell-XXXXXX", &f->log, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    f->guest = toolstack_create(&guest);
    f->role = start_role(f, "poll=off");
    vcpu_config_write(f->guest, SLOT, 0, BAR0, 4, MEMORY);
    vcpu_config_write(f->guest, SLOT, 0, BAR1, 4, PORTS);
    vcpu_config_write(f->guest, SLOT, 0, COMMAND, 2, 7);
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
    kill(f->role, SIGTERM);
    expect_end(f, f->role, 0, "");
    toolstack_destroy(f->guest);
    g_unlink(f->log);
    g_free(f->log);
}

static uint32_t load(struct fixture *f, unsigned reg)
{
    return vcpu_load(f->guest, MEMORY + reg, 4);
}

static void store(struct fixture *f, unsigned reg, uint32_t value)
{
    vcpu_store(f->guest, MEMORY + reg, 4, value);
}

static void test_registers(struct fixture *f, gconstpointer unused)
{
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0x10F01AF4);
    g_assert_cmphex(load(f, SCRATCH), ==, 0);
    store(f, SCRATCH, 0x12345678);
    g_assert_cmphex(load(f, SCRATCH), ==, 0x12345678);
    g_assert_cmphex(load(f, RING), ==, 0xFFFFFFFF);
    g_assert_cmphex(load(f, 0x10), ==, 0xFFFFFFFF);

    /* The ports are the same registers. */
    g_assert_cmphex(vcpu_in(f->guest, PORTS + SCRATCH, 4), ==, 0x12345678);
    vcpu_out(f->guest, PORTS + SCRATCH, 4, 0x9ABC);
    g_assert_cmphex(load(f, SCRATCH), ==, 0x9ABC);
}

static unsigned messages(struct fixture *f, unsigned vector)
{
    return vcpu_msi_count(f->guest, MESSAGE, 0x40 + vector);
}

static unsigned find_msix(struct fixture *f)
{
    unsigned at = vcpu_config_read(f->guest, SLOT, 0, CAPABILITIES, 1);
    while (at && vcpu_config_read(f->guest, SLOT, 0, at, 1) != CAPABILITY_MSIX)
        at = vcpu_config_read(f->guest, SLOT, 0, at + 1, 1);
    g_assert_cmpuint(at, !=, 0);
    return at;
}

static void test_ring(struct fixture *f, gconstpointer unused)
{
    unsigned msix = find_msix(f);
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        vcpu_store(f->guest, TABLE + 16 * vector, 8, MESSAGE);
        vcpu_store(f->guest, TABLE + 16 * vector + 8, 4, 0x40 + vector);
        vcpu_store(f->guest, TABLE + 16 * vector + 12, 4, 0);
    }
    store(f, RING, 0); /* nobody hears that */
    g_assert_cmpuint(load(f, RINGS), ==, 1);
    g_assert_cmpuint(messages(f, 0), ==, 0);

    vcpu_config_write(f->guest, SLOT, 0, msix + 2, 2, 0x8000);
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        for (unsigned i = 0; i <= vector; i++)
            store(f, RING, vector);
        g_assert_cmpuint(messages(f, vector), ==, vector + 1);
    }
    vcpu_out(f->guest, PORTS + RING, 4, 3);
    g_assert_cmpuint(messages(f, 3), ==, 5);
    store(f, RING, VECTORS); /* there is no such vector */
    store(f, RING, 0xFFFFFFFF);
    g_assert_cmpuint(load(f, RINGS), ==, 1 + 10 + 1 + 2);
    for (unsigned vector = 0; vector < VECTORS; vector++)
        g_assert_cmpuint(messages(f, vector), ==, vector == 3 ? 5 : vector + 1);
}

static void test_line(struct fixture *f, gconstpointer unused)
{
    g_assert_cmpuint(vcpu_intx_level(f->guest, SLOT, 0), ==, 0);
    store(f, LINE, 0xFF);
    g_assert_cmphex(load(f, LINE), ==, 1);
    g_assert_cmpuint(vcpu_intx_level(f->guest, SLOT, 0), ==, 1);
    store(f, LINE, 2);
    g_assert_cmphex(load(f, LINE), ==, 0);
    g_assert_cmpuint(vcpu_intx_level(f->guest, SLOT, 0), ==, 0);
}

static int ask(struct fixture *f, const char *vector)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    const char *argv[] = { rolemodel, "doorbell", "ring", domid, vector, NULL };
    return toolstack_wait(toolstack_run(f->log, argv));
}

/* The administrator rings. */
static void test_command(struct fixture *f, gconstpointer unused)
{
    g_assert_cmpint(ask(f, "0"), ==, 0);
    g_assert_cmpint(ask(f, "3"), ==, 0);
    g_assert_cmpuint(load(f, RINGS), ==, 2);
    g_assert_cmpint(ask(f, "gently"), ==, 1);
    g_assert_cmpint(ask(f, NULL), ==, 2);
    g_assert_cmpuint(load(f, RINGS), ==, 2);
}

/* A role that ends leaves no line raised, and its slot to the next. */
static void test_end(struct fixture *f, gconstpointer unused)
{
    store(f, LINE, 1);
    expect_end(f, run_role(f, "slot=29"), 1, "29");
    kill(f->role, SIGTERM);
    expect_end(f, f->role, 0, "");
    g_assert_cmpuint(vcpu_intx_level(f->guest, SLOT, 0), ==, 0);
    g_assert_cmphex(load(f, SCRATCH), ==, 0xFFFFFFFF);
    f->role = start_role(f, "slot=29");
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, 0, 4), ==, 0x10F01AF4);
}

static void test_options(struct fixture *f, gconstpointer unused)
{
    expect_end(f, run_role(f, "slot=32"), 1, "a number from 1 to 31");
    expect_end(f, run_role(f, "poll=on"), 1, "it is auto or off");
    expect_end(f, run_role(f, "volume=11"), 1, "it has: slot, poll");
    pid_t second = start_role(f, "slot=28");
    g_assert_cmphex(vcpu_config_read(f->guest, 28, 0, 0, 4), ==, 0x10F01AF4);
    kill(second, SIGTERM);
    expect_end(f, second, 0, "");
}

static void add(const char *path, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 2)
        g_error("usage: %s PATH-OF-ROLEMODEL-WITH-THE-DOORBELL", argv[0]);
    rolemodel = argv[1];
    sim_start();
    add("/doorbell/registers", test_registers);
    add("/doorbell/ring", test_ring);
    add("/doorbell/line", test_line);
    add("/doorbell/command", test_command);
    add("/doorbell/end", test_end);
    add("/doorbell/options", test_options);
    int status = g_test_run();
    sim_stop();
    return status;
}
