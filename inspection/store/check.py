"""Whether everything a store holds still follows from what came in: chains, seals, balances.

SQLite notices damage to its own structure, not a changed byte in a row; the chains do. A station
checks what it is about to answer for; this checks all of it, also what was closed long ago.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from inspection import wire
from inspection.errors import StoreError, WireError
from inspection.ledger import Entry, count, settle
from inspection.messages import Inspected, Verdict, ViewResult
from inspection.store import schema
from inspection.store.database import open_for_reading
from inspection.store.people import basis_seal, decision_seal, look_seal
from inspection.store.periods import closed_periods, seal_before
from inspection.store.rollups import compared
from inspection.store.rows import entry_of
from inspection.store.writer import chain_next, chain_start, verdict_seal

NAMES_AT_ONCE = 500
"""Pictures asked for in one statement."""


@dataclass
class PeriodFindings:
    """What one file holds, and each thing that is wrong with it in a sentence."""

    path: Path
    period: int = 0
    runs: int = 0
    open_runs: list[str] = field(default_factory=list)
    records: int = 0
    results: int = 0
    verdicts: int = 0
    wrong: list[str] = field(default_factory=list)
    begins: tuple[int, str] = (0, "")
    """Number and seal of the verdict before its first one, as it says itself ..."""
    ends: tuple[int, str] = (0, "")
    """... and those of its last."""
    carried: frozenset[str] = frozenset()


def check_store(path: Path, only: Path | None = None) -> Iterator[PeriodFindings]:
    """Look through every period, the oldest first, or through one file of them ``only``.

    Raises `StoreError` where there is no store.
    """
    files = [*closed_periods(path), path] if only is None else [only]
    if not files[-1].exists():
        raise StoreError(f"{files[-1]}: there is no store")
    before: PeriodFindings | None = None
    for file in files:
        found = _check_file(file, closed=file != path)
        if before is not None:
            _check_turn(before, found)
        before = found
        yield found


def pictures_missing(path: Path, only: Path | None = None) -> set[str]:
    """The names of pictures that results have and no file says to have arrived: still at an edge,
    or lost. Raises `StoreError` where a file cannot be read."""
    named, arrived = schema.result.c.evidence, schema.evidence.c.sha256
    files = [*closed_periods(path), path] if only is None else [only]
    not_here = sa.select(named).where(named.is_not(None), named.not_in(sa.select(arrived)))
    missing: set[str] = set()
    for file in files:
        missing.update(_names(file, not_here.distinct(), closed=file != path))
    # A run may be told of in another file than the one that its pictures arrived in.
    for file in files:
        asked = sorted(missing)
        for start in range(0, len(asked), NAMES_AT_ONCE):
            some = arrived.in_(asked[start : start + NAMES_AT_ONCE])
            missing -= _names(file, sa.select(arrived).where(some), closed=file != path)
    return missing


def _names(path: Path, query: sa.Select[Any], *, closed: bool) -> set[str]:
    engine = open_for_reading(path, closed=closed)
    try:
        with engine.connect() as connection:
            return {str(name) for name in connection.execute(query).scalars()}
    except DBAPIError as error:
        raise StoreError(f"{path}: cannot be read: {error.orig}") from None
    finally:
        engine.dispose()


def _check_turn(before: PeriodFindings, after: PeriodFindings) -> None:
    if after.period != before.period + 1:
        between = f"{before.path.name} is period {before.period}, this one {after.period}"
        after.wrong.append(f"a file is missing or there twice: {between}")
    elif after.begins != before.ends:
        after.wrong.append(f"its verdicts do not go on from those of {before.path.name}")
    if lost := set(before.open_runs) - after.carried:
        after.wrong.append(f"runs open at its beginning are not in it: {', '.join(sorted(lost))}")


def _check_file(path: Path, *, closed: bool) -> PeriodFindings:
    found = PeriodFindings(path)
    engine = open_for_reading(path, closed=closed)
    try:
        with engine.connect() as connection:
            _check(connection, found)
    except DBAPIError as error:
        found.wrong.append(f"cannot be read: {error.orig}")
    finally:
        engine.dispose()
    return found


def _check(db: sa.Connection, found: PeriodFindings) -> None:
    for line in db.exec_driver_sql("PRAGMA integrity_check(5)").scalars():
        if line != "ok":
            found.wrong.append(str(line))
    version = db.execute(sa.select(schema.store_info.c.schema_version)).scalar()
    if version != schema.SCHEMA_VERSION:
        known = schema.SCHEMA_VERSION
        found.wrong.append(f"has schema version {version}, this software checks {known}")
        return
    begins = db.execute(sa.select(schema.period)).one()
    found.period, found.begins = begins.number, (begins.verdict_seq, begins.seal)
    found.carried = frozenset(db.execute(sa.select(schema.carried.c.run_id)).scalars())
    for row in db.exec_driver_sql("PRAGMA foreign_key_check"):
        found.wrong.append(f"a row of {row[0]} belongs to none of {row[2]}")
    heads: dict[str, set[str]] = {}
    for run in db.execute(sa.select(schema.run).order_by(schema.run.c.number)):
        found.runs += 1
        heads[run.run_id] = _check_run(db, run, found)
    _check_verdicts(db, heads, found)
    _check_people(db, found)
    _check_looks(db, found)
    _check_sums(db, found)


def _check_run(db: sa.Connection, run: Any, found: PeriodFindings) -> set[str]:
    """The records of one run and what was made of them; every head its chain has had."""
    record, result = schema.record, schema.result
    head = chain_start(run.run_id)
    heads = {head}
    said_ok: dict[int, set[str]] = {}
    for row in db.execute(
        sa.select(record).where(record.c.run_id == run.run_id).order_by(record.c.number)
    ):
        found.records += 1
        digest = hashlib.sha256(row.raw).hexdigest()
        head = chain_next(head, digest)
        heads.add(head)
        if digest != row.digest or head != row.chain:
            found.wrong.append(f"run {run.run_id}: record {row.number} was changed")
            head = row.chain
        said_ok[row.number] = _ok_in(row.raw)
    entries: dict[str, list[tuple[int, Entry]]] = {}
    for row in db.execute(sa.select(result).where(result.c.run_id == run.run_id)):
        found.results += 1
        try:
            entry = entry_of(row)
        except ValueError as error:
            found.wrong.append(f"run {run.run_id}, point {row.point_id}: {error}")
            continue
        if entry.verdict is Verdict.OK and row.point_id not in said_ok.get(row.record, ()):
            found.wrong.append(
                f"run {run.run_id}, point {row.point_id}: is OK, but its record says otherwise"
            )
        if not row.late:
            entries.setdefault(row.point_id, []).append((row.record, entry))
    first = db.execute(
        sa.select(schema.verdict)
        .where(schema.verdict.c.run_id == run.run_id)
        .order_by(schema.verdict.c.verdict_seq)
        .limit(1)
    ).first()
    if first is None:
        found.open_runs.append(run.run_id)
        return heads
    terms = schema.run_terms
    goes_on = sa.select(terms.c.run_id).where(
        terms.c.run_id == run.run_id, terms.c.repair_of.is_not(None)
    )
    if db.execute(goes_on).first() is not None:
        return heads  # its verdict counts the whole part, most of it from the run before
    settled = [settle(e for _, e in sorted(each, key=_number)) for each in entries.values()]
    balance = count(run.planned, (entry for entry in settled if entry is not None))
    told = (first.planned, first.ok, first.nok, first.review, first.not_inspected, 0)
    made = (run.planned, balance.ok, balance.nok, balance.review, balance.not_inspected)
    if (*made, balance.open) != told:
        found.wrong.append(f"run {run.run_id}: its verdict counts {told}, its results {made}")
    return heads


def _number(numbered: tuple[int, Entry]) -> int:
    return numbered[0]


def _ok_in(raw: bytes) -> set[str]:
    """The points that a record says are OK."""
    try:
        answer = wire.RECORD.decode(raw)
    except WireError:
        return set()
    points = answer.points if isinstance(answer, ViewResult) else ()
    return {p.point for p in points if isinstance(p, Inspected) and p.verdict is Verdict.OK}


def _check_verdicts(db: sa.Connection, heads: dict[str, set[str]], found: PeriodFindings) -> None:
    found.ends = found.begins
    for row in db.execute(sa.select(schema.verdict).order_by(schema.verdict.c.verdict_seq)):
        found.verdicts += 1
        name = f"verdict {row.verdict_seq} of run {row.run_id}"
        values = {column.name: getattr(row, column.name) for column in schema.verdict.columns}
        if row.seal != verdict_seal(seal_before(db, row.verdict_seq), values):
            found.wrong.append(f"{name} was changed, or one before it is missing")
        if row.chain and row.chain not in heads.get(row.run_id, ()):
            found.wrong.append(f"{name} was formed from other records")
        if row.verdict_seq > found.begins[0]:
            found.ends = (row.verdict_seq, row.seal)


def _check_people(db: sa.Connection, found: PeriodFindings) -> None:
    """Every word of a person sealed over the one before it on the same run, and every verdict that
    rests on such words with the last of them still there."""
    decision, basis, verdict = schema.decision, schema.verdict_basis, schema.verdict
    last: dict[str, str] = {}
    seals: set[str] = {""}
    for row in db.execute(sa.select(decision).order_by(decision.c.number)).mappings():
        if row["seal"] != decision_seal(last.get(row["run_id"], ""), row):
            found.wrong.append(
                f"run {row['run_id']}: decision {row['number']} was changed, or one before it is"
                " missing"
            )
        last[row["run_id"]] = row["seal"]
        seals.add(row["seal"])
    for row in db.execute(
        sa.select(basis, verdict.c.seal.label("of_verdict")).join(
            verdict, verdict.c.verdict_seq == basis.c.verdict_seq
        )
    ).mappings():
        name = f"run {row['run_id']}: what verdict {row['verdict_seq']} rests on"
        if row["seal"] != basis_seal(row["of_verdict"], row):
            found.wrong.append(f"{name} was changed")
        if row["decisions"] not in seals:
            found.wrong.append(f"{name} names a decision that is missing")


def _check_looks(db: sa.Connection, found: PeriodFindings) -> None:
    """Every second look sealed over the one before it on the same run."""
    look = schema.second_look
    last: dict[str, str] = {}
    for row in db.execute(sa.select(look).order_by(look.c.number)).mappings():
        if row["seal"] != look_seal(last.get(row["run_id"], ""), row):
            found.wrong.append(
                f"run {row['run_id']}: look {row['number']} was changed, or the one before it is"
                " missing"
            )
        last[row["run_id"]] = row["seal"]


def _check_sums(db: sa.Connection, found: PeriodFindings) -> None:
    """The sums that pages show are those of the rows."""
    for what, kept, made in compared(db):
        if kept != made:
            slot = dt.datetime.fromtimestamp(what[0] / 1e9, dt.UTC).isoformat()
            found.wrong.append(f"the sums of {slot}, {what[2:] or 'whole'}: {kept}, not {made}")


def summary(findings: Sequence[PeriodFindings]) -> str:
    """One line over all periods."""
    total: Counter[str] = Counter()
    for each in findings:
        total.update(runs=each.runs, records=each.records, results=each.results)
        total.update(wrong=len(each.wrong))
    wrong = f"{total['wrong']} things are wrong" if total["wrong"] else "all of it is as it came"
    return (
        f"{len(findings)} periods, {total['runs']} runs, {total['records']} records,"
        f" {total['results']} results: {wrong}"
    )
