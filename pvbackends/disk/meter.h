/*
 * What the counters of a guest's disks say, for `rolemodel top`: a reading is a struct
 * disk_counters_file.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef DISK_METER_H
#define DISK_METER_H

#include "role_meter.h"

extern const struct role_meter disk_meter;

#endif
