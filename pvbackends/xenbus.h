/*
 * The backend half of xenbus: finding a guest's devices of one type in xenstore and taking each
 * through the states that frontend, toolstack and backend agree on.  A PV role brings a
 * struct xenbus_driver; this brings the state machine that all of them share.
 *
 * Source: xen/io/xenbus.h, the state diagrams of xen/io/blkif.h, and what frontends really do:
 *   - firmware goes from Initialising to Connected at once;
 *   - a frontend that closes (6) may come back (1, then 3 or 4): the operating system after the
 *     firmware, a kexec, a resume;
 *   - a frontend that is simply gone comes back without having closed.
 *
 * Threads: the main context's, but for open() and close(), which may wait for storage.  Values a
 * guest can write are checked where they are read.
 * Work per xenstore event is bounded: a few reads and at most one transition (XSA-349).
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBACKENDS_XENBUS_H
#define PVBACKENDS_XENBUS_H

#include <stdbool.h>
#include <glib.h>

#include "xen/store.h"

struct xenbus_bus;
struct xenbus_device;

struct xenbus_driver {
    const char *backend; /* the type in backend/TYPE/DOMID/DEVID, such as "qdisk" */

    /* Should this role serve the device?  Others are left to whoever else may. */
    bool (*wants)(struct xenbus_device *device, void *opaque);

    /* Reads what the toolstack says; what it returns is the INSTANCE of the other calls. */
    void *(*probe)(struct xenbus_device *device, void *opaque, GError **error);

    /*
     * Opens what is behind the device; it may take long, and runs in a thread of its own unless the
     * role just starts.  Nothing else uses the instance meanwhile, and there is no xenstore.
     */
    bool (*open)(void *instance, GError **error);

    /* Writes features and properties; runs in the transaction that sets InitWait. */
    bool (*publish)(void *instance, GError **error);

    /* Reads what the frontend published and starts to serve. */
    bool (*connect)(void *instance, GError **error);

    /*
     * Stops serving.  When the last request is finished and nothing of the guest's is mapped,
     * now or later, the driver calls xenbus_device_disconnected().
     */
    void (*disconnect)(void *instance);

    /* Does the thread that serves it go on?  As role_check_fn in role.h; only while connected. */
    bool (*check)(void *instance);

    /* The toolstack wrote something below the backend directory; may be NULL. */
    void (*changed)(void *instance);

    /* Closes what open() has opened, under the same terms; never while connected. */
    void (*close)(void *instance);

    /* Frees the instance; it is not open. */
    void (*remove)(void *instance);
};

/*
 * Serves every device of DRIVER's type that is there now and wanted; fails if one of them cannot
 * be opened.  With HOTPLUG, devices that appear later are served too.
 */
struct xenbus_bus *xenbus_bus_new(struct xen_store *store, unsigned domid,
                                  const struct xenbus_driver *driver, void *opaque, bool hotplug,
                                  GError **error);

/* Disconnects and closes every device, calls DONE with OPAQUE, and is freed then. */
typedef void xenbus_done(void *opaque);
void xenbus_bus_stop(struct xenbus_bus *bus, xenbus_done *done, void *opaque);

/* The driver's check() of every device that is connected; for role_process_set_check(). */
bool xenbus_bus_check(void *bus);

struct xen_store *xenbus_device_store(struct xenbus_device *device);
unsigned xenbus_device_domid(struct xenbus_device *device);
const char *xenbus_device_path(struct xenbus_device *device);     /* backend directory */
const char *xenbus_device_frontend(struct xenbus_device *device); /* frontend directory */

/* The role has been told to stop: what has not begun is not worth it. */
bool xenbus_device_leaves(const struct xenbus_device *device);

void xenbus_device_disconnected(struct xenbus_device *device);

/*
 * Writes the properties anew, and the state as it is, which tells the frontend to look at them.
 */
bool xenbus_device_publish(struct xenbus_device *device, GError **error);

/*
 * While the driver's own worker has what belongs to the instance: nothing is done with the device
 * but xenbus_device_publish(); what happens meanwhile is looked at when it is released.
 */
void xenbus_device_hold(struct xenbus_device *device);
void xenbus_device_release(struct xenbus_device *device);

/*
 * Serves the device DEVID, which is not in the hands of a toolstack: its backend directory has no
 * state node yet and goes to InitWait at once, so nobody else can have taken it.  False if that
 * cannot even begin; else OPENED is called, later, with an error if there is one.
 */
typedef void xenbus_opened(void *opaque, const GError *error);
bool xenbus_bus_adopt(struct xenbus_bus *bus, const char *id, xenbus_opened *opened, void *opaque,
                      GError **error);

/* Calls FN with each instance that is open until it returns false. */
typedef bool xenbus_each_fn(void *instance, void *opaque);
void xenbus_bus_each(struct xenbus_bus *bus, xenbus_each_fn *fn, void *opaque);

/*
 * The frontend did what it must not do: logs MESSAGE, leaves it in the backend's `error` node
 * and closes.  The frontend may close as well and start anew.
 */
void xenbus_device_fail(struct xenbus_device *device, const char *message);

#endif
