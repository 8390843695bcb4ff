"""Faults of the disk under a station's store, each by its number in the fault catalogue."""

from __future__ import annotations

import ctypes
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from samples import answer
from test_periods import Shift
from test_station_attacked import two_views

from inspection import messages as m
from inspection.errors import StoreError
from inspection.messages import Fault, Verdict
from inspection.plan import Trigger
from inspection.store import Reader, Store, writer
from inspection.store.check import check_store
from inspection.store.copies import copy_database
from inspection.testing.clock import FakeClock


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Shift]:
    bench = Shift(tmp_path)
    bench.hello()
    yield bench
    bench.store.close()


def status(bench: Shift) -> m.Status:
    (said,) = bench.plc(m.Heartbeat(plc="plc-1", counter=1))
    assert isinstance(said, m.Status)
    return said


def acknowledged(replies: list[Any]) -> list[int]:
    return [reply.committed for reply in replies if isinstance(reply, m.Committed)]


# ------------------------------------------------------------------------- 11: no room


@contextmanager
def no_more_pages(bench: Shift) -> Iterator[None]:
    def limit(pages: str) -> None:
        with bench.store._engine.connect() as connection:
            if not pages:
                pages = str(connection.exec_driver_sql("PRAGMA page_count").scalar())
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
            connection.rollback()

    limit("")
    yield
    limit("1000000")


@contextmanager
def no_larger_files(bench: Shift) -> Iterator[None]:
    """As a full disk: a write past the end of what is there fails with an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = max(file.stat().st_size for file in bench.folder.glob("station.db-wal"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_fault_11_a_station_is_not_ready_before_its_disk_is_full(
    bench: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert status(bench).ready
    monkeypatch.setattr(writer, "LEAST_ROOM", 2**62)
    told = status(bench)
    assert (told.ready, told.fault) == (False, Fault.STORE_FAILED)
    assert "make room" in told.text
    run = bench.inspect("part-1")  # what stands there already is finished
    assert bench.verdict(run).ok


@pytest.mark.parametrize("full", [no_more_pages, no_larger_files])
def test_fault_11_without_room_nothing_is_acknowledged_and_it_recovers_by_itself(
    bench: Shift, full: Callable[[Shift], Any]
) -> None:
    run = bench.begin("part-1").run
    with full(bench):
        # Quarantined records are kept whole, so that many of them need room.
        said: list[Any] = []
        for _ in range(200):
            said = bench.results(bytes([0xC1]) * 30_000, first_seq=1)
            if not said:
                break
        assert said == []
        told = status(bench)
        assert not told.ready
        assert told.fault in (Fault.STORE_FAILED, Fault.EDGE_MISSING)
        assert acknowledged(bench.results(answer(run=run), first_seq=1)) == []
        for verdict in bench.plc(m.GetVerdict(plc="plc-1", seq=9, part="part-1", run=run)):
            assert not verdict.ok
    before = bench.reader.counts()["quarantine"]
    status(bench)
    bench.nonce = "6" * 32
    welcome, *_ = bench.hello(first_seq=1, next_seq=before + 2)
    assert welcome.committed == before  # what was committed, and not one more
    assert status(bench).ready
    bench.sent = before
    bench.answer(run, "part-1")
    assert bench.verdict(run).ok
    assert [found.wrong for found in check_store(bench.folder / "station.db")] == [[]]


TMPFS = """
import sys, pathlib
sys.path[:0] = {paths!r}
from test_store_faults import Shift, acknowledged, status
from inspection.messages import Fault
from samples import answer
bench = Shift(pathlib.Path("{folder}"))
bench.hello()
run = bench.begin("part-1").run
sent = 0
while acknowledged(bench.results(bytes([0xC1]) * 30_000, first_seq=sent + 1)):
    sent += 1
assert sent > 2, sent
assert status(bench).fault is Fault.STORE_FAILED
assert not acknowledged(bench.results(answer(run=run), first_seq=sent + 1))
pathlib.Path("{folder}/ballast").unlink()
status(bench)
bench.nonce = "6" * 32
bench.hello(first_seq=1, next_seq=sent + 1)
assert bench.reader.counts()["quarantine"] == sent
bench.sent = sent
bench.answer(run, "part-1")
assert bench.verdict(run).ok
"""


def test_fault_11_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    script = tmp_path / "full.py"
    script.write_text(TMPFS.format(paths=paths, folder=disk))
    mount = f"mount -t tmpfs -o size=2m none {disk} && head -c 900000 /dev/zero > {disk}/ballast"
    probe = subprocess.run(["unshare", "-Urm", "sh", "-c", mount], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f"{mount} && exec {sys.executable} {script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_fault_11_without_room_for_a_new_period_the_old_one_is_written_on(bench: Shift) -> None:
    run = bench.inspect("part-1")
    (bench.folder / "station-00001-2023-11-14.db").mkdir()  # in its way
    assert bench.store.turn() is None
    assert "move it away" in bench.store.turn_fault
    still = bench.inspect("part-2")
    assert bench.verdict(still, part="part-2").ok
    assert bench.verdict(run).ok


# ----------------------------------------------------------- 15, 16: bytes that were changed


def test_fault_15_a_garbled_page_stops_the_start_and_a_backup_goes_on(bench: Shift) -> None:
    path, kept = bench.folder / "station.db", bench.folder / "kept.db"
    run = bench.inspect("part-1")
    copy_database(path, kept)
    bench.inspect("part-2")
    bench.store.close()
    with sqlite3.connect(path) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'record'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * 200)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        bench.start()
    shutil.copy(kept, path)
    bench.start()
    bench.nonce = "6" * 32
    (welcome, *_) = bench.hello(first_seq=2, next_seq=3)
    assert welcome.committed == 1
    assert bench.verdict(run).ok


def test_fault_16_a_changed_result_is_never_ok_though_sqlite_sees_nothing(tmp_path: Path) -> None:
    bench = Shift(tmp_path, two_views(Trigger.STATION))
    bench.hello()
    run = bench.begin().run
    said = answer(run=run, plan=bench.plan, verdicts=(Verdict.NOK, Verdict.OK))
    bad, good = (msgspec.structs.replace(said, points=(point,)) for point in said.points)
    bench.results(bad)
    bench.store.close()
    path = tmp_path / "station.db"
    changed = path.read_bytes().replace(b"NOK", b"OK ")
    assert changed != path.read_bytes()
    path.write_bytes(changed)
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    bench.start()
    bench.nonce = "6" * 32
    bench.hello(first_seq=2, next_seq=2)
    bench.results(msgspec.structs.replace(good, view="v1"), first_seq=2)
    bench.clock.advance(ms=1000)
    verdict = bench.verdict(run)
    assert (verdict.result_valid, verdict.ok) == (True, False)
    assert {"record_changed", "chain_broken"} & {event.kind for event in bench.reader.events()}
    (found,) = check_store(path)
    assert any("was changed" in line for line in found.wrong)
    bench.store.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE verdict SET nok=0, ok=planned, verdict='OK'", "was changed, or one before"),
        ("UPDATE result SET verdict='OK', reason=0, finding=''", "its record says otherwise"),
        ("UPDATE record SET raw = x'c1'", "record 1 was changed"),
        ("UPDATE result SET verdict='REVIEW' WHERE verdict='NOK'", "its verdict counts"),
        ("DELETE FROM verdict WHERE verdict_seq = (SELECT min(verdict_seq) FROM verdict)", "one b"),
    ],
)
def test_fault_16_the_check_names_what_was_changed_also_in_a_closed_period(
    bench: Shift, change: str, says: str
) -> None:
    bench.inspect("part-1", Verdict.NOK, Verdict.OK)
    bench.inspect("part-2")
    closed = bench.turn()
    bench.inspect("part-3")
    path = bench.folder / "station.db"
    assert [found.wrong for found in check_store(path)] == [[], []]
    closed.chmod(0o644)
    with sqlite3.connect(closed) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type='trigger'"):
            database.execute(f"DROP TRIGGER {name}")
        database.execute(change)
    database.close()
    damaged, _ = check_store(path)
    assert any(says in line for line in damaged.wrong), damaged.wrong


def test_fault_16_the_check_misses_no_period_that_was_taken_away(bench: Shift) -> None:
    for part in ("part-1", "part-2", "part-3"):
        bench.inspect(part)
        closed = bench.turn()
        if part == "part-2":
            gone = closed
    gone.unlink()
    wrong = [line for found in check_store(bench.folder / "station.db") for line in found.wrong]
    assert any("a file is missing" in line for line in wrong)


# ------------------------------------------------- 17, 18: what was committed is gone again


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 0.6, 0.9])
def test_fault_17_a_lost_end_of_the_log_is_sent_again(
    bench: Shift, tmp_path: Path, share: float | None
) -> None:
    run = bench.begin("part-1").run
    with bench.store._engine.connect() as connection:
        connection.rollback()
        raw: Any = connection.connection
        raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    bench.answer(run, "part-1", Verdict.OK, Verdict.OK)
    assert bench.verdict(run).ok
    after = tmp_path / "after"
    after.mkdir()
    shutil.copy(tmp_path / "station.db", after)
    log = (tmp_path / "station.db-wal").read_bytes()
    assert log
    if share is not None:
        (after / "station.db-wal").write_bytes(log[: int(len(log) * share)])
    bench.store.close()
    bench.folder = after
    bench.start()
    bench.nonce = "6" * 32
    (welcome, *_) = bench.hello(first_seq=1, next_seq=2)
    if welcome.committed == 0:
        bench.sent = 0
        bench.answer(run, "part-1", Verdict.OK, Verdict.OK)
    assert bench.verdict(run).ok
    counts = bench.reader.counts()
    assert (counts["record"], counts["result"], counts["verdict"]) == (1, 2, 1)


def test_fault_18_a_restored_backup_takes_results_again_and_says_what_is_gone(
    bench: Shift, tmp_path: Path
) -> None:
    path, kept = tmp_path / "station.db", tmp_path / "kept.db"
    first = bench.inspect("part-1")
    still = bench.begin("part-2").run
    copy_database(path, kept)
    bench.answer(still, "part-2", Verdict.NOK, Verdict.OK)
    seen = bench.verdict(still, part="part-2")
    assert seen.nok
    gone = bench.inspect("part-3")
    bench.store.close()
    for file in tmp_path.glob("station.db*"):
        file.unlink()
    shutil.copy(kept, path)
    bench.clock.advance(s=3600)
    bench.start()
    # The edge still has record 2 and 3 of its outbox; of record 3 nobody knows the run any more.
    bench.nonce = "6" * 32
    (welcome, *_) = bench.hello(first_seq=2, next_seq=4)
    assert welcome.committed == 1
    bench.sent = 1
    bench.answer(still, "part-2", Verdict.NOK, Verdict.OK)
    bench.answer(gone, "part-3")
    verdict = bench.verdict(still, part="part-2")
    assert (verdict.ok, verdict.result_valid) == (False, True)
    assert verdict.verdict_seq > seen.verdict_seq
    assert bench.verdict(gone, part="part-3").fault is Fault.UNKNOWN_RUN
    assert bench.verdict(first).ok
    assert bench.reader.counts()["quarantine"] == 1
    assert [found.wrong for found in check_store(path)] == [[]]


def test_fault_18_what_no_outbox_has_any_more_is_named_and_never_ok(
    bench: Shift, tmp_path: Path
) -> None:
    path, kept = tmp_path / "station.db", tmp_path / "kept.db"
    still = bench.begin("part-1").run
    copy_database(path, kept)
    bench.answer(still, "part-1")
    assert bench.verdict(still).ok
    bench.store.close()
    for file in tmp_path.glob("station.db*"):
        file.unlink()
    shutil.copy(kept, path)
    bench.start()
    bench.nonce = "6" * 32
    bench.hello(first_seq=2, next_seq=2)
    assert "records_lost" in {event.kind for event in bench.reader.events()}
    bench.clock.advance(s=3600)
    assert bench.verdict(still).hold


# ----------------------------------------------------------------------------- 19: readers


def test_fault_19_a_reader_that_does_not_stop_is_told_of_and_holds_nothing_up(
    bench: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "LARGE_LOG", 2 * 2**20)
    bench.inspect("part-0")
    path = bench.folder / "station.db"
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None) as reading:
        reading.execute("BEGIN")
        (before,) = reading.execute("SELECT count(*) FROM quarantine").fetchone()
        for _ in range(120):
            bench.sent += 1
            bench.results(bytes([0xC1]) * 30_000, first_seq=bench.sent)
        run = bench.inspect("part-1")
        assert bench.verdict(run).ok
        assert [e.kind for e in bench.reader.events(limit=500)].count("log_large") == 1
        assert reading.execute("SELECT count(*) FROM quarantine").fetchone() == (before,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reading.execute("DELETE FROM outbox")
    reading.close()
    log = Path(f"{path}-wal")
    assert log.stat().st_size > 2 * 2**20
    bench.inspect("part-2")
    bench.store.close()
    assert not log.exists()


def test_fault_19_a_second_writer_is_refused(bench: Shift) -> None:
    with pytest.raises(StoreError, match="another station has this store open"):
        Store(bench.folder / "station.db", "station-1", FakeClock())


# -------------------------------------------------------------------------- 51: permissions

NO_OVERRIDE = (24, 1)
"""prctl: drop from the bounding set the right of root to write whatever the mode says."""


def _as_anybody() -> None:
    ctypes.CDLL(None).prctl(*NO_OVERRIDE, 0, 0, 0)


@pytest.mark.parametrize("spoil", ["folder", "file", "lock"])
def test_fault_51_a_store_that_cannot_be_written_stops_the_start(
    tmp_path: Path, spoil: str
) -> None:
    folder = tmp_path / "station"
    folder.mkdir()
    path = folder / "station.db"
    if spoil == "file":
        Store(path, "station-1", FakeClock()).close()
        path.chmod(0o444)
    elif spoil == "lock":
        (folder / "station.db.lock").touch(0o444)
    else:
        folder.chmod(0o555)
    code = (
        "import sys, pathlib; from inspection.clock import SystemClock;"
        "from inspection.store import Store; from inspection.errors import StoreError\n"
        "try: Store(pathlib.Path(sys.argv[1]), 'station-1', SystemClock())\n"
        "except StoreError as error: sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_as_anybody,
    )
    folder.chmod(0o755)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    assert str(folder) in done.stderr
    assert any(word in done.stderr for word in ("cannot be written", "readonly", "opened"))


# ------------------------------------------------------------------------------ the command


def test_a_station_that_runs_can_be_backed_up_and_each_copy_checked(
    bench: Shift, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspection.__main__ import main

    run = bench.inspect("part-1")
    closed = bench.turn()
    bench.inspect("part-2")
    path, folder = tmp_path / "station.db", tmp_path / "backup"
    assert main(["store", "backup", str(path), str(folder)]) == 0
    still = bench.inspect("part-3")
    assert main(["store", "backup", str(path), str(folder)]) == 0
    assert f"{closed.name}: is there already" in capsys.readouterr().out
    assert {file.name for file in folder.iterdir()} == {closed.name, "station.db"}
    assert main(["store", "check", str(folder / "station.db")]) == 0
    assert "2 periods, 3 runs" in capsys.readouterr().out
    assert main(["store", "check", str(path), "--period", str(folder / closed.name)]) == 0
    assert {row.run for row in Reader(folder / "station.db").runs()} >= {run, still}
    assert main(["store", "backup", str(path), str(tmp_path)]) == 1
    assert "own folder" in capsys.readouterr().err
    assert main(["store", "check", str(tmp_path / "none.db")]) == 1
