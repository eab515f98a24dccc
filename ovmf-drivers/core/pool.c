/* Granted pages: see pool.h. */

#include "ovmf-drivers/core/pool.h"

static bool grant_next(struct pv_pool *pool, const struct pv_platform *platform, uint16_t domid)
{
    uint8_t *page = pv_pool_page(pool, pool->count);
    return platform->grant(platform->opaque, domid, platform->gfn(platform->opaque, page),
                           &pool->refs[pool->count]);
}

/* Of COUNT pages not all could be granted. */
static void give_up(struct pv_pool *pool, const struct pv_platform *platform, uint32_t count)
{
    uint32_t rest = pool->count;

    if (pool->refs[rest] != 0)
        platform->page_abandon(platform->opaque, pv_pool_page(pool, rest++), pool->lasting);
    if (rest < count)
        platform->pages_free(platform->opaque, pv_pool_page(pool, rest), count - rest);
    /* Nobody was told these references, but a backend may guess. */
    pv_pool_close(pool, platform);
}

bool pv_pool_open(struct pv_pool *pool, const struct pv_platform *platform, uint16_t domid,
                  uint32_t count, bool lasting)
{
    pool->count = 0;
    pool->lasting = lasting;
    pool->pages =
        count <= PV_POOL_PAGES_MAX ? platform->pages_new(platform->opaque, count, lasting) : NULL;
    if (!pool->pages)
        return false;
    while (pool->count < count && grant_next(pool, platform, domid))
        pool->count++;
    if (pool->count == count)
        return true;
    give_up(pool, platform, count);
    return false;
}

/* Page by page, when not all can be given back. */
static void give_back(const struct pv_pool *pool, const struct pv_platform *platform)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->refs[i] != 0)
            platform->page_abandon(platform->opaque, pv_pool_page(pool, i), pool->lasting);
        else
            platform->pages_free(platform->opaque, pv_pool_page(pool, i), 1);
    }
}

bool pv_pool_close(struct pv_pool *pool, const struct pv_platform *platform)
{
    bool released = true;

    if (!pool->pages)
        return true;
    for (uint32_t i = 0; i < pool->count; i++) {
        if (platform->ungrant(platform->opaque, pool->refs[i]))
            pool->refs[i] = 0;
        else
            released = false;
    }
    if (released && pool->count > 0)
        platform->pages_free(platform->opaque, pool->pages, pool->count);
    else
        give_back(pool, platform);
    pool->pages = NULL;
    pool->count = 0;
    return released;
}
