/*
 * What firmware of the BIOS age leaves below 1 MiB, found as an operating system without UEFI
 * would: by signature, on a multiple of 16 bytes, with the checksums that the structures have.
 * hvmloader puts its RSDP at 0xEA020 and its SMBIOS entry point at 0xEB000.
 *
 * Pure functions of a buffer: no byte outside of it is read.  They return the offset in it of the
 * first structure that is whole, or FIND_NOTHING.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define FIND_AREA_START 0xe0000u
#define FIND_AREA_SIZE 0x20000u
#define FIND_NOTHING SIZE_MAX

/* ACPI 6.4, §5.2.5.  The revision tells which table it is: below 2, ACPI 1.0. */
size_t find_rsdp(const uint8_t *area, size_t size);
#define FIND_RSDP_REVISION 15

/* SMBIOS 3.4, §5.2.1 (32-bit entry point) and §5.2.2 (64-bit). */
size_t find_smbios(const uint8_t *area, size_t size);
size_t find_smbios3(const uint8_t *area, size_t size);
