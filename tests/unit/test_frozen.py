"""No two pictures of a sensor are alike; what is alike was not photographed now."""

from __future__ import annotations

import numpy as np
import pytest

from edge.frozen import Memory
from inspection.imaging import Frame


def shot(seed: int, shape: tuple[int, ...] = (480, 640, 3)) -> Frame:
    """A grey wall as a sensor sees it: nothing but noise differs between two of them."""
    noise = np.random.default_rng(seed).normal(120, 0.8, shape)
    return np.clip(np.rint(noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640), (30, 40), (2048, 2448)])
def test_two_pictures_of_the_same_wall_are_two_pictures(shape: tuple[int, ...]) -> None:
    memory = Memory()
    assert [memory.compare(shot(seed, shape)) for seed in range(4)] == [""] * 4


@pytest.mark.parametrize("shape", [(480, 640, 3), (480, 640), (30, 40), (2048, 2448)])
def test_the_same_picture_again_is_frozen_until_another_comes(shape: tuple[int, ...]) -> None:
    memory = Memory()
    assert not memory.compare(shot(1, shape))
    assert "those of the camera's picture before" in memory.compare(shot(1, shape))
    assert memory.compare(shot(1, shape).copy())
    assert not memory.compare(shot(2, shape))


def test_the_lower_part_of_the_picture_before_is_found_below_a_new_upper_one() -> None:
    memory = Memory()
    memory.compare(shot(1))
    torn = shot(2)
    torn[300:] = shot(1)[300:]
    assert memory.compare(torn)


def test_black_and_clipped_rows_say_nothing() -> None:
    memory = Memory()
    for seed in (1, 2):
        image = shot(seed)
        image[100:400] = 0
        image[400:] = 255
        assert not memory.compare(image)


def test_a_picture_of_another_size_is_another_picture() -> None:
    memory = Memory()
    memory.compare(shot(1))
    assert not memory.compare(shot(1)[:240])
