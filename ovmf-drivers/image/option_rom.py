"""Drivers as the option ROM of a PCI function.

Source: PCI Firmware Specification 3.0, §5.1 (PCIR); UEFI 2.10, §14.4.2 (EFI PCI expansion ROM header).
Sizes in headers are in units of 512 bytes; a driver is one image of the ROM, the last is marked.
"""

import struct

from .volume import ImageError, align

UNIT = 512
ROM_HEADER = struct.Struct("<HHIHHH8xHH")
ROM_MAGIC = 0xAA55
EFI_MAGIC = 0x0EF1
PCIR = struct.Struct("<4sHHHHB3sHHBBHHH")
PCIR_OFFSET = align(ROM_HEADER.size, 4)
CODE_TYPE_EFI = 3
LAST_IMAGE = 0x80
# Xen's platform device, which every HVM guest has.
XEN_PLATFORM = (0x5853, 0x0001)


def rom_image(driver, device, last):
    data_offset = align(PCIR_OFFSET + PCIR.size, 8)
    size = align(data_offset + len(driver.data), UNIT)
    if size // UNIT > 0xFFFF:
        raise ImageError(f"{driver.name}: too large for an option ROM")
    header = ROM_HEADER.pack(ROM_MAGIC, size // UNIT, EFI_MAGIC, driver.subsystem, driver.machine, 0,
                             data_offset, PCIR_OFFSET)
    pcir = PCIR.pack(b"PCIR", device[0], device[1], 0, PCIR.size, 3, bytes(3), size // UNIT, 0,
                     CODE_TYPE_EFI, LAST_IMAGE if last else 0, 0, 0, 0)
    out = header.ljust(PCIR_OFFSET, b"\0") + pcir
    return (out.ljust(data_offset, b"\0") + driver.data).ljust(size, b"\0")


def make_rom(drivers, device=XEN_PLATFORM):
    return b"".join(rom_image(one, device, one is drivers[-1]) for one in drivers)
