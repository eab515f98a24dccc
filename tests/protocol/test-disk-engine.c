/*
 * The engine of a queue in this process, on a fake medium that fails, waits and reorders as it is
 * told: in which order it asks for what, and what it keeps.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pvbackends/disk/engine.h"
#include "tests/fuzz/fake-io.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define MEDIUM_SECTORS 4096
#define PAGES 256 /* of the guest, for data */
#define PAGE_SECTORS 8
#define TURNS_MAX 1000
#define ANSWERS_MAX 64

#define READ (1u << DISK_IO_READ)
#define WRITE (1u << DISK_IO_WRITE)
#define FLUSH (1u << DISK_IO_FLUSH)
#define ZERO (1u << DISK_IO_ZERO)

static struct guest *guest;
static struct blkif_sring *shared; /* of whichever fixture there is */
static uint32_t ring_ref;
static uint8_t *data;
static uint32_t refs[PAGES];
static gint64 now; /* us */

struct fixture {
    struct disk_medium a, b;
    struct disk_engine_config config;
    struct disk_engine *engine;
    struct disk_throttle *throttle;
    blkif_front_ring_t ring;
    gint error_logged, flush_lost;
    char *answers; /* since they were looked at last, in their order */
};

static gint64 clock_read(void)
{
    return now;
}

static struct disk_medium medium_make(const char *name)
{
    struct disk_medium medium = { .driver = &disk_io_aio,
                                  .path = (char *)name,
                                  .fd = memfd_create(name, MFD_CLOEXEC),
                                  .sectors = MEDIUM_SECTORS,
                                  .sector_size = DISK_SECTOR,
                                  .direct = true,
                                  .discard = true };
    g_assert_cmpint(ftruncate(medium.fd, MEDIUM_SECTORS * DISK_SECTOR), ==, 0);
    return medium;
}

static struct disk_limits limits_of(const struct disk_medium *medium)
{
    return (struct disk_limits){ .sectors = medium->sectors, .alignment = 1, .discard = true };
}

/* With what the test has set in the config. */
static void engine_open(struct fixture *f)
{
    g_autoptr(GError) error = NULL;

    disk_engine_close(f->engine);
    memset(shared, 0, GUEST_PAGE);
    SHARED_RING_INIT(shared);
    FRONT_RING_INIT(&f->ring, shared, GUEST_PAGE);
    f->engine = disk_engine_open(&f->config, &error);
    g_assert_no_error(error);
    g_string_truncate(fake_io_log, 0);
}

static void set_up(struct fixture *f, gconstpointer unused)
{
    f->a = medium_make("a");
    f->b = medium_make("b");
    f->throttle = disk_throttle_new(clock_read);
    f->answers = g_strdup("");
    f->config = (struct disk_engine_config){ .name = "test",
                                             .domid = guest_domid(guest),
                                             .abi = disk_abi_find(NULL),
                                             .ring_refs = &ring_ref,
                                             .nr_ring_pages = 1,
                                             .medium = &f->a,
                                             .limits = limits_of(&f->a),
                                             .throttle = f->throttle,
                                             .flush_lost = &f->flush_lost,
                                             .error_logged = &f->error_logged };
    fake_io_log = g_string_new(NULL);
    fake_io_holds = false;
    fake_io_fail(0, 0, 0);
    memset(data, 0x77, PAGES * GUEST_PAGE);
    engine_open(f);
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
    g_assert_true(disk_engine_idle(f->engine));
    g_assert_cmpstr(f->answers, ==, "");
    disk_engine_close(f->engine);
    disk_throttle_free(f->throttle);
    close(f->a.fd);
    close(f->b.fd);
    g_free(f->answers);
    g_string_free(g_steal_pointer(&fake_io_log), TRUE);
}

/* --- the guest --- */

/* COUNT pages, whose number is also the request's id, to or from SECTOR. */
static void put(struct fixture *f, uint8_t operation, uint64_t id, uint64_t sector, unsigned count)
{
    blkif_request_t *request = RING_GET_REQUEST(&f->ring, f->ring.req_prod_pvt);

    g_assert_cmpuint(id + count, <=, PAGES);
    *request = (blkif_request_t){
        .operation = operation, .nr_segments = count, .id = id, .sector_number = sector
    };
    for (unsigned i = 0; i < count; i++)
        request->seg[i] = (struct blkif_request_segment){ refs[id + i], 0, PAGE_SECTORS - 1 };
    f->ring.req_prod_pvt++;
}

/* The longest request there is; its segments' table is in page ID, all data in the next one. */
static void put_long(struct fixture *f, uint64_t id, uint64_t sector)
{
    blkif_request_indirect_t *request = (void *)RING_GET_REQUEST(&f->ring, f->ring.req_prod_pvt);
    struct blkif_request_segment *table = (void *)(data + id * GUEST_PAGE);

    *request = (blkif_request_indirect_t){ .operation = BLKIF_OP_INDIRECT,
                                           .indirect_op = BLKIF_OP_READ,
                                           .nr_segments = DISK_SEGMENTS_MAX,
                                           .id = id,
                                           .sector_number = sector,
                                           .indirect_grefs = { refs[id] } };
    for (unsigned i = 0; i < DISK_SEGMENTS_MAX; i++)
        table[i] = (struct blkif_request_segment){ refs[id + 1], 0, PAGE_SECTORS - 1 };
    f->ring.req_prod_pvt++;
}

static void put_discard(struct fixture *f, uint64_t id, uint64_t sector, uint64_t sectors)
{
    blkif_request_discard_t *request = (void *)RING_GET_REQUEST(&f->ring, f->ring.req_prod_pvt);

    *request = (blkif_request_discard_t){
        .operation = BLKIF_OP_DISCARD, .id = id, .sector_number = sector, .nr_sectors = sectors
    };
    f->ring.req_prod_pvt++;
}

/* Adds the answers to those that are waiting to be looked at: "1" is okay, "2!" an error. */
static void take_answers(struct fixture *f)
{
    g_autoptr(GString) text = g_string_new(f->answers);

    while (f->ring.rsp_cons != shared->rsp_prod) {
        const blkif_response_t *response = RING_GET_RESPONSE(&f->ring, f->ring.rsp_cons++);
        g_string_append_printf(text, "%s%" G_GUINT64_FORMAT "%s", text->len > 0 ? " " : "",
                               response->id,
                               response->status == BLKIF_RSP_OKAY         ? ""
                               : response->status == BLKIF_RSP_EOPNOTSUPP ? "?"
                                                                          : "!");
    }
    g_free(f->answers);
    f->answers = g_strdup(text->str);
}

/* As the queue does it, until it would sleep. */
static void run(struct fixture *f, bool take)
{
    bool notify;

    shared->req_prod = f->ring.req_prod_pvt;
    for (unsigned i = 0;
         disk_engine_turn(f->engine, take, &notify) || (take && disk_engine_arm(f->engine)); i++)
        g_assert_cmpuint(i, <, TURNS_MAX);
    take_answers(f);
}

/* Since the last time the engine asked for IO, and the guest has these ANSWERS. */
static void expect(struct fixture *f, const char *io, const char *answers)
{
    run(f, true);
    g_assert_cmpstr(fake_io_log->str, ==, io);
    g_assert_cmpstr(f->answers, ==, answers);
    g_string_truncate(fake_io_log, 0);
    f->answers[0] = '\0';
}

/* Finishes what has been asked for: one operation, or all. */
static void finish(unsigned index)
{
    fake_io_deliver(fake_io_last(), index);
}

static void release(struct fixture *f, const char *io, const char *answers)
{
    fake_io_holds = false;
    expect(f, io, answers);
}

/* --- barriers --- */

static void test_barrier(struct fixture *f, gconstpointer unused)
{
    fake_io_holds = true;
    put(f, BLKIF_OP_WRITE, 1, 8, 1);
    put(f, BLKIF_OP_READ, 2, 16, 1);
    put(f, BLKIF_OP_WRITE_BARRIER, 3, 24, 2);
    put(f, BLKIF_OP_WRITE, 5, 48, 1);
    put(f, BLKIF_OP_READ, 6, 24, 1);
    expect(f, "aW8 aR16", "");
    finish(1);
    expect(f, "", "2");
    finish(0); /* now nothing is before it */
    expect(f, "aF", "1");
    finish(0);
    expect(f, "aW24", "");
    finish(0);
    expect(f, "aF", "");
    finish(0);
    expect(f, "aW48 aR24", "3");
    release(f, "", "6 5");
}

static void test_barrier_first(struct fixture *f, gconstpointer unused)
{
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aF aW8 aF aW16", "1 2");
}

static void test_barrier_empty(struct fixture *f, gconstpointer unused)
{
    fake_io_holds = true;
    put(f, BLKIF_OP_WRITE, 1, 8, 1);
    put(f, BLKIF_OP_WRITE_BARRIER, 2, 24, 0);
    put(f, BLKIF_OP_WRITE, 3, 16, 1);
    expect(f, "aW8", "");
    finish(0);
    expect(f, "aF", "1");
    finish(0);
    expect(f, "aW16", "2");
    release(f, "", "3");
}

static void test_barriers(struct fixture *f, gconstpointer unused)
{
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_WRITE_BARRIER, 2, 16, 1);
    put(f, BLKIF_OP_WRITE_BARRIER, 3, 0, 0);
    put(f, BLKIF_OP_READ, 4, 16, 1);
    expect(f, "aF aW8 aF aF aW16 aF aF aR16", "1 2 3 4");
}

/* One that is bad holds nobody up. */
static void test_barrier_bad(struct fixture *f, gconstpointer unused)
{
    fake_io_holds = true;
    put(f, BLKIF_OP_WRITE, 1, 8, 1);
    put(f, BLKIF_OP_WRITE_BARRIER, 2, MEDIUM_SECTORS - 1, 1);
    put(f, BLKIF_OP_WRITE, 3, 16, 1);
    expect(f, "aW8 aW16", "2!");
    release(f, "", "3 1");

    /* Its data cannot be fetched. */
    put(f, BLKIF_OP_WRITE_BARRIER, 4, 24, 1);
    RING_GET_REQUEST(&f->ring, f->ring.req_prod_pvt - 1)->seg[0].gref = G_MAXUINT32;
    put(f, BLKIF_OP_WRITE, 5, 32, 1);
    expect(f, "aW32", "4! 5");

    /* Nor that of the one before it. */
    put(f, BLKIF_OP_WRITE, 6, 40, 1);
    RING_GET_REQUEST(&f->ring, f->ring.req_prod_pvt - 1)->seg[0].gref = G_MAXUINT32;
    put(f, BLKIF_OP_WRITE_BARRIER, 7, 48, 1);
    expect(f, "aF aW48 aF", "6! 7");
}

static void test_barrier_full_pool(struct fixture *f, gconstpointer unused)
{
    fake_io_holds = true;
    for (unsigned i = 0; i < 5; i++) /* four fill the pool */
        put_long(f, 10 + 2 * i, i);
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aR0 aR1 aR2 aR3", "");
    finish(3);
    expect(f, "aR4", "16");
    finish(0);
    expect(f, "", "10");
    finish(0);
    expect(f, "", "12");
    finish(0);
    expect(f, "", "14");
    finish(0);
    expect(f, "aF", "18");
    release(f, "aW8 aF aW16", "1 2");
}

static void test_barrier_fails(struct fixture *f, gconstpointer unused)
{
    fake_io_fail(FLUSH, 1, EIO);
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aF aW16", "1! 2"); /* what it would be after was not saved: it is not written */
    fake_io_fail(WRITE, 1, EIO);
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aF aW8 aW16", "1! 2");
}

/* --- zero detection --- */

static void put_zeroes(struct fixture *f, uint64_t id, uint64_t sector, unsigned count)
{
    memset(data + id * GUEST_PAGE, 0, count * GUEST_PAGE);
    put(f, BLKIF_OP_WRITE, id, sector, count);
}

static void test_zeroes(struct fixture *f, gconstpointer unused)
{
    f->config.detect_zeroes = true;
    engine_open(f);
    put_zeroes(f, 1, 8, 1);
    put_zeroes(f, 2, 16, 11);
    expect(f, "aZ8 aZ16", "2 1");

    /* One byte that is not zero, wherever it is. */
    for (unsigned i = 0; i < 3; i++) {
        put_zeroes(f, 1, 8, 11);
        data[1 * GUEST_PAGE + (const size_t[]){ 0, 4 * GUEST_PAGE, 11 * GUEST_PAGE - 1 }[i]] = 1;
        expect(f, "aW8", "1");
    }

    /* As a barrier it is written, for what is flushed after it must be there. */
    memset(data + 1 * GUEST_PAGE, 0, GUEST_PAGE);
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_READ, 1, 8, 1);
    put(f, BLKIF_OP_FLUSH_DISKCACHE, 1, 8, 0);
    expect(f, "aF aW8 aF aR8 aF", "1 1 1");
}

static void test_zeroes_refused(struct fixture *f, gconstpointer unused)
{
    f->config.detect_zeroes = f->config.stop_on_error = true;
    engine_open(f);
    fake_io_fail(ZERO, 1, EOPNOTSUPP);
    put_zeroes(f, 1, 8, 1);
    expect(f, "aZ8 aW8", "1");
    fake_io_fail(ZERO | WRITE, 2, EOPNOTSUPP);
    put_zeroes(f, 1, 8, 1);
    expect(f, "aZ8 aW8", "1?");
    fake_io_fail(ZERO, 1, EIO);
    put_zeroes(f, 1, 8, 1);
    expect(f, "aZ8", "");
    disk_engine_retry(f->engine);
    expect(f, "aZ8", "1");
}

static void test_zeroes_off(struct fixture *f, gconstpointer unused)
{
    put_zeroes(f, 1, 8, 1);
    expect(f, "aW8", "1");
}

/* --- stop on error --- */

static void start_stopping(struct fixture *f)
{
    f->config.stop_on_error = true;
    engine_open(f);
}

static void test_stop(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_fail(WRITE, 2, ENOSPC);
    put(f, BLKIF_OP_WRITE, 1, 8, 1);
    expect(f, "aW8", "");
    g_assert_true(disk_engine_halted(f->engine));
    g_assert_true(disk_engine_still(f->engine));
    g_assert_false(disk_engine_idle(f->engine));
    put(f, BLKIF_OP_READ, 2, 8, 1);
    expect(f, "", "");

    disk_engine_retry(f->engine); /* fails again */
    g_assert_false(disk_engine_still(f->engine));
    expect(f, "aW8 aR8", "2"); /* others need not wait to see how it ends */
    g_assert_true(disk_engine_halted(f->engine));
    put(f, BLKIF_OP_READ, 2, 16, 1);
    expect(f, "", "");

    disk_engine_retry(f->engine);
    expect(f, "aW8 aR16", "2 1");
    g_assert_false(disk_engine_halted(f->engine));
    disk_engine_retry(f->engine); /* nothing is kept */
    expect(f, "", "");
}

static void test_stop_many(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_holds = true;
    for (unsigned i = 1; i <= 6; i++)
        put(f, i == 4 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i, i * 8, 1);
    fake_io_fail(WRITE, 4, EIO); /* all but 4 and 6 */
    expect(f, "aW8 aW16 aW24 aR32 aW40 aW48", "");
    finish(2);
    expect(f, "", "");
    put(f, BLKIF_OP_READ, 7, 0, 1);
    expect(f, "", "");
    g_assert_true(disk_engine_halted(f->engine));
    g_assert_false(disk_engine_still(f->engine));
    disk_engine_retry(f->engine); /* while others are on their way, and then they fail, too */
    expect(f, "aW24 aR0", "");
    release(f, "", "7 3 6 4");
    g_assert_true(disk_engine_still(f->engine));
    disk_engine_retry(f->engine);
    expect(f, "aW40 aW16 aW8", "1 2 5");
}

static void test_stop_unsupported(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_fail(1u << DISK_IO_DISCARD, 1, EOPNOTSUPP);
    put_discard(f, 1, 8, 8);
    put(f, BLKIF_OP_WRITE, 2, 8, 1);
    expect(f, "aD8 aW8", "2 1?");
    g_assert_false(disk_engine_halted(f->engine));
}

static void test_stop_hurry(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_fail(WRITE, 100, EIO);
    put(f, BLKIF_OP_WRITE, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aW8 aW16", "");
    disk_engine_hurry(f->engine);
    run(f, false);
    expect(f, "aW16 aW8", "1! 2!");
    g_assert_true(disk_engine_idle(f->engine));
    put(f, BLKIF_OP_WRITE, 3, 24, 1); /* nothing is kept any more */
    expect(f, "aW24", "3!");
}

/* A page cache has forgotten what a flush that failed should have written. */
static void test_flush_lost(struct fixture *f, gconstpointer unused)
{
    f->a.direct = false;
    start_stopping(f);
    fake_io_fail(FLUSH, 1, EIO);
    put(f, BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 0);
    expect(f, "aF", "1!"); /* and not kept: a second attempt would go well */
    g_assert_false(disk_engine_halted(f->engine));
    put(f, BLKIF_OP_WRITE, 2, 8, 1);
    expect(f, "aW8", "2");
    put(f, BLKIF_OP_FLUSH_DISKCACHE, 1, 0, 0);
    expect(f, "aF", "1!");
    engine_open(f); /* the guest comes back, or it is another queue */
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    expect(f, "aF", "1!");
}

/* A barrier that stops where it is goes on from there, and what is behind it waits. */
static void test_stop_barrier(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_fail(FLUSH, 1, EIO);
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aF", "");
    fake_io_fail(WRITE, 1, EIO);
    disk_engine_retry(f->engine);
    expect(f, "aF aW8", "");
    fake_io_fail(FLUSH, 1, EIO);
    disk_engine_retry(f->engine);
    expect(f, "aW8 aF", "");
    disk_engine_retry(f->engine);
    expect(f, "aF aW16", "1 2");

    fake_io_fail(WRITE, 100, EIO);
    put(f, BLKIF_OP_WRITE_BARRIER, 1, 8, 1);
    put(f, BLKIF_OP_READ, 2, 16, 1);
    expect(f, "aF aW8", "");
    disk_engine_hurry(f->engine);
    expect(f, "aW8 aR16", "1! 2");
}

/* --- another medium --- */

static void use(struct fixture *f, struct disk_medium *medium)
{
    g_autoptr(GError) error = NULL;
    const struct disk_limits limits = limits_of(medium);
    struct disk_io *io = disk_engine_open_io(f->engine, medium, &error);

    g_assert_no_error(error);
    g_assert_true(disk_engine_still(f->engine));
    disk_engine_use(f->engine, medium, &limits, io);
}

static void test_use(struct fixture *f, gconstpointer unused)
{
    put(f, BLKIF_OP_WRITE, 1, 8, 1);
    expect(f, "aW8", "1");
    f->b.sectors = 64;
    use(f, &f->b);
    put(f, BLKIF_OP_WRITE, 1, 0, 1);
    put(f, BLKIF_OP_WRITE, 2, 64, 1);
    put_discard(f, 3, 56, 16);
    put(f, BLKIF_OP_FLUSH_DISKCACHE, 4, 0, 0);
    expect(f, "bW0 bF", "2! 3! 4 1");

    /* The same medium, longer now. */
    const struct disk_limits longer = { .sectors = 128, .alignment = 1 };
    f->b.sectors = 128;
    disk_engine_use(f->engine, &f->b, &longer, NULL);
    put(f, BLKIF_OP_WRITE, 1, 64, 1);
    put_discard(f, 2, 56, 16);
    expect(f, "bW64", "2? 1");
}

static void test_use_kept(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_fail(READ | WRITE, 2, EIO);
    put(f, BLKIF_OP_READ, 1, 8, 1);
    put(f, BLKIF_OP_WRITE, 2, 16, 1);
    expect(f, "aR8 aW16", "");
    g_assert_cmpint(pwrite(f->b.fd, "new", 3, 8 * DISK_SECTOR), ==, 3);
    use(f, &f->b);
    expect(f, "", "");
    disk_engine_retry(f->engine);
    expect(f, "bW16 bR8", "1 2");
    g_assert_cmpstr((char *)data + 1 * GUEST_PAGE, ==, "new");
}

/* What was kept, and is not on the medium any more, would make it longer again. */
static void test_use_shorter(struct fixture *f, gconstpointer unused)
{
    start_stopping(f);
    fake_io_fail(WRITE | FLUSH, 4, EIO);
    put(f, BLKIF_OP_WRITE, 1, 56, 1);
    put(f, BLKIF_OP_WRITE, 2, 64, 1);
    put(f, BLKIF_OP_FLUSH_DISKCACHE, 3, 1 << 20, 0);
    put(f, BLKIF_OP_WRITE, 4, 60, 1);
    expect(f, "aW56 aW64 aF aW60", "");
    f->a.sectors = 65;
    const struct disk_limits shorter = { .sectors = 65, .alignment = 1 };
    disk_engine_use(f->engine, &f->a, &shorter, NULL);
    disk_engine_retry(f->engine);
    expect(f, "aF aW56", "4! 2! 1 3");
    g_assert_true(disk_engine_idle(f->engine));
}

/* --- throttle --- */

static void test_throttle(struct fixture *f, gconstpointer unused)
{
    disk_throttle_set(f->throttle, 1, 0);
    for (unsigned i = 1; i <= 3; i++)
        put(f, BLKIF_OP_WRITE, i, 8 * i, 1);
    expect(f, "aW8", "1");
    g_assert_cmpint(disk_engine_due(f->engine), >, now);
    expect(f, "", "");
    now = disk_engine_due(f->engine);
    expect(f, "aW16", "2");

    /* A barrier waits for its time, too; then it waits for nothing that has no time. */
    put(f, BLKIF_OP_WRITE_BARRIER, 4, 8, 1);
    disk_throttle_set(f->throttle, 0, 2 * GUEST_PAGE);
    expect(f, "aW24", "3");
    now = disk_engine_due(f->engine);
    expect(f, "aF aW8 aF", "4");

    /* The data of an indirect request counts when it is known. */
    now = disk_engine_due(f->engine);
    put_long(f, 5, 0);
    put(f, BLKIF_OP_WRITE, 7, 8, 1);
    bool notify;
    shared->req_prod = f->ring.req_prod_pvt;
    disk_engine_turn(f->engine, true, &notify);
    g_assert_false(disk_engine_arm(f->engine));
    g_assert_cmpint(disk_engine_due(f->engine), >, now + 100 * G_USEC_PER_SEC);
    disk_throttle_set(f->throttle, 0, 0);
    run(f, true);
    g_free(f->answers);
    f->answers = g_strdup("");
    g_assert_cmpint(disk_engine_due(f->engine), ==, 0);
}

/* --- */

static void on_log(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer unused)
{
    if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
        g_log_default_handler(domain, level, message, NULL);
}

static void add(const char *path, void (*test)(struct fixture *, gconstpointer))
{
    g_test_add(path, struct fixture, NULL, set_up, test, tear_down);
}

int main(int argc, char **argv)
{
    const struct toolstack_guest configuration = { "pv", 1, 2 * PAGES };

    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL);
    g_log_set_handler("disk", G_LOG_LEVEL_MASK, on_log, NULL);
    sim_start();
    guest = toolstack_create(&configuration);
    shared = guest_alloc(guest, 1);
    ring_ref = guest_grant(guest, 0, shared, false);
    data = guest_alloc(guest, PAGES);
    for (unsigned i = 0; i < PAGES; i++)
        refs[i] = guest_grant(guest, 0, data + i * GUEST_PAGE, false);
    add("/disk-engine/barrier", test_barrier);
    add("/disk-engine/barrier-first", test_barrier_first);
    add("/disk-engine/barrier-empty", test_barrier_empty);
    add("/disk-engine/barriers", test_barriers);
    add("/disk-engine/barrier-bad", test_barrier_bad);
    add("/disk-engine/barrier-full-pool", test_barrier_full_pool);
    add("/disk-engine/barrier-fails", test_barrier_fails);
    add("/disk-engine/zeroes", test_zeroes);
    add("/disk-engine/zeroes-refused", test_zeroes_refused);
    add("/disk-engine/zeroes-off", test_zeroes_off);
    add("/disk-engine/stop", test_stop);
    add("/disk-engine/stop-many", test_stop_many);
    add("/disk-engine/stop-unsupported", test_stop_unsupported);
    add("/disk-engine/stop-hurry", test_stop_hurry);
    add("/disk-engine/flush-lost", test_flush_lost);
    add("/disk-engine/stop-barrier", test_stop_barrier);
    add("/disk-engine/use", test_use);
    add("/disk-engine/use-kept", test_use_kept);
    add("/disk-engine/use-shorter", test_use_shorter);
    add("/disk-engine/throttle", test_throttle);
    int status = g_test_run();
    toolstack_destroy(guest);
    sim_stop();
    return status;
}
