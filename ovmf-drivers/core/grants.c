/* The grant table: see grants.h. */

#include "ovmf-drivers/core/grants.h"

void pv_grants_init(struct pv_grants *grants, struct grant_entry_v1 *table, uint32_t count)
{
    *grants = (struct pv_grants){
        .table = table,
        .count = count < PV_GRANTS_MAX ? count : PV_GRANTS_MAX,
    };
    grants->next = grants->count - 1;
}

/* What somebody before us has granted, and not ended, is left to him. */
static bool is_free(const struct pv_grants *grants, uint32_t ref)
{
    return !(grants->used[ref / 32] & 1u << ref % 32) &&
           __atomic_load_n(&grants->table[ref].flags, __ATOMIC_RELAXED) == GTF_invalid;
}

/*
 * From the last one downwards: an operating system begins with the first, and would meet those that
 * a backend does not let go of.
 */
static bool find_free(struct pv_grants *grants, uint32_t *ref)
{
    for (uint32_t i = GNTTAB_NR_RESERVED_ENTRIES; i < grants->count; i++) {
        uint32_t candidate = grants->next;
        grants->next = candidate > GNTTAB_NR_RESERVED_ENTRIES ? candidate - 1 : grants->count - 1;
        if (is_free(grants, candidate)) {
            *ref = candidate;
            return true;
        }
    }
    return false;
}

bool pv_grants_make(struct pv_grants *grants, uint16_t domid, uint32_t gfn, uint32_t *ref)
{
    *ref = 0;
    if (!find_free(grants, ref))
        return false;
    grants->used[*ref / 32] |= 1u << *ref % 32;

    struct grant_entry_v1 *entry = &grants->table[*ref];
    __atomic_store_n(&entry->frame, gfn, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->domid, domid, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->flags, GTF_permit_access, __ATOMIC_RELEASE);
    return true;
}

bool pv_grants_end(struct pv_grants *grants, uint32_t ref)
{
    uint16_t unused = GTF_permit_access;

    /* Xen sets GTF_reading and GTF_writing in the same word while the page is in use. */
    if (!__atomic_compare_exchange_n(&grants->table[ref].flags, &unused, GTF_invalid, false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return false;
    grants->used[ref / 32] &= ~(1u << ref % 32);
    return true;
}
