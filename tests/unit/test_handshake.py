"""The table of the handshake is what a real station does, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from samples import RUN
from test_station import OUTBOX, Bench
from test_station_attacked import one, two_views

from inspection import messages as m
from inspection import wire
from inspection.ledger import ViewState
from inspection.messages import Fault, RunVerdict, Verdict
from inspection.station import handshake
from inspection.station.handshake import (
    BANDS,
    DEGRADED,
    NO_STORE,
    NOT_READY,
    READY,
    TABLE,
    TIME_OUTS,
    Answer,
    Event,
    Never,
    State,
    service_level,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "plc.md"
ORDER = list(State)
CELLS = [
    pytest.param(state, event, id=f"{state.name}-{event.name}")
    for state, row in TABLE.items()
    for event, cell in row.items()
    if not isinstance(cell, Never)
]


class Line:
    """A station with a plan of two views that the PLC triggers, and the way into every state."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, two_views())
        self.run = ""
        self.record = 0
        self.last = b""

    def close(self) -> None:
        self.repair()
        self.bench.store.close()

    # ------------------------------------------------------------------------------ the way in

    def reach(self, state: State) -> None:
        """Through all states before it, as a part goes through them."""
        self.bench.hello()
        steps = {
            State.RUN_OPEN: self.begin,
            State.EXPOSING: lambda: self.trigger("v0"),
            State.MOVING: lambda: self.frame("v0"),
            State.JUDGING: lambda: (self.trigger("v1"), self.frame("v1")),
            State.RESULT_VALID: lambda: (self.result("v0"), self.result("v1")),
            State.ACKED: lambda: self.ack(self.verdict_seq()),
        }
        if state is State.FAULT:
            self.begin()
            self.break_store()
            return
        for name in ORDER[1 : ORDER.index(state) + 1]:
            steps[name]()

    def observe(self) -> State:
        """The state, from what the station holds and what is on record."""
        station = self.bench.station
        if station.not_ready()[0] is Fault.STORE_FAILED:
            return State.FAULT
        if not self.run:
            return State.IDLE
        ledger = station._ledger
        if not ledger.is_open(self.run):
            run = next(run for run in self.bench.reader.runs() if run.run == self.run)
            return State.ACKED if run.acknowledged else State.RESULT_VALID
        if ledger.exposing(self.run):
            return State.EXPOSING
        views = [ledger.view_state(self.run, view) for view in ("v0", "v1")]
        if ViewState.UNTRIGGERED not in views:
            return State.JUDGING
        return State.RUN_OPEN if set(views) == {ViewState.UNTRIGGERED} else State.MOVING

    # --------------------------------------------------------------------------------- events

    def say(self, message: Any) -> list[Any]:
        """To the PLC's socket; what the station sends to that socket."""
        self.last = wire.PLC_TO_STATION.encode(message)
        return self.resend()

    def resend(self) -> list[Any]:
        return self.work(("plc", b"plc", self.last))

    def work(self, *frames: tuple[str, bytes, bytes]) -> list[Any]:
        sent = self.bench.station.work(frames)
        return [wire.STATION_TO_PLC.decode(f) for socket, _, f in sent if socket == "plc"]

    def ask(self, kind: Any, **fields: Any) -> list[Any]:
        self.bench.seq += 1
        return self.say(kind(plc="plc-1", seq=self.bench.seq, **fields))

    def edge(self, message: Any) -> list[Any]:
        return self.work(("edge", b"edge", wire.EDGE_TO_STATION.encode(message)))

    def begin(self, part: str = "part-1") -> list[Any]:
        answers = self.ask(m.Begin, part=part, plan=self.bench.plan.name)
        self.run = next((a.run for a in answers if isinstance(a, m.Begun)), self.run)
        return answers

    def trigger(self, view: str) -> list[Any]:
        return self.ask(m.TriggerView, run=self.run or RUN, view=view)

    def frame(self, view: str) -> list[Any]:
        return self.edge(m.FrameTaken(run=self.run, view=view, attempt=1, frame=f"{view} 1"))

    def result(self, view: str) -> list[Any]:
        point = {"v0": "p0", "v1": "p1"}[view]
        raw = wire.RECORD.encode(one(self.bench, self.run, point, Verdict.OK, view))
        self.record += 1
        nonce = self.bench.nonce
        return self.edge(
            m.Results(outbox=OUTBOX, nonce=nonce, first_seq=self.record, records=(raw,))
        )

    def verdict_seq(self) -> int:
        (answer,) = self.ask(m.GetVerdict, part="part-1", run=self.run)
        return int(answer.verdict_seq)

    def ack(self, verdict_seq: int) -> list[Any]:
        return self.ask(m.Ack, run=self.run or RUN, verdict_seq=verdict_seq)

    def break_store(self) -> list[Any]:
        """The file is no longer where it was: nothing can be committed."""
        path = self.bench.folder / "station.db"
        path.rename(path.with_suffix(".away"))
        return self.work()

    def repair(self) -> list[Any]:
        path = self.bench.folder / "station.db"
        if path.with_suffix(".away").exists():
            path.with_suffix(".away").rename(path)
        return self.work()

    def revise(self) -> list[Any]:
        with self.bench.store.transaction():
            stored = self.bench.store.latest_verdict(self.run)
            assert stored is not None
            self.bench.store.add_verdict(self.run, RunVerdict.HOLD, stored.balance)
        return self.work()

    def deadline(self) -> list[Any]:
        self.bench.clock.advance(ms=self.bench.plan.deadline_ms)
        return self.work()

    def restart(self) -> list[Any]:
        self.bench.restart()
        return self.work()

    def happen(self, state: State, event: Event) -> list[Any]:
        """Let an event happen; returns what the PLC gets to read."""
        if state is State.EXPOSING and event in (Event.LAST_FRAME, Event.SETTLED):
            self.trigger("v1")
        if event is Event.LAST_FRAME and state is State.EXPOSING:
            self.frame("v0")
        if event is Event.SETTLED and state in (State.EXPOSING, State.JUDGING):
            self.result("v0")
        begun = "part-1" if state in (State.IDLE, State.RESULT_VALID, State.ACKED) else "part-2"
        again = "v1" if state in (State.JUDGING, State.RESULT_VALID, State.ACKED) else "v0"
        first = "v0" if state in (State.IDLE, State.RUN_OPEN) else "v1"
        ways = {
            Event.HEARTBEAT: lambda: self.say(m.Heartbeat(plc="plc-1", counter=1)),
            Event.BEGIN: lambda: self.begin(begun),
            Event.BEGIN_OPEN: lambda: self.begin("part-1"),
            Event.TRIGGER: lambda: self.trigger(first),
            Event.TRIGGER_AGAIN: lambda: self.trigger(again),
            Event.END: lambda: self.ask(m.End, run=self.run or RUN),
            Event.GET_VERDICT: lambda: self.ask(m.GetVerdict, part="part-1", run=self.run or None),
            Event.ACK: lambda: self.ack(self.latest()),
            Event.ACK_OTHER: lambda: self.ack(self.latest() + 1),
            Event.FRAME: lambda: self.frame("v0"),
            Event.LAST_FRAME: lambda: self.frame("v1"),
            Event.SETTLED: lambda: self.result("v1"),
            Event.DEADLINE: self.deadline,
            Event.REVISED: self.revise,
            Event.RESTART: self.restart,
            Event.STORE_FAILS: self.break_store,
            Event.STORE_WORKS: self.repair,
        }
        return ways[event]()

    def latest(self) -> int:
        """The number of the latest verdict, without asking the station; 1 where there is none."""
        runs = self.bench.reader.runs() if self.observe() is not State.FAULT else []
        return max((run.verdict_seq or 1 for run in runs), default=1)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    made = Line(tmp_path)
    yield made
    made.close()


def said(answers: list[Any], *, to_a_question: bool) -> Answer:
    """The one answer: to a question the message that answers it, else the hint, if any."""
    wanted = [a for a in answers if isinstance(a, m.VerdictReady) != to_a_question]
    assert len(wanted) <= 1, wanted
    if not wanted:
        return handshake.SILENCE
    return Answer(type(wanted[0]).__name__, getattr(wanted[0], "fault", Fault.NONE))


QUESTIONS = [
    Event.HEARTBEAT,
    Event.BEGIN,
    Event.BEGIN_OPEN,
    Event.TRIGGER,
    Event.TRIGGER_AGAIN,
    Event.END,
    Event.GET_VERDICT,
    Event.ACK,
    Event.ACK_OTHER,
]


@pytest.mark.parametrize("state", TABLE)
def test_the_way_into_every_state_leads_there(line: Line, state: State) -> None:
    line.reach(state)
    assert line.observe() is state


@pytest.mark.parametrize(("state", "event"), CELLS)
def test_a_cell_of_the_table_is_what_the_station_does(
    line: Line, state: State, event: Event
) -> None:
    cell = TABLE[state][event]
    assert not isinstance(cell, Never)
    line.reach(state)
    answers = line.happen(state, event)
    answer = said(answers, to_a_question=event in QUESTIONS)
    if answer.type == "Status":
        answer = Answer("Status")
    assert (answer, line.observe()) == (cell.answer, cell.state)


@pytest.mark.parametrize(
    ("state", "event"), [cell for cell in CELLS if cell.values[1] in QUESTIONS[1:]]
)
def test_fault_48_a_request_repeated_in_any_state_gets_the_same_answer_and_changes_nothing(
    line: Line, state: State, event: Event
) -> None:
    line.reach(state)
    first = [a for a in line.happen(state, event) if not isinstance(a, m.VerdictReady)]
    before = line.observe(), line.bench.reader.counts() if state is not State.FAULT else None
    assert line.resend() == line.resend() == first
    assert (line.observe(), line.bench.reader.counts() if before[1] else None) == before


def test_every_state_has_a_cell_for_every_event() -> None:
    assert set(TABLE) == set(State)
    for state, row in TABLE.items():
        assert set(row) == set(Event), state


def test_every_state_has_a_time_out() -> None:
    assert {entry.state for entry in TIME_OUTS} == set(State)


@pytest.mark.parametrize("state", [s for s in State if s is not State.FAULT])
def test_a_store_that_fails_and_works_again_leaves_the_handshake_where_a_restart_does(
    line: Line, state: State
) -> None:
    line.reach(state)
    line.break_store()
    assert line.observe() is State.FAULT
    line.repair()
    restarted = TABLE[state][Event.RESTART]
    assert not isinstance(restarted, Never)
    assert line.observe() is restarted.state


# ------------------------------------------------------------------------------ service level


def status(line: Line) -> m.Status:
    (answer,) = line.say(m.Heartbeat(plc="plc-1", counter=1))
    assert isinstance(answer, m.Status)
    return answer


def test_the_service_level_says_how_much_may_be_expected(line: Line) -> None:
    assert status(line).service_level == NOT_READY
    line.bench.hello()
    assert (status(line).ready, status(line).service_level) == (True, READY)
    line.bench.nonce = "3" * 32
    line.bench.hello(nonce=line.bench.nonce, next_seq=3)
    assert (status(line).ready, status(line).service_level) == (True, DEGRADED)
    line.break_store()
    assert (status(line).ready, status(line).service_level) == (False, NO_STORE)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("degraded", [False, True])
def test_only_a_station_without_fault_is_ready(fault: Fault, degraded: bool) -> None:
    level = service_level(fault, degraded=degraded)
    assert level in {band.level for band in BANDS}
    assert (level >= DEGRADED) == (fault is Fault.NONE)
    assert (level == NO_STORE) == (fault is Fault.STORE_FAILED)


# ----------------------------------------------------------------------------------- the page


def test_the_page_is_generated_from_the_table() -> None:
    """`inspection schemas` brings it up to date."""
    page = PAGE.read_text("utf-8")
    assert handshake.fill(page) == page


def test_a_page_without_a_block_is_refused() -> None:
    page = PAGE.read_text("utf-8")
    with pytest.raises(ValueError, match="chart"):
        handshake.fill(page.replace("<!-- generated: chart -->", ""))


def test_the_chart_names_every_state_and_only_cells_of_the_table() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (.*)$", handshake.chart(), flags=re.MULTILINE)
    assert {name for arrow in arrows for name in arrow[:2]} == {state.name for state in State}
    for source, target, labels in arrows:
        for label in labels.split(", "):
            cell = TABLE[State[source]][Event[label.split(" / ")[0]]]
            assert not isinstance(cell, Never)
            assert cell.state is State[target]
