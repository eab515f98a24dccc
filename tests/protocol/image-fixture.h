/*
 * What tests of media that a qemu-storage-daemon serves need beside disk-fixture.h: images made and
 * read by QEMU's tools, and the daemon itself.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PROTOCOL_IMAGE_FIXTURE_H
#define PROTOCOL_IMAGE_FIXTURE_H

#include "tests/protocol/disk-fixture.h"

/* Runs a command of the shell, which must succeed (or fail, for the second). */
G_GNUC_PRINTF(1, 2) void image_run(const char *format, ...);
G_GNUC_PRINTF(1, 2) void image_run_fails(const char *format, ...);

/* Has the sockets of the role in the test's directory; before the role is started. */
void image_use_directory(struct fixture *f);

/* They are gone. */
void image_assert_directory_clean(struct fixture *f);

/* The name for a new file that is removed with the fixture; it is not made. */
const char *image_new_path(struct fixture *f);

/* Attaches what PARAMS say, and DISK (or NULL) besides, as xvda; the disk's index is 0. */
void image_attach(struct fixture *f, const char *params, const struct toolstack_disk *disk);

/* An empty image of FORMAT (QEMU's name) with SECTORS, attached, and the role and a frontend. */
struct blkfront *image_start(struct fixture *f, const char *format, const char *params,
                             uint64_t sectors);

/* The daemon of the role's only disk, once it is there, and not BEFORE (or 0). */
pid_t image_daemon(struct fixture *f, pid_t before);

/* Stops it, as storage that does not answer does: no thread of it runs any more. */
void image_stop_daemon(pid_t daemon);

/* Waits until COUNT requests of the first queue are in flight. */
void image_await_in_flight(struct fixture *f, unsigned count);

/* The whole content as a guest would read it, by qemu-img; nobody may have the image.  g_free() */
uint8_t *image_read(struct fixture *f, const char *format, uint64_t sectors);

#endif
