/*
 * Measuring through the test frontend: see blkfront.h.
 *
 * All memory is prepared before the clock starts: each of a queue's DEPTH blocks has its granted
 * pages and templates of requests that lack only the sector; a block that is larger than a request
 * is several of them, as in a kernel.  Responses are drained, requests put and published in
 * batches, with one look at the clock for each.
 */

#include "tests/sim/guest/blkfront-queue.h"

#include <time.h>

#define NSEC_PER_SEC UINT64_C(1000000000)
#define WARM_UP NSEC_PER_SEC

/* Latencies in log-linear buckets: 64 to each power of two, so off by less than 1 %. */
#define BUCKET_BITS 6
#define BUCKETS ((65 - BUCKET_BITS) << BUCKET_BITS)

struct histogram {
    uint64_t count;
    uint32_t buckets[BUCKETS];
};

/* A block in flight. */
struct shuttle {
    blkif_request_t *requests; /* the runner's nr_parts of them */
    unsigned left;             /* not answered yet */
    bool failed;
    uint64_t put_at;
};

struct runner {
    struct blkfront_queue *queue;
    const struct blkfront_load *load;
    struct shuttle *shuttles;
    unsigned nr_parts, part;         /* requests of a block, bytes of each but the last */
    unsigned in_flight;              /* blocks */
    uint64_t first_block, nr_blocks; /* where this queue works, in blocks */
    uint64_t next_block;             /* sequential */
    uint64_t random;                 /* state of the generator */
    uint64_t quota;                  /* requests that may still be put; all ones: by time */
    uint64_t begin, end;             /* of measuring */
    uint64_t requests, errors, last;
    struct histogram latency;
    GThread *thread;
};

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * NSEC_PER_SEC + time.tv_nsec;
}

static unsigned bucket_of(uint64_t value)
{
    if (value < 1u << BUCKET_BITS)
        return value;
    unsigned shift = 63 - __builtin_clzll(value) - BUCKET_BITS;
    return ((shift + 1) << BUCKET_BITS) + ((value >> shift) - (1u << BUCKET_BITS));
}

/* The middle of a bucket. */
static double bucket_value(unsigned bucket)
{
    if (bucket < 1u << BUCKET_BITS)
        return bucket;
    unsigned shift = (bucket >> BUCKET_BITS) - 1;
    uint64_t mantissa = (1u << BUCKET_BITS) + (bucket & ((1u << BUCKET_BITS) - 1));
    return (mantissa + 0.5) * (UINT64_C(1) << shift);
}

static void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->count++;
    histogram->buckets[bucket_of(value)]++;
}

static void histogram_merge(struct histogram *into, const struct histogram *from)
{
    into->count += from->count;
    for (unsigned i = 0; i < BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

static double histogram_percentile(const struct histogram *histogram, double percent)
{
    double wanted = histogram->count * percent / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && seen >= wanted)
            return bucket_value(i);
    }
    return 0;
}

static uint64_t next_random(uint64_t *state)
{
    /* xorshift64: good enough to spread requests, and the same in every run. */
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t next_sector(struct runner *runner)
{
    uint64_t block;
    if (runner->load->random)
        block = next_random(&runner->random) % runner->nr_blocks;
    else
        block = runner->next_block++ % runner->nr_blocks;
    return (runner->first_block + block) * (runner->load->block / BLKFRONT_SECTOR);
}

static void put(struct runner *runner, unsigned number, uint64_t time)
{
    struct shuttle *shuttle = &runner->shuttles[number];
    uint64_t sector = next_sector(runner);

    for (unsigned i = 0; i < runner->nr_parts; i++) {
        blkfront_set_place(&shuttle->requests[i], number, sector);
        blkfront_queue_put(runner->queue, &shuttle->requests[i]);
        sector += runner->part / BLKFRONT_SECTOR;
    }
    shuttle->left = runner->nr_parts;
    shuttle->failed = false;
    shuttle->put_at = time;
    runner->in_flight++;
    if (runner->quota != UINT64_MAX)
        runner->quota--;
}

/* True if the response was the last of its block. */
static bool count(struct runner *runner, const blkif_response_t *response, uint64_t time)
{
    bool known = response->id < runner->load->depth;
    struct shuttle *shuttle = known ? &runner->shuttles[response->id] : NULL;

    if (!known || shuttle->left == 0)
        g_error("the backend answers request %" G_GUINT64_FORMAT ", which nobody made",
                response->id);
    shuttle->failed |= response->status != BLKIF_RSP_OKAY;
    if (--shuttle->left > 0)
        return false;
    runner->in_flight--;
    if (time < runner->begin || time >= runner->end)
        return true;
    runner->requests++;
    runner->last = time;
    if (shuttle->failed)
        runner->errors++;
    else
        histogram_add(&runner->latency, time - shuttle->put_at);
    return true;
}

/* Waits for a response, then takes what has come and puts as much again; false: none came. */
static bool turn(struct runner *runner)
{
    blkif_response_t response;

    if (!blkfront_queue_take(runner->queue, &response, BLKFRONT_PATIENCE_MS))
        return false;
    uint64_t time = now();
    do {
        if (count(runner, &response, time) && time < runner->end && runner->quota > 0)
            put(runner, response.id, time);
    } while (blkfront_queue_poll(runner->queue, &response));
    blkfront_queue_push(runner->queue);
    return true;
}

static gpointer run(gpointer opaque)
{
    struct runner *runner = opaque;
    uint64_t time = now();

    for (unsigned i = 0; i < runner->load->depth && runner->quota > 0; i++)
        put(runner, i, time);
    blkfront_queue_push(runner->queue);
    while (runner->in_flight > 0) {
        if (turn(runner))
            continue;
        runner->errors += runner->in_flight; /* the backend hangs */
        break;
    }
    return NULL;
}

/* One request of LENGTH bytes with pages of its own. */
static void prepare_request(struct runner *runner, blkif_request_t *request, unsigned length)
{
    struct blkfront_page *pages[BLKFRONT_SEGMENTS_MAX + BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
    unsigned count = (length + GUEST_PAGE - 1) / GUEST_PAGE;

    for (unsigned i = 0; i < count; i++)
        pages[i] = blkfront_page_take(runner->queue);
    blkfront_build(runner->queue, request, runner->load->write ? BLKIF_OP_WRITE : BLKIF_OP_READ,
                   pages, count, length);
}

static void prepare_shuttles(struct runner *runner)
{
    const struct blkfront_load *load = runner->load;

    runner->shuttles = g_new0(struct shuttle, load->depth);
    for (unsigned i = 0; i < load->depth; i++) {
        blkif_request_t *requests = g_new0(blkif_request_t, runner->nr_parts);
        for (unsigned part = 0; part < runner->nr_parts; part++)
            prepare_request(runner, &requests[part],
                            MIN(runner->part, load->block - part * runner->part));
        runner->shuttles[i].requests = requests;
    }
}

static void free_shuttles(struct runner *runner)
{
    for (unsigned i = 0; i < runner->load->depth; i++)
        g_free(runner->shuttles[i].requests);
    g_free(runner->shuttles);
}

/* The pages stay with the connection: the next run takes them again. */
static void return_pages(struct blkfront_queue *queue)
{
    queue->free = NULL;
    for (guint i = queue->pages->len; i-- > 0;) {
        struct blkfront_page *page = queue->pages->pdata[i];
        page->next = queue->free;
        queue->free = page;
    }
}

/* Requests that a block takes. */
static unsigned parts(const struct blkfront *front, const struct blkfront_load *load)
{
    unsigned most = front->segments * GUEST_PAGE;
    return (load->block + most - 1) / most;
}

static void check(struct blkfront *front, const struct blkfront_load *load)
{
    uint64_t blocks = load->block ? front->disk.sectors / (load->block / BLKFRONT_SECTOR) : 0;

    if (load->block % BLKFRONT_SECTOR || blocks < front->nr_queues)
        g_error("blocks of %u bytes do not fit the disk", load->block);
    if (load->depth == 0 || load->depth * parts(front, load) > front->ring_entries)
        g_error("a ring of %u requests cannot have %u blocks of %u bytes in flight, with %u "
                "segments a request",
                front->ring_entries, load->depth, load->block, front->segments);
}

static void prepare(struct runner *runner, struct blkfront *front, unsigned number,
                    const struct blkfront_load *load)
{
    uint64_t blocks = front->disk.sectors / (load->block / BLKFRONT_SECTOR);
    uint64_t share = blocks / front->nr_queues;
    uint64_t quota =
        load->requests / front->nr_queues + (number < load->requests % front->nr_queues);

    runner->queue = &front->queues[number];
    runner->load = load;
    runner->part = MIN(load->block, front->segments * GUEST_PAGE);
    runner->nr_parts = parts(front, load);
    runner->first_block = load->random ? 0 : number * share;
    runner->nr_blocks = load->random ? blocks : share;
    runner->random = UINT64_C(0x9e3779b97f4a7c15) * (number + 1);
    runner->quota = load->requests ? quota : UINT64_MAX;
    prepare_shuttles(runner);
}

static struct blkfront_result sum_up(struct runner *runners, unsigned count,
                                     const struct blkfront_load *load, uint64_t begin)
{
    struct blkfront_result result = { 0 };
    struct histogram *all = &runners[0].latency;
    uint64_t last = begin;

    for (unsigned i = 0; i < count; i++) {
        result.requests += runners[i].requests;
        result.errors += runners[i].errors;
        last = MAX(last, runners[i].last);
        if (i > 0)
            histogram_merge(all, &runners[i].latency);
    }
    result.elapsed_s = load->requests ? (double)(last - begin) / NSEC_PER_SEC : load->seconds;
    if (result.elapsed_s > 0)
        result.iops = result.requests / result.elapsed_s;
    result.mb_per_s = result.iops * load->block / 1e6;
    result.p50_us = histogram_percentile(all, 50) / 1000;
    result.p99_us = histogram_percentile(all, 99) / 1000;
    return result;
}

struct blkfront_result blkfront_run(struct blkfront *front, const struct blkfront_load *load)
{
    check(front, load);
    struct runner *runners = g_new0(struct runner, front->nr_queues);
    for (unsigned i = 0; i < front->nr_queues; i++)
        prepare(&runners[i], front, i, load);
    uint64_t begin = now() + (load->requests ? 0 : WARM_UP);
    for (unsigned i = 0; i < front->nr_queues; i++) {
        runners[i].begin = begin;
        runners[i].end = load->requests ? UINT64_MAX : begin + load->seconds * NSEC_PER_SEC;
        runners[i].thread = g_thread_new("blkfront", run, &runners[i]);
    }
    for (unsigned i = 0; i < front->nr_queues; i++) {
        g_thread_join(runners[i].thread);
        free_shuttles(&runners[i]);
        return_pages(runners[i].queue);
    }
    struct blkfront_result result = sum_up(runners, front->nr_queues, load, begin);
    g_free(runners);
    return result;
}
