"""The quality gate: a defect passes, a picture that does not show it is refused with its reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from inspection import imaging, quality
from inspection.errors import ImageError
from inspection.imaging import Frame
from inspection.messages import Id, QualityLimits, Reason, Region
from inspection.plan import read_plan
from inspection.rendering import body
from inspection.rendering.body import Stand
from inspection.rendering.catalogue import DEFECTS

VIEW = "v12"
REGIONS: Mapping[Id, Region] = {p.id: p.region for p in read_plan(body.PLAN).points_of(VIEW)}


@pytest.fixture(scope="module")
def good() -> list[Frame]:
    """Four bodies without a defect; the first three are learnt from."""
    return [Stand(VIEW, 77, stance).render() for stance in range(4)]


@pytest.fixture(scope="module")
def limits(good: list[Frame]) -> dict[Id, QualityLimits]:
    return quality.learn(good[:3], REGIONS)


def gate(frame: Frame, limits: Mapping[Id, QualityLimits]) -> dict[Id, Reason]:
    """The points of a frame that are refused."""
    measured = quality.measure(quality.crops(frame, (REGIONS[point] for point in limits)))
    found = quality.refused(measured, list(limits.values()))
    return {p: why.reason for p, why in zip(limits, found, strict=True) if why is not None}


def test_good_points_pass_also_of_a_body_that_was_not_learnt_from(
    good: list[Frame], limits: dict[Id, QualityLimits]
) -> None:
    assert len(limits) == len(REGIONS)
    assert [gate(frame, limits) for frame in good] == [{}, {}, {}, {}]


@pytest.mark.parametrize("gain", [0.85, 1.15])
def test_a_lamp_that_is_a_little_weaker_or_stronger_costs_no_point(
    good: list[Frame], limits: dict[Id, QualityLimits], gain: float
) -> None:
    lit = np.clip(good[3] * gain + 0.5, 0, 255).astype(np.uint8)
    assert gate(lit, limits) == {}


def test_a_defect_of_any_class_reaches_the_model(
    good: list[Frame], limits: dict[Id, QualityLimits]
) -> None:
    stand = Stand(VIEW, 77, 3)
    frame = good[3].copy()
    for point, label in zip(REGIONS, DEFECTS * 2, strict=False):
        patch = stand.patch(point, label)
        rows, columns = patch.image.shape[:2]
        frame[patch.top : patch.top + rows, patch.left : patch.left + columns] = patch.image
        # Alone, too: what its neighbours show must not be what lets it pass.
        assert gate(frame, {point: limits[point]}) == {}, label
    assert gate(frame, limits) == {}


def black(frame: Frame) -> Frame:
    return noisy(np.zeros(frame.shape))


def over_exposed(frame: Frame) -> Frame:
    return noisy(frame * 3.0)


def under_exposed(frame: Frame) -> Frame:
    return noisy(frame * 0.3)


def defocused(frame: Frame) -> Frame:
    return noisy(cv2.filter2D(frame, -1, disc(5)).astype(float))


def motion_blurred(frame: Frame) -> Frame:
    return noisy(np.asarray(cv2.blur(frame, (21, 1)), float))


def covered(frame: Frame) -> Frame:
    return noisy(np.full(frame.shape, 90.0))


@pytest.mark.parametrize(
    ("spoil", "reasons"),
    [
        (black, {Reason.IMAGE_TOO_DARK}),
        (under_exposed, {Reason.IMAGE_TOO_DARK}),
        (over_exposed, {Reason.IMAGE_TOO_BRIGHT, Reason.GLARE}),
        (defocused, {Reason.OUT_OF_FOCUS}),
        (motion_blurred, {Reason.OUT_OF_FOCUS}),
        (covered, {Reason.OUT_OF_FOCUS, Reason.WRONG_CONTENT, Reason.IMAGE_TOO_DARK}),
    ],
)
def test_a_picture_in_which_nothing_can_be_seen_is_refused_at_every_point(
    good: list[Frame],
    limits: dict[Id, QualityLimits],
    spoil: Callable[[Frame], Frame],
    reasons: set[Reason],
) -> None:
    found = gate(spoil(good[3]), limits)
    if spoil is not covered:
        assert found.keys() == REGIONS.keys()
    # A cover as grey as the sheet looks like welds that are missing, and that is the model's word.
    assert set(found.values()) <= reasons


def test_what_lies_on_one_point_costs_that_point_and_no_other(
    good: list[Frame], limits: dict[Id, QualityLimits]
) -> None:
    first, second, third = list(REGIONS)[:3]
    frame, rng = good[3].copy(), np.random.default_rng(6)
    for point, shade, side in ((first, 275, 90), (second, 190, 150)):
        region = REGIONS[point]
        left, top = int(region.left_px) + 80 - side // 2, int(region.top_px) + 80 - side // 2
        # With a surface of its own, as a glove or a cable has.
        woven = shade + rng.integers(-20, 21, (side, side, 1))
        frame[top : top + side, left : left + side] = np.clip(woven, 0, 255)
    region = REGIONS[third]
    rows = slice(int(region.top_px) + 80, int(region.top_px) + 160)
    frame[rows, int(region.left_px) : int(region.left_px) + 160] = 128
    assert gate(frame, limits) == {
        first: Reason.GLARE,
        second: Reason.WRONG_CONTENT,
        third: Reason.IMAGE_UNREADABLE,
    }


def test_a_refusal_says_what_was_measured_and_its_limit(
    good: list[Frame], limits: dict[Id, QualityLimits]
) -> None:
    measured = quality.measure(quality.crops(black(good[3]), REGIONS.values()))
    first, *_ = quality.refused(measured, list(limits.values()))
    assert first is not None
    assert first.detail == "100 % of the region are black, limit 10 %"


def test_one_good_picture_is_enough_to_begin_with(good: list[Frame]) -> None:
    limits = quality.learn(good[:1], REGIONS)
    assert [gate(frame, limits) for frame in good] == [{}, {}, {}, {}]
    assert gate(defocused(good[3]), limits).keys() == REGIONS.keys()


def test_places_without_anything_on_them_cost_their_neighbours_no_limit(
    good: list[Frame],
) -> None:
    # Dark and empty in every picture: a hole, or a corner that no lamp reaches.
    frames = [frame.copy() for frame in good[:3]]
    region = next(iter(REGIONS.values()))
    rows = slice(int(region.top_px), int(region.top_px) + 161)
    for frame in frames:
        frame[rows, int(region.left_px) : int(region.left_px) + 161] = 0
    limits = quality.learn(frames, REGIONS)
    empty = limits[next(iter(REGIONS))]
    assert (empty.focus_min, empty.level_min) == (0, 0)
    assert all(0.05 < limits[point].focus_min < 1 for point in list(REGIONS)[1:])
    assert [gate(frame, limits) for frame in frames] == [{}, {}, {}]
    assert gate(defocused(good[3]), limits).keys() >= set(list(REGIONS)[1:])


def test_nothing_is_learnt_from_a_picture_that_is_not_whole(good: list[Frame]) -> None:
    half = good[0].copy()
    half[1024:] = 0
    with pytest.raises(ImageError) as refused:
        quality.learn([good[1], half], REGIONS)
    assert refused.value.reason is Reason.IMAGE_UNREADABLE
    with pytest.raises(ValueError, match="no picture"):
        quality.learn([], REGIONS)


@pytest.mark.parametrize("value", [0, 128])
def test_a_transfer_that_broke_off_is_seen_where_a_sensor_is_known_to_be_behind_it(
    good: list[Frame], value: int
) -> None:
    frame = good[3].copy()
    frame[-40:] = value
    height, width = frame.shape[:2]
    imaging.check_frame(frame, width, height)
    with pytest.raises(ImageError, match="the last 40 of 2048 rows hold one value"):
        imaging.check_frame(frame, width, height, whole=True)
    imaging.check_frame(good[3], width, height, whole=True)
    frame[-40:] = 255  # that is light, and for the gate of each point
    imaging.check_frame(frame, width, height, whole=True)


def test_crops_of_a_model_of_that_size_are_measured_as_they_are(good: list[Frame]) -> None:
    regions = list(REGIONS.values())
    spec = imaging.CropSpec(width=128, height=128, channels=3, imaging="2")
    colour = np.stack([imaging.crop(good[3], region, spec) for region in regions])
    own, models = quality.measure(quality.crops(good[3], regions)), quality.measure(colour)
    assert quality.fits(spec)
    assert not quality.fits(msgspec.structs.replace(spec, margin=0.1))
    assert all(np.array_equal(getattr(own, name), getattr(models, name)) for name in own._fields)


def noisy(picture: npt.NDArray[np.floating[Any]]) -> Frame:
    """As a sensor gives it: noise comes after everything optics can do."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1.5, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def disc(radius: int) -> npt.NDArray[np.float32]:
    """What a lens makes of a point out of focus."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = np.hypot(x, y) <= radius
    return np.asarray(inside / inside.sum(), np.float32)
