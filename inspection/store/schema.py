"""The tables. Records are appended and never changed: triggers refuse UPDATE and DELETE on them.

``record`` holds each view's results exactly as they came (`inspection.messages.ViewResult` as
msgpack), chained per run; ``result`` is the same, one row a point, for questions in SQL. What is
not a record but a position (how far an outbox has been read) is in ``outbox`` and moves forward
only.

Times are nanoseconds of the wall clock since 1970 (UTC), for people; no decision is taken on them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

SCHEMA_VERSION = 3

metadata = sa.MetaData()

_ID = sa.String(64)
_HASH = sa.String(64)


def _station() -> sa.Column[str]:
    return sa.Column("station_id", _ID, nullable=False)


store_info = sa.Table(
    "store_info",
    metadata,
    sa.Column("schema_version", sa.Integer, primary_key=True),
    _station(),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("software", sa.String(32), nullable=False),
)

plan = sa.Table(
    "plan",
    metadata,
    sa.Column("plan_hash", _HASH, primary_key=True),
    _station(),
    sa.Column("name", _ID, nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("planned", sa.Integer, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("stored_ns", sa.BigInteger, nullable=False),
)
"""Every plan that a run was ever opened with, whole."""

run = sa.Table(
    "run",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", _ID, nullable=False, unique=True),
    _station(),
    sa.Column("part_id", _ID, nullable=False, index=True),
    sa.Column("plan_hash", _HASH, sa.ForeignKey("plan.plan_hash"), nullable=False),
    sa.Column("plc_id", _ID, nullable=False),
    sa.Column("planned", sa.Integer, nullable=False),
    sa.Column("begun_ns", sa.BigInteger, nullable=False),
    sa.Column("boot_id", sa.String(64), nullable=False),
    sa.Column("deadline_mono_ns", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""``deadline_mono_ns`` is on the monotonic clock of the machine start ``boot_id``."""

trigger = sa.Table(
    "view_trigger",
    metadata,
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("view_id", _ID, primary_key=True),
    _station(),
    sa.Column("triggered_ns", sa.BigInteger, nullable=False),
)
"""Views the PLC has asked for; view "*" stands for its word that there are no more."""

order = sa.Table(
    "view_order",
    metadata,
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), primary_key=True),
    sa.Column("view_id", _ID, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    _station(),
    sa.Column("edge_id", _ID, nullable=False),
    sa.Column("ordered_ns", sa.BigInteger, nullable=False),
)

record = sa.Table(
    "record",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), nullable=False, index=True),
    sa.Column("view_id", _ID, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("edge_id", _ID, nullable=False),
    sa.Column("outbox_id", sa.String(32), nullable=True),
    sa.Column("outbox_seq", sa.BigInteger, nullable=True),
    sa.Column("late", sa.Boolean, nullable=False),
    sa.Column("received_ns", sa.BigInteger, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("digest", _HASH, nullable=False),
    sa.Column("chain", _HASH, nullable=False),
    sa.UniqueConstraint("outbox_id", "outbox_seq"),
    sqlite_autoincrement=True,
)
"""``digest`` is SHA-256 of ``raw``; ``chain`` is SHA-256 of the run's previous ``chain`` (or of its
run_id) followed by ``digest``: SQLite does not notice a changed byte, this does. Attempt 0 is the
station's own record of points nobody looked at."""
sa.Index(
    "one_answer_an_order",
    record.c.run_id,
    record.c.view_id,
    record.c.attempt,
    unique=True,
    sqlite_where=record.c.attempt > 0,
    postgresql_where=record.c.attempt > 0,
)

result = sa.Table(
    "result",
    metadata,
    sa.Column("run_id", _ID, primary_key=True),
    sa.Column("point_id", _ID, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("record", sa.Integer, sa.ForeignKey("record.number"), nullable=False),
    _station(),
    sa.Column("view_id", _ID, nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("reason", sa.Integer, nullable=False),
    sa.Column("finding", sa.String(64), nullable=False),
    sa.Column("class_severity", sa.String(16), nullable=True),
    sa.Column("detail", sa.String(500), nullable=False),
    sa.Column("scores", sa.JSON, nullable=True),
    sa.Column("package_hash", _HASH, nullable=True),
    sa.Column("policy_hash", _HASH, nullable=True),
    sa.Column("evidence", _HASH, nullable=True),
    sa.Column("late", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(
    "result_not_ok",
    result.c.run_id,
    result.c.verdict,
    result.c.view_id,
    result.c.reason,
    # All that `Reader.suspects` asks for: it then never touches the table, nor prefers to scan it.
    result.c.class_severity,
    result.c.record,
    result.c.late,
    sqlite_where=result.c.verdict != "OK",
    postgresql_where=result.c.verdict != "OK",
)
sa.Index(
    "result_late",
    result.c.run_id,
    sqlite_where=result.c.late == sa.true(),
    postgresql_where=result.c.late == sa.true(),
)
"""Most points are OK and in time, and nobody asks for them by the thousand: the few others are
found without reading those."""

verdict = sa.Table(
    "verdict",
    metadata,
    sa.Column("verdict_seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), nullable=False, index=True),
    _station(),
    sa.Column("verdict", sa.String(8), nullable=False),
    sa.Column("planned", sa.Integer, nullable=False),
    sa.Column("ok", sa.Integer, nullable=False),
    sa.Column("nok", sa.Integer, nullable=False),
    sa.Column("review", sa.Integer, nullable=False),
    sa.Column("not_inspected", sa.Integer, nullable=False),
    sa.Column("chain", _HASH, nullable=False),
    sa.Column("formed_ns", sa.BigInteger, nullable=False),
    sa.Column("seal", _HASH, nullable=False),
    sa.CheckConstraint("planned = ok + nok + review + not_inspected", name="law_1"),
    sa.CheckConstraint("verdict <> 'OK' OR (ok = planned AND planned > 0)", name="ok_is_proved"),
    sqlite_autoincrement=True,
)
"""``chain`` is the head of the run's chain of records that the verdict was formed from; ``seal`` is
SHA-256 of the previous verdict's seal and of this row, so that verdicts are chained as well.
Numbers rise, and start from the seconds since 1970: also a new or restored store goes on above
whatever a PLC has seen before."""

acknowledgement = sa.Table(
    "acknowledgement",
    metadata,
    sa.Column("verdict_seq", sa.Integer, sa.ForeignKey("verdict.verdict_seq"), primary_key=True),
    sa.Column("plc_id", _ID, primary_key=True),
    _station(),
    sa.Column("acknowledged_ns", sa.BigInteger, nullable=False),
)

request = sa.Table(
    "request",
    metadata,
    sa.Column("plc_id", _ID, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    _station(),
    sa.Column("digest", _HASH, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=True),
    sa.Column("received_ns", sa.BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""What each PLC asked for and was told, so that the same number gets the same answer again.
``answer`` is empty where the answer depends on what has happened since (a triggered view)."""

evidence = sa.Table(
    "evidence",
    metadata,
    sa.Column("sha256", _HASH, primary_key=True),
    _station(),
    sa.Column("edge_id", _ID, nullable=False),
    sa.Column("media_type", _ID, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("stored_ns", sa.BigInteger, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("edge_id", _ID, nullable=False),
    sa.Column("outbox_id", sa.String(32), nullable=False),
    sa.Column("outbox_seq", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("text", sa.String(500), nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False),
    sa.Column("received_ns", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""Records that count for nothing but are kept: ``unreadable``, ``gap``, ``orphan`` (of no known
run or order), ``conflict`` (another answer to an order already answered)."""

event = sa.Table(
    "event",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("run_id", _ID, nullable=True),
    sa.Column("text", sa.String(500), nullable=False),
    sa.Column("happened_ns", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""What a person should know of: starts, refusals, lost edges, late defects, damage."""

period = sa.Table(
    "period",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    _station(),
    sa.Column("begun_ns", sa.BigInteger, nullable=False),
    sa.Column("verdict_seq", sa.Integer, nullable=False),
    sa.Column("seal", _HASH, nullable=False),
)
"""The one row that says which of a station's files this is, and from where its verdicts go on: the
number and the seal of the last verdict before it (0 and empty in the first)."""

carried = sa.Table(
    "carried",
    metadata,
    sa.Column("run_id", _ID, primary_key=True),
    _station(),
    sa.Column("period", sa.Integer, nullable=False),
    sa.Column("carried_ns", sa.BigInteger, nullable=False),
)
"""Runs of the period before that were copied here whole, because they were open at its end or
something was said of them since. What an earlier file holds of such a run no longer counts."""

carried_seal = sa.Table(
    "carried_seal",
    metadata,
    sa.Column("verdict_seq", sa.Integer, primary_key=True),
    _station(),
    sa.Column("before", _HASH, nullable=False),
)
"""The seal before each verdict that was copied here, where the verdict it belongs to is not."""
run_terms = sa.Table(
    "run_terms",
    metadata,
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), primary_key=True),
    _station(),
    sa.Column("repair_of", _ID, sa.ForeignKey("run.run_id"), nullable=True, index=True),
    sa.Column("covers", sa.JSON, nullable=True),
    sa.Column("limit_reason", sa.Integer, nullable=False),
)
"""What is special about a run, for the few that have it: the run it goes on from, the points it
looks at (NULL: the whole plan), and why it cannot be OK (`inspection.messages.Reason`)."""

decision = sa.Table(
    "decision",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("request_id", sa.String(32), nullable=False, unique=True),
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), nullable=False, index=True),
    sa.Column("part_id", _ID, nullable=False),
    sa.Column("point_id", _ID, nullable=False),
    sa.Column("person", sa.String(200), nullable=False),
    sa.Column("roles", sa.String(100), nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("finding", sa.String(500), nullable=False),
    sa.Column("severity", sa.String(16), nullable=True),
    sa.Column("method", sa.String(500), nullable=False),
    sa.Column("comment", sa.String(500), nullable=False),
    sa.Column("expected_seq", sa.Integer, nullable=False),
    sa.Column("expected_record", sa.Integer, nullable=False),
    sa.Column("verdict_seq", sa.Integer, sa.ForeignKey("verdict.verdict_seq"), nullable=False),
    sa.Column("decided_ns", sa.BigInteger, nullable=False),
    sa.Column("digest", _HASH, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("seal", _HASH, nullable=False),
    sqlite_autoincrement=True,
)
"""Every word of a person on a point, with what that person looked at (``expected_*``) and the run's
latest verdict after it. ``digest`` is of the request without its token, ``answer`` what it was told
and is told again. ``seal`` is SHA-256 of the seal of the decision on this run before it and of this
row."""

verdict_basis = sa.Table(
    "verdict_basis",
    metadata,
    sa.Column("verdict_seq", sa.Integer, sa.ForeignKey("verdict.verdict_seq"), primary_key=True),
    _station(),
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), nullable=False, index=True),
    sa.Column("ok_by_machine", sa.Integer, nullable=False),
    sa.Column("ok_by_person", sa.Integer, nullable=False),
    sa.Column("limit_reason", sa.Integer, nullable=False),
    sa.Column("decisions", _HASH, nullable=False),
    sa.Column("seal", _HASH, nullable=False),
)
"""What a verdict rests on besides the records of its own run, where that is anything:
``decisions`` is the seal of the last decision on the run by then (empty where there was none).
``seal`` is SHA-256 of the verdict's seal and of this row."""

challenge = sa.Table(
    "challenge",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), nullable=False, unique=True),
    sa.Column("part_id", _ID, nullable=False),
    sa.Column("plan_hash", _HASH, nullable=False),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("missed", sa.JSON, nullable=False),
    sa.Column("finished_ns", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
"""Parts with known defects that went through the line, and the points where one was missed."""

bypass = sa.Table(
    "bypass",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("change", sa.String(8), nullable=False),
    sa.Column("request_id", sa.String(32), nullable=True, unique=True),
    sa.Column("person", sa.String(200), nullable=False),
    sa.Column("roles", sa.String(100), nullable=False),
    sa.Column("why", sa.String(300), nullable=False),
    sa.Column("until_ns", sa.BigInteger, nullable=False),
    sa.Column("boot_id", sa.String(64), nullable=False),
    sa.Column("until_mono_ns", sa.BigInteger, nullable=False),
    sa.Column("happened_ns", sa.BigInteger, nullable=False),
    sa.Column("digest", _HASH, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""``change`` is "begin", "end" (somebody ended it) or "expired" (its time was up; no request). The
latest row says whether nothing is inspected at present. ``until_mono_ns`` is on the monotonic clock
of the machine start ``boot_id``: within it nobody's wall clock makes a bypass longer."""

second_look = sa.Table(
    "second_look",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    _station(),
    sa.Column("request_id", sa.String(32), nullable=False, unique=True),
    sa.Column("run_id", _ID, sa.ForeignKey("run.run_id"), nullable=False, index=True),
    sa.Column("part_id", _ID, nullable=False),
    sa.Column("point_id", _ID, nullable=False),
    sa.Column("person", sa.String(200), nullable=False),
    sa.Column("roles", sa.String(100), nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False),
    sa.Column("method", sa.String(16), nullable=False),
    sa.Column("word", sa.String(16), nullable=False),
    sa.Column("finding", sa.String(500), nullable=False),
    sa.Column("value_mm", sa.Float, nullable=True),
    sa.Column("study", _ID, nullable=False),
    sa.Column("item", _ID, nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("inclusion", sa.Float, nullable=True),
    sa.Column("stratum", sa.String(500), nullable=False),
    sa.Column("comment", sa.String(500), nullable=False),
    sa.Column("looked_ns", sa.BigInteger, nullable=False),
    sa.Column("digest", _HASH, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("seal", _HASH, nullable=False),
    sqlite_autoincrement=True,
)
"""What a person said of a point for an audit, blind after somebody else, or in a study. It changes
no verdict. ``seal`` is SHA-256 of the seal of the look on this run before it and of this row."""
sa.Index("look_of_study", second_look.c.purpose, second_look.c.study)

study = sa.Table(
    "study",
    metadata,
    sa.Column("study_id", _ID, primary_key=True),
    _station(),
    sa.Column("request_id", sa.String(32), nullable=False, unique=True),
    sa.Column("person", sa.String(200), nullable=False),
    sa.Column("roles", sa.String(100), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("planned_ns", sa.BigInteger, nullable=False),
    sa.Column("digest", _HASH, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
)
"""Studies of agreement as they were planned, before the first look."""

rollup_slot = sa.Table(
    "rollup_slot",
    metadata,
    sa.Column("slot_ns", sa.BigInteger, primary_key=True),
    sa.Column("plan_hash", _HASH, primary_key=True),
    _station(),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("runs_ok", sa.Integer, nullable=False),
    sa.Column("runs_nok", sa.Integer, nullable=False),
    sa.Column("runs_hold", sa.Integer, nullable=False),
    sa.Column("planned", sa.Integer, nullable=False),
    sa.Column("ok", sa.Integer, nullable=False),
    sa.Column("nok", sa.Integer, nullable=False),
    sa.Column("review", sa.Integer, nullable=False),
    sa.Column("not_inspected", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Sums over the runs of a plan whose first verdict was formed in a slot (`rollups.SLOT_NS`), as
they were counted then. Re-inspections and challenge parts are no production and in no sum."""

rollup_point = sa.Table(
    "rollup_point",
    metadata,
    sa.Column("slot_ns", sa.BigInteger, primary_key=True),
    sa.Column("plan_hash", _HASH, primary_key=True),
    sa.Column("point_id", _ID, primary_key=True),
    sa.Column("edge_id", _ID, primary_key=True),
    sa.Column("verdict", sa.String(16), primary_key=True),
    sa.Column("reason", sa.Integer, primary_key=True),
    sa.Column("finding", sa.String(64), primary_key=True),
    _station(),
    sa.Column("view_id", _ID, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""Of the same runs, how often a point was not OK and why. What is not in here was OK."""

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("outbox_id", sa.String(32), primary_key=True),
    _station(),
    sa.Column("edge_id", _ID, nullable=False),
    sa.Column("committed", sa.BigInteger, nullable=False),
)
"""How far each outbox has been read: moved in the transaction that stores what was read."""

APPEND_ONLY = (
    store_info,
    plan,
    run,
    trigger,
    order,
    record,
    result,
    verdict,
    acknowledgement,
    request,
    evidence,
    quarantine,
    event,
    period,
    carried,
    carried_seal,
    run_terms,
    decision,
    verdict_basis,
    challenge,
    bypass,
    second_look,
    study,
)

COUNTED = {
    rollup_slot: (
        *("runs", "runs_ok", "runs_nok", "runs_hold"),
        *("planned", "ok", "nok", "review", "not_inspected"),
    ),
    rollup_point: ("count",),
}
"""Tables of sums, and their columns that rise."""

OF_RUNS = tuple(
    table
    for table in metadata.sorted_tables
    if "run_id" in table.c and table not in (event, carried)
)
"""All that is on record of a run, in an order in which it can be copied: what says ``run_id`` goes
along with its run into another period."""

AT_HAND = (decision, challenge, bypass, second_look)
"""Tables whose newest row every period must hold, with the run it is of, if any."""

_ddl: Callable[[str], Any] = sa.DDL  # SQLAlchemy leaves its constructor untyped

for _table in APPEND_ONLY:
    for _action in ("UPDATE", "DELETE"):
        sa.event.listen(
            _table,
            "after_create",
            _ddl(
                f"CREATE TRIGGER {_table.name}_no_{_action.lower()} BEFORE {_action}"
                f" ON {_table.name}"
                f" BEGIN SELECT RAISE(ABORT, '{_table.name} is append-only'); END"
            ).execute_if(dialect="sqlite"),
        )
sa.event.listen(
    outbox,
    "after_create",
    _ddl(
        "CREATE TRIGGER outbox_forward BEFORE UPDATE ON outbox"
        " WHEN NEW.committed < OLD.committed"
        " BEGIN SELECT RAISE(ABORT, 'an outbox is only read forward'); END"
    ).execute_if(dialect="sqlite"),
)
for _table, _columns in COUNTED.items():
    _falls = " OR ".join(f"NEW.{name} < OLD.{name}" for name in _columns)
    for _action, _when in (("UPDATE", f" WHEN {_falls}"), ("DELETE", "")):
        sa.event.listen(
            _table,
            "after_create",
            _ddl(
                f"CREATE TRIGGER {_table.name}_no_{_action.lower()} BEFORE {_action}"
                f" ON {_table.name}{_when}"
                f" BEGIN SELECT RAISE(ABORT, '{_table.name} only rises'); END"
            ).execute_if(dialect="sqlite"),
        )
