/*
 * bad-backend DOMID VDEV id|status|count: a block backend in dom0 that connects as it should and
 * then answers wrongly: requests that were not made, with a status that there is not, or more often
 * than there were requests. It goes by xen/io/blkif.h with the libraries of Xen alone, and ends
 * when its frontend does.
 */
#include <err.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <xenevtchn.h>
#include <xengnttab.h>
#include <xenstore.h>

/* What ring.h wants of its user. */
#define mb() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)
#define wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

struct bad_backend {
    struct xs_handle *store;
    char front[64], back[64];
    const char *fault;
    blkif_back_ring_t ring;
};

static int is_fault(const char *name)
{
    return strcmp(name, "id") == 0 || strcmp(name, "status") == 0 || strcmp(name, "count") == 0;
}

static unsigned frontend_number(struct bad_backend *backend, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", backend->front, name);
    char *text = xs_read(backend->store, XBT_NULL, path, NULL);
    unsigned value = text ? strtoul(text, NULL, 10) : 0;
    free(text);
    return value;
}

static void say(struct bad_backend *backend, const char *name, const char *value)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", backend->back, name);
    if (!xs_write(backend->store, XBT_NULL, path, value, strlen(value)))
        err(1, "%s", path);
}

static void read_watch(struct bad_backend *backend)
{
    unsigned count;
    free(xs_read_watch(backend->store, &count));
}

/* The frontend is there, and has not begun to leave. */
static int is_there(struct bad_backend *backend)
{
    unsigned state = frontend_number(backend, "state");
    return state != XenbusStateUnknown && state < XenbusStateClosing;
}

static void answer(struct bad_backend *backend)
{
    blkif_back_ring_t *ring = &backend->ring;
    int more;
    do {
        while (RING_HAS_UNCONSUMED_REQUESTS(ring)) {
            blkif_request_t request;
            RING_COPY_REQUEST(ring, ring->req_cons++, &request);
            blkif_response_t *response = RING_GET_RESPONSE(ring, ring->rsp_prod_pvt++);
            response->id = request.id;
            response->operation = request.operation;
            response->status = BLKIF_RSP_OKAY;
            if (strcmp(backend->fault, "id") == 0)
                response->id += 1000;
            else if (strcmp(backend->fault, "status") == 0)
                response->status = 77;
        }
        RING_PUSH_RESPONSES(ring);
        if (strcmp(backend->fault, "count") == 0)
            ring->sring->rsp_prod += 1000;
        RING_FINAL_CHECK_FOR_REQUESTS(ring, more);
    } while (more);
}

static void serve(struct bad_backend *backend, uint32_t domid)
{
    xengnttab_handle *grants = xengnttab_open(NULL, 0);
    xenevtchn_handle *events = xenevtchn_open(NULL, 0);
    if (!grants || !events)
        err(1, "Xen's devices");
    void *page = xengnttab_map_grant_ref(grants, domid, frontend_number(backend, "ring-ref"),
                                         PROT_READ | PROT_WRITE);
    int port = xenevtchn_bind_interdomain(events, domid, frontend_number(backend, "event-channel"));
    if (!page || port < 0)
        err(1, "%s: the ring or the event channel", backend->front);
    BACK_RING_INIT(&backend->ring, (blkif_sring_t *)page, 4096);
    say(backend, "state", "4");

    while (is_there(backend)) {
        struct pollfd fds[] = { { xenevtchn_fd(events), POLLIN, 0 },
                                { xs_fileno(backend->store), POLLIN, 0 } };
        if (poll(fds, 2, -1) < 0)
            err(1, "poll");
        if (fds[1].revents)
            read_watch(backend);
        if (fds[0].revents) {
            xenevtchn_unmask(events, xenevtchn_pending(events));
            answer(backend);
            xenevtchn_notify(events, port);
        }
    }
    xengnttab_unmap(grants, page, 1);
    xenevtchn_close(events);
    xengnttab_close(grants);
}

int main(int argc, char **argv)
{
    if (argc != 4 || !is_fault(argv[3]))
        errx(2, "usage: bad-backend DOMID VDEV id|status|count");
    uint32_t domid = strtoul(argv[1], NULL, 10);
    struct bad_backend backend = { .store = xs_open(0), .fault = argv[3] };
    snprintf(backend.front, sizeof backend.front, "/local/domain/%u/device/vbd/%s", domid, argv[2]);
    snprintf(backend.back, sizeof backend.back, "/local/domain/0/backend/fake/%u/%s", domid,
             argv[2]);
    if (!backend.store || !xs_watch(backend.store, backend.front, "front"))
        err(1, "xenstore");
    say(&backend, "sectors", "4096");
    say(&backend, "sector-size", "512");
    say(&backend, "info", "0");
    while (is_there(&backend) && frontend_number(&backend, "state") != XenbusStateInitialised)
        read_watch(&backend);
    if (is_there(&backend))
        serve(&backend, domid);
    /* With the guest, its nodes go: there is nobody to tell then. */
    if (frontend_number(&backend, "state"))
        say(&backend, "state", "6");
    return 0;
}
