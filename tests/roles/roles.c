/*
 * The role table of the tests' own rolemodel: the product's roles and the example of
 * docs/writing-a-role.rst, which rings, ports and interrupts are tried with, and the clerk, which
 * commands are tried with.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "hw/hw.h"
#include "pvbackends/pvbackends.h"
#include "role.h"

extern const struct role clerk_role;
extern const struct role doorbell_role;

const struct role *const role_table[] = {
    &disk_role, &shmem_role, &doorbell_role, &clerk_role, NULL,
};
