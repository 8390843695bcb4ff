"""One planned point: what is there, drawn at random; its picture; its measures.

The welds of one part share steel, lamp and camera, as on a line. Sizes and places are drawn
continuously across the limits of `inspection.rendering.catalogue`, so that a model has to measure
and not to recognise.
"""

from __future__ import annotations

import functools
from typing import Literal, NamedTuple

import numpy as np

from inspection import imaging
from inspection.imaging import Frame
from inspection.rendering import optics
from inspection.rendering.catalogue import (
    BORDER,
    DIAMETER_MIN_MM,
    EDGE_MIN,
    FIELD_MM,
    GOOD,
    NAMES,
    OFFSET_MAX_MM,
    SPACING_MIN,
)
from inspection.rendering.imprint import PAINTERS, Imprint, draw_imprint, paint_imprint
from inspection.rendering.materials import (
    Camera,
    Domain,
    Lamp,
    Steel,
    draw_camera,
    draw_lamp,
    draw_steel,
)
from inspection.rendering.surface import (
    OPEN,
    OTHER,
    OWN,
    Adhesive,
    Bend,
    Edge,
    Feature,
    Hole,
    Ink,
    Oil,
    Ridge,
    Scratch,
    Specks,
    Surface,
    paint_sheet,
)

NONE = float("inf")
"""The ratio to an edge or a neighbour that is not there."""

CROSSED = {"edge-weld": OPEN, "overlap": OTHER}
"""Where the imprint must not reach: what it covers of it is the defect's mask."""

NEARER_MM = 1.2
"""By how much a weld is nearer to its planned place than any other weld."""

DOMAINS: tuple[Domain, ...] = ("standard", "shifted")


class Measures(NamedTuple):
    """The truth about a weld, whatever its picture shows. Ratios as in `catalogue`; ``extent_mm``
    is the length of a defect that has one, else 0."""

    diameter_mm: float
    offset_mm: float
    edge_ratio: float
    spacing_ratio: float
    extent_mm: float


class Part(NamedTuple):
    """What the welds of one part have in common."""

    steel: Steel
    lamp: Lamp
    camera: Camera


class RenderedWeld(NamedTuple):
    """``image`` is uint8 (n, n, 3), RGB, the point's region; ``jpeg`` the camera's file of it;
    ``mask`` uint8 (n, n), 0 or the index in `catalogue.NAMES` of the defect at that pixel;
    ``zones`` uint8 (n, n), the bits `surface.OWN`, `OTHER` and `OPEN`.
    ``borderline`` where a measure lies within 5 % of its limit."""

    image: Frame
    jpeg: bytes
    mask: Frame
    zones: Frame
    label: str
    borderline: bool
    measures: Measures


class Scene(NamedTuple):
    """All that is random about a weld but its noise. Places in pixels of the point's region."""

    part: Part
    size_px: int
    features: tuple[Feature, ...]
    over: tuple[Feature, ...]
    imprints: tuple[Imprint, ...]
    """In the order in which they were pressed; the planned weld is ``own``."""
    own: int | None
    label: str
    borderline: bool
    measures: Measures
    seed: tuple[int, ...]


@functools.lru_cache(maxsize=64)
def draw_part(seed: int, part: int, domain: Domain = "standard") -> Part:
    """What the welds of a part share."""
    rng = np.random.default_rng([seed, DOMAINS.index(domain), part])
    return Part(draw_steel(rng, domain), draw_lamp(rng, domain), draw_camera(rng, domain))


def draw_weld(
    seed: int,
    part: int,
    weld: int,
    label: str,
    *,
    domain: Domain = "standard",
    size_px: int | None = None,
) -> Scene:
    """A scene of this class, as large as the part's camera sees it or of ``size_px``.
    `ValueError` for a label that is none."""
    if label not in NAMES:
        raise ValueError(f"{label!r} is no class of weld: {', '.join(NAMES)}")
    shared = draw_part(seed, part, domain)
    key = (seed, DOMAINS.index(domain), part, weld, NAMES.index(label))
    rng = np.random.default_rng(key)
    scale = shared.camera.px_per_mm * rng.uniform(0.985, 1.015)
    size = size_px or round(FIELD_MM * scale)
    return _Drawing(rng, shared, size, size / FIELD_MM, label, key).scene()


def render_weld(
    seed: int,
    part: int,
    weld: int,
    label: str,
    *,
    domain: Domain = "standard",
    size_px: int | None = None,
) -> RenderedWeld:
    """Draw and render. The same arguments give the same weld; another label, another one."""
    return render(draw_weld(seed, part, weld, label, domain=domain, size_px=size_px))


def render(scene: Scene) -> RenderedWeld:
    """The picture of a scene, and its truth with the extents that rendering found."""
    px_per_mm = scene.size_px / FIELD_MM
    surface = Surface(0, 0, scene.size_px, scene.size_px, px_per_mm)
    steel = scene.part.steel
    paint_sheet(surface, steel, scene.seed)
    for feature in scene.features:
        feature.paint(surface)
    extent = 0.0
    for number, imprint in enumerate(scene.imprints):
        paint_imprint(surface, imprint, OWN if number == scene.own else OTHER)
        if number == scene.own and scene.label in PAINTERS:
            rng = np.random.default_rng([*scene.seed, 5])
            extent = PAINTERS[scene.label](surface, imprint, rng)
    for feature in scene.over:
        feature.paint(surface)
    zones = surface.zones | np.where(surface.open > 0.5, np.uint8(OPEN), np.uint8(0))
    if scene.label in CROSSED:
        crossed = zones & (OWN | CROSSED[scene.label]) == OWN | CROSSED[scene.label]
        surface.mask[crossed] = NAMES.index(scene.label)
    size = (scene.size_px, scene.size_px)
    image = optics.photograph(
        surface, steel, scene.part.lamp, scene.part.camera, size=size, seed=scene.seed
    )
    jpeg = optics.encode_jpeg(image, scene.part.camera.jpeg)
    return RenderedWeld(
        imaging.decode(jpeg),
        jpeg,
        surface.mask,
        zones,
        scene.label,
        scene.borderline,
        scene.measures._replace(extent_mm=extent),
    )


def borderline(label: str, measures: Measures) -> bool:
    """Whether a measure that decides lies within 5 % of its limit: any of a good weld's, its own
    of one that is defective by measure."""
    near = {
        "small-imprint": abs(measures.diameter_mm / DIAMETER_MIN_MM - 1),
        "off-centre": abs(measures.offset_mm / OFFSET_MAX_MM - 1),
        "edge-weld": abs(measures.edge_ratio / EDGE_MIN - 1),
        "overlap": abs(measures.spacing_ratio / SPACING_MIN - 1),
    }
    if label == GOOD:
        return min(near.values()) < BORDER
    return near.get(label, NONE) < BORDER


class _Drawing:
    """One scene being drawn."""

    def __init__(
        self,
        rng: np.random.Generator,
        part: Part,
        size: int,
        px_per_mm: float,
        label: str,
        seed: tuple[int, ...],
    ) -> None:
        self.rng, self.part, self.size, self.label, self.seed = rng, part, size, label, seed
        self.px_per_mm = px_per_mm
        self.middle = size / 2
        self.features: list[Feature] = []
        self.over: list[Feature] = []

    def scene(self) -> Scene:
        rng, label = self.rng, self.label
        diameter = self._diameter()
        offset, towards = self._offset(), rng.uniform(0, 2 * np.pi)
        radius = diameter / 2
        x = self.middle + offset * np.cos(towards) * self.px_per_mm
        y = self.middle + offset * np.sin(towards) * self.px_per_mm
        edge_ratio, edge_angle = self._edge(x, y, radius, towards, offset)
        self._sheet_features(x, y, radius, edge_angle)
        imprints, own, spacing = self._imprints(x, y, radius, edge_angle)
        missing = label == "missing"
        measures = Measures(
            diameter_mm=0.0 if missing else diameter,
            offset_mm=0.0 if missing else offset,
            edge_ratio=NONE if missing else edge_ratio,
            spacing_ratio=NONE if missing else spacing,
            extent_mm=0.0,
        )
        self._handling(x, y)
        return Scene(
            self.part, self.size, tuple(self.features), tuple(self.over), tuple(imprints),
            own, label, borderline(label, measures), measures, self.seed,
        )  # fmt: skip

    def _key(self) -> tuple[int, ...]:
        return (*self.seed, 11 + len(self.features) + 100 * len(self.over))

    def _diameter(self) -> float:
        """The whole range of the class, evenly near its limit; most good welds near nominal."""
        if self.label == "small-imprint":
            return float(self.rng.uniform(2.2, DIAMETER_MIN_MM))
        if self.rng.uniform() < 0.3:
            return float(self.rng.uniform(DIAMETER_MIN_MM, 7.2))
        return float(np.clip(self.rng.normal(5.9, 0.45), DIAMETER_MIN_MM, 7.2))

    def _offset(self) -> float:
        if self.label == "off-centre":
            return float(self.rng.uniform(OFFSET_MAX_MM, 5.5))
        if self.label == "edge-weld" and self.rng.uniform() < 0.5:
            return float(self.rng.uniform(1.5, 5.8))  # it is at the edge because it is misplaced
        if self.rng.uniform() < 0.25:
            return float(self.rng.uniform(0, OFFSET_MAX_MM))
        return float(min(abs(self.rng.normal(0, 0.6)), OFFSET_MAX_MM))

    def _edge(
        self, x: float, y: float, radius: float, towards: float, offset: float
    ) -> tuple[float, float | None]:
        """An edge of the sheet or of a hole near the weld: its distance in radii, and where."""
        rng = self.rng
        if self.label == "edge-weld":
            ratio = float(rng.uniform(0.25, EDGE_MIN))
        elif rng.uniform() < 0.36:
            ratio = float(EDGE_MIN + rng.exponential(1.1))
        else:
            return NONE, None
        angle = float(towards + rng.normal(0, 0.6) if offset > 1 else rng.uniform(0, 2 * np.pi))
        far = ratio * radius * self.px_per_mm
        if rng.uniform() < 0.2:
            hole = float(rng.uniform(2.5, 5.5))
            far += hole * self.px_per_mm
            place = x + far * np.cos(angle), y + far * np.sin(angle)
            self.features.append(Hole(*place, hole, 0.0, 0.0, self._key()))
        else:
            below: Literal["sheet", "nothing"] = "sheet" if rng.uniform() < 0.55 else "nothing"
            place = x + far * np.cos(angle), y + far * np.sin(angle)
            wave = float(rng.uniform(0.0, 0.03))
            self.features.append(Edge(*place, angle, below, wave, self._key()))
        return (ratio, angle) if ratio * radius < FIELD_MM else (NONE, None)

    def _sheet_features(self, x: float, y: float, radius: float, edge_angle: float | None) -> None:
        """What the press shop made around the weld, on sides where there is no edge."""
        rng = self.rng

        def free_side() -> float:
            if edge_angle is None:
                return float(rng.uniform(0, 2 * np.pi))
            return float(edge_angle + np.pi + rng.normal(0, 0.35))

        def beyond(side: float, distance_mm: float) -> tuple[float, float]:
            far = distance_mm * self.px_per_mm
            return x + far * np.cos(side), y + far * np.sin(side)

        if rng.uniform() < 0.35:
            side = free_side()
            place = beyond(side, radius + rng.uniform(1.6, 7))
            slope = float(rng.choice([-1, 1]) * rng.uniform(0.08, 0.55))
            self.features.append(Bend(*place, side, slope, float(rng.uniform(0.4, 1.4))))
        elif rng.uniform() < 0.15:
            side = free_side()
            place = beyond(side, radius + rng.uniform(3.2, 7))
            across, far = side + np.pi / 2, 30 * self.px_per_mm
            dx, dy = far * np.cos(across), far * np.sin(across)
            self.features.append(
                Ridge(place[0] - dx, place[1] - dy, place[0] + dx, place[1] + dy,
                      float(rng.uniform(2.5, 5)), float(rng.uniform(250, 800)))
            )  # fmt: skip
        if rng.uniform() < 0.10:
            side = free_side() + rng.normal(0, 0.6)
            hole = float(rng.uniform(1.2, 4.0))
            place = beyond(side, radius + hole + rng.uniform(0.8, 4))
            long = float(rng.uniform(1, 4) * (rng.uniform() < 0.25))
            self.features.append(Hole(*place, hole, long, float(side + np.pi / 2), self._key()))
        # A tilted or slightly hollow panel.
        side = float(rng.uniform(0, 2 * np.pi))
        self.features.append(
            Bend(self.middle, self.middle, side, float(rng.normal(0, 0.035)), 12.0)
        )
        if rng.uniform() < 0.12:
            side = free_side()
            width = float(rng.uniform(1.2, 4))
            place = beyond(side, radius + width / 2 + rng.uniform(1.0, 5))
            colours = ((0.07, 0.07, 0.08), (0.16, 0.15, 0.15), (0.22, 0.17, 0.16),
                       (0.13, 0.15, 0.22), (0.30, 0.29, 0.27))  # fmt: skip
            self.features.append(
                Adhesive(*place, side, width, colours[int(rng.integers(5))], self._key())
            )

    def _imprints(
        self, x: float, y: float, radius: float, edge_angle: float | None
    ) -> tuple[list[Imprint], int | None, float]:
        """The planned weld and its neighbour, in the order in which they were made."""
        rng, steel = self.rng, self.part.steel
        own = draw_imprint(rng, steel, x, y, radius)
        other_radius = float(np.clip(rng.normal(2.9, 0.3), 2.2, 3.7))
        if self.label == "overlap":
            spacing = float(rng.uniform(0.3, SPACING_MIN))
        elif rng.uniform() < 0.2:
            spacing = float(SPACING_MIN + rng.exponential(0.55))
        else:
            return ([] if self.label == "missing" else [own]), _unless_missing(self.label, 0), NONE
        distance = spacing * (radius + other_radius)
        if self.label == "missing":
            # Whoever sees a weld this far away knows that it is another one.
            distance = max(distance, 7.6)
        if edge_angle is None:
            angles = rng.uniform(0, 2 * np.pi) + np.arange(16) * (2 * np.pi / 16)
        else:
            angles = edge_angle + rng.choice([-1, 1]) * np.array([1, -1]) * (np.pi / 2)
        # A weld belongs to the planned place that it is nearest to: no neighbour comes near it.
        apart = np.hypot(x - self.middle, y - self.middle) + NEARER_MM * self.px_per_mm
        for along in angles:
            other_x = x + distance * np.cos(along) * self.px_per_mm
            other_y = y + distance * np.sin(along) * self.px_per_mm
            if np.hypot(other_x - self.middle, other_y - self.middle) > apart:
                break
        else:
            if self.label != "overlap":
                return (
                    ([] if self.label == "missing" else [own]),
                    _unless_missing(self.label, 0),
                    NONE,
                )
        other = draw_imprint(rng, steel, float(other_x), float(other_y), other_radius)
        if self.label == "missing":
            return [other], None, NONE
        if rng.uniform() < 0.5:
            return [other, own], 1, spacing
        return [own, other], 0, spacing

    def _handling(self, x: float, y: float) -> None:
        """What happens to a sheet on its way: on the metal before welding, on top of it after."""
        rng, size = self.rng, self.size
        for _ in range(int(rng.poisson(1.6))):
            scratch = Scratch(
                float(rng.uniform(0, size)), float(rng.uniform(0, size)),
                float(rng.normal(self.part.steel.rolling, 0.8)), float(rng.uniform(2, 14)),
                float(rng.uniform(2, 9)), float(rng.uniform(0.03, 0.07)),
                float(rng.normal(0, 0.2)),
            )  # fmt: skip
            (self.over if rng.uniform() < 0.3 else self.features).append(scratch)
        if rng.uniform() < 0.22:
            self.over.append(
                Oil(float(rng.uniform(-0.4, 1.2)), float(rng.uniform(0.06, 0.22)),
                    float(rng.uniform(0.12, 0.4)), self._key())
            )  # fmt: skip
        if rng.uniform() < 0.06:
            colours = ((0.25, 0.32, 0.75), (0.15, 0.15, 0.17), (0.7, 0.2, 0.2), (0.2, 0.55, 0.3))
            # Inspectors write beside a weld, not on it: what no camera could see is no truth.
            far, side = rng.uniform(0.36, 0.6) * size, rng.uniform(0, 2 * np.pi)
            self.over.append(
                Ink(
                    float(x + far * np.cos(side)), float(y + far * np.sin(side)),
                    float(side + np.pi / 2 + rng.normal(0, 0.3)), float(rng.uniform(3, 9)),
                    float(rng.uniform(0.7, 1.6)), float(rng.normal(0, 0.3)),
                    colours[int(rng.integers(4))], self._key(),
                )
            )  # fmt: skip
        if rng.uniform() < 0.4:
            field = (0.0, 0.0, float(size), float(size))
            self.over.append(Specks(int(rng.integers(1, 9)), self._key(), field))


def _unless_missing(label: str, number: int) -> int | None:
    return None if label == "missing" else number
