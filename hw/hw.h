/*
 * The roles that this floor offers to the table in roles.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef HW_H
#define HW_H

#include "role.h"

extern const struct role shmem_role;

#endif
