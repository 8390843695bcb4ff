"""From the light of a surface to the pixels of a camera: lens, sensor, tone curve, JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import cv2
import numpy as np

from inspection.imaging import Frame
from inspection.rendering.light import shade
from inspection.rendering.materials import Camera, Lamp, Steel
from inspection.rendering.noise import Array, cut
from inspection.rendering.surface import Surface

CREVICE = 0.6
"""How much darker a groove is than its surroundings, for each 100 micrometres it lies deeper."""


def photograph(
    surface: Surface,
    steel: Steel,
    lamp: Lamp,
    camera: Camera,
    *,
    size: tuple[int, int],
    seed: Sequence[int],
) -> Frame:
    """What the camera delivers of the surface's window: uint8 (h, w, 3), RGB. ``size`` is that of
    the whole picture, width first; ``seed`` is the noise's."""
    left, top, width, height = surface.window
    relief = surface.form + surface.relief
    centre = (size[0] / 2, size[1] / 2)
    light = shade(
        relief, surface.worked, steel, lamp,
        left=left, top=top, centre=centre, px_per_mm=surface.px_per_mm,
    )  # fmt: skip
    # Light comes from all sides: what lies deeper than its surroundings gets less of it.
    detail = relief - cv2.GaussianBlur(relief, (0, 0), 0.35 * surface.px_per_mm)
    light *= np.clip(1 + np.float32(CREVICE / 100) * np.minimum(detail, 25), 0.25, 1.25)
    image = surface.colour
    image *= light[..., np.newaxis]
    if surface.open.any():
        image += surface.open[..., np.newaxis] * (
            (surface.below * np.float32(steel.grey))[..., np.newaxis] - image
        )
    x = (np.arange(left, left + width, dtype=np.float32) - centre[0]) / max(size)
    y = (np.arange(top, top + height, dtype=np.float32) - centre[1]) / max(size)
    falls = 1 - np.float32(camera.vignette) * (x[np.newaxis, :] ** 2 + y[:, np.newaxis] ** 2) * 2
    image *= (np.float32(camera.exposure) * falls)[..., np.newaxis]
    image *= np.array([a * b for a, b in zip(lamp.tone, camera.tone, strict=True)], np.float32)
    image = cast(Array, cv2.GaussianBlur(image, (0, 0), camera.blur_px))
    if camera.bloom > 0.01:
        glow = cv2.GaussianBlur(np.maximum(image - np.float32(0.8), 0), (0, 0), 4)
        image += np.float32(camera.bloom) * glow
    if camera.saturation != 1:
        grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
        image = grey[..., np.newaxis] + np.float32(camera.saturation) * (
            image - grey[..., np.newaxis]
        )
    np.clip(image, 0, 4, out=image)
    rng = np.random.default_rng([*seed, 7])
    for channel in range(3):
        noise = cut("sensor", rng, surface.window)
        plane = image[..., channel]
        plane += np.float32(camera.noise) * noise * np.sqrt(plane + np.float32(0.02))
    np.clip(image, 0, None, out=image)
    # A soft shoulder instead of clipped highlights, then the display's gamma.
    k = np.float32(camera.curve)
    image *= (1 + k) / (1 + k * image)
    np.clip(image, 0, 1, out=image)
    index = (image * np.float32(1023) + np.float32(0.5)).astype(np.uint16)
    return GAMMA[index]


GAMMA = np.round(255 * np.linspace(0, 1, 1024) ** (1 / 1.7)).astype(np.uint8)


def encode_jpeg(frame: Frame, quality: int) -> bytes:
    """The file such a camera sends."""
    done, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(frame, cv2.COLOR_RGB2BGR),
        [
            cv2.IMWRITE_JPEG_QUALITY, quality,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
        ],
    )  # fmt: skip
    if not done:
        raise ValueError(f"cannot encode a frame of {frame.shape}")
    return bytes(data)
