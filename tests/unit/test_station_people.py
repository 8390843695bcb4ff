"""What people say to a station, and what it makes of it: frames in, frames out, time by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle_of_people import examine_people
from samples import PLAN, answer
from test_station import RELEASED, Bench
from test_station_attacked import one, two_views

from inspection import messages as m
from inspection import wire
from inspection.errors import NotAuthorised, StoreError
from inspection.evidence import EvidenceStore
from inspection.messages import Action, Fault, Reason, Role, Severity, Standing, Verdict
from inspection.plan import Challenge, Deciding, Plan, Unresolved
from inspection.station.people import Person
from inspection.station.station import Station
from inspection.store import Store
from inspection.store.check import check_store
from inspection.store.periods import closed_periods

replace = msgspec.structs.replace
HOUR_NS = 3600 * 10**9

PEOPLE = {
    "anna": frozenset({Role.QUALITY}),
    "ben": frozenset({Role.QUALITY}),
    "otto": frozenset({Role.OPERATOR}),
    "ada": frozenset({Role.ADMIN}),
}
OK_NOK = (Verdict.OK, Verdict.NOK)


class Tokens:
    """Everybody's token is their name."""

    def verify(self, token: str, now_ns: int) -> Person:
        if token not in PEOPLE:
            raise NotAuthorised("the token is not known: log in again")
        return Person(token, PEOPLE[token])


class Floor(Bench):
    """A station with people around it."""

    requests = 0
    outbox_seq = 0
    turning = False
    """Whether a new period begins after each run and each word of a person."""

    def start(self) -> None:
        self.store = Store(self.folder / "station.db", "station-1", self.clock)
        self.station = Station(
            station_id="station-1",
            plans={self.plan.name: self.plan},
            released={"m": RELEASED},
            store=self.store,
            evidence=EvidenceStore(self.folder / "evidence"),
            clock=self.clock,
            people=Tokens(),
        )

    def inspected(
        self, verdicts: tuple[Verdict | None, ...] = OK_NOK, part: str = "part-1", **begin: Any
    ) -> str:
        """A whole run, closed; its id. ``verdicts`` of p0 and p1, in a re-inspection of the points
        that it covers."""
        self.clock.advance(ms=1)
        self.hello(first_seq=self.outbox_seq + 1, next_seq=self.outbox_seq + 1)
        begun = self.ask(m.Begin, part=part, plan=self.plan.name, **begin)
        assert isinstance(begun, m.Begun), begun
        self.answered(begun.run, verdicts, part, begin.get("points"))
        assert self.verdict(begun.run, part).result_valid
        self.turn()
        return str(begun.run)

    def turn(self) -> None:
        if self.turning:
            assert self.store.turn() is not None

    def answered(
        self,
        run: str,
        verdicts: tuple[Verdict | None, ...],
        part: str = "part-1",
        points: tuple[str, ...] | None = None,
    ) -> None:
        said = answer(run=run, part=part, plan=self.plan, verdicts=verdicts)
        if points is not None:
            said = replace(said, points=tuple(p for p in said.points if p.point in points))
        self.outbox_seq += 1
        self.results(said, first_seq=self.outbox_seq)

    def frames(self, message: Any) -> list[tuple[str, Any]]:
        """Everything the station sends on hearing a person, (socket, message) each."""
        lanes = {"plc": wire.STATION_TO_PLC, "people": wire.STATION_TO_PEOPLE}
        frame = wire.PEOPLE_TO_STATION.encode(message)
        sent = self.station.work([("people", b"ui", frame)])
        return [(name, lanes[name].decode(raw)) for name, _, raw in sent if name in lanes]

    def person(self, message: Any) -> Any:
        (reply,) = [said for name, said in self.frames(message) if name == "people"]
        self.turn()
        return reply

    def decide(self, who: str, run: str, point: str, action: Action, **fields: Any) -> Any:
        return self.person(self.decision(who, run, point, action, **fields))

    def decision(self, who: str, run: str, point: str, action: Action, **fields: Any) -> m.Decide:
        """A decision on what the station holds at this moment."""
        self.requests += 1
        found, record = None, None
        for file in (
            self.folder / "station.db",
            *reversed(closed_periods(self.folder / "station.db")),
        ):
            with sqlite3.connect(file) as database:
                found = (
                    found
                    or database.execute(
                        "SELECT max(verdict_seq) FROM verdict WHERE run_id = ?", (run,)
                    ).fetchone()[0]
                )
                record = (
                    record
                    or database.execute(
                        "SELECT record FROM result WHERE point_id = ? AND run_id = ?", (point, run)
                    ).fetchone()
                )
        said: dict[str, Any] = {
            "token": who,
            "request_id": f"{self.requests:032x}",
            "run": run,
            "point": point,
            "expected_seq": found or 1,
            "expected_record": record[0] if record else 0,
            "action": action,
        }
        return m.Decide(**{**said, **fields})

    def rows(self, table: str) -> int:
        with sqlite3.connect(self.folder / "station.db") as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def close(self) -> None:
        """Stop, and have everything that was ever called OK judged by somebody else."""
        self.store.close()
        wrong = examine_people(
            self.folder / "station.db",
            {point.id: point.severity.value for point in self.plan.points},
            two_persons=tuple(level.value for level in self.plan.deciding.two_persons),
            trusts_repairs=self.plan.deciding.repaired_without_inspection,
        )
        assert wrong == []

    def status(self) -> m.Status:
        (status,) = self.plc(m.Heartbeat(plc="plc-1", counter=1))
        assert isinstance(status, m.Status)
        return status


@pytest.fixture(params=["one period", "a period a step"])
def floor(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Floor]:
    floor = Floor(tmp_path)
    floor.turning = request.param != "one period"
    yield floor
    floor.close()


@pytest.fixture
def one_file(tmp_path: Path) -> Iterator[Floor]:
    floor = Floor(tmp_path)
    yield floor
    floor.store.close()


@pytest.fixture(params=["one period", "a period a step"])
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[Plan], Floor]]:
    made: list[Floor] = []

    def floor(plan: Plan) -> Floor:
        made.append(Floor(tmp_path, plan))
        made[-1].turning = request.param != "one period"
        return made[-1]

    yield floor
    for each in made:
        each.close()


# --------------------------------------------------------------------------------- decisions


def test_a_decision_makes_a_revision_that_the_plc_hears_of_and_gets_by_part(floor: Floor) -> None:
    run = floor.inspected()
    before = floor.verdict(run)
    assert before.nok
    said = floor.frames(floor.decision("anna", run, "p1", Action.OVERRULE))
    (decided,) = [message for name, message in said if name == "people"]
    (hint,) = [message for name, message in said if name == "plc"]
    assert (decided.standing, decided.run_verdict) == (Standing.SETTLED, m.RunVerdict.OK)
    after = floor.verdict(None)
    assert after.ok
    assert after.verdict_seq == decided.verdict_seq == hint.verdict_seq > before.verdict_seq
    assert (after.points_ok, after.ok_by_machine, after.ok_by_person) == (2, 1, 1)
    stale = floor.ask(m.Ack, run=run, verdict_seq=before.verdict_seq)
    assert stale.fault is Fault.STALE_VERDICT
    assert isinstance(floor.ask(m.Ack, run=run, verdict_seq=after.verdict_seq), m.Acknowledged)


def test_what_the_machine_said_is_still_there_and_nothing_can_be_changed(floor: Floor) -> None:
    run = floor.inspected()
    floor.decide("anna", run, "p1", Action.OVERRULE, comment="a reflection")
    assert {p.point: p.verdict for p in floor.reader.points(run=run)}["p1"] is Verdict.NOK
    with sqlite3.connect(floor.folder / "station.db") as database:
        row = database.execute("SELECT person, roles, action, comment FROM decision").fetchone()
        assert row == ("anna", "quality", "overrule", "a reflection")
        for table in ("decision", "verdict_basis", "run_terms", "challenge", "bypass"):
            names = database.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?",
                (table,),
            ).fetchone()
            assert names == (2,)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute("UPDATE decision SET person = 'ben'")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute("DELETE FROM decision")


def test_the_same_request_gets_the_same_answer_also_after_a_restart(floor: Floor) -> None:
    run = floor.inspected()
    ask = floor.decision("anna", run, "p1", Action.OVERRULE)
    first = floor.person(ask)
    again = floor.person(ask)
    floor.restart()
    assert first == again == floor.person(ask)
    assert floor.rows("decision") == 1
    assert floor.rows("verdict") == 2
    other = floor.person(replace(ask, action=Action.CONFIRM))
    assert other.fault is Fault.REQUEST_REUSED
    assert floor.person(replace(ask, token="ben")).fault is Fault.REQUEST_REUSED


@pytest.mark.parametrize(
    ("who", "action"),
    [("otto", Action.OVERRULE), ("ada", Action.OVERRULE), ("nobody", Action.CONFIRM)],
)
def test_who_may_not_say_it_changes_nothing(floor: Floor, who: str, action: Action) -> None:
    run = floor.inspected()
    before = floor.verdict(run)
    declined = floor.decide(who, run, "p1", action)
    assert declined.fault is Fault.NOT_AUTHORISED
    after = floor.verdict(run)
    assert (after.nok, after.verdict_seq) == (True, before.verdict_seq)
    assert floor.rows("decision") == 0
    assert floor.reader.events()[0].kind == "not_authorised"


def test_a_station_that_knows_no_people_takes_no_decision(bench_without_people: Bench) -> None:
    frame = wire.PEOPLE_TO_STATION.encode(
        m.Bypass(token="x", request_id="0" * 32, reason="r", until_ns=1)
    )
    ((name, peer, raw),) = bench_without_people.station.work([("people", b"ui", frame)])
    declined = wire.STATION_TO_PEOPLE.decode(raw)
    assert (name, peer, declined.fault) == ("people", b"ui", Fault.NOT_AUTHORISED)


@pytest.fixture
def bench_without_people(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_what_has_changed_since_it_was_looked_at_is_not_decided_on(floor: Floor) -> None:
    run = floor.inspected((Verdict.REVIEW, Verdict.NOK))
    p0 = floor.decision("ben", run, "p0", Action.OVERRULE)
    p1 = floor.decision("ben", run, "p1", Action.OVERRULE)
    floor.decide("anna", run, "p1", Action.OVERRULE)
    assert floor.person(p1).fault is Fault.STALE
    # Another point of the same run is as it was.
    assert isinstance(floor.person(p0), m.Decided)
    for change in ({"expected_record": 99}, {"expected_seq": 2**40}):
        stale = floor.decide("ben", run, "p1", Action.CONFIRM, **change)
        assert stale.fault is Fault.STALE


def test_what_cannot_be_decided_is_refused_with_its_code(floor: Floor) -> None:
    floor.hello()
    begun = floor.begin()
    for run, point, fault in (
        ("none", "p1", Fault.UNKNOWN_RUN),
        (begun.run, "p1", Fault.NO_VERDICT),
    ):
        assert floor.decide("anna", run, point, Action.OVERRULE).fault is fault
    floor.clock.advance(ms=1000)
    floor.tick()
    run = floor.inspected((Verdict.NOK, None), part="part-2")
    for point, fields, fault in (
        ("p9", {"action": Action.OVERRULE}, Fault.UNKNOWN_POINT),
        ("p1", {"action": Action.OVERRULE}, Fault.NOT_POSSIBLE),
        ("p0", {"action": Action.RECLASSIFY}, Fault.NOT_POSSIBLE),
        ("p0", {"action": Action.RECLASSIFY, "finding": "ok"}, Fault.NOT_POSSIBLE),
        ("p0", {"action": Action.RECLASSIFY, "finding": "rust"}, Fault.NOT_POSSIBLE),
    ):
        assert floor.decide("anna", run, point, **fields).fault is fault
    assert floor.rows("decision") == 0
    good = floor.decide("anna", run, "p0", Action.RECLASSIFY, finding="defect")
    assert (good.verdict, good.standing) == (Verdict.NOK, Standing.SETTLED)


def test_a_word_on_what_somebody_else_has_said_since_is_refused_also_where_no_verdict_changed(
    floor: Floor,
) -> None:
    run = floor.inspected()
    first = floor.decide("anna", run, "p1", Action.CONFIRM, expected_word=0)
    assert (first.verdict, first.standing) == (Verdict.NOK, Standing.SETTLED)
    stale = floor.decide("ben", run, "p1", Action.OVERRULE, expected_word=0)
    assert stale.fault is Fault.STALE
    (word,) = floor.reader.words([run])
    # One's own words are no news, and what was seen may be decided on.
    own = floor.decide("anna", run, "p1", Action.RECLASSIFY, finding="defect", expected_word=0)
    assert isinstance(own, m.Decided), own
    assert (
        floor.decide("ben", run, "p1", Action.OVERRULE, expected_word=word.number).fault
        is Fault.STALE
    )
    seen = floor.decide("ben", run, "p1", Action.OVERRULE, expected_word=word.number + 1)
    assert seen.standing is Standing.DISAGREEMENT
    # Whoever does not say what was known is served as ever.
    assert isinstance(floor.decide("anna", run, "p1", Action.OVERRULE), m.Decided)


def test_what_the_first_of_two_people_said_makes_nothing_stale_for_the_second(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(replace(PLAN, decisions=Deciding(two_persons=(Severity.MAJOR,))))
    run = floor.inspected()
    for who, standing in (
        ("anna", Standing.SECOND_PERSON_NEEDED),
        ("ben", Standing.SETTLED),
    ):
        said = floor.decide(who, run, "p1", Action.OVERRULE, expected_word=0)
        assert said.standing is standing, said


def test_a_severe_point_waits_for_a_second_person(make: Callable[[Plan], Floor]) -> None:
    floor = make(replace(PLAN, decisions=Deciding(two_persons=(Severity.MAJOR,))))
    run = floor.inspected()
    before = floor.verdict(run)
    second = floor.decision("ben", run, "p1", Action.OVERRULE)
    first = floor.decide("anna", run, "p1", Action.OVERRULE)
    assert first.standing is Standing.SECOND_PERSON_NEEDED
    assert floor.decide("anna", run, "p1", Action.OVERRULE).standing is first.standing
    waiting = floor.verdict(run)
    assert (waiting.nok, waiting.verdict_seq) == (True, before.verdict_seq)
    # Nothing told the second person of the first, so that what he looked at is not stale.
    assert floor.person(second).standing is Standing.SETTLED
    assert floor.verdict(run).ok


def test_a_manual_inspection_is_told_from_a_look_at_a_picture(floor: Floor) -> None:
    run = floor.inspected((Verdict.OK, None))
    manual = floor.decide("anna", run, "p1", Action.OVERRULE, method="endoscope")
    assert manual.run_verdict is m.RunVerdict.OK
    verdict = floor.verdict(run)
    assert (verdict.ok, verdict.ok_by_person) == (True, 1)


def test_an_escape_takes_an_ok_back(floor: Floor) -> None:
    run = floor.inspected((Verdict.OK, Verdict.OK))
    ok = floor.verdict(run)
    escaped = floor.decide("otto", run, "p0", Action.ESCAPE, finding="defect")
    assert escaped.run_verdict is m.RunVerdict.NOK
    after = floor.verdict(None)
    assert (after.ok, after.nok) == (False, True)
    assert after.verdict_seq > ok.verdict_seq


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE result SET verdict = 'OK' WHERE point_id = 'p0'",
        "UPDATE record SET raw = x'00'",
        "UPDATE decision SET action = 'overrule' WHERE action = 'confirm'",
        "DELETE FROM decision WHERE number = 1",
    ],
)
def test_no_revision_rests_on_a_record_that_was_changed(one_file: Floor, damage: str) -> None:
    run = one_file.inspected((Verdict.NOK, Verdict.NOK))
    one_file.decide("anna", run, "p0", Action.CONFIRM)
    one_file.decide("anna", run, "p1", Action.OVERRULE)
    with sqlite3.connect(one_file.folder / "station.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f"DROP TRIGGER {name}")
        assert database.execute(damage).rowcount
    one_file.decide("ben", run, "p0", Action.CONFIRM)
    one_file.decide("anna", run, "p0", Action.CANNOT_TELL)
    one_file.decide("ben", run, "p0", Action.OVERRULE)
    verdict = one_file.verdict(run)
    assert not verdict.ok
    # Of bytes that cannot be read nothing is left to decide on.
    told = any(event.kind == "record_changed" for event in one_file.reader.events())
    assert told or one_file.rows("decision") == 2


def test_a_store_that_fails_takes_no_decision_and_goes_on_where_it_was(
    one_file: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = one_file.inspected()
    ask = one_file.decision("anna", run, "p1", Action.OVERRULE)

    def fail(*_: Any, **__: Any) -> None:
        raise StoreError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(one_file.store, "add_decision", fail)
        assert one_file.frames(ask) == []
    assert one_file.rows("decision") == 0
    assert one_file.rows("verdict") == 1
    assert isinstance(one_file.person(ask), m.Decided)


# -------------------------------------------------------------------------------- re-inspection


def repaired(floor: Floor, run: str, point: str = "p1") -> None:
    said = floor.decide("otto", run, point, Action.REPAIRED, method="rewelded")
    assert isinstance(said, m.Decided), said


def test_a_repaired_point_is_inspected_again_and_the_whole_part_is_ok(floor: Floor) -> None:
    first = floor.inspected()
    repaired(floor, first)
    assert floor.verdict(first).hold
    begun = floor.ask(m.Begin, part="part-1", plan="plan", repair_of=first)
    assert (begun.planned, begun.covered, begun.views) == (2, 1, ("v0",))
    status = floor.verdict(begun.run)
    assert (status.points_ok, status.points_open) == (1, 1)
    floor.restart()
    floor.hello(first_seq=2, next_seq=2)
    floor.answered(begun.run, (None, Verdict.OK), points=("p1",))
    verdict = floor.verdict(None)
    assert (verdict.run, verdict.ok, verdict.planned, verdict.points_ok) == (begun.run, True, 2, 2)
    assert [p.point for p in floor.reader.points(run=begun.run)] == ["p1"]


def test_only_the_points_of_a_re_inspection_are_ordered_and_count(floor: Floor) -> None:
    first = floor.inspected((Verdict.NOK, Verdict.OK))
    repaired(floor, first, "p0")
    floor.seq += 1
    begin = m.Begin(plc="plc-1", seq=floor.seq, part="part-1", plan="plan", repair_of=first)
    sent = floor.station.work([("plc", b"plc", wire.PLC_TO_STATION.encode(begin))])
    (order,) = [wire.STATION_TO_EDGE.decode(raw) for name, _, raw in sent if name == "edge"]
    assert [task.point for task in order.points] == ["p0"]
    # An edge that answers for another point as well does not change what is known of it.
    floor.answered(order.run, (Verdict.OK, Verdict.NOK))
    verdict = floor.verdict(order.run)
    assert (verdict.ok, verdict.points_ok) == (True, 2)
    assert floor.reader.events()[0].kind == "orphan"


def test_looking_again_without_a_repair_does_not_help(floor: Floor) -> None:
    first = floor.inspected()
    second = floor.inspected((Verdict.OK, Verdict.OK), repair_of=first, points=("p1",))
    verdict = floor.verdict(second)
    assert (verdict.nok, verdict.points_nok) == (True, 1)


def test_points_that_are_not_covered_keep_what_the_earlier_run_left_them(floor: Floor) -> None:
    first = floor.inspected((Verdict.NOK, Verdict.NOK))
    repaired(floor, first, "p1")
    second = floor.inspected((None, Verdict.OK), repair_of=first, points=("p1",))
    assert floor.verdict(second).nok
    # A decision on the earlier run reaches the verdict that rests on it, and the PLC.
    said = floor.frames(floor.decision("anna", first, "p0", Action.OVERRULE))
    hints = {message.run for name, message in said if name == "plc"}
    assert second in hints
    assert floor.verdict(None).ok
    old = floor.verdict(first)
    assert (old.ok, old.points_ok) == (False, 1)
    # ... and is taken back again.
    floor.decide("anna", first, "p0", Action.CONFIRM)
    assert floor.verdict(None).nok


def test_a_run_that_was_followed_by_another_is_never_ok_again(floor: Floor) -> None:
    first = floor.inspected()
    floor.inspected((Verdict.OK, Verdict.NOK))
    floor.decide("anna", first, "p1", Action.OVERRULE)
    old = floor.verdict(first)
    assert (old.hold, old.points_ok, old.held_because) == (True, 2, Reason.SUPERSEDED)
    assert floor.verdict(None).nok


def test_a_repair_is_said_of_the_latest_run(floor: Floor) -> None:
    first = floor.inspected()
    repaired(floor, first)
    floor.inspected((None, Verdict.NOK), repair_of=first, points=("p1",))
    late = floor.decide("otto", first, "p1", Action.REPAIRED, method="rewelded")
    assert late.fault is Fault.NOT_POSSIBLE
    assert "later run" in late.text


def test_a_re_inspection_goes_on_only_from_what_is_surely_known(floor: Floor) -> None:
    first = floor.inspected()
    good = floor.inspected((Verdict.OK, Verdict.OK), part="part-2")
    for fields, why in (
        ({"part": "part-1", "repair_of": "none"}, "there is no run none"),
        ({"part": "part-9", "repair_of": first}, "there is no run"),
        ({"part": "part-2", "repair_of": good}, "every point"),
        ({"part": "part-1", "repair_of": first, "points": ("p9",)}, "no point p9"),
        ({"part": "part-1", "points": ("p1",)}, "repair_of"),
    ):
        refusal = floor.ask(m.Begin, plan="plan", **fields)
        assert (refusal.fault, why in refusal.text) == (Fault.NOT_REINSPECTABLE, True)
    second = floor.inspected(part="part-1")
    floor.plan = replace(PLAN, version="2")
    floor.restart()
    for run, why in ((first, "not the latest"), (second, "another version")):
        refusal = floor.ask(m.Begin, plan="plan", part="part-1", repair_of=run)
        assert (refusal.fault, why in refusal.text) == (Fault.NOT_REINSPECTABLE, True)


def test_a_view_that_a_re_inspection_does_not_need_is_not_triggered(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(two_views())
    floor.hello()
    begun = floor.begin()
    for number, (point, view, verdict) in enumerate(
        (("p0", "v0", Verdict.OK), ("p1", "v1", Verdict.NOK)), start=1
    ):
        floor.ask(m.TriggerView, run=begun.run, view=view)
        floor.results(one(floor, begun.run, point, verdict, view), first_seq=number)
    assert floor.verdict(begun.run).nok
    repaired(floor, begun.run)
    again = floor.ask(m.Begin, part="part-1", plan="plan", repair_of=begun.run)
    assert again.views == ("v1",)
    assert floor.ask(m.TriggerView, run=again.run, view="v0").fault is Fault.UNKNOWN_VIEW
    floor.ask(m.TriggerView, run=again.run, view="v1")
    floor.results(one(floor, again.run, "p1", Verdict.OK, "v1"), first_seq=3)
    assert floor.verdict(None).ok


def told_wrong(floor: Floor) -> list[str]:
    return [text for each in check_store(floor.folder / "station.db") for text in each.wrong]


def test_the_check_of_a_store_finds_nothing_wrong_with_what_people_said(floor: Floor) -> None:
    run = floor.inspected((Verdict.NOK, Verdict.NOK))
    floor.decide("anna", run, "p0", Action.CONFIRM)
    floor.decide("anna", run, "p1", Action.OVERRULE)
    repaired(floor, run, "p0")
    floor.inspected((Verdict.OK, Verdict.OK), repair_of=run, points=("p0",))
    assert floor.verdict(None).ok
    floor.decide("anna", run, "p1", Action.CANNOT_TELL)
    assert not floor.verdict(None).ok
    assert told_wrong(floor) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE decision SET action = 'overrule' WHERE number = 1", "decision 1 was changed"),
        ("DELETE FROM decision WHERE number = 1", "decision 2 was changed, or one before it"),
        ("DELETE FROM decision WHERE number = 2", "names a decision that is missing"),
        ("UPDATE verdict_basis SET ok_by_person = 0", "rests on was changed"),
    ],
)
def test_the_check_of_a_store_tells_which_word_was_changed(
    one_file: Floor, damage: str, told: str
) -> None:
    run = one_file.inspected((Verdict.NOK, Verdict.NOK))
    one_file.decide("anna", run, "p0", Action.CONFIRM)
    one_file.decide("anna", run, "p1", Action.OVERRULE)
    assert told_wrong(one_file) == []
    with sqlite3.connect(one_file.folder / "station.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f"DROP TRIGGER {name}")
        assert database.execute(damage).rowcount
    assert any(told in text for text in told_wrong(one_file))


def test_nothing_goes_on_from_a_record_that_was_changed(floor: Floor) -> None:
    run = floor.inspected((Verdict.NOK, Verdict.NOK))
    repaired(floor, run, "p0")
    with sqlite3.connect(floor.folder / "station.db") as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            database.execute(f"DROP TRIGGER {name}")
        database.execute("UPDATE result SET verdict = 'OK' WHERE point_id = 'p1'")
    refusal = floor.ask(m.Begin, part="part-1", plan="plan", repair_of=run)
    assert refusal.fault is Fault.NOT_REINSPECTABLE
    assert "was changed" in refusal.text


# --------------------------------------------------------------------------- challenge parts

GUARDED = replace(
    PLAN,
    challenge=Challenge(parts=("rabbit-1",), interval_minutes=60, defects={"p1": "defect"}),
)


def test_a_guarded_station_is_ready_only_after_a_challenge_has_passed(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(GUARDED)
    floor.hello()
    assert floor.status().fault is Fault.CHALLENGE_DUE
    run = floor.inspected(part="rabbit-1")
    assert floor.verdict(run, "rabbit-1").nok
    assert floor.status().ready
    assert floor.verdict(floor.inspected((Verdict.OK, Verdict.OK))).ok
    floor.clock.advance(s=3600)
    floor.hello(first_seq=floor.outbox_seq + 1, next_seq=floor.outbox_seq + 1)
    assert floor.status().fault is Fault.CHALLENGE_DUE
    floor.inspected((Verdict.OK, Verdict.REVIEW), part="rabbit-1")
    assert floor.status().ready
    floor.restart()
    floor.hello(first_seq=floor.outbox_seq + 1, next_seq=floor.outbox_seq + 1)
    assert floor.status().fault is Fault.CHALLENGE_DUE


@pytest.mark.parametrize("seen", [Verdict.OK, None])
def test_a_missed_defect_takes_ready_away_until_a_challenge_passes(
    make: Callable[[Plan], Floor], seen: Verdict | None
) -> None:
    floor = make(GUARDED)
    floor.inspected(part="rabbit-1")
    missed = floor.inspected((Verdict.OK, seen), part="rabbit-1")
    verdict = floor.verdict(missed, "rabbit-1")
    assert (verdict.hold, verdict.held_because) == (True, Reason.CHALLENGE_PART)
    status = floor.status()
    assert (status.ready, status.fault) == (False, Fault.CHALLENGE_FAILED)
    assert "p1" in status.text
    assert floor.reader.events()[0].kind == "challenge_failed"
    held = floor.verdict(floor.inspected((Verdict.OK, Verdict.OK)))
    assert (held.hold, held.points_ok, held.held_because) == (True, 2, Reason.CHALLENGE_FAILED)
    floor.restart()
    floor.hello(first_seq=floor.outbox_seq + 1, next_seq=floor.outbox_seq + 1)
    assert floor.status().fault is Fault.CHALLENGE_FAILED
    floor.inspected(part="rabbit-1")
    assert floor.status().ready
    assert floor.verdict(floor.inspected((Verdict.OK, Verdict.OK), part="part-2"), "part-2").ok


def test_parts_begun_while_a_challenge_is_due_are_held_and_no_word_releases_them(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(GUARDED)
    run = floor.inspected()
    floor.decide("anna", run, "p1", Action.OVERRULE)
    verdict = floor.verdict(run)
    assert (verdict.hold, verdict.points_ok) == (True, 2)
    assert verdict.held_because is Reason.CHALLENGE_DUE
    refusal = floor.ask(m.Begin, part="part-1", plan="plan", repair_of=run, points=("p1",))
    assert refusal.fault is Fault.NOT_REINSPECTABLE


def test_a_part_that_is_open_when_a_challenge_fails_is_held(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(GUARDED)
    floor.inspected(part="rabbit-1")
    (open_run,) = floor.plc(m.Begin(plc="plc-2", seq=1, part="part-1", plan="plan"))
    floor.inspected((Verdict.OK, Verdict.OK), part="rabbit-1")
    floor.answered(open_run.run, (Verdict.OK, Verdict.OK))
    verdict = floor.verdict(open_run.run)
    assert (verdict.hold, verdict.held_because) == (True, Reason.CHALLENGE_FAILED)
    floor.decide("anna", open_run.run, "p1", Action.CONFIRM)
    assert floor.verdict(open_run.run).hold


def test_a_challenge_part_is_never_released_and_nobody_decides_on_it(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(GUARDED)
    run = floor.inspected(part="rabbit-1")
    assert floor.decide("anna", run, "p1", Action.OVERRULE).fault is Fault.NOT_POSSIBLE


# ------------------------------------------------------------------------------------ bypass


def bypass(floor: Floor, who: str = "anna", hours: float = 1, **fields: Any) -> Any:
    floor.requests += 1
    until = floor.clock.wall_ns() + int(hours * HOUR_NS)
    said = {
        "token": who,
        "request_id": f"{floor.requests:032x}",
        "reason": "camera in repair",
        "until_ns": until,
    }
    return floor.person(m.Bypass(**{**said, **fields}))


def test_while_bypassed_every_point_is_not_inspected_and_every_part_is_held(
    make: Callable[[Plan], Floor],
) -> None:
    floor = make(replace(PLAN, severity={Severity.MAJOR: Unresolved.NOK}))
    floor.hello()
    before = floor.begin("part-0")
    assert bypass(floor).active
    assert floor.verdict(before.run, "part-0").hold
    floor.restart()
    floor.hello()
    begun = floor.begin()
    verdict = floor.verdict(begun.run)
    assert (verdict.hold, verdict.points_not_inspected) == (True, 2)
    assert verdict.held_because is Reason.BYPASSED
    assert {p.reason for p in floor.reader.points(run=begun.run)} == {Reason.BYPASSED}
    status = floor.status()
    assert (status.ready, status.fault) == (False, Fault.BYPASSED)
    assert "anna" in status.text
    assert "camera in repair" in status.text
    assert any(event.kind == "bypass" for event in floor.reader.events())
    floor.requests += 1
    ended = m.Unbypass(token="ada", request_id=f"{floor.requests:032x}", reason="back")
    assert not floor.person(ended).active
    assert floor.status().ready
    assert floor.verdict(floor.inspected((Verdict.OK, Verdict.OK), "part-2"), "part-2").ok


def test_a_bypass_ends_by_itself_and_setting_the_clock_back_makes_it_no_longer(
    floor: Floor,
) -> None:
    floor.hello()
    bypass(floor, hours=1)
    start = floor.clock.wall_ns()
    floor.clock.advance(s=3599)
    floor.clock.set_wall(start - HOUR_NS)
    assert floor.status().fault is Fault.BYPASSED
    floor.clock.advance(s=1)
    floor.hello()
    assert floor.status().ready
    floor.clock.set_wall(start)
    floor.restart()
    floor.hello()
    assert floor.status().ready
    assert floor.rows("bypass") == 2


def test_after_a_restart_of_the_machine_the_wall_clock_ends_a_bypass(floor: Floor) -> None:
    bypass(floor, hours=1)
    floor.clock.reboot()
    floor.restart()
    assert floor.status().fault is Fault.BYPASSED
    floor.clock.advance(s=3600)
    floor.tick()
    assert floor.status().fault is not Fault.BYPASSED


def test_a_bypass_needs_a_named_person_a_reason_and_an_end(floor: Floor) -> None:
    wrong = [
        (bypass(floor, "otto"), Fault.NOT_AUTHORISED),
        (bypass(floor, "nobody"), Fault.NOT_AUTHORISED),
        (bypass(floor, reason="  "), Fault.NOT_POSSIBLE),
        (bypass(floor, hours=-1), Fault.NOT_POSSIBLE),
        (bypass(floor, hours=12.1), Fault.NOT_POSSIBLE),
        (floor.person(m.Unbypass(token="anna", request_id="f" * 32)), Fault.NOT_POSSIBLE),
    ]
    assert [declined.fault for declined, _ in wrong] == [fault for _, fault in wrong]
    assert floor.rows("bypass") == 0


def test_the_same_bypass_asked_twice_is_one(floor: Floor) -> None:
    until = floor.clock.wall_ns() + HOUR_NS
    ask = m.Bypass(token="anna", request_id="e" * 32, reason="r", until_ns=until)
    first = floor.person(ask)
    floor.restart()
    assert floor.person(ask) == first
    assert floor.rows("bypass") == 1


def test_a_bypassed_part_is_released_only_by_people_who_inspected_every_point(
    floor: Floor,
) -> None:
    floor.hello()
    bypass(floor)
    run = floor.begin().run
    said = [
        floor.decide("anna", run, point, Action.OVERRULE, method="by hand")
        for point in ("p0", "p1")
    ]
    assert [each.run_verdict for each in said] == [m.RunVerdict.HOLD, m.RunVerdict.OK]
    verdict = floor.verdict(run)
    assert (verdict.ok, verdict.ok_by_machine, verdict.ok_by_person) == (True, 0, 2)


def test_a_challenge_part_in_a_bypass_proves_nothing(make: Callable[[Plan], Floor]) -> None:
    floor = make(GUARDED)
    bypass(floor)
    floor.hello()
    floor.begin("rabbit-1")
    assert floor.rows("challenge") == 0
    floor.requests += 1
    floor.person(m.Unbypass(token="anna", request_id=f"{floor.requests:032x}"))
    assert floor.status().fault is Fault.CHALLENGE_DUE


# ------------------------------------------------------------------------------ any sequence

STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("say"),
            # Mostly what can make a point OK.
            st.sampled_from(["anna", "ben", "anna", "ben", "otto", "nobody"]),
            st.sampled_from(["p0", "p1", "p1"]),
            st.sampled_from([*Action, Action.OVERRULE, Action.OVERRULE, Action.REPAIRED]),
            st.sampled_from(["", "by hand"]),
            st.booleans(),
        ),
        st.tuples(
            st.just("inspect"),
            st.sampled_from([None, ("p0",), ("p1",), ("p0", "p1")]),
            st.sampled_from([Verdict.OK, Verdict.OK, Verdict.NOK, Verdict.REVIEW, None]),
            st.sampled_from([Verdict.OK, Verdict.OK, Verdict.NOK, Verdict.REVIEW, None]),
        ),
        st.tuples(st.just("restart")),
    ),
    max_size=14,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(
        [
            PLAN,
            replace(PLAN, decisions=Deciding(two_persons=(Severity.MAJOR,))),
            replace(PLAN, decisions=Deciding(repaired_without_inspection=True)),
        ]
    ),
    STEPS,
)
def test_whatever_people_say_and_inspect_no_ok_is_without_proof_and_numbers_only_rise(
    tmp_path_factory: pytest.TempPathFactory, plan: Plan, steps: list[tuple[Any, ...]]
) -> None:
    floor = Floor(tmp_path_factory.mktemp("floor"), plan)
    runs = [floor.inspected()]
    seen = 0
    for kind, *step in steps:
        if kind == "restart":
            floor.restart()
        elif kind == "say":
            who, point, action, method, latest = step
            floor.decide(
                who, runs[-1 if latest else 0], point, action, method=method, finding="defect"
            )
        else:
            points, *verdicts = step
            begin: dict[str, Any] = {}
            if points is not None:
                begin = {"repair_of": runs[-1], "points": points}
            runs.append(floor.inspected(tuple(verdicts), **begin))
        verdict = floor.verdict(None)
        assert verdict.verdict_seq >= seen
        seen = verdict.verdict_seq
    floor.close()
