/*
 * blkengine [SECONDS]: how many 4 KiB reads the disk role's engine does in a second of one
 * processor, from the ring to the response, on a medium that answers at once.  What a guest, a
 * disk and sleeping cost is not in it; Xen's copy of the data is, as a memcpy.
 *
 * Prints "requests/s N".
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <xen/grant_table.h>

#include "pvbackends/disk/engine.h"
#include "pvbackends/disk/media/io.h"
#include "tests/fuzz/host.h"

#define RING_SLOTS 32
#define DISK_SECTORS (UINT64_C(1) << 30)

/* --- a medium that answers at once --- */

struct null_io {
    struct disk_io base;
    unsigned depth, count;
    struct disk_io_op *done[];
};

static const struct disk_io_driver null_driver;

static struct disk_io *null_open(const struct disk_medium *medium, unsigned depth, GError **error)
{
    struct null_io *io = g_malloc0(sizeof(*io) + depth * sizeof(io->done[0]));
    io->base.driver = &null_driver;
    return &io->base;
}

static void null_close(struct disk_io *io)
{
    g_free(io);
}

static void null_add(struct disk_io *base, struct disk_io_op *op)
{
    struct null_io *io = (struct null_io *)base;
    op->error = 0;
    io->done[io->count++] = op;
}

static struct disk_io_op *null_reap(struct disk_io *base)
{
    struct null_io *io = (struct null_io *)base;
    return io->count ? io->done[--io->count] : NULL;
}

static int null_fd(struct disk_io *io)
{
    return -1;
}

static const struct disk_io_driver null_driver = {
    .open = null_open,
    .close = null_close,
    .add = null_add,
    .reap = null_reap,
    .fd = null_fd,
};

/* --- */

static struct disk_engine *open_engine(struct guest *guest, blkif_sring_t *ring)
{
    static gint error_logged, map_failures;
    static struct disk_medium medium = { .driver = &null_driver,
                                         .path = (char *)"null",
                                         .fd = -1,
                                         .sectors = DISK_SECTORS,
                                         .sector_size = 512 };
    uint32_t ring_ref = guest_grant(guest, 0, ring, false);
    const struct disk_engine_config config = {
        .name = "null",
        .domid = guest_domid(guest),
        .abi = disk_abi_find("x86_64-abi"),
        .ring_refs = &ring_ref,
        .nr_ring_pages = 1,
        .medium = &medium,
        .limits = { .sectors = DISK_SECTORS, .alignment = 1 },
        .error_logged = &error_logged,
        .map_failures = &map_failures,
    };
    g_autoptr(GError) error = NULL;
    struct disk_engine *engine = disk_engine_open(&config, &error);

    if (!engine)
        g_error("%s", error->message);
    return engine;
}

/* A full ring of reads, each into a page of its own. */
static void fill(blkif_sring_t *ring, const uint32_t *refs, uint32_t first)
{
    for (uint32_t i = 0; i < RING_SLOTS; i++) {
        ring->ring[(first + i) % RING_SLOTS].req = (blkif_request_t){
            .operation = BLKIF_OP_READ,
            .nr_segments = 1,
            .id = i,
            .sector_number = (uint64_t)(first + i) * 8 % DISK_SECTORS,
            .seg = { { .gref = refs[i], .first_sect = 0, .last_sect = 7 } },
        };
    }
    ring->req_prod = first + RING_SLOTS;
}

static double processor_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2, used = 0;
    struct guest *guest = fuzz_make_guest(256);
    blkif_sring_t *ring = guest_alloc(guest, 1);
    uint8_t *pages = guest_alloc(guest, RING_SLOTS);
    struct disk_engine *engine = open_engine(guest, ring);
    uint32_t refs[RING_SLOTS], done = 0;
    bool notify;

    for (unsigned i = 0; i < RING_SLOTS; i++)
        refs[i] = guest_grant(guest, 0, pages + i * GUEST_PAGE, false);
    while (used < seconds) {
        fill(ring, refs, done);
        double begin = processor_time();
        while (disk_engine_turn(engine, true, &notify))
            ;
        disk_engine_arm(engine);
        used += processor_time() - begin;
        done += RING_SLOTS;
        if (ring->rsp_prod != done)
            g_error("%u of %u requests were answered", ring->rsp_prod, done);
    }
    printf("requests/s %.0f\n", done / used);
    disk_engine_close(engine);
    return 0;
}
