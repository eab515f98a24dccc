/*
 * The roles that this floor offers to the table in roles.c.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBACKENDS_H
#define PVBACKENDS_H

#include "role.h"

extern const struct role disk_role;

#endif
