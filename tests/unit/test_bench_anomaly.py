"""The benchmark of models of good points: its arithmetic, its divisions, and one run of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from test_good_alone import picture
from test_normality import weld

from inspection.__main__ import main
from inspection.errors import DataError
from inspection.imaging import CropSpec, encode_png
from inspection.training.bench_against import environment, versus, weighted_auroc
from inspection.training.bench_anomaly import (
    OFFICIAL,
    aupro,
    average_precision,
    divisions,
    overkill_at,
    read,
)
from inspection.training.parity import auroc

SPEC = CropSpec(width=64, height=64, channels=1)


def test_average_precision_is_the_mean_precision_at_each_defect() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert average_precision(scores, np.array([True, False, True, False])) == pytest.approx(
        (1 + 2 / 3) / 2
    )


def test_equal_scores_do_not_flatter() -> None:
    assert average_precision(np.ones(4), np.array([True, False, False, False])) == 0.25


def test_overkill_counts_the_good_ones_above_all_defects_but_a_share() -> None:
    defective = np.array([True] * 100 + [False] * 10)
    scores = np.concatenate([np.arange(100.0) + 1, np.linspace(0.5, 1.4, 10)])
    assert overkill_at(scores, defective, 0.0) == pytest.approx(0.5)  # from 1.0 on
    assert overkill_at(scores, defective, 0.01) == 0.0  # from 2.0 on


def heat_and_mask() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((2, 32, 32), bool)
    mask[0, 4:8, 4:8] = True  # two regions, one much larger: each counts the same
    mask[0, 16:32, 16:32] = True
    return mask.astype(np.float32), mask


def test_a_heat_map_that_is_the_mask_has_an_overlap_of_one() -> None:
    heat, mask = heat_and_mask()
    assert aupro(heat, [mask[0], None], np.array([True, False])) == pytest.approx(1.0)


def test_a_region_that_is_not_seen_costs_its_share_however_small() -> None:
    heat, mask = heat_and_mask()
    heat[0, 4:8, 4:8] = 0
    found = aupro(heat, [mask[0], None], np.array([True, False]))
    assert found is not None
    assert 0.5 <= found < 0.66  # the rest is what chance gives between the mask and the limit


def test_a_heat_map_of_chance_overlaps_no_more_than_chance() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((4, 64, 64), bool)
    mask[:, 10:40, 10:40] = True
    heat = rng.random(mask.shape).astype(np.float32)
    found = aupro(heat, list(mask), np.ones(4, bool))
    assert found == pytest.approx(0.15, abs=0.02)


def test_without_masks_of_all_defects_there_is_no_overlap() -> None:
    heat, mask = heat_and_mask()
    assert aupro(heat, [mask[0], None], np.array([True, True])) is None


# ---------------------------------------------------------------- side by side


def test_a_point_that_counts_twice_is_one_that_is_there_twice() -> None:
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 6, 30) / 5, rng.random(30) < 0.4
    counts = rng.integers(0, 4, 30)
    again = np.repeat(np.arange(30), counts)
    assert weighted_auroc(scores, positive, counts.astype(float)) == pytest.approx(
        auroc(scores[again], positive[again])
    )


def test_a_model_that_is_as_good_is_not_called_better_and_a_better_one_is() -> None:
    rng = np.random.default_rng(2)
    bad = np.arange(80) < 40
    units = [f"P{k // 2}" for k in range(80)]
    good_scores = rng.standard_normal(80) + 3 * bad
    other = rng.standard_normal(80) + 3 * bad
    chance = rng.standard_normal(80)
    same = versus(("a", "b"), [(good_scores, other, bad, units)])
    assert same.lower < 0 < same.upper
    better = versus(("a", "b"), [(good_scores, chance, bad, units)] * 2)
    assert 0 < better.lower < better.difference < better.upper


def test_an_environment_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match="file"):
        environment(lambda _: None)


# ---------------------------------------------------------------- folders


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MVTec AD's layout: ten good parts, of which one has a defect in the test, too."""
    root = tmp_path_factory.mktemp("bench")
    for seed in range(7):
        picture(root / "train" / "good" / f"P{seed}_a.png", seed)
    for seed in range(7, 10):
        picture(root / "test" / "good" / f"P{seed}_a.png", seed)
    for seed in (0, 20, 21):
        picture(root / "test" / "off" / f"P{seed}_b.png", 100 + seed, at=(0.75, 0.7))
        mask = np.zeros((96, 96), np.uint8)
        mask[50:86, 50:90] = 255
        path = root / "ground_truth" / "off" / f"P{seed}_b.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(mask))
    return root


def test_parts_with_a_defect_are_always_in_the_test(data: Path) -> None:
    points = read(data, r"(P\d+)_", SPEC)
    official, *drawn = divisions(points, 3)
    assert official.name == OFFICIAL
    assert (len(official.train), len(official.test)) == (7, 6)
    names = np.array(points.units)
    for each in drawn:
        train, test = set(names[each.train]), set(names[each.test])
        assert not train & test
        assert {"P0", "P20", "P21"} <= test
        assert len(train) == 4
    assert len({tuple(each.train) for each in drawn}) > 1


def test_good_pictures_alone_cannot_be_a_benchmark(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "P0.png").write_bytes(encode_png(weld(0)[:, :, 0]))
    with pytest.raises(DataError, match="needs good and defective pictures"):
        read(tmp_path, r"(P\d+)", SPEC)


def test_a_run_gives_every_figure(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "anomaly", "--data", str(data), "--part", r"(P\d+)_", "--seeds", "0"]
    words += ["--side", "96", "--architecture", "patchcore", "--json", str(tmp_path / "b.json")]
    assert main(words) == 0
    (model,) = json.loads((tmp_path / "b.json").read_text())["models"]
    official = model["official"]
    assert official["auroc"] == 1.0
    assert (official["good"], official["defects"], official["learnt_from"]) == (3, 3, 7)
    assert official["bound"] == pytest.approx(2 / 8)
    assert 0 < official["aupro"] <= 1
    assert official["images_per_s"] > 0
    assert "| patchcore | official | 1.000 |" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--architecture", "cells"], ["--side", "8"], ["--seeds", "-1"]])
def test_what_cannot_be_measured_is_refused(
    data: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "anomaly", "--data", str(data), *words]) == 2
    assert words[0] in capsys.readouterr().err
