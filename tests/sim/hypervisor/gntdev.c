/* /dev/xen/gntdev and /dev/xen/gntalloc: see gntdev.h. */

#include "tests/sim/hypervisor/hypervisor.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define DOM0 0

static struct sim_gntdev *gntdev_of(struct sim_hypervisor *xen)
{
    return &xen->gntdev;
}

/* Addresses for COUNT pages, with nothing there yet. */
static int reserve(uint32_t count, uint8_t **address)
{
    *address = mmap(NULL, (size_t)count * SIM_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return *address == MAP_FAILED ? -errno : 0;
}

static int map_frames(uint8_t *address, unsigned domid, uint64_t frame, uint32_t count, int prot)
{
    int fd = sim_domain_memory_fd(domid);
    if (fd < 0)
        return -EINVAL;
    void *at = mmap(address, (size_t)count * SIM_PAGE, prot, MAP_SHARED | MAP_FIXED, fd,
                    (off_t)(frame * SIM_PAGE));
    return at == MAP_FAILED ? -errno : 0;
}

/* --- what happens at the end of a mapping --- */

static bool notify_possible(unsigned domid, const struct sim_unmap_notify *notify, uint32_t count,
                            bool writable)
{
    if (notify->offset != SIM_NO_BYTE && notify->offset < count * SIM_PAGE && !writable)
        return false;
    return notify->port == SIM_NO_PORT || sim_evtchn_is_open(domid, notify->port);
}

/* FRAME is that of the page with the byte. */
static void clear_byte(unsigned domid, uint64_t frame, uint32_t offset)
{
    uint8_t *memory = sim_domain_memory(domid);
    if (memory)
        __atomic_store_n(memory + frame * SIM_PAGE + offset % SIM_PAGE, 0, __ATOMIC_SEQ_CST);
}

static void send_event(sim_user_id user, const struct sim_unmap_notify *notify)
{
    const struct sim_user *owner = sim_user(user);
    if (owner && notify->port != SIM_NO_PORT)
        sim_evtchn_send(owner->domid, notify->port);
}

/* --- mapped grants --- */

static int find_free_maps(const struct sim_gntdev *gntdev, uint32_t count)
{
    uint32_t run = 0;
    for (uint32_t i = 0; i < SIM_MAPS; i++) {
        run = gntdev->maps[i].user == SIM_KERNEL ? run + 1 : 0;
        if (run == count)
            return i + 1 - count;
    }
    return -ENOMEM;
}

static bool still_there(const struct sim_map *map)
{
    const struct sim_domain *domain = sim_domain(map->domid);
    return domain && domain->generation == map->generation;
}

static void unpin(struct sim_map *map)
{
    if (still_there(map))
        sim_grant_unmap(map->domid, map->ref, map->writable);
    map->user = SIM_KERNEL;
    map->count = 0;
}

/* Ends the mapping whose first grant is MAP, or what was pinned of it so far. */
static void end_mapping(struct sim_gntdev *gntdev, struct sim_map *map, bool notify)
{
    struct sim_unmap_notify what = map->notify;
    sim_user_id user = map->user;
    uint32_t count = map->count, page = what.offset / SIM_PAGE;

    if (notify && what.offset != SIM_NO_BYTE && page < count && still_there(&map[page]))
        clear_byte(map[page].domid, map[page].frame, what.offset);
    for (uint32_t i = 0; i < count; i++)
        unpin(&map[i]);
    while (gntdev->maps_used > 0 && gntdev->maps[gntdev->maps_used - 1].user == SIM_KERNEL)
        gntdev->maps_used--;
    if (notify)
        send_event(user, &what);
}

/* Pins the grants of REQUEST; MAP[0].count says how many when that fails. */
static int pin_all(const struct sim_user *owner, sim_user_id user,
                   const struct sim_map_request *request, struct sim_map *map)
{
    bool writable = request->prot & PROT_WRITE;
    for (uint32_t i = 0; i < request->count; i++) {
        unsigned domid = request->domids[i * request->stride];
        uint32_t frame;
        if (sim_grant_map(domid, request->refs[i], owner->domid, writable, &frame) < 0)
            return -EINVAL; /* whatever Xen's reason was, this is what mmap() gives */
        map[i] = (struct sim_map){ .user = user,
                                   .ref = request->refs[i],
                                   .frame = frame,
                                   .generation = sim_domain(domid)->generation,
                                   .domid = domid,
                                   .writable = writable,
                                   .notify = { SIM_NO_BYTE, SIM_NO_PORT } };
        map[0].count = i + 1;
    }
    return 0;
}

/* Maps the pinned frames, adjacent ones in one go. */
static int map_pinned(const struct sim_map *map, int prot)
{
    uint8_t *address = (uint8_t *)(uintptr_t)map->address;
    uint32_t first = 0;

    for (uint32_t i = 1; i <= map->count; i++) {
        bool adjacent = i < map->count && map[i].domid == map[first].domid &&
                        map[i].frame == map[first].frame + (i - first);
        if (adjacent)
            continue;
        int result = map_frames(address + (size_t)first * SIM_PAGE, map[first].domid,
                                map[first].frame, i - first, prot);
        if (result < 0)
            return result;
        first = i;
    }
    return 0;
}

static int make_mapping(const struct sim_user *owner, sim_user_id user,
                        const struct sim_map_request *request, struct sim_map *map)
{
    uint8_t *address;
    int result = pin_all(owner, user, request, map);
    if (result == 0)
        result = reserve(request->count, &address);
    if (result < 0)
        return result;
    map->address = (uintptr_t)address;
    result = map_pinned(map, request->prot);
    bool writable = request->prot & PROT_WRITE;
    if (result == 0 && !notify_possible(owner->domid, &request->notify, request->count, writable))
        result = -EINVAL;
    if (result < 0)
        munmap(address, (size_t)request->count * SIM_PAGE);
    else
        map->notify = request->notify;
    return result;
}

static int map_locked(struct sim_hypervisor *xen, sim_user_id user,
                      const struct sim_map_request *request, void **address)
{
    struct sim_gntdev *gntdev = gntdev_of(xen);
    const struct sim_user *owner = sim_user(user);
    if (!owner)
        return -EBADF;
    int first = find_free_maps(gntdev, request->count);
    if (first < 0) {
        sim_user_reap_all();
        first = find_free_maps(gntdev, request->count);
    }
    if (first < 0)
        return first;
    if (gntdev->maps_used < first + request->count)
        gntdev->maps_used = first + request->count;
    struct sim_map *map = &gntdev->maps[first];
    int result = make_mapping(owner, user, request, map);
    if (result < 0)
        end_mapping(gntdev, map, false);
    else
        *address = (void *)(uintptr_t)map->address;
    return result;
}

int sim_gntdev_map(sim_user_id user, const struct sim_map_request *request, void **address)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    if (request->count == 0 || request->count > SIM_MAPS_REQUEST)
        return -EINVAL;
    sim_lock(xen);
    int result = map_locked(xen, user, request, address);
    sim_unlock(xen);
    return result;
}

static struct sim_map *find_mapping(struct sim_gntdev *gntdev, sim_user_id user, uint64_t address)
{
    for (uint32_t i = 0; i < gntdev->maps_used; i++) {
        struct sim_map *map = &gntdev->maps[i];
        if (map->user == user && map->count > 0 && map->address == address)
            return map;
    }
    return NULL;
}

int sim_gntdev_unmap(sim_user_id user, void *address, uint32_t count)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    sim_lock(xen);
    struct sim_map *map = find_mapping(gntdev_of(xen), user, (uintptr_t)address);
    int result = map && map->count == count ? 0 : -EINVAL;
    if (result == 0 && munmap(address, (size_t)count * SIM_PAGE) < 0)
        result = -errno;
    if (result == 0)
        end_mapping(gntdev_of(xen), map, true);
    sim_unlock(xen);
    return result;
}

static bool maps(const struct sim_map *map, unsigned domid, uint32_t ref)
{
    return map->user != SIM_KERNEL && map->domid == domid && map->ref == ref && still_there(map);
}

void sim_gntdev_reap_mappers(unsigned domid, uint32_t ref)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct sim_pins mapped = { 0 };

    if (!xen)
        return;
    sim_lock(xen);
    struct sim_gntdev *gntdev = gntdev_of(xen);
    for (uint32_t i = 0; i < gntdev->maps_used; i++) {
        struct sim_map *map = &gntdev->maps[i];
        if (maps(map, domid, ref))
            sim_user_reap(map->user);
        if (maps(map, domid, ref))
            (*(map->writable ? &mapped.writers : &mapped.readers))++;
    }
    sim_grant_heal(domid, ref, mapped);
    sim_unlock(xen);
}

/* --- shared pages --- */

static struct grant_entry_v1 *share_entry(struct sim_hypervisor *xen, unsigned index)
{
    return &xen->domains[DOM0].gnttab.entries[SIM_SHARES_REF + index];
}

static void end_share(struct sim_hypervisor *xen, unsigned index)
{
    struct sim_share *share = &gntdev_of(xen)->shares[index];
    share->ending = !sim_grant_end(share_entry(xen, index));
    if (!share->ending)
        share->user = SIM_KERNEL;
    share->count = 0;
}

static void end_area(struct sim_hypervisor *xen, unsigned first)
{
    struct sim_share *share = &gntdev_of(xen)->shares[first];
    struct sim_unmap_notify notify = share->notify;
    sim_user_id user = share->user;
    uint32_t count = share->count, page = notify.offset / SIM_PAGE;

    if (notify.offset != SIM_NO_BYTE && page < count)
        clear_byte(DOM0, SIM_SHARES_FRAME + first + page, notify.offset);
    send_event(user, &notify);
    for (uint32_t i = 0; i < count; i++)
        end_share(xen, first + i);
}

static int find_free_shares(struct sim_hypervisor *xen, uint32_t count)
{
    uint32_t run = 0;
    for (unsigned i = 0; i < SIM_SHARES; i++) {
        struct sim_share *share = &gntdev_of(xen)->shares[i];
        if (share->ending)
            end_share(xen, i);
        run = share->user == SIM_KERNEL ? run + 1 : 0;
        if (run == count)
            return i + 1 - count;
    }
    return -ENOSPC;
}

static int map_area(unsigned first, uint32_t count, uint8_t **address)
{
    int result = reserve(count, address);
    if (result < 0)
        return result;
    result = map_frames(*address, DOM0, SIM_SHARES_FRAME + first, count, PROT_READ | PROT_WRITE);
    if (result < 0)
        munmap(*address, (size_t)count * SIM_PAGE);
    else
        memset(*address, 0, (size_t)count * SIM_PAGE);
    return result;
}

static int share_locked(struct sim_hypervisor *xen, sim_user_id user,
                        const struct sim_share_request *request, uint32_t *refs, void **area)
{
    uint8_t *address;
    int first = find_free_shares(xen, request->count);
    if (first < 0) {
        sim_user_reap_all();
        first = find_free_shares(xen, request->count);
    }
    if (first < 0)
        return first;
    if (!notify_possible(DOM0, &request->notify, request->count, true))
        return -EINVAL;
    int result = map_area(first, request->count, &address);
    if (result < 0)
        return result;
    for (uint32_t i = 0; i < request->count; i++) {
        struct grant_entry_v1 *entry = share_entry(xen, first + i);
        gntdev_of(xen)->shares[first + i] = (struct sim_share){ .user = user };
        refs[i] = SIM_SHARES_REF + first + i;
        entry->frame = SIM_SHARES_FRAME + first + i;
        entry->domid = request->domid;
        __atomic_store_n(&entry->flags, GTF_permit_access | (request->writable ? 0 : GTF_readonly),
                         __ATOMIC_RELEASE);
    }
    struct sim_share *share = &gntdev_of(xen)->shares[first];
    share->count = request->count;
    share->address = (uintptr_t)address;
    share->notify = request->notify;
    *area = address;
    return 0;
}

int sim_gntalloc_share(sim_user_id user, const struct sim_share_request *request, uint32_t *refs,
                       void **address)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    if (request->count == 0)
        return -EINVAL;
    sim_lock(xen);
    int result = share_locked(xen, user, request, refs, address);
    sim_unlock(xen);
    return result;
}

static int find_area(struct sim_gntdev *gntdev, sim_user_id user, uint64_t address)
{
    for (unsigned i = 0; i < SIM_SHARES; i++) {
        const struct sim_share *share = &gntdev->shares[i];
        if (share->user == user && share->count > 0 && share->address == address)
            return i;
    }
    return -EINVAL;
}

int sim_gntalloc_unshare(sim_user_id user, void *address, uint32_t count)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    if (!xen)
        return -ENOENT;
    sim_lock(xen);
    int first = find_area(gntdev_of(xen), user, (uintptr_t)address);
    int result = first >= 0 && gntdev_of(xen)->shares[first].count == count ? 0 : -EINVAL;
    if (result == 0 && munmap(address, (size_t)count * SIM_PAGE) < 0)
        result = -errno;
    if (result == 0)
        end_area(xen, first);
    sim_unlock(xen);
    return result;
}

/* --- users --- */

bool sim_gntdev_busy(sim_user_id user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    bool busy = false;

    if (!xen)
        return false;
    sim_lock(xen);
    const struct sim_gntdev *gntdev = gntdev_of(xen);
    for (uint32_t i = 0; i < gntdev->maps_used && !busy; i++)
        busy = gntdev->maps[i].user == user;
    for (unsigned i = 0; i < SIM_SHARES && !busy; i++)
        busy = gntdev->shares[i].user == user && !gntdev->shares[i].ending;
    sim_unlock(xen);
    return busy;
}

void sim_gntdev_user_gone(sim_user_id user)
{
    struct sim_hypervisor *xen = sim_hypervisor();
    struct sim_gntdev *gntdev = gntdev_of(xen);

    for (uint32_t i = 0; i < gntdev->maps_used; i++) {
        if (gntdev->maps[i].user == user && gntdev->maps[i].count > 0)
            end_mapping(gntdev, &gntdev->maps[i], true);
    }
    for (unsigned i = 0; i < SIM_SHARES; i++) {
        if (gntdev->shares[i].user == user && gntdev->shares[i].count > 0)
            end_area(xen, i);
    }
}
