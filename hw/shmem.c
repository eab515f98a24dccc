/*
 * The shmem role: a PCI function that guests' drivers know as QEMU's ivshmem-plain, that is
 * without interrupts and peers.  BAR0 has its registers; BAR2, the memory, is not there yet.
 *
 * Source: QEMU's docs/specs/ivshmem-spec, "PCI BARs".
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define G_LOG_DOMAIN "shmem"
#include "hw/hw.h"

#include "hw/pci_role.h"
#include "hw/shmem_registers.h"

/* QEMU and libxl give out slots from 0 upwards. */
#define DEFAULT_SLOT 30

struct shmem {
    struct role_process *process;
    struct pci_role *pci;
    struct shmem_registers registers;
};

static const struct pci_description shmem_pci = {
    .name = "shmem",
    .vendor = 0x1AF4,
    .device = 0x1110,
    .subsystem_vendor = 0x1AF4,
    .subsystem = 0x1100,
    .class_code = 0x050000, /* memory controller, RAM */
    .revision = 1,
    .bars[0] = { .size = SHMEM_REGISTERS_SIZE, .ops = &shmem_registers_ops },
};

static void shmem_free(struct shmem *shmem)
{
    pci_role_free(shmem->pci);
    g_free(shmem);
}

static void *shmem_start(struct role_process *process, GError **error)
{
    struct shmem *shmem = g_new0(struct shmem, 1);
    shmem->process = process;
    shmem->pci = pci_role_new(process, &shmem_pci, DEFAULT_SLOT, &shmem->registers, error);
    if (shmem->pci && pci_role_start(shmem->pci, error))
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
    return pci_role_hole(&shmem_pci, DEFAULT_SLOT, options, function, error);
}

static const char *const shmem_options[] = { PCI_ROLE_OPTIONS, NULL };

const struct role shmem_role = {
    .name = "shmem",
    .summary = "A PCI function that looks like QEMU's ivshmem-plain to an HVM guest",
    .hvm_only = true,
    .options = shmem_options,
    .pci = shmem_hole,
    .start = shmem_start,
    .stop = shmem_stop,
};
