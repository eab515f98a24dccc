/*
 * Whether tables that firmware has itself are enough for an operating system.
 *
 * OVMF without tables from QEMU still has some: it publishes an RSDP as soon as one of its drivers
 * adds a table, such as that of the boot logo.  Without a FADT there is no ACPI for an operating
 * system in it.
 *
 * `rsdp` is firmware's own and trusted to point to memory; what is read is bounded all the same.
 */
#pragma once

#include <stdbool.h>

bool acpi_suffices(const void *rsdp);
