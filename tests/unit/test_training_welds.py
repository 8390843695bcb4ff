"""From a recipe alone to a package: drawn welds, trained on and measured by the commands."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import rendered_welds

from inspection.__main__ import main
from inspection.package import Package, open_package
from inspection.rendering.catalogue import CLASSES, NAMES
from inspection.rendering.weld import draw_weld
from inspection.runtimes import load, replay_golden
from inspection.training.fit import read_both
from inspection.training.layouts.rendered import FIRST, cache, labels
from inspection.training.recipe import Rendered, RenderedSplit

PARTS, WELDS = 2, 14

RECIPE = """\
name = "tiny-weld"
version = "1"
dataset = "dataset.toml"
architecture = "gauge"

[options]
fine_channels = 8
fine_blocks = 1
cell_channels = 8
cell_blocks = 1
coarse_channels = 8
coarse_blocks = 1

[input]
width = 64
height = 64
channels = 3

[fit]
steps = 6
batch = 8
averaging = 0.5
precision = "float32"

[sampling]
augment = "light"
cells = 2.0
measures = 1.0
zones = 4.0
"""


def complete(seed: int) -> bool:
    """Whether every class is among the welds to train and to validate, none of them borderline."""
    split = RenderedSplit(parts=PARTS, defects=0.9)
    told = Rendered(seed=seed, domain="standard", welds=WELDS, train=split, validation=split)
    return all(
        {
            label
            for part in range(PARTS)
            for weld, label in enumerate(labels(told, name, part))
            if not draw_weld(seed, FIRST[name] + part, weld, label).borderline
        }
        == set(NAMES)
        for name in ("train", "validation")
    )


def description(seed: int) -> str:
    classes = "".join(
        f'\n[[classes]]\nname = "{entry.name}"\n'
        + ("" if entry.severity is None else f'severity = "{entry.severity.value}"\n')
        for entry in CLASSES
    )
    return f"""\
name = "tiny-welds"
layout = "rendered"
source = "drawn here"
licence = "CC0"

[rendered]
seed = {seed}
domain = "standard"
welds = {WELDS}
train = {{ parts = {PARTS}, defects = 0.9 }}
validation = {{ parts = {PARTS}, defects = 0.9 }}
test = {{ parts = 1, defects = 0.5 }}
{classes}"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with its first version in it, made by the command without any data."""
    home = tmp_path_factory.mktemp("welds")
    (home / "model").mkdir()
    (home / "model" / "recipe.toml").write_text(RECIPE)
    seed = next(seed for seed in itertools.count() if complete(seed))
    (home / "model" / "dataset.toml").write_text(description(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        assert main(["train", str(home / "model" / "recipe.toml")]) == 0
    return home / "model"


@pytest.fixture(autouse=True)
def _cache(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(models.parent / "cache"))


@pytest.fixture
def package(models: Path) -> Package:
    return open_package(models / "1")


def evaluate(*words: str | Path, json_to: Path) -> dict[str, object]:
    assert main(["evaluate", *map(str, words), "--json", str(json_to)]) == 0
    found: dict[str, object] = json.loads(json_to.read_text())
    return found


def test_training_draws_the_welds_that_its_recipe_names(models: Path, package: Package) -> None:
    *_, told = read_both(models / "recipe.toml")
    assert cache(told).is_dir()
    assert {path.name for path in cache(told).iterdir()} == {
        "recipe.json", "train-00000", "train-00001", "validation-00000", "validation-00001",
        "test-00000",
    }  # fmt: skip
    assert package.manifest.class_names == NAMES
    assert replay_golden(load(package)) <= 1e-5


def test_the_package_says_that_no_photograph_was_in_it(package: Package) -> None:
    split = json.loads(package.content["split.json"])
    assert split["test"] == ["test-00000"]
    assert "[rendered]" in package.content["dataset.toml"].decode()
    assert "drawn here" in package.manifest.licences["data"]


def test_a_models_folder_is_measured_by_its_newest_version_on_the_test_welds(
    models: Path, package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluate(models, json_to=tmp_path / "counts.json")
    out = capsys.readouterr().out
    assert "4 parts left out: the package was trained or chosen on them" in out
    assert found["package"] == package.ref.package
    assert found["parts"] == 1
    assert found["points"] == WELDS
    # What the training itself measured on the same welds, by the same package.
    measured = package.manifest.metrics["test"]
    assert isinstance(measured, dict)
    assert found["verdicts"] == measured["verdicts"]
    assert evaluate(models / "1", json_to=tmp_path / "again.json") == found


def test_another_seed_is_another_test_of_the_same_kind(models: Path, tmp_path: Path) -> None:
    first, same, other = (
        evaluate(models, "--seed", str(seed), json_to=tmp_path / f"{k}.json")
        for k, seed in enumerate((9001, 9001, 9002))
    )
    assert first == same
    assert first["points"] == other["points"] == WELDS
    assert (first["findings"], first["borderline"]) != (other["findings"], other["borderline"])
    drawn = sorted((models.parent / "cache" / "visual-inspection").iterdir())
    assert len(drawn) == 3
    # Nothing but test welds is drawn from a seed that is only to be tested on.
    for folder in drawn:
        parts = {path.name.partition("-")[0] for path in folder.iterdir()} - {"recipe.json"}
        assert parts in ({"train", "validation", "test"}, {"test"})


def test_a_seed_for_what_is_not_rendered_is_refused(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(models), "--seed", "-1"]) == 1
    assert "must not be negative" in capsys.readouterr().err
    photographs = "".join(
        [
            (models / "dataset.toml").read_text().partition("[rendered]")[0],
            "[[classes]]",
            (models / "dataset.toml").read_text().partition("[[classes]]")[2],
        ]
    ).replace('layout = "rendered"', 'layout = "folders"')
    (tmp_path / "photographs.toml").write_text(photographs)
    words = ["evaluate", str(models), "--dataset", str(tmp_path / "photographs.toml")]
    assert main([*words, "--seed", "3"]) == 1
    assert "is not rendered and has no seed" in capsys.readouterr().err
    assert main(words) == 1
    assert "name the folder of its pictures with --data" in capsys.readouterr().err


def test_the_same_recipe_trains_the_same_model(models: Path, package: Package) -> None:
    out = models.parent / "again"
    assert main(["train", str(models / "recipe.toml"), "--out", str(out)]) == 0
    again = open_package(out)
    assert again.manifest.data_hash == package.manifest.data_hash
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    assert np.array_equal(load(again).scores(crops), load(package).scores(crops))
    assert msgspec.structs.replace(again.policy, created="", package="") == (
        msgspec.structs.replace(package.policy, created="", package="")
    )


def test_the_proof_sets_the_model_beside_the_probe_on_every_set(
    models: Path, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (models / "dataset.toml").read_text()
    lines = [line for line in told.splitlines() if not line.startswith(("train =", "validation ="))]
    (tmp_path / "shifted.toml").write_text("\n".join(lines).replace("standard", "shifted") + "\n")
    monkeypatch.setattr(rendered_welds, "STANDARD", models / "dataset.toml")
    monkeypatch.setattr(rendered_welds, "SHIFTED", tmp_path / "shifted.toml")
    monkeypatch.setattr(rendered_welds, "RECIPE", models / "recipe.toml")
    monkeypatch.setattr(rendered_welds, "Eye", functools.partial(rendered_welds.Eye, side_px=64))
    report = tmp_path / "claims.json"
    assert rendered_welds.main(["--package", str(models), "--json", str(report)]) == 0
    hard, model, hard_shifted, shifted = map(json.loads, report.read_text().splitlines())
    assert [line["claim"].partition(", ")[2] for line in (hard, model, hard_shifted, shifted)] == [
        "difficulty of the standard set",
        "tiny-weld 1 on the standard set",
        "difficulty of the shifted set",
        "tiny-weld 1 on the shifted set",
    ]
    measured = package.manifest.metrics["test"]
    assert isinstance(measured, dict)
    assert model["verdicts"] == measured["verdicts"]
    assert model["package"] == shifted["package"] == package.ref.package
    assert not model["enough_welds"]  # and hence no claim, whatever was counted
    assert not model["overkill_at_most_a_fifth_of_a_percent"]["at_95"]
    for line, other in ((hard, model), (hard_shifted, shifted)):
        # Both have judged the same welds, the borderline ones being left to neither.
        for kind in ("escapes", "overkill"):
            assert line[kind]["trials"] == other[kind]["trials"]
        probes = other["overkill_of_the_probe_at_these_escapes"]
        assert probes["trials"] == other["overkill"]["trials"]


def test_the_probes_threshold_lets_no_more_escape_than_it_may() -> None:
    labels = np.array([0] * 6 + [1] * 4, np.int64)
    scores = np.array([-5, -4, -3, -2, 1, 3, -3.5, 0, 2, 4.0])

    class Fixed:
        def suspicion(self, _: object) -> object:
            return scores

    welds = rendered_welds.Welds(np.zeros((10, 1), np.float32), labels)
    found = [rendered_welds.at_escapes(Fixed(), welds, allowed) for allowed in range(5)]  # type: ignore[arg-type]
    assert [(escapes.errors, overkill.errors) for escapes, overkill in found] == [
        (0, 4), (1, 2), (2, 1), (3, 0), (4, 0),
    ]  # fmt: skip
    # Equal scores stand or fall together: rather fewer escapes than more.
    scores[:] = 1.0
    escapes, overkill = rendered_welds.at_escapes(Fixed(), welds, 2)  # type: ignore[arg-type]
    assert (escapes.errors, overkill.errors) == (0, 6)
