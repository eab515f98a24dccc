/*
 * libxl's command line.  The vectors are what libxl 4.17 passes (libxl_dm.c).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <string.h>

#include "toolstack/cmdline.h"

#define LIBXL_SOCKETS                                                                              \
    "-xen-domid", "5", "-no-shutdown", "-chardev",                                                 \
        "socket,id=libxl-cmd,path=/var/run/xen/qmp-libxl-5,server=on,wait=off", "-mon",            \
        "chardev=libxl-cmd,mode=control", "-chardev",                                              \
        "socket,id=libxenstat-cmd,path=/var/run/xen/qmp-libxenstat-5,server=on,wait=off", "-mon",  \
        "chardev=libxenstat-cmd,mode=control", "-nodefaults", "-no-user-config"

static struct dm_cmdline *parse(const char *const *argv, GError **error)
{
    return dm_cmdline_parse(g_strv_length((char **)argv), (char *const *)argv, error);
}

#define PARSE(...) parse((const char *[]){ "rolemodel-dm", __VA_ARGS__, NULL }, NULL)

/* The arguments of a PV guest with `-role` options, which must parse. */
#define PARSE_ROLES(...) PARSE("-xen-domid", "1", "-machine", "xenpv", __VA_ARGS__)

#define assert_refused(text, ...)                                                                  \
    do {                                                                                           \
        GError *problem = NULL;                                                                    \
        g_assert_null(parse((const char *[]){ "rolemodel-dm", __VA_ARGS__, NULL }, &problem));     \
        g_assert_error(problem, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE);                         \
        if (!strstr(problem->message, text))                                                       \
            g_test_message("'%s' is not in: %s", text, problem->message);                          \
        g_assert_nonnull(strstr(problem->message, text));                                          \
        g_error_free(problem);                                                                     \
    } while (0)

static const struct dm_qmp_socket *socket_at(struct dm_cmdline *cmdline, guint i)
{
    g_assert_cmpuint(i, <, cmdline->qmp_sockets->len);
    return g_ptr_array_index(cmdline->qmp_sockets, i);
}

static const struct dm_role_request *role_at(struct dm_cmdline *cmdline, guint i)
{
    g_assert_cmpuint(i, <, cmdline->roles->len);
    return g_ptr_array_index(cmdline->roles, i);
}

static void assert_setting(const struct dm_role_request *role, guint i, const char *key,
                           const char *value)
{
    g_assert_cmpuint(i, <, role->settings->len);
    const struct dm_keyval *keyval = g_ptr_array_index(role->settings, i);
    g_assert_cmpstr(keyval->key, ==, key);
    g_assert_cmpstr(keyval->value, ==, value);
}

static void test_probe(void)
{
    struct dm_cmdline *cmdline =
        PARSE("-S", "-no-user-config", "-nodefaults", "-nographic", "-machine", "none,accel=xen",
              "-chardev", "socket,id=libxl-cmd,fd=14,server=on,wait=off", "-mon",
              "chardev=libxl-cmd,mode=control");
    g_assert_nonnull(cmdline);
    g_assert_true(cmdline->probe);
    g_assert_true(cmdline->stopped);
    g_assert_false(cmdline->pv);
    g_assert_cmpstr(cmdline->machine, ==, "none");
    g_assert_cmpuint(cmdline->qmp_sockets->len, ==, 1);
    g_assert_cmpstr(socket_at(cmdline, 0)->id, ==, "libxl-cmd");
    g_assert_null(socket_at(cmdline, 0)->path);
    g_assert_cmpint(socket_at(cmdline, 0)->fd, ==, 14);
    dm_cmdline_free(cmdline);
}

static void test_pv(void)
{
    struct dm_cmdline *cmdline =
        PARSE(LIBXL_SOCKETS, "-xen-attach", "-name", "web", "-vnc", "127.0.0.1:0,to=99", "-display",
              "none", "-nographic", "-role", "disk,polling=off", "-role", "display=off", "-machine",
              "xenpv", "-m", "512");
    g_assert_nonnull(cmdline);
    g_assert_false(cmdline->probe);
    g_assert_true(cmdline->pv);
    g_assert_true(cmdline->attach);
    g_assert_false(cmdline->stopped);
    g_assert_cmpuint(cmdline->domid, ==, 5);
    g_assert_cmpstr(cmdline->name, ==, "web");
    g_assert_cmpuint(cmdline->qmp_sockets->len, ==, 2);
    g_assert_cmpstr(socket_at(cmdline, 0)->path, ==, "/var/run/xen/qmp-libxl-5");
    g_assert_cmpstr(socket_at(cmdline, 1)->path, ==, "/var/run/xen/qmp-libxenstat-5");
    g_assert_cmpint(socket_at(cmdline, 1)->fd, ==, -1);
    g_assert_cmpuint(cmdline->roles->len, ==, 2);
    g_assert_cmpstr(role_at(cmdline, 0)->name, ==, "disk");
    g_assert_false(role_at(cmdline, 0)->off);
    assert_setting(role_at(cmdline, 0), 0, "polling", "off");
    g_assert_cmpstr(role_at(cmdline, 1)->name, ==, "display");
    g_assert_true(role_at(cmdline, 1)->off);
    dm_cmdline_free(cmdline);
}

static void test_hvm(void)
{
    struct dm_cmdline *cmdline =
        PARSE(LIBXL_SOCKETS, "-name", "win,,dows", "-vnc", "none", "-display", "none", "-serial",
              "pty", "-append", "-role", "-device", "VGA,vgamem_mb=16", "-boot", "order=cda",
              "-usb", "-usbdevice", "tablet", "-no-acpi", "-smp", "2,maxcpus=4", "-device",
              "e1000,id=nic0,netdev=net0,mac=00:16:3e:00:00:01", "-netdev",
              "type=tap,id=net0,ifname=vif5.0-emu,br=xenbr0,script=no,downscript=no", "-incoming",
              "fd:9", "-role", "igd,gpu=00:02.0", "-machine",
              "xenfv,suppress-vmdesc=on,max-ram-below-4g=1073741824,igd-passthru=on", "--role",
              "disk=off", "-m", "1016", "-drive", "file=/a,,b.qcow2,if=ide,index=0,format=qcow2");
    g_assert_nonnull(cmdline);
    g_assert_false(cmdline->pv);
    g_assert_false(cmdline->probe);
    g_assert_false(cmdline->attach);
    g_assert_cmpstr(cmdline->machine, ==, "xenfv");
    g_assert_cmpstr(cmdline->name, ==, "win,dows");
    g_assert_cmpuint(cmdline->roles->len, ==, 2);
    assert_setting(role_at(cmdline, 0), 0, "gpu", "00:02.0");

    const char *const expected[] = {
        "/usr/bin/qemu",
        "-xen-domid",
        "5",
        "-no-shutdown",
        "-chardev",
        "socket,id=libxl-cmd,fd=31,server=on,wait=off",
        "-mon",
        "chardev=libxl-cmd,mode=control",
        "-chardev",
        "socket,id=libxenstat-cmd,fd=32,server=on,wait=off",
        "-mon",
        "chardev=libxenstat-cmd,mode=control",
        "-nodefaults",
        "-no-user-config",
        "-name",
        "win,,dows",
        "-vnc",
        "none",
        "-display",
        "none",
        "-serial",
        "pty",
        "-append",
        "-role",
        "-device",
        "VGA,vgamem_mb=16",
        "-boot",
        "order=cda",
        "-usb",
        "-usbdevice",
        "tablet",
        "-no-acpi",
        "-smp",
        "2,maxcpus=4",
        "-device",
        "e1000,id=nic0,netdev=net0,mac=00:16:3e:00:00:01",
        "-netdev",
        "type=tap,id=net0,ifname=vif5.0-emu,br=xenbr0,script=no,downscript=no",
        "-incoming",
        "fd:9",
        "-machine",
        "xenfv,suppress-vmdesc=on,max-ram-below-4g=1073741824,igd-passthru=on",
        "-m",
        "1016",
        "-drive",
        "file=/a,,b.qcow2,if=ide,index=0,format=qcow2",
        NULL,
    };
    char **argv = dm_cmdline_qemu_argv(cmdline, "/usr/bin/qemu", (const int[]){ 31, 32 });
    for (guint i = 0; expected[i]; i++)
        g_assert_cmpstr(argv[i], ==, expected[i]);
    g_assert_cmpuint(g_strv_length(argv), ==, g_strv_length((char **)expected));
    g_strfreev(argv);
    dm_cmdline_free(cmdline);
}

/* Sockets as libxl does not write them today, but QEMU reads them. */
static void test_sockets(void)
{
    struct dm_cmdline *cmdline =
        PARSE("-xen-domid", "1", "-M", "type=pc,accel=xen", "-mon", "b,mode=control", "-chardev",
              "socket,path=/a,,b,id=b,server,nowait,logfile=/l,,m", "-chardev",
              "pty,id=libxl-channel0", "-chardev", "socket,id=c,path=/c,server=on", "-chardev",
              "socket,id=t,host=::1,port=1,server=on", "-chardev", "socket,id=o,path=/o", "-mon",
              "chardev=t,mode=control", "-mon", "chardev=c,mode=readline", "-mon",
              "chardev=o,mode=control", "-mon", "libxl-channel0", "disk.img");
    g_assert_nonnull(cmdline);
    g_assert_cmpstr(cmdline->machine, ==, "pc");
    g_assert_cmpuint(cmdline->qmp_sockets->len, ==, 1);
    g_assert_cmpstr(socket_at(cmdline, 0)->path, ==, "/a,b");

    char **argv = dm_cmdline_qemu_argv(cmdline, "q", (const int[]){ 7 });
    g_assert_cmpstr(argv[8], ==, "socket,fd=7,id=b,server,nowait,logfile=/l,,m");
    g_assert_cmpstr(argv[12], ==, "socket,id=c,path=/c,server=on");
    g_strfreev(argv);
    dm_cmdline_free(cmdline);

    assert_refused("no -chardev has the id 'x'", "-machine", "none", "-mon", "x,mode=control");
    assert_refused("the id 'x' is given twice", "-chardev", "pty,id=x", "-chardev", "null,id=x");
    assert_refused("fd=-1 of 'x'", "-chardev", "socket,id=x,fd=-1,server=on");
    assert_refused("both path= and fd=", "-chardev", "socket,id=x,fd=1,path=/x,server=on");
    assert_refused("another -mon", "-machine", "none", "-chardev", "socket,id=x,fd=1,server=on",
                   "-mon", "x,mode=control", "-mon", "x,mode=control");
}

static void test_roles(void)
{
    struct dm_cmdline *cmdline = PARSE_ROLES("-role", "shmem,path=/dev/shm/a,,b=c,size=", "-role",
                                             "shmem", "-append", "-role");
    g_assert_nonnull(cmdline);
    g_assert_cmpuint(cmdline->roles->len, ==, 2);
    g_assert_cmpuint(role_at(cmdline, 0)->settings->len, ==, 2);
    assert_setting(role_at(cmdline, 0), 0, "path", "/dev/shm/a,b=c");
    assert_setting(role_at(cmdline, 0), 1, "size", "");
    g_assert_cmpuint(role_at(cmdline, 1)->settings->len, ==, 0);
    dm_cmdline_free(cmdline);

    cmdline = PARSE_ROLES("-role", "disk,iops=1,xvda:iops=2");
    g_assert_nonnull(cmdline);
    assert_setting(role_at(cmdline, 0), 1, "xvda:iops", "2");
    dm_cmdline_free(cmdline);

    assert_refused("-role: 'disk=on' is not understood (use -role disk[,key=value...] or "
                   "-role disk=off)",
                   "-role", "disk=on");
    assert_refused("'disk=off,a=b' is not understood", "-role", "disk=off,a=b");
    assert_refused("use -role NAME[", "-role", "=off");
    assert_refused("is not understood", "-role", "");
    assert_refused("is not understood", "-role", ",a=b");
    assert_refused("is not understood", "-role", "name=disk");
    assert_refused("is not understood", "-role", "Disk");
    assert_refused("-role disk: 'fast' is not understood", "-role", "disk,fast");
    assert_refused("-role disk: '' is not understood", "-role", "disk,=1");
    assert_refused("-role disk: a= is given twice", "-role", "disk,a=1,b=1,a=2");
    assert_refused("-role needs an argument", "-role");
    assert_refused("'xvda:' is not understood", "-role", "disk,xvda:=1");
    assert_refused("':iops' is not understood", "-role", "disk,:iops=1");
    assert_refused("'a:b:c' is not understood", "-role", "disk,a:b:c=1");

    g_autoptr(GString) many = g_string_new("disk");
    for (int i = 0; i < 300; i++)
        g_string_append_printf(many, ",k%d=1", i);
    assert_refused("more than 256 settings", "-role", many->str);
}

/* Those of libxl's options that take no argument do not swallow a -role. */
static void test_flags(void)
{
    static const char *const flags[] = {
        "-S",           "-no-user-config", "-nodefaults", "-nographic",          "-xen-attach",
        "-no-shutdown", "-enable-fips",    "-usb",        "-xen-domid-restrict", "-no-acpi",
    };
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++) {
        struct dm_cmdline *cmdline = PARSE_ROLES(flags[i], "-role", "disk");
        g_assert_cmpuint(cmdline->roles->len, ==, 1);
        dm_cmdline_free(cmdline);
    }
}

static void test_missing(void)
{
    assert_refused("-machine is missing", "-xen-domid", "1");
    assert_refused("-xen-domid is missing", "-machine", "xenpv");
    assert_refused("'0' is not a guest's id", "-xen-domid", "0");
    assert_refused("'32752' is not a guest's id", "-xen-domid", "32752");
    assert_refused("'5x' is not a guest's id", "-xen-domid", "5x");
    assert_refused("--xen-domid needs an argument", "--xen-domid");
    g_assert_null(dm_cmdline_parse(0, NULL, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cmdline/probe", test_probe);
    g_test_add_func("/cmdline/pv", test_pv);
    g_test_add_func("/cmdline/hvm", test_hvm);
    g_test_add_func("/cmdline/sockets", test_sockets);
    g_test_add_func("/cmdline/roles", test_roles);
    g_test_add_func("/cmdline/flags", test_flags);
    g_test_add_func("/cmdline/missing", test_missing);
    return g_test_run();
}
