"""What waits for people and in which order, from what a real station wrote down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import PLAN
from test_station_people import GUARDED, OK_NOK, Floor

from inspection import messages as m
from inspection.ledger import Entry
from inspection.messages import Action, Reason, Severity, Verdict
from inspection.plan import Deciding, Plan
from inspection.store import Reader
from ui.waiting import Item, Need, Queue, Waiting, asked_of, similar, urgency

TWO = msgspec.structs.replace(PLAN, decisions=Deciding(two_persons=(Severity.MAJOR,)))


class Desk(Floor):
    """A station, and what waits at it."""

    def waits(self, seconds: int = 1) -> Queue:
        if "waiting" not in self.__dict__:
            self.waiting = Waiting(Reader(self.folder / "station.db"), self.clock)
        self.clock.advance(s=seconds)
        queue = self.waiting.look()
        assert isinstance(queue, Queue), queue
        return queue

    def asks(self, user: str | None = None) -> list[tuple[str, str, Need | None]]:
        """(part, point, need) of what one is asked, in this order."""
        return [(i.part, i.point, i.need) for i in asked_of(self.waits(), user, Need)]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def desk(*plan: Plan) -> Desk:
        made.append(Desk(tmp_path, *plan))
        return made[-1]

    yield desk
    for each in made:
        each.close()


def item(**fields: Any) -> Item:
    given = {
        "need": Need.NOK,
        "run": "r",
        "number": 1,
        "part": "part",
        "plan_hash": "h",
        "begun_ns": 0,
        "verdict_seq": 1,
        "point": "p",
        "view": "v",
        "count": 1,
        "record": 1,
        "entry": Entry("p", Verdict.NOK, Reason.DEFECT, "hole"),
        "seen": Verdict.NOK,
        "severity": Severity.MINOR,
    }
    return Item(**{**given, **fields})


# ---------------------------------------------------------------------------------- the order


def test_the_severest_come_first_then_what_the_answer_is_worth() -> None:
    wanted = [
        item(severity=None, part_waits=9),
        item(severity=Severity.CRITICAL, need=Need.NOT_INSPECTED, part_waits=9),
        item(severity=Severity.MAJOR, need=Need.SECOND, part_waits=9),
        item(severity=Severity.MAJOR, need=Need.DISAGREEMENT),
        item(severity=Severity.MAJOR, need=Need.REVIEW, part_waits=5),
        item(severity=Severity.MAJOR, need=Need.NOK, part_waits=1, number=1),
        item(severity=Severity.MAJOR, need=Need.NOK, part_waits=2, number=9),
        item(severity=Severity.MAJOR, need=Need.NOK, part_waits=2, number=8, point="a"),
        item(severity=Severity.MAJOR, need=Need.NOK, part_waits=2, number=8, point="b"),
        item(severity=Severity.MINOR, need=Need.SECOND),
    ]
    assert [urgency(each) for each in wanted] == sorted(map(urgency, wanted))
    assert len(set(map(urgency, wanted))) == len(wanted)


@given(
    st.sampled_from(Severity),
    st.sampled_from(Need),
    st.integers(1, 50),
    st.integers(1, 99),
)
def test_nothing_but_severity_puts_a_lesser_point_before_a_severer_one(
    severity: Severity, need: Need, waits: int, number: int
) -> None:
    one = item(severity=severity, need=need, part_waits=waits, number=number)
    for other in Severity:
        if other.rank > severity.rank:
            assert urgency(item(severity=other, need=Need.NOT_INSPECTED, part_waits=50)) < (
                urgency(one)
            )


def test_similar_are_the_same_question_at_the_same_point_first() -> None:
    here = item()
    same_point = item(run="s")
    same_class = item(run="t", point="q", entry=Entry("q", Verdict.NOK, Reason.DEFECT, "hole"))
    other_class = item(run="u", point="q", entry=Entry("q", Verdict.NOK, Reason.DEFECT, "edge"))
    other_need = item(run="v", need=Need.REVIEW)
    queue = Queue((other_need, same_class, here, other_class, same_point), 0, None)
    assert similar(queue, here, 9) == [same_point, same_class]
    assert similar(queue, here, 1) == [same_point]


# --------------------------------------------------------------------------- at a real station


class Ticking:
    """A clock on which a nanosecond goes by each time that somebody looks at it."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def wall_ns(self) -> int:
        return self.now_ns

    def boot_id(self) -> str:
        return "boot"


def test_older_parts_are_read_later_than_newer_ones_and_what_is_listed_stays_right(
    make: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.waiting.READ_TOGETHER", 1)
    monkeypatch.setattr("ui.waiting.READ_NS", 1)  # over when one was read
    desk = make()
    runs = [desk.inspected((Verdict.NOK, Verdict.OK), part=part) for part in ("old", "mid", "new")]
    clock = Ticking()
    started = []
    waiting = Waiting(Reader(desk.folder / "station.db"), clock, behind=started.append)

    def look() -> tuple[list[str], int, int]:
        clock.now_ns += 10**9
        queue = waiting.look()
        assert isinstance(queue, Queue)
        return [each.part for each in queue.items], queue.runs, queue.unread

    monkeypatch.setattr("ui.waiting.FEW", 0)
    assert look() == (["new"], 1, 2)
    desk.decide("anna", runs[2], "p0", Action.OVERRULE)
    assert look() == ([], 1, 2)
    assert waiting.read_older()
    assert look() == (["mid"], 2, 1)
    monkeypatch.setattr("ui.waiting.FEW", 1)
    monkeypatch.setattr("ui.waiting.READ_TOGETHER", 2)
    desk.inspected((Verdict.NOK, Verdict.OK), part="newer")
    assert look() == (["mid"], 2, 2)
    assert not waiting.read_older()
    assert look() == (["newer", "mid", "old"], 4, 0)
    (work,) = started
    work()  # as a thread does it: there is nothing left
    desk.inspected((Verdict.NOK, Verdict.OK), part="newest")
    assert look() == (["newest", "newer", "mid", "old"], 5, 0)


def test_what_somebody_decides_while_it_is_read_behind_is_not_listed_as_it_was_before(
    make: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ui.waiting.READ_TOGETHER", 1)
    monkeypatch.setattr("ui.waiting.READ_NS", 1)
    monkeypatch.setattr("ui.waiting.FEW", 0)
    desk = make()
    old, _ = [desk.inspected((Verdict.NOK, Verdict.OK), part=part) for part in ("old", "new")]
    clock = Ticking()
    waiting = Waiting(Reader(desk.folder / "station.db"), clock, behind=lambda _: None)

    def look() -> list[str]:
        clock.now_ns += 10**9
        queue = waiting.look()
        assert isinstance(queue, Queue)
        return [each.part for each in queue.items]

    assert look() == ["new"]
    plain = waiting._read_parts

    def interrupted(runs: Any) -> Any:
        found = plain(runs)
        monkeypatch.setattr(waiting, "_read_parts", plain)
        desk.decide("anna", old, "p0", Action.OVERRULE)
        look()
        return found

    monkeypatch.setattr(waiting, "_read_parts", interrupted)
    assert waiting.read_older()  # thrown away
    assert not waiting.read_older()
    assert look() == ["new"]


def test_what_the_machine_did_not_call_ok_waits_and_an_open_run_does_not(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    assert desk.waits().items == ()
    desk.inspected((Verdict.OK, Verdict.OK), part="good")
    desk.inspected((Verdict.NOK, Verdict.REVIEW), part="both")
    desk.inspected((None, Verdict.OK), part="unseen")
    desk.inspected((Verdict.OK, Verdict.NOK), part="one")
    desk.ask(m.Begin, part="open", plan=desk.plan.name)
    assert desk.asks() == [
        ("both", "p1", Need.REVIEW),
        ("one", "p1", Need.NOK),  # the only one that its part waits for
        ("both", "p0", Need.NOK),
        ("unseen", "p0", Need.NOT_INSPECTED),
    ]
    assert [i.part_waits for i in desk.waits().items] == [2, 1, 2, 1]


def test_points_of_a_view_that_nobody_saw_are_one_question_with_every_record(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    run = desk.inspected((None, None))
    (asked,) = desk.waits().items
    assert (asked.point, asked.count, asked.severity) == ("p0", 2, Severity.MAJOR)
    members = desk.waiting.detail(asked).members
    words = {each: desk.decision("anna", run, each, Action.OVERRULE) for each in ("p0", "p1")}
    assert {each.point: each.record for each in members} == {
        point: word.expected_record for point, word in words.items()
    }
    for word in words.values():
        done = desk.person(msgspec.structs.replace(word, method="ultrasonic"))
        assert isinstance(done, m.Decided), done
    assert desk.waits().items == ()


def test_what_is_decided_waits_no_longer_and_waits_again_when_it_is_taken_back(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    run = desk.inspected(OK_NOK)
    assert desk.asks() == [("part-1", "p1", Need.NOK)]
    for action in (Action.CONFIRM, Action.OVERRULE):
        assert isinstance(desk.decide("anna", run, "p1", action), m.Decided)
        assert desk.asks() == []
        assert isinstance(desk.decide("anna", run, "p1", Action.CANNOT_TELL), m.Decided)
        assert desk.asks() == [("part-1", "p1", Need.NOK)]


def test_what_was_just_said_is_known_at_once(make: Callable[..., Desk]) -> None:
    desk = make()
    run = desk.inspected(OK_NOK)
    desk.waits()
    desk.decide("anna", run, "p1", Action.OVERRULE)
    assert len(desk.waits(seconds=0).items) == 1
    desk.waiting.said("part-1")
    assert desk.waits(seconds=0).items == ()


def test_nobody_is_the_second_person_to_himself(make: Callable[..., Desk]) -> None:
    desk = make(TWO)
    run = desk.inspected(OK_NOK)
    assert isinstance(desk.decide("anna", run, "p1", Action.OVERRULE), m.Decided)
    assert desk.asks("anna") == desk.asks("Anna") == []
    assert desk.asks("ben") == [("part-1", "p1", Need.SECOND)]
    assert isinstance(desk.decide("ben", run, "p1", Action.CONFIRM), m.Decided)
    assert desk.asks("anna") == desk.asks("ben") == [("part-1", "p1", Need.DISAGREEMENT)]


def test_what_one_looks_at_is_held_for_others_until_he_looks_at_another_or_goes(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    desk.inspected((Verdict.NOK, Verdict.REVIEW))
    first, second = desk.waits().items
    desk.waiting.hold("a", first)
    assert (desk.waiting.held("a"), desk.waiting.held("b")) == (set(), {first.key})
    desk.waiting.hold("b", first)  # it was the last one: the first to look keeps it
    assert (desk.waiting.held("a"), desk.waiting.held("b")) == (set(), {first.key})
    desk.waiting.hold("a", second)
    assert (desk.waiting.held("b"), desk.waiting.held("c")) == ({second.key}, {second.key})
    desk.clock.advance(s=11)
    assert desk.waiting.held("b") == set()


def test_only_the_latest_run_of_a_part_is_asked_about(make: Callable[..., Desk]) -> None:
    desk = make()
    desk.inspected(OK_NOK)
    assert len(desk.waits().items) == 1
    desk.inspected((Verdict.OK, Verdict.OK))
    assert desk.waits().items == ()


def test_nobody_is_asked_about_a_challenge_part(make: Callable[..., Desk]) -> None:
    desk = make(GUARDED)
    desk.hello()
    desk.inspected(part="rabbit-1")
    desk.inspected(OK_NOK, part="part-1")
    assert [part for part, _, _ in desk.asks()] == ["part-1"]


def test_a_point_that_is_ok_is_found_by_what_people_call_it(make: Callable[..., Desk]) -> None:
    desk = make()
    run = desk.inspected(OK_NOK)
    desk.waits()
    found = desk.waiting.find("part-1", "p0")
    assert found is not None
    assert (found.need, found.entry.verdict, found.run) == (None, Verdict.OK, run)
    assert desk.waiting.find("part-1", "p9") is None
    assert desk.waiting.find("part-9", "p0") is None
    decided = desk.decide("otto", run, "p0", Action.ESCAPE, expected_record=found.record)
    assert isinstance(decided, m.Decided), decided
    assert decided.verdict is Verdict.NOK


def test_a_store_that_cannot_be_read_leaves_what_was_known_with_its_fault(
    make: Callable[..., Desk],
) -> None:
    desk = make()
    desk.inspected(OK_NOK)
    before = desk.waits()
    path = desk.folder / "station.db"
    path.rename(desk.folder / "away.db")
    after = desk.waits()
    assert after.fault
    assert after.items == before.items
    assert after.read_ns == before.read_ns
    (desk.folder / "away.db").rename(path)
    assert replace(desk.waits(), read_ns=0) == replace(before, read_ns=0)
