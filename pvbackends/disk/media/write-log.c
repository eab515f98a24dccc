/* What is written but not yet durable: see write-log.h. */

#include "pvbackends/disk/media/write-log.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "pvbackends/disk/request.h" /* DISK_SECTOR */

struct disk_write_log {
    pthread_mutex_t mutex; /* of all below */
    size_t capacity;
    size_t used;      /* by what is logged and what is under way */
    size_t logged;    /* of that */
    GQueue done;      /* logged, oldest first */
    GQueue under_way; /* in no order */
    uint64_t last;    /* number given */
    unsigned epoch;
    bool flushing; /* a flush of our own has been claimed */
    bool awaited;  /* somebody was told to wait */
    GArray *listeners;
};

static size_t data_length(const struct disk_io_op *op)
{
    return op->kind == DISK_IO_WRITE ? op->sectors * DISK_SECTOR : 0;
}

static size_t cost(const struct disk_write *write)
{
    size_t data = write->kind == DISK_IO_WRITE ? write->sectors * DISK_SECTOR : 0;
    return sizeof(*write) + data;
}

struct disk_write_log *disk_write_log_new(size_t capacity)
{
    struct disk_write_log *log = g_new0(struct disk_write_log, 1);
    pthread_mutex_init(&log->mutex, NULL);
    log->capacity = capacity;
    log->listeners = g_array_new(FALSE, FALSE, sizeof(int));
    return log;
}

/* Drops the oldest up to number MARK. */
static void drop(struct disk_write_log *log, uint64_t mark)
{
    GList *link;
    while ((link = log->done.head)) {
        struct disk_write *write = link->data;
        if (write->number > mark)
            break;
        g_queue_unlink(&log->done, link);
        log->used -= cost(write);
        log->logged -= cost(write);
        g_free(write);
    }
}

void disk_write_log_free(struct disk_write_log *log)
{
    if (!log)
        return;
    drop(log, UINT64_MAX);
    g_array_unref(log->listeners);
    pthread_mutex_destroy(&log->mutex);
    g_free(log);
}

static void tell_all(struct disk_write_log *log)
{
    for (guint i = 0; i < log->listeners->len; i++)
        eventfd_write(g_array_index(log->listeners, int, i), 1);
}

static void tell_waiting(struct disk_write_log *log)
{
    if (log->awaited)
        tell_all(log);
    log->awaited = false;
}

void disk_write_log_listen(struct disk_write_log *log, int fd)
{
    pthread_mutex_lock(&log->mutex);
    g_array_append_val(log->listeners, fd);
    pthread_mutex_unlock(&log->mutex);
}

void disk_write_log_ignore(struct disk_write_log *log, int fd)
{
    pthread_mutex_lock(&log->mutex);
    for (guint i = log->listeners->len; i > 0; i--) {
        if (g_array_index(log->listeners, int, i - 1) == fd)
            g_array_remove_index_fast(log->listeners, i - 1);
    }
    pthread_mutex_unlock(&log->mutex);
}

static void set_epoch(struct disk_write_log *log, unsigned epoch)
{
    pthread_mutex_lock(&log->mutex);
    log->epoch = epoch;
    tell_all(log);
    pthread_mutex_unlock(&log->mutex);
}

void disk_write_log_open(struct disk_write_log *log, unsigned epoch)
{
    set_epoch(log, epoch);
}

void disk_write_log_close(struct disk_write_log *log)
{
    set_epoch(log, 0);
}

unsigned disk_write_log_epoch(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    unsigned epoch = log->epoch;
    pthread_mutex_unlock(&log->mutex);
    return epoch;
}

static bool overlaps_what_is_under_way(struct disk_write_log *log, const struct disk_io_op *op)
{
    for (GList *link = log->under_way.head; link; link = link->next) {
        const struct disk_write *other = link->data;
        if (op->sector < other->sector + other->sectors && other->sector < op->sector + op->sectors)
            return true;
    }
    return false;
}

/* A write that is larger than the whole log goes when it is alone. */
static bool has_room(const struct disk_write_log *log, size_t size)
{
    return log->used == 0 || (size <= log->capacity && log->used <= log->capacity - size);
}

static void copy_data(struct disk_write *write, const struct disk_io_op *op)
{
    uint8_t *to = write->data;
    for (unsigned i = 0; i < op->nr_vectors; i++) {
        memcpy(to, op->vectors[i].iov_base, op->vectors[i].iov_len);
        to += op->vectors[i].iov_len;
    }
}

struct disk_write *disk_write_log_begin(struct disk_write_log *log, const struct disk_io_op *op)
{
    size_t size = sizeof(struct disk_write) + data_length(op);
    struct disk_write *write = NULL;

    pthread_mutex_lock(&log->mutex);
    if (has_room(log, size) && !overlaps_what_is_under_way(log, op)) {
        write = g_malloc(size);
        *write = (struct disk_write){
            .kind = op->kind,
            .sector = op->sector,
            .sectors = op->sectors,
            .link.data = write,
        };
        log->used += size;
        g_queue_push_tail_link(&log->under_way, &write->link);
    } else {
        log->awaited = true;
    }
    pthread_mutex_unlock(&log->mutex);
    if (write && op->kind == DISK_IO_WRITE)
        copy_data(write, op);
    return write;
}

bool disk_write_log_finish(struct disk_write_log *log, struct disk_write *write, unsigned epoch)
{
    pthread_mutex_lock(&log->mutex);
    bool good = epoch != 0 && epoch == log->epoch;
    if (good) {
        g_queue_unlink(&log->under_way, &write->link);
        g_queue_push_tail_link(&log->done, &write->link);
        write->number = ++log->last;
        log->logged += cost(write);
        tell_waiting(log);
    }
    pthread_mutex_unlock(&log->mutex);
    return good;
}

void disk_write_log_abandon(struct disk_write_log *log, struct disk_write *write)
{
    pthread_mutex_lock(&log->mutex);
    g_queue_unlink(&log->under_way, &write->link);
    log->used -= cost(write);
    tell_waiting(log);
    pthread_mutex_unlock(&log->mutex);
    g_free(write);
}

uint64_t disk_write_log_mark(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    uint64_t mark = log->last;
    pthread_mutex_unlock(&log->mutex);
    return mark;
}

bool disk_write_log_flushed(struct disk_write_log *log, uint64_t mark, unsigned epoch)
{
    pthread_mutex_lock(&log->mutex);
    bool good = epoch != 0 && epoch == log->epoch;
    if (good) {
        drop(log, mark);
        tell_waiting(log);
    }
    pthread_mutex_unlock(&log->mutex);
    return good;
}

bool disk_write_log_claim_flush(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    bool ours = !log->flushing && log->logged >= log->capacity / 2;
    if (ours)
        log->flushing = true;
    pthread_mutex_unlock(&log->mutex);
    return ours;
}

void disk_write_log_release_flush(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    log->flushing = false;
    tell_waiting(log);
    pthread_mutex_unlock(&log->mutex);
}

const GList *disk_write_log_first(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    const GList *first = log->done.head;
    pthread_mutex_unlock(&log->mutex);
    return first;
}

unsigned disk_write_log_length(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    unsigned length = log->done.length;
    pthread_mutex_unlock(&log->mutex);
    return length;
}

void disk_write_log_clear(struct disk_write_log *log)
{
    pthread_mutex_lock(&log->mutex);
    drop(log, UINT64_MAX);
    tell_waiting(log);
    pthread_mutex_unlock(&log->mutex);
}
