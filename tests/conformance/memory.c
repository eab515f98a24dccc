/* A guest's memory, mapped in dom0: see conformance.h. */

#include "tests/conformance/conformance.h"

#include <errno.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>

#include "tests/conformance/accesses.h"

#define PAGE 4096
#define FRAMES 3
#define WRITE (PROT_READ | PROT_WRITE)

static xenforeignmemory_handle *memory;

static void with_errors(const char *what, unsigned domid, const xen_pfn_t *frames)
{
    int errors[FRAMES] = { 99, 99, 99 };
    errno = 0;
    void *map = xenforeignmemory_map(memory, domid, WRITE, FRAMES, frames, errors);
    observe("%s: %s, errors %d %d %d", what, outcome_pointer(map), errors[0], errors[1], errors[2]);
    if (map)
        xenforeignmemory_unmap(memory, map, FRAMES);
}

static const char *without_errors(unsigned domid, unsigned count, const xen_pfn_t *frames)
{
    void *map = xenforeignmemory_map(memory, domid, WRITE, count, frames, NULL);
    const char *result = outcome_pointer(map);
    if (map)
        xenforeignmemory_unmap(memory, map, count);
    return result;
}

static void mapping(unsigned domid)
{
    const xen_pfn_t first = BUFFER / PAGE, none = MEMORY / PAGE;
    const xen_pfn_t good[FRAMES] = { first, first + 1, first };
    const xen_pfn_t holed[FRAMES] = { first, none, first + 1 };
    const xen_pfn_t holes[FRAMES] = { none, none + 1, none << 8 };

    with_errors("map", domid, good);
    with_errors("map: one is a hole", domid, holed);
    with_errors("map: all are holes", domid, holes);
    with_errors("map: domain that is not there", NO_DOMAIN, good);
    observe("map without errors: %s", without_errors(domid, FRAMES, good));
    observe("map without errors: one is a hole: %s", without_errors(domid, FRAMES, holed));
    observe("map without errors: all are holes: %s", without_errors(domid, FRAMES, holes));
    observe("map without errors: domain that is not there: %s",
            without_errors(NO_DOMAIN, FRAMES, good));

    char *map = xenforeignmemory_map(memory, domid, WRITE, FRAMES, good, NULL);
    if (!map)
        give_up("mapping the guest's memory");
    map[0] = 'x';
    map[PAGE] = 'y';
    observe("a frame mapped twice is the same: %c%c%c", map[0], map[PAGE], map[2 * PAGE]);
    char *other = xenforeignmemory_map(memory, domid, PROT_READ, 1, good, NULL);
    observe("a second mapping: %s, contents: %c", outcome_pointer(other), other[0]);
    observe("unmap: %s", outcome(xenforeignmemory_unmap(memory, map, FRAMES)));
    observe("the second mapping is still there: %c", other[0]);
    xenforeignmemory_unmap(memory, other, 1);
}

static void restriction(unsigned domid)
{
    const xen_pfn_t first = BUFFER / PAGE;
    observe("restrict: %s", outcome(xenforeignmemory_restrict(memory, domid)));
    observe("restrict: to another: %s", outcome(xenforeignmemory_restrict(memory, NO_DOMAIN)));
    observe("restrict: that domain: %s", without_errors(domid, 1, &first));
    observe("restrict: another: %s", without_errors(NO_DOMAIN, 1, &first));
}

void memory_area(unsigned domid)
{
    memory = xenforeignmemory_open(NULL, 0);
    if (!memory)
        give_up("xenforeignmemory_open");
    mapping(domid);
    restriction(domid);
    xenforeignmemory_close(memory);
}
