"""A release in a registry becomes one at the station when the edges have it, and never before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from samples import PLAN, answer
from test_station import Bench

from inspection import messages as m
from inspection import wire
from inspection.evidence import EvidenceStore
from inspection.messages import Fault, Reason, Verdict
from inspection.package import open_package
from inspection.registry import Registry, was_released
from inspection.station.releases import LOOK_NS, Releases, read_released, went_on_with
from inspection.station.station import MODEL_PATIENCE_NS, Station
from inspection.store import Store
from inspection.testing.packages import build_package

NAME = "darkness"
WHO = {"author": "A. Name", "why": "test"}
PATIENT = msgspec.structs.replace(PLAN, deadline_ms=600_000)


class Line(Bench):
    """A station that follows a registry with three versions, and an edge played by the test."""

    def __init__(
        self, folder: Path, plan: Any = PATIENT, *, fits: Callable[..., str] = lambda *_: ""
    ) -> None:
        self.registry = Registry(folder / "registry")
        self.fits = fits
        self.refs: dict[str, m.ModelRef] = {}
        for number, version in enumerate(("1", "2", "3")):
            path = build_package(folder / version, version=version, steepness=20.0 + number)
            self.registry.add(path, **WHO)
            self.refs[version] = open_package(path).ref
        self.promote("1")
        self.counter = 0
        super().__init__(folder, plan)

    def promote(self, version: str) -> None:
        self.registry.promote(NAME, version, **WHO, details={})

    def start(self) -> None:
        place = self.folder / "registry" / NAME
        self.store = Store(self.folder / "station.db", "station-1", self.clock)
        self.releases = Releases(
            {"m": read_released(place, ())},
            folders={"m": place},
            fits=self.fits,
            memory=self.folder / "released.json",
        )
        self.station = Station(
            station_id="station-1",
            plans={self.plan.name: self.plan},
            released=self.releases,
            store=self.store,
            evidence=EvidenceStore(self.folder / "evidence"),
            clock=self.clock,
        )

    def state(self, *versions: str, fault: str = "") -> tuple[m.ModelState, ...]:
        refs = [self.refs[version] for version in versions]
        first = refs[0] if refs else None
        return (m.ModelState(name="m", ref=first, also=tuple(refs[1:]), fault=fault),)

    def has(self, *versions: str, fault: str = "") -> m.Pong:
        """The edge pings and says which versions it has ready."""
        self.counter += 1
        ping = m.Ping(
            edge="edge-1",
            nonce=self.nonce,
            counter=self.counter,
            outbox_records=0,
            models=self.state(*versions, fault=fault),
        )
        said = self.edge(ping)
        self.orders = [message for message in said if isinstance(message, m.Order)]
        (pong,) = (message for message in said if isinstance(message, m.Pong))
        return pong

    def connect(self, *versions: str, fault: str = "", **changes: Any) -> list[m.Order]:
        said = self.hello(models=self.state(*versions, fault=fault), **changes)
        return [message for message in said if isinstance(message, m.Order)]

    def until_seen(self, version: str) -> None:
        """Until the station has read what the registry releases."""
        until = time.monotonic() + 60
        while True:
            self.clock.advance(ns=LOOK_NS + 1)
            self.edge(m.Ping(edge="edge-1", nonce=self.nonce, counter=1, outbox_records=0))
            found = self.releases.candidates.get("m") or self.releases.current["m"]
            if found.ref == self.refs[version]:
                return
            assert time.monotonic() < until
            time.sleep(0.005)

    @property
    def current(self) -> m.ModelRef:
        return self.releases.current["m"].ref

    def order(self, part: str = "part-1", plc: str = "plc-1") -> m.Order:
        """A part is begun; what the edge is asked."""
        self.seq += 1
        begin = m.Begin(plc=plc, seq=self.seq, part=part, plan=self.plan.name)
        said = self.raw("plc", wire.PLC_TO_STATION.encode(begin))
        (order,) = (message for message in said if isinstance(message, m.Order))
        return order

    def kinds(self) -> list[str]:
        return [event.kind for event in self.reader.events()]


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    line = Line(tmp_path)
    yield line
    line.store.close()


def test_nothing_is_ordered_from_the_new_one_before_the_edge_has_it(line: Line) -> None:
    line.connect("1")
    line.promote("2")
    line.until_seen("2")
    assert line.order().models == {"m": line.refs["1"]}
    line.has("2", "1")
    assert line.current == line.refs["2"]
    line.results(answer(plan=PATIENT, run=line.reader.runs()[0].run, model=line.refs["1"]))
    assert line.order("part-2").models == {"m": line.refs["2"]}
    assert "model_released" in line.kinds()
    assert line.station.not_ready()[0] is Fault.NONE


def test_a_verdict_counts_only_of_the_model_that_its_order_named(line: Line) -> None:
    line.connect("1")
    first = line.order("part-1")
    line.promote("2")
    line.until_seen("2")
    line.has("2", "1")
    second = line.order("part-2", "plc-2")
    line.results(answer(plan=PATIENT, run=first.run, model=line.refs["1"]))
    line.results(
        answer(plan=PATIENT, run=second.run, part="part-2", model=line.refs["1"]), first_seq=2
    )
    said = {p.run: (p.verdict, p.reason) for p in line.reader.points()}
    assert said[first.run] == (Verdict.OK, Reason.NONE)
    assert said[second.run] == (Verdict.NOT_INSPECTED, Reason.MODEL_NOT_RELEASED)


def test_the_edge_is_told_to_keep_the_old_one_for_as_long_as_an_order_names_it(line: Line) -> None:
    line.connect("1")
    order = line.order()
    line.promote("2")
    line.until_seen("2")
    assert line.has("1").models == {"m": (line.refs["1"],)}
    line.has("2", "1")
    assert line.has("2", "1").models == {"m": (line.refs["2"], line.refs["1"])}
    line.results(answer(plan=PATIENT, run=order.run, model=line.refs["1"]))
    assert line.has("2", "1").models == {"m": (line.refs["2"],)}


def test_an_edge_that_refuses_it_keeps_the_old_one_going_and_is_heard(line: Line) -> None:
    line.connect("1")
    line.promote("2")
    line.until_seen("2")
    line.has("1", fault="golden/a.png does not reproduce")
    line.has("1", fault="golden/a.png does not reproduce")
    assert line.current == line.refs["1"]
    assert line.station.not_ready()[0] is Fault.NONE
    assert line.kinds().count("model_fault") == 1
    order = line.order()
    line.results(answer(plan=PATIENT, run=order.run, model=line.refs["1"]))
    assert line.verdict(order.run).ok


def test_a_roll_back_is_a_release_like_any_other(line: Line) -> None:
    line.connect("1")
    line.promote("2")
    line.until_seen("2")
    line.has("2", "1")
    line.registry.rollback(NAME, **WHO)
    line.until_seen("1")
    assert line.current == line.refs["1"]


def test_a_release_taken_back_before_it_came_to_anything_is_no_candidate_any_more(
    line: Line,
) -> None:
    line.connect("1")
    line.promote("2")
    line.until_seen("2")
    line.registry.rollback(NAME, **WHO)
    until = time.monotonic() + 60
    while line.releases.candidates:
        assert time.monotonic() < until
        line.clock.advance(ns=LOOK_NS + 1)
        line.tick()
        time.sleep(0.005)
    line.has("2", "1")
    assert line.current == line.refs["1"]


def test_after_a_restart_it_goes_on_with_what_it_had_got_to(line: Line) -> None:
    line.connect("1")
    line.promote("2")
    line.until_seen("2")
    line.restart()
    assert line.current == line.refs["1"]
    # An edge that has started since knows the registry only, and is asked for the other.
    line.nonce = "6" * 32
    line.connect(fault="2: golden/a.png does not reproduce")
    assert line.has().models == {"m": (line.refs["1"],)}


def test_records_of_before_a_release_hold_after_a_restart(tmp_path: Path) -> None:
    second = msgspec.structs.replace(PATIENT.views[0], id="v1", camera="cam2")
    point = msgspec.structs.replace(PATIENT.points[0], id="p2", view="v1")
    plan = msgspec.structs.replace(
        PATIENT, views=(*PATIENT.views, second), points=(*PATIENT.points, point)
    )
    line = Line(tmp_path, plan)
    line.connect("1")
    order = line.order()
    line.results(answer(plan=plan, run=order.run, model=line.refs["1"]))
    line.promote("2")
    line.until_seen("2")
    # With nobody at the other camera nothing changes over; as if it had while the station was down:
    (tmp_path / "released.json").unlink()
    line.restart()
    assert line.current == line.refs["2"]
    assert "record_changed" not in line.kinds()
    assert [p.verdict for p in line.reader.points(run=order.run)] == [Verdict.OK] * 2
    line.clock.advance(s=600)
    assert line.verdict(order.run).points_ok == 2
    line.store.close()


def test_a_release_that_cannot_be_read_is_said_and_the_one_before_is_known(line: Line) -> None:
    line.connect("1")
    manifest = line.folder / "registry" / NAME / "2" / "manifest.json"
    line.promote("2")
    manifest.write_text("{")
    until = time.monotonic() + 60
    while line.kinds().count("model_refused") < 1:
        assert time.monotonic() < until
        line.clock.advance(ns=LOOK_NS + 1)
        line.tick()
        time.sleep(0.005)
    found = went_on_with(line.folder / "released.json", "m", line.folder / "registry" / NAME, ())
    assert found is not None
    assert found.ref == line.refs["1"]


def test_a_log_that_was_changed_vouches_for_nothing(line: Line) -> None:
    folder = line.folder / "registry" / NAME
    assert was_released(folder, line.refs["1"])
    assert not was_released(folder, line.refs["2"])
    log = (folder / "log.jsonl").read_text()
    (folder / "log.jsonl").write_text(log.replace("A. Name", "B. Name", 1))
    assert not was_released(folder, line.refs["1"])


def test_an_answer_to_an_order_of_before_a_restart_counts_if_it_was_released_then(
    line: Line,
) -> None:
    line.connect("1")
    order = line.order()
    line.promote("2")
    line.until_seen("2")
    line.has("2", "1")
    line.restart()
    working = (m.OrderRef(run=order.run, view=order.view, attempt=order.attempt),)
    line.nonce = "6" * 32
    line.connect("2", "1", working=working)
    line.results(answer(plan=PATIENT, run=order.run, model=line.refs["1"]))
    assert line.verdict(order.run).ok


def test_one_that_was_never_released_does_not_count_even_then(line: Line) -> None:
    line.connect("1")
    order = line.order()
    line.restart()
    working = (m.OrderRef(run=order.run, view=order.view, attempt=order.attempt),)
    line.nonce = "6" * 32
    line.connect("1", working=working)
    line.results(answer(plan=PATIENT, run=order.run, model=line.refs["3"]))
    assert {p.reason for p in line.reader.points(run=order.run)} == {Reason.MODEL_NOT_RELEASED}


def test_an_edge_that_has_yet_to_load_what_is_released_is_waited_for(line: Line) -> None:
    line.connect("1")
    line.promote("2")
    line.until_seen("2")
    line.has("2", "1")
    line.nonce = "6" * 32
    line.connect("1")
    run = line.begin().run
    assert line.has("1").models == {"m": (line.refs["2"],)}
    assert line.orders == []
    line.has("1", "2")
    (order,) = line.orders
    assert (order.run, order.models) == (run, {"m": line.refs["2"]})


def test_it_is_not_waited_for_longer_than_is_reasonable(line: Line) -> None:
    line.connect("2", "3")
    line.begin()
    assert line.has("2", "3").models == {"m": (line.refs["1"],)}
    assert line.orders == []
    for _ in range(MODEL_PATIENCE_NS // 10**9 + 1):
        line.clock.advance(ms=1000)
        line.has("2", "3", fault="1: not here")
        if line.orders:
            return
    pytest.fail("never ordered")


def test_a_release_that_the_plans_cannot_use_is_refused(tmp_path: Path) -> None:
    line = Line(tmp_path, fits=lambda _, model: "no such class" * (model.manifest.version == "2"))
    line.connect("1")
    line.promote("2")
    until = time.monotonic() + 60
    while "model_refused" not in line.kinds():
        assert time.monotonic() < until
        line.clock.advance(ns=LOOK_NS + 1)
        line.tick()
        time.sleep(0.005)
    line.has("2", "1")
    assert line.current == line.refs["1"]
    line.store.close()


def test_a_model_of_which_all_edges_are_away_is_not_changed_under_them(line: Line) -> None:
    line.promote("2")
    for _ in range(50):
        line.clock.advance(ns=LOOK_NS + 1)
        line.tick()
        time.sleep(0.002)
    assert line.current == line.refs["1"]
