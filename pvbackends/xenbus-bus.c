/* The devices of a guest, found, opened and closed: see xenbus.h. */

#define G_LOG_DOMAIN "xenbus"
#include "pvbackends/xenbus-private.h"

#include <string.h>

#include "pvbackends/worker.h"

/* Makes the instance; the device's state must be the EXPECTED one. */
static bool device_probe(struct xenbus_device *device, enum xenbus_state expected, GError **error)
{
    const struct xenbus_driver *driver = device->bus->driver;

    if (device->state != expected) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "%s is in state %d already: something else serves it", device->path,
                    device->state);
        return false;
    }
    device->instance = driver->probe(device, device->bus->opaque, error);
    return device->instance != NULL;
}

static struct xenbus_device *device_new(struct xenbus_bus *bus, const char *id, GError **error)
{
    struct xenbus_device *device = g_new0(struct xenbus_device, 1);
    device->bus = bus;
    device->id = g_strdup(id);
    device->path = g_strdup_printf("%s/%s", bus->path, id);
    device->state = xenbus_read_state(bus, device->path);
    device->frontend = xen_store_read(bus->store, device->path, "frontend", error);
    return device;
}

static void device_insert(struct xenbus_device *device)
{
    g_hash_table_insert(device->bus->devices, device->id, device);
}

/* --- opening --- */

struct opening {
    struct xenbus_device *device;
    xenbus_opened *opened;
    void *opaque;
    GError *error;
};

static void open_device(void *opaque)
{
    struct opening *opening = opaque;
    struct xenbus_device *device = opening->device;
    device->bus->driver->open(device->instance, &opening->error);
}

/* All that the toolstack says of a device. */
static char *describe(const struct xenbus_device *device)
{
    struct xen_store *store = device->bus->store;
    g_auto(GStrv) nodes = xen_store_list(store, device->path);
    g_autoptr(GString) text = g_string_new(NULL);

    for (char **node = nodes; *node; node++) {
        g_autofree char *value = xen_store_read(store, device->path, *node, NULL);
        g_string_append_printf(text, "%s=%s\n", *node, value ? value : "");
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/*
 * While it was opened the toolstack may have taken the device back, and have made another one with
 * its number, which is not to be answered for what was said of this one.
 */
static bool is_replaced(const struct xenbus_device *device)
{
    g_autofree char *now = describe(device);
    return strcmp(now, device->as_opened) != 0;
}

static bool device_claim(struct xenbus_device *device, GError **error)
{
    struct xenbus_bus *bus = device->bus;

    if (bus->done) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: the role stops", device->path);
        return false;
    }
    if (!xenbus_device_set_state(device, XenbusStateInitWait, NULL, error))
        return false;
    if (!bus->follow)
        xenbus_device_follow(device);
    return true;
}

static void on_open(void *opaque)
{
    struct opening *opening = opaque;
    struct xenbus_device *device = opening->device;

    device->open = !opening->error;
    if (is_replaced(device)) {
        device->state = XenbusStateUnknown;
        g_clear_error(&opening->error);
        g_set_error(&opening->error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "%s: the toolstack has taken it back or replaced it while it was opened",
                    device->path);
    }
    device->refused = opening->error || !device_claim(device, &opening->error);
    opening->opened(opening->opaque, opening->error);
    xenbus_device_release(device);
    g_clear_error(&opening->error);
    g_free(opening);
}

/* Opens the device, which belongs to the bus then, and claims it; tells OPENED how that went. */
static void device_open(struct xenbus_device *device, xenbus_opened *opened, void *opaque)
{
    struct opening *opening = g_new0(struct opening, 1);
    opening->device = device;
    opening->opened = opened;
    opening->opaque = opaque;
    device_insert(device);
    xenbus_device_hold(device);
    worker_run("xenbus-open", open_device, on_open, opening);
}

/* The same at once, for a role that starts: nobody is served yet. */
static bool device_open_now(struct xenbus_device *device, GError **error)
{
    device->open = device->bus->driver->open(device->instance, error);
    if (!device->open || !xenbus_device_set_state(device, XenbusStateInitWait, NULL, error))
        return false;
    device_insert(device);
    return true;
}

bool xenbus_bus_adopt(struct xenbus_bus *bus, const char *id, xenbus_opened *opened, void *opaque,
                      GError **error)
{
    /* The toolstack may have removed its nodes; it still finishes what the guest had asked for. */
    if (g_hash_table_contains(bus->devices, id)) {
        g_set_error(
            error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
            "%s/%s: the device that was there before still finishes its requests; try again",
            bus->path, id);
        return false;
    }
    struct xenbus_device *device = device_new(bus, id, error);

    device->as_opened = describe(device);
    if (device->frontend && device_probe(device, XenbusStateUnknown, error)) {
        device_open(device, opened, opaque);
        return true;
    }
    xenbus_device_free(device);
    return false;
}

/* A device that the toolstack has added to a running guest. */
static void on_hotplug(void *opaque, const GError *error)
{
    struct xenbus_device *device = opaque;
    if (!error)
        return;
    g_warning("%s", error->message);
    if (device->state == XenbusStateInitialising)
        xenbus_device_set_state(device, XenbusStateClosed, error->message, NULL);
}

/* Opens it, at once if NOW. */
static bool device_start(struct xenbus_device *device, bool now, GError **error)
{
    if (!now)
        device->as_opened = describe(device);
    if (!device->frontend || !device_probe(device, XenbusStateInitialising, error))
        return false;
    if (now)
        return device_open_now(device, error);
    device_open(device, on_hotplug, device);
    return true;
}

/*
 * Takes the device DEVID if it is wanted; false if it is but cannot be served.  NOW: this is known
 * when it returns.
 */
static bool device_add(struct xenbus_bus *bus, const char *id, bool now, GError **error)
{
    g_autoptr(GError) problem = NULL;
    struct xenbus_device *device = device_new(bus, id, &problem);

    if (device->state == XenbusStateClosed) {
        g_warning("%s could not be served earlier and is left alone; detach it (xl block-detach "
                  "%u %s) before you attach it again",
                  device->path, bus->domid, id);
    } else if (device->frontend && !bus->driver->wants(device, bus->opaque)) {
        g_debug("%s: left alone, as the role's options say", device->path);
        g_hash_table_add(bus->foreign, g_strdup(id));
    } else if (device_start(device, now, &problem)) {
        return true;
    }
    if (problem && device->state == XenbusStateInitialising)
        xenbus_device_set_state(device, XenbusStateClosed, problem->message, NULL);
    xenbus_device_free(device);
    if (!problem)
        return true;
    g_propagate_error(error, g_steal_pointer(&problem));
    return false;
}

/* Devices that the toolstack added or removed. */
void xenbus_bus_update(void *opaque)
{
    struct xenbus_bus *bus = opaque;
    g_auto(GStrv) ids = xen_store_list(bus->store, bus->path);

    if (bus->done)
        return;
    for (char **id = ids; *id; id++) {
        g_autofree char *path = g_strdup_printf("%s/%s", bus->path, *id);
        g_autoptr(GError) error = NULL;
        if (!g_hash_table_contains(bus->devices, *id) &&
            !g_hash_table_contains(bus->foreign, *id) &&
            xenbus_read_state(bus, path) == XenbusStateInitialising &&
            !device_add(bus, *id, false, &error))
            g_warning("%s", error->message);
    }
}

static gboolean bus_follow(gpointer opaque)
{
    struct xenbus_bus *bus = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(GList) devices = g_hash_table_get_values(bus->devices);

    bus->follow = 0;
    for (GList *item = devices; item; item = item->next) {
        struct xenbus_device *device = item->data;
        if (device->open)
            xenbus_device_follow(device);
    }
    if (bus->hotplug)
        bus->watch = xen_store_watch_add(bus->store, bus->path, xenbus_bus_update, bus, &error);
    if (error)
        g_warning("%s", error->message);
    return G_SOURCE_REMOVE;
}

static void bus_free(struct xenbus_bus *bus)
{
    if (bus->follow)
        g_source_remove(bus->follow);
    xen_store_watch_remove(bus->watch);
    g_hash_table_unref(bus->devices);
    g_hash_table_unref(bus->foreign);
    g_free(bus->path);
    g_free(bus);
}

void xenbus_bus_stop_if_empty(struct xenbus_bus *bus)
{
    if (!bus->done || g_hash_table_size(bus->devices) > 0)
        return;
    xenbus_done *done = bus->done;
    void *opaque = bus->done_opaque;
    bus_free(bus);
    done(opaque);
}

void xenbus_bus_each(struct xenbus_bus *bus, xenbus_each_fn *fn, void *opaque)
{
    g_autoptr(GList) devices = g_hash_table_get_values(bus->devices);

    for (GList *item = devices; item; item = item->next) {
        const struct xenbus_device *device = item->data;
        if (device->open && !fn(device->instance, opaque))
            return;
    }
}

struct xenbus_bus *xenbus_bus_new(struct xen_store *store, unsigned domid,
                                  const struct xenbus_driver *driver, void *opaque, bool hotplug,
                                  GError **error)
{
    struct xenbus_bus *bus = g_new0(struct xenbus_bus, 1);
    bus->store = store;
    bus->domid = domid;
    bus->driver = driver;
    bus->opaque = opaque;
    bus->hotplug = hotplug;
    bus->path = g_strdup_printf("backend/%s/%u", driver->backend, domid);
    bus->devices = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, xenbus_device_free);
    bus->foreign = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    /* The toolstack waits for the devices to be claimed, but nobody yet for what comes after. */
    bus->follow = g_idle_add_full(G_PRIORITY_DEFAULT, bus_follow, bus, NULL);

    g_auto(GStrv) ids = xen_store_list(store, bus->path);
    for (char **id = ids; *id; id++) {
        if (!device_add(bus, *id, true, error)) {
            bus_free(bus);
            return NULL;
        }
    }
    return bus;
}

void xenbus_bus_stop(struct xenbus_bus *bus, xenbus_done *done, void *opaque)
{
    bus->done = done;
    bus->done_opaque = opaque;

    /* By list, because a device that is not connected leaves the table at once. */
    g_autoptr(GList) devices = g_hash_table_get_values(bus->devices);
    if (!devices)
        xenbus_bus_stop_if_empty(bus);
    for (GList *item = devices; item; item = item->next)
        xenbus_device_update(item->data);
}

bool xenbus_bus_check(void *opaque)
{
    struct xenbus_bus *bus = opaque;
    GHashTableIter iter;
    gpointer value;
    bool good = true;

    g_hash_table_iter_init(&iter, bus->devices);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct xenbus_device *device = value;
        if (device->connected)
            good &= bus->driver->check(device->instance);
    }
    return good;
}
