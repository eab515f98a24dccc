/* What Xen's instruction emulator makes of accesses: see processor.h. */

#include "tests/conformance/processor.h"

#include <string.h>

#include "tests/conformance/accesses.h"
#include "tests/sim/guest/vcpu.h"

/* An access is taken apart into requests of at most this, and of powers of 2. */
#define MAX_REQUEST 8

/* One that waits for an answer looks up this often whether it shall stop. */
#define LOOK_UP_MS 50

/* The elements of a string that are still to be done. */
struct string {
    const struct access *access;
    unsigned left;
    uint64_t memory; /* where the next one is: a port, or the address of emulated memory */
    uint64_t buffer; /* and the address of its place in BUFFER */
};

/* False if the guest does not go on: it crashed, or is to stop. */
static bool issue(struct processor *p, ioreq_t *request)
{
    enum vcpu_outcome outcome;
    do
        outcome = vcpu_issue(p->guest, 0, request, LOOK_UP_MS);
    while (outcome == VCPU_TIMEOUT && !g_atomic_int_get(&p->stop));
    return outcome == VCPU_ANSWERED || outcome == VCPU_UNCLAIMED;
}

/* One request for one element; VALUE has SIZE bytes to write, or gets them. */
static bool request_one(struct processor *p, uint8_t type, bool read, uint64_t address,
                        unsigned size, void *value)
{
    ioreq_t request = { .type = type, .addr = address, .size = size, .count = 1, .dir = read };
    if (!read)
        memcpy(&request.data, value, size);
    if (!issue(p, &request))
        return false;
    if (read)
        memcpy(value, &request.data, size);
    return true;
}

/* Inside a page: the largest power of 2 first. */
static bool access_page(struct processor *p, bool read, uint64_t address, unsigned size,
                        uint8_t *value)
{
    for (unsigned piece = MAX_REQUEST; size > 0; address += piece, value += piece, size -= piece) {
        while (piece > size)
            piece /= 2;
        if (!request_one(p, IOREQ_TYPE_COPY, read, address, piece, value))
            return false;
    }
    return true;
}

static bool access_memory(struct processor *p, bool read, uint64_t address, unsigned size,
                          uint8_t *value)
{
    unsigned here = MIN(size, GUEST_PAGE - address % GUEST_PAGE);
    return access_page(p, read, address, here, value) &&
           (here == size || access_page(p, read, address + here, size - here, value + here));
}

static bool is_port(const struct access *a)
{
    return a->kind == ACCESS_IN || a->kind == ACCESS_OUT || a->kind == ACCESS_INS ||
           a->kind == ACCESS_OUTS;
}

static bool is_read(const struct access *a)
{
    return a->kind == ACCESS_IN || a->kind == ACCESS_LOAD || a->kind == ACCESS_INS ||
           a->kind == ACCESS_LOADS;
}

static bool access_element(struct processor *p, const struct access *a, uint64_t address,
                           void *value)
{
    if (is_port(a))
        return request_one(p, IOREQ_TYPE_PIO, is_read(a), address, a->size, value);
    return access_memory(p, is_read(a), address, a->size, value);
}

/* --- strings --- */

/* How many elements are in the page of the first one's address. */
static unsigned elements_in_page(const struct access *a, uint64_t address, bool buffer)
{
    unsigned offset = address % GUEST_PAGE;
    /* With the direction flag, Xen counts a byte less if it is the page that holds the data. */
    unsigned below = buffer ? (offset + a->size - 1) % GUEST_PAGE : offset + a->size;
    return MAX(1, (a->down ? below : GUEST_PAGE - offset) / a->size);
}

/* Several elements in a request, with a pointer to the data or, for rep stos, with the data. */
static bool request_many(struct processor *p, const struct string *s, unsigned *count)
{
    const struct access *a = s->access;
    bool fill = a->kind == ACCESS_FILL;
    ioreq_t request = {
        .type = is_port(a) ? IOREQ_TYPE_PIO : IOREQ_TYPE_COPY,
        .addr = s->memory,
        .size = a->size,
        .dir = is_read(a),
        .df = a->down,
        .data_is_ptr = !fill,
        .data = s->buffer,
    };
    *count = s->left;
    if (!fill)
        *count = MIN(*count, elements_in_page(a, s->buffer, true));
    else
        request.data = access_value(a) & (UINT64_MAX >> (64 - 8 * a->size));
    if (!is_port(a) && *count > 1)
        *count = MIN(*count, elements_in_page(a, s->memory, false));
    request.count = *count;
    return issue(p, &request);
}

/* The last element comes as if there was no repetition. */
static bool last_element(struct processor *p, const struct string *s)
{
    uint64_t value = access_value(s->access);
    uint8_t *place = (uint8_t *)guest_memory(p->guest) + s->buffer;
    return access_element(p, s->access, s->memory,
                          s->access->kind == ACCESS_FILL ? (void *)&value : place);
}

static bool make_string(struct processor *p, const struct access *a)
{
    struct string s = { a, a->count, a->address, BUFFER + a->offset };
    int step = a->down ? -a->size : a->size;
    while (s.left > 0) {
        unsigned count = 1;
        bool goes_on = s.left == 1 ? last_element(p, &s) : request_many(p, &s, &count);
        if (!goes_on)
            return false;
        s.left -= count;
        s.buffer += step * (int)count;
        s.memory += is_port(a) ? 0 : step * (int)count;
    }
    return true;
}

/* --- the guest --- */

static bool make(struct processor *p, const struct access *a, uint32_t *first, uint32_t *last)
{
    uint8_t *buffer = (uint8_t *)guest_memory(p->guest) + BUFFER;
    uint8_t value[16] = { 0 };
    uint64_t plain = access_value(a);
    ioreq_t invalidate = { .type = IOREQ_TYPE_INVALIDATE };

    switch (a->kind) {
    case ACCESS_INVALIDATE:
        return issue(p, &invalidate);
    case ACCESS_OUT:
    case ACCESS_STORE:
        memcpy(value, &plain, sizeof(plain));
        return access_element(p, a, a->address, value);
    case ACCESS_IN:
    case ACCESS_LOAD:
        if (!access_element(p, a, a->address, value))
            return false;
        access_result(value, a->size, first, last);
        return true;
    default:
        access_prepare(a, buffer);
        if (!make_string(p, a))
            return false;
        access_string_result(a, buffer, first, last);
        return true;
    }
}

static bool out(struct processor *p, uint16_t port, uint32_t value)
{
    return request_one(p, IOREQ_TYPE_PIO, false, port, sizeof(value), &value);
}

void *processor_run(void *processor)
{
    struct processor *p = processor;
    uint32_t index, first, last;

    while (!g_atomic_int_get(&p->stop)) {
        if (!request_one(p, IOREQ_TYPE_PIO, true, SYNC_PORT, sizeof(index), &index))
            break;
        if (index >= ACCESSES) {
            g_usleep(1000);
            continue;
        }
        first = last = 0;
        if (!make(p, &accesses[index], &first, &last) || !out(p, RESULT_FIRST_PORT, first) ||
            !out(p, RESULT_LAST_PORT, last))
            break;
    }
    return NULL;
}

void processor_stop(struct processor *p)
{
    g_atomic_int_set(&p->stop, 1);
}
