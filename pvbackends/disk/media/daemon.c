/* The keeper of a qemu-storage-daemon: see daemon.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/daemon.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pvbackends/disk/media/replay.h"
#include "pvbackends/disk/media/secrets.h"
#include "pvbackends/disk/media/socket-dir.h"
#include "xen/error.h"

#define PROGRAM "qemu-storage-daemon"

/* Of the write log, bytes: half of it is written between two flushes of a guest that sends none. */
#define LOG_CAPACITY ((size_t)16 << 20)

/* A queue each, and the keeper's; more, because one that is gone may not have been noticed yet. */
#define CONNECTIONS "32"

/* Before it is started again: nothing, then so much, then twice that each time. */
#define PAUSE_FIRST_MS 50
#define PAUSE_MAX_MS 5000
/* It has served for so long: the next one is the first again. */
#define GOOD_LIFE_US (10 * G_TIME_SPAN_SECOND)

#define LOCK_RETRY_US 50000

/* For the last flush, and for the daemon's end, each. */
#define END_MS 5000

/*
 * On the way out, for storage that is away a moment: no attempt begins later.  Nobody waits for the
 * role but the supervisor and, for 10 s, xl; an administrator who waits sees why in the log.
 */
#define LAST_ATTEMPTS_S 30
#define LAST_PAUSE_MAX_MS 1000

/* For an explanation of what is wrong already. */
#define LAST_WORDS_MS 200

/* Lines that one daemon may have in our log. */
#define LINES_MAX 10

struct disk_daemon {
    char *name;
    char *blockdev;
    char **secrets; /* that it names: arguments of --object */
    bool read_only;
    unsigned lock_wait_ms;
    char *directory; /* of the sockets */
    struct disk_write_log *log;
    struct libnbd *lib;
    struct disk_daemon_geometry geometry;
    GThread *keeper;
    int wake_fd;
    gint stop; /* atomic */
    gint lost; /* atomic: the last epoch that is */

    pthread_mutex_t mutex; /* of these: how the first start ended */
    pthread_cond_t changed;
    bool started;
    GError *error;

    /* The keeper's. */
    unsigned epoch;
    struct disk_child *child; /* NULL: none runs */
    struct nbd_handle *nbd;   /* NULL: none serves */
    unsigned lines;           /* it has said */
    gint64 since;             /* it serves; monotonic */
};

const struct disk_daemon_geometry *disk_daemon_geometry(const struct disk_daemon *daemon)
{
    return &daemon->geometry;
}

struct disk_write_log *disk_daemon_log(const struct disk_daemon *daemon)
{
    return daemon->log;
}

const struct libnbd *disk_daemon_library(const struct disk_daemon *daemon)
{
    return daemon->lib;
}

char *disk_daemon_socket(const struct disk_daemon *daemon, unsigned epoch)
{
    return disk_socket_dir_name(daemon->directory, epoch);
}

void disk_daemon_lost(struct disk_daemon *daemon, unsigned epoch)
{
    gint before;
    do {
        before = g_atomic_int_get(&daemon->lost);
    } while ((unsigned)before < epoch &&
             !g_atomic_int_compare_and_exchange(&daemon->lost, before, epoch));
    eventfd_write(daemon->wake_fd, 1);
}

/* --- one life --- */

static struct disk_child *spawn(struct disk_daemon *daemon, const char *socket, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(socket, ",", -1);
    g_autofree char *path = g_strjoinv(",,", parts); /* so that QEMU takes it for one value */
    g_autofree char *server =
        g_strdup_printf("addr.type=unix,addr.path=%s,max-connections=" CONNECTIONS, path);
    g_autofree char *export =
        g_strdup_printf("type=nbd,id=disk,node-name=disk,name=" DISK_NBD_EXPORT ",writable=%s",
                        daemon->read_only ? "off" : "on");
    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();

    g_strv_builder_add(argv, PROGRAM);
    for (char **secret = daemon->secrets; *secret; secret++)
        g_strv_builder_add_many(argv, "--object", *secret, NULL);
    g_strv_builder_add_many(argv, "--blockdev", daemon->blockdev, "--nbd-server", server,
                            "--export", export, NULL);
    g_auto(GStrv) all = g_strv_builder_end(argv);
    struct disk_child *child = disk_child_start((const char *const *)all, error);
    if (!child)
        g_prefix_error(error, "formats other than raw need " PROGRAM
                              " (Debian has it in qemu-system-common): ");
    return child;
}

/* What it has said, without its name and the options that it repeats. */
static char *all_said(struct disk_daemon *daemon)
{
    g_autoptr(GString) said = g_string_new(NULL);
    for (unsigned i = 0; i < LINES_MAX; i++) {
        g_autofree char *line = disk_child_line(daemon->child);
        if (!line)
            break;
        g_string_append_printf(said, "%s%s", i ? " " : "", line);
    }
    char *repeated = strstr(said->str, daemon->blockdev);
    if (repeated)
        g_string_erase(said, 0, repeated - said->str + strlen(daemon->blockdev) + strlen(": "));
    return g_string_free(g_steal_pointer(&said), FALSE);
}

#define NEEDS_KEY                                                                                  \
    "an encrypted image needs target=json: with the name of its key, see Formats in docs/disk.rst"

/* What to do about what QEMU says. */
static const char *remedy(const char *said)
{
    static const struct {
        const char *words, *remedy;
    } known[] = {
        { "No such file", "check the path in the disk line of the guest's configuration" },
        { "Permission denied", "the device model must be allowed to use it" },
        { "'driver' does not accept", "QEMU does not know this format" },
        { "key-secret", NEEDS_KEY },
        { "Invalid password", "another key, or the file with it has a line's end behind it" },
        { "format", "`qemu-img info` tells which format it has" },
        { "invalid V", "`qemu-img info` tells which format it has" },
        { "Invalid argument", "`qemu-img info` tells which format it has" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++) {
        if (strstr(said, known[i].words))
            return known[i].remedy;
    }
    return NULL;
}

static bool is_lock_conflict(const char *said)
{
    return strstr(said, " lock") && strstr(said, "another process");
}

/* Replaces *ERROR, which only says that it did not come up, by what it has said about that. */
static void explain(struct disk_daemon *daemon, GError **error)
{
    disk_child_ended(daemon->child, LAST_WORDS_MS);
    g_autofree char *said = all_said(daemon);

    if (said[0] == '\0')
        return;
    g_clear_error(error);
    if (is_lock_conflict(said))
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
                    "another process %s; stop that one (`lsof` on the image names it) or give "
                    "every guest that shares the image read-only access",
                    daemon->read_only ? "is writing to the image" : "is using the image");
    else if (remedy(said))
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s (%s)", said, remedy(said));
    else
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s", said);
}

/* Ends the daemon of this epoch, which is no loss if nothing that it has not written is needed. */
static void drop(struct disk_daemon *daemon)
{
    g_autofree char *socket = disk_daemon_socket(daemon, daemon->epoch);

    disk_write_log_close(daemon->log);
    daemon->lib->close(g_steal_pointer(&daemon->nbd));
    if (!daemon->child)
        return;
    disk_child_signal(daemon->child, SIGKILL);
    /* What the kernel still writes for it must not come after what the next one writes. */
    for (bool warned = false; !disk_child_ended(daemon->child, END_MS); warned = true) {
        if (!warned)
            g_warning("%s: " PROGRAM " (pid %d) cannot be killed yet: its storage stalls",
                      daemon->name, disk_child_pid(daemon->child));
        if (g_atomic_int_get(&daemon->stop) || !daemon->started)
            return;
    }
    unlink(socket);
    g_clear_pointer(&daemon->child, disk_child_free);
}

static bool measure(struct disk_daemon *daemon, GError **error)
{
    struct disk_daemon_geometry *geometry = &daemon->geometry;
    int64_t size = daemon->lib->get_size(daemon->nbd);
    int64_t minimum = daemon->lib->get_block_size(daemon->nbd, LIBNBD_SIZE_MINIMUM);
    int64_t preferred = daemon->lib->get_block_size(daemon->nbd, LIBNBD_SIZE_PREFERRED);

    if (size < 0 || minimum < 0 || preferred < 0 ||
        (!daemon->read_only && daemon->lib->can_multi_conn(daemon->nbd) <= 0)) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "this " PROGRAM " cannot serve several queues (QEMU 7.2 or later is needed)");
        return false;
    }
    if (daemon->started && geometry->size == (uint64_t)size)
        return true;
    if (daemon->started) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "the medium has another size now, %" G_GINT64_FORMAT " bytes and not %" PRIu64,
                    size, geometry->size);
        return false;
    }
    geometry->size = size;
    geometry->minimum = minimum;
    geometry->preferred = preferred;
    geometry->trim = daemon->lib->can_trim(daemon->nbd) > 0;
    return true;
}

/* Starts the next one, does again what the former one took along, and lets the queues in. */
static bool bring_up(struct disk_daemon *daemon, GError **error)
{
    unsigned again = disk_write_log_length(daemon->log);

    daemon->epoch++;
    daemon->lines = 0;
    g_autofree char *socket = disk_daemon_socket(daemon, daemon->epoch);
    daemon->child = spawn(daemon, socket, error);
    if (!daemon->child)
        return false;
    daemon->nbd = disk_replay_connect(daemon->lib, daemon->child, socket, error);
    if (!daemon->nbd) {
        explain(daemon, error);
    } else if (measure(daemon, error) &&
               disk_replay(daemon->lib, daemon->nbd, daemon->log, error)) {
        if (again)
            g_message("%s: %u writes were done again, nothing is lost", daemon->name, again);
        daemon->since = g_get_monotonic_time();
        disk_write_log_open(daemon->log, daemon->epoch);
        return true;
    }
    drop(daemon);
    return false;
}

static void log_lines(struct disk_daemon *daemon)
{
    char *line;
    while ((line = disk_child_line(daemon->child))) {
        if (daemon->lines++ < LINES_MAX)
            g_warning("%s: %s", daemon->name, line);
        g_free(line);
    }
}

/* Returns when the daemon is to be replaced (true) or we are told to stop. */
static bool watch(struct disk_daemon *daemon)
{
    while (!g_atomic_int_get(&daemon->stop)) {
        struct pollfd fds[] = {
            { .fd = disk_child_fd(daemon->child), .events = POLLIN },
            { .fd = daemon->wake_fd, .events = POLLIN },
            { .fd = disk_child_output_fd(daemon->child), .events = POLLIN },
        };
        eventfd_t count;

        poll(fds, G_N_ELEMENTS(fds), -1);
        if (fds[1].revents)
            eventfd_read(daemon->wake_fd, &count);
        log_lines(daemon);
        bool lost = (unsigned)g_atomic_int_get(&daemon->lost) == daemon->epoch;
        if (disk_child_ended(daemon->child, lost ? LAST_WORDS_MS : 0)) {
            log_lines(daemon);
            g_autofree char *end = disk_child_end(daemon->child);
            g_warning("%s: " PROGRAM " %s; it is started again, the guest waits", daemon->name,
                      end);
            return true;
        }
        if (lost) {
            g_warning("%s: a connection to " PROGRAM " is lost; it is replaced", daemon->name);
            return true;
        }
    }
    return false;
}

/* --- the keeper --- */

static void tell_started(struct disk_daemon *daemon, GError *error)
{
    pthread_mutex_lock(&daemon->mutex);
    daemon->error = error;
    daemon->started = true;
    pthread_cond_signal(&daemon->changed);
    pthread_mutex_unlock(&daemon->mutex);
}

/* Waits for an image that somebody else still has. */
static bool start_first(struct disk_daemon *daemon)
{
    gint64 deadline = g_get_monotonic_time() + daemon->lock_wait_ms * INT64_C(1000);
    GError *error = NULL;

    while (!bring_up(daemon, &error)) {
        if (!g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN) ||
            g_get_monotonic_time() > deadline) {
            tell_started(daemon, error);
            return false;
        }
        g_clear_error(&error);
        g_usleep(LOCK_RETRY_US);
    }
    tell_started(daemon, NULL);
    return true;
}

static void pause_for(struct disk_daemon *daemon, unsigned pause_ms)
{
    gint64 end = g_get_monotonic_time() + pause_ms * INT64_C(1000), now;
    struct pollfd wake = { .fd = daemon->wake_fd, .events = POLLIN };
    eventfd_t count;

    while (!g_atomic_int_get(&daemon->stop) && (now = g_get_monotonic_time()) < end) {
        if (poll(&wake, 1, (end - now) / 1000 + 1) > 0)
            eventfd_read(daemon->wake_fd, &count);
    }
}

/* Until one serves again or we are told to stop; *PAUSE_MS is for the first attempt. */
static void bring_back(struct disk_daemon *daemon, unsigned *pause_ms)
{
    g_autofree char *logged = NULL;

    for (;;) {
        g_autoptr(GError) error = NULL;
        pause_for(daemon, *pause_ms);
        *pause_ms = CLAMP(*pause_ms * 2, PAUSE_FIRST_MS, PAUSE_MAX_MS);
        if (g_atomic_int_get(&daemon->stop) || bring_up(daemon, &error))
            return;
        if (g_strcmp0(logged, error->message) != 0)
            g_warning("%s: %s; tried again until it works, the guest waits", daemon->name,
                      error->message);
        g_free(logged);
        logged = g_strdup(error->message);
    }
}

/* Starts another one for what is in the log; we have been told to stop, so there is an end to it.
 */
static bool bring_up_at_last(struct disk_daemon *daemon, GError **error)
{
    gint64 end = g_get_monotonic_time() + LAST_ATTEMPTS_S * G_TIME_SPAN_SECOND;
    unsigned pause_ms = PAUSE_FIRST_MS;
    bool said = false;

    /* One that cannot be killed yet may still write. */
    while (!bring_up(daemon, error) && !daemon->child && g_get_monotonic_time() < end) {
        if (!said)
            g_warning("%s: %s; the last %u writes of the guest need it: tried again for %u s",
                      daemon->name, (*error)->message, disk_write_log_length(daemon->log),
                      LAST_ATTEMPTS_S);
        said = true;
        g_clear_error(error);
        g_usleep(pause_ms * 1000);
        pause_ms = MIN(pause_ms * 2, LAST_PAUSE_MAX_MS);
    }
    return daemon->nbd != NULL;
}

/* The log is on the medium: by a flush, or, if that is not possible, by another daemon. */
static bool settle(struct disk_daemon *daemon, GError **error)
{
    g_autoptr(GError) ignored = NULL;

    disk_write_log_close(daemon->log);
    if (disk_write_log_length(daemon->log) == 0)
        return true;
    if (daemon->nbd && disk_replay_flush(daemon->lib, daemon->nbd, END_MS, &ignored)) {
        disk_write_log_clear(daemon->log);
        return true;
    }
    drop(daemon);
    if (!daemon->child)
        return bring_up_at_last(daemon, error);
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "its storage stalls");
    return false;
}

static void end(struct disk_daemon *daemon)
{
    g_autoptr(GError) error = NULL;

    if (!settle(daemon, &error))
        g_critical("%s: the last %u writes of the guest are not on the medium: %s", daemon->name,
                   disk_write_log_length(daemon->log), error->message);
    daemon->lib->close(g_steal_pointer(&daemon->nbd));
    if (!daemon->child)
        return;
    disk_child_signal(daemon->child, SIGTERM);
    if (!disk_child_ended(daemon->child, END_MS))
        g_warning("%s: " PROGRAM " does not end when it is told to; killed", daemon->name);
    else
        log_lines(daemon);
    drop(daemon);
    if (daemon->child)
        g_critical("%s: leave the image alone until " PROGRAM " (pid %d) has ended", daemon->name,
                   disk_child_pid(daemon->child));
}

static gpointer keep(gpointer opaque)
{
    struct disk_daemon *daemon = opaque;
    unsigned pause_ms = 0;

    if (!start_first(daemon))
        return NULL;
    while (watch(daemon)) {
        if (g_get_monotonic_time() - daemon->since > GOOD_LIFE_US)
            pause_ms = 0;
        drop(daemon);
        bring_back(daemon, &pause_ms);
        if (!daemon->nbd)
            break;
    }
    end(daemon);
    return NULL;
}

/* --- for the others --- */

static void daemon_free(struct disk_daemon *daemon)
{
    disk_write_log_free(daemon->log);
    disk_socket_dir_remove(daemon->directory);
    if (daemon->wake_fd >= 0)
        close(daemon->wake_fd);
    pthread_mutex_destroy(&daemon->mutex);
    pthread_cond_destroy(&daemon->changed);
    g_free(daemon->lib);
    g_free(daemon->directory);
    g_free(daemon->name);
    g_free(daemon->blockdev);
    g_strfreev(daemon->secrets);
    g_free(daemon);
}

static bool start(struct disk_daemon *daemon, unsigned domid, GError **error)
{
    daemon->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (daemon->wake_fd < 0) {
        xen_set_error(error, "cannot create an eventfd");
        return false;
    }
    daemon->secrets = disk_secrets_objects(daemon->blockdev, error);
    daemon->lib = daemon->secrets ? libnbd_load(error) : NULL;
    daemon->directory = daemon->lib ? disk_socket_dir_make(domid, error) : NULL;
    if (!daemon->directory)
        return false;
    daemon->keeper = g_thread_try_new("disk-keeper", keep, daemon, error);
    if (!daemon->keeper)
        return false;
    pthread_mutex_lock(&daemon->mutex);
    while (!daemon->started)
        pthread_cond_wait(&daemon->changed, &daemon->mutex);
    pthread_mutex_unlock(&daemon->mutex);
    if (!daemon->error)
        return true;
    g_thread_join(daemon->keeper);
    g_propagate_error(error, daemon->error);
    return false;
}

struct disk_daemon *disk_daemon_start(const struct disk_daemon_config *config, GError **error)
{
    struct disk_daemon *daemon = g_new0(struct disk_daemon, 1);
    daemon->name = g_strdup(config->name);
    daemon->blockdev = g_strdup(config->blockdev);
    daemon->read_only = config->read_only;
    daemon->lock_wait_ms = config->lock_wait_ms;
    daemon->log = disk_write_log_new(LOG_CAPACITY);
    pthread_mutex_init(&daemon->mutex, NULL);
    pthread_cond_init(&daemon->changed, NULL);
    if (start(daemon, config->domid, error))
        return daemon;
    g_prefix_error(error, "%s: ", daemon->name);
    daemon_free(daemon);
    return NULL;
}

void disk_daemon_stop(struct disk_daemon *daemon)
{
    if (!daemon)
        return;
    g_atomic_int_set(&daemon->stop, 1);
    eventfd_write(daemon->wake_fd, 1);
    g_thread_join(daemon->keeper);
    daemon_free(daemon);
}
