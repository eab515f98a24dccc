/*
 * A limit on what a disk does in a second: requests, bytes, or both.  It is a debt that is paid off
 * with time: whoever owes nothing may take a request, however large.  What is not used is saved up
 * for a tenth of a second.
 *
 * Threads: any; a disk's queues share one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_THROTTLE_H
#define DISK_THROTTLE_H

#include <stdint.h>
#include <glib.h>

struct disk_throttle;

/* Without a limit.  CLOCK: the monotonic time in us, g_get_monotonic_time() but for a test. */
typedef gint64 disk_throttle_clock(void);
struct disk_throttle *disk_throttle_new(disk_throttle_clock *clock);
void disk_throttle_free(struct disk_throttle *throttle);

/* Limits a second; 0 is none.  What is owed is forgotten. */
void disk_throttle_set(struct disk_throttle *throttle, uint64_t requests, uint64_t bytes);
void disk_throttle_get(struct disk_throttle *throttle, uint64_t *requests, uint64_t *bytes);

/* The monotonic time (us) before which nothing may be taken; 0 if something may. */
gint64 disk_throttle_until(struct disk_throttle *throttle);

void disk_throttle_charge(struct disk_throttle *throttle, uint64_t requests, uint64_t bytes);

#endif
