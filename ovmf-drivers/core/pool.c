/* Granted pages: see pool.h. */

#include "ovmf-drivers/core/pool.h"

bool pv_pool_open(struct pv_pool *pool, const struct pv_platform *platform, uint16_t domid,
                  uint32_t count, bool lasting)
{
    pool->count = 0;
    pool->pages =
        count <= PV_POOL_PAGES_MAX ? platform->pages_new(platform->opaque, count, lasting) : NULL;
    if (!pool->pages)
        return false;
    while (pool->count < count &&
           platform->grant(platform->opaque, domid,
                           platform->gfn(platform->opaque, pv_pool_page(pool, pool->count)),
                           &pool->refs[pool->count]))
        pool->count++;
    if (pool->count == count)
        return true;
    /* Nobody knows these references yet, so they all end, and the rest has none. */
    for (uint32_t i = 0; i < pool->count; i++)
        platform->ungrant(platform->opaque, pool->refs[i]);
    platform->pages_free(platform->opaque, pool->pages, count);
    *pool = (struct pv_pool){ 0 };
    return false;
}

/* Page by page, when not all can be given back. */
static void give_back(const struct pv_pool *pool, const struct pv_platform *platform)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pool->refs[i] != 0)
            platform->page_abandon(platform->opaque, pv_pool_page(pool, i));
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
    if (released)
        platform->pages_free(platform->opaque, pool->pages, pool->count);
    else
        give_back(pool, platform);
    pool->pages = NULL;
    pool->count = 0;
    return released;
}
