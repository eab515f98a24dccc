/* Reading and checking block requests: see request.h. */

#include "pvbackends/disk/request.h"

#include <string.h>

static uint64_t load_u64(const uint8_t *slot, unsigned offset)
{
    uint64_t value;
    memcpy(&value, slot + offset, sizeof(value));
    return value;
}

/* Written not to wrap. */
bool disk_request_in_range(const struct disk_request *request, const struct disk_limits *limits)
{
    return request->sectors <= limits->sectors &&
           request->sector <= limits->sectors - request->sectors &&
           request->sector % limits->alignment == 0 && request->sectors % limits->alignment == 0;
}

/* Reads the request's segments, as many as it says, and checks them and what they are together. */
static int parse_segments(struct disk_request *request, const uint8_t *table,
                          const struct disk_limits *limits)
{
    for (unsigned i = 0; i < request->nr_segments; i++) {
        struct blkif_request_segment segment;
        memcpy(&segment, table + i * sizeof(segment), sizeof(segment));
        if (segment.first_sect > segment.last_sect || segment.last_sect >= DISK_SECTORS_PER_PAGE)
            return BLKIF_RSP_ERROR;
        unsigned sectors = segment.last_sect - segment.first_sect + 1;
        request->segments[i] = (struct disk_segment){
            .ref = segment.gref,
            .offset = segment.first_sect * DISK_SECTOR,
            .length = sectors * DISK_SECTOR,
        };
        request->sectors += sectors;
    }
    return disk_request_in_range(request, limits) ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR;
}

int disk_request_parse_table(struct disk_request *request, const void *table,
                             const struct disk_limits *limits)
{
    return parse_segments(request, table, limits);
}

/* With up to DISK_SEGMENTS_MAX segments, so the first of its pages has all of them. */
static int parse_indirect(struct disk_request *request, const struct disk_abi *abi,
                          const uint8_t *raw, const struct disk_limits *limits)
{
    uint16_t count;
    memcpy(&count, raw + offsetof(struct blkif_request_indirect, nr_segments), sizeof(count));

    request->operation = raw[offsetof(struct blkif_request_indirect, indirect_op)];
    if (request->operation != BLKIF_OP_READ && request->operation != BLKIF_OP_WRITE)
        return BLKIF_RSP_ERROR;
    if (request->operation == BLKIF_OP_WRITE && limits->read_only)
        return BLKIF_RSP_ERROR;
    if (count == 0 || count > DISK_SEGMENTS_MAX)
        return BLKIF_RSP_ERROR;
    request->indirect = true;
    request->nr_segments = count;
    memcpy(&request->table_ref, raw + abi->indirect_refs, sizeof(request->table_ref));
    return BLKIF_RSP_OKAY;
}

static int parse_discard(struct disk_request *request, const struct disk_abi *abi,
                         const uint8_t *raw, const struct disk_limits *limits)
{
    uint8_t flags = raw[offsetof(struct blkif_request_discard, flag)];

    if (limits->read_only)
        return BLKIF_RSP_ERROR;
    request->secure = flags & BLKIF_DISCARD_SECURE;
    if (!(request->secure ? limits->secure_discard : limits->discard))
        return BLKIF_RSP_EOPNOTSUPP;
    request->sectors = load_u64(raw, abi->segments);
    if (request->sectors == 0)
        return BLKIF_RSP_ERROR;
    return disk_request_in_range(request, limits) ? BLKIF_RSP_OKAY : BLKIF_RSP_ERROR;
}

int disk_request_parse(struct disk_request *request, const struct disk_abi *abi, const void *slot,
                       const struct disk_limits *limits)
{
    const uint8_t *raw = slot;
    uint8_t count = raw[offsetof(struct blkif_request, nr_segments)];

    request->operation = raw[offsetof(struct blkif_request, operation)];
    request->id = load_u64(raw, abi->id);
    request->sector = load_u64(raw, abi->sector);
    request->sectors = 0;
    request->nr_segments = 0;
    request->indirect = false;
    request->secure = false;

    switch (request->operation) {
    case BLKIF_OP_READ:
    case BLKIF_OP_WRITE:
        if (request->operation == BLKIF_OP_WRITE && limits->read_only)
            return BLKIF_RSP_ERROR;
        if (count == 0)
            return BLKIF_RSP_ERROR;
        break;
    case BLKIF_OP_FLUSH_DISKCACHE:
    case BLKIF_OP_WRITE_BARRIER:
        /* With segments they are a write after a flush, as Linux's and QEMU's backends have it. */
        if (count == 0)
            return BLKIF_RSP_OKAY;
        if (limits->read_only)
            return BLKIF_RSP_ERROR;
        break;
    case BLKIF_OP_DISCARD:
        return parse_discard(request, abi, raw, limits);
    case BLKIF_OP_INDIRECT:
        return parse_indirect(request, abi, raw, limits);
    default:
        return BLKIF_RSP_EOPNOTSUPP;
    }

    if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return BLKIF_RSP_ERROR;
    request->nr_segments = count;
    return parse_segments(request, raw + abi->segments, limits);
}
