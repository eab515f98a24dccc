/* What libxl 4.17 does to a guest: see toolstack.h; disks are in toolstack-disk.c. */

#include <stdint.h>
#include <xen/grant_table.h> /* says what struct grant_entry_v1 is, which guest.h only names */

#include "tests/sim/toolstack.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <xen/hvm/params.h>

#include "tests/sim/guest/guest-internal.h"
#include "tests/sim/hypervisor/hypervisor.h"
#include "tests/sim/toolstack-store.h"

#define PAGES_MIN (2 * GUEST_SPECIAL_FRAMES)
#define RELEASE_TIME (10 * G_USEC_PER_SEC)

/* What libxl gives the backends after it has ended the device model; it always takes all of it. */
#define CLOSE_TIME (2 * G_USEC_PER_SEC)

struct creation {
    const struct toolstack_guest *configuration;
    unsigned domid;
    uint64_t store_gfn;
    uint32_t store_port;
    char *dir; /* /local/domain/N */
    char *name;
    char *uuid;
};

/* Nodes below the guest's home that are its own from the start. */
static const char *const guests_nodes[] = {
    "device/suspend/event-channel",
    "control/shutdown",
    "control/feature-poweroff",
    "control/feature-reboot",
    "control/feature-suspend",
    "control/sysrq",
    "data",
    "drivers",
    "feature",
    "attr",
    "error",
};

/* libxl__domain_make() */
static void make_nodes(xs_transaction_t t, const void *opaque)
{
    const struct creation *creation = opaque;
    const char *type = creation->configuration->type;
    const char *dir = creation->dir;
    g_autofree char *vm = g_strdup_printf("/vm/%s", creation->uuid);
    g_autofree char *libxl = g_strdup_printf("/libxl/%u", creation->domid);
    const struct store_owner readable = { .owner = 0, .reader = creation->domid };
    const struct store_owner guests = { .owner = creation->domid, .reader = -1 };
    const struct store_owner private = { .owner = 0, .reader = -1 };

    store_remove(t, false, "%s", dir);
    store_make(t, &readable, "%s", dir);
    store_make(t, &readable, "%s", vm);
    store_remove(t, false, "%s", libxl);
    store_make(t, &private, "%s", libxl);
    store_make(t, &private, "%s/device", libxl);
    store_put(t, NULL, vm, "%s/vm", dir);
    store_put(t, NULL, creation->name, "%s/name", dir);
    store_make(t, &readable, "%s/cpu", dir);
    store_make(t, &readable, "%s/memory", dir);
    store_make(t, &readable, "%s/device", dir);
    store_make(t, &readable, "%s/control", dir);
    if (strcmp(type, "hvm") == 0)
        store_make(t, &readable, "%s/hvmloader", dir);
    for (size_t i = 0; i < G_N_ELEMENTS(guests_nodes); i++)
        store_make(t, &guests, "%s/%s", dir, guests_nodes[i]);
    store_put(t, NULL, creation->uuid, "%s/uuid", vm);
    store_put(t, NULL, creation->name, "%s/name", vm);
    store_put(t, NULL, "1", "%s/control/platform-feature-multiprocessor-suspend", dir);
    store_put(t, NULL, "1", "%s/control/platform-feature-xs_reset_watches", dir);
    store_put(t, NULL, type, "%s/type", libxl);
    store_put(t, NULL, "qemu_xen", "%s/dm-version", libxl);
}

/* libxl__build_post() */
static void build_nodes(xs_transaction_t t, const void *opaque)
{
    const struct creation *creation = opaque;
    const char *dir = creation->dir;
    g_autofree char *domid = g_strdup_printf("%u", creation->domid);
    g_autofree char *memory = g_strdup_printf("%zu", creation->configuration->pages * 4);
    g_autofree char *port = g_strdup_printf("%u", creation->store_port);
    g_autofree char *gfn = g_strdup_printf("%" G_GUINT64_FORMAT, creation->store_gfn);

    store_put(t, NULL, memory, "%s/memory/static-max", dir);
    store_put(t, NULL, memory, "%s/memory/target", dir);
    store_put(t, NULL, "0", "%s/memory/videoram", dir);
    store_put(t, NULL, domid, "%s/domid", dir);
    store_put(t, NULL, port, "%s/store/port", dir);
    store_put(t, NULL, gfn, "%s/store/ring-ref", dir);
    for (unsigned i = 0; i < creation->configuration->vcpus; i++)
        store_put(t, NULL, "online", "%s/cpu/%u/availability", dir, i);
    if (strcmp(creation->configuration->type, "hvm") == 0) {
        store_put(t, NULL, "1", "%s/platform/acpi", dir);
        store_put(t, NULL, "1", "%s/platform/acpi_s3", dir);
        store_put(t, NULL, "1", "%s/platform/acpi_s4", dir);
        store_put(t, NULL, "0", "%s/platform/acpi_laptop_slate", dir);
        store_put(t, NULL, "qemu_xen", "%s/platform/device-model", dir);
    }
}

/* What the domain builder leaves in the guest's memory: xenstore's ring, granted to dom0. */
static void make_store_ring(struct guest *guest, struct creation *creation)
{
    struct sim_domain *domain = sim_domain(creation->domid);
    struct grant_entry_v1 *entry = guest_grant_entry(guest, GNTTAB_RESERVED_XENSTORE);

    creation->store_gfn = guest_special_gfn(domain->pages, GUEST_SPECIAL_STORE);
    creation->store_port = guest_port_alloc(guest, 0);
    domain->hvm_params[HVM_PARAM_STORE_PFN] = creation->store_gfn;
    domain->hvm_params[HVM_PARAM_STORE_EVTCHN] = creation->store_port;
    entry->frame = creation->store_gfn;
    entry->domid = 0;
    __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_RELEASE);
}

struct guest *toolstack_create(const struct toolstack_guest *configuration)
{
    const char *type = configuration->type;
    if (configuration->pages < PAGES_MIN)
        g_error("a guest needs %d pages at least", PAGES_MIN);
    int domid =
        sim_domain_create(configuration->vcpus, configuration->pages, strcmp(type, "pv") != 0);
    if (domid < 0)
        g_error("cannot create a domain: %s", g_strerror(-domid));

    struct guest *guest = guest_open(domid);
    g_autofree char *dir = g_strdup_printf("/local/domain/%d", domid);
    g_autofree char *name = g_strdup_printf("%s-%d", type, domid);
    g_autofree char *uuid = g_uuid_string_random();
    struct creation creation = {
        .configuration = configuration, .domid = domid, .dir = dir, .name = name, .uuid = uuid
    };
    store_transaction(make_nodes, &creation);
    make_store_ring(guest, &creation);
    store_transaction(build_nodes, &creation);
    if (!xs_introduce_domain(toolstack_store(), domid, creation.store_gfn, creation.store_port))
        g_error("cannot introduce domain %d to xenstored: %s", domid, g_strerror(errno));
    return guest;
}

/* Has nobody any of the guest's qdisk devices open (now, or never had)? */
static bool backends_closed(unsigned domid)
{
    bool closed = true;
    g_auto(GStrv) ids = store_list(XBT_NULL, "/local/domain/0/backend/qdisk/%u", domid);
    for (char **id = ids; *id && closed; id++) {
        g_autofree char *state =
            store_get(XBT_NULL, "/local/domain/0/backend/qdisk/%u/%s/state", domid, *id);
        closed = !state || strcmp(state, "6") == 0 || strcmp(state, "1") == 0;
    }
    return closed;
}

/* SIGHUP, if it is a child of ours and still there. */
static void end_device_model(unsigned domid)
{
    g_autofree char *pid = store_get(XBT_NULL, "/local/domain/%u/image/device-model-pid", domid);
    siginfo_t info = { .si_pid = 0 };

    store_remove(XBT_NULL, false, "/local/domain/0/device-model/%u", domid);
    if (!pid || waitid(P_PID, atoi(pid), &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid)
        return;
    kill(atoi(pid), SIGHUP);
    gint64 deadline = g_get_monotonic_time() + CLOSE_TIME;
    while (!backends_closed(domid) && g_get_monotonic_time() < deadline)
        g_usleep(1000);
}

static void await_release(unsigned domid)
{
    gint64 deadline = g_get_monotonic_time() + RELEASE_TIME;
    while (xs_is_domain_introduced(toolstack_store(), domid)) {
        if (g_get_monotonic_time() > deadline)
            g_error("xenstored has not noticed that domain %u is gone", domid);
        g_usleep(1000);
    }
}

void toolstack_destroy(struct guest *guest)
{
    unsigned domid = guest_domid(guest);
    g_autofree char *vm = store_get(XBT_NULL, "/local/domain/%u/vm", domid);

    end_device_model(domid);
    toolstack_destroy_disks(domid);
    if (vm)
        store_remove(XBT_NULL, false, "%s", vm);
    store_remove(XBT_NULL, false, "/local/domain/%u", domid);
    store_remove(XBT_NULL, false, "/libxl/%u", domid);
    guest_close(guest);
    int result = sim_domain_destroy(domid);
    if (result < 0)
        g_error("cannot destroy domain %u: %s", domid, g_strerror(-result));
    await_release(domid);
}
