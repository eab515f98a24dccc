/* Rates and latencies of disks: see meter.h. */

#include "pvbackends/disk/meter.h"

#include <inttypes.h>
#include <jansson.h>

#include "pvbackends/disk/counters.h"

/* A disk's counters, of all its queues, or what two readings of them differ by. */
struct sums {
    uint64_t values[DISK_COUNTERS];
    uint64_t rd_sect, wr_sect;
    uint64_t rd_latency[DISK_LATENCY_BUCKETS], wr_latency[DISK_LATENCY_BUCKETS];
    uint64_t f_latency[DISK_LATENCY_BUCKETS];
    uint64_t ds_req;
};

/* In an interval. */
struct rates {
    double seconds;
    struct sums sums;
};

static void add_all(uint64_t *sums, const _Atomic uint64_t *values, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sums[i] += atomic_load_explicit(&values[i], memory_order_relaxed);
}

static uint64_t total(const uint64_t *buckets)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < DISK_LATENCY_BUCKETS; i++)
        sum += buckets[i];
    return sum;
}

/* A flush may carry data, as a write does. */
static void add_queue(struct sums *sums, const struct disk_queue_counters *queue)
{
    uint64_t ds_latency[DISK_LATENCY_BUCKETS] = { 0 };

    add_all(sums->values, queue->values, DISK_COUNTERS);
    add_all(&sums->rd_sect, &queue->sectors[BLKIF_OP_READ], 1);
    add_all(&sums->wr_sect, &queue->sectors[BLKIF_OP_WRITE], 1);
    add_all(&sums->wr_sect, &queue->sectors[BLKIF_OP_WRITE_BARRIER], 1);
    add_all(&sums->wr_sect, &queue->sectors[BLKIF_OP_FLUSH_DISKCACHE], 1);
    add_all(sums->rd_latency, queue->latency[BLKIF_OP_READ], DISK_LATENCY_BUCKETS);
    add_all(sums->wr_latency, queue->latency[BLKIF_OP_WRITE], DISK_LATENCY_BUCKETS);
    add_all(sums->f_latency, queue->latency[BLKIF_OP_WRITE_BARRIER], DISK_LATENCY_BUCKETS);
    add_all(sums->f_latency, queue->latency[BLKIF_OP_FLUSH_DISKCACHE], DISK_LATENCY_BUCKETS);
    add_all(ds_latency, queue->latency[BLKIF_OP_DISCARD], DISK_LATENCY_BUCKETS);
    sums->ds_req += total(ds_latency);
}

static struct sums add_up(const struct disk_counters_file *file)
{
    struct sums sums = { .values = { 0 } };
    for (unsigned i = 0; i < DISK_QUEUES_MAX; i++)
        add_queue(&sums, &file->queues[i]);
    return sums;
}

/* A file that was made anew began at 0. */
static struct rates compare(const struct disk_counters_file *before,
                            const struct disk_counters_file *now, double seconds)
{
    struct rates rates = { seconds, add_up(now) };
    struct sums *sums = &rates.sums;

    if (!before || before->started != now->started)
        return rates;
    struct sums old = add_up(before);
    sums->rd_sect -= old.rd_sect;
    sums->wr_sect -= old.wr_sect;
    for (unsigned i = 0; i < DISK_LATENCY_BUCKETS; i++) {
        sums->rd_latency[i] -= old.rd_latency[i];
        sums->wr_latency[i] -= old.wr_latency[i];
    }
    return rates;
}

static double per_second(const struct rates *rates, const uint64_t *buckets)
{
    return total(buckets) / rates->seconds;
}

static double bytes_per_second(const struct rates *rates, uint64_t sectors)
{
    return sectors * DISK_SECTOR / rates->seconds;
}

/*
 * PERCENT of the requests took less than that many microseconds, a power of 2; 0 if there were
 * none.
 */
static uint64_t percentile(const uint64_t *buckets, unsigned percent)
{
    uint64_t all = total(buckets), seen = 0;
    unsigned i = 0;

    if (all == 0)
        return 0;
    for (; i < DISK_LATENCY_BUCKETS - 1; i++) {
        seen += buckets[i];
        if (seen * 100 >= all * percent)
            break;
    }
    return UINT64_C(1) << i;
}

struct reader {
    role_meter_fn *fn;
    void *opaque;
};

static void on_file(const char *devid, const struct disk_counters_file *file, void *opaque)
{
    const struct reader *reader = opaque;
    reader->fn(devid, file, sizeof(*file), reader->opaque);
}

static void meter_read(unsigned domid, role_meter_fn *fn, void *opaque)
{
    disk_counters_each(domid, on_file, &(struct reader){ fn, opaque });
}

static char *latency_text(const uint64_t *buckets, unsigned percent)
{
    uint64_t us = percentile(buckets, percent);
    return us ? g_strdup_printf("<%" PRIu64, us) : g_strdup("-");
}

static char *meter_row(const void *before, const void *now, double seconds)
{
    const struct disk_counters_file *file = now;
    struct rates rates = compare(before, now, seconds);
    const struct sums *sums = &rates.sums;
    uint64_t both[DISK_LATENCY_BUCKETS];

    for (unsigned i = 0; i < DISK_LATENCY_BUCKETS; i++)
        both[i] = sums->rd_latency[i] + sums->wr_latency[i];
    g_autofree char *p50 = latency_text(both, 50), *p99 = latency_text(both, 99);
    return g_strdup_printf(
        "%-8s %6u %8.0f %8.0f %8.1f %8.1f %6" PRIu64 " %9s %9s %7" PRIu64 " %7" PRIu64, file->vdev,
        (unsigned)file->nr_queues, per_second(&rates, sums->rd_latency),
        per_second(&rates, sums->wr_latency), bytes_per_second(&rates, sums->rd_sect) / 1e6,
        bytes_per_second(&rates, sums->wr_sect) / 1e6, sums->values[DISK_IN_FLIGHT], p50, p99,
        sums->values[DISK_MAPPED], sums->values[DISK_ERRORS]);
}

static json_t *buckets_json(const uint64_t *buckets)
{
    json_t *array = json_array();
    for (unsigned i = 0; i < DISK_LATENCY_BUCKETS; i++)
        json_array_append_new(array, json_integer(buckets[i]));
    return array;
}

static json_t *latency_json(const uint64_t *buckets, unsigned percent)
{
    uint64_t us = percentile(buckets, percent);
    return us ? json_integer(us) : json_null();
}

/* With the names of Linux's xen-blkback, where it has them. */
static json_t *counters_json(const struct sums *sums)
{
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        { "rd_req", total(sums->rd_latency) },
        { "wr_req", total(sums->wr_latency) },
        { "f_req", total(sums->f_latency) },
        { "ds_req", sums->ds_req },
        { "rd_sect", sums->rd_sect },
        { "wr_sect", sums->wr_sect },
        { "oo_req", sums->values[DISK_OO_REQ] },
        { "errors", sums->values[DISK_ERRORS] },
        { "notifications", sums->values[DISK_NOTIFICATIONS] },
        { "in_flight", sums->values[DISK_IN_FLIGHT] },
        { "mapped", sums->values[DISK_MAPPED] },
    };
    json_t *object = json_object();

    for (gsize i = 0; i < G_N_ELEMENTS(counters); i++)
        json_object_set_new(object, counters[i].name, json_integer(counters[i].value));
    json_object_set_new(object, "rd_latency", buckets_json(sums->rd_latency));
    json_object_set_new(object, "wr_latency", buckets_json(sums->wr_latency));
    json_object_set_new(object, "f_latency", buckets_json(sums->f_latency));
    return object;
}

static json_t *rates_json(const struct rates *rates)
{
    const struct sums *sums = &rates->sums;
    return json_pack(
        "{s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o}", "rd_iops", per_second(rates, sums->rd_latency),
        "wr_iops", per_second(rates, sums->wr_latency), "rd_bytes",
        bytes_per_second(rates, sums->rd_sect), "wr_bytes", bytes_per_second(rates, sums->wr_sect),
        "rd_p50_us", latency_json(sums->rd_latency, 50), "rd_p99_us",
        latency_json(sums->rd_latency, 99), "wr_p50_us", latency_json(sums->wr_latency, 50),
        "wr_p99_us", latency_json(sums->wr_latency, 99));
}

static json_t *meter_json(const void *before, const void *now, double seconds)
{
    const struct disk_counters_file *file = now;
    struct rates rates = compare(before, now, seconds);
    struct sums sums = add_up(now);
    return json_pack("{s:s, s:i, s:o, s:o}", "vdev", file->vdev, "queues", (int)file->nr_queues,
                     "counters", counters_json(&sums), "rates", rates_json(&rates));
}

const struct role_meter disk_meter = {
    .header =
        "VDEV     QUEUES      R/S      W/S  RD MB/S  WR MB/S  DEPTH   P50(us)   P99(us)  GRANTS"
        "  ERRORS",
    .read = meter_read,
    .row = meter_row,
    .json = meter_json,
};
