"""Faults of the catalogue (docs/faults.md) on the station without sockets."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
import zmq
from samples import PLAN, answer
from test_station import OUTBOX, Bench

from edge.link import Link
from edge.outbox import Outbox
from inspection import messages as m
from inspection import wire
from inspection.messages import Fault, Reason, Verdict
from inspection.station.config import Listen
from inspection.station.service import Service
from inspection.testing.line import free_ports

ROOT = Path(__file__).resolve().parents[2]
HOUR_NS = 3600 * 10**9


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_fault_14_behind_a_slow_disk_one_commit_serves_all_that_waited(bench: Bench) -> None:
    """However long a sync takes: what came meanwhile is stored together, and acknowledged once."""
    commits: list[float] = []
    sa.event.listen(bench.store._engine, "commit", lambda _: commits.append(time.sleep(0.05)))
    bench.hello()
    before = len(commits)
    raw = tuple(b"waiting %d" % n for n in range(64))
    frames = [
        wire.EDGE_TO_STATION.encode(
            m.Results(outbox=OUTBOX, nonce=bench.nonce, first_seq=1 + 64 * n, records=raw)
        )
        for n in range(4)
    ]
    begun = time.monotonic()
    sent = bench.station.work([("edge", b"edge", frame) for frame in frames])
    assert time.monotonic() - begun < 5
    assert len(commits) - before == 1
    answers = [wire.STATION_TO_EDGE.decode(frame) for _, _, frame in sent]
    assert [a.committed for a in answers if isinstance(a, m.Committed)] == [64, 128, 192, 256]


def test_fault_24_frames_recorded_earlier_change_nothing_when_they_come_again(
    bench: Bench,
) -> None:
    bench.hello()
    begun = bench.begin()
    results = wire.EDGE_TO_STATION.encode(
        m.Results(
            outbox=OUTBOX,
            nonce=bench.nonce,
            first_seq=1,
            records=(wire.RECORD.encode(answer(run=begun.run)),),
        )
    )
    bench.raw("edge", results)
    verdict, counts = bench.verdict(begun.run), bench.reader.counts()
    for _ in range(5):
        (again,) = bench.raw("edge", results)
        assert (type(again), again.committed) == (m.Committed, 1)
    bench.nonce = "3" * 32
    bench.hello(nonce=bench.nonce, next_seq=2)
    (refused,) = bench.raw("edge", results)  # recorded in the session before
    assert refused.fault is Fault.UNKNOWN_SESSION
    later = bench.verdict(begun.run)
    assert msgspec.structs.replace(later, seq=verdict.seq) == verdict
    after = bench.reader.counts()
    assert (after["record"], after["result"]) == (counts["record"], counts["result"])
    assert after["quarantine"] == 0


def test_fault_28_a_backlog_of_thousands_is_read_quickly_and_holds_nobody_up(
    bench: Bench, tmp_path: Path
) -> None:
    """An edge comes back with records nobody waits for any more; another one is at work."""
    outbox = Outbox(tmp_path / "outbox")
    outbox.append([wire.RECORD.encode(answer(run="r-old", edge="edge-2"))] * 3000)
    link = Link("edge-2", lambda: ("cam2",), (), outbox, lambda: ())
    bench.hello()
    begun = bench.begin()
    now, rounds, live = 10**10, 0, None
    started = time.monotonic()
    while outbox.pending:
        rounds += 1
        frames = [("edge", b"old", frame) for frame in link.to_send(now)]
        if rounds == 5:
            results = m.Results(
                outbox=OUTBOX,
                nonce=bench.nonce,
                first_seq=1,
                records=(wire.RECORD.encode(answer(run=begun.run)),),
            )
            frames.append(("edge", b"edge", wire.EDGE_TO_STATION.encode(results)))
        sent = bench.station.work(frames)
        for _, peer, frame in sent:
            if peer == b"old":
                link.received(frame, now)
        if rounds == 5:
            live = bench.verdict(begun.run)
        now += 10_000_000
    assert live is not None
    assert live.ok  # in the middle of it, in the very next commit
    assert bench.reader.counts()["quarantine"] == 3000
    # 75,000 records in a minute, on a machine that does something else besides.
    assert time.monotonic() - started < 3000 * 60 / 75_000 * 10
    outbox.close()


def test_fault_46_a_late_defect_is_kept_and_the_verdict_stays(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    bench.clock.advance(ms=PLAN.deadline_ms + 1)
    bench.tick()
    late = answer(run=begun.run, verdicts=(Verdict.NOK, Verdict.OK))
    bench.results(late)
    assert bench.verdict(begun.run).hold
    kept = bench.reader.points(run=begun.run, late=True)
    assert [(row.point, row.verdict) for row in kept] == [("p0", Verdict.NOK), ("p1", Verdict.OK)]
    again = bench.begin()  # a closed part gets a new run
    assert again.run != begun.run
    assert [row.run for row in bench.reader.runs()].count(begun.run) == 1


def test_fault_46_a_defect_that_is_told_after_ok_is_an_event_and_no_verdict(bench: Bench) -> None:
    """The edge came back without the order, which was placed again and answered; then the first
    answer turns up after all."""
    bench.hello()
    begun = bench.begin()
    bench.hello()
    bench.results(answer(run=begun.run, attempt=2))
    ok = bench.verdict(begun.run)
    assert ok.ok
    bench.results(answer(run=begun.run, verdicts=(Verdict.NOK, Verdict.OK)), first_seq=2)
    assert [event.kind for event in bench.reader.events()].count("late_defect") == 1
    after = bench.verdict(begun.run)
    assert (after.ok, after.verdict_seq) == (True, ok.verdict_seq)


@pytest.mark.parametrize("step_ns", [HOUR_NS, -HOUR_NS, 15 * 365 * 24 * HOUR_NS])
def test_fault_47_a_clock_that_is_set_changes_no_deadline_and_no_verdict(
    bench: Bench, step_ns: int
) -> None:
    """By an hour in either direction, or beyond 2038."""
    bench.hello()
    first = bench.begin()
    bench.clock.set_wall(bench.clock.wall_ns() + step_ns)
    bench.clock.advance(ms=PLAN.deadline_ms // 2)
    bench.edge(m.Ping(edge="edge-1", nonce=bench.nonce, counter=1, outbox_records=0))
    bench.results(answer(run=first.run))
    told = bench.verdict(first.run)
    assert told.ok
    second = bench.begin("part-2")
    bench.clock.set_wall(bench.clock.wall_ns() - step_ns)
    bench.clock.advance(ms=PLAN.deadline_ms - 1)
    bench.edge(m.Ping(edge="edge-1", nonce=bench.nonce, counter=2, outbox_records=0))
    assert not bench.verdict(second.run, "part-2").result_valid
    bench.clock.advance(ms=2)
    bench.tick()
    held = bench.verdict(second.run, "part-2")
    assert held.hold
    assert held.verdict_seq > told.verdict_seq


def test_fault_49_a_plan_that_is_changed_while_a_part_stands_there_is_for_the_next_part(
    bench: Bench,
) -> None:
    bench.hello()
    begun = bench.begin()
    bench.plan = msgspec.structs.replace(PLAN, version="2", points=PLAN.points[:1])
    bench.restart()
    bench.nonce = "3" * 32
    bench.hello(nonce=bench.nonce)
    # The point that the new plan does not have any more is still one of this part's.
    half = answer(run=begun.run, attempt=1, verdicts=(Verdict.OK, None))
    bench.results(half)
    told = bench.verdict(begun.run)
    assert (told.ok, told.planned, told.points_not_inspected) == (False, 2, 1)
    assert bench.begin("part-2").planned == 1


def test_fault_49_an_empty_plan_is_never_ok(bench: Bench) -> None:
    bench.hello()
    bench.plan = msgspec.structs.replace(PLAN, points=())
    bench.restart()
    begun = bench.begin()
    assert begun.planned == 0
    bench.clock.advance(ms=PLAN.deadline_ms + 1)
    bench.tick()
    assert not bench.verdict(begun.run).ok


def test_fault_25_the_same_order_answered_twice_with_other_content_is_never_ok(
    bench: Bench,
) -> None:
    bench.hello()
    begun = bench.begin()
    bench.results(answer(run=begun.run, verdicts=(None, Verdict.OK)))
    other = answer(run=begun.run, verdicts=(Verdict.OK, Verdict.OK))
    bench.results(other, first_seq=2)
    assert bench.reader.counts()["quarantine"] == 1
    assert not bench.verdict(begun.run).ok
    assert any(event.kind == "conflict" for event in bench.reader.events())


class TestSockets:
    """What libzmq does for the station, with the options that its service sets."""

    @pytest.fixture
    def service(self) -> Iterator[tuple[Service, Listen]]:
        edge, evidence, plc = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
        listen = Listen(edge=edge, evidence=evidence, plc=plc)
        service = Service(listen)
        yield service, listen
        service.close()

    @pytest.fixture
    def context(self) -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
        context = zmq.Context()
        yield context
        context.destroy(linger=0)

    def test_fault_27_a_newcomer_under_a_name_that_is_taken_is_not_heard(
        self, service: tuple[Service, Listen], context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        peers = []
        for text in (b"first", b"second"):
            peer = context.socket(zmq.DEALER)
            peer.linger = 0
            peer.routing_id = b"edge-1"
            peer.connect(service[1].edge)
            peer.send(text)
            time.sleep(0.3)
            peers.append(peer)
        peers[0].send(b"first again")
        time.sleep(0.3)
        heard = [frame for _, _, frame in service[0]._take()[0]]
        assert heard == [b"first", b"first again"]

    def test_fault_52_closing_with_unsent_frames_takes_no_time(
        self, service: tuple[Service, Listen], context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        peer = context.socket(zmq.DEALER)
        peer.linger = 0
        peer.connect(service[1].edge)
        peer.send(b"hello")
        time.sleep(0.2)
        ((_, name, _),) = service[0]._take()[0]
        for _ in range(500):
            service[0]._sockets["edge"].send_multipart((name, bytes(10_000)), zmq.NOBLOCK)
        begun = time.monotonic()
        service[0].close()
        assert time.monotonic() - begun < 2


def test_fault_52_nothing_that_has_a_socket_is_ever_forked() -> None:
    """A forked child's sends vanish without an error."""
    forks = []
    for path in [*(ROOT / "edge").rglob("*.py"), *(ROOT / "inspection" / "station").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[Any] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            elif isinstance(node, ast.Attribute):
                names = [node.attr]
            if {"fork", "forkpty", "multiprocessing"} & set(names):
                forks.append(path.name)
    assert forks == []


def test_fault_45_neither_station_nor_edge_can_load_a_pickle_of_weights() -> None:
    code = (
        "import sys, inspection.station.command, edge.command\n"
        "print({'torch', 'pickle5', 'dill', 'joblib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    training = (ROOT / "inspection" / "training").rglob("*.py")
    loads = [line for path in training for line in path.read_text("utf-8").splitlines()]
    loads = [line for line in loads if "torch.load(" in line]
    assert loads
    assert all("weights_only=True" in line for line in loads)


def test_fault_33_a_reason_of_a_newer_edge_is_no_ok(bench: Bench) -> None:
    """An enum value, a field that is missing: kept aside, and the points stay open."""
    bench.hello()
    begun = bench.begin()
    said = msgspec.to_builtins(answer(run=begun.run))
    unknown = {**said, "points": [{**said["points"][0], "verdict": "GOOD"}, said["points"][1]]}
    missing = {key: value for key, value in said.items() if key != "frame"}
    newer = {**said, "protocol": 2}
    raw = [msgspec.msgpack.encode(changed) for changed in (unknown, missing, newer)]
    (committed, *_) = bench.results(*raw)
    assert committed.committed == 3
    assert bench.reader.counts()["quarantine"] == 3
    bench.clock.advance(ms=PLAN.deadline_ms + 1)
    bench.tick()
    assert bench.verdict(begun.run).hold
    assert {p.reason for p in bench.reader.points(run=begun.run)} != {Reason.NONE}
