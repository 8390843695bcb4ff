"""How large a pixel is on the part, and how the lens bends lines: measured, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np
import pytest

from inspection.calibration import (
    Distortion,
    Pattern,
    Target,
    from_distance,
    from_target,
    target,
)
from inspection.errors import ConfigurationError
from inspection.imaging import Frame

WIDTH, HEIGHT = 1280, 1024
PITCH_PX = 90
BOARD = Target(Pattern.CHESSBOARD, 11, 8, 7.5)
DOTS = Target(Pattern.CIRCLES, 11, 8, 7.5)


def drawn(pattern: Pattern) -> Frame:
    """A target of 11 x 8 corners or circles, ``PITCH_PX`` apart, in the middle of a picture."""
    picture = np.full((HEIGHT, WIDTH), 230, np.uint8)
    left, top = (WIDTH - 10 * PITCH_PX) // 2, (HEIGHT - 7 * PITCH_PX) // 2
    if pattern is Pattern.CHESSBOARD:
        for row in range(-1, 8):
            for column in range(-1, 11):
                if (row + column) % 2 == 0:
                    x, y = left + column * PITCH_PX, top + row * PITCH_PX
                    picture[y : y + PITCH_PX, x : x + PITCH_PX] = 25
        return picture
    for row in range(8):
        for column in range(11):
            place = (left + column * PITCH_PX, top + row * PITCH_PX)
            cv2.circle(picture, place, 22, 25, -1, cv2.LINE_AA)
    return picture


def through(lens: Distortion, picture: Frame) -> Frame:
    """What that lens makes of a picture."""
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    places = lens.true(np.stack([across.ravel(), down.ravel()], axis=1), WIDTH, HEIGHT) - 0.5
    x, y = places.astype(np.float32).T.reshape(2, HEIGHT, WIDTH)
    return cast(Frame, cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderValue=230))


@pytest.mark.parametrize("wanted", [BOARD, DOTS], ids=str)
@pytest.mark.parametrize("lens", [(0.0, 0.0), (-0.04, 0.0), (0.03, -0.01)], ids=str)
def test_a_target_tells_scale_and_lens(wanted: Target, lens: tuple[float, float]) -> None:
    known = Distortion(k1=lens[0], k2=lens[1])
    found = from_target(through(known, drawn(wanted.pattern)), wanted)
    assert found.mm_per_px == pytest.approx(7.5 / PITCH_PX, rel=2e-3)
    assert found.distortion is not None
    assert found.rms_px < 0.3
    grid = np.stack(np.meshgrid(np.linspace(200, 1080, 9), np.linspace(200, 824, 7)), -1)
    places = grid.reshape(-1, 2)
    away = found.distortion.seen(places, WIDTH, HEIGHT) - known.seen(places, WIDTH, HEIGHT)
    # A common scale cannot be told from the distance of the camera, and moves nothing.
    assert np.abs(away).max() < 1.0


def test_the_lens_is_taken_away_and_put_back() -> None:
    lens = Distortion(k1=-0.08, k2=0.02)
    places = np.array([[0.0, 0.0], [640.0, 512.0], [1200.0, 30.0], [10.0, 1000.0]])
    back = lens.true(lens.seen(places, WIDTH, HEIGHT), WIDTH, HEIGHT)
    assert np.allclose(back, places, atol=1e-6)
    assert not np.allclose(lens.seen(places, WIDTH, HEIGHT), places, atol=5)


def test_two_marks_at_a_known_distance_give_the_scale() -> None:
    found = from_distance((100, 200), (400, 600), 50.0)
    assert found.mm_per_px == pytest.approx(0.1)
    assert found.distortion is None


@pytest.mark.parametrize(
    ("other", "distance", "said"),
    [((150, 200), 5.0, "too close"), ((400, 600), 0.0, "greater than 0")],
)
def test_a_distance_that_tells_nothing_is_refused(
    other: tuple[float, float], distance: float, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        from_distance((100, 200), other, distance)


def tilted(picture: Frame) -> Frame:
    corners = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
    there = np.array([[0, 0], [WIDTH, 60], [WIDTH, HEIGHT - 60], [0, HEIGHT]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, there)
    return cast(Frame, cv2.warpPerspective(picture, matrix, (WIDTH, HEIGHT), borderValue=230))


def small(picture: Frame) -> Frame:
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, 0.4)
    return cast(Frame, cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderValue=230))


def bent(picture: Frame) -> Frame:
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    waves = down + 6 * np.sin(across / 130)
    return cast(Frame, cv2.remap(picture, across, waves, cv2.INTER_LINEAR))


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (tilted, "scale differs"),
        (small, "too little"),
        (bent, "off where a flat target has them"),
        (lambda picture: picture[:, : WIDTH // 2].copy(), "no chessboard of 11 x 8"),
        (lambda picture: np.full_like(picture, 200), "no chessboard of 11 x 8"),
    ],
)
def test_a_target_that_proves_nothing_is_refused(
    spoilt: Callable[[Frame], Frame], said: str
) -> None:
    picture = spoilt(drawn(Pattern.CHESSBOARD))
    with pytest.raises(ConfigurationError, match=said):
        from_target(picture, BOARD)


@pytest.mark.parametrize(
    "text",
    ["", "chessboard", "chessboard:9x6", "board:9x6:5", "circles:9x6:nan", "circles:9x6:0",
     "chessboard:2x30:5", "chessboard:4x4:5", "circles:900x6:5"],
)  # fmt: skip
def test_a_target_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="target"):
        target(text)


def test_a_target_is_written_in_one_word() -> None:
    assert target("circles:11x8:7.5") == DOTS
