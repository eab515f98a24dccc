/* The ring of buffered requests, written as Xen writes it and as it would not. */

#include <string.h>
#include <glib.h>

#include "ioreq/buffered.h"

#define SLOTS IOREQ_BUFFER_SLOT_NUM

/* A page, and aligned as one. */
static union {
    struct buffered_iopage ring;
    uint8_t bytes[4096];
} page __attribute__((aligned(4096)));

static struct buffered_iopage *empty_ring(uint32_t index)
{
    memset(&page, 0, sizeof(page));
    page.ring.read_pointer = page.ring.write_pointer = index;
    return &page.ring;
}

/* As ioreq_send_buffered(). */
static void put(struct buffered_iopage *ring, uint8_t type, unsigned size, uint32_t address,
                uint64_t data)
{
    unsigned entries = size == 8 ? 2 : 1;
    for (unsigned i = 0; i < entries; i++) {
        ring->buf_ioreq[(ring->write_pointer + i) % SLOTS] =
            (struct buf_ioreq){ .type = type,
                                .dir = IOREQ_WRITE,
                                .size = g_bit_nth_lsf(size, -1),
                                .addr = address,
                                .data = data >> (32 * i) };
    }
    ring->write_pointer += entries;
}

static void expect(struct buffered_iopage *ring, uint8_t type, unsigned size, uint32_t address,
                   uint64_t data)
{
    struct ioreq request;
    g_assert_cmpint(ioreq_buffered_take(ring, &request), ==, IOREQ_BUFFERED_TAKEN);
    struct ioreq expected = {
        .type = type, .dir = IOREQ_WRITE, .size = size, .addr = address, .count = 1, .data = data
    };
    g_assert_cmpmem(&request, sizeof(request), &expected, sizeof(expected));
}

static void expect_empty(struct buffered_iopage *ring)
{
    struct ioreq request;
    g_assert_cmpint(ioreq_buffered_take(ring, &request), ==, IOREQ_BUFFERED_EMPTY);
    g_assert_cmpuint(ring->read_pointer, ==, ring->write_pointer);
}

static void test_sizes(void)
{
    struct buffered_iopage *ring = empty_ring(0);
    expect_empty(ring);
    put(ring, IOREQ_TYPE_COPY, 1, 0xA0001, 0x12);
    put(ring, IOREQ_TYPE_COPY, 2, 0xA0002, 0x1234);
    put(ring, IOREQ_TYPE_PIO, 4, 0x3C4, 0x12345678);
    put(ring, IOREQ_TYPE_COPY, 8, 0xFFFFF, 0x123456789ABCDEF0);
    put(ring, IOREQ_TYPE_TIMEOFFSET, 8, 0, UINT64_MAX);
    expect(ring, IOREQ_TYPE_COPY, 1, 0xA0001, 0x12);
    expect(ring, IOREQ_TYPE_COPY, 2, 0xA0002, 0x1234);
    expect(ring, IOREQ_TYPE_PIO, 4, 0x3C4, 0x12345678);
    expect(ring, IOREQ_TYPE_COPY, 8, 0xFFFFF, 0x123456789ABCDEF0);
    expect(ring, IOREQ_TYPE_TIMEOFFSET, 8, 0, UINT64_MAX);
    expect_empty(ring);
}

/* A full ring, from anywhere, with writes of 8 over its end. */
static void test_full(void)
{
    static const uint32_t starts[] = { 0, 1, 510, 511, 1000000, 0x7FFFFFFF };
    for (unsigned i = 0; i < G_N_ELEMENTS(starts); i++) {
        struct buffered_iopage *ring = empty_ring(starts[i]);
        put(ring, IOREQ_TYPE_COPY, 1, 1, 1);
        for (unsigned k = 0; k < 255; k++)
            put(ring, IOREQ_TYPE_COPY, 8, k, (uint64_t)k << 32 | ~k);
        g_assert_cmpuint(ring->write_pointer - ring->read_pointer, ==, SLOTS);
        expect(ring, IOREQ_TYPE_COPY, 1, 1, 1);
        for (unsigned k = 0; k < 255; k++)
            expect(ring, IOREQ_TYPE_COPY, 8, k, (uint64_t)k << 32 | ~k);
        expect_empty(ring);
    }
}

static void test_bad_indexes(void)
{
    static const uint32_t distances[] = { SLOTS + 1, 512, 0x10000, 0x80000000, UINT32_MAX };
    for (unsigned i = 0; i < G_N_ELEMENTS(distances); i++) {
        struct buffered_iopage *ring = empty_ring(77);
        struct ioreq request;
        ring->write_pointer += distances[i];
        g_assert_cmpint(ioreq_buffered_take(ring, &request), ==, IOREQ_BUFFERED_BAD);
        expect_empty(ring);
        put(ring, IOREQ_TYPE_COPY, 4, 0xB8000, 5);
        expect(ring, IOREQ_TYPE_COPY, 4, 0xB8000, 5);
    }
}

/* A write of 8 bytes of which the second half is not there. */
static void test_half(void)
{
    struct buffered_iopage *ring = empty_ring(3);
    struct ioreq request;
    put(ring, IOREQ_TYPE_COPY, 8, 0xB8000, 5);
    ring->write_pointer--;
    g_assert_cmpint(ioreq_buffered_take(ring, &request), ==, IOREQ_BUFFERED_BAD);
    expect_empty(ring);
}

/* Whatever is in the page: at most one turn per entry. */
static void test_random(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        struct buffered_iopage *ring = empty_ring(0);
        for (unsigned k = 0; k < 16; k++)
            ((uint32_t *)page.bytes)[k] = g_test_rand_int();
        if (g_test_rand_bit())
            ring->write_pointer = ring->read_pointer + g_test_rand_int_range(0, SLOTS + 2);
        uint32_t there = ring->write_pointer - ring->read_pointer;
        struct ioreq request;
        unsigned turns = 0;
        while (ioreq_buffered_take(ring, &request) != IOREQ_BUFFERED_EMPTY)
            g_assert_cmpuint(++turns, <=, there > SLOTS ? 1 : there);
        expect_empty(ring);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/buffered/sizes", test_sizes);
    g_test_add_func("/buffered/full", test_full);
    g_test_add_func("/buffered/bad-indexes", test_bad_indexes);
    g_test_add_func("/buffered/half", test_half);
    g_test_add_func("/buffered/random", test_random);
    return g_test_run();
}
