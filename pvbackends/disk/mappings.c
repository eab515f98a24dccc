/* Pages that stay mapped: see mappings.h. */

#include "pvbackends/disk/mappings.h"

#define BUCKETS 2048 /* a power of two, more than there are mappings */

_Static_assert(BUCKETS > DISK_MAPPINGS_MAX, "chains are short");

struct disk_mapping {
    uint32_t ref;
    void *page;
    struct disk_mapping *next; /* in its bucket */
    GList link;                /* in `used` */
};

static gint mapped_by_process; /* atomic */

void disk_mappings_open(struct disk_mappings *mappings, struct xen_grants *grants, unsigned domid,
                        unsigned max, gint *failures)
{
    *mappings = (struct disk_mappings){
        .grants = grants,
        .domid = domid,
        .max = MIN(max, DISK_MAPPINGS_MAX),
        .failures = failures,
        .entries = g_new0(struct disk_mapping, MIN(max, DISK_MAPPINGS_MAX)),
        .buckets = g_new0(struct disk_mapping *, BUCKETS),
        .used = G_QUEUE_INIT,
    };
}

static struct disk_mapping **bucket_of(const struct disk_mappings *mappings, uint32_t ref)
{
    /* Guests count references up, or take them from a list: the low bits differ. */
    return &mappings->buckets[ref % BUCKETS];
}

/* Takes it out of everything; the entry can be used for another. */
static void unmap(struct disk_mappings *mappings, struct disk_mapping *mapping)
{
    struct disk_mapping **at = bucket_of(mappings, mapping->ref);

    while (*at != mapping)
        at = &(*at)->next;
    *at = mapping->next;
    g_queue_unlink(&mappings->used, &mapping->link);
    xen_grants_unmap(mappings->grants, mapping->page, 1);
    g_atomic_int_add(&mapped_by_process, -1);
}

void disk_mappings_close(struct disk_mappings *mappings)
{
    while (mappings->used.head)
        unmap(mappings, mappings->used.head->data);
    g_free(mappings->entries);
    g_free(mappings->buckets);
    *mappings = (struct disk_mappings){ 0 };
}

void disk_mappings_turn(struct disk_mappings *mappings)
{
    mappings->replaced = false;
}

/* To unmap takes longer than to copy: a guest with too many pages must not set the pace. */
static bool has_room(const struct disk_mappings *mappings)
{
    return mappings->count < mappings->max || !mappings->replaced;
}

static struct disk_mapping *make_room(struct disk_mappings *mappings)
{
    if (mappings->count < mappings->max)
        return &mappings->entries[mappings->count++];
    struct disk_mapping *oldest = mappings->used.tail->data;
    mappings->replaced = true;
    unmap(mappings, oldest);
    return oldest;
}

static void *map(struct disk_mappings *mappings, uint32_t ref)
{
    if (g_atomic_int_get(mappings->failures) >= DISK_MAPPING_FAILURES_MAX)
        return NULL;
    if (g_atomic_int_add(&mapped_by_process, 1) >= DISK_MAPPINGS_OF_PROCESS) {
        g_atomic_int_add(&mapped_by_process, -1);
        return NULL;
    }
    void *page = xen_grants_map(mappings->grants, mappings->domid, &ref, 1, NULL);
    if (!page) {
        g_atomic_int_add(&mapped_by_process, -1);
        g_atomic_int_inc(mappings->failures);
    }
    return page;
}

static void *add(struct disk_mappings *mappings, uint32_t ref)
{
    void *page = has_room(mappings) ? map(mappings, ref) : NULL;
    if (!page)
        return NULL;
    struct disk_mapping *mapping = make_room(mappings);
    struct disk_mapping **bucket = bucket_of(mappings, ref);
    *mapping = (struct disk_mapping){ .ref = ref, .page = page, .next = *bucket };
    *bucket = mapping;
    mapping->link.data = mapping;
    g_queue_push_head_link(&mappings->used, &mapping->link);
    return page;
}

void *disk_mappings_find(struct disk_mappings *mappings, uint32_t ref)
{
    struct disk_mapping *mapping = *bucket_of(mappings, ref);

    while (mapping && mapping->ref != ref)
        mapping = mapping->next;
    if (!mapping)
        return add(mappings, ref);
    g_queue_unlink(&mappings->used, &mapping->link);
    g_queue_push_head_link(&mappings->used, &mapping->link);
    return mapping->page;
}
