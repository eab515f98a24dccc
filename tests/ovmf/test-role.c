/*
 * The core of XenPvBlk against the disk role, a real process on a simulated host: what firmware
 * reads and writes, and that an operating system finds the disk as new after it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/protocol/disk-fixture.h"

#include "ovmf-drivers/core/disk.h"
#include "ovmf-drivers/core/grants.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <xen/hvm/params.h>

#include "tests/sim/hypervisor/hypervisor.h"

/* The guest's firmware. */
struct firmware {
    struct guest *guest;
    struct pv_platform platform;
    struct pv_grants grants;
    struct pv_store store;
    struct pv_guest pv;
    struct pv_disk disk;
};

static uint64_t now(void *opaque)
{
    return g_get_monotonic_time();
}

static void sleep_until(void *opaque, uint32_t port, uint64_t until)
{
    struct firmware *firmware = opaque;
    uint64_t time = now(opaque), left = until > time ? until - time : 0;

    if (port)
        guest_port_wait(firmware->guest, port, left / 1000 + 1);
    else
        g_usleep(left);
}

static void *pages_new(void *opaque, size_t count, bool lasting)
{
    struct firmware *firmware = opaque;
    return guest_alloc(firmware->guest, count);
}

static void pages_free(void *opaque, void *pages, size_t count)
{
    struct firmware *firmware = opaque;
    guest_free(firmware->guest, pages, count);
}

static void page_abandon(void *opaque, void *page, bool lasting)
{
    g_error("the role keeps pages");
}

static uint32_t gfn(void *opaque, const void *page)
{
    struct firmware *firmware = opaque;
    return guest_gfn(firmware->guest, page);
}

static bool grant(void *opaque, uint16_t remote, uint32_t frame, uint32_t *ref)
{
    struct firmware *firmware = opaque;
    return pv_grants_make(&firmware->grants, remote, frame, ref);
}

static bool ungrant(void *opaque, uint32_t ref)
{
    struct firmware *firmware = opaque;
    return pv_grants_end(&firmware->grants, ref);
}

static bool port_new(void *opaque, uint16_t remote, uint32_t *port)
{
    struct firmware *firmware = opaque;
    *port = guest_port_alloc(firmware->guest, remote);
    return true;
}

static void port_close(void *opaque, uint32_t port)
{
    struct firmware *firmware = opaque;
    guest_port_close(firmware->guest, port);
}

static void port_notify(void *opaque, uint32_t port)
{
    struct firmware *firmware = opaque;
    guest_port_notify(firmware->guest, port);
}

static void firmware_start(struct firmware *firmware, struct fixture *f)
{
    const struct sim_domain *domain = sim_domain(guest_domid(f->guest));
    const uint64_t patience = PATIENCE_MS * PV_MS;
    uint8_t *memory = guest_memory(f->guest);

    *firmware = (struct firmware){
        .guest = f->guest,
        .platform = { firmware, now, sleep_until, pages_new, pages_free, page_abandon, gfn, grant,
                      ungrant, port_new, port_close, port_notify },
    };
    firmware->pv = (struct pv_guest){
        .platform = &firmware->platform,
        .store = &firmware->store,
        .patience = { patience, patience, patience, patience },
    };
    pv_grants_init(&firmware->grants, guest_grant_entry(f->guest, 0),
                   guest_grant_entries(f->guest));
    pv_store_init(&firmware->store, &firmware->platform,
                  memory + domain->hvm_params[HVM_PARAM_STORE_PFN] * GUEST_PAGE,
                  domain->hvm_params[HVM_PARAM_STORE_EVTCHN], patience);
}

static void firmware_connect(struct firmware *firmware, const struct disk_file *file)
{
    g_autofree char *id = g_strdup_printf("%u", file->devid);
    g_assert_cmpint(pv_disk_init(&firmware->disk, &firmware->pv, id), ==, PV_OK);
    g_assert_cmpint(pv_disk_connect(&firmware->disk), ==, PV_OK);
}

/* A disk of 8 MiB, the role, and the firmware connected to it. */
static void start(struct firmware *firmware, struct fixture *f)
{
    fixture_add_disk(f, "xvda", 8 * MIB_SECTORS);
    fixture_start_role(f);
    firmware_start(firmware, f);
    firmware_connect(firmware, &f->disks[0]);
}

/* Lets the disk go; the operating system's frontend must find everything in order. */
static void end(struct firmware *firmware, struct fixture *f)
{
    pv_disk_close(&firmware->disk, UINT64_MAX);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    fixture_check_disk(f, 0);
}

static void check_data(struct firmware *firmware, const struct disk_file *file)
{
    static const size_t lengths[] = { 1, 8, 9, 88, 89, 128, 2048, 5000 };
    size_t length = file->sectors * SECTOR;
    g_autofree uint8_t *data = g_malloc(length + 1);
    g_autofree uint8_t *image = g_malloc(length);

    g_assert_cmpint(pread(file->fd, image, length, 0), ==, length);
    g_assert_cmpint(pv_disk_read(&firmware->disk, 0, data + 1, length), ==, PV_OK);
    g_assert_cmpmem(data + 1, length, image, length);
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        size_t bytes = lengths[i] * SECTOR;
        uint64_t sector = 1000 * i + 3;
        blkfront_pattern(image, sector, bytes, i);
        memcpy(data + 1, image, bytes); /* firmware's buffers may be anywhere */
        g_assert_cmpint(pv_disk_write(&firmware->disk, sector, data + 1, bytes), ==, PV_OK);
        g_assert_cmpint(pv_disk_flush(&firmware->disk), ==, PV_OK);
        assert_on_disk(file, sector, data + 1, bytes);
        memset(data, 0, bytes + 1);
        g_assert_cmpint(pv_disk_read(&firmware->disk, sector, data, bytes), ==, PV_OK);
        assert_on_disk(file, sector, data, bytes);
    }
}

static void test_data(struct fixture *f)
{
    struct firmware firmware;

    start(&firmware, f);
    g_assert_true(firmware.disk.indirect);
    check_data(&firmware, &f->disks[0]);
    end(&firmware, f);
}

static void test_direct(struct fixture *f)
{
    struct firmware firmware;

    f->options[0] = "max-indirect-segments=0";
    start(&firmware, f);
    g_assert_false(firmware.disk.indirect);
    g_assert_cmpuint(firmware.disk.ring_pages.count, ==, 2);
    check_data(&firmware, &f->disks[0]);
    end(&firmware, f);
}

static void test_single_page(struct fixture *f)
{
    struct firmware firmware;

    f->options[0] = "max-indirect-segments=0";
    f->options[1] = "max-ring-page-order=0";
    start(&firmware, f);
    g_assert_cmpuint(firmware.disk.ring_pages.count, ==, 1);
    check_data(&firmware, &f->disks[0]);
    end(&firmware, f);
}

static void test_persistent(struct fixture *f)
{
    struct firmware firmware;

    f->options[0] = "persistent=on";
    start(&firmware, f);
    check_data(&firmware, &f->disks[0]);
    end(&firmware, f);
}

static void test_again(struct fixture *f)
{
    struct firmware firmware;

    start(&firmware, f);
    for (unsigned i = 0; i < 3; i++) {
        check_data(&firmware, &f->disks[0]);
        end(&firmware, f);
        firmware_connect(&firmware, &f->disks[0]);
    }
    end(&firmware, f);
}

/* A kernel that crashed has left its connection as it was. */
static void test_left_behind(struct fixture *f)
{
    struct firmware firmware;
    struct blkfront *front = fixture_start(f, NULL);

    blkfront_abandon(front);
    firmware_start(&firmware, f);
    /* Its references are known to nobody here, but their entries show that they are in use. */
    firmware_connect(&firmware, &f->disks[0]);
    check_data(&firmware, &f->disks[0]);
    end(&firmware, f);
}

/* The role stops in the middle, as if its host were stuck: an error, and it ends well later. */
static void test_stuck(struct fixture *f)
{
    struct firmware firmware;
    uint8_t data[SECTOR];

    start(&firmware, f);
    firmware.pv.patience.answer = 100 * PV_MS;
    g_assert_cmpint(kill(f->role, SIGSTOP), ==, 0);
    enum pv_status status = pv_disk_read(&firmware.disk, 0, data, sizeof(data));
    g_assert_cmpint(kill(f->role, SIGCONT), ==, 0);
    g_assert_cmpint(status, ==, PV_TIMEOUT);
    end(&firmware, f);
}

static void test_cd(struct fixture *f)
{
    struct firmware firmware;
    uint8_t data[4 * SECTOR] = { 0 };

    fixture_add_special_disk(f, &(struct toolstack_disk){ .vdev = "xvda", .cdrom = true },
                             2 * MIB_SECTORS);
    fixture_start_role(f);
    firmware_start(&firmware, f);
    firmware_connect(&firmware, &f->disks[0]);
    g_assert_true(firmware.disk.medium.cdrom && firmware.disk.medium.read_only);
    g_assert_cmpint(pv_disk_read(&firmware.disk, 64, data, sizeof(data)), ==, PV_OK);
    assert_on_disk(&f->disks[0], 64, data, sizeof(data));
    g_assert_cmpint(pv_disk_write(&firmware.disk, 64, data, sizeof(data)), ==, PV_REFUSED);
    pv_disk_close(&firmware.disk, UINT64_MAX);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
}

static void add_tests(void)
{
    fixture_add_test("/ovmf/role/data", test_data);
    fixture_add_test("/ovmf/role/direct", test_direct);
    fixture_add_test("/ovmf/role/single-page", test_single_page);
    fixture_add_test("/ovmf/role/persistent", test_persistent);
    fixture_add_test("/ovmf/role/again", test_again);
    fixture_add_test("/ovmf/role/left-behind", test_left_behind);
    fixture_add_test("/ovmf/role/stuck", test_stuck);
    fixture_add_test("/ovmf/role/cd", test_cd);
}

int main(int argc, char **argv)
{
    return fixture_main(argc, argv, add_tests);
}
