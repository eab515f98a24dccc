/*
 * The UEFI block driver's core between a hostile backend and a hostile xenstored.
 *
 * Input: a byte of options, OPERATIONS of operations, then bytes that say, at each answer and each
 * time the core waits, what is wrong with it; 0, and the end of the input: nothing.  Checked: no
 * byte outside of a read's buffer is written, each operation ends in bounded time (by the world's
 * clock), and in the end there is no page, port or reference that was forgotten.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include "tests/fuzz/fuzz.h"
#include "tests/ovmf/world.h"

#define BUFFER_SIZE (96 * 1024)
#define GUARD 64
#define CANARY 0x5A
#define OPERATIONS 4
#define SECTORS 512

/* For one operation: all answers of xenstored late, and one more patience for what comes then. */
#define LIMIT (30000 * PV_MS)

struct reader {
    const uint8_t *data;
    size_t size;
};

static uint8_t take_byte(struct reader *reader)
{
    if (reader->size == 0)
        return 0;
    reader->size--;
    return *reader->data++;
}

static uint32_t take_word(struct reader *reader)
{
    uint32_t word = 0;
    for (unsigned i = 0; i < 4; i++)
        word = word << 8 | take_byte(reader);
    return word;
}

static void spoil_reply(struct world *world, struct xsd_sockmsg *head, char *payload)
{
    struct reader *reader = world->script.opaque;
    uint8_t how = take_byte(reader);

    switch (how % 16) {
    case 1:
        head->type = take_byte(reader);
        break;
    case 2:
        head->req_id += (int8_t)take_byte(reader);
        break;
    case 3:
        head->len = take_word(reader);
        break;
    case 4: /* another value */
        head->len = take_byte(reader) % 32;
        for (unsigned i = 0; i < head->len; i++)
            payload[i] = take_byte(reader);
        break;
    case 5: /* another number */
        head->len = 1;
        payload[0] = '0' + take_byte(reader) % 10;
        break;
    case 6:
        head->len = head->len ? head->len - 1 : 0;
        break;
    case 7:
        world->script.store_silent = true;
        break;
    case 8:
        world->script.watch_events = take_byte(reader);
        break;
    }
}

static void spoil_response(struct world *world, blkif_response_t *response)
{
    struct reader *reader = world->script.opaque;

    switch (take_byte(reader) % 8) {
    case 1:
        response->id = response->id + (int8_t)take_byte(reader);
        break;
    case 2:
        response->id ^= (uint64_t)take_byte(reader) << take_byte(reader) % 64;
        break;
    case 3:
        response->operation = take_byte(reader);
        break;
    case 4:
        response->status = (int8_t)take_byte(reader);
        break;
    case 5:
        world->script.twice_at = world->answers;
        break;
    }
}

static void step(struct world *world)
{
    struct reader *reader = world->script.opaque;
    blkif_sring_t *ring = world->ring;
    struct grant_entry_v1 *entry;

    switch (take_byte(reader) % 16) {
    case 1:
        world->script.deaf = take_byte(reader);
        break;
    case 2:
        world->xs.rsp_prod += (int8_t)take_byte(reader);
        break;
    case 3:
        world->xs.rsp_prod = take_word(reader);
        break;
    case 4:
        if (ring)
            world->rsp_prod += (int8_t)take_byte(reader);
        break;
    case 5:
        if (ring)
            ring->req_event = take_word(reader);
        break;
    case 6:
        if (ring)
            ring->rsp_event = take_word(reader);
        break;
    case 7: /* a page that was granted stays in use */
        entry = &world->table[take_word(reader) % WORLD_GRANTS];
        if (entry->flags & GTF_permit_access)
            entry->flags |= GTF_reading;
        break;
    case 8:
        world->script.silent_after = 1 + take_byte(reader) % 8;
        break;
    case 9: {
        char state[] = { '0' + take_byte(reader) % 10, '\0' };
        world_offer(world, "state", state);
        break;
    }
    case 10:
        world_offer(world, "sectors", take_byte(reader) % 2 ? "100" : "7");
        break;
    }
}

static void operate(struct pv_disk *disk, unsigned operation, uint8_t *buffer)
{
    size_t length = (operation >> 2) * disk->medium.sector_size % BUFFER_SIZE;

    switch (operation % 4) {
    case 0:
        pv_disk_read(disk, 0, buffer, length);
        break;
    case 1:
        pv_disk_write(disk, 16, buffer, length);
        break;
    case 2:
        pv_disk_flush(disk);
        break;
    case 3:
        pv_disk_refresh(disk);
        break;
    }
}

static void choose_options(struct world *world, uint8_t options)
{
    if (options & 1)
        world_offer(world, "feature-max-indirect-segments", "32");
    if (options & 2)
        world_offer(world, "max-ring-page-order", NULL);
    if (options & 4)
        world_offer(world, "feature-persistent", "1");
    if (options & 8)
        world_offer(world, "sector-size", "4096");
    if (options & 16)
        world_offer(world, "info", "7");
    world->script.newest_first = options & 32;
    world->pages_limit = options & 64 ? 50 : WORLD_PAGES;
}

static void run(struct world *world, struct reader *reader, uint8_t *buffer)
{
    struct pv_disk disk;
    uint8_t operations[OPERATIONS];

    for (unsigned i = 0; i < OPERATIONS; i++)
        operations[i] = take_byte(reader);
    world->script.spoil_reply = spoil_reply;
    world->script.spoil = spoil_response;
    world->script.step = step;
    world->script.opaque = reader;
    world->script.guesses = world->script.keeps_pages = true;
    if (pv_disk_init(&disk, &world->guest, WORLD_DEVICE) == PV_OK &&
        pv_disk_connect(&disk) == PV_OK) {
        for (unsigned i = 0; i < OPERATIONS; i++) {
            uint64_t start = world->now;
            operate(&disk, operations[i], buffer);
            g_assert_cmpuint(world->now - start, <, LIMIT);
        }
    }
    uint64_t start = world->now;
    pv_disk_close(&disk, UINT64_MAX);
    g_assert_cmpuint(world->now - start, <, LIMIT);
    pv_disk_close(&disk, UINT64_MAX);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_init_log();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t memory[GUARD + BUFFER_SIZE + GUARD];
    struct reader reader = { data, size };
    struct world *world = world_new_sized(SECTORS);

    memset(memory, CANARY, sizeof(memory));
    choose_options(world, take_byte(&reader));
    run(world, &reader, memory + GUARD);
    for (unsigned i = 0; i < GUARD; i++)
        g_assert(memory[i] == CANARY && memory[GUARD + BUFFER_SIZE + i] == CANARY);
    world_free(world);
    return 0;
}
