"""The station: what it does with each message, in which order it writes and answers.

`Station.work` takes the frames that have come in since last time, does everything they ask inside
one transaction, and only after the commit returns the frames to send. Nothing is acknowledged,
ordered or answered that is not durable; where the commit fails nothing is sent, everything in
memory is rebuilt from the store, and the peers, unanswered, ask again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET

from inspection import messages as m
from inspection import wire
from inspection.clock import Clock
from inspection.decisions import LASTING, carried, not_ok
from inspection.errors import NotAuthorised, StoreError, TooLarge, WireError, WrongProtocol
from inspection.evidence import EvidenceStore
from inspection.keys import Allowed
from inspection.ledger import (
    Abandoned,
    AnswersConflict,
    Balance,
    CloseRun,
    EdgeGone,
    EdgeReady,
    Entry,
    Event,
    FrameArrived,
    Instruction,
    Ledger,
    PlaceOrder,
    RecordAbsence,
    Refuse,
    RunLimited,
    RunOpened,
    RunStopped,
    Tick,
    ViewAnswered,
    ViewState,
    ViewTriggered,
    limited,
)
from inspection.log import get_logger
from inspection.messages import Fault, Reason, RunVerdict, Verdict
from inspection.plan import Plan
from inspection.station.acceptance import Released, accept
from inspection.station.desk import Desk, Request, basis_of
from inspection.station.guard import Guard, missed_defects
from inspection.station.handshake import service_level
from inspection.station.identity import why_impostor
from inspection.station.people import VALID_NS, People, Throttled
from inspection.station.releases import Releases
from inspection.store import Store
from inspection.store.people import Basis, Terms
from inspection.store.writer import ALL_VIEWS, StoredRecord, StoredRun
from inspection.timing import CommitTimes, TimesFile

CREDIT = 256
"""Records an edge may have on the way; what is more waits on its disk."""

REPEAT_ORDER_NS = 1_000_000_000
"""An order that is neither answered nor in hand after so long was lost on the way."""

MODEL_PATIENCE_NS = 10_000_000_000
"""How long an edge that has just connected is given to load what is released here, before it is
asked all the same and says why it cannot."""

REMEMBERED_TASKS = 5000
"""Views whose tasks are kept ready."""

SECOND_NS = 1_000_000_000

LARGEST_STEP = 1_000_000
"""By how much a sequence number may rise at once: one that jumped to the end of its range would
leave its PLC none to go on with."""

Sent = tuple[str, bytes, bytes]
"""(socket, peer, frame); the sockets are "edge", "evidence", "plc" and "people"."""

INCOMING: dict[str, wire.Lane[Any]] = {
    "edge": wire.EDGE_TO_STATION,
    "evidence": wire.EVIDENCE_TO_STATION,
    "plc": wire.PLC_TO_STATION,
    "people": wire.PEOPLE_TO_STATION,
}
OUTGOING: dict[str, wire.Lane[Any]] = {
    "edge": wire.STATION_TO_EDGE,
    "evidence": wire.STATION_TO_EVIDENCE,
    "plc": wire.STATION_TO_PLC,
    "people": wire.STATION_TO_PEOPLE,
}


@dataclass(slots=True)
class _Session:
    """A connected edge."""

    peer: bytes
    hello: m.Hello
    committed: int
    last_seen_ns: int
    begun_ns: int
    models: tuple[m.ModelState, ...]
    """What it can judge with, by its last word."""
    drained: bool = False
    orders: dict[tuple[str, str, int], tuple[m.Order, int]] = field(default_factory=dict)
    """Orders on their way or in hand, with the time each was last sent."""


class Station:
    """One station. Raises `StoreError` where the store cannot even be read at the start."""

    def __init__(
        self,
        *,
        station_id: str,
        plans: Mapping[str, Plan],
        released: Mapping[str, Released] | Releases,
        store: Store,
        evidence: EvidenceStore,
        clock: Clock,
        edge_timeout_ms: int = 2000,
        people: People | None = None,
        times: TimesFile | None = None,
    ) -> None:
        self._times = times
        self._recorded: list[m.ViewResult] = []
        """What the open transaction has taken, where somebody measures."""
        self.station_id = station_id
        self._plans = plans
        self._releases = released if isinstance(released, Releases) else Releases(released)
        self._released = self._releases.current
        self._ordered: dict[str, dict[tuple[str, int], dict[str, m.ModelRef]]] = {}
        """Of each open run, which models each order named: (view, attempt) to name to package."""
        self._tasks: dict[tuple[str, str], tuple[m.PointTask, ...]] = {}
        self._needs = [
            (view.camera, sorted({plan.kinds[p.kind].model for p in plan.points_of(view.id)}))
            for plan in plans.values()
            for view in plan.views
        ]
        """What must be there for a part to become OK: cameras, and the models behind each."""
        for plan in plans.values():
            # Now, and not while the first part waits for it.
            for view in plan.views:
                self._tasks_of(plan, view.id)
        self._store = store
        self._evidence = evidence
        self._clock = clock
        self._edge_timeout_ns = edge_timeout_ms * 1_000_000
        self._log = get_logger()
        self._sessions: dict[str, _Session] = {}
        self._plc_peers: dict[str, bytes] = {}
        self._plc_of_run: dict[str, str] = {}
        self._heartbeat = 0
        self._store_fault = ""
        self._refused_frames = 0
        self._told: set[str] = set()
        self._people = people
        self._sender: Allowed | None = None
        """Whose key the frame in hand came under; None on a socket without keys."""
        self._impostures: Counter[str] = Counter()
        self._cut: set[tuple[str, bytes]] = set()
        self._reports: list[tuple[str, str]] = []
        self._out: list[Sent] = []
        self._guard = Guard(plans)
        self._desk = Desk(store, people, self._released, clock)
        self._ledger = Ledger()
        self._now_ns = clock.monotonic_ns()
        """The time of everything done in one transaction, so that all of it agrees what is late."""
        self._restore()

    # -------------------------------------------------------------------------- the outside

    def work(
        self,
        frames: Iterable[tuple[str, bytes, bytes]],
        senders: Sequence[Allowed | None] = (),
    ) -> list[Sent]:
        """Deal with frames, (socket, peer, frame) each, and with the time that has passed.
        ``senders`` says under whose key each came; without it they came under none.

        Returns what to send, all of it true and durable. Never raises for what a peer sent.
        """
        frames = list(frames)
        senders = senders or [None] * len(frames)
        self._now_ns = self._clock.monotonic_ns()
        self._out = []
        self._recorded.clear()
        if self._store_fault and not self._recover():
            return self._while_broken(frames)
        if not self._turn():
            return self._while_broken(frames)
        guard = self._guard.copy()
        pictures = [
            (sender, *self._put_evidence(peer, frame, sender))
            for (socket, peer, frame), sender in zip(frames, senders, strict=True)
            if socket == "evidence"
        ]
        try:
            with self._store.transaction():
                # First what is overdue, so that nothing late is mistaken for something in time.
                self._do(Tick())
                self._watch_guard()
                self._write_reports()
                for (socket, peer, frame), sender in zip(frames, senders, strict=True):
                    if socket != "evidence":
                        self._sender = sender
                        self._one(socket, peer, frame)
                for sender, peer, picture in pictures:
                    self._sender = sender
                    self._record_evidence(peer, picture)
                self._watch_edges()
                self._watch_models()
        except StoreError as error:
            self._guard = guard
            self._break(error)
            return self._while_broken(frames)
        self._write_times()
        return self._out

    def _write_times(self) -> None:
        if self._times is not None:
            now = self._clock.monotonic_ns()
            for said in self._recorded:
                self._times.write(CommitTimes(said.run, said.view, said.attempt, self._now_ns, now))

    def cut(self, socket: str, peer: bytes) -> None:
        """A peer whose key was revoked is no longer connected, whatever it still sends."""
        self._cut.add((socket, peer))

    def report(self, kind: str, text: str) -> None:
        """An event of the sockets, to be on record with the next transaction."""
        if len(self._reports) < 100:
            self._reports.append((kind, text))

    def _turn(self) -> bool:
        """Close the store's period where it is over; whether the store can be used."""
        try:
            closed = self._store.turn() if self._store.turn_is_due() else None
            if closed is not None:
                with self._store.transaction():
                    self._store.add_event("period", f"the period before is now in {closed.name}")
                self._log.info("new period", closed=closed.name)
            elif (fault := self._store.turn_fault) and fault not in self._told:
                # The old file goes on: that costs a later start time and nobody a verdict.
                self._told.add(fault)
                with self._store.transaction():
                    self._store.add_event("period_failed", fault)
                self._log.error("no new period", fault=fault)
        except StoreError as error:
            self._break(error)
            return False
        return True

    def wait_ns(self) -> int:
        """How long nothing needs to be done, unless a frame comes in."""
        now = self._clock.monotonic_ns()
        deadline = self._ledger.next_deadline_ns()
        soonest = self._edge_timeout_ns // 4
        return soonest if deadline is None else max(0, min(soonest, deadline - now))

    def not_ready(self) -> tuple[Fault, str]:
        """What keeps a part begun now from becoming OK; (NONE, "") where nothing does."""
        if self._store_fault:
            return Fault.STORE_FAILED, self._store_fault
        if short := self._store.short_of_room():
            return Fault.STORE_FAILED, short[:500]
        for camera, models in self._needs:
            session = self._session_with(camera)
            if session is None:
                return Fault.EDGE_MISSING, f"no edge with camera {camera} is connected"
            edge = session.hello.edge
            states = {state.name: state for state in session.models}
            for name in models:
                state = states.get(name)
                if state is None or not _ready(state):
                    why = "is not configured there" if state is None else state.fault
                    return Fault.MODEL_MISSING, f"edge {edge}: model {name}: {why}"[:500]
                if self._released[name].ref not in _ready(state):
                    text = f"edge {edge}: model {name} is another version than released here"
                    return Fault.MODEL_MISSING, text
        return Fault.NONE, ""

    def _why_not_ready(self) -> tuple[Fault, str]:
        """`not_ready`, and whether the line is guarded; a bypass is named before anything else."""
        guarded = self._guard.not_ready(self._now_ns)
        if guarded[0] is Fault.BYPASSED and not self._store_fault:
            return guarded
        missing = self.not_ready()
        return guarded if missing[0] is Fault.NONE else missing

    # -------------------------------------------------------------------- failure and return

    def _break(self, error: StoreError) -> None:
        """The store has failed: what is in memory may be ahead of it and is worth nothing."""
        self._store_fault = str(error)[:500]
        self._log.error("store failed", fault=self._store_fault)
        self._sessions.clear()
        self._out = []

    def _recover(self) -> bool:
        try:
            self._restore()
        except StoreError as error:
            self._store_fault = str(error)[:500]
            return False
        self._log.info("store works again")
        return True

    def _while_broken(self, frames: list[tuple[str, bytes, bytes]]) -> list[Sent]:
        """A PLC still gets an answer to its heartbeat: not ready, and why. Nobody gets more."""
        sent: list[Sent] = []
        for socket, peer, frame in frames:
            if socket == "plc":
                try:
                    message = wire.PLC_TO_STATION.decode(frame)
                except WireError:
                    continue
                if isinstance(message, m.Heartbeat):
                    answer = self._status(message, last_seq=0)
                    sent.append(("plc", peer, wire.STATION_TO_PLC.encode(answer)))
        return sent

    def _restore(self) -> None:
        """Rebuild the ledger from what is on record."""
        self._ledger = Ledger()
        self._sessions.clear()
        self._plc_of_run.clear()
        self._ordered.clear()
        boot = self._clock.boot_id()
        with self._store.transaction():
            self._guard.bypass = self._store.bypass_in_force()
            for plan in self._plans.values():
                missed = self._store.last_challenge_missed(plan.hash)
                if missed is not None:
                    self._guard.finished(plan, missed[1], self._now_ns)
            runs = self._store.open_runs()
            for run in runs:
                self._plc_of_run[run.run] = run.plc
                # At time zero, so that no deadline strikes before everything on record is back.
                opened = RunOpened(
                    run.run,
                    run.part,
                    run.plan,
                    run.deadline_mono_ns,
                    *self._reopened(run),
                )
                self._ledger.handle(opened, 0)
                for view in sorted(run.triggered - {ALL_VIEWS}):
                    self._ledger.handle(ViewTriggered(run.run, view), 0)
                for view, attempt, edge in run.orders:
                    self._ledger.restore_order(run.run, view, attempt, edge)
                instructions: list[Instruction] = []
                for record in run.records:
                    if not record.late and self._ledger.is_open(run.run):
                        instructions += self._read_back(run, record)
                if ALL_VIEWS in run.triggered and self._ledger.is_open(run.run):
                    instructions += self._ledger.handle(RunStopped(run.run), 0)
                if run.boot_id != boot and self._ledger.is_open(run.run):
                    # The monotonic clock began anew: nobody knows how much time has passed.
                    abandoned = Abandoned(run.run, Reason.STATION_RESTARTED)
                    instructions += self._ledger.handle(abandoned, 0)
                if not run.intact and self._ledger.is_open(run.run):
                    abandoned = Abandoned(run.run, Reason.RECORD_CONFLICT)
                    instructions += self._ledger.handle(abandoned, 0)
                self._carry_out(instructions)
            if runs:
                self._store.add_event("restored", f"went on with {len(runs)} open runs")
        self._store_fault = ""

    def _reopened(self, run: StoredRun) -> tuple[tuple[Entry, ...], Reason]:
        """What an open run takes from earlier ones, and why it cannot be OK: what this process has
        not seen challenged is not guarded."""
        terms = self._store.terms(run.run)
        limit = terms.limit
        if limit is Reason.NONE:
            limit = self._guard.fault_of(run.plan, self._now_ns)
        if terms.repair_of is None or terms.covers is None:
            return (), limit
        before = self._desk.history(terms.repair_of)
        return carried(run.plan, before.looks, terms.covers), limit

    def _accept(
        self, answer: m.ViewResult, plan: Plan, expected: tuple[str, ...]
    ) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
        """As `accept`; a point that this run does not look at is one that nobody asked for."""
        entries, strangers = accept(answer, plan, self._named(answer, plan), expected)
        if not self._ledger.is_open(answer.run):
            return entries, strangers
        asked = [entry for entry in entries if self._ledger.covers(answer.run, entry.point)]
        others = {entry.point for entry in entries} - {entry.point for entry in asked}
        return tuple(asked), (*strangers, *sorted(others))

    def _named(self, answer: m.ViewResult, plan: Plan) -> dict[str, Released]:
        """The models whose verdicts count in an answer, by name: those that its order named. Of an
        order from before a restart the answer itself has to say, and it counts if that was ever
        released."""
        named = self._ordered.get(answer.run, {}).get((answer.view, answer.attempt))
        if named is None:
            kinds = {p.id: plan.kinds[p.kind].model for p in plan.points_of(answer.view)}
            named = {}
            for said in answer.points:
                if isinstance(said, m.Inspected) and said.point in kinds:
                    named.setdefault(kinds[said.point], said.model)
        found = {name: self._releases.find(name, ref) for name, ref in named.items()}
        return {name: model for name, model in found.items() if model is not None}

    def _read_back(self, run: StoredRun, record: StoredRecord) -> list[Instruction]:
        """A record into the ledger again, by what its bytes say and not by the rows made of them.
        Where the two differ something was changed: none of its points may be OK by machine."""
        answer = record.answer
        if answer is not None:
            expected = self._ledger.open_points(run.run, record.view) if record.attempt else ()
            entries, _ = self._accept(answer, run.plan, expected)
            if frozenset(entries) == record.entries:
                answered = ViewAnswered(run.run, record.view, record.attempt, answer.frame, entries)
                return self._ledger.handle(answered, 0)
        text = (
            f"view {record.view}, attempt {record.attempt} does not give the entries that were made"
            " of it: what is stored, or the released model, was changed"
        )
        self._store.add_event("record_changed", text, run.run)
        self._log.error("stored record changed", run=run.run, view=record.view)
        points = tuple(point.id for point in run.plan.points_of(record.view))
        return self._ledger.handle(AnswersConflict(run.run, points), 0)

    # ------------------------------------------------------------------------------- ledger

    def _do(self, event: Event) -> list[Instruction]:
        instructions = self._ledger.handle(event, self._now_ns)
        self._carry_out(instructions)
        return instructions

    def _carry_out(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case PlaceOrder():
                    self._place(instruction)
                case RecordAbsence():
                    self._record_absence(instruction)
                case CloseRun():
                    self._close(instruction)
                case Refuse():
                    pass  # answered by whoever brought the event

    def _place(self, order: PlaceOrder) -> None:
        self._store.add_order(order.run, order.view, order.attempt, order.edge)
        plan = self._ledger.plan(order.run)
        view = plan.view(order.view)
        tasks = self._tasks_of(plan, order.view)
        if len(tasks) != len(order.points):
            wanted = set(order.points)
            tasks = tuple(task for task in tasks if task.point in wanted)
        message = m.Order(
            run=order.run,
            part=self._ledger.part(order.run),
            plan=plan.hash,
            view=view.id,
            camera=view.camera,
            attempt=order.attempt,
            remaining_ms=max(0, self._ledger.deadline_ns(order.run) - self._now_ns) // 1_000_000,
            width_px=view.width_px,
            height_px=view.height_px,
            tone_map=UNSET if view.tone_map is None else view.tone_map,
            alignment=view.alignment,
            points=tasks,
            models={
                name: self._released[name].ref
                for name in {task.model for task in tasks}
                # A plan from before a restart may name a model that is no longer released.
                if name in self._released
            },
        )
        self._ordered.setdefault(order.run, {})[(order.view, order.attempt)] = message.models
        session = self._sessions[order.edge]
        session.orders[(order.run, order.view, order.attempt)] = (message, self._now_ns)
        self._say("edge", session.peer, message)

    def _tasks_of(self, plan: Plan, view: str) -> tuple[m.PointTask, ...]:
        """All that a view of a plan may ask for; every run of the plan asks for the same."""
        tasks = self._tasks.get((plan.hash, view))
        if tasks is None:
            if len(self._tasks) > REMEMBERED_TASKS:
                self._tasks.clear()
            tasks = self._tasks[plan.hash, view] = tuple(
                m.PointTask(
                    point=p.id,
                    model=plan.kinds[p.kind].model,
                    region=p.region,
                    quality=UNSET if p.quality is None else p.quality,
                    anomaly_only=plan.kinds[p.kind].anomaly_only or UNSET,
                    gauge=plan.gauge_of(p),
                )
                for p in plan.points_of(view)
            )
        return tasks

    def _record_absence(self, absence: RecordAbsence) -> None:
        answer = m.ViewResult(
            run=absence.run,
            part=absence.part,
            plan=absence.plan_hash,
            view=absence.view,
            attempt=0,
            edge=self.station_id,
            camera=absence.camera,
            frame="",
            captured_ns=self._clock.wall_ns(),
            points=tuple(m.Missed(point=e.point, reason=e.reason) for e in absence.entries),
        )
        raw = wire.RECORD.encode(answer)
        self._store.add_record(answer, raw, absence.entries, late=False, outbox=None)

    def _close(self, close: CloseRun) -> None:
        said, balance, basis = self._conclude(close)
        verdict = self._store.add_verdict(close.run, said, balance, basis)
        facts = self._store.run_facts(close.run)
        part = facts.part if facts else ""
        self._log.info(
            "verdict",
            run=close.run,
            part=part,
            verdict=verdict.verdict.value,
            verdict_seq=verdict.verdict_seq,
            planned=balance.planned,
            ok=balance.ok,
            nok=balance.nok,
            review=balance.review,
            not_inspected=balance.not_inspected,
        )
        for session in self._sessions.values():
            for ref in [ref for ref in session.orders if ref[0] == close.run]:
                del session.orders[ref]
        self._ordered.pop(close.run, None)
        plc = self._plc_of_run.pop(close.run, "")
        self._offer(plc, close.run, part, verdict.verdict_seq)

        if facts is not None and close.limit is Reason.CHALLENGE_PART:
            self._challenged(close.run, part, facts.plan_hash)

    def _conclude(self, close: CloseRun) -> tuple[RunVerdict, Balance, Basis | None]:
        """The verdict on the part, and what it rests on besides this run's records: for a
        re-inspection everything that was said of the part until now, not only until it began."""
        if self._store.terms(close.run).repair_of is None:
            basis = None
            if close.limit is not Reason.NONE:
                basis = Basis(close.balance.ok, 0, close.limit)
            return close.verdict, close.balance, basis
        body = self._desk.body(close.run)
        limit = close.limit if body.limit is Reason.NONE else body.limit
        verdict = limited(body.verdict, limit, body.balance.nok)
        return verdict, body.balance, basis_of(replace(body, limit=limit))

    # -------------------------------------------------------------------------------- guard

    def _watch_guard(self) -> None:
        """Let a bypass end whose time is up."""
        bypass = self._guard.bypass
        clock = self._clock
        if bypass is not None and self._guard.expired(
            self._now_ns, clock.wall_ns(), clock.boot_id()
        ):
            self._store.add_bypass("expired", bypass)
            self._store.add_event("bypass", f"the bypass of {bypass.person} has ended by itself")
            self._guard.bypass = None

    def _challenged(self, run: str, part: str, plan_hash: str) -> None:
        """A part with known defects is through: were they found?"""
        plan = self._store.plan(plan_hash)
        if plan is None:
            return
        missed = missed_defects(plan, self._store.settled(run).entries)
        self._store.add_challenge(run, part, plan_hash, missed)
        self._guard.finished(plan, missed, self._now_ns)
        if not missed:
            self._log.info("challenge passed", part=part)
            return
        text = f"part {part} {self._guard.failed[plan.name]}: parts since the last one are in doubt"
        self._store.add_event("challenge_failed", text, run)
        self._log.error("challenge failed", part=part, missed=list(missed))
        for other in self._ledger.open_runs:
            if self._ledger.plan(other).name == plan.name:
                self._do(RunLimited(other, Reason.CHALLENGE_FAILED))

    # ------------------------------------------------------------------------------- people

    def _person(self, peer: bytes, ask: Request) -> None:
        answer = self._desk.handle(ask, self._now_ns)
        for facts, verdict in answer.revised:
            self._offer(facts.plc, facts.run, facts.part, verdict.verdict_seq)
        if answer.bypass_changed:
            self._guard.bypass = self._store.bypass_in_force()
            if self._guard.bypass is not None:
                for run in self._ledger.open_runs:
                    self._do(Abandoned(run, Reason.BYPASSED))
        self._out.append(("people", peer, answer.frame))

    def _offer(self, plc: str, run: str, part: str, verdict_seq: int) -> None:
        """Tell a PLC that there is a verdict to ask for."""
        peer = self._plc_peers.get(plc)
        if peer is not None:
            self._say("plc", peer, m.VerdictReady(run=run, part=part, verdict_seq=verdict_seq))

    # ------------------------------------------------------------------------------- frames

    def _one(self, socket: str, peer: bytes, frame: bytes) -> None:
        try:
            message = INCOMING[socket].decode(frame)
        except WireError as error:
            self._refuse_frame(socket, peer, error)
            return
        if text := self._impostor(peer, message):
            self._refuse_impostor(socket, peer, getattr(message, "seq", 0), text)
            return
        match message:
            case m.Hello():
                self._hello(peer, message)
            case m.Results():
                self._results(peer, message)
            case m.Ping():
                self._ping(peer, message)
            case m.FrameTaken():
                self._frame_taken(peer, message)
            case m.Heartbeat():
                self._plc_peers[message.plc] = peer
                last = self._store.last_seq(message.plc)
                self._say("plc", peer, self._status(message, last))
            case m.GetVerdict():
                self._plc_peers[message.plc] = peer
                self._say("plc", peer, self._verdict(message))
            case m.Decide() | m.Look() | m.PlanStudy() | m.Bypass() | m.Unbypass():
                self._person(peer, message)
            case m.Login():
                self._say("people", peer, self._login(message))
            case _:
                self._plc_peers[message.plc] = peer
                self._request(peer, message)

    def _refuse_frame(self, socket: str, peer: bytes, error: WireError) -> None:
        """Tell the sender, count it, and write down the first and then every thousandth: garbage
        must neither stop the line nor fill its disk."""
        fault = Fault.MALFORMED
        if isinstance(error, TooLarge):
            fault = Fault.TOO_LARGE
        elif isinstance(error, WrongProtocol):
            fault = Fault.PROTOCOL
        text = str(error)[:500]
        if self._refused_frames % 1000 == 0:
            count = f" ({self._refused_frames + 1} in all)" if self._refused_frames else ""
            self._store.add_event("frame_refused", f"{socket}: {text}{count}")
            self._log.warning("frame refused", socket=socket, text=text)
        self._refused_frames += 1
        refusal = (
            m.Refusal(seq=0, fault=fault, text=text)
            if socket == "plc"
            else m.Refused(fault=fault, text=text)
        )
        self._say(socket, peer, refusal)

    def _impostor(self, peer: bytes, message: Any) -> str:
        session = next((s for s in self._sessions.values() if s.peer == peer), None)
        return why_impostor(message, self._sender, session.hello.edge if session else None)

    def _refuse_impostor(self, socket: str, peer: bytes, seq: int, text: str) -> None:
        """A key that speaks for somebody else: told, counted, and the first and every thousandth
        time written down."""
        who = self._sender.id if self._sender is not None else ""
        count = self._impostures[who]
        self._impostures[who] += 1
        if count % 1000 == 0:
            self._store.add_event("impostor", f"{text} ({count + 1} in all)" if count else text)
            self._log.error("impostor refused", socket=socket, text=text)
        fault = Fault.WRONG_KEY
        if socket == "plc":
            self._say(socket, peer, m.Refusal(seq=seq, fault=fault, text=text))
        else:
            self._say(socket, peer, m.Refused(fault=fault, text=text))

    def _write_reports(self) -> None:
        for kind, text in self._reports:
            self._store.add_event(kind, text)
        self._reports.clear()

    def _say(self, socket: str, peer: bytes, message: Any) -> None:
        self._out.append((socket, peer, OUTGOING[socket].encode(message)))

    # -------------------------------------------------------------------------------- people

    def _login(self, login: m.Login) -> m.LoggedIn | m.Declined:
        """A token, or why there is none; either is on record."""
        if self._people is None:
            text = "nobody can log in here: the station's configuration names no people"
            return m.Declined(request_id=login.request_id, fault=Fault.NOT_AUTHORISED, text=text)
        try:
            token = self._people.login(login.user, login.password, self._now_ns)
            person = self._people.verify(token, self._now_ns)
        except NotAuthorised as error:
            late = isinstance(error, Throttled)
            if not late:  # how many those are is limited by the waiting they bring
                self._store.add_event("login_refused", f"{login.user}: {error}")
            self._log.warning("login refused", user=login.user, text=str(error))
            fault = Fault.TRY_LATER if late else Fault.NOT_AUTHORISED
            return m.Declined(request_id=login.request_id, fault=fault, text=str(error))
        self._store.add_event("login", f"{person.name} logged in")
        return m.LoggedIn(
            request_id=login.request_id,
            user=person.name,
            roles=tuple(sorted(person.roles)),
            token=token,
            valid_ms=VALID_NS // 1_000_000,
        )

    # --------------------------------------------------------------------------------- edges

    def _session_with(self, camera: str) -> _Session | None:
        """The connected edge with a camera."""
        return next((s for s in self._sessions.values() if camera in s.hello.cameras), None)

    def _session_of(self, peer: bytes, nonce: str) -> _Session | None:
        """The session a frame belongs to; a frame of none is answered with a request to say hello
        (the station was restarted, or a frame of an earlier session was long on the way)."""
        for session in self._sessions.values():
            if session.peer == peer and session.hello.nonce == nonce:
                session.last_seen_ns = self._now_ns
                return session
        self._say("edge", peer, m.Refused(fault=Fault.UNKNOWN_SESSION, text="say hello first"))
        return None

    def _hello(self, peer: bytes, hello: m.Hello) -> None:
        owner, committed = self._store.outbox_position(hello.outbox)
        if refusal := self._why_refused(hello, owner):
            if refusal not in self._told:
                # Written down once, however often the edge tries.
                self._told.add(refusal)
                self._store.add_event("edge_refused", refusal)
            self._say("edge", peer, m.Refused(fault=Fault.EDGE_MISSING, text=refusal))
            return
        known = hello.edge in self._sessions
        if known:
            # Until its backlog is read nobody knows which orders it still has.
            self._do(EdgeGone(hello.edge))
        if hello.first_seq > committed + 1:
            # The outbox has forgotten what this store never had: a store restored from a backup.
            lost = f"records {committed + 1} to {hello.first_seq - 1} of its outbox are gone"
            self._store.add_event("records_lost", f"edge {hello.edge}: {lost}")
            committed = hello.first_seq - 1
            self._store.advance_outbox(hello.outbox, hello.edge, committed)
        session = _Session(peer, hello, committed, self._now_ns, self._now_ns, hello.models)
        self._sessions[hello.edge] = session
        if not known:
            self._store.add_event("edge_connected", f"edge {hello.edge} is connected")
            self._log.info("edge connected", edge=hello.edge, cameras=list(hello.cameras))
            for state in hello.models:
                if state.fault:
                    text = f"edge {hello.edge}: model {state.name}: {state.fault}"
                    self._store.add_event("model_fault", text)
        self._say(
            "edge",
            peer,
            m.Welcome(
                station=self.station_id, nonce=hello.nonce, committed=committed, credit=CREDIT
            ),
        )
        self._check_drained(session)

    def _why_refused(self, hello: m.Hello, owner: str | None) -> str:
        """Why an edge may not connect, empty where it may. ``owner`` is the edge that the outbox
        belongs to on record."""
        for other in (session.hello for session in self._sessions.values()):
            same = other.edge == hello.edge
            if same and other.outbox == hello.outbox:
                continue
            if other.outbox == hello.outbox:
                return f"edges {other.edge} and {hello.edge} have the same outbox: a copy?"
            clash = set(other.cameras) & set(hello.cameras)
            if same or clash:
                what = f"edge {hello.edge}" if same else f"camera {sorted(clash)[0]}"
                return f"{what} is already connected, as edge {other.edge}"
        if owner is not None and owner != hello.edge:
            return f"the outbox of edge {hello.edge} belongs to edge {owner}: use a new folder"
        return ""

    def _check_drained(self, session: _Session) -> None:
        """Once everything is read that an edge had in its outbox when it connected, the ledger
        knows which orders died with an earlier process."""
        if (
            not session.drained
            and session.committed >= session.hello.next_seq - 1
            and not self._loads_still(session)
        ):
            session.drained = True
            hello = session.hello
            self._do(EdgeReady(hello.edge, hello.cameras, hello.working))

    def _loads_still(self, session: _Session) -> bool:
        """Whether an edge that follows registries has yet to load what it would be ordered to use:
        it is asked for it in each answer to a ping."""
        if self._now_ns - session.begun_ns >= MODEL_PATIENCE_NS:
            return False
        states = {state.name: state for state in session.models}
        return any(
            (state := states.get(name)) is not None
            and state.also is not UNSET
            and self._released[name].ref not in _ready(state)
            for camera, models in self._needs
            if camera in session.hello.cameras
            for name in models
        )

    def _askable(self, session: _Session) -> dict[str, tuple[m.ModelRef, ...]]:
        """What an edge may still be ordered to judge with, of the models that can change there."""
        asked = {
            state.name: [self._released[state.name].ref]
            for state in session.models
            if state.also is not UNSET and state.name in self._released
        }
        if asked:
            for order, _ in session.orders.values():
                for name, ref in order.models.items():
                    if name in asked and ref not in asked[name]:
                        asked[name].append(ref)
        return {name: tuple(refs) for name, refs in asked.items()}

    def _watch_models(self) -> None:
        """Take up what registries release, once every edge that needs it has it ready."""
        for kind, text in self._releases.look(self._now_ns):
            self._store.add_event(kind, text)
            self._log.info("model release", kind=kind, text=text)
        for name, candidate in list(self._releases.candidates.items()):
            sessions = [self._session_with(c) for c, models in self._needs if name in models]
            if all(s is not None and _is_ready(s, name, candidate.ref) for s in sessions):
                text = self._releases.release(name)
                self._store.add_event("model_released", text)
                self._log.info("model released", text=text)

    def _ping(self, peer: bytes, ping: m.Ping) -> None:
        session = self._session_of(peer, ping.nonce)
        if session is None:
            return
        if ping.models is not UNSET and ping.models != session.models:
            known = {(state.name, state.fault) for state in session.models}
            session.models = ping.models
            for state in ping.models:
                if state.fault and (state.name, state.fault) not in known:
                    text = f"edge {ping.edge}: model {state.name}: {state.fault}"
                    self._store.add_event("model_fault", text)
                    self._log.error("model fault", edge=ping.edge, text=text)
        self._check_drained(session)
        pong = m.Pong(
            nonce=ping.nonce, counter=ping.counter, models=self._askable(session) or UNSET
        )
        self._say("edge", peer, pong)
        now = self._now_ns
        working = {(ref.run, ref.view, ref.attempt) for ref in ping.working}
        for ref, (order, sent_ns) in list(session.orders.items()):
            if ref not in working and now - sent_ns >= REPEAT_ORDER_NS:
                session.orders[ref] = (order, now)
                self._say("edge", peer, order)

    def _frame_taken(self, peer: bytes, taken: m.FrameTaken) -> None:
        if any(session.peer == peer for session in self._sessions.values()):
            self._do(FrameArrived(taken.run, taken.view, taken.attempt, taken.frame))

    def _watch_edges(self) -> None:
        for edge, session in list(self._sessions.items()):
            silent = self._now_ns - session.last_seen_ns
            revoked = ("edge", session.peer) in self._cut
            if silent > self._edge_timeout_ns or revoked:
                del self._sessions[edge]
                text = f"edge {edge} has been silent for {silent / SECOND_NS:.1f} s"
                if revoked:
                    text = f"the key of edge {edge} was revoked"
                self._store.add_event("edge_lost", text)
                self._log.warning("edge lost", edge=edge)
                self._do(EdgeGone(edge))
        for plc, peer in list(self._plc_peers.items()):
            if ("plc", peer) in self._cut:
                del self._plc_peers[plc]
        self._cut.clear()

    def _results(self, peer: bytes, results: m.Results) -> None:
        session = self._session_of(peer, results.nonce)
        if session is None or results.outbox != session.hello.outbox:
            return
        edge, outbox = session.hello.edge, results.outbox
        for seq, raw in enumerate(results.records, start=results.first_seq):
            if seq <= session.committed:
                known = self._store.digest_at(outbox, seq)
                if known is not None and known != hashlib.sha256(raw).hexdigest():
                    text = f"edge {edge} sent record {seq} again with other content"
                    self._store.add_event("conflict", text)
                    self._log.error("record changed", edge=edge, seq=seq)
                continue
            if seq > session.committed + 1:
                break  # a batch before this one was lost: the edge goes back to where we stand
            self._record(edge, outbox, seq, raw)
            session.committed = seq
        if session.committed >= results.first_seq:
            self._store.advance_outbox(outbox, edge, session.committed)
        self._say(
            "edge",
            peer,
            m.Committed(nonce=results.nonce, committed=session.committed, credit=CREDIT),
        )
        self._check_drained(session)

    def _record(self, edge: str, outbox: str, seq: int, raw: bytes) -> None:
        """One record of an outbox: into the ledger, or into quarantine, but never away."""
        try:
            answer = wire.RECORD.decode(raw)
        except WireError as error:
            self._quarantine(edge, outbox, seq, "unreadable", str(error), raw)
            return
        if isinstance(answer, m.Gap):
            self._quarantine(edge, outbox, seq, "gap", answer.detail, raw)
            return
        wrong = self._why_orphan(edge, answer)
        if wrong:
            self._quarantine(edge, outbox, seq, "orphan", wrong, raw)
            return
        known = self._store.record_digest(answer.run, answer.view, answer.attempt)
        if known is not None:
            if known != hashlib.sha256(raw).hexdigest():
                text = f"a second answer to run {answer.run}, view {answer.view}"
                self._quarantine(edge, outbox, seq, "conflict", text, raw)
                points = tuple(point.point for point in answer.points)
                self._do(AnswersConflict(answer.run, points))
            return
        if not self._ledger.accepts(answer.run, answer.view):
            self._late(answer, raw, outbox, seq)
            return
        plan = self._ledger.plan(answer.run)
        expected = self._ledger.open_points(answer.run, answer.view)
        entries, strangers = self._accept(answer, plan, expected)
        if strangers:
            text = f"edge {edge} answered for points nobody asked for: {', '.join(strangers[:5])}"
            self._store.add_event("orphan", text, answer.run)
        self._store.add_record(answer, raw, entries, late=False, outbox=(outbox, seq))
        if self._times is not None:
            self._recorded.append(answer)
        session = self._sessions[edge]
        session.orders.pop((answer.run, answer.view, answer.attempt), None)
        self._do(ViewAnswered(answer.run, answer.view, answer.attempt, answer.frame, entries))

    def _why_orphan(self, edge: str, answer: m.ViewResult) -> str:
        """Why an answer belongs to nothing; empty where it answers an order of ours."""
        if answer.edge != edge:
            return f"claims to come from edge {answer.edge}, but came from {edge}"
        facts = self._store.run_facts(answer.run)
        if facts is None:
            return f"run {answer.run} is not known"
        if (answer.part, answer.plan) != (facts.part, facts.plan_hash):
            return f"run {answer.run} is of another part or plan"
        if self._store.ordered_from(answer.run, answer.view, answer.attempt) != edge:
            return f"view {answer.view}, attempt {answer.attempt} was never ordered from {edge}"
        return ""

    def _late(self, answer: m.ViewResult, raw: bytes, outbox: str, seq: int) -> None:
        """After the verdict, or of a view that was written off because the part may have moved:
        kept, flagged, and never part of it. A late defect is told."""
        plan = self._store.plan(answer.plan)
        named = {} if plan is None else self._named(answer, plan)
        entries, _ = accept(answer, plan, named, ()) if plan is not None else ((), ())
        self._store.add_record(answer, raw, entries, late=True, outbox=(outbox, seq))
        worst = [e for e in entries if e.verdict in (Verdict.NOK, Verdict.REVIEW)]
        verdict = self._store.latest_verdict(answer.run)
        if worst and verdict is not None and verdict.verdict is RunVerdict.OK:
            text = f"{worst[0].point}: {worst[0].verdict.value}, after the run was OK"
            self._store.add_event("late_defect", text, answer.run)
            self._log.error("late defect", run=answer.run, point=worst[0].point)

    def _quarantine(
        self, edge: str, outbox: str, seq: int, kind: str, text: str, raw: bytes
    ) -> None:
        self._store.add_quarantine(edge, outbox, seq, kind, text, raw)
        self._store.add_event(kind, f"edge {edge}, record {seq}: {text}")
        self._log.warning("record quarantined", edge=edge, seq=seq, kind=kind, text=text)

    def _put_evidence(
        self, peer: bytes, frame: bytes, sender: Allowed | None
    ) -> tuple[bytes, m.Evidence | Exception]:
        """A picture into its folder, before and outside the transaction that says so: a slow disk
        for pictures must not hold up results."""
        try:
            evidence = wire.EVIDENCE_TO_STATION.decode(frame)
            if text := why_impostor(evidence, sender, None):
                return peer, NotAuthorised(text)
            self._evidence.put(evidence.sha256, evidence.data, ok=evidence.ok is True)
        except (WireError, StoreError) as error:
            return peer, error
        return peer, evidence

    def _record_evidence(self, peer: bytes, picture: m.Evidence | Exception) -> None:
        if isinstance(picture, WireError):
            self._refuse_frame("evidence", peer, picture)
        elif isinstance(picture, NotAuthorised):
            self._refuse_impostor("evidence", peer, 0, str(picture))
        elif isinstance(picture, m.Evidence):
            self._store.add_evidence(
                picture.sha256, picture.edge, picture.media_type, len(picture.data)
            )
            self._say("evidence", peer, m.EvidenceStored(sha256=picture.sha256))
        else:
            text = str(picture)[:500]
            self._say("evidence", peer, m.Refused(fault=Fault.STORE_FAILED, text=text))

    # ----------------------------------------------------------------------------------- PLC

    def _status(self, beat: m.Heartbeat, last_seq: int) -> m.Status:
        self._heartbeat += 1
        fault, text = self._why_not_ready()
        return m.Status(
            counter=beat.counter,
            heartbeat=self._heartbeat,
            ready=fault is Fault.NONE,
            fault=fault,
            text=text,
            last_seq=last_seq,
            service_level=service_level(fault, degraded=self._catching_up()),
        )

    def _catching_up(self) -> bool:
        """Whether an edge is still handing in its backlog: nothing is ordered from it so long."""
        return any(not session.drained for session in self._sessions.values())

    def _request(self, peer: bytes, request: m.Begin | m.TriggerView | m.End | m.Ack) -> None:
        """A request that changes something: the same number gets the same answer, for ever."""
        digest = hashlib.sha256(msgspec.msgpack.encode(request)).hexdigest()
        known = self._store.request(request.plc, request.seq)
        if known is not None and known[0] == digest:
            if known[1] is not None:
                self._out.append(("plc", peer, known[1]))
            elif isinstance(request, m.TriggerView):
                self._say("plc", peer, self._acquired(request))
            return
        last = self._store.last_seq(request.plc)
        if known is not None or request.seq <= last:
            text = f"sequence number {request.seq} was used before: the next is {last + 1}"
            self._store.add_event("request_refused", f"PLC {request.plc}: {text}")
            refusal = m.Refusal(seq=request.seq, fault=Fault.SEQ_REUSED, text=text)
            self._say("plc", peer, refusal)
            return
        if request.seq > last + LARGEST_STEP:
            text = f"sequence number {request.seq} is far above the last one, {last}"
            refusal = m.Refusal(seq=request.seq, fault=Fault.SEQ_TOO_HIGH, text=text)
            self._say("plc", peer, refusal)
            return
        answer: Any
        match request:
            case m.Begin():
                answer = self._begin(request)
            case m.TriggerView():
                answer = self._trigger(request)
            case m.End():
                answer = self._end(request)
            case m.Ack():
                answer = self._acknowledge(request)
        if isinstance(answer, m.Refusal):
            text = f"PLC {request.plc}, {type(request).__name__}: {answer.text}"
            self._store.add_event("request_refused", text, answer.run)
            self._log.warning("request refused", plc=request.plc, text=answer.text)
        frame = wire.STATION_TO_PLC.encode(answer)
        if not (isinstance(request, m.End) and isinstance(answer, m.Busy)):
            fixed = not isinstance(answer, m.Acquired | m.Busy)
            self._store.add_request(request.plc, request.seq, digest, frame if fixed else None)
        self._out.append(("plc", peer, frame))

    def _begin(self, begin: m.Begin) -> m.Begun | m.Refusal:
        plan = self._plans.get(begin.plan)
        if plan is None:
            known = ", ".join(sorted(self._plans))
            text = f"there is no plan {begin.plan}, only {known}"[:500]
            return m.Refusal(seq=begin.seq, fault=Fault.UNKNOWN_PLAN, text=text)
        already = self._ledger.run_of_part(begin.part)
        if already is not None:
            text = f"part {begin.part} already has the open run {already}"
            return m.Refusal(seq=begin.seq, fault=Fault.RUN_OPEN, text=text, run=already)
        covers = self._covered(begin, plan)
        if isinstance(covers, m.Refusal):
            return covers
        for before in [r for r, plc in self._plc_of_run.items() if plc == begin.plc]:
            # The part before this one no longer stands there: no more pictures of it.
            self._store.add_trigger(before, ALL_VIEWS)
            self._do(RunStopped(before, part_left=True))
        earlier = None if begin.repair_of is UNSET else begin.repair_of
        taken: tuple[Entry, ...] = ()
        if earlier is not None and covers is not None:
            taken = carried(plan, self._desk.history(earlier).looks, covers)
        limit = self._guard.limit(plan, begin.part, self._now_ns)
        run = secrets.token_hex(8)
        deadline = self._now_ns + plan.deadline_ms * 1_000_000
        self._store.add_run(run, begin.part, plan, begin.plc, deadline)
        lasting = limit if limit in LASTING else Reason.NONE
        if plan.is_challenge(begin.part):
            lasting = Reason.CHALLENGE_PART  # also while the line is bypassed
        terms = Terms(earlier, covers, lasting)
        if terms != Terms():
            self._store.add_terms(run, terms)
        self._plc_of_run[run] = begin.plc
        self._do(RunOpened(run, begin.part, plan, deadline, taken, limit))
        views = [v.id for v in plan.views if covers and covers & _ids(plan, v.id)]
        return m.Begun(
            seq=begin.seq,
            run=run,
            part=begin.part,
            plan=plan.name,
            plan_hash=plan.hash,
            planned=len(plan.points),
            deadline_ms=plan.deadline_ms,
            repair_of=begin.repair_of,
            covered=UNSET if covers is None else len(covers),
            views=UNSET if covers is None else tuple(views),
        )

    def _covered(self, begin: m.Begin, plan: Plan) -> frozenset[str] | m.Refusal | None:
        """The points a re-inspection looks at, None for a whole run. It goes on only from the
        part's latest run, of the very same plan, whose record holds: what it does not look at must
        be known as surely as what it does."""
        if begin.repair_of is UNSET:
            if begin.points is UNSET:
                return None
            why = "points go with repair_of, the run they were inspected in before"
        else:
            earlier = begin.repair_of
            facts = self._store.run_facts(earlier)
            if facts is None or facts.part != begin.part:
                why = f"there is no run {earlier} of part {begin.part}"
            elif self._store.latest_run(begin.part) != earlier:
                why = f"run {earlier} is not the latest of part {begin.part}"
            elif facts.plan_hash != plan.hash:
                why = f"run {earlier} was of another version of the plan"
            elif self._store.terms(earlier).limit in LASTING:
                why = f"run {earlier} was not guarded by a challenge"
            elif (before := self._desk.intact_history(earlier)) is None:
                why = f"the record of run {earlier} was changed"
            else:
                points = not_ok(plan, before.looks) if begin.points is UNSET else begin.points
                strange = set(points) - {point.id for point in plan.points}
                if points and not strange:
                    return frozenset(points)
                why = f"every point of run {earlier} is OK"
                if strange:
                    why = f"the plan has no point {min(strange)}"
        text = f"{why}: begin a whole run"[:500]
        return m.Refusal(seq=begin.seq, fault=Fault.NOT_REINSPECTABLE, text=text)

    def _refusal(self, seq: int, refuse: Refuse) -> m.Refusal:
        return m.Refusal(seq=seq, fault=refuse.fault, text=refuse.text, run=refuse.run)

    def _no_run(self, seq: int, run: str) -> m.Refusal:
        known = self._store.run_facts(run) is not None
        fault = Fault.RUN_CLOSED if known else Fault.UNKNOWN_RUN
        text = f"run {run} is closed" if known else f"there is no run {run}"
        return m.Refusal(seq=seq, fault=fault, text=text, run=run if known else None)

    def _trigger(self, request: m.TriggerView) -> m.Acquired | m.Busy | m.Refusal:
        if not self._ledger.is_open(request.run):
            return self._no_run(request.seq, request.run)
        plan = self._ledger.plan(request.run)
        known = any(view.id == request.view for view in plan.views)
        if known and not self._ledger.needs(request.run, request.view):
            text = f"no point of view {request.view} is looked at in this run"
            return m.Refusal(seq=request.seq, fault=Fault.UNKNOWN_VIEW, text=text, run=request.run)
        first = (
            known and self._ledger.view_state(request.run, request.view) is ViewState.UNTRIGGERED
        )
        if first:
            self._store.add_trigger(request.run, request.view)
        for instruction in self._do(ViewTriggered(request.run, request.view)):
            if isinstance(instruction, Refuse):
                return self._refusal(request.seq, instruction)
        return self._acquired(request)

    def _acquired(self, request: m.TriggerView) -> m.Acquired | m.Busy | m.Refusal:
        """How far a triggered view has come."""
        run, view = request.run, request.view
        opened = self._ledger.is_open(run)
        frame = self._ledger.frame(run, view) if opened else self._store.frame_of(run, view)
        if frame:
            return m.Acquired(seq=request.seq, run=run, view=view, frame=frame)
        if not opened:
            return self._no_run(request.seq, run)
        if self._ledger.view_state(run, view) in (ViewState.DONE, ViewState.CLOSED):
            text = f"view {view} could not be photographed"
            return m.Refusal(seq=request.seq, fault=Fault.VIEW_FAILED, text=text, run=run)
        return m.Busy(seq=request.seq, run=run)

    def _end(self, request: m.End) -> m.Ended | m.Busy | m.Refusal:
        if not self._ledger.is_open(request.run):
            if self._store.run_facts(request.run) is None:
                return self._no_run(request.seq, request.run)
            return m.Ended(seq=request.seq, run=request.run)
        if self._ledger.exposing(request.run):
            return m.Busy(seq=request.seq, run=request.run)
        self._store.add_trigger(request.run, ALL_VIEWS)
        self._do(RunStopped(request.run))
        return m.Ended(seq=request.seq, run=request.run)

    def _verdict(self, request: m.GetVerdict) -> m.PartVerdict | m.Refusal:
        run = request.run or self._store.latest_run(request.part)
        facts = None if run is None else self._store.run_facts(run)
        if facts is None or facts.part != request.part:
            text = f"there is no run {run or ''} of part {request.part}".replace("  ", " ")
            return m.Refusal(seq=request.seq, fault=Fault.UNKNOWN_RUN, text=text)
        stored = self._store.latest_verdict(facts.run)
        balance = self._ledger.balance(facts.run) if stored is None else stored.balance
        verdict = None if stored is None else stored.verdict
        basis = None if stored is None else self._store.basis(stored.verdict_seq)
        if basis is None:
            basis = Basis(balance.ok, 0)
        return m.PartVerdict(
            seq=request.seq,
            run=facts.run,
            part=facts.part,
            plan=facts.plan_name,
            plan_hash=facts.plan_hash,
            verdict_seq=0 if stored is None else stored.verdict_seq,
            result_valid=verdict is not None,
            ok=verdict is RunVerdict.OK,
            nok=verdict is RunVerdict.NOK,
            hold=verdict is RunVerdict.HOLD,
            planned=balance.planned,
            points_ok=balance.ok,
            points_nok=balance.nok,
            points_review=balance.review,
            points_not_inspected=balance.not_inspected,
            points_open=balance.open,
            ok_by_machine=basis.ok_by_machine,
            ok_by_person=basis.ok_by_person,
            held_because=basis.limit,
        )

    def _acknowledge(self, ack: m.Ack) -> m.Acknowledged | m.Refusal:
        stored = self._store.latest_verdict(ack.run)
        if stored is None:
            text = f"run {ack.run} has no verdict"
            return m.Refusal(seq=ack.seq, fault=Fault.NO_VERDICT, text=text)
        if stored.verdict_seq != ack.verdict_seq:
            text = f"the latest verdict of run {ack.run} is {stored.verdict_seq}: ask for it"
            return m.Refusal(seq=ack.seq, fault=Fault.STALE_VERDICT, text=text, run=ack.run)
        self._store.acknowledge(ack.verdict_seq, ack.plc)
        return m.Acknowledged(seq=ack.seq, run=ack.run, verdict_seq=ack.verdict_seq)


def _ids(plan: Plan, view: str) -> frozenset[str]:
    return frozenset(point.id for point in plan.points_of(view))


def _ready(state: m.ModelState) -> set[m.ModelRef]:
    """The packages of a name that an edge can judge with at this moment."""
    also = () if state.also is UNSET else state.also
    return {ref for ref in (state.ref, *also) if ref is not None}


def _is_ready(session: _Session, name: str, ref: m.ModelRef) -> bool:
    return any(state.name == name and ref in _ready(state) for state in session.models)
