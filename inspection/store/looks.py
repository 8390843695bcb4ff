"""Second looks and the studies they answer, as pages ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inspection.messages import LookMethod, LookPurpose, LookWord, Role
from inspection.store import schema
from inspection.store.reader import Reader


@dataclass(frozen=True, slots=True)
class LookRow:
    """A second look as it was written down (`inspection.messages.Look`); None and empty strings
    where nothing was said."""

    number: int
    run: str
    part: str
    point: str
    person: str
    roles: frozenset[Role]
    purpose: LookPurpose
    method: LookMethod
    word: LookWord
    finding: str
    value_mm: float | None
    study: str
    item: str
    trial: int
    inclusion: float | None
    stratum: str
    comment: str
    looked_ns: int


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study as it was planned; ``document`` is JSON."""

    study: str
    person: str
    document: str
    planned_ns: int


def looks(
    reader: Reader,
    *,
    purpose: LookPurpose | None = None,
    study: str | None = None,
    point: str | None = None,
    since_ns: int = 0,
) -> list[LookRow]:
    """Second looks in the order in which they were made. Raises `StoreError`."""
    table = schema.second_look
    query = sa.select(table).where(table.c.looked_ns >= since_ns)
    if purpose is not None:
        query = query.where(table.c.purpose == purpose.value)
    if study is not None:
        query = query.where(table.c.study == study)
    if point is not None:
        query = query.where(table.c.point_id == point)
    # One whose run was copied into a later period is in two of them.
    found: dict[int, LookRow] = {}
    for period in reader.periods(since_ns=since_ns):
        if period.has(table):
            found.update((row.number, _look(row)) for row in period.rows(query)[0])
    return [found[number] for number in sorted(found)]


def studies(reader: Reader) -> list[StudyRow]:
    """All studies, the newest first. Raises `StoreError`."""
    table = schema.study
    rows: list[Any] = []
    for period in reader.periods():
        if period.has(table):
            rows += period.rows(sa.select(table))[0]
    rows.sort(key=lambda row: (-row.planned_ns, row.study_id))
    return [StudyRow(row.study_id, row.person, row.document, row.planned_ns) for row in rows]


def _look(row: Any) -> LookRow:
    return LookRow(
        number=row.number,
        run=row.run_id,
        part=row.part_id,
        point=row.point_id,
        person=row.person,
        roles=frozenset(Role(role) for role in row.roles.split()),
        purpose=LookPurpose(row.purpose),
        method=LookMethod(row.method),
        word=LookWord(row.word),
        finding=row.finding,
        value_mm=row.value_mm,
        study=row.study,
        item=row.item,
        trial=row.trial,
        inclusion=row.inclusion,
        stratum=row.stratum,
        comment=row.comment,
        looked_ns=row.looked_ns,
    )
