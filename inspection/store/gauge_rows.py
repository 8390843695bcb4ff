"""What gauges measured at a point, read out of the records as they came: a bounded number of
bodies, found by their keys, so that it takes the same time however many results there are."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from msgspec import UNSET

from inspection import wire
from inspection.errors import WireError
from inspection.messages import Gauged, Inspected, ViewResult
from inspection.store import schema
from inspection.store.reader import Reader

MOST_BODIES = 100


@dataclass(frozen=True, slots=True)
class GaugeRow:
    """What was measured at a point of one body; ``number`` rises from body to body."""

    number: int
    run: str
    part: str
    begun_ns: int
    gauged: Gauged


def gauge_rows(
    reader: Reader, point: str, *, bodies: int, plan_hash: str | None = None, run: str | None = None
) -> list[GaugeRow]:
    """The measures at a point on the newest bodies (of one plan, or in one run), oldest first; of
    several pictures the last. Raises `StoreError`, and `ValueError` for more than `MOST_BODIES`."""
    if bodies > MOST_BODIES:
        raise ValueError(f"at most {MOST_BODIES} bodies are asked for")
    table, result, record = schema.run, schema.result, schema.record
    found: dict[int, GaugeRow] = {}
    seen = 0
    for period in reader.periods():
        chosen = sa.select(table.c.run_id).where(*period.counts(table.c.run_id))
        if plan_hash is not None:
            chosen = chosen.where(table.c.plan_hash == plan_hash)
        if run is not None:
            chosen = chosen.where(table.c.run_id == run)
        (ids,) = period.rows(chosen.order_by(table.c.number.desc()).limit(bodies - seen))
        seen += len(ids)
        if ids:
            (rows,) = period.rows(
                sa.select(
                    table.c.number, table.c.run_id, table.c.part_id, table.c.begun_ns, record.c.raw
                )
                .select_from(
                    result.join(record, record.c.number == result.c.record).join(
                        table, table.c.run_id == result.c.run_id
                    )
                )
                .where(
                    result.c.run_id.in_([row.run_id for row in ids]),
                    result.c.point_id == point,
                    result.c.late == sa.false(),
                )
                .order_by(table.c.number, result.c.attempt)
            )
            for row in rows:
                if (gauged := _gauged(row.raw, point)) is not None:
                    found[row.number] = GaugeRow(
                        row.number, row.run_id, row.part_id, row.begun_ns, gauged
                    )
        if seen >= bodies:
            break
    return [found[number] for number in sorted(found)]


def _gauged(raw: bytes, point: str) -> Gauged | None:
    try:
        answer = wire.RECORD.decode(raw)
    except WireError:
        return None  # the store's own check reports it
    if not isinstance(answer, ViewResult):
        return None
    for said in answer.points:
        if isinstance(said, Inspected) and said.point == point and said.gauge is not UNSET:
            return said.gauge
    return None
