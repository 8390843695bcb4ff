"""Sums that pages ask for again and again, kept by the writer in the transaction of each run's
first verdict: by slot of time and plan, and by point for what was not OK.

Most points are OK: those are not written down but are what is left of a slot's runs, so that a run
of 5,000 points with thirty that are not OK costs thirty rows.
"""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from inspection.ledger import Entry, settle
from inspection.messages import Reason, RunVerdict, Verdict
from inspection.store import schema
from inspection.store.rows import entry_of

if TYPE_CHECKING:
    from inspection.store.reader import Reader

SLOT_NS = 15 * 60 * 10**9
"""A quarter of an hour: shifts begin at half past in some plants, and some time zones are off by a
quarter."""

Key = tuple[str, str, str, int, str, str]
"""Point, edge, verdict, reason, finding, view."""

Rows = Callable[..., list[list[Any]]]
"""Asks a file, several statements at once."""

_ADD_SLOT = """
INSERT INTO rollup_slot (slot_ns, plan_hash, station_id, runs, runs_ok, runs_nok, runs_hold,
                         planned, ok, nok, review, not_inspected)
VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (slot_ns, plan_hash) DO UPDATE SET
    runs = runs + 1, runs_ok = runs_ok + excluded.runs_ok,
    runs_nok = runs_nok + excluded.runs_nok, runs_hold = runs_hold + excluded.runs_hold,
    planned = planned + excluded.planned, ok = ok + excluded.ok, nok = nok + excluded.nok,
    review = review + excluded.review, not_inspected = not_inspected + excluded.not_inspected
"""
_ADD_POINT = """
INSERT INTO rollup_point (slot_ns, plan_hash, point_id, edge_id, verdict, reason, finding,
                          station_id, view_id, count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (slot_ns, plan_hash, point_id, edge_id, verdict, reason, finding)
    DO UPDATE SET count = count + excluded.count
"""


@dataclass(frozen=True, slots=True)
class SlotRow:
    """Runs of one plan whose first verdict was formed in a slot, and their points, as they were
    counted then. Re-inspections and challenge parts are not among them."""

    slot_ns: int
    plan_hash: str
    runs: int
    runs_ok: int
    runs_nok: int
    runs_hold: int
    planned: int
    ok: int
    nok: int
    review: int
    not_inspected: int


@dataclass(frozen=True, slots=True)
class PointCount:
    """How often a point of a plan was not OK in a slot, for one reason, by one edge. ``edge`` is
    empty where no edge had the order; ``finding`` is the class, empty where there is none."""

    slot_ns: int
    plan_hash: str
    point: str
    edge: str
    verdict: Verdict
    reason: Reason
    finding: str
    view: str
    count: int


# ------------------------------------------------------------------------------------- writing


def add_run(db: sa.Connection, run: str) -> None:
    """Add a run to the sums that has just had its first verdict, unless it is no production."""
    found = _formed(db, run)
    if found is None:
        return
    slot = found.formed_ns // SLOT_NS * SLOT_NS
    told = found.verdict
    db.exec_driver_sql(
        _ADD_SLOT,
        (
            slot,
            found.plan_hash,
            found.station_id,
            int(told == RunVerdict.OK.value),
            int(told == RunVerdict.NOK.value),
            int(told == RunVerdict.HOLD.value),
            found.planned,
            found.ok,
            found.nok,
            found.review,
            found.not_inspected,
        ),
    )
    rows = [
        (slot, found.plan_hash, point, edge, verdict, reason, finding, found.station_id, view, 1)
        for point, edge, verdict, reason, finding, view in _not_ok(db.execute(_doubtful(run)))
    ]
    if rows:
        db.exec_driver_sql(_ADD_POINT, rows)


def fill(db: sa.Connection) -> None:
    """Add up what a period without sums holds."""
    for run in production(db):
        add_run(db, run)


def production(db: sa.Connection) -> list[str]:
    """The runs whose first verdict this period has formed, in the order of these."""
    verdict = schema.verdict
    first = (
        sa.select(verdict.c.run_id, sa.func.min(verdict.c.verdict_seq).label("seq"))
        .group_by(verdict.c.run_id)
        .subquery()
    )
    begins = sa.select(schema.period.c.verdict_seq).scalar_subquery()
    query = sa.select(first.c.run_id).where(first.c.seq > begins).order_by(first.c.seq)
    return list(db.execute(query).scalars())


def _formed(db: sa.Connection, run: str) -> Any:
    """A run's first verdict with its plan; None where it is no production."""
    verdict, terms = schema.verdict, schema.run_terms
    special = sa.select(terms.c.run_id).where(
        terms.c.run_id == run,
        terms.c.repair_of.is_not(None) | (terms.c.limit_reason == int(Reason.CHALLENGE_PART)),
    )
    return db.execute(
        sa.select(verdict, schema.run.c.plan_hash)
        .join(schema.run, schema.run.c.run_id == verdict.c.run_id)
        .where(verdict.c.run_id == run, ~special.exists())
        .order_by(verdict.c.verdict_seq)
        .limit(1)
    ).first()


def _doubtful(run: str) -> sa.Select[Any]:
    """All that counts of the points of a run that were not OK in some attempt."""
    result, record = schema.result, schema.record
    names = sa.select(result.c.point_id).where(
        result.c.run_id == run, result.c.verdict != Verdict.OK.value
    )
    return (
        sa.select(result, record.c.edge_id)
        .join(record, record.c.number == result.c.record)
        .where(result.c.run_id == run, result.c.point_id.in_(names), result.c.late == sa.false())
        .order_by(result.c.point_id, result.c.record)
    )


def _not_ok(rows: Iterable[Any]) -> Iterator[Key]:
    """The points among those of `_doubtful` that are not OK, as the ledger settles attempts. A row
    that was changed so that nobody can read it is in no sum: the verdict says HOLD for it."""
    for point, tries in itertools.groupby(rows, key=operator.attrgetter("point_id")):
        tried = [(row, entry) for row in tries if (entry := _readable(row)) is not None]
        best = settle([entry for _, entry in tried])
        if best is not None and best.verdict is not Verdict.OK:
            row = next(row for row, entry in tried if entry is best)
            yield point, row.edge_id, row.verdict, row.reason, row.finding, row.view_id


def _readable(row: Any) -> Entry | None:
    try:
        return entry_of(row)
    except ValueError:
        return None


def compared(db: sa.Connection) -> Iterator[tuple[tuple[Any, ...], list[int], list[int]]]:
    """What each sum of a period is of, how it stands there, and what its rows add up to."""

    def rows(*statements: sa.Executable) -> list[list[Any]]:
        return [list(db.execute(statement)) for statement in statements]

    slot, point = schema.rollup_slot, schema.rollup_point
    names = ("plan_hash", "slot_ns", "station_id")
    counts = [column for column in slot.columns if column.name not in names]
    kept: dict[tuple[Any, ...], list[int]] = {}
    made: dict[tuple[Any, ...], list[int]] = {}
    for row in db.execute(sa.select(slot.c.slot_ns, slot.c.plan_hash, *counts)):
        kept[row[0], row[1]] = list(row[2:])
    for slot_ns, plan, *added in _slots_of(rows):
        before = made.get((slot_ns, plan), [0] * len(counts))
        made[slot_ns, plan] = [a + b for a, b in zip(before, added, strict=True)]
    for each in db.execute(sa.select(point)).mappings():
        named = ("point_id", "edge_id", "verdict", "reason", "finding", "view_id")
        kept[each["slot_ns"], each["plan_hash"], *(each[name] for name in named)] = [each["count"]]
    for slot_ns, plan, key in _points_of(rows):
        before = made.get((slot_ns, plan, *key), [0])
        made[slot_ns, plan, *key] = [before[0] + 1]
    for what in sorted({*kept, *made}, key=str):
        yield what, kept.get(what, []), made.get(what, [])


# ------------------------------------------------------------------------------------- reading


def slots(reader: Reader, since_ns: int, until_ns: int) -> list[SlotRow]:
    """The sums of the slots that begin in this time, oldest first. Raises `StoreError`."""
    table = schema.rollup_slot
    columns = [column for column in table.columns if column.name != "station_id"]
    query = sa.select(*columns).where(table.c.slot_ns >= since_ns, table.c.slot_ns < until_ns)
    totals: dict[tuple[int, str], list[int]] = {}
    for period in reader.periods(since_ns=since_ns):
        rows = period.rows(query)[0] if period.has(table) else _slots_of(period.rows)
        for slot, plan, *counts in rows:
            if since_ns <= slot < until_ns:
                before = totals.get((slot, plan), [0] * len(counts))
                totals[slot, plan] = [a + b for a, b in zip(before, counts, strict=True)]
    return [SlotRow(slot, plan, *totals[slot, plan]) for slot, plan in sorted(totals)]


def point_counts(
    reader: Reader,
    since_ns: int,
    until_ns: int,
    *,
    point: str | None = None,
    view: str | None = None,
) -> list[PointCount]:
    """How often points were not OK in the slots that begin in this time, oldest first; of one point
    or of one view where that is given. Raises `StoreError`."""
    table = schema.rollup_point
    query = sa.select(table).where(table.c.slot_ns >= since_ns, table.c.slot_ns < until_ns)
    if point is not None:
        query = query.where(table.c.point_id == point)
    if view is not None:
        query = query.where(table.c.view_id == view)
    totals: Counter[tuple[Any, ...]] = Counter()
    for period in reader.periods(since_ns=since_ns):
        if period.has(table):
            for row in period.rows(query)[0]:
                key = (row.slot_ns, row.plan_hash, row.point_id, row.edge_id)
                totals[*key, row.verdict, row.reason, row.finding, row.view_id] += row.count
            continue
        for slot, plan, each in _points_of(period.rows):
            name, edge, verdict, reason, finding, its_view = each
            wanted = since_ns <= slot < until_ns and point in (None, name)
            if wanted and view in (None, its_view):
                totals[slot, plan, name, edge, verdict, reason, finding, its_view] += 1
    return [
        PointCount(
            slot_ns=key[0],
            plan_hash=key[1],
            point=key[2],
            edge=key[3],
            verdict=Verdict(key[4]),
            reason=Reason(key[5]),
            finding=key[6],
            view=key[7],
            count=totals[key],
        )
        for key in sorted(totals)
    ]


def _production_of(rows: Rows) -> list[Any]:
    """First verdicts of a closed period that has no sums, with their plans."""
    verdict, terms = schema.verdict, schema.run_terms
    (begins,), formed, special = rows(
        sa.select(schema.period.c.verdict_seq),
        sa.select(verdict, schema.run.c.plan_hash)
        .join(schema.run, schema.run.c.run_id == verdict.c.run_id)
        .order_by(verdict.c.verdict_seq),
        sa.select(terms.c.run_id).where(
            terms.c.repair_of.is_not(None) | (terms.c.limit_reason == int(Reason.CHALLENGE_PART))
        ),
    )
    known = {row.run_id for row in special}
    first = []
    for row in formed:
        if row.run_id not in known:
            known.add(row.run_id)
            if row.verdict_seq > begins.verdict_seq:
                first.append(row)
    return first


def _slots_of(rows: Rows) -> Iterable[tuple[Any, ...]]:
    for row in _production_of(rows):
        told = [int(row.verdict == v.value) for v in (RunVerdict.OK, RunVerdict.NOK)]
        told.append(int(row.verdict == RunVerdict.HOLD.value))
        slot = row.formed_ns // SLOT_NS * SLOT_NS
        counts = (row.planned, row.ok, row.nok, row.review, row.not_inspected)
        yield (slot, row.plan_hash, 1, *told, *counts)


def _points_of(rows: Rows) -> Iterable[tuple[int, str, Key]]:
    for formed in _production_of(rows):
        slot = formed.formed_ns // SLOT_NS * SLOT_NS
        for key in _not_ok(rows(_doubtful(formed.run_id))[0]):
            yield slot, formed.plan_hash, key
