"""The quality gate: whether a picture shows a point well enough to be judged at all.

Everything is measured on the region at `SPEC` (128 x 128 px, as the released model sees a weld, so
that its crops are measured as they are), with a few calls for all points of a view together.
What is measured says nothing of how good the weld is: a missing, cracked or burnt weld has to
reach the model, so limits are on what a defect leaves alone.

*Focus* is how much of the second derivative is left at half the scale: its energy over 2 px
against that over 4 px, in the direction where less is left, so that a picture smeared in one
direction shows. Both are Laplacian-type measures (Pertuz, Puig and Garcia: Analysis of focus
measure operators for shape-from-focus, Pattern Recognition 46, 2013, section 2.2); their ratio does
not depend on how much there is to see, only on how sharp it is.

*Content* compares a thumbnail of 16 x 16 cells with that of good pictures: the share of cells that
differ by more than `DIFFERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
from msgspec import structs

from inspection import imaging
from inspection.imaging import CropSpec, Frame
from inspection.messages import THUMBNAIL_PX, Id, QualityLimits, Reason, Region

SIDE_PX = 128
SPEC = CropSpec(width=SIDE_PX, height=SIDE_PX, channels=1, imaging="2")
_FINE, _COARSE, _CELLS = SIDE_PX // 2, SIDE_PX // 4, 8
_CENTRE = slice(2, 6)
"""Of the eight cells a side: where the weld is."""

DARK, BRIGHT = 6, 250
"""Grey levels of 255 from which on nothing can be told apart."""
DIFFERS = (12.0, 0.2)
"""A cell differs by more than so many grey levels plus so great a share of its own."""
VIEW_POINTS = 4
"""From so many points on, what most of them show is taken for the picture as a whole."""

_FLOOR = 6.0
"""Added to the coarse energy (grey levels squared): where there is nothing but a smooth sheet the
noise of the sensor decides, and that is sharp."""
_DEAD = 2
"""A cell whose mean Laplacian is below this (eighths of a grey level) has no noise: no sensor has
seen it, or it is clipped."""

Floats = npt.NDArray[np.float64]


class Measured(NamedTuple):
    """What was measured at n points; arrays of shape (n,), shares from 0 to 1."""

    focus: Floats
    level: Floats
    """Mean grey level, 0 to 255."""
    shadows: Floats
    """Share of the region that is clipped dark."""
    highlights: Floats
    """Share of the region that is clipped bright ..."""
    glare: Floats
    """... and of its inner quarter, where the weld is."""
    dead: Floats
    """Share of the region without any noise."""
    thumbnails: Frame
    """``uint8`` (n, 16, 16)."""


class Refusal(NamedTuple):
    """Why a point cannot be judged in a picture: the measured value and its limit are in
    ``detail``."""

    reason: Reason
    detail: str


def fits(spec: CropSpec) -> bool:
    """Whether crops of this form can be measured as they are."""
    return structs.replace(spec, channels=SPEC.channels) == SPEC


def crops(frame: Frame, regions: Iterable[Region]) -> Frame:
    """What is measured of these regions: ``uint8`` (n, 128, 128, 1)."""
    return imaging.crops(frame, tuple(regions), SPEC)


def measure(seen: Frame) -> Measured:
    """Measure ``uint8`` (n, 128, 128, 1 or 3), C-contiguous, n at least 1: `crops`, or those of a
    model that `fits`. About 0.02 ms a point."""
    n = len(seen)
    tall = seen.reshape(n * SIDE_PX, SIDE_PX, -1)
    grey = cv2.cvtColor(tall, cv2.COLOR_RGB2GRAY) if tall.shape[2] == 3 else tall[:, :, 0]
    # One picture of all points below each other: every block of a factor lies within one of them.
    fine = _shrunk(grey, n, _FINE)
    coarse = _shrunk(fine, n, _COARSE)
    # In two steps, the first of which is OpenCV's fastest: a third of the time of one.
    bright, dark = (
        _shrunk(_shrunk(cv2.threshold(grey, level, 255, how)[1], n, _FINE), n, _CELLS)
        for level, how in ((BRIGHT - 1, cv2.THRESH_BINARY), (DARK, cv2.THRESH_BINARY_INV))
    )
    edges = cv2.convertScaleAbs(cv2.Laplacian(fine, cv2.CV_16S), alpha=8)
    dead = _shrunk(edges, n, _CELLS).reshape(n, -1) < _DEAD
    bright = bright.reshape(n, _CELLS, _CELLS)
    thumbnails = _shrunk(coarse, n, THUMBNAIL_PX).reshape(n, THUMBNAIL_PX, THUMBNAIL_PX)
    return Measured(
        focus=_focus(fine.reshape(n, _FINE, _FINE), coarse.reshape(n, _COARSE, _COARSE)),
        level=thumbnails.mean(axis=(1, 2)),
        shadows=dark.reshape(n, -1).mean(axis=1) / 255,
        highlights=bright.mean(axis=(1, 2)) / 255,
        glare=bright[:, _CENTRE, _CENTRE].mean(axis=(1, 2)) / 255,
        dead=dead.mean(axis=1),
        thumbnails=thumbnails,
    )


def together(parts: Sequence[Measured]) -> Measured:
    """What was measured in several calls, as of one."""
    if len(parts) == 1:
        return parts[0]
    return Measured(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _shrunk(tall: npt.NDArray[Any], n: int, side: int) -> Frame:
    return cast(Frame, cv2.resize(tall, (side, n * side), interpolation=cv2.INTER_AREA))


def _focus(fine: Frame, coarse: Frame) -> Floats:
    ratios = [f / (c + _FLOOR) for f, c in zip(_energy(fine), _energy(coarse), strict=True)]
    return np.minimum(*ratios)


def _energy(grey: Frame) -> tuple[Floats, Floats]:
    """Mean squared second derivative along x and along y in the middle half of each picture."""
    side = grey.shape[1]
    middle = grey[:, side // 4 - 1 : side - side // 4 + 1, side // 4 - 1 : side - side // 4 + 1]
    g = middle.astype(np.float32)
    twice = 2 * g[:, 1:-1, 1:-1]
    along_x = g[:, 1:-1, 2:] + g[:, 1:-1, :-2] - twice
    along_y = g[:, 2:, 1:-1] + g[:, :-2, 1:-1] - twice
    size = twice[0].size
    return (
        np.einsum("nij,nij->n", along_x, along_x) / size,
        np.einsum("nij,nij->n", along_y, along_y) / size,
    )


# ------------------------------------------------------------------------------- the gate


def refused(
    measured: Measured, limits: Sequence[QualityLimits], view_points: int = VIEW_POINTS
) -> list[Refusal | None]:
    """For each point why it cannot be judged, or None where it can.

    Where at least ``view_points`` were measured and more than half of them are soft, the whole
    picture is: all are refused, because blur is seen more surely at twenty points than at one.
    """
    n = len(limits)
    focus = measured.focus.tolist()
    soft = [value < limit.soft_below for value, limit in zip(focus, limits, strict=True)]
    blurred = n >= view_points and 2 * sum(soft) > n
    differing = _differing(measured, limits, view_points).tolist()
    exposure = zip(
        measured.shadows.tolist(),
        measured.highlights.tolist(),
        measured.glare.tolist(),
        measured.level.tolist(),
        strict=True,
    )
    shown = zip(measured.dead.tolist(), focus, differing, strict=True)
    found: list[Refusal | None] = []
    for limit, light, sight in zip(limits, exposure, shown, strict=True):
        one = _exposed(*light, limit) or _shown(*sight, limit)
        if one is None and blurred:
            one = Refusal(
                Reason.OUT_OF_FOCUS,
                f"the picture is blurred at {sum(soft)} of {n} points (here focus"
                f" {sight[1]:.3f}, sharp from {limit.soft_below:.3f})",
            )
        found.append(one)
    return found


def _exposed(
    shadows: float, highlights: float, glare: float, level: float, limit: QualityLimits
) -> Refusal | None:
    if shadows > limit.shadows_max:
        said = f"{_percent(shadows)} of the region are black, limit {_percent(limit.shadows_max)}"
        return Refusal(Reason.IMAGE_TOO_DARK, said)
    if level < limit.level_min:
        said = f"mean grey level {level:.0f}, limit {limit.level_min:.0f}"
        return Refusal(Reason.IMAGE_TOO_DARK, said)
    if highlights > limit.highlights_max and highlights > 0.5:
        said = f"{_percent(highlights)} of the region are white"
        said = f"{said}, limit {_percent(limit.highlights_max)}"
        return Refusal(Reason.IMAGE_TOO_BRIGHT, said)
    if glare > limit.glare_max:
        said = f"{_percent(glare)} of the middle are white, limit {_percent(limit.glare_max)}"
        return Refusal(Reason.GLARE, said)
    if highlights > limit.highlights_max:
        said = f"{_percent(highlights)} of the region are white"
        return Refusal(Reason.GLARE, f"{said}, limit {_percent(limit.highlights_max)}")
    if level > limit.level_max:
        said = f"mean grey level {level:.0f}, limit {limit.level_max:.0f}"
        return Refusal(Reason.IMAGE_TOO_BRIGHT, said)
    return None


def _shown(dead: float, focus: float, differing: float, limit: QualityLimits) -> Refusal | None:
    if dead > limit.dead_max:
        said = f"{_percent(dead)} of the region hold one value, limit {_percent(limit.dead_max)}"
        return Refusal(Reason.IMAGE_UNREADABLE, f"{said}: no sensor has seen them")
    if focus < limit.focus_min:
        said = f"focus {focus:.3f}, limit {limit.focus_min:.3f}"
        return Refusal(Reason.OUT_OF_FOCUS, said)
    if differing > limit.content_max:
        said = f"{_percent(differing)} of the region are not as in good pictures"
        return Refusal(Reason.WRONG_CONTENT, f"{said}, limit {_percent(limit.content_max)}")
    return None


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _differing(measured: Measured, limits: Sequence[QualityLimits], view_points: int) -> Floats:
    references = np.frombuffer(b"".join(limit.reference for limit in limits), np.uint8)
    reference = references.reshape(measured.thumbnails.shape).astype(np.float32)
    # What a lamp does to all points alike is no other content; what something in front of one of
    # them does is.
    gains = measured.level / np.maximum(reference.mean(axis=(1, 2)), 1)
    gain = float(np.median(gains)) if len(limits) >= view_points else 1.0
    return _differ(measured.thumbnails, reference * np.float32(gain))


def _differ(thumbnails: Frame, reference: npt.NDArray[np.float32]) -> Floats:
    """Share of cells that differ, over the last two axes."""
    apart = np.abs(thumbnails - reference) > DIFFERS[0] + DIFFERS[1] * reference
    return np.asarray(apart.mean(axis=(-1, -2)))


# ------------------------------------------------------------------------------- learning

FEW = 5
"""With fewer pictures than this a point's own spread is not known: all of its view stand in."""
FOCUS_MARGIN, SOFT_MARGIN = 0.8, 0.75
"""Limits lie at this share of the least that good pictures had."""
LEVEL_MARGINS = (0.6, 1.5)
_NOTHING = 0.01
_LEVELS = 5.0
"""Grey levels that a limit of the mean level lies further out: a share of the dark is nothing."""
SHARE_MARGIN = 0.1
"""Added to the most that good pictures had: of black, of white, and of what has no noise."""
CONTENT_MARGIN = 0.3
"""Twice that where `FEW` pictures were learnt from."""


def learn(
    frames: Iterable[Frame],
    regions: Mapping[Id, Region],
    moved: Callable[[Frame], Mapping[Id, Region]] | None = None,
) -> dict[Id, QualityLimits]:
    """Limits of all points of a view from good pictures of it, at least one.

    ``moved`` says where the regions lie in one picture, where pictures are aligned first. Ten
    pictures of ten parts are enough; with fewer than `FEW` the limits are laid wider, by what the
    points of the view have in common. Raises `ImageError` for a picture in which the view cannot
    be seen as a whole and `ValueError` where there is no picture.
    """
    seen = []
    for frame in frames:
        imaging.check_frame(frame, frame.shape[1], frame.shape[0], whole=True)
        places = regions if moved is None else moved(frame)
        seen.append(measure(crops(frame, [places[point] for point in regions])))
    if not seen:
        raise ValueError("no picture to learn from")
    each = Measured(*(np.stack(values) for values in zip(*seen, strict=True)))  # (pictures, n)
    few = len(seen) < FEW
    reference = np.median(each.thumbnails, axis=0).astype(np.float32)
    typical = np.median(each.focus, axis=0)
    shown = typical > _NOTHING  # a place with nothing on it has no focus to speak of
    sharpest, soft = np.zeros_like(typical), np.zeros_like(typical)
    if shown.any():
        seen_there, usual = each.focus[:, shown], typical[shown]
        # One picture says little of what is usual at a point: the view stands in, for the hard
        # limit wholly, for the other by half.
        steady = np.full_like(usual, np.median(usual)) if few else usual
        least = np.minimum(steady * (seen_there / steady).min(), seen_there.min(axis=0))
        sharpest[shown] = least * (FOCUS_MARGIN**2 if few else FOCUS_MARGIN)
        usual = np.sqrt(usual * np.median(usual)) if few else usual
        soft[shown] = usual * np.median(seen_there / usual, axis=1).min() * SOFT_MARGIN
    level = np.maximum(np.median(each.level, axis=0), 1)
    spread = np.maximum(each.level, 1) / level
    differing = np.stack([_differ(picture, reference) for picture in each.thumbnails])
    limits = {}
    for k, point in enumerate(regions):
        limits[point] = QualityLimits(
            reference=np.rint(reference[k]).astype(np.uint8).tobytes(),
            level_min=_shortened(max(0, level[k] * spread.min() * LEVEL_MARGINS[0] - _LEVELS)),
            level_max=_shortened(level[k] * spread.max() * LEVEL_MARGINS[1] + _LEVELS),
            focus_min=_shortened(sharpest[k]),
            soft_below=_shortened(soft[k]),
            shadows_max=_share(each.shadows[:, k]),
            highlights_max=_share(each.highlights[:, k]),
            glare_max=_share(each.glare[:, k]),
            dead_max=_share(each.dead[:, k]),
            content_max=_share(differing[:, k], (2 if few else 1) * CONTENT_MARGIN),
        )
    return limits


def _shortened(value: float) -> float:
    return float(f"{value:.4g}")


def _share(good: Floats, margin: float = SHARE_MARGIN) -> float:
    return min(1.0, round(float(good.max()) + margin, 3))
