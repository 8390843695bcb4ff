"""What everybody but the station sees of the store: read-only, one snapshot a call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from inspection.errors import StoreError
from inspection.ledger import Balance, Entry, count, settle
from inspection.messages import Reason, RunVerdict, Severity, Verdict
from inspection.plan import Plan, decode_plan
from inspection.store import schema
from inspection.store.database import open_for_reading


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. ``verdict`` is None while it is open; ``acknowledged`` says whether a PLC has taken
    its latest verdict."""

    run: str
    part: str
    plan: str
    begun_ns: int
    closed_ns: int | None
    verdict: RunVerdict | None
    verdict_seq: int | None
    acknowledged: bool
    balance: Balance


@dataclass(frozen=True, slots=True)
class PointRow:
    """The entry that counts for one point of one run, and where its picture is."""

    run: str
    part: str
    plan_hash: str
    view: str
    point: str
    attempt: int
    verdict: Verdict
    reason: Reason
    finding: str
    class_severity: Severity | None
    detail: str
    scores: tuple[float, ...] | None
    evidence: str | None
    late: bool


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something a person should know of."""

    happened_ns: int
    kind: str
    run: str | None
    text: str


class Reader:
    """The store of one station, opened afresh for each question.

    Every method raises `StoreError` where the file is missing or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_for_reading(path)

    def _rows(self, *statements: sa.Executable) -> list[list[Any]]:
        if not self.path.exists():
            raise StoreError(f"{self.path}: there is no store yet: start the station first")
        try:
            with self._engine.connect() as connection:
                return [list(connection.execute(statement)) for statement in statements]
        except DatabaseError as error:
            raise StoreError(f"{self.path}: cannot be read: {error.orig}") from None

    def station(self) -> str:
        """The station whose records these are."""
        ((row,),) = self._rows(sa.select(schema.store_info.c.station_id))
        return str(row.station_id)

    def runs(
        self, *, limit: int | None = None, since_ns: int = 0, part: str | None = None
    ) -> list[RunRow]:
        """Runs begun since a time, newest first."""
        run, verdict, ack = schema.run, schema.verdict, schema.acknowledgement
        latest = (
            sa.select(sa.func.max(verdict.c.verdict_seq).label("seq"), verdict.c.run_id)
            .group_by(verdict.c.run_id)
            .subquery()
        )
        chosen = sa.select(run.c.number).where(run.c.begun_ns >= since_ns)
        if part is not None:
            chosen = chosen.where(run.c.part_id == part)
        chosen = chosen.order_by(run.c.number.desc()).limit(limit)
        numbers = chosen.subquery()
        taken = sa.exists().where(ack.c.verdict_seq == verdict.c.verdict_seq)
        runs, results = self._rows(
            sa.select(
                run.c.run_id,
                run.c.part_id,
                run.c.planned,
                run.c.begun_ns,
                schema.plan.c.name,
                verdict,
                taken.label("taken"),
            )
            .select_from(
                run.join(schema.plan)
                .outerjoin(latest, latest.c.run_id == run.c.run_id)
                .outerjoin(verdict, verdict.c.verdict_seq == latest.c.seq)
            )
            .where(run.c.number.in_(sa.select(numbers.c.number)))
            .order_by(run.c.number.desc()),
            self._result_query()
            .where(schema.result.c.late == sa.false())
            .where(run.c.number.in_(sa.select(numbers.c.number)))
            .where(run.c.run_id.not_in(sa.select(verdict.c.run_id))),
        )
        settled: dict[str, list[PointRow]] = {}
        for row in _settled(results):
            settled.setdefault(row.run, []).append(row)
        return [
            RunRow(
                run=row.run_id,
                part=row.part_id,
                plan=row.name,
                begun_ns=row.begun_ns,
                closed_ns=row.formed_ns,
                verdict=None if row.verdict is None else RunVerdict(row.verdict),
                verdict_seq=row.verdict_seq,
                acknowledged=bool(row.taken),
                balance=(
                    count(row[2], (_entry(point) for point in settled.get(row.run_id, ())))
                    if row.verdict is None
                    else Balance(row[2], row.ok, row.nok, row.review, row.not_inspected, 0)
                ),
            )
            for row in runs
        ]

    def points(
        self,
        *,
        run: str | None = None,
        verdicts: Iterable[Verdict] = tuple(Verdict),
        limit: int | None = None,
        late: bool = False,
    ) -> list[PointRow]:
        """The entry that counts for each point (or, with ``late``, every late one), newest runs
        first; of one run or of all, with one of these verdicts."""
        query = self._result_query().where(schema.result.c.late == sa.literal(late))
        if run is not None:
            query = query.where(schema.result.c.run_id == run)
        wanted = [verdict.value for verdict in verdicts]
        # Attempts at one point are few; whole points are read and settled here, by the one rule.
        inner = schema.result.alias()
        query = query.where(
            sa.exists().where(
                inner.c.run_id == schema.result.c.run_id,
                inner.c.point_id == schema.result.c.point_id,
                inner.c.verdict.in_(wanted),
            )
        ).order_by(schema.run.c.number.desc(), schema.result.c.point_id)
        if limit is not None:
            query = query.limit(limit * 4)
        (rows,) = self._rows(query)
        found = [_point(row) for row in rows] if late else _settled(rows)
        return [row for row in found if row.verdict.value in wanted][:limit]

    @staticmethod
    def _result_query() -> sa.Select[Any]:
        return sa.select(
            schema.result, schema.run.c.part_id, schema.run.c.plan_hash, schema.run.c.number
        ).join_from(schema.result, schema.run, schema.result.c.run_id == schema.run.c.run_id)

    def totals(self, *, since_ns: int = 0) -> Balance:
        """Law 1 over all runs begun since a time, closed and open."""
        sums = dict.fromkeys(("planned", "ok", "nok", "review", "not_inspected"), 0)
        for row in self.runs(since_ns=since_ns):
            for name in sums:
                sums[name] += getattr(row.balance, name)
        settled = sum(sums.values()) - sums["planned"]
        return Balance(**sums, open=sums["planned"] - settled)

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan that some run was opened with."""
        (rows,) = self._rows(
            sa.select(schema.plan.c.document).where(schema.plan.c.plan_hash == plan_hash)
        )
        return decode_plan(rows[0].document) if rows else None

    def events(self, *, limit: int = 50) -> list[EventRow]:
        """The newest events."""
        event = schema.event
        (rows,) = self._rows(
            sa.select(event.c.happened_ns, event.c.kind, event.c.run_id, event.c.text)
            .order_by(event.c.number.desc())
            .limit(limit)
        )
        return [EventRow(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        tables = schema.metadata.sorted_tables
        found = self._rows(*(sa.select(sa.func.count()).select_from(table) for table in tables))
        return {table.name: int(rows[0][0]) for table, rows in zip(tables, found, strict=True)}


def _point(row: Any) -> PointRow:
    return PointRow(
        run=row.run_id,
        part=row.part_id,
        plan_hash=row.plan_hash,
        view=row.view_id,
        point=row.point_id,
        attempt=row.attempt,
        verdict=Verdict(row.verdict),
        reason=Reason(row.reason),
        finding=row.finding,
        class_severity=None if row.class_severity is None else Severity(row.class_severity),
        detail=row.detail,
        scores=None if row.scores is None else tuple(row.scores),
        evidence=row.evidence,
        late=row.late,
    )


def _entry(row: PointRow) -> Entry:
    return Entry(row.point, row.verdict, row.reason, row.finding, row.class_severity)


def _settled(rows: Iterable[Any]) -> list[PointRow]:
    """One row a point: the attempt that counts, by the ledger's own rule."""
    points: dict[tuple[str, str], list[PointRow]] = {}
    for row in rows:
        points.setdefault((row.run_id, row.point_id), []).append(_point(row))
    chosen = []
    for attempts in points.values():
        attempts.sort(key=lambda row: row.attempt or 2**31)  # the station's own word comes last
        winner = settle(_entry(row) for row in attempts)
        chosen.append(next(row for row in attempts if _entry(row) == winner))
    return chosen
