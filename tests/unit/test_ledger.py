"""What the ledger does, by example."""

from __future__ import annotations

import pytest

from inspection.ledger import (
    Abandoned,
    AnswersConflict,
    CloseRun,
    EdgeGone,
    EdgeReady,
    Entry,
    Event,
    FrameArrived,
    Instruction,
    Ledger,
    PlaceOrder,
    RecordAbsence,
    Refuse,
    RunOpened,
    RunStopped,
    Tick,
    ViewAnswered,
    ViewTriggered,
    run_verdict,
    settle,
)
from inspection.messages import (
    Fault,
    OrderRef,
    Reason,
    Region,
    RunVerdict,
    Severity,
    Verdict,
)
from inspection.plan import Kind, Plan, Point, Trigger, Unresolved, View

REGION = Region(left_px=0, top_px=0, width_px=10, height_px=10)


def make_plan(
    views: int = 1,
    points: int = 2,
    trigger: Trigger = Trigger.STATION,
    critical: Unresolved = Unresolved.HOLD,
) -> Plan:
    return Plan(
        name="plan",
        version="1",
        deadline_ms=1000,
        views=tuple(
            View(id=f"v{v}", camera=f"c{v}", width_px=10, height_px=10, trigger=trigger)
            for v in range(views)
        ),
        kinds={"weld": Kind(model="m")},
        severity={Severity.CRITICAL: critical},
        points=tuple(
            Point(id=f"v{v}p{p}", view=f"v{v}", kind="weld", region=REGION, severity=Severity.MAJOR)
            for v in range(views)
            for p in range(points)
        ),
    )


def ok(point: str) -> Entry:
    return Entry(point, Verdict.OK, Reason.NONE)


def nok(point: str) -> Entry:
    return Entry(point, Verdict.NOK, Reason.DEFECT, "crack", Severity.MAJOR)


def answered(entries: list[Entry], view: str = "v0", attempt: int = 1) -> ViewAnswered:
    return ViewAnswered("r", view, attempt, "1", tuple(entries))


class Bench:
    """A ledger with one plan, and what it asked for so far."""

    def __init__(self, plan: Plan) -> None:
        self.ledger = Ledger()
        self.plan = plan
        self.asked: list[Instruction] = []

    def do(self, event: Event, now_ns: int = 0) -> list[Instruction]:
        done = self.ledger.handle(event, now_ns)
        self.asked += done
        return done

    def begin(self, run: str = "r", part: str = "part") -> list[Instruction]:
        return self.do(RunOpened(run, part, self.plan, 1000))

    def ready(self, view: int = 0, *working: OrderRef) -> list[Instruction]:
        return self.do(EdgeReady(f"e{view}", (f"c{view}",), working))

    @property
    def closed(self) -> CloseRun:
        (close,) = (entry for entry in self.asked if isinstance(entry, CloseRun))
        return close


def test_every_planned_point_is_open_the_moment_a_run_begins() -> None:
    bench = Bench(make_plan(views=2, points=3))
    bench.begin()
    balance = bench.ledger.balance("r")
    assert (balance.planned, balance.open, balance.exact) == (6, 6, True)


def test_a_run_is_ok_only_when_every_point_is() -> None:
    bench = Bench(make_plan())
    bench.ready()
    bench.begin()
    bench.do(answered([ok("v0p0"), ok("v0p1")]))
    assert bench.closed.verdict is RunVerdict.OK
    assert bench.closed.balance.ok == 2


def test_one_bad_point_makes_the_run_nok_and_an_undecided_one_makes_it_hold() -> None:
    for entry, verdict in (
        (nok("v0p1"), RunVerdict.NOK),
        (Entry("v0p1", Verdict.REVIEW, Reason.UNCERTAIN), RunVerdict.HOLD),
        (Entry("v0p1", Verdict.NOT_INSPECTED, Reason.NO_IMAGE), RunVerdict.HOLD),
    ):
        bench = Bench(make_plan())
        bench.ready()
        bench.begin()
        bench.do(answered([ok("v0p0"), entry]))
        assert bench.closed.verdict is verdict


def test_the_plan_may_send_an_undecided_critical_finding_to_repair() -> None:
    bench = Bench(make_plan(critical=Unresolved.NOK))
    bench.ready()
    bench.begin()
    review = Entry("v0p1", Verdict.REVIEW, Reason.UNCERTAIN, "crack", Severity.CRITICAL)
    bench.do(answered([ok("v0p0"), review]))
    assert bench.closed.verdict is RunVerdict.NOK


def test_a_plan_without_points_is_never_ok() -> None:
    assert run_verdict(make_plan(points=0), {}) is RunVerdict.HOLD


def test_a_point_nobody_has_said_anything_of_keeps_a_run_from_ok() -> None:
    plan = make_plan(points=2)
    assert run_verdict(plan, {"v0p0": ok("v0p0"), "v0p1": ok("v0p1")}) is RunVerdict.OK
    assert run_verdict(plan, {"v0p0": ok("v0p0")}) is RunVerdict.HOLD
    assert run_verdict(plan, {}) is RunVerdict.HOLD


@pytest.mark.parametrize("first", [Verdict.NOK, Verdict.REVIEW])
def test_a_later_ok_never_repairs_a_defect_or_a_doubt(first: Verdict) -> None:
    doubt = Entry("p", first, Reason.DEFECT)
    assert settle([doubt, ok("p")]) == doubt
    assert settle([ok("p"), doubt]) == doubt


def test_a_second_shot_counts_where_the_first_gave_no_verdict() -> None:
    blind = Entry("p", Verdict.NOT_INSPECTED, Reason.NO_IMAGE)
    assert settle([blind, ok("p")]) == ok("p")


def test_a_conflict_of_records_is_stronger_than_ok_and_weaker_than_a_defect() -> None:
    conflict = Entry("p", Verdict.NOT_INSPECTED, Reason.RECORD_CONFLICT)
    assert settle([ok("p"), conflict, ok("p")]) == conflict
    assert settle([conflict, nok("p")]) == nok("p")


def test_a_part_whose_run_is_open_is_refused_and_the_open_run_goes_on() -> None:
    bench = Bench(make_plan())
    bench.begin()
    (refusal,) = bench.begin(run="r2")
    assert isinstance(refusal, Refuse)
    assert (refusal.fault, refusal.run) == (Fault.RUN_OPEN, "r")
    assert bench.ledger.open_runs == ("r",)


def test_a_view_waits_for_its_camera_and_is_ordered_when_the_edge_connects() -> None:
    bench = Bench(make_plan())
    assert bench.begin() == []
    assert bench.ready() == [PlaceOrder("e0", "r", "v0", 1, ("v0p0", "v0p1"))]


def test_at_the_deadline_every_open_point_is_written_off_with_its_reason() -> None:
    bench = Bench(make_plan(views=3))
    bench.ready(0)
    bench.ready(1)
    bench.begin()
    bench.do(EdgeGone("e1"))
    done = bench.do(Tick(), now_ns=1000)
    reasons = {d.view: {e.reason for e in d.entries} for d in done if isinstance(d, RecordAbsence)}
    assert reasons == {
        "v0": {Reason.LATE},
        "v1": {Reason.EDGE_LOST},
        "v2": {Reason.EDGE_NOT_CONNECTED},
    }
    assert bench.closed.verdict is RunVerdict.HOLD
    assert bench.closed.balance.not_inspected == 6


def test_an_answer_after_the_deadline_changes_nothing() -> None:
    bench = Bench(make_plan())
    bench.ready()
    bench.begin()
    bench.do(answered([ok("v0p0"), ok("v0p1")]), now_ns=1000)
    assert bench.closed.verdict is RunVerdict.HOLD
    assert not bench.ledger.is_open("r")


def test_an_order_that_died_with_its_edge_is_placed_again_under_a_new_number() -> None:
    bench = Bench(make_plan())
    bench.ready()
    bench.begin()
    assert bench.ready() == [PlaceOrder("e0", "r", "v0", 2, ("v0p0", "v0p1"))]


def test_an_order_the_edge_still_has_in_hand_is_not_placed_again() -> None:
    bench = Bench(make_plan())
    bench.ready()
    bench.begin()
    assert bench.ready(0, OrderRef(run="r", view="v0", attempt=1)) == []


def test_only_points_without_an_entry_are_ordered_again() -> None:
    bench = Bench(make_plan(points=3))
    bench.ready()
    bench.begin()
    bench.ready()
    bench.do(answered([ok("v0p1")], attempt=1))
    assert bench.ready() == [PlaceOrder("e0", "r", "v0", 3, ("v0p0", "v0p2"))]


def test_a_view_the_plc_triggers_is_not_ordered_before() -> None:
    bench = Bench(make_plan(trigger=Trigger.PLC))
    bench.ready()
    assert bench.begin() == []
    assert bench.do(ViewTriggered("r", "v0")) == [PlaceOrder("e0", "r", "v0", 1, ("v0p0", "v0p1"))]
    assert bench.do(ViewTriggered("r", "v0")) == []


def test_a_trigger_for_a_view_of_the_station_or_for_no_view_is_refused() -> None:
    bench = Bench(make_plan())
    bench.begin()
    (own,) = bench.do(ViewTriggered("r", "v0"))
    (unknown,) = bench.do(ViewTriggered("r", "v9"))
    (closed,) = bench.do(ViewTriggered("r9", "v0"))
    faults = [entry.fault for entry in (own, unknown, closed) if isinstance(entry, Refuse)]
    assert faults == [Fault.VIEW_NOT_YOURS, Fault.UNKNOWN_VIEW, Fault.RUN_CLOSED]


def test_a_view_whose_picture_was_reported_taken_is_not_taken_again_after_the_robot_moved() -> None:
    bench = Bench(make_plan(trigger=Trigger.PLC))
    bench.ready()
    bench.begin()
    bench.do(ViewTriggered("r", "v0"))
    bench.do(FrameArrived("r", "v0", 1, "frame 1"))
    absence, close = bench.ready()
    assert isinstance(absence, RecordAbsence)
    assert {entry.reason for entry in absence.entries} == {Reason.EDGE_LOST}
    assert isinstance(close, CloseRun)


def test_after_end_untriggered_views_are_written_off_and_taken_pictures_still_count() -> None:
    bench = Bench(make_plan(views=2, trigger=Trigger.PLC))
    bench.ready(0)
    bench.begin()
    bench.do(ViewTriggered("r", "v0"))
    (absence,) = bench.do(RunStopped("r"))
    assert isinstance(absence, RecordAbsence)
    assert {entry.reason for entry in absence.entries} == {Reason.RUN_ENDED}
    bench.do(answered([ok("v0p0"), ok("v0p1")]))
    assert bench.closed.verdict is RunVerdict.HOLD
    assert bench.closed.balance.ok == 2


def test_two_different_answers_to_one_order_can_no_longer_become_ok() -> None:
    bench = Bench(make_plan(views=2))
    bench.ready(0)
    bench.ready(1)
    bench.begin()
    bench.do(answered([ok("v0p0"), ok("v0p1")]))
    (absence,) = bench.do(AnswersConflict("r", ("v0p0",)))
    assert isinstance(absence, RecordAbsence)
    assert bench.do(AnswersConflict("r", ("v0p0",))) == []
    bench.do(answered([ok("v1p0"), ok("v1p1")], view="v1"))
    assert bench.closed.verdict is RunVerdict.HOLD


def test_an_abandoned_run_says_why() -> None:
    bench = Bench(make_plan())
    bench.begin()
    absence, _ = bench.do(Abandoned("r", Reason.STATION_RESTARTED))
    assert isinstance(absence, RecordAbsence)
    assert {entry.reason for entry in absence.entries} == {Reason.STATION_RESTARTED}


def test_an_attempt_number_from_before_a_restart_is_not_used_again() -> None:
    bench = Bench(make_plan())
    bench.begin()
    bench.ledger.restore_order("r", "v0", 4, "e0")
    assert bench.ready() == [PlaceOrder("e0", "r", "v0", 5, ("v0p0", "v0p1"))]
