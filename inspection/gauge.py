"""How big the imprint of a weld is, where it lies and how round it is, in millimetres.

In three steps, each for all points of a view at once:

1. Candidates: circles across which the picture changes along the radius, by correlation of the
   gradient's structure tensor with rings (a Hough transform of circles, Kimme, Ballard and
   Sklansky 1975, whose votes know the direction of an edge), and the planned place.
2. A candidate is unrolled into polar coordinates, and a small perceptron says by how much it must
   move and grow, and whether it is an imprint at all: cascaded regression (Dollár, Welinder and
   Perona, "Cascaded pose regression", 2010), twice coarse and once fine. The fine one says how far
   it may be wrong, too (Nix and Weigend, "Estimating the mean and variance of the target
   probability distribution", 1994).
3. The edge between imprint and sheet along each of the polar rays gives the ellipse's axes: a
   robust fit of the second harmonic (Tukey's biweight).

The perceptrons are learnt from rendered welds (``python -m inspection.training.fit_gauge``) and lie
beside this module; on other surfaces they say less, and then they say so: nothing is measured.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from inspection import imaging
from inspection.imaging import CropSpec, Frame
from inspection.messages import Gauged, GaugeTask, Region

FIELD_MM = 16.0
"""Side of the square around the planned place in which an imprint is looked for."""
SIDE = 128
PX_PER_MM = SIDE / FIELD_MM
SPEC = CropSpec(width=SIDE, height=SIDE, channels=1)
WEIGHTS = Path(__file__).with_name("gauge.npz")

GRID, PADDED = 32, 48
RADII_MM = (1.1, 1.4, 1.75, 2.1, 2.45, 2.8, 3.15, 3.5, 3.9)
REACH_MM = 6.2
"""A weld further from the planned place than this is another one."""
CANDIDATES = 5
NOMINAL_MM = 2.9
RAYS = 24
COARSE = np.linspace(0.2, 1.9, 28, dtype=np.float32)
FINE = np.linspace(0.55, 1.45, 30, dtype=np.float32)
TURNS = 6
"""In how many turns, each mirrored too, the fine net sees an imprint at last."""
RIVAL, SAME = -1.0, 0.12
"""How much less likely an imprint (a logit) another circle may be to be a doubt, how much larger or
smaller, as a logarithm, to be another one."""
SMALLEST_MM, LARGEST_MM = 0.8, 5.0

Floats = npt.NDArray[np.float32]


class Net(NamedTuple):
    """A perceptron with two hidden layers: weights and biases in turn."""

    layers: tuple[Floats, ...]

    def __call__(self, x: Floats) -> Floats:
        *hidden, weight, bias = self.layers
        for w, b in zip(hidden[::2], hidden[1::2], strict=True):
            x = np.maximum(x @ w + b, 0)
        return cast(Floats, x @ weight + bias)


class Weights(NamedTuple):
    """What was learnt, and with how many standard deviations the uncertainty is stated."""

    coarse: Net
    fine: Net
    least: float
    """A logit below this is no imprint."""
    cover: tuple[float, float]
    """For the centre and for the logarithm of the radius."""


@functools.cache
def weights() -> Weights:
    """The perceptrons beside this module."""
    with np.load(WEIGHTS) as file:
        nets = [
            Net(tuple(file[f"{name}{k}"].astype(np.float32) for k in range(6)))
            for name in ("coarse", "fine")
        ]
        least, *cover = (float(value) for value in file["limits"])
    return Weights(nets[0], nets[1], least, (cover[0], cover[1]))


@functools.cache
def _rings() -> npt.NDArray[np.complex64]:
    half = PADDED // 2
    y, x = np.mgrid[-half:half, -half:half].astype(np.float64)
    far, angle = np.hypot(x, y), np.arctan2(y, x)
    rings = []
    for radius in np.array(RADII_MM) * GRID / FIELD_MM:
        ring = np.zeros_like(far)
        for share, at, wide in ((1.0, 0.0, 0.5), (-0.4, 1.6, 0.6), (-0.4, -1.6, 0.6)):
            part = np.exp(-(((far - radius - at) / wide) ** 2) / 2)
            ring += share * part / part.sum()
        ring *= np.sqrt(radius) / 2
        rings.append(
            [
                np.conj(np.fft.rfft2(np.fft.ifftshift(ring * by)))
                for by in (np.ones_like(angle), np.cos(2 * angle), np.sin(2 * angle))
            ]
        )
    return np.array(rings, np.complex64)


def flattened(seen: Frame) -> Floats:
    """Crops ``uint8`` (n, 128, 128, 1) with their brightness and contrast evened out, and as they
    are but for their mean; float32 (n, 128, 128, 2)."""
    out = np.empty((*seen.shape[:3], 2), np.float32)
    for place, crop in zip(out, seen, strict=True):
        plain = crop[:, :, 0].astype(np.float32)
        small = cv2.resize(plain, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
        square = cv2.resize(plain * plain, (SIDE // 4, SIDE // 4), interpolation=cv2.INTER_AREA)
        mean, second = cv2.GaussianBlur(small, (0, 0), 2.5), cv2.GaussianBlur(square, (0, 0), 2.5)
        spread = np.sqrt(np.maximum(second - mean * mean, 0)) + 2.0
        both = cv2.resize(cv2.merge([mean, spread]), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        np.clip((plain - both[:, :, 0]) / both[:, :, 1], -3, 3, out=place[:, :, 0])
        middle = float(np.median(small))
        np.clip((plain - middle) / (0.25 * middle + 8), -3, 3, out=place[:, :, 1])
    return out


def candidates(flat: Floats, most: int = CANDIDATES) -> Floats:
    """Circles (n, most + 1, 3): x, y and radius in pixels of the crop; the last is the planned."""
    n = len(flat)
    tensor = np.empty((n, 3, GRID, GRID), np.float32)
    for place, both in zip(tensor, flat, strict=True):
        half = cv2.resize(both[:, :, 0], (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        gx, gy = cv2.Sobel(half, cv2.CV_32F, 1, 0), cv2.Sobel(half, cv2.CV_32F, 0, 1)
        size = cv2.magnitude(gx, gy) + 1e-3
        strong = np.minimum(size / (size.mean() + 0.2), 4)
        turn = strong / (size * size)
        parts = cv2.merge([strong - strong.mean(), (gx * gx - gy * gy) * turn, 2 * gx * gy * turn])
        small = cv2.resize(parts, (GRID, GRID), interpolation=cv2.INTER_AREA)
        place[:] = small.transpose(2, 0, 1)
    waves = np.fft.rfft2(tensor, (PADDED, PADDED))
    said = np.einsum("ncyx,rcyx->nryx", waves, _rings())
    votes = np.fft.irfft2(said, (PADDED, PADDED))[:, :, :GRID, :GRID]
    best, which = votes.max(axis=1), votes.argmax(axis=1)
    rows, columns = np.mgrid[:GRID, :GRID]
    away = np.hypot(columns + 0.5 - GRID / 2, rows + 0.5 - GRID / 2) * FIELD_MM / GRID
    best = best - 0.05 * away
    best[:, away > REACH_MM] = -np.inf
    out = np.empty((n, most + 1, 3), np.float32)
    one = np.arange(n)
    for k in range(most):
        flat_at = best.reshape(n, -1).argmax(axis=1)
        y, x = np.divmod(flat_at, GRID)
        radius = np.array(RADII_MM)[which[one, y, x]] * PX_PER_MM
        out[:, k] = np.stack([(x + 0.5) * SIDE / GRID, (y + 0.5) * SIDE / GRID, radius], axis=1)
        near = (np.abs(rows - y[:, None, None]) < 2) & (np.abs(columns - x[:, None, None]) < 2)
        best[near] = -np.inf
    out[:, most] = SIDE / 2, SIDE / 2, NOMINAL_MM * PX_PER_MM
    return out


def unrolled(flat: Floats, circles: Floats, radii: Floats) -> Floats:
    """What lies around circles (n, m, 3) in their pictures, by ray and then by radius in units of
    the circle's: float32 (n, m, RAYS * len(radii) * 2)."""
    n, m, _ = circles.shape
    angle = np.arange(RAYS, dtype=np.float32) * np.float32(2 * np.pi / RAYS)
    far = circles[:, :, 2, None, None] * radii
    x = circles[:, :, 0, None, None] + np.cos(angle)[:, None] * far - np.float32(0.5)
    y = circles[:, :, 1, None, None] + np.sin(angle)[:, None] * far - np.float32(0.5)
    out = np.empty((n, m, RAYS * len(radii) * 2), np.float32)
    for k in range(n):
        sampled = cv2.remap(
            flat[k], x[k].reshape(m, -1), y[k].reshape(m, -1), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        out[k] = sampled.reshape(m, -1)
    return out


def moved(circles: Floats, said: Floats) -> Floats:
    """Circles (..., 3) as a net's first three outputs correct them."""
    radius = circles[..., 2:]
    place = circles[..., :2] + np.clip(said[..., :2], -0.6, 0.6) * radius
    size = radius * np.exp(np.clip(said[..., 2:3], -0.6, 0.6))
    least, most = SMALLEST_MM * PX_PER_MM, LARGEST_MM * PX_PER_MM
    return np.concatenate([place, np.clip(size, least, most)], axis=-1)


class Found(NamedTuple):
    """For n crops, in pixels of the crop: the circle (n, 3), whether it is an imprint (n,), and
    the standard deviations of a coordinate of the centre and of the radius' logarithm (n, 2)."""

    circle: Floats
    logit: Floats
    sigma: Floats
    doubt: Floats
    """By how much another circle there that may be the imprint differs in size, as a logarithm."""


def find(seen: Frame, nets: Weights) -> tuple[Found, Floats]:
    """The imprint nearest to the planned place in crops ``uint8`` (n, 128, 128, 1), and the crops
    `flattened`."""
    flat = flattened(seen)
    circles = candidates(flat)
    for _ in range(2):
        said = nets.coarse(unrolled(flat, circles, COARSE))
        circles = moved(circles, said)
    believed = said[:, :, 3]
    for _ in range(2):
        said = nets.fine(unrolled(flat, circles, FINE))
        circles = moved(circles, said)
    believed = np.minimum(believed, said[:, :, 3])
    away = np.hypot(circles[:, :, 0] - SIDE / 2, circles[:, :, 1] - SIDE / 2) / PX_PER_MM
    believed = np.where(away > REACH_MM, np.float32(-30), believed)
    # Of several that are imprints the nearest to the planned place, else the most likely one.
    rank = np.where(believed >= nets.least, 100 - away, np.minimum(believed, 20))
    best = rank.argmax(axis=1)
    one = np.arange(len(seen))
    sure = believed[one, best]
    circle, sigma = _settled(flat, circles[one, best], nets.fine)
    inner, believed_inner = _within(flat, circle, nets)
    other = np.concatenate([circles, inner[:, None]], axis=1)
    said_of = np.concatenate([believed, believed_inner[:, None]], axis=1)
    far = np.hypot(*(np.moveaxis(other[:, :, :2] - circle[:, None, :2], 2, 0)))
    rival = (said_of >= nets.least - RIVAL) & (far < 0.6 * circle[:, 2:])
    ratio = np.abs(np.log(other[:, :, 2] / circle[:, 2:]))
    doubt = np.where(rival & (ratio > SAME), ratio, 0).max(axis=1)
    return Found(circle, sure, sigma, doubt.astype(np.float32)), flat


def _settled(flat: Floats, circle: Floats, net: Net) -> tuple[Floats, Floats]:
    """Circles (n, 3) that the fine net has nothing to correct at, and its deviations (n, 2): the
    mean of what it says of the picture turned and mirrored, turned back."""
    for _ in range(2):
        around = unrolled(flat, circle[:, None], FINE).reshape(len(flat), RAYS, -1)
        total = np.zeros((len(flat), 6), np.float32)
        for mirrored in (1, -1):
            rays = around if mirrored == 1 else np.roll(around[:, ::-1], 1, axis=1)
            for by in range(0, RAYS, RAYS // TURNS):
                said = net(np.roll(rays, by, axis=1).reshape(len(flat), -1))
                angle = by * 2 * np.pi / RAYS
                c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
                total[:, 0] += c * said[:, 0] + s * said[:, 1]
                total[:, 1] += mirrored * (c * said[:, 1] - s * said[:, 0])
                total[:, 2:] += said[:, 2:]
        total /= 2 * TURNS
        circle = moved(circle, total)
    return circle, np.exp(np.clip(total[:, 4:6], -7, 0))


def _within(flat: Floats, circle: Floats, nets: Weights) -> tuple[Floats, Floats]:
    """What is found inside a circle (n, 3), and whether it is an imprint (n,): heat and zinc leave
    a ring around an imprint that looks much like a larger one."""
    inner = circle.copy()
    inner[:, 2] *= np.float32(0.7)
    inner = inner[:, None]
    for radii, net in ((COARSE, nets.coarse), (FINE, nets.fine)):
        said = net(unrolled(flat, inner, radii))
        inner = moved(inner, said)
    said = nets.fine(unrolled(flat, inner, FINE))
    return inner[:, 0], said[:, 0, 3]


def _roundness(flat: Floats, circles: Floats) -> tuple[Floats, Floats]:
    """Largest minus smallest diameter of the ellipse in millimetres, and how sure (n,)."""
    n = len(circles)
    around = unrolled(flat, circles[:, None], FINE).reshape(n, RAYS, len(FINE), 2)[..., 0]
    step = np.abs(np.diff(around, axis=2))
    at = (FINE[1:] + FINE[:-1]) / 2
    weight = step**3 * np.exp(-(((at - 1) / 0.15) ** 2) / 2) + 1e-6
    edge = (weight * at).sum(axis=2) / weight.sum(axis=2)
    angle = 2 * np.arange(RAYS) * (2 * np.pi / RAYS)
    terms = np.stack([np.ones(RAYS), np.cos(angle), np.sin(angle)], axis=1)
    trust = np.ones((n, RAYS))
    for _ in range(4):
        weighed = terms[None] * trust[:, :, None]
        normal = np.einsum("nai,aj->nij", weighed, terms) + 1e-9 * np.eye(3)
        fit = np.linalg.solve(normal, np.einsum("nai,na->ni", weighed, edge)[:, :, None])[:, :, 0]
        rest = edge - fit @ terms.T
        scale = 1.4826 * np.median(np.abs(rest), axis=1, keepdims=True) + 0.004
        trust = np.maximum(1 - (rest / (4.685 * scale)) ** 2, 0) ** 2 + 1e-6
    radius = circles[:, 2] / PX_PER_MM
    value = 4 * radius * np.hypot(fit[:, 1], fit[:, 2])
    sure = 4 * radius * scale[:, 0] * np.sqrt(2 / RAYS) * 2
    return value.astype(np.float32), sure.astype(np.float32)


def measure(image: Frame, tasks: Sequence[tuple[Region, GaugeTask]]) -> list[Gauged | None]:
    """What is measured at the planned places, the middles of these regions of a frame, in
    millimetres; None where no imprint can be told. Uncertainties hold in 99 of 100 cases on
    surfaces like those it learnt from."""
    if not tasks:
        return []
    crops = np.empty((len(tasks), SIDE, SIDE, 1), np.uint8)
    shifts = np.empty((len(tasks), 2))
    scale = np.empty(len(tasks))
    for k, (region, task) in enumerate(tasks):
        side = max(1, round(FIELD_MM / task.mm_per_px))
        x = region.left_px + region.width_px / 2
        y = region.top_px + region.height_px / 2
        left, top = np.floor(x - side / 2 + 0.5), np.floor(y - side / 2 + 0.5)
        square = Region(left_px=left, top_px=top, width_px=float(side), height_px=float(side))
        crops[k] = imaging.crop(image, square, SPEC)
        shifts[k] = left + side / 2 - x, top + side / 2 - y
        scale[k] = side * task.mm_per_px / SIDE
    nets = weights()
    found, flat = find(crops, nets)
    round_mm, round_sure = _roundness(flat, found.circle)
    out: list[Gauged | None] = []
    for k, (_, task) in enumerate(tasks):
        circle, mm = found.circle[k].astype(float), float(scale[k])
        radius = circle[2] * mm
        values = (
            (circle[0] - SIDE / 2) * mm + shifts[k, 0] * task.mm_per_px,
            (circle[1] - SIDE / 2) * mm + shifts[k, 1] * task.mm_per_px,
            2 * radius,
            float(round_mm[k]) * mm * PX_PER_MM,
            nets.cover[0] * float(found.sigma[k, 0]) * radius,
            max(nets.cover[1] * float(found.sigma[k, 1]), float(found.doubt[k])) * 2 * radius,
            float(round_sure[k]) * mm * PX_PER_MM,
        )
        if not (found.logit[k] >= nets.least and np.isfinite(values).all()):
            out.append(None)
            continue
        names = (
            "x_mm", "y_mm", "diameter_mm", "roundness_mm",
            "centre_pm_mm", "diameter_pm_mm", "roundness_pm_mm",
        )  # fmt: skip
        said = dict(zip(names, (round(float(v), 4) for v in values), strict=True))
        out.append(Gauged(**said))
    return out
