"""An edge's side of the conversation, with the time told by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import UNSET

from edge.link import ACK_NS, MS, PING_NS, SILENCE_NS, Link
from edge.outbox import Outbox
from inspection import messages as m
from inspection import wire
from inspection.messages import Fault


class Bench:
    """A link over a real outbox, and a station that is played by the test."""

    def __init__(self, folder: Path) -> None:
        self.outbox = Outbox(folder)
        self.working: tuple[m.OrderRef, ...] = ()
        self.link = Link("edge-1", lambda: ("cam1",), (), self.outbox, lambda: self.working)
        self.now = 10 * SILENCE_NS
        self.unsent: list[Any] = []

    def sent(self) -> list[Any]:
        return [wire.EDGE_TO_STATION.decode(frame) for frame in self.link.to_send(self.now)]

    def heard(self, message: Any) -> m.Order | None:
        return self.link.received(wire.STATION_TO_EDGE.encode(message), self.now)

    def connect(self, committed: int = 0, credit: int = 256) -> m.Hello:
        """Wait for the next hello, and welcome it."""
        for _ in range(200):
            for message in self.sent():
                if isinstance(message, m.Hello):
                    self.heard(
                        m.Welcome(
                            station="s", nonce=message.nonce, committed=committed, credit=credit
                        )
                    )
                    return message
            self.now += 50 * MS
        raise TimeoutError("no hello in 10 s")

    def wait(self, ns: int) -> None:
        """Time passes while the worker listens, as it does between two views."""
        while ns > 0:
            step = min(ns, 100 * MS)
            self.now += step
            ns -= step
            if ns:
                self.unsent += self.sent()

    def away(self, ns: int) -> None:
        """Time passes while the worker is busy with one long exposure."""
        self.now += ns


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "outbox")
    yield bench
    bench.outbox.close()


def results(messages: list[Any]) -> list[m.Results]:
    return [message for message in messages if isinstance(message, m.Results)]


def test_nothing_is_sent_before_the_station_has_welcomed(bench: Bench) -> None:
    bench.outbox.append([b"a"])
    (hello,) = bench.sent()
    assert (hello.first_seq, hello.next_seq) == (1, 2)
    assert bench.sent() == []


def test_sending_begins_where_the_station_stands(bench: Bench) -> None:
    bench.outbox.append([b"a", b"b", b"c"])
    bench.connect(committed=2)
    (sent,) = results(bench.sent())
    assert (sent.first_seq, sent.records) == (3, (b"c",))


def test_a_record_is_sent_once_and_forgotten_when_it_is_committed(bench: Bench) -> None:
    hello = bench.connect()
    bench.outbox.append([b"a", b"b"])
    (sent,) = results(bench.sent())
    assert sent.records == (b"a", b"b")
    assert results(bench.sent()) == []
    bench.heard(m.Committed(nonce=hello.nonce, committed=2, credit=256))
    assert bench.outbox.pending == 0


def test_without_acknowledgement_a_new_session_begins_and_everything_comes_again(
    bench: Bench,
) -> None:
    first = bench.connect()
    bench.outbox.append([b"a"])
    assert results(bench.sent())
    bench.wait(ACK_NS + 1)
    bench.heard(m.Pong(nonce=first.nonce, counter=1))  # alive, but the results were lost
    assert bench.sent() == []
    assert bench.link.must_reconnect
    bench.wait(SILENCE_NS // 2)
    second = bench.connect()
    assert second.nonce != first.nonce
    assert results(bench.sent())[0].records == (b"a",)


def test_an_answer_of_an_earlier_session_is_dropped(bench: Bench) -> None:
    old = bench.connect()
    bench.outbox.append([b"a", b"b"])
    bench.sent()
    bench.wait(SILENCE_NS + 1)
    bench.sent()
    bench.wait(SILENCE_NS // 2)
    bench.connect()
    bench.heard(m.Committed(nonce=old.nonce, committed=2, credit=256))
    assert bench.outbox.pending == 2


def test_a_silent_station_is_given_up_and_the_socket_replaced(bench: Bench) -> None:
    bench.connect()
    bench.wait(SILENCE_NS + 1)
    assert bench.sent() == []
    assert (bench.link.open, bench.link.must_reconnect) == (False, True)


def test_a_worker_that_was_busy_itself_does_not_call_the_station_silent(bench: Bench) -> None:
    bench.connect()
    bench.away(2 * SILENCE_NS)
    bench.sent()
    assert bench.link.open
    assert not bench.link.must_reconnect


@pytest.mark.parametrize("slow_ms", [50, 700, 1300, 2500])
def test_a_slow_station_is_still_reached(bench: Bench, slow_ms: int) -> None:
    answers: list[tuple[int, m.Welcome]] = []
    for _ in range(600):
        for message in bench.sent():
            if isinstance(message, m.Hello):
                welcome = m.Welcome(station="s", nonce=message.nonce, committed=0, credit=9)
                answers.append((bench.now + slow_ms * MS, welcome))
        for due, welcome in [a for a in answers if a[0] <= bench.now]:
            answers.remove((due, welcome))
            bench.heard(welcome)
        if bench.link.open:
            return
        bench.now += 50 * MS
    pytest.fail("never connected in 30 s")


@pytest.mark.parametrize("connect_ms", [0, 100, 400, 1300, 2500])
def test_fault_21_an_edge_long_away_comes_back_where_connecting_takes_its_time(
    bench: Bench, connect_ms: int
) -> None:
    """A frame on a socket that is not yet connected is never sent: that is libzmq's `IMMEDIATE`."""
    bench.wait(60_000 * MS)  # nobody is there
    connected_at = bench.now + connect_ms * MS
    for _ in range(3000):
        hellos = [message for message in bench.sent() if isinstance(message, m.Hello)]
        if bench.link.must_reconnect:
            bench.link.must_reconnect = False
            connected_at = bench.now + connect_ms * MS
        elif hellos and bench.now >= connected_at:
            welcome = m.Welcome(station="s", nonce=hellos[-1].nonce, committed=0, credit=9)
            bench.heard(welcome)
            break
        bench.now += 10 * MS
    assert bench.link.open


def test_a_hello_that_is_never_answered_also_replaces_the_socket(bench: Bench) -> None:
    for _ in range(10):
        bench.sent()
        bench.wait(1000 * MS)
    assert bench.link.must_reconnect


def test_pings_say_which_orders_are_in_hand(bench: Bench) -> None:
    bench.connect()
    bench.working = (m.OrderRef(run="r", view="v", attempt=1),)
    bench.wait(PING_NS)
    (ping,) = bench.sent()
    assert ping.working == bench.working


def test_a_restarted_station_is_greeted_again_at_once(bench: Bench) -> None:
    bench.connect()
    bench.heard(m.Refused(fault=Fault.UNKNOWN_SESSION, text="say hello"))
    assert isinstance(bench.sent()[0], m.Hello)


def test_a_refusal_is_not_answered_with_a_flood(bench: Bench) -> None:
    bench.sent()
    bench.heard(m.Refused(fault=Fault.EDGE_MISSING, text="camera cam1 is already connected"))
    assert bench.sent() == []


def test_without_credit_nothing_more_is_sent(bench: Bench) -> None:
    hello = bench.connect(credit=3)
    bench.outbox.append([bytes([n]) for n in range(10)])
    assert sum(len(r.records) for r in results(bench.sent())) == 3
    assert results(bench.sent()) == []
    bench.heard(m.Committed(nonce=hello.nonce, committed=3, credit=2))
    assert sum(len(r.records) for r in results(bench.sent())) == 2


def test_batches_stay_under_the_limit_of_the_lane(bench: Bench) -> None:
    bench.connect()
    bench.outbox.append([bytes(500_000) for _ in range(4)])
    sent = results(bench.sent())
    assert [len(r.records) for r in sent] == [1, 1, 1, 1]


def test_orders_outside_a_session_are_not_carried_out(bench: Bench) -> None:
    order = m.Order(
        run="r",
        part="p",
        plan="a" * 64,
        view="v",
        camera="cam1",
        attempt=1,
        remaining_ms=100,
        width_px=10,
        height_px=10,
        points=(
            m.PointTask(
                point="p1",
                model="m",
                region=m.Region(left_px=0, top_px=0, width_px=1, height_px=1),
            ),
        ),
        models={},
    )
    bench.sent()
    assert bench.heard(order) is None
    bench.wait(2000 * MS)
    bench.sent()
    bench.wait(100 * MS)
    bench.connect()
    assert bench.heard(order) == order


def test_garbage_from_the_station_changes_nothing(bench: Bench) -> None:
    bench.connect()
    for frame in (b"", b"\xc1", b"{}", bytes(2000)):
        assert bench.link.received(frame, bench.now) is None
    assert bench.link.open


class Offered:
    """Models that change: what was said and heard of them."""

    def __init__(self, *states: m.ModelState) -> None:
        self.states = list(states)
        self.said: list[int] = []
        self.asked: list[tuple[int, Any]] = []

    def say(self, counter: int) -> list[m.ModelState]:
        self.said.append(counter)
        return self.states

    def heard(self, counter: int, asked: Any) -> None:
        self.asked.append((counter, asked))


def test_models_that_change_are_told_in_every_ping_and_at_once_where_that_matters(
    tmp_path: Path,
) -> None:
    ref, other = (m.ModelRef(package=c * 64, policy="b" * 64) for c in "ac")
    offered = Offered(m.ModelState(name="weld", ref=ref, also=()))
    bench = Bench(tmp_path)
    bench.link = Link("edge-1", lambda: ("cam1",), offered, bench.outbox, lambda: ())
    hello = bench.connect()
    assert hello.models == tuple(offered.states)
    bench.now += PING_NS
    (ping,) = bench.sent()
    assert ping.models == hello.models
    offered.states = [m.ModelState(name="weld", ref=other, also=(ref,))]
    assert bench.sent() == []
    bench.link.ping_now()
    (ping,) = bench.sent()
    assert (ping.models, ping.counter) == (tuple(offered.states), offered.said[-1])
    bench.heard(m.Pong(nonce=hello.nonce, counter=ping.counter, models={"weld": (other, ref)}))
    assert offered.asked == [(ping.counter, {"weld": (other, ref)})]
    # A station of before says nothing of models, and one of an earlier session is not heard.
    bench.heard(m.Pong(nonce=hello.nonce, counter=ping.counter))
    bench.heard(m.Pong(nonce="0" * 32, counter=ping.counter, models={}))
    assert len(offered.asked) == 1


def test_models_that_cannot_change_are_told_once(bench: Bench) -> None:
    bench.connect()
    bench.now += PING_NS
    (ping,) = bench.sent()
    assert ping.models is UNSET
