/* Event channels, dom0 with itself: see conformance.h. */

#include "tests/conformance/conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenevtchn.h>

/* Nobody in dom0 has this port; and a number that no domain's table of ports reaches. */
#define NO_PORT 900
#define PORT_OUT_OF_RANGE 0x7FFFFFFF

/* Two ends of a channel.  The far end is bound to the near one. */
struct channel {
    xenevtchn_handle *near, *far;
    xenevtchn_port_or_error_t near_port, far_port;
};

static xenevtchn_handle *open_handle(void)
{
    xenevtchn_handle *handle = xenevtchn_open(NULL, 0);
    if (!handle)
        give_up("xenevtchn_open");
    return handle;
}

/* The next event, taken, which should come; 0 if it does not. */
static int take(xenevtchn_handle *handle)
{
    return readable(xenevtchn_fd(handle), PATIENCE_MS) ? xenevtchn_pending(handle) : 0;
}

/* Takes an event that should not come. */
static bool has_event(xenevtchn_handle *handle)
{
    return readable(xenevtchn_fd(handle), QUIET_MS) && xenevtchn_pending(handle) > 0;
}

/* The event that a new port gives to whoever binds it. */
static void take_first(xenevtchn_handle *handle)
{
    xenevtchn_unmask(handle, take(handle));
}

static struct channel open_channel(void)
{
    struct channel c = { .near = open_handle(), .far = open_handle() };
    c.near_port = xenevtchn_bind_unbound_port(c.near, 0);
    c.far_port = xenevtchn_bind_interdomain(c.far, 0, c.near_port);
    if (c.near_port <= 0 || c.far_port <= 0)
        give_up("binding");
    take_first(c.far);
    return c;
}

static void close_channel(struct channel *c)
{
    xenevtchn_close(c->near);
    xenevtchn_close(c->far);
}

static void binding(void)
{
    xenevtchn_handle *near = open_handle(), *far = open_handle();
    int port = xenevtchn_bind_unbound_port(near, 0);
    observe("unbound port: %s", outcome(port));
    observe("unbound port: event: %s", yes(has_event(near)));
    observe("unbound port: notify: %s", outcome(xenevtchn_notify(near, port)));

    int bound = xenevtchn_bind_interdomain(far, 0, port);
    observe("bind: %s", outcome(bound));
    observe("bind: event at the end that binds: %s", yes(take(far) == bound));
    observe("bind: event at the other end: %s", yes(has_event(near)));
    observe("bind: the same port again: %s", outcome(xenevtchn_bind_interdomain(far, 0, port)));
    observe("bind: its own far end: %s", outcome(xenevtchn_bind_interdomain(far, 0, bound)));
    observe("bind: a port that is not there: %s",
            outcome(xenevtchn_bind_interdomain(far, 0, NO_PORT)));
    observe("bind: port 0: %s", outcome(xenevtchn_bind_interdomain(far, 0, 0)));
    observe("bind: a port out of range: %s",
            outcome(xenevtchn_bind_interdomain(far, 0, PORT_OUT_OF_RANGE)));
    observe("bind: a domain that is not there: %s",
            outcome(xenevtchn_bind_interdomain(far, NO_DOMAIN, port)));

    int foreign = xenevtchn_bind_unbound_port(near, NO_DOMAIN);
    observe("unbound port for a domain that is not there: %s", outcome(foreign));
    observe("bind: a port that is for another domain: %s",
            outcome(xenevtchn_bind_interdomain(far, 0, foreign)));
    observe("virq: one that another process has: %s",
            outcome(xenevtchn_bind_virq(near, VIRQ_DOM_EXC)));
    observe("virq: out of range: %s", outcome(xenevtchn_bind_virq(near, NR_VIRQS)));
    xenevtchn_close(near);
    xenevtchn_close(far);
}

static void delivery(void)
{
    struct channel c = open_channel();
    observe("notify: %s", outcome(xenevtchn_notify(c.near, c.near_port)));
    observe("notify: event at the far end: %s", yes(take(c.far) == c.far_port));
    observe("notify: event at the near end: %s", yes(has_event(c.near)));
    xenevtchn_notify(c.near, c.near_port);
    observe("notify while masked: event before unmask: %s", yes(has_event(c.far)));
    xenevtchn_unmask(c.far, c.far_port);
    observe("notify while masked: event after unmask: %s", yes(take(c.far) == c.far_port));
    xenevtchn_unmask(c.far, c.far_port);
    observe("unmask: event without a notify: %s", yes(has_event(c.far)));
    observe("unmask: of a port that is not masked: %s",
            outcome(xenevtchn_unmask(c.far, c.far_port)));

    for (unsigned i = 0; i < 3; i++) {
        xenevtchn_notify(c.near, c.near_port);
        readable(xenevtchn_fd(c.far), PATIENCE_MS);
    }
    unsigned events = 0;
    for (; has_event(c.far); events++)
        xenevtchn_unmask(c.far, c.far_port);
    observe("three notifies before the first is read: events: %u", events);

    xenevtchn_notify(c.far, c.far_port);
    xenevtchn_notify(c.near, c.near_port);
    observe("both ends notify: events: near %s, far %s", yes(take(c.near) == c.near_port),
            yes(take(c.far) == c.far_port));
    close_channel(&c);
}

static void foreign_ports(void)
{
    struct channel c = open_channel();
    observe("port of another handle: notify: %s", outcome(xenevtchn_notify(c.near, c.far_port)));
    observe("port of another handle: unmask: %s", outcome(xenevtchn_unmask(c.near, c.far_port)));
    observe("port of another handle: unbind: %s", outcome(xenevtchn_unbind(c.near, c.far_port)));
    xenevtchn_notify(c.near, c.near_port);
    observe("port of another handle: is it unharmed: %s", yes(take(c.far) == c.far_port));
    observe("port that is not there: notify: %s", outcome(xenevtchn_notify(c.near, NO_PORT)));
    observe("port that is not there: unmask: %s", outcome(xenevtchn_unmask(c.near, NO_PORT)));
    observe("port that is not there: unbind: %s", outcome(xenevtchn_unbind(c.near, NO_PORT)));
    observe("port out of range: notify: %s", outcome(xenevtchn_notify(c.near, PORT_OUT_OF_RANGE)));
    observe("port out of range: unmask: %s", outcome(xenevtchn_unmask(c.near, PORT_OUT_OF_RANGE)));
    observe("port out of range: unbind: %s", outcome(xenevtchn_unbind(c.near, PORT_OUT_OF_RANGE)));
    close_channel(&c);
}

static void reading(void)
{
    struct channel c[3];
    xenevtchn_handle *far = open_handle();
    for (unsigned i = 0; i < 3; i++) {
        c[i].near = open_handle();
        c[i].near_port = xenevtchn_bind_unbound_port(c[i].near, 0);
        c[i].far_port = xenevtchn_bind_interdomain(far, 0, c[i].near_port);
        take_first(far);
    }

    fcntl(xenevtchn_fd(far), F_SETFL, O_NONBLOCK);
    observe("pending with nothing there and O_NONBLOCK: %s", outcome(xenevtchn_pending(far)));

    static const unsigned order[] = { 2, 0, 1 };
    for (unsigned i = 0; i < 3; i++) {
        xenevtchn_notify(c[order[i]].near, c[order[i]].near_port);
        usleep(20000); /* ports may be delivered on different processors */
    }
    bool same = true;
    for (unsigned i = 0; i < 3; i++)
        same = take(far) == c[order[i]].far_port && same;
    observe("three ports: events come in the order of the notifies: %s", yes(same));
    for (unsigned i = 0; i < 3; i++)
        xenevtchn_unmask(far, c[i].far_port);

    xenevtchn_notify(c[0].near, c[0].near_port);
    readable(xenevtchn_fd(far), PATIENCE_MS);
    xenevtchn_unbind(far, c[0].far_port);
    observe("unbind with an event unread: it is still read: %s", yes(take(far) == c[0].far_port));
    observe("unmask of the port that was unbound: %s",
            outcome(xenevtchn_unmask(far, c[0].far_port)));
    for (unsigned i = 0; i < 3; i++)
        xenevtchn_close(c[i].near);
    xenevtchn_close(far);
}

static void unbinding(void)
{
    struct channel c = open_channel();
    observe("unbind: %s", outcome(xenevtchn_unbind(c.far, c.far_port)));
    observe("unbind: again: %s", outcome(xenevtchn_unbind(c.far, c.far_port)));
    observe("unbind: event at the other end: %s", yes(has_event(c.near)));
    observe("unbind: notify by the other end: %s", outcome(xenevtchn_notify(c.near, c.near_port)));
    c.far_port = xenevtchn_bind_interdomain(c.far, 0, c.near_port);
    observe("rebind: %s", outcome(c.far_port));
    observe("rebind: event at the end that binds: %s", yes(take(c.far) == c.far_port));
    xenevtchn_unmask(c.far, c.far_port);
    xenevtchn_notify(c.near, c.near_port);
    observe("rebind: delivers: %s", yes(take(c.far) == c.far_port));
    xenevtchn_unmask(c.far, c.far_port);

    observe("unbind of the end that was bound to: %s",
            outcome(xenevtchn_unbind(c.near, c.near_port)));
    observe("notify by the end that did the binding: %s",
            outcome(xenevtchn_notify(c.far, c.far_port)));
    c.near_port = xenevtchn_bind_interdomain(c.near, 0, c.far_port);
    observe("bind the other way round: %s", outcome(c.near_port));
    take_first(c.near);
    xenevtchn_notify(c.near, c.near_port);
    observe("bind the other way round: delivers: %s", yes(take(c.far) == c.far_port));

    xenevtchn_handle *other = open_handle();
    xenevtchn_close(c.far);
    observe("close: event at the other end: %s", yes(has_event(c.near)));
    observe("close: bind to the end that is left: %s",
            outcome(xenevtchn_bind_interdomain(other, 0, c.near_port)));
    int gone = xenevtchn_bind_unbound_port(c.near, 0);
    xenevtchn_close(c.near);
    observe("close: bind to an unbound port of the closed handle: %s",
            outcome(xenevtchn_bind_interdomain(other, 0, gone)));
    xenevtchn_close(other);
}

/* A process binds, tells so by notifying, and is killed. */
static void dying(void)
{
    xenevtchn_handle *near = open_handle();
    int port = xenevtchn_bind_unbound_port(near, 0);
    pid_t child = fork();
    if (child == 0) {
        xenevtchn_handle *far = open_handle();
        int bound = xenevtchn_bind_interdomain(far, 0, port);
        xenevtchn_notify(far, bound);
        for (;;)
            pause();
    }
    observe("another process: its notify arrives: %s",
            yes(readable(xenevtchn_fd(near), PATIENCE_MS) && xenevtchn_pending(near) == port));
    xenevtchn_unmask(near, port);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    observe("its death: event: %s", yes(has_event(near)));
    observe("its death: notify: %s", outcome(xenevtchn_notify(near, port)));

    xenevtchn_handle *far = open_handle();
    int bound = xenevtchn_bind_interdomain(far, 0, port);
    observe("its death: bind again: %s", outcome(bound));
    take_first(far);
    xenevtchn_notify(near, port);
    observe("its death: delivers again: %s", yes(take(far) == bound));
    xenevtchn_close(far);
    xenevtchn_close(near);
}

static void restriction(void)
{
    xenevtchn_handle *handle = open_handle();
    int before = xenevtchn_bind_unbound_port(handle, 0);
    observe("restrict: to domain 0: %s", outcome(xenevtchn_restrict(handle, 0)));
    observe("restrict: to another: %s", outcome(xenevtchn_restrict(handle, NO_DOMAIN)));
    observe("restrict: again: %s", outcome(xenevtchn_restrict(handle, NO_DOMAIN)));
    observe("restrict: a port for that domain: %s",
            outcome(xenevtchn_bind_unbound_port(handle, NO_DOMAIN)));
    observe("restrict: a port for a third: %s", outcome(xenevtchn_bind_unbound_port(handle, 0)));
    observe("restrict: bind to that domain: %s",
            outcome(xenevtchn_bind_interdomain(handle, NO_DOMAIN, 1)));
    observe("restrict: bind to a third: %s",
            outcome(xenevtchn_bind_interdomain(handle, 0, before)));
    observe("restrict: a virq: %s", outcome(xenevtchn_bind_virq(handle, VIRQ_DOM_EXC)));
    observe("restrict: notify on a port from before: %s",
            outcome(xenevtchn_notify(handle, before)));
    xenevtchn_close(handle);
}

void evtchn_area(unsigned domid)
{
    binding();
    delivery();
    foreign_ports();
    reading();
    unbinding();
    dying();
    restriction();
}
