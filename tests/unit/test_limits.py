"""Limits of the quality gate beside a plan: learnt, readable, changeable, and part of its hash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspection.__main__ import main
from inspection.errors import ConfigurationError, PlanError
from inspection.imaging import Frame, encode_png
from inspection.learning import pictures_of
from inspection.limits import FILE, sheet_name
from inspection.messages import THUMBNAIL_PX
from inspection.plan import decode_plan, read_plan

TOML = """\
[plan]
name = "door"
version = "1"
deadline_ms = 5000
points = "points.csv"
taught = "taught"

[kinds.spot-weld]
model = "spot-weld"
"""
VIEW = """
[[view]]
id = "{view}"
camera = "camera-1"
width_px = 200
height_px = 120
"""
POINTS = """\
id,view,kind,left_px,top_px,width_px,height_px,severity
L1,left,spot-weld,10,20,64,64,major
L2,left,spot-weld,110,20,64,64,major
R1,right,spot-weld,10,20,64,64,major
"""


def picture(seed: int) -> Frame:
    """A sheet with a bolt on the left point of each view."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:120, :200]
    bolt = np.hypot(x - 42, y - 52) < 15
    return np.asarray(np.clip(150 - 80 * bolt + rng.normal(0, 2, (120, 200)), 0, 255), np.uint8)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan without limits, and five good pictures of both views in ``pictures``."""
    path = tmp_path / "plan.toml"
    path.write_text(TOML + VIEW.format(view="left") + VIEW.format(view="right"), "utf-8")
    (tmp_path / "points.csv").write_text(POINTS, "utf-8")
    (tmp_path / "taught").mkdir()
    for number in range(5):
        for place in (f"part-{number}/left.png", f"right/{number}.png"):
            file = tmp_path / "pictures" / place
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_png(picture(number)))
    return path


def learn(plan: Path, pictures: str = "pictures") -> int:
    return main(["plan", "learn", str(plan), "--pictures", str(plan.parent / pictures)])


def csv_of(plan: Path) -> Path:
    return plan.parent / "taught" / FILE


def mistakes(plan: Path) -> list[str]:
    with pytest.raises(PlanError) as refused:
        read_plan(plan)
    return [str(problem).replace(str(plan.parent / "taught") + "/", "") for problem in
            refused.value.problems]  # fmt: skip


def test_limits_are_learnt_into_files_and_read_back_with_the_plan(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_plan(plan)
    assert [point.quality for point in before.points] == [None] * 3
    assert learn(plan) == 0
    after = read_plan(plan)
    assert capsys.readouterr().out.splitlines() == [
        "view left: limits of 2 points from 5 pictures",
        "view right: limits of 1 points from 5 pictures",
        f"hash      {after.hash}",
    ]
    assert after.hash != before.hash
    first, second, _ = after.points
    assert first.quality is not None
    assert second.quality is not None
    centre = THUMBNAIL_PX**2 // 2 + THUMBNAIL_PX // 2
    assert abs(first.quality.reference[centre] - 70) < 5
    assert abs(second.quality.reference[centre] - 150) < 5


def test_a_plan_in_a_store_has_its_limits_without_the_files(plan: Path) -> None:
    learn(plan)
    read = read_plan(plan)
    assert decode_plan(read.document) == read
    assert decode_plan(read.document).hash == read.hash


def test_learning_the_same_again_gives_the_same_hash(plan: Path) -> None:
    learn(plan)
    once = read_plan(plan).hash
    learn(plan)
    assert read_plan(plan).hash == once


def test_a_limit_or_a_reference_that_a_person_changes_is_another_plan(plan: Path) -> None:
    learn(plan)
    hashes = {read_plan(plan).hash}
    lines = csv_of(plan).read_text("utf-8").splitlines()
    cells = lines[1].split(",")
    cells[-1] = "0.9"
    csv_of(plan).write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]), "utf-8")
    changed = read_plan(plan)
    assert changed.points[0].quality is not None
    assert changed.points[0].quality.content_max == 0.9
    hashes.add(changed.hash)
    other = plan.parent / "taught" / sheet_name("right")
    (plan.parent / "taught" / sheet_name("left")).write_bytes(other.read_bytes())
    lines[2] = lines[2].replace("L2,1", "L2,0")
    csv_of(plan).write_text("\n".join(lines), "utf-8")
    hashes.add(read_plan(plan).hash)
    assert len(hashes) == 3


def test_the_order_of_rows_and_the_separator_change_nothing(plan: Path) -> None:
    learn(plan)
    as_learnt = read_plan(plan).hash
    lines = csv_of(plan).read_text("utf-8").splitlines()
    text = "\n".join(["# checked by A. B.", lines[0], *reversed(lines[1:]), ""])
    csv_of(plan).write_text(text.replace(",", ";"), "utf-8")
    assert read_plan(plan).hash == as_learnt


def test_learning_one_view_leaves_the_limits_of_the_others(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(plan)
    before = read_plan(plan)
    only = plan.parent / "again" / "part-9" / "left.png"
    only.parent.mkdir(parents=True)
    only.write_bytes(encode_png(np.asarray(picture(9) // 2 + 60, np.uint8)))
    capsys.readouterr()
    assert learn(plan, "again") == 0
    assert "view right: no pictures, left as it was" in capsys.readouterr().out
    after = read_plan(plan)
    assert [a == b for a, b in zip(before.points, after.points, strict=True)] == [
        False, False, True,
    ]  # fmt: skip


def test_every_mistake_in_the_limits_is_named(plan: Path) -> None:
    learn(plan)
    header, first, second, _ = csv_of(plan).read_text("utf-8").splitlines()
    cells = first.split(",")
    cells[2:4], cells[6] = ["200", "20"], "1.5"
    rows = [header, ",".join(cells), second.replace("L2,1", "L2,16"), second, "X1,0,1", "",
            second.replace("L2", "L9"), "R1,zero" + second.removeprefix("L2,1")]  # fmt: skip
    csv_of(plan).write_text("\n".join(rows), "utf-8")
    assert mistakes(plan) == [
        "limits.csv:2: shadows_max: '1.5' is no number from 0 to 1",
        "limits.csv:2: level_min: 200 is above level_max, which is 20",
        "limits.csv:3: tile: limits-left.png has no tile 16",
        "limits.csv:4: id: point 'L2' was already given on line 3",
        "limits.csv:5: has 3 cells, but the header has 11",
        "limits.csv:7: id: 'L9' is no point of this plan",
        "limits.csv:8: tile: 'zero' is no number of a tile, from 0",
    ]


def test_a_point_that_came_later_needs_limits_where_its_view_has_some(plan: Path) -> None:
    learn(plan)
    points = plan.parent / "points.csv"
    points.write_text(POINTS + "R2,right,spot-weld,100,20,64,64,major\n", "utf-8")
    (only,) = mistakes(plan)
    assert only == (
        "limits.csv: point 'R2' of view 'right' has no row: run inspection plan learn again"
    )


def test_sheets_and_columns_that_are_missing_or_damaged_are_named(plan: Path) -> None:
    learn(plan)
    taught = plan.parent / "taught"
    (taught / sheet_name("left")).unlink()
    (taught / sheet_name("right")).write_bytes(b"\x89PNG no more")
    missing, damaged = mistakes(plan)
    assert missing == "limits-left.png: there is no such file: run inspection plan learn"
    assert damaged.startswith("limits-right.png: cannot be read: ")
    csv_of(plan).write_text("id,tile,focus\nL1,0,0.2\n", "utf-8")
    said = mistakes(plan)
    assert said[0].startswith("limits.csv:1: focus: ")
    assert "limits.csv:1: content_max: there must be one column of this name" in said


def test_a_picture_that_cannot_be_used_is_named_and_nothing_is_written(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = plan.parent / "pictures" / "part-7" / "left.png"
    small.parent.mkdir()
    small.write_bytes(encode_png(picture(7)[:60]))
    (plan.parent / "pictures" / "right" / "torn.png").write_bytes(b"nothing")
    assert learn(plan) == 2
    said = capsys.readouterr().out
    assert f"{small}: 200 x 60 pixels, but the plan's view has 200 x 120" in said
    assert "torn.png: " in said
    assert not csv_of(plan).exists()


def test_a_plan_that_says_no_folder_or_a_wrong_one_is_told_what_to_write(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = plan.read_text("utf-8")
    plan.write_text(text.replace('taught = "taught"\n', ""), "utf-8")
    assert learn(plan) == 2
    assert 'plan.taught: is missing: write taught = "taught"' in capsys.readouterr().out
    plan.write_text(text.replace('taught = "taught"', 'taught = "nowhere"'), "utf-8")
    with pytest.raises(PlanError, match="there is no folder"):
        read_plan(plan)


def test_a_folder_without_pictures_of_the_plan_is_told_how_to_name_them(plan: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such folder"):
        pictures_of(plan.parent / "none", ["left"])
    with pytest.raises(ConfigurationError, match=r"name them VIEW\.png"):
        pictures_of(plan.parent / "pictures", ["front"])
