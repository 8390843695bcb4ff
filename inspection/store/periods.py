"""One file a period: ``station.db`` is written, ``station-00012-2026-11-24.db`` is closed.

So that a start looks through one period only, however many there are, and each can be kept apart.
A turn builds the next file beside the old one as ``station.db.next``, with all that must be known
in it; then two names change, the old file's first. Whenever a process dies in between, what is
there says which of the two it was before or after: `finish_turn`.

Nothing of a closed file is ever changed. A run that goes on after its period, or of which
something is said later (a late result, a person's decision), is copied whole into the file that is
open, and from then on only the copy counts.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from inspection.durable import sync_folder
from inspection.errors import StoreError
from inspection.store import schema
from inspection.store.database import insert_into


def closed_periods(path: Path) -> list[Path]:
    """The files of the periods before the one in ``path``, the oldest first."""
    name = re.compile(re.escape(path.stem) + r"-(\d{5})-\d{4}-\d{2}-\d{2}" + re.escape(path.suffix))
    try:
        found = [
            (match[1], entry)
            for entry in path.parent.iterdir()
            if (match := name.fullmatch(entry.name))
        ]
    except OSError:
        return []
    return [entry for _, entry in sorted(found)]


def closed_name(path: Path, number: int, begun_ns: int) -> Path:
    """What the file of a period is called once it is closed: by its number and first day (UTC)."""
    day = dt.datetime.fromtimestamp(begun_ns / 1e9, dt.UTC).date()
    return path.with_name(f"{path.stem}-{number:05d}-{day}{path.suffix}")


def next_file(path: Path) -> Path:
    """Where a turn builds the file of the next period."""
    return path.with_name(path.name + ".next")


def finish_turn(path: Path) -> None:
    """Bring a turn that was interrupted to one of its two ends.

    Raises `StoreError` where closed periods are there and no open one: what is missing then was
    never closed.
    """
    following = next_file(path)
    if path.exists():
        for leftover in path.parent.glob(following.name + "*"):
            leftover.unlink()
    elif closed_periods(path):
        if not following.exists():
            raise StoreError(
                f"{path}: is missing, but periods before it are there: restore it from a backup, or"
                " move those away to begin a new store"
            )
        following.rename(path)
        sync_folder(path.parent)


def next_turn_ns(since_ns: int, turns: Sequence[str]) -> int | None:
    """The first of these times of day ("06:00", local) after a moment; None where there is none."""
    since = dt.datetime.fromtimestamp(since_ns / 1e9, dt.UTC).astimezone()
    moments = [
        dt.datetime.combine(
            since.date() + dt.timedelta(days=days), dt.time.fromisoformat(turn)
        ).astimezone()
        for days in (0, 1)
        for turn in turns
    ]
    later = [moment for moment in moments if moment > since]
    return int(min(later).timestamp() * 1e9) if later else None


def carry(
    source: sa.Connection, target: sa.Connection, runs: Iterable[str], station_id: str, now_ns: int
) -> None:
    """Copy everything on record of some runs, and of the runs that they go on from, out of a period
    into a later one."""
    origin = source.execute(sa.select(schema.period.c.number)).scalar_one()
    there = set(target.execute(sa.select(schema.run.c.run_id)).scalars())
    waiting = [run for run in runs if run not in there]
    for run in waiting:
        for table in schema.OF_RUNS:
            others = [c for c in table.columns if c.name != "run_id" and _names_a_run(c)]
            for column in others:
                named = source.execute(sa.select(column).where(table.c.run_id == run)).scalars()
                waiting += [other for other in named if other and other not in waiting]
    # The earlier first: what goes on from another names it.
    for run in [run for run in reversed(waiting) if run not in there]:
        plan = sa.select(schema.run.c.plan_hash).where(schema.run.c.run_id == run)
        _copy(source, target, schema.plan, schema.plan.c.plan_hash.in_(plan))
        for table in schema.OF_RUNS:
            _copy(source, target, table, table.c.run_id == run)
        verdict = schema.verdict
        seqs = source.execute(
            sa.select(verdict.c.verdict_seq).where(verdict.c.run_id == run)
        ).scalars()
        for seq in seqs:
            _copy(
                source, target, schema.acknowledgement, schema.acknowledgement.c.verdict_seq == seq
            )
            seal = {
                "verdict_seq": seq,
                "station_id": station_id,
                "before": seal_before(source, seq),
            }
            target.execute(schema.carried_seal.insert(), seal)
        target.execute(
            schema.carried.insert(),
            {"run_id": run, "station_id": station_id, "period": origin, "carried_ns": now_ns},
        )


def _names_a_run(column: sa.Column[Any]) -> bool:
    return any(key.target_fullname == "run.run_id" for key in column.foreign_keys)


def seal_before(period: sa.Connection, verdict_seq: int) -> str:
    """The seal of the verdict before this one, as it was when this one was formed."""
    table, begins = schema.verdict, period.execute(sa.select(schema.period)).one()
    if verdict_seq <= begins.verdict_seq:
        copied = schema.carried_seal
        found = period.execute(
            sa.select(copied.c.before).where(copied.c.verdict_seq == verdict_seq)
        ).scalar()
    else:
        found = period.execute(
            sa.select(table.c.seal)
            .where(table.c.verdict_seq < verdict_seq, table.c.verdict_seq > begins.verdict_seq)
            .order_by(table.c.verdict_seq.desc())
            .limit(1)
        ).scalar()
        found = begins.seal if found is None else found
    return "" if found is None else str(found)


def _copy(source: sa.Connection, target: sa.Connection, table: sa.Table, wanted: Any) -> None:
    """Rows as they are, bytes and all; those that are there already stay."""
    columns: list[Any] = [sa.literal_column(column.name) for column in table.columns]
    rows = source.execute(sa.select(*columns).select_from(table).where(wanted)).all()
    if rows:
        target.exec_driver_sql(
            insert_into(table).replace("INSERT", "INSERT OR IGNORE", 1),
            [tuple(row) for row in rows],
        )


def build_next(
    source: sa.Connection, target: sa.Connection, *, runs: Sequence[str], now_ns: int
) -> None:
    """Everything a new period must know: whose it is, where its verdicts and numbers go on, how
    far each outbox was read, the last word of each PLC, and the runs that are still open."""
    schema.metadata.create_all(target)
    info = source.execute(sa.select(schema.store_info)).one()
    begins = source.execute(sa.select(schema.period)).one()
    table = schema.verdict
    last = source.execute(
        sa.select(table.c.verdict_seq, table.c.seal)
        .where(table.c.verdict_seq > begins.verdict_seq)
        .order_by(table.c.verdict_seq.desc())
        .limit(1)
    ).first()
    _copy(source, target, schema.store_info, sa.true())
    target.execute(
        schema.period.insert(),
        {
            "number": begins.number + 1,
            "station_id": info.station_id,
            "begun_ns": now_ns,
            "verdict_seq": last.verdict_seq if last else begins.verdict_seq,
            "seal": last.seal if last else begins.seal,
        },
    )
    _copy(source, target, schema.outbox, sa.true())
    request, newest = schema.request, schema.request.alias("newest")
    highest = (
        sa.select(sa.func.max(newest.c.seq))
        .where(newest.c.plc_id == request.c.plc_id)
        .scalar_subquery()
    )
    _copy(source, target, request, request.c.seq == highest)
    carried = list(runs)
    for table in schema.AT_HAND:
        (key,) = table.primary_key
        newest_row = sa.select(sa.func.max(key)).scalar_subquery()
        if "run_id" not in table.c:
            _copy(source, target, table, key == newest_row)
            continue
        run = source.execute(sa.select(table.c.run_id).where(key == newest_row)).scalar()
        if run is not None and run not in carried:
            carried.append(run)
    carry(source, target, carried, info.station_id, now_ns)
    # Numbers go on over all periods, so that rows of several files can be put in their order.
    numbers = source.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
    target.exec_driver_sql("DELETE FROM sqlite_sequence")
    if numbers:
        target.exec_driver_sql(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", [tuple(row) for row in numbers]
        )
