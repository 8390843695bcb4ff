"""What candidates said, as a page asks for it: among the newest pieces of evidence."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from inspection.shadow import SHADOW
from inspection.store import schema
from inspection.store.reader import Reader


@dataclass(frozen=True, slots=True)
class Kept:
    """A candidate's report among the evidence."""

    sha256: str
    stored_ns: int


def newest_reports(reader: Reader, *, pieces: int, most: int) -> list[Kept]:
    """The newest reports of candidates, the newest first, among so many of the newest pieces of
    evidence: evidence has no index by kind, so that a bound is what keeps the question short.
    Raises `StoreError`."""
    table = schema.evidence
    row: sa.ColumnElement[int] = sa.literal_column("rowid")
    found: list[Kept] = []
    for period in reader.periods():
        newest = (
            sa.select(table.c.sha256, table.c.media_type, table.c.stored_ns, row.label("at"))
            .order_by(row.desc())
            .limit(pieces)
            .subquery()
        )
        query = (
            sa.select(newest.c.sha256, newest.c.stored_ns)
            .where(newest.c.media_type == SHADOW)
            .order_by(newest.c.at.desc())
            .limit(most - len(found))
        )
        looked, reports = period.rows(
            sa.select(sa.func.count()).select_from(
                sa.select(row).select_from(table).order_by(row.desc()).limit(pieces).subquery()
            ),
            query,
        )
        found += [Kept(each.sha256, each.stored_ns) for each in reports]
        pieces -= int(looked[0][0])
        if pieces <= 0 or len(found) >= most:
            break
    return found
