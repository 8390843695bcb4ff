"""What an electrode leaves on a sheet, and what can be wrong with it.

An imprint is a shallow dish with a shoulder, often a raised rim, ironed inside and patterned by
the face of the electrode cap; around it heat has boiled the zinc off or left temper colours.
Nothing here is a perfect circle. Each defect writes itself into the height map and the colours,
marks its pixels in the mask, and returns its extent in millimetres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from inspection.rendering.catalogue import NAMES
from inspection.rendering.materials import Steel
from inspection.rendering.noise import Array
from inspection.rendering.surface import OTHER, Scratch, Spot, Surface, step

ANGLES = 720
REACH = 3.0
"""How far, in radii, a weld changes the sheet around it."""
STEPS = 1024
RADII = np.linspace(0, REACH, STEPS)

TEMPER = np.array(
    [  # what heat does to bare steel, cold to hot: none, straw, brown, purple, blue, grey
        [1.00, 1.00, 1.00],
        [1.00, 0.93, 0.76],
        [0.86, 0.70, 0.52],
        [0.66, 0.54, 0.60],
        [0.55, 0.62, 0.78],
        [0.74, 0.77, 0.80],
    ],
    np.float32,
)

RAMP = np.stack(
    [np.interp(np.linspace(0, len(TEMPER) - 1, 256), range(len(TEMPER)), c) for c in TEMPER.T],
    axis=1,
).astype(np.float32)

COPPER = np.array([1.08, 0.60, 0.36], np.float32)
BRASS = np.array([1.08, 0.98, 0.74], np.float32)


Profile = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Imprint:
    """One electrode's mark. Lengths in millimetres or in its radius, heights in micrometres."""

    x_px: float
    y_px: float
    radius_mm: float
    depth_um: float
    shoulder: float
    rim: float
    dome: float
    crown: float
    tilt: tuple[float, float]
    warp: tuple[tuple[float, float], ...]
    """Amplitude and phase of the outline's 2nd, 3rd ... harmonic."""
    rings_um: float
    ring_mm: float
    swirl_um: float
    mottle_um: float
    heat: float
    halo: float
    soot: float
    brass: float
    dark: float
    zinc: float
    seed: int


def draw_imprint(
    rng: np.random.Generator, steel: Steel, x_px: float, y_px: float, radius_mm: float
) -> Imprint:
    """An imprint as a plant accepts it, of this size at this place."""
    u = rng.uniform
    tilt = rng.normal(0, 0.13, 2)
    warp = [(float(abs(rng.normal(0, 0.016))), float(u(0, 2 * np.pi)))]
    warp += [(float(rng.normal(0, 0.022 / k)), float(u(0, 2 * np.pi))) for k in range(3, 9)]
    size = radius_mm / 3
    return Imprint(
        x_px=x_px,
        y_px=y_px,
        radius_mm=radius_mm,
        depth_um=float(u(80, 230) * (0.6 + 0.4 * size)),
        shoulder=float(u(0.02, 0.065)),
        rim=float(u(0.0, 0.38) * (rng.uniform() < 0.8)),
        dome=float(u(0, 1)),
        crown=float(u(-0.05, 0.22)),
        tilt=(float(tilt[0]), float(tilt[1])),
        warp=tuple(warp),
        rings_um=float(u(0.0, 3.0)),
        ring_mm=float(u(0.26, 0.5)),
        swirl_um=float(u(0.5, 3.0) * (rng.uniform() < 0.3)),
        mottle_um=float(u(2.0, 9.0)),
        heat=float(np.clip(rng.normal(0.62, 0.22), 0.05, 1.1) * (1 - 0.6 * steel.zinc)),
        halo=float(u(1.3, 1.85)),
        soot=float(u(0.08, 0.5)),
        brass=float(u(0.0, 0.5) * steel.zinc),
        dark=float(u(0.0, 0.22)),
        zinc=steel.zinc * float(u(0.5, 1.0)),
        seed=int(rng.integers(2**31)),
    )


def outline(imprint: Imprint) -> Array:
    """Radius of the imprint by angle, in units of its mean, shape (ANGLES,)."""
    theta = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    warp = 1.0 + sum(
        amplitude * np.cos(k * theta - phase)
        for k, (amplitude, phase) in enumerate(imprint.warp, start=2)
    )
    return np.asarray(warp / np.mean(warp), np.float32)


def _polar(spot: Spot, imprint: Imprint) -> tuple[Array, npt.NDArray[np.int32]]:
    """Distance from the centre in units of the outline there, and the angle's index."""
    shape = spot.relief.shape
    x = np.ascontiguousarray(np.broadcast_to(spot.x, shape))
    y = np.ascontiguousarray(np.broadcast_to(spot.y, shape))
    radius, angle = cv2.cartToPolar(x, y)
    index = (angle * np.float32(ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES
    return radius / (np.float32(imprint.radius_mm) * outline(imprint)[index]), index


def _by_radius(q: Array, profile: Profile) -> Array:
    """A function of the distance from the centre in radii, by table."""
    table = profile(RADII).astype(np.float32)
    index = np.minimum(q * np.float32((STEPS - 1) / REACH), STEPS - 1).astype(np.int32)
    return np.asarray(table[index])


def paint_imprint(surface: Surface, imprint: Imprint, zone: int = OTHER) -> None:
    """Press it into the sheet. ``zone`` says whose weld it is."""
    spot = surface.around(imprint.x_px, imprint.y_px, REACH * imprint.radius_mm)
    if spot is None:
        return
    rng = np.random.default_rng([imprint.seed, 3])
    u = rng.uniform
    q, angle = _polar(spot, imprint)
    spot.zones[q < 1] |= zone
    cloud = spot.cut("cloud", rng, 0.12)
    fine = spot.cut("speckle", rng, 0.1)
    q = q + np.float32(0.010) * cloud
    radius = imprint.radius_mm

    def sides(amount: float, lobes: int) -> Array:
        """1 on average, uneven around the centre."""
        theta = np.arange(ANGLES) * (2 * np.pi / ANGLES)
        uneven = sum(rng.normal(0, amount / k) * np.cos(k * theta + u(0, 6.3))
                     for k in range(1, lobes + 1))  # fmt: skip
        return np.asarray(np.clip(1 + uneven, 0.05, None), np.float32)[angle]

    inside = _by_radius(q, lambda r: 0.5 + 0.5 * np.tanh((1 - r) / (2 * 0.02)))
    dish = _by_radius(
        q,
        lambda r: (
            (0.5 + 0.5 * np.tanh((1 - r) / (2 * imprint.shoulder)))
            * (1 - 0.5 * imprint.dome * np.minimum(r, 1) ** 2)
            - imprint.crown * np.exp(-((r / 0.45) ** 2))
        ),
    )
    lean = (
        1
        + np.float32(imprint.tilt[0] / radius) * spot.x
        + np.float32(imprint.tilt[1] / radius) * spot.y
    )
    depth = np.float32(imprint.depth_um)
    spot.relief[:] *= 1 - np.float32(0.75) * inside
    spot.form[:] -= depth * dish * np.clip(lean, 0.3, 1.8)
    # The sheet around is drawn down a little.
    spot.form[:] -= (
        np.float32(u(0.1, 0.35))
        * depth
        * _by_radius(
            q, lambda r: np.exp(-(np.maximum(r - 0.9, 0) ** 2) / 0.35) * (1 - (r / REACH) ** 2)
        )
    )
    if imprint.rim > 0:
        rim = _by_radius(q, lambda r: np.exp(-(((r - 1.13) / 0.10) ** 2)))
        spot.form[:] += np.float32(imprint.rim) * depth * rim * sides(0.35, 3)
    distance = q * np.float32(radius)
    face = np.float32(imprint.rings_um) * np.sin(
        distance * np.float32(2 * np.pi / imprint.ring_mm) + cloud
    )
    if imprint.swirl_um > 0:
        turn = angle.astype(np.float32) * np.float32(2 * np.pi / ANGLES)
        face += np.float32(imprint.swirl_um) * np.sin(
            np.float32(round(u(14, 34))) * turn + np.float32(u(-3, 3)) * distance
        ) * np.clip(q, 0, 1)  # fmt: skip
    face += np.float32(imprint.mottle_um) * fine
    spot.relief[:] += inside * face
    spot.worked[:] += inside * np.float32(0.85) * (1 - spot.worked)

    # Colours: of the ironed face, of the groove, of what heat did around it.
    shade = 1 - np.float32(imprint.dark) * inside * (1 + np.float32(0.4) * cloud)
    groove = _by_radius(q, lambda r: np.exp(-(((r - 1.0) / 0.045) ** 2)))
    grime = np.float32(imprint.soot) * groove * sides(0.5, 4) * (1 + np.float32(0.3) * fine)
    shade *= np.clip(1 - grime, 0.25, 1)
    halo = imprint.halo
    uneven = q + np.float32(0.09) * spot.cut("cloud", rng, 0.22)
    if imprint.zinc > 0.05:
        ring = _by_radius(
            uneven,
            lambda r: 0.5 * (np.tanh((r - 1.02) / 0.03) - np.tanh((r - halo * 0.85) / 0.09)),
        )
        border = _by_radius(uneven, lambda r: np.exp(-(((r - halo * 0.85) / 0.07) ** 2)))
        pale = np.float32(imprint.zinc * u(-0.22, 0.10))
        shade *= 1 + pale * ring * (1 + np.float32(0.25) * fine)
        shade *= 1 - np.float32(imprint.zinc * u(0.0, 0.25)) * border
        spot.worked[:] += ring * np.float32(0.5 * imprint.zinc) * (1 - spot.worked)
    spot.colour[:] *= shade[..., np.newaxis]
    if imprint.heat > 0.03:
        warm = _by_radius(
            uneven,
            lambda r: (
                np.clip((halo - r) / (halo - 0.95), 0, 1)
                * (1 - 0.5 * (0.5 + 0.5 * np.tanh((0.85 - r) / 0.08)))
            ),
        )
        warm *= np.float32(imprint.heat) * (np.float32(0.85) + np.float32(0.2) * cloud)
        _temper(spot, np.clip(warm * sides(0.22, 2), 0, 1.15), u(0.45, 0.9))
    if imprint.brass > 0.03:
        tint = inside * np.clip(np.float32(0.7) + np.float32(0.4) * cloud, 0, 1)
        spot.colour[:] *= 1 + (np.float32(imprint.brass) * tint)[..., np.newaxis] * (BRASS - 1)


def _temper(spot: Spot, heat: Array, strength: float) -> None:
    """Temper colours of ``heat`` 0 to 1 and more."""
    index = (np.clip(heat, 0, 1) * 255).astype(np.int32)
    spot.colour[:] *= (1 + np.float32(strength) * (RAMP - 1))[index]


def _mark(spot: Spot, where: npt.NDArray[np.bool_], label: str) -> None:
    spot.mask[where] = NAMES.index(label)


# --------------------------------------------------------------------------- defects of an imprint


def paint_expulsion(surface: Surface, imprint: Imprint, rng: np.random.Generator) -> float:
    """Molten metal thrown out at the rim: tongues of flash, droplets with tails, soot."""
    u = rng.uniform
    radius = imprint.radius_mm
    main = u(0, 2 * np.pi)
    spot = surface.around(imprint.x_px, imprint.y_px, radius + 7)
    if spot is None:
        return 0.0
    q, angle = _polar(spot, imprint)
    turn = angle.astype(np.float32) * np.float32(2 * np.pi / ANGLES)
    fine, cloud = spot.cut("speckle", rng, 0.1), spot.cut("cloud", rng, 0.12)
    fan = np.exp(-((np.arctan2(np.sin(turn - main), np.cos(turn - main)) / 0.5) ** 2))
    streak = fan * np.exp(-np.clip(q - 1, 0, None) / np.float32(u(0.2, 0.6))) * (q > 0.97)
    spot.colour[:] *= (1 - np.clip(np.float32(u(0.1, 0.5)) * streak * (1 + 0.4 * cloud), 0, 0.8))[
        ..., np.newaxis
    ]
    reach = 0.0
    for _ in range(int(rng.integers(1, 5))):
        a = main + rng.normal(0, 0.45)
        length, width = u(0.9, 3.2), u(0.25, 0.75)
        along = (
            spot.x * np.float32(np.cos(a))
            + spot.y * np.float32(np.sin(a))
            - np.float32(0.93 * radius)
        )
        across = spot.y * np.float32(np.cos(a)) - spot.x * np.float32(np.sin(a))
        across = across - np.float32(rng.normal(0, 0.08)) * along * np.abs(along)
        t = np.clip(along / np.float32(length), 0, 1)
        taper = np.float32(width) * (1 - t) ** np.float32(u(0.35, 0.9))
        taper *= 1 + np.float32(0.28) * fine + np.float32(0.3) * cloud
        body = np.hypot(across, along - t * np.float32(length)) - taper
        cover = step(-body, 0.025)
        cap = np.sqrt(np.clip(-body / np.float32(width), 0, 1))
        spot.form[:] += np.float32(u(90, 230) * width / 0.5) * cap * (1 + np.float32(0.15) * fine)
        spot.worked[:] += cover * np.float32(0.8) * (1 - spot.worked)
        dark = np.float32(u(0.0, 0.35)) + np.float32(0.12) * cloud
        spot.colour[:] *= (1 - cover * np.clip(dark, -0.2, 0.6))[..., np.newaxis]
        _mark(spot, cover > 0.4, "expulsion")
        reach = max(reach, length)
    for _ in range(int(rng.integers(4, 22))):
        a = main + rng.normal(0, 0.55)
        far = radius * 1.05 + 0.3 + rng.exponential(1.1)
        size = float(np.clip(rng.lognormal(-1.75, 0.45), 0.09, 0.42))
        tail = size * (1 + min(rng.exponential(0.7), 2.5))
        x = imprint.x_px + far * np.cos(a) * spot.px_per_mm
        y = imprint.y_px + far * np.sin(a) * spot.px_per_mm
        drop = surface.around(x, y, tail + size + 0.3)
        if drop is None:
            continue
        along, across = drop.along(a), drop.along(a + np.pi / 2)
        # Round in front, drawn out behind: along the way it flew.
        stretched = np.where(along > 0, along, along * np.float32(size / tail))
        wobble = 1 + np.float32(0.12) * drop.cut("speckle", rng, 0.1)
        edge = np.hypot(stretched, across) / np.float32(size) * wobble
        cap = np.sqrt(np.clip(1 - edge * edge, 0, 1))
        drop.form[:] += np.float32(260 * size / 0.3) * cap
        drop.worked[:] += (edge < 1) * np.float32(0.9) * (1 - drop.worked)
        scorch = np.float32(u(0.0, 0.25)) * np.exp(-(((edge - 1.05) / 0.3) ** 2))
        shine = np.float32(u(-0.25, 0.15)) * (edge < 1)
        drop.colour[:] *= np.clip(1 - scorch + shine, 0.2, 1.3)[..., np.newaxis]
        _mark(drop, edge < 1, "expulsion")
        reach = max(reach, far - radius)
    return float(reach)


def paint_burn_through(surface: Surface, imprint: Imprint, rng: np.random.Generator) -> float:
    """A hole melted through the sheet, with a ragged, blued, raised rim; some are half closed."""
    u = rng.uniform
    radius = imprint.radius_mm
    hole = u(0.2, 0.62) * radius
    x = imprint.x_px + rng.normal(0, 0.2 * radius) * surface.px_per_mm
    y = imprint.y_px + rng.normal(0, 0.2 * radius) * surface.px_per_mm
    spot = surface.around(x, y, 2.6 * hole + 1)
    if spot is None:
        return 0.0
    shape = spot.relief.shape
    distance, angle = cv2.cartToPolar(
        np.ascontiguousarray(np.broadcast_to(spot.x, shape)),
        np.ascontiguousarray(np.broadcast_to(spot.y, shape)),
    )
    fine, cloud = spot.cut("speckle", rng, 0.1), spot.cut("cloud", rng, 0.12)
    ragged = 1 + sum(
        np.float32(rng.normal(0, 0.16 / k)) * np.cos(k * angle + np.float32(u(0, 6.3)))
        for k in range(1, 7)
    )
    edge = distance / (np.float32(hole) * ragged) + np.float32(0.05) * cloud
    spot.form[:] += (
        np.float32(u(50, 160))
        * np.exp(-(((edge - 1.3) / 0.24) ** 2))
        * (1 + np.float32(0.5) * cloud)
    )
    spot.form[:] -= np.float32(u(250, 600)) * step(1 - edge, 0.06)
    spot.relief[:] += np.float32(9) * fine * (edge < 1.9)
    spot.worked[:] += (edge < 1.8) * np.float32(0.7) * (1 - spot.worked)
    burnt = np.exp(-np.clip(edge - 1, 0, None) / np.float32(0.35))
    spot.colour[:] *= (1 - np.float32(u(0.3, 0.7)) * burnt)[..., np.newaxis]
    _temper(spot, np.clip(1.15 - 0.5 * (edge - 1), 0, 1) * (edge > 0.9), u(0.4, 0.9))
    share = 1.0 if rng.uniform() < 0.72 else u(0.25, 0.6)
    through = step((np.float32(share) - edge) * np.float32(hole), 0.025)
    seen = np.float32(u(0.012, 0.05)) + np.float32(0.02) * np.clip(cloud, -1, 2)
    seen = seen + np.float32(u(0.0, 0.12)) * np.clip(edge / np.float32(share), 0, 1) ** 4
    spot.below[:] += (through > 0) * (np.clip(seen, 0.008, 1) - spot.below)
    np.maximum(spot.open, through, out=spot.open)
    _mark(spot, edge < 1.15, "burn-through")
    return float(2 * hole)


def paint_crack(surface: Surface, imprint: Imprint, rng: np.random.Generator) -> float:
    """Open cracks in the imprint: across it, along its rim, or out of it."""
    u = rng.uniform
    radius = imprint.radius_mm
    spot = surface.around(imprint.x_px, imprint.y_px, radius + 3.2)
    if spot is None:
        return 0.0
    fine = 4  # sub-pixels
    height, width = spot.relief.shape
    total = np.zeros((height, width), np.float32)
    longest = 0.0
    for number in range(int(rng.choice([1, 1, 2, 3]))):
        length = u(2.0, 4.5) if number == 0 else u(0.8, 2.5)
        kind = rng.choice(["across", "rim", "out"], p=[0.5, 0.25, 0.25])
        start = u(0, 2 * np.pi)
        if kind == "across":
            middle = rng.uniform(0, 0.55) * radius
            x, y = middle * np.cos(start), middle * np.sin(start)
            heading, turn = u(0, 2 * np.pi), 0.0
            x, y = x - 0.5 * length * np.cos(heading), y - 0.5 * length * np.sin(heading)
        elif kind == "rim":
            at = u(0.82, 1.06) * radius
            x, y = at * np.cos(start), at * np.sin(start)
            heading, turn = start + np.pi / 2, 1 / at
        else:
            at = u(0.6, 0.95) * radius
            x, y = at * np.cos(start), at * np.sin(start)
            heading, turn = start + rng.normal(0, 0.35), 0.0
        stride, path, wander = 0.16, [(x, y)], 0.0
        for _ in range(max(6, int(length / stride))):
            wander = 0.72 * wander + rng.normal(0, 0.36)
            heading += turn * stride
            x += stride * np.cos(heading + wander)
            y += stride * np.sin(heading + wander)
            path.append((x, y))
        points = np.array(path, np.float32)
        pixels = (points - np.array([spot.x[0, 0], spot.y[0, 0]], np.float32)) * np.float32(
            spot.px_per_mm
        ) + np.float32(0.5)
        canvas = np.zeros((height * fine, width * fine), np.uint8)
        opening = u(0.13, 0.30)
        for k in range(len(path) - 1):
            t = abs(2 * (k + 0.5) / (len(path) - 1) - 1)
            thick = max(1, round(opening * (1 - 0.75 * t * t) * spot.px_per_mm * fine))
            ends = np.round(pixels[k : k + 2] * fine * 16).astype(np.int32)
            cv2.line(canvas, tuple(map(int, ends[0])), tuple(map(int, ends[1])), 255, thick,
                     cv2.LINE_AA, 4)  # fmt: skip
        small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
        total = np.maximum(total, small.astype(np.float32) / 255)
        longest = max(longest, length)
    lips = cv2.GaussianBlur(total, (0, 0), 0.13 * spot.px_per_mm)
    spot.form[:] += np.float32(u(10, 30)) * lips - np.float32(u(40, 90)) * total
    grain = 1 + np.float32(0.12) * spot.cut("speckle", rng, 0.1)
    spot.colour[:] *= np.clip(1 - np.float32(u(0.6, 0.9)) * total * grain, 0.08, 1)[..., np.newaxis]
    _mark(spot, total > 0.25, "crack")
    return float(longest)


def paint_pick_up(surface: Surface, imprint: Imprint, rng: np.random.Generator) -> float:
    """Copper of the cap left on the weld, in patches or along the rim, thick enough to feel."""
    u = rng.uniform
    radius = imprint.radius_mm
    spot = surface.around(imprint.x_px, imprint.y_px, radius + 1.5)
    if spot is None:
        return 0.0
    q, angle = _polar(spot, imprint)
    fine, cloud = spot.cut("speckle", rng, 0.1), spot.cut("cloud", rng, 0.08)
    start = u(0, 2 * np.pi)
    if rng.uniform() < 0.3:
        turn = angle.astype(np.float32) * np.float32(2 * np.pi / ANGLES) - np.float32(start)
        away = np.abs(np.arctan2(np.sin(turn), np.cos(turn))) * np.float32(radius)
        half = u(1.2, 2.6)
        level = np.maximum(
            away - np.float32(half),
            (np.abs(q - np.float32(u(0.8, 1.0))) - np.float32(u(0.16, 0.3))) * np.float32(radius),
        )
        extent = 2 * half
    else:
        size, at = u(0.8, 1.8), u(0, 0.7) * radius
        x, y = np.float32(at * np.cos(start)), np.float32(at * np.sin(start))
        level = np.hypot(spot.x - x, (spot.y - y) * np.float32(u(0.7, 1.4))) - np.float32(size)
        extent = 2 * size
    level = level + np.float32(0.15) * cloud + np.float32(0.07) * fine
    cover = step(-level, 0.03) * (q < 1.2)
    patch = cover * np.clip(np.float32(u(0.8, 1.0)) + np.float32(0.15) * fine, 0.3, 1)
    grey = spot.colour.mean(axis=2, keepdims=True)
    spot.colour[:] += patch[..., np.newaxis] * (
        np.float32(u(1.0, 1.25)) * grey * COPPER - spot.colour
    )
    spot.relief[:] += cover * (np.float32(u(8, 22)) + np.float32(u(3, 8)) * fine)
    border = np.exp(-((level / np.float32(0.06)) ** 2)) * (q < 1.25)
    spot.colour[:] *= (1 - np.float32(u(0.1, 0.35)) * border)[..., np.newaxis]
    _mark(spot, cover > 0.5, "pick-up")
    return float(extent)


def _either(rng: np.random.Generator, low: float, high: float) -> float:
    """Clearly darker or clearly brighter."""
    return float(rng.choice([-1, 1]) * rng.uniform(low, high))


def paint_surface_damage(surface: Surface, imprint: Imprint, rng: np.random.Generator) -> float:
    """Marks that a sheet's surface must not have at a weld: a gouge, a melted scar, grinding, the
    smear of an electrode that skidded."""
    u = rng.uniform
    radius = imprint.radius_mm
    kind = str(rng.choice(["gouge", "scar", "grinding", "skid"]))
    at, start = u(0, 0.9) * radius, u(0, 2 * np.pi)
    x = imprint.x_px + at * np.cos(start) * surface.px_per_mm
    y = imprint.y_px + at * np.sin(start) * surface.px_per_mm
    spot = surface.around(x, y, 5.0)
    if spot is None:
        return 0.0
    heading = u(0, np.pi)
    along, across = spot.along(heading), spot.along(heading + np.pi / 2)
    fine, cloud = spot.cut("speckle", rng, 0.1), spot.cut("cloud", rng, 0.1)
    if kind == "gouge":
        half, width = u(1.4, 3.8), u(0.26, 0.5)
        t = np.clip(along / np.float32(half), -1, 1)
        across = across - np.float32(rng.normal(0, 0.4)) * (1 - t * t) + np.float32(0.06) * cloud
        bed = np.float32(width) * np.sqrt(np.clip(1 - t**4, 0.0, 1)) + np.float32(1e-3)
        inside = step(bed - np.abs(across), 0.03) * (np.abs(along) < half)
        spot.form[:] -= np.float32(u(80, 140)) * inside
        spot.form[:] += (
            np.float32(u(30, 60))
            * np.exp(-(((np.abs(across) - bed) / 0.14) ** 2))
            * (np.abs(along) < half)
        )
        spot.relief[:] += inside * np.float32(5) * spot.cut("brush", rng, 0.1)
        spot.colour[:] *= (1 + np.float32(_either(rng, 0.12, 0.4)) * inside)[..., np.newaxis]
        extent = 2 * half
    elif kind == "scar":
        size = u(1.0, 2.0)
        level = np.hypot(along, across * np.float32(u(1, 1.6))) - np.float32(size)
        inside = step(-(level + np.float32(0.35) * cloud + np.float32(0.12) * fine), 0.03)
        spot.form[:] += inside * (np.float32(22) * fine + np.float32(16) * cloud - np.float32(40))
        spot.colour[:] *= (1 - np.float32(u(0.3, 0.55)) * inside * (1 + 0.3 * fine))[
            ..., np.newaxis
        ]
        extent = 2 * size
    elif kind == "grinding":
        size = u(1.5, 3.2)
        level = np.hypot(along, across * np.float32(u(1, 1.5))) - np.float32(size)
        inside = step(-(level + np.float32(0.3) * cloud), 0.12)
        for _ in range(int(rng.integers(24, 44))):
            shift, angle = u(-size, size), heading + rng.normal(0, 0.07)
            Scratch(
                x - shift * np.sin(heading) * spot.px_per_mm,
                y + shift * np.cos(heading) * spot.px_per_mm,
                angle, 2 * float(np.sqrt(max(size**2 - shift**2, 0.04))) * u(0.8, 1.1),
                u(18, 34), u(0.06, 0.10), rng.normal(0, 0.1),
            ).paint(surface)  # fmt: skip
        spot.colour[:] *= (1 + np.float32(_either(rng, 0.1, 0.2)) * inside)[..., np.newaxis]
        extent = 2 * size
    else:
        half, width = u(1.6, 3.2), u(0.5, 1.0) * min(radius, 2.2)
        begins = np.clip(along / np.float32(half), np.float32(0), np.float32(1))
        level = np.hypot(across, along - begins * np.float32(half))
        level -= np.float32(width) * (1 - np.float32(0.15) * begins)
        inside = step(-(level + np.float32(0.08) * cloud), 0.05)
        spot.form[:] -= np.float32(u(40, 90)) * inside * (1 - 0.6 * begins)
        spot.form[:] += np.float32(u(20, 45)) * np.exp(-((level / np.float32(0.13)) ** 2))
        spot.relief[:] *= 1 - inside
        for _ in range(14):
            shift = u(-0.9, 0.9) * width
            Scratch(
                x + (0.5 * half * np.cos(heading) - shift * np.sin(heading)) * spot.px_per_mm,
                y + (0.5 * half * np.sin(heading) + shift * np.cos(heading)) * spot.px_per_mm,
                heading + rng.normal(0, 0.03), half * u(0.7, 1.2), u(12, 24), u(0.05, 0.1), 0.0,
            ).paint(surface)  # fmt: skip
        spot.colour[:] *= (1 - np.float32(_either(rng, 0.12, 0.3)) * inside)[..., np.newaxis]
        extent = half + width
    _mark(spot, inside > 0.5, "surface-damage")
    return float(extent)


PAINTERS: dict[str, Callable[[Surface, Imprint, np.random.Generator], float]] = {
    "expulsion": paint_expulsion,
    "burn-through": paint_burn_through,
    "crack": paint_crack,
    "pick-up": paint_pick_up,
    "surface-damage": paint_surface_damage,
}
"""The defects that are painted onto an imprint; the others are where it lies and how large."""
