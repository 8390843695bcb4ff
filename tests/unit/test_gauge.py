"""The gauge on rendered welds; with full numbers in tests/proofs/weld_gauge.py."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from inspection import gauge
from inspection.imaging import Frame
from inspection.messages import Gauged, GaugeLimits, GaugeTask, Region
from inspection.rendering.catalogue import FIELD_MM
from inspection.rendering.weld import Scene, draw_weld, render

LIMITS = GaugeLimits(offset_max_mm=2.5)


def task(scene: Scene) -> tuple[Region, GaugeTask]:
    side = float(scene.size_px)
    region = Region(left_px=0.0, top_px=0.0, width_px=side, height_px=side)
    return region, GaugeTask(mm_per_px=FIELD_MM / side, limits=LIMITS)


def weld(label: str, part: int) -> tuple[Scene, Frame]:
    scene = draw_weld(815, part, 0, label)
    return scene, render(scene).image


def test_centre_and_diameter_are_those_that_were_rendered() -> None:
    centres, sizes = [], []
    for part in range(12):
        scene, image = weld("good", part)
        (said,) = gauge.measure(image, [task(scene)])
        assert scene.own is not None
        own, mm = scene.imprints[scene.own], FIELD_MM / scene.size_px
        if said is None:
            continue
        x = (own.x_px + 0.5) * mm - FIELD_MM / 2 - said.x_mm
        y = (own.y_px + 0.5) * mm - FIELD_MM / 2 - said.y_mm
        centres.append(np.hypot(x, y))
        sizes.append(abs(said.diameter_mm / (2 * own.radius_mm) - 1))
    assert len(centres) >= 10
    assert np.median(centres) < 0.15
    assert np.median(sizes) < 0.03


def test_where_there_is_no_weld_nothing_is_measured_near_the_planned_place() -> None:
    for part in range(8):
        scene, image = weld("missing", part)
        (said,) = gauge.measure(image, [task(scene)])
        assert said is None or np.hypot(said.x_mm, said.y_mm) > 2.6


@pytest.mark.parametrize("level", [0, 127, 255])
def test_an_empty_picture_has_nothing_to_measure(level: int) -> None:
    image = np.full((160, 160, 1), level, np.uint8)
    scene, _ = weld("good", 0)
    assert gauge.measure(image, [task(scene)]) == [None]


def test_all_points_of_a_view_are_measured_as_each_by_itself() -> None:
    (one, first), (two, second) = weld("good", 0), weld("good", 1)
    high = max(one.size_px, two.size_px)
    view = np.zeros((high, one.size_px + two.size_px, 3), np.uint8)
    view[: one.size_px, : one.size_px] = first
    view[: two.size_px, one.size_px :] = second
    region, asked = task(two)
    there = Region(left_px=float(one.size_px), top_px=0.0, width_px=region.width_px,
                   height_px=region.height_px)  # fmt: skip
    both = gauge.measure(view, [task(one), (there, asked)])
    alone = [*gauge.measure(first, [task(one)]), *gauge.measure(second, [task(two)])]
    for a, b in zip(both, alone, strict=True):
        assert isinstance(a, Gauged)
        assert isinstance(b, Gauged)
        assert abs(a.diameter_mm - b.diameter_mm) < 0.02
        assert abs(a.x_mm - b.x_mm) < 0.02


def test_a_place_between_pixels_moves_the_offset_by_as_much() -> None:
    scene, image = weld("good", 0)
    region, asked = task(scene)
    beside = Region(left_px=0.4, top_px=0.0, width_px=region.width_px, height_px=region.height_px)
    (at,), (moved,) = (
        gauge.measure(image, [(region, asked)]),
        gauge.measure(image, [(beside, asked)]),
    )
    assert at is not None
    assert moved is not None
    assert at.x_mm - moved.x_mm == pytest.approx(0.4 * asked.mm_per_px, abs=1e-3)


def test_twice_the_pixels_give_the_same_millimetres() -> None:
    scene, image = weld("good", 0)
    (said,) = gauge.measure(image, [task(scene)])
    large = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    side = float(large.shape[0])
    region = Region(left_px=0.0, top_px=0.0, width_px=side, height_px=side)
    (again,) = gauge.measure(large, [(region, GaugeTask(mm_per_px=16 / side, limits=LIMITS))])
    assert said is not None
    assert again is not None
    assert again.diameter_mm == pytest.approx(said.diameter_mm, rel=0.03)
