/* Adaptive polling: see poll.h. */

#include "ioreq/poll.h"

#include <glib.h>

/* A look takes so many times what requests take to come. */
#define WINDOW_GAPS 3

/* A longer gap counts as this one, so that a guest that was idle for hours is not held slow. */
#define GAP_MAX_NS (2 * (uint64_t)IOREQ_POLL_MAX_NS)

/* A failure weighs as much as so many successes, since it costs more than each of them saves. */
#define FAILURE_WEIGHT 4

/* --- means --- */

static void mean_add(struct ioreq_poll_mean *mean, uint64_t value)
{
    if (mean->count == 2 * IOREQ_POLL_TRIAL) { /* what was long ago counts less and less */
        mean->sum /= 2;
        mean->count /= 2;
    }
    mean->sum += value;
    mean->count++;
}

static uint64_t mean_value(const struct ioreq_poll_mean *mean)
{
    return mean->count ? mean->sum / mean->count : 0;
}

/* --- the policy --- */

void ioreq_poll_init(struct ioreq_poll *poll, bool enabled)
{
    *poll = (struct ioreq_poll){ .enabled = enabled,
                                 .rest = IOREQ_POLL_REST_MIN,
                                 .next_rest = 2 * IOREQ_POLL_REST_MIN };
}

static void begin_to_look(struct ioreq_poll *poll)
{
    poll->looking = true;
    poll->failures = 0;
    poll->awake = (struct ioreq_poll_mean){ 0 };
}

static void stop_looking(struct ioreq_poll *poll)
{
    poll->looking = false;
    poll->asleep = (struct ioreq_poll_mean){ 0 };
    poll->rest = poll->next_rest;
    poll->next_rest = MIN(poll->next_rest * 2, IOREQ_POLL_REST_MAX);
}

/* By a quarter at least: it costs processor time, after all. */
static bool pays(const struct ioreq_poll *poll)
{
    return mean_value(&poll->awake) * 4 <= mean_value(&poll->asleep) * 3;
}

static void judge(struct ioreq_poll *poll)
{
    if (poll->awake.count < IOREQ_POLL_TRIAL)
        return;
    if (!pays(poll))
        stop_looking(poll);
    else if (poll->awake.count == IOREQ_POLL_TRIAL)
        poll->next_rest = MAX(poll->next_rest / 2, IOREQ_POLL_REST_MIN);
}

static void request_awake(struct ioreq_poll *poll, uint64_t gap, enum ioreq_poll_how how)
{
    mean_add(&poll->awake, gap);
    if (how == IOREQ_POLL_SEEN && poll->failures > 0)
        poll->failures--;
    judge(poll);
}

static void rest_is_over(struct ioreq_poll *poll)
{
    if (mean_value(&poll->asleep) <= IOREQ_POLL_MAX_NS) {
        begin_to_look(poll);
    } else {
        poll->asleep = (struct ioreq_poll_mean){ 0 };
        poll->rest = IOREQ_POLL_REST_SLOW;
    }
}

static void request_asleep(struct ioreq_poll *poll, uint64_t gap)
{
    if (!poll->enabled)
        return;
    mean_add(&poll->asleep, gap);
    if (--poll->rest == 0)
        rest_is_over(poll);
}

/* The last requests of a rest are enough to know how quickly they come. */
bool ioreq_poll_measures(const struct ioreq_poll *poll)
{
    return poll->enabled && (poll->looking || poll->rest <= IOREQ_POLL_TRIAL);
}

void ioreq_poll_unmeasured(struct ioreq_poll *poll)
{
    if (!poll->looking && poll->rest > 1)
        poll->rest--;
}

uint64_t ioreq_poll_window(const struct ioreq_poll *poll)
{
    if (!poll->looking)
        return 0;
    uint64_t gap = mean_value(poll->awake.count ? &poll->awake : &poll->asleep);
    return CLAMP(gap * WINDOW_GAPS, IOREQ_POLL_MIN_NS, IOREQ_POLL_MAX_NS);
}

void ioreq_poll_request(struct ioreq_poll *poll, uint64_t gap, enum ioreq_poll_how how)
{
    if (poll->looking)
        request_awake(poll, MIN(gap, GAP_MAX_NS), how);
    else
        request_asleep(poll, MIN(gap, GAP_MAX_NS));
}

void ioreq_poll_failed(struct ioreq_poll *poll)
{
    poll->failures += FAILURE_WEIGHT;
    if (poll->looking && poll->failures >= IOREQ_POLL_PATIENCE * FAILURE_WEIGHT)
        stop_looking(poll);
}
