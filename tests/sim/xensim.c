/*
 * xensim-run: runs a command on a fresh simulated Xen host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define PAGES_PER_MIB 256

static const char help[] =
    "Usage: xensim-run [--guest TYPE[,SETTING]...]... COMMAND [ARG...]\n"
    "\n"
    "Runs COMMAND on a fresh simulated Xen host and returns its status: the programs that it "
    "starts\n"
    "find the simulated Xen libraries, and a xenstored of their own, as if this were dom0.  The "
    "host\n"
    "ends with the command.\n"
    "\n"
    "  --guest TYPE,...  first create a guest: pv, pvh or hvm; the first is domain 1. Settings:\n"
    "                      vcpus=N            (1)\n"
    "                      memory=MIB         (64)\n"
    "                      disk=VDEV:PARAMS   a qdisk, such as xvda:aio:/images/a.img; repeatable\n"
    "\n"
    "Examples:\n"
    "  xensim-run xenstore-ls -p\n"
    "  xensim-run --guest pv,disk=xvda:aio:/images/a.img rolemodel disk --domid 1\n"
    "  xensim-run --guest pvh,vcpus=2 bash\n";

static G_NORETURN void refuse(const char *what, const char *text)
{
    fprintf(stderr, "xensim-run: %s: %s (see xensim-run --help)\n", what, text);
    exit(2);
}

struct specification {
    struct toolstack_guest guest;
    GPtrArray *disks; /* "VDEV", "PARAMS", ... */
};

static guint64 number(const char *setting, guint64 max)
{
    guint64 value;
    if (!g_ascii_string_to_unsigned(strchr(setting, '=') + 1, 10, 1, max, &value, NULL))
        refuse("not a number that a guest can have", setting);
    return value;
}

static void add_disk(struct specification *specification, const char *setting)
{
    g_auto(GStrv) parts = g_strsplit(strchr(setting, '=') + 1, ":", 2);
    if (g_strv_length(parts) != 2)
        refuse("a disk is VDEV:PARAMS", setting);
    g_ptr_array_add(specification->disks, g_strdup(parts[0]));
    g_ptr_array_add(specification->disks, g_strdup(parts[1]));
}

static struct specification *parse(const char *text)
{
    static const char *const types[] = { "pv", "pvh", "hvm", NULL };
    g_auto(GStrv) settings = g_strsplit(text, ",", -1);
    struct specification *specification = g_new0(struct specification, 1);

    if (!settings[0] || !g_strv_contains(types, settings[0]))
        refuse("not a type of guest", text);
    specification->guest = (struct toolstack_guest){ .type = g_strdup(settings[0]),
                                                     .vcpus = 1,
                                                     .pages = 64 * PAGES_PER_MIB };
    specification->disks = g_ptr_array_new_with_free_func(g_free);
    for (char **setting = settings + 1; *setting; setting++) {
        if (g_str_has_prefix(*setting, "vcpus="))
            specification->guest.vcpus = number(*setting, 128);
        else if (g_str_has_prefix(*setting, "memory="))
            specification->guest.pages = number(*setting, 65536) * PAGES_PER_MIB;
        else if (g_str_has_prefix(*setting, "disk="))
            add_disk(specification, *setting);
        else
            refuse("not a setting of a guest", *setting);
    }
    return specification;
}

static void specification_free(gpointer opaque)
{
    struct specification *specification = opaque;
    g_ptr_array_unref(specification->disks);
    g_free((char *)specification->guest.type);
    g_free(specification);
}

static struct guest *create(const struct specification *specification)
{
    struct guest *guest = toolstack_create(&specification->guest);
    for (guint i = 0; i < specification->disks->len; i += 2) {
        struct toolstack_disk disk = {
            .vdev = g_ptr_array_index(specification->disks, i),
            .params = g_ptr_array_index(specification->disks, i + 1),
        };
        toolstack_attach_disk(guest, &disk);
    }
    return guest;
}

/* Ctrl-C is for the command; we clean up when it has ended. */
static void on_signal(int signal_number)
{
}

static int run(char **argv)
{
    int status;
    pid_t pid = toolstack_run(NULL, (const char *const *)argv);
    while (waitpid(pid, &status, 0) != pid)
        continue;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) specifications = g_ptr_array_new_with_free_func(specification_free);
    g_autoptr(GPtrArray) guests = g_ptr_array_new();

    for (argv++; *argv && **argv == '-'; argv++) {
        if (strcmp(*argv, "--help") == 0)
            return fputs(help, stdout) < 0;
        if (strcmp(*argv, "--guest") != 0 || !argv[1])
            refuse("not understood", *argv);
        g_ptr_array_add(specifications, parse(*++argv));
    }
    if (!*argv)
        refuse("there is no command to run", "COMMAND");

    sim_start();
    for (guint i = 0; i < specifications->len; i++)
        g_ptr_array_add(guests, create(g_ptr_array_index(specifications, i)));
    signal(SIGINT, on_signal);
    signal(SIGQUIT, on_signal);
    int status = run(argv);
    for (guint i = 0; i < guests->len; i++)
        toolstack_destroy(g_ptr_array_index(guests, i));
    sim_stop();
    return status;
}
