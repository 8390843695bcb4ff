"""Pictures: reading, first checks, and the one function that makes a model input.

Training, evaluation, golden images and the edge all call `crop`, so that what was evaluated is
what runs. Whatever changes its output, be it by one grey level, is another version beside those
that there are (`IMAGING_VERSIONS`); a model package names the one it was made with, and gets it.

Frames are C-contiguous ``uint8`` arrays: (height, width) for monochrome, (height, width, 3) in
RGB order for colour.
"""

from __future__ import annotations

import functools
import io
import math
import os
import warnings
import zlib
from collections.abc import Collection
from typing import Annotated, Literal, cast, get_args

# Before cv2 is imported, or it has no effect: OpenCV turned a 49 kB PNG into 1.2 GB when asked.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**27))

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg
from msgspec import Meta, Struct
from PIL import Image, UnidentifiedImageError

from inspection.errors import ImageError
from inspection.messages import Reason, Region

ImagingVersion = Literal["1", "2"]
IMAGING_VERSIONS: tuple[ImagingVersion, ...] = get_args(ImagingVersion)
"""``2`` resizes bilinearly where ``1`` averages areas, unless a side shrinks to half or less: of a
region of 160 px for a model of 128 px, at an eighth of the time."""

MAX_PIXELS = 2**27
"""Above any industrial camera (134 megapixels), far below what exhausts a small machine."""

DARK_MEAN = 8.0
BRIGHT_MEAN = 252.0
FLAT_STD = 2.0
"""Grey levels of 255. A whole view darker or brighter than this *and* without any contrast shows a
covered lens, a dead lamp or a saturated sensor, not a part."""
SAMPLED_ROWS = (256, 32)
"""Every so many rows are asked first whether a view shows anything: most do."""
CUT_SHARE = 1 / 64
"""Of the rows of a picture: so many without any noise at its end are a transfer that broke off."""

Frame = npt.NDArray[np.uint8]

_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")

_ORIENTATION = 0x0112  # the tag's number in TIFF and EXIF
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

cv2.setNumThreads(1)  # one thread a worker; more threads cost more than they give on small crops
# What is wrong with a picture is said by the `ImageError`, not by a line on stderr as well.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class CropSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model wants to see of a point: ``width`` x ``height`` pixels with ``channels`` (1 or
    3), of the region enlarged by ``margin`` times its size on each side."""

    width: Annotated[int, Meta(ge=8, le=2048)]
    height: Annotated[int, Meta(ge=8, le=2048)]
    channels: Annotated[int, Meta(ge=1, le=3)]
    margin: Annotated[float, Meta(ge=0, le=4)] = 0.0
    imaging: ImagingVersion = "1"
    """How it is resized; see `crop`."""


def decode(data: bytes) -> Frame:
    """A frame from the bytes of a JPEG, PNG, BMP or TIFF file with 8 bits a channel.

    Orientation tags are ignored (a TIFF file that has one is refused): a camera's pixels are taken
    as they lie. Raises `ImageError` (IMAGE_UNREADABLE) for anything else, for files that end
    early, which some decoders would fill up with grey, and for damage that the format can show:
    any byte of a PNG, compressed TIFF data that make no sense. JPEG, BMP and most TIFF carry no
    checksum; for changed bytes within them there is only the hash that travels with the picture.
    """
    if not data:
        raise ImageError(Reason.IMAGE_UNREADABLE, "the file is empty")
    kind = _check_header(data)
    if kind == "JPEG":
        _check_jpeg(data)
    if kind == "PNG":
        _check_png(data)
    try:
        flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(Reason.IMAGE_UNREADABLE, f"cannot be decoded: {error}"[:200]) from None
    if pixels is None:
        raise ImageError(Reason.IMAGE_UNREADABLE, "cannot be decoded")
    if pixels.dtype != np.uint8:
        raise ImageError(
            Reason.IMAGE_UNREADABLE,
            f"{pixels.dtype} pixels: 10 to 16 bits need a tone map named in the plan",
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 3:
        code = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        pixels = cv2.cvtColor(pixels, code)
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def _check_header(data: bytes) -> str:
    """The format of a file whose header is sound, known before memory is spent on its pixels."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and odd tags; here such a file is taken or refused.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=_FORMATS) as header:
                kind, (width, height) = header.format, header.size
                if kind not in _FORMATS:
                    # Several pictures in one file, as phones and stereo cameras write.
                    raise ImageError(Reason.IMAGE_UNREADABLE, f"{kind} files are not read")
                if width * height > MAX_PIXELS:
                    raise ImageError(
                        Reason.IMAGE_UNREADABLE, f"{width} x {height} pixels are too many"
                    )
                turned = header.getexif().get(_ORIENTATION, 1) if kind == "TIFF" else 1
                if turned != 1:
                    # OpenCV turns a TIFF also when told not to.
                    raise ImageError(
                        Reason.IMAGE_UNREADABLE,
                        f"a TIFF file with orientation {turned}: write the pixels as they lie",
                    )
                if kind == "TIFF" and header.info.get("compression") != "raw":
                    # OpenCV keeps whatever was in memory where compressed data are damaged.
                    header.load()
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(
            Reason.IMAGE_UNREADABLE, f"no {', '.join(_FORMATS)} file, or its header is damaged"
        ) from None
    except Exception as error:  # noqa: BLE001  Pillow's readers raise whatever a bad header makes them
        raise ImageError(Reason.IMAGE_UNREADABLE, f"no readable image: {error}"[:200]) from None
    return kind


def _check_jpeg(data: bytes) -> None:
    """Ends with its end marker, and has all its data before it.

    Where data are missing libjpeg fills the rest with grey and only warns; OpenCV and Pillow pass
    the picture on and keep the warning to themselves.
    """
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ImageError(Reason.IMAGE_UNREADABLE, "the JPEG file does not end with its end marker")
    try:
        simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)
    except ValueError as error:
        raise ImageError(Reason.IMAGE_UNREADABLE, f"the JPEG file is damaged: {error}") from None


def _check_png(data: bytes) -> None:
    """Every chunk whole and with the right checksum, up to the end chunk."""
    view = memoryview(data)
    offset, name = len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        length = int.from_bytes(view[offset : offset + 4], "big")
        name, end = bytes(view[offset + 4 : offset + 8]), offset + 12 + length
        if end > len(data):
            raise ImageError(Reason.IMAGE_UNREADABLE, "the PNG file ends early")
        if zlib.crc32(view[offset + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError(Reason.IMAGE_UNREADABLE, "the PNG file is damaged (checksum)")
        offset = end


def _linear(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return share


def _square_root(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.sqrt(share)


TONE_MAPS = {"linear": _linear, "square-root": _square_root}
"""What becomes of the share of full scale, 0 to 1. ``square-root`` spends its 256 steps as evenly
over the photons' own noise as 8 bits can: dark places keep their detail."""


def tone_map(samples: npt.NDArray[np.uint16], bits: int, name: str) -> Frame:
    """A frame of 8 bits from samples of ``bits`` (9 to 16) by the tone map of that name
    (`TONE_MAPS`), rounded half up. Samples above full scale count as full scale."""
    return cast(Frame, np.take(_tone_table(bits, name), samples))


@functools.cache
def _tone_table(bits: int, name: str) -> Frame:
    full = 2**bits - 1
    share = np.minimum(np.arange(2**16), full) / full
    return np.floor(TONE_MAPS[name](share) * 255 + 0.5).astype(np.uint8)


def encode_png(frame: Frame) -> bytes:
    """A lossless PNG of a frame; `decode` gives back the same pixels."""
    pixels = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) if frame.ndim == 3 else frame
    done, data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ImageError(Reason.IMAGE_UNREADABLE, f"cannot encode a frame of {frame.shape}")
    return data.tobytes()


def check_frame(frame: Frame, width_px: int, height_px: int, *, whole: bool = False) -> None:
    """Raises `ImageError` unless the frame has the view's size and shows anything at all.

    With ``whole`` also where its last rows, more than `CUT_SHARE` of all, hold one value: a
    transfer that broke off. A drawn picture may end like that, so only whoever knows that a sensor
    took it can ask for this.
    """
    height, width = frame.shape[:2]
    if (width, height) != (width_px, height_px):
        raise ImageError(
            Reason.IMAGE_WRONG_SIZE,
            f"{width} x {height} pixels, but the plan's view has {width_px} x {height_px}",
        )
    if not any(_has_contrast(frame, every) for every in SAMPLED_ROWS):
        mean, deviation = cv2.meanStdDev(frame.reshape(height, width, -1))
        level, spread = float(mean.mean()), float(deviation.max())
        if spread < FLAT_STD and level < DARK_MEAN:
            text = f"all dark: mean grey level {level:.1f} of 255"
            raise ImageError(Reason.IMAGE_TOO_DARK, text)
        if spread < FLAT_STD and level > BRIGHT_MEAN:
            text = f"all white: mean grey level {level:.1f} of 255"
            raise ImageError(Reason.IMAGE_TOO_BRIGHT, text)
    if whole and (cut := _rows_cut(frame)) > CUT_SHARE * height:
        raise ImageError(
            Reason.IMAGE_UNREADABLE,
            f"the last {cut} of {height} rows hold one value: the transfer broke off; check cable,"
            " packet size and load",
        )


def _rows_cut(frame: Frame) -> int:
    """How many rows at the end are all of the value that the last pixel has."""
    value = frame[-1, -1]
    # White rows are clipped ones: an exposure that is wrong, and no transfer.
    if (frame[-1] != value).any() or value.min() == 255:
        return 0
    same = (frame == value).reshape(len(frame), -1).all(axis=1)
    return int(np.argmin(same[::-1])) if not same.all() else len(frame)


def _has_contrast(frame: Frame, every: int) -> bool:
    """Whether one of ``every`` rows is reason enough to say that the whole frame is not flat: the
    variance of all is never below a part's own times its share of all."""
    rows = frame[::every]
    _, deviation = cv2.meanStdDev(rows if rows.ndim == 3 else rows[:, :, np.newaxis])
    return float(deviation.max()) ** 2 * len(rows) / len(frame) >= FLAT_STD**2


def crop(frame: Frame, region: Region, spec: CropSpec) -> Frame:
    """What the model sees of a region: ``uint8`` of shape (height, width, channels), the caller's.

    The region, enlarged by its margin, is rounded to whole pixels (half up), cut out with the
    picture's edge pixels repeated where it reaches outside, and resized by area averaging when it
    shrinks (in version 2: when a side shrinks to half or less), bilinearly otherwise, not at all
    when it fits. Colour becomes grey with the weights of ITU-R BT.601; grey becomes three equal
    channels.
    """
    return cast(Frame, crops(frame, (region,), spec)[0])


def crops(frame: Frame, regions: Collection[Region], spec: CropSpec) -> Frame:
    """`crop` of each of these regions, ``uint8`` of shape (n, height, width, channels)."""
    made = np.empty((len(regions), spec.height, spec.width, spec.channels), np.uint8)
    for place, region in zip(made, regions, strict=True):
        _crop_into(place, frame, region, spec)
    return made


def _crop_into(place: Frame, frame: Frame, region: Region, spec: CropSpec) -> None:
    rows, columns = frame.shape[:2]
    left = math.floor(region.left_px - spec.margin * region.width_px + 0.5)
    top = math.floor(region.top_px - spec.margin * region.height_px + 0.5)
    right = math.floor(region.left_px + (1 + spec.margin) * region.width_px + 0.5)
    bottom = math.floor(region.top_px + (1 + spec.margin) * region.height_px + 0.5)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if right <= 0 or bottom <= 0 or left >= columns or top >= rows:
        raise ValueError(f"region {region} lies outside a frame of {columns} x {rows} pixels")
    patch = frame[max(top, 0) : min(bottom, rows), max(left, 0) : min(right, columns)]
    over = (max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - columns, 0))
    if any(over):
        patch = cast(Frame, cv2.copyMakeBorder(patch, *over, cv2.BORDER_REPLICATE))
    if patch.shape[:2] != (spec.height, spec.width):
        high, wide = patch.shape[:2]
        if spec.imaging == "1":
            shrinks = high * wide > spec.height * spec.width
        else:
            shrinks = high >= 2 * spec.height or wide >= 2 * spec.width
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        # Straight to where it belongs, unless its channels are yet to be made.
        there = place if patch.shape[2:] == place.shape[2:] == (3,) else None
        size = (spec.width, spec.height)
        patch = cast(Frame, cv2.resize(patch, size, dst=there, interpolation=how))
        if there is not None:
            return
    if patch.ndim == 2:
        patch = patch[:, :, np.newaxis]
    if patch.shape[2] == 3 and spec.channels == 1:
        patch = cast(Frame, cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY))[:, :, np.newaxis]
    place[:] = patch  # one channel becomes as many equal ones as there are places
