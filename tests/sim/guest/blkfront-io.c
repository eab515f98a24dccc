/* The test frontend's requests with data: see blkfront.h. */

#include "tests/sim/guest/blkfront-queue.h"

#include <string.h>

#define NO_REF UINT32_MAX

struct blkfront_page *blkfront_page_take(struct blkfront_queue *queue)
{
    struct blkfront_page *page = queue->free;
    if (page) {
        queue->free = page->next;
        return page;
    }
    page = g_new0(struct blkfront_page, 1);
    page->address = guest_alloc(queue->front->guest, 1);
    page->ref = guest_grant(queue->front->guest, 0, page->address, false);
    page->ref_read_only = NO_REF;
    g_ptr_array_add(queue->pages, page);
    return page;
}

static void page_put(struct blkfront_queue *queue, struct blkfront_page *page)
{
    page->next = queue->free;
    queue->free = page;
}

uint32_t blkfront_page_ref(const struct blkfront_queue *queue, struct blkfront_page *page,
                           bool read_only)
{
    if (!read_only || queue->front->persistent)
        return page->ref;
    if (page->ref_read_only == NO_REF)
        page->ref_read_only = guest_grant(queue->front->guest, 0, page->address, true);
    return page->ref_read_only;
}

bool blkfront_queue_free_pages(struct blkfront_queue *queue)
{
    struct guest *guest = queue->front->guest;
    bool all = true;

    for (guint i = 0; i < queue->pages->len; i++) {
        struct blkfront_page *page = queue->pages->pdata[i];
        bool released = guest_ungrant(guest, page->ref);
        if (page->ref_read_only != NO_REF)
            released &= guest_ungrant(guest, page->ref_read_only);
        if (released)
            guest_free(guest, page->address, 1);
        all &= released;
    }
    return all;
}

/* Segments for COUNT pages with LENGTH bytes in all; only the last may be shorter than a page. */
static void fill_segments(struct blkfront_queue *queue, struct blkif_request_segment *segments,
                          struct blkfront_page **pages, unsigned count, size_t length,
                          bool read_only)
{
    for (unsigned i = 0; i < count; i++) {
        size_t piece = MIN(length, GUEST_PAGE);
        segments[i] = (struct blkif_request_segment){
            .gref = blkfront_page_ref(queue, pages[i], read_only),
            .last_sect = piece / BLKFRONT_SECTOR - 1,
        };
        length -= piece;
    }
}

static unsigned build_indirect(struct blkfront_queue *queue, blkif_request_t *request,
                               uint8_t operation, struct blkfront_page **pages, unsigned count,
                               size_t length)
{
    blkif_request_indirect_t *indirect = (blkif_request_indirect_t *)request;
    unsigned nr_pages = count;

    indirect->operation = BLKIF_OP_INDIRECT;
    indirect->indirect_op = operation;
    indirect->nr_segments = count;
    for (unsigned done = 0, i = 0; done < count; done += BLKFRONT_SEGMENTS_PER_PAGE, i++) {
        struct blkfront_page *page = blkfront_page_take(queue);
        unsigned here = MIN(count - done, (unsigned)BLKFRONT_SEGMENTS_PER_PAGE);
        fill_segments(queue, (struct blkif_request_segment *)page->address, pages + done, here,
                      length - (size_t)done * GUEST_PAGE, operation != BLKIF_OP_READ);
        indirect->indirect_grefs[i] = blkfront_page_ref(queue, page, true);
        pages[nr_pages++] = page;
    }
    return nr_pages;
}

unsigned blkfront_build(struct blkfront_queue *queue, blkif_request_t *request, uint8_t operation,
                        struct blkfront_page **pages, unsigned count, size_t length)
{
    memset(request, 0, sizeof(*request));
    if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return build_indirect(queue, request, operation, pages, count, length);
    request->operation = operation;
    request->nr_segments = count;
    fill_segments(queue, request->seg, pages, count, length, operation != BLKIF_OP_READ);
    return count;
}

/* Every kind of request has these two at the same place. */
void blkfront_set_place(blkif_request_t *request, uint64_t id, uint64_t sector)
{
    request->id = id;
    request->sector_number = sector;
}

static struct blkfront_flight *free_flight(struct blkfront_queue *queue)
{
    const struct blkfront *front = queue->front;
    if (queue->req_prod - queue->rsp_cons >= front->ring_entries)
        return NULL;
    for (unsigned i = 0; i < front->ring_entries; i++) {
        struct blkfront_flight *flight = &queue->flights[i];
        if (flight->busy)
            continue;
        if (!flight->pages)
            flight->pages = g_new(struct blkfront_page *,
                                  front->segments + BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST);
        return flight;
    }
    return NULL;
}

/* What is to be moved, and how far it is. */
struct transfer {
    uint8_t operation;
    const struct blkfront_piece *piece; /* the one under way */
    const struct blkfront_piece *end;
    size_t put; /* bytes of it */
    unsigned in_flight;
    int status; /* the first that was not OKAY */
};

static void copy_pages(struct blkfront_page **pages, uint8_t *data, size_t length, bool to_pages)
{
    for (unsigned i = 0; length > 0; i++) {
        size_t piece = MIN(length, GUEST_PAGE);
        memcpy(to_pages ? pages[i]->address : data, to_pages ? data : pages[i]->address, piece);
        data += piece;
        length -= piece;
    }
}

/* Puts as much of the piece under way on the ring as a request can carry; false if it is full. */
static bool put_next(struct blkfront_queue *queue, struct transfer *transfer)
{
    const struct blkfront_piece *piece = transfer->piece;
    struct blkfront_flight *flight = free_flight(queue);
    size_t most = (size_t)queue->front->segments * GUEST_PAGE;
    uint8_t *data = piece->data + transfer->put;
    blkif_request_t request;

    if (!flight)
        return false;
    *flight = (struct blkfront_flight){
        .busy = true,
        .operation = transfer->operation,
        .length = MIN(piece->length - transfer->put, most),
        .pages = flight->pages,
    };
    unsigned count = (flight->length + GUEST_PAGE - 1) / GUEST_PAGE;
    for (unsigned i = 0; i < count; i++)
        flight->pages[i] = blkfront_page_take(queue);
    if (transfer->operation == BLKIF_OP_READ)
        flight->target = data;
    else
        copy_pages(flight->pages, data, flight->length, true);
    flight->nr_pages =
        blkfront_build(queue, &request, transfer->operation, flight->pages, count, flight->length);
    blkfront_set_place(&request, flight - queue->flights,
                       piece->sector + transfer->put / BLKFRONT_SECTOR);
    blkfront_queue_put(queue, &request);
    transfer->in_flight++;
    transfer->put += flight->length;
    if (transfer->put == piece->length) {
        transfer->piece++;
        transfer->put = 0;
    }
    return true;
}

static struct blkfront_flight *flight_of(struct blkfront_queue *queue,
                                         const blkif_response_t *response)
{
    bool known = response->id < queue->front->ring_entries && queue->flights[response->id].busy;
    if (!known)
        g_error("the backend answers request %" G_GUINT64_FORMAT ", which is not in flight",
                response->id);
    struct blkfront_flight *flight = &queue->flights[response->id];
    if (response->operation != flight->operation)
        g_error("the backend answers operation %u with operation %u", flight->operation,
                response->operation);
    return flight;
}

static int land(struct blkfront_queue *queue, const blkif_response_t *response)
{
    struct blkfront_flight *flight = flight_of(queue, response);

    if (flight->target && response->status == BLKIF_RSP_OKAY)
        copy_pages(flight->pages, flight->target, flight->length, false);
    for (unsigned i = 0; i < flight->nr_pages; i++)
        page_put(queue, flight->pages[i]);
    flight->busy = false;
    return response->status;
}

/* Nobody waits for them any more, but their pages are the backend's until it answers. */
static void give_up(struct blkfront_queue *queue)
{
    for (unsigned i = 0; i < queue->front->ring_entries; i++)
        queue->flights[i].target = NULL;
}

static int run(struct blkfront_queue *queue, struct transfer *transfer)
{
    blkif_response_t response;

    for (;;) {
        while (transfer->piece < transfer->end && transfer->status == BLKIF_RSP_OKAY &&
               put_next(queue, transfer))
            ;
        blkfront_queue_push(queue);
        if (transfer->in_flight == 0)
            return transfer->status;
        if (!blkfront_queue_take(queue, &response, BLKFRONT_PATIENCE_MS)) {
            give_up(queue);
            return BLKFRONT_TIMEOUT;
        }
        do {
            int status = land(queue, &response);
            transfer->in_flight--;
            if (transfer->status == BLKIF_RSP_OKAY)
                transfer->status = status;
        } while (blkfront_queue_poll(queue, &response));
    }
}

int blkfront_move(struct blkfront_queue *queue, uint8_t operation,
                  const struct blkfront_piece *pieces, size_t count)
{
    struct transfer transfer = {
        .operation = operation,
        .piece = pieces,
        .end = pieces + count,
    };
    return run(queue, &transfer);
}

int blkfront_read(struct blkfront *front, unsigned queue, uint64_t sector, void *data,
                  size_t length)
{
    struct blkfront_piece piece = { sector, data, length };
    return blkfront_move(&front->queues[queue], BLKIF_OP_READ, &piece, length > 0);
}

int blkfront_write(struct blkfront *front, unsigned queue, uint64_t sector, const void *data,
                   size_t length)
{
    struct blkfront_piece piece = { sector, (uint8_t *)data, length };
    return blkfront_move(&front->queues[queue], BLKIF_OP_WRITE, &piece, length > 0);
}

/* A request without data: flush or discard. */
static int run_one(struct blkfront_queue *queue, blkif_request_t *request)
{
    struct blkfront_flight *flight = free_flight(queue);
    struct transfer transfer = { .in_flight = 1 };

    if (!flight)
        g_error("no room on the ring: take the responses of what was put on it first");
    *flight = (struct blkfront_flight){
        .busy = true,
        .operation = request->operation,
        .pages = flight->pages,
    };
    request->id = flight - queue->flights;
    blkfront_queue_put(queue, request);
    return run(queue, &transfer);
}

int blkfront_flush(struct blkfront *front, unsigned queue)
{
    blkif_request_t request = { .operation = BLKIF_OP_FLUSH_DISKCACHE };
    return run_one(&front->queues[queue], &request);
}

int blkfront_discard(struct blkfront *front, unsigned queue, uint64_t sector, uint64_t sectors,
                     bool secure)
{
    union {
        blkif_request_t request;
        blkif_request_discard_t discard;
    } slot = { 0 };
    slot.discard.operation = BLKIF_OP_DISCARD;
    slot.discard.flag = secure ? BLKIF_DISCARD_SECURE : 0;
    slot.discard.sector_number = sector;
    slot.discard.nr_sectors = sectors;
    return run_one(&front->queues[queue], &slot.request);
}
