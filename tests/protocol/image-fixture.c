/* Images and the daemon that serves them: see image-fixture.h. */

#include "tests/protocol/image-fixture.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pvbackends/disk/counters.h"

static int run_shell(const char *format, va_list args)
{
    g_autofree char *command = g_strdup_vprintf(format, args);
    return system(command);
}

void image_run(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_assert_cmpint(run_shell(format, args), ==, 0);
    va_end(args);
}

void image_run_fails(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_assert_cmpint(run_shell(format, args), !=, 0);
    va_end(args);
}

void image_use_directory(struct fixture *f)
{
    g_setenv("ROLEMODEL_RUN_DIR", f->directory, TRUE);
}

void image_assert_directory_clean(struct fixture *f)
{
    g_autofree char *path = g_strdup_printf("%s/%u", f->directory, guest_domid(f->guest));
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
}

const char *image_new_path(struct fixture *f)
{
    struct disk_file *file = &f->disks[f->nr_disks];
    g_assert_cmpuint(f->nr_disks, <, DISKS_MAX);
    file->path = g_strdup_printf("%s/%u", f->directory, f->nr_disks);
    file->fd = -1;
    f->nr_disks++;
    return file->path;
}

void image_attach(struct fixture *f, const char *params, const struct toolstack_disk *disk)
{
    struct toolstack_disk full = disk ? *disk : (struct toolstack_disk){ 0 };
    full.vdev = "xvda";
    full.params = params;
    f->disks[0].devid = toolstack_attach_disk(f->guest, &full);
}

struct blkfront *image_start(struct fixture *f, const char *format, const char *params,
                             uint64_t sectors)
{
    const char *path = image_new_path(f);
    g_autofree char *all = g_strdup_printf("%s:%s", params, path);

    image_run("qemu-img create -q -f %s %s %lluK", format, path, (unsigned long long)sectors / 2);
    image_use_directory(f);
    image_attach(f, all, NULL);
    fixture_run_role(f);
    fixture_expect_backend(f, 0, XenbusStateInitWait);
    fixture_settle(f, 0);
    return fixture_connect(f, 0, NULL);
}

/* The process whose parent is the role and whose program is a qemu-storage-daemon; 0 without. */
static pid_t find_daemon(pid_t role)
{
    GDir *dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    pid_t found = 0;

    while (found == 0 && (name = g_dir_read_name(dir))) {
        g_autofree char *stat = g_build_filename("/proc", name, "stat", NULL);
        g_autofree char *text = NULL;
        int parent;
        char state;
        if (g_file_get_contents(stat, &text, NULL, NULL) && strstr(text, "(qemu-storage-da") &&
            sscanf(strrchr(text, ')'), ") %c %d", &state, &parent) == 2 && parent == role &&
            state != 'Z')
            found = g_ascii_strtoull(name, NULL, 10);
    }
    g_dir_close(dir);
    return found;
}

pid_t image_daemon(struct fixture *f, pid_t before)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    for (;;) {
        pid_t found = find_daemon(f->role);
        if (found > 0 && found != before)
            return found;
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(1000);
    }
}

uint8_t *image_read(struct fixture *f, const char *format, uint64_t sectors)
{
    g_autofree char *raw = g_strdup_printf("%s.raw", f->disks[0].path);
    char *data;
    gsize length;

    image_run("qemu-img convert -f %s -O raw %s %s", format, f->disks[0].path, raw);
    g_assert_true(g_file_get_contents(raw, &data, &length, NULL));
    g_assert_cmpuint(length, ==, sectors * SECTOR);
    g_unlink(raw);
    return (uint8_t *)data;
}

/* Has every thread of it stopped? */
static bool stands_still(pid_t daemon)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", daemon);
    g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
    bool still = true;

    for (const char *task; still && (task = g_dir_read_name(tasks));) {
        g_autofree char *stat = g_build_filename(path, task, "stat", NULL);
        g_autofree char *text = NULL;
        still = g_file_get_contents(stat, &text, NULL, NULL) && strstr(text, ") T ");
    }
    return still;
}

void image_stop_daemon(pid_t daemon)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;

    kill(daemon, SIGSTOP);
    while (!stands_still(daemon))
        g_assert_cmpint(g_get_monotonic_time(), <, end);
}

/* How many requests of the first queue are, as the role counts them. */
static uint64_t in_flight(struct fixture *f)
{
    const off_t place = offsetof(struct disk_counters_file, queues) +
                        offsetof(struct disk_queue_counters, values) +
                        DISK_IN_FLIGHT * sizeof(uint64_t);
    g_autofree char *path = g_strdup_printf("%s/%u/disk-%u.counters", f->directory,
                                            guest_domid(f->guest), f->disks[0].devid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t value = 0;

    g_assert_cmpint(pread(fd, &value, sizeof(value), place), ==, sizeof(value));
    close(fd);
    return value;
}

void image_await_in_flight(struct fixture *f, unsigned count)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;

    while (in_flight(f) < count)
        g_assert_cmpint(g_get_monotonic_time(), <, end);
}
