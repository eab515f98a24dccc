/* A queue's thread: see queue.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/queue.h"

#include <glib-unix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "xen/error.h"
#include "xen/evtchn.h"
#include "xen/poll.h"

/*
 * No look for work is longer.  One that saves a wake-up of some tens of microseconds never gets
 * near it, because it would not pay; where all is slow, as under an emulator of machines, it does.
 */
#define LOOK_MAX_NS 2000000

struct disk_queue {
    struct disk_queue_config config;
    struct disk_engine *engine;
    struct xen_evtchn *evtchn;
    evtchn_port_t port;
    GThread *thread;
    int wake_fd;
    guint orders; /* atomic: enum order, from the main context to the thread */
    gint asked;   /* atomic: the thread is to come round */

    /* Of the thread: what it was woken by and has not taken yet. */
    bool guest_called, medium_called;
    struct xen_poll poll;
    bool idle;           /* nothing was left to do at the last turn */
    uint64_t idle_since; /* by xen_poll_clock(); 0 if nobody wants to know */

    /* From the thread to the main context. */
    int news_fd;
    guint news_source;
    guint news; /* atomic: enum news */
};

enum order { START = 1, STOP = 2, PAUSE = 4, RESUME = 8, RETRY = 16 };
enum news { BROKEN = 1, HALTED = 2, PAUSED = 4, FINISHED = 8 };

static unsigned orders(struct disk_queue *queue)
{
    return (unsigned)g_atomic_int_get(&queue->orders);
}

static void order(struct disk_queue *queue, enum order order)
{
    g_atomic_int_or(&queue->orders, order);
    eventfd_write(queue->wake_fd, 1);
}

static void tell(struct disk_queue *queue, enum news news)
{
    g_atomic_int_or(&queue->news, news);
    eventfd_write(queue->news_fd, 1);
}

/* How long the thread may sleep: for ever, or until the engine may take something. */
static int sleep_ms(const struct disk_queue *queue, bool deaf)
{
    gint64 due = disk_engine_due(queue->engine);
    if (due == 0 || deaf)
        return -1;
    gint64 left = due - g_get_monotonic_time();
    return CLAMP((left + 999) / 1000, 0, 1000);
}

/* Sleeps until the guest, the medium or the main thread wants something. */
static void wait_for_work(struct disk_queue *queue, bool deaf)
{
    struct pollfd fds[] = {
        { .fd = disk_engine_fd(queue->engine), .events = POLLIN },
        { .fd = queue->wake_fd, .events = POLLIN },
        /* Last, because it is left out when there is nothing more to expect from the guest. */
        { .fd = xen_evtchn_fd(queue->evtchn), .events = POLLIN },
    };
    eventfd_t count;

    poll(fds, deaf ? 2 : 3, sleep_ms(queue, deaf));
    queue->medium_called = fds[0].revents != 0;
    if (fds[1].revents)
        eventfd_read(queue->wake_fd, &count);
    queue->guest_called = !deaf && fds[2].revents;
}

/*
 * Takes the events that woke the thread, so that the next can; true if there were any, and then one
 * more look is needed.  Not before there is nothing left to do: the guest need not wait for it, and
 * until then its further events cost nobody anything.
 */
static bool take_events(struct disk_queue *queue)
{
    bool any = queue->guest_called || queue->medium_called;

    if (queue->guest_called && xen_evtchn_next(queue->evtchn) >= 0)
        xen_evtchn_unmask(queue->evtchn, queue->port);
    if (queue->medium_called)
        disk_engine_acknowledge(queue->engine);
    queue->guest_called = queue->medium_called = false;
    return any;
}

/* How long it took until there was something to do again is what polling is judged by. */
static void note_progress(struct disk_queue *queue, bool progress)
{
    bool was_idle = queue->idle;

    queue->idle = !progress && disk_engine_look(queue->engine) != DISK_ENGINE_UNKNOWN;
    if (queue->idle && !was_idle)
        queue->idle_since = xen_poll_measures(&queue->poll) ? xen_poll_clock() : 0;
    else if (progress && was_idle && queue->idle_since)
        xen_poll_request(&queue->poll, xen_poll_clock() - queue->idle_since, XEN_POLL_WOKEN);
    else if (progress && was_idle)
        xen_poll_unmeasured(&queue->poll);
}

static bool is_wanted(void *opaque)
{
    struct disk_queue *queue = opaque;
    return orders(queue) & (STOP | PAUSE | RETRY) || g_atomic_int_get(&queue->asked) ||
           disk_engine_look(queue->engine) != DISK_ENGINE_NOTHING;
}

/* Looks for work for as long as that pays; true if there is some. */
static bool look(struct disk_queue *queue)
{
    if (!queue->idle || !xen_poll_look(&queue->poll, queue->idle_since, is_wanted, queue))
        return false;
    queue->idle = false;
    return true;
}

static void queue_free(struct disk_queue *queue)
{
    disk_engine_close(queue->engine);
    xen_evtchn_close(queue->evtchn);
    if (queue->news_source)
        g_source_remove(queue->news_source);
    if (queue->news_fd >= 0)
        close(queue->news_fd);
    if (queue->wake_fd >= 0)
        close(queue->wake_fd);
    g_free(queue);
}

static void finish(struct disk_queue *queue)
{
    struct disk_queue_config config = queue->config;

    g_thread_join(queue->thread);
    queue_free(queue);
    config.events->stopped(config.opaque);
}

static gboolean on_news(gint fd, GIOCondition condition, gpointer opaque)
{
    struct disk_queue *queue = opaque;
    const struct disk_queue_events *events = queue->config.events;
    eventfd_t count;

    eventfd_read(fd, &count);
    unsigned news = g_atomic_int_and(&queue->news, 0);
    if (news & BROKEN)
        events->broken(queue->config.opaque);
    if (news & HALTED)
        events->halted(queue->config.opaque);
    if (news & PAUSED)
        events->paused(queue->config.opaque);
    if (news & FINISHED)
        finish(queue);
    return G_SOURCE_CONTINUE; /* finish() has removed the source */
}

static void sleep_until_ordered(struct disk_queue *queue)
{
    struct pollfd wake = { .fd = queue->wake_fd, .events = POLLIN };
    eventfd_t count;

    g_atomic_int_set(&queue->asked, 0);
    poll(&wake, 1, -1);
    eventfd_read(queue->wake_fd, &count);
}

/* Until the disk's other queues are there too, or it is known that they are not to be. */
static void wait_for_start(struct disk_queue *queue)
{
    while (!(orders(queue) & (START | STOP)))
        sleep_until_ordered(queue);
}

/* What there is to tell of the engine, once each. */
static void report(struct disk_queue *queue, bool *broken, bool *halted)
{
    if (disk_engine_broken(queue->engine) && !*broken)
        tell(queue, BROKEN);
    if (disk_engine_halted(queue->engine) && !*halted)
        tell(queue, HALTED);
    *broken = disk_engine_broken(queue->engine);
    *halted = disk_engine_halted(queue->engine);
}

static bool take_order(struct disk_queue *queue, enum order order)
{
    return g_atomic_int_and(&queue->orders, ~(guint)order) & order;
}

/*
 * The engine is the main context's until it has resumed us, which it may have done already.  It may
 * want the next pause before we have seen that this one is over, so each order is taken when it is
 * followed.
 */
static void stand_by(struct disk_queue *queue)
{
    take_order(queue, PAUSE);
    tell(queue, PAUSED);
    while (!take_order(queue, RESUME))
        sleep_until_ordered(queue);
}

/* Serves the ring until it is to stop and nothing is in flight. */
static void serve(struct disk_queue *queue)
{
    struct disk_engine *engine = queue->engine;
    bool broken = false, halted = false;

    for (;;) {
        unsigned now = orders(queue);
        bool notify;

        if (g_atomic_int_get(&queue->asked))
            g_atomic_int_set(&queue->asked, 0);
        if (now & STOP)
            disk_engine_hurry(engine);
        if (now & RETRY && take_order(queue, RETRY)) {
            disk_engine_retry(engine);
            halted = false;
        }
        bool deaf = now & (STOP | PAUSE);
        bool progress = disk_engine_turn(engine, !deaf, &notify);
        if (notify)
            xen_evtchn_notify(queue->evtchn, queue->port);
        note_progress(queue, progress);
        report(queue, &broken, &halted);
        if (now & PAUSE && (now & RESUME || disk_engine_still(engine)))
            stand_by(queue);
        else if (now & STOP && disk_engine_idle(engine))
            return;
        else if (!progress && (deaf || !look(queue)) && !take_events(queue) &&
                 (deaf || !disk_engine_arm(engine)))
            wait_for_work(queue, deaf || broken);
    }
}

static gpointer queue_thread(gpointer opaque)
{
    struct disk_queue *queue = opaque;

    wait_for_start(queue);
    serve(queue);
    /* Here, because the kernel takes its time, in which other disks must not wait. */
    disk_engine_close(g_steal_pointer(&queue->engine));
    tell(queue, FINISHED);
    return NULL;
}

static bool set_up(struct disk_queue *queue, GError **error)
{
    const struct disk_queue_config *config = &queue->config;

    queue->engine = disk_engine_open(&config->engine, error);
    queue->evtchn = queue->engine ? xen_evtchn_open(error) : NULL;
    if (!queue->evtchn ||
        !xen_evtchn_bind(queue->evtchn, config->engine.domid, config->port, &queue->port, error))
        return false;
    queue->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    queue->news_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (queue->wake_fd < 0 || queue->news_fd < 0) {
        xen_set_error(error, "cannot create an eventfd");
        return false;
    }
    queue->news_source = g_unix_fd_add(queue->news_fd, G_IO_IN, on_news, queue);
    return true;
}

struct disk_queue *disk_queue_open(const struct disk_queue_config *config, GError **error)
{
    struct disk_queue *queue = g_new0(struct disk_queue, 1);
    queue->config = *config;
    queue->wake_fd = queue->news_fd = -1;
    xen_poll_init(&queue->poll, config->poll ? LOOK_MAX_NS : 0);
    if (set_up(queue, error)) {
        queue->thread = g_thread_try_new(config->engine.name, queue_thread, queue, error);
        if (queue->thread)
            return queue;
    }
    queue_free(queue);
    return NULL;
}

bool disk_queue_check(struct disk_queue *queue)
{
    bool came_round = !g_atomic_int_get(&queue->asked);
    g_atomic_int_set(&queue->asked, 1);
    eventfd_write(queue->wake_fd, 1);
    return came_round;
}

void disk_queue_start(struct disk_queue *queue)
{
    order(queue, START);
}

void disk_queue_stop(struct disk_queue *queue)
{
    order(queue, STOP);
}

void disk_queue_cancel(struct disk_queue *queue)
{
    disk_queue_stop(queue);
    g_thread_join(queue->thread); /* it has nothing in flight */
    queue_free(queue);
}

void disk_queue_retry(struct disk_queue *queue)
{
    order(queue, RETRY);
}

void disk_queue_pause(struct disk_queue *queue)
{
    order(queue, PAUSE);
}

struct disk_engine *disk_queue_engine(struct disk_queue *queue)
{
    return queue->engine;
}

void disk_queue_resume(struct disk_queue *queue)
{
    order(queue, RESUME);
}
