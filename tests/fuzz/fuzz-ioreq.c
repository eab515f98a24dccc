/*
 * ioreq pages: what Xen, or a guest that can reach the page, may leave in a vCPU's slot.
 *
 * Input: records of RECORD bytes, each a whole struct ioreq, issued one after the other to a bus
 * with two PCI functions whose BARs the requests themselves can move, a range of ports and guest
 * memory.  Checked: every ready request is answered, only data and state are written, and no
 * device or memory access leaves its range.
 *
 * Then the whole input once more, as a page of buffered requests.  Checked: they end, and so does a
 * ring whose indexes make no sense.
 */

#include <string.h>

#include "hw/pci.h"
#include "hw/shmem_registers.h"
#include "ioreq/buffered.h"
#include "ioreq/request.h"
#include "tests/fuzz/fuzz.h"

#define RECORD sizeof(struct ioreq)
#define FUNCTIONS 2
#define PORT 0x5000
#define PORTS 0x100
#define GUEST 0x100000
#define GUEST_SIZE 0x4000

/* So many items in all: a request of 4096 items costs as much as it may, but not every input. */
#define ITEMS_MAX 20000

static struct ioreq_bus *bus;
static uint8_t guest[GUEST_SIZE];

static bool claim(void *opaque, uint64_t first, uint64_t size, const struct ioreq_ops *ops,
                  void *device, GError **error)
{
    g_assert(first + size - 1 >= first);
    return ioreq_bus_add(bus, IOREQ_MEMORY, first, size, ops, device, error);
}

static void release(void *opaque, uint64_t first, uint64_t size)
{
    ioreq_bus_remove(bus, IOREQ_MEMORY, first);
}

static const struct pci_decoder decoder = { claim, release };

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    g_assert(size && offset + size <= PORTS);
    return UINT64_C(0xEEEEEEEEEEEEEEEE);
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    g_assert(size && offset + size <= PORTS && (value & ~ioreq_ones(size)) == 0);
}

static const struct ioreq_ops window_ops = { window_read, window_write };

static const struct pci_description description = {
    .vendor = 0x1AF4,
    .device = 0x1110,
    .class_code = 0x050000,
    .interrupt_pin = 1,
    .bars = { [0] = { SHMEM_REGISTERS_SIZE, &shmem_registers_ops }, [2] = { PORTS, &window_ops } },
};

static uint8_t *guest_memory(uint64_t address, size_t length)
{
    bool there = address >= GUEST && length <= GUEST_SIZE && address - GUEST <= GUEST_SIZE - length;
    return there ? guest + (address - GUEST) : NULL;
}

static bool memory_read(void *opaque, uint64_t address, void *buffer, size_t length)
{
    uint8_t *at = guest_memory(address, length);
    if (at)
        memcpy(buffer, at, length);
    return at != NULL;
}

static bool memory_write(void *opaque, uint64_t address, const void *buffer, size_t length)
{
    uint8_t *at = guest_memory(address, length);
    if (at)
        memcpy(at, buffer, length);
    return at != NULL;
}

static const struct ioreq_memory memory = { memory_read, memory_write, NULL };

/* Only the answer may differ between what was issued and what is in the slot now. */
static void check(const struct ioreq *issued, const struct ioreq *slot, enum ioreq_outcome outcome)
{
    struct ioreq expected = *issued;

    if (issued->state == STATE_IOREQ_READY) {
        g_assert(outcome != IOREQ_NOT_READY);
        expected.state = STATE_IORESP_READY;
        if (issued->dir == IOREQ_READ)
            expected.data = slot->data;
        if (issued->dir == IOREQ_READ && outcome == IOREQ_REFUSED)
            g_assert(slot->data == UINT64_MAX);
    } else {
        g_assert(outcome == IOREQ_NOT_READY);
    }
    g_assert(memcmp(&expected, slot, sizeof(expected)) == 0);
}

static uint32_t issue(const uint8_t *record)
{
    struct ioreq issued, slot, request;

    memcpy(&issued, record, RECORD);
    slot = issued;
    enum ioreq_outcome outcome = ioreq_serve(&slot, bus, &memory, &request);
    check(&issued, &slot, outcome);
    return outcome == IOREQ_DONE ? issued.count : 1;
}

static union {
    struct buffered_iopage ring;
    uint8_t bytes[4096];
} page __attribute__((aligned(4096)));

static void drain(const uint8_t *data, size_t size)
{
    struct ioreq request;
    unsigned turns = 0;

    memset(&page, 0, sizeof(page));
    memcpy(&page, data, MIN(size, sizeof(page)));
    for (;;) {
        enum ioreq_buffered_outcome outcome = ioreq_buffered_take(&page.ring, &request);
        if (outcome == IOREQ_BUFFERED_EMPTY)
            break;
        if (outcome == IOREQ_BUFFERED_TAKEN)
            ioreq_perform(&request, bus, &memory);
        g_assert(++turns <= IOREQ_BUFFERED_MAX);
    }
    g_assert(page.ring.read_pointer == page.ring.write_pointer);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init_log();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *whole = data;
    size_t whole_size = size;
    struct shmem_registers registers[FUNCTIONS] = { 0 };
    struct pci_function *functions[FUNCTIONS];
    uint64_t items = 0;

    bus = ioreq_bus_new();
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        functions[i] = pci_function_new(&description, &registers[i], &decoder, NULL);
        ioreq_bus_add(bus, IOREQ_PCI, (uint64_t)(i << 3) << 32, PCI_CONFIG_SIZE, &pci_config_ops,
                      functions[i], NULL);
    }
    ioreq_bus_add(bus, IOREQ_PORTS, PORT, PORTS, &window_ops, NULL, NULL);
    for (; size >= RECORD && items < ITEMS_MAX; data += RECORD, size -= RECORD)
        items += issue(data);
    drain(whole, whole_size);
    ioreq_bus_free(bus);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        pci_function_free(functions[i]);
    return 0;
}
