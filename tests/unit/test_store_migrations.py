"""A store of every released schema version, kept as its software left it, becomes one of today."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from test_periods import Shift

from inspection.errors import StoreError
from inspection.messages import RunVerdict, Verdict
from inspection.store import Reader, Store, schema
from inspection.store.check import check_store
from inspection.testing.clock import FakeClock

OLD = Path(__file__).resolve().parents[1] / "golden" / "store"
RELEASED = sorted(OLD.glob("v*.db"))


@pytest.fixture(params=RELEASED, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "station.db"
    shutil.copy(request.param, path)
    path.chmod(0o644)
    return path


def layout(path: Path) -> set[tuple[str, str, str]]:
    """Every table, index and trigger, without the spelling of blanks."""
    with sqlite3.connect(path) as database:
        rows = database.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
    database.close()
    return {(kind, name, re.sub(r"\s+", " ", sql)) for kind, name, sql in rows}


def version(path: Path) -> int:
    with sqlite3.connect(path) as database:
        (found,) = database.execute("SELECT schema_version FROM store_info").fetchone()
    database.close()
    return int(found)


def test_there_is_a_kept_store_of_every_version_before_this_one() -> None:
    assert [path.stem for path in RELEASED] == [f"v{n}" for n in range(1, schema.SCHEMA_VERSION)]


def test_a_migrated_store_is_laid_out_as_a_new_one(old: Path, tmp_path: Path) -> None:
    Store(old, "station-1", FakeClock()).close()
    Store(tmp_path / "new.db", "station-1", FakeClock()).close()
    assert layout(old) == layout(tmp_path / "new.db")
    assert version(old) == schema.SCHEMA_VERSION


def test_all_it_held_is_there_afterwards_and_its_chains_hold(old: Path) -> None:
    store = Store(old, "station-1", FakeClock())
    with store.transaction():
        (still,) = store.open_runs()
        assert (still.part, still.intact) == ("part-5", True)
        assert store.last_seq("plc-1") == 11
        (outbox,) = store._db.execute(schema.outbox.select()).all()
        assert outbox.committed == 5
    store.close()
    rows = {row.part: row for row in Reader(old).runs()}
    assert {part: row.verdict for part, row in rows.items()} == {
        "part-1": RunVerdict.OK,
        "part-2": RunVerdict.NOK,
        "part-3": RunVerdict.HOLD,
        "part-4": RunVerdict.HOLD,
        "part-5": None,
    }
    assert len(Reader(old).points(verdicts=[Verdict.NOK])) == 1
    assert len(Reader(old).points(late=True)) == 2
    (found,) = check_store(old)
    assert found.wrong == []


def test_a_page_shows_an_old_store_also_before_its_station_was_updated(old: Path) -> None:
    reader = Reader(old)
    done = reader.production(since_ns=1)
    assert (done.runs, done.parts_ok, done.open_runs) == (5, 1, 1)
    rows = {row.part: row.run for row in reader.runs()}
    covered = reader.coverage(rows["part-1"])
    assert covered is not None
    assert covered.balance.ok == 2
    assert len(reader.suspects([rows["part-2"]])) == 1
    assert reader.records(rows["part-1"])
    assert version(old) < schema.SCHEMA_VERSION


def test_a_station_works_on_with_a_migrated_store_and_turns_its_period(
    old: Path, tmp_path: Path
) -> None:
    bench = Shift(tmp_path)
    bench.seq, bench.sent = 20, 5
    bench.hello(first_seq=6, next_seq=6)
    run = bench.inspect("part-6")
    assert bench.verdict(run, part="part-6").ok
    bench.turn()
    assert bench.verdict(part="part-2").nok
    assert all(found.wrong == [] for found in check_store(old))
    bench.store.close()


def test_what_it_was_before_is_kept_beside_it(old: Path) -> None:
    before = layout(old)
    found = version(old)
    Store(old, "station-1", FakeClock()).close()
    kept = old.with_name(f"station.schema-{found}.db")
    assert (layout(kept), version(kept)) == (before, found)
    assert Reader(old).events()[0].kind == "migrated"


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, found = layout(old), version(old)
    with sqlite3.connect(old) as database:  # something of another's is in the way
        database.execute(
            "CREATE TRIGGER study_no_update BEFORE UPDATE ON event BEGIN SELECT 1; END"
        )
    database.close()
    with pytest.raises(StoreError, match="It is as it was"):
        Store(old, "station-1", FakeClock())
    assert {entry for entry in layout(old) if entry[1] != "study_no_update"} == before
    assert version(old) == found


def test_without_room_for_a_backup_nothing_is_migrated(old: Path) -> None:
    before = layout(old)
    (old.parent / f"station.schema-{version(old)}.db").mkdir()
    with pytest.raises(StoreError, match="cannot be copied"):
        Store(old, "station-1", FakeClock())
    assert layout(old) == before


def test_a_store_of_today_starts_without_alembic() -> None:
    code = (
        "import sys, tempfile, pathlib; from inspection.clock import SystemClock;"
        "from inspection.store import Store;"
        "p = pathlib.Path(tempfile.mkdtemp()) / 'station.db';"
        "Store(p, 's', SystemClock()).close(); Store(p, 's', SystemClock()).close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
