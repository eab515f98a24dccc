/* A guest's frames beyond its memory, and the types of frames: see physmap.h. */

#define __XEN_TOOLS__ 1 /* hvmmem_type_t */
#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xen/xen.h>
#include <xen/hvm/hvm_op.h>

/* --- frames that were added --- */

static void file_name(char *name, size_t size, unsigned domid, uint32_t generation)
{
    snprintf(name, size, "added-%u.%u", domid, generation);
}

int sim_physmap_open(unsigned domid)
{
    struct sim_domain *domain = sim_domain(domid);
    char name[32];

    if (!domain)
        return -ESRCH;
    file_name(name, sizeof(name), domid, domain->generation);
    int fd = sim_open(name, O_RDWR | O_CREAT | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void sim_physmap_domain_gone(struct sim_hypervisor *xen, unsigned domid)
{
    char name[32];
    file_name(name, sizeof(name), domid, xen->domains[domid].generation);
    unlinkat(sim_directory_fd(), name, 0);
}

bool sim_physmap_has(const struct sim_domain *domain, uint64_t first, uint64_t last)
{
    return last < domain->pages || sim_rangeset_contains(&domain->ioreq.frames_added, first, last);
}

/* Makes the file long enough for frame LAST. */
static int extend(unsigned domid, uint64_t last)
{
    struct stat info;
    int fd = sim_physmap_open(domid);
    if (fd < 0)
        return fd;
    off_t length = (last + 1) * SIM_PAGE;
    bool failed = fstat(fd, &info) < 0 || (info.st_size < length && ftruncate(fd, length) < 0);
    int result = failed ? -errno : 0;
    close(fd);
    return result;
}

static int add_frames(unsigned domid, struct sim_domain *domain, uint64_t first, uint64_t last)
{
    struct sim_rangeset *added = &domain->ioreq.frames_added;
    if (last < domain->pages)
        return 0;
    if (first > last || first < domain->pages || last >= SIM_MAX_GFN)
        return -EINVAL;
    int result = extend(domid, last);
    if (result == 0)
        result = sim_rangeset_clear(added, first, last);
    return result < 0 ? result : sim_rangeset_add(added, first, last);
}

int sim_physmap_add(unsigned domid, uint64_t first, uint64_t count)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    int result = -ESRCH;

    sim_lock(xen);
    struct sim_domain *domain = sim_domain(domid);
    if (domain)
        result = count == 0 ? 0 : add_frames(domid, domain, first, first + (count - 1));
    sim_unlock(xen);
    return result;
}

/* Makes a hole in the file, so that frames that come back are zero. */
static int punch(unsigned domid, uint64_t first, uint64_t count)
{
    int fd = sim_physmap_open(domid);
    if (fd < 0)
        return fd;
    int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int result = fallocate(fd, mode, first * SIM_PAGE, count * SIM_PAGE) < 0 ? -errno : 0;
    close(fd);
    return result;
}

int sim_physmap_remove(unsigned domid, uint64_t first, uint64_t count)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    int result = -ESRCH;

    sim_lock(xen);
    struct sim_domain *domain = sim_domain(domid);
    if (domain) {
        struct sim_rangeset *added = &domain->ioreq.frames_added;
        uint64_t last = first + (count - 1);
        bool there = sim_rangeset_contains(added, first, last);
        result = there ? sim_rangeset_clear(added, first, last) : -EINVAL;
    }
    if (result == 0)
        result = punch(domid, first, count);
    sim_unlock(xen);
    return result;
}

/* --- moving --- */

/* Where one frame is: in which file. */
static int file_of(const struct sim_domain *domain, unsigned domid, int added, uint64_t gfn)
{
    return gfn < domain->pages ? sim_domain_memory_fd(domid) : added;
}

static int move_frame(int from, uint64_t source, int to, uint64_t dest)
{
    static const uint8_t zeroes[SIM_PAGE];
    uint8_t page[SIM_PAGE];
    bool moved = pread(from, page, SIM_PAGE, source * SIM_PAGE) == SIM_PAGE &&
                 pwrite(to, page, SIM_PAGE, dest * SIM_PAGE) == SIM_PAGE &&
                 pwrite(from, zeroes, SIM_PAGE, source * SIM_PAGE) == SIM_PAGE;
    return moved ? 0 : -EIO;
}

/* Upwards, as Xen does: frames that overlap move on. */
static int move_frames(unsigned domid, struct sim_domain *domain, uint64_t source, uint64_t dest,
                       uint64_t count)
{
    int result = add_frames(domid, domain, dest, dest + (count - 1));
    int added = result == 0 ? sim_physmap_open(domid) : -1;
    if (added < 0)
        return result < 0 ? result : added;
    for (uint64_t i = 0; i < count && result == 0; i++)
        result = move_frame(file_of(domain, domid, added, source + i), source + i,
                            file_of(domain, domid, added, dest + i), dest + i);
    close(added);
    return result;
}

/* Frames of the guest's own memory stay where they are, as zeroes; others are gone from there. */
static int move(unsigned domid, struct sim_domain *domain, uint64_t source, uint64_t dest,
                uint64_t count)
{
    uint64_t last = source + (count - 1);
    if (last < source || !sim_physmap_has(domain, source, last))
        return -EINVAL;
    int result = move_frames(domid, domain, source, dest, count);
    if (result < 0 || source < domain->pages)
        return result;
    result = sim_rangeset_clear(&domain->ioreq.frames_added, source, last);
    return result < 0 ? result : add_frames(domid, domain, dest, dest + (count - 1));
}

int sim_physmap_move(unsigned domid, uint64_t source, uint64_t dest, uint64_t count)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    int result = 0;

    sim_lock(xen);
    struct sim_domain *domain = sim_ioreq_target(domid, &result);
    if (domain && count > 0 && source != dest)
        result = move(domid, domain, source, dest, count);
    sim_unlock(xen);
    return result;
}

/* --- types --- */

/* Frames of type ioreq_server come from and go back to plain memory; emulated ones stay so. */
static int change_type(struct sim_ioreq_domain *ioreq, uint16_t type, uint64_t first, uint64_t last)
{
    bool server = sim_rangeset_overlaps(&ioreq->frames_server, first, last);
    bool read_only = sim_rangeset_overlaps(&ioreq->frames_read_only, first, last);
    bool emulated = sim_rangeset_overlaps(&ioreq->frames_emulated, first, last);

    switch (type) {
    case HVMMEM_ram_rw:
        if (emulated)
            return -EINVAL;
        sim_rangeset_clear(&ioreq->frames_server, first, last);
        return sim_rangeset_clear(&ioreq->frames_read_only, first, last);
    case HVMMEM_ram_ro:
        if (emulated || server)
            return -EINVAL;
        sim_rangeset_clear(&ioreq->frames_read_only, first, last);
        return sim_rangeset_add(&ioreq->frames_read_only, first, last);
    case HVMMEM_mmio_dm:
        if (server)
            return -EINVAL;
        sim_rangeset_clear(&ioreq->frames_read_only, first, last);
        sim_rangeset_clear(&ioreq->frames_emulated, first, last);
        return sim_rangeset_add(&ioreq->frames_emulated, first, last);
    case HVMMEM_ioreq_server:
        if (!ioreq->frames_owner || server || read_only || emulated)
            return -EINVAL;
        return sim_rangeset_add(&ioreq->frames_server, first, last);
    default:
        return -EINVAL;
    }
}

int sim_physmap_set_type(unsigned domid, uint16_t type, uint64_t first, uint32_t count)
{
    uint64_t last = first + count - 1;
    int result = 0;

    sim_lock(sim_hypervisor());
    struct sim_domain *domain = sim_ioreq_target(domid, &result);
    if (domain && (first > last || !sim_physmap_has(domain, first, last)))
        result = -EINVAL;
    else if (domain)
        result = change_type(&domain->ioreq, type, first, last);
    sim_unlock(sim_hypervisor());
    return result;
}
