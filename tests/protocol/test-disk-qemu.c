/*
 * Debian's QEMU, unmodified, as a PV guest's device model on the simulator: its disk passes what
 * the role's must pass.  So simulator and frontend are checked against a backend that was written
 * for Xen and for Linux's frontend, and the benchmark compares like with like.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/sim/guest/blkfront.h"
#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define QEMU "/usr/libexec/xen-qemu-system-i386"
#define SECTORS 16384
#define START_S 30
#define XVDA "/local/domain/0/backend/qdisk/%u/51712/%s"

struct machine {
    struct guest *guest;
    char *image;
    unsigned devid;
    pid_t qemu;
};

static bool await_backend(struct machine *machine, const char *node, const char *value)
{
    g_autofree char *path = g_strdup_printf(XVDA, guest_domid(machine->guest), node);
    return toolstack_await(path, value, START_S);
}

static void machine_start(struct machine *machine, const void *data)
{
    machine->guest =
        toolstack_create(&(struct toolstack_guest){ .type = "pv", .vcpus = 1, .pages = 4096 });
    machine->image = g_build_filename(sim_directory(), "image", NULL);
    g_autofree char *zeros = g_malloc0(SECTORS * 512);
    g_assert_true(g_file_set_contents(machine->image, zeros, SECTORS * 512, NULL));
    g_autofree char *params = g_strconcat("aio:", machine->image, NULL);
    machine->devid = toolstack_attach_disk(
        machine->guest, &(struct toolstack_disk){ .vdev = "xvda", .params = params });
    machine->qemu = toolstack_run_device_model(machine->guest, NULL, QEMU, NULL);
    g_assert_true(await_backend(machine, "state", "2"));
}

static void machine_stop(struct machine *machine, const void *data)
{
    toolstack_destroy(machine->guest); /* also ends the device model */
    g_assert_cmpint(toolstack_wait(machine->qemu), ==, 0);
    g_free(machine->image);
}

static void assert_on_disk(const struct machine *machine, uint32_t seed)
{
    g_autofree char *pattern = g_malloc(SECTORS * 512);
    g_autofree char *content = NULL;
    gsize length;

    blkfront_pattern(pattern, 0, SECTORS * 512, seed);
    g_assert_true(g_file_get_contents(machine->image, &content, &length, NULL));
    g_assert_cmpmem(content, length, pattern, SECTORS * 512);
}

static struct blkfront *connect_disk(struct machine *machine, unsigned order)
{
    g_autofree char *reason = NULL;
    struct blkfront *front = blkfront_connect(
        machine->guest, machine->devid, &(struct blkfront_options){ .ring_order = order }, &reason);
    if (!front)
        g_error("%s", reason);
    return front;
}

static void verify(struct machine *machine, struct blkfront *front, uint32_t seed)
{
    g_autofree char *reason = NULL;
    if (!blkfront_verify(front, 0, 0, SECTORS, seed, &reason))
        g_error("%s", reason);
    g_assert_cmpint(blkfront_flush(front, 0), ==, BLKIF_RSP_OKAY);
    assert_on_disk(machine, seed);
}

static void test_disk(struct machine *machine, const void *data)
{
    struct blkfront *front = connect_disk(machine, 0);
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, SECTORS);
    g_assert_cmpuint(blkfront_ring_entries(front), ==, 32);
    verify(machine, front, 1);
    g_assert_true(blkfront_close(front));

    /* Again, with the largest ring. */
    front = connect_disk(machine, 4);
    g_assert_cmpuint(blkfront_ring_entries(front), ==, 512);
    verify(machine, front, 2);
    g_assert_cmpint(blkfront_discard(front, 0, 8, 64, false), ==, BLKIF_RSP_OKAY);
    g_assert_true(blkfront_close(front));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!g_file_test(QEMU, G_FILE_TEST_IS_EXECUTABLE)) {
        g_print("1..0 # SKIP: " QEMU " is missing (package qemu-system-xen)\n");
        return 0;
    }
    sim_start();
    g_test_add("/disk-qemu", struct machine, NULL, machine_start, test_disk, machine_stop);
    int result = g_test_run();
    sim_stop();
    return result;
}
