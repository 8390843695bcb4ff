"""Drift on the page: who is asked what, against which time, and what is called an alarm."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import msgspec
import pytest
from test_station_people import OK_NOK, Floor, floor, one_file
from test_ui_analysis import PLAN, counted

from inspection.drift import holm
from inspection.messages import Severity, Verdict
from inspection.package import DEFECT_QUANTILES, open_package, seal
from inspection.policy import Policy
from inspection.store.rollups import SLOT_NS, SlotRow
from inspection.store.score_rows import MOST_BODIES, ScoreRow, score_rows
from inspection.testing.packages import build_package
from ui import analysis, drifting
from ui.configuration import Known, read_ui
from ui.drifting import Unit

__all__ = ["floor", "one_file"]

LEFT, RIGHT = Unit("camera", "left", ("p1", "p2")), Unit("camera", "right", ("p3", "p4"))


def slot(number: int, runs: int = 10) -> SlotRow:
    return SlotRow(number * SLOT_NS, PLAN, runs, runs, 0, 0, 4 * runs, 4 * runs, 0, 0, 0)


def test_the_newest_shift_is_compared_with_the_first_and_never_with_itself() -> None:
    before, now = drifting.periods([slot(number) for number in range(100, 0, -1)])
    assert [row.slot_ns // SLOT_NS for row in before] == list(range(1, 33))
    assert [row.slot_ns // SLOT_NS for row in now] == list(range(69, 101))
    assert drifting.periods([slot(number) for number in range(39)]) == ([], [])
    assert len(drifting.periods([slot(number) for number in range(40)])[1]) == 8


def test_a_class_that_comes_up_at_one_camera_is_an_alarm_of_that_camera_only() -> None:
    before, now = [slot(n) for n in range(32)], [slot(n) for n in range(50, 82)]
    old = [counted("p1", Verdict.NOK, 1, "crack", slot=n) for n in range(0, 32, 8)]
    new = [counted("p1", Verdict.NOK, 2, "crack", slot=n) for n in range(50, 82)]
    same = [
        counted("p3", Verdict.NOT_INSPECTED, 1, slot=n)
        for n in (*range(0, 32, 4), *range(50, 82, 4))
    ]
    asked = drifting.by_count(
        [LEFT, RIGHT],
        before,
        [*old, *(each for each in same if each.slot_ns < 32 * SLOT_NS)],
        now,
        [*new, *(each for each in same if each.slot_ns >= 50 * SLOT_NS)],
    )
    told = {(unit.name, what): change for unit, what, change in asked}
    assert len(told) == 2
    crack = told["left", "crack"]
    assert (crack.before, crack.now) == (pytest.approx(4 / 640), pytest.approx(64 / 640))
    adjusted = dict(zip(told, holm([each.p_value for each in told.values()]), strict=True))
    assert adjusted["left", "crack"] < 0.01
    (other,) = (p for (name, _), p in adjusted.items() if name == "right")
    assert other == 1.0


def known_model(*quantiles: float) -> Known:
    policy = Policy(
        version=1,
        package="a" * 64,
        ok_class="good",
        ok_min=0.9,
        nok_min={"crack": 0.5},
        author="anna",
        created="2026-01-01",
        why="a test",
    )
    return Known(
        classes=("crack", "good"),
        severities={"crack": Severity.MAJOR},
        margin=0.1,
        policy=policy,
        quantiles=quantiles,
    )


def scored(number: int, defect: float, package: str = "m") -> list[ScoreRow]:
    row = ScoreRow(
        number, f"run-{number}", f"part-{number}", 0, "p1", package, (defect, 1 - defect)
    )
    return [row, dataclasses.replace(row, point="p3", scores=(0.02, 0.98))]


def test_a_score_that_moves_before_any_verdict_does_is_seen_at_its_camera() -> None:
    models = {"m": known_model()}
    before = [row for n in range(50) for row in scored(n, 0.02 + n * 1e-4)]
    now = [row for n in range(90, 140) for row in scored(n, 0.06 + (n - 90) * 1e-4)]
    asked, bodies = drifting.by_score([LEFT, RIGHT], before, now, models)
    told = {unit.name: change for unit, _, change in asked}
    assert bodies == (50, 50)
    assert told["left"].p_value < 1e-10
    assert told["left"].now == pytest.approx(0.0625, abs=1e-3)
    assert told["right"].p_value == 1.0


def test_scores_of_another_model_or_of_the_same_bodies_are_not_compared() -> None:
    models = {"m": known_model()}
    other = [row for n in range(50) for row in scored(n, 0.02, "old")]
    mine = [row for n in range(50) for row in scored(n, 0.02)]
    now = [row for n in range(60, 110) for row in scored(n, 0.06)]
    assert drifting.by_score([LEFT], other, now, models) == ([], (0, 50))
    assert drifting.by_score([LEFT], mine, mine, models) == ([], (50, 0))
    assert drifting.by_score([LEFT], mine, now, {}) == ([], (0, 0))
    assert drifting.by_score([LEFT], [], [], models) == ([], (0, 0))


def test_points_that_stand_for_their_cameras_are_few_and_from_all_of_them() -> None:
    many = [Unit("camera", f"c{n}", tuple(f"{n}-{k}" for k in range(600))) for n in range(8)]
    points = drifting.chosen_points(many)
    assert len(points) == 96
    assert {point.split("-")[0] for point in points} == {str(n) for n in range(8)}
    assert drifting.evenly(["a", "b", "c"], 10) == ["a", "b", "c"]


def test_scores_come_from_so_many_of_the_oldest_or_newest_bodies(floor: Floor) -> None:
    for number in range(5):
        floor.inspected(OK_NOK, part=f"part-{number}")
    plan = floor.plan.hash
    oldest = score_rows(floor.reader, plan, ["p1"], bodies=2, oldest=True)
    newest = score_rows(floor.reader, plan, ["p1"], bodies=2)
    assert [row.part for row in oldest] == ["part-0", "part-1"]
    assert [row.part for row in newest] == ["part-3", "part-4"]
    assert {row.point for row in newest} == {"p1"}
    with pytest.raises(ValueError, match="at most"):
        score_rows(floor.reader, plan, ["p1"], bodies=MOST_BODIES + 1)


def test_a_store_of_a_few_bodies_has_too_little_to_compare(floor: Floor) -> None:
    floor.inspected(OK_NOK)
    told = drifting.compared(floor.reader, floor.plan.hash, floor.plan, {}, 2**62)
    assert (told.drifts, told.slots) == ((), (0, 0))


def of_gun(number: int, *defects: float, package: str = "m") -> list[ScoreRow]:
    return [
        ScoreRow(
            number,
            f"run-{number}",
            f"part-{number}",
            0,
            f"p{place}",
            package,
            (defect, 1 - defect),
        )
        for place, defect in enumerate(defects)
    ]


def test_a_worn_electrode_shows_at_its_gun_before_any_of_its_points_is_a_defect() -> None:
    rows = [row for n in range(40) for row in of_gun(n, *(0.02 + 0.002 * n,) * 4)]
    series = analysis.gun_scores(rows, [f"p{place}" for place in range(4)], {"m": known_model()})
    assert [each.part for each in series] == [f"part-{n}" for n in range(40)]
    assert max(each.value for each in series) < 0.1
    told = analysis.trend_of(series)
    assert told is not None
    assert told.slope == pytest.approx(0.002)
    assert told.p_value < 1e-6


def test_a_gun_has_no_score_on_bodies_that_show_few_of_its_points_nor_of_an_older_model() -> None:
    rows = [*of_gun(1, 0.9, 0.9, package="old"), *of_gun(2, 0.2), *of_gun(3, 0.2, 0.2)]
    points = ["p0", "p1", "p2", "p3"]
    assert [each.part for each in analysis.gun_scores(rows, points, {"m": known_model()})] == [
        "part-3"
    ]
    assert analysis.gun_scores(rows, points, {}) == []
    assert analysis.gun_scores([], points, {}) == []


def test_a_store_that_began_well_says_what_has_drifted_since(one_file: Floor) -> None:
    for number in range(2 * drifting.PERIOD_SLOTS):
        bad = number >= drifting.PERIOD_SLOTS
        verdicts = (Verdict.OK, Verdict.NOK if bad else Verdict.OK)
        one_file.clock.advance(ns=SLOT_NS)
        one_file.inspected(verdicts, part=f"part-{number}")
    now_ns = one_file.clock.wall_ns()
    told = drifting.compared(one_file.reader, one_file.plan.hash, one_file.plan, {}, now_ns)
    assert told.slots == (32, 32)
    (alarm,) = told.alarms
    assert (alarm.unit.kind, alarm.before, alarm.now) == ("camera", 0.0, 0.5)
    assert alarm.p_value < 1e-4


def test_scores_are_held_against_training_where_the_package_says_what_those_were() -> None:
    rows = [row for n in range(30) for row in scored(n, 0.2 + n * 1e-3)]
    deciles = (0.001, 0.002, 0.004, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
    asked = drifting.by_training([LEFT, RIGHT], rows, {"m": known_model(*deciles)})
    told = {unit.name: change for unit, _, change in asked}
    assert told["left"].now == pytest.approx(0.95)
    assert told["left"].p_value < 0.01
    assert drifting.by_training([LEFT], rows, {"m": known_model()}) == []
    assert drifting.by_training([LEFT], [], {}) == []


@pytest.mark.parametrize(
    ("told", "known"),
    [
        ({DEFECT_QUANTILES: [0.1, 0.2]}, (0.1, 0.2)),
        ({}, ()),
        ({DEFECT_QUANTILES: [0.2, 0.1]}, ()),
        ({DEFECT_QUANTILES: "much"}, ()),
    ],
)
def test_a_package_says_what_scores_were_in_training_or_it_does_not(
    tmp_path: Path, told: dict[str, object], known: tuple[float, ...]
) -> None:
    folder = tmp_path / "m"
    build_package(folder)
    opened = open_package(folder)
    seal(folder, msgspec.structs.replace(opened.manifest, metrics=told), opened.policy)
    config = tmp_path / "ui.toml"
    config.write_text('store = "s.db"\nevidence = "e"\nmodels = ["m"]\n')
    assert [each.quantiles for each in read_ui(config).models.values()] == [known]
