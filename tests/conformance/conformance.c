/* The conformance set's main program: see conformance.h. */

#include "tests/conformance/conformance.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct area {
    const char *name;
    void (*run)(unsigned domid);
    bool guest;
} areas[] = {
    { "evtchn", evtchn_area, false },        { "gnttab", gnttab_area, false },
    { "xenstore", xenstore_area, false },    { "memory", memory_area, true },
    { "ioreq", ioreq_area, true },           { "ioreq-busy", ioreq_busy_area, true },
    { "ioreq-port", ioreq_port_area, true }, { "ioreq-orphan", ioreq_orphan_area, true },
};

static const struct area *area;

void observe(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s: ", area->name);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    fflush(stdout);
}

void give_up(const char *format, ...)
{
    va_list args;
    int error = errno;
    va_start(args, format);
    printf("%s: GAVE UP: ", area->name);
    vprintf(format, args);
    printf(" (%s)\n", strerrorname_np(error));
    va_end(args);
    exit(1);
}

const char *outcome(long result)
{
    if (result >= 0)
        return "ok";
    const char *name = strerrorname_np(errno);
    return name ? name : "an errno without a name";
}

const char *outcome_pointer(const void *result)
{
    return outcome(result ? 0 : -1);
}

const char *yes(bool is)
{
    return is ? "yes" : "no";
}

bool readable(int fd, int timeout_ms)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    return poll(&poll_fd, 1, timeout_ms) == 1;
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc > 1 && i < sizeof(areas) / sizeof(areas[0]); i++) {
        if (strcmp(argv[1], areas[i].name) == 0 && areas[i].guest == (argc == 3)) {
            area = &areas[i];
            area->run(argc == 3 ? atoi(argv[2]) : 0);
            return 0;
        }
    }
    fprintf(stderr,
            "usage: %s evtchn | gnttab | xenstore\n"
            "       %s memory | ioreq | ioreq-busy | ioreq-port | ioreq-orphan DOMID\n",
            argv[0], argv[0]);
    return 2;
}
