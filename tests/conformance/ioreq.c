/* Which ioreq server a guest's access reaches, and as what: see conformance.h. */

#include "tests/conformance/conformance.h"

#include <stdlib.h>
#include <xenstore.h>

#include "tests/conformance/emulator.h"

#define PORTS_END (PORTS + 0xF)

static void set_enabled(struct emulator *e, bool enabled)
{
    if (xendevicemodel_set_ioreq_server_state(host.dm, host.domid, e->id, enabled) < 0)
        give_up("enabling or disabling %c", e->letter);
}

static void give_up_ports(struct emulator *e, uint64_t first, uint64_t last)
{
    if (xendevicemodel_unmap_io_range_from_ioreq_server(host.dm, host.domid, e->id, 0, first,
                                                        last) < 0)
        give_up("unmapping ports of %c", e->letter);
}

static void heading(const char *what)
{
    observe("--- %s", what);
}

static void sizes(void)
{
    struct emulator *a = emulator_new('A');
    emulator_claim_ports(a, PORTS, PORTS_END);
    emulator_claim_memory(a, MEMORY, MEMORY + 0x1FFF);
    heading("ports of A");
    guest_makes(STEP_SIZES);
    heading("the edges of A's ports");
    guest_makes(STEP_EDGES);
    heading("strings");
    guest_makes(STEP_STRINGS);
    heading("strings over a page's end");
    guest_makes(STEP_LONG_STRINGS);
    heading("memory of A");
    guest_makes(STEP_MEMORY);
    heading("strings over the end of a page of A's memory");
    guest_makes(STEP_MEMORY_PAGES);
    emulator_destroy(a);
}

static void memory_ranges(void)
{
    struct emulator *a = emulator_new('A');
    emulator_claim_memory(a, MEMORY + 0x10, MEMORY + 0x15);
    emulator_claim_memory(a, MEMORY + 0xF00, MEMORY + 0xFFF);
    heading("the edges of A's memory");
    guest_makes(STEP_MEMORY_EDGES);
    emulator_destroy(a);

    a = emulator_new('A');
    emulator_claim_memory(a, MEMORY, MEMORY + 0x1F);
    heading("strings in A's memory");
    guest_makes(STEP_MEMORY_STRINGS);
    emulator_destroy(a);
}

static void unclaimed(void)
{
    heading("nobody has it");
    guest_makes(STEP_UNCLAIMED);
}

static void neighbours(void)
{
    struct emulator *a = emulator_new('A'), *b = emulator_new('B');
    emulator_claim_ports(a, PORTS, PORTS + 0xF);
    emulator_claim_ports(a, PORTS + 0x10, PORTS + 0x1F);
    heading("over the end of A's range into another of A's");
    guest_makes(STEP_JOINT);
    give_up_ports(a, PORTS + 0x10, PORTS + 0x1F);
    emulator_claim_ports(b, PORTS + 0x10, PORTS + 0x1F);
    heading("over the end of A's range into B's");
    guest_makes(STEP_JOINT);
    emulator_claim_ports(b, PORTS + 2, PORTS + 3);
    heading("B's two ports inside A's range");
    guest_makes(STEP_PARTIAL);
    emulator_destroy(b);
    emulator_destroy(a);
}

static void overlap(void)
{
    struct emulator *a = emulator_new('A'), *b = emulator_new('B');
    emulator_claim_ports(b, PORTS, PORTS_END);
    emulator_claim_ports(a, PORTS, PORTS_END);
    heading("A and B overlap: A was created first, B got its range first");
    guest_makes(STEP_PROBE);
    set_enabled(b, false);
    heading("B is disabled");
    guest_makes(STEP_PROBE);
    set_enabled(b, true);
    heading("B is enabled again");
    guest_makes(STEP_PROBE);

    ioservid_t old = a->id;
    emulator_destroy(a);
    struct emulator *c = emulator_new('C');
    emulator_claim_ports(c, PORTS, PORTS_END);
    heading("A is destroyed, then C is created");
    observe("C has A's id: %s", yes(c->id == old));
    guest_makes(STEP_PROBE);
    struct emulator *d = emulator_new('D');
    emulator_claim_ports(d, PORTS, PORTS_END);
    heading("D is created");
    guest_makes(STEP_PROBE);
    emulator_destroy(d);
    emulator_destroy(b);
    heading("D and B are destroyed, enabled as they were");
    guest_makes(STEP_PROBE);
    give_up_ports(c, PORTS, PORTS + 3);
    heading("C gives up the ports");
    guest_makes(STEP_PROBE);
    emulator_destroy(c);
}

static void pci(void)
{
    struct emulator *a = emulator_new('A'), *b = emulator_new('B'), *c = emulator_new('C');
    emulator_claim_pci(a, 0, 0);
    emulator_claim_pci(b, 0, 1);
    emulator_claim_pci(c, 1, 0);
    heading("PCI function 0 is A's");
    guest_makes(STEP_PCI);
    heading("PCI function 1 is B's, bus 1 is C's");
    guest_makes(STEP_PCI_FUNCTIONS);
    heading("configuration cycles are off");
    guest_makes(STEP_PCI_DISABLED);
    emulator_claim_ports(c, CF8, CFC + 3);
    heading("the ports too are C's: configuration cycles are off");
    guest_makes(STEP_PCI_DISABLED);
    heading("the ports too are C's: configuration cycles are on");
    guest_makes(STEP_PCI_FUNCTIONS);
    emulator_destroy(c);
    emulator_destroy(b);
    emulator_destroy(a);
}

static void invalidation(void)
{
    struct emulator *a = emulator_new('A'), *b = emulator_new('B'), *c = emulator_new('C');
    set_enabled(c, false);
    heading("to everybody, C is disabled");
    guest_makes(STEP_INVALIDATE);
    observe("invalidations: A %u, B %u, C %u", a->invalidations, b->invalidations,
            c->invalidations);
    emulator_destroy(c);
    emulator_destroy(b);
    emulator_destroy(a);
}

/* --- a request in flight --- */

/* A gets a request and does not answer. */
static struct emulator *hold_one(const char *what)
{
    struct emulator *a = emulator_new('A');
    emulator_claim_ports(a, PORTS, PORTS_END);
    a->hold = true;
    heading(what);
    guest_makes(STEP_PROBE);
    return a;
}

static void answers(void)
{
    struct emulator *a = hold_one("a slow answer");
    xenevtchn_notify(host.evtchn, a->port);
    guest_waits("an event without an answer");
    emulator_set_state(a, STATE_IOREQ_INPROCESS, false);
    guest_waits("in process");
    a->slots[0].data = 0x11112222;
    emulator_set_state(a, STATE_IORESP_READY, false);
    guest_waits("an answer without an event");
    xenevtchn_notify(host.evtchn, a->port);
    guest_goes_on("the event");
    emulator_destroy(a);

    a = hold_one("in process, told to Xen");
    emulator_set_state(a, STATE_IOREQ_INPROCESS, true);
    guest_waits("in process");
    emulator_set_state(a, STATE_IOREQ_READY, true);
    guest_waits("ready again");
    emulator_answer(a);
    guest_goes_on("answered");
    emulator_destroy(a);

    a = hold_one("an answer wider than the request");
    a->slots[0].data = UINT64_C(0x8877665544332211);
    emulator_set_state(a, STATE_IORESP_READY, true);
    guest_goes_on("answered");
    emulator_destroy(a);

    a = hold_one("the request is made to vanish");
    a->slots[0].data = 0x33334444;
    emulator_set_state(a, STATE_IOREQ_NONE, true);
    guest_goes_on("vanished");
    emulator_destroy(a);
}

static void in_flight(void)
{
    struct emulator *a = hold_one("the range goes while a request is in flight");
    give_up_ports(a, PORTS, PORTS_END);
    guest_waits("unmapped");
    emulator_answer(a);
    guest_goes_on("answered");
    emulator_destroy(a);

    a = hold_one("the server is disabled while a request is in flight");
    set_enabled(a, false);
    guest_waits("disabled");
    emulator_answer(a);
    guest_goes_on("answered");
    emulator_destroy(a);

    a = hold_one("the emulator goes and comes back while a request is in flight");
    evtchn_port_t port = a->slots[0].vp_eport;
    emulator_detach(a);
    guest_waits("gone");
    emulator_attach(a);
    observe("the same port: %s", yes(a->slots[0].vp_eport == port));
    observe("the request is still there: %s", yes(a->slots[0].state == STATE_IOREQ_READY));
    emulator_answer(a);
    guest_goes_on("answered");
    emulator_destroy(a);
}

/* --- the guest's end --- */

/* xenstored tells when a domain crashes, as when it goes in any other way. */
static struct xs_handle *watch_domains(void)
{
    struct xs_handle *store = xs_open(0);
    unsigned count;
    if (!store || !xs_watch(store, "@releaseDomain", ""))
        give_up("watching @releaseDomain");
    free(xs_read_watch(store, &count)); /* the one that a new watch gives */
    return store;
}

static void observe_crash(struct xs_handle *store)
{
    observe("the domain crashes: %s", yes(readable(xs_fileno(store), PATIENCE_MS / 2)));
    guest_waits("after that");
    xs_close(store);
}

static void bad_state(void)
{
    struct emulator *a = hold_one("a state that there is not");
    struct xs_handle *store = watch_domains();
    emulator_set_state(a, STATE_IORESP_READY + 1, true);
    observe_crash(store);
}

/* The guest will access A's ports, but A has spoilt its slot. */
static struct emulator *spoil(const char *what)
{
    struct emulator *a = emulator_new('A');
    emulator_claim_ports(a, PORTS, PORTS_END);
    heading(what);
    return a;
}

void ioreq_busy_area(unsigned domid)
{
    host_open(domid);
    struct emulator *a = spoil("the slot is in use when a request comes");
    struct xs_handle *store = watch_domains();
    a->slots[0].state = STATE_IOREQ_INPROCESS;
    guest_starts(STEP_PROBE);
    observe_crash(store);
}

void ioreq_port_area(unsigned domid)
{
    host_open(domid);
    struct emulator *a = spoil("the slot's port is another when a request comes");
    struct xs_handle *store = watch_domains();
    a->slots[0].vp_eport++;
    guest_starts(STEP_PROBE);
    observe_crash(store);
}

void ioreq_area(unsigned domid)
{
    host_open(domid);
    ioreq_calls();
    unclaimed();
    sizes();
    memory_ranges();
    neighbours();
    overlap();
    pci();
    invalidation();
    answers();
    in_flight();
    bad_state();
}

/* The server is destroyed before it has answered; the guest waits for ever. */
void ioreq_orphan_area(unsigned domid)
{
    host_open(domid);
    struct emulator *a = hold_one("the server is destroyed while a request is in flight");
    emulator_destroy(a);
    guest_waits("destroyed");
    struct emulator *b = emulator_new('B');
    emulator_claim_ports(b, PORTS, PORTS_END);
    guest_waits("another server has the ports");
}
