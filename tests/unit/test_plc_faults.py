"""Faults 26 and 48 of the catalogue: what a PLC may do wrong, and what the station makes of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from samples import answer
from test_station import Bench

from inspection import messages as m
from inspection import wire
from inspection.messages import Fault, Verdict
from inspection.testing import boards
from inspection.testing.line import Line


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    bench.hello()
    yield bench
    bench.store.close()


def say(bench: Bench, message: Any, peer: bytes = b"plc") -> Any:
    """What a PLC hears on a connection, hints aside."""
    sent = bench.station.work([("plc", peer, wire.PLC_TO_STATION.encode(message))])
    answers = [
        wire.STATION_TO_PLC.decode(frame)
        for socket, to, frame in sent
        if (socket, to) == ("plc", peer)
    ]
    (only,) = (a for a in answers if not isinstance(a, m.VerdictReady))
    return only


def inspected(bench: Bench, part: str, *, seq: int, record: int) -> m.PartVerdict:
    """A part led to its verdict."""
    begun = say(bench, m.Begin(plc="plc-1", seq=seq, part=part, plan="plan"))
    bench.results(answer(run=begun.run, part=part), first_seq=record)
    verdict = say(bench, m.GetVerdict(plc="plc-1", seq=seq + 1, part=part, run=begun.run))
    assert isinstance(verdict, m.PartVerdict)
    return verdict


def acknowledgements(bench: Bench) -> list[tuple[int, str]]:
    with sqlite3.connect(f"file:{bench.folder / 'station.db'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT verdict_seq, plc_id FROM acknowledgement").fetchall()
    database.close()
    return rows


# ------------------------------------------------------------------------------------ fault 48


def test_fault_48_a_plc_that_restarts_gets_its_answers_again_on_its_new_connection(
    bench: Bench,
) -> None:
    begin = m.Begin(plc="plc-1", seq=1, part="part-1", plan="plan")
    begun = say(bench, begin, b"before")
    assert say(bench, begin, b"after") == begun
    bench.results(answer(run=begun.run))
    ask = m.GetVerdict(plc="plc-1", seq=2, part="part-1", run=begun.run)
    verdict = say(bench, ask, b"after")
    assert say(bench, ask, b"once more") == verdict
    ack = m.Ack(plc="plc-1", seq=3, run=begun.run, verdict_seq=verdict.verdict_seq)
    acknowledged = say(bench, ack, b"after")
    bench.restart()
    assert say(bench, ack, b"once more") == acknowledged
    assert say(bench, begin, b"once more") == begun
    assert len(bench.reader.runs()) == 1


def test_fault_48_a_plc_that_lost_its_memory_is_told_where_to_go_on(bench: Bench) -> None:
    inspected(bench, "part-1", seq=41, record=1)
    refused = say(bench, m.Begin(plc="plc-1", seq=1, part="part-2", plan="plan"))
    assert refused.fault is Fault.SEQ_REUSED
    status = say(bench, m.Heartbeat(plc="plc-1", counter=1))
    assert status.last_seq == 41  # GetVerdict spends none
    next_one = m.Begin(plc="plc-1", seq=status.last_seq + 1, part="part-2", plan="plan")
    assert isinstance(say(bench, next_one), m.Begun)


def test_fault_48_a_verdict_acknowledged_twice_is_on_record_once(bench: Bench) -> None:
    verdict = inspected(bench, "part-1", seq=1, record=1)
    for seq in (3, 3, 4):
        ack = m.Ack(plc="plc-1", seq=seq, run=verdict.run, verdict_seq=verdict.verdict_seq)
        said = say(bench, ack)
        assert said == m.Acknowledged(seq=seq, run=verdict.run, verdict_seq=verdict.verdict_seq)
    assert acknowledgements(bench) == [(verdict.verdict_seq, "plc-1")]


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_fault_48_an_acknowledgement_of_a_wrong_number_is_refused_and_takes_nothing(
    bench: Bench, wrong: int
) -> None:
    verdict = inspected(bench, "part-1", seq=1, record=1)
    ack = m.Ack(plc="plc-1", seq=3, run=verdict.run, verdict_seq=verdict.verdict_seq + wrong)
    assert say(bench, ack).fault is Fault.STALE_VERDICT
    assert acknowledgements(bench) == []


def test_fault_48_the_verdict_of_the_part_before_cannot_be_taken_for_the_next(
    bench: Bench,
) -> None:
    before = inspected(bench, "part-1", seq=1, record=1)
    begun = say(bench, m.Begin(plc="plc-1", seq=3, part="part-2", plan="plan"))
    mixed = m.GetVerdict(plc="plc-1", seq=4, part="part-2", run=before.run)
    assert say(bench, mixed).fault is Fault.UNKNOWN_RUN
    ack = m.Ack(plc="plc-1", seq=5, run=begun.run, verdict_seq=before.verdict_seq)
    assert say(bench, ack).fault is Fault.NO_VERDICT
    now = say(bench, m.GetVerdict(plc="plc-1", seq=6, part="part-2"))
    assert (now.run, now.result_valid, now.ok) == (begun.run, False, False)
    assert acknowledgements(bench) == []


def test_fault_48_a_begin_of_a_cycle_long_past_opens_nothing(bench: Bench) -> None:
    inspected(bench, "part-1", seq=1, record=1)
    inspected(bench, "part-2", seq=3, record=2)
    again = say(bench, m.Begin(plc="plc-1", seq=1, part="part-1", plan="plan"))
    assert isinstance(again, m.Begun)  # the answer of then ...
    assert len(bench.reader.runs()) == 2  # ... and no new run
    other = say(bench, m.Begin(plc="plc-1", seq=2, part="part-1", plan="plan"))
    assert other.fault is Fault.SEQ_REUSED
    assert len(bench.reader.runs()) == 2


def test_fault_48_a_part_that_is_not_ok_stays_so_however_often_it_is_asked_and_acknowledged(
    bench: Bench,
) -> None:
    begun = say(bench, m.Begin(plc="plc-1", seq=1, part="part-1", plan="plan"))
    bench.results(answer(run=begun.run, verdicts=(Verdict.OK, Verdict.NOK)))
    for seq in range(2, 6):
        verdict = say(bench, m.GetVerdict(plc="plc-1", seq=seq, part="part-1"))
        assert (verdict.ok, verdict.nok) == (False, True)
        ack = m.Ack(plc="plc-1", seq=seq, run=begun.run, verdict_seq=verdict.verdict_seq)
        assert isinstance(say(bench, ack), m.Acknowledged)
        bench.restart()


# ------------------------------------------------------------------------------------ fault 26


def resident_mib(pid: int) -> float:
    """The memory a process really uses."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def test_fault_26_a_plc_that_never_reads_costs_no_memory_and_keeps_nobody_waiting(
    tmp_path: Path,
) -> None:
    line = Line(
        tmp_path / "line",
        plans=[boards.write_plan(tmp_path / "plan")],
        models={"darkness": boards.model(tmp_path / "model")},
        cameras={},
        parts=["P0"],
        plan=boards.PLAN,
    )
    context = zmq.Context()
    deaf, good = (context.socket(zmq.DEALER) for _ in range(2))
    deaf.rcvhwm = 1
    deaf.rcvbuf = 4096
    for socket in (deaf, good):
        socket.linger = 0
        socket.connect(line.endpoints["plc"])
    beat = wire.PLC_TO_STATION.encode(m.Heartbeat(plc="deaf", counter=1))
    slowest = 0.0
    sent = 0
    try:
        with line:
            line.start("station")
            line.until(lambda: "station started" in line.log("station"), 60, "station")
            pid = line._processes["station"].pid
            before = 0.0
            for counter in range(60):
                for _ in range(500):
                    if deaf.poll(100, zmq.POLLOUT):
                        deaf.send(beat, zmq.NOBLOCK)
                        sent += 1
                asked = time.monotonic()
                good.send(wire.PLC_TO_STATION.encode(m.Heartbeat(plc="good", counter=counter)))
                assert good.poll(10_000), "the PLC that reads waits for ever"
                status = wire.STATION_TO_PLC.decode(good.recv())
                assert isinstance(status, m.Status)
                assert status.counter == counter
                slowest = max(slowest, time.monotonic() - asked)
                if counter == 5:
                    before = resident_mib(pid)
            grown = resident_mib(pid) - before
            assert line.running("station")
    finally:
        context.destroy(linger=0)
    # Far more than the queue to a peer (1000) and what a connection buffers.
    assert sent > 20_000
    # A station that keeps every answer grows by 2.5 MiB, this one by 0.02.
    assert grown < 1
    assert slowest < 5  # alone 500 questions take less than a second
