"""Sums by slot and point: always those of the rows they are made of."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_station_people import OK_NOK, Floor, floor, one_file

from inspection.messages import Action, Verdict
from inspection.store import schema
from inspection.store.check import check_store
from inspection.store.rollups import SLOT_NS, PointCount, SlotRow, point_counts, slots

__all__ = ["floor", "one_file"]

ALWAYS = 2**62
LATER_MS = SLOT_NS // 1_000_000


def of_plan(rows: list[SlotRow]) -> list[tuple[int, ...]]:
    return [
        (row.runs, row.runs_ok, row.runs_nok, row.runs_hold, row.planned, row.ok, row.nok)
        for row in rows
    ]


def counted(rows: list[PointCount]) -> list[tuple[str, Verdict, int]]:
    return [(row.point, row.verdict, row.count) for row in rows]


def test_runs_are_summed_by_the_slot_of_their_first_verdict(floor: Floor) -> None:
    floor.inspected((Verdict.OK, Verdict.OK), part="part-1")
    floor.inspected(OK_NOK, part="part-2")
    floor.clock.advance(ms=LATER_MS)
    floor.inspected(OK_NOK, part="part-3")
    found = slots(floor.reader, 0, ALWAYS)
    assert of_plan(found) == [(2, 1, 1, 0, 4, 3, 1), (1, 0, 1, 0, 2, 1, 1)]
    assert all(row.slot_ns % SLOT_NS == 0 for row in found)
    first, second = found[0].slot_ns, found[1].slot_ns
    assert slots(floor.reader, second, ALWAYS) == found[1:]
    assert slots(floor.reader, first, second) == found[:1]
    assert counted(point_counts(floor.reader, 0, ALWAYS)) == [("p1", Verdict.NOK, 1)] * 2
    assert counted(point_counts(floor.reader, second, ALWAYS)) == [("p1", Verdict.NOK, 1)]
    assert point_counts(floor.reader, 0, ALWAYS, point="p0") == []
    view = next(point.view for point in floor.plan.points if point.id == "p1")
    (one, _) = point_counts(floor.reader, 0, ALWAYS, view=view)
    assert (one.edge, bool(one.finding), one.view) == ("edge-1", True, view)
    assert point_counts(floor.reader, 0, ALWAYS, view="elsewhere") == []


def test_a_word_of_a_person_changes_no_sum_and_a_repair_is_none(floor: Floor) -> None:
    run = floor.inspected(OK_NOK)
    before = slots(floor.reader, 0, ALWAYS), point_counts(floor.reader, 0, ALWAYS)
    floor.decide("anna", run, "p1", Action.CONFIRM)
    floor.decide("anna", run, "p1", Action.REPAIRED, method="welded anew")
    floor.inspected((None, Verdict.OK), points=("p1",), repair_of=run)
    assert (slots(floor.reader, 0, ALWAYS), point_counts(floor.reader, 0, ALWAYS)) == before


def test_a_point_that_is_missing_counts_with_its_reason_and_once(floor: Floor) -> None:
    floor.inspected((Verdict.OK, None))
    ((point, verdict, count),) = counted(point_counts(floor.reader, 0, ALWAYS))
    assert (point, verdict, count) == ("p1", Verdict.NOT_INSPECTED, 1)
    (row,) = slots(floor.reader, 0, ALWAYS)
    assert (row.runs_hold, row.not_inspected, row.ok) == (1, 1, 1)


def test_sums_only_rise_and_are_checked_against_the_rows(one_file: Floor) -> None:
    one_file.inspected(OK_NOK)
    path = one_file.folder / "station.db"
    one_file.store.close()
    with sqlite3.connect(path) as database:
        for statement in (
            "DELETE FROM rollup_slot",
            "DELETE FROM rollup_point",
            "UPDATE rollup_slot SET ok = 0",
            "UPDATE rollup_point SET count = 0",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="only rises"):
                database.execute(statement)
        database.execute("UPDATE rollup_point SET count = 7")
        database.execute("UPDATE rollup_slot SET ok = 9")
    database.close()
    (found,) = check_store(path)
    assert sum("the sums of" in said for said in found.wrong) == 2
    one_file.start()


def test_a_file_without_sums_gives_the_same_ones(one_file: Floor) -> None:
    one_file.inspected((Verdict.OK, Verdict.OK), part="part-1")
    one_file.inspected(OK_NOK, part="part-2")
    one_file.inspected((Verdict.REVIEW, None), part="part-3")
    kept = slots(one_file.reader, 0, ALWAYS), point_counts(one_file.reader, 0, ALWAYS)
    assert kept[1]
    with sqlite3.connect(one_file.folder / "station.db") as database:
        for table in schema.COUNTED:
            database.execute(f"DROP TABLE {table.name}")
    database.close()
    assert (slots(one_file.reader, 0, ALWAYS), point_counts(one_file.reader, 0, ALWAYS)) == kept


said = st.sampled_from([Verdict.OK, Verdict.OK, Verdict.NOK, Verdict.REVIEW, None])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(said, said, st.sampled_from([0, LATER_MS])), min_size=1, max_size=6),
    st.booleans(),
)
def test_whatever_comes_the_sums_add_up_to_the_verdicts(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[Verdict | None, Verdict | None, int]],
    turning: bool,
) -> None:
    floor = Floor(tmp_path_factory.mktemp("floor"))
    floor.turning = turning
    for number, (one, two, wait_ms) in enumerate(runs):
        floor.clock.advance(ms=wait_ms)
        floor.inspected((one, two), part=f"part-{number}")
    rows = slots(floor.reader, 0, ALWAYS)
    assert sum(row.runs for row in rows) == len(runs)
    assert sum(row.runs_ok + row.runs_nok + row.runs_hold for row in rows) == len(runs)
    balance = floor.reader.totals()
    assert sum(row.ok for row in rows) == balance.ok
    not_ok = balance.nok + balance.review + balance.not_inspected
    assert sum(row.count for row in point_counts(floor.reader, 0, ALWAYS)) == not_ok
    path = floor.folder / "station.db"
    assert all(found.wrong == [] for found in check_store(path))
    floor.store.close()
