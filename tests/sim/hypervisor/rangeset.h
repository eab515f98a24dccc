/*
 * A set of numbers as ranges, like Xen's: what touches becomes one range, and there is a limit.
 *
 * Errors: 0, or -ENOMEM where one range more than the limit would be needed.
 * Threads: the owner's lock.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HYPERVISOR_RANGESET_H
#define HYPERVISOR_RANGESET_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SIM_RANGES 256

/* In ascending order, bounds inclusive; no two overlap or touch.  All zeroes is empty. */
struct sim_rangeset {
    uint32_t count;
    struct {
        uint64_t first, last;
    } range[SIM_RANGES];
};

/* The first range that does not end before VALUE; set->count if there is none. */
static inline uint32_t sim_rangeset_find(const struct sim_rangeset *set, uint64_t value)
{
    uint32_t low = 0, high = set->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (set->range[middle].last < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline bool sim_rangeset_contains(const struct sim_rangeset *set, uint64_t first,
                                         uint64_t last)
{
    uint32_t i = sim_rangeset_find(set, first);
    return i < set->count && set->range[i].first <= first && set->range[i].last >= last;
}

static inline bool sim_rangeset_overlaps(const struct sim_rangeset *set, uint64_t first,
                                         uint64_t last)
{
    uint32_t i = sim_rangeset_find(set, first);
    return i < set->count && set->range[i].first <= last;
}

static inline void sim_rangeset_delete_at(struct sim_rangeset *set, uint32_t i)
{
    memmove(&set->range[i], &set->range[i + 1], (set->count - i - 1) * sizeof(set->range[0]));
    set->count--;
}

static inline int sim_rangeset_insert_at(struct sim_rangeset *set, uint32_t i, uint64_t first,
                                         uint64_t last)
{
    if (set->count == SIM_RANGES)
        return -ENOMEM;
    memmove(&set->range[i + 1], &set->range[i], (set->count - i) * sizeof(set->range[0]));
    set->range[i].first = first;
    set->range[i].last = last;
    set->count++;
    return 0;
}

/* Adds what overlaps nothing in SET. */
static inline int sim_rangeset_add(struct sim_rangeset *set, uint64_t first, uint64_t last)
{
    uint32_t i = sim_rangeset_find(set, first);
    bool after = i > 0 && set->range[i - 1].last + 1 == first;
    bool before = i < set->count && last + 1 == set->range[i].first;

    if (!after && !before)
        return sim_rangeset_insert_at(set, i, first, last);
    if (after && before) {
        set->range[i - 1].last = set->range[i].last;
        sim_rangeset_delete_at(set, i);
    } else if (after) {
        set->range[i - 1].last = last;
    } else {
        set->range[i].first = first;
    }
    return 0;
}

/* Removes what one range of SET contains. */
static inline int sim_rangeset_cut(struct sim_rangeset *set, uint64_t first, uint64_t last)
{
    uint32_t i = sim_rangeset_find(set, first);
    uint64_t end = set->range[i].last;

    if (set->range[i].first == first && end == last) {
        sim_rangeset_delete_at(set, i);
    } else if (set->range[i].first == first) {
        set->range[i].first = last + 1;
    } else {
        if (end != last && sim_rangeset_insert_at(set, i + 1, last + 1, end) < 0)
            return -ENOMEM;
        set->range[i].last = first - 1;
    }
    return 0;
}

/* Removes whatever lies between FIRST and LAST. */
static inline int sim_rangeset_clear(struct sim_rangeset *set, uint64_t first, uint64_t last)
{
    while (sim_rangeset_overlaps(set, first, last)) {
        uint32_t i = sim_rangeset_find(set, first);
        uint64_t from = set->range[i].first > first ? set->range[i].first : first;
        uint64_t to = set->range[i].last < last ? set->range[i].last : last;
        int result = sim_rangeset_cut(set, from, to);
        if (result < 0)
            return result;
    }
    return 0;
}

#endif
