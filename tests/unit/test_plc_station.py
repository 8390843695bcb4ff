"""The simulated station tells a right program from a wrong one. Time is told by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inspection import messages as m
from inspection import wire
from inspection.__main__ import main
from inspection.plan import Trigger
from inspection.testing.clock import FakeClock
from inspection.testing.line import free_ports
from inspection.testing.plc import SimulatedPlc
from inspection.testing.plc_station import SCENARIOS, ScenarioStation

STEP_MS = 50


class Program:
    """A PLC program in front of the station: right by default, wrong where a test says so."""

    timeout_ms = 6000
    beats = True

    def __init__(self, folder: Path, scenarios: list[str], trigger: Trigger) -> None:
        self.clock = FakeClock(10**12)
        self.station = ScenarioStation(folder, self.clock, scenarios, trigger=trigger)
        self.views = ("v0", "v1") if trigger is Trigger.PLC else ()
        self.seq = 0
        self.last_verdict = 0
        self.actions: dict[str, str] = {}
        self.heartbeat, self.moved_ms = 0, -10_000

    @property
    def ms(self) -> int:
        return self.clock.monotonic_ns() // 1_000_000

    def say(self, message: Any) -> Any:
        """The answer, or None; heartbeats go along."""
        frames = [wire.PLC_TO_STATION.encode(message)]
        if self.beats:
            frames.append(wire.PLC_TO_STATION.encode(m.Heartbeat(plc="p", counter=1)))
        answer = None
        for _, frame in self.station.work([(b"p", frame) for frame in frames]):
            said = wire.STATION_TO_PLC.decode(frame)
            if isinstance(said, m.Status):
                if said.heartbeat != self.heartbeat:
                    self.heartbeat, self.moved_ms = said.heartbeat, self.ms
            elif not isinstance(said, m.VerdictReady):
                answer = said
        self.clock.advance(ms=STEP_MS)
        return answer

    def ask(self, kind: Any, until_ms: int, **fields: Any) -> Any:
        """The same message with the same number until it is answered."""
        self.seq += 1
        answer = None
        while answer is None and self.ms < until_ms:
            answer = self.say(kind(plc="p", seq=self.seq, **fields))
        return answer

    def wait(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds, STEP_MS):
            if self.beats:
                self.say(m.Heartbeat(plc="p", counter=1))
            else:
                self.station.work([])
                self.clock.advance(ms=STEP_MS)

    def run(self, *parts: str) -> dict[str, list[str]]:
        """All parts; the rules that failed, by scenario."""
        for part in parts:
            self.actions[part] = self.one(part)
            self.wait(2500)
        assert self.station.finished
        failed: dict[str, list[str]] = {}
        for entry in self.station.judge(self.actions):
            assert entry.passed is not None
            if not entry.passed:
                assert entry.why
                failed.setdefault(entry.scenario, []).append(entry.rule)
        return failed

    def one(self, part: str) -> str:
        self.wait(100)
        until = self.ms + self.timeout_ms
        begun = self.ask(m.Begin, until, part=part, plan="door")
        for view in self.views:
            self.seq += 1
            trigger = m.TriggerView(plc="p", seq=self.seq, run=begun.run, view=view)
            while not isinstance(self.say(trigger), m.Acquired):
                pass
        if self.views:
            self.ask(m.End, until, run=begun.run)
        while self.ms < until:
            verdict = self.ask(m.GetVerdict, until, part=part, run=begun.run)
            if verdict is not None and self.usable(verdict, begun):
                self.last_verdict = verdict.verdict_seq
                self.ask(m.Ack, until, run=verdict.run, verdict_seq=verdict.verdict_seq)
                return "RELEASE" if verdict.ok else "DIVERT" if verdict.nok else "HOLD"
        return "HOLD"

    def usable(self, verdict: m.PartVerdict, begun: m.Begun) -> bool:
        return (
            verdict.result_valid
            and (verdict.part, verdict.run) == (begun.part, begun.run)
            and [verdict.ok, verdict.nok, verdict.hold].count(True) == 1
            and verdict.verdict_seq > self.last_verdict
            and self.ms - self.moved_ms < 1000
        )


class BelievesAnything(Program):
    """Takes the first valid verdict, whosever it is."""

    def usable(self, verdict: m.PartVerdict, begun: m.Begun) -> bool:
        return verdict.result_valid


class IgnoresHeartbeat(Program):
    def usable(self, verdict: m.PartVerdict, begun: m.Begun) -> bool:
        self.moved_ms = self.ms
        return super().usable(verdict, begun)


class IsSilent(Program):
    beats = False

    def usable(self, verdict: m.PartVerdict, begun: m.Begun) -> bool:
        self.moved_ms = self.ms
        return super().usable(verdict, begun)


class Impatient(Program):
    timeout_ms = 2000


class ReleasesOnSilence(Program):
    def one(self, part: str) -> str:
        super().one(part)
        return "RELEASE"


class BeginsAnew(Program):
    """Takes a new number where the answer does not come."""

    def ask(self, kind: Any, until_ms: int, **fields: Any) -> Any:
        answer = super().ask(kind, min(until_ms, self.ms + 200), **fields)
        if answer is None and kind is m.GetVerdict:
            super().ask(m.Begin, self.ms + 200, part=fields["part"], plan="door")
        return answer


class ForgetsToAck(Program):
    def ask(self, kind: Any, until_ms: int, **fields: Any) -> Any:
        return None if kind is m.Ack else super().ask(kind, until_ms, **fields)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    made: list[Program] = []

    def program(
        kind: type[Program], *scenarios: str, trigger: Trigger = Trigger.STATION
    ) -> Program:
        made.append(kind(tmp_path, list(scenarios), trigger))
        return made[-1]

    yield program
    for entry in made:
        entry.station.close()


@pytest.mark.parametrize("trigger", Trigger)
def test_a_program_that_follows_the_page_passes_every_scenario(make: Any, trigger: Trigger) -> None:
    program = make(Program, *SCENARIOS, trigger=trigger)
    assert program.run(*(f"P{number}" for number in range(len(SCENARIOS)))) == {}
    right = {name: SCENARIOS[name].actions for name in SCENARIOS}
    assert all(
        action in allowed
        for action, allowed in zip(program.actions.values(), right.values(), strict=True)
    )


RULE = {
    "beats": "heartbeats come at least once a second",
    "one": "one Begin for the part, repeated under its own number",
    "form": "no message is refused: forms, numbers and order are right",
    "taken": "the verdict is taken: Ack with its number",
    "other": "no other verdict is taken",
    "timer": "the own timer is longer than the deadline",
    "HOLD": "the part gets HOLD",
    "DIVERT": "the part gets DIVERT or HOLD",
}


@pytest.mark.parametrize(
    ("kind", "scenario", "broken"),
    [
        (BelievesAnything, "stale", ["form", "other", "DIVERT"]),
        (BelievesAnything, "contradiction", ["HOLD"]),
        (IgnoresHeartbeat, "heartbeat", ["HOLD"]),
        (IsSilent, "ok", ["beats"]),
        (Impatient, "late", ["taken", "timer"]),
        (ReleasesOnSilence, "silent", ["HOLD"]),
        (ReleasesOnSilence, "hold", ["HOLD"]),
        (BeginsAnew, "restart", ["one"]),
        (ForgetsToAck, "nok", ["taken"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_program_that_breaks_a_rule_is_told_which(
    make: Any, kind: type[Program], scenario: str, broken: list[str]
) -> None:
    program = make(kind, scenario)
    assert program.run("P0") == {scenario: [RULE[name] for name in broken]}


def test_garbage_from_a_program_is_named(make: Any) -> None:
    program = make(Program, "ok")
    program.ask(m.Begin, program.ms + 1000, part="P0", plan="door")
    program.station.work([(b"p", b'{"type":"Ack"}')])
    program.wait(200)
    reasons = [entry.why for entry in program.station.judge() if entry.rule == RULE["form"]]
    assert "no message" in reasons[0]


def test_the_simulated_plc_passes_the_simulated_station(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    names = ["ok", "stale", "restart", "nok"]
    plc = SimulatedPlc(
        plc="plc-1",
        endpoint=f"tcp://127.0.0.1:{port}",
        plan="door",
        memory=tmp_path / "memory.json",
        report=tmp_path / "report.jsonl",
        timeout_s=8.0,
    )
    thread = threading.Thread(target=plc.run, args=(iter(f"P{n}" for n in range(len(names))),))
    thread.start()
    words = ["--port", str(port), "--scenario", ",".join(names), "--wait", "60", "--json"]
    status = main(["plc", "station", *words, "--actions", str(tmp_path / "report.jsonl")])
    thread.join()
    plc.close()
    said = capsys.readouterr().out
    assert '"passed":false' not in said
    assert said.count('"rule"') > 4 * len(names)
    assert status == 0


def test_scenarios_that_no_part_came_for_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (port,) = free_ports(1)
    assert main(["plc", "station", "--port", str(port), "--scenario", "ok", "--wait", "0.2"]) == 1
    assert "never played" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scenario", "ok,nothing"], "there is no 'nothing'"),
        (["--actions", "missing.jsonl", "--wait", "0.1", "--port", "0"], "missing.jsonl"),
    ],
)
def test_wrong_words_are_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["plc", "station", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_page_shows_every_scenario_as_it_is() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "plc.md").read_text("utf-8")
    for name, scenario in SCENARIOS.items():
        right = " or ".join(scenario.actions)
        assert f"| `{name}` | {scenario.shows} | {right} |" in page
