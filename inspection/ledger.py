"""Planned against inspected: events in, instructions out.

Pure: no clock, no socket, no disk. The caller hands in what happened and the monotonic time, and
carries out, saves and sends what comes back, in the order it comes back.

The plan drives the ledger. From the moment a run is opened every planned point has a row, and at
any time ``planned = OK + NOK + REVIEW + NOT_INSPECTED + open``. A run closes when nothing is open:
because every point was judged, or because the deadline turned what was left into NOT_INSPECTED.

A point may be looked at more than once, and `settle` says what follows: NOK and REVIEW stay, and a
later OK never repairs them; only where earlier attempts gave no verdict at all does a later one
count.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from inspection.messages import Fault, OrderRef, Reason, RunVerdict, Severity, Verdict
from inspection.plan import Plan, Trigger, Unresolved


@dataclass(frozen=True, slots=True)
class Entry:
    """One line about one point: what one attempt made of it."""

    point: str
    verdict: Verdict
    reason: Reason
    finding: str = ""
    class_severity: Severity | None = None
    """Severity of the finding's class, from the model's manifest."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Law 1 in numbers."""

    planned: int
    ok: int
    nok: int
    review: int
    not_inspected: int
    open: int

    @property
    def exact(self) -> bool:
        settled = self.ok + self.nok + self.review + self.not_inspected
        return self.planned == settled + self.open


# ------------------------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A part stands in the station. ``deadline_ns`` is on the same clock as ``now_ns``.

    ``carried`` are the points that are not looked at again in this run, as an earlier run left
    them. ``limit`` says why this run cannot be OK whatever its points are; with BYPASSED nothing
    is looked at at all."""

    run: str
    part: str
    plan: Plan
    deadline_ns: int
    carried: tuple[Entry, ...] = ()
    limit: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class ViewTriggered:
    """The PLC says that the part stands for this view."""

    run: str
    view: str


@dataclass(frozen=True, slots=True)
class EdgeReady:
    """An edge is connected and everything its outbox held before has been read, so that an order
    it neither answered nor still has in hand (``working``) is one that died with its process."""

    edge: str
    cameras: tuple[str, ...]
    working: tuple[OrderRef, ...] = ()


@dataclass(frozen=True, slots=True)
class EdgeGone:
    """An edge has fallen silent."""

    edge: str


@dataclass(frozen=True, slots=True)
class FrameArrived:
    """The picture of an order has been taken."""

    run: str
    view: str
    attempt: int
    frame: str


@dataclass(frozen=True, slots=True)
class ViewAnswered:
    """An order's entries, checked and durable in the same transaction as what follows. Attempt 0
    is the station's own word, when it is read back after a restart."""

    run: str
    view: str
    attempt: int
    frame: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class AnswersConflict:
    """Two different answers to the same order: none of its points may be OK by machine."""

    run: str
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunStopped:
    """No more pictures. With ``part_left`` not even those that are ordered and not yet reported
    taken: another part stands there."""

    run: str
    part_left: bool = False


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The run cannot go on (the station's machine was restarted): close it now, with a reason."""

    run: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class RunLimited:
    """Something came to light while the run was open: it cannot be OK."""

    run: str
    limit: Reason


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = (
    RunOpened
    | ViewTriggered
    | EdgeReady
    | EdgeGone
    | FrameArrived
    | ViewAnswered
    | AnswersConflict
    | RunStopped
    | Abandoned
    | RunLimited
    | Tick
)

# -------------------------------------------------------------------------------- instructions


@dataclass(frozen=True, slots=True)
class PlaceOrder:
    """Make the order durable, then send it. ``attempt`` is never used twice for a view."""

    edge: str
    run: str
    view: str
    attempt: int
    points: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordAbsence:
    """Points of one view nobody looked at: write them down, with the reason."""

    run: str
    part: str
    plan_hash: str
    view: str
    camera: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class CloseRun:
    """Nothing is open any more: form, save and offer the verdict. ``limit`` says why it is not OK
    where its points alone would not."""

    run: str
    verdict: RunVerdict
    balance: Balance
    limit: Reason = Reason.NONE


@dataclass(frozen=True, slots=True)
class Refuse:
    """The event is not carried out, and nothing has changed."""

    fault: Fault
    text: str
    run: str | None = None


Instruction: TypeAlias = PlaceOrder | RecordAbsence | CloseRun | Refuse

# --------------------------------------------------------------------------------------- rules

_STICKY = {Verdict.NOK: 4, Verdict.REVIEW: 3}


def _weight(entry: Entry) -> int:
    if entry.verdict in _STICKY:
        return _STICKY[entry.verdict]
    if entry.reason is Reason.RECORD_CONFLICT:
        return 2
    return 1 if entry.verdict is Verdict.OK else 0


def settle(entries: Iterable[Entry]) -> Entry | None:
    """The entry that counts among all attempts at one point, None where there is none yet.

    NOK before REVIEW before a conflict of records before OK before NOT_INSPECTED; among equals
    the first, whose picture is the one a person has seen.
    """
    best: Entry | None = None
    for entry in entries:
        if best is None or _weight(entry) > _weight(best):
            best = entry
    return best


def effective_severity(point: Severity, found: Severity | None) -> Severity:
    """The higher of the point's severity and that of the class found there."""
    return point if found is None or found.rank < point.rank else found


def run_verdict(plan: Plan, settled: dict[str, Entry]) -> RunVerdict:
    """The verdict on a run from the entry that counts for each planned point.

    OK is proved, never assumed: a plan without points, or a point without an entry, is not OK.
    An undecided point makes the run HOLD or, where the plan says so for its severity, NOK.
    """
    held = not plan.points
    for point in plan.points:
        entry = settled.get(point.id)
        if entry is not None and entry.verdict is Verdict.NOK:
            return RunVerdict.NOK
        if entry is not None and entry.verdict is Verdict.OK:
            continue
        held = True
    if not held:
        return RunVerdict.OK
    for point in plan.points:
        entry = settled.get(point.id)
        if entry is None or entry.verdict is not Verdict.OK:
            found = entry.class_severity if entry is not None else None
            rule = plan.severity[effective_severity(point.severity, found)]
            if rule is Unresolved.NOK:
                return RunVerdict.NOK
    return RunVerdict.HOLD


def limited(verdict: RunVerdict, limit: Reason, nok: int) -> RunVerdict:
    """A verdict where something other than the points keeps the run from being OK. A bypass says
    nothing of any point, so that it sends none to repair either."""
    if limit is Reason.BYPASSED and not nok:
        return RunVerdict.HOLD
    if limit is not Reason.NONE and verdict is RunVerdict.OK:
        return RunVerdict.HOLD
    return verdict


def count(planned: int, settled: Iterable[Entry]) -> Balance:
    """Law 1 over the entries that count."""
    tally = dict.fromkeys(Verdict, 0)
    for entry in settled:
        tally[entry.verdict] += 1
    return Balance(
        planned=planned,
        ok=tally[Verdict.OK],
        nok=tally[Verdict.NOK],
        review=tally[Verdict.REVIEW],
        not_inspected=tally[Verdict.NOT_INSPECTED],
        open=planned - sum(tally.values()),
    )


# --------------------------------------------------------------------------------------- state


class ViewState(enum.Enum):
    """How far a view has come."""

    UNTRIGGERED = "untriggered"
    """The PLC has not asked for it."""
    DUE = "due"
    """To be photographed, but no edge with its camera is connected."""
    ORDERED = "ordered"
    DONE = "done"
    CLOSED = "closed"
    """Written off: the part may have moved. Whatever is still photographed counts for nothing."""


@dataclass(slots=True)
class _View:
    camera: str
    state: ViewState
    attempt: int = 0
    edge: str | None = None
    frame: str | None = None
    moved: bool = False
    """The PLC may have been told that the picture is taken."""


@dataclass(slots=True)
class _Run:
    run: str
    part: str
    plan: Plan
    deadline_ns: int
    views: dict[str, _View]
    settled: dict[str, Entry] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    """Points the station itself has written down; it does so at most once a point."""
    stopped: bool = False
    carried: frozenset[str] = frozenset()
    """Points that are not looked at in this run: nothing that is said here changes them."""
    limit: Reason = Reason.NONE


class Ledger:
    """All open runs of one station."""

    def __init__(self) -> None:
        self._runs: dict[str, _Run] = {}
        self._edges: dict[str, tuple[str, ...]] = {}

    # ---------------------------------------------------------------------------- reading

    @property
    def open_runs(self) -> tuple[str, ...]:
        return tuple(self._runs)

    def run_of_part(self, part: str) -> str | None:
        """The open run of a part, if there is one."""
        return next((run.run for run in self._runs.values() if run.part == part), None)

    def balance(self, run: str) -> Balance:
        """Law 1 for an open run; KeyError for any other."""
        opened = self._runs[run]
        return count(len(opened.plan.points), opened.settled.values())

    def plan(self, run: str) -> Plan:
        return self._runs[run].plan

    def part(self, run: str) -> str:
        return self._runs[run].part

    def is_open(self, run: str) -> bool:
        return run in self._runs

    def covers(self, run: str, point: str) -> bool:
        """Whether a point is looked at in this run."""
        return point not in self._runs[run].carried

    def needs(self, run: str, view: str) -> bool:
        """Whether a view has points that are looked at in this run."""
        opened = self._runs[run]
        return any(point.id not in opened.carried for point in opened.plan.points_of(view))

    def accepts(self, run: str, view: str) -> bool:
        """Whether an answer for this view would still count."""
        opened = self._runs.get(run)
        return opened is not None and opened.views[view].state is not ViewState.CLOSED

    def exposing(self, run: str) -> bool:
        """Whether a picture may be being taken at this moment: the part must not move."""
        views = self._runs[run].views.values()
        return any(view.state is ViewState.ORDERED and view.frame is None for view in views)

    def view_state(self, run: str, view: str) -> ViewState:
        return self._runs[run].views[view].state

    def frame(self, run: str, view: str) -> str | None:
        """The frame of a view that has been photographed, else None."""
        return self._runs[run].views[view].frame

    def open_points(self, run: str, view: str) -> tuple[str, ...]:
        """The points of a view that nothing is known of yet."""
        opened = self._runs[run]
        return tuple(p.id for p in opened.plan.points_of(view) if p.id not in opened.settled)

    def deadline_ns(self, run: str) -> int:
        return self._runs[run].deadline_ns

    def next_deadline_ns(self) -> int | None:
        """When the next `Tick` must come at the latest."""
        return min((run.deadline_ns for run in self._runs.values()), default=None)

    # ---------------------------------------------------------------------------- handling

    def handle(self, event: Event, now_ns: int) -> list[Instruction]:
        """What follows from an event. Runs whose deadline has passed are closed first, so that
        nothing that comes in late is mistaken for something in time."""
        done = self._close_late(now_ns)
        match event:
            case RunOpened():
                done += self._open(event)
            case ViewTriggered():
                done += self._trigger(event)
            case EdgeReady():
                done += self._edge_ready(event)
            case EdgeGone():
                self._edges.pop(event.edge, None)
            case FrameArrived():
                self._frame(event)
            case ViewAnswered():
                done += self._answer(event)
            case AnswersConflict():
                done += self._conflict(event)
            case RunStopped():
                done += self._stop(event)
            case RunLimited():
                if event.run in self._runs:
                    self._runs[event.run].limit = event.limit
            case Abandoned():
                if event.run in self._runs:
                    if event.reason is Reason.BYPASSED:
                        self._runs[event.run].limit = Reason.BYPASSED
                    done += self._close(self._runs[event.run], event.reason)
            case Tick():
                pass
        return done

    def restore_order(self, run: str, view: str, attempt: int, edge: str) -> None:
        """An order on record, from before a restart: its attempt number is spent."""
        state = self._runs[run].views[view]
        if attempt > state.attempt:
            state.attempt, state.edge = attempt, edge
            state.moved = self._runs[run].plan.view(view).trigger is Trigger.PLC
            if state.state is not ViewState.DONE:
                state.state = ViewState.ORDERED

    def _open(self, event: RunOpened) -> list[Instruction]:
        if (already := self.run_of_part(event.part)) is not None:
            return [
                Refuse(
                    Fault.RUN_OPEN,
                    f"part {event.part} already has the open run {already}: end it first",
                    already,
                )
            ]
        views = {
            view.id: _View(
                camera=view.camera,
                state=ViewState.UNTRIGGERED if view.trigger is Trigger.PLC else ViewState.DUE,
            )
            for view in event.plan.views
        }
        opened = _Run(
            run=event.run,
            part=event.part,
            plan=event.plan,
            deadline_ns=event.deadline_ns,
            views=views,
            settled={entry.point: entry for entry in event.carried},
            carried=frozenset(entry.point for entry in event.carried),
            limit=event.limit,
        )
        self._runs[event.run] = opened
        if event.limit is Reason.BYPASSED:
            return self._close(opened, Reason.BYPASSED)
        return self._place_due(opened)

    def _trigger(self, event: ViewTriggered) -> list[Instruction]:
        opened = self._runs.get(event.run)
        if opened is None:
            return [Refuse(Fault.RUN_CLOSED, f"run {event.run} is not open", event.run)]
        view = opened.views.get(event.view)
        if view is None:
            return [Refuse(Fault.UNKNOWN_VIEW, f"the plan has no view {event.view}", event.run)]
        if opened.plan.view(event.view).trigger is not Trigger.PLC:
            text = f"the plan lets the station trigger view {event.view}"
            return [Refuse(Fault.VIEW_NOT_YOURS, text, event.run)]
        if view.state is ViewState.UNTRIGGERED:
            view.state = ViewState.DUE
            return self._place_due(opened)
        return []

    def _place_due(self, opened: _Run) -> list[Instruction]:
        """Orders for every view that is due and whose camera is connected."""
        orders: list[Instruction] = []
        for name, view in opened.views.items():
            if view.state is not ViewState.DUE:
                continue
            edge = next((e for e, cameras in self._edges.items() if view.camera in cameras), None)
            if edge is None:
                continue
            points = self.open_points(opened.run, name)
            if not points:
                view.state = ViewState.DONE
                continue
            view.state, view.edge, view.attempt = ViewState.ORDERED, edge, view.attempt + 1
            orders.append(PlaceOrder(edge, opened.run, name, view.attempt, points))
        return orders

    def _edge_ready(self, event: EdgeReady) -> list[Instruction]:
        self._edges[event.edge] = event.cameras
        working = {(ref.run, ref.view, ref.attempt) for ref in event.working}
        done: list[Instruction] = []
        for opened in list(self._runs.values()):
            for name, view in opened.views.items():
                died = (
                    view.state is ViewState.ORDERED
                    and view.camera in event.cameras
                    and (opened.run, name, view.attempt) not in working
                )
                if not died:
                    continue
                if view.moved or opened.stopped:
                    # The PLC was told that the picture is taken, or that there are no more: the
                    # part no longer stands there.
                    done += self._absent(opened, name, Reason.EDGE_LOST)
                    view.state = ViewState.CLOSED
                else:
                    view.state = ViewState.DUE
            done += self._place_due(opened)
            done += self._close_if_settled(opened)
        return done

    def _frame(self, event: FrameArrived) -> None:
        opened = self._runs.get(event.run)
        view = opened.views.get(event.view) if opened else None
        if view is not None and view.attempt == event.attempt:
            view.frame = event.frame
            view.moved = opened is not None and opened.plan.view(event.view).trigger is Trigger.PLC

    def _answer(self, event: ViewAnswered) -> list[Instruction]:
        opened = self._runs.get(event.run)
        if opened is None:
            return []
        view = opened.views[event.view]
        for entry in event.entries:
            if entry.point not in opened.carried:
                self._settle(opened, entry)
        if event.attempt == 0:
            opened.absent.update(entry.point for entry in event.entries)
            if any(entry.reason is not Reason.RECORD_CONFLICT for entry in event.entries):
                view.state = ViewState.CLOSED
            return self._close_if_settled(opened)
        if event.attempt >= view.attempt:
            view.frame = event.frame or view.frame
            view.attempt = event.attempt
            view.state = ViewState.DONE
        if not self.open_points(opened.run, event.view):
            view.state = ViewState.DONE
        return self._close_if_settled(opened)

    def _conflict(self, event: AnswersConflict) -> list[Instruction]:
        opened = self._runs.get(event.run)
        if opened is None:
            return []
        done: list[Instruction] = []
        for view in opened.plan.views:
            entries = tuple(
                Entry(point.id, Verdict.NOT_INSPECTED, Reason.RECORD_CONFLICT)
                for point in opened.plan.points_of(view.id)
                # What the station has written off is never OK: it need not be said again.
                if point.id in event.points and point.id not in opened.absent | opened.carried
            )
            for entry in entries:
                self._settle(opened, entry)
            done += self._absence(opened, view.id, entries)
        return done + self._close_if_settled(opened)

    @staticmethod
    def _absence(opened: _Run, view: str, entries: tuple[Entry, ...]) -> list[Instruction]:
        opened.absent.update(entry.point for entry in entries)
        camera = opened.views[view].camera
        absence = RecordAbsence(opened.run, opened.part, opened.plan.hash, view, camera, entries)
        return [absence] if entries else []

    def _stop(self, event: RunStopped) -> list[Instruction]:
        opened = self._runs.get(event.run)
        if opened is None:
            return [Refuse(Fault.RUN_CLOSED, f"run {event.run} is not open", event.run)]
        opened.stopped = True
        done: list[Instruction] = []
        for name, view in opened.views.items():
            exposing = view.state is ViewState.ORDERED and view.frame is None and event.part_left
            if view.state in (ViewState.UNTRIGGERED, ViewState.DUE) or exposing:
                due = view.state is ViewState.DUE
                reason = Reason.EDGE_NOT_CONNECTED if due else Reason.RUN_ENDED
                done += self._absent(opened, name, reason)
                view.state = ViewState.CLOSED
        return done + self._close_if_settled(opened)

    @staticmethod
    def _settle(opened: _Run, entry: Entry) -> None:
        before = opened.settled.get(entry.point)
        chosen = settle([entry] if before is None else [before, entry])
        if chosen is not None:
            opened.settled[entry.point] = chosen

    def _absent(self, opened: _Run, view: str, reason: Reason) -> list[Instruction]:
        """Write every open point of a view off, with one reason."""
        entries = tuple(
            Entry(point, Verdict.NOT_INSPECTED, reason)
            for point in self.open_points(opened.run, view)
        )
        for entry in entries:
            opened.settled[entry.point] = entry
        return self._absence(opened, view, entries)

    def _why_absent(self, view: _View) -> Reason:
        match view.state:
            case ViewState.UNTRIGGERED:
                return Reason.NOT_TRIGGERED
            case ViewState.DUE:
                return Reason.EDGE_LOST if view.attempt else Reason.EDGE_NOT_CONNECTED
            case ViewState.ORDERED if view.edge not in self._edges:
                return Reason.EDGE_LOST
            case _:
                return Reason.LATE

    def _close_late(self, now_ns: int) -> list[Instruction]:
        late = [run for run in self._runs.values() if run.deadline_ns <= now_ns]
        return [instruction for run in late for instruction in self._close(run, None)]

    def _close(self, opened: _Run, reason: Reason | None) -> list[Instruction]:
        done: list[Instruction] = []
        for name, view in opened.views.items():
            done += self._absent(opened, name, reason or self._why_absent(view))
        return done + self._close_if_settled(opened)

    def _close_if_settled(self, opened: _Run) -> list[Instruction]:
        # After each answer: a count of what is settled, and not of what it comes to.
        if len(opened.settled) != len(opened.plan.points):
            return []
        balance = self.balance(opened.run)
        del self._runs[opened.run]
        verdict = run_verdict(opened.plan, opened.settled)
        verdict = limited(verdict, opened.limit, balance.nok)
        return [CloseRun(opened.run, verdict, balance, opened.limit)]
