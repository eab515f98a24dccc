/*
 * libxenevtchn on the simulated hypervisor.
 *
 * Source: xenevtchn.h; errors as of Xen 4.17's library and Linux's evtchn driver.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <xenevtchn.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/lib/call.h"
#include "tests/sim/lib/toolcore.h"

struct xenevtchn_handle {
    struct toolcore_handle toolcore; /* first: callbacks get its address */
    int fd;
    unsigned domid; /* whose ports they are */
    sim_user_id user;
};

static int restrict_to(xenevtchn_handle *xce, domid_t domid)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    int result = -EBADF;

    sim_lock(xen);
    struct sim_user *user = sim_user(xce->user);
    if (user && user->restricted != SIM_UNRESTRICTED) {
        result = -EACCES;
    } else if (user && (domid == 0 || domid >= DOMID_FIRST_RESERVED)) {
        result = -EINVAL;
    } else if (user) {
        user->restricted = domid;
        result = 0;
    }
    sim_unlock(xen);
    return call_result(result);
}

static int restrict_callback(struct toolcore_handle *handle, domid_t domid)
{
    return restrict_to((xenevtchn_handle *)handle, domid);
}

/* DOMID: to be bound to; DOMID_INVALID: nothing that a restricted handle may do. */
static bool permitted(const xenevtchn_handle *xce, uint32_t domid)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    sim_lock(xen);
    const struct sim_user *user = sim_user(xce->user);
    bool yes = user && (user->restricted == SIM_UNRESTRICTED || user->restricted == domid);
    sim_unlock(xen);
    if (!yes)
        errno = EACCES;
    return yes;
}

static xenevtchn_handle *new_handle(int fd, sim_user_id user)
{
    xenevtchn_handle *xce = calloc(1, sizeof(*xce));
    if (!xce)
        return NULL;
    *xce = (xenevtchn_handle){ .toolcore.restrict_callback = restrict_callback,
                               .fd = fd,
                               .domid = sim_user_domid(),
                               .user = user };
    xentoolcore__register_active_handle(&xce->toolcore);
    return xce;
}

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
    sim_user_id user;

    if (flags & ~XENEVTCHN_NO_CLOEXEC) {
        errno = EINVAL;
        return NULL;
    }
    if (call_fails(__func__))
        return NULL;
    int fd = call_result(sim_user_open(SIM_USER_EVTCHN, !(flags & XENEVTCHN_NO_CLOEXEC), &user));
    if (fd < 0)
        return NULL;
    xenevtchn_handle *xce = new_handle(fd, user);
    if (!xce) {
        close(fd);
        sim_user_reap(user);
    }
    return xce;
}

xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned flags)
{
    sim_user_id user;

    if (flags) {
        errno = EINVAL;
        return NULL;
    }
    if (call_fails(__func__) || call_result(sim_user_find(fd, SIM_USER_EVTCHN, &user)) < 0)
        return NULL;
    return new_handle(fd, user);
}

int xenevtchn_close(xenevtchn_handle *xce)
{
    if (!xce)
        return 0;
    xentoolcore__deregister_active_handle(&xce->toolcore);
    int result = close(xce->fd);
    sim_user_reap(xce->user); /* unless a child still has it */
    free(xce);
    return result;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
    return xce->fd;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (call_fails(__func__))
        return -1;
    return call_result(sim_evtchn_notify(xce->domid, xce->user, port));
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
    if (call_fails(__func__) || !permitted(xce, DOMID_INVALID))
        return -1;
    return call_result(sim_evtchn_alloc_unbound(xce->domid, xce->user, domid));
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
                                                     evtchn_port_t remote_port)
{
    if (call_fails(__func__) || !permitted(xce, domid))
        return -1;
    return call_result(sim_evtchn_bind_interdomain(xce->domid, xce->user, domid, remote_port));
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
    if (call_fails(__func__) || !permitted(xce, DOMID_INVALID))
        return -1;
    return call_result(sim_evtchn_bind_virq(xce->domid, xce->user, virq));
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (call_fails(__func__))
        return -1;
    return call_result(sim_evtchn_close(xce->domid, xce->user, port));
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
    uint32_t port;
    if (call_fails(__func__))
        return -1;
    if (read(xce->fd, &port, sizeof(port)) != sizeof(port))
        return -1;
    sim_evtchn_read(xce->domid, port);
    return port;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
    if (call_fails(__func__))
        return -1;
    sim_evtchn_unmask(xce->domid, xce->user, port);
    return 0;
}

int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
    return call_fails(__func__) ? -1 : restrict_to(xce, domid);
}
