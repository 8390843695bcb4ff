"""The layers of a piece of sheet metal, and what a press shop and a body shop put on it.

Places are absolute pixels of the picture, lengths millimetres, heights micrometres. Everything
paints itself into whatever window of the picture is asked for and looks the same in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from inspection.rendering.materials import Steel
from inspection.rendering.noise import Array, Kind, cut

FAR_MM = 10_000.0
OWN, OTHER, OPEN = 1, 2, 4
"""Bits of the layer ``zones``: inside the planned weld's outline, another one's, off the sheet."""


class Spot:
    """A part of a surface around a place: views of its layers, and coordinates in millimetres
    from that place, ``x`` of shape (1, w), ``y`` of shape (h, 1)."""

    def __init__(self, surface: Surface, place: tuple[float, float], rows: slice, columns: slice):
        self.surface = surface
        self.px_per_mm = surface.px_per_mm
        self.form = surface.form[rows, columns]
        self.relief = surface.relief[rows, columns]
        self.worked = surface.worked[rows, columns]
        self.colour = surface.colour[rows, columns]
        self.open = surface.open[rows, columns]
        self.below = surface.below[rows, columns]
        self.mask = surface.mask[rows, columns]
        self.zones = surface.zones[rows, columns]
        left, top = surface.left + columns.start, surface.top + rows.start
        self.window = (left, top, columns.stop - columns.start, rows.stop - rows.start)
        x = np.arange(left, left + self.window[2], dtype=np.float32) - np.float32(place[0])
        y = np.arange(top, top + self.window[3], dtype=np.float32) - np.float32(place[1])
        self.x = (x / np.float32(self.px_per_mm))[np.newaxis, :]
        self.y = (y / np.float32(self.px_per_mm))[:, np.newaxis]

    def along(self, angle: float) -> Array:
        """Distance from the place in this direction, (h, w), millimetres."""
        return np.asarray(
            self.x * np.float32(np.cos(angle)) + self.y * np.float32(np.sin(angle)), np.float32
        )

    def cut(self, kind: Kind, rng: np.random.Generator, size_mm: float = 0.1) -> Array:
        """Noise whose grain is the same on the sheet whatever the camera's scale: ``size_mm`` is
        what a pixel of the texture covers."""
        return cut(kind, rng, self.window, scale=size_mm * self.px_per_mm)


class Surface:
    """A window of a sheet. ``form`` and ``relief`` are heights: the press's shapes and everything
    finer, which alone casts soft shadows. ``worked`` is 1 where an electrode ironed the sheet,
    ``colour`` multiplies the light, ``open`` is 1 where there is no sheet and ``below`` is seen,
    ``mask`` is the class index of a defect at this pixel, ``zones`` whose imprint it belongs to."""

    def __init__(self, left: int, top: int, width: int, height: int, px_per_mm: float) -> None:
        self.left, self.top, self.px_per_mm = left, top, px_per_mm
        shape = (height, width)
        self.window = (left, top, width, height)
        self.form = np.zeros(shape, np.float32)
        self.relief = np.zeros(shape, np.float32)
        self.worked = np.zeros(shape, np.float32)
        self.colour = np.ones((*shape, 3), np.float32)
        self.open = np.zeros(shape, np.float32)
        self.below = np.zeros(shape, np.float32)
        self.mask = np.zeros(shape, np.uint8)
        self.zones = np.zeros(shape, np.uint8)

    def around(self, x_px: float, y_px: float, half_mm: float) -> Spot | None:
        """The square of this half side around a place; None where it lies outside the window."""
        half = half_mm * self.px_per_mm
        left, top, width, height = self.window
        columns = slice(max(0, int(x_px - half) - left), min(width, int(x_px + half) + 1 - left))
        rows = slice(max(0, int(y_px - half) - top), min(height, int(y_px + half) + 1 - top))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        return Spot(self, (x_px, y_px), rows, columns)

    def band(
        self, place: tuple[float, float], angle: float, low_mm: float, high_mm: float
    ) -> Spot | None:
        """Where the distance from a place, along a direction, lies between these two, and a
        little more: the bounding box. None where that is nowhere in the window."""
        left, top, width, height = self.window
        corners = [(left, top), (left + width, top), (left + width, top + height),
                   (left, top + height)]  # fmt: skip
        c, s = np.cos(angle), np.sin(angle)
        low, high = low_mm * self.px_per_mm, high_mm * self.px_per_mm
        for sign, limit in ((1, low), (-1, -high)):
            far = [sign * ((x - place[0]) * c + (y - place[1]) * s) - limit for x, y in corners]
            kept = []
            for k, (x, y) in enumerate(corners):
                (x1, y1), d0, d1 = corners[k - 1], far[k], far[k - 1]
                if (d0 >= 0) != (d1 >= 0):
                    t = d0 / (d0 - d1)
                    kept.append((x + t * (x1 - x), y + t * (y1 - y)))
                if d0 >= 0:
                    kept.append((x, y))
            corners = kept
        if not corners:
            return None
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        columns = slice(max(0, int(min(xs)) - left - 1), min(width, int(max(xs)) - left + 2))
        rows = slice(max(0, int(min(ys)) - top - 1), min(height, int(max(ys)) - top + 2))
        if columns.start >= columns.stop or rows.start >= rows.stop:
            return None
        return Spot(self, place, rows, columns)


def step(distance: npt.NDArray[np.float32], soft: float) -> Array:
    """0 below, 1 above, smooth over about 4 x ``soft``."""
    return np.asarray(0.5 + 0.5 * np.tanh(distance / np.float32(2 * soft)), np.float32)


class Feature(Protocol):
    """Something that paints itself."""

    def paint(self, surface: Surface) -> None: ...


def paint_sheet(surface: Surface, steel: Steel, seed: Sequence[int]) -> None:
    """The bare sheet as it left the mill and the press."""
    rng = np.random.default_rng([*seed, 1])
    scale = surface.px_per_mm / 10
    window = surface.window
    surface.relief += np.float32(steel.brush_um) * cut(
        "brush", rng, window, scale=0.9 * scale, angle=-steel.rolling
    )
    surface.relief += np.float32(steel.grain_um) * cut("grain", rng, window, scale=0.9 * scale)
    surface.form += np.float32(14.0) * cut("cloud", rng, window, scale=3 * scale)
    shade = np.float32(steel.patina) * cut(
        "cloud", rng, window, scale=1.1 * scale, stretch=1.8, angle=-steel.rolling
    )
    shade += np.float32(0.3 * steel.patina) * cut("speckle", rng, window, scale=scale)
    if steel.spangle > 0:
        shade += np.float32(steel.spangle) * cut(
            "crystals", rng, window, scale=steel.crystal * scale
        )
    shade += np.float32(1.0)
    for channel, tone in enumerate(steel.tone):
        np.multiply(shade, np.float32(tone * steel.grey), out=surface.colour[:, :, channel])


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the sheet ends, along a straight line through a place; the sheet lies on the side
    away from ``angle``. Below it is the next sheet or nothing."""

    x_px: float
    y_px: float
    angle: float
    below: Literal["sheet", "nothing"]
    wave_mm: float
    seed: tuple[int, ...]

    def paint(self, surface: Surface) -> None:
        spot = surface.band((self.x_px, self.y_px), self.angle, -2.5, FAR_MM)
        if spot is None:
            return
        rng = np.random.default_rng(self.seed)
        distance = spot.along(self.angle)
        distance = distance + np.float32(self.wave_mm) * spot.cut("cloud", rng, 0.15)
        outside = step(distance, 0.018)
        burr = np.exp(-(((distance + 0.12) / 0.10) ** 2))
        spot.relief[:] += np.float32(rng.uniform(-25, 25)) * burr * (distance < 0.2)
        spot.form[:] -= np.float32(rng.uniform(20, 70)) * np.exp(
            np.clip((distance + 0.1) / np.float32(rng.uniform(0.2, 0.4)), -20, 0)
        )
        if self.below == "sheet":
            level = rng.uniform(0.45, 0.85)
            shadow = 1 - rng.uniform(0.5, 0.85) * np.exp(
                -np.clip(distance, 0, None) / np.float32(rng.uniform(0.3, 1.1))
            )
            texture = 1 + 0.06 * spot.cut("cloud", rng, 0.2) + 0.04 * spot.cut("grain", rng)
            seen = np.float32(level) * shadow * texture
        else:
            seen = np.float32(rng.uniform(0.02, 0.10)) * (1 + 0.5 * spot.cut("cloud", rng, 0.3))
        seen = np.clip(seen, 0.01, 1)
        spot.below[:] += (distance > -0.5) * (1 - spot.open) * (seen - spot.below[:])
        np.maximum(spot.open, outside, out=spot.open)


@dataclass(frozen=True, slots=True)
class Bend:
    """Where the flange rises: the sheet turns up (or down) to ``slope`` beyond the line."""

    x_px: float
    y_px: float
    angle: float
    slope: float
    radius_mm: float

    def paint(self, surface: Surface) -> None:
        near = -8 * self.radius_mm  # nearer than that the sheet is flat to a thousandth
        spot = surface.band((self.x_px, self.y_px), self.angle, near, FAR_MM)
        if spot is None:
            return
        u = spot.along(self.angle) / np.float32(self.radius_mm)
        rise = np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u)))
        spot.form[:] += np.float32(1000 * self.slope * self.radius_mm) * rise


@dataclass(frozen=True, slots=True)
class Ridge:
    """A bead pressed into the sheet to stiffen it, along a line between two places."""

    x0_px: float
    y0_px: float
    x1_px: float
    y1_px: float
    width_mm: float
    height_um: float

    def paint(self, surface: Surface) -> None:
        dx = (self.x1_px - self.x0_px) / surface.px_per_mm
        dy = (self.y1_px - self.y0_px) / surface.px_per_mm
        length = max(float(np.hypot(dx, dy)), 1e-6)
        angle = float(np.arctan2(dy, dx))
        reach = 0.9 * self.width_mm
        spot = surface.band((self.x0_px, self.y0_px), angle + np.pi / 2, -reach, reach)
        if spot is None:
            return
        along, beside = spot.along(angle), spot.along(angle + np.pi / 2)
        beyond = along - np.clip(along, 0, length)
        distance = np.hypot(beside, beyond) / np.float32(self.width_mm / 2)
        spot.form[:] += np.float32(self.height_um) * np.exp(-(distance**4) * np.float32(0.7))


@dataclass(frozen=True, slots=True)
class Hole:
    """A punched hole: clean, round or a slot (``long_mm`` more in one direction), with a drawn-in
    rim. Datum marks are such holes."""

    x_px: float
    y_px: float
    radius_mm: float
    long_mm: float
    angle: float
    seed: tuple[int, ...]

    def paint(self, surface: Surface) -> None:
        spot = surface.around(self.x_px, self.y_px, self.radius_mm + self.long_mm / 2 + 2)
        if spot is None:
            return
        rng = np.random.default_rng(self.seed)
        along, across = spot.along(self.angle), spot.along(self.angle + np.pi / 2)
        reach = np.float32(self.long_mm / 2)
        distance = np.hypot(along - np.clip(along, -reach, reach), across) - np.float32(
            self.radius_mm
        )
        spot.form[:] -= np.float32(rng.uniform(40, 120)) * np.exp(
            -np.clip(distance, 0, None) / np.float32(rng.uniform(0.15, 0.4))
        )
        inside = step(-distance, 0.018)
        depth = np.clip(-distance / np.float32(self.radius_mm), 0, 1)
        dark = np.float32(rng.uniform(0.015, 0.10)) * (0.4 + depth) + np.float32(0.02) * spot.cut(
            "cloud", rng, 0.3
        )
        spot.below[:] += (inside > 0) * (np.clip(dark, 0.01, 1) - spot.below)
        np.maximum(spot.open, inside, out=spot.open)


@dataclass(frozen=True, slots=True)
class Adhesive:
    """A bead of structural adhesive or sealer along a line through a place."""

    x_px: float
    y_px: float
    angle: float
    width_mm: float
    colour: tuple[float, float, float]
    seed: tuple[int, ...]

    def paint(self, surface: Surface) -> None:
        reach = self.width_mm + 2
        spot = surface.band((self.x_px, self.y_px), self.angle, -reach, reach)
        if spot is None:
            return
        distance = spot.along(self.angle)
        rng = np.random.default_rng(self.seed)
        half = np.float32(self.width_mm / 2)
        wide = np.abs(distance + 0.35 * spot.cut("cloud", rng, 0.5)) - half * (
            1 + np.float32(0.25) * spot.cut("cloud", rng, 0.3)
        )
        cover = step(-wide, 0.04)
        cap = np.clip(-wide / half, 0, 1)
        spot.relief[:] *= 1 - cover
        spot.form[:] += np.float32(rng.uniform(150, 400)) * np.sqrt(cap)
        spot.form[:] += cover * np.float32(12) * spot.cut("cloud", rng, 0.12)
        spot.worked[:] += cover * (1 - spot.worked)
        paint = np.array(self.colour, np.float32)
        spot.colour[:] += cover[..., np.newaxis] * (paint - spot.colour)


@dataclass(frozen=True, slots=True)
class Scratch:
    """A mark of handling: a shallow, nearly straight groove."""

    x_px: float
    y_px: float
    angle: float
    length_mm: float
    depth_um: float
    width_mm: float
    bow: float

    def paint(self, surface: Surface) -> None:
        spot = surface.around(self.x_px, self.y_px, self.length_mm / 2 + 1)
        if spot is None:
            return
        along, across = spot.along(self.angle), spot.along(self.angle + np.pi / 2)
        half = np.float32(self.length_mm / 2)
        t = np.clip(along / half, -1, 1)
        across = across - np.float32(self.bow) * (1 - t * t)
        fade = np.clip(1 - t**4, 0, 1) * (np.abs(along) < half)
        # At least as wide as a pixel, and shallower in proportion: the same metal is moved.
        width = max(self.width_mm, 0.6 / spot.px_per_mm)
        groove = np.exp(-((across / np.float32(width)) ** 2)) * fade
        spot.relief[:] -= np.float32(self.depth_um * self.width_mm / width) * groove
        spot.colour[:] *= (1 + np.float32(0.10) * groove)[..., np.newaxis]


@dataclass(frozen=True, slots=True)
class Oil:
    """A film of drawing oil: darker, a little yellow, with a rim where it ends."""

    cover: float
    """Higher covers less; 0 is half of the surface."""
    strength: float
    size_mm: float
    seed: tuple[int, ...]

    def paint(self, surface: Surface) -> None:
        rng = np.random.default_rng(self.seed)
        scale = self.size_mm * surface.px_per_mm
        level = cut("cloud", rng, surface.window, scale=scale) - np.float32(self.cover)
        film = step(level, 0.05) * (1 + np.float32(0.3) * np.exp(-((level / 0.12) ** 2)))
        dark = np.array([0.75, 0.8, 1.0], np.float32) * np.float32(self.strength)
        surface.colour *= 1 - film[..., np.newaxis] * dark
        surface.relief *= 1 - np.float32(0.5) * np.clip(film, 0, 1)


@dataclass(frozen=True, slots=True)
class Ink:
    """A stroke of a marking pen."""

    x_px: float
    y_px: float
    angle: float
    length_mm: float
    width_mm: float
    bow: float
    colour: tuple[float, float, float]
    seed: tuple[int, ...]

    def paint(self, surface: Surface) -> None:
        spot = surface.around(self.x_px, self.y_px, self.length_mm / 2 + 2)
        if spot is None:
            return
        rng = np.random.default_rng(self.seed)
        along, across = spot.along(self.angle), spot.along(self.angle + np.pi / 2)
        half = np.float32(self.length_mm / 2)
        t = np.clip(along / half, -1, 1)
        across = across - np.float32(self.bow) * (1 - t * t)
        distance = np.hypot(across, along - t * half) - np.float32(self.width_mm / 2)
        cover = step(-distance, 0.06) * np.clip(0.75 + 0.2 * spot.cut("speckle", rng), 0.2, 1)
        paint = np.array(self.colour, np.float32)
        spot.colour[:] *= 1 + cover[..., np.newaxis] * (paint - 1)


@dataclass(frozen=True, slots=True)
class Specks:
    """Dust, grinding residue and fine weld dust: small dots, dark or bright, none as large as a
    splash."""

    count: int
    seed: tuple[int, ...]
    field: tuple[float, float, float, float]
    """Left, top, width, height in pixels: where they lie."""

    def paint(self, surface: Surface) -> None:
        rng = np.random.default_rng(self.seed)
        left, top, width, height = self.field
        for _ in range(self.count):
            x, y = left + rng.uniform() * width, top + rng.uniform() * height
            radius = float(np.clip(rng.lognormal(-2.3, 0.4), 0.05, 0.20))
            bright = rng.uniform() < 0.35
            strength = rng.uniform(0.2, 0.6)
            spot = surface.around(x, y, 4 * radius)
            if spot is None:
                continue
            dot = np.exp(-((spot.x**2 + spot.y**2) / np.float32(radius**2)))
            spot.colour[:] *= (1 + np.float32(0.5 * strength if bright else -strength) * dot)[
                ..., np.newaxis
            ]
            spot.relief[:] += np.float32(60 * radius) * dot
