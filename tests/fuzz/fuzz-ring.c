/*
 * The block ring: everything a guest shares with the disk role's engine, requests and indexes and
 * its grant table, changed between the engine's turns.
 *
 * Input: one byte that chooses the disk, then commands of one byte and their operands (struct
 * reader); see command().  Checked: each request that was taken is answered once, with its own id
 * and operation and a status that blkif.h knows, even if it was kept after an error; nothing is
 * written to guest memory that was not granted for writing, or to a read-only disk.
 *
 * The engine is the product's, the Xen libraries are the simulator's, the I/O is fake-io.c's.
 */

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/grant_table.h>

#include "pvbackends/disk/engine.h"
#include "pvbackends/disk/media/io.h"
#include "tests/fuzz/fake-io.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/host.h"

#define DISK_BYTES (256 * 1024)
#define PAGES 16 /* that the guest grants, of each kind */
#define COMMANDS_MAX 256
#define RING_SLOTS 32
#define TABLE_SEGMENTS 16 /* that one command writes */

/* The I/O is done at once, so each turn answers something, or a flush before a write is done. */
#define TURNS_MAX (2 * RING_SLOTS + 2)

/* What fills memory and disk, so that a byte in the wrong place is seen. */
#define CONSTANT_BYTE 0xC0
#define PRIVATE_BYTE 0x51
#define WRITABLE_BYTE 0xA7
#define DISK_BYTE 0xD5

struct reader {
    const uint8_t *data;
    size_t size;
};

/* One engine and its ring for each kind of disk; the input chooses which one it meets. */
struct disk {
    struct disk_medium medium;
    struct disk_engine_config config;
    struct disk_engine *engine;
    uint32_t ring_ref;
    uint8_t *ring;
    uint32_t req_prod, answered; /* as the guest's driver counts */
    gint error_logged, map_failures;
    bool hurried; /* it keeps nothing any more */
};

static const struct {
    const char *protocol;
    bool read_only, discard;
    uint32_t alignment;
    bool persistent, secure_discard, detect_zeroes, stop_on_error;
} kinds[] = {
    { "x86_64-abi", false, true, 1, false },
    { "x86_32-abi", false, true, 1, false },
    { "arm-abi", false, false, 1, false },
    { "x86_64-abi", true, false, 1, false },
    { "x86_64-abi", false, true, 8, false },
    { "x86_32-abi", true, false, 4, false },
    { "x86_64-abi", false, true, 1, true },
    { "x86_64-abi", true, false, 1, true },
    { "x86_64-abi", false, true, 1, false, .secure_discard = true, .detect_zeroes = true },
    { "x86_32-abi", false, true, 1, false, .stop_on_error = true },
    { "x86_64-abi", false, true, 1, true, true, true, true },
};

static struct guest *guest;
static struct disk disks[G_N_ELEMENTS(kinds)];
static uint8_t *writable, *constant, *private; /* PAGES each: granted, granted read-only, not */
static uint32_t refs[2 * PAGES];
static uint8_t *disk_image;

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
    for (unsigned i = 0; i < sizeof(word); i++)
        word = word << 8 | take_byte(reader);
    return word;
}

static void take_bytes(struct reader *reader, void *to, size_t length)
{
    size_t have = MIN(length, reader->size);
    memset(to, 0, length);
    memcpy(to, reader->data, have);
    reader->data += have;
    reader->size -= have;
}

static void open_disk(struct disk *disk)
{
    g_autoptr(GError) error = NULL;
    uint32_t ring_refs[] = { disk->ring_ref };

    memset(disk->ring, 0, GUEST_PAGE);
    disk->req_prod = disk->answered = 0;
    disk->map_failures = 0;
    disk->hurried = false;
    disk->config.ring_refs = ring_refs;
    disk->engine = disk_engine_open(&disk->config, &error);
    if (!disk->engine)
        g_error("%s", error->message);
}

static void make_disk(unsigned kind, int fd)
{
    struct disk *disk = &disks[kind];

    disk->medium = (struct disk_medium){
        .driver = &disk_io_aio,
        .path = (char *)"fuzz",
        .fd = fd,
        .sectors = DISK_BYTES / 512,
        .sector_size = 512,
        .read_only = kinds[kind].read_only,
        .discard = kinds[kind].discard,
    };
    disk->config = (struct disk_engine_config){
        .name = "fuzz",
        .domid = guest_domid(guest),
        .abi = disk_abi_find(kinds[kind].protocol),
        .nr_ring_pages = 1,
        .medium = &disk->medium,
        .limits = { .sectors = disk->medium.sectors,
                    .alignment = kinds[kind].alignment,
                    .read_only = kinds[kind].read_only,
                    .discard = kinds[kind].discard,
                    .secure_discard = kinds[kind].secure_discard },
        .detect_zeroes = kinds[kind].detect_zeroes,
        .stop_on_error = kinds[kind].stop_on_error,
        .persistent = kinds[kind].persistent,
        .map_failures = &disk->map_failures,
        .error_logged = &disk->error_logged,
    };
    disk->ring = guest_alloc(guest, 1);
    disk->ring_ref = guest_grant_entries(guest) - 1 - kind; /* see keep_off_rings() */
    *guest_grant_entry(guest, disk->ring_ref) =
        (struct grant_entry_v1){ .flags = GTF_permit_access,
                                 .frame = guest_gfn(guest, disk->ring) };
    open_disk(disk);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);

    fuzz_init_log();
    if (ftruncate(fd, DISK_BYTES) < 0)
        g_error("cannot make a disk");
    guest = fuzz_make_guest(256);
    disk_image = mmap(NULL, DISK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    writable = guest_alloc(guest, PAGES);
    constant = guest_alloc(guest, PAGES);
    private = guest_alloc(guest, PAGES);
    memset(constant, CONSTANT_BYTE, PAGES * GUEST_PAGE);
    memset(private, PRIVATE_BYTE, PAGES * GUEST_PAGE);
    for (unsigned i = 0; i < PAGES; i++) {
        refs[i] = guest_grant(guest, 0, writable + i * GUEST_PAGE, false);
        refs[PAGES + i] = guest_grant(guest, 0, constant + i * GUEST_PAGE, true);
    }
    for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++)
        make_disk(kind, fd);
    return 0;
}

/* Of 2^32 references few are any good: with the top bit clear they name one of the guest's grants.
 */
static void make_ref(uint8_t *at)
{
    uint32_t ref;
    memcpy(&ref, at, sizeof(ref));
    if (!(ref >> 31))
        ref = refs[ref % G_N_ELEMENTS(refs)];
    memcpy(at, &ref, sizeof(ref));
}

/* A slot straight from the input, but for its grant references. */
static void put_request(struct disk *disk, struct reader *reader)
{
    const struct disk_abi *abi = disk->config.abi;
    uint8_t *slot = disk->ring + 64 + (disk->req_prod % RING_SLOTS) * abi->slot_size;

    take_bytes(reader, slot, abi->slot_size);
    for (unsigned i = 0; i < BLKIF_MAX_SEGMENTS_PER_REQUEST && slot[0] < BLKIF_OP_DISCARD; i++)
        make_ref(slot + abi->segments + i * sizeof(struct blkif_request_segment));
    for (unsigned i = 0; i < BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST && slot[0] == BLKIF_OP_INDIRECT;
         i++)
        make_ref(slot + abi->indirect_refs + i * sizeof(grant_ref_t));
    disk->req_prod++;
}

/* Segments for indirect requests, at the start of one of the pages that anything may be in. */
static void write_table(struct reader *reader)
{
    uint8_t *table = writable + take_byte(reader) % PAGES * GUEST_PAGE;
    unsigned count = 1 + take_byte(reader) % TABLE_SEGMENTS;

    take_bytes(reader, table, count * sizeof(struct blkif_request_segment));
    for (unsigned i = 0; i < count; i++)
        make_ref(table + i * sizeof(struct blkif_request_segment));
    /* As many as there may be, from as few. */
    for (unsigned i = count; i < DISK_SEGMENTS_MAX; i++)
        memcpy(table + i * sizeof(struct blkif_request_segment),
               table + i % count * sizeof(struct blkif_request_segment),
               sizeof(struct blkif_request_segment));
}

/* The last request again and again, as long as there is room: full rings from short inputs. */
static void repeat_request(struct disk *disk, unsigned times)
{
    size_t size = disk->config.abi->slot_size;
    const uint8_t *last = disk->ring + 64 + ((disk->req_prod - 1) % RING_SLOTS) * size;

    for (unsigned i = 0; i < times && disk->req_prod - disk->answered < RING_SLOTS; i++)
        memmove(disk->ring + 64 + (disk->req_prod++ % RING_SLOTS) * size, last, size);
}

static blkif_sring_t *header(const struct disk *disk)
{
    return (blkif_sring_t *)disk->ring;
}

struct expected {
    uint64_t id;
    uint8_t operation;
    bool fails;
};

/* Does the request in SLOT move data through a reference that no grant table has? */
static bool names_no_grant(const struct disk_abi *abi, const uint8_t *slot)
{
    unsigned count = slot[0] == BLKIF_OP_READ || slot[0] == BLKIF_OP_WRITE ? slot[1] : 0;

    if (slot[0] == BLKIF_OP_INDIRECT)
        return slot[abi->indirect_refs + sizeof(grant_ref_t) - 1] >> 7;
    for (unsigned i = 0; i < MIN(count, BLKIF_MAX_SEGMENTS_PER_REQUEST); i++) {
        uint32_t ref;
        memcpy(&ref, slot + abi->segments + i * sizeof(struct blkif_request_segment), sizeof(ref));
        if (ref >> 31)
            return true;
    }
    return false;
}

/*
 * The request that RESPONSE may be about.  Guests may use an id twice: an "okay" is not for one
 * that must fail, and another status is for such a one first.
 */
static unsigned find_request(const struct expected *expected, unsigned count,
                             const blkif_response_t *response)
{
    bool okay = response->status == BLKIF_RSP_OKAY;
    unsigned found = count;

    for (unsigned i = 0; i < count; i++) {
        bool same = expected[i].id == response->id && expected[i].operation == response->operation;
        if (!same || (expected[i].fails && okay))
            continue;
        found = i;
        if (expected[i].fails)
            break;
    }
    return found;
}

/* Requests are answered in any order: each response must find one like it, which is then gone. */
static void check_responses(struct disk *disk, struct expected *expected, unsigned count,
                            uint32_t answered)
{
    const struct disk_abi *abi = disk->config.abi;

    g_assert(disk->answered - answered == count);
    for (uint32_t i = answered; i != disk->answered; i++) {
        const uint8_t *slot = disk->ring + 64 + (i % RING_SLOTS) * abi->slot_size;
        blkif_response_t response;
        memcpy(&response, slot, MIN(abi->response_size, sizeof(response)));
        g_assert(response.status == BLKIF_RSP_OKAY || response.status == BLKIF_RSP_ERROR ||
                 response.status == BLKIF_RSP_EOPNOTSUPP);
        unsigned found = find_request(expected, count, &response);
        g_assert(found < count);
        expected[found] = expected[--count];
    }
}

/*
 * A guest that names a ring as its buffer has its answers overwritten, which looks as if they had
 * been wrong.  A request made of an old response's bytes does that by chance, so here is the last
 * moment.
 */
static void keep_off_rings(struct disk *disk)
{
    uint32_t first = guest_grant_entries(guest) - G_N_ELEMENTS(kinds), word;

    for (size_t at = 64; at + sizeof(word) <= GUEST_PAGE; at += sizeof(word)) {
        memcpy(&word, disk->ring + at, sizeof(word));
        if (word >= first && word < first + G_N_ELEMENTS(kinds))
            memcpy(disk->ring + at, &refs[0], sizeof(word));
    }
}

/* As the queue does it, which then sleeps: so nothing may be left that could be done. */
static void turn_until_idle(struct disk_engine *engine)
{
    bool notify;

    for (unsigned i = 0; disk_engine_turn(engine, true, &notify); i++)
        g_assert(i < TURNS_MAX);
    g_assert(!disk_engine_arm(engine));
}

/*
 * What an administrator or the end of the disk does to a disk that an error has stopped, until it
 * goes on.  What was kept is answered then.
 */
static void resume(struct disk *disk, struct reader *reader)
{
    struct disk_engine *engine = disk->engine;

    while (disk_engine_halted(engine)) {
        uint8_t how = reader->size > 0 ? take_byte(reader) : 0;

        g_assert(disk->config.stop_on_error && !disk->hurried);
        g_assert(disk_engine_still(engine) && !disk_engine_idle(engine));
        disk->hurried = how % 4 == 3;
        fake_io_healthy = how % 4 == 0;
        if (fake_io_healthy)
            fake_io_fail(0, 0, 0);
        if (disk->hurried)
            disk_engine_hurry(engine);
        else
            disk_engine_retry(engine);
        turn_until_idle(engine);
        fake_io_healthy = false;
    }
}

/* Everything that was pending must be answered, even if there is not memory for all at a time. */
static void turn(struct disk *disk, struct reader *reader)
{
    const struct disk_abi *abi = disk->config.abi;
    struct expected expected[RING_SLOTS];
    uint32_t answered = disk->answered;
    uint32_t pending = header(disk)->req_prod - answered;

    keep_off_rings(disk);
    for (uint32_t i = 0; pending <= RING_SLOTS && i < pending; i++) {
        const uint8_t *slot = disk->ring + 64 + ((answered + i) % RING_SLOTS) * abi->slot_size;
        memcpy(&expected[i].id, slot + abi->id, sizeof(expected[i].id));
        expected[i].operation = slot[slot[0] == BLKIF_OP_INDIRECT ? 1 : 0];
        expected[i].fails = names_no_grant(abi, slot);
    }
    fake_io_holds = true; /* until there is no memory, or nothing more to take */
    turn_until_idle(disk->engine);
    fake_io_holds = false;
    turn_until_idle(disk->engine);
    resume(disk, reader);
    g_assert(disk_engine_idle(disk->engine));
    disk->answered = header(disk)->rsp_prod;
    if (disk_engine_broken(disk->engine)) {
        g_assert(pending > RING_SLOTS && disk->answered == answered);
        disk_engine_close(disk->engine);
        open_disk(disk);
        reader->size = 0; /* takes longer than all the rest */
    } else {
        g_assert(pending <= RING_SLOTS);
        check_responses(disk, expected, pending, answered);
    }
    if (disk->hurried) {
        disk_engine_close(disk->engine);
        open_disk(disk);
        reader->size = 0;
    }
}

/* The guest does what it likes to its grant table, but never gives the constant pages for writing.
 */
static void change_grant(struct reader *reader)
{
    unsigned which = take_byte(reader) % G_N_ELEMENTS(refs);
    struct grant_entry_v1 *entry = guest_grant_entry(guest, refs[which]);
    uint8_t how = take_byte(reader);

    if (how & 1)
        entry->flags =
            (how >> 1 & (GTF_type_mask | GTF_readonly)) | (which < PAGES ? 0 : GTF_readonly);
    if (how & 0x40)
        entry->domid = how & 0x80 ? 7 : 0;
    if (how & 0x20)
        entry->frame = how & 0x80 ? UINT32_MAX : guest_gfn(guest, writable) + how % PAGES;
}

static void restore_grants(void)
{
    for (unsigned i = 0; i < 2 * PAGES; i++) {
        struct grant_entry_v1 *entry = guest_grant_entry(guest, refs[i]);
        entry->flags = GTF_permit_access | (i < PAGES ? 0 : GTF_readonly);
        entry->domid = 0;
        entry->frame =
            i < PAGES ? guest_gfn(guest, writable) + i : guest_gfn(guest, constant) + i - PAGES;
    }
}

/* Some operations will fail. */
static void set_faults(struct reader *reader)
{
    static const int errors[] = { EIO, ENOSPC, EOPNOTSUPP, EINVAL };
    uint8_t kinds_of = take_byte(reader), how = take_byte(reader);

    fake_io_fail(kinds_of, how >> 2, errors[how % G_N_ELEMENTS(errors)]);
}

static void command(struct disk *disk, struct reader *reader)
{
    switch (take_byte(reader) % 10) {
    case 0:
    case 1:
        if (disk->req_prod - disk->answered < RING_SLOTS)
            put_request(disk, reader);
        break;
    case 2:
        repeat_request(disk, take_byte(reader) % RING_SLOTS);
        break;
    case 3: /* publish what was put */
        header(disk)->req_prod = disk->req_prod;
        break;
    case 4:
        header(disk)->req_prod = disk->req_prod;
        turn(disk, reader);
        disk->req_prod = header(disk)->req_prod; /* 0 with a new connection */
        break;
    case 5: /* any claim, mostly a slightly wrong one */
        header(disk)->req_prod += (int8_t)take_byte(reader);
        turn(disk, reader);
        disk->req_prod = header(disk)->req_prod;
        break;
    case 6:
        header(disk)->rsp_event = take_word(reader);
        disk_engine_arm(disk->engine);
        break;
    case 7:
        change_grant(reader);
        break;
    case 8:
        write_table(reader);
        break;
    case 9:
        set_faults(reader);
        break;
    }
}

static bool is_filled(const uint8_t *memory, uint8_t byte, size_t length)
{
    return memory[0] == byte && memcmp(memory, memory + 1, length - 1) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = { data, size };
    struct disk *disk = &disks[take_byte(&reader) % G_N_ELEMENTS(disks)];

    if (disk->config.limits.read_only) {
        memset(disk_image, DISK_BYTE, DISK_BYTES);
        memset(writable, WRITABLE_BYTE, PAGES * GUEST_PAGE);
    }
    for (unsigned i = 0; i < COMMANDS_MAX && reader.size > 0; i++)
        command(disk, &reader);
    turn(disk, &reader);
    disk->req_prod = header(disk)->req_prod;
    fake_io_fail(0, 0, 0);
    g_assert(is_filled(constant, CONSTANT_BYTE, PAGES * GUEST_PAGE));
    g_assert(is_filled(private, PRIVATE_BYTE, PAGES * GUEST_PAGE));
    g_assert(!disk->config.limits.read_only || is_filled(disk_image, DISK_BYTE, DISK_BYTES));
    if (disk->config.persistent) { /* what this input has mapped is not for the next one */
        disk_engine_close(disk->engine);
        for (unsigned i = 0; i < G_N_ELEMENTS(refs); i++)
            g_assert(!(guest_grant_entry(guest, refs[i])->flags & (GTF_reading | GTF_writing)));
        open_disk(disk);
    }
    restore_grants();
    return 0;
}
