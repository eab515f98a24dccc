/* Memory for a queue's data: see pool.h. */

#include "pvbackends/disk/pool.h"

#include <sys/mman.h>

#include "xen/error.h"

#define POOL_SIZE ((size_t)DISK_POOL_CHUNKS * DISK_CHUNK_SIZE)

/* Or a request could wait for ever. */
_Static_assert(DISK_CHUNKS_MAX <= DISK_POOL_CHUNKS, "the longest request fits the pool");

bool disk_pool_open(struct disk_pool *pool, GError **error)
{
    void *memory =
        mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        xen_set_error(error, "cannot allocate I/O buffers");
        return false;
    }
    pool->memory = memory;
    pool->nr_free = DISK_POOL_CHUNKS;
    for (unsigned i = 0; i < DISK_POOL_CHUNKS; i++)
        pool->free[i] = pool->memory + (size_t)(DISK_POOL_CHUNKS - 1 - i) * DISK_CHUNK_SIZE;
    return true;
}

void disk_pool_close(struct disk_pool *pool)
{
    if (pool->memory)
        munmap(pool->memory, POOL_SIZE);
    pool->memory = NULL;
}

bool disk_pool_take(struct disk_pool *pool, struct disk_buffer *buffer, unsigned pages)
{
    unsigned chunks = (pages + DISK_CHUNK_PAGES - 1) / DISK_CHUNK_PAGES;

    if (chunks > pool->nr_free)
        return false;
    buffer->nr_chunks = chunks;
    for (unsigned i = 0; i < chunks; i++)
        buffer->chunks[i] = (struct iovec){ pool->free[--pool->nr_free], DISK_CHUNK_SIZE };
    return true;
}

void disk_pool_put(struct disk_pool *pool, struct disk_buffer *buffer)
{
    while (buffer->nr_chunks > 0)
        pool->free[pool->nr_free++] = buffer->chunks[--buffer->nr_chunks].iov_base;
}

void disk_buffer_fill(struct disk_buffer *buffer, size_t length)
{
    buffer->nr_filled = (length + DISK_CHUNK_SIZE - 1) / DISK_CHUNK_SIZE;
    buffer->chunks[buffer->nr_filled - 1].iov_len =
        length - (size_t)(buffer->nr_filled - 1) * DISK_CHUNK_SIZE;
}
