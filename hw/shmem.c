/*
 * The shmem role: a PCI function that guests' drivers know as QEMU's ivshmem-plain, that is
 * without interrupts and peers.  BAR0 has its registers, BAR2 is memory which processes of the
 * host can use too (docs/shmem.rst).
 *
 * Source: QEMU's docs/specs/ivshmem-spec, "PCI BARs".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define G_LOG_DOMAIN "shmem"
#include "hw/hw.h"

#include <string.h>

#include "hw/pci_role.h"
#include "hw/pci_slot.h"
#include "hw/shmem_memory.h"
#include "hw/shmem_registers.h"

/* Unless the options say others. */
#define DEFAULT_SLOT 30
#define DEFAULT_SIZE "4M"

#define MAX_SIZE (UINT64_C(1) << 40)

struct shmem {
    struct shmem_registers registers; /* first: their callbacks get its address */
    struct role_process *process;
    struct pci_role *pci;
    struct shmem_memory *memory;
};

static bool place(void *opaque, uint64_t first, GError **error)
{
    struct shmem *shmem = opaque;
    return shmem_memory_place(shmem->memory, first, error);
}

static void withdraw(void *opaque)
{
    struct shmem *shmem = opaque;
    shmem_memory_withdraw(shmem->memory);
}

static const struct pci_memory memory_hooks = { place, withdraw };

static struct pci_description describe(uint64_t size)
{
    return (struct pci_description){
        .name = "shmem",
        .vendor = 0x1AF4,
        .device = 0x1110,
        .subsystem_vendor = 0x1AF4,
        .subsystem = 0x1100,
        .class_code = 0x050000, /* memory controller, RAM */
        .revision = 1,
        .bars[0] = { .size = SHMEM_REGISTERS_SIZE, .ops = &shmem_registers_ops },
        .bars[2] = { .size = size,
                     .memory = &memory_hooks,
                     .type = PCI_BAR_MEMORY64,
                     .prefetchable = true },
    };
}

/* "16M", "8G": a power of two from 1 MiB. */
static bool parse_size(const char *text, uint64_t *size, GError **error)
{
    char *end;
    uint64_t number = g_ascii_isdigit(text[0]) ? g_ascii_strtoull(text, &end, 10) : 0;
    unsigned shift = 0;
    if (number && (*end == 'M' || *end == 'G'))
        shift = *end++ == 'M' ? 20 : 30;
    *size = number << shift;
    if (shift && !*end && number <= MAX_SIZE >> shift && (number & (number - 1)) == 0)
        return true;
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "role shmem: size=%s: a power of two with M or G is needed, from 1M to 1024G, such "
                "as 16M or 8G",
                text);
    return false;
}

static void shmem_free(struct shmem *shmem)
{
    pci_role_free(shmem->pci);
    shmem_memory_free(shmem->memory);
    g_free(shmem);
}

static bool set_up(struct shmem *shmem, uint64_t size, GError **error)
{
    struct pci_description description = describe(size);
    shmem->pci = pci_role_new(shmem->process, &description, DEFAULT_SLOT, shmem, error);
    if (!shmem->pci)
        return false;
    unsigned slot = pci_function_slot(pci_role_function(shmem->pci));
    shmem->memory = shmem_memory_new(role_process_domid(shmem->process), slot, size, error);
    return shmem->memory && pci_role_start(shmem->pci, error);
}

static void *shmem_start(struct role_process *process, GError **error)
{
    const char *option = role_process_option(process, "size");
    uint64_t size;
    if (!parse_size(option ? option : DEFAULT_SIZE, &size, error))
        return NULL;
    struct shmem *shmem = g_new0(struct shmem, 1);
    shmem->process = process;
    if (set_up(shmem, size, error))
        return shmem;
    shmem_free(shmem);
    return NULL;
}

static void shmem_stop(void *instance)
{
    struct shmem *shmem = instance;
    struct role_process *process = shmem->process;
    shmem_free(shmem);
    role_process_stopped(process);
}

static bool shmem_hole(char *const *options, struct hole_function *function, GError **error)
{
    const char *chosen = DEFAULT_SIZE;
    uint64_t size;
    for (char *const *option = options; *option; option++) {
        if (g_str_has_prefix(*option, "size="))
            chosen = *option + strlen("size=");
    }
    if (!parse_size(chosen, &size, error))
        return false;
    struct pci_description description = describe(size);
    return pci_role_hole(&description, DEFAULT_SLOT, options, function, error);
}

static const char *const shmem_options[] = { PCI_ROLE_OPTIONS, "size", NULL };

const struct role shmem_role = {
    .name = "shmem",
    .summary = "Memory that guest and host share: QEMU's ivshmem-plain, as a PCI function",
    .hvm_only = true,
    .options = shmem_options,
    .pci = shmem_hole,
    .start = shmem_start,
    .stop = shmem_stop,
};
