"""Sections of a file, and the LZMA section that holds OVMF's volumes.

Source: UEFI Platform Initialization 1.8, volume 3, §2.2.4 and §3.2.5. Sections begin at multiples of
4 bytes of their file. What an LZMA section holds is an .lzma file, whose head has the size of the
data, which firmware needs (that of xz's own compressor says "unknown").
"""

import lzma
import struct
import uuid
from dataclasses import dataclass

from .volume import ImageError, align

TYPE_GUIDED = 0x02
TYPE_PE32 = 0x10
TYPE_VERSION = 0x14
TYPE_NAME = 0x15
TYPE_VOLUME = 0x17

LZMA_GUID = uuid.UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")
GUIDED_HEADER = struct.Struct("<16sHH")
PROCESSING_REQUIRED = 0x01

LZMA_HEADER = struct.Struct("<BIQ")
# Far more than a flash image decompresses to; what an image claims beyond is not tried.
DECOMPRESSED_MAX = 256 << 20
DICTIONARY_MAX = 128 << 20


@dataclass
class Section:
    offset: int  # in what was parsed
    size: int  # with the header
    type: int
    data: bytes  # without the header

    @property
    def data_offset(self):
        return self.offset + self.size - len(self.data)


def parse_sections(data, where):
    sections, offset = [], 0
    while offset + 4 <= len(data):
        size, kind = int.from_bytes(data[offset:offset + 3], "little"), data[offset + 3]
        header_size = 4
        if size == 0xFFFFFF:
            header_size, size = 8, int.from_bytes(data[offset + 4:offset + 8], "little")
        if not header_size <= size <= len(data) - offset:
            raise ImageError(f"{where}: section at {offset:#x}: its size of {size} bytes cannot be")
        sections.append(Section(offset, size, kind, data[offset + header_size:offset + size]))
        offset = align(offset + size, 4)
    return sections


def make_section(kind, data):
    size = len(data) + 4
    if size < 0xFFFFFF:
        return size.to_bytes(3, "little") + bytes([kind]) + data
    return b"\xff\xff\xff" + bytes([kind]) + (size + 4).to_bytes(4, "little") + data


def join_sections(sections):
    out = bytearray()
    for section in sections:
        out += bytes(align(len(out), 4) - len(out)) + section
    return bytes(out)


def guided_data(section, where):
    """GUID and payload of a GUID-defined section."""
    if len(section.data) < GUIDED_HEADER.size:
        raise ImageError(f"{where}: a section is cut off")
    guid, data_offset, _ = GUIDED_HEADER.unpack_from(section.data)
    start = data_offset - (section.size - len(section.data))
    if not GUIDED_HEADER.size <= start <= len(section.data):
        raise ImageError(f"{where}: a section's data is not inside it")
    return uuid.UUID(bytes_le=guid), section.data[start:]


def make_lzma_section(data):
    """The section with `data` (an .lzma file); its header is 24 bytes, or 28 if it is large."""
    large = 4 + GUIDED_HEADER.size + len(data) >= 0xFFFFFF
    header = GUIDED_HEADER.pack(LZMA_GUID.bytes_le, 28 if large else 24, PROCESSING_REQUIRED)
    return make_section(TYPE_GUIDED, header + data)


def lzma_filter(data, where):
    """What the head of an .lzma file says: a filter for Python's lzma, and the size of the data."""
    if len(data) < LZMA_HEADER.size:
        raise ImageError(f"{where}: the LZMA data is cut off")
    properties, dictionary, size = LZMA_HEADER.unpack_from(data)
    if properties >= 9 * 5 * 5 or dictionary > DICTIONARY_MAX or size > DECOMPRESSED_MAX:
        raise ImageError(f"{where}: this is no LZMA data, or there is too much of it")
    lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
    return {"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": lc, "lp": lp, "pb": pb}, size


def lzma_decompress(data, where):
    rules, size = lzma_filter(data, where)
    try:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[rules])
        out = decoder.decompress(data[LZMA_HEADER.size:], max_length=size)
    except (lzma.LZMAError, ValueError) as error:
        raise ImageError(f"{where}: the LZMA data is damaged ({error})") from error
    if len(out) != size:
        raise ImageError(f"{where}: the LZMA data ends early; the image is damaged")
    return out


def lzma_compress(data, like, where):
    """`data` as an .lzma file with the properties of the file `like`."""
    rules, _ = lzma_filter(like, where)
    rules["preset"] = 9
    out = lzma.compress(data, lzma.FORMAT_ALONE, filters=[rules])
    properties, dictionary, _ = LZMA_HEADER.unpack_from(out)
    return LZMA_HEADER.pack(properties, dictionary, len(data)) + out[LZMA_HEADER.size:]
