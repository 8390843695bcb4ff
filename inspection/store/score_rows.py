"""Scores of some points on a bounded number of bodies, found by their keys: it takes the same time
however many results there are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from inspection.store import schema
from inspection.store.reader import Reader

MOST_BODIES = 100
MOST_POINTS = 100


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What a model said of a point of one body, in the order of its classes; ``number`` rises from
    body to body. Of several pictures the last."""

    number: int
    run: str
    part: str
    begun_ns: int
    point: str
    package: str
    scores: tuple[float, ...]


def score_rows(
    reader: Reader,
    plan_hash: str,
    points: Collection[str],
    *,
    bodies: int,
    oldest: bool = False,
) -> list[ScoreRow]:
    """Scores on the newest bodies of a plan, or on the oldest, from body to body as they were
    begun. Raises `StoreError`, and `ValueError` for more than `MOST_BODIES` or `MOST_POINTS`."""
    if bodies > MOST_BODIES or len(points) > MOST_POINTS:
        raise ValueError(f"at most {MOST_POINTS} points of {MOST_BODIES} bodies are asked for")
    run, result = schema.run, schema.result
    order = run.c.number if oldest else run.c.number.desc()
    found: dict[tuple[int, str], ScoreRow] = {}
    seen: set[str] = set()
    periods = list(reader.periods())
    for period in reversed(periods) if oldest else periods:
        chosen = sa.select(run.c.run_id).where(
            run.c.plan_hash == plan_hash, *period.counts(run.c.run_id)
        )
        (ids,) = period.rows(chosen.order_by(order).limit(bodies - len(seen)))
        here = [row.run_id for row in ids]
        seen.update(here)
        if here and points:
            (rows,) = period.rows(
                sa.select(
                    run.c.number,
                    run.c.run_id,
                    run.c.part_id,
                    run.c.begun_ns,
                    result.c.point_id,
                    result.c.package_hash,
                    result.c.scores,
                )
                .select_from(run.join(result, result.c.run_id == run.c.run_id))
                .where(
                    result.c.run_id.in_(here),
                    result.c.point_id.in_(sorted(points)),
                    result.c.late == sa.false(),
                )
                .order_by(run.c.number, result.c.point_id, result.c.attempt)
            )
            for row in rows:
                if row.scores is not None and row.package_hash is not None:
                    found[row.number, row.point_id] = ScoreRow(
                        row.number,
                        row.run_id,
                        row.part_id,
                        row.begun_ns,
                        row.point_id,
                        row.package_hash,
                        tuple(row.scores),
                    )
        if len(seen) >= bodies:
            break
    return [found[key] for key in sorted(found)]
