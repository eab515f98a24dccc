/*
 * What every call of the simulated libraries does at its start and end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef LIB_CALL_H
#define LIB_CALL_H

#include <errno.h>
#include <stdbool.h>

#include "tests/sim/hypervisor/hypervisor.h"

/* Did a fault that a test asked for strike the call?  Then errno is set. */
static inline bool call_fails(const char *call)
{
    struct sim_struck fault;
    if (!sim_struck(call, &fault) || fault.error == 0)
        return false;
    errno = fault.error;
    return true;
}

/* Sets errno from a negative result, as ioctl() does. */
static inline int call_result(int result)
{
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

#endif
