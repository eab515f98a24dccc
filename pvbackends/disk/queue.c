/* A queue's thread: see queue.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/queue.h"

#include <glib-unix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "xen/error.h"
#include "xen/evtchn.h"

struct disk_queue {
    struct disk_queue_config config;
    struct disk_engine *engine;
    struct xen_evtchn *evtchn;
    evtchn_port_t port;
    GThread *thread;
    int wake_fd;
    gint start; /* atomic */
    gint stop;  /* atomic */
    gint asked; /* atomic: the thread is to come round */

    /* From the thread to the main context. */
    int news_fd;
    guint news_source;
    gint finished; /* atomic; other news is that the guest broke the protocol */
};

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

    poll(fds, deaf ? 2 : 3, -1);
    if (fds[0].revents)
        disk_engine_acknowledge(queue->engine);
    if (fds[1].revents)
        eventfd_read(queue->wake_fd, &count);
    if (!deaf && fds[2].revents && xen_evtchn_next(queue->evtchn) >= 0)
        xen_evtchn_unmask(queue->evtchn, queue->port);
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

static gboolean on_news(gint fd, GIOCondition condition, gpointer opaque)
{
    struct disk_queue *queue = opaque;
    struct disk_queue_config config = queue->config;
    eventfd_t count;

    eventfd_read(fd, &count);
    if (!g_atomic_int_get(&queue->finished)) {
        config.broken(config.opaque);
        return G_SOURCE_CONTINUE;
    }
    g_thread_join(queue->thread);
    queue_free(queue);
    config.stopped(config.opaque);
    return G_SOURCE_REMOVE;
}

/* Until the disk's other queues are there too, or it is known that they are not to be. */
static void wait_for_start(struct disk_queue *queue)
{
    struct pollfd wake = { .fd = queue->wake_fd, .events = POLLIN };
    eventfd_t count;

    while (!g_atomic_int_get(&queue->start) && !g_atomic_int_get(&queue->stop)) {
        poll(&wake, 1, -1);
        eventfd_read(queue->wake_fd, &count);
    }
}

static gpointer queue_thread(gpointer opaque)
{
    struct disk_queue *queue = opaque;
    struct disk_engine *engine = queue->engine;
    bool broken = false;

    wait_for_start(queue);

    for (;;) {
        bool stop = g_atomic_int_get(&queue->stop);
        bool notify;

        if (g_atomic_int_get(&queue->asked))
            g_atomic_int_set(&queue->asked, 0);
        if (stop)
            disk_engine_hurry(engine);
        bool progress = disk_engine_turn(engine, !stop, &notify);
        if (notify)
            xen_evtchn_notify(queue->evtchn, queue->port);
        if (disk_engine_broken(engine) && !broken) {
            broken = true;
            eventfd_write(queue->news_fd, 1);
        }
        if (stop && disk_engine_idle(engine))
            break;
        if (!progress && (stop || !disk_engine_arm(engine)))
            wait_for_work(queue, stop || broken);
    }
    /* Here, because the kernel takes its time, in which other disks must not wait. */
    disk_engine_close(g_steal_pointer(&queue->engine));
    g_atomic_int_set(&queue->finished, 1);
    eventfd_write(queue->news_fd, 1);
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
    g_atomic_int_set(&queue->start, 1);
    eventfd_write(queue->wake_fd, 1);
}

void disk_queue_stop(struct disk_queue *queue)
{
    g_atomic_int_set(&queue->stop, 1);
    eventfd_write(queue->wake_fd, 1);
}

void disk_queue_cancel(struct disk_queue *queue)
{
    disk_queue_stop(queue);
    g_thread_join(queue->thread); /* it has nothing in flight */
    queue_free(queue);
}
