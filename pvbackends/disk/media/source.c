/* Which medium the toolstack means: see source.h. */

#define G_LOG_DOMAIN "disk"
#include "pvbackends/disk/media/source.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pvbackends/disk/media/base-mark.h"
#include "pvbackends/disk/media/daemon.h"
#include "pvbackends/disk/media/io.h"
#include "pvbackends/disk/request.h" /* DISK_SECTOR */

#define FORMAT_MAX 32

/* Of memory and of one read that tells whether direct I/O works. */
#define DIRECT_ALIGNMENT 4096

/*
 * What NBD does not tell: qcow2's clusters, of which there is no part to give back.  A guest that
 * discards less at a time frees nothing, whatever we say.
 */
#define DISCARD_GRANULARITY (64u << 10)

#define NBD_PORT 10809

/* A page is the most that a guest can be asked to align to. */
#define SECTOR_SIZE_MAX 4096

G_GNUC_PRINTF(2, 3)
static void set_error(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, what);
}

/* --- QEMU's description --- */

static char *encode(json_t *description)
{
    char *text = json_dumps(description, JSON_COMPACT);
    char *copy = g_strdup(text);
    free(text);
    json_decref(description);
    return copy;
}

/* What goes for every top node, whoever wrote the rest. */
static void set_node(json_t *node, bool read_only)
{
    json_object_set_new(node, "node-name", json_string("disk"));
    json_object_set_new(node, "read-only", json_boolean(read_only));
    json_object_set_new(node, "discard", json_string(read_only ? "ignore" : "unmap"));
    json_object_set_new(node, "detect-zeroes", json_string("off"));
}

/* TARGET is the "{...}" of an administrator who knows what QEMU wants. */
static char *describe_json(const char *text, bool read_only, char **format, GError **error)
{
    json_error_t problem;
    json_t *node = json_loads(text, JSON_REJECT_DUPLICATES, &problem);
    const char *driver = json_string_value(json_object_get(node, "driver"));

    if (!node)
        set_error(error,
                  "json:%s: not JSON: %s, at character %d (after json: comes what QEMU's "
                  "option -blockdev takes)",
                  text, problem.text, problem.position);
    else if (!driver)
        set_error(error,
                  "json:%s: not an object with a \"driver\" (after json: comes what QEMU's "
                  "option -blockdev takes)",
                  text);
    if (!driver) {
        json_decref(node);
        return NULL;
    }
    *format = g_strdup(driver);
    set_node(node, read_only);
    return encode(node);
}

static bool works_directly(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0)
        return false;
    void *block = g_aligned_alloc(1, DIRECT_ALIGNMENT, DIRECT_ALIGNMENT);
    bool good = pread(fd, block, DIRECT_ALIGNMENT, 0) >= 0;
    g_aligned_free(block);
    close(fd);
    return good;
}

static bool check_file(const char *path, struct stat *status, GError **error)
{
    if (stat(path, status) < 0)
        set_error(error, "%s: %s (check the path in the disk line of the guest's configuration)",
                  path, g_strerror(errno));
    else if (!S_ISREG(status->st_mode) && !S_ISBLK(status->st_mode))
        set_error(error, "%s: not a file or a block device", path);
    else
        return true;
    return false;
}

/* FORMAT in the file or device PATH; the format is said, so that nothing is guessed. */
static char *describe_file(const char *format, const char *path, bool read_only, GError **error)
{
    struct stat status;
    if (!check_file(path, &status, error))
        return NULL;
    bool direct = works_directly(path), device = S_ISBLK(status.st_mode);
    json_t *node =
        json_pack("{s:s, s:{s:b, s:b}, s:{s:s, s:s, s:s}}", "driver", format, "cache", "direct",
                  direct, "no-flush", 0, "file", "driver", device ? "host_device" : "file",
                  "filename", path, "aio", device && direct ? "native" : "threads");
    if (!node) {
        set_error(error, "the path is not UTF-8, which QEMU wants");
        return NULL;
    }
    set_node(node, read_only);
    return encode(node);
}

static bool is_nbd(const char *target)
{
    return g_str_has_prefix(target, "nbd:") || g_str_has_prefix(target, "nbd+");
}

/* Where the server of an address listens, as QEMU has it; NULL if the address does not say. */
static json_t *nbd_server(GUri *uri, GHashTable *parameters)
{
    const char *host = g_uri_get_host(uri), *scheme = g_uri_get_scheme(uri);
    const char *socket = g_hash_table_lookup(parameters, "socket");
    int port = g_uri_get_port(uri);

    if (strcmp(scheme, "nbd+unix") == 0 && socket && g_hash_table_size(parameters) == 1)
        return json_pack("{s:s, s:s}", "type", "unix", "path", socket);
    if (strcmp(scheme, "nbd") != 0 || !host || !*host || g_hash_table_size(parameters) > 0)
        return NULL;
    g_autofree char *number = g_strdup_printf("%d", port < 0 ? NBD_PORT : port);
    return json_pack("{s:s, s:s, s:s}", "type", "inet", "host", host, "port", number);
}

/* TARGET is the address of an NBD server, as QEMU's own tools take it. */
static char *describe_nbd(const char *target, bool raw, bool read_only, char **format,
                          GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(target, G_URI_FLAGS_ENCODED_QUERY, NULL);
    const char *query = uri ? g_uri_get_query(uri) : NULL;
    g_autoptr(GHashTable) parameters =
        g_uri_parse_params(query ? query : "", -1, "&", G_URI_PARAMS_NONE, NULL);
    json_t *server = uri && parameters ? nbd_server(uri, parameters) : NULL;

    if (!server || !raw) {
        json_decref(server);
        set_error(error,
                  "%s: an NBD server is format=raw with a target such as nbd://HOST:PORT/EXPORT or "
                  "nbd+unix:///EXPORT?socket=PATH; for other formats and options use target=json:",
                  target);
        return NULL;
    }
    const char *path = g_uri_get_path(uri);
    json_t *node = json_pack("{s:s, s:o, s:s}", "driver", "nbd", "server", server, "export",
                             path[0] == '/' ? path + 1 : path);
    if (!node) {
        set_error(error, "%s: not UTF-8, which QEMU wants", target);
        return NULL;
    }
    *format = g_strdup("nbd");
    set_node(node, read_only);
    return encode(node);
}

static bool is_format(const char *name)
{
    return g_ascii_islower(name[0]) && strlen(name) <= FORMAT_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(name);
}

static char *qemu_format(const char *params, size_t length, GError **error)
{
    g_autofree char *name = g_strndup(params, length);
    if (strcmp(name, "vhd") == 0)
        return g_strdup("vpc");
    if (is_format(name))
        return g_steal_pointer(&name);
    set_error(error, "%s: the name of an image format is needed before the colon", params);
    return NULL;
}

char *disk_source_describe(const struct disk_source *source, char **format, const char **target,
                           GError **error)
{
    const char *colon = strchr(source->params, ':');

    *format = NULL;
    *target = colon ? colon + 1 : "";
    if (**target == '\0') {
        set_error(error, "only a CD drive (devtype=cdrom) can be without a medium");
        return NULL;
    }
    bool raw = g_str_has_prefix(source->params, "aio:");
    if (raw && g_str_has_prefix(*target, "json:"))
        return describe_json(*target + strlen("json:"), source->read_only, format, error);
    if (g_str_has_prefix(*target, "json:")) {
        set_error(error, "%s: with a description of QEMU's the format is in it: use format=raw",
                  *target);
        return NULL;
    }
    if (is_nbd(*target))
        return describe_nbd(*target, raw, source->read_only, format, error);
    if (raw)
        return NULL;
    *format = qemu_format(source->params, colon - source->params, error);
    char *description = *format ? describe_file(*format, *target, source->read_only, error) : NULL;
    if (!description)
        g_clear_pointer(format, g_free);
    return description;
}

/* --- opening --- */

/* In messages: a path, or which driver it is, because a description is long and may be private. */
static char *name_of(const char *target, const char *format)
{
    bool json = g_str_has_prefix(target, "json:");
    return json ? g_strdup_printf("json:%s", format) : g_strdup(target);
}

static bool take_geometry(struct disk_medium *medium, GError **error)
{
    const struct disk_daemon_geometry *geometry = disk_daemon_geometry(medium->daemon);

    medium->sectors = geometry->size / DISK_SECTOR;
    medium->sector_size = MAX(geometry->minimum, DISK_SECTOR);
    medium->physical = CLAMP(geometry->preferred, medium->sector_size, SECTOR_SIZE_MAX);
    medium->discard = geometry->trim && !medium->read_only;
    medium->discard_granularity = DISCARD_GRANULARITY;
    if (medium->sectors == 0)
        set_error(error,
                  "%s: the image is empty (make it as large as the disk shall be: qemu-img "
                  "resize)",
                  medium->path);
    else if (medium->sector_size > SECTOR_SIZE_MAX || medium->sector_size % DISK_SECTOR)
        set_error(error, "%s: has blocks of %u bytes, and a guest can have no more than %u",
                  medium->path, medium->sector_size, SECTOR_SIZE_MAX);
    else
        return true;
    return false;
}

static struct disk_medium *open_through_daemon(const struct disk_source *source, const char *target,
                                               const char *description, char *format,
                                               GError **error)
{
    struct disk_medium *medium = g_new0(struct disk_medium, 1);
    medium->driver = &disk_io_nbd;
    medium->path = name_of(target, format);
    medium->format = format;
    medium->fd = -1;
    medium->read_only = source->read_only;
    struct disk_daemon_config config = {
        .name = medium->path,
        .blockdev = description,
        .read_only = source->read_only,
        .domid = source->domid,
        .lock_wait_ms = source->lock_wait_ms,
    };
    medium->daemon = disk_daemon_start(&config, error);
    if (medium->daemon && take_geometry(medium, error))
        return medium;
    disk_medium_close(medium);
    return NULL;
}

struct disk_medium *disk_source_open(const struct disk_source *source, GError **error)
{
    GError *problem = NULL;
    const char *target;
    char *format;
    g_autofree char *description = disk_source_describe(source, &format, &target, &problem);

    if (problem) {
        g_propagate_error(error, problem);
        return NULL;
    }
    struct disk_medium *medium =
        description ? open_through_daemon(source, target, description, format, error)
                    : disk_medium_open(target, source->read_only, source->lock_wait_ms, error);
    /* Now that it is locked: whoever had it before may have made an overlay. */
    if (!medium || medium->read_only || disk_base_check(target, error))
        return medium;
    disk_medium_close(medium);
    return NULL;
}
