/* Buffered requests: see buffered.h. */

#include "ioreq/buffered.h"

#include <string.h>

struct indexes {
    uint32_t read;
    uint32_t write;
};

_Static_assert(sizeof(struct indexes) == sizeof(uint64_t), "both indexes are one word");
_Static_assert(sizeof(struct buf_ioreq) == sizeof(uint64_t), "an entry is one word");

/* Both in one piece, as Xen changes them; entries must not be read before. */
static struct indexes load_indexes(const struct buffered_iopage *ring)
{
    struct indexes indexes;
    uint64_t word = __atomic_load_n((const uint64_t *)ring, __ATOMIC_ACQUIRE);
    memcpy(&indexes, &word, sizeof(indexes));
    return indexes;
}

/* Xen may write to the COUNT entries after this. */
static void release_entries(struct buffered_iopage *ring, uint32_t count)
{
    __atomic_fetch_add(&ring->read_pointer, count, __ATOMIC_RELEASE);
}

/* A copy of entry INDEX. */
static struct buf_ioreq load_entry(const struct buffered_iopage *ring, uint32_t index)
{
    struct buf_ioreq entry;
    const uint64_t *entries = (const uint64_t *)ring->buf_ioreq;
    uint64_t word = __atomic_load_n(&entries[index % IOREQ_BUFFER_SLOT_NUM], __ATOMIC_RELAXED);
    memcpy(&entry, &word, sizeof(entry));
    return entry;
}

enum ioreq_buffered_outcome ioreq_buffered_take(struct buffered_iopage *ring, struct ioreq *request)
{
    struct indexes at = load_indexes(ring);
    uint32_t there = at.write - at.read;

    if (there == 0)
        return IOREQ_BUFFERED_EMPTY;
    if (there > IOREQ_BUFFER_SLOT_NUM) {
        release_entries(ring, there);
        return IOREQ_BUFFERED_BAD;
    }
    struct buf_ioreq entry = load_entry(ring, at.read);
    uint32_t size = 1u << entry.size, entries = size == 8 ? 2 : 1;
    if (entries > there) {
        release_entries(ring, there);
        return IOREQ_BUFFERED_BAD;
    }
    uint64_t high = entries == 2 ? load_entry(ring, at.read + 1).data : 0;
    release_entries(ring, entries);
    *request = (struct ioreq){ .type = entry.type,
                               .dir = entry.dir,
                               .addr = entry.addr,
                               .size = size,
                               .count = 1,
                               .data = high << 32 | entry.data };
    return IOREQ_BUFFERED_TAKEN;
}
