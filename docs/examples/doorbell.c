/*
 * The doorbell: a PCI function that interrupts the guest when the guest rings it.
 *
 * BAR0 (memory) and BAR1 (I/O ports) have the same registers of 32 bits.  An access of any size
 * that starts where a register does reaches that register alone:
 *
 *   0x00  Scratch  read, write
 *   0x04  Rings    read: how often Ring was written
 *   0x08  Ring     write N: raises vector N of MSI-X
 *   0x0C  Line     read, write: bit 0 is the level of INTA#
 *
 * An administrator can ring it too: `rolemodel doorbell ring GUEST VECTOR`.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#define G_LOG_DOMAIN "doorbell"
#include "hw/pci_role.h"

#define SCRATCH 0x0
#define RINGS 0x4
#define RING 0x8
#define LINE 0xC

#define SLOT 29 /* unless the option slot says another */

struct doorbell {
    struct role_process *process;
    struct pci_role *pci;
    uint32_t scratch, rings, line;
};

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    struct doorbell *bell = opaque;
    switch (offset) {
    case SCRATCH:
        return bell->scratch;
    case RINGS:
        return bell->rings;
    case LINE:
        return bell->line;
    default:
        return UINT64_MAX; /* as where there is nothing */
    }
}

static void registers_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct doorbell *bell = opaque;
    switch (offset) {
    case SCRATCH:
        bell->scratch = value;
        break;
    case RING:
        bell->rings++;
        pci_function_raise(pci_role_function(bell->pci), value);
        break;
    case LINE:
        bell->line = value & 1;
        pci_function_set_intx(pci_role_function(bell->pci), bell->line);
        break;
    }
}

static const struct ioreq_ops registers = { registers_read, registers_write };

static const struct pci_description doorbell_pci = {
    .name = "doorbell",
    .vendor = 0x1AF4, /* 1af4:10f0 to 10ff are free for experiments (QEMU's docs/specs/pci-ids) */
    .device = 0x10F0,
    .class_code = 0xFF0000, /* no defined class */
    .interrupt_pin = 1,
    .bars[0] = { .size = 4096, .ops = &registers },
    .bars[1] = { .size = 16, .ops = &registers, .type = PCI_BAR_IO },
    .msix = { .vectors = 4, .bar = 0, .table = 0x800, .pba = 0xC00 },
};

static void *doorbell_start(struct role_process *process, GError **error)
{
    struct doorbell *bell = g_new0(struct doorbell, 1);
    bell->process = process;
    bell->pci = pci_role_new(process, &doorbell_pci, SLOT, bell, error);
    if (bell->pci && pci_role_start(bell->pci, error))
        return bell;
    pci_role_free(bell->pci);
    g_free(bell);
    return NULL;
}

static void doorbell_stop(void *instance)
{
    struct doorbell *bell = instance;
    struct role_process *process = bell->process;
    pci_role_free(bell->pci);
    g_free(bell);
    role_process_stopped(process);
}

/* For `rolemodel hole` and the check of the PCI hole at the guest's start. */
static bool doorbell_hole(char *const *options, struct hole_function *function, GError **error)
{
    return pci_role_hole(&doorbell_pci, SLOT, options, function, error);
}

/* `rolemodel doorbell ring GUEST VECTOR`: as if the guest had written it. */
static void ring(struct role_request *request, char *const *argv, void *instance)
{
    struct doorbell *bell = instance;
    g_autoptr(GError) error = NULL;
    guint64 vector;

    if (!role_parse_uint(argv[0], 0, UINT32_MAX, &vector, &error)) {
        role_request_fail(request, error);
        return;
    }
    pci_role_lock(bell->pci);
    registers_write(bell, RING, 4, vector);
    pci_role_unlock(bell->pci);
    role_request_reply(request, NULL);
}

static const struct role_command commands[] = {
    { "ring", "VECTOR", "Ring it, as the guest does", 1, 1, ring },
    { NULL },
};

static const char *const options[] = { PCI_ROLE_OPTIONS, NULL };

const struct role doorbell_role = {
    .name = "doorbell",
    .summary = "A PCI function that interrupts the guest when it is rung (an example)",
    .hvm_only = true,
    .options = options,
    .commands = commands,
    .pci = doorbell_hole,
    .start = doorbell_start,
    .stop = doorbell_stop,
};
