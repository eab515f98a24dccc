/*
 * The role table: a new role is one folder and one line here (docs/writing-a-role.rst).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hw/hw.h"
#include "pvbackends/pvbackends.h"
#include "role.h"

const struct role *const role_table[] = {
    &disk_role,
    &shmem_role,
    NULL,
};
