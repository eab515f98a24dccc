/* Event channels: see evtchn.h. */

#define G_LOG_DOMAIN "evtchn"
#include "xen/evtchn.h"

#include <fcntl.h>
#include <glib-unix.h>

#include "xen/error.h"

/* Ports handled per turn of the main loop, so that one noisy guest cannot keep it busy. */
#define PORTS_PER_TURN 64

struct xen_evtchn {
    xenevtchn_handle *handle;
    xen_evtchn_fn *fn;
    void *opaque;
};

struct xen_evtchn *xen_evtchn_open(GError **error)
{
    xenevtchn_handle *handle = xenevtchn_open(NULL, 0);
    if (!handle) {
        xen_set_error(error, "cannot open event channels (/dev/xen/evtchn)");
        return NULL;
    }
    int fd = xenevtchn_fd(handle);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        xen_set_error(error, "cannot make event channels non-blocking");
        xenevtchn_close(handle);
        return NULL;
    }
    struct xen_evtchn *evtchn = g_new0(struct xen_evtchn, 1);
    evtchn->handle = handle;
    return evtchn;
}

void xen_evtchn_close(struct xen_evtchn *evtchn)
{
    if (!evtchn)
        return;
    xenevtchn_close(evtchn->handle);
    g_free(evtchn);
}

bool xen_evtchn_bind(struct xen_evtchn *evtchn, unsigned domid, evtchn_port_t port,
                     evtchn_port_t *local, GError **error)
{
    xenevtchn_port_or_error_t bound = xenevtchn_bind_interdomain(evtchn->handle, domid, port);
    if (bound < 0) {
        xen_set_error(error, "cannot bind event channel %u of domain %u", port, domid);
        return false;
    }
    *local = bound;
    return true;
}

void xen_evtchn_notify(struct xen_evtchn *evtchn, evtchn_port_t local)
{
    xenevtchn_notify(evtchn->handle, local);
}

void xen_evtchn_unmask(struct xen_evtchn *evtchn, evtchn_port_t local)
{
    xenevtchn_unmask(evtchn->handle, local);
}

int xen_evtchn_fd(struct xen_evtchn *evtchn)
{
    return xenevtchn_fd(evtchn->handle);
}

int xen_evtchn_next(struct xen_evtchn *evtchn)
{
    return xenevtchn_pending(evtchn->handle);
}

static gboolean evtchn_dispatch(gint fd, GIOCondition condition, gpointer opaque)
{
    struct xen_evtchn *evtchn = opaque;
    for (int i = 0; i < PORTS_PER_TURN; i++) {
        int port = xen_evtchn_next(evtchn);
        if (port < 0)
            break;
        evtchn->fn(evtchn, port, evtchn->opaque);
    }
    return G_SOURCE_CONTINUE;
}

guint xen_evtchn_attach(struct xen_evtchn *evtchn, xen_evtchn_fn *fn, void *opaque)
{
    evtchn->fn = fn;
    evtchn->opaque = opaque;
    return g_unix_fd_add(xen_evtchn_fd(evtchn), G_IO_IN, evtchn_dispatch, evtchn);
}
