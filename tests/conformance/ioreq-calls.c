/* Device-model operations for which the guest does nothing: see conformance.h. */

#define __XEN_TOOLS__ 1 /* HVM_IOREQSRV_*, HVMMEM_* */
#include "tests/conformance/conformance.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <xen/memory.h>

#include "tests/conformance/emulator.h"

#define MAX_RANGES 256
#define MAX_SERVERS 8
#define BAD_ID 100

/* --- making them --- */

static const char *create(unsigned domid, int buffered, ioservid_t *id)
{
    return outcome(xendevicemodel_create_ioreq_server(host.dm, domid, buffered, id));
}

static const char *destroy(ioservid_t id)
{
    return outcome(xendevicemodel_destroy_ioreq_server(host.dm, host.domid, id));
}

static const char *set_state(ioservid_t id, int enabled)
{
    return outcome(xendevicemodel_set_ioreq_server_state(host.dm, host.domid, id, enabled));
}

/* How asking went, and whether there is a port for buffered requests. */
static void observe_info(const char *when, ioservid_t id)
{
    evtchn_port_t port = 0;
    int result = xendevicemodel_get_ioreq_server_info(host.dm, host.domid, id, NULL, NULL, &port);
    observe("info: %s: %s, port for buffered requests: %s", when, outcome(result), yes(port));
}

static void observe_frame(const char *what, ioservid_t id, unsigned long frame, unsigned count)
{
    void *page = NULL;
    xenforeignmemory_resource_handle *resource =
        xenforeignmemory_map_resource(host.memory, host.domid, XENMEM_resource_ioreq_server, id,
                                      frame, count, &page, PROT_READ | PROT_WRITE, 0);
    observe("resource: %s: %s", what, outcome_pointer(resource));
    if (resource)
        xenforeignmemory_unmap_resource(host.memory, resource);
}

static void observe_size(const char *what, ioservid_t id)
{
    size_t size = 0;
    int result = xenforeignmemory_resource_size(host.memory, host.domid,
                                                XENMEM_resource_ioreq_server, id, &size);
    observe("resource: size %s: %s, %zu", what, outcome(result), size);
}

static void creation(void)
{
    unsigned vcpus = 0;
    ioservid_t id, buffered;
    int result = xendevicemodel_nr_vcpus(host.dm, host.domid, &vcpus);
    observe("vcpus: %s, %u", outcome(result), vcpus);
    observe("vcpus: of a domain that is not there: %s",
            outcome(xendevicemodel_nr_vcpus(host.dm, NO_DOMAIN, &vcpus)));
    observe("create: for a domain that is not there: %s",
            create(NO_DOMAIN, HVM_IOREQSRV_BUFIOREQ_OFF, &id));
    observe("create: for a PV domain: %s", create(0, HVM_IOREQSRV_BUFIOREQ_OFF, &id));
    observe("create: with a bad kind of buffering: %s",
            create(host.domid, HVM_IOREQSRV_BUFIOREQ_ATOMIC + 1, &id));
    observe("create: %s", create(host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id));
    observe("create: with buffering: %s",
            create(host.domid, HVM_IOREQSRV_BUFIOREQ_ATOMIC, &buffered));
    observe("create: another id: %s", yes(id != buffered));
    observe_info("before enabling", id);
    observe_info("before enabling, with buffering", buffered);
    observe_info("bad id", BAD_ID);
    observe_size("without buffering", id);
    observe_size("with buffering", buffered);
    observe_size("bad id", BAD_ID);
    observe_frame("buffered requests without buffering", id,
                  XENMEM_resource_ioreq_server_frame_bufioreq, 1);
    observe_frame("buffered requests", buffered, XENMEM_resource_ioreq_server_frame_bufioreq, 1);
    observe_frame("requests", id, XENMEM_resource_ioreq_server_frame_ioreq(0), 1);
    observe_frame("a second page of requests", id, XENMEM_resource_ioreq_server_frame_ioreq(1), 1);
    observe_frame("both pages", buffered, 0, 2);
    observe_frame("bad id", BAD_ID, XENMEM_resource_ioreq_server_frame_ioreq(0), 1);
    observe("enable: %s", set_state(id, 1));
    observe("enable: again: %s", set_state(id, 1));
    observe("enable: with buffering: %s", set_state(buffered, 1));
    observe_info("enabled", id);
    observe_info("enabled, with buffering", buffered);
    observe("enable: bad id: %s", set_state(BAD_ID, 1));
    observe("disable: %s", set_state(id, 0));
    observe("disable: again: %s", set_state(id, 0));
    observe("destroy: %s", destroy(id));
    observe("destroy: again: %s", destroy(id));
    observe("destroy: an enabled one: %s", destroy(buffered));
    observe("destroy: bad id: %s", destroy(BAD_ID));
    observe_info("destroyed", id);
}

/* The port of each vCPU is in the page once the server is enabled; and what the pages hold. */
static void pages(void)
{
    ioservid_t id;
    void *page = NULL;
    create(host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id);
    xenforeignmemory_resource_handle *resource = xenforeignmemory_map_resource(
        host.memory, host.domid, XENMEM_resource_ioreq_server, id,
        XENMEM_resource_ioreq_server_frame_ioreq(0), 1, &page, PROT_READ | PROT_WRITE, 0);
    volatile struct ioreq *slots = page;
    if (!resource)
        give_up("mapping the page of requests");
    observe("page: ports before enabling: %s %s", yes(slots[0].vp_eport), yes(slots[1].vp_eport));
    set_state(id, 1);
    observe("page: ports when enabled: %s %s, the same: %s", yes(slots[0].vp_eport),
            yes(slots[1].vp_eport), yes(slots[0].vp_eport == slots[1].vp_eport));
    observe("page: port of a vCPU that is not: %s", yes(slots[2].vp_eport));
    observe("page: state: %u %u", slots[0].state, slots[1].state);
    evtchn_port_t before = slots[0].vp_eport;
    set_state(id, 0);
    observe("page: port when disabled: %s", yes(slots[0].vp_eport == before));
    set_state(id, 1);
    observe("page: enabled again: the same port: %s", yes(slots[0].vp_eport == before));
    int port = xenevtchn_bind_interdomain(host.evtchn, host.domid, before);
    observe("page: bind: %s", outcome(port));
    observe("page: bind twice: %s",
            outcome(xenevtchn_bind_interdomain(host.evtchn, host.domid, before)));
    destroy(id);
    observe("page: destroyed: port: %s", yes(slots[0].vp_eport == before));
    observe("page: destroyed: notify: %s", outcome(xenevtchn_notify(host.evtchn, port)));
    xenevtchn_unbind(host.evtchn, port);
    xenforeignmemory_unmap_resource(host.memory, resource);
}

static void many_servers(void)
{
    ioservid_t ids[MAX_SERVERS + 1], again;
    unsigned count = 1; /* the one that leads the guest */
    while (count <= MAX_SERVERS &&
           xendevicemodel_create_ioreq_server(host.dm, host.domid, HVM_IOREQSRV_BUFIOREQ_OFF,
                                              &ids[count]) == 0)
        count++;
    observe("many: created: %u, the next: %s", count, outcome(-1));
    bool rising = true;
    for (unsigned i = 2; i < count; i++)
        rising = rising && ids[i] == ids[i - 1] + 1;
    observe("many: ids rise by one: %s", yes(rising));
    destroy(ids[3]);
    destroy(ids[2]);
    create(host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &again);
    observe("many: 3 and 2 are destroyed: the next is: %s", again == ids[2]   ? "2"
                                                            : again == ids[3] ? "3"
                                                                              : "another");
    destroy(again);
    for (unsigned i = 1; i < count; i++) {
        if (i != 2 && i != 3)
            destroy(ids[i]);
    }
}

/* --- ranges --- */

static const char *map(ioservid_t id, bool memory, uint64_t first, uint64_t last)
{
    return outcome(
        xendevicemodel_map_io_range_to_ioreq_server(host.dm, host.domid, id, memory, first, last));
}

static const char *unmap(ioservid_t id, bool memory, uint64_t first, uint64_t last)
{
    return outcome(xendevicemodel_unmap_io_range_from_ioreq_server(host.dm, host.domid, id, memory,
                                                                   first, last));
}

static const char *map_pci(ioservid_t id, unsigned segment, unsigned bus, unsigned device)
{
    return outcome(xendevicemodel_map_pcidev_to_ioreq_server(host.dm, host.domid, id, segment, bus,
                                                             device, 0));
}

static const char *unmap_pci(ioservid_t id, unsigned device)
{
    return outcome(
        xendevicemodel_unmap_pcidev_from_ioreq_server(host.dm, host.domid, id, 0, 0, device, 0));
}

static void ranges(void)
{
    ioservid_t id, other;
    create(host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id);
    create(host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &other);
    observe("map: %s", map(id, false, 0x100, 0x10F));
    observe("map: the same: %s", map(id, false, 0x100, 0x10F));
    observe("map: over its end: %s", map(id, false, 0x10F, 0x11F));
    observe("map: inside it: %s", map(id, false, 0x104, 0x104));
    observe("map: around it: %s", map(id, false, 0, 0xFFFF));
    observe("map: the same as memory: %s", map(id, true, 0x100, 0x10F));
    observe("map: the same by another server: %s", map(other, false, 0x100, 0x10F));
    observe("map: next to it: %s", map(id, false, 0x110, 0x11F));
    observe("map: from end to start: %s", map(id, false, 0x20F, 0x200));
    observe("map: ports over 0xFFFF: %s", map(id, false, 0x10000, 0x1FFFF));
    observe("map: all memory: %s", map(other, true, 0, UINT64_MAX));
    observe("map: bad id: %s", map(BAD_ID, false, 0x100, 0x10F));
    observe("unmap: over both: %s", unmap(id, false, 0x108, 0x117));
    observe("unmap: what is gone: %s", unmap(id, false, 0x108, 0x117));
    observe("unmap: what is partly gone: %s", unmap(id, false, 0x100, 0x10F));
    observe("unmap: what is left of the first: %s", unmap(id, false, 0x100, 0x107));
    observe("unmap: what is left of the second: %s", unmap(id, false, 0x118, 0x11F));
    observe("unmap: what never was: %s", unmap(id, false, 0x300, 0x30F));
    observe("unmap: from end to start: %s", unmap(id, true, 0x10F, 0x100));
    observe("unmap: bad id: %s", unmap(BAD_ID, false, 0x100, 0x10F));

    observe("pci: map: %s", map_pci(id, 0, 0, 5));
    observe("pci: map: again: %s", map_pci(id, 0, 0, 5));
    observe("pci: map: another segment: %s", map_pci(id, 1, 0, 5));
    observe("pci: map: another bus: %s", map_pci(id, 0, 1, 5));
    observe("pci: map: by another server: %s", map_pci(other, 0, 0, 5));
    observe("pci: unmap: %s", unmap_pci(id, 5));
    observe("pci: unmap: again: %s", unmap_pci(id, 5));
    set_state(id, 1);
    observe("map: on an enabled server: %s", map(id, false, 0x400, 0x40F));
    destroy(other);
    destroy(id);
}

/* How many ranges fit, of one port each and GAP apart, and what the next gives. */
static void limits(const char *what, unsigned gap, unsigned most)
{
    ioservid_t id;
    unsigned count = 0;
    create(host.domid, HVM_IOREQSRV_BUFIOREQ_OFF, &id);
    while (count < most && xendevicemodel_map_io_range_to_ioreq_server(
                               host.dm, host.domid, id, 0, gap * count, gap * count) == 0)
        count++;
    observe("limit: ranges %s: %u%s%s", what, count, count < most ? ", the next: " : "",
            count < most ? outcome(-1) : "");
    if (count == MAX_RANGES) {
        observe("limit: memory is counted by itself: %s", map(id, true, 0, 0));
        observe("limit: an unmap: %s", unmap(id, false, 0, 0));
        observe("limit: a range after that: %s", map(id, false, 0x8000, 0x8002));
        observe("limit: unmap that leaves two pieces: %s", unmap(id, false, 0x8001, 0x8001));
    }
    destroy(id);
}

/* --- the types of memory --- */

static const char *set_mem_type(hvmmem_type_t type, uint64_t first, uint32_t count)
{
    return outcome(xendevicemodel_set_mem_type(host.dm, host.domid, type, first, count));
}

static void memory_types(void)
{
    const uint64_t ram = (BUFFER >> 12) + BUFFER_PAGES;
    observe("mem_type: read-only: %s", set_mem_type(HVMMEM_ram_ro, ram, 2));
    observe("mem_type: and back: %s", set_mem_type(HVMMEM_ram_rw, ram, 2));
    observe("mem_type: no pages: %s", set_mem_type(HVMMEM_ram_rw, ram, 0));
    observe("mem_type: a type that is not: %s", set_mem_type(HVMMEM_ioreq_server + 1, ram, 1));
    observe("mem_type: the type that is not used: %s", set_mem_type(HVMMEM_unused, ram, 1));
    observe("mem_type: beyond all memory: %s",
            set_mem_type(HVMMEM_ram_rw, UINT64_C(0x7FFFFFFFFF), 1));
    observe("mem_type: for a domain that is not there: %s",
            outcome(xendevicemodel_set_mem_type(host.dm, NO_DOMAIN, HVMMEM_ram_rw, ram, 1)));
}

/* --- the rest --- */

static const char *set_intx(unsigned bus, unsigned device, unsigned pin, unsigned level)
{
    return outcome(
        xendevicemodel_set_pci_intx_level(host.dm, host.domid, 0, bus, device, pin, level));
}

static void interrupts(void)
{
    observe("intx: bus 1: %s", set_intx(1, 5, 0, 1));
    observe("intx: device 32: %s", set_intx(0, 32, 0, 1));
    observe("intx: pin 4: %s", set_intx(0, 5, 4, 1));
    observe("intx: level 2: %s", set_intx(0, 5, 0, 2));
    observe("isa: irq 16: %s",
            outcome(xendevicemodel_set_isa_irq_level(host.dm, host.domid, 16, 1)));
    observe("isa: level 2: %s",
            outcome(xendevicemodel_set_isa_irq_level(host.dm, host.domid, 5, 2)));
    observe("link: link 4: %s",
            outcome(xendevicemodel_set_pci_link_route(host.dm, host.domid, 4, 5)));
    observe("link: irq 16: %s",
            outcome(xendevicemodel_set_pci_link_route(host.dm, host.domid, 0, 16)));
}

static void restriction(void)
{
    unsigned vcpus;
    xendevicemodel_handle *dm = xendevicemodel_open(NULL, 0);
    observe("restrict: %s", outcome(xendevicemodel_restrict(dm, host.domid)));
    observe("restrict: again: %s", outcome(xendevicemodel_restrict(dm, host.domid)));
    observe("restrict: to another: %s", outcome(xendevicemodel_restrict(dm, NO_DOMAIN)));
    observe("restrict: that domain: %s", outcome(xendevicemodel_nr_vcpus(dm, host.domid, &vcpus)));
    observe("restrict: another: %s", outcome(xendevicemodel_nr_vcpus(dm, NO_DOMAIN, &vcpus)));
    xendevicemodel_close(dm);
}

void ioreq_calls(void)
{
    creation();
    pages();
    many_servers();
    ranges();
    limits("with gaps", 2, 300);
    limits("without gaps", 1, 300);
    memory_types();
    interrupts();
    restriction();
}
