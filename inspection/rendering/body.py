"""A body side in whole views: its plan, and what a camera sees of each view.

The plan lies beside this module as a plant would write it (``body_side/plan.toml``); the sheet
metal around its points is drawn from a seed of the design, the same for every body: flanges with
rows of welds, edges, joggles, beads, holes. Two of the holes are the datum marks. What differs
from body to body is how it stands, its welds and what happened to its surface.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inspection.imaging import Frame
from inspection.rendering import optics
from inspection.rendering.catalogue import DEFECTS, EDGE_MIN, FIELD_MM, OFFSET_MAX_MM, SPACING_MIN
from inspection.rendering.imprint import PAINTERS, Imprint, draw_imprint, paint_imprint
from inspection.rendering.materials import Camera, Lamp, Steel, draw_camera, draw_lamp, draw_steel
from inspection.rendering.surface import (
    Adhesive,
    Bend,
    Edge,
    Feature,
    Hole,
    Oil,
    Ridge,
    Scratch,
    Specks,
    Surface,
    paint_sheet,
)

PLAN = Path(__file__).parent / "body_side" / "plan.toml"
WIDTH_PX, HEIGHT_PX = 2448, 2048
PX_PER_MM = 10.0
REGION_PX = round(FIELD_MM * PX_PER_MM)
VIEWS = 52
CAMERAS = ("cam1", "cam2")

PATCH_PX = 256
"""Side of the window in which a defect may change a view; smaller than the pitch of the welds."""
MARGIN_PX = 24
"""Rendered around a patch and cut away: lens and shadows look that far."""
PITCH_MM = 27.0
DESIGN = 1
"""Seed of the body's design. Another number is another body, and needs another plan."""


class PlannedWeld(NamedTuple):
    """A weld of the design. Millimetres from the top left corner of the view; ``edge_angle`` is
    the direction to the sheet's edge where one is near."""

    x_mm: float
    y_mm: float
    edge_mm: float
    edge_angle: float


class Shape(NamedTuple):
    """A feature of the design: ``kind``, its place, direction, and its numbers."""

    kind: str
    x_mm: float
    y_mm: float
    angle: float
    numbers: tuple[float, ...]


class Design(NamedTuple):
    """One view of the body as drawn by its designer."""

    steel: Steel
    welds: tuple[PlannedWeld, ...]
    shapes: tuple[Shape, ...]
    datums: tuple[tuple[float, float], ...]


class Placed(NamedTuple):
    """How a body stands off its planned place: millimetres, and radians about the view's centre."""

    x_mm: float
    y_mm: float
    turn: float


AS_PLANNED = Placed(0.0, 0.0, 0.0)


class Patch(NamedTuple):
    """What replaces a window of a view: uint8 (h, w, 3), RGB, its corner in pixels."""

    left: int
    top: int
    image: Frame


def view_name(number: int) -> str:
    """Views are counted from 1."""
    return f"v{number:02d}"


def design(number: int) -> Design:
    """The design of a view. Rows of welds run along a flange; the sheet ends beside the first."""
    rng = np.random.default_rng([DESIGN, number])
    u = rng.uniform
    upright = rng.uniform() < 0.4
    size = (WIDTH_PX / PX_PER_MM, HEIGHT_PX / PX_PER_MM)
    length, depth = (size[1], size[0]) if upright else size
    flip = rng.uniform() < 0.5

    def at(along: float, across: float) -> tuple[float, float]:
        across = depth - across if flip else across
        return (across, along) if upright else (along, across)

    def turned(angle: float) -> float:
        """A direction whose 0 is along the rows and pi / 2 away from the edge."""
        angle = -angle if flip else angle
        return math.pi / 2 - angle if upright else angle

    out, away = turned(-math.pi / 2), turned(math.pi / 2)
    shapes: list[Shape] = []
    welds: list[PlannedWeld] = []
    taken: list[tuple[float, float]] = []

    def row(across: float, edge_mm: float, edge_angle: float) -> None:
        count = int((length - 16) // PITCH_MM)
        begin = (length - (count - 1) * PITCH_MM) / 2 + rng.normal(0, 0.5)
        for k in range(count):
            x, y = at(begin + k * PITCH_MM, across + rng.normal(0, 0.15))
            welds.append(PlannedWeld(x, y, edge_mm, edge_angle))
            taken.append((x, y))

    def free(x: float, y: float, distance: float) -> bool:
        return all(math.hypot(x - a, y - b) > distance for a, b in taken)

    first = u(16, 24)
    shapes.append(Shape("edge", *at(length / 2, first - (gap := u(5.3, 6.6))), out,
                        (float(rng.uniform() < 0.5),)))  # fmt: skip
    row(first, gap, out)
    rise = first + u(13.5, 18)
    slope, radius = float(rng.choice([-1, 1]) * u(0.18, 0.5)), u(0.8, 2.0)
    wide = u(9, 16)
    shapes.append(Shape("bend", *at(length / 2, rise), away, (slope, radius)))
    shapes.append(Shape("bend", *at(length / 2, rise + wide), away, (-slope, radius)))
    last = depth - u(16, 24)
    ends = rng.uniform() < 0.5
    if ends:
        gap = u(5.3, 6.6)
        shapes.append(Shape("edge", *at(length / 2, last + gap), away,
                            (float(rng.uniform() < 0.5),)))  # fmt: skip
    row(last, gap if ends else math.inf, away)
    # As many rows between as fit with room for a bead or a joggle between them.
    inner = np.linspace(rise + wide + 14, last - 30, 2 if upright else 1 + (length < 200))
    middle = [float(v) for v in inner] if upright else [float(u(inner[0], last - 30))]
    for across in middle:
        row(across, math.inf, 0.0)
    lines = sorted([rise + wide, *middle, last])
    for low, high in itertools.pairwise(lines):
        if high - low > 30 and rng.uniform() < 0.7:
            place = at(u(0.2, 0.35) * length, (low + high) / 2)
            long = u(0.3, 0.55) * length
            shapes.append(Shape("ridge", *place, turned(0.0), (long, u(5, 8), u(400, 1100))))
            taken.extend(at(v, (low + high) / 2) for v in np.arange(0, length, 8))
    datums = []
    for wanted, where in ((True, 0.12), (False, 0.88)):
        for _ in range(400):
            x, y = at(where * length + rng.normal(0, 12), u(0.1, 0.9) * depth)
            inside = 14 < x < size[0] - 14 and 14 < y < size[1] - 14
            if inside and free(x, y, 20) and not _off_sheet(x, y, shapes):
                numbers = (5.0, 0.0) if wanted else (4.0, 5.0)
                shapes.append(Shape("hole", x, y, turned(0.0), numbers))
                taken.append((x, y))
                datums.append((x, y))
                break
    for _ in range(int(rng.integers(1, 5))):
        x, y, hole = u(12, size[0] - 12), u(12, size[1] - 12), u(2.0, 7.0)
        if free(x, y, hole + 15) and not _off_sheet(x, y, shapes):
            shapes.append(Shape("hole", x, y, 0.0, (hole, 0.0)))
            taken.append((x, y))
    if rng.uniform() < 0.35:
        shapes.append(Shape("adhesive", *at(length / 2, first + u(10, 12)), away,
                            (u(2.0, 3.0), float(rng.integers(3)))))  # fmt: skip
    return Design(draw_steel(rng, "standard"), tuple(welds), tuple(shapes), tuple(datums))


def _off_sheet(x: float, y: float, shapes: list[Shape]) -> bool:
    return any(
        (x - s.x_mm) * math.cos(s.angle) + (y - s.y_mm) * math.sin(s.angle) > -12
        for s in shapes
        if s.kind == "edge"
    )


DRESSED_UM = 4.5
"""The roughest face of an electrode cap on this line; `draw_imprint` goes to twice that."""

COLOURS = ((0.07, 0.07, 0.08), (0.16, 0.15, 0.15), (0.13, 0.15, 0.22))


class _Weld(NamedTuple):
    """What is at a point: imprints in the order they were pressed, which of them a defect is
    painted on, and an edge that should not be there."""

    imprints: tuple[Imprint, ...]
    own: int | None
    hole: Hole | None


def _pressed(
    rng: np.random.Generator, steel: Steel, x_px: float, y_px: float, radius_mm: float
) -> Imprint:
    """An imprint of a cap that is dressed in time: it has not grown as rough as a plant would still
    accept."""
    imprint = draw_imprint(rng, steel, x_px, y_px, radius_mm)
    return dataclasses.replace(imprint, mottle_um=min(imprint.mottle_um, DRESSED_UM))


class Stand:
    """One view of one body as it stood there, all its welds good: what `render` shows, and what
    `patch` shows with a defect in it. ``placed`` says how the body stands; without it, it stands
    about as planned, as bodies do."""

    def __init__(self, view: str, seed: int, stance: int, *, placed: Placed | None = None) -> None:
        if view not in points():
            raise ValueError(f"{view!r} is no view of the body: v01 to {view_name(VIEWS)}")
        number = int(view[1:])
        self.design = design(number)
        self._key = (seed, number, stance)
        rng = np.random.default_rng([*self._key, 1])
        optics_rng = np.random.default_rng([DESIGN, 7, (number + 1) % len(CAMERAS)])
        self.lamp: Lamp = draw_lamp(optics_rng, "standard")
        self.camera: Camera = draw_camera(optics_rng, "standard")
        shift = np.clip(rng.normal(0, 0.12, 2), -0.3, 0.3)
        turn = float(np.clip(rng.normal(0, 0.0006), -0.0015, 0.0015))
        drawn = Placed(float(shift[0]), float(shift[1]), turn)
        self.placed = drawn if placed is None else placed
        self._shift, self._turn = (self.placed.x_mm, self.placed.y_mm), self.placed.turn
        rows = points()[view]
        self._welds = dict(zip(rows, self.design.welds, strict=True))
        self._numbers = {point: k for k, point in enumerate(rows)}
        self._good = {point: self._good_weld(point) for point in rows}
        self._features = self._sheet(rng)

    def render(self) -> Frame:
        """The whole view: uint8 (HEIGHT_PX, WIDTH_PX, 3), RGB."""
        return self._window(0, 0, WIDTH_PX, HEIGHT_PX, self._good, None, "")

    def patch(self, point: str, label: str) -> Patch:
        """The window of the view around a point that has this defect. Windows of different points
        do not overlap. `KeyError` for a point of another view, `ValueError` for no defect."""
        if label not in DEFECTS:
            raise ValueError(f"{label!r} is no defect: {', '.join(DEFECTS)}")
        planned = self._welds[point]
        x, y = self._place(planned.x_mm, planned.y_mm)
        left = min(max(0, round(x) - PATCH_PX // 2), WIDTH_PX)
        top = min(max(0, round(y) - PATCH_PX // 2), HEIGHT_PX)
        right, bottom = min(left + PATCH_PX, WIDTH_PX), min(top + PATCH_PX, HEIGHT_PX)
        outer = (max(0, left - MARGIN_PX), max(0, top - MARGIN_PX),
                 min(WIDTH_PX, right + MARGIN_PX), min(HEIGHT_PX, bottom + MARGIN_PX))  # fmt: skip
        welds = {**self._good, point: self._defective(point, label)}
        image = self._window(
            outer[0], outer[1], outer[2] - outer[0], outer[3] - outer[1], welds, point, label
        )
        inner = image[top - outer[1] : bottom - outer[1], left - outer[0] : right - outer[0]]
        return Patch(left, top, np.ascontiguousarray(inner))

    def where(self, x_px: float, y_px: float) -> tuple[float, float]:
        """Where a place of the planned view is in the picture of this body."""
        return self._place(x_px / PX_PER_MM, y_px / PX_PER_MM)

    # ----------------------------------------------------------------------------- one window

    def _window(
        self,
        left: int,
        top: int,
        width: int,
        height: int,
        welds: Mapping[str, _Weld],
        point: str | None,
        label: str,
    ) -> Frame:
        surface = Surface(left, top, width, height, PX_PER_MM)
        paint_sheet(surface, self.design.steel, [*self._key, 2])
        for feature in self._features[0]:
            feature.paint(surface)
        for name, weld in welds.items():
            if weld.hole is not None:
                weld.hole.paint(surface)
            for number, imprint in enumerate(weld.imprints):
                paint_imprint(surface, imprint)
                if name == point and number == weld.own and label in PAINTERS:
                    rng = np.random.default_rng([*self._key, 5, self._numbers[name]])
                    PAINTERS[label](surface, imprint, rng)
        for feature in self._features[1]:
            feature.paint(surface)
        return optics.photograph(
            surface,
            self.design.steel,
            self.lamp,
            self.camera,
            size=(WIDTH_PX, HEIGHT_PX),
            seed=[*self._key, 6],
        )

    def _place(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        """Where a place of the design is in the picture, the body standing as it does."""
        x, y = x_mm * PX_PER_MM - WIDTH_PX / 2, y_mm * PX_PER_MM - HEIGHT_PX / 2
        c, s = math.cos(self._turn), math.sin(self._turn)
        return (
            c * x - s * y + self._shift[0] * PX_PER_MM + WIDTH_PX / 2,
            s * x + c * y + self._shift[1] * PX_PER_MM + HEIGHT_PX / 2,
        )

    def _good_weld(self, point: str) -> _Weld:
        """A weld of a process that is well in hand: far from every limit."""
        rng = np.random.default_rng([*self._key, 3, self._numbers[point]])
        planned = self._welds[point]
        x, y = self._place(planned.x_mm, planned.y_mm)
        offset, towards = min(abs(rng.normal(0, 0.3)), 0.9), rng.uniform(0, 2 * np.pi)
        radius = float(np.clip(rng.normal(5.9, 0.3), 5.2, 6.7)) / 2
        x += offset * np.cos(towards) * PX_PER_MM
        y += offset * np.sin(towards) * PX_PER_MM
        return _Weld((_pressed(rng, self.design.steel, x, y, radius),), 0, None)

    def _defective(self, point: str, label: str) -> _Weld:
        """The same point with a defect, clear of the limits."""
        good = self._good[point].imprints[0]
        rng = np.random.default_rng([*self._key, 4, self._numbers[point], DEFECTS.index(label)])
        u = rng.uniform
        planned, steel = self._welds[point], self.design.steel
        x, y = self._place(planned.x_mm, planned.y_mm)

        def pressed(offset: float, towards: float, radius: float) -> Imprint:
            dx, dy = offset * np.cos(towards) * PX_PER_MM, offset * np.sin(towards) * PX_PER_MM
            return _pressed(rng, steel, x + dx, y + dy, radius)

        if label == "missing":
            return _Weld((), None, None)
        if label == "small-imprint":
            return _Weld((pressed(u(0, 0.8), u(0, 6.3), u(2.4, 4.1) / 2),), 0, None)
        if label == "off-centre":
            # Along the row, so that it stays off-centre and does not become an edge weld.
            side = planned.edge_angle + (math.pi / 2) * float(rng.choice([-1, 1]))
            return _Weld((pressed(OFFSET_MAX_MM * u(1.2, 1.7), side, good.radius_mm),), 0, None)
        if label == "edge-weld":
            ratio = EDGE_MIN * u(0.3, 0.88)
            if math.isfinite(planned.edge_mm):
                offset = planned.edge_mm - ratio * good.radius_mm
                return _Weld((pressed(offset, planned.edge_angle, good.radius_mm),), 0, None)
            size, side = u(2.5, 4.0), u(0, 2 * np.pi)
            far = (ratio * good.radius_mm + size) * PX_PER_MM
            seed = (*self._key, 8, self._numbers[point])
            hole = Hole(
                good.x_px + far * math.cos(side), good.y_px + far * math.sin(side),
                size, 0.0, 0.0, seed,
            )  # fmt: skip
            return _Weld((good,), 0, hole)
        if label == "overlap":
            other = float(u(2.6, 3.2))
            far = SPACING_MIN * u(0.35, 0.88) * (good.radius_mm + other) * PX_PER_MM
            side = planned.edge_angle + (math.pi / 2) * float(rng.choice([-1, 1]))
            second = _pressed(
                rng, steel, good.x_px + far * math.cos(side), good.y_px + far * math.sin(side),
                other,
            )  # fmt: skip
            return _Weld((good, second), 0, None)
        return _Weld((good,), 0, None)

    def _sheet(self, rng: np.random.Generator) -> tuple[list[Feature], list[Feature]]:
        """The design's shapes where the body stands, and what handling did, below and on top."""
        u = rng.uniform
        shapes: list[Feature] = []
        for number, shape in enumerate(self.design.shapes):
            x, y = self._place(shape.x_mm, shape.y_mm)
            angle, seed = shape.angle + self._turn, (*self._key, 20 + number)
            a, *more = shape.numbers
            if shape.kind == "edge":
                shapes.append(Edge(x, y, angle, "sheet" if a else "nothing", 0.02, seed))
            elif shape.kind == "bend":
                shapes.append(Bend(x, y, angle, a, more[0]))
            elif shape.kind == "ridge":
                far = a * PX_PER_MM
                end = x + far * math.cos(angle), y + far * math.sin(angle)
                shapes.append(Ridge(x, y, *end, more[0], more[1]))
            elif shape.kind == "hole":
                shapes.append(Hole(x, y, a, more[0], angle, seed))
            else:
                shapes.append(Adhesive(x, y, angle, a, COLOURS[int(more[0])], seed))
        # Holes and edges cut what was pressed before them.
        shapes.sort(key=lambda feature: isinstance(feature, Edge | Hole))
        under: list[Feature] = []
        over: list[Feature] = []
        for _ in range(int(rng.integers(6, 26))):
            scratch = Scratch(
                float(u(0, WIDTH_PX)), float(u(0, HEIGHT_PX)), float(rng.normal(0, 0.8)),
                float(u(3, 22)), float(u(2, 9)), float(u(0.03, 0.07)), float(rng.normal(0, 0.3)),
            )  # fmt: skip
            (over if rng.uniform() < 0.3 else under).append(scratch)
        if rng.uniform() < 0.4:
            seed = (*self._key, 9)
            over.append(Oil(float(u(0.2, 1.4)), float(u(0.06, 0.18)), float(u(0.2, 0.5)), seed))
        field = (0.0, 0.0, float(WIDTH_PX), float(HEIGHT_PX))
        over.append(Specks(int(rng.integers(20, 120)), (*self._key, 10), field))
        return shapes + under, over


# --------------------------------------------------------------------------------- the plan


@functools.cache
def points() -> dict[str, tuple[str, ...]]:
    """The points of each view, in the order in which its design lists the welds."""
    found: dict[str, list[str]] = {}
    with (PLAN.parent / "points.csv").open(encoding="utf-8", newline="") as stream:
        for entry in csv.DictReader(stream):
            found.setdefault(entry["view"], []).append(entry["id"])
    return {view: tuple(names) for view, names in found.items()}


def write_plan(folder: Path, count: int = VIEWS) -> Path:
    """Write the plan of the design, or of its first ``count`` views: ``plan.toml`` and
    ``points.csv``. This is how the files beside this module were made."""
    folder.mkdir(parents=True, exist_ok=True)
    version = "1" if count == VIEWS else f"1, first {count} of {VIEWS} views"
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity,x,y,z,gun,program,stack"]
    views, weld = [], 0
    for number in range(1, count + 1):
        drawn = design(number)
        camera = CAMERAS[(number + 1) % len(CAMERAS)]
        datums = "\n".join(
            f'\n[[view.datum]]\nid = "{name}"\n'
            f"x_px = {x * PX_PER_MM:.1f}\ny_px = {y * PX_PER_MM:.1f}"
            for name, (x, y) in zip(("hole", "slot"), drawn.datums, strict=True)
        )
        views.append(
            f'[[view]]\nid = "{view_name(number)}"\ncamera = "{camera}"\n'
            f"width_px = {WIDTH_PX}\nheight_px = {HEIGHT_PX}\n{datums}\n"
        )
        for planned in drawn.welds:
            weld += 1
            left = planned.x_mm * PX_PER_MM - REGION_PX / 2
            top = planned.y_mm * PX_PER_MM - REGION_PX / 2
            column, level = (number - 1) % 13, (number - 1) // 13
            x = 600 + 245 * column + planned.x_mm
            z = 1250 - 205 * level - planned.y_mm
            severity = ("major", "critical", "minor")[0 if weld % 10 else 1 + (weld // 10) % 2]
            rows.append(
                f"W{weld:04d},{view_name(number)},spot-weld,{left:.1f},{top:.1f},{REGION_PX},"
                f"{REGION_PX},{severity},{x:.1f},-780.0,{z:.1f},G{1 + number % 12:02d},"
                f"{100 + number},{drawn.steel.name} 0.8 + 1.2"
            )
    (folder / "points.csv").write_text("\n".join(rows) + "\n", "utf-8")
    path = folder / "plan.toml"
    path.write_text(
        "# The left side of a car body that nobody had to photograph: every point is rendered.\n"
        "# Written by inspection.rendering.body.write_plan.\n\n"
        f'[plan]\nname = "body-side"\nversion = "{version}"\ndeadline_ms = 60000\n'
        'points = "points.csv"\n\n'
        '[severity]\ncritical = "hold"\nmajor = "hold"\nminor = "hold"\n\n'
        '[kinds.spot-weld]\nmodel = "spot-weld"\n\n' + "\n".join(views),
        "utf-8",
    )
    return path
