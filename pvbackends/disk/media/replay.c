/* Doing again what was lost: see replay.h. */

#include "pvbackends/disk/media/replay.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Between two looks whether the socket is there. */
#define CONNECT_RETRY_MS 2

/* Writes sent at a time. */
#define WINDOW 16

struct replay {
    const struct libnbd *lib;
    struct nbd_handle *nbd;
    unsigned in_flight;
    int error; /* the first one, an errno */
    struct sent {
        struct replay *replay;
        const struct disk_write *write; /* NULL: not in use */
    } window[WINDOW];
};

static bool fail(GError **error, const char *what, const char *why)
{
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: %s", what, why);
    return false;
}

/* Lets the connection go on until something happens; false if nothing does or it is lost. */
static bool turn(const struct libnbd *lib, struct nbd_handle *nbd, int patience_ms, GError **error)
{
    int result = lib->poll(nbd, patience_ms);
    if (result > 0)
        return true;
    return fail(error, "its NBD server",
                result == 0 ? "does not answer (is the storage below it stalled?)"
                            : lib->get_error());
}

/* A socket that listens, which libnbd would try only once; -1 if there is none. */
static int try_connect(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

struct nbd_handle *disk_replay_connect(const struct libnbd *lib, struct disk_child *child,
                                       const char *path, GError **error)
{
    gint64 deadline = g_get_monotonic_time() + DISK_REPLAY_PATIENCE_MS * INT64_C(1000);
    int fd;

    while ((fd = try_connect(path)) < 0) {
        if (disk_child_ended(child, CONNECT_RETRY_MS)) {
            g_autofree char *end = disk_child_end(child);
            fail(error, "qemu-storage-daemon", end);
            return NULL;
        }
        if (g_get_monotonic_time() > deadline) {
            fail(error, "qemu-storage-daemon",
                 "does not come up (is the storage below it stalled?)");
            return NULL;
        }
    }
    struct nbd_handle *nbd = disk_nbd_create(lib, error);
    if (!nbd) {
        close(fd);
        return NULL;
    }
    bool good = lib->aio_connect_socket(nbd, fd) == 0 || fail(error, "NBD", lib->get_error());
    while (good && !lib->aio_is_ready(nbd))
        good = turn(lib, nbd, DISK_REPLAY_PATIENCE_MS, error);
    if (good)
        return nbd;
    lib->close(nbd);
    return NULL;
}

static int on_sent(void *opaque, int *error)
{
    struct sent *sent = opaque;
    if (*error && !sent->replay->error)
        sent->replay->error = *error;
    sent->write = NULL;
    sent->replay->in_flight--;
    return 1;
}

/* Waits until no more than LIMIT are in flight. */
static bool drain(struct replay *replay, unsigned limit, GError **error)
{
    while (replay->in_flight > limit) {
        if (!turn(replay->lib, replay->nbd, DISK_REPLAY_PATIENCE_MS, error))
            return false;
    }
    return replay->error == 0 ||
           fail(error, "a write that is done again", g_strerror(replay->error));
}

static bool overlaps(const struct disk_write *one, const struct disk_write *other)
{
    return one->sector < other->sector + other->sectors &&
           other->sector < one->sector + one->sectors;
}

/* A place in the window for WRITE, which must not overtake what it overlaps. */
static struct sent *find_place(struct replay *replay, const struct disk_write *write,
                               GError **error)
{
    struct sent *place = NULL;

    if (!drain(replay, WINDOW - 1, error))
        return NULL;
    for (unsigned i = 0; i < WINDOW; i++) {
        const struct disk_write *other = replay->window[i].write;
        if (other && overlaps(other, write) && !drain(replay, 0, error))
            return NULL;
    }
    for (unsigned i = 0; i < WINDOW && !place; i++) {
        if (!replay->window[i].write)
            place = &replay->window[i];
    }
    return place;
}

static bool send_again(struct replay *replay, const struct disk_write *write, GError **error)
{
    for (uint64_t done = 0; done < write->sectors;) {
        struct sent *place = find_place(replay, write, error);
        if (!place)
            return false;
        *place = (struct sent){ replay, write };
        replay->in_flight++;
        nbd_completion_callback completion = { .callback = on_sent, .user_data = place };
        uint64_t sent = disk_nbd_send_write(replay->lib, replay->nbd, write, done, completion);
        if (sent == 0)
            return fail(error, "a write that is done again", replay->lib->get_error());
        done += sent;
    }
    return true;
}

bool disk_replay(const struct libnbd *lib, struct nbd_handle *nbd, struct disk_write_log *log,
                 GError **error)
{
    struct replay replay = { .lib = lib, .nbd = nbd };
    bool good = true;

    if (disk_write_log_length(log) == 0)
        return true;
    for (const GList *link = disk_write_log_first(log); link && good; link = link->next)
        good = send_again(&replay, link->data, error);
    good = good && drain(&replay, 0, error) &&
           disk_replay_flush(lib, nbd, DISK_REPLAY_PATIENCE_MS, error);
    if (good)
        disk_write_log_clear(log);
    return good;
}

static int on_flushed(void *opaque, int *error)
{
    int *result = opaque;
    *result = *error;
    return 1;
}

bool disk_replay_flush(const struct libnbd *lib, struct nbd_handle *nbd, int patience_ms,
                       GError **error)
{
    int result = -1;
    nbd_completion_callback completion = { .callback = on_flushed, .user_data = &result };

    if (lib->aio_flush(nbd, completion, 0) < 0)
        return fail(error, "a flush", lib->get_error());
    while (result < 0) {
        if (!turn(lib, nbd, patience_ms, error))
            return false;
    }
    return result == 0 || fail(error, "a flush", g_strerror(result));
}
