/* Memory: see pages.h. */

#include "ovmf-drivers/pvblk/pages.h"

void *pages_new(void *opaque, size_t count, bool lasting)
{
    const struct pages *pages = opaque;
    efi_physical_address address;

    if (EFI_IS_ERROR(pages->boot->allocate_pages(
            EFI_ALLOCATE_ANY_PAGES, lasting ? EFI_RESERVED_MEMORY : EFI_BOOT_SERVICES_DATA, count,
            &address)))
        return NULL;
    __builtin_memset((void *)address, 0, count * PV_PAGE);
    return (void *)address;
}

/* On the way out all memory becomes the operating system's; a change would only disturb. */
void pages_free(void *opaque, void *first, size_t count)
{
    const struct pages *pages = opaque;
    if (pages->phase == PAGES_BOOTING)
        pages->boot->free_pages((efi_physical_address)first, count);
}

/*
 * The operating system must not get it either, so it changes its type; at this priority nobody
 * comes between. When the memory map is final the page gets other memory instead: what the backend
 * has is not the guest's any more.
 */
void pages_abandon(void *opaque, void *page, bool lasting)
{
    const struct pages *pages = opaque;
    efi_physical_address address = (efi_physical_address)page;

    if (lasting)
        return; /* it is of that type from the beginning */
    if (pages->phase == PAGES_LEFT) {
        xen_replace(&pages->xen, address / PV_PAGE);
        return;
    }
    pages->boot->free_pages(address, 1);
    pages->boot->allocate_pages(EFI_ALLOCATE_ADDRESS, EFI_RESERVED_MEMORY, 1, &address);
}

uint32_t pages_gfn(void *opaque, const void *page)
{
    return (uintptr_t)page / PV_PAGE;
}
