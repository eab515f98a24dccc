/* Making and ending a simulated host: see sim.h. */

#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/toolstack.h"

#define XENSTORED "/usr/lib/xen-4.17/bin/xenstored"
#define PRELOAD SIM_LIBS "/libxensim-xenstored.so"

#define PREFIX "xensim-host-"
#define PATIENCE (10 * G_USEC_PER_SEC)

static struct {
    char *directory;
    int lock; /* of the directory, held as long as this process lives */
    pid_t xenstored;
} host;

static char *in_directory(const char *name)
{
    return g_build_filename(host.directory, name, NULL);
}

/* --- the directory --- */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    remove(path);
    return 0;
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A descriptor that holds the directory's lock; -1 if somebody else holds it. */
static int lock_directory(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    if (fstat(fd, &info) == 0 && info.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A directory that nobody has locked belongs to a program that did not come to sim_stop(). */
static void remove_leftovers(const char *base)
{
    GDir *dir = g_dir_open(base, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        if (!g_str_has_prefix(name, PREFIX))
            continue;
        g_autofree char *path = g_build_filename(base, name, NULL);
        int lock = lock_directory(path);
        if (lock < 0)
            continue;
        remove_tree(path);
        close(lock);
    }
    if (dir)
        g_dir_close(dir);
}

/* It gets its name when it is locked, so that no other program takes it for a leftover. */
static void make_directory(void)
{
    const char *base = access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : g_get_tmp_dir();
    g_autofree char *template = g_build_filename(base, ".new-" PREFIX "XXXXXX", NULL);

    remove_leftovers(base);
    if (!g_mkdtemp(template) || (host.lock = lock_directory(template)) < 0)
        g_error("cannot make a directory in %s: %s", base, g_strerror(errno));
    const char *random = template + strlen(template) - 6;
    host.directory = g_strdup_printf("%s/" PREFIX "%s", base, random);
    if (rename(template, host.directory) < 0)
        g_error("cannot make %s: %s", host.directory, g_strerror(errno));
}

/* --- xenstored --- */

/* What its LD_PRELOAD shows it as /proc/xen/xsd_port: where dom0's own ring notifies. */
static void make_dom0_port(void)
{
    g_autofree char *path = in_directory("xsd_port");
    g_autofree char *port = g_strdup_printf("%d", sim_evtchn_alloc_unbound(0, SIM_KERNEL, 0));
    g_autoptr(GError) error = NULL;

    if (!g_file_set_contents(path, port, -1, &error))
        g_error("%s", error->message);
}

static char **xenstored_environment(void)
{
    char **environment = g_get_environ();
    environment = g_environ_setenv(environment, "XENSTORED_RUNDIR", host.directory, TRUE);
    return g_environ_setenv(environment, "LD_PRELOAD", PRELOAD, TRUE);
}

/* Only what is allowed between fork() and exec(), because the program may have threads. */
static G_NORETURN void become_xenstored(char **argv, char **environment, int log, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    setpgid(0, 0); /* Ctrl-C is for the test, which ends us */
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execve(argv[0], argv, environment);
    _exit(1);
}

static char *xenstored_log(void)
{
    g_autofree char *path = in_directory("xenstored.log");
    char *text = NULL;
    g_file_get_contents(path, &text, NULL, NULL);
    return text ? text : g_strdup("(no log)");
}

static void start_xenstored(void)
{
    g_autofree char *log_path = in_directory("xenstored.log");
    g_autofree char *pid_path = in_directory("xenstored.pid");
    char *argv[] = { (char *)XENSTORED, (char *)"--no-fork", (char *)"--pid-file", pid_path, NULL };
    g_auto(GStrv) environment = xenstored_environment();
    pid_t parent = getpid();

    if (access(XENSTORED, X_OK) < 0)
        g_error("%s is not there; install the Debian package xen-utils-4.17", XENSTORED);
    if (access(PRELOAD, R_OK) < 0)
        g_error("%s is not there; build everything (meson compile)", PRELOAD);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    host.xenstored = fork();
    if (host.xenstored == 0)
        become_xenstored(argv, environment, log, parent);
    if (host.xenstored < 0)
        g_error("cannot fork: %s", g_strerror(errno));
    close(log);
}

/* Not xs_open(): on a real Xen host that would find the real xenstored while ours is not there. */
static bool xenstored_listens(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    g_strlcpy(address.sun_path, g_getenv("XENSTORED_PATH"), sizeof(address.sun_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listens = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return listens;
}

static void await_xenstored(void)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE;
    bool dead = false;

    while (!xenstored_listens() && !dead) {
        dead = waitpid(host.xenstored, NULL, WNOHANG) != 0 || g_get_monotonic_time() > deadline;
        g_usleep(500);
    }
    /* It listens before it knows dom0, and answers after. */
    if (dead || !xs_is_domain_introduced(toolstack_store(), 0)) {
        g_autofree char *log = xenstored_log();
        g_error("xenstored did not start: %s", log);
    }
}

static void stop_xenstored(void)
{
    int status = 0;
    pid_t gone = waitpid(host.xenstored, &status, WNOHANG);
    if (gone == 0) {
        kill(host.xenstored, SIGKILL); /* it keeps nothing outside the directory */
        waitpid(host.xenstored, NULL, 0);
    } else if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        g_autofree char *log = xenstored_log();
        g_error("xenstored ended before the test did (wait status 0x%x): %s", status, log);
    }
}

/* --- the host --- */

/*
 * For roles that are built with sanitizers.  libxenstore 4.17 loses the memory of an event that is
 * waiting when its watch is removed, as it often is when a role ends.  And nothing has to settle
 * for a second before a program of ours exits.
 */
static void set_sanitizers(void)
{
    g_autofree char *leaks = in_directory("leaks");
    g_autofree char *options = g_strdup_printf("suppressions=%s:print_suppressions=0", leaks);

    if (!g_file_set_contents(leaks, "leak:libxenstore\n", -1, NULL))
        g_error("cannot write %s", leaks);
    g_setenv("LSAN_OPTIONS", options, FALSE);
    g_setenv("TSAN_OPTIONS", "atexit_sleep_ms=0", FALSE);
}

/* Programs that the test starts run on the host; none of them has this program's sanitizers. */
static void set_environment(void)
{
    const char *old = g_getenv("LD_LIBRARY_PATH");
    g_autofree char *libraries = g_strjoin(":", SIM_LIBS, old, NULL);
    g_autofree char *socket = in_directory("socket");
    g_autofree char *run = in_directory("run");

    g_setenv("XENSTORED_PATH", socket, TRUE);
    g_setenv("ROLEMODEL_RUN_DIR", run, TRUE);
    g_setenv("ROLEMODEL_LIBXL_DIR", host.directory, TRUE);
    g_setenv("LD_LIBRARY_PATH", libraries, TRUE);
    g_unsetenv("LD_PRELOAD");
}

void sim_start(void)
{
    if (host.directory)
        g_error("a program has one simulated host");
    make_directory();
    int result = sim_hypervisor_create(host.directory);
    if (result < 0)
        g_error("cannot make a hypervisor in %s: %s", host.directory, g_strerror(-result));
    set_environment();
    set_sanitizers();
    make_dom0_port();
    start_xenstored();
    await_xenstored();

    /* The nodes of dom0 itself, as xen-init-dom0 writes them. */
    toolstack_write("/local/domain/0/domid", "0");
    toolstack_write("/local/domain/0/name", "Domain-0");
}

void sim_stop(void)
{
    toolstack_disconnect();
    stop_xenstored();
    remove_tree(host.directory);
    close(host.lock);
}

/* --- faults --- */

void sim_fault(const struct sim_fault *fault)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct sim_fault_entry *entry = NULL;

    sim_lock(xen);
    for (unsigned i = 0; i < SIM_FAULTS && !entry; i++) {
        if (xen->faults[i].call[0] == '\0')
            entry = &xen->faults[i];
    }
    if (entry) {
        *entry = (struct sim_fault_entry){ .skip = fault->skip,
                                           .times = fault->times,
                                           .delay_us = fault->delay_us,
                                           .error = fault->error,
                                           .short_by = fault->short_by };
        g_strlcpy(entry->call, fault->call, sizeof(entry->call));
        atomic_fetch_add(&xen->faults_set, 1);
    }
    sim_unlock(xen);
    if (!entry)
        g_error("more than %d faults at once", SIM_FAULTS);
}

void sim_fault_clear(void)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    sim_lock(xen);
    memset(xen->faults, 0, sizeof(xen->faults));
    atomic_store(&xen->faults_set, 0);
    sim_unlock(xen);
}

unsigned sim_fault_struck(const char *call)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    unsigned struck = 0;

    sim_lock(xen);
    for (unsigned i = 0; i < SIM_FAULTS; i++) {
        if (strcmp(xen->faults[i].call, call) == 0)
            struck += xen->faults[i].struck;
    }
    sim_unlock(xen);
    return struck;
}
