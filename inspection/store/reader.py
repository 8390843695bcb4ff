"""What everybody but the station sees of the store: read-only, one snapshot a call.

A page asks every few seconds, and a shift has 1.5 million results. So totals come from the verdicts
(one row a run) and, for runs that have none yet, from their own results; points are found through
the index of those that are not OK.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from inspection import wire
from inspection.errors import PlanError, StoreError, WireError
from inspection.ledger import Balance
from inspection.messages import Reason, RunVerdict, Severity, Verdict, ViewResult
from inspection.plan import Plan, decode_plan
from inspection.store import schema
from inspection.store.database import open_for_reading

E = TypeVar("E", bound=enum.Enum)

SYSTEM_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run. ``verdict`` is None while it is open; ``acknowledged`` says whether a PLC has taken
    its latest verdict."""

    run: str
    part: str
    plan: str
    plan_hash: str
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
    package: str | None
    """Hash of the model package whose classes ``scores`` are of."""
    evidence: str | None
    late: bool


@dataclass(frozen=True, slots=True)
class RecordRow:
    """What came of one order, exactly as the edge sent it, and when the station took it up, just
    before its commit (nanoseconds of the station's wall clock). Attempt 0 is the station's own
    word."""

    answer: ViewResult
    received_ns: int
    late: bool


@dataclass(frozen=True, slots=True)
class Suspect:
    """Names a point that is NOK or REVIEW: enough to count and to order many of them."""

    run: str
    point: str
    verdict: Verdict
    class_severity: Severity | None


@dataclass(frozen=True, slots=True)
class Absence:
    """The points of one view of one run that are NOT_INSPECTED for one reason. ``first`` and
    ``last`` by id; ``detail`` and ``evidence`` are one of theirs, out of ``details`` different
    texts (an empty one not counted)."""

    run: str
    view: str
    reason: Reason
    points: int
    first: str
    last: str
    detail: str
    details: int
    evidence: str | None


@dataclass(frozen=True, slots=True)
class Production:
    """What a station has done since a time.

    ``closed`` and ``open`` are law 1 over runs with and without a verdict. Neither side of it is
    computed from the other: ``closed.open`` is 0 because a closed run has nothing open, and
    ``planned`` is what was written down when the run began.
    """

    runs: int
    open_runs: int
    closed: Balance
    open: Balance
    parts_ok: int
    """Parts by what their latest run says."""
    parts_nok: int
    parts_hold: int
    parts_open: int
    first_runs: int
    """Parts whose first run ever began since then and has its verdict ..."""
    first_ok: int
    """... and those of them that were OK at once: first-pass yield is their share."""

    @property
    def total(self) -> Balance:
        """Law 1 over all runs."""
        closed, still = self.closed, self.open
        return Balance(
            planned=closed.planned + still.planned,
            ok=closed.ok + still.ok,
            nok=closed.nok + still.nok,
            review=closed.review + still.review,
            not_inspected=closed.not_inspected + still.not_inspected,
            open=closed.open + still.open,
        )


@dataclass(frozen=True, slots=True)
class Coverage:
    """A run against its plan: law 1, and the ids of planned points that nothing is on record of."""

    balance: Balance
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventRow:
    """Something a person should know of."""

    happened_ns: int
    kind: str
    run: str | None
    text: str


# ------------------------------------------------------------------------- the ledger's rules

_NOT_OK = schema.result.c.verdict != sa.literal_column("'OK'")
"""Literally as in the index of results that are not OK: with a bound value instead of the text,
SQLite would not know that the index serves."""


def _rank(result: Any) -> sa.ColumnElement[int]:
    """`inspection.ledger.settle` in SQL: the lowest rank counts, among equals the first record."""
    return sa.case(
        (result.c.verdict == Verdict.NOK.value, 0),
        (result.c.verdict == Verdict.REVIEW.value, 1),
        (result.c.reason == int(Reason.RECORD_CONFLICT), 2),
        (result.c.verdict == Verdict.OK.value, 3),
        else_=4,
    )


def _rank_of(verdict: str, reason: int) -> int:
    """`_rank` of one row."""
    if verdict == Verdict.NOK.value:
        return 0
    if verdict == Verdict.REVIEW.value:
        return 1
    if reason == int(Reason.RECORD_CONFLICT):
        return 2
    return 3 if verdict == Verdict.OK.value else 4


def _counts() -> sa.ColumnElement[bool]:
    """Whether a row of ``result`` is the one that counts among all attempts at its point."""
    result, other = schema.result, schema.result.alias("other")
    better = sa.or_(
        _rank(other) < _rank(result),
        sa.and_(_rank(other) == _rank(result), other.c.record < result.c.record),
    )
    outranked = sa.exists().where(
        other.c.run_id == result.c.run_id,
        other.c.point_id == result.c.point_id,
        other.c.late == sa.false(),
        better,
    )
    return sa.and_(result.c.late == sa.false(), ~outranked)


def _verdict_of_run() -> sa.ScalarSelect[Any]:
    """The latest verdict of a run, as its sequence number."""
    any_verdict = schema.verdict.alias("any_verdict")
    return (
        sa.select(sa.func.max(any_verdict.c.verdict_seq))
        .where(any_verdict.c.run_id == schema.run.c.run_id)
        .correlate(schema.run)
        .scalar_subquery()
    )


def _without_verdict() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(schema.verdict.c.run_id == schema.run.c.run_id)


class Reader:
    """The store of one station, opened afresh for each question.

    Every method raises `StoreError` where the file is missing or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_for_reading(path)
        self._planned: dict[str, tuple[str, ...]] = {}

    def _rows(self, *statements: sa.Executable) -> list[list[Any]]:
        if not self.path.exists():
            raise StoreError(f"{self.path}: there is no store (any more): start the station first")
        try:
            with self._engine.connect() as connection:
                return [list(connection.execute(statement)) for statement in statements]
        except DBAPIError as error:
            raise StoreError(f"{self.path}: cannot be read: {error.orig}") from None

    def station(self) -> str:
        """The station whose records these are."""
        (rows,) = self._rows(sa.select(schema.store_info.c.station_id))
        if len(rows) != 1:
            raise StoreError(f"{self.path}: does not say whose store it is")
        return str(rows[0].station_id)

    def station_is_running(self) -> bool | None:
        """Whether some process of this machine holds the lock that a station holds while it runs;
        None where the system does not tell. Asks the system and leaves the lock alone, because a
        reader that held it for a moment would keep a station from starting."""
        try:
            inode = Path(f"{self.path}.lock").stat().st_ino
        except OSError:
            return False
        try:
            locks = SYSTEM_LOCKS.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        # "1: FLOCK ADVISORY WRITE 4711 fe:00:2146452 0 EOF"; the device is not compared, because
        # layered file systems tell another one here than in stat.
        held = (line.split() for line in locks)
        return any(
            len(words) == 8 and words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode)
            for words in held
        )

    def newest_ns(self) -> int | None:
        """When the station last wrote anything, None where it never has."""
        newest = (
            (schema.run.c.begun_ns, schema.run.c.number),
            (schema.record.c.received_ns, schema.record.c.number),
            (schema.verdict.c.formed_ns, schema.verdict.c.verdict_seq),
            (schema.acknowledgement.c.acknowledged_ns, schema.acknowledgement.c.verdict_seq),
            (schema.event.c.happened_ns, schema.event.c.number),
        )
        found = self._rows(
            *(sa.select(when).order_by(order.desc()).limit(1) for when, order in newest)
        )
        return max((int(row[0]) for rows in found for row in rows), default=None)

    def production(self, *, since_ns: int = 0) -> Production:
        """Balances and parts of all runs begun since a time."""
        run, verdict = schema.run, schema.verdict
        another = run.alias("another")
        same_part = another.c.part_id == run.c.part_id
        runs = (
            sa.select(
                run.c.run_id,
                run.c.planned,
                verdict.c.verdict,
                verdict.c.ok,
                verdict.c.nok,
                verdict.c.review,
                verdict.c.not_inspected,
                (~sa.exists().where(same_part, another.c.number > run.c.number)).label("latest"),
                (~sa.exists().where(same_part, another.c.number < run.c.number)).label("first"),
            )
            .select_from(run.outerjoin(verdict, verdict.c.verdict_seq == _verdict_of_run()))
            .where(run.c.begun_ns >= since_ns)
            .cte("runs")
        )

        def total(value: Any) -> sa.ColumnElement[int]:
            return sa.func.coalesce(sa.func.sum(value), 0)

        def number(*conditions: Any) -> sa.ColumnElement[int]:
            return total(sa.case((sa.and_(*conditions), 1), else_=0))

        said = runs.c.verdict
        is_open = said.is_(None)
        result = schema.result
        (sums,), settled = self._rows(
            sa.select(
                sa.func.count().label("runs"),
                number(is_open).label("open_runs"),
                total(sa.case((is_open, 0), else_=runs.c.planned)).label("closed_planned"),
                total(sa.case((is_open, runs.c.planned), else_=0)).label("open_planned"),
                total(runs.c.ok).label("ok"),
                total(runs.c.nok).label("nok"),
                total(runs.c.review).label("review"),
                total(runs.c.not_inspected).label("not_inspected"),
                number(runs.c.latest, said == RunVerdict.OK.value).label("parts_ok"),
                number(runs.c.latest, said == RunVerdict.NOK.value).label("parts_nok"),
                number(runs.c.latest, said == RunVerdict.HOLD.value).label("parts_hold"),
                number(runs.c.latest, is_open).label("parts_open"),
                number(runs.c.first, said.is_not(None)).label("first_runs"),
                number(runs.c.first, said == RunVerdict.OK.value).label("first_ok"),
            ),
            sa.select(result.c.verdict, sa.func.count())
            .where(
                result.c.run_id.in_(
                    sa.select(run.c.run_id).where(run.c.begun_ns >= since_ns, _without_verdict())
                ),
                _counts(),
            )
            .group_by(result.c.verdict),
        )
        return Production(
            runs=sums.runs,
            open_runs=sums.open_runs,
            closed=Balance(
                sums.closed_planned, sums.ok, sums.nok, sums.review, sums.not_inspected, open=0
            ),
            open=_open_balance(sums.open_planned, dict(tuple(row) for row in settled)),
            parts_ok=sums.parts_ok,
            parts_nok=sums.parts_nok,
            parts_hold=sums.parts_hold,
            parts_open=sums.parts_open,
            first_runs=sums.first_runs,
            first_ok=sums.first_ok,
        )

    def totals(self, *, since_ns: int = 0) -> Balance:
        """Law 1 over all runs begun since a time, closed and open."""
        return self.production(since_ns=since_ns).total

    def runs(
        self, *, limit: int | None = None, since_ns: int = 0, part: str | None = None
    ) -> list[RunRow]:
        """Runs begun since a time, newest first."""
        run, verdict, ack, result = (
            schema.run,
            schema.verdict,
            schema.acknowledgement,
            schema.result,
        )
        chosen = sa.select(run.c.number).where(run.c.begun_ns >= since_ns)
        if part is not None:
            chosen = chosen.where(run.c.part_id == part)
        numbers = sa.select(chosen.order_by(run.c.number.desc()).limit(limit).subquery().c.number)
        taken = sa.exists().where(ack.c.verdict_seq == verdict.c.verdict_seq)
        runs, counted = self._rows(
            sa.select(
                run.c.run_id,
                run.c.part_id,
                run.c.plan_hash,
                run.c.planned.label("run_planned"),
                run.c.begun_ns,
                schema.plan.c.name,
                verdict.c.verdict_seq,
                verdict.c.verdict,
                verdict.c.ok,
                verdict.c.nok,
                verdict.c.review,
                verdict.c.not_inspected,
                verdict.c.formed_ns,
                taken.label("taken"),
            )
            .select_from(
                run.join(schema.plan).outerjoin(verdict, verdict.c.verdict_seq == _verdict_of_run())
            )
            .where(run.c.number.in_(numbers))
            .order_by(run.c.number.desc()),
            sa.select(run.c.run_id, result.c.verdict, sa.func.count().label("points"))
            .select_from(run.join(result, result.c.run_id == run.c.run_id))
            .where(run.c.number.in_(numbers), _without_verdict(), _counts())
            .group_by(run.c.run_id, result.c.verdict),
        )
        settled: dict[str, dict[str, int]] = {}
        for row in counted:
            settled.setdefault(row.run_id, {})[row.verdict] = row.points
        return [
            RunRow(
                run=row.run_id,
                part=row.part_id,
                plan=row.name,
                plan_hash=row.plan_hash,
                begun_ns=row.begun_ns,
                closed_ns=row.formed_ns,
                verdict=None if row.verdict is None else self._known(RunVerdict, row.verdict),
                verdict_seq=row.verdict_seq,
                acknowledged=bool(row.taken),
                balance=(
                    _open_balance(row.run_planned, settled.get(row.run_id, {}))
                    if row.verdict is None
                    else Balance(
                        row.run_planned, row.ok, row.nok, row.review, row.not_inspected, open=0
                    )
                ),
            )
            for row in runs
        ]

    def coverage(self, run: str) -> Coverage | None:
        """A run against its plan, counted from its results and from no verdict; None where there
        is no such run."""
        result = schema.result
        in_time = sa.and_(result.c.run_id == run, result.c.late == sa.false())

        def number(verdict: Verdict) -> sa.ColumnElement[int]:
            says = sa.case((result.c.verdict == verdict.value, 1), else_=0)
            return sa.func.coalesce(sa.func.sum(says), 0).label(verdict.value)

        facts, (counted,) = self._rows(
            sa.select(schema.run.c.plan_hash, schema.run.c.planned).where(
                schema.run.c.run_id == run
            ),
            sa.select(
                sa.func.count().label("rows"),
                sa.func.count(sa.distinct(result.c.point_id)).label("points"),
                *(number(verdict) for verdict in Verdict),
            ).where(in_time),
        )
        if not facts:
            return None
        planned = facts[0].planned
        if counted.rows == counted.points == planned:
            # Each point once, as almost always: SQLite has counted already.
            tally = {verdict.value: counted._mapping[verdict.value] for verdict in Verdict}
            return Coverage(_open_balance(planned, tally), ())
        (rows,) = self._rows(
            sa.select(result.c.point_id, result.c.verdict, result.c.reason, result.c.record).where(
                in_time
            )
        )
        best: dict[str, tuple[int, int, str]] = {}
        for point, verdict, reason, record in rows:
            entry = (_rank_of(verdict, reason), record, verdict)
            if point not in best or entry < best[point]:
                best[point] = entry
        names = self._points_planned(facts[0].plan_hash)
        tally = Counter(verdict for _, _, verdict in best.values())
        return Coverage(
            _open_balance(planned, tally), tuple(point for point in names if point not in best)
        )

    def _points_planned(self, plan_hash: str) -> tuple[str, ...]:
        """The ids a plan asks for, read once: what a hash names does not change."""
        if plan_hash not in self._planned:
            plan = self.plan(plan_hash)
            if plan is None:
                raise StoreError(f"{self.path}: plan {plan_hash[:12]} is not on record")
            self._planned[plan_hash] = tuple(point.id for point in plan.points)
        return self._planned[plan_hash]

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
        result = schema.result
        wanted = set(verdicts)
        query = self._result_query().where(result.c.verdict.in_([each.value for each in wanted]))
        query = query.where(result.c.late == sa.true() if late else _counts())
        if Verdict.OK not in wanted:
            query = query.where(_NOT_OK)
        if run is not None:
            query = query.where(result.c.run_id == run)
        query = query.order_by(schema.run.c.number.desc(), result.c.point_id, result.c.attempt)
        (rows,) = self._rows(query.limit(limit))
        return [self._point(row) for row in rows]

    def points_at(self, places: Collection[tuple[str, str]]) -> list[PointRow]:
        """The entry that counts for each of a few points, (run, point) each, in no order."""
        result = schema.result
        (rows,) = self._rows(
            self._result_query().where(
                result.c.run_id.in_({run for run, _ in places}),
                result.c.point_id.in_({point for _, point in places}),
                _counts(),
            )
        )
        return [self._point(row) for row in rows if (row.run_id, row.point_id) in places]

    def records(self, run: str) -> list[RecordRow]:
        """Every record of a run, late ones too, in the order in which they came."""
        record = schema.record
        (rows,) = self._rows(
            sa.select(record.c.number, record.c.raw, record.c.received_ns, record.c.late)
            .where(record.c.run_id == run)
            .order_by(record.c.number)
        )
        found = []
        for row in rows:
            try:
                answer = wire.RECORD.decode(row.raw)
            except WireError as error:
                raise StoreError(f"{self.path}: record {row.number}: {error}") from None
            if isinstance(answer, ViewResult):  # a gap in an outbox answers no order
                found.append(RecordRow(answer, row.received_ns, row.late))
        return found

    def suspects(self, runs: Sequence[str]) -> list[Suspect]:
        """Every NOK and REVIEW point of these runs, in no order."""
        result = schema.result
        # One question a verdict: for two at once SQLite reads whole runs instead of the index.
        found = self._rows(
            *(
                sa.select(
                    result.c.run_id, result.c.point_id, result.c.verdict, result.c.class_severity
                ).where(
                    result.c.run_id.in_(runs),
                    result.c.verdict == verdict.value,
                    _NOT_OK,
                    _counts(),
                )
                for verdict in (Verdict.NOK, Verdict.REVIEW)
            )
        )
        return [
            Suspect(
                row.run_id,
                row.point_id,
                self._known(Verdict, row.verdict),
                self._severity(row.class_severity),
            )
            for rows in found
            for row in rows
        ]

    def absences(self, runs: Sequence[str]) -> list[Absence]:
        """What is NOT_INSPECTED in these runs, by run, view and reason."""
        result = schema.result
        detail = sa.func.nullif(result.c.detail, "")
        (rows,) = self._rows(
            sa.select(
                result.c.run_id,
                result.c.view_id,
                result.c.reason,
                sa.func.count().label("points"),
                sa.func.min(result.c.point_id).label("first"),
                sa.func.max(result.c.point_id).label("last"),
                sa.func.coalesce(sa.func.min(detail), "").label("detail"),
                sa.func.count(sa.distinct(detail)).label("details"),
                sa.func.min(result.c.evidence).label("evidence"),
            )
            .where(
                result.c.run_id.in_(runs),
                result.c.verdict == Verdict.NOT_INSPECTED.value,
                _NOT_OK,
                _counts(),
            )
            .group_by(result.c.run_id, result.c.view_id, result.c.reason)
            .order_by(result.c.run_id, result.c.view_id, result.c.reason)
        )
        return [
            Absence(
                run=row.run_id,
                view=row.view_id,
                reason=self._known(Reason, row.reason),
                points=row.points,
                first=row.first,
                last=row.last,
                detail=row.detail,
                details=row.details,
                evidence=row.evidence,
            )
            for row in rows
        ]

    def absent_points(self, absence: Absence, *, limit: int) -> list[str]:
        """The ids of an absence's points, sorted."""
        result = schema.result
        (rows,) = self._rows(
            sa.select(result.c.point_id)
            .where(
                result.c.run_id == absence.run,
                result.c.view_id == absence.view,
                result.c.reason == int(absence.reason),
                result.c.verdict == Verdict.NOT_INSPECTED.value,
                _NOT_OK,
                _counts(),
            )
            .order_by(result.c.point_id)
            .limit(limit)
        )
        return [str(row.point_id) for row in rows]

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan that some run was opened with."""
        (rows,) = self._rows(
            sa.select(schema.plan.c.document).where(schema.plan.c.plan_hash == plan_hash)
        )
        try:
            return decode_plan(rows[0].document) if rows else None
        except PlanError as error:
            raise StoreError(f"{self.path}: plan {plan_hash[:12]}: {error}") from None

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

    # --------------------------------------------------------------------------------- rows

    @staticmethod
    def _result_query() -> sa.Select[Any]:
        return sa.select(
            schema.result, schema.run.c.part_id, schema.run.c.plan_hash, schema.run.c.number
        ).join_from(schema.result, schema.run, schema.result.c.run_id == schema.run.c.run_id)

    def _point(self, row: Any) -> PointRow:
        return PointRow(
            run=row.run_id,
            part=row.part_id,
            plan_hash=row.plan_hash,
            view=row.view_id,
            point=row.point_id,
            attempt=row.attempt,
            verdict=self._known(Verdict, row.verdict),
            reason=self._known(Reason, row.reason),
            finding=row.finding,
            class_severity=self._severity(row.class_severity),
            detail=row.detail,
            scores=None if row.scores is None else tuple(row.scores),
            package=row.package_hash,
            evidence=row.evidence,
            late=row.late,
        )

    def _severity(self, value: str | None) -> Severity | None:
        return None if value is None else self._known(Severity, value)

    def _known(self, kind: type[E], value: Any) -> E:
        """A value as a member of its enum. A store with another one was written by a newer
        software or damaged, and guessing what it means is not for a page."""
        try:
            return kind(value)
        except ValueError:
            name = kind.__name__
            raise StoreError(f"{self.path}: {name} {value!r} is not known here") from None


def _open_balance(planned: int, settled: dict[str, int]) -> Balance:
    """Law 1 for open runs. More points than planned would show as a balance that is not exact."""
    return Balance(
        planned=planned,
        ok=settled.get(Verdict.OK.value, 0),
        nok=settled.get(Verdict.NOK.value, 0),
        review=settled.get(Verdict.REVIEW.value, 0),
        not_inspected=settled.get(Verdict.NOT_INSPECTED.value, 0),
        open=max(0, planned - sum(settled.values())),
    )
