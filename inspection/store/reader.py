"""What everybody but the station sees of the store: read-only, one snapshot of each file a call.

A store has one file a period (`inspection.store.periods`), and a `Reader` shows them as one: of a
run that goes on in a later file, only what that one says.

A page asks every few seconds, and a shift has 1.5 million results. So totals come from the verdicts
(one row a run) and, for runs that have none yet, from their own results; points are found through
the index of those that are not OK.
"""

from __future__ import annotations

import enum
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from inspection import wire
from inspection.decisions import Decision
from inspection.errors import PlanError, StoreError, WireError
from inspection.ledger import Balance
from inspection.messages import (
    Action,
    Reason,
    Role,
    RunVerdict,
    Severity,
    Verdict,
    ViewResult,
)
from inspection.plan import Plan, decode_plan
from inspection.store import schema
from inspection.store.database import open_for_reading
from inspection.store.people import decision_of, decision_seal
from inspection.store.periods import closed_periods, next_file

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
    number: int = 0
    """Runs are numbered in the order in which they began."""


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
    record: int = 0
    """The record that it is in: what a decision on the point says it looked at."""
    policy: str | None = None
    """Hash of the policy that made a verdict of the scores."""


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
class BypassRow:
    """Somebody has switched the inspection off: every part is held until it ends."""

    person: str
    why: str
    since_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class ChallengeRow:
    """The newest part with known defects that went through the line."""

    part: str
    passed: bool
    missed: int
    """Points at which a known defect was not found."""
    finished_ns: int


@dataclass(frozen=True, slots=True)
class WordRow:
    """A person's word on one point, as it was written down. ``seq_before`` is the verdict that the
    person looked at, ``verdict_seq`` the run's latest one after it."""

    number: int
    run: str
    point: str
    person: str
    roles: frozenset[Role]
    action: Action
    finding: str
    severity: Severity | None
    method: str
    comment: str
    seq_before: int
    verdict_seq: int
    decided_ns: int


@dataclass(frozen=True, slots=True)
class TermsRow:
    """What is special about a run: the run it goes on from, the points it looks at (None: the
    whole plan), and why it cannot be OK."""

    repair_of: str | None
    covers: frozenset[str] | None
    limit: Reason


@dataclass(frozen=True, slots=True)
class PastRow:
    """What counted at a point of an earlier body, and when that was begun."""

    number: int
    begun_ns: int
    row: PointRow


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


@cache
def counting() -> sa.ColumnElement[bool]:
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


@cache
def _verdict_of_run() -> sa.ScalarSelect[Any]:
    """The latest verdict of a run, as its sequence number."""
    any_verdict = schema.verdict.alias("any_verdict")
    return (
        sa.select(sa.func.max(any_verdict.c.verdict_seq))
        .where(any_verdict.c.run_id == schema.run.c.run_id)
        .correlate(schema.run)
        .scalar_subquery()
    )


@cache
def _without_verdict() -> sa.ColumnElement[bool]:
    return ~sa.exists().where(schema.verdict.c.run_id == schema.run.c.run_id)


@dataclass(frozen=True, slots=True)
class _Period:
    """One file of a store. ``gone_on`` are runs in it that a later one tells of, ``copied``
    are those that it tells of in an earlier one's place. ``past`` is of a closed one."""

    path: Path
    rows: Callable[..., list[list[Any]]]
    gone_on: tuple[str, ...] = ()
    copied: frozenset[str] = frozenset()
    past: _Past | None = None

    def counts(self, run_id: Any) -> list[sa.ColumnElement[bool]]:
        """The condition, if any, that leaves out what a later period tells."""
        return [run_id.not_in(self.gone_on)] if self.gone_on else []

    def among(self, runs: Collection[str]) -> set[str]:
        """Those of some runs that it tells of."""
        if self.past is not None:
            here = set(self.past.runs.intersection(runs))
        else:
            (found,) = self.rows(
                sa.select(schema.run.c.run_id).where(schema.run.c.run_id.in_(runs))
            )
            here = {row.run_id for row in found}
        return here.difference(self.gone_on)

    def has(self, table: sa.Table) -> bool:
        """Whether the file has a table: one of an older version, not migrated yet, may not."""
        return _has(self.rows, table)


@dataclass(frozen=True, slots=True)
class Newest:
    """How far a store has come; all of its runs before are as they were."""

    closed: int
    """So many periods are closed."""
    run: int
    """The number of the newest run, and the sequence number of the newest verdict."""
    verdict: int


@dataclass(frozen=True, slots=True)
class _Past:
    """What is remembered of a closed period."""

    rows: Callable[..., list[list[Any]]]
    begun_ns: int
    carried: frozenset[str]
    runs: frozenset[str]
    parts: frozenset[str]


class Reader:
    """The store of one station, opened afresh for each question.

    Every method raises `StoreError` where the file is missing or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = open_for_reading(path)
        self._planned: dict[str, tuple[str, ...]] = {}
        self._past: dict[Path, _Past] = {}

    def _rows(self, *statements: sa.Executable) -> list[list[Any]]:
        """Rows of the period that is open."""
        if not self._is_there():
            raise StoreError(f"{self.path}: there is no store (any more): start the station first")
        return self._ask(self.path, self._engine, statements)

    def _is_there(self) -> bool:
        """Whether there is an open period; for a moment of each turn there is none by its name."""
        for _ in range(20):
            if self.path.exists():
                return True
            if not next_file(self.path).exists():
                break
            time.sleep(0.01)
        return self.path.exists()

    @staticmethod
    def _ask(path: Path, engine: sa.Engine, statements: Sequence[sa.Executable]) -> list[list[Any]]:
        try:
            with engine.connect() as connection:
                return [list(connection.execute(statement)) for statement in statements]
        except DBAPIError as error:
            raise StoreError(f"{path}: cannot be read: {error.orig}") from None

    def periods(self, *, since_ns: int = 0) -> Iterator[_Period]:
        """The store's files, for the questions of other modules: the open one and those before it,
        the newest first, back to the one in which a moment lies."""
        return self._periods(since_ns=since_ns)

    def _periods(self, *, since_ns: int = 0) -> Iterator[_Period]:
        """The open period and those before it, the newest first, back to the one in which a moment
        lies."""
        files = closed_periods(self.path)
        if not files:
            yield _Period(self.path, self._rows)
            return
        (begins,), carried = self._rows(
            sa.select(schema.period.c.begun_ns), sa.select(schema.carried.c.run_id)
        )
        gone_on = {row.run_id for row in carried}
        yield _Period(self.path, self._rows, (), frozenset(gone_on))
        begun_ns = begins.begun_ns
        for path in reversed(files):
            if begun_ns <= since_ns:
                return
            past = self._past_of(path)
            yield _Period(path, past.rows, tuple(sorted(gone_on & past.runs)), past.carried, past)
            begun_ns = past.begun_ns
            gone_on |= past.carried

    def _past_of(self, path: Path) -> _Past:
        """A closed period, with what is asked of it again and again and never changes."""
        past = self._past.get(path)
        if past is None:
            engine = open_for_reading(path, closed=True)

            def rows(*statements: sa.Executable) -> list[list[Any]]:
                return self._ask(path, engine, statements)

            (begins,), carried, runs = rows(
                sa.select(schema.period.c.begun_ns),
                sa.select(schema.carried.c.run_id),
                sa.select(schema.run.c.run_id, schema.run.c.part_id),
            )
            past = self._past[path] = _Past(
                rows=rows,
                begun_ns=begins.begun_ns,
                carried=frozenset(row.run_id for row in carried),
                runs=frozenset(row.run_id for row in runs),
                parts=frozenset(row.part_id for row in runs),
            )
        return past

    def _homes(self, runs: Collection[str]) -> Iterator[tuple[_Period, list[str]]]:
        """Where some runs are: each period with those of them that it has and that count there."""
        left = set(runs)
        for period in self._periods():
            if not left:
                return
            here = period.among(left)
            if here:
                yield period, sorted(here)
                left -= here

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
        for period in self._periods():
            found = period.rows(
                *(sa.select(when).order_by(order.desc()).limit(1) for when, order in newest)
            )
            latest = max((int(row[0]) for rows in found for row in rows), default=None)
            if latest is not None:
                return latest
        return None

    def production(self, *, since_ns: int = 0) -> Production:
        """Balances and parts of all runs begun since a time."""
        run, verdict, result = schema.run, schema.verdict, schema.result
        rows: list[Any] = []
        settled: Counter[str] = Counter()
        for period in self._periods(since_ns=since_ns):
            wanted = (run.c.begun_ns >= since_ns, *period.counts(run.c.run_id))
            runs, counted = period.rows(
                sa.select(
                    run.c.number,
                    run.c.part_id,
                    run.c.planned,
                    verdict.c.verdict,
                    verdict.c.ok,
                    verdict.c.nok,
                    verdict.c.review,
                    verdict.c.not_inspected,
                )
                .select_from(run.outerjoin(verdict, verdict.c.verdict_seq == _verdict_of_run()))
                .where(*wanted),
                sa.select(result.c.verdict, sa.func.count().label("points"))
                .where(
                    result.c.run_id.in_(sa.select(run.c.run_id).where(*wanted, _without_verdict())),
                    counting(),
                )
                .group_by(result.c.verdict),
            )
            rows += runs
            for row in counted:
                settled[row.verdict] += row.points
        closed = [row for row in rows if row.verdict is not None]
        still = [row for row in rows if row.verdict is None]
        latest: dict[str, Any] = {}
        first: dict[str, Any] = {}
        for row in sorted(rows, key=lambda row: row.number):
            latest[row.part_id] = row
            first.setdefault(row.part_id, row)
        said = Counter(row.verdict for row in latest.values())
        # Later runs of a part are all in ``rows``, earlier ones may not be.
        before = self._parts_before(since_ns, set(first))
        opened = [row for part, row in first.items() if part not in before and row.verdict]
        return Production(
            runs=len(rows),
            open_runs=len(still),
            closed=Balance(
                sum(row.planned for row in closed),
                sum(row.ok for row in closed),
                sum(row.nok for row in closed),
                sum(row.review for row in closed),
                sum(row.not_inspected for row in closed),
                open=0,
            ),
            open=_open_balance(sum(row.planned for row in still), settled),
            parts_ok=said[RunVerdict.OK.value],
            parts_nok=said[RunVerdict.NOK.value],
            parts_hold=said[RunVerdict.HOLD.value],
            parts_open=said[None],
            first_runs=len(opened),
            first_ok=sum(row.verdict == RunVerdict.OK.value for row in opened),
        )

    def _parts_before(self, since_ns: int, parts: set[str]) -> set[str]:
        """Those of some parts that had a run before a moment."""
        if since_ns <= 0 or not parts:
            return set()
        run = schema.run
        earlier = sa.select(run.c.part_id).where(run.c.begun_ns < since_ns).distinct()
        found = {row.part_id for row in self._rows(earlier)[0]}
        files = closed_periods(self.path)
        if not files:
            return found & parts
        ((begins,),) = self._rows(sa.select(schema.period.c.begun_ns))
        ended_ns = begins.begun_ns
        for path in reversed(files):
            past = self._past_of(path)
            over = ended_ns <= since_ns
            found |= past.parts if over else {row.part_id for row in past.rows(earlier)[0]}
            ended_ns = past.begun_ns
        return found & parts

    def totals(self, *, since_ns: int = 0) -> Balance:
        """Law 1 over all runs begun since a time, closed and open."""
        return self.production(since_ns=since_ns).total

    def runs(
        self, *, limit: int | None = None, since_ns: int = 0, part: str | None = None
    ) -> list[RunRow]:
        """Runs begun since a time, newest first."""
        found: list[tuple[int, RunRow]] = []
        native = 0
        for period in self._periods(since_ns=since_ns):
            if part is not None and period.past is not None and part not in period.past.parts:
                continue
            numbered = self._runs_of(period, limit=limit, since_ns=since_ns, part=part)
            found += numbered
            native += sum(row.run not in period.copied for _, row in numbered)
            # A run that was copied is older than some of an earlier period; the others are not.
            if limit is not None and native >= limit:
                break
        found.sort(key=lambda numbered: -numbered[0])
        return [row for _, row in found[:limit]]

    def newest(self) -> Newest:
        """How far the store has come."""
        closed = len(closed_periods(self.path))
        ((run,),), ((verdict,),) = self._rows(
            sa.select(sa.func.max(schema.run.c.number)),
            sa.select(sa.func.max(schema.verdict.c.verdict_seq)),
        )
        return Newest(closed, run or 0, verdict or 0)

    def runs_since(self, before: Newest) -> list[RunRow] | None:
        """Runs that were begun or got a verdict since, newest first; None where a period has ended
        since, so that all runs must be asked for."""
        if len(closed_periods(self.path)) != before.closed:
            return None
        run, verdict = schema.run, schema.verdict
        touched = sa.or_(
            run.c.number > before.run,
            run.c.run_id.in_(
                sa.select(verdict.c.run_id).where(verdict.c.verdict_seq > before.verdict)
            ),
        )
        numbered = self._runs_of(next(self._periods()), where=touched)
        return [row for _, row in numbered]

    def _runs_of(
        self,
        period: _Period,
        *,
        limit: int | None = None,
        since_ns: int = 0,
        part: str | None = None,
        where: sa.ColumnElement[bool] | None = None,
    ) -> list[tuple[int, RunRow]]:
        """(number, run) of one period, newest first."""
        run, verdict, ack, result = (
            schema.run,
            schema.verdict,
            schema.acknowledgement,
            schema.result,
        )
        chosen = sa.select(run.c.number).where(run.c.begun_ns >= since_ns)
        chosen = chosen.where(*period.counts(run.c.run_id))
        if part is not None:
            chosen = chosen.where(run.c.part_id == part)
        if where is not None:
            chosen = chosen.where(where)
        numbers = sa.select(chosen.order_by(run.c.number.desc()).limit(limit).subquery().c.number)
        taken = sa.exists().where(ack.c.verdict_seq == verdict.c.verdict_seq)
        runs, counted = period.rows(
            sa.select(
                run.c.number,
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
            .where(run.c.number.in_(numbers), _without_verdict(), counting())
            .group_by(run.c.run_id, result.c.verdict),
        )
        settled: dict[str, dict[str, int]] = {}
        for row in counted:
            settled.setdefault(row.run_id, {})[row.verdict] = row.points
        return [(row.number, self._run_row(row, settled.get(row.run_id, {}))) for row in runs]

    def _run_row(self, row: Any, settled: dict[str, int]) -> RunRow:
        return RunRow(
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
                _open_balance(row.run_planned, settled)
                if row.verdict is None
                else Balance(
                    row.run_planned, row.ok, row.nok, row.review, row.not_inspected, open=0
                )
            ),
            number=row.number,
        )

    def coverage(self, run: str) -> Coverage | None:
        """A run against its plan, counted from its results and from no verdict; None where there
        is no such run."""
        result = schema.result
        in_time = sa.and_(result.c.run_id == run, result.c.late == sa.false())

        def number(verdict: Verdict) -> sa.ColumnElement[int]:
            says = sa.case((result.c.verdict == verdict.value, 1), else_=0)
            return sa.func.coalesce(sa.func.sum(says), 0).label(verdict.value)

        questions = (
            sa.select(schema.run.c.plan_hash, schema.run.c.planned).where(
                schema.run.c.run_id == run
            ),
            sa.select(
                sa.func.count().label("rows"),
                sa.func.count(sa.distinct(result.c.point_id)).label("points"),
                *(number(verdict) for verdict in Verdict),
            ).where(in_time),
        )
        # All of it in one look at the period that is open, where the run nearly always is.
        for home in self._periods():
            facts, (counted,) = home.rows(*questions)
            if facts and run not in home.gone_on:
                break
        else:
            return None
        planned = facts[0].planned
        if counted.rows == counted.points == planned:
            # Each point once, as almost always: SQLite has counted already.
            tally = {verdict.value: getattr(counted, verdict.value) for verdict in Verdict}
            return Coverage(_open_balance(planned, tally), ())
        (rows,) = home.rows(
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
        query = query.where(result.c.late == sa.true() if late else counting())
        if Verdict.OK not in wanted:
            query = query.where(_NOT_OK)
        if run is not None:
            query = query.where(result.c.run_id == run)
        query = query.order_by(schema.run.c.number.desc(), result.c.point_id, result.c.attempt)
        found: list[Any] = []
        native = 0
        for period in self._periods():
            (rows,) = period.rows(query.where(*period.counts(result.c.run_id)).limit(limit))
            found += rows
            native += sum(row.run_id not in period.copied for row in rows)
            if (limit is not None and native >= limit) or (run is not None and rows):
                break
        found.sort(key=lambda row: -row.number)
        return [self._point(row) for row in found[:limit]]

    def points_at(self, places: Collection[tuple[str, str]]) -> list[PointRow]:
        """The entry that counts for each of a few points, (run, point) each, in no order."""
        result = schema.result
        found = []
        for period, runs in self._homes({run for run, _ in places}):
            (rows,) = period.rows(
                self._result_query().where(
                    result.c.run_id.in_(runs),
                    result.c.point_id.in_({point for _, point in places}),
                    counting(),
                )
            )
            found += [self._point(row) for row in rows if (row.run_id, row.point_id) in places]
        return found

    def records(self, run: str) -> list[RecordRow]:
        """Every record of a run, late ones too, in the order in which they came."""
        record = schema.record
        rows: list[Any] = []
        for home, _ in self._homes([run]):
            (rows,) = home.rows(
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

    def sealed_words(self, run: str) -> tuple[dict[str, tuple[Decision, ...]], bool]:
        """What people said of a run, by point, in the order in which it was said, and whether the
        chain of its seals holds: each over its row and the one before it."""
        found: defaultdict[str, list[Decision]] = defaultdict(list)
        before, intact = "", True
        for home, _ in self._homes([run]):
            table = schema.decision
            if not _has(home.rows, table):
                continue
            (rows,) = home.rows(
                sa.select(table).where(table.c.run_id == run).order_by(table.c.number)
            )
            for row in rows:
                word = dict(zip(table.columns.keys(), row, strict=True))
                intact = intact and word["seal"] == decision_seal(before, word)
                before = word["seal"]
                try:
                    found[word["point_id"]].append(decision_of(word))
                except ValueError:
                    intact = False
        return {point: tuple(words) for point, words in found.items()}, intact

    def suspects(self, runs: Sequence[str]) -> list[Suspect]:
        """Every NOK and REVIEW point of these runs, in no order."""
        result = schema.result
        # One question a verdict: for two at once SQLite reads whole runs instead of the index.
        found: list[list[Any]] = []
        for period, here in self._homes(runs):
            found += period.rows(
                *(
                    sa.select(
                        result.c.run_id,
                        result.c.point_id,
                        result.c.verdict,
                        result.c.class_severity,
                    ).where(
                        result.c.run_id.in_(here),
                        result.c.verdict == verdict.value,
                        _NOT_OK,
                        counting(),
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
        rows: list[Any] = []
        for period, here in self._homes(runs):
            (found,) = period.rows(
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
                    result.c.run_id.in_(here),
                    result.c.verdict == Verdict.NOT_INSPECTED.value,
                    _NOT_OK,
                    counting(),
                )
                .group_by(result.c.run_id, result.c.view_id, result.c.reason)
                .order_by(result.c.run_id, result.c.view_id, result.c.reason)
            )
            rows += found
        rows.sort(key=lambda row: (row.run_id, row.view_id, row.reason))
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
        rows: list[Any] = []
        for home, _ in self._homes([absence.run]):
            (rows,) = home.rows(
                sa.select(result.c.point_id)
                .where(
                    result.c.run_id == absence.run,
                    result.c.view_id == absence.view,
                    result.c.reason == int(absence.reason),
                    result.c.verdict == Verdict.NOT_INSPECTED.value,
                    _NOT_OK,
                    counting(),
                )
                .order_by(result.c.point_id)
                .limit(limit)
            )
        return [str(row.point_id) for row in rows]

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan that some run was opened with."""
        wanted = sa.select(schema.plan.c.document).where(schema.plan.c.plan_hash == plan_hash)
        rows = next((found for p in self._periods() if (found := p.rows(wanted)[0])), [])
        try:
            return decode_plan(rows[0].document) if rows else None
        except PlanError as error:
            raise StoreError(f"{self.path}: plan {plan_hash[:12]}: {error}") from None

    def events(self, *, limit: int = 50) -> list[EventRow]:
        """The newest events."""
        event = schema.event
        found: list[EventRow] = []
        for period in self._periods():
            (rows,) = period.rows(
                sa.select(event.c.happened_ns, event.c.kind, event.c.run_id, event.c.text)
                .order_by(event.c.number.desc())
                .limit(limit - len(found))
            )
            found += [EventRow(*row) for row in rows]
            if len(found) >= limit:
                break
        return found

    def guard(self) -> tuple[BypassRow | None, ChallengeRow | None]:
        """The bypass that holds, and the newest challenge of the open period; None for what there
        is none of, and where a store of an older version cannot know."""
        bypass, challenge = schema.bypass, schema.challenge
        if not _has(self._rows, bypass):
            return None, None
        switched, proved = self._rows(
            sa.select(bypass).order_by(bypass.c.number.desc()).limit(1),
            sa.select(challenge).order_by(challenge.c.number.desc()).limit(1),
        )
        return (
            next(
                (
                    BypassRow(row.person, row.why, row.happened_ns, row.until_ns)
                    for row in switched
                    if row.change == "begin"
                ),
                None,
            ),
            next(
                (
                    ChallengeRow(row.part_id, row.passed, len(row.missed), row.finished_ns)
                    for row in proved
                ),
                None,
            ),
        )

    def words(self, runs: Collection[str]) -> list[WordRow]:
        """What people said of these runs, in the order in which they said it."""
        decision = schema.decision
        found: list[WordRow] = []
        for period, ids in self._homes(runs):
            if not _has(period.rows, decision):
                continue
            (rows,) = period.rows(
                sa.select(decision).where(decision.c.run_id.in_(ids)).order_by(decision.c.number)
            )
            found += [self._word(row) for row in rows]
        return sorted(found, key=lambda word: word.number)

    def newest_word(self) -> int:
        """The number of the newest word of a person: whoever knows it needs not ask again."""
        if not _has(self._rows, schema.decision):
            return 0
        ((newest,),) = self._rows(sa.select(sa.func.max(schema.decision.c.number)))
        return int(newest[0] or 0)

    def decided_since(self, number: int) -> dict[str, int]:
        """Runs of which something was said after the word of this number, each with the number of
        the last. What is said of a run is in the period that is open, or, where that has just
        begun, in the one before."""
        found: dict[str, int] = {}
        decision = schema.decision
        for period in islice(self._periods(), 2):
            if _has(period.rows, decision):
                (rows,) = period.rows(
                    sa.select(decision.c.run_id, sa.func.max(decision.c.number).label("last"))
                    .where(decision.c.number > number)
                    .group_by(decision.c.run_id)
                )
                for row in rows:
                    found[row.run_id] = max(row.last, found.get(row.run_id, 0))
        return found

    def suspect_rows(self, runs: Sequence[str]) -> list[PointRow]:
        """Everything about each NOK and REVIEW point of these runs, in no order."""
        result = schema.result
        found: list[PointRow] = []
        for period, here in self._homes(runs):
            for rows in period.rows(
                *(
                    self._result_query().where(
                        result.c.run_id.in_(here),
                        result.c.verdict == verdict.value,
                        _NOT_OK,
                        counting(),
                    )
                    for verdict in (Verdict.NOK, Verdict.REVIEW)
                )
            ):
                found += [self._point(row) for row in rows]
        return found

    def terms(self, runs: Collection[str]) -> dict[str, TermsRow]:
        """What is special about those of these runs that have anything special."""
        terms, found = schema.run_terms, {}
        for period, ids in self._homes(runs):
            if not _has(period.rows, terms):
                continue
            (rows,) = period.rows(sa.select(terms).where(terms.c.run_id.in_(ids)))
            for row in rows:
                covers = None if row.covers is None else frozenset(row.covers)
                limit = self._known(Reason, row.limit_reason)
                found[row.run_id] = TermsRow(row.repair_of, covers, limit)
        return found

    def past(
        self, point: str, *, before: int | None = None, runs: int = 20, plan_hash: str | None = None
    ) -> list[PastRow]:
        """What counted at a point in the newest runs (of one plan), newest first; ``before`` a run
        of that number. The runs are found through their numbers and the point through its key, so
        that it takes the same time however many results there are. ``runs`` is how many are looked
        at in each period; those that did not look at the point are left out."""
        run = schema.run
        found: list[PastRow] = []
        looked = 0
        for period in self._periods():
            chosen = sa.select(run.c.run_id).where(*period.counts(run.c.run_id))
            if before is not None:
                chosen = chosen.where(run.c.number < before)
            if plan_hash is not None:
                chosen = chosen.where(run.c.plan_hash == plan_hash)
            (ids,) = period.rows(chosen.order_by(run.c.number.desc()).limit(runs - looked))
            looked += len(ids)
            if ids:
                (rows,) = period.rows(
                    self._result_query()
                    .add_columns(run.c.begun_ns)
                    .where(
                        schema.result.c.run_id.in_([row.run_id for row in ids]),
                        schema.result.c.point_id == point,
                        counting(),
                    )
                )
                found += [PastRow(row.number, row.begun_ns, self._point(row)) for row in rows]
            if looked >= runs:
                break
        return sorted(found, key=lambda past: -past.number)

    def rest_on_more(self, runs: Collection[str]) -> set[str]:
        """Those of some runs whose verdict rests on more than their own records: on what people
        said, or on the run that they go on from."""
        decision, terms = schema.decision, schema.run_terms
        found: set[str] = set()
        for period, ids in self._homes(runs):
            if not _has(period.rows, decision):
                continue
            for rows in period.rows(
                sa.select(decision.c.run_id).where(decision.c.run_id.in_(ids)).distinct(),
                sa.select(terms.c.run_id).where(
                    terms.c.run_id.in_(ids), terms.c.repair_of.is_not(None)
                ),
            ):
                found.update(row.run_id for row in rows)
        return found

    def evidence_of(self, media_type: str) -> list[str]:
        """Hashes of all evidence of a kind, the oldest first."""
        table = schema.evidence
        found: dict[str, int] = {}
        for period in self._periods():
            (rows,) = period.rows(
                sa.select(table.c.sha256, table.c.stored_ns).where(table.c.media_type == media_type)
            )
            found.update({row.sha256: row.stored_ns for row in rows})
        return sorted(found, key=lambda sha256: (found[sha256], sha256))

    def counts(self) -> dict[str, int]:
        """How many rows each table has, over all periods; a row that was copied counts once."""
        total: Counter[str] = Counter()
        for period in self._periods():
            tables = schema.metadata.sorted_tables
            found = period.rows(
                *(
                    sa.select(sa.func.count())
                    .select_from(table)
                    .where(*(period.counts(table.c.run_id) if table in schema.OF_RUNS else ()))
                    for table in tables
                )
            )
            for table, rows in zip(tables, found, strict=True):
                total[table.name] += int(rows[0][0])
        return dict(total)

    # --------------------------------------------------------------------------------- rows

    @staticmethod
    @cache
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
            record=row.record,
            policy=row.policy_hash,
        )

    def _word(self, row: Any) -> WordRow:
        return WordRow(
            number=row.number,
            run=row.run_id,
            point=row.point_id,
            person=row.person,
            roles=frozenset(self._known(Role, role) for role in row.roles.split()),
            action=self._known(Action, row.action),
            finding=row.finding,
            severity=self._severity(row.severity),
            method=row.method,
            comment=row.comment,
            seq_before=row.expected_seq,
            verdict_seq=row.verdict_seq,
            decided_ns=row.decided_ns,
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


def _has(rows: Callable[..., list[list[Any]]], table: sa.Table) -> bool:
    """Whether a file has a table: one of an older version, not migrated yet, may not."""
    named = sa.text("SELECT 1 FROM sqlite_master WHERE name = :name")
    return bool(rows(named.bindparams(name=table.name))[0])


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
