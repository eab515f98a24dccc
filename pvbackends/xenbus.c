/* The backend half of xenbus: see xenbus.h. */

#define G_LOG_DOMAIN "xenbus"
#include "pvbackends/xenbus.h"

#include <xen/io/xenbus.h>

#define WARNINGS_PER_DEVICE 10

struct xenbus_bus {
    struct xen_store *store;
    unsigned domid;
    const struct xenbus_driver *driver;
    void *opaque;
    char *path;                    /* backend/TYPE/DOMID, relative to the backend domain's home */
    struct xen_store_watch *watch; /* with hotplug */
    guint follow;                  /* source that will add the watches */
    bool hotplug;
    GHashTable *devices; /* DEVID -> struct xenbus_device */
    GHashTable *foreign; /* DEVIDs that are not ours to serve */
    xenbus_done *done;   /* set while stopping */
    void *done_opaque;
};

struct xenbus_device {
    struct xenbus_bus *bus;
    char *id;
    char *path;
    char *frontend;
    struct xen_store_watch *path_watch;
    struct xen_store_watch *frontend_watch;
    enum xenbus_state state;          /* the last one we wrote, or the toolstack did */
    enum xenbus_state frontend_state; /* the last one we acted on */
    bool frontend_wrote;              /* the frontend's state, perhaps the same one, since then */
    void *instance;                   /* the driver's; NULL while there is nothing open */
    bool connected;
    bool disconnecting;
    bool failed; /* until the frontend has let go */
    unsigned warnings;
};

struct xen_store *xenbus_device_store(struct xenbus_device *device)
{
    return device->bus->store;
}

unsigned xenbus_device_domid(struct xenbus_device *device)
{
    return device->bus->domid;
}

const char *xenbus_device_path(struct xenbus_device *device)
{
    return device->path;
}

const char *xenbus_device_frontend(struct xenbus_device *device)
{
    return device->frontend;
}

/* XenbusStateUnknown stands for a node that is missing or senseless. */
static enum xenbus_state read_state(struct xenbus_bus *bus, const char *dir)
{
    uint64_t state;
    if (!xen_store_read_uint(bus->store, dir, "state", XenbusStateInitialising,
                             XenbusStateReconfigured, &state, NULL))
        return XenbusStateUnknown;
    return state;
}

struct transition {
    struct xenbus_device *device;
    enum xenbus_state state;
    const char *message; /* for the error node, or NULL */
};

/*
 * The toolstack may remove the directory at any time.  Writing after that would bring a piece of
 * it back for ever, so we write only if it is there, in one transaction.
 */
static bool write_transition(struct xen_store *store, void *opaque, GError **error)
{
    struct transition *transition = opaque;
    struct xenbus_device *device = transition->device;

    g_autofree char *owner = xen_store_read(store, device->path, "frontend-id", NULL);
    if (!owner)
        return true;
    if (transition->message &&
        !xen_store_write(store, device->path, "error", error, "%s", transition->message))
        return false;
    if (transition->state == XenbusStateInitWait &&
        !device->bus->driver->publish(device->instance, error))
        return false;
    return xen_store_write(store, device->path, "state", error, "%d", transition->state);
}

/* False if the store did not take it: then the next change tries again. */
static bool set_state(struct xenbus_device *device, enum xenbus_state state, const char *message,
                      GError **error)
{
    struct transition transition = { device, state, message };

    if (device->state == state)
        return true;
    bool written = xen_store_transaction(device->bus->store, write_transition, &transition, error);
    device->state = written ? state : XenbusStateUnknown;
    return written;
}

static bool write_properties(struct xen_store *store, void *opaque, GError **error)
{
    struct xenbus_device *device = opaque;
    enum xenbus_state state = read_state(device->bus, device->path);

    if (state != XenbusStateInitWait && state != XenbusStateConnected)
        return true; /* on its way out or back: who looks then reads all of it */
    return device->bus->driver->publish(device->instance, error) &&
           xen_store_write(store, device->path, "state", error, "%d", state);
}

bool xenbus_device_publish(struct xenbus_device *device, GError **error)
{
    return xen_store_transaction(device->bus->store, write_properties, device, error);
}

void xenbus_bus_each(struct xenbus_bus *bus, xenbus_each_fn *fn, void *opaque)
{
    g_autoptr(GList) devices = g_hash_table_get_values(bus->devices);

    for (GList *item = devices; item; item = item->next) {
        const struct xenbus_device *device = item->data;
        if (device->instance && !fn(device->instance, opaque))
            return;
    }
}

/* A guest can make its device fail as often as it likes; the log has room for some of it. */
static void warn(struct xenbus_device *device, const char *message)
{
    if (device->warnings < WARNINGS_PER_DEVICE)
        g_warning("%s%s", message,
                  ++device->warnings == WARNINGS_PER_DEVICE ? " (the last time I say so)" : "");
}

static void go_to(struct xenbus_device *device, enum xenbus_state state)
{
    g_autoptr(GError) error = NULL;
    if (device->state != state)
        g_debug("%s: state %d to %d", device->path, device->state, state);
    if (!set_state(device, state, NULL, &error))
        warn(device, error->message);
}

static void fail(struct xenbus_device *device, enum xenbus_state state, const char *message)
{
    warn(device, message);
    device->failed = true;
    set_state(device, state, message, NULL);
}

/* Frees the device; its watches first, so that nothing calls back. */
static void device_free(gpointer opaque)
{
    struct xenbus_device *device = opaque;
    xen_store_watch_remove(device->path_watch);
    xen_store_watch_remove(device->frontend_watch);
    if (device->instance)
        device->bus->driver->remove(device->instance);
    g_free(device->id);
    g_free(device->path);
    g_free(device->frontend);
    g_free(device);
}

static void bus_free(struct xenbus_bus *bus);

static void bus_stop_if_empty(struct xenbus_bus *bus)
{
    if (!bus->done || g_hash_table_size(bus->devices) > 0)
        return;
    xenbus_done *done = bus->done;
    void *opaque = bus->done_opaque;
    bus_free(bus);
    done(opaque);
}

static void device_remove(struct xenbus_device *device)
{
    struct xenbus_bus *bus = device->bus;
    g_hash_table_remove(bus->devices, device->id);
    bus_stop_if_empty(bus);
}

/* True once the device is not connected; otherwise on the way there, and we are called again. */
static bool disconnected(struct xenbus_device *device)
{
    if (!device->connected)
        return true;
    if (!device->disconnecting) {
        device->disconnecting = true;
        device->bus->driver->disconnect(device->instance);
    }
    return false;
}

static void connect_frontend(struct xenbus_device *device)
{
    g_autoptr(GError) error = NULL;
    go_to(device, XenbusStateInitWait);
    device->connected = device->bus->driver->connect(device->instance, &error);
    if (device->connected)
        go_to(device, XenbusStateConnected);
    else
        fail(device, XenbusStateClosing, error->message);
}

/*
 * A frontend may close and come back faster than we look; what is left to see is that it wrote
 * its state once more than a connection takes.  Its ring may be another one now, even if grant
 * and port have the old numbers.  If it is the same one, nothing is lost by attaching to it again.
 */
static bool frontend_came_back(const struct xenbus_device *device, enum xenbus_state now)
{
    bool completes =
        device->frontend_state == XenbusStateInitialised && now == XenbusStateConnected;
    return device->connected && device->frontend_wrote && !completes;
}

/* The toolstack took the device back: close as soon as the frontend has let go of it. */
static void device_go_offline(struct xenbus_device *device, enum xenbus_state frontend)
{
    bool in_use = frontend == XenbusStateInitialised || frontend == XenbusStateConnected;
    if (device->connected && in_use) {
        go_to(device, XenbusStateClosing);
    } else if (disconnected(device)) {
        if (device->instance)
            device->bus->driver->remove(g_steal_pointer(&device->instance));
        go_to(device, XenbusStateClosed);
    }
}

static void device_follow_frontend(struct xenbus_device *device, enum xenbus_state frontend)
{
    bool came_back = frontend_came_back(device, frontend);
    device->frontend_state = frontend;
    device->frontend_wrote = false;

    switch (frontend) {
    case XenbusStateInitialised:
    case XenbusStateConnected:
        if (came_back && !disconnected(device))
            break;
        if (!device->connected && !device->failed)
            connect_frontend(device);
        break;
    case XenbusStateInitialising:
    case XenbusStateInitWait:
        device->failed = false;
        if (disconnected(device))
            go_to(device, XenbusStateInitWait);
        break;
    case XenbusStateClosing:
        device->failed = false;
        if (disconnected(device) && device->state != XenbusStateClosed)
            go_to(device, XenbusStateClosing);
        break;
    case XenbusStateClosed:
    case XenbusStateUnknown:
        device->failed = false;
        if (disconnected(device) && device->state != XenbusStateInitWait)
            go_to(device, XenbusStateClosed);
        break;
    default:
        break;
    }
}

static void bus_update(void *opaque);

/* The toolstack removed the directory, and may have made another device in its place. */
static void device_drop(struct xenbus_device *device)
{
    struct xenbus_bus *bus = device->bus;
    device_remove(device);
    if (bus->watch)
        bus_update(bus);
}

/* Compares what is with what should be and does the next step, if there is one. */
static void device_update(void *opaque)
{
    struct xenbus_device *device = opaque;
    struct xenbus_bus *bus = device->bus;

    if (device->disconnecting)
        return;

    enum xenbus_state own = read_state(bus, device->path);
    uint64_t online = 0;
    xen_store_read_uint(bus->store, device->path, "online", 0, 1, &online, NULL);

    device->state = own;
    if (bus->done) {
        if (disconnected(device)) {
            go_to(device, XenbusStateClosed);
            device_remove(device);
        }
    } else if (own == XenbusStateUnknown || own == XenbusStateInitialising) {
        if (disconnected(device))
            device_drop(device);
    } else if (!online) {
        device_go_offline(device, read_state(bus, device->frontend));
    } else if (device->instance) {
        if (bus->driver->changed)
            bus->driver->changed(device->instance);
        if (device->frontend_wrote)
            device_follow_frontend(device, read_state(bus, device->frontend));
    }
}

static void on_frontend(void *opaque)
{
    struct xenbus_device *device = opaque;
    device->frontend_wrote = true;
    device_update(device);
}

void xenbus_device_disconnected(struct xenbus_device *device)
{
    device->connected = false;
    device->disconnecting = false;
    device->frontend_wrote = true; /* perhaps, while we were not looking */
    device_update(device);
}

void xenbus_device_fail(struct xenbus_device *device, const char *message)
{
    fail(device, XenbusStateClosing, message);
    device_update(device);
}

/* Opens what the device stands for and claims it; its state must be the EXPECTED one. */
static bool device_start(struct xenbus_device *device, enum xenbus_state expected, GError **error)
{
    const struct xenbus_driver *driver = device->bus->driver;

    if (device->state != expected) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                    "%s is in state %d already: something else serves it", device->path,
                    device->state);
        return false;
    }
    device->instance = driver->probe(device, device->bus->opaque, error);
    return device->instance && set_state(device, XenbusStateInitWait, NULL, error);
}

/* Both fire once at the start, so that what happened until now is seen. */
static void device_follow(struct xenbus_device *device)
{
    struct xen_store *store = device->bus->store;
    g_autoptr(GError) error = NULL;
    g_autofree char *frontend_state = g_strconcat(device->frontend, "/state", NULL);

    device->path_watch = xen_store_watch_add(store, device->path, device_update, device, &error);
    if (device->path_watch)
        device->frontend_watch =
            xen_store_watch_add(store, frontend_state, on_frontend, device, &error);
    if (error)
        fail(device, XenbusStateClosed, error->message);
}

static struct xenbus_device *device_new(struct xenbus_bus *bus, const char *id, GError **error)
{
    struct xenbus_device *device = g_new0(struct xenbus_device, 1);
    device->bus = bus;
    device->id = g_strdup(id);
    device->path = g_strdup_printf("%s/%s", bus->path, id);
    device->state = read_state(bus, device->path);
    device->frontend = xen_store_read(bus->store, device->path, "frontend", error);
    return device;
}

static void device_insert(struct xenbus_device *device)
{
    g_hash_table_insert(device->bus->devices, device->id, device);
    if (!device->bus->follow)
        device_follow(device);
}

bool xenbus_bus_adopt(struct xenbus_bus *bus, const char *id, GError **error)
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

    if (device->frontend && device_start(device, XenbusStateUnknown, error)) {
        device_insert(device);
        return true;
    }
    device_free(device);
    return false;
}

/* Takes the device DEVID if it is wanted; false if it is but cannot be served. */
static bool device_add(struct xenbus_bus *bus, const char *id, GError **error)
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
    } else if (device->frontend && device_start(device, XenbusStateInitialising, &problem)) {
        device_insert(device);
        return true;
    }
    if (problem && device->state == XenbusStateInitialising)
        set_state(device, XenbusStateClosed, problem->message, NULL);
    device_free(device);
    if (!problem)
        return true;
    g_propagate_error(error, g_steal_pointer(&problem));
    return false;
}

/* Devices that the toolstack added or removed. */
static void bus_update(void *opaque)
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
            read_state(bus, path) == XenbusStateInitialising && !device_add(bus, *id, &error))
            g_warning("%s", error->message);
    }
}

static gboolean bus_follow(gpointer opaque)
{
    struct xenbus_bus *bus = opaque;
    g_autoptr(GError) error = NULL;
    g_autoptr(GList) devices = g_hash_table_get_values(bus->devices);

    bus->follow = 0;
    for (GList *item = devices; item; item = item->next)
        device_follow(item->data);
    if (bus->hotplug)
        bus->watch = xen_store_watch_add(bus->store, bus->path, bus_update, bus, &error);
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
    bus->devices = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, device_free);
    bus->foreign = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    /* The toolstack waits for the devices to be claimed, but nobody yet for what comes after. */
    bus->follow = g_idle_add_full(G_PRIORITY_DEFAULT, bus_follow, bus, NULL);

    g_auto(GStrv) ids = xen_store_list(store, bus->path);
    for (char **id = ids; *id; id++) {
        if (!device_add(bus, *id, error)) {
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
        bus_stop_if_empty(bus);
    for (GList *item = devices; item; item = item->next)
        device_update(item->data);
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
