"""Law 1 after every event, whatever the order of events: a Hypothesis state machine."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from inspection.ledger import (
    AnswersConflict,
    CloseRun,
    EdgeGone,
    EdgeReady,
    Entry,
    Event,
    FrameArrived,
    Ledger,
    PlaceOrder,
    RecordAbsence,
    Refuse,
    RunOpened,
    RunStopped,
    Tick,
    ViewAnswered,
    ViewTriggered,
    settle,
)
from inspection.messages import OrderRef, Reason, Region, RunVerdict, Severity, Verdict
from inspection.plan import Kind, Plan, Point, Trigger, View

VIEWS = ("v0", "v1", "v2")
CAMERAS = {"v0": "c0", "v1": "c0", "v2": "c1"}
EDGES = {"e0": ("c0",), "e1": ("c1",)}
POINTS = 3
DEADLINE = 100

PLAN = Plan(
    name="plan",
    version="1",
    deadline_ms=1000,
    views=tuple(
        View(
            id=view,
            camera=CAMERAS[view],
            width_px=10,
            height_px=10,
            trigger=Trigger.PLC if view == "v1" else Trigger.STATION,
        )
        for view in VIEWS
    ),
    kinds={"weld": Kind(model="m")},
    points=tuple(
        Point(
            id=f"{view}p{number}",
            view=view,
            kind="weld",
            region=Region(left_px=0, top_px=0, width_px=10, height_px=10),
            severity=Severity.MAJOR,
        )
        for view in VIEWS
        for number in range(POINTS)
    ),
)

ENTRY = st.sampled_from(
    [
        (Verdict.OK, Reason.NONE),
        (Verdict.OK, Reason.NONE),
        (Verdict.NOK, Reason.DEFECT),
        (Verdict.REVIEW, Reason.UNCERTAIN),
        (Verdict.NOT_INSPECTED, Reason.NO_IMAGE),
    ]
)


class LedgerMachine(RuleBasedStateMachine):
    """The model is a plain list of everything said of each point; the ledger must agree with it."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.now = 0
        self.runs = 0
        self.deadlines: dict[str, int] = {}
        self.said: dict[str, dict[str, list[Entry]]] = {}
        self.closed: dict[str, CloseRun] = {}
        self.orders: list[PlaceOrder] = []

    def do(self, event: Event) -> None:
        for instruction in self.ledger.handle(event, self.now):
            match instruction:
                case PlaceOrder():
                    ref = (instruction.run, instruction.view, instruction.attempt)
                    assert ref not in {(o.run, o.view, o.attempt) for o in self.orders}
                    assert instruction.points
                    self.orders.append(instruction)
                case RecordAbsence():
                    for entry in instruction.entries:
                        assert entry.verdict is Verdict.NOT_INSPECTED
                        assert entry.reason is not Reason.NONE
                        self.said[instruction.run].setdefault(entry.point, []).append(entry)
                case CloseRun():
                    assert instruction.run not in self.closed
                    self.closed[instruction.run] = instruction
                case Refuse():
                    pass

    def open_orders(self) -> list[PlaceOrder]:
        return [order for order in self.orders if self.ledger.is_open(order.run)]

    @rule(part=st.sampled_from(["A", "B"]))
    def begin(self, part: str) -> None:
        run = f"r{self.runs}"
        self.runs += 1
        before = set(self.ledger.open_runs)
        self.deadlines[run] = self.now + DEADLINE
        self.said[run] = {}
        self.do(RunOpened(run, part, PLAN, self.now + DEADLINE))
        if run not in self.ledger.open_runs:
            assert any(self.ledger.part(other) == part for other in before if other in self.said)
            del self.said[run], self.deadlines[run]

    @rule(edge=st.sampled_from(sorted(EDGES)), data=st.data())
    def connect(self, edge: str, data: st.DataObject) -> None:
        mine = [o for o in self.open_orders() if o.edge == edge]
        kept = data.draw(st.lists(st.sampled_from(mine), unique=True) if mine else st.just([]))
        working = tuple(OrderRef(run=o.run, view=o.view, attempt=o.attempt) for o in kept)
        self.do(EdgeReady(edge, EDGES[edge], working))

    @rule(edge=st.sampled_from(sorted(EDGES)))
    def disconnect(self, edge: str) -> None:
        self.do(EdgeGone(edge))

    @precondition(lambda self: self.ledger.open_runs)
    @rule(data=st.data(), view=st.sampled_from(VIEWS))
    def trigger(self, data: st.DataObject, view: str) -> None:
        run = data.draw(st.sampled_from(self.ledger.open_runs))
        self.do(ViewTriggered(run, view))

    @precondition(lambda self: self.open_orders())
    @rule(data=st.data())
    def frame(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.open_orders()))
        self.do(FrameArrived(order.run, order.view, order.attempt, "1"))

    @precondition(lambda self: self.open_orders())
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.open_orders()))
        self.orders.remove(order)
        entries = []
        for point in order.points:
            verdict, reason = data.draw(ENTRY)
            entries.append(Entry(point, verdict, reason))
            self.said[order.run].setdefault(point, []).append(entries[-1])
        self.do(ViewAnswered(order.run, order.view, order.attempt, "1", tuple(entries)))

    @precondition(lambda self: self.ledger.open_runs)
    @rule(data=st.data(), point=st.sampled_from([point.id for point in PLAN.points]))
    def conflict(self, data: st.DataObject, point: str) -> None:
        run = data.draw(st.sampled_from(self.ledger.open_runs))
        self.do(AnswersConflict(run, (point,)))

    @precondition(lambda self: self.ledger.open_runs)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        self.do(RunStopped(data.draw(st.sampled_from(self.ledger.open_runs))))

    @rule(passes=st.integers(1, 60))
    def wait(self, passes: int) -> None:
        self.now += passes
        self.do(Tick())

    @invariant()
    def law_1_holds_for_every_open_run(self) -> None:
        for run in self.ledger.open_runs:
            balance = self.ledger.balance(run)
            assert balance.exact
            assert balance.planned == len(PLAN.points)
            assert balance.open == balance.planned - len(self.said[run])

    @invariant()
    def a_closed_run_has_nothing_open_and_its_verdict_follows_from_what_was_said(self) -> None:
        for run, close in self.closed.items():
            assert close.balance.exact
            assert close.balance.open == 0
            settled = [settle(self.said[run][point.id]) for point in PLAN.points]
            tally = [entry.verdict for entry in settled if entry is not None]
            assert tally.count(Verdict.OK) == close.balance.ok
            assert tally.count(Verdict.NOK) == close.balance.nok
            assert (close.verdict is RunVerdict.OK) == all(v is Verdict.OK for v in tally)
            assert (close.verdict is RunVerdict.NOK) == (Verdict.NOK in tally)

    @invariant()
    def no_run_outlives_its_deadline(self) -> None:
        for run in self.ledger.open_runs:
            assert self.deadlines[run] > self.now

    @invariant()
    def every_point_ever_said_defective_keeps_its_run_from_being_ok(self) -> None:
        for run, close in self.closed.items():
            bad = any(
                entry.verdict in (Verdict.NOK, Verdict.REVIEW)
                for entries in self.said[run].values()
                for entry in entries
            )
            if bad:
                assert close.verdict is not RunVerdict.OK


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLedger = LedgerMachine.TestCase
