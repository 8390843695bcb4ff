"""Recorded conversations between a PLC and a station, to read beside docs/plc.md or to replay.

A real station says what it says, on a clock that stands still between two lines, so that the same
software always writes the same file; a test compares. Only the names of runs, which are drawn at
random, are replaced by numbered ones.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from inspection import messages as m
from inspection import wire
from inspection.ledger import Balance
from inspection.messages import RunVerdict, Verdict
from inspection.plan import Trigger
from inspection.testing.clock import FakeClock
from inspection.testing.simulated_station import SimulatedStation, Take, played_plan

PLC, PLAN = "plc-1", "door"
STEP_MS = 10


class Recorder:
    """One PLC in front of one station, everything written down."""

    def __init__(
        self,
        folder: Path,
        *,
        take: Take,
        views: int = 1,
        trigger: Trigger = Trigger.STATION,
        deadline_ms: int = 5000,
    ) -> None:
        self._clock = FakeClock(10**12)
        self._began_ns = self._clock.monotonic_ns()
        plan = played_plan(PLAN, views=views, trigger=trigger, deadline_ms=deadline_ms)
        self.station = SimulatedStation(folder, plan, self._clock, lambda _: take)
        self._runs: list[str] = []
        self._seq = 0
        self.lines: list[bytes] = []

    def close(self) -> None:
        self.station.close()

    def ask(self, kind: Any, **fields: Any) -> Any:
        """A message with the next number; the answer to it."""
        return self.say(kind(plc=PLC, seq=self.next_seq(), **fields))

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def say(self, message: Any) -> Any:
        """A message as it is, perhaps for the second time; the answer to it."""
        frame = wire.PLC_TO_STATION.encode(message)
        self._note("plc", frame)
        answer = None
        for _, said in self.station.work([(b"plc", frame)]):
            self._note("station", said)
            heard = wire.STATION_TO_PLC.decode(said)
            answer = answer if isinstance(heard, m.VerdictReady) else heard
        return answer

    def wait(self, milliseconds: int) -> None:
        """Time passes; what the station says unasked is written down."""
        for _ in range(0, milliseconds, STEP_MS):
            self._clock.advance(ms=STEP_MS)
            for _, said in self.station.work([]):
                self._note("station", said)

    def restart(self) -> None:
        self._write({"event": "the station is killed and started again"})
        self.station.restart()

    def revise(self, run: str) -> None:
        """What a person's decision comes to: another verdict of the run, with a higher number."""
        self._write({"event": "a person decides that the part is OK"})
        with self.station.store.transaction():
            stored = self.station.store.latest_verdict(run)
            if stored is None:
                raise ValueError(f"run {run} has no verdict to revise")
            planned = stored.balance.planned
            settled = Balance(planned=planned, ok=planned, nok=0, review=0, not_inspected=0, open=0)
            self.station.store.add_verdict(run, RunVerdict.OK, settled)

    def _note(self, who: str, frame: bytes) -> None:
        message = msgspec.json.decode(frame)
        run = message.get("run")
        if run is not None and run not in self._runs:
            self._runs.append(run)
        for number, name in enumerate(self._runs, start=1):
            frame = frame.replace(name.encode(), f"run-{number}".encode())
        self._write({"from": who, "message": msgspec.Raw(frame)})

    def _write(self, entry: dict[str, Any]) -> None:
        ms = (self._clock.monotonic_ns() - self._began_ns) // 1_000_000
        self.lines.append(msgspec.json.encode({"ms": ms, **entry}))


def _usual(plc: Recorder) -> None:
    """The station takes the pictures; the part is OK."""
    plc.say(m.Heartbeat(plc=PLC, counter=1))
    begun = plc.ask(m.Begin, part="BODY-0001", plan=PLAN)
    plc.ask(m.GetVerdict, part="BODY-0001", run=begun.run)
    plc.wait(100)
    verdict = plc.ask(m.GetVerdict, part="BODY-0001", run=begun.run)
    plc.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq)
    plc.say(m.Heartbeat(plc=PLC, counter=2))


def _robot(plc: Recorder) -> None:
    """A robot moves between two views; the part is NOK."""
    begun = plc.ask(m.Begin, part="BODY-0002", plan=PLAN)
    for view in ("v0", "v1"):
        trigger = m.TriggerView(plc=PLC, seq=plc.next_seq(), run=begun.run, view=view)
        plc.say(trigger)
        plc.wait(30)
        plc.say(trigger)
    plc.ask(m.End, run=begun.run)
    plc.wait(100)
    verdict = plc.ask(m.GetVerdict, part="BODY-0002", run=begun.run)
    plc.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq)


def _revised(plc: Recorder) -> None:
    """A point needs a person, who decides after the PLC has taken HOLD."""
    begun = plc.ask(m.Begin, part="BODY-0003", plan=PLAN)
    plc.wait(100)
    verdict = plc.ask(m.GetVerdict, part="BODY-0003", run=begun.run)
    plc.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq)
    plc.wait(60_000)
    plc.revise(begun.run)
    plc.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq)
    verdict = plc.ask(m.GetVerdict, part="BODY-0003")
    plc.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq)


def _late(plc: Recorder) -> None:
    """The judgement comes after the deadline: it changes nothing any more."""
    begun = plc.ask(m.Begin, part="BODY-0004", plan=PLAN)
    plc.wait(990)
    plc.ask(m.GetVerdict, part="BODY-0004", run=begun.run)
    plc.wait(20)
    verdict = plc.ask(m.GetVerdict, part="BODY-0004", run=begun.run)
    plc.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq)
    plc.wait(1000)
    plc.ask(m.GetVerdict, part="BODY-0004", run=begun.run)


def _restart(plc: Recorder) -> None:
    """The station is killed between Begin and its answer: the same message gets its answer."""
    begin = m.Begin(plc=PLC, seq=1, part="BODY-0005", plan=PLAN)
    begun = plc.say(begin)
    plc.restart()
    plc.say(m.Heartbeat(plc=PLC, counter=1))
    plc.say(begin)
    plc.wait(200)
    asked = m.GetVerdict(plc=PLC, seq=2, part="BODY-0005", run=begun.run)
    verdict = plc.say(asked)
    ack = m.Ack(plc=PLC, seq=3, run=begun.run, verdict_seq=verdict.verdict_seq)
    plc.say(ack)
    plc.restart()
    plc.say(ack)
    plc.say(m.Begin(plc=PLC, seq=3, part="BODY-0006", plan=PLAN))


TRACES: Mapping[str, tuple[Callable[[Recorder], None], dict[str, Any]]] = {
    "usual": (_usual, {"take": Take()}),
    "robot": (_robot, {"take": Take(Verdict.NOK), "views": 2, "trigger": Trigger.PLC}),
    "revised": (_revised, {"take": Take(Verdict.REVIEW)}),
    "late": (_late, {"take": Take(result_ms=1500), "deadline_ms": 1000}),
    "restart": (_restart, {"take": Take()}),
}
"""Each trace by the name of its file: what the PLC does, and in front of which station."""


def record(name: str) -> bytes:
    """One trace, as the bytes of its file: a line what it shows, then one line a message."""
    play, options = TRACES[name]
    with tempfile.TemporaryDirectory(prefix="trace-") as folder:
        plc = Recorder(Path(folder), **options)
        try:
            play(plc)
        finally:
            plc.close()
    shows = json.dumps({"trace": name, "shows": " ".join((play.__doc__ or "").split())})
    return b"\n".join([shows.encode(), *plc.lines]) + b"\n"


def write(folder: Path) -> list[Path]:
    """Every trace into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in TRACES:
        path = folder / f"{name}.jsonl"
        path.write_bytes(record(name))
        files.append(path)
    return files
