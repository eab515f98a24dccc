/*
 * Debug output of a driver: lines on I/O port 0xE9, which Xen shows in `xl dmesg` as
 * "(d7) XenAcpi: ..." without leaving the hypervisor.  Without Xen the port belongs to nobody and
 * the lines are lost.
 *
 * Bounded: a line has at most DEBUG_PORT_LINE characters, and a driver DEBUG_PORT_LINES lines, the
 * last of which says that there are no more; so a device that goes wrong again and again costs
 * nothing.
 */
#pragma once

#include <stdint.h>

#define DEBUG_PORT_LINE 160
#define DEBUG_PORT_LINES 100

/* The caller's; not for two tasks at once. */
struct debug_port {
    const char *name;
    uint32_t lines;
};

/* `format` knows %s, %c, %u, %x, %llu, %llx and %%; no widths.  What is not printable ASCII becomes
 * '?'. */
void debug_port_say(struct debug_port *port, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
