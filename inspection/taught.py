"""The pictures of a plan's folder, as far as a station knows them: it has no image library.

A station reads them, checks that they are what a plan may name, and hands them on with its orders;
`inspection.alignment` is what looks at them.
"""

from __future__ import annotations

import math
import struct
import zlib

OVERVIEW = 16
"""Pixels of a picture for one of its overview, across and down."""
MARK_PX = (48, 256)
"""Least and most pixels of a mark's picture on each side."""
MAX_BYTES = 128 * 1024

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = (8, 0)
"""Bits and colour type."""


def corner(x_px: float, y_px: float, width: int, height: int) -> tuple[int, int]:
    """Left and top of a mark's picture of that size in the reference picture."""
    return math.floor(x_px - width / 2 + 0.5), math.floor(y_px - height / 2 + 0.5)


def overview_size(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height of the overview of a picture of that size."""
    return width_px // OVERVIEW, height_px // OVERVIEW


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a whole grey PNG of 8 bits; `ValueError` says what it is instead."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"has {len(data)} bytes, {MAX_BYTES} are possible")
    if not data.startswith(_SIGNATURE):
        raise ValueError("is no PNG file")
    offset, name, size = len(_SIGNATURE), b"", (0, 0)
    while name != b"IEND":
        length = int.from_bytes(data[offset : offset + 4], "big")
        name, end = data[offset + 4 : offset + 8], offset + 12 + length
        if end > len(data):
            raise ValueError("is a PNG file that ends early")
        if zlib.crc32(data[offset + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError("is a damaged PNG file (checksum)")
        if name == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", data, offset + 8)
            if (bits, colour) != _GREY:
                raise ValueError("is no grey PNG of 8 bits: write it with `inspection plan teach`")
            size = width, height
        offset = end
    if not all(size):
        raise ValueError("is a PNG file without a size")
    return size
