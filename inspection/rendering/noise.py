"""Textures that everything random in a picture is cut from.

Drawing noise is the dearest part of drawing metal, so it is drawn once: tileable squares of zero
mean and unit deviation, of which `cut` takes a piece anywhere, at any scale and angle. A piece
depends on absolute pixels alone, so that a small window of a view shows exactly what the whole
view shows there.
"""

from __future__ import annotations

import functools
from typing import Literal, cast

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Kind = Literal["cloud", "grain", "brush", "speckle", "crystals", "sensor"]

KINDS: tuple[Kind, ...] = ("cloud", "grain", "brush", "speckle", "crystals", "sensor")
SIDE = 1024
CRYSTALS = 5200


@functools.cache
def texture(kind: Kind) -> Array:
    """float32 (SIDE, SIDE), tileable, mean 0, deviation 1.

    ``cloud`` falls with frequency as patina does, ``grain`` has one wavelength (about 5 px) as
    electro-discharge textured rolls leave it, ``brush`` has long streaks along x, ``speckle`` is
    rough at every scale down to two pixels, ``crystals`` are cells of one value each as the
    spangle of hot-dip zinc, ``sensor`` is white.
    """
    rng = np.random.default_rng([20, KINDS.index(kind)])
    if kind == "crystals":
        return _unit(_crystals(rng))
    white = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    if kind == "sensor":
        return _unit(white)
    fx = np.fft.rfftfreq(SIDE)[np.newaxis, :]
    fy = np.fft.fftfreq(SIDE)[:, np.newaxis]
    f = np.hypot(fx, fy)
    shape = {
        "cloud": lambda: np.maximum(f, 1.5 / SIDE) ** -1.7,
        "grain": lambda: np.exp(-(((f - 0.19) / 0.07) ** 2)),
        "brush": lambda: np.exp(-((fx / 0.006) ** 2)) * np.maximum(np.abs(fy), 0.01) ** -0.35,
        "speckle": lambda: np.maximum(f, 0.02) ** -1.0 * np.exp(-((f / 0.33) ** 4)),
    }[kind]()
    return _unit(np.fft.irfft2(np.fft.rfft2(white) * shape, s=(SIDE, SIDE)))


def _unit(values: npt.NDArray[np.floating]) -> Array:
    values = values - values.mean()
    return np.ascontiguousarray(values / values.std(), np.float32)


def _crystals(rng: np.random.Generator) -> Array:
    """Voronoi cells on a torus: the seeds are repeated around it."""
    margin = SIDE // 8
    value = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    field = np.ones((SIDE, SIDE), np.uint8)
    field[tuple(rng.integers(0, SIDE, (2, CRYSTALS)))] = 0
    wide = np.pad(field, margin, mode="wrap")
    _, labels = cv2.distanceTransformWithLabels(
        wide, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    rows, columns = np.nonzero(wide == 0)
    of_label = np.zeros(int(labels.max()) + 1, np.float32)
    of_label[labels[rows, columns]] = np.pad(value, margin, mode="wrap")[rows, columns]
    inner = slice(margin, margin + SIDE)
    return np.asarray(cv2.GaussianBlur(of_label[labels[inner, inner]], (0, 0), 0.6), np.float32)


def cut(
    kind: Kind,
    rng: np.random.Generator,
    window: tuple[int, int, int, int],
    *,
    scale: float = 1.0,
    stretch: float = 1.0,
    angle: float = 0.0,
) -> Array:
    """A piece of a texture for a window (left, top, width, height) in absolute pixels.

    ``scale`` enlarges the texture, ``stretch`` more so along x, ``angle`` turns it (radians).
    Draws exactly two numbers.
    """
    shift = rng.uniform(0, SIDE, 2)
    left, top, width, height = window
    if scale == stretch == 1.0 and angle == 0.0:
        first, begin = (top + int(shift[1])) % SIDE, (left + int(shift[0])) % SIDE
        if first + height <= SIDE and begin + width <= SIDE:
            return texture(kind)[first : first + height, begin : begin + width]
        rows, columns = np.arange(first, first + height), np.arange(begin, begin + width)
        return texture(kind).take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")
    c, s = np.cos(angle), np.sin(angle)
    a = np.array([[c / (scale * stretch), s / (scale * stretch)], [-s / scale, c / scale]])
    offset = (a @ np.array([left, top]) + shift) % SIDE
    matrix = np.column_stack([a, offset])
    piece = cv2.warpAffine(
        texture(kind),
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_WRAP,
    )
    return cast(Array, piece)
