/*
 * What is known of a guest's PCI hole before the guest is there: from its xl.cfg, and of host
 * devices from sysfs.
 *
 * Source: xl.cfg(5); libxl__build_device_model_args_new() in libxl_dm.c for the order of devices.
 * Errors: G_OPTION_ERROR or G_FILE_ERROR, with the line or the device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_HOLE_CONFIG_H
#define TOOLSTACK_HOLE_CONFIG_H

#include "role.h"
#include "toolstack/hole-qemu.h"

/* From the TEXT of an xl.cfg with type="hvm". */
struct hole_platform *hole_config_read(const struct role *const *roles, const char *text,
                                       GError **error);

/* Adds what ROLE shows with OPTIONS ("key=value", NULL-terminated); nothing for a PV role. */
bool hole_platform_add_role(struct hole_platform *platform, const struct role *role,
                            char *const *options, GError **error);

/* Adds the host's device BDF ("[0000:]01:00.0") at DEVFN, or at the first free slot if it is -1. */
bool hole_platform_add_host(struct hole_platform *platform, const char *bdf, int devfn,
                            GError **error);

#endif
