/*
 * The guest's connection to xenstored: see guest.h.
 *
 * The ring is the one that the toolstack made: its frame and port are in the domain's parameters,
 * where a guest's firmware and kernel look for them too.  One request is on its way at a time.
 */
#include <errno.h> /* before xs_wire.h, whose table of errors needs it */

#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <xen/hvm/params.h>
#include <xen/io/xs_wire.h>

#include "tests/sim/guest/guest-internal.h"
#include "tests/sim/hypervisor/hypervisor.h"

/* xenstored answers in less than a millisecond, unless it stalls a guest that is over its quota. */
#define PATIENCE (10 * G_USEC_PER_SEC)

struct guest_store {
    struct guest *guest;
    struct xenstore_domain_interface *ring;
    uint32_t port;
    uint32_t last_request;
    bool broken; /* an answer did not come in time, and may lie in the ring later */
};

static struct guest_store *store_open(struct guest *guest)
{
    const struct sim_domain *domain = sim_domain(guest_domid(guest));
    struct guest_store *store = g_new0(struct guest_store, 1);
    uint8_t *memory = guest_memory(guest);

    g_assert_nonnull(domain);
    store->guest = guest;
    store->ring = (void *)(memory + domain->hvm_params[HVM_PARAM_STORE_PFN] * GUEST_PAGE);
    store->port = domain->hvm_params[HVM_PARAM_STORE_EVTCHN];
    return store;
}

void guest_store_close(struct guest_store *store)
{
    g_free(store);
}

static struct guest_store *store_of(struct guest *guest)
{
    if (!guest->store)
        guest->store = store_open(guest);
    return guest->store;
}

static uint32_t load(const uint32_t *index)
{
    return __atomic_load_n(index, __ATOMIC_ACQUIRE);
}

/* Sleeps until xenstored has done something; false when it has had its time. */
static bool wait_for_xenstored(struct guest_store *store, gint64 deadline)
{
    gint64 left = deadline - g_get_monotonic_time();
    if (left > 0) {
        guest_port_wait(store->guest, store->port, left / 1000 + 1);
        return true;
    }
    store->broken = true;
    errno = ETIMEDOUT;
    return false;
}

static bool send_bytes(struct guest_store *store, const void *bytes, size_t length, gint64 deadline)
{
    struct xenstore_domain_interface *ring = store->ring;
    const uint8_t *next = bytes;

    while (length > 0) {
        uint32_t produced = ring->req_prod;
        uint32_t room = XENSTORE_RING_SIZE - (produced - load(&ring->req_cons));
        uint32_t piece = MIN(room, XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(produced));
        piece = MIN(piece, length);
        if (piece == 0) {
            if (!wait_for_xenstored(store, deadline))
                return false;
            continue;
        }
        memcpy(ring->req + MASK_XENSTORE_IDX(produced), next, piece);
        __atomic_store_n(&ring->req_prod, produced + piece, __ATOMIC_RELEASE);
        guest_port_notify(store->guest, store->port);
        next += piece;
        length -= piece;
    }
    return true;
}

static bool receive_bytes(struct guest_store *store, void *bytes, size_t length, gint64 deadline)
{
    struct xenstore_domain_interface *ring = store->ring;
    uint8_t *next = bytes;

    while (length > 0) {
        uint32_t consumed = ring->rsp_cons;
        uint32_t there = load(&ring->rsp_prod) - consumed;
        uint32_t piece = MIN(there, XENSTORE_RING_SIZE - MASK_XENSTORE_IDX(consumed));
        piece = MIN(piece, length);
        if (piece == 0) {
            if (!wait_for_xenstored(store, deadline))
                return false;
            continue;
        }
        memcpy(next, ring->rsp + MASK_XENSTORE_IDX(consumed), piece);
        __atomic_store_n(&ring->rsp_cons, consumed + piece, __ATOMIC_RELEASE);
        guest_port_notify(store->guest, store->port);
        next += piece;
        length -= piece;
    }
    return true;
}

/* The payload with a NUL after it, for g_free(). */
static char *receive_answer(struct guest_store *store, struct xsd_sockmsg *head, gint64 deadline)
{
    if (!receive_bytes(store, head, sizeof(*head), deadline))
        return NULL;
    if (head->req_id != store->last_request || head->len > XENSTORE_PAYLOAD_MAX) {
        store->broken = true;
        errno = EPROTO;
        return NULL;
    }
    g_autofree char *payload = g_malloc0(head->len + 1);
    if (!receive_bytes(store, payload, head->len, deadline))
        return NULL;
    return g_steal_pointer(&payload);
}

static int error_number(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(xsd_errors); i++) {
        if (strcmp(xsd_errors[i].errstring, name) == 0)
            return xsd_errors[i].errnum;
    }
    return EPROTO;
}

/* One request: PATH with its NUL, then LENGTH bytes of VALUE.  The answer's payload, or NULL. */
static char *transact(struct guest *guest, enum xsd_sockmsg_type type, const char *path,
                      const void *value, size_t length)
{
    struct guest_store *store = store_of(guest);
    gint64 deadline = g_get_monotonic_time() + PATIENCE;
    struct xsd_sockmsg head = {
        .type = type,
        .req_id = ++store->last_request,
        .len = strlen(path) + 1 + length,
    };
    if (store->broken || head.len > XENSTORE_PAYLOAD_MAX) {
        errno = store->broken ? EIO : E2BIG;
        return NULL;
    }
    if (!send_bytes(store, &head, sizeof(head), deadline) ||
        !send_bytes(store, path, strlen(path) + 1, deadline) ||
        !send_bytes(store, value, length, deadline))
        return NULL;

    g_autofree char *answer = receive_answer(store, &head, deadline);
    if (answer && head.type == XS_ERROR) {
        errno = error_number(answer);
        return NULL;
    }
    return g_steal_pointer(&answer);
}

char *guest_store_read(struct guest *guest, const char *path)
{
    return transact(guest, XS_READ, path, NULL, 0);
}

bool guest_store_write_bytes(struct guest *guest, const char *path, const void *value,
                             size_t length)
{
    g_autofree char *answer = transact(guest, XS_WRITE, path, value, length);
    return answer != NULL;
}

bool guest_store_write(struct guest *guest, const char *path, const char *value)
{
    return guest_store_write_bytes(guest, path, value, strlen(value));
}

bool guest_store_remove(struct guest *guest, const char *path)
{
    g_autofree char *answer = transact(guest, XS_RM, path, NULL, 0);
    return answer != NULL;
}

bool guest_store_printf(struct guest *guest, const char *path, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *value = g_strdup_vprintf(format, args);
    va_end(args);
    return guest_store_write(guest, path, value);
}

bool guest_store_await(struct guest *guest, const char *path, const char *value, int timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + timeout_ms * INT64_C(1000);
    do {
        g_autofree char *now = guest_store_read(guest, path);
        if (g_strcmp0(now, value) == 0)
            return true;
        g_usleep(1000);
    } while (g_get_monotonic_time() < deadline);
    return false;
}
