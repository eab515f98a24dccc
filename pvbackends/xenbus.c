/* The states of a device: see xenbus.h. */

#define G_LOG_DOMAIN "xenbus"
#include "pvbackends/xenbus-private.h"

#include <xen/io/xenbus.h>

#include "pvbackends/worker.h"

#define WARNINGS_PER_DEVICE 10

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

bool xenbus_device_leaves(const struct xenbus_device *device)
{
    return device->bus->done != NULL;
}

enum xenbus_state xenbus_read_state(struct xenbus_bus *bus, const char *dir)
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

bool xenbus_device_set_state(struct xenbus_device *device, enum xenbus_state state,
                             const char *message, GError **error)
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
    enum xenbus_state state = xenbus_read_state(device->bus, device->path);

    if (state != XenbusStateInitWait && state != XenbusStateConnected)
        return true; /* on its way out or back: who looks then reads all of it */
    return device->bus->driver->publish(device->instance, error) &&
           xen_store_write(store, device->path, "state", error, "%d", state);
}

bool xenbus_device_publish(struct xenbus_device *device, GError **error)
{
    return xen_store_transaction(device->bus->store, write_properties, device, error);
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
    if (!xenbus_device_set_state(device, state, NULL, &error))
        warn(device, error->message);
}

static void fail(struct xenbus_device *device, enum xenbus_state state, const char *message)
{
    warn(device, message);
    device->failed = true;
    xenbus_device_set_state(device, state, message, NULL);
}

/* Frees the device; its watches first, so that nothing calls back. */
void xenbus_device_free(gpointer opaque)
{
    struct xenbus_device *device = opaque;
    xen_store_watch_remove(device->path_watch);
    xen_store_watch_remove(device->frontend_watch);
    if (device->open) /* a role that does not start after all */
        device->bus->driver->close(device->instance);
    if (device->instance)
        device->bus->driver->remove(device->instance);
    g_free(device->as_opened);
    g_free(device->id);
    g_free(device->path);
    g_free(device->frontend);
    g_free(device);
}

static void device_remove(struct xenbus_device *device)
{
    struct xenbus_bus *bus = device->bus;
    g_hash_table_remove(bus->devices, device->id);
    xenbus_bus_stop_if_empty(bus);
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

void xenbus_device_hold(struct xenbus_device *device)
{
    device->held = true;
}

void xenbus_device_release(struct xenbus_device *device)
{
    device->held = false;
    xenbus_device_update(device);
}

static void close_device(void *opaque)
{
    struct xenbus_device *device = opaque;
    device->bus->driver->close(device->instance);
}

static void on_closed(void *opaque)
{
    struct xenbus_device *device = opaque;
    device->bus->driver->remove(g_steal_pointer(&device->instance));
    xenbus_device_release(device);
}

/* True once nothing is behind the device; otherwise on the way there, and we are called again. */
static bool closed(struct xenbus_device *device)
{
    if (!disconnected(device))
        return false;
    if (device->open) {
        device->open = false;
        xenbus_device_hold(device);
        worker_run("xenbus-close", close_device, on_closed, device);
        return false;
    }
    if (device->instance)
        device->bus->driver->remove(g_steal_pointer(&device->instance));
    return true;
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
    } else if (closed(device)) {
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

/* The toolstack removed the directory, and may have made another device in its place. */
static void device_drop(struct xenbus_device *device)
{
    struct xenbus_bus *bus = device->bus;
    device_remove(device);
    if (bus->watch)
        xenbus_bus_update(bus);
}

void xenbus_device_update(void *opaque)
{
    struct xenbus_device *device = opaque;
    struct xenbus_bus *bus = device->bus;

    if (device->disconnecting || device->held)
        return;

    enum xenbus_state own = xenbus_read_state(bus, device->path);
    uint64_t online = 0;
    xen_store_read_uint(bus->store, device->path, "online", 0, 1, &online, NULL);

    device->state = own;
    if (bus->done || device->refused) {
        if (!closed(device))
            return;
        if (!device->refused)
            go_to(device, XenbusStateClosed);
        if (bus->done)
            device_remove(device);
        else
            device_drop(device);
    } else if (own == XenbusStateUnknown || own == XenbusStateInitialising) {
        if (closed(device))
            device_drop(device);
    } else if (!online) {
        device_go_offline(device, xenbus_read_state(bus, device->frontend));
    } else if (device->instance) {
        if (bus->driver->changed)
            bus->driver->changed(device->instance);
        if (device->frontend_wrote)
            device_follow_frontend(device, xenbus_read_state(bus, device->frontend));
    }
}

static void on_frontend(void *opaque)
{
    struct xenbus_device *device = opaque;
    device->frontend_wrote = true;
    xenbus_device_update(device);
}

void xenbus_device_disconnected(struct xenbus_device *device)
{
    device->connected = false;
    device->disconnecting = false;
    device->frontend_wrote = true; /* perhaps, while we were not looking */
    xenbus_device_update(device);
}

void xenbus_device_fail(struct xenbus_device *device, const char *message)
{
    fail(device, XenbusStateClosing, message);
    xenbus_device_update(device);
}

/* Both fire once at the start, so that what happened until now is seen. */
void xenbus_device_follow(struct xenbus_device *device)
{
    struct xen_store *store = device->bus->store;
    g_autoptr(GError) error = NULL;
    g_autofree char *frontend_state = g_strconcat(device->frontend, "/state", NULL);

    device->path_watch =
        xen_store_watch_add(store, device->path, xenbus_device_update, device, &error);
    if (device->path_watch)
        device->frontend_watch =
            xen_store_watch_add(store, frontend_state, on_frontend, device, &error);
    if (error)
        fail(device, XenbusStateClosed, error->message);
}
