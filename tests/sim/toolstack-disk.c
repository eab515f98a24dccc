/*
 * Disks as libxl 4.17 attaches and detaches them: see toolstack.h.
 *
 * A device is in three places: the frontend's directory, which is the guest's; the backend's,
 * which is dom0's; and libxl's own note of it under /libxl, with a copy of the backend's nodes.
 */
#include "tests/sim/toolstack.h"

#include <string.h>
#include <xen/io/xenbus.h>

#include "tests/sim/toolstack-store.h"

#define DETACH_SECONDS 10

struct device {
    unsigned domid, devid;
    bool pv; /* an old PV kernel needs to be told the ring's layout */
    const struct toolstack_disk *disk;
};

/* Linux's device number of the name, which is what xenstore calls the device. */
static unsigned device_number(const char *vdev)
{
    const char *letter = vdev + 2 + (vdev[0] == 'x');
    unsigned disk = 0;

    while (g_ascii_islower(*letter))
        disk = disk * 26 + (*letter++ - 'a' + 1);
    disk--;
    unsigned part = g_ascii_strtoull(letter, NULL, 10);
    if (g_str_has_prefix(vdev, "hd") && disk < 4)
        return (disk < 2 ? 3 : 22) << 8 | (disk % 2) << 6 | part;
    if (g_str_has_prefix(vdev, "sd") && disk < 16)
        return 8 << 8 | disk << 4 | part;
    if (!g_str_has_prefix(vdev, "xvd") || disk >= 1 << 20)
        g_error("%s is not the name of a disk (xvda, hda, sda...)", vdev);
    return disk < 16 && part < 16 ? 202 << 8 | disk << 4 | part : 1 << 28 | disk << 8 | part;
}

static char *frontend_path(const struct device *device)
{
    return g_strdup_printf("/local/domain/%u/device/vbd/%u", device->domid, device->devid);
}

static char *backend_path(const struct device *device)
{
    return g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u", device->domid, device->devid);
}

static char *libxl_path(const struct device *device)
{
    return g_strdup_printf("/libxl/%u/device/vbd/%u", device->domid, device->devid);
}

static void add_frontend(xs_transaction_t t, const struct device *device, const char *dir,
                         const char *backend)
{
    const struct store_owner guest = { .owner = device->domid, .reader = 0 };
    g_autofree char *devid = g_strdup_printf("%u", device->devid);

    store_remove(t, false, "%s", dir);
    store_make(t, &guest, "%s", dir);
    store_put(t, NULL, backend, "%s/backend", dir);
    store_put(t, &guest, "0", "%s/backend-id", dir);
    store_put(t, &guest, "1", "%s/state", dir);
    store_put(t, &guest, devid, "%s/virtual-device", dir);
    store_put(t, &guest, device->disk->cdrom ? "cdrom" : "disk", "%s/device-type", dir);
    store_put(t, &guest, "1", "%s/trusted", dir);
    if (device->pv)
        store_put(t, &guest, "x86_64-abi", "%s/protocol", dir);
}

static void add_backend_nodes(xs_transaction_t t, const struct device *device, const char *dir)
{
    const struct toolstack_disk *disk = device->disk;
    bool read_only = disk->read_only || disk->cdrom;
    g_autofree char *domid = g_strdup_printf("%u", device->domid);

    store_put(t, NULL, disk->params, "%s/params", dir);
    store_put(t, NULL, domid, "%s/frontend-id", dir);
    store_put(t, NULL, "1", "%s/online", dir);
    store_put(t, NULL, disk->cdrom ? "1" : "0", "%s/removable", dir);
    store_put(t, NULL, "1", "%s/bootable", dir);
    store_put(t, NULL, "1", "%s/state", dir);
    store_put(t, NULL, disk->vdev, "%s/dev", dir);
    store_put(t, NULL, "qdisk", "%s/type", dir);
    store_put(t, NULL, read_only ? "r" : "w", "%s/mode", dir);
    store_put(t, NULL, disk->cdrom ? "cdrom" : "disk", "%s/device-type", dir);
    store_put(t, NULL, read_only ? "0" : "1", "%s/discard-enable", dir);
    store_put(t, NULL, "xen", "%s/specification", dir);
    for (const char *const *extra = disk->extra; extra && extra[0]; extra += 2)
        store_put(t, NULL, extra[1], "%s/%s", dir, extra[0]);
}

static void add_device(xs_transaction_t t, const void *opaque)
{
    const struct device *device = opaque;
    const struct store_owner dom0 = { .owner = 0, .reader = device->domid };
    g_autofree char *frontend = frontend_path(device);
    g_autofree char *backend = backend_path(device);
    g_autofree char *libxl = libxl_path(device);

    store_remove(t, false, "%s", libxl);
    store_put(t, NULL, frontend, "%s/frontend", libxl);
    store_put(t, NULL, backend, "%s/backend", libxl);
    add_frontend(t, device, frontend, backend);
    store_remove(t, false, "%s", backend);
    store_make(t, &dom0, "%s", backend);
    store_put(t, NULL, frontend, "%s/frontend", backend);
    add_backend_nodes(t, device, backend);
    add_backend_nodes(t, device, libxl);
}

unsigned toolstack_attach_disk(struct guest *guest, const struct toolstack_disk *disk)
{
    struct device device = {
        .domid = guest_domid(guest),
        .devid = device_number(disk->vdev),
        .disk = disk,
    };
    g_autofree char *type = store_get(XBT_NULL, "/libxl/%u/type", device.domid);
    device.pv = g_strcmp0(type, "pv") == 0;
    store_transaction(add_device, &device);
    return device.devid;
}

/* Asks the backend to close. */
static void take_offline(xs_transaction_t t, const void *opaque)
{
    g_autofree char *backend = backend_path(opaque);
    g_autofree char *state = store_get(t, "%s/state", backend);
    if (!state)
        return;
    store_put(t, NULL, "0", "%s/online", backend);
    if (strcmp(state, "6") != 0)
        store_put(t, NULL, "5", "%s/state", backend);
}

static void remove_device(xs_transaction_t t, const void *opaque)
{
    g_autofree char *frontend = frontend_path(opaque);
    g_autofree char *backend = backend_path(opaque);
    g_autofree char *libxl = libxl_path(opaque);
    store_remove(t, true, "%s", frontend);
    store_remove(t, true, "%s", backend);
    store_remove(t, true, "%s", libxl);
}

bool toolstack_detach_disk(struct guest *guest, unsigned devid)
{
    struct device device = { .domid = guest_domid(guest), .devid = devid };
    g_autofree char *backend = backend_path(&device);
    g_autofree char *state = g_strconcat(backend, "/state", NULL);

    store_transaction(take_offline, &device);
    bool closed = toolstack_await(state, "6", DETACH_SECONDS);
    store_transaction(remove_device, &device);
    return closed;
}

/* A destroyed guest's backends are not asked: libxl writes their last state itself. */
static void force_closed(xs_transaction_t t, const void *opaque)
{
    g_autofree char *backend = backend_path(opaque);
    g_autofree char *state = store_get(t, "%s/state", backend);
    if (state && strcmp(state, "6") != 0)
        store_put(t, NULL, "6", "%s/state", backend);
}

void toolstack_destroy_disks(unsigned domid)
{
    g_auto(GStrv) devids = store_list(XBT_NULL, "/libxl/%u/device/vbd", domid);
    for (char **devid = devids; *devid; devid++) {
        struct device device = { .domid = domid, .devid = g_ascii_strtoull(*devid, NULL, 10) };
        store_transaction(force_closed, &device);
        store_transaction(remove_device, &device);
    }
}
