/* What a frontend asks for: see frontend.h. */

#include "pvbackends/disk/frontend.h"

/* Where the nodes are. */
struct place {
    struct xen_store *store;
    const char *dir;
    const struct disk_offer *offer;
};

static bool absent(const GError *error)
{
    return g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT);
}

/* The layout of the requests.  A frontend need not name one; what it names must exist. */
static const struct disk_abi *read_abi(const struct place *place, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *protocol = xen_store_read(place->store, place->dir, "protocol", &problem);

    if (problem && !absent(problem)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return NULL;
    }
    const struct disk_abi *abi = disk_abi_find(protocol);
    if (!abi) {
        g_autofree char *shown = g_strescape(protocol, NULL);
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "the guest asks for protocol '%.64s', which does not exist", shown);
    }
    return abi;
}

/*
 * Drivers that are older than ring-page-order say num-ring-pages, and some say both.  If there is
 * an order, it counts: the other may have been left by a driver before this one.
 */
static bool read_ring_pages(const struct place *place, unsigned *pages, GError **error)
{
    uint64_t order, number;

    if (!xen_store_read_uint_or(place->store, place->dir, "ring-page-order", 0,
                                place->offer->ring_order, UINT64_MAX, &order, error))
        return false;
    if (order != UINT64_MAX) {
        *pages = 1u << order;
        return true;
    }
    if (!xen_store_read_uint_or(place->store, place->dir, "num-ring-pages", 1,
                                1 << place->offer->ring_order, 1, &number, error))
        return false;
    *pages = number;
    if ((number & (number - 1)) == 0)
        return true;
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                "xenstore: %s/num-ring-pages is not a power of two", place->dir);
    return false;
}

static bool read_ref(const struct place *place, const char *node, uint32_t *ref, GError **error)
{
    uint64_t value;
    if (!xen_store_read_uint(place->store, place->dir, node, 0, UINT32_MAX, &value, error))
        return false;
    *ref = value;
    return true;
}

/* A single page has a node of its own, but some drivers number it. */
static bool read_single_ref(const struct place *place, uint32_t *ref, GError **error)
{
    g_autoptr(GError) problem = NULL;

    if (read_ref(place, "ring-ref", ref, &problem) ||
        (absent(problem) && read_ref(place, "ring-ref0", ref, NULL)))
        return true;
    g_propagate_error(error, g_steal_pointer(&problem));
    return false;
}

static bool read_queue(struct disk_frontend *frontend, unsigned number, const struct place *place,
                       GError **error)
{
    uint32_t *refs = frontend->queues[number].ring_refs;
    uint64_t port;

    if (frontend->nr_ring_pages == 1 && !read_single_ref(place, &refs[0], error))
        return false;
    for (unsigned i = 0; frontend->nr_ring_pages > 1 && i < frontend->nr_ring_pages; i++) {
        char node[sizeof("ring-ref") + 10];
        g_snprintf(node, sizeof(node), "ring-ref%u", i);
        if (!read_ref(place, node, &refs[i], error))
            return false;
    }
    if (!xen_store_read_uint(place->store, place->dir, "event-channel", 0, UINT32_MAX, &port,
                             error))
        return false;
    frontend->queues[number].port = port;
    return true;
}

bool disk_frontend_read(struct disk_frontend *frontend, struct xen_store *store, const char *dir,
                        const struct disk_offer *offer, GError **error)
{
    struct place place = { store, dir, offer };
    uint64_t queues, persistent = 0;

    frontend->abi = read_abi(&place, error);
    if (!frontend->abi || !read_ring_pages(&place, &frontend->nr_ring_pages, error) ||
        !xen_store_read_uint_or(store, dir, "multi-queue-num-queues", 1, offer->queues, 1, &queues,
                                error) ||
        (offer->persistent &&
         !xen_store_read_uint_or(store, dir, "feature-persistent", 0, 1, 0, &persistent, error)))
        return false;
    frontend->nr_queues = queues;
    frontend->persistent = persistent;
    /* One that has a single queue does as if it knew nothing of them. */
    if (queues == 1)
        return read_queue(frontend, 0, &place, error);
    for (unsigned i = 0; i < queues; i++) {
        g_autofree char *below = g_strdup_printf("%s/queue-%u", dir, i);
        struct place queue = { store, below, offer };
        if (!read_queue(frontend, i, &queue, error))
            return false;
    }
    return true;
}
