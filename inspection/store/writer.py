"""The one writer.

Everything is written inside `Store.transaction`: what belongs together is committed together, and
only after that may anybody be told. If a commit fails, nothing of it is there, a `StoreError` says
so, and the caller must rebuild what it holds in memory from what is on record.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from inspection import __version__
from inspection.clock import Clock
from inspection.durable import sync_folder
from inspection.errors import PlanError, StoreError, WireError
from inspection.ledger import Balance, Entry
from inspection.messages import Inspected, Missed, RunVerdict, ViewResult
from inspection.plan import Plan, decode_plan
from inspection.store import schema
from inspection.store.database import insert_into, open_for_reading, open_for_writing
from inspection.store.people import Basis, PeopleTables
from inspection.store.periods import (
    build_next,
    carry,
    closed_name,
    closed_periods,
    finish_turn,
    next_file,
    next_turn_ns,
    seal_before,
)
from inspection.store.rollups import add_run
from inspection.store.rows import entry_of
from inspection.wire import RECORD

ALL_VIEWS = "*"
"""In ``view_trigger``: the PLC's word that there are no more views."""


def chain_start(run: str) -> str:
    """The head of an empty chain of records."""
    return hashlib.sha256(run.encode()).hexdigest()


def chain_next(head: str, digest: str) -> str:
    """The head after one more record."""
    return hashlib.sha256((head + digest).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record of a run: what came, and what the station made of it then. Either is None where
    it can no longer be read."""

    view: str
    attempt: int
    late: bool
    answer: ViewResult | None
    entries: frozenset[Entry] | None
    number: int = 0


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run that has no verdict yet, with everything on record about it, in order."""

    run: str
    part: str
    plan: Plan
    plc: str
    boot_id: str
    deadline_mono_ns: int
    triggered: frozenset[str]
    orders: tuple[tuple[str, int, str], ...]
    """(view, attempt, edge)"""
    records: tuple[StoredRecord, ...]
    intact: bool
    """Whether the chain of records holds."""


@dataclass(frozen=True, slots=True)
class StoredVerdict:
    """The latest verdict of a run."""

    verdict_seq: int
    run: str
    verdict: RunVerdict
    balance: Balance


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What never changes about a run."""

    run: str
    part: str
    plan_name: str
    plan_hash: str
    planned: int
    plc: str = ""


@dataclass(slots=True)
class _Recalled:
    """A run as its answers are checked against it, in memory: what is on record and what the open
    transaction has added."""

    facts: RunFacts
    head: str
    orders: dict[tuple[str, int], str]
    """The edge by (view, attempt)."""
    answers: dict[tuple[str, int], str]
    """The digest of the record by (view, attempt)."""
    here: bool
    """Whether the run is in the open period."""


RECALLED_RUNS = 64
"""Runs kept in memory; any other is read again when something comes in for it."""
RECALLED_PLANS = 8
OPEN_PERIODS = 256
"""Closed files that are kept open to look something up in."""
LARGEST_PERIOD = 2 * 2**30
"""A file of so many bytes is closed also before its time, so that no start takes too long."""
LEAST_ROOM = 64 * 2**20
"""Bytes: what is open can still be finished and told with so much, and nothing begun."""
LARGE_LOG = 64 * 2**20
"""Bytes of write-ahead log that nobody should ever see; a few are usual."""
SECOND_NS = 10**9
UNNEEDED_NS = SECOND_NS // 10
"""So long after the last one a transaction is begun though nothing may have to be written."""
AGAIN_NS = 10 * SECOND_NS
"""How soon a turn is tried again that somebody's reading has prevented."""
PATIENCE_NS = 600 * SECOND_NS
"""How long a turn waits for a moment without an open run, which saves copying."""


_INSERT = {table: insert_into(table) for table in (schema.order, schema.record, schema.result)}
_ADVANCE = "UPDATE outbox SET committed = ? WHERE outbox_id = ?"


class Store(PeopleTables):
    """One station's records, in one SQLite file a period (`inspection.store.periods`); ``turns``
    are the times of day at which a period ends. A file of an older schema version is migrated,
    after a backup.

    Raises `StoreError` where the file belongs to another station, is of a newer schema version, is
    damaged or is open in another station process.
    """

    def __init__(
        self, path: Path, station_id: str, clock: Clock, turns: Sequence[str] = ()
    ) -> None:
        self.path = path
        self._turns = turns
        self._not_before_ns = 0
        self.turn_fault = ""
        """Why the last turn failed, empty where it did not."""
        self._log_told = False
        self._log_path = Path(f"{path}-wal")
        self._closed: OrderedDict[Path, sa.Connection] = OrderedDict()
        self.station_id = station_id
        self._clock = clock
        self._connection: sa.Connection | None = None
        """That of the open transaction, once it has been needed."""
        self._kept: sa.Connection | None = None
        self._inside = False
        self._begun_ns = 0
        self._lock = self._take_lock(path)
        try:
            finish_turn(path)
            if path.exists():
                # SQLite opens what it may not write for reading, and says so at the first record.
                os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except StoreError:
            os.close(self._lock)
            raise
        except OSError as error:
            os.close(self._lock)
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
        self._engine = open_for_writing(path)
        self._recalled: OrderedDict[str, _Recalled] = OrderedDict()
        self._plans: dict[str, Plan] = {}
        self._waiting: dict[sa.Table, list[tuple[Any, ...]]] = {
            table: [] for table in (schema.order, schema.record, schema.result)
        }
        """Rows of the open transaction in the order of their columns, written when somebody asks
        or at its end, many at a time."""
        try:
            self._open()
        except (sqlite3.Error, DatabaseError) as error:
            self.close()
            raise StoreError(f"{path}: cannot be opened: {_first_line(error)}") from None
        except StoreError:
            self.close()
            raise

    @staticmethod
    def _take_lock(path: Path) -> int:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError(f"{path.parent}: cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreError(f"{path}: another station has this store open") from None
        return lock

    def _open(self) -> None:
        with self._engine.connect() as connection:
            known = set(sa.inspect(connection).get_table_names())
            if known and "store_info" not in known:
                raise StoreError(f"{self.path}: is a database, but not of this system")
            if not known:
                schema.metadata.create_all(connection)
                info: dict[str, Any] = {
                    "schema_version": schema.SCHEMA_VERSION,
                    "station_id": self.station_id,
                    "created_ns": self._clock.wall_ns(),
                    "software": __version__,
                }
                connection.execute(schema.store_info.insert(), info)
                first = {"number": 1, "begun_ns": info["created_ns"], "verdict_seq": 0, "seal": ""}
                first["station_id"] = self.station_id
                connection.execute(schema.period.insert(), first)
                connection.commit()
            found = connection.execute(
                sa.select(schema.store_info.c.schema_version, schema.store_info.c.station_id)
            ).one()
            if found.schema_version > schema.SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path}: has schema version {found.schema_version}, this software knows"
                    f" {schema.SCHEMA_VERSION} at most: use the software that made it"
                )
            if found.station_id != self.station_id:
                raise StoreError(
                    f"{self.path}: belongs to station {found.station_id}, not {self.station_id}"
                )
            check = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            if check != "ok":
                raise StoreError(f"{self.path}: is damaged ({check}): restore a backup")
            if found.schema_version < schema.SCHEMA_VERSION:
                connection.rollback()
                # Alembic takes longer to import than a station to start, and is seldom needed.
                from inspection.store.migrations import migrate

                migrate(self.path, connection, found.schema_version, self._clock.wall_ns())
            last = connection.exec_driver_sql(
                "SELECT seq FROM sqlite_sequence WHERE name = 'record'"
            ).scalar()
            self._next_record = (last or 0) + 1
            self._period = connection.execute(sa.select(schema.period)).one()
            connection.rollback()
        self._inode = self.path.stat().st_ino
        self._size = 0
        self._due_ns = next_turn_ns(self._period.begun_ns, self._turns)

    def close(self) -> None:
        """Close the file and let another station have it."""
        while self._closed:
            self._closed.popitem()[1].close()
        self._let_go()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -------------------------------------------------------------------------- transaction

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside is committed together on leaving, or not at all.

        It is begun when it is first needed: a station hears much that leaves nothing to write. But
        now and then without need, so that a file that cannot be written is known before a part is
        begun. Raises `StoreError` where that fails; the store itself can be used again.
        """
        next_record = self._next_record
        self._check_file()
        try:
            self._inside = True
            if self._clock.monotonic_ns() - self._begun_ns > UNNEEDED_NS:
                self._begin()
            yield
            self._flush()
            if self._connection is not None:
                self._connection.commit()
        except BaseException as error:
            self._next_record = next_record
            for waiting in self._waiting.values():
                waiting.clear()
            self._recalled.clear()
            self._roll_back()
            if isinstance(error, sqlite3.Error | DatabaseError):
                raise StoreError(f"{self.path}: {_first_line(error)}") from error
            raise
        finally:
            self._connection = None
            self._inside = False

    def _begin(self) -> None:
        if self._kept is None:
            self._kept = self._engine.connect()
        self._kept.begin()
        self._connection = self._kept
        self._begun_ns = self._clock.monotonic_ns()
        self._watch_log()

    def _roll_back(self) -> None:
        """Whatever is wrong with the connection, the next transaction has another."""
        kept, self._kept, self._connection = self._kept, None, None
        if kept is not None:
            with contextlib.suppress(sqlite3.Error, DatabaseError):
                kept.rollback()
            with contextlib.suppress(sqlite3.Error, DatabaseError):
                kept.close()

    def _let_go(self) -> None:
        """Close the file."""
        self._roll_back()
        self._engine.dispose()

    # ------------------------------------------------------------------------------ periods

    @property
    def period(self) -> int:
        """The number of the period that is written now."""
        return int(self._period.number)

    def turn_is_due(self) -> bool:
        """Whether the period is over, or its file large. For a while this waits until no run is
        open. No decision on a part takes the time of day into account, only this one on files."""
        now = self._clock.wall_ns()
        due = self._due_ns is not None and now >= self._due_ns
        if not due and self._size < LARGEST_PERIOD:
            return False
        if self._clock.monotonic_ns() < self._not_before_ns:
            return False
        self._not_before_ns = self._clock.monotonic_ns() + SECOND_NS
        with self.transaction():
            if not self._db.execute(sa.select(schema.run.c.run_id).limit(1)).first():
                return False  # a day without work needs no file
            patient = due and now < (self._due_ns or 0) + PATIENCE_NS
            return not (patient and self._open_run_ids())

    def turn(self) -> Path | None:
        """Close this period's file and go on in a new one; where the old one is now, or None where
        that is not possible now (`turn_fault` says why, if not only somebody was reading) and the
        old one is written on.

        Raises `StoreError` where the store cannot be used any more.
        """
        self._not_before_ns = self._clock.monotonic_ns() + AGAIN_NS
        self.turn_fault = ""
        try:
            return list(self.turn_steps())[-1]
        except (sqlite3.Error, DatabaseError, OSError, StoreError) as error:
            before = self.period
            self._reopen()
            self.turn_fault = "" if _is_busy(error) else _first_line(error)
            closed = closed_periods(self.path)
            return closed[-1] if self.period > before else None

    def turn_steps(self) -> Iterator[Path | None]:
        """The steps of `turn`: whatever is on disk between two of them can be started from."""
        self._check_file()
        following = next_file(self.path)
        for leftover in self.path.parent.glob(following.name + "*"):
            leftover.unlink()
        now = self._clock.wall_ns()
        target = open_for_writing(following)
        try:
            with self._engine.connect() as old, old.begin():
                self._connection = old
                try:
                    runs = self._open_run_ids()
                    with target.connect() as new, new.begin():
                        build_next(old, new, runs=runs, now_ns=now)
                finally:
                    self._connection = None
            yield None
            _fold(target)
        finally:
            target.dispose()
        yield None
        self._roll_back()
        _fold(self._engine)
        self._engine.dispose()
        yield None
        closed = closed_name(self.path, self._period.number, self._period.begun_ns)
        if closed.exists():
            raise StoreError(f"{closed}: is there already: move it away")
        self.path.rename(closed)
        closed.chmod(0o444)
        sync_folder(self.path.parent)
        yield closed
        following.rename(self.path)
        sync_folder(self.path.parent)
        yield closed
        self._reopen()
        yield closed

    def _reopen(self) -> None:
        self._let_go()
        self._recalled.clear()
        try:
            finish_turn(self.path)
            self._engine = open_for_writing(self.path)
            self._open()
        except (sqlite3.Error, DatabaseError, OSError) as error:
            raise StoreError(f"{self.path}: cannot be opened: {_first_line(error)}") from None

    def _open_run_ids(self) -> list[str]:
        judged = sa.select(schema.verdict.c.run_id)
        return list(
            self._db.execute(
                sa.select(schema.run.c.run_id)
                .where(schema.run.c.run_id.not_in(judged))
                .order_by(schema.run.c.number)
            ).scalars()
        )

    def _periods(self) -> Iterator[sa.Connection]:
        """The open period, then every closed one, the newest first."""
        yield self._db
        for path in reversed(closed_periods(self.path)):
            connection = self._closed.get(path)
            if connection is None:
                connection = open_for_reading(path, closed=True).connect()
                self._closed[path] = connection
                if len(self._closed) > OPEN_PERIODS:
                    self._closed.popitem(last=False)[1].close()
            yield connection

    def _first(self, statement: sa.Executable) -> Any:
        """The first row that any period has, the newest asked first; None where none has one."""
        for period in self._periods():
            row = period.execute(statement).first()
            if row is not None:
                return row
        return None

    def _home(self, run: str) -> sa.Connection:
        """The period that has a run; the open one where none has."""
        known = sa.select(schema.run.c.run_id).where(schema.run.c.run_id == run)
        return next((p for p in self._periods() if p.execute(known).first()), self._db)

    def _bring(self, run: str) -> None:
        """Have a run in the open period before anything is written about it."""
        home = self._home(run)
        if home is self._db:
            return
        self._flush()
        carry(home, self._db, [run], self.station_id, self._clock.wall_ns())
        self._recalled.pop(run, None)

    def _check_file(self) -> None:
        """Whether the file that is written to is still the one under its name: SQLite goes on
        writing into a file that was deleted or replaced, and says nothing."""
        try:
            status = self.path.stat()
            found, self._size = status.st_ino, status.st_size
        except OSError:
            found = -1
        if found != self._inode:
            raise StoreError(
                f"{self.path}: was deleted or replaced while the station ran: start it again"
            )

    def short_of_room(self) -> str:
        """What a station must not begin a part with: almost no room left; empty where there is."""
        try:
            disk = os.statvfs(self.path.parent)
        except OSError as error:
            return f"{self.path.parent}: {error.strerror}"
        free = disk.f_bavail * disk.f_frsize
        if free >= LEAST_ROOM:
            return ""
        return f"{self.path.parent}: {free >> 20} MiB are free: make room, or add a disk"

    def _watch_log(self) -> None:
        """Tell once when the write-ahead log grows: it does while somebody goes on reading."""
        try:
            size = self._log_path.stat().st_size
        except OSError:
            size = 0
        if size > LARGE_LOG and not self._log_told:
            self._log_told = True
            text = (
                f"the write-ahead log has {size >> 20} MiB: something reads the store and does not"
                " stop"
            )
            self.add_event("log_large", text)
        elif size <= LARGE_LOG:
            self._log_told = False

    @property
    def _db(self) -> sa.Connection:
        if self._connection is None:
            if not self._inside:
                raise RuntimeError("the store is read and written inside a transaction only")
            self._begin()
        assert self._connection is not None  # noqa: S101  it has just been begun
        return self._connection

    def _flush(self) -> None:
        for table, waiting in self._waiting.items():
            if waiting:
                # The driver's own executemany: SQLAlchemy would spend longer on each of thousands
                # of rows a second than SQLite does.
                self._db.exec_driver_sql(_INSERT[table], waiting)
                waiting.clear()

    def _insert(self, table: sa.Table, **values: Any) -> None:
        self._db.execute(table.insert(), {"station_id": self.station_id, **values})

    def _insert_once(self, table: sa.Table, **values: Any) -> None:
        """As `_insert`; said again under the same key, it changes nothing."""
        statement = table.insert().prefix_with("OR IGNORE", dialect="sqlite")
        self._db.execute(statement, {"station_id": self.station_id, **values})

    # ------------------------------------------------------------------------------ writing

    def add_run(self, run: str, part: str, plan: Plan, plc: str, deadline_mono_ns: int) -> None:
        """A run is open; its planned points are those of the plan stored with it."""
        known = self._db.execute(
            sa.select(schema.plan.c.plan_hash).where(schema.plan.c.plan_hash == plan.hash)
        ).first()
        if known is None:
            self._insert(
                schema.plan,
                plan_hash=plan.hash,
                name=plan.name,
                version=plan.version,
                planned=len(plan.points),
                document=plan.document,
                stored_ns=self._clock.wall_ns(),
            )
        self._insert(
            schema.run,
            run_id=run,
            part_id=part,
            plan_hash=plan.hash,
            plc_id=plc,
            planned=len(plan.points),
            begun_ns=self._clock.wall_ns(),
            boot_id=self._clock.boot_id(),
            deadline_mono_ns=deadline_mono_ns,
        )

    def add_trigger(self, run: str, view: str) -> None:
        """The PLC has asked for a view, or said that there are no more (`ALL_VIEWS`)."""
        self._insert_once(
            schema.trigger, run_id=run, view_id=view, triggered_ns=self._clock.wall_ns()
        )

    def add_order(self, run: str, view: str, attempt: int, edge: str) -> None:
        """An order is about to be sent; its attempt number is spent from here on."""
        recalled = self._recall(run)
        self._waiting[schema.order].append(
            (run, view, attempt, self.station_id, edge, self._clock.wall_ns())
        )
        if recalled is not None:
            recalled.orders[view, attempt] = edge

    def add_record(
        self,
        answer: ViewResult,
        raw: bytes,
        entries: Sequence[Entry],
        *,
        late: bool,
        outbox: tuple[str, int] | None,
    ) -> None:
        """A view's results as they came (``raw``), and what the station makes of each point.

        ``outbox`` is where they came from: (outbox_id, sequence number); None for the station's
        own records of absence.
        """
        recalled = self._recall(answer.run)
        if recalled is not None and not recalled.here:
            self._bring(answer.run)
            recalled = self._recall(answer.run)
        number, self._next_record = self._next_record, self._next_record + 1
        digest = hashlib.sha256(raw).hexdigest()
        head = chain_start(answer.run) if recalled is None else recalled.head
        head = chain_next(head, digest)
        if recalled is not None:
            recalled.head = head
            recalled.answers[answer.view, answer.attempt] = digest
        self._waiting[schema.record].append(
            (
                number,
                self.station_id,
                answer.run,
                answer.view,
                answer.attempt,
                answer.edge,
                outbox[0] if outbox else None,
                outbox[1] if outbox else None,
                late,
                self._clock.wall_ns(),
                raw,
                digest,
                head,
            )
        )
        said = {point.point: point for point in answer.points}
        rows = self._waiting[schema.result]
        for entry in entries:
            point = said.get(entry.point)
            seen = point if isinstance(point, Inspected) else None
            rows.append(
                (
                    answer.run,
                    entry.point,
                    answer.attempt,
                    number,
                    self.station_id,
                    answer.view,
                    entry.verdict.value,
                    int(entry.reason),
                    entry.finding,
                    entry.class_severity and entry.class_severity.value,
                    point.detail if isinstance(point, Missed) else "",
                    None if seen is None else msgspec.json.encode(seen.scores).decode(),
                    None if seen is None else seen.model.package,
                    None if seen is None else seen.model.policy,
                    None if point is None else point.evidence,
                    late,
                )
            )

    def _recall(self, run: str) -> _Recalled | None:
        """What answers to a run are checked against, read once a run; None where there is none."""
        recalled = self._recalled.get(run)
        if recalled is not None:
            self._recalled.move_to_end(run)
            return recalled
        facts = self._facts_on_record(run)
        if facts is None:
            return None
        self._flush()
        order, record = schema.order, schema.record
        home = self._home(run)
        orders = home.execute(
            sa.select(order.c.view_id, order.c.attempt, order.c.edge_id).where(
                order.c.run_id == run
            )
        )
        answers = home.execute(
            sa.select(record.c.view_id, record.c.attempt, record.c.digest, record.c.chain)
            .where(record.c.run_id == run)
            .order_by(record.c.number)
        ).all()
        recalled = _Recalled(
            facts=facts,
            head=answers[-1].chain if answers else chain_start(run),
            orders={(row.view_id, row.attempt): row.edge_id for row in orders},
            answers={(row.view_id, row.attempt): row.digest for row in answers},
            here=home is self._db,
        )
        self._recalled[run] = recalled
        if len(self._recalled) > RECALLED_RUNS:
            self._recalled.popitem(last=False)
        return recalled

    def advance_outbox(self, outbox: str, edge: str, committed: int) -> None:
        """Everything up to ``committed`` of this outbox has been dealt with."""
        moved = self._db.exec_driver_sql(_ADVANCE, (committed, outbox))
        if not moved.rowcount:
            self._insert(schema.outbox, outbox_id=outbox, edge_id=edge, committed=committed)

    def add_verdict(
        self, run: str, verdict: RunVerdict, balance: Balance, basis: Basis | None = None
    ) -> StoredVerdict:
        """A verdict on a run, numbered higher than every verdict before it; ``basis`` where it
        rests on more than the records of this run.

        The run's chain of records is recomputed from the bytes on disk first; where it does not
        hold, the verdict is HOLD whatever the ledger says, and an event tells why.
        """
        self._bring(run)
        self._flush()
        head = self.check_chain(run)
        if head is None:
            verdict = RunVerdict.HOLD
            head = ""
            self.add_event("chain_broken", "stored results were changed: verdict is HOLD", run)
        table = schema.verdict
        before = (
            self._db.execute(
                sa.select(table.c.verdict_seq, table.c.seal)
                .where(table.c.verdict_seq > self._period.verdict_seq)
                .order_by(table.c.verdict_seq.desc())
                .limit(1)
            ).first()
            or self._period
        )
        now = self._clock.wall_ns()
        row: dict[str, Any] = {
            "verdict_seq": max(now // 10**9, 1 + before.verdict_seq),
            "run_id": run,
            "station_id": self.station_id,
            "verdict": verdict.value,
            "planned": balance.planned,
            "ok": balance.ok,
            "nok": balance.nok,
            "review": balance.review,
            "not_inspected": balance.not_inspected,
            "chain": head,
            "formed_ns": now,
        }
        is_first = not self._db.execute(
            sa.select(table.c.verdict_seq).where(table.c.run_id == run).limit(1)
        ).first()
        self._db.execute(table.insert(), {**row, "seal": verdict_seal(before.seal, row)})
        if is_first:
            add_run(self._db, run)
        if basis is not None:
            self.add_basis(row["verdict_seq"], run, basis)
        return StoredVerdict(row["verdict_seq"], run, verdict, balance)

    def check_chain(self, run: str) -> str | None:
        """The head of a run's chain, recomputed from the stored bytes; None where it is broken."""
        self._flush()
        head = chain_start(run)
        for row in self._home(run).execute(
            sa.select(schema.record.c.raw, schema.record.c.digest, schema.record.c.chain)
            .where(schema.record.c.run_id == run)
            .order_by(schema.record.c.number)
        ):
            digest = hashlib.sha256(row.raw).hexdigest()
            head = chain_next(head, digest)
            if digest != row.digest or head != row.chain:
                return None
        return head

    def acknowledge(self, verdict_seq: int, plc: str) -> None:
        """A PLC has taken a verdict; said again, it changes nothing."""
        table = schema.verdict
        of = self._first(sa.select(table.c.run_id).where(table.c.verdict_seq == verdict_seq))
        if of is not None:
            self._bring(of.run_id)
        self._insert_once(
            schema.acknowledgement,
            verdict_seq=verdict_seq,
            plc_id=plc,
            acknowledged_ns=self._clock.wall_ns(),
        )

    def add_request(self, plc: str, seq: int, digest: str, answer: bytes | None) -> None:
        """What a PLC asked under a sequence number, and the answer it was given."""
        self._insert(
            schema.request,
            plc_id=plc,
            seq=seq,
            digest=digest,
            answer=answer,
            received_ns=self._clock.wall_ns(),
        )

    def add_evidence(self, sha256: str, edge: str, media_type: str, size: int) -> None:
        """A picture is stored; said again, it changes nothing."""
        self._insert_once(
            schema.evidence,
            sha256=sha256,
            edge_id=edge,
            media_type=media_type,
            bytes=size,
            stored_ns=self._clock.wall_ns(),
        )

    def add_quarantine(
        self, edge: str, outbox: str, seq: int, kind: str, text: str, raw: bytes
    ) -> None:
        """A record that counts for nothing, kept whole."""
        self._insert(
            schema.quarantine,
            edge_id=edge,
            outbox_id=outbox,
            outbox_seq=seq,
            kind=kind,
            text=text[:500],
            raw=raw,
            received_ns=self._clock.wall_ns(),
        )

    def add_event(self, kind: str, text: str, run: str | None = None) -> None:
        """Something a person should know of."""
        self._insert(
            schema.event, kind=kind, run_id=run, text=text[:500], happened_ns=self._clock.wall_ns()
        )

    # ------------------------------------------------------------------------------ reading

    def outbox_position(self, outbox: str) -> tuple[str | None, int]:
        """The edge an outbox belongs to, and the last of its sequence numbers that has been dealt
        with; (None, 0) where it has never sent anything."""
        table = schema.outbox
        row = self._db.execute(
            sa.select(table.c.edge_id, table.c.committed).where(table.c.outbox_id == outbox)
        ).first()
        return (None, 0) if row is None else (row.edge_id, row.committed)

    def record_digest(self, run: str, view: str, attempt: int) -> str | None:
        """SHA-256 of the record that answered an order, None where nothing has."""
        recalled = self._recall(run)
        return None if recalled is None else recalled.answers.get((view, attempt))

    def digest_at(self, outbox: str, seq: int) -> str | None:
        """SHA-256 of what came under a sequence number, None where that is not on record."""
        self._flush()
        record, quarantine = schema.record, schema.quarantine
        for period in self._periods():
            found = period.execute(
                sa.select(record.c.digest).where(
                    record.c.outbox_id == outbox, record.c.outbox_seq == seq
                )
            ).scalar()
            if found is not None:
                return str(found)
            raw = period.execute(
                sa.select(quarantine.c.raw).where(
                    quarantine.c.outbox_id == outbox, quarantine.c.outbox_seq == seq
                )
            ).scalar()
            if raw is not None:
                return hashlib.sha256(raw).hexdigest()
        return None

    def ordered_from(self, run: str, view: str, attempt: int) -> str | None:
        """The edge that an order was placed with; None where there was no such order."""
        recalled = self._recall(run)
        return None if recalled is None else recalled.orders.get((view, attempt))

    def frame_of(self, run: str, view: str) -> str:
        """The frame of the latest answer for a view, empty where nothing was photographed."""
        self._flush()
        raw = (
            self._home(run)
            .execute(
                sa.select(schema.record.c.raw)
                .where(
                    schema.record.c.run_id == run,
                    schema.record.c.view_id == view,
                    schema.record.c.attempt > 0,
                )
                .order_by(schema.record.c.attempt.desc())
                .limit(1)
            )
            .scalar()
        )
        answer = None if raw is None else _decoded(raw)
        return "" if answer is None else answer.frame

    def run_facts(self, run: str) -> RunFacts | None:
        """What is on record about a run, None where there is no such run."""
        recalled = self._recall(run)
        return None if recalled is None else recalled.facts

    def _facts_on_record(self, run: str) -> RunFacts | None:
        row = self._first(
            sa.select(
                schema.run.c.run_id,
                schema.run.c.part_id,
                schema.plan.c.name,
                schema.plan.c.plan_hash,
                schema.run.c.planned,
                schema.run.c.plc_id,
            )
            .join_from(schema.run, schema.plan)
            .where(schema.run.c.run_id == run)
        )
        return None if row is None else RunFacts(*row)

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan that some run was opened with; read once, what a hash names does not change."""
        if plan_hash in self._plans:
            return self._plans[plan_hash]
        found = self._first(
            sa.select(schema.plan.c.document).where(schema.plan.c.plan_hash == plan_hash)
        )
        if found is None:
            return None
        if len(self._plans) > RECALLED_PLANS:
            self._plans.clear()
        self._plans[plan_hash] = plan = decode_plan(found.document)
        return plan

    def latest_run(self, part: str) -> str | None:
        """The latest run of a part."""
        run = schema.run
        newest = sa.select(run.c.run_id, run.c.number).where(run.c.part_id == part)
        newest = newest.order_by(run.c.number.desc()).limit(1)
        best: Any = None
        for period in self._periods():
            found = period.execute(newest).first()
            if found is None:
                continue
            if best is None or found.number > best.number:
                best = found
            copied = sa.select(schema.carried.c.run_id).where(
                schema.carried.c.run_id == best.run_id
            )
            # One that was copied may be older than one of the period it came from; where it is at
            # home, everything before is older.
            if found.run_id == best.run_id and period.execute(copied).first() is None:
                break
        return None if best is None else str(best.run_id)

    def latest_verdict(self, run: str) -> StoredVerdict | None:
        """The latest verdict of a run, None while it has none; HOLD where its seal is broken."""
        table = schema.verdict
        home = self._home(run)
        row = (
            home.execute(
                sa.select(table)
                .where(table.c.run_id == run)
                .order_by(table.c.verdict_seq.desc())
                .limit(1)
            )
            .mappings()
            .first()
        )
        if row is None:
            return None
        intact = row["seal"] == verdict_seal(seal_before(home, row["verdict_seq"]), row)
        balance = Balance(
            planned=row["planned"],
            ok=row["ok"],
            nok=row["nok"],
            review=row["review"],
            not_inspected=row["not_inspected"],
            open=0,
        )
        verdict = RunVerdict(row["verdict"]) if intact else RunVerdict.HOLD
        return StoredVerdict(row["verdict_seq"], run, verdict, balance)

    def request(self, plc: str, seq: int) -> tuple[str, bytes | None] | None:
        """(digest of the request, stored answer) of a sequence number, None where it is new."""
        asked = sa.select(schema.request.c.digest, schema.request.c.answer).where(
            schema.request.c.plc_id == plc, schema.request.c.seq == seq
        )
        row = self._db.execute(asked).first()
        if row is None and seq <= self.last_seq(plc):
            row = self._first(asked)
        return None if row is None else (row.digest, row.answer)

    def last_seq(self, plc: str) -> int:
        """The highest sequence number a PLC has used, 0 where it has used none."""
        found = self._db.execute(
            sa.select(sa.func.max(schema.request.c.seq)).where(schema.request.c.plc_id == plc)
        ).scalar()
        return int(found or 0)

    def open_runs(self) -> list[StoredRun]:
        """Every run without a verdict, oldest first: what a station that starts must go on with."""
        self._flush()
        db = self._db
        judged = sa.select(schema.verdict.c.run_id)
        runs = db.execute(
            sa.select(schema.run, schema.plan.c.document)
            .join_from(schema.run, schema.plan)
            .where(schema.run.c.run_id.not_in(judged))
            .order_by(schema.run.c.number)
        ).all()
        return [self._stored_run(row) for row in runs]

    def _stored_run(self, row: Any) -> StoredRun:
        try:
            plan = decode_plan(row.document)
        except PlanError as error:
            plan, why = None, str(error)
        if plan is None or plan.hash != row.plan_hash:
            why = "it differs from its hash" if plan is not None else why
            raise StoreError(
                f"{self.path}: the plan of run {row.run_id} was damaged ({why}): restore a backup"
            )
        db, table = self._db, schema.trigger
        triggered = db.execute(sa.select(table.c.view_id).where(table.c.run_id == row.run_id))
        orders = db.execute(
            sa.select(schema.order)
            .where(schema.order.c.run_id == row.run_id)
            .order_by(schema.order.c.view_id, schema.order.c.attempt)
        )
        return StoredRun(
            run=row.run_id,
            part=row.part_id,
            plan=plan,
            plc=row.plc_id,
            boot_id=row.boot_id,
            deadline_mono_ns=row.deadline_mono_ns,
            triggered=frozenset(triggered.scalars()),
            orders=tuple((order.view_id, order.attempt, order.edge_id) for order in orders),
            records=self._stored_records(row.run_id),
            intact=self.check_chain(row.run_id) is not None,
        )

    def _stored_records(self, run: str) -> tuple[StoredRecord, ...]:
        entries: dict[int, set[Entry]] = {}
        unreadable: set[int] = set()
        home = self._home(run)
        result = schema.result
        # Not whole rows: their scores would have to be read as JSON.
        for row in home.execute(
            sa.select(
                result.c.record,
                result.c.point_id,
                result.c.verdict,
                result.c.reason,
                result.c.finding,
                result.c.class_severity,
            ).where(result.c.run_id == run)
        ):
            try:
                entries.setdefault(row.record, set()).add(entry_of(row))
            except ValueError:
                unreadable.add(row.record)
        return tuple(
            StoredRecord(
                view=row.view_id,
                attempt=row.attempt,
                late=row.late,
                answer=_decoded(row.raw),
                entries=(
                    None if row.number in unreadable else frozenset(entries.get(row.number, ()))
                ),
                number=row.number,
            )
            for row in home.execute(
                sa.select(schema.record)
                .where(schema.record.c.run_id == run)
                .order_by(schema.record.c.number)
            )
        )


def _decoded(raw: bytes) -> ViewResult | None:
    """A stored record, None where its bytes no longer make one."""
    try:
        answer = RECORD.decode(raw)
    except WireError:
        return None
    return answer if isinstance(answer, ViewResult) else None


_SEALED = (
    "verdict_seq",
    "run_id",
    "station_id",
    "verdict",
    "planned",
    "ok",
    "nok",
    "review",
    "not_inspected",
    "chain",
    "formed_ns",
)


def verdict_seal(before: str, row: Mapping[Any, Any]) -> str:
    """The seal of a verdict row over the row before it."""
    told = msgspec.json.encode([before, *(row[name] for name in _SEALED)])
    return hashlib.sha256(told).hexdigest()


def _fold(engine: sa.Engine) -> None:
    """Everything into the one file, which then needs no other to be read."""
    connection: Any = engine.raw_connection()
    try:
        # Not for long: whoever reads holds this up, and the line must not wait for a page.
        connection.driver_connection.execute("PRAGMA busy_timeout=100")
        mode = connection.driver_connection.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
        if mode != "delete":
            raise sqlite3.OperationalError("database is locked")
    finally:
        connection.close()


def _is_busy(error: Exception) -> bool:
    return "locked" in str(error) or "busy" in str(error)


def _first_line(error: Exception) -> str:
    """The driver's own words, without SQLAlchemy's statement and background link."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
