/* Patterns that the test frontend writes and reads back: see blkfront.h. */

#include "tests/sim/guest/blkfront-queue.h"

#include <string.h>

/* Each word says where on the disk it belongs and what it was written for. */
void blkfront_pattern(void *data, uint64_t sector, size_t length, uint32_t seed)
{
    uint64_t *words = data;
    uint64_t first = sector * BLKFRONT_SECTOR / sizeof(*words);
    for (size_t i = 0; i < length / sizeof(*words); i++)
        words[i] = (first + i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)seed << 32;
}

/* Cuts the range, DATA being its content, into pieces of random size, each one request. */
static GArray *cut(struct blkfront_queue *queue, GRand *random, uint64_t sector, uint64_t sectors,
                   uint8_t *data)
{
    unsigned align = MAX(queue->front->disk.sector_size / BLKFRONT_SECTOR, 1);
    unsigned most = queue->front->segments * BLKFRONT_SECTORS_PER_PAGE / align;
    GArray *pieces = g_array_new(FALSE, FALSE, sizeof(struct blkfront_piece));

    for (uint64_t done = 0; done < sectors;) {
        uint64_t wanted = (uint64_t)g_rand_int_range(random, 1, most + 1) * align;
        uint64_t count = MIN(wanted, sectors - done);
        struct blkfront_piece piece = { sector + done, data + done * BLKFRONT_SECTOR,
                                        count * BLKFRONT_SECTOR };
        g_array_append_val(pieces, piece);
        done += count;
    }
    return pieces;
}

static void shuffle(GArray *array, GRand *random)
{
    struct blkfront_piece *pieces = (struct blkfront_piece *)array->data;
    for (guint i = array->len; i > 1; i--) {
        guint other = g_rand_int_range(random, 0, i);
        struct blkfront_piece piece = pieces[i - 1];
        pieces[i - 1] = pieces[other];
        pieces[other] = piece;
    }
}

static int move_all(struct blkfront_queue *queue, GRand *random, uint8_t operation, uint64_t sector,
                    uint64_t sectors, uint8_t *data)
{
    GArray *pieces = cut(queue, random, sector, sectors, data);
    shuffle(pieces, random);
    int status =
        blkfront_move(queue, operation, (struct blkfront_piece *)pieces->data, pieces->len);
    g_array_unref(pieces);
    return status;
}

/* The first sector that differs. */
static uint64_t difference(const uint8_t *data, const uint8_t *expected, uint64_t sectors)
{
    uint64_t i = 0;
    while (i < sectors &&
           memcmp(data + i * BLKFRONT_SECTOR, expected + i * BLKFRONT_SECTOR, BLKFRONT_SECTOR) == 0)
        i++;
    return i;
}

bool blkfront_verify(struct blkfront *front, unsigned queue, uint64_t sector, uint64_t sectors,
                     uint32_t seed, char **reason)
{
    size_t length = sectors * BLKFRONT_SECTOR;
    g_autofree uint8_t *expected = g_malloc(length), *data = g_malloc(length);
    GRand *random = g_rand_new_with_seed(seed);

    blkfront_pattern(expected, sector, length, seed);
    memset(data, 0xee, length);
    int written =
        move_all(&front->queues[queue], random, BLKIF_OP_WRITE, sector, sectors, expected);
    int flushed = front->disk.flush ? blkfront_flush(front, queue) : BLKIF_RSP_OKAY;
    int read = move_all(&front->queues[queue], random, BLKIF_OP_READ, sector, sectors, data);
    uint64_t same = difference(data, expected, sectors);
    g_rand_free(random);

    if (written != BLKIF_RSP_OKAY || flushed != BLKIF_RSP_OKAY || read != BLKIF_RSP_OKAY)
        *reason =
            g_strdup_printf("queue %u: write %d, flush %d, read %d", queue, written, flushed, read);
    else if (same < sectors)
        *reason = g_strdup_printf("queue %u: wrong data at sector %" G_GUINT64_FORMAT, queue,
                                  sector + same);
    else
        return true;
    return false;
}
