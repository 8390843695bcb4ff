"""Pictures named before they are packed.

A picture's name is the SHA-256 of what its PNG file holds: the header's 13 bytes and the scanlines,
before they are compressed. So a record can name a picture whose file is not made yet, and whoever
gets the file can tell that it is the one, with nothing but the standard library (W3C PNG, third
edition, sections 5, 9 and 10). The name says nothing of how well the file is compressed.

Files are grey or RGB, 8 bits a channel, not interlaced, with no chunk beside ``IHDR``, ``IDAT`` and
``IEND``: nothing in them can change how the pixels are shown.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
FILTER_UP = 2
"""The one filter that scanlines are written with: the difference to the line above."""
LEVEL, STRATEGY = 1, zlib.Z_RLE
"""Noise has no repeats worth looking for: by runs and frequencies alone a crop becomes a tenth
smaller than by zlib's fastest search, in four fifths of the time."""
MAX_BYTES = 2**28
"""Scanlines of more than this are not unpacked."""

_COLOURS = {0: 1, 2: 3}
"""Channels by PNG's colour type: grey, RGB."""


def header(width: int, height: int, channels: int) -> bytes:
    """The contents of ``IHDR`` for 8 bits a channel; ``channels`` is 1 or 3."""
    colour = {count: kind for kind, count in _COLOURS.items()}[channels]
    return struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)


def name(head: bytes, scanlines: bytes | memoryview) -> str:
    """The picture's name: 64 lower-case hexadecimal digits."""
    digest = hashlib.sha256(head)
    digest.update(scanlines)
    return digest.hexdigest()


def pack(head: bytes, scanlines: bytes | memoryview) -> bytes:
    """The file. Most of the time is zlib's, which lets other threads run."""
    packer = zlib.compressobj(LEVEL, strategy=STRATEGY)
    return b"".join(
        (
            SIGNATURE,
            _chunk(b"IHDR", head),
            _chunk(b"IDAT", packer.compress(scanlines) + packer.flush()),
            _chunk(b"IEND", b""),
        )
    )


def name_of(data: bytes) -> str | None:
    """The name of the picture in a file; None where it is damaged, or not as this module packs."""
    if not data.startswith(SIGNATURE):
        return None
    view, offset = memoryview(data), len(SIGNATURE)
    head, packed, kind = b"", bytearray(), b""
    while kind != b"IEND":
        if len(data) - offset < 12:
            return None
        length = int.from_bytes(view[offset : offset + 4], "big")
        kind, end = bytes(view[offset + 4 : offset + 8]), offset + 12 + length
        if end > len(data):
            return None
        if zlib.crc32(view[offset + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return None
        content = view[offset + 8 : end - 4]
        match kind:
            case b"IHDR" if not head and offset == len(SIGNATURE):
                head = bytes(content)
            case b"IDAT" if head:
                packed += content
            case b"IEND" if not length:
                pass
            case _:
                return None
        offset = end
    size = _scanline_bytes(head)
    if offset != len(data) or size is None:
        return None
    unpacker = zlib.decompressobj()
    try:
        scanlines = unpacker.decompress(packed, size + 1)
    except zlib.error:
        return None
    if len(scanlines) != size or not unpacker.eof or unpacker.unused_data:
        return None
    return name(head, scanlines)


def fits(sha256: str, data: bytes) -> bool:
    """Whether a file is the one of that name: the SHA-256 of its bytes, or the picture's name."""
    return hashlib.sha256(data).hexdigest() == sha256 or name_of(data) == sha256


def _scanline_bytes(head: bytes) -> int | None:
    if len(head) != 13:
        return None
    width, height, depth, colour, *rest = struct.unpack(">IIBBBBB", head)
    if depth != 8 or colour not in _COLOURS or any(rest) or not width or not height:
        return None
    size = int(height * (1 + width * _COLOURS[colour]))
    return size if size <= MAX_BYTES else None


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
