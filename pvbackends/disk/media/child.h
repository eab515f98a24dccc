/*
 * A helper program: started so that it cannot outlive us and inherits nothing, heard on its
 * standard error, and ended.
 *
 * Threads: one at a time; the program ends with the thread that started it, not with the process.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_CHILD_H
#define DISK_CHILD_H

#include <stdbool.h>
#include <glib.h>

struct disk_child;

/* Starts ARGV (NULL-terminated, the program from $PATH). */
struct disk_child *disk_child_start(const char *const *argv, GError **error);

/* It must have ended, or nothing is freed and the process is left alone; NULL is fine. */
void disk_child_free(struct disk_child *child);

GPid disk_child_pid(const struct disk_child *child);

/* Readable when it has ended, and when it has said something; the latter -1 if it cannot any more.
 */
int disk_child_fd(const struct disk_child *child);
int disk_child_output_fd(const struct disk_child *child);

/* The next line that it has said; NULL if there is none yet.  g_free() */
char *disk_child_line(struct disk_child *child);

/* Has it ended?  Waits for up to WAIT_MS for that. */
bool disk_child_ended(struct disk_child *child, unsigned wait_ms);

/* How, when it has: "was killed by signal 9".  g_free() */
char *disk_child_end(const struct disk_child *child);

void disk_child_signal(struct disk_child *child, int number);

#endif
