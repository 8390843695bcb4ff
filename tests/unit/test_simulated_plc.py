"""The simulated PLC releases only on a fresh OK. A scripted station says something else."""

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
from inspection.messages import Fault
from inspection.testing.plc import Outcome, SimulatedPlc

HASH = "a" * 64


class ScriptedStation:
    """Answers a PLC as told; by default everything goes well."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.heartbeat_moves: Callable[[], bool] = lambda: True
        self.change: dict[str, Any] = {}
        self.refuse_begin = False
        self.silent_on: tuple[type, ...] = ()
        self.begun: list[m.Begin] = []
        self.acks: list[m.Ack] = []
        self._beat = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(20):
                peer, frame = self._socket.recv_multipart()
                answer = self._answer(wire.PLC_TO_STATION.decode(frame))
                if answer is not None:
                    self._socket.send_multipart([peer, wire.STATION_TO_PLC.encode(answer)])

    def _answer(self, asked: Any) -> Any:
        if isinstance(asked, self.silent_on):
            return None
        match asked:
            case m.Heartbeat():
                self._beat += self.heartbeat_moves()
                return m.Status(
                    counter=asked.counter,
                    heartbeat=self._beat,
                    ready=True,
                    fault=Fault.NONE,
                    text="",
                    last_seq=0,
                )
            case m.Begin():
                self.begun.append(asked)
                if self.refuse_begin:
                    return m.Refusal(seq=asked.seq, fault=Fault.RUN_OPEN, text="open", run="r9")
                return m.Begun(
                    seq=asked.seq,
                    run="r1",
                    part=asked.part,
                    plan=asked.plan,
                    plan_hash=HASH,
                    planned=2,
                    deadline_ms=500,
                )
            case m.GetVerdict():
                good = m.PartVerdict(
                    seq=asked.seq,
                    run="r1",
                    part=asked.part,
                    plan="plan",
                    plan_hash=HASH,
                    verdict_seq=5,
                    result_valid=True,
                    ok=True,
                    nok=False,
                    hold=False,
                    planned=2,
                    points_ok=2,
                    points_nok=0,
                    points_review=0,
                    points_not_inspected=0,
                    points_open=0,
                )
                return msgspec.structs.replace(good, **self.change)
            case m.Ack():
                self.acks.append(asked)
                return m.Acknowledged(seq=asked.seq, run=asked.run, verdict_seq=asked.verdict_seq)
        return None

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()
        self._context.term()


@pytest.fixture
def station() -> Iterator[ScriptedStation]:
    scripted = ScriptedStation()
    yield scripted
    scripted.close()


def inspect(
    station: ScriptedStation, folder: Path, *parts: str, timeout_s: float = 3.0
) -> list[Outcome]:
    plc = SimulatedPlc(
        plc="plc-1",
        endpoint=station.endpoint,
        plan="plan",
        memory=folder / "memory.json",
        report=folder / "report.jsonl",
        timeout_s=timeout_s,
        ready_timeout_s=2.0,
    )
    try:
        plc.run(iter(parts))
        return plc.outcomes()
    finally:
        plc.close()


def test_a_fresh_ok_releases_the_part_and_is_acknowledged(
    station: ScriptedStation, tmp_path: Path
) -> None:
    (outcome,) = inspect(station, tmp_path, "P1")
    assert (outcome.action, outcome.acknowledged) == ("RELEASE", True)
    assert [ack.verdict_seq for ack in station.acks] == [5]


@pytest.mark.parametrize(
    "change",
    [
        {"part": "P9"},
        {"run": "r9"},
        {"plan": "other"},
        {"plan_hash": "b" * 64},
        {"ok": True, "nok": True},
        {"ok": True, "hold": True},
        {"ok": False},
        {"verdict_seq": 0},
        {"points_ok": 1, "points_review": 1},
        {"planned": 1, "points_ok": 1},
        {"ok": False, "hold": True},
    ],
    ids=str,
)
def test_an_ok_with_anything_wrong_about_it_holds_the_part(
    station: ScriptedStation, tmp_path: Path, change: dict[str, Any]
) -> None:
    station.change = change
    (outcome,) = inspect(station, tmp_path, "P1")
    assert outcome.action == "HOLD"
    assert outcome.reason
    if {"part", "run", "plan", "plan_hash", "verdict_seq"} & set(change):
        assert station.acks == []  # another part's verdict is not this PLC's to take


def test_a_nok_diverts_the_part(station: ScriptedStation, tmp_path: Path) -> None:
    station.change = {"ok": False, "nok": True, "points_ok": 1, "points_nok": 1}
    (outcome,) = inspect(station, tmp_path, "P1")
    assert outcome.action == "DIVERT"


def test_the_verdict_of_the_part_before_is_stale(station: ScriptedStation, tmp_path: Path) -> None:
    first, second = inspect(station, tmp_path, "P1", "P2")
    assert (first.action, second.action) == ("RELEASE", "HOLD")
    assert "not newer" in second.reason


def test_a_result_that_never_becomes_valid_holds_the_part(
    station: ScriptedStation, tmp_path: Path
) -> None:
    station.change = {"result_valid": False, "ok": False, "verdict_seq": 0}
    (outcome,) = inspect(station, tmp_path, "P1", timeout_s=0.5)
    assert (outcome.action, outcome.reason) == ("HOLD", "no verdict in time")


@pytest.mark.parametrize("silent", [m.Heartbeat, m.Begin, m.GetVerdict])
def test_silence_holds_the_part(station: ScriptedStation, tmp_path: Path, silent: type) -> None:
    station.silent_on = (silent,)
    (outcome,) = inspect(station, tmp_path, "P1", timeout_s=0.8)
    assert outcome.action == "HOLD"


def test_a_refused_begin_holds_the_part_with_the_code(
    station: ScriptedStation, tmp_path: Path
) -> None:
    station.refuse_begin = True
    (outcome,) = inspect(station, tmp_path, "P1")
    assert outcome.action == "HOLD"
    assert "RUN_OPEN" in outcome.reason


def test_an_ok_while_the_heartbeat_stands_still_is_not_believed(
    station: ScriptedStation, tmp_path: Path
) -> None:
    beats = iter([True])
    station.heartbeat_moves = lambda: next(beats, False)
    station.change = {"result_valid": False, "ok": False}
    timer = threading.Timer(1.6, lambda: setattr(station, "change", {}))
    timer.start()
    (outcome,) = inspect(station, tmp_path, "P1", timeout_s=4.0)
    timer.join()
    assert outcome.action == "HOLD"
    assert "heartbeat" in outcome.reason


def test_a_part_that_stood_there_while_the_plc_was_restarted_is_held(
    station: ScriptedStation, tmp_path: Path
) -> None:
    memory = {"next_seq": 8, "last_verdict_seq": 0, "part": "P1", "begin_seq": 7}
    (tmp_path / "memory.json").write_bytes(msgspec.json.encode(memory))
    (outcome,) = inspect(station, tmp_path, "P1")
    assert outcome.action == "HOLD"
    assert "restarted" in outcome.reason
    assert [begin.seq for begin in station.begun] == [7]  # the same question, not a new run


def test_parts_already_reported_are_not_inspected_again_and_numbers_never_repeat(
    station: ScriptedStation, tmp_path: Path
) -> None:
    inspect(station, tmp_path, "P1")
    station.change = {"verdict_seq": 6}
    outcomes = inspect(station, tmp_path, "P1", "P2")
    assert [outcome.action for outcome in outcomes] == ["RELEASE", "RELEASE"]
    assert len({begin.seq for begin in station.begun}) == 2
