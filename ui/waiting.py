"""What waits for a person: every point that somebody must decide, the most urgent first.

A point is judged by `inspection.decisions`, from what the machine saw and everything that people
have said since, exactly as the station does; nothing here decides anything. Only the latest run of
a part is asked about, and only once it has its verdict.

A `Waiting` is shared by everybody who reviews one station. A closed run has all its results, so
each is judged once and again only when somebody has said something of it.
"""

from __future__ import annotations

import enum
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from inspection.clock import Clock
from inspection.decisions import Decision, Judged, Look, PointState, states
from inspection.errors import StoreError
from inspection.ledger import Entry, effective_severity
from inspection.messages import Reason, Severity, Standing, Verdict
from inspection.plan import Plan, Point
from inspection.store import Reader
from inspection.store.reader import Newest, PastRow, PointRow, RunRow, TermsRow, WordRow

SECOND_NS = 1_000_000_000

MAX_RUNS = 2000
"""Runs that are looked through for what waits: the newest."""
MAX_ITEMS = 20_000
HISTORY_RUNS = 14
GOOD_RUNS = 300
"""How far back a good picture of the same point is looked for."""
GOOD_PICTURES = 2
KEPT_PASTS = 400
HELD_NS = 10 * SECOND_NS
"""A page says again what it shows every few seconds; one that was closed does not."""
READ_TOGETHER = 40
"""Runs whose points are read at once."""
FEW = 8
"""So many new runs are read at once and not left to be read behind a look."""
READ_NS = SECOND_NS // 4
"""After so long the first look leaves what is older to be read behind it: who opens the page in the
morning is not kept waiting for what is a week old."""
SEEN_VERDICTS = (Verdict.NOK, Verdict.REVIEW, Verdict.NOT_INSPECTED)


class Need(enum.StrEnum):
    """What somebody is asked for at a point."""

    SECOND = "second"
    """One person has called it OK; the plan wants two."""
    DISAGREEMENT = "disagreement"
    REVIEW = "review"
    NOK = "nok"
    NOT_INSPECTED = "not_inspected"


@dataclass(frozen=True, slots=True)
class Item:
    """One question to a person. ``need`` is None at a point that waits for nobody.

    Points of one view that nobody could look at, for one reason, are one question: ``point`` is
    then the first of ``count``.
    """

    need: Need | None
    run: str
    number: int
    """A higher one is a newer run."""
    part: str
    plan_hash: str
    begun_ns: int
    verdict_seq: int
    point: str
    view: str
    count: int
    record: int
    entry: Entry
    """What counts at the point now, by machine and people."""
    seen: Verdict
    """What the machine's look is still worth."""
    severity: Severity | None
    """None where the plan does not know the point: put before all others."""
    spoken: frozenset[str] = frozenset()
    """Who has said something of it that stands; names without case."""
    word: int = 0
    """The number of the last word on the point, whether it stands or not."""
    part_waits: int = 1
    """How many points of the part wait."""

    @property
    def key(self) -> tuple[str, str]:
        return self.run, self.point


@dataclass(frozen=True, slots=True)
class Member:
    """One point of an item, with the record that it is in: what a decision says it looked at."""

    point: str
    record: int
    word: int


@dataclass(frozen=True, slots=True)
class Detail:
    """Everything about one point, for the person who looks at it."""

    item: Item
    members: tuple[Member, ...]
    row: PointRow | None
    """What the machine said; None where nothing is on record."""
    words: tuple[WordRow, ...]
    """What people said of this point in this part, the oldest first."""
    history: tuple[PastRow, ...]
    """The same point on the last bodies, newest first."""
    good: tuple[PastRow, ...]
    """Earlier bodies where it was good and a picture was kept."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits, at a moment."""

    items: tuple[Item, ...]
    read_ns: int
    """When the store was last read; wall clock."""
    running: bool | None
    """Whether a station process runs on this machine; None where the system does not tell."""
    fault: str = ""
    """Why the store could not be read just now; everything else is then from ``read_ns``."""
    runs: int = 0
    """How many runs were looked through."""
    cut: bool = False
    """Whether there is more than is listed."""
    unread: int = 0
    """How many runs are still to be looked through, all older than those that were."""


_Rank = tuple[int, int, int, int, str]


def urgency(item: Item) -> _Rank:
    """Severity first; then what the answer is worth.

    An answer that can change the verdict on the part is worth more than one that confirms it, the
    more so the fewer points the part still waits for; a newer part is more likely still at hand.
    """
    rank = len(Severity) if item.severity is None else item.severity.rank
    need = 9 if item.need is None else list(Need).index(item.need)
    return (-rank, need, item.part_waits, -item.number, item.point)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """A point and how it stands."""

    point: str
    view: str
    record: int
    judged: Judged
    seen: Verdict
    severity: Severity | None
    spoken: frozenset[str]
    word: int


@dataclass(slots=True)
class _Part:
    """What is kept of the latest run of a part."""

    run: RunRow
    items: tuple[tuple[_Rank, Item], ...]
    """With the rank of each, which is asked for each time that the list is made."""


def _behind(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="what waits, read behind", daemon=True).start()


class Waiting:
    """What waits at one station. Safe to share between threads. ``behind`` runs what is not waited
    for, by default in a thread."""

    def __init__(
        self,
        reader: Reader,
        clock: Clock,
        *,
        behind: Callable[[Callable[[], None]], None] = _behind,
    ) -> None:
        self._reader = reader
        self._clock = clock
        self._behind = behind
        self._rest: list[RunRow] = []
        """Runs that are still to be read, newest first."""
        self._reading = False
        self._lock = threading.RLock()
        self._parts: OrderedDict[str, _Part] = OrderedDict()
        self._queue: Queue | None = None
        self._fault = ""
        self._asked_ns: int | None = None
        self._word = -1
        self._heard: dict[str, int] = {}
        """Runs that were read since, with the last word that was known then."""
        self._newest: Newest | None = None
        self._runs: Sequence[RunRow] = ()
        self._ranked: list[tuple[_Rank, Item]] = []
        self._touched: set[str] = set()
        """Parts whose items are not yet in the list as they are now."""
        self._plans: dict[str, tuple[Plan, Mapping[str, Point]]] = {}
        self._held: dict[tuple[str, str], tuple[str, int]] = {}
        """By whom an item is looked at, and until when that holds without being said again."""
        self._pasts: OrderedDict[tuple[str, str, int], tuple[tuple[PastRow, ...], ...]] = (
            OrderedDict()
        )

    # -------------------------------------------------------------------------------- the list

    def look(self) -> Queue | str:
        """What waits now; where that was never known, why."""
        with self._lock:
            now = self._clock.monotonic_ns()
            if self._asked_ns is None or now - self._asked_ns >= SECOND_NS:
                self._asked_ns = now
                try:
                    self._read()
                    self._fault = ""
                except StoreError as error:
                    self._fault = str(error)
            if self._queue is None:
                return self._fault
            running = self._reader.station_is_running()
            return replace(self._queue, running=running, fault=self._fault)

    def said(self, part: str) -> None:
        """Something was just said of a part: know it at once, and nothing else anew."""
        with self._lock:
            try:
                word = self._reader.newest_word()
                runs = self._reader.runs(part=part, limit=1)
                self._keep(runs)
                self._heard.update((run.run, word) for run in runs)
            except StoreError as error:
                self._fault = str(error)
                return
            self._list()

    def hold(self, desk: str, item: Item) -> None:
        """Somebody looks at an item, at a desk of that name: the others are asked something else
        for a while (`held`). It binds nobody: whoever decides first has decided."""
        with self._lock:
            now = self._clock.monotonic_ns()
            self._held = {
                key: (who, until)
                for key, (who, until) in self._held.items()
                if until > now and who != desk
            }
            self._held.setdefault(item.key, (desk, now + HELD_NS))

    def held(self, desk: str) -> set[tuple[str, str]]:
        """The items that are looked at, at other desks."""
        with self._lock:
            now = self._clock.monotonic_ns()
            return {key for key, (who, until) in self._held.items() if who != desk and until > now}

    def _read(self) -> None:
        newest = self._reader.newest()
        word = self._reader.newest_word()
        decided = self._reader.decided_since(self._word) if word != self._word else {}
        changed = {run for run, last in decided.items() if last > self._heard.get(run, 0)}
        # Until all is done nothing counts as read: after a fault everything is asked for again.
        runs, self._runs = self._runs_at(newest), ()
        latest: dict[str, RunRow] = {}
        for run in runs:
            latest.setdefault(run.part, run)
        for part in self._parts.keys() - latest.keys():
            del self._parts[part]
            self._touched.add(part)
        known = {part: (kept.run.run, kept.run.verdict_seq) for part, kept in self._parts.items()}
        new = [
            run
            for part, run in latest.items()
            if known.get(part) != (run.run, run.verdict_seq) or run.run in changed
        ]
        # What is listed must be right at once; the others, newest first, may come a little later.
        listed = [run for run in new if run.part in known]
        self._keep(listed)
        self._word, self._heard = word, {}
        rest = [run for run in new if run.part not in known]
        until = self._clock.monotonic_ns() + (READ_NS if self._queue is None else 0)
        while rest and (len(rest) <= FEW or self._clock.monotonic_ns() <= until):
            some, rest = rest[:READ_TOGETHER], rest[READ_TOGETHER:]
            self._keep(some)
        self._newest, self._runs, self._rest = newest, runs, rest
        if self._touched or self._queue is None:
            self._list(len(runs) - len(rest), len(rest))
        else:
            self._queue = replace(
                self._queue,
                runs=len(runs) - len(rest),
                unread=len(rest),
                read_ns=self._clock.wall_ns(),
            )
        if rest and not self._reading:
            self._reading = True
            self._behind(self._read_rest)

    def _read_rest(self) -> None:
        try:
            while self.read_older():
                pass
        except StoreError as error:
            self._fault = str(error)  # the next look tries again
        finally:
            self._reading = False

    def read_older(self) -> bool:
        """Read some of the runs that the first look left out; whether there are more. What it finds
        is listed by the next look. Nobody waits for it, but for a moment. Raises `StoreError`."""
        with self._lock:
            some, word = self._rest[:READ_TOGETHER], self._word
        parts = self._read_parts(some)
        with self._lock:
            if word == self._word:  # else somebody has decided on one of them, perhaps
                read = {run.run for run in some}
                self._rest = [run for run in self._rest if run.run not in read]
                self._put(each for each in parts if each.run.part not in self._parts)
            return bool(self._rest)

    def _runs_at(self, newest: Newest) -> Sequence[RunRow]:
        """The newest runs. Of those that were read before, only what has changed is read again."""
        if self._runs and newest == self._newest:
            return self._runs
        before, some = self._newest, None
        if self._runs and before and before.run <= newest.run and before.verdict <= newest.verdict:
            some = self._reader.runs_since(before)
        if some is None:
            return self._reader.runs(limit=MAX_RUNS)
        numbers = {run.number for run in some}
        kept = [*some, *(run for run in self._runs if run.number not in numbers)]
        return sorted(kept, key=lambda run: -run.number)[:MAX_RUNS]

    def _list(self, runs: int | None = None, unread: int | None = None) -> None:
        before = Queue((), 0, None) if self._queue is None else self._queue
        ranked = [each for each in self._ranked if each[1].part not in self._touched]
        for name in self._touched & self._parts.keys():
            ranked += self._parts[name].items
        ranked.sort(key=_rank_of)  # which takes next to no time where nearly all is sorted
        self._ranked, self._touched = ranked, set()
        self._queue = Queue(
            items=tuple(item for _, item in ranked[:MAX_ITEMS]),
            read_ns=self._clock.wall_ns(),
            running=None,
            runs=before.runs if runs is None else runs,
            cut=len(ranked) > MAX_ITEMS,
            unread=before.unread if unread is None else unread,
        )

    def _terms(self, runs: Sequence[RunRow]) -> dict[str, TermsRow]:
        return self._reader.terms([run.run for run in runs]) if runs else {}

    def _keep(self, runs: Sequence[RunRow]) -> None:
        self._put(self._read_parts(runs))

    def _put(self, parts: Iterable[_Part]) -> None:
        for part in parts:
            self._parts[part.run.part] = part
            self._touched.add(part.run.part)

    def _read_parts(self, runs: Sequence[RunRow]) -> list[_Part]:
        """What waits on these runs. Nothing of what is kept is looked at."""
        terms = self._terms(runs)
        closed = [run for run in runs if run.verdict is not None]
        spoken = self._reader.rest_on_more([run.run for run in closed]) if closed else set()
        plain = [
            run
            for run in closed
            if run.run not in spoken
            and run.balance.planned != run.balance.ok
            and not _beyond(terms.get(run.run))
        ]
        rows: dict[str, list[PointRow]] = {run.run: [] for run in plain}
        absent: dict[str, list[Item]] = {run.run: [] for run in plain}
        if plain:
            ids = [run.run for run in plain]
            by_run = {run.run: run for run in plain}
            for row in self._reader.suspect_rows(ids):
                rows[row.run].append(row)
            for absence in self._reader.absences(ids):
                run = by_run[absence.run]
                entry = Entry(absence.first, Verdict.NOT_INSPECTED, absence.reason)
                absent[absence.run].append(
                    Item(
                        need=Need.NOT_INSPECTED,
                        run=run.run,
                        number=run.number,
                        part=run.part,
                        plan_hash=run.plan_hash,
                        begun_ns=run.begun_ns,
                        verdict_seq=run.verdict_seq or 0,
                        point=absence.first,
                        view=absence.view,
                        count=absence.points,
                        record=0,
                        entry=entry,
                        seen=Verdict.NOT_INSPECTED,
                        severity=self._worst_of_view(run.plan_hash, absence.view, absence.first),
                    )
                )
        parts = []
        for run in runs:
            if run.run in rows:
                points = [self._unspoken(row) for row in rows[run.run]]
                items = [*_items(run, points), *absent[run.run]]
            elif run.run in spoken and not _beyond(terms.get(run.run)):
                items = _items(run, self._judge(run))
            else:
                items = []
            waits = sum(item.count for item in items)
            kept = [replace(item, part_waits=waits) for item in items]
            parts.append(_Part(run, tuple((urgency(item), item) for item in kept)))
        return parts

    # ------------------------------------------------------------------------------- judging

    def _unspoken(self, row: PointRow) -> _Judgement:
        """A point of which nobody has said anything: what the machine said stands."""
        entry = Entry(row.point, row.verdict, row.reason, row.finding, row.class_severity)
        return _Judgement(
            point=row.point,
            view=row.view,
            record=row.record,
            judged=Judged(entry),
            seen=row.verdict,
            severity=self._severity(row.plan_hash, row.point, row.class_severity),
            spoken=frozenset(),
            word=0,
        )

    def _judge(self, run: RunRow, point: str | None = None) -> list[_Judgement]:
        """How the points of a run stand that are not simply OK, or one of them whatever it is:
        after all runs that it goes on from, and all that people said."""
        plan, points = self._plan(run.plan_hash)
        chain: list[tuple[str, TermsRow]] = []
        name: str | None = run.run
        while name is not None:
            terms = self._reader.terms([name]).get(name, TermsRow(None, None, Reason.NONE))
            chain.append((name, terms))
            name = terms.repair_of
        chain.reverse()
        words = self._reader.words([name for name, _ in chain])
        wanted = {word.point for word in words}
        found: dict[tuple[str, str], PointRow] = {}
        for name, _ in chain:
            for row in self._reader.points(run=name, verdicts=SEEN_VERDICTS):
                wanted.add(row.point)
                found[name, row.point] = row
        if point is not None:
            wanted = {point}
        places = {
            (name, each)
            for name, terms in chain
            for each in wanted
            if terms.covers is None or each in terms.covers
        }
        for row in self._reader.points_at(places - found.keys()):
            found[row.run, row.point] = row
        looks = [_look(name, terms, wanted, found, words) for name, terms in chain]
        asked = msgspec.structs.replace(
            plan, points=tuple(points[each] for each in sorted(wanted & points.keys()))
        )
        last = {word.point: word.number for word in words}
        return [
            self._judged(run.plan_hash, points[name], state, plan, last.get(name, 0))
            for name, state in states(asked, looks).items()
        ]

    def _judged(
        self, plan_hash: str, point: Point, state: PointState, plan: Plan, word: int
    ) -> _Judgement:
        told = state.judged(plan.deciding)
        entry = told.entry
        severity = self._severity(plan_hash, point.id, entry.class_severity)
        spoken = frozenset(word.person.casefold() for word in state.words)
        return _Judgement(
            point.id, point.view, state.record, told, state.seen, severity, spoken, word
        )

    def _plan(self, plan_hash: str) -> tuple[Plan, Mapping[str, Point]]:
        if plan_hash not in self._plans:
            plan = self._reader.plan(plan_hash)
            if plan is None:
                raise StoreError(f"plan {plan_hash[:12]} is not on record: restore a backup")
            self._plans[plan_hash] = plan, {point.id: point for point in plan.points}
        return self._plans[plan_hash]

    def _severity(self, plan_hash: str, point: str, found: Severity | None) -> Severity | None:
        planned = self._plan(plan_hash)[1].get(point)
        return None if planned is None else effective_severity(planned.severity, found)

    def _worst_of_view(self, plan_hash: str, view: str, first: str) -> Severity | None:
        """Of a view that is missing, its severest point counts."""
        plan, points = self._plan(plan_hash)
        if first not in points:
            return None
        here = [point.severity for point in plan.points if point.view == view]
        return max(here, key=lambda level: level.rank)

    # -------------------------------------------------------------------------------- one item

    def item(self, run: str, point: str) -> Item | None:
        """A point of a part's latest run as it stands now, whether it waits or not; None where
        there is no such point or no verdict yet. Raises `StoreError`."""
        with self._lock:
            for part in self._parts.values():
                if part.run.run == run:
                    waits = (each for _, each in part.items if each.point == point)
                    return next(waits, None) or self._settled(part.run, point)
        return None

    def find(self, part: str, point: str) -> Item | None:
        """A point of a part, by what people call them, also one that is OK; None where there is no
        such point, or no verdict on the part. Raises `StoreError`."""
        with self._lock:
            runs = self._reader.runs(part=part, limit=1)
            if not runs or runs[0].verdict is None:
                return None
            if part not in self._parts or self._parts[part].run != runs[0]:
                self._keep(runs)
            return self._settled(runs[0], point)

    def _settled(self, run: RunRow, point: str) -> Item | None:
        if run.verdict is None:
            return None
        for stand in self._judge(run, point):
            return _item(run, stand)
        return None

    def detail(self, item: Item) -> Detail:
        """Everything about an item. Raises `StoreError`."""
        with self._lock:
            chain = [item.run]
            while (terms := self._reader.terms([chain[-1]]).get(chain[-1])) and terms.repair_of:
                chain.append(terms.repair_of)
            words = [word for word in self._reader.words(chain) if word.point == item.point]
            rows = {
                row.run: row for row in self._reader.points_at({(n, item.point) for n in chain})
            }
            # The record that counts may be one of an earlier run that this one goes on from.
            row = next((row for row in rows.values() if row.record == item.record), None)
            row = row or next((rows[name] for name in chain if name in rows), None)
            history, good = self._past(item)
        members = self._members(item)
        return Detail(item, members, row, tuple(words), history, good)

    def rows(self, items: Sequence[Item]) -> list[PointRow]:
        """What the machine said of some items; what cannot be read now is left out."""
        try:
            return self._reader.points_at({item.key for item in items})
        except StoreError:
            return []

    def _members(self, item: Item) -> tuple[Member, ...]:
        if item.need is not Need.NOT_INSPECTED or (item.count == 1 and item.record):
            return (Member(item.point, item.record, item.word),)
        with self._lock:
            kept = self._parts.get(item.part)
            if kept is None or kept.run.run != item.run:
                return ()
            return tuple(
                Member(stand.point, stand.record, stand.word)
                for stand in self._judge(kept.run)
                if (stand.view, stand.judged.entry.reason) == (item.view, item.entry.reason)
                and stand.judged.entry.verdict is Verdict.NOT_INSPECTED
            )

    def _past(self, item: Item) -> tuple[tuple[PastRow, ...], ...]:
        newest = 0 if self._newest is None else self._newest.run
        key = (item.plan_hash, item.point, newest)
        if key in self._pasts:
            self._pasts.move_to_end(key)
        else:
            past = self._reader.past(item.point, runs=GOOD_RUNS, plan_hash=item.plan_hash)
            kept = [each for each in past if each.row.evidence is not None]
            doubted = [each for each in kept if each.row.verdict is not Verdict.OK]
            cleared = _called_ok(self._reader.words([each.row.run for each in doubted]))
            good = [
                each
                for each in kept
                if each.row.verdict is Verdict.OK or (each.row.run, each.row.point) in cleared
            ]
            self._pasts[key] = (tuple(past[: HISTORY_RUNS + 1]), tuple(good[: GOOD_PICTURES + 1]))
            if len(self._pasts) > KEPT_PASTS:
                self._pasts.popitem(last=False)
        history, good_ones = self._pasts[key]
        return (
            tuple(each for each in history if each.row.run != item.run)[:HISTORY_RUNS],
            tuple(each for each in good_ones if each.row.run != item.run)[:GOOD_PICTURES],
        )


def _rank_of(ranked: tuple[_Rank, Item]) -> _Rank:
    return ranked[0]


def similar(queue: Queue, item: Item, limit: int) -> list[Item]:
    """Other questions that one answer may fit: the same need at the same point of other bodies, and
    the same class at other points, in this order."""
    others = [
        other
        for other in queue.items
        if other.key != item.key
        and other.need is item.need
        and (other.point == item.point or (item.entry.finding and _same_class(other, item)))
    ]
    others.sort(key=lambda other: other.point != item.point)
    return others[:limit]


def asked_of(queue: Queue, user: str | None, needs: Iterable[Need]) -> Iterator[Item]:
    """What one person is asked: nobody is the second person to himself."""
    wanted = set(needs)
    name = "" if user is None else user.casefold()
    for item in queue.items:
        if item.need in wanted and not (item.need is Need.SECOND and name in item.spoken):
            yield item


def _same_class(one: Item, other: Item) -> bool:
    return one.entry.finding == other.entry.finding


def _beyond(terms: TermsRow | None) -> bool:
    """A challenge part is never released, so that nobody is asked about it."""
    return terms is not None and terms.limit is Reason.CHALLENGE_PART


def _look(
    name: str,
    terms: TermsRow,
    points: Iterable[str],
    found: Mapping[tuple[str, str], PointRow],
    words: Iterable[WordRow],
) -> Look:
    rows = {point: found[name, point] for point in points if (name, point) in found}
    return Look(
        run=name,
        entries={
            point: Entry(point, row.verdict, row.reason, row.finding, row.class_severity)
            for point, row in rows.items()
        },
        records={point: row.record for point, row in rows.items()},
        covers=terms.covers,
        decisions=tuple(_decision(word) for word in words if word.run == name),
        limit=terms.limit,
    )


def _decision(word: WordRow) -> Decision:
    return Decision(
        number=word.number,
        run=word.run,
        point=word.point,
        person=word.person,
        roles=word.roles,
        action=word.action,
        finding=word.finding,
        method=word.method,
        severity=word.severity,
    )


def _called_ok(words: Iterable[WordRow]) -> set[tuple[str, str]]:
    """(run, point) of what everybody's last word was that it is OK."""
    last: dict[tuple[str, str], dict[str, bool]] = {}
    for word in words:
        said = last.setdefault((word.run, word.point), {})
        said[word.person.casefold()] = word.action.value == "overrule"
    return {place for place, said in last.items() if all(said.values())}


def _need(stand: _Judgement) -> Need | None:
    match stand.judged.standing:
        case Standing.DISAGREEMENT:
            return Need.DISAGREEMENT
        case Standing.SECOND_PERSON_NEEDED:
            return Need.SECOND
    match stand.judged.entry.verdict:
        case Verdict.REVIEW:
            return Need.REVIEW
        case Verdict.NOK:
            # By somebody's word it is confirmed already.
            return None if stand.judged.by else Need.NOK
        case Verdict.NOT_INSPECTED:
            return Need.NOT_INSPECTED
        case Verdict.OK:
            return None


def _item(run: RunRow, stand: _Judgement) -> Item:
    return Item(
        need=_need(stand),
        run=run.run,
        number=run.number,
        part=run.part,
        plan_hash=run.plan_hash,
        begun_ns=run.begun_ns,
        verdict_seq=run.verdict_seq or 0,
        point=stand.point,
        view=stand.view,
        count=1,
        record=stand.record,
        entry=stand.judged.entry,
        seen=stand.seen,
        severity=stand.severity,
        spoken=stand.spoken,
        word=stand.word,
    )


def _items(run: RunRow, points: Iterable[_Judgement]) -> list[Item]:
    """One item a point; those that were not inspected together by view and reason."""
    found: list[Item] = []
    absent: dict[tuple[str, Reason], list[Item]] = {}
    for stand in points:
        item = _item(run, stand)
        if item.need is Need.NOT_INSPECTED:
            absent.setdefault((item.view, item.entry.reason), []).append(item)
        elif item.need is not None:
            found.append(item)
    for together in absent.values():
        together.sort(key=lambda item: item.point)
        first = together[0]
        worst = max(together, key=lambda item: 9 if item.severity is None else item.severity.rank)
        found.append(replace(first, count=len(together), severity=worst.severity))
    return found
