"""A store has one file a period, and nobody notices where one ends."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from samples import PLAN, answer
from test_station import OUTBOX, Bench

from inspection import messages as m
from inspection.errors import StoreError
from inspection.messages import Fault, RunVerdict, Verdict
from inspection.store import Reader, Store, schema
from inspection.store.check import check_store
from inspection.store.periods import closed_periods, next_turn_ns
from inspection.testing.clock import FakeClock

HOUR_S = 3600


class Shift(Bench):
    """A station whose results are numbered on, and whose period can be turned."""

    sent = 0

    def inspect(self, part: str, *verdicts: Verdict | None) -> str:
        run = self.begin(part).run
        self.answer(run, part, *verdicts)
        return run

    def answer(self, run: str, part: str, *verdicts: Verdict | None, **fields: Any) -> list[Any]:
        self.sent += 1
        said = answer(run=run, part=part, verdicts=verdicts or (Verdict.OK, Verdict.OK))
        return self.results(msgspec.structs.replace(said, **fields), first_seq=self.sent)

    def turn(self) -> Path:
        closed = self.store.turn()
        assert closed is not None
        return closed


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Shift]:
    bench = Shift(tmp_path)
    bench.hello()
    yield bench
    bench.store.close()


def test_a_run_that_is_open_at_the_turn_goes_on_and_every_run_is_seen_once(bench: Shift) -> None:
    first = bench.inspect("part-1", Verdict.OK, Verdict.NOK)
    still = bench.begin("part-2").run
    bench.edge(m.FrameTaken(run=still, view="v0", attempt=1, frame="7"))
    closed = bench.turn()
    assert closed.name == "station-00001-2023-11-14.db"
    assert closed.stat().st_mode & 0o222 == 0
    assert not Path(f"{closed}-wal").exists()
    bench.answer(still, "part-2")
    assert bench.verdict(still, part="part-2").ok
    rows = {row.run: row for row in bench.reader.runs()}
    assert list(rows) == [still, first]
    assert [row.verdict for row in rows.values()] == [RunVerdict.OK, RunVerdict.NOK]
    done = bench.reader.production()
    assert (done.runs, done.parts_ok, done.parts_nok, done.open_runs) == (2, 1, 1, 0)
    assert (done.total.planned, done.total.ok, done.total.nok) == (4, 3, 1)
    assert [p.point for p in bench.reader.points(verdicts=[Verdict.NOK])] == ["p1"]
    assert bench.reader.counts()["result"] == 4
    assert len(bench.reader.records(first)) == len(bench.reader.records(still)) == 1
    for run in (first, still):
        covered = bench.reader.coverage(run)
        assert covered is not None
        assert covered.missing == ()


def test_a_station_restarted_after_a_turn_goes_on_with_the_open_run(bench: Shift) -> None:
    still = bench.begin("part-2").run
    bench.turn()
    bench.restart()
    bench.hello(nonce="5" * 32)
    bench.nonce = "5" * 32
    bench.answer(still, "part-2", attempt=1)
    assert not bench.verdict(still, part="part-2").nok
    assert bench.reader.coverage(still) is not None


def test_verdict_numbers_and_their_chain_go_on_over_turns(bench: Shift) -> None:
    seqs = []
    for part in ("a", "b", "c", "d"):
        run = bench.inspect(part)
        seqs.append((run, bench.verdict(run, part=part).verdict_seq))
        bench.turn()
    assert [seq for _, seq in seqs] == sorted({seq for _, seq in seqs})
    with bench.store.transaction():
        for run, seq in seqs:
            found = bench.store.latest_verdict(run)
            assert found is not None
            assert (found.verdict, found.verdict_seq) == (RunVerdict.OK, seq)


def test_a_verdict_changed_in_a_closed_file_is_answered_with_hold(bench: Shift) -> None:
    run = bench.inspect("part-1", Verdict.NOK, Verdict.OK)
    assert bench.verdict(run).nok
    closed = bench.turn()
    closed.chmod(0o644)
    with sqlite3.connect(closed) as database:
        database.execute("DROP TRIGGER verdict_no_update")
        database.execute("UPDATE verdict SET verdict='OK', ok=planned, nok=0")
    database.close()
    bench.restart()
    verdict = bench.verdict(run)
    assert (verdict.ok, verdict.hold) == (False, True)


def test_the_same_request_gets_the_same_answer_periods_later(bench: Shift) -> None:
    begin = m.Begin(plc="plc-1", seq=50, part="part-1", plan="plan")
    (first,) = bench.plc(begin)
    bench.seq = 50
    bench.answer(first.run, "part-1")
    bench.turn()
    bench.inspect("part-2")
    bench.turn()
    assert bench.plc(begin) == [first]
    (other,) = bench.plc(msgspec.structs.replace(begin, part="part-9"))
    assert other.fault is Fault.SEQ_REUSED
    (status,) = bench.plc(m.Heartbeat(plc="plc-1", counter=1))
    assert status.last_seq == bench.seq


def test_a_part_of_an_earlier_period_can_still_be_asked_for_and_acknowledged(bench: Shift) -> None:
    run = bench.inspect("part-1", Verdict.NOK, Verdict.OK)
    bench.turn()
    bench.inspect("part-2")
    bench.turn()
    verdict = bench.verdict(part="part-1")
    assert (verdict.run, verdict.nok) == (run, True)
    assert isinstance(bench.ask(m.Ack, run=run, verdict_seq=verdict.verdict_seq), m.Acknowledged)
    (row,) = bench.reader.runs(part="part-1")
    assert row.acknowledged
    assert bench.verdict(part="part-1").verdict_seq == verdict.verdict_seq
    # It was copied for that, and is still the older of the two.
    assert [row.part for row in bench.reader.runs(limit=1)] == ["part-2"]
    with bench.store.transaction():
        assert bench.store.latest_run("part-2") != run


def test_a_late_result_of_an_earlier_period_is_kept_and_flagged_and_turns_nothing(
    bench: Shift,
) -> None:
    run = bench.begin("part-1").run
    bench.clock.advance(ms=1000)
    before = bench.verdict(run)
    assert before.hold
    bench.turn()
    bench.hello()
    bench.answer(run, "part-1", Verdict.NOK, Verdict.OK)
    assert bench.verdict(run).verdict_seq == before.verdict_seq
    assert len(bench.reader.points(run=run, late=True)) == 2
    assert bench.reader.counts()["quarantine"] == 0
    bench.answer(run, "part-1", Verdict.OK, Verdict.OK)  # and a second answer is none
    assert bench.reader.counts()["quarantine"] == 1
    with bench.store.transaction():
        assert bench.store.check_chain(run) is not None


def test_an_outbox_is_read_on_and_a_record_changed_since_is_noticed(bench: Shift) -> None:
    run = bench.inspect("part-1")
    bench.turn()
    with bench.store.transaction():
        assert bench.store.outbox_position(OUTBOX) == ("edge-1", 1)
    bench.results(answer(run=run, verdicts=(Verdict.NOK, Verdict.OK)), first_seq=1)
    assert bench.reader.events()[0].kind == "conflict"


def test_first_pass_yield_knows_parts_of_earlier_periods(bench: Shift) -> None:
    bench.inspect("part-1", Verdict.NOK, Verdict.OK)
    bench.turn()
    bench.clock.advance(s=1)
    since = bench.clock.wall_ns()
    bench.inspect("part-1")
    bench.inspect("part-2")
    done = bench.reader.production(since_ns=since)
    assert (done.runs, done.parts_ok, done.first_runs, done.first_ok) == (2, 2, 1, 1)


@pytest.mark.parametrize("step", range(7))
def test_whenever_the_station_dies_in_a_turn_everything_is_there_once(
    bench: Shift, tmp_path: Path, step: int
) -> None:
    closed_run = bench.inspect("part-1", Verdict.OK, Verdict.NOK)
    request = m.Begin(plc="plc-1", seq=bench.seq + 1, part="part-2", plan="plan")
    (still,) = bench.plc(request)
    turning = bench.store.turn_steps()
    for _ in range(step):
        if next(turning, "over") == "over":
            break
    after = tmp_path / "after"
    after.mkdir()
    for file in tmp_path.glob("station*"):
        shutil.copy(file, after)  # what another process would find: SIGKILL keeps what was written
    turning.close()
    store = Store(after / "station.db", "station-1", bench.clock)
    with store.transaction():
        assert [run.run for run in store.open_runs()] == [still.run]
        assert store.outbox_position(OUTBOX) == ("edge-1", 1)
        assert store.request("plc-1", request.seq) is not None
        assert store.last_seq("plc-1") == request.seq
        found = store.latest_verdict(closed_run)
        assert found is not None
        assert found.verdict is RunVerdict.NOK
    assert store.period == (1 if step < 4 else 2)
    reader = Reader(after / "station.db")
    assert {row.run for row in reader.runs()} == {closed_run, still.run}
    assert reader.counts()["result"] == 2
    assert not list(after.glob("*.next*"))
    store.close()


def test_what_must_be_at_hand_is_in_every_period(
    bench: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "AT_HAND", (schema.quarantine, schema.verdict))
    bench.inspect("part-1")
    last = bench.inspect("part-2")
    for _ in range(2):
        bench.sent += 1
        bench.results(b"\xc1", first_seq=bench.sent)
    bench.turn()
    with bench.store.transaction():
        kept = bench.store._db.execute(schema.quarantine.select()).all()
        assert [row.outbox_seq for row in kept] == [bench.sent]
        runs = bench.store._db.execute(schema.run.select()).all()
        assert [row.run_id for row in runs] == [last]
    assert bench.verdict(last, part="part-2").ok
    assert len(bench.reader.runs()) == 2
    assert [found.wrong for found in check_store(bench.folder / "station.db")] == [[], []]


def test_a_run_is_copied_with_the_run_it_goes_on_from(
    bench: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = sa.Table(
        "goes_on",
        sa.MetaData(),
        sa.Column("run_id", sa.String, sa.ForeignKey("run.run_id"), primary_key=True),
        sa.Column("from_run", sa.String, sa.ForeignKey("run.run_id")),
    )
    create = (
        "CREATE TABLE goes_on (run_id TEXT PRIMARY KEY REFERENCES run(run_id),"
        " from_run TEXT REFERENCES run(run_id))"
    )
    first, second = bench.inspect("part-1", Verdict.NOK, Verdict.OK), bench.inspect("part-1")
    with bench.store.transaction():
        bench.store._db.exec_driver_sql(create)
        bench.store._db.exec_driver_sql("INSERT INTO goes_on VALUES (?, ?)", (second, first))
    bench.turn()
    monkeypatch.setattr(schema, "OF_RUNS", (*schema.OF_RUNS, table))
    verdict = bench.verdict(second)
    with bench.store.transaction():
        bench.store._db.exec_driver_sql(create)
        bench.store.acknowledge(verdict.verdict_seq, "plc-2")
        copied = bench.store._db.execute(schema.run.select().order_by(schema.run.c.number)).all()
    assert [row.run_id for row in copied] == [first, second]
    assert [row.run for row in bench.reader.runs()] == [second, first]


def test_a_missing_open_file_among_closed_ones_is_not_taken_for_a_new_store(bench: Shift) -> None:
    bench.inspect("part-1")
    bench.turn()
    bench.store.close()
    (bench.folder / "station.db").unlink()
    with pytest.raises(StoreError, match="restore it from a backup"):
        bench.start()


def test_a_page_that_reads_puts_a_turn_off_and_nothing_is_lost(bench: Shift) -> None:
    run = bench.inspect("part-1")
    with bench.reader._engine.connect() as reading:
        reading.exec_driver_sql("SELECT count(*) FROM run")
        assert bench.store.turn() is None
    still = bench.begin("part-2").run
    bench.answer(still, "part-2")
    assert bench.verdict(still, part="part-2").ok
    assert bench.store.turn() is not None
    assert {row.run for row in bench.reader.runs()} == {run, still}


def test_a_start_looks_at_the_open_period_only(bench: Shift) -> None:
    """However many closed ones there are, and whatever has become of them."""
    bench.inspect("part-1")
    bench.turn()
    for number in range(2, 200):
        (bench.folder / f"station-{number:05d}-2023-11-14.db").write_bytes(b"not looked at")
    bench.restart()
    assert len(closed_periods(bench.folder / "station.db")) == 199


def test_a_station_turns_at_the_time_of_day_once_no_run_is_open(tmp_path: Path) -> None:
    clock = FakeClock(10**12)
    due = next_turn_ns(clock.wall_ns(), ["06:00", "14:00"])
    assert due is not None
    bench = Shift(tmp_path)
    bench.store.close()
    bench.store = Store(tmp_path / "station.db", "station-1", bench.clock, ["06:00", "14:00"])
    bench.station._store = bench.store
    bench.hello()
    bench.inspect("part-1")
    still = bench.begin("part-2").run
    bench.clock.set_wall(due)
    bench.tick()
    assert bench.store.period == 1
    bench.answer(still, "part-2")
    bench.clock.advance(ms=1001)
    bench.tick()
    assert bench.store.period == 2
    bench.clock.advance(s=24 * HOUR_S)
    bench.tick()
    assert bench.store.period == 2  # nothing was inspected since
    bench.store.close()


def test_a_line_that_never_pauses_still_begins_a_new_file(tmp_path: Path) -> None:
    bench = Shift(tmp_path, msgspec.structs.replace(PLAN, deadline_ms=600_000))
    bench.store.close()
    bench.store = Store(tmp_path / "station.db", "station-1", bench.clock, ["06:00"])
    bench.station._store = bench.store
    due = next_turn_ns(bench.clock.wall_ns(), ["06:00"])
    assert due is not None
    bench.begin("part-1")
    bench.clock.set_wall(due + 601 * 10**9)
    bench.tick()
    assert bench.store.period == 2
    assert [run.verdict for run in bench.reader.runs()] == [None]
    bench.store.close()


def test_the_time_of_a_turn_is_the_next_one_after_a_moment() -> None:
    start = 1_700_000_000 * 10**9
    first = next_turn_ns(start, ["06:00", "22:00"])
    assert first is not None
    assert start < first <= start + 24 * HOUR_S * 10**9
    second = next_turn_ns(first, ["06:00", "22:00"])
    assert second is not None
    assert second - first in {8 * HOUR_S * 10**9, 16 * HOUR_S * 10**9}
    assert next_turn_ns(start, []) is None
