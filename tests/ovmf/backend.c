/* The block backend of a test's world: see world.h. */

#include "tests/ovmf/world-private.h"

#include <stdlib.h>
#include <string.h>
#include <xen/io/xenbus.h>

static uint64_t number(struct world *world, const char *dir, const char *node, uint64_t fallback)
{
    const char *text = world_node(world, dir, node);
    return text ? strtoull(text, NULL, 10) : fallback;
}

static void set_state(struct world *world, enum xenbus_state state)
{
    g_autofree char *text = g_strdup_printf("%d", state);
    world_offer(world, "state", text);
}

/* --- life --- */

static uint32_t ring_ref(struct world *world, unsigned page)
{
    g_autofree char *node = g_strdup_printf("ring-ref%u", page);
    return number(world, WORLD_FRONTEND, world->ring_pages > 1 ? node : "ring-ref", 0);
}

static void use_page(struct world *world, uint32_t ref, bool use)
{
    uint16_t *flags = &world->table[ref].flags;
    *flags = use ? *flags | GTF_reading | GTF_writing : *flags & ~(GTF_reading | GTF_writing);
}

/* The pages of a ring are adjacent here, so that they need not be mapped. */
static void attach(struct world *world)
{
    world->ring_pages = 1u << number(world, WORLD_FRONTEND, "ring-page-order", 0);
    g_assert_cmpstr(world_node(world, WORLD_FRONTEND, "protocol"), ==, "x86_64-abi");
    g_assert_cmpuint(number(world, WORLD_FRONTEND, "event-channel", 0), >, 0);
    for (unsigned i = 0; i < world->ring_pages; i++) {
        uint8_t *page = world_page(world, ring_ref(world, i));
        if (i == 0)
            world->ring = (void *)page;
        g_assert_true(page == (uint8_t *)world->ring + i * PV_PAGE);
        use_page(world, ring_ref(world, i), true);
    }
    world->entries = pv_ring_entries(world->ring_pages);
    world->req_cons = world->rsp_prod = 0;
    world->answers = 0;
    set_state(world, XenbusStateConnected);
}

static void detach(struct world *world)
{
    if (world->ring && !world->script.keeps_pages) {
        for (unsigned i = 0; i < world->ring_pages; i++)
            use_page(world, ring_ref(world, i), false);
    }
    world->ring = NULL;
    g_array_set_size(world->waiting, 0);
}

void world_frontend_wrote(struct world *world, const char *path)
{
    if (strcmp(path, WORLD_FRONTEND "/state") != 0)
        return;
    unsigned state = number(world, WORLD_FRONTEND, "state", 0);
    if (world->script.deaf & 1u << state)
        return;
    switch (state) {
    case XenbusStateInitialising: /* as QEMU does: only after Closed */
        if (number(world, WORLD_BACKEND_PATH, "state", 0) == XenbusStateClosed)
            set_state(world, XenbusStateInitWait);
        break;
    case XenbusStateInitialised:
        if (world->script.refuses)
            set_state(world, XenbusStateClosing);
        else if (!world->ring)
            attach(world);
        break;
    case XenbusStateClosing:
        set_state(world, XenbusStateClosing);
        break;
    case XenbusStateClosed:
        detach(world);
        set_state(world, XenbusStateClosed);
        break;
    }
}

/* --- requests --- */

struct piece {
    uint8_t *page;
    unsigned first, sectors;
};

static struct piece get_piece(struct world *world, const struct blkif_request_segment *segment)
{
    g_assert_cmpuint(segment->first_sect, <=, segment->last_sect);
    g_assert_cmpuint(segment->last_sect, <, PV_PAGE / PV_SECTOR);
    return (struct piece){ world_page(world, segment->gref), segment->first_sect,
                           segment->last_sect - segment->first_sect + 1u };
}

static void move(struct world *world, bool write, uint64_t *sector,
                 const struct blkif_request_segment *segment)
{
    struct piece piece = get_piece(world, segment);
    if (!piece.page)
        return;
    uint8_t *data = piece.page + piece.first * PV_SECTOR;

    if (*sector + piece.sectors > world->sectors) {
        g_assert_true(world->script.guesses); /* it said that there are more */
        return;
    }
    uint8_t *medium = world->disk + *sector * PV_SECTOR;
    if (write)
        memcpy(medium, data, piece.sectors * PV_SECTOR);
    else
        memcpy(data, medium, piece.sectors * PV_SECTOR);
    *sector += piece.sectors;
}

static void carry_out(struct world *world, const blkif_request_t *request, uint8_t *operation)
{
    const blkif_request_indirect_t *indirect = (const void *)request;
    const struct blkif_request_segment *segments = request->seg;
    unsigned count = request->nr_segments;
    uint64_t sector = request->sector_number;

    *operation = request->operation;
    if (request->operation == BLKIF_OP_INDIRECT) {
        *operation = indirect->indirect_op;
        count = indirect->nr_segments;
        sector = indirect->sector_number;
        segments = (const void *)world_page(world, indirect->indirect_grefs[0]);
        if (!segments)
            return;
        g_assert_cmpuint(count, <=,
                         number(world, WORLD_BACKEND_PATH, "feature-max-indirect-segments", 0));
        world->indirect++;
    } else {
        g_assert_cmpuint(count, <=, BLKIF_MAX_SEGMENTS_PER_REQUEST);
        world->direct++;
    }
    if (*operation == BLKIF_OP_FLUSH_DISKCACHE || *operation == BLKIF_OP_WRITE_BARRIER) {
        g_assert_cmpuint(count, ==, 0);
        world->flushes++;
        return;
    }
    g_assert_true(*operation == BLKIF_OP_READ || *operation == BLKIF_OP_WRITE);
    g_assert_cmpuint(count, >, 0);
    for (unsigned i = 0; i < count && world->script.status == 0 && !world->script.lies; i++)
        move(world, *operation == BLKIF_OP_WRITE, &sector, &segments[i]);
}

static void put_response(struct world *world, const blkif_response_t *response)
{
    world->ring->ring[world->rsp_prod++ & (world->entries - 1)].rsp = *response;
}

static void answer(struct world *world, const blkif_request_t *request)
{
    const blkif_request_indirect_t *indirect = (const void *)request;
    blkif_response_t response = { .status = world->script.status };

    response.id = request->operation == BLKIF_OP_INDIRECT ? indirect->id : request->id;
    carry_out(world, request, &response.operation);
    world->answers++;
    if (world->script.spoil)
        world->script.spoil(world, &response);
    put_response(world, &response);
    if (world->answers == world->script.twice_at)
        put_response(world, &response);
    if (world->answers == world->script.jump_at)
        world->rsp_prod += 1000;
}

/* True when nothing is answered any more. */
static bool has_ended(struct world *world)
{
    const struct world_script *script = &world->script;

    if (script->closed_after && world->answers >= script->closed_after) {
        set_state(world, XenbusStateClosed);
        return true;
    }
    return script->silent_after && world->answers >= script->silent_after;
}

static void take_requests(struct world *world)
{
    uint32_t produced = world->ring->req_prod;

    g_assert_cmpuint(produced - world->req_cons, <=, world->entries);
    for (; world->req_cons != produced; world->req_cons++) {
        const void *slot = &world->ring->ring[world->req_cons & (world->entries - 1)];
        g_array_append_vals(world->waiting, slot, 1);
    }
    world->ring->req_event = world->req_cons + 1;
    world->most_in_flight = MAX(world->most_in_flight, world->waiting->len);
}

/* Some of what is there is done; the rest waits for the next time. */
void world_backend_step(struct world *world)
{
    if (!world->ring)
        return;
    take_requests(world);
    for (unsigned i = 0; i < 3 && world->waiting->len > 0 && !has_ended(world); i++) {
        unsigned which = world->script.newest_first ? world->waiting->len - 1 : 0;
        blkif_request_t request = g_array_index(world->waiting, blkif_request_t, which);
        g_array_remove_index(world->waiting, which);
        answer(world, &request);
    }
    world->ring->rsp_prod = world->rsp_prod;
}
