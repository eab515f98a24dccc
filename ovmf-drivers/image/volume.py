"""Firmware volumes and the files in them.

Source: UEFI Platform Initialization 1.8, volume 3, chapters 2 and 3. All numbers are little endian;
files begin at multiples of 8 bytes of their volume; free space is all ones.
"""

import struct
import uuid
from dataclasses import dataclass

FILE_SYSTEMS = {
    uuid.UUID("8c8ce578-8a3d-4f1c-9935-896185c32dd3"),  # version 2
    uuid.UUID("5473c07a-3dcb-4dca-bd6f-1e9689e7349a"),  # version 3: files over 16 MiB, too
}
# What is read of a file at most: flash images have a few MiB.
MAX_IMAGE = 64 << 20
VOLUME_HEADER = struct.Struct("<16s16sQ4sIHHHBB")
VOLUME_MAGIC = b"_FVH"
VOLUME_MAGIC_OFFSET = 40
ERASED_IS_ONE = 0x800

FILE_HEADER = struct.Struct("<16sBBBB3sB")
FILE_LARGE = 0x01
FILE_CHECKSUM = 0x40
NO_CHECKSUM = 0xAA
# State bits are active low where erased memory is ones: header and data are valid, not deleted.
STATE_VALID = 0xF8
STATE_MASK = 0x3F
STATE_DELETED = STATE_VALID & ~0x10

TYPE_DXE_CORE = 0x05
TYPE_DRIVER = 0x07
TYPE_VOLUME = 0x0B
TYPE_PAD = 0xF0
TYPE_NAMES = {
    0x01: "raw", 0x02: "freeform", 0x03: "sec core", 0x04: "pei core", TYPE_DXE_CORE: "dxe core",
    0x06: "pei module", TYPE_DRIVER: "driver", 0x08: "pei/driver", 0x09: "application",
    0x0A: "smm driver", TYPE_VOLUME: "volume", 0x0C: "smm/driver", 0x0D: "smm core",
}


class ImageError(Exception):
    """What is wrong with an image or a driver, in words for the user."""


def align(value, step):
    return (value + step - 1) // step * step


def sum8(data):
    return sum(data) & 0xFF


def is_erased(data):
    return data.count(b"\xff") == len(data)


@dataclass
class File:
    offset: int  # in its volume
    size: int  # with the header
    header_size: int
    guid: uuid.UUID
    type: int
    attributes: int
    data: bytes  # without the header

    @property
    def end(self):
        return self.offset + self.size


@dataclass
class Volume:
    where: str  # for messages
    data: bytes
    name: uuid.UUID  # None if it has none
    files: list  # None if it has another file system
    used: int  # bytes up to the end of the last file

    @property
    def free(self):
        return len(self.data) - align(self.used, 8)

    def with_files(self, keep, added):
        """The volume's bytes with its files up to offset `keep`, and `added` (bytes each) after them."""
        out = bytearray(self.data[:keep])
        for file in added:
            out += b"\xff" * (align(len(out), 8) - len(out)) + file
        if len(out) > len(self.data):
            raise ImageError(
                f"{self.where}: {len(out) - len(self.data)} bytes too little room for the drivers; "
                "use an image with a larger flash, or fewer drivers")
        return bytes(out) + b"\xff" * (len(self.data) - len(out))


def volume_size_at(data, offset, where):
    """The size of the volume that begins there, which is checked; None if there is none."""
    magic = offset + VOLUME_MAGIC_OFFSET
    if data[magic:magic + 4] != VOLUME_MAGIC:
        return None
    if len(data) - offset < VOLUME_HEADER.size + 8:
        raise ImageError(f"{where}: the volume's header is cut off")
    fields = VOLUME_HEADER.unpack_from(data, offset)
    size, header_size = fields[2], fields[5]
    if header_size < VOLUME_HEADER.size or header_size % 2 or header_size > size:
        raise ImageError(f"{where}: the volume's header has a bad size ({header_size} bytes)")
    if size > len(data) - offset:
        raise ImageError(f"{where}: the volume has {size} bytes, of which {len(data) - offset} are there")
    words = struct.unpack_from(f"<{header_size // 2}H", data, offset)
    if sum(words) & 0xFFFF:
        raise ImageError(f"{where}: the checksum of the volume's header is wrong; the image is damaged")
    return size


def parse_volume(data, where):
    """The Volume that `data` is, whole."""
    if volume_size_at(data, 0, where) != len(data):
        raise ImageError(f"{where}: this is no firmware volume, or one of another size")
    fields = VOLUME_HEADER.unpack_from(data)
    file_system, attributes = uuid.UUID(bytes_le=fields[1]), fields[4]
    header_size, extended = fields[5], fields[7]
    if file_system not in FILE_SYSTEMS:
        return Volume(where, data, None, None, len(data))
    if not attributes & ERASED_IS_ONE:
        raise ImageError(f"{where}: erased memory is zeros here, which this tool does not know")
    start, name = header_size, None
    if extended:
        if extended < header_size or extended + 20 > len(data):
            raise ImageError(f"{where}: the volume's extended header is not inside it")
        name = uuid.UUID(bytes_le=data[extended:extended + 16])
        start = extended + struct.unpack_from("<I", data, extended + 16)[0]
        if start > len(data):
            raise ImageError(f"{where}: the volume's extended header is not inside it")
    files, used = parse_files(data, start, where)
    return Volume(where, data, name, files, used)


def parse_files(data, start, where):
    files, used, offset = [], start, align(start, 8)
    while offset + FILE_HEADER.size <= len(data):
        if is_erased(data[offset:offset + FILE_HEADER.size]):
            break
        file = parse_file(data, offset, where)
        files.append(file)
        used, offset = file.end, align(file.end, 8)
    if not is_erased(data[offset:]):
        raise ImageError(f"{where}: there is something after the last file, at {offset:#x}")
    return files, used


def parse_file(data, offset, where):
    where = f"{where}: file at {offset:#x}"
    guid, header_sum, data_sum, kind, attributes, size, state = FILE_HEADER.unpack_from(data, offset)
    size, header_size = int.from_bytes(size, "little"), FILE_HEADER.size
    if attributes & FILE_LARGE:
        header_size += 8
        if offset + header_size > len(data):
            raise ImageError(f"{where}: its header is cut off")
        size = struct.unpack_from("<Q", data, offset + FILE_HEADER.size)[0]
    if not header_size <= size <= len(data) - offset:
        raise ImageError(f"{where}: its size of {size} bytes cannot be")
    # The sum is that of a header without state and data checksum.
    if (sum8(data[offset:offset + header_size]) - data_sum - state) & 0xFF:
        raise ImageError(f"{where}: the checksum of its header is wrong; the image is damaged")
    content = data[offset + header_size:offset + size]
    if (state ^ STATE_VALID) & STATE_MASK:
        if (state ^ STATE_DELETED) & STATE_MASK:
            raise ImageError(f"{where}: its state ({state:#x}) is neither valid nor deleted")
        kind = TYPE_PAD
    elif attributes & FILE_CHECKSUM and (sum8(content) + data_sum) & 0xFF:
        raise ImageError(f"{where}: the checksum of its data is wrong; the image is damaged")
    return File(offset, size, header_size, uuid.UUID(bytes_le=guid), kind, attributes, content)


def make_file(guid, kind, attributes, data):
    """A file's bytes; FILE_LARGE is set or cleared as its size needs it."""
    size = FILE_HEADER.size + len(data)
    attributes &= ~FILE_LARGE
    more = b""
    if size >= 1 << 24:
        attributes |= FILE_LARGE
        more, size = struct.pack("<Q", size + 8), 0
    data_sum = -sum8(data) & 0xFF if attributes & FILE_CHECKSUM else NO_CHECKSUM

    def header(header_sum, state):
        return FILE_HEADER.pack(guid.bytes_le, header_sum, data_sum if state else 0, kind, attributes,
                                size.to_bytes(3, "little"), state) + more

    return header(-sum8(header(0, 0)) & 0xFF, STATE_VALID) + data
