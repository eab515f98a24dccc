/* Event channels: see evtchn.h. */

#define G_LOG_DOMAIN "evtchn"
#include "xen/evtchn.h"

#include <fcntl.h>

#include "xen/error.h"

struct xen_evtchn {
    xenevtchn_handle *handle;
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
