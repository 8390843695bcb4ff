"""Ways to a false OK, a lost result or a stuck station that were found once, each closed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from samples import PLAN, answer
from test_station import Bench

from inspection import messages as m
from inspection import wire
from inspection.messages import Fault, Reason, Verdict
from inspection.plan import Plan, Trigger

replace = msgspec.structs.replace


def one_view(trigger: Trigger = Trigger.PLC) -> Plan:
    return replace(PLAN, views=(replace(PLAN.views[0], trigger=trigger),))


def two_views(trigger: Trigger = Trigger.PLC) -> Plan:
    """p0 in v0, p1 in v1, one camera."""
    first = replace(PLAN.views[0], trigger=trigger)
    points = (PLAN.points[0], replace(PLAN.points[1], view="v1"))
    return replace(PLAN, views=(first, replace(first, id="v1")), points=points)


def one(
    bench: Bench, run: str, point: str, verdict: Verdict | None, view: str, attempt: int = 1
) -> m.ViewResult:
    """An answer for a single point."""
    said = answer(run=run, plan=bench.plan, attempt=attempt, verdicts=(verdict, verdict))
    chosen = tuple(entry for entry in said.points if entry.point == point)
    return replace(said, view=view, points=chosen)


def everything(bench: Bench, frame: bytes, socket: str = "plc") -> list[Any]:
    """All that is sent, to whomever."""
    lanes = {"edge": wire.STATION_TO_EDGE, "plc": wire.STATION_TO_PLC}
    sent = bench.station.work([(socket, socket.encode(), frame)])
    return [lanes[name].decode(raw) for name, _, raw in sent]


def orders(messages: list[Any]) -> list[tuple[str, str, int]]:
    return [(o.run, o.view, o.attempt) for o in messages if isinstance(o, m.Order)]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    made: list[Bench] = []

    def bench(plan: Plan) -> Bench:
        made.append(Bench(tmp_path, plan))
        return made[-1]

    yield bench
    for entry in made:
        entry.store.close()


def tamper(bench: Bench, table: str, statement: str) -> None:
    """Change bytes under the closed store, as a failing disk would, and start again."""
    bench.store.close()
    with sqlite3.connect(bench.folder / "station.db") as database:
        database.execute(f"DROP TRIGGER {table}_no_update")
        database.execute(statement)
    database.close()


def test_nothing_is_ordered_from_an_edge_whose_backlog_is_not_read(make: Any) -> None:
    bench = make(two_views())
    bench.hello()
    bench.nonce = "3" * 32
    bench.hello(nonce=bench.nonce, first_seq=1, next_seq=2)
    run = bench.begin().run
    trigger = m.TriggerView(plc="plc-1", seq=50, run=run, view="v0")
    before = everything(bench, wire.PLC_TO_STATION.encode(trigger))
    gap = wire.RECORD.encode(m.Gap(detail="a damaged block"))
    after = bench.results(gap, first_seq=1)
    assert orders(before) == []
    assert orders(after) == [(run, "v0", 1)]


def test_nothing_is_photographed_after_ended(make: Any) -> None:
    bench = make(one_view())
    bench.hello()
    run = bench.begin().run
    bench.ask(m.TriggerView, run=run, view="v0")
    assert isinstance(bench.ask(m.End, run=run), m.Busy)  # the picture is not reported taken
    bench.edge(m.FrameTaken(run=run, view="v0", attempt=1, frame="1"))
    end = m.End(plc="plc-1", seq=90, run=run)
    assert isinstance(bench.plc(end)[0], m.Ended)
    assert bench.plc(end) == bench.plc(end)
    bench.nonce = "3" * 32
    assert orders(bench.hello(nonce=bench.nonce)) == []
    verdict = bench.plc(m.GetVerdict(plc="plc-1", seq=91, part="part-1", run=run))[0]
    assert (verdict.hold, verdict.ok) == (True, False)


def test_an_order_still_in_hand_when_its_view_was_written_off_counts_for_nothing(
    make: Any,
) -> None:
    bench = make(two_views(Trigger.STATION))
    bench.hello()
    run = bench.begin().run
    bench.edge(m.FrameTaken(run=run, view="v1", attempt=1, frame="1"))
    bench.begin("part-2")  # part-1 has left: v0 was not reported taken
    bench.results(one(bench, run, "p0", Verdict.OK, "v0"))
    bench.results(one(bench, run, "p1", Verdict.OK, "v1"), first_seq=2)
    assert bench.verdict(run).hold
    assert len(bench.reader.points(run=run, late=True)) == 1


def test_a_part_that_has_left_is_not_photographed_with_the_next_one_in_its_place(
    make: Any,
) -> None:
    bench = make(PLAN)
    first, second = bench.begin("part-A"), bench.begin("part-B")
    placed = orders(bench.hello())
    assert [run for run, _, _ in placed] == [second.run]
    assert bench.verdict(first.run, part="part-A").hold
    reasons = {point.reason for point in bench.reader.points(run=first.run)}
    assert reasons == {Reason.EDGE_NOT_CONNECTED}


def test_a_second_end_under_another_number_is_answered_and_hurts_nobody(make: Any) -> None:
    bench = make(one_view())
    bench.hello()
    run = bench.begin().run
    bench.ask(m.TriggerView, run=run, view="v0")
    bench.edge(m.FrameTaken(run=run, view="v0", attempt=1, frame="1"))
    for _ in range(3):
        assert isinstance(bench.ask(m.End, run=run), m.Ended)
    bench.results(answer(run=run, plan=bench.plan))
    assert bench.verdict(run).ok


def test_a_result_row_changed_on_disk_cannot_make_an_ok(make: Any) -> None:
    bench = make(two_views(Trigger.STATION))
    bench.hello()
    run = bench.begin().run
    bench.results(one(bench, run, "p0", Verdict.NOK, "v0"))
    tamper(bench, "result", "UPDATE result SET verdict='OK', reason=0, finding=''")
    bench.start()
    bench.nonce = "3" * 32
    bench.hello(nonce=bench.nonce, first_seq=2, next_seq=2)
    for seq, attempt in ((2, 1), (3, 2)):
        bench.results(one(bench, run, "p1", Verdict.OK, "v1", attempt), first_seq=seq)
    assert not bench.verdict(run).ok
    assert "record_changed" in {event.kind for event in bench.reader.events()}


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("record", "UPDATE record SET raw = x'c1'"),
        ("result", "UPDATE result SET verdict = 'OJ'"),
        ("result", "UPDATE result SET reason = 1"),
        ("result", "UPDATE result SET class_severity = 'huge'"),
    ],
)
def test_a_station_starts_over_damaged_records_and_holds_their_run(
    make: Any, table: str, statement: str
) -> None:
    bench = make(two_views(Trigger.STATION))
    bench.hello()
    run = bench.begin().run
    bench.results(one(bench, run, "p0", Verdict.OK, "v0"))
    tamper(bench, table, statement)
    bench.start()
    bench.clock.advance(ms=1000)
    verdict = bench.verdict(run)
    assert (verdict.ok, verdict.hold) == (False, True)


def test_a_damaged_plan_is_one_readable_error_at_the_start(make: Any) -> None:
    from inspection.errors import StoreError

    bench = make(PLAN)
    bench.begin()
    tamper(bench, "plan", "UPDATE plan SET document = replace(document, 'plan', 'plam')")
    with pytest.raises(StoreError, match="restore a backup"):
        bench.start()


def test_a_verdict_changed_on_disk_is_answered_with_hold(make: Any) -> None:
    bench = make(PLAN)
    run = bench.begin().run
    bench.clock.advance(ms=1000)
    assert bench.verdict(run).hold
    tamper(bench, "verdict", "UPDATE verdict SET verdict='OK', ok=planned, not_inspected=0")
    bench.start()
    verdict = bench.verdict(run)
    assert (verdict.ok, verdict.hold) == (False, True)


def test_two_edges_with_a_copied_outbox_are_told_apart(make: Any) -> None:
    bench = make(PLAN)
    bench.hello()
    begun = bench.begin()
    bench.results(answer(run=begun.run))
    for _ in range(3):
        (refused,) = bench.hello(edge="edge-2", cameras=("cam2",), nonce="4" * 32)
        assert isinstance(refused, m.Refused)
        assert "edge-1" in refused.text
    bench.clock.advance(ms=3000)
    bench.tick()  # edge-1 is gone, and its outbox still is not edge-2's
    (refused,) = bench.hello(edge="edge-2", cameras=("cam2",), nonce="4" * 32)
    assert isinstance(refused, m.Refused)
    said = [event.text for event in bench.reader.events() if event.kind == "edge_refused"]
    assert len(said) == len(set(said)) == 2


def test_an_answer_from_an_edge_that_was_never_asked_is_kept_aside(make: Any) -> None:
    bench = make(PLAN)
    bench.hello()
    run = bench.begin().run
    hello = {"edge": "edge-2", "outbox": "7" * 32, "nonce": "8" * 32, "cameras": ("cam2",)}
    bench.hello(**hello)
    said = m.Results(
        outbox="7" * 32,
        nonce="8" * 32,
        first_seq=1,
        records=(wire.RECORD.encode(answer(run=run, edge="edge-2")),),
    )
    bench.edge(said)
    assert bench.reader.counts()["record"] == 0
    assert bench.verdict(run).points_open == 2


def test_a_third_and_fourth_answer_to_an_order_do_not_stop_the_station(make: Any) -> None:
    bench = make(two_views(Trigger.STATION))
    bench.hello()
    run = bench.begin().run
    for seq, verdict in enumerate((Verdict.NOK, Verdict.OK, Verdict.REVIEW, None), start=1):
        replies = bench.results(one(bench, run, "p0", verdict, "v0"), first_seq=seq)
        assert [r.committed for r in replies if isinstance(r, m.Committed)] == [seq]
    assert bench.reader.counts()["quarantine"] == 3


def test_a_sequence_number_at_the_end_of_its_range_does_not_silence_a_plc(make: Any) -> None:
    bench = make(PLAN)
    (refusal,) = bench.plc(m.Begin(plc="plc-1", seq=2**53, part="P", plan="plan"))
    assert refusal.fault is Fault.SEQ_TOO_HIGH
    (begun,) = bench.plc(m.Begin(plc="plc-1", seq=1, part="P", plan="plan"))
    assert isinstance(begun, m.Begun)


def test_a_store_deleted_under_the_station_acknowledges_nothing(make: Any) -> None:
    bench = make(PLAN)
    bench.hello()
    run = bench.begin().run
    (bench.folder / "station.db").unlink()
    assert bench.results(answer(run=run)) == []
    fault, text = bench.station.not_ready()
    assert fault is Fault.STORE_FAILED
    assert "deleted or replaced" in text


def test_verdict_numbers_rise_also_over_a_new_store(make: Any, tmp_path: Path) -> None:
    bench = make(PLAN)
    run = bench.begin().run
    bench.clock.advance(ms=1000)
    before = bench.verdict(run).verdict_seq
    bench.store.close()
    for path in tmp_path.glob("station.db*"):
        path.unlink()
    bench.clock.advance(s=60)
    bench.start()
    run = bench.begin().run
    bench.clock.advance(ms=1000)
    assert bench.verdict(run).verdict_seq > before


def test_a_triggered_view_is_acquired_also_when_its_run_has_closed_meanwhile(make: Any) -> None:
    bench = make(one_view())
    bench.hello()
    run = bench.begin().run
    trigger = m.TriggerView(plc="plc-1", seq=50, run=run, view="v0")
    bench.plc(trigger)
    bench.results(answer(run=run, plan=bench.plan))
    (acquired,) = bench.plc(trigger)
    assert isinstance(acquired, m.Acquired)
