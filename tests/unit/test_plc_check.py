"""`inspection plc check` passes a real station, and finds the rule that a broken one breaks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from inspection import messages as m
from inspection import wire
from inspection.__main__ import main
from inspection.clock import SystemClock
from inspection.messages import Fault
from inspection.testing.line import free_ports
from inspection.testing.plc_check import RULES, Checked, Checker, NoStation
from inspection.testing.simulated_station import SimulatedStation, Take, played_plan

PLAN = "door"
replace = msgspec.structs.replace


class Served:
    """A simulated station at an endpoint, in a thread. ``spoil`` may change, drop or double what
    comes in and goes out."""

    def __init__(self, folder: Path) -> None:
        self.endpoint = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        self.spoil_in: Callable[[bytes], bytes | None] = lambda frame: frame
        self.spoil_out: Callable[[Any], Any] = lambda message: message
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(folder,))
        self._thread.start()
        assert self._ready.wait(10)

    def _serve(self, folder: Path) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.bind(self.endpoint)
        plan = played_plan(PLAN, deadline_ms=1000)
        station = SimulatedStation(folder, plan, SystemClock(), lambda _: Take(result_ms=500))
        self._ready.set()
        while not self._stop.is_set():
            socket.poll(10)
            frames = []
            while socket.poll(0):
                peer, *rest = socket.recv_multipart()
                kept = self.spoil_in(rest[0] if len(rest) == 1 else b"")
                if kept is not None:
                    frames.append((peer, kept))
            for peer, frame in station.work(frames):
                said = self.spoil_out(wire.STATION_TO_PLC.decode(frame))
                if said is not None:
                    socket.send_multipart((peer, msgspec.json.encode(said)))
        station.close()
        socket.close()
        context.term()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def check(served: Served, plan: str | None = PLAN) -> dict[str, Checked]:
    checker = Checker(served.endpoint, plan=plan, part="CHECK-1", plc="plc-check")
    try:
        return {checked.rule: checked for checked in checker.run()}
    finally:
        checker.close()


def rule_of(method: Callable[[Checker], None]) -> str:
    return next(rule for rule, check in RULES if check is method)


def test_a_real_station_keeps_every_rule(served: Served) -> None:
    checked = check(served)
    assert [entry for entry in checked.values() if not entry.passed] == []
    assert len(checked) == len(RULES)
    assert all(entry.sent or entry.got for entry in checked.values())


def test_a_second_check_of_the_same_station_passes_too(served: Served) -> None:
    assert all(entry.passed for entry in check(served).values())
    checker = Checker(served.endpoint, plan=PLAN, part="CHECK-2", plc="plc-check")
    assert all(entry.passed for entry in checker.run())
    checker.close()


def test_without_a_plan_no_run_is_begun(served: Served) -> None:
    checked = check(served, plan=None)
    assert {entry.passed for entry in checked.values()} == {True, None}
    assert checked[rule_of(Checker.begin)].why == "no plan is named: --plan"


def stands_still(said: Any) -> Any:
    return replace(said, heartbeat=1) if isinstance(said, m.Status) else said


def always_ready(said: Any) -> Any:
    """Sends service levels that contradict ``ready``."""
    return replace(said, service_level=100) if isinstance(said, m.Status) else said


def another_code(said: Any) -> Any:
    refused = isinstance(said, m.Refusal) and said.fault is Fault.SEQ_REUSED
    return replace(said, fault=Fault.MALFORMED) if refused else said


def both(said: Any) -> Any:
    valid = isinstance(said, m.PartVerdict) and said.result_valid
    return replace(said, nok=True) if valid else said


def too_early(said: Any) -> Any:
    open_run = isinstance(said, m.PartVerdict) and not said.result_valid
    return replace(said, ok=True) if open_run else said


def loses_a_point(said: Any) -> Any:
    counted = isinstance(said, m.PartVerdict) and said.points_ok > 0
    return replace(said, points_ok=said.points_ok - 1) if counted else said


def of_another_plan(said: Any) -> Any:
    return replace(said, plan_hash="f" * 64) if isinstance(said, m.PartVerdict) else said


def takes_any_ack(said: Any) -> Any:
    stale = isinstance(said, m.Refusal) and said.fault is Fault.STALE_VERDICT
    return m.Acknowledged(seq=said.seq, run="r", verdict_seq=1) if stale else said


def never_acknowledges(said: Any) -> Any:
    return None if isinstance(said, m.Acknowledged) else said


def forgets_the_open_run(said: Any) -> Any:
    open_run = isinstance(said, m.Refusal) and said.fault is Fault.RUN_OPEN
    return replace(said, run=None) if open_run else said


def forgets_numbers(said: Any) -> Any:
    return replace(said, last_seq=0) if isinstance(said, m.Status) else said


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        (stands_still, [Checker.heartbeat_moves]),
        (always_ready, [Checker.status_is_consistent]),
        (another_code, [Checker.seq_reused, Checker.seq_lower]),
        (both, [Checker.one_of_three]),
        (too_early, [Checker.not_valid_yet]),
        (loses_a_point, [Checker.verdict_in_time]),
        (of_another_plan, [Checker.not_valid_yet, Checker.verdict_in_time]),
        (takes_any_ack, [Checker.ack_of_another]),
        (never_acknowledges, [Checker.ack]),
        (forgets_the_open_run, [Checker.begin_of_an_open_part]),
        (forgets_numbers, [Checker.last_seq]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_broken_station_breaks_is_found_and_nothing_else(
    served: Served, spoil: Callable[[Any], Any], broken: list[Callable[[Checker], None]]
) -> None:
    served.spoil_out = spoil
    failed = [entry.rule for entry in check(served).values() if entry.passed is False]
    assert failed == [rule_of(method) for method in broken]


@pytest.mark.parametrize(
    ("spoil", "broken"),
    [
        (
            lambda frame: frame.replace(b'"protocol":2', b'"protocol":1'),
            [Checker.wrong_protocol],
        ),
        (lambda frame: frame.strip(), [Checker.too_large]),
        (lambda frame: None if b'"End"' in frame else frame,
         [Checker.unknown_run, Checker.closed_stays_closed]),
    ],
    ids=["speaks every protocol", "has no limit", "does not know End"],
)  # fmt: skip
def test_a_station_that_hears_something_else_is_found(
    served: Served,
    spoil: Callable[[bytes], bytes | None],
    broken: list[Callable[[Checker], None]],
) -> None:
    served.spoil_in = spoil
    failed = [entry.rule for entry in check(served).values() if entry.passed is False]
    assert failed == [rule_of(method) for method in broken]


def test_an_endpoint_where_nobody_answers_is_said_in_one_sentence() -> None:
    checker = Checker(
        f"tcp://127.0.0.1:{free_ports(1)[0]}", plan=None, part="CHECK-1", plc="plc-check"
    )
    with pytest.raises(NoStation, match="no station answers"):
        list(checker.run())
    checker.close()


def test_the_command_prints_a_line_a_rule_and_fails_where_one_fails(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plc", "check", served.endpoint, "--plan", PLAN]) == 0
    assert capsys.readouterr().out.endswith(f"{len(RULES)} passed, 0 failed, 0 not tried\n")
    served.spoil_out = stands_still
    assert main(["plc", "check", served.endpoint, "--json"]) == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    lines = [msgspec.json.decode(line, type=Checked) for line in said]
    assert [line.rule for line in lines if line.passed is False] == [
        rule_of(Checker.heartbeat_moves)
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "nonsense"], "nonsense"),
        (["check", "tcp://127.0.0.1:1", "--part", "../x"], "--part: '../x' is no identifier"),
    ],
)
def test_wrong_words_are_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["plc", *words]) == 2
    assert said in capsys.readouterr().err
