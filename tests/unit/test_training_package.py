"""From a recipe to a package that can be trusted, and what is then said of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inspection.__main__ import main
from inspection.errors import DataError, RecipeError
from inspection.imaging import encode_png
from inspection.messages import Reason, Verdict
from inspection.package import DEFECT_QUANTILES, Package, open_package
from inspection.policy import Judgement
from inspection.runtimes import load, replay_golden
from inspection.training import calibrate
from inspection.training.calibrate import log_odds
from inspection.training.data import read_dataset
from inspection.training.evaluate import Judged, measure, report, summarise
from inspection.training.fit import Trained, train
from inspection.training.recipe import read_description

PARTS = 10
SIDE = 64

DESCRIPTION = """\
name = "spots"
layout = "deeppcb"
source = "drawn here"
licence = "CC0"
part = '(\\d+)_test'
group = '(\\d)\\d+_test'

[tiles]
width_px = 32
height_px = 32

[split]
validation = 0.3
test = 0.2

[[classes]]
name = "good"

[[classes]]
name = "spot"
severity = "major"
code = "1"
"""

RECIPE = """\
name = "spots"
version = "7"
dataset = "dataset.toml"
architecture = "cells"

[options]
fine_channels = 8
fine_blocks = 1
coarse_channels = 8
coarse_blocks = 1

[input]
width = 48
height = 48
channels = 1
margin = 0.25

[fit]
steps = 40
batch = 16
learning_rate = 1e-2
averaging = 0.8
precision = "float32"

[sampling]
kind = "windows"
real = 0.5
"""


def data(root: Path) -> Path:
    """Ten bright parts, each with a dark spot in one of its four points."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PARTS):
        frame = rng.integers(190, 220, (SIDE, SIDE)).astype(np.uint8)
        top, left = 32 * (number // 2 % 2), 32 * (number % 2)
        frame[top + 10 : top + 22, left + 10 : left + 22] = 20
        name = f"{number // 5}{number}"
        (root / "images" / f"{name}_test.png").write_bytes(encode_png(frame))
        (root / "annotations" / f"{name}.txt").write_text(
            f"{left + 2} {top + 2} {left + 30} {top + 30} 1\n"
        )
    (root / "images" / "099_test.png").write_bytes(b"torn")
    (root / "annotations" / "099.txt").write_text("")
    return root


def recipe(folder: Path, text: str = RECIPE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.toml").write_text(DESCRIPTION)
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path, list[str]]:
    folder = tmp_path_factory.mktemp("trained")
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # So few points as here are no distribution; otherwise nothing is different.
        patch.setattr(calibrate, "FEWEST_GOOD", 9)
        made = train(
            recipe(folder / "recipe"),
            data(folder / "data"),
            folder / "package",
            progress=said.append,
        )
    return made, folder, said


@pytest.fixture(scope="module")
def package(trained: tuple[Trained, Path, list[str]]) -> Package:
    return open_package(trained[0].path)


def test_a_trained_package_opens_and_its_golden_pictures_replay(package: Package) -> None:
    assert replay_golden(load(package)) <= 1e-5
    assert len(package.golden.images) >= 2
    assert (package.manifest.name, package.manifest.version) == ("spots", "7")
    assert package.manifest.class_names == ("good", "spot")
    present = {p.relative_to(package.path).as_posix() for p in package.path.rglob("*.*")}
    assert present == {*package.manifest.files, "manifest.json", "policy.json"}


def test_a_package_says_what_scores_a_line_is_held_against(package: Package) -> None:
    deciles = package.manifest.metrics[DEFECT_QUANTILES]
    assert isinstance(deciles, list)
    assert (len(deciles), sorted(deciles)) == (9, deciles)
    assert 0 <= deciles[0] <= deciles[-1] <= 1


def test_golden_pictures_keep_away_from_every_threshold(package: Package) -> None:
    limits = np.array([package.policy.ok_min, *package.policy.nok_min.values()])
    for image in package.golden.images:
        distance = np.abs(log_odds(np.array(image.scores)) - log_odds(limits))
        assert distance.min() > 0.09


def test_the_graph_takes_raw_crops_of_any_number_and_gives_probabilities(package: Package) -> None:
    model = load(package)
    crops = np.random.default_rng(1).integers(0, 256, (5, 48, 48, 1)).astype(np.uint8)
    together = model.scores(crops)
    assert np.allclose(together.sum(axis=1), 1.0, atol=1e-6)
    singly = np.concatenate([model.scores(crops[k : k + 1]) for k in range(5)])
    assert np.allclose(together, singly, atol=1e-5)


def test_no_test_or_validation_part_was_trained_on(
    trained: tuple[Trained, Path, list[str]], package: Package
) -> None:
    split = json.loads(package.content["split.json"])
    assert {name: tuple(parts) for name, parts in split.items()} == trained[0].split._asdict()
    everything = [part for parts in split.values() for part in parts]
    assert len(everything) == len(set(everything)) == PARTS


def test_the_card_says_what_the_model_saw(
    trained: tuple[Trained, Path, list[str]], package: Package
) -> None:
    card = package.content["CARD.md"].decode()
    made = trained[0]
    assert "nothing visible is wrong" in card
    assert "099_test.png" in card
    assert f"| train | {len(made.split.train)} | {len(made.split.train)} |" in card
    assert made.test is not None
    assert str(made.test.escapes) in card
    assert "Synthetic" not in card
    for part in made.split.test:
        assert part in card


def test_an_unreadable_picture_is_said_and_counted(
    trained: tuple[Trained, Path, list[str]],
) -> None:
    made, _, said = trained
    assert any("unreadable" in line and "099_test.png" in line for line in said)
    assert made.validation.unreadable == 1


def test_it_learnt_to_see_the_spots(trained: tuple[Trained, Path, list[str]]) -> None:
    made = trained[0]
    assert made.test is not None
    assert (made.test.escapes.errors, made.test.overkill.errors) == (0, 0)


def test_parts_named_for_the_test_are_held_out_and_seeds_give_the_same_model(
    tmp_path: Path,
) -> None:
    short = RECIPE.replace("steps = 40", "steps = 4")
    root = data(tmp_path / "data")
    first, second = (
        train(recipe(tmp_path / name, short), root, tmp_path / name / "p", test_parts=["03", "17"])
        for name in ("one", "two")
    )
    assert first.split.test == ("03", "17")
    golden = [(made.path / "golden/golden.json").read_bytes() for made in (first, second)]
    assert golden[0] == golden[1]


def test_a_package_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "CARD.md").write_text("older")
    with pytest.raises(DataError, match="is not empty"):
        train(recipe(tmp_path / "r"), tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"cells"', '"oracle"', "architecture: 'oracle' is none of"),
        ("fine_blocks = 1", "fine_block = 1", r"options\.fine_block"),
        ("fine_blocks = 1", "fine_blocks = 0", r"options\.fine_blocks: must be"),
        ("width = 48", "width = 50", "multiples of 8"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_before_data_is_read(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    with pytest.raises(RecipeError, match=expected):
        train(recipe(tmp_path / "r", RECIPE.replace(old, new)), tmp_path / "none", tmp_path / "out")


def test_training_that_diverges_ends_with_a_sentence_and_no_package(tmp_path: Path) -> None:
    wild = RECIPE.replace("learning_rate = 1e-2", "learning_rate = 1e38")
    with pytest.raises(DataError, match=r"diverged at step \d+: lower fit\.learning_rate"):
        train(recipe(tmp_path / "r", wild), data(tmp_path / "data"), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_photographs_in_folders_train_a_network_with_imagenet_weights(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for part in range(8):
        for name, shade in (("good", 180), ("spot", 60)):
            path = tmp_path / "data" / name / f"p{part}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            frame = rng.integers(shade - 20, shade + 20, (40, 40, 3)).astype(np.uint8)
            path.write_bytes(encode_png(frame))
    source = recipe(
        tmp_path / "r",
        RECIPE.replace('"cells"', '"efficientnet-lite0"')
        .replace("[options]\nfine_channels = 8\nfine_blocks = 1\n", "")
        .replace("coarse_channels = 8\ncoarse_blocks = 1\n", "")
        .replace("channels = 1", "channels = 3")
        .replace("steps = 40", "steps = 3")
        .replace('[sampling]\nkind = "windows"\nreal = 0.5\n', ""),
    )
    (source.parent / "dataset.toml").write_text(
        DESCRIPTION.replace('"deeppcb"', '"folders"')
        .replace("_test'", "'")
        .replace("part = '(\\d+)'", "part = '(p\\d+)'")
        .replace("group = '(\\d)\\d+'", "")
        .replace('code = "1"', "")
    )
    made = train(source, tmp_path / "data", tmp_path / "out")
    package = open_package(made.path)
    assert "ImageNet" in package.content["CARD.md"].decode()
    assert "Apache-2.0" in package.manifest.licences["weights"]
    assert made.test is not None
    assert made.test.points == 4


def test_the_commands_measure_unseen_parts_and_judge_pictures(
    trained: tuple[Trained, Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, folder, _ = trained
    counts, findings = tmp_path / "counts.json", tmp_path / "findings.json"
    words = ["evaluate", str(made.path), "--data", str(folder / "data")]
    assert main([*words, "--json", str(counts)]) == 0
    out = capsys.readouterr().out
    assert "8 parts left out" in out
    written = json.loads(counts.read_text())
    assert made.test is not None
    assert written["escapes"] == msgspec.to_builtins(made.test.escapes)
    assert main([*words, "--all-parts"]) == 0
    assert "10 parts" in capsys.readouterr().out

    images = sorted((folder / "data" / "images").glob("0*_test.png"))
    assert main(["inspect", str(made.path), *map(str, images), "--json", str(findings)]) == 1
    out = capsys.readouterr().out
    assert "NOT_INSPECTED" in out
    rows = json.loads(findings.read_text())
    assert len(rows) == 5 * 4 + 1
    spots = [row for row in rows if row["verdict"] in {"NOK", "REVIEW"}]
    assert len(spots) == 5
    assert rows[-1]["verdict"] == "NOT_INSPECTED"
    assert rows[-1]["scores"] is None


def test_measuring_on_nothing_but_trained_parts_is_refused(
    trained: tuple[Trained, Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, folder, _ = trained
    for kind, suffix in (("images", "_test.png"), ("annotations", ".txt")):
        (tmp_path / kind).mkdir()
        for part in made.split.train:
            source = folder / "data" / kind / f"{part}{suffix}"
            (tmp_path / kind / source.name).write_bytes(source.read_bytes())
    assert main(["evaluate", str(made.path), "--data", str(tmp_path)]) == 1
    assert "--all-parts" in capsys.readouterr().err


def test_a_picture_that_fails_in_evaluation_is_not_inspected_and_never_ok(
    trained: tuple[Trained, Path, list[str]], package: Package, tmp_path: Path
) -> None:
    root = data(tmp_path / "data")
    description = read_description(trained[1] / "recipe" / "dataset.toml")
    dataset = read_dataset(description, root)
    dataset.pictures[0].path.write_bytes(b"gone bad since")
    evaluation = measure(load(package), dataset, [dataset.pictures[0].part])
    assert sum(count.get("NOT_INSPECTED", 0) for count in evaluation.verdicts.values()) == 4
    assert evaluation.escapes.errors == 0
    assert evaluation.overkill.errors == evaluation.overkill.trials == 3


def judged(part: str, label: str | None, verdict: Verdict) -> Judged:
    return Judged(part, "g", "x.png", "p", label, Judgement(verdict, Reason.NONE, ""), ())


def test_rates_count_points_and_parts() -> None:
    evaluation = summarise(
        [
            judged("a", "good", Verdict.OK),
            judged("a", "spot", Verdict.OK),  # an escape, and the part is released
            judged("b", "good", Verdict.REVIEW),  # overkill; a good part held
            judged("c", "good", Verdict.NOT_INSPECTED),  # overkill
            judged("c", "spot", Verdict.REVIEW),  # no escape
            judged("d", "good", Verdict.OK),
            judged("d", None, Verdict.NOK),  # counted apart
        ],
        ok_class="good",
    )
    assert (evaluation.escapes.errors, evaluation.escapes.trials) == (1, 2)
    assert (evaluation.overkill.errors, evaluation.overkill.trials) == (2, 4)
    assert (evaluation.parts_with_escape.errors, evaluation.parts_with_escape.trials) == (1, 2)
    assert (evaluation.parts_released.errors, evaluation.parts_released.trials) == (1, 2)
    assert (evaluation.parts_with_overkill.errors, evaluation.parts_with_overkill.trials) == (2, 4)
    assert (evaluation.good_parts_held.errors, evaluation.good_parts_held.trials) == (1, 1)
    assert evaluation.counted_apart == 1
    assert "1 of 2 = 50.00%" in report(evaluation, "good")


def test_each_class_has_a_rate_of_its_own() -> None:
    evaluation = summarise(
        [
            *(judged("a", "good", Verdict.OK) for _ in range(7)),
            judged("a", "good", Verdict.REVIEW),
            judged("a", "spot", Verdict.NOK),
            judged("a", "spot", Verdict.REVIEW),
            judged("a", "spot", Verdict.OK),
            judged("a", "crack", Verdict.NOT_INSPECTED),
        ],
        ok_class="good",
    )
    counted = {label: (r.errors, r.trials) for label, r in evaluation.classes.items()}
    # Of a defect, how many came out OK; of good ones, how many did not.
    assert counted == {"good": (1, 8), "spot": (1, 3), "crack": (0, 1)}
    assert evaluation.classes["crack"].at_most == pytest.approx(0.95)
    (line,) = (row for row in report(evaluation, "good").splitlines() if row.startswith("spot"))
    assert line.split()[1:5] == ["1", "1", "1", "0"]
    assert "1 of 3 = 33.33%" in line


def test_borderline_points_are_in_no_rate_and_have_a_table_of_their_own() -> None:
    sure = [
        judged("a", "good", Verdict.OK),
        judged("a", "spot", Verdict.NOK),
        judged("b", "good", Verdict.NOK),
    ]
    near = [
        judged("a", "spot", Verdict.OK)._replace(borderline=True),
        judged("b", "good", Verdict.NOK)._replace(borderline=True),
        judged("b", "good", Verdict.OK)._replace(borderline=True),
        judged("c", "good", Verdict.OK)._replace(borderline=True),
    ]
    with_them, without = (
        summarise([*sure, *near], ok_class="good"),
        summarise(sure, ok_class="good"),
    )
    for name in ("escapes", "overkill", "classes", "verdicts", "findings", "groups"):
        assert getattr(with_them, name) == getattr(without, name), name
    assert with_them.borderline == {"good": {"NOK": 1, "OK": 2}, "spot": {"OK": 1}}
    assert with_them.counted_apart == 4
    # Part b holds a point that nobody could blame it for: it is no good part held in error.
    assert (with_them.good_parts_held.errors, with_them.good_parts_held.trials) == (0, 0)
    assert (without.good_parts_held.errors, without.good_parts_held.trials) == (1, 1)
    said = report(with_them, "good")
    apart = said[said.index("borderline, in no rate") :].splitlines()
    assert [row.split() for row in apart[1:3]] == [
        ["good", "2", "1", "0", "0"],
        ["spot", "1", "0", "0", "0"],
    ]
    assert "borderline" not in report(without, "good")


def test_evaluating_and_inspecting_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['albumentations'] = None;"
        "import inspection.training.evaluate_command, inspection.training.inspect_command"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_train_command_holds_out_the_parts_of_a_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recipe(tmp_path / "r", RECIPE.replace("steps = 40", "steps = 4"))
    listed = tmp_path / "held-out.txt"
    listed.write_text("04\n\n18\n")
    words = ["train", str(source), "--data", str(data(tmp_path / "data"))]
    assert main([*words, "--test-parts", str(listed)]) == 0
    out = capsys.readouterr().out
    assert "5 to train, 3 to validate, 2 to test; 1 unreadable" in out
    assert "escapes, per point:" in out
    package = open_package(source.parent / "7")
    assert json.loads(package.content["split.json"])["test"] == ["04", "18"]
    # The package now lies where the next one would: nothing is overwritten.
    assert main(words) == 1
    assert "is not empty" in capsys.readouterr().err


def test_a_wrong_recipe_makes_the_command_fail_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = recipe(tmp_path / "r", RECIPE.replace("steps = 40", "steps = 'many'"))
    assert main(["train", str(source), "--data", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "recipe.toml:19: fit.steps" in line
