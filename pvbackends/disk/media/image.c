/* Work on image files: see image.h. */

#include "pvbackends/disk/media/image.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

/* Runs qemu-img with ARGV; what it printed, for g_free(), or NULL. */
static char *run(const char *const *argv, GError **error)
{
    g_autofree char *output = NULL;
    g_autofree char *complaint = NULL;
    g_autoptr(GError) status_error = NULL;
    int status;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output,
                      &complaint, &status, error)) {
        g_prefix_error(error, "cannot run qemu-img (package qemu-utils): ");
        return NULL;
    }
    if (g_spawn_check_wait_status(status, &status_error))
        return g_steal_pointer(&output);
    g_strstrip(complaint);
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s",
                *complaint ? complaint : status_error->message);
    return NULL;
}

bool disk_image_make_overlay(const char *overlay, const char *backing, const char *format,
                             GError **error)
{
    const char *const argv[] = { "qemu-img", "create", "-q",    "-f",    "qcow2", "-F",
                                 format,     "-b",     backing, overlay, NULL };
    if (access(overlay, F_OK) == 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST, "%s is there already: name a new file",
                    overlay);
        return false;
    }
    g_autofree char *output = run(argv, error);
    if (!output)
        unlink(overlay);
    return output != NULL;
}

/* Whether MAP, as `qemu-img map --output=json` prints it, has data. */
static bool has_data(const char *map)
{
    json_t *extents = json_loads(map, 0, NULL);
    json_t *extent;
    size_t i;
    bool data = !json_is_array(extents);

    json_array_foreach(extents, i, extent) data |= !json_is_false(json_object_get(extent, "data"));
    json_decref(extents);
    return data;
}

static bool may_shrink(const char *path, const char *format, uint64_t bytes, GError **error)
{
    g_autofree char *start = g_strdup_printf("--start-offset=%" PRIu64, bytes);
    const char *const argv[] = {
        "qemu-img", "map", "--output=json", "-f", format, start, path, NULL
    };
    g_autofree char *map = run(argv, error);

    if (!map)
        return false;
    if (!has_data(map))
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
                "%s: it has data beyond that size: let the guest discard it first (blkdiscard, "
                "fstrim), or choose a larger size",
                path);
    return false;
}

static uint64_t length_of(const char *path, const char *format, GError **error)
{
    const char *const argv[] = { "qemu-img", "info", "--output=json", "-f", format, path, NULL };
    g_autofree char *output = run(argv, error);
    json_t *info = output ? json_loads(output, 0, NULL) : NULL;
    uint64_t length = json_integer_value(json_object_get(info, "virtual-size"));

    json_decref(info);
    return length;
}

bool disk_image_resize(const char *path, const char *format, uint64_t bytes, GError **error)
{
    g_autofree char *size = g_strdup_printf("%" PRIu64, bytes);
    const char *const argv[] = { "qemu-img", "resize", "-q", "--shrink", "-f",
                                 format,     path,     size, NULL };
    uint64_t length = length_of(path, format, error);

    if (length == 0 || (bytes < length && !may_shrink(path, format, bytes, error)))
        return false;
    g_autofree char *output = run(argv, error);
    return output != NULL;
}
