"""The store: what is committed is there, once, and stays as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from samples import PLAN, RUN, answer, entries_of, raw_of

from inspection.errors import StoreError
from inspection.ledger import Balance
from inspection.messages import Reason, RunVerdict, Verdict
from inspection.store import Reader, Store
from inspection.testing.clock import FakeClock

ALL_OK = Balance(planned=2, ok=2, nok=0, review=0, not_inspected=0, open=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "station.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path, "station-1", FakeClock())
    yield opened
    opened.close()


def fill_open(store: Store, run: str = RUN, *, seq: int = 1) -> None:
    """A run and one answer to it, inside a transaction."""
    message = answer(run=run)
    store.add_run(run, "part-1", PLAN, "plc", 10**9)
    store.add_order(run, "v0", 1, "edge-1")
    store.add_record(
        message, raw_of(message), entries_of(message), late=False, outbox=("0" * 32, seq)
    )
    store.advance_outbox("0" * 32, "edge-1", seq)


def fill(store: Store, run: str = RUN, *, close: bool = True, seq: int = 1) -> None:
    with store.transaction():
        fill_open(store, run, seq=seq)
        if close:
            store.add_verdict(run, RunVerdict.OK, ALL_OK)


def test_what_a_transaction_wrote_is_there_after_a_restart(path: Path) -> None:
    store = Store(path, "station-1", FakeClock())
    fill(store, close=False)
    store.close()
    again = Store(path, "station-1", FakeClock())
    with again.transaction():
        (run,) = again.open_runs()
        assert (run.run, run.part, run.plan.hash) == (RUN, "part-1", PLAN.hash)
        assert run.orders == (("v0", 1, "edge-1"),)
        assert [entry.verdict for entry in run.records[0].entries] == [Verdict.OK, Verdict.OK]
        assert again.outbox_position("0" * 32) == ("edge-1", 1)
    again.close()


def test_a_transaction_that_fails_leaves_nothing_behind(store: Store, path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.add_run(RUN, "part-1", PLAN, "plc", 10**9)
        store.add_event("test", "never seen")
        raise ZeroDivisionError
    counts = Reader(path).counts()
    assert (counts["run"], counts["event"], counts["plan"]) == (0, 0, 0)
    fill(store)  # and the store works on
    assert Reader(path).counts()["result"] == 2


def test_an_outbox_is_read_no_further_than_what_was_stored_of_it(store: Store, path: Path) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        fill_open(store)
        raise ZeroDivisionError
    with store.transaction():
        assert store.outbox_position("0" * 32) == (None, 0)
    assert Reader(path).counts()["record"] == 0


def test_every_commit_is_on_the_disk_before_anybody_is_told(store: Store) -> None:
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        connection.rollback()


@pytest.mark.parametrize("table", ["record", "result", "verdict", "run", "event", "request"])
@pytest.mark.parametrize("change", ["UPDATE {} SET station_id = 'x'", "DELETE FROM {}"])
def test_the_database_refuses_to_change_or_delete_a_record(
    store: Store, path: Path, table: str, change: str
) -> None:
    fill(store)
    with store.transaction():
        store.add_event("test", "something")
        store.add_request("plc", 1, "0" * 64, b"{}")
    store.close()
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError, match="append"):
        connection.execute(change.format(table))


def test_the_database_refuses_an_ok_that_is_not_proved_and_a_balance_that_is_not_exact(
    store: Store,
) -> None:
    for verdict, balance in (
        (RunVerdict.OK, Balance(planned=2, ok=1, nok=0, review=0, not_inspected=1, open=0)),
        (RunVerdict.OK, Balance(planned=0, ok=0, nok=0, review=0, not_inspected=0, open=0)),
        (RunVerdict.HOLD, Balance(planned=3, ok=2, nok=0, review=0, not_inspected=0, open=1)),
    ):
        with pytest.raises(StoreError, match="constraint"), store.transaction():
            store.add_run("run-x", "part", PLAN, "plc", 10**9)
            store.add_verdict("run-x", verdict, balance)


def test_an_answer_to_the_same_order_is_stored_only_once(store: Store) -> None:
    fill(store, close=False)
    message = answer()
    with pytest.raises(StoreError, match="UNIQUE"), store.transaction():
        store.add_record(
            message, raw_of(message), entries_of(message), late=False, outbox=("0" * 32, 2)
        )


def test_a_position_in_an_outbox_only_moves_forward(store: Store) -> None:
    with store.transaction():
        store.advance_outbox("0" * 32, "edge-1", 5)
    with pytest.raises(StoreError, match="forward"), store.transaction():
        store.advance_outbox("0" * 32, "edge-1", 4)


def test_a_byte_changed_on_disk_turns_the_verdict_into_hold(store: Store, path: Path) -> None:
    fill(store, close=False)
    store.close()
    # As on a disk that lies: SQLite itself finds nothing wrong with this file.
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER record_no_update")
        raw = bytearray(connection.execute("SELECT raw FROM record").fetchone()[0])
        raw[-1] ^= 1
        connection.execute("UPDATE record SET raw = ?", (bytes(raw),))
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    again = Store(path, "station-1", FakeClock())
    with again.transaction():
        assert again.check_chain(RUN) is None
        assert again.add_verdict(RUN, RunVerdict.OK, ALL_OK).verdict is RunVerdict.HOLD
    again.close()
    assert Reader(path).events()[0].kind == "chain_broken"


def test_a_second_station_on_the_same_store_is_refused_and_the_first_goes_on(
    store: Store, path: Path
) -> None:
    with pytest.raises(StoreError, match="another station"):
        Store(path, "station-1", FakeClock())
    fill(store)


def test_a_store_of_another_station_or_schema_or_program_is_refused(
    store: Store, path: Path, tmp_path: Path
) -> None:
    store.close()
    with pytest.raises(StoreError, match="belongs to station station-1"):
        Store(path, "station-2", FakeClock())
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER store_info_no_update")
        connection.execute("UPDATE store_info SET schema_version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        Store(path, "station-1", FakeClock())
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE a (b)")
    with pytest.raises(StoreError, match="not of this system"):
        Store(foreign, "station-1", FakeClock())
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store(garbage, "station-1", FakeClock())


def test_a_full_disk_is_an_error_nothing_is_half_written_and_it_goes_on_afterwards(
    store: Store, path: Path
) -> None:
    fill(store, "run-1")
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        connection.rollback()
    with pytest.raises(StoreError, match="full"), store.transaction():
        for number in range(10_000):
            store.add_event("test", f"{number} " * 100)
    assert Reader(path).counts()["event"] == 0
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
        connection.rollback()
    fill(store, "run-2", seq=2)


def test_a_reader_cannot_write_and_sees_only_what_was_committed(store: Store, path: Path) -> None:
    reader = Reader(path)
    with store.transaction():
        store.add_run(RUN, "part-1", PLAN, "plc", 10**9)
        assert reader.runs() == []
    (row,) = reader.runs()
    assert (row.part, row.balance.planned, row.balance.open) == ("part-1", 2, 2)
    with reader._engine.connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM event")


def test_a_reader_counts_the_attempt_that_counts(store: Store, path: Path) -> None:
    blind = answer(attempt=1, verdicts=(None, None))
    seen = answer(attempt=2, verdicts=(Verdict.OK, Verdict.NOK))
    with store.transaction():
        store.add_run(RUN, "part-1", PLAN, "plc", 10**9)
        for seq, message in enumerate((blind, seen), start=1):
            store.add_record(
                message,
                raw_of(message),
                entries_of(message),
                late=False,
                outbox=("0" * 32, seq),
            )
    (row,) = Reader(path).runs()
    assert (row.balance.ok, row.balance.nok, row.balance.not_inspected) == (1, 1, 0)
    (bad,) = Reader(path).points(verdicts=[Verdict.NOK])
    assert (bad.point, bad.attempt, bad.reason) == ("p1", 2, Reason.DEFECT)


def test_a_missing_store_is_a_readable_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="start the station first"):
        Reader(tmp_path / "none.db").runs()
