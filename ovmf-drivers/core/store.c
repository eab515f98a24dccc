/* The xenstore client: see store.h. */

#include "ovmf-drivers/core/store.h"

#include "ovmf-drivers/core/text.h"

static uint32_t load(const uint32_t *index)
{
    return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

static void notify(const struct pv_store *store)
{
    store->platform->port_notify(store->platform->opaque, store->port);
}

static uint32_t smallest(uint32_t a, uint32_t b, size_t c)
{
    uint32_t least = a < b ? a : b;
    return c < least ? c : least;
}

static enum pv_status fail(struct pv_store *store, enum pv_status status)
{
    store->broken = true;
    return status;
}

/* PV_OK when it is worth looking at the ring again. */
static enum pv_status wait_for_peer(struct pv_store *store, uint64_t deadline)
{
    if (pv_now(store->platform) >= deadline)
        return fail(store, PV_TIMEOUT);
    store->platform->wait(store->platform->opaque, store->port, deadline);
    return PV_OK;
}

static enum pv_status send(struct pv_store *store, const void *bytes, size_t length,
                           uint64_t deadline)
{
    struct xenstore_domain_interface *ring = store->ring;
    const char *next = bytes;

    while (length > 0) {
        uint32_t produced = ring->req_prod;
        uint32_t used = produced - load(&ring->req_cons);
        if (used > XENSTORE_RING_SIZE)
            return fail(store, PV_BROKEN);
        uint32_t piece = smallest(XENSTORE_RING_SIZE - used,
                                  XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(produced), length);
        if (piece == 0) {
            enum pv_status status = wait_for_peer(store, deadline);
            if (status != PV_OK)
                return status;
            continue;
        }
        __builtin_memcpy(ring->req + MASK_XENSTORE_IDX(produced), next, piece);
        __atomic_store_n(&ring->req_prod, produced + piece, __ATOMIC_SEQ_CST);
        notify(store);
        next += piece;
        length -= piece;
    }
    return PV_OK;
}

/* LENGTH bytes to BYTES, or to nowhere if that is NULL. */
static enum pv_status receive(struct pv_store *store, void *bytes, size_t length, uint64_t deadline)
{
    struct xenstore_domain_interface *ring = store->ring;
    char *next = bytes;

    while (length > 0) {
        uint32_t consumed = ring->rsp_cons;
        uint32_t there = load(&ring->rsp_prod) - consumed;
        if (there > XENSTORE_RING_SIZE)
            return fail(store, PV_BROKEN);
        uint32_t piece = smallest(there, XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(consumed), length);
        if (piece == 0) {
            enum pv_status status = wait_for_peer(store, deadline);
            if (status != PV_OK)
                return status;
            continue;
        }
        if (next) {
            __builtin_memcpy(next, ring->rsp + MASK_XENSTORE_IDX(consumed), piece);
            next += piece;
        }
        __atomic_store_n(&ring->rsp_cons, consumed + piece, __ATOMIC_SEQ_CST);
        notify(store);
        length -= piece;
    }
    return PV_OK;
}

/* The answer to request ID; what else is in the ring is from before, and skipped. */
static enum pv_status receive_answer(struct pv_store *store, uint32_t id, struct xsd_sockmsg *head,
                                     uint64_t deadline)
{
    while (pv_now(store->platform) < deadline) {
        enum pv_status status = receive(store, head, sizeof(*head), deadline);
        if (status != PV_OK)
            return status;
        if (head->len > XENSTORE_PAYLOAD_MAX)
            return fail(store, PV_BROKEN);
        bool ours = head->req_id == id && head->type != XS_WATCH_EVENT;
        status = receive(store, ours ? store->payload : NULL, head->len, deadline);
        if (status != PV_OK)
            return status;
        if (ours) {
            store->payload[head->len] = '\0';
            return PV_OK;
        }
    }
    return fail(store, PV_TIMEOUT);
}

/* The path ends with a NUL, the value does not. */
static enum pv_status send_message(struct pv_store *store, const struct pv_store_message *message,
                                   uint32_t id, uint64_t deadline)
{
    size_t dir = pv_text_length(message->dir);
    size_t node = message->node ? pv_text_length(message->node) : 0;
    size_t value = message->value ? pv_text_length(message->value) : 0;
    struct xsd_sockmsg head = { .type = message->type,
                                .req_id = id,
                                .len = dir + (node ? 1 + node : 0) + 1 + value };
    const struct {
        const void *bytes;
        size_t length;
    } pieces[] = {
        { &head, sizeof(head) },
        { message->dir, dir },
        { "/", node ? 1 : 0 },
        { message->node, node },
        { "", 1 },
        { message->value, value },
    };

    if (head.len > XENSTORE_PAYLOAD_MAX)
        return PV_REFUSED;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        enum pv_status status = send(store, pieces[i].bytes, pieces[i].length, deadline);
        if (status != PV_OK)
            return status;
    }
    return PV_OK;
}

static enum pv_status talk_by_ring(struct pv_store *store, const struct pv_store_message *message,
                                   size_t *length)
{
    uint64_t deadline = pv_now(store->platform) + store->patience;
    struct xsd_sockmsg head;

    uint32_t id = ++store->last_id;
    enum pv_status status = send_message(store, message, id, deadline);
    if (status == PV_OK)
        status = receive_answer(store, id, &head, deadline);
    if (status != PV_OK)
        return status;
    if (head.type == XS_ERROR)
        return pv_text_equal(store->payload, "ENOENT") ? PV_ABSENT : PV_REFUSED;
    if (head.type != message->type)
        return fail(store, PV_BROKEN);
    *length = head.len;
    return PV_OK;
}

void pv_store_init(struct pv_store *store, const struct pv_platform *platform, void *ring,
                   uint32_t port, uint64_t patience)
{
    *store = (struct pv_store){
        .talk = talk_by_ring, .patience = patience, .platform = platform, .ring = ring, .port = port
    };
}

static enum pv_status talk(struct pv_store *store, struct pv_store_message message, size_t *length)
{
    return store->broken ? PV_BROKEN : store->talk(store, &message, length);
}

enum pv_status pv_store_read(struct pv_store *store, const char *dir, const char *node,
                             const char **value)
{
    size_t length;
    *value = store->payload;
    return talk(store, (struct pv_store_message){ XS_READ, dir, node, NULL }, &length);
}

enum pv_status pv_store_list(struct pv_store *store, const char *dir, const char **names,
                             size_t *length)
{
    *names = store->payload;
    return talk(store, (struct pv_store_message){ XS_DIRECTORY, dir, NULL, NULL }, length);
}

enum pv_status pv_store_write(struct pv_store *store, const char *dir, const char *node,
                              const char *value)
{
    size_t length;
    return talk(store, (struct pv_store_message){ XS_WRITE, dir, node, value }, &length);
}

enum pv_status pv_store_remove(struct pv_store *store, const char *dir, const char *node)
{
    size_t length;
    return talk(store, (struct pv_store_message){ XS_RM, dir, node, NULL }, &length);
}

enum pv_status pv_store_read_number(struct pv_store *store, const char *dir, const char *node,
                                    uint64_t max, uint64_t fallback, uint64_t *number)
{
    const char *text;
    enum pv_status status = pv_store_read(store, dir, node, &text);

    if (status == PV_ABSENT) {
        *number = fallback;
        return PV_OK;
    }
    if (status == PV_OK && !pv_number_parse(text, max, number))
        return PV_BROKEN;
    return status;
}

enum pv_status pv_store_write_number(struct pv_store *store, const char *dir, const char *node,
                                     uint64_t number)
{
    char text[PV_NUMBER_SIZE];
    return pv_store_write(store, dir, node, pv_number_format(text, number));
}
