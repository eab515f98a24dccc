/* Groups of vCPUs: see group.h. */

#define G_LOG_DOMAIN "ioreq"
#include "ioreq/group.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "xen/poll.h"
#include "ioreq/request.h"
#include "xen/error.h"
#include "xen/evtchn.h"

/*
 * No look is longer.  To sleep and wake up costs 5 to 50 us where it can be saved; where it costs
 * more, as under an emulator of machines, the guest is as slow to come with its next request.
 */
#define LOOK_MAX_NS 50000

struct ioreq_group {
    struct ioreq_group_config config;
    struct xen_evtchn *evtchn;
    evtchn_port_t ports[IOREQ_GROUP_VCPUS]; /* of each vCPU, ours */
    evtchn_port_t buffered;                 /* ours, or 0 */

    GThread *thread; /* NULL when it has ended */
    int wake_fd;
    gint stop;  /* atomic */
    gint asked; /* atomic: the thread is to come round */

    /* Of the thread. */
    struct xen_poll poll;
    uint64_t answered; /* when, in ns; 0 if nobody wants to know */
    unsigned served;   /* requests whose events were not taken yet */
};

/* Every loop of the thread comes by here, and so shows that it goes on. */
static bool stopping(struct ioreq_group *group)
{
    if (g_atomic_int_get(&group->asked))
        g_atomic_int_set(&group->asked, 0);
    return g_atomic_int_get(&group->stop);
}

/* --- the thread --- */

static bool any_ready(const struct ioreq_group *group)
{
    for (unsigned i = 0; i < group->config.vcpus; i++) {
        if (ioreq_is_ready(&group->config.slots[i]))
            return true;
    }
    return false;
}

/* One request of each vCPU at most.  A vCPU looks at its slot only when it is told to. */
static void serve_ready(struct ioreq_group *group)
{
    const struct ioreq_group_config *config = &group->config;
    for (unsigned i = 0; i < config->vcpus; i++) {
        if (!ioreq_is_ready(&config->slots[i]))
            continue;
        config->serve(config->opaque, config->first + i);
        xen_evtchn_notify(group->evtchn, group->ports[i]);
        group->served++;
    }
}

static bool wanted(void *opaque)
{
    struct ioreq_group *group = opaque;
    return any_ready(group) || stopping(group);
}

/* Looks for the next request for as long as it pays; false if there is none, or we are to stop. */
static bool look(struct ioreq_group *group)
{
    return xen_poll_look(&group->poll, group->answered, wanted, group) && !stopping(group);
}

/* The clock is read only where that is of use: in dom0 of many a host that is a system call. */
static void serve_while_it_pays(struct ioreq_group *group)
{
    if (group->answered)
        xen_poll_request(&group->poll, xen_poll_clock() - group->answered, XEN_POLL_WOKEN);
    else
        xen_poll_unmeasured(&group->poll);
    do {
        serve_ready(group);
        group->answered = xen_poll_measures(&group->poll) ? xen_poll_clock() : 0;
    } while (look(group));
}

/*
 * Takes events that came and lets their ports fire again: what comes after this is not missed.
 * True if there was anything to do that may have to be done again.
 *
 * Each request that was served came with an event; no more are taken, to spare the system call that
 * finds none.  With one that is left, or comes later than its request was seen, we do not sleep.
 */
static bool take_events(struct ioreq_group *group)
{
    unsigned ports = MAX(group->served, 1) + (group->buffered ? 1 : 0);
    bool more = false;

    group->served = 0;
    for (unsigned i = 0; i < ports; i++) {
        int port = xen_evtchn_next(group->evtchn);
        if (port < 0)
            break;
        xen_evtchn_unmask(group->evtchn, port);
        if (group->buffered && (evtchn_port_t)port == group->buffered)
            more = group->config.drain(group->config.opaque);
    }
    /* No event will come for what was left on the ring. */
    while (more && !stopping(group) && !any_ready(group))
        more = group->config.drain(group->config.opaque);
    return more || any_ready(group);
}

static void sleep_until_event(struct ioreq_group *group)
{
    struct pollfd fds[] = {
        { .fd = xen_evtchn_fd(group->evtchn), .events = POLLIN },
        { .fd = group->wake_fd, .events = POLLIN },
    };
    eventfd_t count;

    poll(fds, G_N_ELEMENTS(fds), -1);
    if (fds[1].revents)
        eventfd_read(group->wake_fd, &count);
}

static gpointer group_thread(gpointer opaque)
{
    struct ioreq_group *group = opaque;
    while (!stopping(group)) {
        if (any_ready(group))
            serve_while_it_pays(group);
        if (!take_events(group))
            sleep_until_event(group);
    }
    return NULL;
}

/* --- its life --- */

/* Binding sets the event pending, so that a request which came before it is not missed. */
static bool bind_ports(struct ioreq_group *group, GError **error)
{
    const struct ioreq_group_config *config = &group->config;
    for (unsigned i = 0; i < config->vcpus; i++) {
        if (!xen_evtchn_bind(group->evtchn, config->domid, config->slots[i].vp_eport,
                             &group->ports[i], error)) {
            g_prefix_error(error, "vCPU %u: ", config->first + i);
            return false;
        }
    }
    if (config->buffered &&
        !xen_evtchn_bind(group->evtchn, config->domid, config->buffered, &group->buffered, error)) {
        g_prefix_error(error, "buffered requests: ");
        return false;
    }
    return true;
}

static bool set_up(struct ioreq_group *group, GError **error)
{
    group->evtchn = xen_evtchn_open(error);
    if (!group->evtchn || !bind_ports(group, error))
        return false;
    group->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (group->wake_fd < 0) {
        xen_set_error(error, "cannot create an eventfd");
        return false;
    }
    group->thread = g_thread_try_new("ioreq", group_thread, group, error);
    return group->thread != NULL;
}

struct ioreq_group *ioreq_group_start(const struct ioreq_group_config *config, GError **error)
{
    g_assert(config->vcpus >= 1 && config->vcpus <= IOREQ_GROUP_VCPUS);
    struct ioreq_group *group = g_new0(struct ioreq_group, 1);
    group->config = *config;
    group->wake_fd = -1;
    /* On a single processor, whoever looks keeps the guest from asking. */
    xen_poll_init(&group->poll, config->poll && g_get_num_processors() > 1 ? LOOK_MAX_NS : 0);
    if (set_up(group, error))
        return group;
    ioreq_group_free(group);
    return NULL;
}

bool ioreq_group_check(struct ioreq_group *group)
{
    bool came_round = !g_atomic_int_get(&group->asked);
    g_atomic_int_set(&group->asked, 1);
    eventfd_write(group->wake_fd, 1);
    return came_round;
}

void ioreq_group_stop(struct ioreq_group *group)
{
    if (!group->thread)
        return;
    g_atomic_int_set(&group->stop, 1);
    eventfd_write(group->wake_fd, 1);
    g_thread_join(group->thread);
    group->thread = NULL;
}

void ioreq_group_finish(struct ioreq_group *group)
{
    g_assert(!group->thread);
    serve_ready(group);
}

void ioreq_group_free(struct ioreq_group *group)
{
    if (!group)
        return;
    ioreq_group_stop(group);
    xen_evtchn_close(group->evtchn);
    if (group->wake_fd >= 0)
        close(group->wake_fd);
    g_free(group);
}
