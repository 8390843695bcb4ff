"""``inspection render``: pictures to look at, and errors that say what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspection import imaging
from inspection.__main__ import main
from inspection.rendering.catalogue import NAMES


def shape(path: Path) -> tuple[int, ...]:
    return imaging.decode(path.read_bytes()).shape


def test_the_contact_sheet_has_a_row_for_each_class_and_two_for_good(tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["render", "sheet", "--columns", "2", "--out", str(out)]) == 0
    height, width, _ = shape(out)
    rows = len(NAMES) + 1
    assert height % rows == 0
    assert width / 2 < height / rows < width / 2 + 40  # a cell and the line with its name


def test_a_weld_is_written_and_its_truth_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weld.png"
    assert main(["render", "weld", "small-imprint", "--size", "96", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert shape(out) == (96, 96, 3)
    assert told["label"] == "small-imprint"
    assert told["diameter_mm"] < 4.5


def test_a_view_is_shrunk_to_the_width_asked_for_and_shows_the_defect(tmp_path: Path) -> None:
    plain, burnt = tmp_path / "plain.png", tmp_path / "burnt.png"
    ask = ["render", "view", "v20", "--width", "612", "--out"]
    assert main([*ask, str(plain)]) == 0
    assert main([*ask, str(burnt), "--defect", "W0460=burn-through"]) == 0
    assert shape(plain) == shape(burnt) == (512, 612, 3)
    assert plain.read_bytes() != burnt.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sheet", "--out", "sheet.gif"], "--out sheet.gif: must end in .png or .jpg"),
        (["sheet", "--columns", "0", "--out", "a.png"], "--columns 0: must be 1 to 40"),
        (["view", "v99", "--out", "a.png"], "there is no view 'v99': v01 to v52"),
        (["view", "v01", "--defect", "W0001=rust", "--out", "a.png"], "--defect W0001=rust: write"),
        (["view", "v01", "--width", "9", "--out", "a.png"], "--width 9: must be 64 to 2448"),
        (["weld", "crack", "--size", "9", "--out", "a.png"], "--size 9: must be 32 to 2048"),
        (["sheet", "--seed", "-1", "--out", "a.png"], "--seed -1: must not be negative"),
        (["weld", "crack", "--out", "nowhere/a.png"], "nowhere/a.png: cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", *arguments]) == 2
    assert says in capsys.readouterr().err
