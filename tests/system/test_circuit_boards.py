"""Real circuit boards from camera to PLC, in short: a model that has hardly learnt anything, a few
boards, and every point accounted for. What such a model is worth is for `make boards` to say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import circuit_boards
import pytest

from inspection.training.fit import train

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "deeppcb-sample"
HELD_OUT = ("00041011", "92000011")


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few boards of four layouts."""
    if not DATA.is_dir():
        pytest.skip("the folder of real circuit boards is not beside this checkout")
    folder = tmp_path_factory.mktemp("boards")
    for name in ("images", "annotations"):
        (folder / name).mkdir()
    for layout in ("00041", "13000", "20085", "92000"):
        for annotation in sorted((DATA / "annotations").glob(f"{layout}*.txt"))[:4]:
            shutil.copy(annotation, folder / "annotations")
            for kind in ("test", "temp"):
                shutil.copy(DATA / "images" / f"{annotation.stem}_{kind}.jpg", folder / "images")
    return folder


@pytest.fixture(scope="module")
def package(boards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe as it is, but for its length."""
    text = circuit_boards.RECIPE.read_text("utf-8")
    for name, value in (("steps", 30), ("frames", 8)):
        text, count = re.subn(rf"(?m)^{name} = \d+", f"{name} = {value}", text)
        assert count == 1
    described = circuit_boards.RECIPE.parent / "../../datasets/deeppcb/dataset.toml"
    text = re.sub(r'(?m)^dataset = ".*"', f'dataset = "{described.resolve()}"', text)
    folder = tmp_path_factory.mktemp("package")
    (folder / "recipe.toml").write_text(text, "utf-8")
    return train(folder / "recipe.toml", boards, folder / "package", test_parts=HELD_OUT).path


def test_boards_never_trained_on_go_through_the_line_and_balance_exactly(
    boards: Path, package: Path, tmp_path: Path
) -> None:
    tally = circuit_boards.run_line(boards, package, HELD_OUT, tmp_path / "line")
    report = tally.report()
    assert report["planned"] == 4 * circuit_boards.TILES**2  # two boards and their templates
    assert report["balances_exactly"]
    n = tally.counts
    defective = sum(len(circuit_boards.truth(boards, board)[0]) for board in HELD_OUT)
    assert n["defective"] == defective > 0
    assert n["defective"] + n["touched"] + n["good"] + n["good_template"] == n["planned"]
    assert (n["boards_defective"], n["boards_good"]) == (2, 2)


def test_a_tile_is_defective_if_it_holds_the_centre_of_a_box_and_touched_if_it_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "b.txt").write_text("50 10 70 30 1\n600 600 640 640 6\n")
    defective, touched = circuit_boards.truth(tmp_path, "b")
    assert defective == {"r0c0", "r9c9"}
    assert touched == {"r0c1"}


def test_folds_share_no_board_and_leave_none_out() -> None:
    boards = [f"{layout}{number:03d}" for layout in ("00041", "13000") for number in range(7)]
    folds = circuit_boards.split(boards, 5, seed=0)
    assert sorted(board for fold in folds for board in fold) == boards
    assert len({board for fold in folds for board in fold}) == len(boards)
