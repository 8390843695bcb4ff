"""Where people's words are taken: who said it, may they, is it still about what they looked at;
then into the record, and where the part's verdict changes, a revision with a higher number.

All inside the station's transaction, so that a decision, its revision and its answer are on disk
together or not at all. The same request gets the same answer again, whoever was killed in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec
from msgspec import UNSET

from inspection import messages as m
from inspection import wire
from inspection.clock import Clock
from inspection.decisions import (
    MAY,
    Body,
    Decision,
    Look,
    PointState,
    allowed,
    judge_body,
    states,
    why_not,
)
from inspection.errors import NotAuthorised, PlanError, StoreError
from inspection.ledger import count
from inspection.log import get_logger
from inspection.messages import Fault, Reason, Role, RunVerdict, Severity, Standing
from inspection.plan import Plan
from inspection.station.acceptance import Released
from inspection.station.guard import LONGEST_BYPASS_NS, clock_time
from inspection.station.people import People, Person
from inspection.store import Store
from inspection.store.people import Basis, NewDecision, StoredBypass, Told
from inspection.store.writer import RunFacts, StoredVerdict

MAY_BYPASS = frozenset({Role.QUALITY, Role.ADMIN})

MAY_LOOK = frozenset({Role.OPERATOR, Role.QUALITY})
MAY_PLAN = frozenset({Role.QUALITY, Role.ADMIN})

Request: TypeAlias = m.Decide | m.Look | m.PlanStudy | m.Bypass | m.Unbypass


class _Declines(Exception):
    """Why a request is not carried out."""

    def __init__(self, fault: Fault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class History:
    """A run with the runs it goes on from, oldest first. ``intact`` is whether all of it is as it
    was written."""

    plan: Plan
    looks: tuple[Look, ...]
    seq_after: Mapping[int, int]
    intact: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person is told, the verdicts that were revised, and whether the bypass changed."""

    frame: bytes
    revised: tuple[tuple[RunFacts, StoredVerdict], ...] = ()
    bypass_changed: bool = False


class Desk:
    """Takes people's requests. Everything is called inside the store's transaction."""

    def __init__(
        self,
        store: Store,
        people: People | None,
        released: Mapping[str, Released],
        clock: Clock,
    ) -> None:
        self._store = store
        self._people = people
        self._released = released
        self._clock = clock
        self._refused = 0
        self._log = get_logger()

    def handle(self, ask: Request, now_ns: int) -> Answer:
        """Carry a request out, or say why not."""
        person: Person | None = None
        try:
            person = self._who(ask, now_ns)
            digest = _digest(ask, person)
            if (again := self._said_before(ask, digest)) is not None:
                return Answer(again)
            match ask:
                case m.Decide():
                    return self._decide(ask, person, digest)
                case m.Look():
                    return self._look(ask, person, digest)
                case m.PlanStudy():
                    return self._plan_study(ask, person, digest)
                case m.Bypass():
                    return self._bypass(ask, person, digest, now_ns)
                case m.Unbypass():
                    return self._unbypass(ask, person, digest)
        except _Declines as declined:
            text = str(declined)[:500]
            if declined.fault is Fault.NOT_AUTHORISED:
                self._note_refused(type(ask).__name__, text)
            if person is not None and declined.fault is Fault.STALE and isinstance(ask, m.Decide):
                # Of two people who answer one question the second has spoken too.
                said = f"{person.name}, {ask.action} at point {ask.point}: {text}"
                self._store.add_event("decision_stale", said[:500], ask.run)
            declining = m.Declined(request_id=ask.request_id, fault=declined.fault, text=text)
            return Answer(wire.STATION_TO_PEOPLE.encode(declining))

    def _note_refused(self, what: str, text: str) -> None:
        """Write down the first and then every thousandth: nobody fills the disk by asking."""
        if self._refused % 1000 == 0:
            count_text = f" ({self._refused + 1} in all)" if self._refused else ""
            self._store.add_event("not_authorised", f"{what}: {text}{count_text}")
        self._refused += 1
        self._log.warning("person refused", request=what, text=text)

    def _who(self, ask: Request, now_ns: int) -> Person:
        if self._people is None:
            raise _Declines(Fault.NOT_AUTHORISED, "this station knows no people")
        try:
            return self._people.verify(ask.token, now_ns)
        except NotAuthorised as error:
            raise _Declines(Fault.NOT_AUTHORISED, str(error)) from None

    def _said_before(self, ask: Request, digest: str) -> bytes | None:
        known = self._store.decision_answer(ask.request_id)
        known = known or self._store.bypass_answer(ask.request_id)
        known = known or self._store.look_answer(ask.request_id)
        known = known or self._store.study_answer(ask.request_id)
        if known is None:
            return None
        if known[0] != digest:
            text = f"request {ask.request_id} was used before, for something else: take a new one"
            raise _Declines(Fault.REQUEST_REUSED, text)
        return known[1]

    # ---------------------------------------------------------------------------- decisions

    def history(self, run: str) -> History:
        """A closed run and the runs it goes on from, as they are on record. Raises `StoreError`
        where its plan can no longer be read."""
        facts = self._store.run_facts(run)
        try:
            plan = None if facts is None else self._store.plan(facts.plan_hash)
        except PlanError as error:
            raise StoreError(f"the plan of run {run} was damaged: {error}") from None
        if facts is None or plan is None:
            raise StoreError(f"run {run} or its plan is not on record: restore a backup")
        looks: list[Look] = []
        seq_after: dict[int, int] = {}
        intact = plan.hash == facts.plan_hash
        name: str | None = run
        while name is not None:
            earlier = self._store.run_facts(name)
            terms, settled = self._store.terms(name), self._store.settled(name)
            same = earlier is not None and (earlier.part, earlier.plan_hash) == (
                facts.part,
                facts.plan_hash,
            )
            intact = intact and same and settled.intact
            if terms.covers is None and (first := self._store.counted_at_first(name)) is not None:
                now = count(len(plan.points), settled.entries.values())
                intact = intact and first == (now.ok, now.nok, now.review, now.not_inspected)
            looks.append(
                Look(
                    run=name,
                    entries=settled.entries,
                    records=settled.records,
                    covers=terms.covers,
                    decisions=settled.decisions,
                    limit=terms.limit,
                )
            )
            seq_after.update(settled.seq_after)
            name = terms.repair_of
        return History(plan, tuple(reversed(looks)), seq_after, intact)

    def intact_history(self, run: str) -> History | None:
        """The same where all of it is as it was written, else None."""
        try:
            history = self.history(run)
        except StoreError:
            return None
        return history if history.intact else None

    def body(self, run: str, history: History | None = None) -> Body:
        """The verdict on the part that a run ends with, HOLD where the record does not hold."""
        history = self.history(run) if history is None else history
        facts = self._store.run_facts(run)
        superseded = facts is not None and self._store.latest_run(facts.part) != run
        body = judge_body(history.plan, history.looks, superseded=superseded)
        if history.intact:
            return body
        self._store.add_event("record_changed", "stored results or decisions were changed", run)
        return replace(body, verdict=RunVerdict.HOLD)

    def _decide(self, ask: m.Decide, person: Person, digest: str) -> Answer:
        if not allowed(ask.action, person.roles):
            roles = " or ".join(sorted(MAY[ask.action]))
            text = f"{person.name} may not say {ask.action}: only {roles} may"
            raise _Declines(Fault.NOT_AUTHORISED, text)
        facts = self._store.run_facts(ask.run)
        if facts is None:
            raise _Declines(Fault.UNKNOWN_RUN, f"there is no run {ask.run}")
        latest = self._store.latest_verdict(ask.run)
        if latest is None:
            raise _Declines(Fault.NO_VERDICT, f"run {ask.run} is still open: wait for its verdict")
        self._store.bring_part(ask.run)
        try:
            history = self.history(ask.run)
        except StoreError as error:
            raise _Declines(Fault.STORE_FAILED, str(error)) from None
        before = states(history.plan, history.looks, point=ask.point)
        if ask.point not in before:
            text = f"the plan of run {ask.run} has no point {ask.point}"
            raise _Declines(Fault.UNKNOWN_POINT, text)
        word = Decision(
            number=self._store.next_decision(),
            run=ask.run,
            point=ask.point,
            person=person.name,
            roles=person.roles,
            action=ask.action,
            finding=ask.finding,
            method=ask.method.strip(),
            severity=self._severity(history.plan, ask),
        )
        state = before[ask.point]
        self._check_fresh(ask, history, state, latest, person)
        if history.looks[-1].limit is Reason.CHALLENGE_PART:
            raise _Declines(Fault.NOT_POSSIBLE, "a challenge part is never released")
        superseded = self._store.latest_run(facts.part) != ask.run
        if why := why_not(state, word, history.plan.deciding, superseded=superseded):
            raise _Declines(Fault.NOT_POSSIBLE, f"point {ask.point}: {why}")
        return self._record(ask, word, facts, history, digest)

    def _check_fresh(
        self,
        ask: m.Decide,
        history: History,
        state: PointState,
        latest: StoredVerdict,
        person: Person,
    ) -> None:
        """What a person has not seen is not decided on."""
        if ask.expected_record != state.record:
            text = f"point {ask.point} is settled by record {state.record}: look at it again"
            raise _Declines(Fault.STALE, text)
        if ask.expected_seq > latest.verdict_seq:
            text = f"run {ask.run} has no verdict {ask.expected_seq}: look at it again"
            raise _Declines(Fault.STALE, text)
        then = states(
            history.plan,
            history.looks,
            point=ask.point,
            until_seq=history.seq_after,
            seq=ask.expected_seq,
        )[ask.point].judged(history.plan.deciding)
        now = state.judged(history.plan.deciding)
        # Nothing tells a second person of the first, so that he has not missed anything.
        blind = now.standing is Standing.SECOND_PERSON_NEEDED
        unheard = not blind and _unheard(ask, history, person)
        if unheard or (then.entry.verdict, then.by) != (now.entry.verdict, now.by):
            text = f"somebody has decided on point {ask.point} since: look at it again"
            raise _Declines(Fault.STALE, text)

    def _severity(self, plan: Plan, ask: m.Decide) -> Severity | None:
        """The severity of the class that a person names, which must be one of the model's."""
        if not ask.finding:
            return None
        point = next(point for point in plan.points if point.id == ask.point)
        model = self._released.get(plan.kinds[point.kind].model)
        if model is None:
            return None
        classes = [name for name in model.manifest.class_names if name != model.policy.ok_class]
        if ask.finding not in classes:
            known = ", ".join(classes)
            text = f"{ask.finding!r} is no class of a defect here: {known}"
            raise _Declines(Fault.NOT_POSSIBLE, text)
        return model.manifest.severity_of(ask.finding)

    def _record(
        self, ask: m.Decide, word: Decision, facts: RunFacts, history: History, digest: str
    ) -> Answer:
        last = history.looks[-1]
        looks = (*history.looks[:-1], replace(last, decisions=(*last.decisions, word)))
        body = self.body(ask.run, replace(history, looks=looks))
        verdict, is_new = self._revise(ask.run, body)
        told = body.points[ask.point]
        answer = m.Decided(
            request_id=ask.request_id,
            run=ask.run,
            point=ask.point,
            verdict=told.entry.verdict,
            standing=told.standing,
            verdict_seq=verdict.verdict_seq,
            run_verdict=verdict.verdict,
        )
        frame = wire.STATION_TO_PEOPLE.encode(answer)
        self._store.add_decision(
            NewDecision(
                decision=word,
                part=facts.part,
                comment=ask.comment,
                request_id=ask.request_id,
                expected_seq=ask.expected_seq,
                expected_record=ask.expected_record,
                verdict_seq=verdict.verdict_seq,
                digest=digest,
                answer=frame,
            )
        )
        revised: list[tuple[RunFacts, StoredVerdict]] = []
        if is_new:
            # After the decision, so that it says which one it rests on.
            self._store.add_basis(verdict.verdict_seq, ask.run, basis_of(body))
            revised.append((facts, verdict))
        for follower in self._store.followers(ask.run):
            # One that is still open will have its verdict formed from all of this.
            its_facts = self._store.run_facts(follower)
            if its_facts is None or self._store.latest_verdict(follower) is None:
                continue
            its_body = self.body(follower)
            its_verdict, its_new = self._revise(follower, its_body)
            if its_new:
                self._store.add_basis(its_verdict.verdict_seq, follower, basis_of(its_body))
                revised.append((its_facts, its_verdict))
        self._log.info(
            "decision",
            run=ask.run,
            point=ask.point,
            action=ask.action.value,
            person=word.person,
            verdict=verdict.verdict.value,
        )
        return Answer(frame, tuple(revised))

    def _revise(self, run: str, body: Body) -> tuple[StoredVerdict, bool]:
        """The verdict that is in force after this, and whether it is a new one: a number is spent
        only where there is something new to say."""
        latest = self._store.latest_verdict(run)
        if latest is not None:
            basis = self._store.basis(latest.verdict_seq)
            by_person = 0 if basis is None else basis.ok_by_person
            said = (latest.verdict, latest.balance, by_person)
            if said == (body.verdict, body.balance, body.ok_by_person):
                return latest, False
        return self._store.add_verdict(run, body.verdict, body.balance), True

    # -------------------------------------------------------------------------- second looks

    def _look(self, ask: m.Look, person: Person, digest: str) -> Answer:
        _may(person, MAY_LOOK, "take a second look")
        facts = self._store.run_facts(ask.run)
        if facts is None:
            raise _Declines(Fault.UNKNOWN_RUN, f"there is no run {ask.run}")
        if self._store.latest_verdict(ask.run) is None:
            raise _Declines(Fault.NO_VERDICT, f"run {ask.run} is still open: wait for its verdict")
        try:
            plan = self._store.plan(facts.plan_hash)
        except PlanError as error:
            text = f"the plan of run {ask.run} was damaged: {error}"
            raise _Declines(Fault.STORE_FAILED, text[:500]) from None
        if plan is None or all(point.id != ask.point for point in plan.points):
            text = f"the plan of run {ask.run} has no point {ask.point}"
            raise _Declines(Fault.UNKNOWN_POINT, text)
        if (ask.purpose is m.LookPurpose.STUDY) is not bool(ask.study):
            text = "a look for a study names its study, and no other look does"
            raise _Declines(Fault.NOT_POSSIBLE, text)
        if ask.study and not self._store.has_study(ask.study):
            raise _Declines(Fault.NOT_POSSIBLE, f"there is no study {ask.study}: plan it first")
        if ask.finding and ask.word is not m.LookWord.DEFECT:
            text = f"{ask.finding!r} is a class of a defect, but the word is {ask.word}"
            raise _Declines(Fault.NOT_POSSIBLE, text)
        number = self._store.next_look()
        frame = wire.STATION_TO_PEOPLE.encode(m.LookKept(request_id=ask.request_id, number=number))
        told = Told(digest, frame)
        self._store.add_look(ask, facts.part, number, person.name, person.roles, told)
        return Answer(frame)

    def _plan_study(self, ask: m.PlanStudy, person: Person, digest: str) -> Answer:
        _may(person, MAY_PLAN, "plan a study")
        try:
            msgspec.json.decode(ask.document)
        except (msgspec.DecodeError, RecursionError) as error:
            text = f"the document of study {ask.study} is no JSON: {error}"
            raise _Declines(Fault.NOT_POSSIBLE, text[:500]) from None
        if self._store.has_study(ask.study):
            text = f"there is a study {ask.study}: a study is planned once, take another name"
            raise _Declines(Fault.NOT_POSSIBLE, text)
        answer = m.StudyKept(request_id=ask.request_id, study=ask.study)
        frame = wire.STATION_TO_PEOPLE.encode(answer)
        self._store.add_study(ask, person.name, person.roles, Told(digest, frame))
        self._store.add_event("study", f"{person.name} planned study {ask.study}")
        return Answer(frame)

    # ------------------------------------------------------------------------------- bypass

    def _bypass(self, ask: m.Bypass, person: Person, digest: str, now_ns: int) -> Answer:
        _may(person, MAY_BYPASS, "change the bypass")
        if not ask.reason.strip():
            raise _Declines(Fault.NOT_POSSIBLE, "say why the inspection is bypassed")
        ahead = ask.until_ns - self._clock.wall_ns()
        if not 0 < ahead <= LONGEST_BYPASS_NS:
            hours = LONGEST_BYPASS_NS // (3600 * 10**9)
            text = f"a bypass ends within {hours} hours from now: choose another end"
            raise _Declines(Fault.NOT_POSSIBLE, text)
        bypass = StoredBypass(
            person=person.name,
            why=ask.reason.strip(),
            until_ns=ask.until_ns,
            boot_id=self._clock.boot_id(),
            until_mono_ns=now_ns + ahead,
        )
        return self._change("begin", bypass, ask, person, digest)

    def _unbypass(self, ask: m.Unbypass, person: Person, digest: str) -> Answer:
        _may(person, MAY_BYPASS, "change the bypass")
        bypass = self._store.bypass_in_force()
        if bypass is None:
            raise _Declines(Fault.NOT_POSSIBLE, "nothing is bypassed")
        ended = replace(bypass, person=person.name, why=ask.reason.strip())
        return self._change("end", ended, ask, person, digest)

    def _change(
        self,
        change: str,
        bypass: StoredBypass,
        ask: m.Bypass | m.Unbypass,
        person: Person,
        digest: str,
    ) -> Answer:
        begins = change == "begin"
        answer = m.BypassState(
            request_id=ask.request_id, active=begins, until_ns=bypass.until_ns if begins else 0
        )
        frame = wire.STATION_TO_PEOPLE.encode(answer)
        self._store.add_bypass(
            change,
            bypass,
            person.roles,
            request_id=ask.request_id,
            digest=digest,
            answer=frame,
        )
        until = f" until {clock_time(bypass.until_ns)}" if begins else ""
        done = "bypassed the inspection" if begins else "ended the bypass"
        text = f"{person.name} {done}{until}: {bypass.why}"
        self._store.add_event("bypass", text)
        self._log.warning("bypass", change=change, person=person.name)
        return Answer(frame, bypass_changed=True)


def basis_of(body: Body) -> Basis:
    """What a verdict on this body rests on."""
    return Basis(body.ok_by_machine, body.ok_by_person, body.limit)


def _may(person: Person, roles: frozenset[Role], what: str) -> None:
    if not roles & person.roles:
        text = f"{person.name} may not {what}: only {' or '.join(sorted(roles))} may"
        raise _Declines(Fault.NOT_AUTHORISED, text)


def _unheard(ask: m.Decide, history: History, person: Person) -> bool:
    """Whether somebody else has said something of the point that this person does not know of."""
    known = ask.expected_word
    return known is not UNSET and any(
        word.number > known
        for look in history.looks
        for word in look.decisions
        if word.point == ask.point and word.person.casefold() != person.name.casefold()
    )


def _digest(ask: Request, person: Person) -> str:
    """Of what is asked and by whom; not of the token, which may be a newer one."""
    given = msgspec.structs.asdict(ask).items()
    # Without what was not said, as the digests were before there were such fields.
    asked = {name: value for name, value in given if name != "token" and value is not UNSET}
    told = msgspec.msgpack.encode((type(ask).__name__, person.name, asked))
    return hashlib.sha256(told).hexdigest()
