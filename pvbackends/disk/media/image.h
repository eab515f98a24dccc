/*
 * What is done to an image file while nobody uses it, by qemu-img.
 *
 * Threads: any; the calls wait for qemu-img, which takes some 10 ms where storage does not stall.
 * Errors: qemu-img's own words.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_IMAGE_H
#define DISK_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <glib.h>

/* Makes OVERLAY, a qcow2 file that is not there yet, with BACKING, of FORMAT, behind it. */
bool disk_image_make_overlay(const char *overlay, const char *backing, const char *format,
                             GError **error);

/* Makes the image as long as BYTES; shorter only if there is no data in what is cut off. */
bool disk_image_resize(const char *path, const char *format, uint64_t bytes, GError **error);

#endif
