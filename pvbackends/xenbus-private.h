/*
 * What xenbus.c, the states of a device, and xenbus-bus.c, the devices of a guest, share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#ifndef PVBACKENDS_XENBUS_PRIVATE_H
#define PVBACKENDS_XENBUS_PRIVATE_H

#include <xen/io/xenbus.h>

#include "pvbackends/xenbus.h"

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
    void *instance;                   /* the driver's */
    bool open;                        /* what is behind it; else the instance is a worker's */
    bool held;                        /* a worker has it: the rest comes when it is released */
    char *as_opened; /* what the toolstack said of it before; NULL if nobody asks */
    bool refused;    /* it could not be opened, or is another one meanwhile */
    bool connected;
    bool disconnecting;
    bool failed; /* until the frontend has let go */
    unsigned warnings;
};

/* XenbusStateUnknown stands for a node that is missing or senseless. */
enum xenbus_state xenbus_read_state(struct xenbus_bus *bus, const char *dir);

/*
 * With MESSAGE, or NULL, for the error node.  False if the store did not take it: then the next
 * change tries again.
 */
bool xenbus_device_set_state(struct xenbus_device *device, enum xenbus_state state,
                             const char *message, GError **error);

/* Compares what is with what should be and does the next step, if there is one. */
void xenbus_device_update(void *device);

/* Watches the device; all that happened until now is seen. */
void xenbus_device_follow(struct xenbus_device *device);

void xenbus_device_free(void *device);

/* Takes devices that the toolstack added. */
void xenbus_bus_update(void *bus);

void xenbus_bus_stop_if_empty(struct xenbus_bus *bus);

#endif
