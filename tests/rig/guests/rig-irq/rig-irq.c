// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A driver of the doorbell (docs/examples/doorbell.c) that takes its interrupts, so that Linux counts them in
 * /proc/interrupts: rig-irq-0 to rig-irq-3 for the vectors of MSI-X, or with line=1 rig-irq-line for INTA#.  Whoever
 * rings writes to the registers through /dev/mem.
 */
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>

#define LINE 0xC
#define VECTORS 4

static bool line;
module_param(line, bool, 0);

static irqreturn_t on_message(int irq, void *opaque)
{
	return IRQ_HANDLED;
}

/* The line is ours if its level is; we lower it, as a driver does when it has served its device. */
static irqreturn_t on_line(int irq, void *registers)
{
	if (!ioread32(registers + LINE))
		return IRQ_NONE;
	iowrite32(0, registers + LINE);
	return IRQ_HANDLED;
}

static int take_line(struct pci_dev *pci)
{
	return devm_request_irq(&pci->dev, pci->irq, on_line, IRQF_SHARED, "rig-irq-line", pcim_iomap_table(pci)[0]);
}

static int take_messages(struct pci_dev *pci)
{
	int vectors = pci_alloc_irq_vectors(pci, VECTORS, VECTORS, PCI_IRQ_MSIX);
	int i, error = vectors < 0 ? vectors : 0;

	for (i = 0; i < vectors && !error; i++) {
		char *name = devm_kasprintf(&pci->dev, GFP_KERNEL, "rig-irq-%d", i);

		error = name ? devm_request_irq(&pci->dev, pci_irq_vector(pci, i), on_message, 0, name, pci) : -ENOMEM;
	}
	return error;
}

static int probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	int error = pcim_enable_device(pci);

	if (!error && !pcim_iomap(pci, 0, 0))
		error = -ENOMEM;
	if (error)
		return error;
	pci_set_master(pci);
	return line ? take_line(pci) : take_messages(pci);
}

static const struct pci_device_id ids[] = { { PCI_DEVICE(0x1AF4, 0x10F0) }, { } };
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver rig_irq = { .name = "rig-irq", .id_table = ids, .probe = probe };
module_pci_driver(rig_irq);

MODULE_DESCRIPTION("Counts the interrupts of rolemodel's doorbell");
MODULE_LICENSE("GPL");
