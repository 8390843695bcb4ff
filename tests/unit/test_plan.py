"""Plans: what is read, what is refused, and where a message says the mistake is."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.errors import PlanError, Problem
from inspection.messages import MAX_POINTS_PER_VIEW, Region, Severity
from inspection.plan import (
    Plan,
    Trigger,
    Unresolved,
    decode_plan,
    encode_plan,
    read_plan,
)
from inspection.testing.strategies import plans

TOML = """\
[plan]
name = "door"
version = "1"
deadline_ms = 5000
points = "points.csv"

[kinds.spot-weld]
model = "spot-weld"

[[view]]
id = "left"
camera = "camera-1"
width_px = 640
height_px = 480
"""
CHALLENGE = """\
[challenge]
parts = ["RABBIT-1"]
interval_minutes = 480
defects = { P1 = "missing" }"""
HEADER = "id,view,kind,left_px,top_px,width_px,height_px,severity"
ROW = "P1,left,spot-weld,10,20,64,64,major"


class Files:
    """A plan and its points in a folder, and what reading them says."""

    def __init__(self, folder: Path) -> None:
        self.toml = folder / "plan.toml"
        self.csv = folder / "points.csv"

    def write(self, points: str | bytes = f"{HEADER}\n{ROW}\n", toml: str = TOML) -> Files:
        self.toml.write_text(toml, "utf-8")
        self.csv.write_bytes(points if isinstance(points, bytes) else points.encode())
        return self

    def read(self, **kwargs: Any) -> Plan:
        return read_plan(self.toml, **kwargs)

    def problems(self, **kwargs: Any) -> list[Problem]:
        with pytest.raises(PlanError) as caught:
            self.read(**kwargs)
        return list(caught.value.problems)

    def only_problem(self, **kwargs: Any) -> Problem:
        (problem,) = self.problems(**kwargs)
        return problem


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def rows(*lines: str) -> str:
    return "\n".join((HEADER, *lines, ""))


# ---------------------------------------------------------------- what is read


def test_a_plan_holds_what_its_two_files_say(files: Files) -> None:
    (files.toml.parent / "good.png").write_bytes(b"png")
    toml = (
        TOML
        + """\
trigger = "plc"
tone_map = "square-root"
reference = "good.png"
[[view.datum]]
id = "hole"
x_px = 12
y_px = 480
[severity]
critical = "nok"
[[point]]
id = "P0"
view = "left"
kind = "spot-weld"
left_px = 0
top_px = 0
width_px = 640
height_px = 480
severity = "critical"
x_note = "by hand"
"""
    )
    plan = files.write(
        f"{HEADER},x,y,z,gun,program,stack,x_a\n{ROW},1.5,-2,3e2,G1,17,a / b, ä \n", toml
    ).read(models={"spot-weld"})
    assert (plan.name, plan.version, plan.deadline_ms) == ("door", "1", 5000)
    view = plan.view("left")
    assert (view.camera, view.width_px, view.height_px) == ("camera-1", 640, 480)
    assert (view.trigger, view.reference) == (Trigger.PLC, "good.png")
    assert view.tone_map == "square-root"
    assert [(datum.id, datum.x_px, datum.y_px) for datum in view.datums] == [("hole", 12.0, 480.0)]
    assert plan.severity == {
        Severity.MINOR: Unresolved.HOLD,
        Severity.MAJOR: Unresolved.HOLD,
        Severity.CRITICAL: Unresolved.NOK,
    }
    first, second = plan.points_of("left")
    assert (first.id, first.severity, first.extra) == (
        "P0",
        Severity.CRITICAL,
        {"x_note": "by hand"},
    )
    assert second.region == Region(left_px=10, top_px=20, width_px=64, height_px=64)
    assert (second.x, second.y, second.z) == (1.5, -2.0, 300.0)
    assert (second.gun, second.program, second.stack) == ("G1", "17", "a / b")
    assert second.extra == {"x_a": "ä"}


def test_the_example_of_the_manual_is_a_plan(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "plans.md").read_text("utf-8")
    for kind in ("toml", "csv"):
        (block,) = re.findall(rf"```{kind}\n(.*?)```", manual, re.DOTALL)
        (tmp_path / f"front-door.{kind}").write_text(block, "utf-8")
    plan = read_plan(tmp_path / "front-door.toml", {"spot-weld", "clip"})
    assert [point.id for point in plan.points_of("left")] == ["SW-0001", "SW-0002"]
    assert [point.id for point in plan.points_of("right")] == ["CLIP-1", "SW-0003"]


@pytest.mark.parametrize(
    "points",
    [
        rows(ROW).encode("utf-8-sig"),
        rows(ROW).replace(",", ";").encode(),
        rows(ROW).replace("\n", "\r\n").encode(),
        rows(ROW).replace("\n", "\r").encode(),
        b"# from CAD, version 7; checked\n\n" + rows("#P0,left", "", " ", ",,,,,,,", ROW).encode(),
        rows('"P1", left, "spot-weld", 10.0, +20, 6.4e1, 64., major').encode(),
        b"severity,height_px,width_px,top_px,left_px,kind,view,id\nmajor,64,64,20,10,spot-weld,left,P1",
    ],
    ids=["bom", "semicolons", "crlf", "cr", "comments and blanks", "quotes", "column order"],
)
def test_how_a_csv_file_is_formatted_changes_neither_plan_nor_hash(
    files: Files, points: bytes
) -> None:
    expected = files.write().read()
    plan = files.write(points).read()
    assert plan == expected
    assert plan.hash == expected.hash


def test_row_order_and_the_file_a_point_stands_in_do_not_change_the_hash(files: Files) -> None:
    other = ROW.replace("P1", "P2")
    expected = files.write(rows(ROW, other)).read()
    assert files.write(rows(other, ROW)).read().hash == expected.hash
    table = "\n".join(
        f"{name} = {cell if cell.isdigit() else json.dumps(cell)}"
        for name, cell in zip(HEADER.split(","), other.split(","), strict=True)
    )
    assert files.write(rows(ROW), f"{TOML}\n[[point]]\n{table}\n").read().hash == expected.hash


def test_what_a_plan_says_of_people_and_challenges_is_part_of_it(files: Files) -> None:
    said = f'{TOML}\n[decisions]\ntwo_persons = ["critical", "major"]\n{CHALLENGE}\n'
    plan = files.write(toml=said).read()
    assert plan.deciding.two_persons == (Severity.MAJOR, Severity.CRITICAL)
    assert (plan.is_challenge("RABBIT-1"), plan.is_challenge("P1")) == (True, False)
    assert decode_plan(encode_plan(plan)) == plan
    before = files.write().read()
    assert plan.hash != before.hash
    assert not before.is_challenge("RABBIT-1")
    # What says nothing is not part of it, so that plans keep the hash they have always had.
    defaults = f"{TOML}\n[decisions]\ntwo_persons = []\nrepaired_without_inspection = false\n"
    assert files.write(toml=defaults).read().hash == before.hash


def test_minus_zero_is_the_same_place_as_zero(files: Files) -> None:
    expected = files.write(rows("P1,left,spot-weld,0,0,9,9,major")).read()
    assert files.write(rows("P1,left,spot-weld,-0,-0.0,9,9,major")).read().hash == expected.hash


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10,20", "10,20.5"),
        ("P1", "P2"),
        ("major", "minor"),
        ("deadline_ms = 5000", "deadline_ms = 5001"),
        ("camera-1", "camera-2"),
        ('version = "1"', 'version = "2"'),
        ("[[view]]", '[severity]\nminor = "nok"\n[[view]]'),
        ('model = "spot-weld"', 'model = "spot-weld"\nanomaly_only = true'),
    ],
)
def test_whatever_the_station_would_do_differently_changes_the_hash(
    files: Files, old: str, new: str
) -> None:
    before = files.write().read().hash
    assert files.write(rows(ROW.replace(old, new)), TOML.replace(old, new)).read().hash != before


def test_the_hash_is_that_of_the_canonical_form_the_manual_describes(files: Files) -> None:
    canonical = {
        "name": "door",
        "version": "1",
        "deadline_ms": 5000,
        "severity": {"minor": "hold", "major": "hold", "critical": "hold"},
        "kinds": {"spot-weld": {"model": "spot-weld"}},
        "views": [{"id": "left", "camera": "camera-1", "width_px": 640, "height_px": 480}],
        "points": [
            {
                "id": "P1",
                "view": "left",
                "kind": "spot-weld",
                "region": {"left_px": 10.0, "top_px": 20.0, "width_px": 64.0, "height_px": 64.0},
                "severity": "major",
            }
        ],
    }
    text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
    plan = files.write().read()
    assert encode_plan(plan).decode() == text
    # If this fails, every plan in the field looks changed after an update. That needs a decision.
    assert plan.hash == "ddae03a6e785b2020bd981ae7fc1d378f0c4e145a3a2c92b8a1c851e46817390"


def test_five_thousand_points_are_read_in_a_moment(files: Files) -> None:
    views = "".join(
        f'[[view]]\nid = "v{n}"\ncamera = "c"\nwidth_px = 640\nheight_px = 480\n' for n in range(5)
    )
    lines = [ROW.replace("P1", f"P{n}").replace("left", f"v{n % 5}") for n in range(5000)]
    files.write(rows(*lines), TOML[: TOML.index("[[view]]")] + views)
    began = time.perf_counter()
    assert len(files.read().points) == 5000
    assert time.perf_counter() - began < 5


@settings(deadline=None, max_examples=40)
@given(plans())
def test_a_plan_survives_its_canonical_bytes(plan: Plan) -> None:
    again = decode_plan(encode_plan(plan))
    assert again == plan
    assert again.hash == plan.hash
    assert encode_plan(again) == encode_plan(plan)


@settings(deadline=None, max_examples=40)
@given(plans())
def test_numbers_written_by_a_program_hash_like_those_of_a_file(plan: Plan) -> None:
    point = plan.points[0]
    left = int(point.region.left_px)
    whole, fraction = (
        msgspec.structs.replace(
            plan,
            points=(
                msgspec.structs.replace(
                    point, region=msgspec.structs.replace(point.region, left_px=value)
                ),
            ),
        )
        for value in (left, float(left))
    )
    assert whole.hash == fraction.hash


@settings(deadline=None, max_examples=40)
@given(plans(), st.randoms(use_true_random=False), st.sampled_from(",;"))
def test_what_is_written_to_files_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, random: Any, delimiter: str
) -> None:
    files = Files(tmp_path_factory.mktemp("plan"))
    toml, points = as_files(plan, random, delimiter)
    again = files.write(points, toml).read(models={kind.model for kind in plan.kinds.values()})
    assert again == plan
    assert again.hash == plan.hash


def as_files(plan: Plan, random: Any, delimiter: str) -> tuple[str, str]:
    """A plan as a person would have written it, the rows in any order."""
    toml = [
        "[plan]",
        f'name = "{plan.name}"',
        f'version = "{plan.version}"',
        f"deadline_ms = {plan.deadline_ms}",
        'points = "points.csv"',
        "[severity]",
        *(f'{level} = "{fate}"' for level, fate in plan.severity.items()),
    ]
    for name, kind in plan.kinds.items():
        toml += [f"[kinds.{name}]", f'model = "{kind.model}"']
        toml += ["anomaly_only = true"] * kind.anomaly_only
    for view in plan.views:
        toml += ["[[view]]", f'id = "{view.id}"', f'camera = "{view.camera}"']
        toml += [f"width_px = {view.width_px}", f"height_px = {view.height_px}"]
        toml += [f'trigger = "{view.trigger}"']
        for datum in view.datums:
            toml += ["[[view.datum]]", f'id = "{datum.id}"']
            toml += [f"x_px = {datum.x_px}", f"y_px = {datum.y_px}"]
    extras = sorted({name for point in plan.points for name in point.extra})
    optional = ["x", "y", "z", "gun", "program", "stack"]
    text = io.StringIO()
    table = csv.DictWriter(
        text, [*HEADER.split(","), *optional, *extras], delimiter=delimiter, restval=""
    )
    table.writeheader()
    for point in random.sample(plan.points, len(plan.points)):
        table.writerow(
            {
                **msgspec.structs.asdict(point.region),
                **{name: getattr(point, name) for name in ("id", "view", "kind", *optional)},
                "severity": point.severity.value,
                **point.extra,
            }
        )
    return "\n".join(toml), text.getvalue()


# ---------------------------------------------------------------- points that are refused


def test_a_duplicate_point_is_named_with_both_lines(files: Files) -> None:
    problem = files.write(rows(ROW, "", ROW)).only_problem()
    assert (problem.file, problem.line, problem.field) == (str(files.csv), 4, "id")
    assert "'P1' was already given on line 2" in problem.message


def test_a_point_in_both_files_is_named_with_both_files(files: Files) -> None:
    point = """[[point]]
id = "P1"
view = "left"
kind = "spot-weld"
left_px = 1
top_px = 1
width_px = 1
height_px = 1
severity = "minor"
"""
    problem = files.write(toml=TOML + point).only_problem()
    assert (problem.file, problem.line, problem.field) == (str(files.toml), 16, "point[0].id")
    assert f"in {files.csv}:2" in problem.message


@pytest.mark.parametrize(
    ("region", "field"),
    [
        ("600,20,64,64", "left_px"),
        ("10,470,64,64", "top_px"),
        ("640,20,1,64", "left_px"),
        ("10,20,64,460.5", "top_px"),
    ],
)
def test_a_region_outside_its_view_is_refused(files: Files, region: str, field: str) -> None:
    problem = files.write(rows(f"P1,left,spot-weld,{region},major")).only_problem()
    assert (problem.line, problem.field) == (2, field)
    assert "outside view 'left'" in problem.message


def test_a_region_may_touch_the_edge_even_in_decimal_fractions(files: Files) -> None:
    files.write(
        rows("P1,left,spot-weld,0,0,640,480,major", "P2,left,spot-weld,639.9,0,0.1,1,minor")
    )
    assert len(files.read().points) == 2


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("left", "lef", "view", "no view of this plan: it has left"),
        ("spot-weld", "clip", "kind", "needs a table [kinds.clip]"),
        ("major", "Major", "severity", "write minor or major or critical"),
        ("P1", "P 1", "id", "no identifier"),
        ("P1", "../P1", "id", "no identifier"),
        ("P1", "", "id", "is empty"),
        ("10", "", "left_px", "is empty"),
        ("10", "ten", "left_px", "'ten' is no number"),
        ("10", "1_0", "left_px", "is no number"),
        ("10", "0x10", "left_px", "is no number"),
        ("10", "١٠", "left_px", "is no number"),
        ("10", '"10,5"', "left_px", "decimals after a point"),
        ("10", "NaN", "left_px", "no finite number"),
        ("10", "-inf", "left_px", "no finite number"),
        ("10", "1e999", "left_px", "no finite number"),
        ("10", "-1", "left_px", "outside 0 to"),
        ("64,64", "0,64", "width_px", "must be greater than 0"),
        ("64,64", "64,-1", "height_px", "must be greater than 0"),
    ],
)
def test_a_wrong_cell_is_named_with_line_and_column(
    files: Files, old: str, new: str, field: str, message: str
) -> None:
    # A good row keeps the view from being empty too.
    good = ROW.replace("P1", "P0")
    problem = files.write(rows(good, ROW.replace(old, new, 1))).only_problem()
    assert (problem.file, problem.line, problem.field) == (str(files.csv), 3, field)
    assert message in problem.message


@pytest.mark.parametrize("cell", ["1e7", "nan", "x"])
def test_wrong_body_coordinates_are_refused_too(files: Files, cell: str) -> None:
    problem = files.write(f"{HEADER},z\n{ROW},{cell}\n").only_problem()
    assert (problem.line, problem.field) == (2, "z")


@pytest.mark.parametrize("row", ["P2,left,spot-weld", f"{ROW},1"])
def test_too_few_and_too_many_cells_are_named_with_the_line(files: Files, row: str) -> None:
    problem = files.write(rows(ROW, row)).only_problem()
    assert problem.line == 3
    assert "the header has 8" in problem.message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'"P2,left', "cannot be read"),
        (b'"P2"x,left', "cannot be read"),
        (b"P\xe4,left", "byte 2 of the line is not UTF-8"),
        (b"P\x002,left", "NUL byte"),
        (b"x" * 200_000, "cannot be read"),
    ],
    ids=["open quote", "text after a quote", "latin-1", "nul", "endless cell"],
)
def test_an_unreadable_csv_line_is_named_and_costs_no_other_line(
    files: Files, line: bytes, message: str
) -> None:
    good = rows(ROW).encode()
    problem = files.write(good + line + b"\n" + ROW.replace("P1", "P3").encode()).only_problem()
    assert (problem.file, problem.line) == (str(files.csv), 3)
    assert message in problem.message


def test_a_utf_16_file_is_one_mistake_not_one_a_line(files: Files) -> None:
    assert "UTF-16" in files.write(rows(ROW).encode("utf-16")).only_problem().message


def test_random_bytes_are_no_points(files: Files) -> None:
    @settings(deadline=None, max_examples=50)
    @given(st.binary(max_size=300))
    def check(noise: bytes) -> None:
        files.write(noise)
        assert files.problems()

    check()


def test_a_missing_column_is_named_once_at_the_header(files: Files) -> None:
    text = "\n".join(
        ["id,view,kind,left_px,top_px,width_px,severity"]
        + [f"P{n},left,spot-weld,1,1,1,minor" for n in range(3)]
    )
    problem = files.write(text).only_problem()
    assert (problem.line, problem.field, problem.message) == (
        1,
        "height_px",
        "the column is missing",
    )


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("serverity", "did you mean severity?"),
        ("note", "begin its name with x_"),
        ("id", "2 columns of this name"),
        ("", "column 9 has no name"),
        ("x_", "printable"),
        ("x_" + "a" * 63, "printable"),
    ],
)
def test_a_column_nobody_knows_is_refused(files: Files, column: str, message: str) -> None:
    # An empty cell under the column, so that nothing but its name is wrong.
    cell = "P1" if column == "id" else ""
    problem = files.write(f"{HEADER},{column}\n{ROW},{cell}\n").only_problem()
    assert problem.line == 1
    assert message in problem.message


def test_passed_through_text_has_a_limit(files: Files) -> None:
    files.write(f"{HEADER},x_a\n{ROW},{'a' * 500}\n").read()
    problem = files.write(f"{HEADER},x_a\n{ROW},{'a' * 501}\n").only_problem()
    assert (problem.line, problem.field) == (2, "x_a")
    assert "500 are possible" in problem.message


@pytest.mark.parametrize("points", ["", "\n\n", "# nothing\n"])
def test_a_csv_file_without_a_header_says_what_its_first_line_must_be(
    files: Files, points: str
) -> None:
    assert "must name the columns" in files.write(points).only_problem().message


def test_a_csv_file_that_starts_with_points_is_one_mistake(files: Files) -> None:
    problem = files.write(f"{ROW}\n{ROW}\n").only_problem()
    assert problem.line == 1
    assert "must name the columns" in problem.message


def test_a_header_without_points_is_an_empty_plan(files: Files) -> None:
    assert "no point below the header" in files.write(rows()).only_problem().message


def test_a_missing_points_file_is_named_where_the_plan_names_it(files: Files) -> None:
    files.write().csv.unlink()
    problem = files.only_problem()
    assert (problem.file, problem.line, problem.field) == (str(files.toml), 5, "plan.points")
    assert "there is no such file" in problem.message


# ---------------------------------------------------------------- plans that are refused


def test_a_plan_without_points_says_how_to_give_it_some(files: Files) -> None:
    problem = files.write(toml=TOML.replace('points = "points.csv"\n', "")).only_problem()
    assert problem.line == 1
    assert "name their CSV file here" in problem.message


def test_an_unknown_model_is_named_with_those_the_station_has(files: Files) -> None:
    problem = files.write().only_problem(models=["clip", "stud"])
    assert (problem.line, problem.field) == (8, "kinds.spot-weld.model")
    assert problem.message == "the station has no model 'spot-weld': it has clip, stud"
    assert "none at all" in files.only_problem(models=[]).message


def test_a_view_without_points_is_named(files: Files) -> None:
    view = '[[view]]\nid = "right"\ncamera = "c"\nwidth_px = 1\nheight_px = 1\n'
    problem = files.write(toml=TOML + view).only_problem()
    assert (problem.line, problem.field) == (16, "view[1].id")
    assert "no points" in problem.message


def test_a_view_takes_its_limit_of_points_and_not_one_more(files: Files) -> None:
    lines = [ROW.replace("P1", f"P{n}") for n in range(MAX_POINTS_PER_VIEW + 1)]
    assert len(files.write(rows(*lines[1:])).read().points) == MAX_POINTS_PER_VIEW
    problem = files.write(rows(*lines)).only_problem()
    assert (problem.file, problem.line) == (str(files.toml), 11)
    assert f"{MAX_POINTS_PER_VIEW + 1} points" in problem.message


def test_a_duplicate_view_is_named_with_both_lines(files: Files) -> None:
    view = TOML[TOML.index("[[view]]") :]
    problem = files.write(toml=TOML + view).only_problem()
    assert (problem.line, problem.field) == (16, "view[1].id")
    assert "on line 10" in problem.message


@pytest.mark.parametrize(
    ("datums", "line", "field", "message"),
    [
        ([("a", "1", "1"), ("a", "2", "2")], 20, "view[0].datum[1].id", "on line 15"),
        ([("a", "641", "1")], 17, "view[0].datum[0].x_px", "outside the view"),
        ([("a", "1", "480.5")], 18, "view[0].datum[0].y_px", "outside the view"),
        ([("a", "nan", "1")], 17, "view[0].datum[0].x_px", "no finite number"),
        ([("a", "-1", "1")], 17, "view[0].datum[0].x_px", "outside 0 to"),
        ([("a b", "1", "1")], 16, "view[0].datum[0].id", "no identifier"),
    ],
)
def test_a_wrong_datum_is_named(
    files: Files, datums: list[tuple[str, str, str]], line: int, field: str, message: str
) -> None:
    tables = "".join(
        f'[[view.datum]]\nid = "{name}"\nx_px = {x}\ny_px = {y}\n' for name, x, y in datums
    )
    problem = files.write(toml=TOML + tables).only_problem()
    assert (problem.line, problem.field) == (line, field)
    assert message in problem.message


@pytest.mark.parametrize(
    ("old", "new", "line", "field", "message"),
    [
        ('name = "door"', 'name = "a door"', 2, "plan.name", "no identifier"),
        ('name = "door"', "", 1, "plan.name", "is missing"),
        ('version = "1"', "version = 1", 3, "plan.version", "text in quotes"),
        ('version = "1"', 'version = ""', 3, "plan.version", "must not be empty"),
        ("= 5000", "= 99", 4, "plan.deadline_ms", "outside 100 to 600000"),
        ("= 5000", "= 600001", 4, "plan.deadline_ms", "outside 100 to 600000"),
        ("= 5000", "= true", 4, "plan.deadline_ms", "whole number"),
        ("= 5000", "= 5e3", 4, "plan.deadline_ms", "whole number"),
        ("= 5000", "= 0x" + "f" * 5000, 4, "plan.deadline_ms", "thousands of digits"),
        ("deadline_ms", "deadline", 4, "plan.deadline", "did you mean deadline_ms?"),
        ("[kinds.", "[kind.", 7, "kind", "did you mean kinds?"),
        ("[kinds.spot-weld]", '[kinds."spot weld"]', 7, 'kinds."spot weld"', "no identifier"),
        ('model = "spot-weld"', "", 7, "kinds.spot-weld.model", "is missing"),
        ("[[view]]", "[view]", 10, "view", "write each header as [[view]]"),
        ("width_px = 640", "width_px = 640.5", 13, "view[0].width_px", "whole number"),
        ("width_px = 640", "width_px = 0", 13, "view[0].width_px", "outside 1 to"),
        ("height_px = 480", 'trigger = "robot"', 14, "view[0].trigger", "station or plc"),
        ("height_px = 480", 'tone_map = "log"', 14, "view[0].tone_map", "linear or square-root"),
        ("height_px = 480", "fps = 5", 14, "view[0].fps", "unknown"),
        ("[[view]]", '[severity]\nminor = "ok"\n[[view]]', 11, "severity.minor", "hold or nok"),
        ("[[view]]", '[severity]\nsome = "nok"\n[[view]]', 11, "severity.some", "unknown"),
        ("[[view]]", "[extra]\n[[view]]", 10, "extra", "unknown"),
        (
            "[[view]]",
            '[decisions]\ntwo_persons = ["some"]\n[[view]]',
            11,
            "decisions.two_persons",
            "minor or major or critical",
        ),
        (
            "[[view]]",
            "[decisions]\nrepaired_without_inspection = 1\n[[view]]",
            11,
            "decisions.repaired_without_inspection",
            "true or false",
        ),
        (
            "[[view]]",
            f"{CHALLENGE.replace('480', '0')}\n[[view]]",
            12,
            "challenge.interval_minutes",
            "outside 1 to",
        ),
        ("[[view]]", "[challenge]\n[[view]]", 10, "challenge.parts", "is missing"),
        (
            "[[view]]",
            f"{CHALLENGE.replace('P1', 'P9')}\n[[view]]",
            13,
            "challenge.defects.P9",
            "no point of this plan",
        ),
        (
            "[[view]]",
            f"{CHALLENGE.replace('{ P1', '{ ' + chr(34) + 'a b' + chr(34))}\n[[view]]",
            13,
            "challenge.defects",
            "no identifier",
        ),
    ],
)
def test_a_mistake_in_the_toml_file_is_named_with_its_line(
    files: Files, old: str, new: str, line: int, field: str, message: str
) -> None:
    found = files.write(toml=TOML.replace(old, new)).problems()
    assert (str(files.toml), line, field) in [(p.file, p.line, p.field) for p in found]
    assert any(message in problem.message for problem in found if problem.field == field)


def test_a_reference_image_must_exist(files: Files) -> None:
    toml = TOML + 'reference = "good.png"\n'
    problem = files.write(toml=toml).only_problem()
    assert (problem.line, problem.field) == (15, "view[0].reference")
    (files.toml.parent / "good.png").write_bytes(b"png")
    assert files.read().view("left").reference == "good.png"


@pytest.mark.parametrize(
    ("toml", "line"),
    [("[plan\n", 1), ("[plan]\nname = door\n", 2), ("[plan]\na = 1\na = 2\n", 3), ("a = [", 1)],
)
def test_broken_toml_is_named_with_its_line(files: Files, toml: str, line: int) -> None:
    problem = files.write(toml=toml).only_problem()
    assert problem.line == line
    assert "not TOML" in problem.message


def test_a_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.toml: there is no such file"):
        read_plan(tmp_path / "nowhere.toml")


def test_all_mistakes_of_both_files_are_raised_together(files: Files) -> None:
    points = rows(ROW.replace("major", "bad"), "P2,left", ROW.replace("P1", "P 3"))
    toml = TOML.replace('"1"', "1").replace("480", "true")
    found = files.write(points, toml).problems()
    assert [(Path(p.file).name, p.line) for p in found] == [
        ("plan.toml", 3),
        ("plan.toml", 14),
        ("points.csv", 2),
        ("points.csv", 3),
        ("points.csv", 4),
    ]


def test_what_only_follows_from_a_mistake_is_not_a_second_one(files: Files) -> None:
    # The view has no usable size: that its points cannot be checked against it is not their fault.
    problem = files.write(toml=TOML.replace("width_px = 640", "width_px = 0")).only_problem()
    assert problem.field == "view[0].width_px"
    problem = files.write(toml=TOML.replace('model = "spot-weld"', "model = 5")).only_problem()
    assert problem.field == "kinds.spot-weld.model"
    problem = files.write(rows("P1,le ft,spot-weld,1,1,1,1,minor")).only_problem()
    assert problem.field == "view"


@pytest.mark.parametrize(
    "toml", [TOML.replace("[plan]", "[severity]"), TOML.replace('"points.csv"', "5"), "a = 1\n"]
)
def test_points_nobody_could_read_are_not_called_missing(files: Files, toml: str) -> None:
    assert not any("no points" in problem.message for problem in files.write(toml=toml).problems())


FRAGMENTS = [
    '"',
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ";",
    "#",
    "nan",
    "-1",
    "\\",
    "\0",
    "é",
    "\n",
    "[view]",
]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.booleans(), st.integers(0, 400), st.integers(0, 9), st.sampled_from(FRAGMENTS)
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_mutilated_plan_is_a_plan_or_named_mistakes_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[bool, int, int, str]]
) -> None:
    toml, points = TOML, rows(ROW, ROW.replace("P1", "P2"))
    for in_toml, start, length, fragment in cuts:
        text = toml if in_toml else points
        text = text[:start] + fragment + text[start + length :]
        toml, points = (text, points) if in_toml else (toml, text)
    files = Files(tmp_path_factory.getbasetemp()).write(points, toml)
    try:
        plan = files.read()
    except PlanError:
        return
    assert decode_plan(encode_plan(plan)) == plan


# ---------------------------------------------------------------- plans from a store


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"name":"a"}'])
def test_bytes_that_are_no_plan_are_refused(data: bytes) -> None:
    with pytest.raises(PlanError, match="no plan"):
        decode_plan(data)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"view":"left"', b'"view":"x"'), (b'"kind":"s', b'"kind":"S')]
)
def test_a_plan_that_contradicts_itself_is_refused(files: Files, old: bytes, new: bytes) -> None:
    data = encode_plan(files.write().read())
    with pytest.raises(PlanError, match="no view or no kind"):
        decode_plan(data.replace(old, new))


def test_a_plan_that_holds_a_point_twice_is_refused(files: Files) -> None:
    plan = files.write().read()
    with pytest.raises(PlanError, match="twice"):
        decode_plan(encode_plan(msgspec.structs.replace(plan, points=plan.points * 2)))
