"""UEFI drivers: the check of a PE image, and the file it becomes in a volume.

Source: Microsoft's "PE Format"; UEFI 2.10, §2.1.1 (subsystems).
"""

import os
import struct
import uuid
from dataclasses import dataclass

from . import section, volume
from .volume import ImageError

# A file in a volume is ours if its GUID is made from this and its name.
OUR_FILES = uuid.UUID("3f9c7a54-6f0d-4f1c-9d75-5b1f1d0f7a61")

MACHINES = {0x8664, 0xAA64}  # x86-64, arm64
SUBSYSTEM_APPLICATION = 10
SUBSYSTEMS = {11, 12}  # boot service driver, runtime driver
OPTIONAL_MAGIC_64 = 0x20B
SECTION_EXECUTE = 0x20000000
SECTION_WRITE = 0x80000000
NAME_MAX = 64


@dataclass
class Driver:
    name: str
    version: str
    machine: int
    subsystem: int
    data: bytes


def our_guid(name):
    return uuid.uuid5(OUR_FILES, name)


def load_driver(path):
    with open(path, "rb") as file:
        data = file.read(volume.MAX_IMAGE + 1)
    name = os.path.splitext(os.path.basename(path))[0]
    if not name.isascii() or not name.isprintable() or not 0 < len(name) <= NAME_MAX:
        raise ImageError(f"{path}: the file's name becomes the driver's: up to {NAME_MAX} ASCII characters")
    try:
        return parse_driver(name, data)
    except struct.error:
        raise ImageError(f"{path}: this is no UEFI driver: it is cut off") from None
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def parse_driver(name, data):
    driver = parse_image(name, data)
    if driver.subsystem == SUBSYSTEM_APPLICATION:
        raise ImageError("this is an application, no driver; applications go to an ESP")
    if driver.subsystem not in SUBSYSTEMS:
        raise ImageError(f"this is no UEFI driver (subsystem {driver.subsystem})")
    return driver


def parse_image(name, data):
    if data[:2] != b"MZ":
        raise ImageError("this is no UEFI driver: it is no PE image")
    pe = struct.unpack_from("<I", data, 0x3C)[0]
    if data[pe:pe + 4] != b"PE\0\0":
        raise ImageError("this is no UEFI driver: it is no PE image")
    machine, section_count, _, _, _, optional_size, _ = struct.unpack_from("<HHIIIHH", data, pe + 4)
    optional = pe + 24
    if struct.unpack_from("<H", data, optional)[0] != OPTIONAL_MAGIC_64 or machine not in MACHINES:
        raise ImageError("this is not for a 64-bit machine that UEFI knows")
    major, minor = struct.unpack_from("<HH", data, optional + 44)
    subsystem = struct.unpack_from("<H", data, optional + 68)[0]
    check_sections(data, optional + optional_size, section_count)
    return Driver(name, f"{major}.{minor}", machine, subsystem, data)


def check_sections(data, offset, count):
    for i in range(count):
        title, _, _, size, start, _, _, _, _, flags = struct.unpack_from("<8sIIIIIIHHI", data, offset + 40 * i)
        title = title.rstrip(b"\0").decode("ascii", "replace")
        if start + size > len(data):
            raise ImageError(f"its section {title} is cut off")
        if flags & SECTION_EXECUTE and flags & SECTION_WRITE:
            raise ImageError(f"its section {title} is writable and executable, which firmware may refuse; "
                             "link it without")


def driver_file(driver):
    """The driver as a file of a volume. It has no dependency expression: the DXE core starts such a
    driver when all architectural protocols are there, which is what UEFI drivers count on."""
    text = driver.name.encode("utf-16-le") + b"\0\0"
    version = struct.pack("<H", 0) + driver.version.encode("utf-16-le") + b"\0\0"
    data = section.join_sections([
        section.make_section(section.TYPE_PE32, driver.data),
        section.make_section(section.TYPE_NAME, text),
        section.make_section(section.TYPE_VERSION, version),
    ])
    return volume.make_file(our_guid(driver.name), volume.TYPE_DRIVER, volume.FILE_CHECKSUM, data)
