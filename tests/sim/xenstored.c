/*
 * Makes Debian's xenstored that of a simulated host (LD_PRELOAD).
 *
 * Its libraries are the simulated ones already; what is left are two files of dom0's kernel, where
 * it finds dom0's own ring and event channel, and the system log.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "tests/sim/hypervisor/hypervisor.h"

/* By the symbols that xenstored calls, whatever libc's headers make of the names here. */
int host_open(const char *path, int flags, ...) __asm__("open");
void host_syslog(int priority, int flag, const char *format, ...) __asm__("__syslog_chk");

/* The page that xenstored maps at the start of the file: dom0's frame 0 is kept for it. */
static int open_ring(void)
{
    return fcntl(sim_domain_memory_fd(0), F_DUPFD_CLOEXEC, 0);
}

static int open_port(void)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/xsd_port", sim_directory());
    return openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

int host_open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (strcmp(path, "/proc/xen/xsd_kva") == 0)
        return open_ring();
    if (strcmp(path, "/proc/xen/xsd_port") == 0 && sim_hypervisor())
        return open_port();
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list args;
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }
    return openat(AT_FDCWD, path, flags, mode);
}

/* A guest that tries its quota is nothing for the machine's log. */
void host_syslog(int priority, int flag, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
