/* Adaptive polling: see poll.h. */

#include "xen/poll.h"

#include <time.h>
#include <glib.h>

/* A look takes so many times what requests take to come. */
#define WINDOW_GAPS 3

/* A longer gap counts as this one, so that a guest that was idle for hours is not held slow. */
#define GAP_MAX_WINDOWS 2

/* A failure weighs as much as so many successes, since it costs more than each of them saves. */
#define FAILURE_WEIGHT 4

/*
 * From one look to the next it takes less than 1 us.  If it took this long, the processor was taken
 * away: by another thread, or from the whole of this domain by Xen, which a clock of this thread's
 * own processor time would not show.  Where all is slow, this part of a look is what counts.
 */
#define PREEMPTED_NS 20000
#define PREEMPTED_PART 4

/* --- means --- */

static void mean_add(struct xen_poll_mean *mean, uint64_t value)
{
    if (mean->count == 2 * XEN_POLL_TRIAL) { /* what was long ago counts less and less */
        mean->sum /= 2;
        mean->count /= 2;
    }
    mean->sum += value;
    mean->count++;
}

static uint64_t mean_value(const struct xen_poll_mean *mean)
{
    return mean->count ? mean->sum / mean->count : 0;
}

/* --- the policy --- */

void xen_poll_init(struct xen_poll *poll, uint64_t max)
{
    *poll = (struct xen_poll){ .max = max,
                               .rest = XEN_POLL_REST_MIN,
                               .next_rest = 2 * XEN_POLL_REST_MIN };
}

static void begin_to_look(struct xen_poll *poll)
{
    poll->looking = true;
    poll->failures = 0;
    poll->awake = (struct xen_poll_mean){ 0 };
}

static void stop_looking(struct xen_poll *poll)
{
    poll->looking = false;
    poll->asleep = (struct xen_poll_mean){ 0 };
    poll->rest = poll->next_rest;
    poll->next_rest = MIN(poll->next_rest * 2, XEN_POLL_REST_MAX);
}

/* By a quarter at least: it costs processor time, after all. */
static bool pays(const struct xen_poll *poll)
{
    return mean_value(&poll->awake) * 4 <= mean_value(&poll->asleep) * 3;
}

static void judge(struct xen_poll *poll)
{
    if (poll->awake.count < XEN_POLL_TRIAL)
        return;
    if (!pays(poll))
        stop_looking(poll);
    else if (poll->awake.count == XEN_POLL_TRIAL)
        poll->next_rest = MAX(poll->next_rest / 2, XEN_POLL_REST_MIN);
}

static void request_awake(struct xen_poll *poll, uint64_t gap, enum xen_poll_how how)
{
    mean_add(&poll->awake, gap);
    if (how == XEN_POLL_SEEN && poll->failures > 0)
        poll->failures--;
    judge(poll);
}

static void rest_is_over(struct xen_poll *poll)
{
    if (mean_value(&poll->asleep) <= poll->max) {
        begin_to_look(poll);
    } else {
        poll->asleep = (struct xen_poll_mean){ 0 };
        poll->rest = XEN_POLL_REST_SLOW;
    }
}

static void request_asleep(struct xen_poll *poll, uint64_t gap)
{
    if (poll->max == 0)
        return;
    mean_add(&poll->asleep, gap);
    if (--poll->rest == 0)
        rest_is_over(poll);
}

/* The last requests of a rest are enough to know how quickly they come. */
bool xen_poll_measures(const struct xen_poll *poll)
{
    return poll->max > 0 && (poll->looking || poll->rest <= XEN_POLL_TRIAL);
}

void xen_poll_unmeasured(struct xen_poll *poll)
{
    if (!poll->looking && poll->rest > 1)
        poll->rest--;
}

uint64_t xen_poll_window(const struct xen_poll *poll)
{
    if (!poll->looking)
        return 0;
    uint64_t gap = mean_value(poll->awake.count ? &poll->awake : &poll->asleep);
    return CLAMP(gap * WINDOW_GAPS, XEN_POLL_MIN_NS, poll->max);
}

void xen_poll_request(struct xen_poll *poll, uint64_t gap, enum xen_poll_how how)
{
    gap = MIN(gap, GAP_MAX_WINDOWS * poll->max);
    if (poll->looking)
        request_awake(poll, gap, how);
    else
        request_asleep(poll, gap);
}

void xen_poll_failed(struct xen_poll *poll)
{
    poll->failures += FAILURE_WEIGHT;
    if (poll->looking && poll->failures >= XEN_POLL_PATIENCE * FAILURE_WEIGHT)
        stop_looking(poll);
}

/* --- the look --- */

uint64_t xen_poll_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

bool xen_poll_look(struct xen_poll *poll, uint64_t since, bool (*ready)(void *opaque), void *opaque)
{
    uint64_t window = xen_poll_window(poll);
    uint64_t now = since, last;
    bool found, preempted = false;

    if (window == 0)
        return false;
    do {
        relax();
        found = ready(opaque);
        last = now;
        now = xen_poll_clock();
        preempted |= now - last > MAX(PREEMPTED_NS, window / PREEMPTED_PART);
    } while (!found && now - since < window);

    if (preempted || !found)
        xen_poll_failed(poll);
    if (found)
        xen_poll_request(poll, now - since, preempted ? XEN_POLL_WOKEN : XEN_POLL_SEEN);
    return found;
}
