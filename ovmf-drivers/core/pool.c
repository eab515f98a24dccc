/* Granted pages: see pool.h. */

#include "ovmf-drivers/core/pool.h"

bool pv_pool_open(struct pv_pool *pool, const struct pv_platform *platform,
                  struct pv_grants *grants, uint16_t domid, uint32_t count, bool lasting)
{
    pool->count = 0;
    pool->pages =
        count <= PV_POOL_PAGES_MAX ? platform->pages_new(platform->opaque, count, lasting) : NULL;
    if (!pool->pages)
        return false;
    while (pool->count < count &&
           pv_grants_make(grants, domid,
                          platform->gfn(platform->opaque, pv_pool_page(pool, pool->count)),
                          &pool->refs[pool->count]))
        pool->count++;
    if (pool->count == count)
        return true;
    /* Nobody knows these references yet, so they all end, and the rest has none. */
    for (uint32_t i = 0; i < pool->count; i++)
        pv_grants_end(grants, pool->refs[i]);
    platform->pages_free(platform->opaque, pool->pages, count);
    *pool = (struct pv_pool){ 0 };
    return false;
}

/* Page by page, when not all can be given back. */
static void give_back(const struct pv_pool *pool, const struct pv_platform *platform,
                      const struct pv_grants *grants)
{
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pv_grants_in_use(grants, pool->refs[i]))
            platform->page_abandon(platform->opaque, pv_pool_page(pool, i));
        else
            platform->pages_free(platform->opaque, pv_pool_page(pool, i), 1);
    }
}

bool pv_pool_close(struct pv_pool *pool, const struct pv_platform *platform,
                   struct pv_grants *grants)
{
    bool released = true;

    if (!pool->pages)
        return true;
    for (uint32_t i = 0; i < pool->count; i++)
        released &= pv_grants_end(grants, pool->refs[i]);
    if (released)
        platform->pages_free(platform->opaque, pool->pages, pool->count);
    else
        give_back(pool, platform, grants);
    pool->pages = NULL;
    pool->count = 0;
    return released;
}
