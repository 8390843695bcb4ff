"""From the bytes of an industrial camera to a frame.

Formats have the names of the GenICam Pixel Format Naming Convention (PFNC), which the cameras
themselves use; the older names of GigE Vision 1.x stand for the same. One function for all drivers,
so that no two of them can disagree on where red is.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from inspection import imaging
from inspection.errors import ConfigurationError, ImageError
from inspection.imaging import Frame
from inspection.messages import Reason

_BAYER = {
    "RG": cv2.COLOR_BayerRGGB2RGB,
    "GR": cv2.COLOR_BayerGRBG2RGB,
    "GB": cv2.COLOR_BayerGBRG2RGB,
    "BG": cv2.COLOR_BayerBGGR2RGB,
}


class PixelFormat(NamedTuple):
    """How the pixels of a format lie in memory."""

    bits: int
    """Significant bits of a sample."""
    packing: str
    """``whole``: a sample fills 1 or 2 bytes, low byte first. ``p``: samples follow one another
    bit by bit, low bit first. ``Packed``: GigE Vision's own, two samples in three bytes."""
    channels: int
    code: int | None = None
    """OpenCV's conversion to RGB, where one is needed."""


def _formats() -> dict[str, PixelFormat]:
    found = {
        "RGB8": PixelFormat(8, "whole", 3),
        "RGB8Packed": PixelFormat(8, "whole", 3),
        "BGR8": PixelFormat(8, "whole", 3, cv2.COLOR_BGR2RGB),
        "BGR8Packed": PixelFormat(8, "whole", 3, cv2.COLOR_BGR2RGB),
    }
    names: list[tuple[str, int | None]] = [("Mono", None)]
    names += [(f"Bayer{tile}", code) for tile, code in _BAYER.items()]
    for name, code in names:
        for bits in (8, 10, 12, 14, 16):
            found[f"{name}{bits}"] = PixelFormat(bits, "whole", 1, code)
        for bits in (10, 12):
            found[f"{name}{bits}p"] = PixelFormat(bits, "p", 1, code)
            found[f"{name}{bits}Packed"] = PixelFormat(bits, "Packed", 1, code)
    return found


FORMATS = _formats()


def check_format(driver: str, name: str, tone_map: str | None) -> PixelFormat:
    """The format of that name; raises `ConfigurationError` where this program cannot read it, or
    where it has more than 8 bits and nobody has said how they become 8."""
    found = FORMATS.get(name)
    if found is None:
        raise ConfigurationError(
            f"camera {driver}: pixel_format {name!r} is not known here: take one of"
            f" {', '.join(sorted(FORMATS))}"
        )
    if found.bits > 8 and tone_map is None:
        raise ConfigurationError(
            f"camera {driver}: pixel_format {name} has {found.bits} bits a sample and models see 8:"
            f" name the tone_map ({', '.join(imaging.TONE_MAPS)}), or take a format of 8 bits"
        )
    if tone_map is not None and tone_map not in imaging.TONE_MAPS:
        raise ConfigurationError(
            f"camera {driver}: there is no tone_map {tone_map!r}: take one of"
            f" {', '.join(imaging.TONE_MAPS)}"
        )
    return found


def to_frame(
    data: npt.NDArray[np.uint8],
    width: int,
    height: int,
    name: str,
    *,
    row_padding: int = 0,
    tone_map: str | None = None,
) -> Frame:
    """A frame as `edge.cameras.Shot` promises it, from the bytes of one picture.

    ``row_padding`` is the number of bytes after each row. The result may be ``data`` in another
    shape: hand over a copy that nobody else writes to. Raises `ImageError` where the bytes are
    fewer than the picture needs.
    """
    pixel_format = FORMATS[name]
    samples = width * pixel_format.channels
    bits = _stored_bits(pixel_format)
    if pixel_format.packing == "whole" or row_padding:
        stride = (samples * bits + 7) // 8 + row_padding
        needed = stride * height
    else:  # packed rows follow one another without a break
        stride, needed = 0, (samples * height * bits + 7) // 8
    if data.size < needed:
        raise ImageError(
            Reason.IMAGE_UNREADABLE,
            f"{data.size} bytes came, but {width} x {height} pixels of {name} are {needed}",
        )
    if stride:
        rows = data[:needed].reshape(height, stride)[:, : stride - row_padding]
        values = (
            np.stack([_unpack(row, samples, pixel_format) for row in rows])
            if (pixel_format.packing != "whole")
            else _unpack(np.ascontiguousarray(rows).reshape(-1), samples * height, pixel_format)
        )
    else:
        values = _unpack(data[:needed], samples * height, pixel_format)
    picture = values.reshape(height, width, pixel_format.channels)
    if pixel_format.channels == 1:
        picture = picture[:, :, 0]
    if pixel_format.code is not None:
        picture = cast(npt.NDArray[np.uint16], cv2.cvtColor(cast(Any, picture), pixel_format.code))
    if pixel_format.bits > 8:
        if tone_map is None:
            raise ImageError(
                Reason.IMAGE_UNREADABLE, f"{name} has {pixel_format.bits} bits and no tone map"
            )
        return imaging.tone_map(
            cast("npt.NDArray[np.uint16]", picture), pixel_format.bits, tone_map
        )
    return np.ascontiguousarray(picture).view(np.uint8)


def _stored_bits(pixel_format: PixelFormat) -> int:
    if pixel_format.packing == "whole":
        return 8 if pixel_format.bits == 8 else 16
    return pixel_format.bits if pixel_format.packing == "p" else 12


def _unpack(
    data: npt.NDArray[np.uint8], count: int, pixel_format: PixelFormat
) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """``count`` samples out of their bytes."""
    bits, packing = pixel_format.bits, pixel_format.packing
    if packing == "whole":
        return data if bits == 8 else data.view("<u2").astype(np.uint16, copy=False)
    # Groups of whole bytes: 4 samples of 10 bits in 5 bytes, 2 of 12 bits in 3.
    per_group, size = (4, 5) if (packing, bits) == ("p", 10) else (2, 3)
    groups = -(-count // per_group)
    padded = np.zeros(groups * size, np.uint8)
    padded[: min(data.size, padded.size)] = data[: padded.size]
    group = padded.reshape(groups, size).astype(np.uint16)
    out = np.empty((groups, per_group), np.uint16)
    if packing == "Packed":
        low = 4 if bits == 12 else 2  # bits of a sample in the byte in the middle
        out[:, 0] = group[:, 0] << low | group[:, 1] & (1 << low) - 1
        out[:, 1] = group[:, 2] << low | group[:, 1] >> 4 & (1 << low) - 1
    elif bits == 12:
        out[:, 0] = group[:, 0] | (group[:, 1] & 0x0F) << 8
        out[:, 1] = group[:, 1] >> 4 | group[:, 2] << 4
    else:
        for k in range(4):
            out[:, k] = (group[:, k] >> 2 * k | group[:, k + 1] << 8 - 2 * k) & 0x3FF
    return out.reshape(-1)[:count]
