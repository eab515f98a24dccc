/* A limit on requests and bytes: see throttle.h. */

#include "pvbackends/disk/throttle.h"

#include <pthread.h>

#define SAVED_SECONDS 0.1

/* Units are requests or bytes. */
struct meter {
    uint64_t rate; /* units a second, 0 without a limit */
    double credit; /* units; below 0 it is debt */
};

struct disk_throttle {
    disk_throttle_clock *clock;
    pthread_mutex_t mutex; /* one that ThreadSanitizer understands */
    gint limited;          /* atomic: there is a limit, and the mutex is worth taking */
    gint64 now;            /* the time up to which credit was given */
    struct meter requests, bytes;
};

struct disk_throttle *disk_throttle_new(disk_throttle_clock *clock)
{
    struct disk_throttle *throttle = g_new0(struct disk_throttle, 1);
    throttle->clock = clock;
    pthread_mutex_init(&throttle->mutex, NULL);
    return throttle;
}

void disk_throttle_free(struct disk_throttle *throttle)
{
    if (!throttle)
        return;
    pthread_mutex_destroy(&throttle->mutex);
    g_free(throttle);
}

static void meter_set(struct meter *meter, uint64_t rate)
{
    *meter = (struct meter){ .rate = rate };
}

/* At least one unit, or the slowest rates would never have a whole one. */
static void meter_credit(struct meter *meter, double seconds)
{
    double most = MAX(meter->rate * SAVED_SECONDS, 1);
    meter->credit = MIN(meter->credit + meter->rate * seconds, most);
}

/* Seconds until the debt is paid. */
static double meter_wait(const struct meter *meter)
{
    return meter->rate && meter->credit < 0 ? -meter->credit / meter->rate : 0;
}

void disk_throttle_set(struct disk_throttle *throttle, uint64_t requests, uint64_t bytes)
{
    pthread_mutex_lock(&throttle->mutex);
    meter_set(&throttle->requests, requests);
    meter_set(&throttle->bytes, bytes);
    throttle->now = throttle->clock();
    g_atomic_int_set(&throttle->limited, requests || bytes);
    pthread_mutex_unlock(&throttle->mutex);
}

void disk_throttle_get(struct disk_throttle *throttle, uint64_t *requests, uint64_t *bytes)
{
    pthread_mutex_lock(&throttle->mutex);
    *requests = throttle->requests.rate;
    *bytes = throttle->bytes.rate;
    pthread_mutex_unlock(&throttle->mutex);
}

gint64 disk_throttle_until(struct disk_throttle *throttle)
{
    gint64 until = 0;

    if (!g_atomic_int_get(&throttle->limited))
        return 0;
    pthread_mutex_lock(&throttle->mutex);
    gint64 now = throttle->clock();
    double seconds = (double)(now - throttle->now) / G_USEC_PER_SEC;
    throttle->now = now;
    meter_credit(&throttle->requests, seconds);
    meter_credit(&throttle->bytes, seconds);
    double wait = MAX(meter_wait(&throttle->requests), meter_wait(&throttle->bytes));
    if (wait > 0)
        until = now + (gint64)(wait * G_USEC_PER_SEC) + 1;
    pthread_mutex_unlock(&throttle->mutex);
    return until;
}

void disk_throttle_charge(struct disk_throttle *throttle, uint64_t requests, uint64_t bytes)
{
    if (!g_atomic_int_get(&throttle->limited))
        return;
    pthread_mutex_lock(&throttle->mutex);
    throttle->requests.credit -= requests;
    throttle->bytes.credit -= bytes;
    pthread_mutex_unlock(&throttle->mutex);
}
