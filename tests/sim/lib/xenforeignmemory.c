/*
 * libxenforeignmemory on the simulated hypervisor: frames are pages of the domain's memory file,
 * ioreq pages are pages of the hypervisor's own.
 *
 * Source: xenforeignmemory.h; errors as of Xen 4.17's library and Linux's privcmd driver.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenforeignmemory.h>
#include <xen/memory.h>

#include "tests/sim/lib/call.h"
#include "tests/sim/lib/toolcore.h"

#define MAX_PAGES (UINT64_C(1) << 36) /* of one mapping: all that an address space has room for */
#define MAX_FRAMES 16                 /* of one mapping of a resource: it has 2 */

struct xenforeignmemory_handle {
    struct toolcore_handle toolcore; /* first: callbacks get its address */
    domid_t restricted;              /* the only domain it may touch, or DOMID_INVALID */
};

struct xenforeignmemory_resource_handle {
    void *address;
    size_t length;
};

/* --- the handle --- */

static int restrict_to(xenforeignmemory_handle *fmem, domid_t domid)
{
    if (fmem->restricted == DOMID_INVALID)
        fmem->restricted = domid;
    return call_result(fmem->restricted == domid ? 0 : -EINVAL);
}

static int restrict_callback(struct toolcore_handle *handle, domid_t domid)
{
    return restrict_to((xenforeignmemory_handle *)handle, domid);
}

xenforeignmemory_handle *xenforeignmemory_open(struct xentoollog_logger *logger,
                                               unsigned open_flags)
{
    if (open_flags) {
        errno = EINVAL;
        return NULL;
    }
    if (call_fails(__func__) || !sim_hypervisor())
        return NULL;
    xenforeignmemory_handle *fmem = calloc(1, sizeof(*fmem));
    if (!fmem)
        return NULL;
    fmem->toolcore.restrict_callback = restrict_callback;
    fmem->restricted = DOMID_INVALID;
    xentoolcore__register_active_handle(&fmem->toolcore);
    return fmem;
}

int xenforeignmemory_close(xenforeignmemory_handle *fmem)
{
    if (!fmem)
        return 0;
    xentoolcore__deregister_active_handle(&fmem->toolcore);
    free(fmem);
    return 0;
}

int xenforeignmemory_restrict(xenforeignmemory_handle *fmem, domid_t domid)
{
    return call_fails(__func__) ? -1 : restrict_to(fmem, domid);
}

static bool permitted(const xenforeignmemory_handle *fmem, uint32_t domid)
{
    if (fmem->restricted == DOMID_INVALID || fmem->restricted == domid)
        return true;
    errno = EPERM;
    return false;
}

/* --- guest memory --- */

struct mapping {
    struct sim_domain *domain; /* NULL: every frame fails */
    int memory, added;         /* descriptors: of the guest's memory, of frames beyond it */
    uint8_t *address;
    int prot;
    const xen_pfn_t *gfns;
    int *errors; /* negative, as Linux's driver has them */
};

/* The file that frame I is in, or -1. */
static int file_of(const struct mapping *mapping, size_t i)
{
    if (!mapping->domain || !sim_physmap_has(mapping->domain, mapping->gfns[i], mapping->gfns[i]))
        return -1;
    return mapping->gfns[i] < mapping->domain->pages ? mapping->memory : mapping->added;
}

/* The number of pages from I on that lie side by side in the file too. */
static size_t run_length(const struct mapping *mapping, size_t i, size_t pages)
{
    size_t length = 1;
    while (i + length < pages && mapping->gfns[i + length] == mapping->gfns[i] + length &&
           file_of(mapping, i + length) == file_of(mapping, i))
        length++;
    return length;
}

/* Maps what can be mapped; the rest faults when it is touched. */
static void map_frames(const struct mapping *mapping, size_t pages)
{
    for (size_t i = 0, length; i < pages; i += length) {
        int error = mapping->domain ? -EINVAL : -ESRCH, fd = file_of(mapping, i);
        length = run_length(mapping, i, pages);
        if (fd >= 0) {
            void *at = mmap(mapping->address + i * SIM_PAGE, length * SIM_PAGE, mapping->prot,
                            MAP_SHARED | MAP_FIXED, fd, mapping->gfns[i] * SIM_PAGE);
            error = at == MAP_FAILED ? -errno : 0;
        }
        for (size_t j = 0; j < length; j++)
            mapping->errors[i + j] = error;
    }
}

/* The same with the domain's files open and its frames standing still. */
static void map_domain(struct mapping *mapping, uint32_t dom, size_t pages)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    sim_lock(xen);
    /* Xen knows only domains other than the caller's as foreign. */
    mapping->domain = dom != sim_user_domid() ? sim_domain(dom) : NULL;
    mapping->memory = mapping->added = -1;
    if (mapping->domain)
        mapping->memory = sim_domain_memory_fd(dom);
    if (mapping->domain && mapping->domain->ioreq.frames_added.count > 0)
        mapping->added = sim_physmap_open(dom);
    map_frames(mapping, pages);
    sim_unlock(xen);
    if (mapping->added >= 0)
        close(mapping->added);
}

/* The last pages fail if a test wants that. */
static void fall_short(const struct mapping *mapping, size_t pages, size_t short_by)
{
    size_t first = short_by < pages ? pages - short_by : 0;
    for (size_t i = first; i < pages; i++)
        mapping->errors[i] = -EINVAL;
    if (first < pages)
        mmap(mapping->address + first * SIM_PAGE, (pages - first) * SIM_PAGE, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void *map(uint32_t dom, void *addr, int prot, int flags, size_t pages, const xen_pfn_t arr[],
                 int err[], size_t short_by)
{
    struct mapping mapping = { .prot = prot, .gfns = arr, .errors = err };

    if (pages == 0 || pages > MAX_PAGES) {
        errno = EINVAL;
        return NULL;
    }
    mapping.address =
        mmap(addr, pages * SIM_PAGE, PROT_NONE,
             (flags & ~MAP_SHARED) | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping.address == MAP_FAILED)
        return NULL;
    map_domain(&mapping, dom, pages);
    fall_short(&mapping, pages, short_by);
    return mapping.address;
}

/* The same where any failure is one of the whole. */
static void *map_all(uint32_t dom, void *addr, int prot, int flags, size_t pages,
                     const xen_pfn_t arr[], size_t short_by)
{
    int *errors = calloc(pages ? pages : 1, sizeof(*errors));
    if (!errors)
        return NULL;
    void *address = map(dom, addr, prot, flags, pages, arr, errors, short_by);
    for (size_t i = 0; address && i < pages; i++) {
        if (errors[i] == 0)
            continue;
        munmap(address, pages * SIM_PAGE);
        address = NULL;
        errno = -errors[i];
    }
    free(errors);
    return address;
}

/* Both maps have this, and a fault of either name. */
static void *map_checked(const char *call, xenforeignmemory_handle *fmem, uint32_t dom, void *addr,
                         int prot, int flags, size_t pages, const xen_pfn_t arr[], int err[])
{
    struct sim_struck fault = { 0 };
    if (sim_struck(call, &fault) && fault.error) {
        errno = fault.error;
        return NULL;
    }
    if (!permitted(fmem, dom))
        return NULL;
    return err ? map(dom, addr, prot, flags, pages, arr, err, fault.short_by)
               : map_all(dom, addr, prot, flags, pages, arr, fault.short_by);
}

void *xenforeignmemory_map2(xenforeignmemory_handle *fmem, uint32_t dom, void *addr, int prot,
                            int flags, size_t pages, const xen_pfn_t arr[], int err[])
{
    return map_checked(__func__, fmem, dom, addr, prot, flags, pages, arr, err);
}

void *xenforeignmemory_map(xenforeignmemory_handle *fmem, uint32_t dom, int prot, size_t pages,
                           const xen_pfn_t arr[], int err[])
{
    return map_checked(__func__, fmem, dom, NULL, prot, 0, pages, arr, err);
}

int xenforeignmemory_unmap(xenforeignmemory_handle *fmem, void *addr, size_t pages)
{
    return call_fails(__func__) ? -1 : munmap(addr, pages * SIM_PAGE);
}

/* --- resources --- */

/* Can we have resources of TYPE of DOMID? */
static int check_resource(domid_t domid, unsigned type, unsigned id)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return -ESRCH;
    if (domid == sim_user_domid())
        return -EPERM;
    if (type == XENMEM_resource_grant_table)
        return -EOPNOTSUPP; /* not simulated */
    if (type != XENMEM_resource_ioreq_server || !domain->hvm || id > UINT16_MAX)
        return -EINVAL;
    return 0;
}

/* Frames follow each other in the state's file as in the resource. */
static int find_frames(domid_t domid, unsigned type, unsigned id, unsigned long frame,
                       unsigned long count, off_t *offset)
{
    int result = count == 0 || count > MAX_FRAMES ? -EINVAL : check_resource(domid, type, id);
    for (unsigned long i = 0; result == 0 && i < count; i++) {
        off_t at;
        result = sim_ioreq_frame(domid, id, frame + i, &at);
        if (i == 0)
            *offset = at;
    }
    return result;
}

xenforeignmemory_resource_handle *
xenforeignmemory_map_resource(xenforeignmemory_handle *fmem, domid_t domid, unsigned int type,
                              unsigned int id, unsigned long frame, unsigned long nr_frames,
                              void **paddr, int prot, int flags)
{
    off_t offset = 0;

    if (flags & ~(MAP_SHARED | MAP_PRIVATE)) {
        errno = EINVAL;
        return NULL;
    }
    if (call_fails(__func__) || !permitted(fmem, domid) ||
        call_result(find_frames(domid, type, id, frame, nr_frames, &offset)) < 0)
        return NULL;
    xenforeignmemory_resource_handle *fres = calloc(1, sizeof(*fres));
    if (!fres)
        return NULL;
    fres->length = nr_frames * SIM_PAGE;
    fres->address =
        mmap(*paddr, fres->length, prot, flags | MAP_SHARED, sim_hypervisor_fd(), offset);
    if (fres->address == MAP_FAILED) {
        free(fres);
        return NULL;
    }
    *paddr = fres->address;
    return fres;
}

int xenforeignmemory_unmap_resource(xenforeignmemory_handle *fmem,
                                    xenforeignmemory_resource_handle *fres)
{
    if (call_fails(__func__))
        return -1;
    int result = munmap(fres->address, fres->length);
    free(fres);
    return result;
}

int xenforeignmemory_resource_size(xenforeignmemory_handle *fmem, domid_t domid, unsigned int type,
                                   unsigned int id, size_t *size)
{
    if (call_fails(__func__) || !permitted(fmem, domid) ||
        call_result(check_resource(domid, type, id)) < 0)
        return -1;
    *size = 2 * SIM_PAGE; /* the buffered page, and one for as many vCPUs as there can be */
    return 0;
}
