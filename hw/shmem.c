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

#include <string.h>

#include "hw/hole.h"
#include "hw/pci_slot.h"
#include "hw/shmem_registers.h"

/* QEMU and libxl give out slots from 0 upwards. */
#define DEFAULT_SLOT 30
#define MAX_SLOT 31

struct shmem {
    struct role_process *process;
    struct ioreq_server *server;
    struct pci_slots *slots;
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
    ioreq_server_free(shmem->server);
    pci_slots_free(shmem->slots);
    g_free(shmem);
}

static bool attach(struct shmem *shmem, guint64 slot, GError **error)
{
    unsigned domid = role_process_domid(shmem->process);
    shmem->server = ioreq_server_new(domid, error);
    if (!shmem->server ||
        !ioreq_server_set_poll(shmem->server, role_process_option(shmem->process, "poll"), error))
        return false;
    shmem->slots = pci_slots_new(shmem->server, domid, role_process_store(shmem->process), error);
    return shmem->slots &&
           pci_slots_add(shmem->slots, slot, &shmem_pci, &shmem->registers, error) &&
           ioreq_server_start(shmem->server, error);
}

static void *shmem_start(struct role_process *process, GError **error)
{
    guint64 slot;
    if (!role_process_option_uint(process, "slot", 1, MAX_SLOT, DEFAULT_SLOT, &slot, error))
        return NULL;

    struct shmem *shmem = g_new0(struct shmem, 1);
    shmem->process = process;
    if (!attach(shmem, slot, error)) {
        shmem_free(shmem);
        return NULL;
    }
    return shmem;
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
    guint64 slot = DEFAULT_SLOT;

    for (; *options; options++) {
        if (g_str_has_prefix(*options, "slot=") &&
            !g_ascii_string_to_unsigned(*options + strlen("slot="), 10, 1, MAX_SLOT, &slot, error))
            return false;
    }
    function->devfn = slot << 3;
    function->class_code = shmem_pci.class_code >> 8;
    function->bars[0] = (struct hole_bar){ .size = SHMEM_REGISTERS_SIZE, .kind = HOLE_MEMORY32 };
    return true;
}

static const char *const shmem_options[] = { "slot", "poll", NULL };

const struct role shmem_role = {
    .name = "shmem",
    .summary = "A PCI function that looks like QEMU's ivshmem-plain to an HVM guest",
    .hvm_only = true,
    .options = shmem_options,
    .pci = shmem_hole,
    .start = shmem_start,
    .stop = shmem_stop,
};
