"""Pixel formats of industrial cameras, checked on a target of four known colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edge.cameras.pixels import FORMATS, check_format, to_frame
from inspection import imaging
from inspection.errors import ConfigurationError, ImageError
from inspection.messages import ToneMap

WIDTH, HEIGHT = 96, 64
COLOURS = {
    (0, 0): (200, 20, 20),
    (0, 1): (20, 180, 20),
    (1, 0): (20, 20, 220),
    (1, 1): (240, 240, 240),
}
TILES = {
    "RG": ((0, 1), (1, 2)),
    "GR": ((1, 0), (2, 1)),
    "GB": ((1, 2), (0, 1)),
    "BG": ((2, 1), (1, 0)),
}
"""Channel of each pixel of a 2 x 2 tile, by the name of its first row's two."""


def target() -> npt.NDArray[np.uint8]:
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for (row, column), colour in COLOURS.items():
        picture[row * 32 :, column * 48 :][:32, :48] = colour
    return picture


def camera_bytes(name: str) -> npt.NDArray[np.uint8]:
    """What a camera that sees the target sends, written as the standards draw it: sample by
    sample, bit by bit."""
    picture = target().astype(int)
    bits = FORMATS[name].bits
    scaled = picture * (2**bits - 1) // 255
    if name.startswith("Mono"):
        samples = scaled[:, :, 1]
    elif name.startswith("Bayer"):
        tile = TILES[name[5:7]]
        samples = np.empty((HEIGHT, WIDTH), int)
        for y in range(2):
            for x in range(2):
                samples[y::2, x::2] = scaled[y::2, x::2, tile[y][x]]
    else:
        samples = scaled[:, :, ::-1] if name.startswith("BGR") else scaled
    values = [int(value) for value in samples.reshape(-1)]
    if name.endswith("p"):  # PFNC: one stream of bits, the lowest first
        stream = 0
        for k, value in enumerate(values):
            stream |= value << (k * bits)
        return np.frombuffer(stream.to_bytes(len(values) * bits // 8, "little"), np.uint8)
    if name.endswith("Packed") and bits > 8:  # GigE Vision 1.x: high bytes outside, rest between
        low, out = bits - 8, bytearray()
        for one, other in zip(values[::2], values[1::2], strict=True):
            mask = 2**low - 1
            out += bytes([one >> low, (other & mask) << 4 | one & mask, other >> low])
        return np.frombuffer(bytes(out), np.uint8)
    return np.frombuffer(np.array(values, np.uint8 if bits == 8 else "<u2").tobytes(), np.uint8)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_shows_the_target_in_rgb_order_the_right_way_up(name: str) -> None:
    frame = to_frame(camera_bytes(name).copy(), WIDTH, HEIGHT, name, tone_map="linear")
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert frame.flags.writeable
    assert frame.shape[:2] == (HEIGHT, WIDTH)
    for (row, column), colour in COLOURS.items():
        seen = frame[row * 32 + 16, column * 48 + 24].astype(int)
        expected = colour[1] if name.startswith("Mono") else colour
        assert np.abs(seen - expected).max() <= 2, (name, colour, seen)


@pytest.mark.parametrize("name", ["Mono8", "RGB8", "Mono12", "Mono12p", "Mono10Packed"])
def test_the_bytes_after_each_row_are_no_pixels(name: str) -> None:
    whole = camera_bytes(name)
    rows = whole.reshape(HEIGHT, -1)
    padded = np.hstack([rows, np.full((HEIGHT, 5), 255, np.uint8)])
    padded = padded[:, :-1] if name == "Mono12" else padded
    padding = padded.shape[1] - rows.shape[1]
    frame = to_frame(
        padded.reshape(-1).copy(), WIDTH, HEIGHT, name, row_padding=padding, tone_map="linear"
    )
    assert np.array_equal(frame, to_frame(whole.copy(), WIDTH, HEIGHT, name, tone_map="linear"))


@pytest.mark.parametrize("name", ["Mono8", "BayerRG12p", "BGR8", "Mono16", "Mono12Packed"])
def test_fewer_bytes_than_the_picture_needs_are_no_picture(name: str) -> None:
    with pytest.raises(ImageError, match=name):
        to_frame(camera_bytes(name)[:-1].copy(), WIDTH, HEIGHT, name, tone_map="linear")


def test_more_than_8_bits_without_a_tone_map_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"12 bits.*tone_map.*linear.*square-root"):
        check_format("basler", "BayerRG12", None)
    assert check_format("basler", "BayerRG12", "linear").bits == 12
    assert check_format("basler", "BayerRG8", None).bits == 8
    with pytest.raises(ConfigurationError, match="no tone_map 'cubic'"):
        check_format("basler", "Mono12", "cubic")
    with pytest.raises(ConfigurationError, match="'Coord3D_ABC32f' is not known"):
        check_format("basler", "Coord3D_ABC32f", None)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("name", sorted(imaging.TONE_MAPS))
def test_a_tone_map_keeps_black_white_and_order(bits: int, name: str) -> None:
    ramp = np.arange(2**bits, dtype=np.uint16)
    mapped = imaging.tone_map(ramp, bits, name)
    assert (mapped[0], mapped[-1]) == (0, 255)
    assert set(mapped) == set(range(256)) or name == "square-root"
    assert (np.diff(mapped.astype(int)) >= 0).all()


def test_a_plan_can_name_every_tone_map_and_no_other() -> None:
    assert {each.value for each in ToneMap} == set(imaging.TONE_MAPS)


def test_tone_maps_have_the_values_they_were_released_with() -> None:
    samples = np.array([0, 1, 255, 1024, 2048, 4094, 4095, 65535], np.uint16)
    assert imaging.tone_map(samples, 12, "linear").tolist() == [0, 0, 16, 64, 128, 255, 255, 255]
    assert imaging.tone_map(samples, 12, "square-root").tolist() == [
        0, 4, 64, 128, 180, 255, 255, 255,
    ]  # fmt: skip
