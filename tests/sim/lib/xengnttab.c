/*
 * libxengnttab on the simulated hypervisor: gnttab (mapping and copying what other domains grant)
 * and gntshr (granting pages of our own).
 *
 * Source: xengnttab.h; errors as of Xen 4.17's library and Linux's gntdev and gntalloc.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xengnttab.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/lib/call.h"
#include "tests/sim/lib/toolcore.h"

/* xengnttab_handle and xengntshr_handle. */
struct xengntdev_handle {
    struct toolcore_handle toolcore; /* first: callbacks get its address */
    int fd;
    int keep; /* another one: mappings keep a device open, even when FD has become /dev/null */
    bool restricted;
    unsigned domid; /* on whose behalf */
    sim_user_id user;
};

/* May CALL go on?  If a fault that a test asked for or a restriction is against it, errno says so.
 */
static bool may(const xengnttab_handle *xgt, const char *call, struct sim_struck *fault)
{
    *fault = (struct sim_struck){ 0 };
    if (sim_struck(call, fault) && fault->error)
        errno = fault->error;
    else if (xgt->restricted)
        errno = ENOTTY; /* what /dev/null says to an ioctl() */
    else
        return true;
    return false;
}

static int restrict_callback(struct toolcore_handle *handle, domid_t domid)
{
    xengnttab_handle *xgt = (xengnttab_handle *)handle;
    xgt->restricted = true;
    return xentoolcore__restrict_by_dup2_null(xgt->fd);
}

static xengnttab_handle *open_device(enum sim_user_kind kind, const char *call)
{
    xengnttab_handle *xgt = call_fails(call) ? NULL : calloc(1, sizeof(*xgt));
    if (!xgt)
        return NULL;
    xgt->fd = call_result(sim_user_open(kind, true, &xgt->user));
    if (xgt->fd < 0) {
        free(xgt);
        return NULL;
    }
    xgt->keep = fcntl(xgt->fd, F_DUPFD_CLOEXEC, 0);
    xgt->domid = sim_user_domid();
    xgt->toolcore.restrict_callback = restrict_callback;
    xentoolcore__register_active_handle(&xgt->toolcore);
    return xgt;
}

/* What is still mapped stays so, and keeps the device open, until the process ends. */
static int close_device(xengnttab_handle *xgt)
{
    if (!xgt)
        return 0;
    xentoolcore__deregister_active_handle(&xgt->toolcore);
    int result = close(xgt->fd);
    if (!sim_gntdev_busy(xgt->user)) {
        close(xgt->keep);
        sim_user_reap(xgt->user); /* unless a child still has it */
    }
    free(xgt);
    return result;
}

/* --- gnttab --- */

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    return open_device(SIM_USER_GNTDEV, __func__);
}

int xengnttab_close(xengnttab_handle *xgt)
{
    return close_device(xgt);
}

int xengnttab_fd(xengnttab_handle *xgt)
{
    return xgt->fd;
}

/* Linux has no such limit any more, and the library takes ENOTTY for success. */
int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
    struct sim_struck fault;
    return may(xgt, __func__, &fault) || errno == ENOTTY ? 0 : -1;
}

static void *map(xengnttab_handle *xgt, const char *call, const struct sim_map_request *request)
{
    struct sim_struck fault;
    void *address;

    if (!may(xgt, call, &fault))
        return NULL;
    if (fault.short_by > 0) { /* one that fails fails all */
        errno = EINVAL;
        return NULL;
    }
    return call_result(sim_gntdev_map(xgt->user, request, &address)) < 0 ? NULL : address;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
    struct sim_map_request request = { .count = 1,
                                       .refs = &ref,
                                       .domids = &domid,
                                       .prot = prot,
                                       .notify = { SIM_NO_BYTE, SIM_NO_PORT } };
    return map(xgt, __func__, &request);
}

void *xengnttab_map_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t *domids,
                               uint32_t *refs, int prot)
{
    struct sim_map_request request = { .count = count,
                                       .refs = refs,
                                       .domids = domids,
                                       .stride = 1,
                                       .prot = prot,
                                       .notify = { SIM_NO_BYTE, SIM_NO_PORT } };
    return map(xgt, __func__, &request);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid,
                                      uint32_t *refs, int prot)
{
    struct sim_map_request request = { .count = count,
                                       .refs = refs,
                                       .domids = &domid,
                                       .prot = prot,
                                       .notify = { SIM_NO_BYTE, SIM_NO_PORT } };
    return map(xgt, __func__, &request);
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot,
                                     uint32_t notify_offset, evtchn_port_t notify_port)
{
    struct sim_map_request request = { .count = 1,
                                       .refs = &ref,
                                       .domids = &domid,
                                       .prot = prot,
                                       .notify = { notify_offset, notify_port } };
    return map(xgt, __func__, &request);
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
    struct sim_struck fault;
    if (!start_address) {
        errno = EINVAL;
        return -1;
    }
    if (!may(xgt, __func__, &fault))
        return -1;
    return call_result(sim_gntdev_unmap(xgt->user, start_address, count));
}

/* --- copies --- */

/* gntdev collects copies, and asks Xen for so many at a time. */
#define COPY_BATCH 16

/* What gntdev itself refuses, without asking Xen. */
static bool refused(const xengnttab_grant_copy_segment_t *segment)
{
    bool from_grant = segment->flags & GNTCOPY_source_gref;
    bool to_grant = segment->flags & GNTCOPY_dest_gref;

    if (!from_grant && !to_grant)
        return true;
    if (from_grant && segment->source.foreign.offset + segment->len > SIM_PAGE)
        return true;
    return to_grant && segment->dest.foreign.offset + segment->len > SIM_PAGE;
}

static struct sim_copy_end end_of(const union xengnttab_copy_ptr *pointer, bool grant)
{
    if (!grant)
        return (struct sim_copy_end){ .domid = SIM_COPY_LOCAL, .local = pointer->virt };
    return (struct sim_copy_end){ .domid = pointer->foreign.domid,
                                  .ref = pointer->foreign.ref,
                                  .offset = pointer->foreign.offset };
}

static int copy(const xengnttab_handle *xgt, const xengnttab_grant_copy_segment_t *segment)
{
    if (segment->len == 0)
        return GNTST_okay; /* gntdev has nothing to ask Xen for */
    struct sim_copy_end source = end_of(&segment->source, segment->flags & GNTCOPY_source_gref);
    struct sim_copy_end dest = end_of(&segment->dest, segment->flags & GNTCOPY_dest_gref);
    return sim_grant_copy(xgt->user, xgt->domid, &source, &dest, segment->len);
}

/* Local memory is copied page by page. */
static unsigned copies_of(const xengnttab_grant_copy_segment_t *segment)
{
    bool from_grant = segment->flags & GNTCOPY_source_gref;
    bool to_grant = segment->flags & GNTCOPY_dest_gref;
    uintptr_t local = (uintptr_t)(from_grant ? segment->dest.virt : segment->source.virt);

    if (from_grant && to_grant)
        return 1;
    return (local % SIM_PAGE + segment->len + SIM_PAGE - 1) / SIM_PAGE;
}

/* Makes the copies FROM to TO (excluded); those after GOOD fail. */
static void make_copies(const xengnttab_handle *xgt, xengnttab_grant_copy_segment_t *segments,
                        uint32_t from, uint32_t to, uint32_t good)
{
    for (uint32_t i = from; i < to; i++)
        segments[i].status = i < good ? copy(xgt, &segments[i]) : GNTST_general_error;
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
                         xengnttab_grant_copy_segment_t *segments)
{
    struct sim_struck fault;
    uint32_t made = 0;
    unsigned copies = 0;
    if (!may(xgt, __func__, &fault))
        return -1;
    uint32_t good = count > fault.short_by ? count - fault.short_by : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (refused(&segments[i])) {
            errno = EINVAL; /* what was collected looks as if it was made, and is not */
            return -1;
        }
        copies += copies_of(&segments[i]);
        if (copies > COPY_BATCH) {
            make_copies(xgt, segments, made, i, good);
            made = i;
            copies = copies_of(&segments[i]);
        }
        segments[i].status = GNTST_okay;
    }
    make_copies(xgt, segments, made, count, good);
    return 0;
}

/* --- dma-buf: not simulated --- */

static int no_dmabuf(void)
{
    errno = EOPNOTSUPP;
    return -1;
}

int xengnttab_dmabuf_exp_from_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t flags,
                                   uint32_t count, const uint32_t *refs, uint32_t *fd)
{
    return no_dmabuf();
}

int xengnttab_dmabuf_exp_wait_released(xengnttab_handle *xgt, uint32_t fd, uint32_t wait_to_ms)
{
    return no_dmabuf();
}

int xengnttab_dmabuf_imp_to_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t fd, uint32_t count,
                                 uint32_t *refs)
{
    return no_dmabuf();
}

int xengnttab_dmabuf_imp_release(xengnttab_handle *xgt, uint32_t fd)
{
    return no_dmabuf();
}

/* --- gntshr --- */

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger, unsigned open_flags)
{
    if (sim_user_domid() != 0) { /* the pages it hands out are dom0's */
        errno = ENOENT;
        return NULL;
    }
    return open_device(SIM_USER_GNTALLOC, __func__);
}

int xengntshr_close(xengntshr_handle *xgs)
{
    return close_device(xgs);
}

int xengntshr_fd(xengntshr_handle *xgs)
{
    return xgs->fd;
}

static void *share(xengntshr_handle *xgs, const char *call, const struct sim_share_request *request,
                   uint32_t *refs)
{
    struct sim_struck fault;
    void *address;

    if (!may(xgs, call, &fault))
        return NULL;
    if (fault.short_by > 0) {
        errno = ENOSPC;
        return NULL;
    }
    int result = sim_gntalloc_share(xgs->user, request, refs, &address);
    return call_result(result) < 0 ? NULL : address;
}

void *xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs,
                            int writable)
{
    struct sim_share_request request = { .domid = domid,
                                         .count = count < 0 ? 0 : count,
                                         .writable = writable,
                                         .notify = { SIM_NO_BYTE, SIM_NO_PORT } };
    return share(xgs, __func__, &request, refs);
}

void *xengntshr_share_page_notify(xengntshr_handle *xgs, uint32_t domid, uint32_t *ref,
                                  int writable, uint32_t notify_offset, evtchn_port_t notify_port)
{
    struct sim_share_request request = {
        .domid = domid, .count = 1, .writable = writable, .notify = { notify_offset, notify_port }
    };
    return share(xgs, __func__, &request, ref);
}

int xengntshr_unshare(xengntshr_handle *xgs, void *start_address, uint32_t count)
{
    if (call_fails(__func__))
        return -1;
    return call_result(sim_gntalloc_unshare(xgs->user, start_address, count));
}
