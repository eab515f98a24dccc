/* Event channels: see evtchn.h. */

#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xen/xen.h>

#define DOM0 0
#define SLICE_MS 100 /* of sleeping */

enum port_state { PORT_FREE, PORT_UNBOUND, PORT_INTERDOMAIN, PORT_VIRQ };

/* sim_port.flags */
#define PORT_PENDING 1u
#define PORT_MASKED 2u  /* a user's port has fired, and was not unmasked since */
#define PORT_SLEEPER 4u /* somebody sleeps on a kernel's port */

/*
 * All that a notification has to know of a port is one word, so that it is read in one piece: the
 * state, the domain and port at the other end, and the user that the port itself belongs to.
 */
struct route {
    enum port_state state;
    unsigned domid, port; /* UNBOUND: who may bind; VIRQ: the number is the port */
    sim_user_id user;
};

static uint64_t pack(struct route route)
{
    return (uint64_t)route.user << 32 | (uint64_t)route.port << 20 | route.domid << 4 | route.state;
}

static struct route load_route(struct sim_port *port)
{
    uint64_t packed = atomic_load_explicit(&port->route, memory_order_acquire);
    return (struct route){ .state = packed & 0xf,
                           .domid = packed >> 4 & 0xffff,
                           .port = packed >> 20 & 0xfff,
                           .user = packed >> 32 };
}

static void store_route(struct sim_port *port, struct route route)
{
    atomic_store(&port->route, pack(route));
}

static struct sim_port *find_port(unsigned domid, unsigned port)
{
    struct sim_domain *domain = sim_domain(domid);
    return domain && port > 0 && port < SIM_PORTS ? &domain->evtchn.ports[port] : NULL;
}

static unsigned resolve(unsigned self, unsigned domid)
{
    return domid == DOMID_SELF ? self : domid;
}

/* --- events --- */

static void futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *timeout)
{
    syscall(SYS_futex, word, operation, value, timeout, NULL, 0);
}

static void tell_user(sim_user_id user, uint32_t port)
{
    int fd = sim_user_fifo(user);
    /* A full FIFO has thousands of events that nobody reads: a reader would not miss this one. */
    if (fd >= 0 && write(fd, &port, sizeof(port)) < 0)
        return;
}

static void fire_user(struct sim_port *port, sim_user_id user, uint32_t number)
{
    uint32_t old = atomic_load_explicit(&port->flags, memory_order_relaxed), new;
    do {
        new = old &PORT_MASKED ? old | PORT_PENDING : PORT_MASKED;
    } while (!atomic_compare_exchange_weak(&port->flags, &old, new));
    if (!(old & PORT_MASKED))
        tell_user(user, number);
}

static void fire_kernel(struct sim_port *port)
{
    uint32_t old = atomic_exchange(&port->flags, PORT_PENDING);
    if (old & PORT_SLEEPER)
        futex(&port->flags, FUTEX_WAKE, INT_MAX, NULL);
}

static void fire(struct sim_port *port, sim_user_id user, uint32_t number)
{
    sim_sent(port);
    if (user == SIM_KERNEL)
        fire_kernel(port);
    else
        fire_user(port, user, number);
}

void sim_evtchn_raise(unsigned domid, unsigned port)
{
    struct sim_port *target = find_port(domid, port);
    if (!target)
        return;
    struct route route = load_route(target);
    if (route.state != PORT_FREE)
        fire(target, route.user, port);
}

/* From PORT of DOMID to the other end, which must know of it: either may be closed meanwhile. */
static void send_along(unsigned domid, unsigned port, struct route route)
{
    if (route.state != PORT_INTERDOMAIN)
        return;
    struct sim_port *remote = find_port(route.domid, route.port);
    if (!remote)
        return;
    struct route back = load_route(remote);
    if (back.state == PORT_INTERDOMAIN && back.domid == domid && back.port == port)
        fire(remote, back.user, route.port);
}

static struct route route_of(unsigned domid, unsigned port)
{
    struct sim_port *local = find_port(domid, port);
    return local ? load_route(local) : (struct route){ .state = PORT_FREE };
}

int sim_evtchn_notify(unsigned domid, sim_user_id user, unsigned port)
{
    struct route route = route_of(domid, port);
    if (route.state == PORT_FREE || route.user != user)
        return -ENOTCONN;
    send_along(domid, port, route);
    return 0;
}

void sim_evtchn_send(unsigned domid, unsigned port)
{
    send_along(domid, port, route_of(domid, port));
}

bool sim_evtchn_is_open(unsigned domid, unsigned port)
{
    return route_of(domid, port).state != PORT_FREE;
}

void sim_evtchn_unmask(unsigned domid, sim_user_id user, unsigned port)
{
    struct sim_port *local = find_port(domid, port);
    if (!local)
        return;
    struct route route = load_route(local);
    if (route.state == PORT_FREE || route.user != user)
        return;
    sim_received(local);
    uint32_t old = atomic_load_explicit(&local->flags, memory_order_relaxed), new;
    do {
        if (!(old & PORT_MASKED))
            return;
        new = old &PORT_PENDING ? PORT_MASKED : 0;
    } while (!atomic_compare_exchange_weak(&local->flags, &old, new));
    if (new &PORT_MASKED)
        tell_user(user, port);
}

void sim_evtchn_read(unsigned domid, unsigned port)
{
    struct sim_port *local = find_port(domid, port);
    if (local)
        sim_received(local);
}

bool sim_evtchn_take(unsigned domid, unsigned port)
{
    struct sim_port *local = find_port(domid, port);
    if (!local)
        return false;
    bool pending = atomic_load_explicit(&local->flags, memory_order_relaxed) & PORT_PENDING &&
                   atomic_fetch_and(&local->flags, ~PORT_PENDING) & PORT_PENDING;
    if (pending)
        sim_received(local);
    return pending;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* In slices, since who notifies may be killed before it wakes anybody. */
static void sleep_on(struct sim_port *port, int64_t ms)
{
    struct timespec slice = { .tv_nsec = (ms < SLICE_MS ? ms : SLICE_MS) * 1000000 };
    uint32_t none = 0;
    atomic_compare_exchange_strong(&port->flags, &none, PORT_SLEEPER);
    if (!(none & PORT_PENDING))
        futex(&port->flags, FUTEX_WAIT, PORT_SLEEPER, &slice);
}

bool sim_evtchn_wait(unsigned domid, unsigned port, int timeout_ms)
{
    struct sim_port *local = find_port(domid, port);
    if (sim_evtchn_take(domid, port))
        return true;
    if (!local || timeout_ms == 0)
        return false;
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
    for (int64_t now = now_ms(); now < deadline; now = now_ms()) {
        sleep_on(local, deadline - now);
        if (sim_evtchn_take(domid, port))
            return true;
        if (!sim_evtchn_is_open(domid, port))
            break;
    }
    return false;
}

void sim_evtchn_raise_virq(unsigned domid, unsigned virq)
{
    struct sim_domain *domain = sim_domain(domid);
    if (domain && virq < SIM_VIRQS)
        sim_evtchn_raise(domid, __atomic_load_n(&domain->evtchn.virq_port[virq], __ATOMIC_ACQUIRE));
}

void sim_evtchn_raise_virq_dom_exc(struct sim_hypervisor *xen)
{
    sim_evtchn_raise_virq(DOM0, VIRQ_DOM_EXC);
}

/* --- binding and closing: under the lock --- */

static int find_free(struct sim_evtchn_domain *evtchn)
{
    for (unsigned port = 1; port < SIM_PORTS; port++) {
        if (load_route(&evtchn->ports[port]).state != PORT_FREE)
            continue;
        if (port >= evtchn->ports_used)
            evtchn->ports_used = port + 1;
        return port;
    }
    return -ENOSPC;
}

/* A free port of DOMID with no events; those of the dead are taken back if there is no other. */
static int allocate(unsigned domid)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return -ESRCH;
    int port = find_free(&domain->evtchn);
    if (port < 0) {
        sim_user_reap_all();
        port = find_free(&domain->evtchn);
    }
    if (port > 0)
        atomic_store(&domain->evtchn.ports[port].flags, 0);
    return port;
}

static int alloc_unbound(unsigned domid, sim_user_id user, unsigned remote)
{
    int port = allocate(domid);
    if (port > 0)
        store_route(
            find_port(domid, port),
            (struct route){ .state = PORT_UNBOUND, .domid = resolve(domid, remote), .user = user });
    return port;
}

int sim_evtchn_alloc_unbound(unsigned domid, sim_user_id user, unsigned remote)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    sim_lock(xen);
    int result = alloc_unbound(domid, user, remote);
    sim_unlock(xen);
    return result;
}

/* Is the port there for DOMID to bind to?  If a dead user of DOMID still has it, it is. */
static bool bindable(struct sim_port *port, unsigned domid)
{
    struct route route = load_route(port);
    if (route.state == PORT_INTERDOMAIN && route.domid == domid) {
        struct sim_port *peer = find_port(route.domid, route.port);
        if (peer)
            sim_user_reap(load_route(peer).user);
        route = load_route(port);
    }
    return route.state == PORT_UNBOUND && route.domid == domid;
}

static int bind_interdomain(unsigned domid, sim_user_id user, unsigned remote, unsigned remote_port)
{
    if (!sim_domain(remote))
        return -ESRCH;
    struct sim_port *peer = find_port(remote, remote_port);
    if (!peer || !bindable(peer, domid))
        return -EINVAL;
    int number = allocate(domid);
    if (number < 0)
        return number;
    struct sim_port *local = find_port(domid, number);
    sim_user_id peer_user = load_route(peer).user;
    store_route(
        local, (struct route){
                   .state = PORT_INTERDOMAIN, .domid = remote, .port = remote_port, .user = user });
    store_route(peer,
                (struct route){
                    .state = PORT_INTERDOMAIN, .domid = domid, .port = number, .user = peer_user });
    if (peer_user != SIM_KERNEL)
        sim_user_fifo(peer_user); /* while this process can still open files */
    /* What was sent to the port while it was unbound is lost: the binder has to look. */
    fire(local, user, number);
    return number;
}

int sim_evtchn_bind_interdomain(unsigned domid, sim_user_id user, unsigned remote,
                                unsigned remote_port)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    sim_lock(xen);
    int result = bind_interdomain(domid, user, resolve(domid, remote), remote_port);
    sim_unlock(xen);
    return result;
}

static int bind_virq(unsigned domid, sim_user_id user, unsigned virq)
{
    struct sim_domain *domain = sim_domain(domid);
    if (!domain)
        return -ESRCH;
    if (virq >= SIM_VIRQS)
        return -EINVAL;
    uint32_t *bound = &domain->evtchn.virq_port[virq];
    if (*bound)
        sim_user_reap(load_route(find_port(domid, *bound)).user);
    if (*bound)
        return -EEXIST;
    int port = allocate(domid);
    if (port < 0)
        return port;
    store_route(find_port(domid, port),
                (struct route){ .state = PORT_VIRQ, .port = virq, .user = user });
    __atomic_store_n(bound, port, __ATOMIC_RELEASE);
    return port;
}

int sim_evtchn_bind_virq(unsigned domid, sim_user_id user, unsigned virq)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    sim_lock(xen);
    int result = bind_virq(domid, user, virq);
    sim_unlock(xen);
    return result;
}

/* The peer of a port that closes; not if it has found another one, since a process was killed. */
static void unbind_peer(struct sim_hypervisor *xen, unsigned domid, unsigned number,
                        struct route route)
{
    struct sim_port *peer = &xen->domains[route.domid].evtchn.ports[route.port];
    struct route back = load_route(peer);
    if (back.state == PORT_INTERDOMAIN && back.domid == domid && back.port == number)
        store_route(peer,
                    (struct route){ .state = PORT_UNBOUND, .domid = domid, .user = back.user });
}

/* Of a domain that may be on its way out: sim_domain() does not know it any more. */
static void close_port(struct sim_hypervisor *xen, unsigned domid, unsigned number)
{
    struct sim_evtchn_domain *evtchn = &xen->domains[domid].evtchn;
    struct sim_port *port = &evtchn->ports[number];
    struct route route = load_route(port);

    if (route.state == PORT_INTERDOMAIN)
        unbind_peer(xen, domid, number, route);
    if (route.state == PORT_VIRQ && evtchn->virq_port[route.port] == number)
        __atomic_store_n(&evtchn->virq_port[route.port], 0, __ATOMIC_RELEASE);
    store_route(port, (struct route){ .state = PORT_FREE });
    if (atomic_exchange(&port->flags, 0) & PORT_SLEEPER)
        futex(&port->flags, FUTEX_WAKE, INT_MAX, NULL);
}

int sim_evtchn_close(unsigned domid, sim_user_id user, unsigned port)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    if (port >= SIM_PORTS)
        return -EINVAL;
    sim_lock(xen);
    struct route route = route_of(domid, port);
    int result = -ENOTCONN;
    if (route.state != PORT_FREE && route.user == user) {
        close_port(xen, domid, port);
        result = 0;
    }
    sim_unlock(xen);
    return result;
}

void sim_evtchn_domain_gone(struct sim_hypervisor *xen, unsigned domid)
{
    struct sim_evtchn_domain *evtchn = &xen->domains[domid].evtchn;
    for (unsigned port = 1; port < evtchn->ports_used; port++) {
        if (load_route(&evtchn->ports[port]).state != PORT_FREE)
            close_port(xen, domid, port);
    }
}

void sim_evtchn_user_gone(struct sim_hypervisor *xen, unsigned domid, sim_user_id user)
{
    struct sim_evtchn_domain *evtchn = &xen->domains[domid].evtchn;
    for (unsigned port = 1; port < evtchn->ports_used; port++) {
        struct route route = load_route(&evtchn->ports[port]);
        if (route.state != PORT_FREE && route.user == user)
            close_port(xen, domid, port);
    }
}
