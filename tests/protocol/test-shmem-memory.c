/*
 * The memory of the shmem role as a real process has it: where it is, what the guest's moves of
 * the BAR do to it, what cannot be had, and what is left by a role that was killed.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include <xenforeignmemory.h>

#include "tests/sim/guest/vcpu.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define PAGES (64 << 20 >> 12)
#define PATIENCE_S 10

#define SLOT 30
#define COMMAND 0x04
#define BAR2 0x18
#define BAR3 0x1C
#define ONES 0xFFFFFFFF

/* Half of 40 bits of addresses, divided among 32 slots. */
#define PARKING ((UINT64_C(1) << 39) + SLOT * (UINT64_C(1) << 34))
#define GIB (UINT64_C(1) << 30)

struct fixture {
    struct guest *guest;
    xenforeignmemory_handle *foreign;
    char *log, *node;
    pid_t role; /* 0 once it has ended */
};

static const char *rolemodel;

/* --- the role --- */

static pid_t run_role(struct fixture *f, const char *size)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    g_autofree char *option = g_strdup_printf("size=%s", size);
    const char *argv[] = { rolemodel, "shmem", "--domid", domid, "--option", option, NULL };
    return toolstack_run(f->log, argv);
}

static void start_role(struct fixture *f, const char *size)
{
    f->role = run_role(f, size);
    g_autofree char *path =
        g_strdup_printf("/local/domain/0/device-model/%u/roles/shmem/pid", guest_domid(f->guest));
    g_autofree char *value = g_strdup_printf("%d", f->role);
    if (!toolstack_await(path, value, PATIENCE_S))
        g_error("the role did not become ready");
}

static void expect_end(struct fixture *f, pid_t role, int status, const char *text)
{
    g_autofree char *log = NULL;
    int ended = toolstack_wait(role);
    g_file_get_contents(f->log, &log, NULL, NULL);
    if (ended != status || !strstr(log, text))
        g_error("the role ended with status %d, not %d; it said (looking for '%s'):\n%s", ended,
                status, text, log);
}

static void end_role(struct fixture *f, int signal, int status)
{
    kill(f->role, signal);
    expect_end(f, f->role, status, "");
    f->role = 0;
}

static void set_up(struct fixture *f, gconstpointer size)
{
    struct toolstack_guest guest = { "hvm", 1, PAGES };
    int fd = g_file_open_tmp("test-shmem-XXXXXX", &f->log, NULL);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
    f->guest = toolstack_create(&guest);
    f->foreign = xenforeignmemory_open(NULL, 0);
    f->node =
        g_strdup_printf("/local/domain/0/device-model/%u/shmem/%u", guest_domid(f->guest), SLOT);
    f->role = 0;
    if (size)
        start_role(f, size);
}

static void tear_down(struct fixture *f, gconstpointer size)
{
    if (f->role)
        end_role(f, SIGTERM, 0);
    xenforeignmemory_close(f->foreign);
    toolstack_destroy(f->guest);
    g_unlink(f->log);
    g_free(f->log);
    g_free(f->node);
}

/* --- the guest and the host --- */

static void set_config(struct fixture *f, unsigned offset, uint32_t value)
{
    vcpu_config_write(f->guest, SLOT, 0, offset, 4, value);
}

static void place(struct fixture *f, uint64_t address)
{
    set_config(f, COMMAND, 0);
    set_config(f, BAR2, address);
    set_config(f, BAR3, address >> 32);
    set_config(f, COMMAND, 2);
}

static void expect_place(struct fixture *f, uint64_t address, uint64_t size, unsigned moves)
{
    g_autofree char *noted = toolstack_read(f->node);
    g_autofree char *expected =
        g_strdup_printf("0x%" PRIx64 " %" PRIu64 " %u", address >> 12, size >> 12, moves);
    g_assert_cmpstr(noted, ==, expected);
}

/* A page of the guest's physical address space as a process of dom0 sees it; NULL for nothing. */
static uint8_t *map(struct fixture *f, uint64_t address)
{
    xen_pfn_t gfn = address >> 12;
    return xenforeignmemory_map(f->foreign, guest_domid(f->guest), PROT_READ | PROT_WRITE, 1, &gfn,
                                NULL);
}

static void put(struct fixture *f, uint64_t address, uint8_t value)
{
    uint8_t *page = map(f, address);
    g_assert_nonnull(page);
    page[0] = value;
    xenforeignmemory_unmap(f->foreign, page, 1);
}

static void expect(struct fixture *f, uint64_t address, uint8_t value)
{
    uint8_t *page = map(f, address);
    g_assert_nonnull(page);
    g_assert_cmphex(page[0], ==, value);
    xenforeignmemory_unmap(f->foreign, page, 1);
}

/* --- tests --- */

static void test_moves(struct fixture *f, gconstpointer size)
{
    const uint64_t last = (8 << 20) - 4096;
    expect_place(f, PARKING, 8 << 20, 0);
    set_config(f, BAR2, ONES);
    set_config(f, BAR3, ONES);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, BAR2, 4), ==, 0xFF80000C);
    g_assert_cmphex(vcpu_config_read(f->guest, SLOT, 0, BAR3, 4), ==, ONES);
    put(f, PARKING, 0x11); /* before the guest has seen any of it */
    put(f, PARKING + last, 0x22);

    place(f, 0xE0000000);
    expect_place(f, 0xE0000000, 8 << 20, 1);
    expect(f, 0xE0000000, 0x11);
    expect(f, 0xE0000000 + last, 0x22);
    g_assert_null(map(f, PARKING));
    g_assert_null(map(f, 0xE0000000 + last + 4096));

    /* Sized again with decoding off, as Linux does: it stays. */
    set_config(f, COMMAND, 0);
    set_config(f, BAR2, ONES);
    set_config(f, BAR2, 0xE0000000);
    set_config(f, BAR3, ONES);
    set_config(f, BAR3, 0);
    set_config(f, COMMAND, 2);
    expect_place(f, 0xE0000000, 8 << 20, 1);

    /* With an address that it may not have, it is parked. */
    place(f, 0);
    expect_place(f, PARKING, 8 << 20, 2);
    place(f, 16 << 20);          /* the guest's own memory: moved nowhere */
    place(f, 0xFF000000);        /* and these are the platform's */
    place(f, UINT64_C(1) << 40); /* no vCPU reaches that */
    place(f, 0x7b0000f200000000);
    expect_place(f, PARKING, 8 << 20, 3);
    expect(f, PARKING, 0x11);
    place(f, 4 * GIB);
    expect_place(f, 4 * GIB, 8 << 20, 4);
    expect(f, 4 * GIB + last, 0x22);
}

/* Page tables of each place cost memory, so a guest has not as many as it wants. */
static void test_places(struct fixture *f, gconstpointer size)
{
    for (unsigned i = 0; i < 6; i++)
        place(f, (4 + i) * GIB);
    expect_place(f, PARKING, 1 << 20, 10); /* it is parked between two places */
    place(f, 5 * GIB);
    expect_place(f, 5 * GIB, 1 << 20, 11);
}

static void test_killed(struct fixture *f, gconstpointer size)
{
    place(f, 0xE0000000);
    put(f, 0xE0000000, 0x77);
    end_role(f, SIGKILL, -SIGKILL);
    expect_end(f, run_role(f, "2M"), 1, "the guest has 1 MiB of shared memory in slot 30");
    start_role(f, "1M");
    expect_place(f, 0xE0000000, 1 << 20, 1);
    expect(f, 0xE0000000, 0x77);
    place(f, 0xE8000000);
    expect_place(f, 0xE8000000, 1 << 20, 2);
    expect(f, 0xE8000000, 0x77);

    /* Told to end it leaves the memory, too. */
    end_role(f, SIGTERM, 0);
    expect(f, 0xE8000000, 0x77);

    toolstack_write(f->node, "moving 256 3");
    expect_end(f, run_role(f, "1M"), 1, "killed in the middle of a move");
}

static void test_sizes(struct fixture *f, gconstpointer unused)
{
    static const char *const bad[] = { "",    "1",   "0M",    "3M",   "1K",
                                       "1MB", "-1M", "2048G", "512k", "18446744073709551616M" };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
        expect_end(f, run_role(f, bad[i]), 1, "a power of two with M or G is needed");
    expect_end(f, run_role(f, "32G"), 1, "40 bits of physical addresses: 16384 MiB are possible");
    start_role(f, "16G");
    expect_place(f, PARKING, 16 * GIB, 0);
}

/* Large pages are not always to be had; no memory at all is said at once, and nothing is left. */
static void test_no_memory(struct fixture *f, gconstpointer unused)
{
    const char *call = "xc_domain_populate_physmap";
    sim_fault(&(struct sim_fault){ .call = call, .times = 3, .error = ENOMEM });
    expect_end(f, run_role(f, "1G"), 1, "needs 1024 MiB more memory");
    g_assert_cmpuint(sim_fault_struck(call), ==, 3);
    sim_fault_clear();
    g_assert_null(map(f, PARKING));
    g_assert_false(toolstack_exists(f->node));

    sim_fault(&(struct sim_fault){ .call = call, .times = 2, .error = ENOMEM });
    start_role(f, "1G");
    sim_fault_clear();
    put(f, PARKING + GIB - 4096, 0x33);
    expect_place(f, PARKING, GIB, 0);
}

/* Whatever Xen refuses, the role says so and leaves nothing behind. */
static void test_faults(struct fixture *f, gconstpointer unused)
{
    static const struct sim_fault faults[] = {
        { .call = "xc_interface_open", .skip = 0 }, { .call = "xc_interface_open", .skip = 1 },
        { .call = "xc_domain_getinfo", .skip = 0 }, { .call = "xc_domain_getinfo", .skip = 1 },
        { .call = "xc_domain_setmaxmem" },          { .call = "xc_get_paging_mempool_size" },
        { .call = "xc_set_paging_mempool_size" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(faults); i++) {
        struct sim_fault fault = faults[i];
        fault.times = 1;
        fault.error = EPERM;
        sim_fault(&fault);
        expect_end(f, run_role(f, "1M"), 1, "rolemodel: ");
        g_assert_cmpuint(sim_fault_struck(fault.call), ==, 1);
        sim_fault_clear();
    }
    g_assert_null(map(f, PARKING));
}

static void add(const char *path, const char *size, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, size, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 2)
        g_error("usage: %s PATH-OF-ROLEMODEL", argv[0]);
    rolemodel = argv[1];
    sim_start();
    add("/shmem-memory/moves", "8M", test_moves);
    add("/shmem-memory/places", "1M", test_places);
    add("/shmem-memory/killed", "1M", test_killed);
    add("/shmem-memory/sizes", NULL, test_sizes);
    add("/shmem-memory/no-memory", NULL, test_no_memory);
    add("/shmem-memory/faults", NULL, test_faults);
    int status = g_test_run();
    sim_stop();
    return status;
}
