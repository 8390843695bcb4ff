"""Steels, lamps and cameras, drawn at random within a domain.

``standard`` is what a model may be trained on. ``shifted`` has other steels, coatings, lamps and
cameras, none of them ever in training: how a model does there says what a new line would do to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Domain = Literal["standard", "shifted"]


@dataclass(frozen=True, slots=True)
class Steel:
    """A sheet and its coating. Heights in micrometres, slopes without unit, brightness of 1."""

    name: str
    grey: float
    """Brightness of the flat sheet under its lamp."""
    tone: tuple[float, float, float]
    """Red, green, blue, about 1."""
    slope_along: float
    slope_across: float
    """Spread of the facets' slopes along and across the rolling direction: how wide a highlight
    is. Small is shiny."""
    rolling: float
    """Rolling direction against the picture, in radians."""
    brush_um: float
    grain_um: float
    patina: float
    """Deviation of brightness over millimetres."""
    spangle: float
    """Deviation of brightness from zinc crystal to zinc crystal."""
    crystal: float
    """Size of those, 1 = about 1.4 mm at 10 px/mm."""
    zinc: float
    """0 bare to 1 heavily coated: zinc boils off around a weld and leaves a pale ring; bare steel
    shows temper colours instead."""


@dataclass(frozen=True, slots=True)
class Lamp:
    """Light from all sides at one height, in several emitters. A facet shines that halves the
    angle between an emitter and the camera: ``slope`` is that facet's."""

    name: str
    azimuth: tuple[float, ...]
    slope: tuple[float, ...]
    weight: tuple[float, ...]
    spread: float
    """Width of an emitter, as a slope."""
    ambient: float
    tone: tuple[float, float, float]
    near: tuple[float, float]
    """How the facet that shines changes across the picture, slope per 100 mm, in x and y: a near
    lamp lights no two places alike."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Lens, sensor and tone curve."""

    px_per_mm: float
    blur_px: float
    exposure: float
    noise: float
    """Deviation of the sensor's noise at full scale."""
    curve: float
    """0 linear to 1 strongly compressed."""
    vignette: float
    tone: tuple[float, float, float]
    saturation: float
    bloom: float
    jpeg: int


def draw_steel(rng: np.random.Generator, domain: Domain) -> Steel:
    """One of the domain's steels."""
    u = rng.uniform
    rolling = float(rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.06))
    if domain == "standard":
        kind = rng.choice(["cold-rolled", "hot-dip", "galvannealed", "electro-zinc", "hot-stamped"],
                          p=[0.24, 0.24, 0.2, 0.2, 0.12])  # fmt: skip
    else:
        kind = rng.choice(["aluminium", "phosphated", "spangled", "magnesium-zinc"])
    table: dict[str, tuple[tuple[float, float], ...]] = {
        # grey, along, across, brush, grain, patina, spangle, crystal, zinc
        "cold-rolled": ((.24, .38), (.07, .12), (.12, .20), (1.5, 4.0), (.6, 2.0), (.03, .07),
                        (0, 0), (1, 1), (0, .1)),
        "hot-dip": ((.30, .46), (.07, .12), (.08, .13), (.4, 1.2), (.8, 2.6), (.03, .08),
                    (.01, .035), (.2, .5), (.7, 1)),
        "galvannealed": ((.18, .30), (.15, .24), (.16, .25), (.4, 1.2), (2.0, 5.0), (.03, .07),
                         (0, 0), (1, 1), (.5, .8)),
        "electro-zinc": ((.27, .42), (.12, .20), (.13, .22), (.5, 1.6), (1.2, 3.2), (.02, .05),
                         (0, 0), (1, 1), (.6, .9)),
        "hot-stamped": ((.10, .18), (.13, .22), (.14, .24), (.3, 1.0), (1.4, 4.0), (.06, .13),
                        (0, .03), (.3, .6), (.1, .3)),
        "aluminium": ((.36, .52), (.05, .09), (.14, .24), (3.0, 6.0), (.2, .8), (.02, .05),
                      (0, 0), (1, 1), (.3, .6)),
        "phosphated": ((.08, .14), (.24, .34), (.24, .34), (0, .5), (3.5, 6.5), (.08, .16),
                       (.03, .08), (.2, .3), (.4, .7)),
        "spangled": ((.32, .48), (.06, .11), (.06, .11), (0, .5), (.5, 1.6), (.05, .1),
                     (.07, .13), (.9, 1.8), (.9, 1)),
        "magnesium-zinc": ((.15, .26), (.09, .15), (.09, .15), (.3, 1.2), (1.0, 3.0), (.08, .14),
                           (.04, .08), (.25, .5), (.7, 1)),
    }  # fmt: skip
    tones = {
        "cold-rolled": (1.0, 0.99, 0.97), "hot-dip": (0.98, 1.0, 1.02),
        "galvannealed": (1.01, 1.0, 0.98), "electro-zinc": (0.99, 1.0, 1.01),
        "hot-stamped": (0.99, 0.97, 1.0), "aluminium": (1.0, 1.0, 1.01),
        "phosphated": (1.0, 1.0, 0.95), "spangled": (0.97, 1.0, 1.03),
        "magnesium-zinc": (0.97, 0.99, 1.03),
    }  # fmt: skip
    grey, along, across, brush, grain, patina, spangle, crystal, zinc = (
        float(u(low, high)) for low, high in table[str(kind)]
    )
    red, green, blue = (float(v * rng.normal(1, 0.01)) for v in tones[str(kind)])
    return Steel(str(kind), grey, (red, green, blue), along, max(along, across), rolling, brush,
                 grain, patina, spangle, crystal, zinc)  # fmt: skip


def draw_lamp(rng: np.random.Generator, domain: Domain) -> Lamp:
    """One of the domain's lamps."""
    u = rng.uniform
    if domain == "standard":
        kind = str(rng.choice(["ring", "low ring", "bars", "dome"], p=[0.35, 0.2, 0.3, 0.15]))
    else:
        kind = str(rng.choice(["one bar", "coaxial", "two rings"]))
    turn = u(0, 2 * np.pi)
    if kind == "ring":
        count = int(rng.integers(8, 13))
        azimuth = turn + np.arange(count) * 2 * np.pi / count
        slope, weight = np.full(count, u(0.12, 0.22)), rng.gamma(1.3, 1 / 1.3, count)
        spread, ambient = u(0.03, 0.07), u(0.05, 0.15)
    elif kind == "low ring":
        azimuth = turn + np.arange(12) * 2 * np.pi / 12
        slope, weight = np.full(12, u(0.2, 0.3)), rng.gamma(1.3, 1 / 1.3, 12)
        spread, ambient = u(0.04, 0.08), u(0.08, 0.2)
    elif kind == "bars":
        sides = int(rng.choice([2, 4]))
        each = np.concatenate([k * 2 * np.pi / sides + np.linspace(-0.5, 0.5, 5)
                               for k in range(sides)])  # fmt: skip
        azimuth = turn + each
        slope = np.full(len(each), u(0.12, 0.24))
        weight = np.repeat(rng.gamma(1, 1, sides) + 0.1, 5)
        spread, ambient = u(0.03, 0.08), u(0.08, 0.18)
    elif kind == "dome":
        azimuth = turn + np.arange(16) * 2 * np.pi / 8
        slope = np.concatenate([np.full(8, u(0.08, 0.14)), np.full(8, u(0.2, 0.3))])
        weight, spread, ambient = rng.gamma(4, 1 / 4, 16), u(0.07, 0.12), u(0.12, 0.25)
    elif kind == "one bar":
        azimuth = turn + np.linspace(-0.4, 0.4, 5)
        slope, weight = np.full(5, u(0.2, 0.3)), np.ones(5)
        spread, ambient = u(0.06, 0.1), u(0.3, 0.5)
    elif kind == "coaxial":
        azimuth = turn + np.arange(6) * 2 * np.pi / 6
        slope, weight = np.full(6, u(0.03, 0.08)), rng.gamma(9, 1 / 9, 6)
        spread, ambient = u(0.08, 0.14), u(0.15, 0.3)
    else:
        azimuth = turn + np.arange(16) * 2 * np.pi / 8
        slope = np.concatenate([np.full(8, 0.14), np.full(8, 0.44)])
        weight, spread, ambient = rng.gamma(5, 1 / 5, 16), u(0.04, 0.07), u(0.08, 0.15)
    warm = rng.normal(0, 0.02 if domain == "standard" else 0.06)
    near = rng.normal(0, 0.05, 2)
    return Lamp(
        name=kind,
        azimuth=tuple(map(float, azimuth)),
        slope=tuple(map(float, slope)),
        weight=tuple(map(float, weight)),
        spread=float(spread),
        ambient=float(ambient),
        tone=(float(1 + warm), 1.0, float(1 - warm)),
        near=(float(near[0]), float(near[1])),
    )


def draw_camera(rng: np.random.Generator, domain: Domain) -> Camera:
    """One of the domain's cameras."""
    u = rng.uniform
    usual = domain == "standard"
    tone = 1 + rng.normal(0, 0.012 if usual else 0.035, 3)
    return Camera(
        px_per_mm=float(u(9.0, 12.0) if usual else u(7.6, 9.0)),
        blur_px=float(u(0.45, 0.85) if usual else u(0.8, 1.15)),
        exposure=float(u(0.82, 1.22) if usual else rng.choice([u(0.6, 0.8), u(1.25, 1.5)])),
        noise=float(u(0.006, 0.014) if usual else u(0.014, 0.022)),
        curve=float(u(0.25, 0.6) if usual else rng.choice([u(0.0, 0.2), u(0.65, 0.85)])),
        vignette=float(u(0.05, 0.3) if usual else u(0.3, 0.45)),
        tone=(float(tone[0]), float(tone[1]), float(tone[2])),
        saturation=float(u(0.8, 1.15) if usual else rng.choice([0.0, 0.5, 1.4])),
        bloom=float(u(0.0, 0.1)),
        jpeg=int(rng.integers(90, 99) if usual else rng.integers(78, 90)),
    )
