/* Guest memory: see memory.h. */

#define G_LOG_DOMAIN "memory"
#include "xen/memory.h"

#include <string.h>
#include <sys/mman.h>
#include <xenforeignmemory.h>

#include "xen/error.h"
#include "xen/grant.h" /* XEN_PAGE_SIZE */

struct xen_memory {
    xenforeignmemory_handle *handle;
    unsigned domid;
};

struct xen_resource {
    struct xen_memory *memory;
    xenforeignmemory_resource_handle *handle;
    void *address;
};

struct xen_memory *xen_memory_open(unsigned domid, GError **error)
{
    xenforeignmemory_handle *handle = xenforeignmemory_open(NULL, 0);
    if (!handle) {
        xen_set_error(error, "cannot open guest memory (/dev/xen/privcmd)");
        return NULL;
    }
    struct xen_memory *memory = g_new0(struct xen_memory, 1);
    memory->handle = handle;
    memory->domid = domid;
    return memory;
}

void xen_memory_close(struct xen_memory *memory)
{
    if (!memory)
        return;
    xenforeignmemory_close(memory->handle);
    g_free(memory);
}

/* Copies inside one page, in the direction that WRITE says. */
static bool copy_in_page(struct xen_memory *memory, uint64_t address, void *buffer, size_t length,
                         bool write)
{
    xen_pfn_t gfn = address / XEN_PAGE_SIZE;
    int err = 0;
    uint8_t *page = xenforeignmemory_map(memory->handle, memory->domid,
                                         write ? PROT_READ | PROT_WRITE : PROT_READ, 1, &gfn, &err);
    if (!page)
        return false;
    if (err == 0) {
        uint8_t *at = page + address % XEN_PAGE_SIZE;
        if (write)
            memcpy(at, buffer, length);
        else
            memcpy(buffer, at, length);
    }
    xenforeignmemory_unmap(memory->handle, page, 1);
    return err == 0;
}

static bool copy(struct xen_memory *memory, uint64_t address, void *buffer, size_t length,
                 bool write)
{
    for (size_t done = 0; done < length;) {
        size_t piece = MIN(length - done, XEN_PAGE_SIZE - (address + done) % XEN_PAGE_SIZE);
        if (!copy_in_page(memory, address + done, (uint8_t *)buffer + done, piece, write))
            return false;
        done += piece;
    }
    return true;
}

bool xen_memory_read(struct xen_memory *memory, uint64_t address, void *buffer, size_t length)
{
    return copy(memory, address, buffer, length, false);
}

bool xen_memory_write(struct xen_memory *memory, uint64_t address, const void *buffer,
                      size_t length)
{
    return copy(memory, address, (void *)buffer, length, true);
}

struct xen_resource *xen_resource_map(struct xen_memory *memory, unsigned type, unsigned id,
                                      unsigned long frame, unsigned long count, GError **error)
{
    void *address = NULL;
    xenforeignmemory_resource_handle *handle = xenforeignmemory_map_resource(
        memory->handle, memory->domid, type, id, frame, count, &address, PROT_READ | PROT_WRITE, 0);
    if (!handle) {
        xen_set_error(error, "cannot map resource %u.%u of domain %u", type, id, memory->domid);
        return NULL;
    }
    struct xen_resource *resource = g_new0(struct xen_resource, 1);
    resource->memory = memory;
    resource->handle = handle;
    resource->address = address;
    return resource;
}

void *xen_resource_address(struct xen_resource *resource)
{
    return resource->address;
}

void xen_resource_unmap(struct xen_resource *resource)
{
    if (!resource)
        return;
    xenforeignmemory_unmap_resource(resource->memory->handle, resource->handle);
    g_free(resource);
}
