"""Images and drivers for the tests: small, and made from the specifications."""

import lzma
import os
import random
import struct
import sys
import uuid

sys.dont_write_bytecode = True
TREE = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../.."))
sys.path.insert(0, os.path.join(TREE, "ovmf-drivers"))

from image import section, volume  # noqa: E402

TOOL = os.path.join(TREE, "ovmf-drivers", "rolemodel-ovmf")
FILE_SYSTEM = uuid.UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3")
INNER_SIZE = 32768
OUTER_SIZE = 16384


def pe_image(size=2048, machine=0x8664, subsystem=11, flags=0x60000020, fill=None):
    """A PE image of one section; `fill` seeds what is in it."""
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", machine, 1, 0, 0, 0, 112, 0x22)
    optional = bytearray(112)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<HH", optional, 44, 7, 8)
    struct.pack_into("<H", optional, 68, subsystem)
    table = struct.pack("<8sIIIIIIHHI", b".text", size, 0x1000, size, 512, 0, 0, 0, 0, flags)
    text = bytes(size) if fill is None else random.Random(fill).randbytes(size)
    return (dos + coff + bytes(optional) + table).ljust(512, b"\0") + text


def make_volume(size, files):
    header = bytearray(72)
    volume.VOLUME_HEADER.pack_into(header, 0, bytes(16), FILE_SYSTEM.bytes_le, size, b"_FVH", 0xFEFF, 72, 0, 0, 0, 2)
    struct.pack_into("<IIII", header, 56, size // 4096, 4096, 0, 0)
    struct.pack_into("<H", header, 50, -sum(struct.unpack("<36H", header)) & 0xFFFF)
    out = bytes(header)
    for one in files:
        out += b"\xff" * (-len(out) % 8) + one
    assert len(out) <= size
    return out.ljust(size, b"\xff")


def named_file(name, kind, attributes=0):
    data = section.join_sections([
        section.make_section(section.TYPE_PE32, pe_image(256)),
        section.make_section(section.TYPE_NAME, name.encode("utf-16-le") + b"\0\0"),
    ])
    return volume.make_file(uuid.uuid5(uuid.NAMESPACE_DNS, name), kind, attributes, data)


def make_flash(inner_files=(), after=(), outer_size=OUTER_SIZE, before=b""):
    """An image of OVMF's shape: a volume with a file with an LZMA section with the DXE volume."""
    inner = make_volume(INNER_SIZE, [named_file("DxeCore", volume.TYPE_DXE_CORE, volume.FILE_CHECKSUM), *inner_files])
    sections = section.join_sections([section.make_section(0x19, bytes(10)),
                                      section.make_section(section.TYPE_VOLUME, inner)])
    packed = lzma.compress(sections, lzma.FORMAT_ALONE, filters=[{"id": lzma.FILTER_LZMA1, "dict_size": 65536}])
    packed = packed[:5] + struct.pack("<Q", len(sections)) + packed[13:]
    file = volume.make_file(uuid.uuid5(uuid.NAMESPACE_DNS, "outer"), volume.TYPE_VOLUME, volume.FILE_CHECKSUM,
                            section.make_lzma_section(packed))
    return before + make_volume(outer_size, [file, *after]) + bytes(4096)
