/* Programs on the simulated host: see toolstack.h. */

#include "tests/sim/toolstack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/toolstack-store.h"

#define PATIENCE (60 * G_USEC_PER_SEC)

/* Only what is allowed between fork() and exec(), because the program may have threads. */
static G_NORETURN void become(const char *const *argv, int log, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    if (log >= 0)
        dup2(log, STDERR_FILENO);
    execvp(argv[0], (char *const *)argv);
    static const char message[] = ": cannot be run\n";
    if (write(STDERR_FILENO, argv[0], strlen(argv[0])) < 0 ||
        write(STDERR_FILENO, message, strlen(message)) < 0)
        _exit(126);
    _exit(127);
}

pid_t toolstack_run(const char *log, const char *const *argv)
{
    pid_t parent = getpid();
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (log && fd < 0)
        g_error("cannot open %s: %s", log, g_strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become(argv, fd, parent);
    if (pid < 0)
        g_error("cannot fork: %s", g_strerror(errno));
    if (fd >= 0)
        close(fd);
    return pid;
}

int toolstack_wait(pid_t pid)
{
    gint64 deadline = g_get_monotonic_time() + PATIENCE;
    int status;
    pid_t gone;

    while ((gone = waitpid(pid, &status, WNOHANG)) == 0 && g_get_monotonic_time() < deadline)
        g_usleep(1000);
    if (gone < 0)
        g_error("process %d is not ours to wait for: %s", pid, g_strerror(errno));
    if (gone == 0)
        g_error("process %d still runs after a minute", pid);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

char *toolstack_qmp_path(struct guest *guest, const char *client)
{
    return g_strdup_printf("%s/qmp-%s-%u", sim_directory(), client, guest_domid(guest));
}

static void add_qmp(GPtrArray *argv, struct guest *guest, const char *client)
{
    static const char *const ids[][2] = { { "libxl", "libxl-cmd" },
                                          { "libxenstat", "libxenstat-cmd" } };
    const char *id = ids[strcmp(client, ids[0][0]) != 0][1];
    g_autofree char *path = toolstack_qmp_path(guest, client);

    g_ptr_array_add(argv, g_strdup("-chardev"));
    g_ptr_array_add(argv, g_strdup_printf("socket,id=%s,path=%s,server=on,wait=off", id, path));
    g_ptr_array_add(argv, g_strdup("-mon"));
    g_ptr_array_add(argv, g_strdup_printf("chardev=%s,mode=control", id));
}

static void add_all(GPtrArray *argv, const char *const *arguments)
{
    for (; arguments && *arguments; arguments++)
        g_ptr_array_add(argv, g_strdup(*arguments));
}

/* As libxl__build_device_model_args_new(), for a guest without emulated disks and networks. */
static GPtrArray *device_model_argv(struct guest *guest, const char *program,
                                    const char *const *extra)
{
    static const char *const hvm[] = { "-vnc", "none",  "-display", "none",    "-serial",
                                       "none", "-boot", "order=c",  "-device", "VGA,vgamem_mb=16",
                                       NULL };
    unsigned domid = guest_domid(guest);
    g_autofree char *type = store_get(XBT_NULL, "/libxl/%u/type", domid);
    g_autofree char *name = store_get(XBT_NULL, "/local/domain/%u/name", domid);
    g_autofree char *number = g_strdup_printf("%u", domid);
    g_autofree char *memory = g_strdup_printf("%zu", guest_pages(guest) / 256);
    bool is_hvm = g_strcmp0(type, "hvm") == 0;
    GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

    add_all(argv, (const char *[]){ program, "-xen-domid", number, "-no-shutdown", NULL });
    add_qmp(argv, guest, "libxl");
    add_qmp(argv, guest, "libxenstat");
    add_all(argv, (const char *[]){ "-nodefaults", "-no-user-config", is_hvm ? NULL : "-xen-attach",
                                    NULL });
    add_all(argv, (const char *[]){ "-name", name, NULL });
    add_all(argv, is_hvm ? hvm : (const char *[]){ "-vnc", "none", "-display", "none", NULL });
    add_all(argv, (const char *[]){ "-machine", is_hvm ? "xenfv,suppress-vmdesc=on" : "xenpv", "-m",
                                    memory, NULL });
    add_all(argv, extra);
    g_ptr_array_add(argv, NULL);
    return argv;
}

pid_t toolstack_run_device_model(struct guest *guest, const char *log, const char *program,
                                 const char *const *extra)
{
    unsigned domid = guest_domid(guest);
    g_autoptr(GPtrArray) argv = device_model_argv(guest, program, extra);

    store_make(XBT_NULL, NULL, "/local/domain/0/device-model/%u", domid);
    pid_t pid = toolstack_run(log, (const char *const *)argv->pdata);
    g_autofree char *number = g_strdup_printf("%d", pid);
    store_put(XBT_NULL, NULL, number, "/local/domain/%u/image/device-model-pid", domid);
    return pid;
}
