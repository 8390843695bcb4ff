"""How large a picture's pixels are on the part, and how its lens bends straight lines.

Either from two marks whose distance is known, or from a flat target (a chessboard, or a grid of
circles) that lies where the part's surface lies. The lens is described by the radial terms of
Brown's model (1966) about the picture's centre,

    seen - centre = (true - centre) * (1 + k1 r^2 + k2 r^4),

where r is the distance of the true place from the centre over half of the picture's longer side,

fitted together with the homography of the target to the corners found in one picture. It needs no
focal length, which one picture of a flat target cannot tell.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from typing import Annotated, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from inspection.errors import ConfigurationError
from inspection.imaging import Frame

LARGEST_TERM = 0.5
"""No lens that one measures with has larger radial terms."""
MOST_RMS_PX = 0.5
"""What may be left at the target's corners, root of the mean square."""
MOST_TILT = 0.02
"""By how much the scale at the picture's centre may differ between directions, and across the
target between its ends: beyond, one number of millimetres per pixel would not be true."""
LEAST_SPAN = 0.5
"""Of the picture's shorter side: a smaller target says nothing of the lens."""
FEWEST_CORNERS = 20

Places = npt.NDArray[np.float64]


class Distortion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The radial terms of a lens; see the module."""

    k1: Annotated[float, Meta(ge=-LARGEST_TERM, le=LARGEST_TERM)]
    k2: Annotated[float, Meta(ge=-LARGEST_TERM, le=LARGEST_TERM)]

    def seen(self, places: Places, width_px: int, height_px: int) -> Places:
        """Where true places, (n, 2) pixels, are in the picture."""
        centre, half = _middle(width_px, height_px)
        off = (np.asarray(places, np.float64) - centre) / half
        square = (off**2).sum(axis=1, keepdims=True)
        found: Places = centre + half * off * (1 + self.k1 * square + self.k2 * square**2)
        return found

    def true(self, places: Places, width_px: int, height_px: int) -> Places:
        """Where places of the picture, (n, 2) pixels, would be without the lens's distortion: the
        inverse of `seen`, by Newton's method along the radius."""
        centre, half = _middle(width_px, height_px)
        off = (np.asarray(places, np.float64) - centre) / half
        wanted = np.hypot(off[:, 0], off[:, 1])
        radius = wanted.copy()
        for _ in range(20):
            square = radius**2
            value = radius * (1 + self.k1 * square + self.k2 * square**2) - wanted
            slope = 1 + 3 * self.k1 * square + 5 * self.k2 * square**2
            radius -= value / np.maximum(slope, 0.1)
        ratio = np.divide(radius, wanted, out=np.ones_like(radius), where=wanted > 0)
        return centre + half * off * ratio[:, np.newaxis]


class Calibration(NamedTuple):
    """``distortion`` is None where nothing was measured of it; ``rms_px`` is what was left."""

    mm_per_px: float
    distortion: Distortion | None
    rms_px: float


class Pattern(enum.StrEnum):
    """What is on a target."""

    CHESSBOARD = "chessboard"
    CIRCLES = "circles"


class Target(NamedTuple):
    """A target: of a chessboard the inner corners count, across and down; ``pitch_mm`` is from one
    corner, or centre of a circle, to the next."""

    pattern: Pattern
    columns: int
    rows: int
    pitch_mm: float


def target(text: str) -> Target:
    """A target from ``chessboard:9x6:5.0``; raises `ConfigurationError` where it is none."""
    pattern, _, rest = text.partition(":")
    size, _, pitch = rest.partition(":")
    columns, _, rows = size.partition("x")
    try:
        found = Target(Pattern(pattern), int(columns), int(rows), float(pitch))
    except ValueError:
        found = None
    if (
        found is None
        or not 3 <= found.columns <= 200
        or not 3 <= found.rows <= 200
        or not 0 < found.pitch_mm <= 1000  # also refuses NaN
    ):
        raise ConfigurationError(
            f"target {text!r}: write chessboard:COLUMNSxROWS:MILLIMETRES (inner corners and their"
            " distance) or circles:COLUMNSxROWS:MILLIMETRES, 3 to 200 each way"
        )
    if found.columns * found.rows < FEWEST_CORNERS:
        raise ConfigurationError(
            f"target {text!r}: {found.columns * found.rows} corners are too few, at least"
            f" {FEWEST_CORNERS} are needed"
        )
    return found


def from_distance(
    one: tuple[float, float], other: tuple[float, float], distance_mm: float
) -> Calibration:
    """The scale of a picture in which two places (pixels) are so many millimetres apart. Raises
    `ConfigurationError` where they are too close to each other to tell."""
    apart = math.dist(one, other)
    if not 0 < distance_mm < math.inf:
        raise ConfigurationError(f"a distance of {distance_mm} mm: must be greater than 0")
    if apart < 100:
        raise ConfigurationError(
            f"the marks are {apart:.1f} px apart, too close to measure a scale by: at least 100"
        )
    return Calibration(distance_mm / apart, None, 0.0)


def from_target(picture: Frame, wanted: Target) -> Calibration:
    """Scale and distortion from a picture of a target. Raises `ConfigurationError` with what was
    found where the target is not whole in it, too small, tilted, bent, or not the one named."""
    height, width = picture.shape[:2]
    seen = _corners(picture, wanted)
    span = (seen.max(axis=0) - seen.min(axis=0)).max()
    if span < LEAST_SPAN * min(width, height):
        raise ConfigurationError(
            f"the target covers {span:.0f} px, too little to tell the lens's distortion: at least"
            f" {LEAST_SPAN * min(width, height):.0f} px are needed"
        )
    down, across = np.mgrid[0 : wanted.rows, 0 : wanted.columns]
    flat = np.stack([across.ravel(), down.ravel()], axis=1) * wanted.pitch_mm
    homography, distortion, rms = _fitted(flat, seen, width, height)
    if rms > MOST_RMS_PX:
        raise ConfigurationError(
            f"the target's corners are {rms:.2f} px off where a flat target has them, at most"
            f" {MOST_RMS_PX:g} px are possible: it is bent, blurred, or another one than named"
        )
    ends = np.array([flat[0], flat[wanted.columns - 1], flat[-1], flat[-wanted.columns]])
    sizes = [_px_per_mm(homography, place) for place in (flat.mean(axis=0), *ends)]
    values = np.array(sizes)
    tilt = float(values.max() / values.min() - 1)
    if tilt > MOST_TILT:
        raise ConfigurationError(
            f"the scale differs by {tilt:.1%} over the target, {MOST_TILT:.0%} are possible: lay"
            " it flat where the part's surface is, square to the camera"
        )
    across_mm, down_mm = sizes[0]
    return Calibration(1 / math.sqrt(across_mm * down_mm), distortion, rms)


def _middle(width_px: int, height_px: int) -> tuple[Places, float]:
    # Pixel 0 reaches from 0 to 1, as in `inspection.messages.Region`.
    return np.array([width_px / 2, height_px / 2]), max(width_px, height_px) / 2


def _corners(picture: Frame, wanted: Target) -> Places:
    """(rows * columns, 2) pixels, row by row."""
    grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    size = (wanted.columns, wanted.rows)
    found, corners = False, None
    if wanted.pattern is Pattern.CHESSBOARD:
        flags = cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY | cv2.CALIB_CB_NORMALIZE_IMAGE
        found, corners = cv2.findChessboardCornersSB(grey, size, flags=flags)
        if found:
            # Where two edges cross is told better by their gradients (Foerstner) than by the model
            # of the detector, which is meant for blurred pictures.
            stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-3)
            corners = cv2.cornerSubPix(grey, corners, (7, 7), (-1, -1), stop)
    else:
        settings = cv2.SimpleBlobDetector.Params()
        settings.maxArea = grey.size / 4
        settings.minArea = 30
        # Either dark circles or bright ones.
        for colour in (0, 255):
            settings.blobColor = colour
            found, corners = cv2.findCirclesGrid(
                grey,
                size,
                flags=cv2.CALIB_CB_SYMMETRIC_GRID,
                blobDetector=cv2.SimpleBlobDetector.create(settings),
                parameters=cv2.CirclesGridFinderParameters(),
            )
            if found:
                break
    if not found or corners is None:
        raise ConfigurationError(
            f"no {wanted.pattern} of {wanted.columns} x {wanted.rows} in the picture: the whole"
            " target must be seen, sharp and evenly lit; of a chessboard the inner corners count"
        )
    # OpenCV counts from the middle of the first pixel.
    return corners.reshape(-1, 2).astype(np.float64) + 0.5


def _fitted(
    flat: Places, seen: Places, width: int, height: int
) -> tuple[Places, Distortion, float]:
    """Homography and radial terms of least squares (Gauss-Newton with numerical derivatives)."""
    centre, half = _middle(width, height)
    middle, reach = flat.mean(axis=0), float(np.ptp(flat, axis=0).max())
    plane, off = (flat - middle) / reach, (seen - centre) / half
    first, _ = cv2.findHomography(plane, off)
    if first is None:
        raise ConfigurationError("the target's corners lie on one line")
    numbers = np.array([*(first / first[2, 2]).ravel()[:8], 0.0, 0.0])

    def left(values: Places) -> Places:
        homography = np.append(values[:8], 1.0).reshape(3, 3)
        there = np.c_[plane, np.ones(len(plane))] @ homography.T
        there = there[:, :2] / there[:, 2:]
        square = (there**2).sum(axis=1, keepdims=True)
        return cast(
            Places, (there * (1 + values[8] * square + values[9] * square**2) - off).ravel()
        )

    step = 1e-6
    for _ in range(30):
        now = left(numbers)
        slopes = np.stack([(left(numbers + step * e) - now) / step for e in np.eye(10)], axis=1)
        change = np.linalg.lstsq(slopes, -now, rcond=None)[0]
        numbers = numbers + change
        if float(np.abs(change).max()) < 1e-9:
            break
    rms = float(np.sqrt((left(numbers).reshape(-1, 2) ** 2).sum(axis=1).mean())) * half
    if not np.isfinite(numbers).all() or np.abs(numbers[8:]).max() > LARGEST_TERM:
        raise ConfigurationError("no lens explains where the target's corners are: is it flat?")
    to_plane = np.array(
        [[1 / reach, 0, -middle[0] / reach], [0, 1 / reach, -middle[1] / reach], [0, 0, 1]]
    )
    back = np.array([[half, 0, centre[0]], [0, half, centre[1]], [0, 0, 1]])
    homography = back @ np.append(numbers[:8], 1.0).reshape(3, 3) @ to_plane
    k1, k2 = (float(value) for value in numbers[8:])
    return homography, Distortion(k1=k1, k2=k2), rms


def _px_per_mm(homography: Places, place: Iterable[float]) -> tuple[float, float]:
    """The largest and smallest scale of a homography at a place of the target."""
    x, y, w = homography @ (*place, 1.0)
    slopes = np.array(
        [
            [
                homography[0, 0] * w - x * homography[2, 0],
                homography[0, 1] * w - x * homography[2, 1],
            ],
            [
                homography[1, 0] * w - y * homography[2, 0],
                homography[1, 1] * w - y * homography[2, 1],
            ],
        ]
    ) / (w * w)
    first, second = np.linalg.svd(slopes, compute_uv=False)
    return float(first), float(second)
