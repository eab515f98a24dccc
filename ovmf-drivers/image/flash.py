"""A whole OVMF image: volumes one behind the other, one of which has a file with an LZMA section, in
which is the volume of the DXE phase, where drivers live."""

from dataclasses import dataclass

from . import driver, section, volume
from .volume import ImageError

# Volumes begin at flash blocks.
BLOCK = 4096
DEPTH_MAX = 4


@dataclass
class Place:
    """Where the drivers go."""
    outer: volume.Volume
    outer_offset: int  # in the image
    file: volume.File  # in `outer`, with the LZMA section
    lzma: bytes
    inner_data: bytes  # decompressed
    inner: volume.Volume
    inner_offset: int  # in `inner_data`


def top_volumes(image):
    """(offset, Volume) of the image's volumes; refuses an image without any."""
    found, offset = [], 0
    while offset < len(image):
        where = f"volume at {offset:#x}"
        size = volume.volume_size_at(image, offset, where)
        if size:
            found.append((offset, volume.parse_volume(image[offset:offset + size], where)))
        offset = volume.align(offset + (size or BLOCK), BLOCK)
    if not found:
        raise ImageError("there is no firmware volume in it; an image such as /usr/share/ovmf/OVMF.fd is needed")
    return found


def lzma_payload(file, where):
    """The .lzma file in the file's first section, or None."""
    if file.type != volume.TYPE_VOLUME:
        return None
    sections = section.parse_sections(file.data, where)
    if not sections or sections[0].type != section.TYPE_GUIDED:
        return None
    guid, data = section.guided_data(sections[0], where)
    if guid != section.LZMA_GUID:
        return None
    if len(sections) > 1:
        raise ImageError(f"{where}: the LZMA section is not alone in its file, which this tool does not know")
    return data


def inner_volumes(data, where):
    """(offset, Volume) of the volumes in a file's (decompressed) sections."""
    found = []
    for part in section.parse_sections(data, where):
        if part.type == section.TYPE_VOLUME:
            name = f"{where}: volume at {part.data_offset:#x}"
            found.append((part.data_offset, volume.parse_volume(part.data, name)))
    return found


def find_place(image):
    places = []
    for outer_offset, outer in top_volumes(image):
        for file in outer.files or []:
            where = f"{outer.where}: file at {file.offset:#x}"
            payload = lzma_payload(file, where)
            if payload is None:
                continue
            data = section.lzma_decompress(payload, where)
            for offset, inner in inner_volumes(data, where):
                if any(f.type == volume.TYPE_DXE_CORE for f in inner.files or []):
                    places.append(Place(outer, outer_offset, file, payload, data, inner, offset))
    if len(places) != 1:
        raise ImageError(
            f"{len(places)} volumes of the DXE phase in LZMA sections, where one is expected; is this the "
            "code part of an OVMF image (OVMF.fd, OVMF_CODE*.fd)?")
    return places[0]


def file_text(file, kind):
    """Name (TYPE_NAME) or version (TYPE_VERSION) of a file, "" if it has none that can be read."""
    skip = 2 if kind == section.TYPE_VERSION else 0
    try:
        parts = section.parse_sections(file.data, "")
    except ImageError:  # Raw files have no sections.
        return ""
    for part in parts:
        if part.type == kind:
            text = part.data[skip:].decode("utf-16-le", "replace").split("\0")[0]
            return "".join(c if c.isprintable() else "?" for c in text)
    return ""


def is_ours(file):
    return (file.type == volume.TYPE_DRIVER
            and file.guid == driver.our_guid(file_text(file, section.TYPE_NAME)))


def end_of_others(inner):
    """Where the files end that are not ours. Ours come last, so that nothing else has to move."""
    ours = [file for file in inner.files if is_ours(file)]
    if not ours:
        return inner.used
    first = inner.files.index(ours[0])
    if inner.files[first:] != ours:
        raise ImageError(f"{inner.where}: somebody put more files after our drivers; start from the "
                         "distribution's image")
    if first == 0:
        raise ImageError(f"{inner.where}: there are no files before our drivers")
    return inner.files[first - 1].end


def build(image, drivers):
    """`image` with these drivers in the place of those that this tool put there before."""
    place = find_place(image)
    taken = {file.guid: file_text(file, section.TYPE_NAME) for file in place.inner.files if not is_ours(file)}
    for one in drivers:
        if one.name in taken.values() or driver.our_guid(one.name) in taken:
            raise ImageError(f"the image has a driver {one.name} of its own; rename yours")
    inner = place.inner.with_files(end_of_others(place.inner), [driver.driver_file(one) for one in drivers])
    data = bytearray(place.inner_data)
    data[place.inner_offset:place.inner_offset + len(inner)] = inner
    packed = section.lzma_compress(bytes(data), place.lzma, place.outer.where)
    outer = with_larger_file(place.outer, place.file, section.make_lzma_section(packed))
    return image[:place.outer_offset] + outer + image[place.outer_offset + len(outer):]


def with_larger_file(outer, file, data):
    after = [other for other in outer.files if other.offset > file.offset and other.type != volume.TYPE_PAD]
    if after:
        raise ImageError(f"{outer.where}: files follow the compressed one, which this tool does not know to move")
    return outer.with_files(file.offset, [volume.make_file(file.guid, file.type, file.attributes, data)])
