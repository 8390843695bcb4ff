"""Pictures that show the same are found, and different parts under one camera are not merged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection import imaging
from inspection.imaging import Frame
from inspection.training.likeness import Look, look_at, near_duplicates

WELDS = Path(__file__).parents[3] / "shared" / "data" / "battery-weld"


def part(seed: int, side: int = 160) -> Frame:
    """A part under a fixed camera: the same ring and lamp each time, and texture of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    ring = 90 * np.exp(-(((np.hypot(x - 0.5, y - 0.5) - 0.3) / 0.05) ** 2))
    texture = cv2.GaussianBlur(rng.normal(0, 60, (side, side)).astype(np.float32), (0, 0), 2.5)
    return np.clip(80 + 50 * x + ring + texture, 0, 255).astype(np.uint8)


def look(frame: Frame) -> Look:
    return look_at(frame, hashlib.sha256(frame.tobytes()).digest())


def pairs(*frames: Frame) -> list[tuple[int, int]]:
    return [(pair.first, pair.second) for pair in near_duplicates([look(f) for f in frames])]


def moved(frame: Frame, share: float) -> Frame:
    shift = np.array([[1, 0, share * frame.shape[1]], [0, 1, 0]], np.float32)
    size = (frame.shape[1], frame.shape[0])
    return cv2.warpAffine(frame, shift, size, borderMode=cv2.BORDER_REPLICATE)


def jpeg(frame: Frame) -> Frame:
    done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    return imaging.decode(data.tobytes())


@pytest.mark.parametrize(
    "again",
    [
        jpeg,
        lambda frame: np.clip(frame * 1.15 + 8, 0, 255).astype(np.uint8),
        lambda frame: moved(frame, 0.02),
        lambda frame: cv2.resize(frame, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
        lambda frame: np.ascontiguousarray(frame[:, ::-1]),
        lambda frame: np.ascontiguousarray(np.rot90(frame)),
        lambda frame: np.repeat(frame[:, :, None], 3, axis=2),
    ],
    ids=["compressed", "brighter", "shifted", "smaller", "mirrored", "turned", "in colour"],
)
def test_a_picture_shown_again_is_found_among_others_of_its_kind(
    again: Callable[[Frame], Frame],
) -> None:
    frames = [part(seed) for seed in range(30)]
    assert pairs(*frames, again(frames[7])) == [(7, 30)]


def test_different_parts_under_one_camera_are_never_merged() -> None:
    frames = [part(seed) for seed in range(200)]
    coarse = [cv2.resize(f, (8, 8), interpolation=cv2.INTER_AREA).ravel() for f in frames]
    assert np.median(np.corrcoef(coarse)) > 0.7  # at a glance all of them look the same
    assert pairs(*frames) == []


def test_one_part_seen_again_and_again_is_tied_together() -> None:
    rng = np.random.default_rng(0)
    scene = part(1).astype(np.float32)
    frames = [np.clip(scene + rng.normal(0, 2, scene.shape), 0, 255) for _ in range(20)]
    reached, found = {0}, pairs(*(frame.astype(np.uint8) for frame in frames))
    for _ in frames:
        reached |= {k for pair in found if set(pair) & reached for k in pair}
    assert reached == set(range(20))


def test_pictures_without_detail_are_like_none() -> None:
    flat = np.full((40, 40), 90, np.uint8)
    assert pairs(flat, flat.copy(), flat + 1) == []


def test_edges_and_stripes_are_not_taken_for_one_another() -> None:
    """The circuit boards: a crop with one straight edge is like every other such crop."""
    rng = np.random.default_rng(4)
    frames = []
    for _ in range(12):
        lying = np.full((72, 72), 20, np.uint8)
        lying[int(rng.integers(8, 64)) :] = 230
        striped = np.full((72, 72), 20, np.uint8)
        first, second = sorted(int(x) for x in rng.integers(8, 64, 2))
        striped[:, first : second + 3] = 230
        frames += [lying, lying.T.copy(), striped]
    looks = [look_at(frame, bytes([number])) for number, frame in enumerate(frames)]
    assert near_duplicates(looks) == []


def test_equal_files_are_found_however_many() -> None:
    assert pairs(part(0), part(1), part(0), part(0)) == [(0, 2), (0, 3)]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_pictures_are_no_trouble(count: int) -> None:
    assert pairs(*(part(seed) for seed in range(count))) == []


@pytest.mark.skipif(not WELDS.is_dir(), reason="the photographs of battery welds are not here")
def test_photographs_of_different_welds_stay_apart_and_copies_among_them_are_found() -> None:
    """Two sources, ``6-+2`` and ``6-+3``, are one photograph under two names."""
    paths = [*sorted(WELDS.glob("train/*/*.png")), *sorted(WELDS.glob("test/*/*.png"))]
    sources = [re.sub(r"_row.*", "", path.stem) for path in paths]
    frames = [imaging.decode(path.read_bytes()) for path in paths]
    found = pairs(*frames)
    merged = {(sources[a], sources[b]) for a, b in found if sources[a] != sources[b]}
    assert merged <= {("6-+2", "6-+3")}
    assert len([pair for pair in found if sources[pair[0]] == sources[pair[1]]]) >= 7
    again = pairs(*frames, *map(jpeg, frames))
    count = len(frames)
    assert sum((k, k + count) in again for k in range(count)) >= 0.8 * count
