"""A picture has its name before it has a file, and the file answers for the name."""

from __future__ import annotations

import hashlib
import struct
import zlib

import numpy as np
import pytest

from edge.darkroom import PICTURE_LIMIT, _scanlines
from inspection import imaging, png
from inspection.imaging import Frame

CHANCE = np.random.default_rng(5)


def noise(*shape: int) -> Frame:
    return CHANCE.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (96, 96, 3), (33, 1, 3), (12, 9, 1)])
def test_a_file_holds_the_very_pixels_and_answers_for_the_name(shape: tuple[int, ...]) -> None:
    image = noise(*shape)
    head, scanlines = _scanlines(image)
    name, data = png.name(head, scanlines), png.pack(head, scanlines)
    grey = len(shape) == 2 or shape[2] == 1
    assert np.array_equal(imaging.decode(data), image.reshape(shape[:2]) if grey else image)
    assert png.name_of(data) == name
    assert png.fits(name, data)
    assert name != hashlib.sha256(data).hexdigest()
    assert png.fits(hashlib.sha256(data).hexdigest(), data), "pictures named by their bytes"


def test_the_name_is_of_the_pixels_and_not_of_how_well_they_are_packed() -> None:
    head, scanlines = _scanlines(noise(40, 30, 3))
    better = b"".join(
        [
            png.SIGNATURE,
            png._chunk(b"IHDR", head),
            png._chunk(b"IDAT", (packed := zlib.compress(scanlines, 9))[:100]),
            png._chunk(b"IDAT", packed[100:]),
            png._chunk(b"IEND", b""),
        ]
    )
    assert png.name_of(better) == png.name(head, scanlines)


def test_another_shape_of_the_same_bytes_is_another_picture() -> None:
    head, scanlines = _scanlines(np.zeros((8, 8), np.uint8))
    assert png.name(png.header(8, 8, 1), scanlines) != png.name(png.header(8, 8, 3), scanlines)
    assert png.name_of(png.pack(png.header(16, 4, 1), scanlines)) is None, "a line too many"
    assert png.name_of(png.pack(head, scanlines + b"\0")) is None
    assert png.name_of(png.pack(head, scanlines[:-1])) is None


def test_a_changed_byte_never_keeps_its_name() -> None:
    head, scanlines = _scanlines(noise(6, 6, 3))
    name, data = png.name(head, scanlines), png.pack(head, scanlines)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        assert not png.fits(name, bytes(changed)), at
    for end in range(len(data)):
        assert png.name_of(data[:end]) is None
    assert png.name_of(data + b"x") is None


def test_a_chunk_that_could_change_how_pixels_are_shown_is_no_such_file() -> None:
    head, scanlines = _scanlines(noise(6, 6, 3))
    data = png.pack(head, scanlines)
    gamma = png._chunk(b"gAMA", struct.pack(">I", 45455))
    at = len(png.SIGNATURE) + 25
    assert png.name_of(data[:at] + gamma + data[at:]) is None
    interlaced = head[:-1] + b"\1"
    assert png.name_of(png.pack(interlaced, scanlines)) is None
    again = png._chunk(b"IHDR", head)
    assert png.name_of(data[:at] + again + data[at:]) is None


def test_a_file_that_unpacks_to_more_than_it_says_is_not_unpacked() -> None:
    head = png.header(8, 8, 1)
    bomb = png.pack(head, bytes(2**24))
    assert png.name_of(bomb) is None
    huge = png.header(2**31 - 1, 2**31 - 1, 3)
    assert png.name_of(png.pack(huge, b"")) is None


def test_a_picture_too_large_for_the_lane_is_made_smaller_by_whole_pixels() -> None:
    image = noise(2048, 2448, 3)
    head, scanlines = _scanlines(image)
    assert len(scanlines) <= PICTURE_LIMIT
    shown = imaging.decode(png.pack(head, scanlines))
    assert np.array_equal(shown, image[::2, ::2])
