"""One shading pass: slopes of the height map, looked up in a reflectance map.

A reflectance map says how bright a facet of given slope is under given lamps, seen from far above
(Horn, "Understanding image intensities", 1977). It is small, so that any number of emitters and
any shape of highlight costs the same: one look-up a pixel. Highlights are Gaussian in slope, as of
a rough metal (Ward, "Measuring and modeling anisotropic reflection", 1992, without its shadowing),
wider across the rolling direction than along it.
"""

from __future__ import annotations

import functools
from typing import cast

import cv2
import numpy as np

from inspection.rendering.materials import Lamp, Steel
from inspection.rendering.noise import Array

STEEPEST = 1.0
"""Slopes beyond this all look as dark as this one."""
STEPS = 81
WORKED = 0.10
"""Spread of slopes where an electrode has ironed the sheet."""


@functools.lru_cache(maxsize=64)
def reflectance(lamp: Lamp, along: float, across: float, rolling: float) -> Array:
    """float32 (STEPS, STEPS): brightness by slope in y and in x, -STEEPEST to STEEPEST.

    ``along`` and ``across`` are the spreads of the facets' slopes, ``rolling`` the direction of
    the former. A flat facet has about 1.
    """
    axis = np.linspace(-STEEPEST, STEEPEST, STEPS, dtype=np.float32)
    p, q = np.meshgrid(axis, axis)
    c, s = np.cos(rolling), np.sin(rolling)
    narrow, wide = np.hypot(along, lamp.spread), np.hypot(across, lamp.spread)
    total = np.zeros_like(p)
    even = np.zeros_like(p)
    facing = 1 / np.sqrt(1 + p * p + q * q)
    for azimuth, slope, weight in zip(lamp.azimuth, lamp.slope, lamp.weight, strict=True):
        # A facet with the slope of minus the direction of the lamp faces it.
        dp, dq = p + slope * np.cos(azimuth), q + slope * np.sin(azimuth)
        u, v = (c * dp + s * dq) / narrow, (-s * dp + c * dq) / wide
        square = u * u + v * v
        total += weight * (np.exp(-square) + 0.12 * np.exp(-square / 9))
        # Lambert, of the lamp itself, which stands at twice the angle of the facet.
        height = (1 - slope**2) / (1 + slope**2)
        flat = 2 * slope / (1 + slope**2)
        tilt = p * flat * np.cos(azimuth) + q * flat * np.sin(azimuth)
        even += weight * np.maximum(height - tilt, 0) * facing
    count = float(np.sum(lamp.weight))
    shine = total / count * (0.9 / (narrow + wide))
    return np.asarray(shine + (0.06 + lamp.ambient) * even / count, np.float32)


def shade(
    relief: Array,
    worked: Array,
    steel: Steel,
    lamp: Lamp,
    *,
    left: int,
    top: int,
    centre: tuple[float, float],
    px_per_mm: float,
) -> Array:
    """Brightness of every pixel, flat sheet in the middle of the picture 1.

    ``relief`` is the height in micrometres, ``worked`` 0 where the sheet is as rolled and 1 where
    an electrode has been. ``left`` and ``top`` place the window in the picture, whose ``centre``
    is in absolute pixels.
    """
    height, width = relief.shape
    gain = px_per_mm / 1000 / 8
    x = (np.arange(left, left + width, dtype=np.float32) - centre[0]) / (100 * px_per_mm)
    y = (np.arange(top, top + height, dtype=np.float32) - centre[1]) / (100 * px_per_mm)
    p = _slope(relief, gain, 1, 0) + np.float32(lamp.near[0]) * x.astype(np.float32)
    q = _slope(relief, gain, 0, 1) + np.float32(lamp.near[1]) * y.astype(np.float32)[:, np.newaxis]
    # From slopes to places in the map.
    half = np.float32((STEPS - 1) / 2 / STEEPEST)
    p, q = (p + np.float32(STEEPEST)) * half, (q + np.float32(STEEPEST)) * half
    rolled = reflectance(lamp, steel.slope_along, steel.slope_across, steel.rolling)
    ironed = reflectance(lamp, WORKED, WORKED, 0.0)
    flat = rolled[STEPS // 2, STEPS // 2]
    light = _look_up(rolled / flat, p, q)
    if worked.any():
        light += worked * (_look_up(ironed / flat, p, q) - light)
    return light


def _slope(relief: Array, gain: float, dx: int, dy: int) -> Array:
    border = cv2.BORDER_REPLICATE
    slope = cv2.Sobel(relief, cv2.CV_32F, dx, dy, ksize=3, scale=gain, borderType=border)
    return cast(Array, slope)


def _look_up(brightness: Array, p: Array, q: Array) -> Array:
    found = cv2.remap(brightness, p, q, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cast(Array, found)
