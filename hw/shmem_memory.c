/* The memory of a shmem function: see shmem_memory.h. */

#define G_LOG_DOMAIN "shmem"
#include "hw/shmem_memory.h"

#include <inttypes.h>
#include <stdio.h>

#include "hw/hole.h"
#include "hw/pci_slot.h"
#include "xen/error.h"
#include "xen/frames.h"
#include "xen/grant.h" /* XEN_PAGE_SIZE */
#include "xen/store.h"

#define SLOTS (PCI_SLOT_MAX + 1)

struct shmem_memory {
    struct xen_store *store; /* of our own: we write in the threads of the ioreq server */
    struct xen_frames *frames;
    char *dir;
    char *node;
    uint64_t parking; /* a frame number */
    uint64_t last_address;
    unsigned moves;
    bool failure_logged;
};

/* --- where --- */

/* Half of the address space for all slots alike. */
static bool find_parking(struct shmem_memory *memory, unsigned domid, unsigned slot, uint64_t size,
                         GError **error)
{
    unsigned bits;
    if (!xen_frames_address_bits(domid, &bits, error))
        return false;
    uint64_t half = UINT64_C(1) << (bits - 1), most = half / SLOTS;
    memory->parking = (half + slot * most) / XEN_PAGE_SIZE;
    memory->last_address = 2 * half - 1;
    if (size <= most)
        return true;
    xen_set_error_errno(error, EINVAL,
                        "%" PRIu64 " MiB of shared memory are too much for a vCPU with %u bits of "
                        "physical addresses: %" PRIu64 " MiB are possible",
                        size >> 20, bits, most >> 20);
    return false;
}

/*
 * Between the hole and 4 GiB are pages of the platform itself.  Frames that are moved to where no
 * address reaches are lost.
 */
static bool is_possible(const struct shmem_memory *memory, uint64_t address)
{
    uint64_t last = address + (xen_frames_count(memory->frames) * XEN_PAGE_SIZE - 1);
    return last < HOLE_END || (address >= UINT64_C(1) << 32 && last <= memory->last_address);
}

/* --- what others read --- */

static void note(struct shmem_memory *memory, bool moving)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *place = moving
                                 ? g_strdup("moving")
                                 : g_strdup_printf("0x%" PRIx64, xen_frames_first(memory->frames));
    if (!xen_store_write(memory->store, memory->dir, memory->node, &error, "%s %" PRIu64 " %u",
                         place, xen_frames_count(memory->frames), memory->moves))
        g_debug("%s", error->message); /* the guest is gone */
}

/* Frames that are noted already, by a role before this one: where, or 0.  False: of no use. */
static bool find_left(struct shmem_memory *memory, uint64_t count, uint64_t *first, GError **error)
{
    g_autofree char *text = xen_store_read(memory->store, memory->dir, memory->node, NULL);
    uint64_t noted;
    *first = 0;
    if (!text)
        return true;
    if (sscanf(text, "0x%" SCNx64 " %" SCNu64 " %u", first, &noted, &memory->moves) != 3) {
        xen_set_error_errno(error, EBUSY,
                            "the role that the guest had in slot %s before was killed in the "
                            "middle of a move of its memory; destroy the guest",
                            memory->node);
        return false;
    }
    if (noted == count)
        return true;
    xen_set_error_errno(error, EEXIST, "the guest has %" PRIu64 " MiB of shared memory in slot %s",
                        noted / XEN_FRAMES_UNIT, memory->node);
    return false;
}

/* --- the memory --- */

static bool set_up(struct shmem_memory *memory, unsigned domid, uint64_t count, GError **error)
{
    memory->store = xen_store_open(error);
    if (!memory->store)
        return false;
    uint64_t left;
    if (!find_left(memory, count, &left, error))
        return false;
    memory->frames = left ? xen_frames_adopt(domid, left, count, error)
                          : xen_frames_new(domid, memory->parking, count, error);
    if (memory->frames)
        note(memory, false);
    return memory->frames != NULL;
}

struct shmem_memory *shmem_memory_new(unsigned domid, unsigned slot, uint64_t size, GError **error)
{
    struct shmem_memory *memory = g_new0(struct shmem_memory, 1);
    memory->dir = g_strdup_printf("device-model/%u/shmem", domid);
    memory->node = g_strdup_printf("%u", slot);
    if (find_parking(memory, domid, slot, size, error) &&
        set_up(memory, domid, size / XEN_PAGE_SIZE, error))
        return memory;
    shmem_memory_free(memory);
    return NULL;
}

void shmem_memory_free(struct shmem_memory *memory)
{
    if (!memory)
        return;
    xen_frames_free(memory->frames);
    xen_store_close(memory->store);
    g_free(memory->dir);
    g_free(memory->node);
    g_free(memory);
}

static bool move(struct shmem_memory *memory, uint64_t first, GError **error)
{
    if (first == xen_frames_first(memory->frames))
        return true;
    memory->moves++;
    note(memory, true);
    bool moved = xen_frames_move(memory->frames, first, error);
    note(memory, false);
    return moved;
}

bool shmem_memory_place(struct shmem_memory *memory, uint64_t address, GError **error)
{
    if (is_possible(memory, address))
        return move(memory, address / XEN_PAGE_SIZE, error);
    xen_set_error_errno(error, EINVAL,
                        "there can be no memory (0x%" PRIx32 " to 4 GiB, or beyond "
                        "the addresses of a vCPU)",
                        HOLE_END);
    return false;
}

void shmem_memory_withdraw(struct shmem_memory *memory)
{
    g_autoptr(GError) error = NULL;
    if (move(memory, memory->parking, &error) || memory->failure_logged)
        return;
    memory->failure_logged = true; /* the guest has put something there itself, and can again */
    g_warning("shared memory stays visible: %s", error->message);
}
