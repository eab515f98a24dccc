/* Emulators that print what they are asked: see emulator.h. */

#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_* */
#include "tests/conformance/emulator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/memory.h>

#include "tests/conformance/conformance.h"

#define PAGE 4096
#define MAX_EMULATORS 8

struct host host;

static struct emulator *emulators[MAX_EMULATORS];
static struct emulator *control;
static uint8_t *buffer; /* the guest's BUFFER */

/* The conversation with the guest. */
static bool guest_asks, guest_done;
static uint32_t result_first, result_last;
static const struct access *access;

/* --- servers --- */

void emulator_attach(struct emulator *e)
{
    void *page = NULL;
    e->resource = xenforeignmemory_map_resource(
        host.memory, host.domid, XENMEM_resource_ioreq_server, e->id,
        XENMEM_resource_ioreq_server_frame_ioreq(0), 1, &page, PROT_READ | PROT_WRITE, 0);
    if (!e->resource)
        give_up("mapping an ioreq server's page");
    e->slots = page;
    if (xendevicemodel_set_ioreq_server_state(host.dm, host.domid, e->id, 1) < 0)
        give_up("enabling an ioreq server");
    int port = xenevtchn_bind_interdomain(host.evtchn, host.domid, e->slots[0].vp_eport);
    if (port < 0)
        give_up("binding the port of an ioreq server");
    e->port = port;
}

void emulator_detach(struct emulator *e)
{
    xenevtchn_unbind(host.evtchn, e->port);
    xenforeignmemory_unmap_resource(host.memory, e->resource);
    e->port = 0;
}

struct emulator *emulator_new(char letter)
{
    struct emulator *e = calloc(1, sizeof(*e));
    unsigned place = 0;
    e->letter = letter;
    if (xendevicemodel_create_ioreq_server(host.dm, host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &e->id) <
        0)
        give_up("creating ioreq server %c", letter);
    emulator_attach(e);
    while (emulators[place])
        place++;
    emulators[place] = e;
    return e;
}

void emulator_destroy(struct emulator *e)
{
    for (unsigned i = 0; i < MAX_EMULATORS; i++) {
        if (emulators[i] == e)
            emulators[i] = NULL;
    }
    emulator_detach(e);
    xendevicemodel_destroy_ioreq_server(host.dm, host.domid, e->id);
    free(e);
}

static void claim(struct emulator *e, bool memory, uint64_t first, uint64_t last)
{
    if (xendevicemodel_map_io_range_to_ioreq_server(host.dm, host.domid, e->id, memory, first,
                                                    last) < 0)
        give_up("claiming 0x%" PRIx64 " for %c", first, e->letter);
}

void emulator_claim_ports(struct emulator *e, uint64_t first, uint64_t last)
{
    claim(e, false, first, last);
}

void emulator_claim_memory(struct emulator *e, uint64_t first, uint64_t last)
{
    claim(e, true, first, last);
}

void emulator_claim_pci(struct emulator *e, unsigned bus, unsigned function)
{
    if (xendevicemodel_map_pcidev_to_ioreq_server(host.dm, host.domid, e->id, 0, bus, CONFIG_DEVICE,
                                                  function) < 0)
        give_up("claiming a PCI function for %c", e->letter);
}

/* --- requests --- */

void emulator_set_state(struct emulator *e, unsigned state, bool notify)
{
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the data are there before the state says so */
    e->slots[0].state = state;
    if (notify)
        xenevtchn_notify(host.evtchn, e->port);
}

/* The element of that number, in the guest's buffer; NULL if it is not wholly in there. */
static uint8_t *element(const struct ioreq *request, unsigned number)
{
    int64_t step = request->df ? -(int64_t)request->size : request->size;
    uint64_t offset = request->data + number * step - BUFFER;
    return offset <= BUFFER_PAGES * PAGE - request->size ? buffer + offset : NULL;
}

static uint64_t bytes(struct emulator *e, unsigned number, unsigned size)
{
    uint64_t value;
    memset(&value, 0xA0 + ((e->letter - 'A') << 4 | (number & 0xF)), sizeof(value));
    return size < 8 ? value & ((UINT64_C(1) << 8 * size) - 1) : value;
}

static void finish(struct emulator *e, const struct ioreq *request)
{
    if (request->type != IOREQ_TYPE_INVALIDATE && request->dir == IOREQ_READ) {
        if (!request->data_is_ptr)
            e->slots[0].data = bytes(e, 0, request->size);
        for (unsigned i = 0; request->data_is_ptr && i < request->count; i++) {
            uint64_t value = bytes(e, i, request->size);
            uint8_t *place = element(request, i);
            if (place)
                memcpy(place, &value, request->size);
        }
    }
    emulator_set_state(e, STATE_IORESP_READY, true);
}

void emulator_answer(struct emulator *e)
{
    struct ioreq request = *(struct ioreq *)&e->slots[0];
    e->hold = e->holding = false;
    finish(e, &request);
}

static uint64_t element_value(const struct ioreq *request, unsigned number)
{
    uint64_t value = 0;
    uint8_t *place = element(request, number);
    if (place)
        memcpy(&value, place, request->size);
    return value;
}

static void print(struct emulator *e, const struct ioreq *request)
{
    static const char *const types[] = {
        [IOREQ_TYPE_PIO] = "port",
        [IOREQ_TYPE_COPY] = "memory",
        [IOREQ_TYPE_PCI_CONFIG] = "PCI",
    };
    char data[96] = "";
    bool write = request->dir == IOREQ_WRITE;
    if (request->data_is_ptr && write)
        snprintf(data, sizeof(data), ", data at buffer+%" PRId64 ": 0x%" PRIx64 "...0x%" PRIx64,
                 request->data - BUFFER, element_value(request, 0),
                 element_value(request, request->count - 1));
    else if (request->data_is_ptr)
        snprintf(data, sizeof(data), ", data at buffer+%" PRId64, request->data - BUFFER);
    else if (write)
        snprintf(data, sizeof(data), ", data 0x%" PRIx64, request->data);
    observe("  %c: %s %s, address 0x%" PRIx64 ", size %u, count %u%s%s", e->letter,
            request->type < 3 ? types[request->type] : "other", write ? "write" : "read",
            request->addr, request->size, request->count, request->df ? ", down" : "", data);
}

/* What the guest does at the control ports. */
static void converse(struct emulator *e, const struct ioreq *request)
{
    if (request->type != IOREQ_TYPE_PIO) {
        finish(e, request);
    } else if (request->addr == SYNC_PORT) {
        guest_asks = true; /* it waits until we know what it shall do */
    } else {
        if (request->addr == RESULT_FIRST_PORT)
            result_first = request->data;
        else
            result_last = request->data;
        guest_done = request->addr == RESULT_LAST_PORT;
        finish(e, request);
    }
}

static void look(struct emulator *e)
{
    if (e->slots[0].state != STATE_IOREQ_READY || e->holding)
        return;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    struct ioreq request = *(struct ioreq *)&e->slots[0];
    if (e == control) {
        converse(e, &request);
    } else if (request.type == IOREQ_TYPE_INVALIDATE) {
        e->invalidations++;
        finish(e, &request);
    } else {
        print(e, &request);
        e->holding = e->hold;
        if (!e->holding)
            finish(e, &request);
    }
}

/* Serves what comes with the next event; false if none comes. */
static bool serve(int timeout_ms)
{
    if (!readable(xenevtchn_fd(host.evtchn), timeout_ms))
        return false;
    xenevtchn_port_or_error_t port = xenevtchn_pending(host.evtchn);
    xenevtchn_unmask(host.evtchn, port);
    for (unsigned i = 0; i < MAX_EMULATORS; i++) {
        if (emulators[i] && emulators[i]->port == (evtchn_port_t)port)
            look(emulators[i]);
    }
    return true;
}

/* --- the guest --- */

static bool somebody_holds(void)
{
    for (unsigned i = 0; i < MAX_EMULATORS; i++) {
        if (emulators[i] && emulators[i]->holding)
            return true;
    }
    return false;
}

static void print_access(void)
{
    static const char *const names[] = {
        [ACCESS_IN] = "in",
        [ACCESS_OUT] = "out",
        [ACCESS_INS] = "rep ins",
        [ACCESS_OUTS] = "rep outs",
        [ACCESS_LOAD] = "load",
        [ACCESS_STORE] = "store",
        [ACCESS_LOADS] = "rep movs from",
        [ACCESS_STORES] = "rep movs to",
        [ACCESS_FILL] = "rep stos",
        [ACCESS_INVALIDATE] = "decrease_reservation",
    };
    char value[32] = "", count[32] = "";
    if (access->value)
        snprintf(value, sizeof(value), ", value 0x%x", access->value);
    if (access->count != 1)
        snprintf(count, sizeof(count), ", count %u", access->count);
    if (access->kind == ACCESS_INVALIDATE)
        observe("guest: %s", names[access->kind]);
    else
        observe("guest: %s 0x%x, size %u%s%s%s", names[access->kind], access->address, access->size,
                value, count, access->down ? ", down" : "");
}

static void print_result(void)
{
    switch (access->kind) {
    case ACCESS_IN:
    case ACCESS_LOAD:
    case ACCESS_INS:
    case ACCESS_LOADS:
        if (access->size * access->count > 4)
            observe("  guest got 0x%x...0x%x", result_first, result_last);
        else
            observe("  guest got 0x%x", result_first);
        break;
    default:
        break;
    }
}

static void start(unsigned index)
{
    access = &accesses[index];
    print_access();
    guest_asks = guest_done = false;
    control->slots[0].data = index;
    emulator_set_state(control, STATE_IORESP_READY, true);
}

/* Until it is done, or somebody holds a request. */
static void wait_for_guest(void)
{
    while (!somebody_holds() && !(guest_done && guest_asks)) {
        if (!serve(PATIENCE_MS))
            give_up("the guest is silent");
    }
    if (guest_done)
        print_result();
}

void guest_makes(enum access_step step)
{
    for (unsigned i = 0; i < ACCESSES; i++) {
        if (accesses[i].step == step) {
            start(i);
            wait_for_guest();
        }
    }
}

void guest_starts(enum access_step step)
{
    unsigned i = 0;
    while (accesses[i].step != step)
        i++;
    start(i);
}

static void see_if_it_goes_on(const char *after, int patience_ms)
{
    while (!(guest_done && guest_asks) && serve(patience_ms))
        ;
    observe("%s: guest %s", after, guest_done ? "goes on" : "waits");
    if (guest_done)
        print_result();
}

void guest_goes_on(const char *after)
{
    see_if_it_goes_on(after, PATIENCE_MS);
}

void guest_waits(const char *after)
{
    see_if_it_goes_on(after, QUIET_MS);
}

void host_open(unsigned domid)
{
    host.domid = domid;
    host.dm = xendevicemodel_open(NULL, 0);
    host.memory = xenforeignmemory_open(NULL, 0);
    host.evtchn = xenevtchn_open(NULL, 0);
    if (!host.dm || !host.memory || !host.evtchn)
        give_up("opening the libraries");

    xen_pfn_t frames[BUFFER_PAGES];
    for (unsigned i = 0; i < BUFFER_PAGES; i++)
        frames[i] = BUFFER / PAGE + i;
    buffer = xenforeignmemory_map(host.memory, domid, PROT_READ | PROT_WRITE, BUFFER_PAGES, frames,
                                  NULL);
    if (!buffer)
        give_up("mapping the guest's memory");

    control = emulator_new(' ');
    emulator_claim_ports(control, SYNC_PORT, CONTROL_PORTS_END);
    while (!guest_asks) {
        if (!serve(PATIENCE_MS))
            give_up("the guest does not ask what to do");
    }
}
