/* Threads beside the main loop: see worker.h. */

#include "pvbackends/worker.h"

#include <glib.h>

struct worker {
    worker_fn *work, *done;
    void *opaque;
    GThread *thread;
};

static gboolean on_end(gpointer opaque)
{
    struct worker *worker = opaque;

    if (worker->thread)
        g_thread_join(worker->thread);
    else
        worker->work(worker->opaque);
    worker->done(worker->opaque);
    g_free(worker);
    return G_SOURCE_REMOVE;
}

static void end_soon(struct worker *worker)
{
    g_idle_add_full(G_PRIORITY_DEFAULT, on_end, worker, NULL);
}

static gpointer run(gpointer opaque)
{
    struct worker *worker = opaque;

    worker->work(worker->opaque);
    end_soon(worker);
    return NULL;
}

void worker_run(const char *name, worker_fn *work, worker_fn *done, void *opaque)
{
    struct worker *worker = g_new0(struct worker, 1);
    worker->work = work;
    worker->done = done;
    worker->opaque = opaque;
    worker->thread = g_thread_try_new(name, run, worker, NULL);
    if (!worker->thread)
        end_soon(worker);
}
