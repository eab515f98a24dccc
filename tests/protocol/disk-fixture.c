/* What every test of the disk role needs: see disk-fixture.h. */

#include "tests/protocol/disk-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <xen/grant_table.h>

#define GUEST_PAGES (64 << 20 >> 12)
#define DISK_SECTORS (8 * MIB_SECTORS)

#define SETTLE_TRIES 10

/* What a role may say during one test: a line for each disk, ten complaints about each. */
#define LOG_BYTES 4096

static const char *rolemodel;

/* --- fixture --- */

void fixture_open(struct fixture *f)
{
    static const struct toolstack_guest guest = { "pv", 1, GUEST_PAGES };
    g_autoptr(GError) error = NULL;

    *f = (struct fixture){ .guest = toolstack_create(&guest), .log_bytes = LOG_BYTES };
    f->directory = g_dir_make_tmp("test-disk-XXXXXX", &error);
    g_assert_no_error(error);
    f->log = g_build_filename(f->directory, "log", NULL);
}

static char *read_log(struct fixture *f)
{
    char *text = NULL;
    g_file_get_contents(f->log, &text, NULL, NULL);
    return text ? text : g_strdup("");
}

bool fixture_role_said(struct fixture *f, const char *text)
{
    g_autofree char *log = read_log(f);
    return strstr(log, text) != NULL;
}

void fixture_wait_role(struct fixture *f, int expected, const char *text)
{
    int status = toolstack_wait(f->role);
    g_autofree char *log = read_log(f);

    f->role = 0;
    if (status != expected || (text && !strstr(log, text)) || strlen(log) > f->log_bytes)
        g_error("the role ended with status %d, not %d; in %zu bytes it said (looking for '%s'):\n"
                "%s",
                status, expected, strlen(log), text ? text : "", log);
}

void fixture_end(struct fixture *f)
{
    if (f->role) {
        kill(f->role, SIGTERM);
        fixture_wait_role(f, 0, NULL);
    }
    if (f->guest)
        toolstack_destroy(f->guest);
    for (unsigned i = 0; i < f->nr_disks; i++)
        fixture_remove_image(&f->disks[i]);
    g_unlink(f->log);
    g_rmdir(f->directory);
    g_free(f->log);
    g_free(f->directory);
}

static void run_test(gconstpointer test)
{
    struct fixture f;
    fixture_open(&f);
    ((fixture_test *)test)(&f);
    fixture_end(&f);
}

void fixture_add_test(const char *path, fixture_test *test)
{
    g_test_add_data_func(path, (gconstpointer)test, run_test);
}

int fixture_main(int argc, char **argv, void (*add_tests)(void))
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 2)
        g_error("usage: %s PATH-OF-ROLEMODEL", argv[0]);
    rolemodel = argv[1];
    sim_start();
    add_tests();
    int status = g_test_run();
    sim_stop();
    return status;
}

/* --- toolstack --- */

static int make_image(const char *path, uint64_t sectors)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t length = sectors * SECTOR;
    g_autofree uint64_t *data = g_malloc(length);

    for (size_t i = 0; i < length / sizeof(*data); i++)
        data[i] = i / (SECTOR / sizeof(*data));
    if (fd < 0 || pwrite(fd, data, length, 0) != (ssize_t)length)
        g_error("%s: %s", path, g_strerror(errno));
    return fd;
}

struct disk_file fixture_make_image(struct fixture *f, const char *name, uint64_t sectors)
{
    char *path = g_build_filename(f->directory, name, NULL);
    return (struct disk_file){ .path = path, .fd = make_image(path, sectors), .sectors = sectors };
}

void fixture_remove_image(struct disk_file *image)
{
    if (image->fd >= 0)
        close(image->fd);
    g_unlink(image->path);
    g_free(image->path);
}

unsigned fixture_add_special_disk(struct fixture *f, const struct toolstack_disk *disk,
                                  uint64_t sectors)
{
    struct toolstack_disk full = *disk;
    struct disk_file *file = &f->disks[f->nr_disks];

    g_assert_cmpuint(f->nr_disks, <, DISKS_MAX);
    file->path = g_strdup_printf("%s/%u", f->directory, f->nr_disks);
    file->fd = make_image(file->path, sectors);
    file->sectors = sectors;
    g_autofree char *params = g_strdup_printf("aio:%s", file->path);
    full.params = params;
    file->devid = toolstack_attach_disk(f->guest, &full);
    return f->nr_disks++;
}

unsigned fixture_add_disk(struct fixture *f, const char *vdev, uint64_t sectors)
{
    struct toolstack_disk disk = { .vdev = vdev };
    return fixture_add_special_disk(f, &disk, sectors);
}

void fixture_reattach_disk(struct fixture *f, unsigned disk)
{
    static const char *const names[] = { "xvda", "xvdb", "xvdc", "xvdd" };
    g_autofree char *params = g_strdup_printf("aio:%s", f->disks[disk].path);
    struct toolstack_disk plain = { .vdev = names[disk], .params = params };
    g_assert_cmpuint(toolstack_attach_disk(f->guest, &plain), ==, f->disks[disk].devid);
}

void fixture_run_role(struct fixture *f)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    const char *argv[5 + 2 * G_N_ELEMENTS(f->options) + 1] = { rolemodel, "disk", "--domid",
                                                               domid };

    for (unsigned i = 0; i < G_N_ELEMENTS(f->options) && f->options[i]; i++) {
        argv[4 + 2 * i] = "--option";
        argv[5 + 2 * i] = f->options[i];
    }
    f->role = toolstack_run(f->log, argv);
}

void fixture_start_role(struct fixture *f)
{
    fixture_run_role(f);
    for (unsigned i = 0; i < f->nr_disks; i++) {
        fixture_expect_backend(f, i, XenbusStateInitWait);
        fixture_settle(f, i);
        fixture_set_state(f, i, XenbusStateInitialising);
        fixture_expect_backend(f, i, XenbusStateInitWait);
    }
}

struct command fixture_command(struct fixture *f, const char *const *words)
{
    g_autofree char *domid = g_strdup_printf("%u", guest_domid(f->guest));
    g_autoptr(GStrvBuilder) argv = g_strv_builder_new();
    g_autoptr(GError) error = NULL;
    struct command made;
    int fds[2];

    g_strv_builder_add_many(argv, rolemodel, "disk", words[0], domid, NULL);
    g_strv_builder_addv(argv, (const char **)words + 1);
    g_auto(GStrv) line = g_strv_builder_end(argv);
    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    g_spawn_async_with_fds(NULL, line, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &made.pid, -1,
                           fds[1], fds[1], &error);
    g_assert_no_error(error);
    close(fds[1]);
    made.output = fds[0];
    return made;
}

char *fixture_processes(void)
{
    char *argv[] = { (char *)rolemodel, (char *)"list", NULL };
    char *text = NULL;
    g_assert_true(
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &text, NULL, NULL, NULL));
    return text;
}

int fixture_command_wait(struct command *command, char **text)
{
    g_autoptr(GString) said = g_string_new(NULL);
    char data[1024];
    ssize_t got;

    while ((got = read(command->output, data, sizeof(data))) > 0)
        g_string_append_len(said, data, got);
    close(command->output);
    *text = g_strdup(said->str);
    return toolstack_wait(command->pid);
}

void fixture_command_expect(struct command *command, int status, const char *words)
{
    g_autofree char *text = NULL;
    int found = fixture_command_wait(command, &text);

    if (found != status || !strstr(text, words))
        g_error("status %d, not %d; it said, without '%s': %s", found, status, words, text);
}

void fixture_expect_list(struct fixture *f, const char *state, uint64_t mib, const char *medium)
{
    g_autofree char *line =
        g_strdup_printf("\n%-8s %-8s %8" G_GUINT64_FORMAT "  %s\n", "xvda", state, mib, medium);
    expect_command(f, 0, line, "list");
}

void fixture_await_state(struct fixture *f, const char *state)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    g_autofree char *line = g_strdup_printf("\n%-8s %-8s ", "xvda", state);

    for (bool found = false; !found;) {
        struct command command = fixture_command(f, (const char *const[]){ "list", NULL });
        g_autofree char *text = NULL;
        g_assert_cmpint(fixture_command_wait(&command, &text), ==, 0);
        found = strstr(text, line) != NULL;
        if (!found && g_get_monotonic_time() > end)
            g_error("xvda is not %s: %s", state, text);
    }
}

struct blkfront *fixture_start(struct fixture *f, const struct blkfront_options *options)
{
    fixture_add_disk(f, "xvda", DISK_SECTORS);
    fixture_start_role(f);
    return fixture_connect(f, 0, options);
}

bool fixture_image_locked(const struct disk_file *disk)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    g_assert_cmpint(fcntl(disk->fd, F_OFD_GETLK, &lock), ==, 0);
    return lock.l_type != F_UNLCK;
}

void fixture_await_unlocked(const struct disk_file *disk)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;
    while (fixture_image_locked(disk))
        g_assert_cmpint(g_get_monotonic_time(), <, end);
}

/* --- the image --- */

void assert_untouched(const struct disk_file *disk, uint64_t sector, uint64_t sectors)
{
    uint64_t words[SECTOR / sizeof(uint64_t)];
    for (uint64_t i = sector; i < sector + sectors; i++) {
        g_assert_cmpint(pread(disk->fd, words, SECTOR, i * SECTOR), ==, SECTOR);
        for (size_t j = 0; j < G_N_ELEMENTS(words); j++)
            g_assert_cmpuint(words[j], ==, i);
    }
}

void assert_zero(const struct disk_file *disk, uint64_t sector, uint64_t sectors)
{
    uint8_t data[SECTOR], zero[SECTOR] = { 0 };
    for (uint64_t i = sector; i < sector + sectors; i++) {
        g_assert_cmpint(pread(disk->fd, data, SECTOR, i * SECTOR), ==, SECTOR);
        g_assert_cmpmem(data, SECTOR, zero, SECTOR);
    }
}

void assert_on_disk(const struct disk_file *disk, uint64_t sector, const void *data, size_t length)
{
    g_autofree uint8_t *found = g_malloc(length);
    g_assert_cmpint(pread(disk->fd, found, length, sector * SECTOR), ==, length);
    g_assert_cmpmem(found, length, data, length);
}

/* --- frontend --- */

struct blkfront *fixture_connect(struct fixture *f, unsigned disk,
                                 const struct blkfront_options *options)
{
    g_autofree char *reason = NULL;
    struct blkfront *front = blkfront_connect(f->guest, f->disks[disk].devid, options, &reason);
    if (!front) {
        g_autofree char *log = read_log(f);
        g_error("cannot connect: %s; the role's log:\n%s", reason, log);
    }
    return front;
}

void fixture_close(struct blkfront *front)
{
    g_assert_true(blkfront_close(front));
}

void fixture_verify(struct fixture *f, unsigned disk, struct blkfront *front, uint64_t sector,
                    uint64_t sectors)
{
    static uint32_t seed; /* another pattern each time, or old data would do */
    g_autofree char *reason = NULL;
    g_autofree uint8_t *expected = g_malloc(sectors * SECTOR), *data = g_malloc(sectors * SECTOR);

    if (!blkfront_verify(front, 0, sector, sectors, ++seed, &reason)) {
        g_autofree char *state = fixture_backend_read(f, disk, "state");
        g_autofree char *log = read_log(f);
        g_error("%s; the backend is in state %s; the role's log:\n%s", reason, state, log);
    }
    blkfront_pattern(expected, sector, sectors * SECTOR, seed);
    g_assert_cmpint(pread(f->disks[disk].fd, data, sectors * SECTOR, sector * SECTOR), ==,
                    sectors * SECTOR);
    g_assert_cmpint(memcmp(data, expected, sectors * SECTOR), ==, 0);
}

void fixture_check_disk(struct fixture *f, unsigned disk)
{
    struct blkfront *front = fixture_connect(f, disk, NULL);
    fixture_verify(f, disk, front, 16, 64);
    fixture_close(front);
}

static char *backend_path(struct fixture *f, unsigned disk, const char *node)
{
    return g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u/%s", guest_domid(f->guest),
                           f->disks[disk].devid, node);
}

char *fixture_backend_read(struct fixture *f, unsigned disk, const char *node)
{
    g_autofree char *path = backend_path(f, disk, node);
    return toolstack_read(path);
}

uint64_t fixture_backend_number(struct fixture *f, unsigned disk, const char *node)
{
    g_autofree char *text = fixture_backend_read(f, disk, node);
    g_assert_nonnull(text);
    return g_ascii_strtoull(text, NULL, 10);
}

enum xenbus_state fixture_expect_backend_in(struct fixture *f, unsigned disk, unsigned states)
{
    g_autofree char *path = backend_path(f, disk, "state");
    gint64 end = g_get_monotonic_time() + PATIENCE_S * G_TIME_SPAN_SECOND;

    for (;;) {
        g_autofree char *state = toolstack_read(path);
        enum xenbus_state now = state ? g_ascii_strtoull(state, NULL, 10) : XenbusStateUnknown;
        if (states & 1u << now)
            return now;
        if (g_get_monotonic_time() > end) {
            g_autofree char *log = read_log(f);
            g_error("the backend is in state %s, not in one of 0x%x; the role's log:\n%s", state,
                    states, log);
        }
        g_usleep(500);
    }
}

void fixture_expect_backend(struct fixture *f, unsigned disk, enum xenbus_state state)
{
    fixture_expect_backend_in(f, disk, 1u << state);
}

void fixture_set(struct fixture *f, unsigned disk, const char *node, const char *value)
{
    g_autofree char *path = g_strdup_printf("device/vbd/%u/%s", f->disks[disk].devid, node);
    if (value)
        g_assert_true(guest_store_write(f->guest, path, value));
    else
        guest_store_remove(f->guest, path);
}

void fixture_set_state(struct fixture *f, unsigned disk, enum xenbus_state state)
{
    fixture_set_number(f, disk, "state", state);
}

void fixture_settle(struct fixture *f, unsigned disk)
{
    const unsigned closing = 1u << XenbusStateClosing, closed = 1u << XenbusStateClosed;

    for (unsigned i = 0; i < SETTLE_TRIES; i++) {
        fixture_set_state(f, disk, XenbusStateClosing);
        fixture_expect_backend_in(f, disk, closing | closed);
        fixture_set_state(f, disk, XenbusStateClosed);
        /* It stays in InitWait if something older took it there and it has only seen the Closed. */
        if (fixture_expect_backend_in(f, disk, closed | 1u << XenbusStateInitWait) ==
            XenbusStateClosed)
            return;
    }
    g_error("the backend does not close");
}

void fixture_set_number(struct fixture *f, unsigned disk, const char *node, uint32_t value)
{
    g_autofree char *text = g_strdup_printf("%u", value);
    fixture_set(f, disk, node, text);
}

/* --- requests by hand --- */

struct pages fixture_pages(struct fixture *f, unsigned count, bool read_only)
{
    struct pages pages = { .data = guest_alloc(f->guest, count) };
    g_assert_cmpuint(count, <=, G_N_ELEMENTS(pages.refs));
    for (unsigned i = 0; i < count; i++)
        pages.refs[i] = guest_grant(f->guest, 0, pages.data + (size_t)i * GUEST_PAGE, read_only);
    return pages;
}

blkif_request_t request_for(uint8_t operation, uint64_t id, uint64_t sector,
                            const struct pages *pages, unsigned count)
{
    blkif_request_t request = {
        .operation = operation,
        .nr_segments = count,
        .id = id,
        .sector_number = sector,
    };
    for (unsigned i = 0; i < count; i++)
        request.seg[i] = (struct blkif_request_segment){ pages->refs[i], 0, SECTORS_PER_PAGE - 1 };
    return request;
}

blkif_request_t request_discard(uint64_t id, uint64_t sector, uint64_t sectors, uint8_t flag)
{
    union {
        blkif_request_t request;
        blkif_request_discard_t discard;
    } slot = { 0 };
    slot.discard = (blkif_request_discard_t){
        .operation = BLKIF_OP_DISCARD,
        .flag = flag,
        .id = id,
        .sector_number = sector,
        .nr_sectors = sectors,
    };
    return slot.request;
}

void request_put(struct blkfront *front, const blkif_request_t *request)
{
    g_assert_true(blkfront_put(front, 0, request));
}

int request_do(struct blkfront *front, const blkif_request_t *request)
{
    blkif_response_t response;

    request_put(front, request);
    blkfront_push(front, 0);
    g_assert_true(blkfront_take(front, 0, &response, PATIENCE_MS));
    g_assert_cmpuint(response.id, ==, request->id);
    /* An indirect request has its inner operation in the place of the number of segments. */
    g_assert_cmpuint(response.operation, ==,
                     request->operation == BLKIF_OP_INDIRECT ? request->nr_segments
                                                             : request->operation);
    return response.status;
}

unsigned request_take_all(struct blkfront *front, unsigned count, int status)
{
    g_autofree bool *seen = g_new0(bool, count);
    unsigned with_status = 0;
    blkif_response_t response;

    for (unsigned i = 0; i < count; i++) {
        g_assert_true(blkfront_take(front, 0, &response, PATIENCE_MS));
        g_assert_cmpuint(response.id, <, count);
        g_assert_false(seen[response.id]);
        seen[response.id] = true;
        with_status += response.status == status;
    }
    return with_status;
}

int request_page(struct blkfront *front, uint8_t operation, const struct pages *pages,
                 uint64_t sector)
{
    blkif_request_t request = request_for(operation, 1, sector, pages, 1);
    return request_do(front, &request);
}

static gpointer run_load(gpointer opaque)
{
    struct request_load *load = opaque;

    while (!g_atomic_int_get(&load->end)) {
        for (unsigned i = 0; i < 16; i++) {
            blkif_request_t request =
                request_for(i % 2 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i, i * 64, &load->pages, 8);
            request_put(load->front, &request);
        }
        blkfront_push(load->front, 0);
        load->bad += 16 - request_take_all(load->front, 16, BLKIF_RSP_OKAY);
        load->done += 16;
    }
    return NULL;
}

void request_load_start(struct fixture *f, struct request_load *load, struct blkfront *front)
{
    *load = (struct request_load){ .front = front, .pages = fixture_pages(f, 8, false) };
    load->thread = g_thread_new("load", run_load, load);
}

void request_load_end(struct request_load *load)
{
    g_atomic_int_set(&load->end, 1);
    g_thread_join(load->thread);
}

void request_expect_none(struct blkfront *front)
{
    blkif_response_t response;
    g_assert_false(blkfront_take(front, 0, &response, 0));
}
