"""What is in an image, as lines for people."""

from . import flash, section, volume

LINE = "{:1} {:<36}  {:<11} {:>8}  {:<8} {}"


def lines(image):
    yield LINE.format("", "FILE", "TYPE", "BYTES", "VERSION", "NAME")
    for _, top in flash.top_volumes(image):
        yield from volume_lines(top, 0)


def volume_lines(one, depth):
    name = f" {one.name}" if one.name else ""
    if one.files is None:
        yield f"{one.where}{name}: {len(one.data)} bytes, no files (variables of the firmware)"
        return
    yield f"{one.where}{name}: {len(one.data)} bytes, {one.free} free"
    for file in one.files:
        if file.type == volume.TYPE_PAD:
            continue
        yield file_line(file)
        if depth < flash.DEPTH_MAX:
            yield from inside_lines(file, f"{one.where}: file at {file.offset:#x}", depth)


def file_line(file):
    kind = volume.TYPE_NAMES.get(file.type, f"type {file.type:#x}")
    return LINE.format("*" if flash.is_ours(file) else "", str(file.guid), kind, file.size,
                       flash.file_text(file, section.TYPE_VERSION),
                       flash.file_text(file, section.TYPE_NAME)).rstrip()


def inside_lines(file, where, depth):
    if file.type != volume.TYPE_VOLUME:
        return
    payload = flash.lzma_payload(file, where)
    data = file.data if payload is None else section.lzma_decompress(payload, where)
    for _, one in flash.inner_volumes(data, where):
        yield from volume_lines(one, depth + 1)
