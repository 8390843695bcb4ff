"""The station without sockets: frames in, frames out, time told by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from samples import PLAN, answer

from inspection import messages as m
from inspection import wire
from inspection.evidence import EvidenceStore
from inspection.messages import Fault, Reason, Severity, Verdict
from inspection.package import ModelClass
from inspection.plan import Datum, Trigger
from inspection.policy import Policy
from inspection.station.acceptance import Released
from inspection.station.station import Station
from inspection.store import Reader, Store
from inspection.testing.clock import FakeClock

MODEL = m.ModelRef(package="a" * 64, policy="b" * 64)
OUTBOX = "1" * 32


class _Manifest(msgspec.Struct):
    """What the station reads of a manifest."""

    classes: tuple[ModelClass, ...]
    anomaly_only: bool = False

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.classes)

    def severity_of(self, finding: str) -> Severity | None:
        return next((entry.severity for entry in self.classes if entry.name == finding), None)


RELEASED = Released(
    manifest=_Manifest(
        (ModelClass(name="ok", severity=None), ModelClass(name="defect", severity=Severity.MAJOR))
    ),  # type: ignore[arg-type]
    policy=Policy(
        version=1,
        package=MODEL.package,
        ok_class="ok",
        ok_min=0.9,
        nok_min={"defect": 0.5},
        author="",
        created="",
        why="",
    ),
    ref=MODEL,
)


class Bench:
    """A station and the two peers it talks to."""

    def __init__(self, folder: Path, plan: Any = PLAN) -> None:
        self.folder = folder
        self.clock = FakeClock(10**12)
        self.plan = plan
        self.seq = 0
        self.nonce = "2" * 32
        self.start()

    def start(self) -> None:
        self.store = Store(self.folder / "station.db", "station-1", self.clock)
        self.station = Station(
            station_id="station-1",
            plans={self.plan.name: self.plan},
            released={"m": RELEASED},
            store=self.store,
            evidence=EvidenceStore(self.folder / "evidence"),
            clock=self.clock,
        )

    def restart(self) -> None:
        """As after SIGKILL: nothing in memory survives."""
        self.store.close()
        self.start()

    @property
    def reader(self) -> Reader:
        return Reader(self.folder / "station.db")

    def raw(self, socket: str, frame: bytes) -> list[Any]:
        lanes = {
            "edge": wire.STATION_TO_EDGE,
            "evidence": wire.STATION_TO_EVIDENCE,
            "plc": wire.STATION_TO_PLC,
        }
        sent = self.station.work([(socket, socket.encode(), frame)])
        return [lanes[name].decode(frame) for name, _, frame in sent]

    def tick(self) -> list[Any]:
        return [frame for _, _, frame in self.station.work([])]

    def edge(self, message: Any) -> list[Any]:
        return self.raw("edge", wire.EDGE_TO_STATION.encode(message))

    def plc(self, message: Any) -> list[Any]:
        """The answers; hints and what the station sends to others are left out."""
        said = self.raw("plc", wire.PLC_TO_STATION.encode(message))
        return [s for s in said if isinstance(s, m.Status) or hasattr(s, "seq")]

    def hello(self, **changes: Any) -> list[Any]:
        fields = {
            "edge": "edge-1",
            "outbox": OUTBOX,
            "nonce": self.nonce,
            "first_seq": 1,
            "next_seq": 1,
            "cameras": ("cam1",),
            "models": (m.ModelState(name="m", ref=MODEL),),
        }
        return self.edge(m.Hello(**{**fields, **changes}))

    def results(self, *answers: m.ViewResult | bytes, first_seq: int = 1) -> list[Any]:
        raw = tuple(a if isinstance(a, bytes) else wire.RECORD.encode(a) for a in answers)
        return self.edge(
            m.Results(outbox=OUTBOX, nonce=self.nonce, first_seq=first_seq, records=raw)
        )

    def ask(self, kind: Any, **fields: Any) -> Any:
        self.seq += 1
        (reply, *_) = self.plc(kind(plc="plc-1", seq=self.seq, **fields))
        return reply

    def begin(self, part: str = "part-1") -> m.Begun:
        reply = self.ask(m.Begin, part=part, plan=self.plan.name)
        assert isinstance(reply, m.Begun)
        return reply

    def verdict(self, run: str | None = None, part: str = "part-1") -> Any:
        return self.ask(m.GetVerdict, part=part, run=run)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_a_whole_run_from_begin_to_acknowledged_ok(bench: Bench) -> None:
    bench.hello()
    run = bench.begin().run
    assert bench.reader.runs()[0].balance.open == 2
    replies = bench.results(answer(run=run))
    assert any(isinstance(reply, m.Committed) and reply.committed == 1 for reply in replies)
    verdict = bench.verdict(run)
    assert (verdict.result_valid, verdict.ok, verdict.nok, verdict.hold) == (
        True,
        True,
        False,
        False,
    )
    acknowledged = bench.ask(m.Ack, run=run, verdict_seq=verdict.verdict_seq)
    assert isinstance(acknowledged, m.Acknowledged)
    assert bench.reader.runs()[0].acknowledged


def test_no_verdict_is_valid_before_the_run_is_closed(bench: Bench) -> None:
    begun = bench.begin()
    verdict = bench.verdict(begun.run)
    assert (verdict.result_valid, verdict.ok, verdict.nok, verdict.hold) == (False,) * 4
    assert (verdict.planned, verdict.points_open, verdict.verdict_seq) == (2, 2, 0)


def test_begin_for_an_unknown_plan_is_refused_and_recorded(bench: Bench) -> None:
    refusal = bench.ask(m.Begin, part="part-1", plan="other")
    assert (refusal.fault, refusal.seq) == (Fault.UNKNOWN_PLAN, 1)
    assert "there is no plan other" in bench.reader.events()[0].text
    assert bench.reader.runs() == []


def test_begin_for_a_part_whose_run_is_open_is_refused_and_the_run_goes_on(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    refusal = bench.ask(m.Begin, part="part-1", plan="plan")
    assert (refusal.fault, refusal.run) == (Fault.RUN_OPEN, begun.run)
    assert any(event.kind == "request_refused" for event in bench.reader.events())
    bench.results(answer(run=begun.run))
    assert bench.verdict(begun.run).ok


def test_the_same_request_gets_the_same_answer_and_opens_no_second_run(bench: Bench) -> None:
    begin = m.Begin(plc="plc-1", seq=7, part="part-1", plan="plan")
    (first,) = bench.plc(begin)
    (again,) = bench.plc(begin)
    bench.restart()
    (after_restart,) = bench.plc(begin)
    assert first == again == after_restart
    assert len(bench.reader.runs()) == 1


def test_a_sequence_number_seen_before_with_another_request_is_refused(bench: Bench) -> None:
    bench.plc(m.Begin(plc="plc-1", seq=7, part="part-1", plan="plan"))
    for seq in (7, 3):
        (refusal,) = bench.plc(m.Begin(plc="plc-1", seq=seq, part="part-2", plan="plan"))
        assert (refusal.fault, refusal.seq) == (Fault.SEQ_REUSED, seq)
        assert "the next is 8" in refusal.text
    (status,) = bench.plc(m.Heartbeat(plc="plc-1", counter=1))
    assert status.last_seq == 7


def test_another_plc_has_its_own_sequence_numbers_and_may_ask_for_any_part(bench: Bench) -> None:
    bench.begin()
    (begun,) = bench.plc(m.Begin(plc="plc-2", seq=1, part="part-2", plan="plan"))
    assert isinstance(begun, m.Begun)
    (verdict,) = bench.plc(m.GetVerdict(plc="plc-2", seq=2, part="part-1"))
    assert verdict.part == "part-1"


def test_at_the_deadline_the_run_is_held_and_says_why(bench: Bench) -> None:
    begun = bench.begin()
    bench.clock.advance(ms=1000)
    verdict = bench.verdict(begun.run)
    assert (verdict.hold, verdict.points_not_inspected) == (True, 2)
    assert {p.reason for p in bench.reader.points(run=begun.run)} == {Reason.EDGE_NOT_CONNECTED}


def test_a_late_result_is_kept_and_never_turns_the_verdict(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    bench.clock.advance(ms=1000)
    before = bench.verdict(begun.run)
    bench.hello()
    replies = bench.results(answer(run=begun.run))
    assert [r.committed for r in replies if isinstance(r, m.Committed)] == [1]
    after = bench.verdict(begun.run)
    assert (after.hold, after.verdict_seq) == (True, before.verdict_seq)
    assert len(bench.reader.points(run=begun.run, late=True)) == 2


def test_a_repeated_result_is_acknowledged_again_and_stored_once(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    for _ in range(3):
        replies = bench.results(answer(run=begun.run))
        assert [r.committed for r in replies if isinstance(r, m.Committed)] == [1]
    assert bench.reader.counts()["record"] == 1


def test_results_out_of_sequence_wait_until_the_missing_ones_come(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    (committed,) = bench.results(answer(run=begun.run), first_seq=2)
    assert committed.committed == 0
    assert bench.reader.counts()["record"] == 0


def test_a_second_different_answer_to_an_order_can_no_longer_be_ok(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    partly = answer(run=begun.run, verdicts=(Verdict.OK,))
    bench.results(partly)
    other = answer(run=begun.run, verdicts=(Verdict.NOK,))
    bench.results(other, first_seq=2)
    bench.clock.advance(ms=1000)
    assert not bench.verdict(begun.run).ok
    assert bench.reader.counts()["quarantine"] == 1


def test_a_conflict_is_remembered_over_a_restart(tmp_path: Path) -> None:
    views = (PLAN.views[0], msgspec.structs.replace(PLAN.views[0], id="v1"))
    points = (*PLAN.points, msgspec.structs.replace(PLAN.points[0], id="q0", view="v1"))
    bench = Bench(tmp_path, msgspec.structs.replace(PLAN, views=views, points=points))
    bench.hello()
    begun = bench.begin()
    bench.results(answer(run=begun.run, plan=bench.plan))
    other = answer(run=begun.run, plan=bench.plan, verdicts=(Verdict.OK, None))
    bench.results(other, first_seq=2)
    bench.restart()
    bench.clock.advance(ms=1000)
    verdict = bench.verdict(begun.run)
    assert (verdict.hold, verdict.points_ok, verdict.points_not_inspected) == (True, 0, 3)
    bench.store.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": m.ModelRef(package="c" * 64, policy="b" * 64)}, Reason.MODEL_NOT_RELEASED),
        ({"model": m.ModelRef(package="a" * 64, policy="c" * 64)}, Reason.MODEL_NOT_RELEASED),
        ({"scores": (0.5, 0.5)}, Reason.POLICY_DISAGREES),
        ({"scores": (0.99, 0.99)}, Reason.POLICY_DISAGREES),
        ({"scores": (1.0,)}, Reason.POLICY_DISAGREES),
        ({"verdict": Verdict.NOT_INSPECTED}, Reason.POLICY_DISAGREES),
        ({"finding": "defect"}, Reason.POLICY_DISAGREES),
    ],
)
def test_an_ok_the_station_cannot_reproduce_is_no_ok(
    bench: Bench, change: dict[str, Any], reason: Reason
) -> None:
    bench.hello()
    begun = bench.begin()
    said = answer(run=begun.run)
    first = msgspec.structs.replace(said.points[0], **change)
    bench.results(msgspec.structs.replace(said, points=(first, said.points[1])))
    assert bench.verdict(begun.run).hold
    points = {p.point: p for p in bench.reader.points(run=begun.run)}
    assert (points["p0"].verdict, points["p0"].reason) == (Verdict.NOT_INSPECTED, reason)


def test_a_point_left_out_of_an_answer_is_missing_and_a_strange_one_counts_for_nothing(
    bench: Bench,
) -> None:
    bench.hello()
    begun = bench.begin()
    said = answer(run=begun.run)
    strange = msgspec.structs.replace(said.points[1], point="p9")
    bench.results(msgspec.structs.replace(said, points=(said.points[0], strange)))
    points = {p.point: p.reason for p in bench.reader.points(run=begun.run)}
    assert points == {"p0": Reason.NONE, "p1": Reason.RECORD_LOST}
    assert bench.verdict(begun.run).hold


def test_a_point_answered_twice_in_one_record_is_in_conflict(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    said = answer(run=begun.run)
    bench.results(msgspec.structs.replace(said, points=(*said.points, said.points[0])))
    points = {p.point: p.reason for p in bench.reader.points(run=begun.run)}
    assert points["p0"] is Reason.RECORD_CONFLICT
    assert bench.verdict(begun.run).hold


def test_a_record_that_cannot_be_read_blocks_nothing_and_is_kept(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    nan = msgspec.msgpack.encode(
        {**msgspec.to_builtins(answer(run=begun.run)), "captured_ns": float("nan")}
    )
    replies = bench.results(b"\xc1 garbage", nan, answer(run=begun.run))
    assert [r.committed for r in replies if isinstance(r, m.Committed)] == [3]
    assert bench.reader.counts()["quarantine"] == 2
    assert bench.verdict(begun.run).ok


@pytest.mark.parametrize(
    "change",
    [{"run": "unknown"}, {"part": "part-9"}, {"plan": "f" * 64}, {"attempt": 5}, {"edge": "e9"}],
)
def test_an_answer_that_belongs_to_no_order_is_kept_aside(
    bench: Bench, change: dict[str, Any]
) -> None:
    bench.hello()
    begun = bench.begin()
    bench.results(msgspec.structs.replace(answer(run=begun.run), **change))
    counts = bench.reader.counts()
    assert (counts["record"], counts["quarantine"]) == (0, 1)
    assert bench.reader.events()[0].kind == "orphan"


def test_a_restarted_station_goes_on_with_open_runs_and_loses_nothing(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    bench.results(answer(run=begun.run, verdicts=(Verdict.OK,)))
    bench.restart()
    (welcome, *_) = bench.hello(first_seq=2, next_seq=2)
    assert welcome.committed == 1
    bench.clock.advance(ms=1000)
    verdict = bench.verdict(begun.run)
    assert (verdict.hold, verdict.points_ok, verdict.points_not_inspected) == (True, 1, 1)


def test_after_a_restart_of_the_machine_an_open_run_is_closed_with_that_reason(
    bench: Bench,
) -> None:
    begun = bench.begin()
    bench.clock.reboot()
    bench.restart()
    assert bench.verdict(begun.run).hold
    assert {p.reason for p in bench.reader.points(run=begun.run)} == {Reason.STATION_RESTARTED}


def test_orders_wait_until_the_backlog_of_a_restarted_edge_is_read(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    replies = bench.hello(nonce="3" * 32, next_seq=2)  # its outbox holds an answer not yet sent
    assert not any(isinstance(reply, m.Order) for reply in replies)
    bench.nonce = "3" * 32
    replies = bench.results(answer(run=begun.run))
    assert not any(isinstance(reply, m.Order) for reply in replies)
    assert bench.verdict(begun.run).ok


def test_an_order_names_the_tone_map_of_its_view(tmp_path: Path) -> None:
    views = tuple(msgspec.structs.replace(view, tone_map=m.ToneMap.LINEAR) for view in PLAN.views)
    for plan, named in (
        (PLAN, msgspec.UNSET),
        (msgspec.structs.replace(PLAN, views=views), "linear"),
    ):
        place = tmp_path / plan.hash
        place.mkdir()
        bench = Bench(place, plan)
        bench.begin()
        (order,) = [reply for reply in bench.hello() if isinstance(reply, m.Order)]
        assert order.tone_map == named


def test_an_order_carries_the_limits_of_the_points_that_have_some(tmp_path: Path) -> None:
    limits = m.QualityLimits(
        reference=bytes(256), level_min=20.0, level_max=200.0, focus_min=0.2, soft_below=0.3,
        shadows_max=0.1, highlights_max=0.1, glare_max=0.1, dead_max=0.1, content_max=0.4,
    )  # fmt: skip
    first, second = PLAN.points
    points = (msgspec.structs.replace(first, quality=limits), second)
    bench = Bench(tmp_path, msgspec.structs.replace(PLAN, points=points))
    bench.begin()
    (order,) = [reply for reply in bench.hello() if isinstance(reply, m.Order)]
    assert [task.quality for task in order.points] == [limits, msgspec.UNSET]


def test_an_order_carries_how_its_view_is_aligned(tmp_path: Path) -> None:
    datums = tuple(
        Datum(id=name, x_px=60, y_px=60, picture=name.encode()) for name in ("hole", "slot")
    )
    views = tuple(
        msgspec.structs.replace(view, overview=b"whole", datums=datums) for view in PLAN.views
    )
    bench = Bench(tmp_path, msgspec.structs.replace(PLAN, views=views))
    bench.begin()
    (order,) = [reply for reply in bench.hello() if isinstance(reply, m.Order)]
    assert order.alignment is not msgspec.UNSET
    assert order.alignment.overview == b"whole"
    assert [(mark.id, mark.picture) for mark in order.alignment.marks] == [
        ("hole", b"hole"),
        ("slot", b"slot"),
    ]


def test_an_order_that_was_lost_on_the_way_is_sent_again_the_same(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    ping = m.Ping(edge="edge-1", nonce=bench.nonce, counter=1, outbox_records=0)
    assert not any(isinstance(reply, m.Order) for reply in bench.edge(ping))
    bench.clock.advance(ms=999)
    held = m.OrderRef(run=begun.run, view="v0", attempt=1)
    busy = msgspec.structs.replace(ping, working=(held,))
    assert not any(isinstance(reply, m.Order) for reply in bench.edge(busy))


def test_a_silent_edge_is_lost_and_the_station_is_not_ready(bench: Bench) -> None:
    bench.hello()
    assert bench.plc(m.Heartbeat(plc="plc-1", counter=1))[0].ready
    bench.clock.advance(ms=2001)
    bench.tick()
    (status,) = bench.plc(m.Heartbeat(plc="plc-1", counter=2))
    assert (status.ready, status.fault) == (False, Fault.EDGE_MISSING)
    assert bench.reader.events()[0].kind == "edge_lost"


def test_an_edge_with_a_refused_model_keeps_the_station_from_ready_with_its_words(
    bench: Bench,
) -> None:
    bench.hello(models=(m.ModelState(name="m", ref=None, fault="model.onnx: changed"),))
    (status,) = bench.plc(m.Heartbeat(plc="plc-1", counter=1))
    assert status.fault is Fault.MODEL_MISSING
    assert "model.onnx: changed" in status.text


def test_a_second_edge_with_the_same_camera_is_refused_and_the_first_goes_on(bench: Bench) -> None:
    bench.hello()
    (refused,) = bench.hello(edge="edge-2", outbox="4" * 32, nonce="5" * 32)
    assert isinstance(refused, m.Refused)
    begun = bench.begin()
    bench.results(answer(run=begun.run))
    assert bench.verdict(begun.run).ok


def test_a_frame_of_an_earlier_session_is_not_believed(bench: Bench) -> None:
    bench.hello()
    begun = bench.begin()
    bench.hello(nonce="3" * 32)
    (refused,) = bench.results(answer(run=begun.run))
    assert refused.fault is Fault.UNKNOWN_SESSION
    assert bench.reader.counts()["record"] == 0


@pytest.mark.parametrize("socket", ["edge", "evidence", "plc"])
@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (b"", Fault.MALFORMED),
        (b"\xc1", Fault.MALFORMED),
        (b"[" * 20_000, Fault.TOO_LARGE),
        (b"\x91" * 10_000, Fault.MALFORMED),
        (b'{"protocol": 2, "type": "Begin"}', Fault.PROTOCOL),
        (msgspec.msgpack.encode({"protocol": 2, "type": "Hello"}), Fault.PROTOCOL),
        (b'{"protocol": 1, "type": "Nothing"}', Fault.MALFORMED),
        (b"\xff\xfe\x00", Fault.MALFORMED),
    ],
)
def test_garbage_is_refused_by_code_and_stops_nothing(
    bench: Bench, socket: str, frame: bytes, fault: Fault
) -> None:
    bench.hello()
    (refusal,) = bench.raw(socket, frame)
    assert isinstance(refusal, m.Refused | m.Refusal)
    # A frame in the other codec, or one that only the PLC's small limit refuses, is still garbage.
    assert refusal.fault in {fault, Fault.MALFORMED}
    assert refusal.text
    assert bench.reader.events()[0].kind == "frame_refused"
    begun = bench.begin()
    bench.results(answer(run=begun.run))
    assert bench.verdict(begun.run).ok


def test_a_million_garbage_frames_do_not_fill_the_disk(bench: Bench) -> None:
    for _ in range(2500):
        bench.raw("plc", b"garbage")
    assert bench.reader.counts()["event"] == 3


def test_an_acknowledgement_of_a_stale_or_missing_verdict_is_refused(bench: Bench) -> None:
    begun = bench.begin()
    assert bench.ask(m.Ack, run=begun.run, verdict_seq=1).fault is Fault.NO_VERDICT
    bench.clock.advance(ms=1000)
    verdict = bench.verdict(begun.run)
    stale = bench.ask(m.Ack, run=begun.run, verdict_seq=verdict.verdict_seq + 1)
    assert stale.fault is Fault.STALE_VERDICT


def test_evidence_is_stored_under_its_hash_and_refused_under_another(bench: Bench) -> None:
    from hashlib import sha256

    data = b"a picture"
    name = sha256(data).hexdigest()
    evidence = m.Evidence(edge="edge-1", sha256=name, media_type="png", data=data)
    lane = wire.EVIDENCE_TO_STATION
    (stored,) = bench.raw("evidence", lane.encode(evidence))
    assert stored == m.EvidenceStored(sha256=name)
    assert EvidenceStore(bench.folder / "evidence").get(name) == data
    wrong = msgspec.structs.replace(evidence, sha256="0" * 64)
    (refused,) = bench.raw("evidence", lane.encode(wrong))
    assert refused.fault is Fault.STORE_FAILED


def test_while_the_store_fails_nothing_is_acknowledged_and_the_plc_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hello()
    begun = bench.begin()
    engine = bench.store._engine
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.rollback()
    assert bench.results(*[b"\xc1" + bytes(100_000)] * 30) == []
    assert bench.station.not_ready()[0] is Fault.STORE_FAILED
    assert bench.reader.counts()["quarantine"] == 0
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        connection.rollback()
    (refused,) = bench.results(answer(run=begun.run))
    assert refused.fault is Fault.UNKNOWN_SESSION
    bench.hello()
    bench.results(answer(run=begun.run))
    assert bench.verdict(begun.run).ok


def test_fault_13_what_a_failed_commit_should_have_stored_is_told_to_nobody(
    bench: Bench,
) -> None:
    """Everything was written and answered in memory when the disk fails, once, at the very end."""
    bench.hello()
    failing = [True]

    def fail(connection: sa.Connection) -> None:
        if failing.pop():
            raise sqlite3.OperationalError("disk I/O error")

    sa.event.listen(bench.store._engine, "commit", fail)
    failing.append(False)
    begun = bench.begin()
    assert failing == [True]
    assert bench.results(b"not a record") == []
    assert bench.station.not_ready()[0] is Fault.STORE_FAILED
    failing += [False] * 20
    # Never tried again as if nothing had happened: the session is gone, and the edge begins anew.
    (refused,) = bench.results(answer(run=begun.run))
    assert refused.fault is Fault.UNKNOWN_SESSION
    (welcome, *_) = bench.hello()
    assert welcome.committed == 0
    bench.results(answer(run=begun.run))
    assert bench.verdict(begun.run).ok


class TestTriggeredByThePlc:
    """Views that the PLC asks for, one by one."""

    @pytest.fixture
    def bench(self, tmp_path: Path) -> Iterator[Bench]:
        view = msgspec.structs.replace(PLAN.views[0], trigger=Trigger.PLC)
        bench = Bench(tmp_path, msgspec.structs.replace(PLAN, views=(view,)))
        yield bench
        bench.store.close()

    def test_a_trigger_is_busy_until_the_picture_is_taken_then_acquired(self, bench: Bench) -> None:
        bench.hello()
        begun = bench.begin()
        trigger = m.TriggerView(plc="plc-1", seq=50, run=begun.run, view="v0")
        replies = bench.station.work([("plc", b"plc", wire.PLC_TO_STATION.encode(trigger))])
        assert [name for name, _, _ in replies] == ["edge", "plc"]
        assert isinstance(bench.plc(trigger)[0], m.Busy)
        bench.edge(m.FrameTaken(run=begun.run, view="v0", attempt=1, frame="17 image"))
        (acquired,) = bench.plc(trigger)
        assert acquired.frame == "17 image"

    def test_a_view_never_triggered_is_written_off_at_end(self, bench: Bench) -> None:
        bench.hello()
        begun = bench.begin()
        assert isinstance(bench.ask(m.End, run=begun.run), m.Ended)
        assert bench.verdict(begun.run).hold
        assert {p.reason for p in bench.reader.points(run=begun.run)} == {Reason.RUN_ENDED}

    def test_a_trigger_for_an_unknown_view_or_run_is_refused(self, bench: Bench) -> None:
        begun = bench.begin()
        assert bench.ask(m.TriggerView, run=begun.run, view="v9").fault is Fault.UNKNOWN_VIEW
        assert bench.ask(m.TriggerView, run="none", view="v0").fault is Fault.UNKNOWN_RUN
        bench.ask(m.End, run=begun.run)
        assert bench.ask(m.TriggerView, run=begun.run, view="v0").fault is Fault.RUN_CLOSED
