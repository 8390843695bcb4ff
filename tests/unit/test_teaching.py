"""One good picture becomes a view of a plan whose marks are found again, or nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection import alignment, imaging
from inspection.__main__ import main
from inspection.errors import ConfigurationError
from inspection.imaging import Frame
from inspection.messages import Alignment
from inspection.plan import read_plan
from inspection.rendering import body
from inspection.teaching import DatumMark, check_marks, try_marks

VIEW = read_plan(body.PLAN).view("v02")
DATUMS = tuple(DatumMark(datum.id, datum.x_px, datum.y_px) for datum in VIEW.datums)
HOLE, SLOT = DATUMS
POINTS = """# two of them
id;kind;left_px;top_px;width_px;height_px;severity

SW-1;spot-weld;400;300;160;160;major
SW-2;spot-weld;900.5;700;160;160;critical
"""


@pytest.fixture(scope="module")
def picture() -> Frame:
    return body.Stand("v02", 900, 0, placed=body.AS_PLANNED).render()


@pytest.fixture(scope="module")
def file(picture: Frame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.png"
    path.write_bytes(imaging.encode_png(picture))
    return path


@pytest.fixture
def taught(file: Path, tmp_path: Path) -> Callable[..., int]:
    """``inspection plan teach`` of the good picture, with other words after the usual ones."""
    (tmp_path / "list.csv").write_text(POINTS)

    def teach(*words: str, view: str = "left", datums: tuple[DatumMark, ...] = DATUMS) -> int:
        return main(
            ["plan", "teach", str(file), "--plan", str(tmp_path / "door.toml"), "--view", view,
             "--camera", "camera-1", "--points", str(tmp_path / "list.csv"),
             *(f"--datum={d.id}={d.x_px},{d.y_px}" for d in datums), *words]
        )  # fmt: skip

    return teach


NEW = ("--name", "door", "--kind", "spot-weld=spot-weld")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_view_is_made_that_finds_the_part_again(
    taught: Callable[..., int], picture: Frame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert taught(*NEW, "--distance", "hole,slot=185.2") == 0
    plan = read_plan(tmp_path / "door.toml", ["spot-weld"])
    assert plan.hash in capsys.readouterr().out
    view = plan.view("left")
    assert [point.id for point in plan.points_of("left")] == ["SW-1", "SW-2"]
    apart = float(np.hypot(HOLE.x_px - SLOT.x_px, HOLE.y_px - SLOT.y_px))
    assert view.mm_per_px == pytest.approx(185.2 / apart, rel=1e-5)
    assert isinstance(view.alignment, Alignment)
    moved = np.roll(picture, (9, -17), axis=(0, 1))
    pose = alignment.locate(moved, view.alignment)
    assert (pose.shift.real, pose.shift.imag) == pytest.approx((-17, 9), abs=0.5)


def test_the_overlay_shows_what_was_taught(
    taught: Callable[..., int], picture: Frame, tmp_path: Path
) -> None:
    assert taught(*NEW, "--overlay", str(tmp_path / "look.png")) == 0
    drawn = imaging.decode((tmp_path / "look.png").read_bytes())
    changed = (drawn != picture).any(axis=2)
    assert changed[300, 400:560].all(), "the upper edge of a region"
    assert changed[round(HOLE.y_px), round(HOLE.x_px)], "the cross of a datum"
    assert changed.mean() < 0.05


def test_a_view_is_added_to_a_plan_that_is_there(
    taught: Callable[..., int], tmp_path: Path
) -> None:
    assert taught(*NEW) == 0
    before = read_plan(tmp_path / "door.toml")
    (tmp_path / "list.csv").write_text(POINTS.replace("SW", "SX").replace(";", ","))
    assert taught("--add", view="right") == 0
    plan = read_plan(tmp_path / "door.toml")
    assert [view.id for view in plan.views] == ["left", "right"]
    assert plan.points_of("left") == before.points_of("left")
    assert [point.id for point in plan.points_of("right")] == ["SX-1", "SX-2"]


def test_a_target_gives_scale_and_lens(taught: Callable[..., int], tmp_path: Path) -> None:
    board = np.full((2048, 2448, 3), 230, np.uint8)
    for row in range(9):
        for column in range(12):
            if (row + column) % 2 == 0:
                y, x = 124 + 200 * row, 24 + 200 * column
                board[y : y + 200, x : x + 200] = 25
    shown = tmp_path / "board.png"
    shown.write_bytes(imaging.encode_png(board))
    assert taught(*NEW, "--target", "chessboard:11x8:20", "--target-picture", str(shown)) == 0
    view = read_plan(tmp_path / "door.toml").view("left")
    assert view.mm_per_px == pytest.approx(0.1, rel=1e-3)
    assert view.distortion == pytest.approx((0, 0), abs=2e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--camera", "camera 1"), "no identifier"),
        (("--distance", "hole,nut=85"), "two of the datums"),
        (("--distance", "hole,slot=-1"), "greater than 0"),
        (("--target", "chessboard:11x8:20"), "belong together"),
        (("--datum", "hole=5"), "write ID=X,Y"),
        (("--datum", "hole=900,900"), "given twice"),
        (("--datum", "far=9000,900"), "outside the picture"),
        (("--datum", "edge=20,900"), "reach outside"),
        (("--kind", "spot-weld=other"), "given twice"),
    ],
)
def test_what_cannot_be_taught_is_refused_and_nothing_is_written(
    taught: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    said: str,
) -> None:
    before = contents(tmp_path)
    assert taught(*NEW, *words) == 2
    assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("SW-2", "SW-1", 5, "already given"),
        ("900.5", "2400", 5, "outside view"),
        ("major", "huge", 4, "not possible"),
        ("SW-1;spot-weld", "SW-1;clip", 4, "no kind of this plan"),
    ],
)
def test_mistakes_in_the_points_are_named_where_they_were_written(
    taught: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    line: int,
    said: str,
) -> None:
    rows = tmp_path / "list.csv"
    assert taught(*NEW) == 0
    rows.write_text(POINTS.replace("SW", "SX").replace(old.replace("SW", "SX"),
                                                       new.replace("SW", "SX")))  # fmt: skip
    before = contents(tmp_path)
    capsys.readouterr()
    assert taught("--add", view="right") == 2
    out = capsys.readouterr().out
    assert f"{rows}:{line}: " in out
    assert said in out
    assert contents(tmp_path) == before


def test_nothing_that_is_there_is_overwritten(
    taught: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert taught(*NEW) == 0
    before = contents(tmp_path)
    for words in (NEW, ("--add",)):
        assert taught(*words) == 2
        assert "already" in capsys.readouterr().err
        assert contents(tmp_path) == before


def texture(seed: int) -> Frame:
    """Soft noise: every place of it is unlike every other."""
    noise = np.random.default_rng(seed).normal(0, 1, (1024, 1280)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 9)
    levels = 128 + 40 * soft / float(np.std(soft))
    return np.asarray(np.clip(levels, 0, 255), np.uint8)


TWO = (DatumMark("one", 200, 200), DatumMark("two", 1000, 800))


def test_marks_of_a_picture_full_of_detail_are_taken() -> None:
    picture = texture(1)
    try_marks(picture, check_marks(picture, TWO), ())


def test_a_plain_mark_is_refused() -> None:
    picture = texture(1)
    picture[100:300, 100:300] = 128
    with pytest.raises(ConfigurationError, match=r"'one'.*too plain.*contrast is 0\.0"):
        check_marks(picture, TWO)


def test_a_mark_that_lies_beside_its_like_is_refused() -> None:
    picture = texture(1)
    picture[120:280, 216:296] = picture[120:280, 136:216]
    picture[120:280, 296:376] = picture[120:280, 136:216]
    with pytest.raises(ConfigurationError, match=r"'one'.*ambiguous.*8\d px beside"):
        check_marks(picture, TWO)


def test_a_straight_edge_is_no_mark() -> None:
    picture = texture(1)
    picture[0:500, 0:200], picture[0:500, 200:500] = 40, 200
    with pytest.raises(ConfigurationError, match=r"'one'.*ambiguous"):
        check_marks(picture, TWO)


def test_datums_close_together_cannot_tell_a_turn() -> None:
    with pytest.raises(ConfigurationError, match="at least 320 px"):
        check_marks(texture(1), (TWO[0], DatumMark("two", 400, 200)))


def test_one_datum_is_too_few() -> None:
    with pytest.raises(ConfigurationError, match="2 to 16"):
        check_marks(texture(1), TWO[:1])


def test_a_view_that_is_its_own_mirror_image_is_refused() -> None:
    half = texture(1)[:, :640]
    picture = np.ascontiguousarray(np.hstack([half, half[:, ::-1]]))
    marks = check_marks(picture, (TWO[0], DatumMark("two", 1080, 200)))
    with pytest.raises(ConfigurationError, match="mirrored is taken for this view"):
        try_marks(picture, marks, ())
