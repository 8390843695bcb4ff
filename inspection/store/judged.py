"""What judged, and with which scores, as the page on models asks for it: counted and read in bulk,
because a body alone has thousands of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.messages import Verdict
from inspection.store import schema
from inspection.store.reader import Reader, counting

_SCORES = msgspec.json.Decoder(list[list[float]])


@dataclass(frozen=True, slots=True)
class JudgedBy:
    """So many results of a run that an edge judged with a package and a policy."""

    run: str
    edge: str
    package: str
    policy: str
    results: int


def judged_by(reader: Reader, runs: Sequence[str]) -> list[JudgedBy]:
    """What judged these runs, late results and superseded ones too. Raises `StoreError`."""
    result, record = schema.result, schema.record
    of_record = (
        sa.select(
            result.c.run_id,
            result.c.record,
            result.c.package_hash,
            result.c.policy_hash,
            sa.func.count().label("results"),
        )
        .where(result.c.package_hash.is_not(None))
        .group_by(result.c.run_id, result.c.record, result.c.package_hash, result.c.policy_hash)
    )
    found = []
    for period in reader.periods():
        here = of_record.where(
            result.c.run_id.in_(list(runs)), *period.counts(result.c.run_id)
        ).subquery()
        keys = (here.c.run_id, record.c.edge_id, here.c.package_hash, here.c.policy_hash)
        (rows,) = period.rows(
            sa.select(*keys, sa.func.sum(here.c.results))
            .select_from(here.join(record, record.c.number == here.c.record))
            .group_by(*keys)
        )
        found += [JudgedBy(*row) for row in rows]
    return found


@dataclass(frozen=True, slots=True)
class Scored:
    """An entry that counts, with its probabilities in the order of the model's classes."""

    point: str
    verdict: Verdict
    scores: list[float]


def scored(reader: Reader, run: str, package: str) -> list[Scored]:
    """What a package said of a run's points, in their order. Raises `StoreError`."""
    result = schema.result
    for period in reader.periods():
        (rows,) = period.rows(
            sa.select(result.c.point_id, result.c.verdict, sa.cast(result.c.scores, sa.String))
            .where(
                result.c.run_id == run,
                result.c.package_hash == package,
                counting(),
                *period.counts(result.c.run_id),
            )
            .order_by(result.c.point_id)
        )
        told = [row for row in rows if row[2] not in (None, "null")]
        if told:
            break
    else:
        return []
    try:
        scores = _SCORES.decode(f"[{','.join(row[2] for row in told)}]")
        return [
            Scored(row[0], Verdict(row[1]), each) for row, each in zip(told, scores, strict=True)
        ]
    except (msgspec.MsgspecError, ValueError) as error:
        raise StoreError(f"{reader.path}: scores of run {run}: {error}") from None
