/* Memory, grants, clock and xenstored: see world.h.  The backend is in backend.c. */

#include "tests/ovmf/world-private.h"

#include <string.h>

#define RESERVED GNTTAB_NR_RESERVED_ENTRIES
#define STORE_PORT 1
#define FIRST_GFN 16

/* --- memory --- */

static void *pages_new(void *opaque, size_t count, bool lasting)
{
    struct world *world = opaque;
    size_t run = 0;

    if (count > world->pages_limit)
        return NULL;
    for (size_t i = 0; i < WORLD_PAGES; i++) {
        run = world->used[i] ? 0 : run + 1;
        if (run < count)
            continue;
        size_t first = i + 1 - count;
        memset(world->used + first, true, count);
        memset(world->lasting + first, lasting, count);
        memset(world->memory + first * PV_PAGE, 0, count * PV_PAGE);
        return world->memory + first * PV_PAGE;
    }
    return NULL;
}

static size_t page_number(struct world *world, const void *page)
{
    size_t offset = (const uint8_t *)page - world->memory;
    g_assert_cmpuint(offset % PV_PAGE, ==, 0);
    g_assert_cmpuint(offset / PV_PAGE, <, WORLD_PAGES);
    return offset / PV_PAGE;
}

/* Nobody may have a grant of a page that is given back. */
static void pages_free(void *opaque, void *pages, size_t count)
{
    struct world *world = opaque;
    size_t first = page_number(world, pages);

    for (size_t i = first; i < first + count; i++) {
        g_assert_true(world->used[i]);
        world->used[i] = false;
    }
    for (size_t ref = RESERVED; ref < WORLD_GRANTS; ref++) {
        size_t page = world->table[ref].frame - FIRST_GFN;
        g_assert_true(world->table[ref].flags == 0 || page - first >= count);
    }
    memset(pages, 0xDD, count * PV_PAGE);
}

static void page_abandon(void *opaque, void *page, bool lasting)
{
    struct world *world = opaque;
    size_t number = page_number(world, page);

    g_assert_true(lasting == world->lasting[number]);
    g_assert_true(lasting || world->script.guesses);
    world->abandoned[number] = true;
}

static uint32_t gfn(void *opaque, const void *page)
{
    return FIRST_GFN + page_number(opaque, page);
}

static bool grant(void *opaque, uint16_t remote, uint32_t frame, uint32_t *ref)
{
    struct world *world = opaque;
    return pv_grants_make(&world->grants, remote, frame, ref);
}

static bool ungrant(void *opaque, uint32_t ref)
{
    struct world *world = opaque;
    return pv_grants_end(&world->grants, ref);
}

uint8_t *world_page(struct world *world, uint32_t ref)
{
    g_assert_cmpuint(ref, >=, RESERVED);
    g_assert_cmpuint(ref, <, WORLD_GRANTS);
    const struct grant_entry_v1 *entry = &world->table[ref];
    if (world->script.guesses && !(entry->flags & GTF_permit_access))
        return NULL;
    g_assert_true(entry->flags & GTF_permit_access);
    g_assert_true(world->script.guesses || entry->domid == WORLD_BACKEND);
    size_t page = entry->frame - FIRST_GFN;
    g_assert_cmpuint(page, <, WORLD_PAGES);
    g_assert_true(world->used[page]);
    return world->memory + page * PV_PAGE;
}

/* --- events and time --- */

static bool port_new(void *opaque, uint16_t remote, uint32_t *port)
{
    struct world *world = opaque;
    g_assert_true(world->script.guesses || remote == WORLD_BACKEND);
    *port = 10 + world->ports++;
    return true;
}

static void port_close(void *opaque, uint32_t port)
{
    struct world *world = opaque;
    g_assert_cmpuint(world->ports, >, 0);
    world->ports--;
}

static void port_notify(void *opaque, uint32_t port)
{
    struct world *world = opaque;
    if (port == STORE_PORT)
        world_store_step(world);
}

static uint64_t now(void *opaque)
{
    struct world *world = opaque;
    return world->now;
}

static void sleep_until(void *opaque, uint32_t port, uint64_t until)
{
    struct world *world = opaque;
    uint64_t next = world->now + PV_MS;

    world->waits++;
    world->now = until < next ? MAX(until, world->now) : next;
    world_store_step(world);
    world_backend_step(world);
    if (world->script.step)
        world->script.step(world);
}

/* --- xenstored --- */

static char *child_names(struct world *world, const char *dir, uint32_t *length)
{
    g_autofree char *prefix = g_strconcat(dir, "/", NULL);
    GString *names = g_string_new(NULL);
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, world->nodes);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (!g_str_has_prefix(key, prefix))
            continue;
        const char *name = (const char *)key + strlen(prefix);
        size_t size = strcspn(name, "/");
        g_autofree char *entry = g_strndup(name, size);
        bool known = false;
        for (size_t at = 0; at < names->len; at += strlen(names->str + at) + 1)
            known |= strcmp(names->str + at, entry) == 0;
        if (!known)
            g_string_append_len(names, entry, size + 1);
    }
    *length = names->len;
    return g_string_free(names, FALSE);
}

static void send_reply(struct world *world, struct xsd_sockmsg head, const void *text)
{
    g_autofree char *payload = g_malloc0(XENSTORE_PAYLOAD_MAX);
    memcpy(payload, text, head.len);
    for (unsigned i = 0; i < world->script.watch_events; i++) {
        struct xsd_sockmsg other = { .len = 4 };
        other.type = i % 2 ? XS_WATCH_EVENT : XS_READ;
        other.req_id = i % 2 ? head.req_id : head.req_id - 1;
        g_byte_array_append(world->replies, (void *)&other, sizeof(other));
        g_byte_array_append(world->replies, (const guint8 *)"old", 4);
    }
    if (world->script.spoil_reply)
        world->script.spoil_reply(world, &head, payload);
    g_byte_array_append(world->replies, (void *)&head, sizeof(head));
    g_byte_array_append(world->replies, (void *)payload, MIN(head.len, XENSTORE_PAYLOAD_MAX));
}

static void reply(struct world *world, const struct xsd_sockmsg *request, uint32_t type,
                  const void *text, size_t length)
{
    struct xsd_sockmsg head = { type, request->req_id, 0, length };
    if (!world->script.store_silent)
        send_reply(world, head, text);
}

static void handle(struct world *world, const struct xsd_sockmsg *head, const char *payload)
{
    size_t path_size = strlen(payload) + 1;
    const char *value = g_hash_table_lookup(world->nodes, payload);
    uint32_t length;

    g_assert_cmpuint(path_size, <=, head->len);
    if (head->type == XS_WRITE) {
        char *copy = g_strndup(payload + path_size, head->len - path_size);
        g_hash_table_insert(world->nodes, g_strdup(payload), copy);
        reply(world, head, XS_WRITE, "OK", 3);
        world_frontend_wrote(world, payload);
    } else if (head->type == XS_DIRECTORY) {
        g_autofree char *names = child_names(world, payload, &length);
        if (length)
            reply(world, head, XS_DIRECTORY, names, length);
        else
            reply(world, head, XS_ERROR, "ENOENT", 7);
    } else if (!value) {
        reply(world, head, XS_ERROR, "ENOENT", 7);
    } else if (head->type == XS_RM) {
        g_hash_table_remove(world->nodes, payload);
        reply(world, head, XS_RM, "OK", 3);
    } else {
        g_assert_cmpuint(head->type, ==, XS_READ);
        reply(world, head, XS_READ, value, strlen(value));
    }
}

static void take_bytes(struct world *world)
{
    struct xenstore_domain_interface *xs = &world->xs;

    g_assert_cmpuint(xs->req_prod - xs->req_cons, <=, XENSTORE_RING_SIZE);
    for (; xs->req_cons != xs->req_prod; xs->req_cons++)
        g_byte_array_append(world->received, (void *)&xs->req[MASK_XENSTORE_IDX(xs->req_cons)], 1);
}

static void take_message(struct world *world)
{
    struct xsd_sockmsg head;

    if (world->received->len < sizeof(head))
        return;
    memcpy(&head, world->received->data, sizeof(head));
    g_assert_cmpuint(head.len, <=, XENSTORE_PAYLOAD_MAX);
    if (world->received->len < sizeof(head) + head.len)
        return;
    g_autofree char *payload = g_malloc0(head.len + 1);
    memcpy(payload, world->received->data + sizeof(head), head.len);
    g_byte_array_remove_range(world->received, 0, sizeof(head) + head.len);
    handle(world, &head, payload);
}

void world_store_step(struct world *world)
{
    struct xenstore_domain_interface *xs = &world->xs;
    unsigned sent = 0;

    take_bytes(world);
    take_message(world);
    while (sent < world->replies->len && xs->rsp_prod - xs->rsp_cons < XENSTORE_RING_SIZE)
        xs->rsp[MASK_XENSTORE_IDX(xs->rsp_prod++)] = world->replies->data[sent++];
    g_byte_array_remove_range(world->replies, 0, sent);
}

/* --- the world --- */

/* No two sectors are the same. */
static void fill(struct world *world)
{
    uint64_t *words = (void *)world->disk;
    for (size_t i = 0; i < world->sectors * PV_SECTOR / sizeof(*words); i++)
        words[i] = i * 1000003;
}

void world_offer(struct world *world, const char *node, const char *value)
{
    char *path = g_strconcat(WORLD_BACKEND_PATH "/", node, NULL);
    if (value) {
        g_hash_table_insert(world->nodes, path, g_strdup(value));
    } else {
        g_hash_table_remove(world->nodes, path);
        g_free(path);
    }
}

const char *world_node(struct world *world, const char *dir, const char *node)
{
    g_autofree char *path = g_strconcat(dir, "/", node, NULL);
    return g_hash_table_lookup(world->nodes, path);
}

static void make_nodes(struct world *world)
{
    static const char *const nodes[][2] = {
        { WORLD_FRONTEND "/backend", WORLD_BACKEND_PATH },
        { WORLD_FRONTEND "/backend-id", "3" },
        { WORLD_FRONTEND "/state", "1" },
        { WORLD_BACKEND_PATH "/dev", "xvda" },
        { WORLD_BACKEND_PATH "/state", "2" },
        { WORLD_BACKEND_PATH "/sector-size", "512" },
        { WORLD_BACKEND_PATH "/info", "0" },
        { WORLD_BACKEND_PATH "/feature-flush-cache", "1" },
        { WORLD_BACKEND_PATH "/max-ring-page-order", "4" },
    };
    world->nodes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (size_t i = 0; i < G_N_ELEMENTS(nodes); i++)
        g_hash_table_insert(world->nodes, g_strdup(nodes[i][0]), g_strdup(nodes[i][1]));
    g_autofree char *sectors = g_strdup_printf("%" G_GUINT64_FORMAT, world->sectors);
    world_offer(world, "sectors", sectors);
}

struct world *world_new_sized(uint64_t sectors)
{
    struct world *world = g_new0(struct world, 1);

    world->memory = g_aligned_alloc(WORLD_PAGES, PV_PAGE, PV_PAGE);
    world->pages_limit = WORLD_PAGES;
    world->platform = (struct pv_platform){
        .opaque = world,
        .now = now,
        .wait = sleep_until,
        .pages_new = pages_new,
        .pages_free = pages_free,
        .page_abandon = page_abandon,
        .gfn = gfn,
        .grant = grant,
        .ungrant = ungrant,
        .port_new = port_new,
        .port_close = port_close,
        .port_notify = port_notify,
    };
    world->guest = (struct pv_guest){
        .platform = &world->platform,
        .store = &world->store,
        .patience = { 1500 * PV_MS, 4000 * PV_MS, 4000 * PV_MS, 2000 * PV_MS },
    };
    pv_grants_init(&world->grants, world->table, WORLD_GRANTS);
    pv_store_init(&world->store, &world->platform, &world->xs, STORE_PORT, 3000 * PV_MS);
    world->received = g_byte_array_new();
    world->replies = g_byte_array_new();
    world->waiting = g_array_new(FALSE, FALSE, sizeof(blkif_request_t));
    world->sectors = sectors;
    world->disk = g_malloc(sectors * PV_SECTOR);
    fill(world);
    make_nodes(world);
    return world;
}

struct world *world_new(void)
{
    return world_new_sized(WORLD_SECTORS);
}

unsigned world_pages_used(const struct world *world)
{
    unsigned count = 0;
    for (size_t i = 0; i < WORLD_PAGES; i++)
        count += world->used[i] && !world->abandoned[i];
    return count;
}

unsigned world_pages_abandoned(const struct world *world)
{
    unsigned count = 0;
    for (size_t i = 0; i < WORLD_PAGES; i++)
        count += world->abandoned[i];
    return count;
}

unsigned world_grants_used(const struct world *world)
{
    unsigned count = 0;
    for (size_t i = RESERVED; i < WORLD_GRANTS; i++)
        count += world->table[i].flags != 0;
    return count;
}

void world_free(struct world *world)
{
    g_assert_cmpuint(world_pages_used(world), ==, 0);
    g_assert_cmpuint(world->ports, ==, 0);
    g_assert_true(world->script.keeps_pages || world_grants_used(world) == 0);
    g_hash_table_unref(world->nodes);
    g_byte_array_unref(world->received);
    g_byte_array_unref(world->replies);
    g_array_unref(world->waiting);
    g_free(world->disk);
    g_aligned_free(world->memory);
    g_free(world);
}
