/*
 * Attaching a disk without the toolstack: see disk.h.
 *
 * xl writes a device's nodes with the state Initialising, which means that whoever serves the type
 * may take it; beside QEMU two would.  Here the backend's directory has no state until the role has
 * opened the medium, and is at InitWait then.  libxl's own note of the device is written too, so
 * that `xl block-list` shows it and `xl block-detach` and the end of the guest remove it.
 *
 * Source: libxl_disk.c and libxl_device.c for the nodes; xen-vbd-interface(7) for device numbers.
 */
#include "pvbackends/disk/disk.h"

#include <string.h>
#include <xen/io/xenbus.h>

#define XVD_MAJOR 202

struct attachment {
    unsigned domid, devid;
    char *vdev, *params;
    bool read_only, cdrom, discard;
    char *frontend, *backend, *note; /* directories */
    struct xen_store *store;
    xenbus_opened *attached;
    void *opaque;
};

static void attachment_free(struct attachment *a)
{
    g_free(a->vdev);
    g_free(a->params);
    g_free(a->frontend);
    g_free(a->backend);
    g_free(a->note);
    g_free(a);
}

G_GNUC_PRINTF(2, 3)
static bool refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "%s", why);
    return false;
}

/* The number of xvda..xvdz; other names are for emulated disks, which cannot be attached. */
static bool number_device(struct attachment *a, GError **error)
{
    const char *letter = a->vdev ? a->vdev + strlen("xvd") : "";

    if (!a->vdev || !g_str_has_prefix(a->vdev, "xvd") || !g_ascii_islower(letter[0]) || letter[1])
        return refuse(error, "vdev=%s: name the disk xvda to xvdz", a->vdev ? a->vdev : "");
    unsigned disk = letter[0] - 'a';
    a->devid = disk < 16 ? XVD_MAJOR << 8 | disk << 4 : 1 << 28 | disk << 8;
    return true;
}

static bool take_setting(struct attachment *a, const char *key, const char *value, char **format,
                         GError **error)
{
    if (strcmp(key, "vdev") == 0) {
        g_free(a->vdev);
        a->vdev = g_strdup(value);
    } else if (strcmp(key, "format") == 0) {
        g_free(*format);
        *format = g_strdup(value);
    } else if (strcmp(key, "access") == 0 && (!strcmp(value, "rw") || !strcmp(value, "ro"))) {
        a->read_only = strcmp(value, "ro") == 0;
    } else if (strcmp(key, "devtype") == 0 && (!strcmp(value, "cdrom") || !strcmp(value, "disk"))) {
        a->cdrom = strcmp(value, "cdrom") == 0;
    } else if (strcmp(key, "discard") == 0 || strcmp(key, "no-discard") == 0) {
        a->discard = key[0] == 'd';
    } else if (strcmp(key, "backendtype") != 0 || strcmp(value, "qdisk") != 0) {
        return refuse(error,
                      "%s=%s is not understood (there are: format, vdev, access=rw|ro, "
                      "devtype=disk|cdrom, discard, no-discard, target, which is the last)",
                      key, value);
    }
    return true;
}

/* "key=value,...,target=PATH", where all that follows target= is the path. */
static bool parse_spec(struct attachment *a, const char *spec, GError **error)
{
    g_autofree char *format = g_strdup("raw");
    const char *target = g_str_has_prefix(spec, "target=") ? spec : strstr(spec, ",target=");
    g_autofree char *head = g_strndup(spec, target ? (gsize)(target - spec) : strlen(spec));
    g_auto(GStrv) settings = g_strsplit(head, ",", -1);

    a->discard = true;
    for (char **setting = settings; *setting; setting++) {
        char *value = strchr(*setting, '=');
        if (value)
            *value++ = '\0';
        if (**setting && !take_setting(a, *setting, value ? value : "", &format, error))
            return false;
    }
    if (!target && !a->cdrom)
        return refuse(error, "target=PATH is missing");
    const char *path = target ? strchr(target, '=') + 1 : "";
    a->params = g_strdup_printf("%s:%s", strcmp(format, "raw") == 0 ? "aio" : format, path);
    return number_device(a, error);
}

static bool write_backend(struct xen_store *store, const struct attachment *a, const char *dir,
                          GError **error)
{
    bool read_only = a->read_only || a->cdrom;
    const struct {
        const char *node, *value;
    } nodes[] = {
        { "frontend", a->frontend },
        { "params", a->params },
        { "online", "1" },
        { "removable", a->cdrom ? "1" : "0" },
        { "bootable", "0" },
        { "dev", a->vdev },
        { "type", "qdisk" },
        { "mode", read_only ? "r" : "w" },
        { "device-type", a->cdrom ? "cdrom" : "disk" },
        { "discard-enable", a->discard && !read_only ? "1" : "0" },
        { "specification", "xen" },
    };

    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++) {
        if (!xen_store_write(store, dir, nodes[i].node, error, "%s", nodes[i].value))
            return false;
    }
    return xen_store_write(store, dir, "frontend-id", error, "%u", a->domid);
}

/* What the role reads, and libxl's note. */
static bool write_device(struct xen_store *store, void *opaque, GError **error)
{
    const struct attachment *a = opaque;
    g_autofree char *there = xen_store_read(store, a->note, "backend", NULL);

    if (there)
        return refuse(error, "the guest has a disk %s already", a->vdev);
    return xen_store_make(store, a->backend, 0, a->domid, error) &&
           write_backend(store, a, a->backend, error) && write_backend(store, a, a->note, error) &&
           xen_store_write(store, a->note, "backend", error, "%s", a->backend) &&
           xen_store_write(store, a->note, "state", error, "%d", XenbusStateInitialising);
}

/* What tells the guest. */
static bool write_frontend(struct xen_store *store, void *opaque, GError **error)
{
    const struct attachment *a = opaque;
    const char *dir = a->frontend;

    return xen_store_remove(store, dir, error) && xen_store_make(store, dir, a->domid, 0, error) &&
           xen_store_write(store, dir, "backend", error, "%s", a->backend) &&
           xen_store_write(store, dir, "backend-id", error, "0") &&
           xen_store_write(store, dir, "virtual-device", error, "%u", a->devid) &&
           xen_store_write(store, dir, "device-type", error, a->cdrom ? "cdrom" : "disk") &&
           xen_store_write(store, dir, "trusted", error, "1") &&
           xen_store_write(store, dir, "state", error, "%d", XenbusStateInitialising);
}

/* With as many LEVELS of directories above it as are empty then. */
static bool remove_directory(struct xen_store *store, const char *dir, unsigned levels,
                             GError **error)
{
    g_autofree char *parent = g_path_get_dirname(dir);

    if (!xen_store_remove(store, dir, error))
        return false;
    g_auto(GStrv) others = xen_store_list(store, parent);
    return levels == 0 || others[0] || remove_directory(store, parent, levels - 1, error);
}

static bool remove_device(struct xen_store *store, void *opaque, GError **error)
{
    const struct attachment *a = opaque;
    return remove_directory(store, a->frontend, 1, error) && /* vbd */
           remove_directory(store, a->backend, 2, error) &&  /* qdisk/DOMID */
           remove_directory(store, a->note, 1, error);       /* vbd */
}

/* The medium is open, unless ERROR says that it is not. */
static void on_opened(void *opaque, const GError *error)
{
    struct attachment *a = opaque;
    g_autoptr(GError) problem = error ? g_error_copy(error) : NULL;

    if (!problem)
        xen_store_transaction(a->store, write_frontend, a, &problem);
    if (problem)
        xen_store_transaction(a->store, remove_device, a, NULL);
    a->attached(a->opaque, problem);
    attachment_free(a);
}

static bool begin(struct disk *disk, struct attachment *a, const char *spec, GError **error)
{
    if (!parse_spec(a, spec, error))
        return false;
    a->frontend = g_strdup_printf("/local/domain/%u/device/vbd/%u", a->domid, a->devid);
    a->backend = g_strdup_printf("/local/domain/0/backend/qdisk/%u/%u", a->domid, a->devid);
    a->note = g_strdup_printf("/libxl/%u/device/vbd/%u", a->domid, a->devid);
    if (!xen_store_transaction(a->store, write_device, a, error))
        return false;
    g_autofree char *id = g_strdup_printf("%u", a->devid);
    if (xenbus_bus_adopt(disk->bus, id, on_opened, a, error))
        return true;
    xen_store_transaction(a->store, remove_device, a, NULL);
    return false;
}

void disk_attach(struct disk *disk, const char *spec, xenbus_opened *attached, void *opaque)
{
    struct attachment *a = g_new0(struct attachment, 1);
    g_autoptr(GError) error = NULL;

    a->domid = role_process_domid(disk->process);
    a->store = role_process_store(disk->process);
    a->attached = attached;
    a->opaque = opaque;
    if (begin(disk, a, spec, &error))
        return;
    attached(opaque, error);
    attachment_free(a);
}
