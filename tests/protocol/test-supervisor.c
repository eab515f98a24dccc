/*
 * The supervisor as a PV guest's device model, started and ended as libxl does it, with the disk
 * role serving a guest: `test-supervisor ROLEMODEL`.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/protocol/stop.h"
#include "tests/sim/guest/blkfront.h"
#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"
#include "tests/unit/qmp-client.h"

#define READY_SECONDS 10
#define END_MS 10000
#define SECTORS 2048
#define MAX_PROCESSES 8
#define SILENCE_MS 60000 /* the supervisor waits for 10 s */
#define ASKED_US 3000000 /* it has asked at least once by then, or a test proves less */

static char *rolemodel;
static char *program; /* rolemodel, called by the name that makes it the supervisor */

struct machine {
    struct guest *guest; /* NULL once destroyed */
    unsigned domid;
    char *log;
    pid_t supervisor;
    pid_t processes[MAX_PROCESSES]; /* supervisor and roles, as they are in xenstore; then 0 */
};

static char *image(const char *name, gsize bytes)
{
    g_autofree char *zeros = g_malloc0(bytes);
    char *path = g_build_filename(sim_directory(), name, NULL);
    g_assert_true(g_file_set_contents(path, zeros, bytes, NULL));
    return path;
}

static unsigned attach(struct machine *machine, const char *vdev, const char *path)
{
    g_autofree char *params = g_strconcat("aio:", path, NULL);
    return toolstack_attach_disk(machine->guest,
                                 &(struct toolstack_disk){ .vdev = vdev, .params = params });
}

static struct machine *machine_new(void)
{
    struct machine *machine = g_new0(struct machine, 1);
    machine->guest =
        toolstack_create(&(struct toolstack_guest){ .type = "pv", .vcpus = 1, .pages = 1024 });
    machine->domid = guest_domid(machine->guest);
    machine->log = g_strdup_printf("%s/dm-%u.log", sim_directory(), machine->domid);
    return machine;
}

static void machine_free(struct machine *machine)
{
    if (machine->guest)
        toolstack_destroy(machine->guest);
    g_free(machine->log);
    g_free(machine);
}

static char *node(struct machine *machine, const char *format, ...) G_GNUC_PRINTF(2, 3);
static char *node(struct machine *machine, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *rest = g_strdup_vprintf(format, args);
    va_end(args);
    return g_strdup_printf("/local/domain/0/%s", rest);
}

static void start(struct machine *machine)
{
    machine->supervisor = toolstack_run_device_model(machine->guest, machine->log, program, NULL);
}

static void note_process(struct machine *machine, const char *name)
{
    g_autofree char *path = node(machine, "device-model/%u/roles/%s/pid", machine->domid, name);
    g_autofree char *pid = toolstack_read(path);
    unsigned i = 0;

    g_assert_nonnull(pid);
    while (machine->processes[i])
        i++;
    g_assert_cmpuint(i, <, MAX_PROCESSES - 1);
    machine->processes[i] = atoi(pid);
}

static void await_running(struct machine *machine)
{
    g_autofree char *state = node(machine, "device-model/%u/state", machine->domid);
    if (toolstack_await(state, "running", READY_SECONDS))
        return;
    g_autofree char *log = NULL;
    g_file_get_contents(machine->log, &log, NULL, NULL);
    g_error("the device model is not running: %s", log);
}

static bool await_backend(struct machine *machine, unsigned devid, const char *state)
{
    g_autofree char *path = node(machine, "backend/qdisk/%u/%u/state", machine->domid, devid);
    return toolstack_await(path, state, READY_SECONDS);
}

/* Roles that outlive the supervisor become our children, because main() asked for them. */
static bool process_ends(pid_t pid)
{
    for (int i = 0; i < END_MS; i++) {
        waitpid(pid, NULL, WNOHANG);
        if (kill(pid, 0) < 0)
            return true;
        g_usleep(1000);
    }
    return false;
}

static void assert_all_end(struct machine *machine)
{
    for (unsigned i = 0; machine->processes[i]; i++)
        g_assert_true(process_ends(machine->processes[i]));
}

static bool log_has(struct machine *machine, const char *text)
{
    g_autofree char *log = NULL;
    g_assert_true(g_file_get_contents(machine->log, &log, NULL, NULL));
    bool found = strstr(log, text) != NULL;
    if (!found)
        g_test_message("not in the log: %s\n%s", text, log);
    return found;
}

/* A guest with one disk, whose supervisor says that it is running. */
static struct machine *running(unsigned *devid)
{
    struct machine *machine = machine_new();
    g_autofree char *name = g_strdup_printf("disk-%u.img", machine->domid);
    g_autofree char *path = image(name, SECTORS * 512);

    *devid = attach(machine, "xvda", path);
    start(machine);
    await_running(machine);
    note_process(machine, "supervisor");
    note_process(machine, "disk");
    g_assert_cmpint(machine->processes[0], ==, machine->supervisor);
    g_assert_true(await_backend(machine, *devid, "2"));
    return machine;
}

static struct blkfront *connect_disk(struct machine *machine, unsigned devid)
{
    struct blkfront_options options = { 0 };
    g_autofree char *reason = NULL;
    struct blkfront *front = blkfront_connect(machine->guest, devid, &options, &reason);
    if (!front)
        g_error("the disk does not connect: %s", reason);
    return front;
}

static void assert_serves(struct blkfront *front)
{
    uint8_t out[8192], in[8192] = { 0 };
    memset(out, g_random_int_range(1, 256), sizeof(out));
    g_assert_cmpuint(blkfront_disk(front)->sectors, ==, SECTORS);
    g_assert_cmpint(blkfront_write(front, 0, 8, out, sizeof(out)), ==, BLKIF_RSP_OKAY);
    g_assert_cmpint(blkfront_read(front, 0, 8, in, sizeof(in)), ==, BLKIF_RSP_OKAY);
    g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
}

static void assert_qmp(struct machine *machine, const char *client)
{
    g_autofree char *path = toolstack_qmp_path(machine->guest, client);
    int fd = connect_to(path);
    g_autofree char *greeting = receive(fd);

    g_assert_true(g_str_has_prefix(greeting, "{\"QMP\":{\"version\""));
    assert_answer(fd, "{\"execute\": \"qmp_capabilities\"}\n", "{\"return\":{}}");
    send_text(fd, "{\"execute\": \"query-version\", \"id\": 7}\n");
    g_autofree char *version = receive(fd);
    g_assert_nonnull(strstr(version, "\"id\":7"));
    close(fd);
}

static void test_running(void)
{
    unsigned devid;
    struct machine *machine = running(&devid);
    g_autofree char *path = toolstack_qmp_path(machine->guest, "libxl");

    assert_qmp(machine, "libxl");
    assert_qmp(machine, "libxenstat");
    struct blkfront *front = connect_disk(machine, devid);
    assert_serves(front);
    g_assert_true(blkfront_close(front));
    front = connect_disk(machine, devid);
    assert_serves(front);

    kill(machine->supervisor, SIGTERM);
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, 0);
    assert_all_end(machine);
    g_assert_true(await_backend(machine, devid, "6"));
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    blkfront_abandon(front);
    machine_free(machine);
}

static void test_missing_image(void)
{
    struct machine *machine = machine_new();
    g_autofree char *path = g_build_filename(sim_directory(), "missing.img", NULL);

    attach(machine, "xvda", path);
    start(machine);
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, 1);
    g_assert_true(log_has(machine, "disk xvda: "));
    g_assert_true(log_has(machine, path));
    g_assert_true(log_has(machine, "check the path"));
    g_autofree char *state = node(machine, "device-model/%u/state", machine->domid);
    g_assert_false(toolstack_exists(state));
    machine_free(machine);
}

/* The disk outlives the supervisor, and leaves with the guest. */
static void test_killed(void)
{
    unsigned devid;
    struct machine *machine = running(&devid);
    struct blkfront *front = connect_disk(machine, devid);

    assert_serves(front);
    kill(machine->supervisor, SIGKILL);
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, -SIGKILL);
    assert_serves(front);
    blkfront_abandon(front);
    toolstack_destroy(g_steal_pointer(&machine->guest));
    assert_all_end(machine);
    machine_free(machine);
}

static void test_destroyed(void)
{
    unsigned devid;
    struct machine *machine = running(&devid);
    struct blkfront *front = connect_disk(machine, devid);

    assert_serves(front);
    blkfront_abandon(front);
    toolstack_destroy(g_steal_pointer(&machine->guest));
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, 0);
    assert_all_end(machine);
    machine_free(machine);
}

/* The same by a toolstack that does not tell the device model. */
static void test_gone(void)
{
    unsigned devid;
    struct machine *machine = running(&devid);
    struct blkfront *front = connect_disk(machine, devid);
    g_autofree char *pid =
        g_strdup_printf("/local/domain/%u/image/device-model-pid", machine->domid);

    assert_serves(front);
    g_assert_true(xs_rm(toolstack_store(), XBT_NULL, pid));
    blkfront_abandon(front);
    toolstack_destroy(g_steal_pointer(&machine->guest));
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, 0);
    assert_all_end(machine);
    machine_free(machine);
}

/* Whose parent is this process, without xenstored: all that is left of a team. */
static bool no_process_left(void)
{
    g_autofree char *path = g_strdup_printf("/proc/self/task/%d/children", getpid());
    g_autofree char *pid_path = g_build_filename(sim_directory(), "xenstored.pid", NULL);
    g_autofree char *xenstored = NULL;
    g_assert_true(g_file_get_contents(pid_path, &xenstored, NULL, NULL));
    g_strstrip(xenstored);

    for (int i = 0; i < END_MS; i++) {
        g_autofree char *children = NULL;
        g_assert_true(g_file_get_contents(path, &children, NULL, NULL));
        if (strcmp(g_strstrip(children), xenstored) == 0)
            return true;
        g_auto(GStrv) pids = g_strsplit(children, " ", -1);
        for (char **pid = pids; *pid; pid++) {
            if (strcmp(*pid, xenstored) != 0)
                waitpid(atoi(*pid), NULL, WNOHANG);
        }
        g_usleep(1000);
    }
    return false;
}

/* The guest goes, and with it SIGHUP comes, at any moment of the start. */
static void test_destroyed_early(void)
{
    static const unsigned delays_ms[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 50 };
    g_autofree char *path = image("early.img", SECTORS * 512);

    for (size_t i = 0; i < 2 * G_N_ELEMENTS(delays_ms); i++) {
        struct machine *machine = machine_new();
        attach(machine, "xvda", path);
        start(machine);
        g_usleep(delays_ms[i / 2] * 1000 + i % 2 * 500);
        toolstack_destroy(g_steal_pointer(&machine->guest));
        toolstack_wait(machine->supervisor);
        g_assert_true(no_process_left());
        machine_free(machine);
    }
}

/* The first disk comes when the guest runs; then a second, and they go again. */
static void test_attach_later(void)
{
    struct machine *machine = machine_new();
    g_autofree char *first = image("first.img", SECTORS * 512);
    g_autofree char *second = image("second.img", SECTORS * 512);

    start(machine);
    await_running(machine);
    unsigned a = attach(machine, "xvda", first);
    g_assert_true(await_backend(machine, a, "2"));
    unsigned b = attach(machine, "xvdb", second);
    g_assert_true(await_backend(machine, b, "2"));
    note_process(machine, "disk");
    struct blkfront *front = connect_disk(machine, b);
    assert_serves(front);
    g_assert_true(blkfront_close(front));
    g_assert_true(toolstack_detach_disk(machine->guest, a));
    g_assert_true(toolstack_detach_disk(machine->guest, b));

    kill(machine->supervisor, SIGHUP);
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, 0);
    assert_all_end(machine);
    machine_free(machine);
}

/* --- a role that does not answer --- */

static void await_log(struct machine *machine, const char *text)
{
    g_autofree char *line =
        g_strdup_printf("role disk (process %d) %s", machine->processes[1], text);
    for (int i = 0; i < SILENCE_MS / 10; i++) {
        g_autofree char *log = NULL;
        g_assert_true(g_file_get_contents(machine->log, &log, NULL, NULL));
        if (strstr(log, line))
            return;
        g_usleep(10000);
    }
    g_assert_true(log_has(machine, line));
}

static unsigned count_in_log(struct machine *machine, const char *text)
{
    g_autofree char *log = NULL;
    unsigned count = 0;
    g_assert_true(g_file_get_contents(machine->log, &log, NULL, NULL));
    for (const char *at = log; (at = strstr(at, text)); at += strlen(text))
        count++;
    return count;
}

static bool is_role(const char *line, pid_t pid)
{
    int listed;
    return sscanf(line, "%*d %*s disk %d", &listed) == 1 && listed == pid;
}

static void assert_listed(struct machine *machine, const char *state)
{
    char *argv[] = { rolemodel, (char *)"list", NULL };
    g_autofree char *list = NULL;
    bool found = false;

    g_assert_true(
        g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &list, NULL, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(list, "\n", -1);
    for (char **line = lines; *line; line++)
        found |= is_role(*line, machine->processes[1]) && g_str_has_suffix(*line, state);
    if (!found)
        g_error("role %d is not listed as %s:\n%s", machine->processes[1], state, list);
}

/* The log comes first, then xenstore. */
static void await_report(struct machine *machine, const char *text, const char *state)
{
    g_autofree char *path = node(machine, "device-model/%u/roles/disk/state", machine->domid);
    await_log(machine, text);
    g_assert_true(toolstack_await(path, state, READY_SECONDS));
    assert_listed(machine, state);
}

static void end(struct machine *machine)
{
    kill(machine->supervisor, SIGTERM);
    g_assert_cmpint(toolstack_wait(machine->supervisor), ==, 0);
    assert_all_end(machine);
    machine_free(machine);
}

/*
 * A role that stands still, one of whose threads does, and one whose supervisor does: side by side,
 * because each takes its time.
 */
static void test_silent(void)
{
    unsigned devid;
    struct machine *slow = running(&devid);
    g_usleep(ASKED_US);
    struct machine *stopped = running(&devid);
    struct blkfront *idle = connect_disk(stopped, devid);
    struct machine *stuck = running(&devid);
    struct blkfront *front = connect_disk(stuck, devid);

    process_stop(slow->supervisor);
    process_stop(stopped->processes[1]);
    pid_t thread = thread_stop(stuck->processes[1], "xvda");
    await_report(stopped, "has not answered for 10 s", "not answering");
    await_report(stuck, "has not answered for 10 s", "not answering");
    assert_listed(slow, "running");

    kill(slow->supervisor, SIGCONT);
    kill(stopped->processes[1], SIGCONT);
    thread_continue(thread);
    await_report(stopped, "answers again, after ", "running");
    await_report(stuck, "answers again, after ", "running");
    assert_serves(front);
    assert_qmp(slow, "libxl");
    g_assert_cmpuint(count_in_log(stopped, "has not answered"), ==, 1);
    g_assert_cmpuint(count_in_log(stuck, "has not answered"), ==, 1);
    g_assert_cmpuint(count_in_log(slow, "has not answered"), ==, 0);

    g_assert_true(blkfront_close(idle));
    g_assert_true(blkfront_close(front));
    end(stopped);
    end(slow);
    end(stuck);
}

static bool is_zombie(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid);
    g_autofree char *stat = NULL;
    return g_file_get_contents(path, &stat, NULL, NULL) && strstr(stat, ") Z ");
}

/* A supervisor that stands still keeps no role from serving, nor from ending. */
static void test_stopped(void)
{
    unsigned devid;
    struct machine *machine = running(&devid);
    struct blkfront *front = connect_disk(machine, devid);

    process_stop(machine->supervisor);
    assert_serves(front);
    kill(machine->processes[1], SIGTERM);
    g_assert_true(await_backend(machine, devid, "6"));
    for (int i = 0; i < END_MS && !is_zombie(machine->processes[1]); i++)
        g_usleep(1000);
    g_assert_true(is_zombie(machine->processes[1]));
    kill(machine->supervisor, SIGCONT);
    blkfront_abandon(front);
    end(machine);
}

static bool has_run_directory(struct machine *machine)
{
    g_autofree char *domid = g_strdup_printf("%u", machine->domid);
    g_autofree char *path = g_build_filename(g_getenv("ROLEMODEL_RUN_DIR"), domid, NULL);
    return g_file_test(path, G_FILE_TEST_IS_DIR);
}

/* What a killed role has left goes when another guest starts; not so if a role still has to end. */
static void test_left_behind(void)
{
    unsigned devid;
    struct machine *killed = running(&devid);
    struct machine *ending = running(&devid);

    kill(killed->processes[1], SIGKILL);
    toolstack_destroy(g_steal_pointer(&killed->guest));
    toolstack_wait(killed->supervisor);
    g_assert_true(process_ends(killed->processes[1]));
    process_stop(ending->processes[1]);
    toolstack_destroy(g_steal_pointer(&ending->guest));
    g_assert_true(has_run_directory(killed));

    struct machine *next = running(&devid);
    g_assert_false(has_run_directory(killed));
    g_assert_true(has_run_directory(ending));
    g_assert_true(has_run_directory(next));
    kill(ending->processes[1], SIGCONT);
    g_assert_cmpint(toolstack_wait(ending->supervisor), ==, 0);
    assert_all_end(ending);
    g_assert_false(has_run_directory(ending));
    end(next);
    machine_free(ending);
    machine_free(killed);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 2)
        g_error("usage: test-supervisor ROLEMODEL");
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    sim_start();
    program = g_build_filename(sim_directory(), "rolemodel-dm", NULL);
    rolemodel = g_canonicalize_filename(argv[1], NULL);
    if (symlink(rolemodel, program) < 0)
        g_error("cannot make %s: %s", program, g_strerror(errno));

    g_test_add_func("/supervisor/running", test_running);
    g_test_add_func("/supervisor/missing-image", test_missing_image);
    g_test_add_func("/supervisor/killed", test_killed);
    g_test_add_func("/supervisor/destroyed", test_destroyed);
    g_test_add_func("/supervisor/gone", test_gone);
    g_test_add_func("/supervisor/destroyed-early", test_destroyed_early);
    g_test_add_func("/supervisor/attach-later", test_attach_later);
    g_test_add_func("/supervisor/left-behind", test_left_behind);
    g_test_add_func("/supervisor/silent", test_silent);
    g_test_add_func("/supervisor/stopped", test_stopped);
    int status = g_test_run();
    sim_stop();
    g_free(program);
    g_free(rolemodel);
    return status;
}
