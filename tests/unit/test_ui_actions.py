"""What a page asks of a station: real sockets, a real station, and one that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
import zmq
from msgspec.structs import replace
from test_station import RELEASED
from test_station_people import OK_NOK, Floor

from inspection.evidence import EvidenceStore
from inspection.messages import Action, Fault, Role, Verdict
from inspection.station.config import Listen
from inspection.station.people import People, PersonEntry, hashed, station_secret, write_people
from inspection.station.service import Service
from inspection.station.station import Station
from inspection.store import Store
from inspection.testing.line import free_ports
from ui import actions
from ui.actions import Counter, NoAnswer, NotSent, Refused

PASSWORD = "correct horse"
T = TypeVar("T")


class Hall(Floor):
    """A station with its sockets and its list of people. It is this thread's: it works while
    somebody asks."""

    def start(self) -> None:
        path = self.folder / "people.toml"
        entries = [
            PersonEntry(name=name, roles=(role,), password=hashed(PASSWORD))
            for name, role in (("anna", Role.QUALITY), ("otto", Role.OPERATOR))
        ]
        write_people(path, entries)
        self.store = Store(self.folder / "station.db", "station-1", self.clock)
        self.station = Station(
            station_id="station-1",
            plans={self.plan.name: self.plan},
            released={"m": RELEASED},
            store=self.store,
            evidence=EvidenceStore(self.folder / "evidence"),
            clock=self.clock,
            people=People(path, station_secret(self.folder / "secret"), self.clock.boot_id()),
        )
        edge, plc, evidence, people = (f"tcp://127.0.0.1:{port}" for port in free_ports(4))
        self.people = people
        self.service = Service(Listen(edge=edge, plc=plc, evidence=evidence, people=people))

    def while_asked(self, question: Callable[[], T], deaf: int = 0) -> T:
        """The answer to a question; the first ``deaf`` answers of the station are lost."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(question)
            work = self.station.work

            def lossy(*frames: Any) -> list[tuple[str, bytes, bytes]]:
                nonlocal deaf
                sent = work(*frames)
                if deaf and any(name == "people" for name, _, _ in sent):
                    deaf -= 1
                    return []
                return sent

            self.station.work = cast(Any, lossy)  # type: ignore[method-assign]
            try:
                while not answer.done():
                    self.service.step(self.station, 20)
            finally:
                self.station.work = work  # type: ignore[method-assign]
            return answer.result()

    def close(self) -> None:
        self.service.close()
        super().close()


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Hall]:
    hall = Hall(tmp_path)
    yield hall
    hall.close()


@pytest.fixture
def counter(hall: Hall) -> Iterator[Counter]:
    counter = Counter(hall.people, None)
    yield counter
    counter.close()


def test_who_logs_in_is_known_with_roles_and_a_wrong_password_is_refused(
    hall: Hall, counter: Counter
) -> None:
    session = hall.while_asked(lambda: counter.login("otto", PASSWORD))
    assert (session.user, session.roles) == ("otto", frozenset({Role.OPERATOR}))
    assert session.token not in repr(session)
    with pytest.raises(Refused, match="user name or password is wrong") as refused:
        hall.while_asked(lambda: counter.login("otto", "another horse"))
    assert refused.value.fault is Fault.NOT_AUTHORISED


def test_a_word_is_written_down_once_however_often_its_answer_is_lost(
    hall: Hall, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "AGAIN_S", 0.1)
    run = hall.inspected(OK_NOK)
    session = hall.while_asked(lambda: counter.login("anna", PASSWORD))
    word = hall.decision(session.token, run, "p1", Action.OVERRULE)
    decided = hall.while_asked(lambda: counter.decide(word), deaf=2)
    assert (decided.verdict, decided.request_id) == (Verdict.OK, word.request_id)
    assert hall.while_asked(lambda: counter.decide(word)) == decided
    assert hall.rows("decision") == 1


def test_a_word_on_what_has_changed_since_is_refused_and_on_record_as_overtaken(
    hall: Hall, counter: Counter
) -> None:
    run = hall.inspected(OK_NOK)
    anna = hall.while_asked(lambda: counter.login("anna", PASSWORD))
    otto = hall.while_asked(lambda: counter.login("otto", PASSWORD))
    late = hall.decision(otto.token, run, "p1", Action.CONFIRM)
    first = hall.decision(anna.token, run, "p1", Action.OVERRULE)
    hall.while_asked(lambda: counter.decide(first))
    with pytest.raises(Refused, match="look at it again") as refused:
        hall.while_asked(lambda: counter.decide(late))
    assert refused.value.fault is Fault.STALE
    assert hall.rows("decision") == 1
    told = [event.text for event in hall.reader.events() if event.kind == "decision_stale"]
    assert len(told) == 1
    assert told[0].startswith("otto, confirm at point p1")


def test_what_the_pages_offer_is_not_what_counts_the_station_says_who_may_say_what(
    hall: Hall, counter: Counter
) -> None:
    run = hall.inspected(OK_NOK)
    otto = hall.while_asked(lambda: counter.login("otto", PASSWORD))
    for token in (otto.token, "anna", f"{otto.token}x"):
        word = hall.decision(token, run, "p1", Action.OVERRULE)
        with pytest.raises(Refused) as refused:
            hall.while_asked(lambda word=word: counter.decide(word))  # type: ignore[misc]
        assert refused.value.fault is Fault.NOT_AUTHORISED
    assert hall.rows("decision") == 0


def test_nothing_waits_for_a_station_that_starts_later(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "CONNECT_S", 0.2)
    run = hall.inspected(OK_NOK)
    first = Counter(hall.people, None)
    anna = hall.while_asked(lambda: first.login("anna", PASSWORD))
    first.close()
    (port,) = free_ports(1)
    endpoint = f"tcp://127.0.0.1:{port}"
    counter = Counter(endpoint, None)
    word = hall.decision(anna.token, run, "p1", Action.OVERRULE)
    with pytest.raises(NotSent):
        counter.decide(word)
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.bind(endpoint)
    assert socket.poll(300) == 0
    socket.close(linger=0)
    context.term()
    assert hall.rows("decision") == 0


def test_a_station_that_says_nothing_leaves_it_open_whether_it_was_written_down(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "ANSWER_S", 1.0)
    run = hall.inspected(OK_NOK)
    counter = Counter(hall.people, None)
    anna = hall.while_asked(lambda: counter.login("anna", PASSWORD))
    word = hall.decision(anna.token, run, "p1", Action.OVERRULE)
    with pytest.raises(NoAnswer):
        counter.decide(word)  # nobody works
    # Asked again with the same number it is on record once, wherever the first one was left.
    decided = hall.while_asked(lambda: counter.decide(word))
    assert decided.verdict is Verdict.OK
    other = replace(word, request_id="f" * 32)
    with pytest.raises(Refused):
        hall.while_asked(lambda: counter.decide(other))
    assert hall.rows("decision") == 1
    counter.close()
