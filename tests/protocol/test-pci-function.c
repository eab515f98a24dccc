/*
 * A PCI function on a real ioreq server in this process, as a role has it: the guest's vCPU
 * programs its interrupts and makes the device raise them; slots are chosen and noted.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "hw/pci_slot.h"
#include "tests/sim/guest/vcpu.h"
#include "tests/sim/sim.h"
#include "tests/sim/toolstack.h"

#define PAGES (16 << 20 >> 12)
#define COMMAND 0x04
#define BAR0 0x10
#define BAR1 0x14
#define WINDOW 0xF0000000
#define PORT 0xC000
#define TABLE (WINDOW + 0x800)
#define MESSAGE 0xFEE00000
#define VECTORS 4

struct fixture {
    struct guest *guest;
    struct xen_store *store;
    struct ioreq_server *server;
    struct pci_slots *slots;
    struct pci_function *function;
    unsigned slot, msix;
};

/* Its one register: bits 0 to 7 raise that vector; bit 8 is the INTx level. */
static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x1234;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fixture *f = opaque;
    pci_function_raise(f->function, value & 0xFF);
    pci_function_set_intx(f->function, value & 0x100);
}

static const struct ioreq_ops device_ops = { device_read, device_write };

static const struct pci_description card = {
    .name = "card",
    .vendor = 0x1AF4,
    .device = 0x1110,
    .interrupt_pin = 2,
    .bars[0] = { .size = 4096, .ops = &device_ops },
    .bars[1] = { .size = 16, .ops = &device_ops, .type = PCI_BAR_IO },
    .msix = { .vectors = VECTORS, .bar = 0, .table = 0x800, .pba = 0xC00 },
};

static struct pci_function *add(struct fixture *f, unsigned slot, GError **error)
{
    return pci_slots_add(f->slots, slot, &card, f, error);
}

static void set_up(struct fixture *f, gconstpointer unused)
{
    struct toolstack_guest guest = { "hvm", 1, PAGES };
    g_autoptr(GError) error = NULL;
    f->guest = toolstack_create(&guest);
    unsigned domid = guest_domid(f->guest);
    f->store = xen_store_open(&error);
    g_assert_no_error(error);
    f->server = ioreq_server_new(domid, &error);
    g_assert_no_error(error);
    f->slots = pci_slots_new(f->server, domid, f->store, &error);
    g_assert_no_error(error);
    f->function = add(f, PCI_SLOT_ANY, &error);
    g_assert_no_error(error);
    ioreq_server_start(f->server, &error);
    g_assert_no_error(error);
    f->slot = pci_function_slot(f->function);
    f->msix = pci_function_capability(f->function, PCI_CAPABILITY_MSIX, 0);
}

static void tear_down(struct fixture *f, gconstpointer unused)
{
    ioreq_server_free(f->server);
    pci_slots_free(f->slots);
    g_assert_cmpuint(vcpu_intx_level(f->guest, f->slot, 1), ==, 0); /* nothing is left raised */
    xen_store_close(f->store);
    toolstack_destroy(f->guest);
}

/* --- the vCPU --- */

static void set_config(struct fixture *f, unsigned offset, unsigned size, uint32_t value)
{
    vcpu_config_write(f->guest, f->slot, 0, offset, size, value);
}

static void test_interrupts(struct fixture *f, gconstpointer unused)
{
    g_assert_cmphex(vcpu_config_read(f->guest, f->slot, 0, 0, 4), ==, 0x11101AF4);
    set_config(f, BAR0, 4, WINDOW);
    set_config(f, BAR1, 4, PORT);
    set_config(f, COMMAND, 2, 7);
    g_assert_cmphex(vcpu_load(f->guest, WINDOW, 4), ==, 0x1234);
    g_assert_cmphex(vcpu_in(f->guest, PORT, 2), ==, 0x1234);

    /* INTB#, and no message. */
    vcpu_out(f->guest, PORT, 2, 0x101);
    g_assert_cmpuint(vcpu_intx_level(f->guest, f->slot, 1), ==, 1);
    set_config(f, COMMAND, 2, 0x407);
    g_assert_cmpuint(vcpu_intx_level(f->guest, f->slot, 1), ==, 0);
    set_config(f, COMMAND, 2, 7);
    g_assert_cmpuint(vcpu_intx_level(f->guest, f->slot, 1), ==, 1);

    /* MSI-X: the line falls; what is masked pends. */
    set_config(f, f->msix + 2, 2, 0x8000);
    g_assert_cmpuint(vcpu_intx_level(f->guest, f->slot, 1), ==, 0);
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        vcpu_store(f->guest, TABLE + 16 * vector, 8, MESSAGE);
        vcpu_store(f->guest, TABLE + 16 * vector + 8, 4, 0x40 + vector);
        vcpu_store(f->guest, WINDOW, 4, 0x100 | vector);
        g_assert_cmpuint(vcpu_msi_count(f->guest, MESSAGE, 0x40 + vector), ==, 0);
    }
    g_assert_cmphex(vcpu_load(f->guest, WINDOW + 0xC00, 8), ==, 0xF);
    for (unsigned vector = 0; vector < VECTORS; vector++) {
        vcpu_store(f->guest, TABLE + 16 * vector + 12, 4, 0);
        for (unsigned i = 0; i < vector; i++)
            vcpu_store(f->guest, WINDOW, 4, 0x100 | vector);
        g_assert_cmpuint(vcpu_msi_count(f->guest, MESSAGE, 0x40 + vector), ==, 1 + vector);
    }

    /* Raised by the role itself, beside what the guest does. */
    ioreq_server_lock(f->server);
    g_assert_true(pci_function_raise(f->function, 0));
    ioreq_server_unlock(f->server);
    g_assert_cmpuint(vcpu_msi_count(f->guest, MESSAGE, 0x40), ==, 2);
    set_config(f, f->msix + 2, 2, 0);
    g_assert_cmpuint(vcpu_intx_level(f->guest, f->slot, 1), ==, 1);
}

/* --- slots --- */

static void set_note(struct fixture *f, unsigned slot, const char *who, int pid)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_strdup_printf("device-model/%u/pci", guest_domid(f->guest));
    g_autofree char *node = g_strdup_printf("%u", slot);
    xen_store_write(f->store, dir, node, &error, "%s %d", who, pid);
    g_assert_no_error(error);
}

static void test_slots(struct fixture *f, gconstpointer unused)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *dir = g_strdup_printf("device-model/%u/pci", guest_domid(f->guest));
    g_autofree char *ours = g_strdup_printf("card %d", getpid());
    g_assert_cmpuint(f->slot, ==, 31);
    g_autofree char *note = xen_store_read(f->store, dir, "31", &error);
    g_assert_cmpstr(note, ==, ours);

    set_note(f, 30, "other", getppid());
    set_note(f, 29, "dead", 0x3FFFFFFF); /* above any pid_max */
    g_assert_cmpuint(pci_function_slot(add(f, PCI_SLOT_ANY, &error)), ==, 29);
    g_assert_null(add(f, 30, &error));
    g_assert_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(EBUSY));
    g_assert_nonnull(strstr(error->message, "other (process"));
    g_clear_error(&error);
    g_assert_null(add(f, 31, &error));
    g_assert_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(EBUSY));
    g_clear_error(&error);
    g_assert_null(add(f, 32, &error));
    g_assert_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(EINVAL));
    g_clear_error(&error);
    for (unsigned slot = 28; slot >= 3; slot--)
        g_assert_cmpuint(pci_function_slot(add(f, PCI_SLOT_ANY, &error)), ==, slot);
    g_assert_null(add(f, PCI_SLOT_ANY, &error)); /* 0 to 2 are QEMU's */
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSPC);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    sim_start();
    g_test_add("/pci-function/interrupts", struct fixture, NULL, set_up, test_interrupts,
               tear_down);
    g_test_add("/pci-function/slots", struct fixture, NULL, set_up, test_slots, tear_down);
    int status = g_test_run();
    sim_stop();
    return status;
}
