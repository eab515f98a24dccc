/*
 * ioreq pages: what Xen, or a guest that can reach the page, may leave in a vCPU's slot.
 *
 * Input: records of RECORD bytes, each a whole struct ioreq, issued one after the other to a bus
 * with two PCI functions that have everything and one without capabilities, whose BARs the requests
 * themselves can move, a range of ports and guest memory.  A write to a function's own window
 * raises its interrupts.  Checked: every ready request is answered, only data and state are
 * written, no device or memory access leaves its range, claims are possible places that never
 * overlap, and interrupts go only where the guest said.
 *
 * Then the whole input once more, as a page of buffered requests.  Checked: they end, and so does a
 * ring whose indexes make no sense.
 */

#include <string.h>

#include "hw/pci_internal.h" /* pci_msix_ops, pci_may_mask() */
#include "hw/shmem_registers.h"
#include "ioreq/buffered.h"
#include "ioreq/request.h"
#include "tests/fuzz/fuzz.h"

#define RECORD sizeof(struct ioreq)
#define FUNCTIONS 3
#define PORT 0x5000
#define PORTS 0x100
#define PORTS_LAST 0xFFFF
#define MEMORY_SIZE (UINT64_C(8) << 30)
#define VECTORS 8
#define TABLE 0x800
#define GUEST 0x100000
#define GUEST_SIZE 0x4000

/* So many items in all: a request of 4096 items costs as much as it may, but not every input. */
#define ITEMS_MAX 20000

static struct ioreq_bus *bus;
static uint8_t guest[GUEST_SIZE];

struct device {
    struct shmem_registers registers; /* first: the BARs' ops get this */
    struct pci_function *function;
    uint64_t placed; /* where its memory is; 0 for nowhere */
    bool line;
};

static struct device devices[FUNCTIONS];
static struct pci_bus pci;

/* Nothing that is claimed is where the memory of a function is; its own moves away. */
static void check_place(const struct device *own, uint64_t first, uint64_t size,
                        uint64_t last_of_space)
{
    g_assert(first && (first & (size - 1)) == 0 && first + (size - 1) <= last_of_space);
    for (unsigned i = 0; i < FUNCTIONS && last_of_space != PORTS_LAST; i++) {
        uint64_t placed = devices[i].placed;
        g_assert(!placed || &devices[i] == own || first > placed + (MEMORY_SIZE - 1) ||
                 first + (size - 1) < placed);
    }
}

static bool claim(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size,
                  const struct ioreq_ops *ops, void *device, GError **error)
{
    check_place(NULL, first, size, space == IOREQ_PORTS ? PORTS_LAST : UINT32_MAX);
    return ioreq_bus_add(bus, space, first, size, ops, device, error);
}

static void release(void *opaque, enum ioreq_space space, uint64_t first, uint64_t size)
{
    ioreq_bus_remove(bus, space, first);
}

static const struct pci_decoder decoder = { claim, release };

/* Above 1 TiB there is no room, so that placing fails, too. */
static bool place(void *opaque, uint64_t first, GError **error)
{
    struct device *device = opaque;
    g_assert(device->placed != first);
    check_place(device, first, MEMORY_SIZE, UINT64_MAX - 1);
    if (first >> 40) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC, "no");
        return false;
    }
    device->placed = first;
    return true;
}

static void withdraw(void *opaque)
{
    struct device *device = opaque;
    g_assert(device->placed);
    device->placed = 0;
}

static const struct pci_memory placed_memory = { place, withdraw };

static void set_intx(void *opaque, unsigned slot, unsigned pin, bool level)
{
    g_assert(slot < FUNCTIONS && pin == 0 && devices[slot].line != level);
    devices[slot].line = level;
}

/* The words that the guest wrote are somewhere in a table, or in a capability. */
static bool was_programmed(struct pci_function *function, uint64_t address, uint32_t data)
{
    unsigned msi = pci_function_capability(function, PCI_CAPABILITY_MSI, 0);
    if (!msi)
        return false;
    uint64_t low = pci_config_ops.read(function, msi + 4, 4);
    uint64_t high = pci_config_ops.read(function, msi + 8, 4);
    uint32_t message = pci_config_ops.read(function, msi + 12, 2);
    if (address == (high << 32 | low) && (data & ~3u) == (message & ~3u) &&
        pci_config_ops.read(function, msi + 2, 1) & 1)
        return true;
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        uint64_t entry = TABLE + 16 * vector;
        bool masked = pci_msix_ops.read(function, entry + 12, 1) && pci_may_mask(address, data);
        if (pci_msix_ops.read(function, entry, 8) == address && !masked &&
            pci_msix_ops.read(function, entry + 8, 4) == data)
            return true;
    }
    return false;
}

static void inject_msi(void *opaque, uint64_t address, uint32_t data)
{
    bool programmed = false;
    g_assert((uint32_t)address >> 20 == 0xFEE);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        programmed |= was_programmed(devices[i].function, address, data);
    g_assert(programmed);
}

static const struct pci_interrupts interrupts = { set_intx, inject_msi };

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    g_assert(size && offset + size <= PORTS);
    return UINT64_C(0xEEEEEEEEEEEEEEEE);
}

static void window_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct device *device = opaque;
    g_assert(size && offset + size <= PORTS && (value & ~ioreq_ones(size)) == 0);
    if (!device) /* the range of ports */
        return;
    pci_function_raise(device->function, value & 0xFF);
    pci_function_set_intx(device->function, value & 0x100);
    pci_function_set_status(device->function, value >> 16);
}

static const struct ioreq_ops window_ops = { window_read, window_write };

/* What is around the table, and the ROM. */
static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
    g_assert(size && offset + size <= 4096);
    return 0;
}

static void table_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    g_assert(size && offset + size <= 4096);
}

static const struct ioreq_ops table_ops = { table_read, table_write };

static const struct pci_description description = {
    .name = "fuzz",
    .vendor = 0x1AF4,
    .device = 0x1110,
    .class_code = 0x050000,
    .interrupt_pin = 1,
    .bars[0] = { .size = SHMEM_REGISTERS_SIZE, .ops = &shmem_registers_ops },
    .bars[1] = { .size = PORTS, .ops = &window_ops, .type = PCI_BAR_IO },
    .bars[2] = { .size = MEMORY_SIZE,
                 .memory = &placed_memory,
                 .type = PCI_BAR_MEMORY64,
                 .prefetchable = true },
    .bars[4] = { .size = 4096, .ops = &table_ops },
    .rom = { .size = 2048, .ops = &table_ops },
    .power_management = true,
    .msi = { .vectors = 4, .masking = true },
    .msix = { .vectors = VECTORS, .bar = 4, .table = TABLE, .pba = 0xC00 },
    .vendor_bytes = { { 2, (const uint8_t[]){ 1, 2 } } },
};

static const struct pci_description bare = {
    .bars[0] = { .size = SHMEM_REGISTERS_SIZE, .ops = &shmem_registers_ops },
    .bars[1] = { .size = PORTS, .ops = &window_ops, .type = PCI_BAR_IO },
};

static const struct pci_description *const descriptions[FUNCTIONS] = { &description, &description,
                                                                       &bare };

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
    uint64_t items = 0;

    bus = ioreq_bus_new();
    memset(devices, 0, sizeof(devices));
    pci = (struct pci_bus){ &decoder, &interrupts, NULL, NULL };
    for (unsigned i = 0; i < FUNCTIONS; i++) {
        devices[i].function = pci_function_new(&pci, i, descriptions[i], &devices[i]);
        ioreq_bus_add(bus, IOREQ_PCI, (uint64_t)(i << 3) << 32, PCI_CONFIG_SIZE, &pci_config_ops,
                      devices[i].function, NULL);
    }
    ioreq_bus_add(bus, IOREQ_PORTS, PORT, PORTS, &window_ops, NULL, NULL);
    for (; size >= RECORD && items < ITEMS_MAX; data += RECORD, size -= RECORD)
        items += issue(data);
    drain(whole, whole_size);
    ioreq_bus_free(bus);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        pci_function_free(devices[i].function);
    for (unsigned i = 0; i < FUNCTIONS; i++)
        g_assert(!devices[i].line);
    return 0;
}
