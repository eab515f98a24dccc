/*
 * The memory that a queue's data passes through.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <glib.h>
#include <string.h>

#include "pvbackends/disk/pool.h"

static void test_whole_chunks(void)
{
    struct disk_pool pool = { 0 };
    struct disk_buffer buffer = { 0 };
    g_assert_true(disk_pool_open(&pool, NULL));

    for (unsigned pages = 0; pages <= DISK_SEGMENTS_MAX; pages++) {
        g_assert_true(disk_pool_take(&pool, &buffer, pages));
        g_assert_cmpuint(buffer.nr_chunks * DISK_CHUNK_PAGES, >=, pages);
        g_assert_cmpuint(buffer.nr_chunks * DISK_CHUNK_PAGES, <, pages + DISK_CHUNK_PAGES);
        g_assert_cmpuint(pool.nr_free + buffer.nr_chunks, ==, DISK_POOL_CHUNKS);
        for (unsigned i = 0; i < buffer.nr_chunks; i++)
            g_assert_cmpuint((uintptr_t)buffer.chunks[i].iov_base % XEN_PAGE_SIZE, ==, 0);
        disk_pool_put(&pool, &buffer);
        g_assert_cmpuint(pool.nr_free, ==, DISK_POOL_CHUNKS);
    }
    disk_pool_close(&pool);
}

/* All of it, no byte twice; then no more; and what is given back can be had again. */
static void test_exhausted(void)
{
    struct disk_pool pool = { 0 };
    g_autofree struct disk_buffer *buffers = g_new0(struct disk_buffer, DISK_POOL_CHUNKS);
    struct disk_buffer more = { 0 };
    g_assert_true(disk_pool_open(&pool, NULL));

    for (unsigned i = 0; i < DISK_POOL_CHUNKS; i++) {
        g_assert_true(disk_pool_take(&pool, &buffers[i], 1));
        memset(buffers[i].chunks[0].iov_base, i, DISK_CHUNK_SIZE);
    }
    g_assert_false(disk_pool_take(&pool, &more, 1));
    g_assert_cmpuint(more.nr_chunks, ==, 0);
    g_assert_true(disk_pool_take(&pool, &more, 0)); /* a flush needs nothing */
    for (unsigned i = 0; i < DISK_POOL_CHUNKS; i++) {
        const uint8_t *data = buffers[i].chunks[0].iov_base;
        g_assert_cmpuint(data[0], ==, (uint8_t)i);
        g_assert_cmpmem(data, DISK_CHUNK_SIZE - 1, data + 1, DISK_CHUNK_SIZE - 1);
    }
    disk_pool_put(&pool, &buffers[7]);
    g_assert_false(disk_pool_take(&pool, &more, DISK_CHUNK_PAGES + 1));
    g_assert_true(disk_pool_take(&pool, &more, DISK_CHUNK_PAGES));
    disk_pool_close(&pool);
}

/* What segments of part of a page leave is no data, and still taken. */
static void test_fill(void)
{
    static const struct {
        unsigned pages;
        size_t length;
        unsigned chunks;
        size_t last;
    } cases[] = {
        { 1, 512, 1, 512 },
        { 4, DISK_CHUNK_SIZE, 1, DISK_CHUNK_SIZE },
        { 5, DISK_CHUNK_SIZE + 512, 2, 512 },
        { 11, 11 * 512, 1, 11 * 512 },
        { 11, 11 * XEN_PAGE_SIZE, 3, 3 * XEN_PAGE_SIZE },
    };
    struct disk_pool pool = { 0 };
    struct disk_buffer buffer = { 0 };
    g_assert_true(disk_pool_open(&pool, NULL));

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_true(disk_pool_take(&pool, &buffer, cases[i].pages));
        disk_buffer_fill(&buffer, cases[i].length);
        g_assert_cmpuint(buffer.nr_filled, ==, cases[i].chunks);
        g_assert_cmpuint(buffer.chunks[buffer.nr_filled - 1].iov_len, ==, cases[i].last);
        for (unsigned j = 0; j + 1 < buffer.nr_filled; j++)
            g_assert_cmpuint(buffer.chunks[j].iov_len, ==, DISK_CHUNK_SIZE);
        g_assert_cmpuint(buffer.nr_chunks * DISK_CHUNK_PAGES, >=, cases[i].pages);
        g_assert_cmpuint(pool.nr_free + buffer.nr_chunks, ==, DISK_POOL_CHUNKS);
        disk_pool_put(&pool, &buffer);
        g_assert_cmpuint(pool.nr_free, ==, DISK_POOL_CHUNKS);
    }
    disk_pool_close(&pool);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pool/whole-chunks", test_whole_chunks);
    g_test_add_func("/pool/exhausted", test_exhausted);
    g_test_add_func("/pool/fill", test_fill);
    return g_test_run();
}
