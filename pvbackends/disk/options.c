/* The options of the role and of each disk: see docs/disk.rst. */

#include <string.h>

#include "pvbackends/disk/disk.h"
#include "pvbackends/disk/frontend.h" /* what can be offered */
#include "pvbackends/disk/request.h"

#define DEVICE_KEYS                                                                                \
    "bytes-per-second", "detect-zeroes", "iops", "max-indirect-segments", "max-queues",            \
        "max-ring-page-order", "on-error", "persistent", "poll"

const char *const disk_option_keys[] = { "hotplug", DEVICE_KEYS, "vdev", NULL };
const char *const disk_device_option_keys[] = { DEVICE_KEYS, NULL };

/* Where options are looked up: those of the disk come first. */
struct lookup {
    struct role_process *process;
    const char *name; /* of the disk, or NULL */
};

/* The key that is there: "xvda:KEY" or KEY. */
static char *key_of(const struct lookup *lookup, const char *key)
{
    if (lookup->name) {
        g_autofree char *own = g_strdup_printf("%s:%s", lookup->name, key);
        if (role_process_option(lookup->process, own))
            return g_steal_pointer(&own);
    }
    return g_strdup(key);
}

/* One of two words; *VALUE is whether it is the second. */
static bool read_word(const struct lookup *lookup, const char *key, const char *const words[2],
                      bool *value, GError **error)
{
    g_autofree char *own = key_of(lookup, key);
    const char *text = role_process_option(lookup->process, own);

    *value = text && strcmp(text, words[1]) == 0;
    if (!text || *value || strcmp(text, words[0]) == 0)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "disk: %s=%s is not understood (use %s=%s or %s=%s)", own, text, own, words[0], own,
                words[1]);
    return false;
}

static bool read_number(const struct lookup *lookup, const char *key, guint64 min, guint64 max,
                        guint64 fallback, guint64 *value, GError **error)
{
    g_autofree char *own = key_of(lookup, key);
    return role_process_option_uint(lookup->process, own, min, max, fallback, value, error);
}

/* As many queues as the guest has vCPUs, but no more than can run at a time. */
static unsigned default_queues(struct role_process *process)
{
    g_autofree char *path = g_strdup_printf("/local/domain/%u/cpu", role_process_domid(process));
    g_auto(GStrv) vcpus = xen_store_list(role_process_store(process), path);
    unsigned most = MIN(g_get_num_processors(), DISK_QUEUES_MAX);
    return CLAMP(g_strv_length(vcpus), 1, most);
}

bool disk_options_read(struct role_process *process, const char *name, struct vbd_options *options,
                       GError **error)
{
    static const char *const on_off[] = { "off", "on" }, *const off_on[] = { "on", "off" },
                             *const auto_off[] = { "auto", "off" },
                             *const on_error[] = { "report", "stop" };
    const struct lookup lookup = { process, name }, common = { process, NULL };
    guint64 queues, order, segments;
    bool no_hotplug, no_poll;

    *options = (struct vbd_options){ 0 };
    if (!read_word(&common, "hotplug", off_on, &no_hotplug, error) ||
        !read_word(&lookup, "persistent", on_off, &options->persistent, error) ||
        !read_word(&lookup, "poll", auto_off, &no_poll, error) ||
        !read_word(&lookup, "detect-zeroes", on_off, &options->detect_zeroes, error) ||
        !read_word(&lookup, "on-error", on_error, &options->stop_on_error, error) ||
        !read_number(&lookup, "max-queues", 1, DISK_QUEUES_MAX, default_queues(process), &queues,
                     error) ||
        !read_number(&lookup, "max-ring-page-order", 0, DISK_RING_ORDER_MAX, DISK_RING_ORDER_MAX,
                     &order, error) ||
        !read_number(&lookup, "max-indirect-segments", 0, DISK_SEGMENTS_MAX, DISK_SEGMENTS_MAX,
                     &segments, error) ||
        !read_number(&lookup, "iops", 0, G_MAXUINT32, 0, &options->iops, error) ||
        !read_number(&lookup, "bytes-per-second", 0, G_MAXINT64, 0, &options->bytes_per_second,
                     error))
        return false;
    options->poll = !no_poll;
    options->max_queues = queues;
    options->max_ring_page_order = order;
    options->max_indirect_segments = segments;
    return true;
}
