/*
 * A simulated vCPU: see vcpu.h.
 *
 * A vCPU that waits for an emulator does nothing else.  So where a request timed out, the next
 * vcpu_issue() first waits for its answer; if that asks for the same access, the answer is for it.
 */

#define G_LOG_DOMAIN "vcpu"
#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_* */
#include "tests/sim/guest/vcpu.h"

#include <stdio.h>
#include <string.h>
#include <xen/hvm/hvm_op.h>

#include "tests/sim/hypervisor/hypervisor.h"

/* A sleeping vCPU looks up this often whether its domain still runs; answers wake it at once. */
#define LOOK_UP_MS 100

/* Where struct ioreq has its bit fields, of which the state is the lowest. */
#define FLAGS_OFFSET (offsetof(struct ioreq, type) - 1)
#define STATE_MASK 0xF

struct vcpu {
    unsigned domid, number;
    struct sim_domain *domain;
    gint64 deadline; /* 0: none */
};

/* --- the slot --- */

static _Atomic uint8_t *slot_flags(struct ioreq *slot)
{
    return (_Atomic uint8_t *)((uint8_t *)slot + FLAGS_OFFSET);
}

static unsigned slot_state(struct ioreq *slot)
{
    return atomic_load_explicit(slot_flags(slot), memory_order_acquire) & STATE_MASK;
}

/* Everything else is written before the state. */
static void fill_slot(struct ioreq *slot, const struct ioreq *request, uint32_t port)
{
    struct ioreq copy = *request;
    copy.vp_eport = port;
    copy.state = STATE_IOREQ_NONE;
    memcpy(slot, &copy, sizeof(copy));
    copy.state = STATE_IOREQ_READY;
    atomic_store_explicit(slot_flags(slot), *slot_flags(&copy), memory_order_release);
}

static void free_slot(struct ioreq *slot)
{
    atomic_fetch_and_explicit(slot_flags(slot), ~STATE_MASK, memory_order_release);
}

/* --- the vCPU and its domain --- */

static bool runs(const struct vcpu *vcpu)
{
    return atomic_load(&vcpu->domain->state) == SIM_DOMAIN_ALIVE &&
           __atomic_load_n(&vcpu->domain->ioreq.shutdown, __ATOMIC_RELAXED) == 0;
}

static bool find_vcpu(struct guest *guest, unsigned number, int timeout_ms, struct vcpu *vcpu)
{
    vcpu->domid = guest_domid(guest);
    vcpu->number = number;
    vcpu->domain = sim_domain(vcpu->domid);
    vcpu->deadline = timeout_ms < 0 ? 0 : g_get_monotonic_time() + timeout_ms * INT64_C(1000);
    if (!vcpu->domain)
        return false;
    if (number >= vcpu->domain->vcpus)
        g_error("domain %u has no vCPU %u", vcpu->domid, number);
    return runs(vcpu);
}

static enum vcpu_outcome crash(const struct vcpu *vcpu, const char *format, unsigned from,
                               unsigned to) G_GNUC_PRINTF(2, 0);
static enum vcpu_outcome crash(const struct vcpu *vcpu, const char *format, unsigned from,
                               unsigned to)
{
    char reason[SIM_REASON];
    snprintf(reason, sizeof(reason), format, from, to);
    sim_domain_crash(vcpu->domid, reason);
    return VCPU_CRASHED;
}

static struct sim_ioreq_server *server_of(const struct vcpu *vcpu, int id)
{
    return &vcpu->domain->ioreq.servers[id];
}

/* --- asking --- */

/* Puts REQUEST before server ID; false, with a REASON, if the page is not fit for it.  Lock held.
 */
static bool send_to(const struct vcpu *vcpu, int id, const struct ioreq *request, char *reason)
{
    struct sim_ioreq_server *server = server_of(vcpu, id);
    struct ioreq *slots = sim_ioreq_slots(vcpu->domid, server);
    struct ioreq *slot = slots ? &slots[vcpu->number] : NULL;
    uint32_t port = server->ports[vcpu->number];

    if (!slot) {
        snprintf(reason, SIM_REASON, "device model enabled a server without a page");
        return false;
    }
    if (slot_state(slot) != STATE_IOREQ_NONE) {
        snprintf(reason, SIM_REASON, "device model set bad IO state %u", slot_state(slot));
        return false;
    }
    if (slot->vp_eport != port) {
        snprintf(reason, SIM_REASON, "device model set bad event channel %u", slot->vp_eport);
        return false;
    }
    vcpu->domain->ioreq.requests[vcpu->number] = *request;
    sim_evtchn_take(vcpu->domid, port); /* what is left of the last answer */
    atomic_store(&server->pending[vcpu->number], true);
    fill_slot(slot, request, port);
    sim_evtchn_notify(vcpu->domid, SIM_KERNEL, port);
    return true;
}

/* The address register of PCI configuration mechanism 1 is Xen's as much as the emulator's. */
static void latch_cf8(const struct vcpu *vcpu, const struct ioreq *request)
{
    if (request->type == IOREQ_TYPE_PIO && request->addr == 0xCF8 && request->size == 4 &&
        request->dir == IOREQ_WRITE && !request->data_is_ptr)
        vcpu->domain->ioreq.cf8 = request->data;
}

/* Asks whoever has the address; VCPU_ANSWERED means that an answer is to be waited for. */
static enum vcpu_outcome ask(const struct vcpu *vcpu, struct ioreq *request)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    char reason[SIM_REASON];
    bool sent = false;

    sim_lock(xen);
    latch_cf8(vcpu, request);
    int id = sim_ioreq_select(vcpu->domain, request);
    if (id >= 0)
        sent = send_to(vcpu, id, request, reason);
    sim_unlock(xen);
    if (id >= 0 && !sent) {
        sim_domain_crash(vcpu->domid, reason);
        return VCPU_CRASHED;
    }
    return sent ? VCPU_ANSWERED : VCPU_UNCLAIMED;
}

/* Xen forgives those who cannot be asked to invalidate their mappings. */
static enum vcpu_outcome ask_all(const struct vcpu *vcpu, const struct ioreq *request)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    char reason[SIM_REASON];
    unsigned asked = 0;

    sim_lock(xen);
    for (int id = SIM_IOREQ_SERVERS - 1; id >= 0; id--) {
        if (server_of(vcpu, id)->enabled && send_to(vcpu, id, request, reason))
            asked++;
    }
    sim_unlock(xen);
    return asked > 0 ? VCPU_ANSWERED : VCPU_UNCLAIMED;
}

/* --- waiting --- */

/* How long to sleep now, or 0 if there is no time left. */
static int patience(const struct vcpu *vcpu)
{
    if (vcpu->deadline == 0)
        return LOOK_UP_MS;
    gint64 left = (vcpu->deadline - g_get_monotonic_time() + 999) / 1000;
    return CLAMP(left, 0, LOOK_UP_MS);
}

/* For a server that was destroyed, and so nobody will wake us. */
static enum vcpu_outcome wait_for_ever(const struct vcpu *vcpu)
{
    for (int sleep_ms; runs(vcpu); g_usleep(sleep_ms * 1000)) {
        sleep_ms = patience(vcpu);
        if (sleep_ms == 0)
            return VCPU_TIMEOUT;
    }
    return VCPU_CRASHED;
}

/* The server was destroyed.  A vCPU that was WOKEN before goes on, with the data that it sent. */
static enum vcpu_outcome do_without(const struct vcpu *vcpu, bool woken, uint64_t *data)
{
    struct sim_ioreq_domain *ioreq = &vcpu->domain->ioreq;
    if (!woken && atomic_load(&ioreq->stuck[vcpu->number]))
        return wait_for_ever(vcpu);
    atomic_store(&ioreq->stuck[vcpu->number], false);
    *data = ioreq->requests[vcpu->number].data;
    return VCPU_ANSWERED;
}

/* What server ID has done about its request: VCPU_TIMEOUT if it is not done.  Lock held. */
static enum vcpu_outcome look(const struct vcpu *vcpu, int id, uint64_t *data)
{
    struct sim_ioreq_server *server = server_of(vcpu, id);
    struct ioreq *slots = sim_ioreq_slots(vcpu->domid, server);
    struct ioreq *slot = slots ? &slots[vcpu->number] : NULL;
    unsigned state = slot ? slot_state(slot) : STATE_IOREQ_NONE;

    switch (state) {
    case STATE_IOREQ_READY:
    case STATE_IOREQ_INPROCESS: /* and from there back to ready is nothing that Xen would notice */
        return VCPU_TIMEOUT;
    case STATE_IORESP_READY:
        *data = slot->data;
        free_slot(slot);
        atomic_store(&server->pending[vcpu->number], false);
        return VCPU_ANSWERED;
    case STATE_IOREQ_NONE:
        atomic_store(&server->pending[vcpu->number], false);
        return VCPU_UNCLAIMED;
    default:
        return crash(vcpu, "Weird HVM iorequest state %u", state, 0);
    }
}

/*
 * Waits for server ID, which owes an answer.  As in Xen, the vCPU looks once when it has asked
 * (if it has: ASKED) and then after each event, so an answer without one is never seen.  It looks
 * under the lock, because servers come and go.  *DATA stays all-ones if the server took the request
 * back.
 */
static enum vcpu_outcome await_server(const struct vcpu *vcpu, int id, bool asked, uint64_t *data)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct sim_ioreq_server *server = server_of(vcpu, id);
    bool woken = false;

    *data = UINT64_MAX;
    for (bool looks = asked; runs(vcpu); looks = woken) {
        sim_lock(xen);
        bool pending = atomic_load(&server->pending[vcpu->number]);
        uint32_t port = server->ports[vcpu->number];
        enum vcpu_outcome outcome = pending && looks ? look(vcpu, id, data) : VCPU_TIMEOUT;
        sim_unlock(xen);
        if (!pending)
            return do_without(vcpu, woken, data);
        if (outcome != VCPU_TIMEOUT)
            return outcome;
        int sleep_ms = patience(vcpu);
        if (sleep_ms == 0)
            return VCPU_TIMEOUT;
        woken = sim_evtchn_wait(vcpu->domid, port, sleep_ms);
    }
    return VCPU_CRASHED;
}

/* Waits for all who owe this vCPU an answer; *DATA is the last one. */
static enum vcpu_outcome await(const struct vcpu *vcpu, bool asked, uint64_t *data)
{
    enum vcpu_outcome outcome = VCPU_UNCLAIMED;

    *data = UINT64_MAX;
    for (int id = SIM_IOREQ_SERVERS - 1; id >= 0; id--) {
        if (!atomic_load(&server_of(vcpu, id)->pending[vcpu->number]))
            continue;
        outcome = await_server(vcpu, id, asked, data);
        if (outcome == VCPU_TIMEOUT || outcome == VCPU_CRASHED)
            break;
    }
    return outcome;
}

static bool owed(const struct vcpu *vcpu)
{
    for (int id = 0; id < SIM_IOREQ_SERVERS; id++) {
        if (atomic_load(&server_of(vcpu, id)->pending[vcpu->number]))
            return true;
    }
    return false;
}

/* --- buffered requests --- */

/* Puts REQUEST on the server's ring; false if it cannot be there or the ring is full.  Lock held.
 */
static bool buffer(const struct vcpu *vcpu, int id, const struct ioreq *request)
{
    struct sim_ioreq_server *server = server_of(vcpu, id);
    struct buffered_iopage *ring = sim_ioreq_buffer(vcpu->domid, server);
    unsigned size = request->size, slots = size == 8 ? 2 : 1;

    if (!ring || request->addr > 0xFFFFF || request->data_is_ptr || request->count != 1 ||
        (size != 1 && size != 2 && size != 4 && size != 8))
        return false;
    uint32_t write = __atomic_load_n(&ring->write_pointer, __ATOMIC_RELAXED);
    uint32_t read = __atomic_load_n(&ring->read_pointer, __ATOMIC_ACQUIRE);
    if (write - read > IOREQ_BUFFER_SLOT_NUM - slots)
        return false;
    for (unsigned i = 0; i < slots; i++) {
        ring->buf_ioreq[(write + i) % IOREQ_BUFFER_SLOT_NUM] = (struct buf_ioreq){
            .type = request->type,
            .dir = request->dir,
            .size = __builtin_ctz(size),
            .addr = request->addr,
            .data = request->data >> (32 * i),
        };
    }
    __atomic_fetch_add(&ring->write_pointer, slots, __ATOMIC_RELEASE);
    return true;
}

/*
 * Where the emulator follows, Xen takes multiples of the ring's size off both pointers at once; the
 * emulator changes its own meanwhile, so this may have to be tried again, but not for ever.
 */
static void canonicalize(struct buffered_iopage *ring)
{
    uint64_t *pointers = (uint64_t *)ring;
    uint64_t old = __atomic_load_n(pointers, __ATOMIC_RELAXED);

    for (unsigned tries = 0; tries < IOREQ_BUFFER_SLOT_NUM; tries++) {
        uint32_t read = old, write = old >> 32;
        uint32_t excess = read / IOREQ_BUFFER_SLOT_NUM * IOREQ_BUFFER_SLOT_NUM;
        uint64_t changed = (uint64_t)(write - excess) << 32 | (read - excess);
        if (excess == 0 || __atomic_compare_exchange_n(pointers, &old, changed, false,
                                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            break;
    }
}

static bool send_buffered(const struct vcpu *vcpu, int id, const struct ioreq *request)
{
    struct sim_ioreq_server *server = server_of(vcpu, id);
    if (!buffer(vcpu, id, request))
        return false;
    if (server->buffered == HVM_IOREQSRV_BUFIOREQ_ATOMIC)
        canonicalize(sim_ioreq_buffer(vcpu->domid, server));
    sim_evtchn_notify(vcpu->domid, SIM_KERNEL, server->buffered_port);
    return true;
}

static enum vcpu_outcome buffer_all(const struct vcpu *vcpu, const struct ioreq *request)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    unsigned sent = 0;

    sim_lock(xen);
    for (int id = SIM_IOREQ_SERVERS - 1; id >= 0; id--)
        sent += server_of(vcpu, id)->enabled && send_buffered(vcpu, id, request);
    sim_unlock(xen);
    return sent > 0 ? VCPU_ANSWERED : VCPU_UNCLAIMED;
}

enum vcpu_outcome vcpu_issue_buffered(struct guest *guest, ioreq_t *request)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct vcpu vcpu;

    if (!find_vcpu(guest, 0, 0, &vcpu))
        return VCPU_CRASHED;
    sim_lock(xen);
    int id = sim_ioreq_select(vcpu.domain, request);
    bool sent = id >= 0 && send_buffered(&vcpu, id, request);
    sim_unlock(xen);
    return sent ? VCPU_ANSWERED : VCPU_UNCLAIMED;
}

/* --- accesses --- */

static bool is_same_access(const struct ioreq *a, const struct ioreq *b)
{
    return a->type == b->type && a->addr == b->addr && a->size == b->size && a->dir == b->dir;
}

/* What is read where nobody answers; a string instruction stores it in memory. */
static void read_ones(struct guest *guest, struct ioreq *request)
{
    if (!request->data_is_ptr) {
        request->data = UINT64_MAX;
        return;
    }
    uint64_t length = (uint64_t)request->count * request->size;
    uint64_t end = guest_pages(guest) * (uint64_t)GUEST_PAGE;
    uint64_t first = request->df ? request->data + request->size - length : request->data;
    if (first <= end && length <= end - first)
        memset((uint8_t *)guest_memory(guest) + first, 0xFF, length);
}

static enum vcpu_outcome finish(struct guest *guest, const struct vcpu *vcpu, bool asked,
                                struct ioreq *request)
{
    uint64_t data;
    enum vcpu_outcome outcome = await(vcpu, asked, &data);
    if (request->dir != IOREQ_READ)
        return outcome;
    if (outcome == VCPU_ANSWERED && !request->data_is_ptr)
        request->data = data;
    else if (outcome == VCPU_UNCLAIMED)
        read_ones(guest, request);
    return outcome;
}

/* Requests that Xen makes by itself look like this. */
static void complete_request(struct ioreq *request)
{
    if (request->type == IOREQ_TYPE_INVALIDATE) {
        *request = (struct ioreq){
            .type = IOREQ_TYPE_INVALIDATE, .size = 4, .dir = IOREQ_WRITE, .data = UINT64_MAX
        };
    } else if (request->type == IOREQ_TYPE_TIMEOFFSET) {
        *request = (struct ioreq){ .type = IOREQ_TYPE_TIMEOFFSET,
                                   .size = 8,
                                   .count = 1,
                                   .dir = IOREQ_WRITE,
                                   .data = request->data };
    }
}

enum vcpu_outcome vcpu_issue(struct guest *guest, unsigned number, ioreq_t *request, int timeout_ms)
{
    struct vcpu vcpu;

    complete_request(request);
    if (!find_vcpu(guest, number, timeout_ms, &vcpu))
        return VCPU_CRASHED;
    if (atomic_load(&vcpu.domain->ioreq.stuck[number]))
        return wait_for_ever(&vcpu);
    if (owed(&vcpu)) {
        struct ioreq *old = &vcpu.domain->ioreq.requests[number];
        bool same = is_same_access(old, request);
        enum vcpu_outcome outcome = finish(guest, &vcpu, false, same ? request : old);
        if (same || outcome == VCPU_TIMEOUT || outcome == VCPU_CRASHED)
            return outcome;
    }
    if (request->type == IOREQ_TYPE_TIMEOFFSET)
        return buffer_all(&vcpu, request);
    enum vcpu_outcome outcome =
        request->type == IOREQ_TYPE_INVALIDATE ? ask_all(&vcpu, request) : ask(&vcpu, request);
    return outcome == VCPU_CRASHED ? outcome : finish(guest, &vcpu, true, request);
}
