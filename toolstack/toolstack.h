/*
 * The commands that this floor offers to rolemodel.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef TOOLSTACK_H
#define TOOLSTACK_H

#include "role.h"

/* The supervisor: the guest's `device_model_override`, started by libxl with QEMU's arguments. */
int supervisor_main(const struct role *const *roles, int argc, char **argv);

/* `rolemodel list`. */
int list_main(const struct role *const *roles, int argc, char **argv);

/* `rolemodel top`. */
int top_main(const struct role *const *roles, int argc, char **argv);

/* `rolemodel hole`. */
int hole_main(const struct role *const *roles, int argc, char **argv);

#endif
