"""No question of a page reads all results: what takes a moment today takes one with ten million."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from test_station_people import OK_NOK, Floor, one_file

from inspection.clock import SystemClock
from inspection.messages import Action, LookPurpose, Verdict
from inspection.record import part_record
from inspection.shifts import Calendar
from inspection.store import Reader
from inspection.store.gauge_rows import gauge_rows
from inspection.store.health import health
from inspection.store.judged import judged_by, scored
from inspection.store.looks import looks, studies
from inspection.store.parts import parts_like, proof
from inspection.store.rollups import point_counts, slots
from inspection.store.score_rows import score_rows
from inspection.store.shadows import newest_reports
from ui import drifting
from ui.audits import Audits
from ui.queries import Line
from ui.studies import Studies
from ui.waiting import Waiting

__all__ = ["one_file"]

LARGE = ("result", "record")
"""The tables that hold every point of every body."""


@contextmanager
def listening() -> Iterator[list[tuple[str, Any]]]:
    """Every statement that is sent to any database meanwhile."""
    said: list[tuple[str, Any]] = []

    def heard(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        said.append((statement, parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", heard)
    try:
        yield said
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", heard)


def ask_everything(floor: Floor, reader: Reader) -> None:
    """What the pages ask."""
    run = reader.runs()[0]
    ids = [row.run for row in reader.runs(limit=5)]
    health(reader)
    line = Line(reader, SystemClock())
    assert not isinstance(line.look(8), str)
    assert not isinstance(line.look(None), str)
    waiting = Waiting(reader, SystemClock())
    waiting.look()
    reader.points(run=run.run)
    reader.points(run=run.run, verdicts=[Verdict.OK])
    reader.points_at([(run.run, "p1")])
    reader.past("p1", before=run.number, runs=12, plan_hash=run.plan_hash)
    reader.coverage(run.run)
    reader.suspects(ids)
    reader.suspect_rows(ids)
    reader.absences(ids)
    reader.words(ids)
    reader.records(run.run)
    reader.events(limit=10)
    reader.guard()
    reader.runs(part=run.part)
    parts_like(reader, "part")
    proof(reader, run.run)
    part_record(reader, run.part, 0)
    slots(reader, 0, 2**62)
    point_counts(reader, 0, 2**62)
    point_counts(reader, 0, 2**62, point="p1")
    looks(reader, purpose=LookPurpose.AUDIT, since_ns=1)
    looks(reader, study="msa")
    studies(reader)
    newest_reports(reader, pieces=10, most=10)
    Studies(reader, {}).listed()
    judged_by(reader, ids)
    scored(reader, run.run, "a" * 64)
    score_rows(reader, run.plan_hash, ["p0", "p1"], bodies=5)
    score_rows(reader, run.plan_hash, ["p0", "p1"], bodies=5, oldest=True)
    drifting.compared(reader, run.plan_hash, floor.plan, {}, 2**62)
    gauge_rows(reader, "p0", bodies=5, plan_hash=run.plan_hash)
    gauge_rows(reader, "p0", bodies=1, run=run.run)
    Audits(reader).population(Calendar().shift_at(floor.clock.wall_ns()))


def test_a_question_that_reads_all_results_would_be_seen(one_file: Floor) -> None:
    one_file.inspected(OK_NOK)
    with sqlite3.connect(one_file.folder / "station.db") as database:
        plan = database.execute("EXPLAIN QUERY PLAN SELECT count(*) FROM result WHERE detail = ''")
        assert any(step[3].startswith("SCAN result") for step in plan)
    database.close()


def test_no_question_of_a_page_reads_all_results(one_file: Floor) -> None:
    for number in range(6):
        run = one_file.inspected(OK_NOK, part=f"part-{number}")
    one_file.inspected((Verdict.OK, None), part="part-missing")
    one_file.decide("anna", run, "p1", Action.CONFIRM)
    reader = one_file.reader
    with listening() as said:
        ask_everything(one_file, reader)
    asked = {statement for statement, _ in said if statement.lstrip().startswith("SELECT")}
    assert len(asked) > 20
    scans = []
    with sqlite3.connect(one_file.folder / "station.db") as database:
        for statement, parameters in said:
            if not statement.lstrip().startswith("SELECT"):
                continue
            plan = database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            sorts = any("TEMP B-TREE" in step[3] for step in plan)
            scans += [
                f"{step[3]}: {statement}"
                for step in plan
                if any(step[3].startswith(f"SCAN {table}") for table in LARGE)
                # Everything that is not OK is in an index of its own, which is small.
                and "result_not_ok" not in step[3]
                # The first few in the order of the key are read and no more.
                and (sorts or "WHERE" in statement or "LIMIT" not in statement)
            ]
    database.close()
    assert scans == []
