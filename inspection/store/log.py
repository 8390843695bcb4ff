"""Who changed what: every word, second look, study, bypass and login on record, in one order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inspection.store import schema
from inspection.store.reader import Reader

SYSTEM = "–"
"""Stands for the station itself."""
EVENTS = (
    "login",
    "login_refused",
    "not_authorised",
    "decision_stale",
    "model_released",
    "key_revoked",
    "keys_unusable",
    "period",
    "migrated",
    "record_changed",
    "chain_broken",
)
"""Kinds of events that are about who changed what, or tried to."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the log. ``person`` is `SYSTEM` where nobody did it, ``kind`` what it was:
    ``decision``, ``look``, ``study``, ``bypass`` or an event's own kind."""

    when_ns: int
    person: str
    kind: str
    what: str
    run: str
    part: str
    point: str


def log(reader: Reader, *, since_ns: int = 0) -> list[LogEntry]:
    """Everything since a time, newest first. Raises `StoreError`."""
    decision, look, study = schema.decision, schema.second_look, schema.study
    bypass, event = schema.bypass, schema.event
    found: dict[tuple[Any, ...], LogEntry] = {}
    for period in reader.periods(since_ns=since_ns):
        if period.has(decision):
            for row in period.rows(sa.select(decision).where(decision.c.decided_ns >= since_ns))[0]:
                what = " ".join(filter(None, [row.action, row.finding, row.method, row.comment]))
                found["decision", row.number] = LogEntry(
                    row.decided_ns,
                    row.person,
                    "decision",
                    what,
                    row.run_id,
                    row.part_id,
                    row.point_id,
                )
            for row in period.rows(sa.select(bypass).where(bypass.c.happened_ns >= since_ns))[0]:
                who = row.person if row.change != "expired" else SYSTEM
                found["bypass", row.number] = LogEntry(
                    row.happened_ns, who, "bypass", f"{row.change}: {row.why}", "", "", ""
                )
        if period.has(look):
            looks, studies = period.rows(
                sa.select(look).where(look.c.looked_ns >= since_ns),
                sa.select(study).where(study.c.planned_ns >= since_ns),
            )
            for row in looks:
                # What an appraiser said in a study is told by the study alone.
                told = row.study or " ".join(
                    filter(None, [row.word, row.method, row.finding, row.comment])
                )
                found["look", row.number] = LogEntry(
                    row.looked_ns,
                    row.person,
                    "look",
                    f"{row.purpose} {told}",
                    row.run_id,
                    row.part_id,
                    row.point_id,
                )
            for row in studies:
                found["study", row.study_id] = LogEntry(
                    row.planned_ns, row.person, "study", row.study_id, "", "", ""
                )
        (events,) = period.rows(
            sa.select(event).where(event.c.happened_ns >= since_ns, event.c.kind.in_(EVENTS))
        )
        for row in events:
            found["event", row.number] = LogEntry(
                row.happened_ns, SYSTEM, row.kind, row.text, row.run_id or "", "", ""
            )
    return sorted(found.values(), key=lambda each: -each.when_ns)
