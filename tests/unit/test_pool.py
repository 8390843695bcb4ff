"""A pool of bodies shows what it says is true of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspection.errors import CameraError, ConfigurationError
from inspection.rendering import body
from inspection.rendering.catalogue import DEFECTS
from inspection.rendering.pool import MOST_DEFECTS, POOL, Views, draw_defects, make_pool, read_pool


def test_a_pool_shows_defects_where_it_says_and_nowhere_else(tmp_path: Path) -> None:
    pool = make_pool(tmp_path, bodies=2, seed=5, views=["v02"], stances=1)
    good, bad = (pool.truth()[each.part] for each in pool.bodies)
    assert good == {}
    assert bad
    views = Views(tmp_path)
    first, second = (views.picture(each.part, "v02") for each in pool.bodies)
    assert first.shape == (body.HEIGHT_PX, body.WIDTH_PX, 3)
    changed = (np.abs(first.astype(int) - second).max(axis=2) > 20).any()
    assert changed
    # Asked for again, it is taken as it is; asked for otherwise, refused.
    assert make_pool(tmp_path, bodies=2, seed=5, views=["v02"], stances=1) == pool
    with pytest.raises(ConfigurationError, match="another pool"):
        make_pool(tmp_path, bodies=2, seed=6, views=["v02"], stances=1)
    with pytest.raises(CameraError, match="BODY-0001 to BODY-0002"):
        views.picture("BODY-0003", "v02")


def test_a_folder_without_its_manifest_is_no_pool(tmp_path: Path) -> None:
    (tmp_path / "v01-0.raw").write_bytes(b"half a frame")
    with pytest.raises(ConfigurationError, match=POOL):
        read_pool(tmp_path)


def test_a_defective_body_has_one_to_fifty_defects_on_different_points() -> None:
    points = [point for names in body.points().values() for point in names]
    drawn = [draw_defects(np.random.default_rng(seed), points) for seed in range(300)]
    counts = [len(defects) for defects in drawn]
    assert min(counts) == 1
    assert 40 < max(counts) <= MOST_DEFECTS
    assert {label for defects in drawn for label in defects.values()} == set(DEFECTS)
