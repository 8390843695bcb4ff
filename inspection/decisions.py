"""What people said, on top of what the machine said: the state of each point, and of the part.

Pure: no clock, no socket, no disk. Nothing that was said is ever changed; a state is what follows
from everything on record, in its order.

Looks (what the machine made of a point in one run) and words (what people said of it) alternate:

- a **word** counts for the look it was said of. The latest word of each person stands, and
  `CANNOT_TELL` takes it back. Where somebody of quality has spoken, operators' words are kept and
  do not count.
- words for OK and words for NOK at one point are a disagreement: the point is REVIEW until the
  people agree. One word makes a point NOK. At points of the plan's ``two_persons`` two different
  people must say OK by the same action; until then the point stays as the machine left it.
- `REPAIRED` voids look and words: the point is NOT_INSPECTED(REPAIRED) until it is looked at
  again, by machine or by a person who names the method.
- a **later look** (a re-inspection) counts afresh where there was a repair or no usable look
  before. Elsewhere only for the worse: looking twice never makes a defect go away.

No word makes a point OK that its look left without a picture, unless it names the method by which
the part itself was inspected: the record then says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from inspection.ledger import Balance, Entry, count, limited, run_verdict
from inspection.messages import Action, Reason, Role, RunVerdict, Severity, Standing, Verdict
from inspection.plan import Deciding, Plan

MAY: Mapping[Action, frozenset[Role]] = {
    Action.CONFIRM: frozenset({Role.OPERATOR, Role.QUALITY}),
    Action.OVERRULE: frozenset({Role.QUALITY}),
    Action.RECLASSIFY: frozenset({Role.QUALITY}),
    Action.CANNOT_TELL: frozenset({Role.OPERATOR, Role.QUALITY}),
    Action.REPAIRED: frozenset({Role.OPERATOR, Role.QUALITY}),
    Action.ESCAPE: frozenset({Role.OPERATOR, Role.QUALITY}),
}
"""Who may say what. Only quality says that a defect is none."""

LASTING = frozenset({Reason.CHALLENGE_DUE, Reason.CHALLENGE_FAILED, Reason.CHALLENGE_PART})
"""Limits of a run that no word about its points lifts."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One word of one person on one point. ``severity`` is that of the class ``finding``."""

    number: int
    run: str
    point: str
    person: str
    roles: frozenset[Role]
    action: Action
    finding: str = ""
    method: str = ""
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One closed run: the entry that counts for each point it covers (``covers`` None: the whole
    plan), the record each is in, what was said of this run, and why it cannot be OK."""

    run: str
    entries: Mapping[str, Entry]
    records: Mapping[str, int] = field(default_factory=dict)
    covers: frozenset[str] | None = None
    decisions: tuple[Decision, ...] = ()
    limit: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Judged:
    """What follows for a point: the entry that counts, by whose word (nobody's where the machine's
    stands), and whether it waits for somebody."""

    entry: Entry
    by: tuple[str, ...] = ()
    standing: Standing = Standing.SETTLED


@dataclass(frozen=True, slots=True)
class PointState:
    """All that stands of one point: its latest valid look, and the words since."""

    point: str
    severity: Severity
    entry: Entry
    record: int = 0
    words: tuple[Decision, ...] = ()
    repairs: tuple[Decision, ...] = ()

    @property
    def seen(self) -> Verdict:
        """What the machine's look is still worth."""
        return Verdict.NOT_INSPECTED if self.repairs else self.entry.verdict

    def judged(self, deciding: Deciding) -> Judged:
        """The rules above, applied."""
        base = self.entry
        if not self.words and not self.repairs:
            return Judged(base)
        if self.repairs:
            base = Entry(self.point, Verdict.NOT_INSPECTED, Reason.REPAIRED)
        votes = self._votes(deciding)
        ok = [word for word, vote in votes if vote is Verdict.OK]
        nok = [word for word, vote in votes if vote is Verdict.NOK]
        found = self._worst(word.severity for word, _ in votes)
        if ok and nok:
            doubt = Entry(
                self.point, Verdict.REVIEW, Reason.DISAGREEMENT, self.entry.finding, found
            )
            return Judged(doubt, standing=Standing.DISAGREEMENT)
        if nok:
            named = [word.finding for word in nok if word.finding]
            finding = named[-1] if named else self.entry.finding
            bad = Entry(self.point, Verdict.NOK, Reason.DEFECT, finding, found)
            return Judged(bad, _names(nok))
        if not ok or base.verdict is Verdict.OK:
            return Judged(base)
        severity = max((self.severity, found or self.severity), key=lambda level: level.rank)
        needed = 2 if severity in deciding.two_persons else 1
        agreeing = Counter(word.action for word in ok).most_common(1)[0][1]
        if agreeing < needed:
            return Judged(base, standing=Standing.SECOND_PERSON_NEEDED)
        return Judged(Entry(self.point, Verdict.OK, Reason.NONE), _names(ok))

    def _votes(self, deciding: Deciding) -> list[tuple[Decision, Verdict]]:
        """One vote a person at most, in the order in which they were given."""
        words = {_key(word): word for word in self.words}
        if deciding.repaired_without_inspection:
            words = {_key(word): word for word in self.repairs} | words
        asked = [(word, self._vote(word)) for word in words.values()]
        votes = [(word, vote) for word, vote in asked if vote is not None]
        senior = [(word, vote) for word, vote in votes if Role.QUALITY in word.roles]
        return senior or votes

    def _vote(self, word: Decision) -> Verdict | None:
        match word.action:
            case Action.ESCAPE | Action.RECLASSIFY:
                return Verdict.NOK
            case Action.CONFIRM:
                if self.seen is Verdict.NOT_INSPECTED:
                    return None
                return Verdict.OK if self.seen is Verdict.OK else Verdict.NOK
            case Action.OVERRULE:
                if self.seen is Verdict.OK:
                    return None
                return Verdict.OK if self.seen is not Verdict.NOT_INSPECTED or word.method else None
            case Action.REPAIRED:
                return Verdict.OK
            case Action.CANNOT_TELL:
                return None

    def _worst(self, said: Iterable[Severity | None]) -> Severity | None:
        known = [level for level in (self.entry.class_severity, *said) if level is not None]
        return max(known, key=lambda level: level.rank, default=None)

    # ------------------------------------------------------------------------------- change

    def said(self, word: Decision) -> PointState:
        """The state after one more word; the same where that person may not say this."""
        if not allowed(word.action, word.roles):
            return self
        if word.action is Action.REPAIRED:
            return replace(self, words=(), repairs=(*self.repairs, word))
        others = tuple(other for other in self.words if _key(other) != _key(word))
        mine = () if word.action is Action.CANNOT_TELL else (word,)
        return replace(self, words=(*others, *mine))

    def looked(self, entry: Entry, record: int, deciding: Deciding) -> PointState:
        """The state after a later run has looked at the point."""
        before = self.judged(deciding).entry
        no_look = (
            before.verdict is Verdict.NOT_INSPECTED and before.reason is not Reason.RECORD_CONFLICT
        )
        worse = _BADNESS[entry.verdict] > _BADNESS[before.verdict]
        same = _BADNESS[entry.verdict] == _BADNESS[before.verdict] and not self.words
        if self.repairs or no_look or worse or same:
            return PointState(self.point, self.severity, entry, record)
        # It sees no worse than what people had said already. It is on record as well: what it sees
        # stands when they take their words back, and no word for OK was said of it.
        words = tuple(word for word in self.words if self._vote(word) is Verdict.NOK)
        if _BADNESS[entry.verdict] > _BADNESS[self.entry.verdict]:
            return PointState(self.point, self.severity, entry, record, words)
        if entry.verdict in (Verdict.NOK, Verdict.REVIEW):
            return replace(self, words=words)
        return self


_BADNESS = {Verdict.OK: 0, Verdict.NOT_INSPECTED: 1, Verdict.REVIEW: 2, Verdict.NOK: 3}


def _key(word: Decision) -> str:
    """Who said it, so that no other way of writing a name makes a second person."""
    return word.person.casefold()


def _names(words: Sequence[Decision]) -> tuple[str, ...]:
    return tuple(sorted({word.person for word in words}))


def allowed(action: Action, roles: Collection[Role]) -> bool:
    """Whether somebody with these roles may say this."""
    return bool(MAY[action] & frozenset(roles))


# ------------------------------------------------------------------------------------- the part


@dataclass(frozen=True, slots=True)
class Body:
    """The whole part after its runs: law 1, by whose word its points are OK, and who is awaited."""

    verdict: RunVerdict
    balance: Balance
    ok_by_machine: int
    ok_by_person: int
    limit: Reason
    points: Mapping[str, Judged]

    def standing(self, standing: Standing) -> tuple[str, ...]:
        """The points that stand so."""
        return tuple(name for name, told in self.points.items() if told.standing is standing)


def states(
    plan: Plan,
    looks: Sequence[Look],
    *,
    point: str | None = None,
    until_seq: Mapping[int, int] | None = None,
    seq: int = 0,
) -> dict[str, PointState]:
    """The state of every point, or only of one, after a whole run and the re-inspections that
    followed it.

    With ``until_seq`` (the verdict in force after each decision, by number) only decisions up to
    verdict ``seq`` count: what somebody saw who looked at that verdict.
    """
    found: dict[str, PointState] = {}
    planned = [each for each in plan.points if point is None or each.id == point]
    deciding = plan.deciding
    for look in looks:
        for each in planned:
            if look.covers is not None and each.id not in look.covers:
                continue
            entry = look.entries.get(each.id)
            if entry is None:
                entry = Entry(each.id, Verdict.NOT_INSPECTED, Reason.RECORD_LOST)
            record = look.records.get(each.id, 0)
            before = found.get(each.id)
            found[each.id] = (
                PointState(each.id, each.severity, entry, record)
                if before is None
                else before.looked(entry, record, deciding)
            )
        for word in sorted(look.decisions, key=lambda word: word.number):
            if until_seq is not None and until_seq[word.number] > seq:
                continue
            if word.point in found:
                found[word.point] = found[word.point].said(word)
    return found


def judge_body(plan: Plan, looks: Sequence[Look], *, superseded: bool = False) -> Body:
    """The verdict on the part after its runs, the last of ``looks`` being the one it is given for.

    OK only if every planned point's latest valid state is OK. A run that a later one has followed
    (``superseded``) can no longer make the part OK: only the latest run can.
    """
    deciding = plan.deciding
    told = {name: state.judged(deciding) for name, state in states(plan, looks).items()}
    settled = {name: point.entry for name, point in told.items()}
    for point in plan.points:
        if point.id not in settled:
            settled[point.id] = Entry(point.id, Verdict.NOT_INSPECTED, Reason.RECORD_LOST)
            told[point.id] = Judged(settled[point.id])
    balance = count(len(plan.points), settled.values())
    verdict = run_verdict(plan, settled)
    limit = next((look.limit for look in looks if look.limit in LASTING), Reason.NONE)
    if limit is Reason.NONE and verdict is RunVerdict.OK and superseded:
        limit = Reason.SUPERSEDED
    if any(entry.reason is Reason.BYPASSED for entry in settled.values()):
        limit = Reason.BYPASSED if limit is Reason.NONE else limit
        verdict = limited(verdict, Reason.BYPASSED, balance.nok)
    by_person = sum(1 for point in told.values() if point.by and point.entry.verdict is Verdict.OK)
    return Body(
        verdict=limited(verdict, limit, balance.nok),
        balance=balance,
        ok_by_machine=balance.ok - by_person,
        ok_by_person=by_person,
        limit=limit,
        points=told,
    )


def carried(plan: Plan, looks: Sequence[Look], covers: Collection[str]) -> tuple[Entry, ...]:
    """The points a re-inspection does not look at, as the runs before it left them."""
    points = judge_body(plan, looks).points
    return tuple(points[p.id].entry for p in plan.points if p.id not in covers)


def not_ok(plan: Plan, looks: Sequence[Look]) -> tuple[str, ...]:
    """The points a re-inspection looks at where nobody names any."""
    points = judge_body(plan, looks).points
    return tuple(p.id for p in plan.points if points[p.id].entry.verdict is not Verdict.OK)


def why_not(state: PointState, word: Decision, deciding: Deciding, *, superseded: bool) -> str:
    """Why a word makes no sense at a point that stands so, in a sentence; empty where it does."""
    manual = state.seen is Verdict.NOT_INSPECTED
    verdict = state.judged(deciding).entry.verdict
    match word.action:
        case Action.CONFIRM if manual:
            return "nothing was seen here, so that there is nothing to confirm: inspect the part"
        case Action.OVERRULE if state.seen is Verdict.OK:
            return "the machine called it OK: a defect found here is an escape"
        case Action.OVERRULE | Action.RECLASSIFY if manual and not word.method:
            return "nothing was seen here: inspect the part itself and name the method"
        case Action.RECLASSIFY if not word.finding:
            return "name the class of the defect as finding"
        case Action.RECLASSIFY if state.seen is Verdict.OK:
            return "the machine called it OK: a defect found here is an escape"
        case Action.ESCAPE if Verdict.OK not in (state.seen, verdict):
            return "the point was not called OK, so that nothing escaped: confirm or reclassify"
        case Action.REPAIRED if not word.method:
            return "say by which method it was repaired"
    about_the_part = word.action is Action.REPAIRED or (manual and word.method)
    if about_the_part and superseded:
        return "a later run of this part exists: say it of that one"
    return ""
