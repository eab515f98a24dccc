/* A disk's counters in shared memory: see counters.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/counters.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "role_run.h"
#include "xen/error.h"

#define PREFIX "disk-"
#define SUFFIX ".counters"

struct disk_counters {
    unsigned domid;
    char *name; /* of the file */
    int fd;     /* holds its lock */
    struct disk_counters_file *file;
};

struct disk_queue_counters *disk_counters_queue(struct disk_counters *counters, unsigned queue)
{
    return counters ? &counters->file->queues[queue] : NULL;
}

void disk_counters_set_queues(struct disk_counters *counters, unsigned nr_queues)
{
    if (counters)
        atomic_store_explicit(&counters->file->nr_queues, nr_queues, memory_order_relaxed);
}

/* With all its memory, of which there may be too little: to find that out later would be fatal. */
static bool set_up(struct disk_counters *counters, const char *path, const char *vdev,
                   GError **error)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    const size_t size = sizeof(struct disk_counters_file);

    unlink(path);
    counters->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (counters->fd < 0 || (errno = posix_fallocate(counters->fd, 0, size)) ||
        fcntl(counters->fd, F_OFD_SETLK, &lock) < 0) {
        xen_set_error(error, "cannot make %s", path);
        return false;
    }
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, counters->fd, 0);
    if (memory == MAP_FAILED) {
        xen_set_error(error, "cannot map %s", path);
        return false;
    }
    counters->file = memory;
    memcpy(counters->file->magic, DISK_COUNTERS_MAGIC, sizeof(counters->file->magic));
    counters->file->version = DISK_COUNTERS_VERSION;
    counters->file->size = size;
    counters->file->started = g_get_real_time();
    g_strlcpy(counters->file->vdev, vdev, sizeof(counters->file->vdev));
    return true;
}

struct disk_counters *disk_counters_open(unsigned domid, const char *devid, const char *vdev,
                                         GError **error)
{
    struct disk_counters *counters = g_new0(struct disk_counters, 1);
    counters->domid = domid;
    counters->name = g_strdup_printf(PREFIX "%s" SUFFIX, devid);
    counters->fd = -1;
    g_autofree char *path = role_run_path(domid, counters->name);
    g_autofree char *unfinished = g_strconcat(path, ".new", NULL);

    /* It gets its name when it is locked, so that nobody takes it for a dead role's. */
    if (role_run_make(domid, error) && set_up(counters, unfinished, vdev, error)) {
        if (rename(unfinished, path) == 0)
            return counters;
        xen_set_error(error, "cannot make %s", path);
    }
    unlink(unfinished);
    disk_counters_close(counters);
    return NULL;
}

void disk_counters_close(struct disk_counters *counters)
{
    if (!counters)
        return;
    role_run_remove(counters->domid, counters->name);
    if (counters->file)
        munmap(counters->file, sizeof(*counters->file));
    if (counters->fd >= 0)
        close(counters->fd);
    g_free(counters->name);
    g_free(counters);
}

static bool is_locked(int fd)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* The number in the name of a disk's file; NULL if it is the name of something else. */
static char *parse_name(const char *name)
{
    if (!g_str_has_prefix(name, PREFIX) || !g_str_has_suffix(name, SUFFIX))
        return NULL;
    name += strlen(PREFIX);
    return g_strndup(name, strlen(name) - strlen(SUFFIX));
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
    const char *const *left = a, *const *right = b;
    guint64 x = g_ascii_strtoull(*left, NULL, 10), y = g_ascii_strtoull(*right, NULL, 10);
    return x < y ? -1 : x > y;
}

/* Of all files of the guest's. */
static GPtrArray *list_numbers(unsigned domid)
{
    GPtrArray *numbers = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *path = role_run_path(domid, NULL);
    g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);

    for (const char *name; directory && (name = g_dir_read_name(directory));) {
        char *number = parse_name(name);
        if (number)
            g_ptr_array_add(numbers, number);
    }
    g_ptr_array_sort(numbers, compare_numbers);
    return numbers;
}

static int open_file(unsigned domid, const char *devid)
{
    g_autofree char *name = g_strdup_printf(PREFIX "%s" SUFFIX, devid);
    g_autofree char *path = role_run_path(domid, name);
    return open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

void disk_counters_clean(unsigned domid)
{
    g_autoptr(GPtrArray) numbers = list_numbers(domid);

    for (guint i = 0; i < numbers->len; i++) {
        const char *devid = g_ptr_array_index(numbers, i);
        int fd = open_file(domid, devid);
        if (fd < 0)
            continue;
        if (!is_locked(fd)) {
            g_autofree char *name = g_strdup_printf(PREFIX "%s" SUFFIX, devid);
            role_run_remove(domid, name);
        }
        close(fd);
    }
}

/* Read, not mapped: a file that becomes shorter must not end us. */
static bool read_file(int fd, struct disk_counters_file *file)
{
    struct stat info;
    return fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && is_locked(fd) &&
           pread(fd, file, sizeof(*file), 0) == sizeof(*file) &&
           memcmp(file->magic, DISK_COUNTERS_MAGIC, sizeof(file->magic)) == 0 &&
           file->version == DISK_COUNTERS_VERSION && file->size == sizeof(*file) &&
           file->nr_queues <= DISK_QUEUES_MAX && memchr(file->vdev, '\0', sizeof(file->vdev)) &&
           g_utf8_validate(file->vdev, -1, NULL);
}

void disk_counters_each(unsigned domid, disk_counters_fn *fn, void *opaque)
{
    g_autoptr(GPtrArray) numbers = list_numbers(domid);

    for (guint i = 0; i < numbers->len; i++) {
        const char *devid = g_ptr_array_index(numbers, i);
        struct disk_counters_file file;
        int fd = open_file(domid, devid);
        if (fd < 0)
            continue;
        if (read_file(fd, &file))
            fn(devid, &file, opaque);
        close(fd);
    }
}
