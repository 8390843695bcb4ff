"""What the store keeps of people and of the guard over the line: part of the one writer.

The decisions on a run are sealed in a chain as verdicts are (of the run, because a run may move
into another period without the others), and read back only with their seals recomputed: a changed
or missing one shows, and what rests on it is not OK.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa
from msgspec import UNSET

from inspection.decisions import LASTING, Decision
from inspection.ledger import Entry, settle
from inspection.messages import (
    Action,
    Inspected,
    Look,
    PlanStudy,
    Reason,
    Role,
    Severity,
    Verdict,
)
from inspection.store import schema

if TYPE_CHECKING:
    from inspection.clock import Clock
    from inspection.store.writer import StoredRecord


@dataclass(frozen=True, slots=True)
class Terms:
    """What is special about a run; the defaults are those of most runs."""

    repair_of: str | None = None
    covers: frozenset[str] | None = None
    limit: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Settled:
    """The entries that count in one run and the records they are in. ``intact`` is whether all that
    is on record of it, decisions too, is as it was written."""

    entries: Mapping[str, Entry]
    records: Mapping[str, int]
    decisions: tuple[Decision, ...]
    seq_after: Mapping[int, int]
    """By the number of each decision, the run's latest verdict after it."""
    intact: bool


@dataclass(frozen=True, slots=True)
class Basis:
    """What a verdict rests on besides the records of its own run."""

    ok_by_machine: int
    ok_by_person: int
    limit: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class NewDecision:
    """A decision as it is written down: what was asked, and what was answered."""

    decision: Decision
    part: str
    comment: str
    request_id: str
    expected_seq: int
    expected_record: int
    verdict_seq: int
    digest: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class Told:
    """What a request was told: kept, so that the same one is told it again."""

    digest: str
    answer: bytes


@dataclass(frozen=True, slots=True)
class StoredBypass:
    """The bypass that holds."""

    person: str
    why: str
    until_ns: int
    boot_id: str
    until_mono_ns: int


class PeopleTables:
    """The part of `inspection.store.Store` that holds what people said."""

    station_id: str
    _clock: Clock

    if TYPE_CHECKING:

        @property
        def _db(self) -> sa.Connection: ...

        def _flush(self) -> None: ...

        def _insert(self, table: sa.Table, **values: Any) -> None: ...

        def _periods(self) -> Iterator[sa.Connection]: ...

        def _first(self, statement: sa.Executable) -> Any: ...

        def _home(self, run: str) -> sa.Connection: ...

        def _bring(self, run: str) -> None: ...

        def _stored_records(self, run: str) -> tuple[StoredRecord, ...]: ...

        def check_chain(self, run: str) -> str | None: ...

    # ------------------------------------------------------------------------------ writing

    def add_terms(self, run: str, terms: Terms) -> None:
        """What is special about a run that has just been opened."""
        if terms.repair_of is not None:
            self._bring(terms.repair_of)
        self._insert(
            schema.run_terms,
            run_id=run,
            repair_of=terms.repair_of,
            covers=None if terms.covers is None else sorted(terms.covers),
            limit_reason=int(terms.limit),
        )

    def bring_part(self, run: str) -> None:
        """Have a run and all that go on from it in the open period: what is said of it changes what
        they come to."""
        for follower in self.followers(run):
            self._bring(follower)
        self._bring(run)

    def next_decision(self) -> int:
        """The number the next decision will have."""
        last = self._db.execute(sa.select(sa.func.max(schema.decision.c.number))).scalar()
        return int(last or 0) + 1

    def add_decision(self, new: NewDecision) -> None:
        """A person's word, sealed over the one before it."""
        word = new.decision
        row: dict[str, Any] = {
            "number": word.number,
            "station_id": self.station_id,
            "request_id": new.request_id,
            "run_id": word.run,
            "part_id": new.part,
            "point_id": word.point,
            "person": word.person,
            "roles": roles_text(word.roles),
            "action": word.action.value,
            "finding": word.finding,
            "severity": word.severity and word.severity.value,
            "method": word.method,
            "comment": new.comment,
            "expected_seq": new.expected_seq,
            "expected_record": new.expected_record,
            "verdict_seq": new.verdict_seq,
            "decided_ns": self._clock.wall_ns(),
            "digest": new.digest,
            "answer": new.answer,
        }
        seal = decision_seal(self._seal_of_last_decision(word.run), row)
        self._db.execute(schema.decision.insert(), {**row, "seal": seal})

    def next_look(self) -> int:
        """The number the next second look will have."""
        last = self._db.execute(sa.select(sa.func.max(schema.second_look.c.number))).scalar()
        return int(last or 0) + 1

    def add_look(
        self, ask: Look, part: str, number: int, person: str, roles: frozenset[Role], told: Told
    ) -> None:
        """A second look, sealed over the one on the same run before it."""
        self._bring(ask.run)
        table = schema.second_look
        before = self._db.execute(
            sa.select(table.c.seal)
            .where(table.c.run_id == ask.run)
            .order_by(table.c.number.desc())
            .limit(1)
        ).scalar()
        row: dict[str, Any] = {
            "number": number,
            "station_id": self.station_id,
            "request_id": ask.request_id,
            "run_id": ask.run,
            "part_id": part,
            "point_id": ask.point,
            "person": person,
            "roles": roles_text(roles),
            "purpose": ask.purpose.value,
            "method": ask.method.value,
            "word": ask.word.value,
            "finding": ask.finding,
            "value_mm": None if ask.value_mm is UNSET else ask.value_mm,
            "study": ask.study,
            "item": ask.item,
            "trial": ask.trial,
            "inclusion": None if ask.inclusion is UNSET else ask.inclusion,
            "stratum": ask.stratum,
            "comment": ask.comment,
            "looked_ns": self._clock.wall_ns(),
            "digest": told.digest,
            "answer": told.answer,
        }
        self._db.execute(table.insert(), {**row, "seal": look_seal(before or "", row)})

    def add_study(self, ask: PlanStudy, person: str, roles: frozenset[Role], told: Told) -> None:
        """A study as it is planned."""
        self._insert(
            schema.study,
            study_id=ask.study,
            request_id=ask.request_id,
            person=person,
            roles=roles_text(roles),
            document=ask.document,
            planned_ns=self._clock.wall_ns(),
            digest=told.digest,
            answer=told.answer,
        )

    def has_study(self, study: str) -> bool:
        """Whether a study of this name was ever planned."""
        table = schema.study
        return self._first(sa.select(table.c.study_id).where(table.c.study_id == study)) is not None

    def add_basis(self, verdict_seq: int, run: str, basis: Basis) -> None:
        """What the verdict of this number rests on besides the records of its run."""
        verdict_seal = self._db.execute(
            sa.select(schema.verdict.c.seal).where(schema.verdict.c.verdict_seq == verdict_seq)
        ).scalar_one()
        row: dict[str, Any] = {
            "verdict_seq": verdict_seq,
            "station_id": self.station_id,
            "run_id": run,
            "ok_by_machine": basis.ok_by_machine,
            "ok_by_person": basis.ok_by_person,
            "limit_reason": int(basis.limit),
            "decisions": self._seal_of_last_decision(run),
        }
        seal = basis_seal(verdict_seal, row)
        self._db.execute(schema.verdict_basis.insert(), {**row, "seal": seal})

    def add_challenge(self, run: str, part: str, plan_hash: str, missed: Sequence[str]) -> None:
        """A part with known defects has gone through the line."""
        self._insert(
            schema.challenge,
            run_id=run,
            part_id=part,
            plan_hash=plan_hash,
            passed=not missed,
            missed=list(missed),
            finished_ns=self._clock.wall_ns(),
        )

    def add_bypass(
        self,
        change: str,
        bypass: StoredBypass,
        roles: frozenset[Role] = frozenset(),
        *,
        request_id: str | None = None,
        digest: str = "",
        answer: bytes = b"",
    ) -> None:
        """A bypass begins ("begin"), is ended by somebody ("end") or by its time ("expired")."""
        self._insert(
            schema.bypass,
            change=change,
            request_id=request_id,
            person=bypass.person,
            roles=roles_text(roles),
            why=bypass.why,
            until_ns=bypass.until_ns,
            boot_id=bypass.boot_id,
            until_mono_ns=bypass.until_mono_ns,
            happened_ns=self._clock.wall_ns(),
            digest=digest,
            answer=answer,
        )

    # ------------------------------------------------------------------------------ reading

    def terms(self, run: str) -> Terms:
        """What is special about a run. A limit that came up while it was open is in the basis of
        its verdicts, and holds for all that rests on it."""
        home = self._home(run)
        row = home.execute(
            sa.select(schema.run_terms).where(schema.run_terms.c.run_id == run)
        ).first()
        later = home.execute(
            sa.select(schema.verdict_basis.c.limit_reason).where(
                schema.verdict_basis.c.run_id == run,
                schema.verdict_basis.c.limit_reason.in_([int(reason) for reason in LASTING]),
            )
        ).scalar()
        limit = Reason(later) if later is not None else Reason.NONE
        if row is None:
            return Terms(limit=limit)
        own = Reason(row.limit_reason)
        return Terms(
            repair_of=row.repair_of,
            covers=None if row.covers is None else frozenset(row.covers),
            limit=limit if own is Reason.NONE else own,
        )

    def followers(self, run: str) -> list[str]:
        """The re-inspections that go on from a run, and those that go on from them, in order."""
        found: list[str] = []
        wave = [run]
        while wave:
            following = (
                sa.select(schema.run.c.number, schema.run_terms.c.run_id)
                .join(schema.run, schema.run.c.run_id == schema.run_terms.c.run_id)
                .where(schema.run_terms.c.repair_of.in_(wave))
            )
            # One that was copied into a later period is in two of them.
            rows = {tuple(row) for period in self._periods() for row in period.execute(following)}
            wave = [str(name) for _, name in sorted(rows)]
            found += wave
        return found

    def settled(self, run: str) -> Settled:
        """What is on record of a run: a row that says OK counts only where the bytes it was made
        of say so too, and those bytes, like the decisions, only while their chain holds."""
        counting: dict[str, tuple[Entry, int]] = {}
        intact = self.check_chain(run) is not None
        for record in self._stored_records(run):
            if record.late:
                continue
            if record.answer is None or record.entries is None:
                intact = False
                continue
            said_ok = {
                point.point
                for point in record.answer.points
                if isinstance(point, Inspected) and point.verdict is Verdict.OK
            }
            for found in record.entries:
                entry = found
                if entry.verdict is Verdict.OK and entry.point not in said_ok:
                    intact = False
                    entry = Entry(entry.point, Verdict.NOT_INSPECTED, Reason.RECORD_CONFLICT)
                before = counting.get(entry.point)
                best = entry if before is None else settle([before[0], entry])
                if before is None or best is not before[0]:
                    counting[entry.point] = (entry, record.number)
        words, seq_after, sealed = self._decisions_of(run)
        return Settled(
            entries={point: entry for point, (entry, _) in counting.items()},
            records={point: number for point, (_, number) in counting.items()},
            decisions=words,
            seq_after=seq_after,
            intact=intact and sealed,
        )

    def counted_at_first(self, run: str) -> tuple[int, int, int, int] | None:
        """(OK, NOK, REVIEW, NOT_INSPECTED) as the run's first verdict counted them."""
        table = schema.verdict
        row = (
            self._home(run)
            .execute(
                sa.select(table.c.ok, table.c.nok, table.c.review, table.c.not_inspected)
                .where(table.c.run_id == run)
                .order_by(table.c.verdict_seq)
                .limit(1)
            )
            .first()
        )
        return None if row is None else (row.ok, row.nok, row.review, row.not_inspected)

    def decision_answer(self, request_id: str) -> tuple[str, bytes] | None:
        """(digest of the request, answer) of a decision, None where that request is new."""
        return self._answered(schema.decision, request_id)

    def bypass_answer(self, request_id: str) -> tuple[str, bytes] | None:
        """(digest of the request, answer) of a bypass, None where that request is new."""
        return self._answered(schema.bypass, request_id)

    def look_answer(self, request_id: str) -> tuple[str, bytes] | None:
        """(digest of the request, answer) of a second look, None where that request is new."""
        return self._answered(schema.second_look, request_id)

    def study_answer(self, request_id: str) -> tuple[str, bytes] | None:
        """(digest of the request, answer) of a study, None where that request is new."""
        return self._answered(schema.study, request_id)

    def basis(self, verdict_seq: int) -> Basis | None:
        """What a verdict rests on besides the records of its run, None where that is nothing."""
        table = schema.verdict_basis
        row = self._first(sa.select(table).where(table.c.verdict_seq == verdict_seq))
        if row is None:
            return None
        return Basis(row.ok_by_machine, row.ok_by_person, Reason(row.limit_reason))

    def last_challenge_missed(self, plan_hash: str) -> tuple[str, list[str]] | None:
        """(part, points missed) where the plan's latest challenge in the open period failed: a
        start looks no further, because then one is due in any case."""
        table = schema.challenge
        row = self._db.execute(
            sa.select(table)
            .where(table.c.plan_hash == plan_hash)
            .order_by(table.c.number.desc())
            .limit(1)
        ).first()
        return None if row is None or row.passed else (row.part_id, list(row.missed))

    def bypass_in_force(self) -> StoredBypass | None:
        """The bypass that somebody began and neither a person nor its time has ended."""
        row = self._db.execute(
            sa.select(schema.bypass).order_by(schema.bypass.c.number.desc()).limit(1)
        ).first()
        if row is None or row.change != "begin":
            return None
        return StoredBypass(row.person, row.why, row.until_ns, row.boot_id, row.until_mono_ns)

    # ------------------------------------------------------------------------------- chains

    def _answered(self, table: sa.Table, request_id: str) -> tuple[str, bytes] | None:
        row = self._first(
            sa.select(table.c.digest, table.c.answer).where(table.c.request_id == request_id)
        )
        return None if row is None else (row.digest, row.answer)

    def _seal_of_last_decision(self, run: str) -> str:
        table = schema.decision
        seal = self._db.execute(
            sa.select(table.c.seal)
            .where(table.c.run_id == run)
            .order_by(table.c.number.desc())
            .limit(1)
        ).scalar()
        return "" if seal is None else str(seal)

    def _decisions_of(self, run: str) -> tuple[tuple[Decision, ...], dict[int, int], bool]:
        """A run's decisions that can be read, their verdicts, and whether all seals hold: each over
        its row and the one before it, and the ones that its verdicts rest on still there."""
        table, home = schema.decision, self._home(run)
        words: list[Decision] = []
        before = ""
        seq_after: dict[int, int] = {}
        intact = True
        for row in home.execute(
            sa.select(table).where(table.c.run_id == run).order_by(table.c.number)
        ).mappings():
            intact = intact and row["seal"] == decision_seal(before, row)
            before = row["seal"]
            try:
                words.append(decision_of(row))
            except ValueError:
                intact = False
                continue
            seq_after[words[-1].number] = row["verdict_seq"]
        for named in home.execute(
            sa.select(schema.verdict_basis.c.decisions).where(schema.verdict_basis.c.run_id == run)
        ).scalars():
            there = sa.select(table.c.number).where(table.c.seal == named)
            intact = intact and (not named or home.execute(there).first() is not None)
        return tuple(words), seq_after, intact


def roles_text(roles: frozenset[Role]) -> str:
    """Roles as they stand in a row."""
    return " ".join(sorted(role.value for role in roles))


def decision_of(row: Mapping[Any, Any]) -> Decision:
    """A row of ``decision``. Raises `ValueError` where it holds what is not known here."""
    return Decision(
        number=row["number"],
        run=row["run_id"],
        point=row["point_id"],
        person=row["person"],
        roles=frozenset(Role(role) for role in row["roles"].split()),
        action=Action(row["action"]),
        finding=row["finding"],
        method=row["method"],
        severity=None if row["severity"] is None else Severity(row["severity"]),
    )


_DECISION_SEALED = tuple(
    column.name for column in schema.decision.columns if column.name not in ("seal", "answer")
)


def decision_seal(before: str, row: Mapping[Any, Any]) -> str:
    """The seal of a decision over the one on the same run before it (empty: the first)."""
    answer = hashlib.sha256(row["answer"]).hexdigest()
    return _sealed(before, *(row[name] for name in _DECISION_SEALED), answer)


_LOOK_SEALED = tuple(
    column.name for column in schema.second_look.columns if column.name not in ("seal", "answer")
)


def look_seal(before: str, row: Mapping[Any, Any]) -> str:
    """The seal of a second look over the one on the same run before it (empty: the first)."""
    answer = hashlib.sha256(row["answer"]).hexdigest()
    return _sealed(before, *(row[name] for name in _LOOK_SEALED), answer)


_BASIS_SEALED = tuple(
    column.name for column in schema.verdict_basis.columns if column.name != "seal"
)


def basis_seal(verdict_seal: str, row: Mapping[Any, Any]) -> str:
    """The seal of what a verdict rests on, over the verdict's own."""
    return _sealed(verdict_seal, *(row[name] for name in _BASIS_SEALED))


def _sealed(*told: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()
