"""From a folder of good pictures to a package that a plan must permit; one training for all."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_normality import weld

from inspection import runtimes
from inspection.__main__ import main
from inspection.errors import DataError
from inspection.imaging import crop, encode_png
from inspection.messages import Region, Verdict
from inspection.package import Package, open_package
from inspection.policy import judge
from inspection.training.architectures import Normality
from inspection.training.data import read_dataset
from inspection.training.discover import describe
from inspection.training.fit import prepare, train
from inspection.training.good_alone import good_points, split_good
from inspection.training.recipe import ANOMALY, SplitRule, one_kind_of_defect

RECIPE = """
name = "welds"
version = "1"
architecture = "patchcore"
[input]
width = 64
height = 64
channels = 1
[options]
memory = 100
[thresholds]
overkill = 0.01
"""


def picture(path: Path, seed: int, **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(weld(seed, **how)[:, :, 0]))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Twelve good pictures, one defect among them, one that is none, one of 12 bits."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("good")
    data = root / "data" / "train" / "good"
    for seed in range(12):
        picture(data / f"P{seed:02d}_a.png", seed)
    picture(data / "P50_a.png", 50, missing=True)
    (data / "P60_broken.png").write_bytes((data / "P00_a.png").read_bytes()[:500])
    deep = (weld(60)[:, :, 0].astype(np.uint16) << 4) + 3
    (data / "P61_deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    (root / "recipe.toml").write_text(RECIPE)
    said: list[str] = []
    train(
        root / "recipe.toml",
        root / "data",
        root / "package",
        part=r"(P\d+)",
        progress=said.append,
    )
    return root / "package", said


@pytest.fixture(scope="module")
def package(trained: tuple[Path, list[str]]) -> Package:
    return open_package(trained[0])


def verdict(package: Package, model: runtimes.Model, seed: int, **how: object) -> Verdict:
    frame = weld(seed, **how)[:, :, 0]  # type: ignore[arg-type]
    region = Region(left_px=0, top_px=0, width_px=96, height_px=96)
    said = model.outputs(crop(frame, region, runtimes.crop_spec(package))[None])
    ((row, ood),) = said.rows()
    return judge(row, package.manifest.class_names, package.policy, ood).verdict


def test_a_package_of_good_pictures_says_that_it_is_one(package: Package) -> None:
    manifest = package.manifest
    assert manifest.class_names == ("good", ANOMALY)
    assert manifest.anomaly_only
    said = manifest.metrics["guarantee"]
    assert isinstance(said, dict)
    assert said["method"] == "jackknife+"
    assert said["units"] == 13
    assert "Released as `anomaly-only`" in package.content["CARD.md"].decode()


def test_it_judges_in_the_runtime_and_never_says_nok(package: Package) -> None:
    model = runtimes.load(package)
    assert verdict(package, model, 0) is Verdict.OK
    assert verdict(package, model, 30, at=(0.75, 0.7)) is Verdict.REVIEW


def test_its_heat_map_comes_with_its_scores(package: Package) -> None:
    crops = np.stack([weld(seed)[::1, ::1] for seed in (70, 71)])[:, :64, :64]
    heat = runtimes.load(package).outputs(np.ascontiguousarray(crops)).heat
    assert heat is not None
    assert heat.shape == (2, 16, 16)


def test_golden_pictures_hold_what_must_not_come_out_ok(package: Package) -> None:
    classes, policy = package.manifest.class_names, package.policy
    verdicts = {judge(i.scores, classes, policy, i.ood).verdict for i in package.golden.images}
    assert verdicts == {Verdict.OK, Verdict.REVIEW}


def test_what_cannot_be_read_is_named_and_the_rest_is_learnt(
    trained: tuple[Path, list[str]],
) -> None:
    text = "\n".join(trained[1])
    assert "P60_broken.png" in text
    assert "P61_deep.png" in text
    assert "10 to 16 bits need a tone map" in text
    assert "2 unreadable" in text


def test_a_good_picture_that_stands_out_is_pointed_at(trained: tuple[Path, list[str]]) -> None:
    text = "\n".join(trained[1])
    assert "warning: P50 is said to be good, stands out from all others and was set aside" in text
    assert "P50" in (trained[0] / "CARD.md").read_text()


def test_what_is_missing_for_a_limit_to_rely_on_is_said(trained: tuple[Path, list[str]]) -> None:
    assert "187 more good parts are needed" in "\n".join(trained[1])


def test_an_evaluation_counts_known_defects_as_what_they_are(
    trained: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(70, 75):
        picture(tmp_path / "good" / f"P{seed}.png", seed)
        picture(tmp_path / "off" / f"P{seed + 10}.png", seed, at=(0.75, 0.7))
    assert main(["evaluate", str(trained[0]), "--data", str(tmp_path)]) == 0
    assert "escapes, per point:    0 of 5" in capsys.readouterr().out


# ---------------------------------------------------------------- which parts are for what


def _data(root: Path, good: int, bad: int) -> Path:
    for seed in range(good):
        picture(root / "good" / f"G{seed:03d}.png", seed)
    for seed in range(bad):
        picture(root / "crack" / f"C{seed:03d}.png", 500 + seed)
    return root


def test_parts_with_a_defect_are_never_learnt_from(tmp_path: Path) -> None:
    root = _data(tmp_path, 20, 6)
    dataset = read_dataset(one_kind_of_defect(describe(root, part=r"(.\d+)")), root)
    split = split_good(dataset, SplitRule())
    assert not any(part.startswith("C") for part in split.train + split.calibration)
    for parts in (split.validation, split.test):
        assert {part[0] for part in parts} == {"G", "C"}
    assert sorted(part for lot in split for part in lot) == dataset.parts


def test_without_defects_all_good_parts_are_used(tmp_path: Path) -> None:
    root = _data(tmp_path / "few", 12, 0)
    dataset = read_dataset(describe(root, part=r"(.\d+)"), root)
    assert len(split_good(dataset, SplitRule()).train) == 12
    root = _data(tmp_path / "many", 80, 0)
    dataset = read_dataset(describe(root, part=r"(.\d+)"), root)
    split = split_good(dataset, SplitRule())
    assert (len(split.train), len(split.calibration), split.test) == (40, 40, ())
    held = split_good(dataset, SplitRule(), ["G003"])
    assert held.test == ("G003",)
    assert "G003" not in held.train + held.calibration


def test_too_few_pictures_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = _data(tmp_path / "data", 4, 0)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    with pytest.raises(DataError, match="4 good parts: 5 at least are needed"):
        train(
            tmp_path / "recipe.toml",
            root,
            tmp_path / "package",
            part=r"(.\d+)",
            progress=lambda _: None,
        )
    assert not any((tmp_path / "package").iterdir())


@pytest.mark.parametrize("size", [(64, 64), (200, 90), (2048, 512), (2048, 2048)])
def test_pictures_of_any_size_are_learnt(tmp_path: Path, size: tuple[int, int]) -> None:
    for seed in range(5):
        path = tmp_path / "data" / "good" / f"P{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = seed % 2 == 0  # grey and colour in one folder
        frame = cv2.resize(weld(seed), size)
        path.write_bytes(encode_png(cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB) if colour else frame))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    task = prepare(tmp_path / "recipe.toml", tmp_path / "data", tmp_path / "aside", part=r"(P\d)")
    assert isinstance(task.network, Normality)
    crops, units = good_points(task.dataset, task.dataset.parts, task)
    assert crops.shape == (5, 64, 64, 1)
    assert task.network.eval().learn(crops, units, 0.01).units == 5
