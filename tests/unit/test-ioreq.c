/* Requests as Xen and hostile guests make them, on a bus with one device that remembers. */

#include <string.h>

#include "ioreq/request.h"

#define MMIO 0xF0000000
#define PORT 0x5000
#define DEVICE_SIZE 0x8000
#define CONFIG (UINT64_C(0x00F0) << 32) /* 00:1e.0 */
#define GUEST 0x100000
#define GUEST_SIZE 0x10000

struct world {
    struct ioreq_bus *bus;
    struct ioreq slot;
    struct ioreq request;
    struct ioreq_memory memory;
    uint8_t guest[GUEST_SIZE]; /* guest memory from GUEST */
    uint8_t device[DEVICE_SIZE];
    unsigned reads;
    unsigned writes;
    unsigned memory_calls;
    void (*on_access)(struct world *world); /* what the guest does meanwhile */
};

static void accessed(struct world *world, uint64_t offset, unsigned size)
{
    g_assert_true(size == 1 || size == 2 || size == 4 || size == 8);
    g_assert_cmpuint(offset + size, <=, DEVICE_SIZE);
    g_assert_cmpuint(world->slot.state, ==, STATE_IOREQ_INPROCESS);
    if (world->on_access)
        world->on_access(world);
}

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    struct world *world = opaque;
    uint64_t value = UINT64_C(0xEEEEEEEEEEEEEEEE); /* what a careless device leaves above */
    accessed(world, offset, size);
    world->reads++;
    memcpy(&value, world->device + offset, size);
    return value;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct world *world = opaque;
    accessed(world, offset, size);
    world->writes++;
    g_assert_cmphex(value & ~ioreq_ones(size), ==, 0);
    memcpy(world->device + offset, &value, size);
}

static const struct ioreq_ops device_ops = { device_read, device_write };

static uint8_t *guest_memory(struct world *world, uint64_t address, size_t length)
{
    world->memory_calls++;
    g_assert_cmpuint(length, <=, GUEST_SIZE);
    g_assert_cmphex(address, <=, UINT64_MAX - (length - 1));
    if (address < GUEST || address - GUEST > GUEST_SIZE - length)
        return NULL;
    return world->guest + (address - GUEST);
}

static bool memory_read(void *opaque, uint64_t address, void *buffer, size_t length)
{
    uint8_t *at = guest_memory(opaque, address, length);
    if (at)
        memcpy(buffer, at, length);
    return at != NULL;
}

static bool memory_write(void *opaque, uint64_t address, const void *buffer, size_t length)
{
    uint8_t *at = guest_memory(opaque, address, length);
    if (at)
        memcpy(at, buffer, length);
    return at != NULL;
}

static void add(struct world *world, enum ioreq_space space, uint64_t first, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    ioreq_bus_add(world->bus, space, first, size, &device_ops, world, &error);
    g_assert_no_error(error);
}

static void set_up(struct world *world, gconstpointer data)
{
    world->bus = ioreq_bus_new();
    world->memory = (struct ioreq_memory){ memory_read, memory_write, world };
    add(world, IOREQ_MEMORY, MMIO, DEVICE_SIZE);
    add(world, IOREQ_PORTS, PORT, 0x100);
    add(world, IOREQ_PCI, CONFIG, 256);
    for (unsigned i = 0; i < DEVICE_SIZE; i++)
        world->device[i] = i * 7 + i / 256;
    for (unsigned i = 0; i < GUEST_SIZE; i++)
        world->guest[i] = i * 13 + i / 256 + 1;
}

static void tear_down(struct world *world, gconstpointer data)
{
    ioreq_bus_free(world->bus);
}

static enum ioreq_outcome serve(struct world *world, struct ioreq request)
{
    world->slot = request;
    world->slot.state = STATE_IOREQ_READY;
    world->slot.vp_eport = 77;
    world->reads = world->writes = world->memory_calls = 0;
    enum ioreq_outcome outcome =
        ioreq_serve(&world->slot, world->bus, &world->memory, &world->request);
    g_assert_cmpuint(world->slot.state, ==, STATE_IORESP_READY);
    g_assert_cmpuint(world->slot.vp_eport, ==, 77);
    return outcome;
}

static struct ioreq access_to(uint8_t type, uint64_t address, uint32_t size, uint8_t dir)
{
    return (struct ioreq){ .type = type, .addr = address, .size = size, .dir = dir, .count = 1 };
}

static struct ioreq string_op(uint8_t type, uint64_t address, uint32_t size, uint8_t dir,
                              uint64_t data, uint32_t count, bool df)
{
    return (struct ioreq){ .type = type,
                           .addr = address,
                           .size = size,
                           .dir = dir,
                           .count = count,
                           .data = data,
                           .data_is_ptr = 1,
                           .df = df };
}

static uint64_t read_value(struct world *world, uint8_t type, uint64_t address, uint32_t size)
{
    struct ioreq request = access_to(type, address, size, IOREQ_READ);
    request.data = UINT64_C(0x5555555555555555);
    g_assert_cmpint(serve(world, request), ==, IOREQ_DONE);
    return world->slot.data;
}

static void write_value(struct world *world, uint8_t type, uint64_t address, uint32_t size,
                        uint64_t value)
{
    struct ioreq request = access_to(type, address, size, IOREQ_WRITE);
    request.data = value;
    g_assert_cmpint(serve(world, request), ==, IOREQ_DONE);
}

static void test_sizes(struct world *world, gconstpointer data)
{
    for (unsigned offset = 0; offset < 9; offset++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint64_t expected = 0;
            memcpy(&expected, world->device + offset, size);
            g_assert_cmphex(read_value(world, IOREQ_TYPE_COPY, MMIO + offset, size), ==, expected);
            g_assert_cmpuint(world->reads, ==, 1);

            uint8_t after = world->device[offset + size];
            write_value(world, IOREQ_TYPE_COPY, MMIO + offset, size, UINT64_C(0xF1E2D3C4B5A69788));
            g_assert_cmphex(read_value(world, IOREQ_TYPE_COPY, MMIO + offset, size), ==,
                            UINT64_C(0xF1E2D3C4B5A69788) & ioreq_ones(size));
            g_assert_cmphex(world->device[offset + size], ==, after);
        }
    }
    write_value(world, IOREQ_TYPE_PIO, PORT + 3, 2, 0xABCD1234);
    g_assert_cmphex(read_value(world, IOREQ_TYPE_PIO, PORT + 3, 2), ==, 0x1234);
}

/* Nobody answers: beside every range, across its ends, in another space. */
static void test_empty_bus(struct world *world, gconstpointer data)
{
    static const struct {
        uint8_t type;
        uint64_t address;
        uint32_t size;
    } nowhere[] = {
        { IOREQ_TYPE_COPY, MMIO - 1, 1 },
        { IOREQ_TYPE_COPY, MMIO - 1, 2 },
        { IOREQ_TYPE_COPY, MMIO + DEVICE_SIZE, 4 },
        { IOREQ_TYPE_COPY, MMIO + DEVICE_SIZE - 4, 8 },
        { IOREQ_TYPE_COPY, MMIO + DEVICE_SIZE - 1, 2 },
        { IOREQ_TYPE_COPY, PORT, 4 },
        { IOREQ_TYPE_COPY, 0, 8 },
        { IOREQ_TYPE_COPY, UINT64_MAX, 1 },
        { IOREQ_TYPE_COPY, UINT64_MAX - 7, 8 },
        { IOREQ_TYPE_PIO, MMIO, 4 },
        { IOREQ_TYPE_PIO, PORT + 0xFD, 4 },
        { IOREQ_TYPE_PIO, PORT + 0x10000, 4 },
        { IOREQ_TYPE_PCI_CONFIG, CONFIG + 0xFF, 4 },
        { IOREQ_TYPE_PCI_CONFIG, CONFIG + 0xFF, 2 },
        { IOREQ_TYPE_PCI_CONFIG, CONFIG + 0x100, 4 },
        { IOREQ_TYPE_PCI_CONFIG, CONFIG + (UINT64_C(1) << 32), 4 },
        { IOREQ_TYPE_PCI_CONFIG, CONFIG + (UINT64_C(1) << 48), 4 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(nowhere); i++) {
        uint32_t size = nowhere[i].size;
        g_assert_cmphex(read_value(world, nowhere[i].type, nowhere[i].address, size), ==,
                        ioreq_ones(size));
        g_assert_cmpuint(world->reads, ==, 0);
        write_value(world, nowhere[i].type, nowhere[i].address, size, 0);
        g_assert_cmpuint(world->writes, ==, 0);
    }
    g_assert_cmphex(read_value(world, IOREQ_TYPE_PCI_CONFIG, CONFIG + 0xFC, 4), !=, 0xFFFFFFFF);
    g_assert_cmpuint(world->reads, ==, 1);
}

/* Both directions: refused, answered, and the device hears nothing. */
static void check_refused(struct world *world, struct ioreq request)
{
    request.dir = IOREQ_READ;
    g_assert_cmpint(serve(world, request), ==, IOREQ_REFUSED);
    g_assert_cmphex(world->slot.data, ==, UINT64_MAX);
    request.dir = IOREQ_WRITE;
    g_assert_cmpint(serve(world, request), ==, IOREQ_REFUSED);
    g_assert_cmpuint(world->reads + world->writes + world->memory_calls, ==, 0);
}

static void test_bad_sizes(struct world *world, gconstpointer data)
{
    static const uint32_t sizes[] = { 0, 3, 5, 6, 7, 9, 16, 0x101, 0x80000004, UINT32_MAX };
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        check_refused(world, access_to(IOREQ_TYPE_COPY, MMIO, sizes[i], 0));
        check_refused(world, access_to(IOREQ_TYPE_PIO, PORT, sizes[i], 0));
        check_refused(world, access_to(IOREQ_TYPE_PCI_CONFIG, CONFIG, sizes[i], 0));
        check_refused(world, string_op(IOREQ_TYPE_COPY, MMIO, sizes[i], 0, GUEST, 2, false));
    }
    check_refused(world, access_to(IOREQ_TYPE_PIO, PORT, 8, 0));
    check_refused(world, access_to(IOREQ_TYPE_PCI_CONFIG, CONFIG, 8, 0));
}

static void test_bad_counts(struct world *world, gconstpointer data)
{
    static const uint32_t counts[] = { 0, IOREQ_MAX_COUNT + 1, 0x20000001, UINT32_MAX };
    for (unsigned i = 0; i < G_N_ELEMENTS(counts); i++) {
        struct ioreq plain = access_to(IOREQ_TYPE_COPY, MMIO, 4, 0);
        plain.count = counts[i];
        check_refused(world, plain);
        check_refused(world, string_op(IOREQ_TYPE_COPY, MMIO, 8, 0, GUEST, counts[i], false));
        check_refused(world, string_op(IOREQ_TYPE_PIO, PORT, 1, 0, GUEST, counts[i], true));
    }
}

static void test_wrapping(struct world *world, gconstpointer data)
{
    const uint64_t top = UINT64_MAX;
    check_refused(world, access_to(IOREQ_TYPE_COPY, top, 2, 0));
    check_refused(world, access_to(IOREQ_TYPE_COPY, top - 6, 8, 0));
    check_refused(world, access_to(IOREQ_TYPE_PIO, top, 4, 0));
    check_refused(world, string_op(IOREQ_TYPE_COPY, top - 14, 8, 0, GUEST, 2, false));
    check_refused(world, string_op(IOREQ_TYPE_COPY, 7, 8, 0, GUEST + 64, 2, true));
    check_refused(world, string_op(IOREQ_TYPE_COPY, MMIO, 8, 0, top - 14, 2, false));
    check_refused(world, string_op(IOREQ_TYPE_COPY, MMIO + 64, 8, 0, 7, 2, true));
    check_refused(world, string_op(IOREQ_TYPE_PIO, PORT, 4, 0, top - 2, 1, true));

    /* Just inside: nobody is there, but nothing is wrong either. */
    g_assert_cmpint(serve(world, string_op(IOREQ_TYPE_COPY, top - 15, 8, 1, top - 15, 2, false)),
                    ==, IOREQ_DONE);
    g_assert_cmpint(serve(world, string_op(IOREQ_TYPE_COPY, 8, 8, 1, 8, 2, true)), ==, IOREQ_DONE);
}

static void test_states(struct world *world, gconstpointer data)
{
    for (unsigned state = 0; state < 16; state++) {
        if (state == STATE_IOREQ_READY)
            continue;
        struct ioreq before = access_to(IOREQ_TYPE_COPY, MMIO, 4, IOREQ_WRITE);
        before.state = state;
        world->slot = before;
        g_assert_cmpint(ioreq_serve(&world->slot, world->bus, &world->memory, &world->request), ==,
                        IOREQ_NOT_READY);
        g_assert_cmpmem(&world->slot, sizeof(world->slot), &before, sizeof(before));
    }
    g_assert_cmpuint(world->writes, ==, 0);
}

/* Only data, and that only for a read, and the state change. */
static void test_written_back(struct world *world, gconstpointer data)
{
    for (unsigned dir = 0; dir < 2; dir++) {
        struct ioreq before = access_to(IOREQ_TYPE_COPY, MMIO, 4, dir);
        before.data = 0x1122334455667788;
        before.df = 1;
        before._pad0 = 0xBEEF;
        before._pad1 = 1;
        serve(world, before);
        struct ioreq expected = before;
        expected.vp_eport = 77;
        expected.state = STATE_IORESP_READY;
        if (dir == IOREQ_READ)
            expected.data = 0x55667788; /* as written in the first turn */
        g_assert_cmpmem(&world->slot, sizeof(world->slot), &expected, sizeof(expected));
    }
}

static void test_string_read(struct world *world, gconstpointer data)
{
    /* Upwards, across a page of guest memory. */
    serve(world, string_op(IOREQ_TYPE_COPY, MMIO + 16, 4, IOREQ_READ, GUEST + 4090, 8, false));
    g_assert_cmpmem(world->guest + 4090, 32, world->device + 16, 32);
    g_assert_cmpuint(world->reads, ==, 8);
    g_assert_cmpuint(world->memory_calls, ==, 1);
    g_assert_cmphex(world->guest[4089], ==, (uint8_t)(4089 * 13 + 15 + 1));
    g_assert_cmphex(world->guest[4122], ==, (uint8_t)(4122 * 13 + 16 + 1));

    /* Downwards, the first item being the highest. */
    serve(world, string_op(IOREQ_TYPE_COPY, MMIO + 128, 2, IOREQ_READ, GUEST + 512, 5, true));
    g_assert_cmpmem(world->guest + 512 - 8, 10, world->device + 128 - 8, 10);

    /* A port stays where it is. */
    serve(world, string_op(IOREQ_TYPE_PIO, PORT + 2, 2, IOREQ_READ, GUEST, 3, false));
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpmem(world->guest + 2 * i, 2, world->device + 2, 2);
}

static void test_string_write(struct world *world, gconstpointer data)
{
    serve(world, string_op(IOREQ_TYPE_COPY, MMIO, 8, IOREQ_WRITE, GUEST + 8190, 3, false));
    g_assert_cmpmem(world->device, 24, world->guest + 8190, 24);

    serve(world, string_op(IOREQ_TYPE_COPY, MMIO + 64, 1, IOREQ_WRITE, GUEST + 99, 33, true));
    g_assert_cmpmem(world->device + 32, 33, world->guest + 99 - 32, 33);

    /* The last item, which is the lowest one here, is what a port keeps. */
    serve(world, string_op(IOREQ_TYPE_PIO, PORT, 4, IOREQ_WRITE, GUEST + 40, 4, true));
    g_assert_cmpuint(world->writes, ==, 4);
    g_assert_cmpmem(world->device, 4, world->guest + 28, 4);

    /* rep stos: the same value all along. */
    struct ioreq fill = access_to(IOREQ_TYPE_COPY, MMIO, 2, IOREQ_WRITE);
    fill.count = 3;
    fill.data = 0xBBAA;
    serve(world, fill);
    static const uint8_t expected[6] = { 0xAA, 0xBB, 0xAA, 0xBB, 0xAA, 0xBB };
    g_assert_cmpmem(world->device, 6, expected, 6);
}

/* The longest string there is, in both directions: several batches, with nothing lost between. */
static void test_string_longest(struct world *world, gconstpointer data)
{
    const uint32_t count = IOREQ_MAX_COUNT;
    for (unsigned df = 0; df < 2; df++) {
        uint64_t last = df ? 8 * (count - 1) : 0;
        memset(world->guest, 0, sizeof(world->guest));
        g_assert_cmpint(serve(world, string_op(IOREQ_TYPE_COPY, MMIO + last, 8, IOREQ_READ,
                                               GUEST + 3 + last, count, df)),
                        ==, IOREQ_DONE);
        g_assert_cmpuint(world->reads, ==, count);
        g_assert_cmpmem(world->guest + 3, DEVICE_SIZE, world->device, DEVICE_SIZE);
        g_assert_cmphex(world->guest[2], ==, 0);
        g_assert_cmphex(world->guest[3 + DEVICE_SIZE], ==, 0);

        memset(world->device, 0, sizeof(world->device));
        serve(world,
              string_op(IOREQ_TYPE_COPY, MMIO + last, 8, IOREQ_WRITE, GUEST + 3 + last, count, df));
        g_assert_cmpmem(world->device, DEVICE_SIZE, world->guest + 3, DEVICE_SIZE);
    }
}

/* Data where the guest has no memory: nothing is written to the device. */
static void test_string_without_memory(struct world *world, gconstpointer data)
{
    static const uint64_t holes[] = { 0, GUEST - 1, GUEST + GUEST_SIZE - 4, MMIO };
    for (unsigned i = 0; i < G_N_ELEMENTS(holes); i++) {
        g_assert_cmpint(
            serve(world, string_op(IOREQ_TYPE_COPY, MMIO, 4, IOREQ_WRITE, holes[i], 2, false)), ==,
            IOREQ_DONE);
        g_assert_cmpuint(world->writes, ==, 0);
        g_assert_cmpint(
            serve(world, string_op(IOREQ_TYPE_COPY, MMIO, 4, IOREQ_READ, holes[i], 2, false)), ==,
            IOREQ_DONE);
    }
}

static void scribble(struct world *world)
{
    uint8_t state = world->slot.state;
    memset(&world->slot, 0xFF, offsetof(struct ioreq, vp_eport));
    world->slot.dir = !world->slot.dir;
    world->slot.data_is_ptr = !world->slot.data_is_ptr;
    world->slot.df = 1;
    world->slot.type = 99;
    world->slot.state = state;
}

/* What is in the page after the request was taken is of no interest. */
static void test_changing_page(struct world *world, gconstpointer data)
{
    world->on_access = scribble;
    g_assert_cmpint(serve(world, access_to(IOREQ_TYPE_COPY, MMIO, 4, IOREQ_READ)), ==, IOREQ_DONE);
    g_assert_cmphex(world->slot.data, ==, 0x150E0700);
    g_assert_cmpuint(world->request.size, ==, 4);

    g_assert_cmpint(serve(world, string_op(IOREQ_TYPE_COPY, MMIO, 4, IOREQ_WRITE, GUEST, 5, false)),
                    ==, IOREQ_DONE);
    g_assert_cmpuint(world->writes, ==, 5);
    g_assert_cmpmem(world->device, 20, world->guest, 20);
    /* Nor is it overwritten, unless it is the answer. */
    g_assert_cmphex(world->slot.data, ==, UINT64_MAX);
}

static void unplug(struct world *world)
{
    if (world->reads == 2)
        ioreq_bus_remove(world->bus, IOREQ_MEMORY, MMIO);
}

static void test_range_vanishes(struct world *world, gconstpointer data)
{
    world->on_access = unplug;
    serve(world, string_op(IOREQ_TYPE_COPY, MMIO, 1, IOREQ_READ, GUEST, 6, false));
    static const uint8_t expected[6] = { 0x00, 0x07, 0x0E, 0xFF, 0xFF, 0xFF };
    g_assert_cmpmem(world->guest, 6, expected, 6);
}

static void test_broadcasts(struct world *world, gconstpointer data)
{
    struct ioreq request = { .type = IOREQ_TYPE_INVALIDATE, .size = 4, .data = UINT64_MAX };
    g_assert_cmpint(serve(world, request), ==, IOREQ_DONE);
    request = (struct ioreq){ .type = IOREQ_TYPE_TIMEOFFSET, .size = 8, .count = 1 };
    g_assert_cmpint(serve(world, request), ==, IOREQ_DONE);
    g_assert_cmpuint(world->reads + world->writes + world->memory_calls, ==, 0);
}

static void test_unknown_types(struct world *world, gconstpointer data)
{
    for (unsigned type = 0; type < 256; type++) {
        if (type > IOREQ_TYPE_PCI_CONFIG && type != IOREQ_TYPE_TIMEOFFSET &&
            type != IOREQ_TYPE_INVALIDATE)
            check_refused(world, access_to(type, MMIO, 4, 0));
    }
}

static void test_bus(struct world *world, gconstpointer data)
{
    static const uint64_t taken[][2] = {
        { MMIO, DEVICE_SIZE }, { MMIO - 1, 2 },          { MMIO + DEVICE_SIZE - 1, 1 },
        { MMIO + 5, 1 },       { 0, UINT64_C(1) << 40 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(taken); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(ioreq_bus_add(world->bus, IOREQ_MEMORY, taken[i][0], taken[i][1],
                                     &device_ops, world, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST);
    }
    add(world, IOREQ_MEMORY, MMIO - 16, 16);
    add(world, IOREQ_MEMORY, MMIO + DEVICE_SIZE, 16);
    add(world, IOREQ_MEMORY, UINT64_MAX, 1);
    /* Neighbours do not make one range of two, neither here nor in Xen. */
    g_assert_cmphex(read_value(world, IOREQ_TYPE_COPY, MMIO - 2, 4), ==, 0xFFFFFFFF);

    ioreq_bus_remove(world->bus, IOREQ_MEMORY, MMIO);
    g_assert_cmphex(read_value(world, IOREQ_TYPE_COPY, MMIO, 4), ==, 0xFFFFFFFF);
    g_assert_cmphex(read_value(world, IOREQ_TYPE_PIO, PORT, 4), ==, 0x150E0700);
    g_assert_cmphex(read_value(world, IOREQ_TYPE_COPY, MMIO + DEVICE_SIZE, 4), ==, 0x150E0700);
}

static uint64_t random_address(void)
{
    static const uint64_t near[] = { 0,
                                     MMIO,
                                     MMIO + DEVICE_SIZE,
                                     PORT,
                                     PORT + 0x100,
                                     CONFIG,
                                     CONFIG + 0x100,
                                     GUEST,
                                     GUEST + GUEST_SIZE };
    uint64_t base = near[g_test_rand_int_range(0, G_N_ELEMENTS(near))];
    int32_t off = g_test_rand_int_range(-40000, 40000);
    return base + (g_test_rand_bit() ? off : off % 16);
}

/* Whatever is asked: an answer, bounded work, and only accesses inside the ranges. */
static void test_random(struct world *world, gconstpointer data)
{
    for (unsigned i = 0; i < 200000; i++) {
        struct ioreq request = {
            .addr = random_address(),
            .data = random_address(),
            .count = g_test_rand_int_range(0, 12),
            .size = 1u << g_test_rand_int_range(0, 5),
            .data_is_ptr = g_test_rand_bit(),
            .dir = g_test_rand_bit(),
            .df = g_test_rand_bit(),
            .type = g_test_rand_int_range(0, 10),
        };
        if (g_test_rand_int_range(0, 100) == 0)
            request.count = g_test_rand_int_range(1, IOREQ_MAX_COUNT + 2);
        if (g_test_rand_int_range(0, 10) == 0)
            request.count = g_test_rand_int();
        if (g_test_rand_int_range(0, 10) == 0)
            request.size = g_test_rand_int();
        enum ioreq_outcome outcome = serve(world, request);
        g_assert_cmpint(outcome, !=, IOREQ_NOT_READY);
        g_assert_cmpuint(world->reads + world->writes, <=,
                         outcome == IOREQ_DONE ? request.count : 0);
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *path;
        void (*test)(struct world *world, gconstpointer data);
    } tests[] = {
        { "/ioreq/sizes", test_sizes },
        { "/ioreq/empty-bus", test_empty_bus },
        { "/ioreq/bad-sizes", test_bad_sizes },
        { "/ioreq/bad-counts", test_bad_counts },
        { "/ioreq/wrapping", test_wrapping },
        { "/ioreq/states", test_states },
        { "/ioreq/written-back", test_written_back },
        { "/ioreq/string-read", test_string_read },
        { "/ioreq/string-write", test_string_write },
        { "/ioreq/string-longest", test_string_longest },
        { "/ioreq/string-without-memory", test_string_without_memory },
        { "/ioreq/changing-page", test_changing_page },
        { "/ioreq/range-vanishes", test_range_vanishes },
        { "/ioreq/broadcasts", test_broadcasts },
        { "/ioreq/unknown-types", test_unknown_types },
        { "/ioreq/bus", test_bus },
        { "/ioreq/random", test_random },
    };
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++)
        g_test_add(tests[i].path, struct world, NULL, set_up, tests[i].test, tear_down);
    return g_test_run();
}
