"""The handshake between PLC and station as one table, and the service level. Pure.

`TABLE` has a row for every state and every event: what the station answers and where it stands
afterwards. The page for controls engineers (docs/plc.md) shows the chart and the tables that are
generated from it, and a test drives a real station into every state and through every event.

A state is that of one PLC with the run it began last. Frames the PLC sends again (the same request
under the same number) are no events: they get the same answer and change nothing, in any state.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NamedTuple

from inspection.messages import Fault


class State(enum.Enum):
    """Where a PLC stands with the run it began last; the value says it in words."""

    IDLE = "no run yet"
    RUN_OPEN = "every planned point has its row; no picture is ordered yet"
    EXPOSING = "a picture may be being taken: the part must stand still"
    MOVING = "a picture has been taken, and others are to come: the robot may move"
    JUDGING = "all pictures are taken or written off; points are still open"
    RESULT_VALID = "the run is closed and its verdict is offered"
    ACKED = "the PLC has taken the verdict"
    FAULT = "the store has failed: nothing is promised, only heartbeats are answered"


class Event(enum.Enum):
    """What the PLC says (a message with a new number), or what happens at the station."""

    HEARTBEAT = "Heartbeat"
    BEGIN = "Begin for another part, or for this part after its run has closed"
    BEGIN_OPEN = "Begin for the part whose run is open"
    TRIGGER = "TriggerView of a view not yet triggered"
    TRIGGER_AGAIN = "TriggerView of the view triggered last, under a new number"
    END = "End"
    GET_VERDICT = "GetVerdict"
    ACK = "Ack of the latest verdict"
    ACK_OTHER = "Ack of any other verdict"
    FRAME = "the picture has been taken, and is not the last"
    LAST_FRAME = "the last picture has been taken"
    SETTLED = "the last open point has its result"
    DEADLINE = "the plan's deadline passes"
    REVISED = "a person's decision gives the run another verdict, with a higher number"
    RESTART = "the station is restarted"
    STORE_FAILS = "the store fails while something is written"
    STORE_WORKS = "the store works again"


class Answer(NamedTuple):
    """A message by its type, with the fault where it is a `Refusal`; `SILENCE` is no message."""

    type: str
    fault: Fault = Fault.NONE

    def __str__(self) -> str:
        return self.type if self.fault is Fault.NONE else f"✗ {self.fault.name}"


SILENCE = Answer("")
STATUS = Answer("Status")
BEGUN = Answer("Begun")
BUSY = Answer("Busy")
ACQUIRED = Answer("Acquired")
ENDED = Answer("Ended")
VERDICT = Answer("PartVerdict")
HINT = Answer("VerdictReady")
ACKNOWLEDGED = Answer("Acknowledged")


def _refused(fault: Fault) -> Answer:
    return Answer("Refusal", fault)


class Step(NamedTuple):
    """What the station answers, and the state after it."""

    answer: Answer
    state: State


class Never(NamedTuple):
    """Why an event cannot happen in a state."""

    why: str


NO_RUN = Never("there is no run to name")
NO_VIEW = Never("no view has been triggered")
NO_SUCH_VIEW = Never("every view has been triggered")
NOT_OPEN = Never("the part has no open run")
NO_PICTURE = Never("no picture is being taken, or not the last")
NO_POINT = Never("pictures are to come, or no point is open")
NO_RESULT = Never("there is no verdict yet")
NO_DEADLINE = Never("no run is open")
STORE_FINE = Never("the store works")
STORE_DOWN = Never("the store has failed already")

_ALWAYS: Mapping[Event, Step | Never] = {
    Event.STORE_FAILS: Step(SILENCE, State.FAULT),
    Event.STORE_WORKS: STORE_FINE,
}


def _row(state: State, cells: Mapping[Event, Step | Never]) -> dict[Event, Step | Never]:
    """A row with what is the same in every state but FAULT."""
    return {
        **_ALWAYS,
        Event.HEARTBEAT: Step(STATUS, state),
        Event.RESTART: Step(SILENCE, state),
        **cells,
    }


def _open(state: State, cells: Mapping[Event, Step | Never]) -> dict[Event, Step | Never]:
    """A row with what is the same while a run is open."""
    return _row(
        state,
        {
            # The part before has left: what was not yet photographed of it is written off.
            Event.BEGIN: Step(BEGUN, State.RUN_OPEN),
            Event.BEGIN_OPEN: Step(_refused(Fault.RUN_OPEN), state),
            Event.GET_VERDICT: Step(VERDICT, state),
            Event.ACK: NO_RESULT,
            Event.ACK_OTHER: Step(_refused(Fault.NO_VERDICT), state),
            Event.FRAME: NO_PICTURE,
            Event.LAST_FRAME: NO_PICTURE,
            Event.SETTLED: NO_POINT,
            Event.DEADLINE: Step(HINT, State.RESULT_VALID),
            Event.REVISED: NO_RESULT,
            **cells,
        },
    )


def _closed(state: State) -> dict[Event, Step | Never]:
    """A row with what is the same once a run is closed."""
    return _row(
        state,
        {
            Event.BEGIN: Step(BEGUN, State.RUN_OPEN),
            Event.BEGIN_OPEN: NOT_OPEN,
            Event.TRIGGER: NO_SUCH_VIEW,
            Event.TRIGGER_AGAIN: Step(_refused(Fault.RUN_CLOSED), state),
            Event.END: Step(ENDED, state),
            Event.GET_VERDICT: Step(VERDICT, state),
            Event.ACK: Step(ACKNOWLEDGED, State.ACKED),
            Event.ACK_OTHER: Step(_refused(Fault.STALE_VERDICT), state),
            Event.FRAME: NO_PICTURE,
            Event.LAST_FRAME: NO_PICTURE,
            Event.SETTLED: NO_POINT,
            Event.DEADLINE: NO_DEADLINE,
            Event.REVISED: Step(SILENCE, State.RESULT_VALID),
        },
    )


TABLE: Mapping[State, Mapping[Event, Step | Never]] = {
    State.IDLE: _row(
        State.IDLE,
        {
            Event.BEGIN: Step(BEGUN, State.RUN_OPEN),
            Event.BEGIN_OPEN: NOT_OPEN,
            Event.TRIGGER: Step(_refused(Fault.UNKNOWN_RUN), State.IDLE),
            Event.TRIGGER_AGAIN: NO_VIEW,
            Event.END: Step(_refused(Fault.UNKNOWN_RUN), State.IDLE),
            Event.GET_VERDICT: Step(_refused(Fault.UNKNOWN_RUN), State.IDLE),
            Event.ACK: NO_RESULT,
            Event.ACK_OTHER: Step(_refused(Fault.NO_VERDICT), State.IDLE),
            Event.FRAME: NO_PICTURE,
            Event.LAST_FRAME: NO_PICTURE,
            Event.SETTLED: NO_POINT,
            Event.DEADLINE: NO_DEADLINE,
            Event.REVISED: NO_RESULT,
        },
    ),
    State.RUN_OPEN: _open(
        State.RUN_OPEN,
        {
            Event.TRIGGER: Step(BUSY, State.EXPOSING),
            Event.TRIGGER_AGAIN: NO_VIEW,
            # What was never photographed is written off, so that nothing is open any more.
            Event.END: Step(ENDED, State.RESULT_VALID),
        },
    ),
    State.EXPOSING: _open(
        State.EXPOSING,
        {
            Event.TRIGGER: Step(BUSY, State.EXPOSING),
            Event.TRIGGER_AGAIN: Step(BUSY, State.EXPOSING),
            Event.END: Step(BUSY, State.EXPOSING),
            Event.FRAME: Step(SILENCE, State.MOVING),
            Event.LAST_FRAME: Step(SILENCE, State.JUDGING),
            # The word that a picture was taken can be lost on its way; its results say it, too.
            Event.SETTLED: Step(HINT, State.RESULT_VALID),
        },
    ),
    State.MOVING: _open(
        State.MOVING,
        {
            Event.TRIGGER: Step(BUSY, State.EXPOSING),
            Event.TRIGGER_AGAIN: Step(ACQUIRED, State.MOVING),
            Event.END: Step(ENDED, State.JUDGING),
            # That the picture was taken is not on record before its results are: until then a
            # restarted station says again that the part must stand still.
            Event.RESTART: Step(SILENCE, State.EXPOSING),
        },
    ),
    State.JUDGING: _open(
        State.JUDGING,
        {
            Event.TRIGGER: NO_SUCH_VIEW,
            Event.TRIGGER_AGAIN: Step(ACQUIRED, State.JUDGING),
            Event.END: Step(ENDED, State.JUDGING),
            Event.SETTLED: Step(HINT, State.RESULT_VALID),
            Event.RESTART: Step(SILENCE, State.EXPOSING),
        },
    ),
    State.RESULT_VALID: _closed(State.RESULT_VALID),
    State.ACKED: _closed(State.ACKED),
    State.FAULT: {
        **{event: Step(SILENCE, State.FAULT) for event in Event},
        Event.HEARTBEAT: Step(STATUS, State.FAULT),
        Event.REVISED: Never("nothing can be put on record"),
        Event.RESTART: Never("a station does not start on a store that fails"),
        Event.STORE_FAILS: STORE_DOWN,
        # As after RESTART: what is on record decides, here of a run without pictures.
        Event.STORE_WORKS: Step(SILENCE, State.RUN_OPEN),
    },
}


class TimeOut(NamedTuple):
    """How long a state may last, who watches it, and what follows."""

    state: State
    watched_by: str
    limit: str
    then: str


TIME_OUTS: tuple[TimeOut, ...] = (
    TimeOut(State.IDLE, "PLC", "its time for a station to get ready", "hold the part"),
    TimeOut(
        State.RUN_OPEN,
        "station",
        "the plan's `deadline_ms`, from `Begin` on",
        "open points become NOT_INSPECTED; RESULT_VALID",
    ),
    TimeOut(State.EXPOSING, "station", "the same deadline", "the same"),
    TimeOut(State.MOVING, "station", "the same deadline", "the same"),
    TimeOut(State.JUDGING, "station", "the same deadline", "the same"),
    TimeOut(
        State.RESULT_VALID,
        "PLC",
        "its own timer, longer than `deadline_ms`",
        "hold the part; the verdict stays offered",
    ),
    TimeOut(State.ACKED, "nobody", "none", "a revised verdict leads back to RESULT_VALID"),
    TimeOut(State.FAULT, "PLC", "its own timer", "hold the part"),
)
"""One or more a state; a test sees to it that none is missing."""


MESSAGES: Mapping[str, tuple[Event, ...]] = {
    "Begin": (Event.BEGIN, Event.BEGIN_OPEN),
    "TriggerView": (Event.TRIGGER, Event.TRIGGER_AGAIN),
    "End": (Event.END,),
    "GetVerdict": (Event.GET_VERDICT,),
    "Ack": (Event.ACK, Event.ACK_OTHER),
    "Heartbeat": (Event.HEARTBEAT,),
}
"""What a message of the PLC is in the table, by its type."""


def replies(message: str) -> tuple[str, ...]:
    """The types of what may answer a message. A `Refusal` always may: of a frame that cannot be
    read, or a number that was used."""
    cells = [row[event] for row in TABLE.values() for event in MESSAGES[message]]
    types = {cell.answer.type for cell in cells if isinstance(cell, Step)} - {""}
    return tuple(sorted(types | {"Refusal"}))


# ------------------------------------------------------------------------------ service level

READY = 255
DEGRADED = 200
NOT_READY = 100
NO_STORE = 0


class Band(NamedTuple):
    """One value of `Status.service_level`, and what it means."""

    level: int
    name: str
    meaning: str


BANDS: tuple[Band, ...] = (
    Band(READY, "READY", "a part begun now can become OK"),
    Band(
        DEGRADED,
        "DEGRADED",
        "the same, but slower: an edge is still handing in what it has on its disk",
    ),
    Band(NOT_READY, "NOT_READY", "verdicts are formed, and none can be OK: see `fault`"),
    Band(NO_STORE, "NO_STORE", "nothing is stored, and nothing but heartbeats is answered"),
)


def service_level(fault: Fault, *, degraded: bool) -> int:
    """The service level in the manner of OPC UA's ServiceLevel: higher is better, 0 is nothing.
    A fault that is not known here is as bad as not being ready, never better."""
    if fault is Fault.NONE:
        return DEGRADED if degraded else READY
    return NO_STORE if fault is Fault.STORE_FAILED else NOT_READY


# ------------------------------------------------------------------------------ for the page


def chart() -> str:
    """The table as a state chart in Mermaid; what leads nowhere is left out."""
    lines = ["stateDiagram-v2", "    [*] --> IDLE"]
    for state, row in TABLE.items():
        ways: dict[State, list[str]] = {}
        for event, cell in row.items():
            if isinstance(cell, Never) or cell.state is state or event is Event.STORE_FAILS:
                continue
            answered = f" / {cell.answer}" if cell.answer is not SILENCE else ""
            ways.setdefault(cell.state, []).append(f"{event.name}{answered}")
        for target, labels in ways.items():
            lines.append(f"    {state.name} --> {target.name}: {', '.join(labels)}")
    lines.append("    note right of FAULT: from every state, when STORE_FAILS")
    return "\n".join(lines)


def transitions() -> str:
    """The table as Markdown: a row an event, a column a state; the answer, and the next state where
    it is another. Empty: cannot happen; a dot: nothing is sent; a cross: `Refusal`."""
    states = list(TABLE)
    lines = [
        "| | " + " | ".join(state.name for state in states) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    for event in Event:
        cells = []
        for state in states:
            cell = TABLE[state][event]
            if isinstance(cell, Never):
                cells.append("")
                continue
            said = str(cell.answer) or "·"
            cells.append(said if cell.state is state else f"{said} → {cell.state.name}")
        lines.append(f"| {event.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def words() -> str:
    """What the names of states and events mean, as Markdown."""
    lines = ["| state | |", "|---|---|"]
    lines += [f"| {state.name} | {state.value} |" for state in State]
    lines += ["", "| event | |", "|---|---|"]
    lines += [f"| {event.name} | {event.value} |" for event in Event]
    return "\n".join(lines)


def time_outs() -> str:
    """The time-outs as Markdown."""
    lines = ["| in state | watched by | limit | then |", "|---|---|---|---|"]
    lines += [f"| {t.state.name} | {t.watched_by} | {t.limit} | {t.then} |" for t in TIME_OUTS]
    return "\n".join(lines)


def bands() -> str:
    """The service levels as Markdown."""
    lines = ["| name | `service_level` | meaning |", "|---|---|---|"]
    lines += [f"| {band.name} | {band.level} | {band.meaning} |" for band in BANDS]
    return "\n".join(lines)


GENERATED = {
    "chart": lambda: f"```mermaid\n{chart()}\n```",
    "transitions": transitions,
    "words": words,
    "time-outs": time_outs,
    "service level": bands,
}
"""The blocks of docs/plc.md that are written from here, by the name in their markers."""


def fill(page: str) -> str:
    """The page with every generated block brought up to date. A block stands between
    ``<!-- generated: NAME -->`` and ``<!-- end -->``; raises `ValueError` where one is missing."""
    for name, write in GENERATED.items():
        start, end = f"<!-- generated: {name} -->\n", "\n<!-- end -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"the page has no block {start.strip()!r}")
        page = before + start + write() + end + after
    return page
