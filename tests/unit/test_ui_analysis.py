"""What Analysis adds up: nothing twice, nothing left out, and what people said counted once."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_station_people import OK_NOK, Floor, floor

from inspection.errors import ConfigurationError
from inspection.messages import Action, LookMethod, LookPurpose, LookWord, Reason, Verdict
from inspection.shifts import Calendar
from inspection.store.looks import LookRow, looks
from inspection.store.rollups import SLOT_NS, PointCount, point_counts
from ui import analysis
from ui.analysis import By
from ui.configuration import read_ui

__all__ = ["floor"]

PLAN = "a" * 64


def counted(
    point: str, verdict: Verdict, count: int, finding: str = "", slot: int = 0
) -> PointCount:
    return PointCount(
        slot_ns=slot * SLOT_NS,
        plan_hash=PLAN,
        point=point,
        edge="edge-1",
        verdict=verdict,
        reason=Reason.DEFECT if verdict is Verdict.NOK else Reason.NO_IMAGE,
        finding=finding,
        view="v1",
        count=count,
    )


rows = st.lists(
    st.builds(
        counted,
        st.sampled_from(["p1", "p2", "p3"]),
        st.sampled_from([Verdict.NOK, Verdict.REVIEW, Verdict.NOT_INSPECTED]),
        st.integers(1, 50),
        st.sampled_from(["", "crack", "small"]),
        st.integers(0, 200),
    ),
    min_size=1,
    max_size=20,
)


@given(rows, st.sampled_from(list(By)))
def test_whatever_it_is_by_a_pareto_adds_up_to_all_of_it(counts: list[PointCount], by: By) -> None:
    bars = analysis.pareto(counts, by, {}, Calendar())
    assert sum(bar.total for bar in bars) == sum(each.count for each in counts)
    assert [bar.total for bar in bars] == sorted((bar.total for bar in bars), reverse=True)
    assert bars[-1].share == pytest.approx(1.0)
    assert len({bar.name for bar in bars}) == len(bars)
    assert {point for bar in bars for point in bar.points} == {each.point for each in counts}


def test_a_shift_takes_in_all_of_its_quarters_of_an_hour() -> None:
    counts = [counted("p1", Verdict.NOK, 1, slot=slot) for slot in (4 * 6, 4 * 13 + 3, 4 * 14)]
    bars = analysis.pareto(counts, By.SHIFT, {}, Calendar())
    assert [(bar.name, bar.total) for bar in bars] == [
        ("1970-01-01 early", 2),
        ("1970-01-01 late", 1),
    ]


def test_what_a_real_store_holds_is_added_up_by_class_and_gun(floor: Floor) -> None:
    floor.inspected(OK_NOK, part="part-1")
    floor.inspected((Verdict.NOK, None), part="part-2")
    found = point_counts(floor.reader, 0, 2**62)
    by_point = analysis.pareto(found, By.POINT, {floor.plan.hash: floor.plan}, Calendar())
    assert {bar.name: (bar.nok, bar.missed) for bar in by_point} == {"p1": (1, 1), "p0": (1, 0)}
    by_gun = analysis.pareto(found, By.GUN, {floor.plan.hash: floor.plan}, Calendar())
    assert [bar.name for bar in by_gun] == ["–"]


def test_bodies_are_counted_in_their_order_and_some_together(floor: Floor) -> None:
    for number in range(5):
        floor.inspected(OK_NOK if number % 2 else (Verdict.OK, Verdict.OK), part=f"part-{number}")
    runs = floor.reader.runs()
    one = analysis.subgroups(runs, [Verdict.NOK], 1)
    assert [(each.part, each.count, each.points) for each in one] == [
        (f"part-{number}", number % 2, 2) for number in range(5)
    ]
    assert {each.bodies for each in one} == {1}
    two = analysis.subgroups(runs, [Verdict.NOK], 2)
    assert {each.bodies for each in two} == {2}
    assert [(each.part, each.count, each.points) for each in two] == [
        ("part-1", 1, 4),
        ("part-3", 1, 4),
    ]


def test_a_point_that_fails_three_times_in_five_bodies_is_named_with_the_last(
    floor: Floor,
) -> None:
    for number, bad in enumerate((True, False, True, False, True, False)):
        floor.inspected(OK_NOK if bad else (Verdict.OK, Verdict.OK), part=f"part-{number}")
    runs = floor.reader.runs()
    suspects = floor.reader.suspects([run.run for run in runs])
    (found,) = analysis.repeated(runs, suspects, count=3, within=5)
    assert (found.point, found.defects, found.part) == ("p1", 3, "part-4")
    assert analysis.repeated(runs, suspects, count=4, within=5) == []
    assert analysis.repeated(runs, suspects, count=3, within=4) == []


def test_overkill_is_of_what_people_decided_and_their_last_word_counts(floor: Floor) -> None:
    first = floor.inspected(OK_NOK, part="part-1")
    second = floor.inspected(OK_NOK, part="part-2")
    floor.decide("anna", first, "p1", Action.CONFIRM)
    floor.decide("anna", first, "p1", Action.OVERRULE)
    floor.decide("anna", second, "p1", Action.CONFIRM)
    floor.decide("anna", second, "p0", Action.ESCAPE)
    told = analysis.judged(floor.reader.words([first, second]))
    assert (told.overkill.errors, told.overkill.trials, told.escapes) == (1, 2, 1)
    nothing = analysis.judged([])
    assert (nothing.overkill.rate, nothing.escapes) == (None, 0)


def test_scores_of_a_model_that_is_not_known_make_no_trend(floor: Floor) -> None:
    for number in range(5):
        floor.inspected(OK_NOK, part=f"part-{number}")
    past = floor.reader.past("p1", runs=10, plan_hash=floor.plan.hash)
    assert len(past) == 5
    assert analysis.scores(past, {}) == []
    assert analysis.trend_of([]) is None


def test_tables_are_read_back_as_they_were_written() -> None:
    bars = analysis.pareto([counted("p1", Verdict.NOK, 3, "crack")], By.CLASS, {}, Calendar())
    table = analysis.pareto_table(bars, "class")
    text = analysis.as_csv(table).decode("utf-8-sig")
    assert text.splitlines() == [
        "class,NOK,REVIEW,NOT_INSPECTED,total,share_so_far",
        "crack,3,0,0,3,1.0",
    ]
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(analysis.as_parquet(table))), table)


def test_values_measured_on_the_line_are_charted_and_those_of_studies_are_not(floor: Floor) -> None:
    def look(number: int, value_mm: float | None, purpose: LookPurpose) -> LookRow:
        return LookRow(
            number=number,
            run=f"run-{number}",
            part=f"part-{number}",
            point="p1",
            person="anna",
            roles=frozenset(),
            purpose=purpose,
            method=LookMethod.ULTRASONIC,
            word=LookWord.GOOD,
            finding="",
            value_mm=value_mm,
            study="",
            item="",
            trial=0,
            inclusion=None,
            stratum="",
            comment="",
            looked_ns=number,
        )

    told = analysis.measured(
        [
            look(1, 5.1, LookPurpose.AUDIT),
            look(2, None, LookPurpose.AUDIT),
            look(3, 4.9, LookPurpose.STUDY),
            look(4, 5.3, LookPurpose.AUDIT),
        ]
    )
    assert [(each.part, each.value) for each in told] == [("part-1", 5.1), ("part-4", 5.3)]
    assert looks(floor.reader, point="p1") == []


def test_what_is_an_alarm_is_in_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "ui.toml"
    config.write_text('store = "s.db"\nevidence = "e"\n')
    assert (read_ui(config).file.alarm.defects, read_ui(config).file.alarm.bodies) == (3, 5)
    config.write_text('store = "s.db"\nevidence = "e"\n[alarm]\ndefects = 2\nbodies = 8\n')
    assert (read_ui(config).file.alarm.defects, read_ui(config).file.alarm.bodies) == (2, 8)
    config.write_text('store = "s.db"\nevidence = "e"\n[alarm]\ndefects = 6\n')
    with pytest.raises(ConfigurationError, match=r"alarm\.defects: 6 is more than the 5 bodies"):
        read_ui(config)
