"""What is asked of the store about single parts: which there are, and what proves their records."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from inspection.store import schema
from inspection.store.reader import Reader

AFTER = "\U0010ffff"
"""Sorts after every character of an identifier."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a run's record can be checked by: for each record its number, digest and the head of
    the chain after it, for each verdict its number, what it says and its seal."""

    records: tuple[tuple[int, str, str], ...]
    verdicts: tuple[tuple[int, str, str], ...]


def parts_like(reader: Reader, text: str, *, limit: int = 50) -> list[str]:
    """Ids of parts that begin with a text, in the order of their ids; found through the index of
    ids. Raises `StoreError`."""
    part = schema.run.c.part_id
    query = (
        sa.select(part)
        .where(part >= text, part < text + AFTER)
        .distinct()
        .order_by(part)
        .limit(limit)
    )
    found: set[str] = set()
    for period in reader.periods():
        found.update(row.part_id for row in period.rows(query)[0])
    return sorted(found)[:limit]


def proof(reader: Reader, run: str) -> Proof:
    """What the record of a run can be checked by; empty where there is no such run. Raises
    `StoreError`."""
    record, verdict = schema.record, schema.verdict
    here = sa.select(schema.run.c.number).where(schema.run.c.run_id == run)
    for period in reader.periods():
        if run in period.gone_on or not period.rows(here)[0]:
            continue
        records, verdicts = period.rows(
            sa.select(record.c.number, record.c.digest, record.c.chain)
            .where(record.c.run_id == run)
            .order_by(record.c.number),
            sa.select(verdict.c.verdict_seq, verdict.c.verdict, verdict.c.seal)
            .where(verdict.c.run_id == run)
            .order_by(verdict.c.verdict_seq),
        )
        return Proof(
            tuple((row.number, row.digest, row.chain) for row in records),
            tuple((row.verdict_seq, row.verdict, row.seal) for row in verdicts),
        )
    return Proof((), ())
