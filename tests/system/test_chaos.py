"""The line under random kills and link faults, and the judge that counts afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from inspection.__main__ import main
from inspection.testing import chaos, oracle
from inspection.testing.line import Line

KILLS = 60


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, int]]:
    """The folder of a line that was killed 60 times, the exit status and what was said of it."""
    folder = tmp_path_factory.mktemp("chaos")
    report = folder / "report.json"
    status = main(
        [
            "chaos",
            "--kills",
            str(KILLS),
            "--seed",
            "11",
            "--json",
            str(report),
            "--keep",
            str(folder / "kept"),
        ]
    )
    return folder / "kept", status, msgspec.json.decode(report.read_bytes())


def test_sixty_kills_and_two_dozen_link_faults_cost_no_result_and_make_no_false_ok(
    aftermath: tuple[Path, int, dict[str, int]],
) -> None:
    _, status, said = aftermath
    assert (said["kills"], said["link_faults"]) == (KILLS, KILLS * 2 // 5)
    wrong = ("lost", "duplicated", "reordered", "false_ok", "unbalanced", "unexplained", "crashed")
    assert {name: said[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert status == 0
    # It is no proof where nothing got through.
    assert said["accepted"] >= 500
    assert said["released"] >= 5


# ------------------------------------------------------------------------- the judge itself


class LeftBehind(Line):
    """What remains of a line whose processes are gone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "line"
        self.edges = [f"edge-{name}" for name in chaos.CAMERAS]


@pytest.fixture
def left(aftermath: tuple[Path, int, dict[str, int]], tmp_path: Path) -> LeftBehind:
    shutil.copytree(aftermath[0] / "line", tmp_path / "line")
    return LeftBehind(tmp_path)


@pytest.fixture
def database(left: LeftBehind) -> Iterator[sqlite3.Connection]:
    """The store, without the triggers that would keep anybody from changing it."""
    database = sqlite3.connect(left.folder / "station" / "station.db", isolation_level=None)
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        database.execute(f"DROP TRIGGER {name}")
    yield database
    database.close()


def judge(left: LeftBehind) -> oracle.Findings:
    given = [outcome.part for outcome in left.outcomes()]
    truth = oracle.Truth(points=chaos.POINTS, defective=chaos.defects_of(given))
    return oracle.examine(left, given, len(chaos.POINTS), truth)


def test_the_judge_has_nothing_to_say_of_a_line_that_did_right(left: LeftBehind) -> None:
    assert judge(left).clean


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (
            "lost",
            (
                "DELETE FROM record WHERE number = (SELECT max(number) FROM record"
                " WHERE outbox_id IS NOT NULL)"
            ),
        ),
        (
            "lost",
            (
                "DELETE FROM result WHERE run_id = (SELECT run_id FROM run LIMIT 1)"
                " AND point_id = 'v0-r0c0'"
            ),
        ),
        ("lost", "DELETE FROM verdict WHERE verdict_seq = (SELECT max(verdict_seq) FROM verdict)"),
        ("lost", "UPDATE verdict SET verdict_seq = verdict_seq + 1000000"),
        ("lost", "DELETE FROM acknowledgement"),
        (
            "lost",
            (
                "UPDATE record SET raw = (SELECT raw FROM record ORDER BY number LIMIT 1)"
                " WHERE number = (SELECT max(number) FROM record WHERE outbox_id IS NOT NULL)"
            ),
        ),
        (
            "reordered",
            (
                "UPDATE record SET number = number - 1000000 WHERE number ="
                " (SELECT max(number) FROM record WHERE outbox_id IS NOT NULL)"
            ),
        ),
        (
            "duplicated",
            (
                "INSERT INTO quarantine (station_id, edge_id, outbox_id, outbox_seq, kind,"
                " text, raw, received_ns) SELECT station_id, edge_id, outbox_id, outbox_seq,"
                " 'conflict', '', raw, 0 FROM record WHERE outbox_id IS NOT NULL LIMIT 1"
            ),
        ),
        ("false_ok", "UPDATE result SET verdict = 'OK', reason = 0 WHERE verdict = 'NOK'"),
        ("false_ok", "UPDATE verdict SET verdict = 'HOLD' WHERE verdict = 'OK'"),
        ("unexplained", "UPDATE outbox SET committed = committed - 1"),
    ],
)
def test_the_judge_sees_what_was_lost_doubled_moved_or_made_ok(
    left: LeftBehind, database: sqlite3.Connection, kind: str, change: str
) -> None:
    database.execute("PRAGMA ignore_check_constraints = ON")
    assert database.execute(change).rowcount > 0
    assert getattr(judge(left), kind), change


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("lost", lambda outcome: {**outcome, "run": "no-such-run"}),
        ("duplicated", None),
        ("false_ok", lambda outcome: {**outcome, "action": "RELEASE"}),
    ],
)
def test_the_judge_does_not_trust_the_plc_either(
    left: LeftBehind, kind: str, change: Callable[[dict[str, object]], dict[str, object]] | None
) -> None:
    report = left.folder / "plc" / "report.jsonl"
    outcomes = [msgspec.json.decode(line) for line in report.read_bytes().splitlines()]
    changed = next(o for o in outcomes if o["run"] and o["action"] != "RELEASE")
    if change is None:
        outcomes.append(changed)
    else:
        outcomes[outcomes.index(changed)] = change(changed)
    report.write_bytes(b"".join(msgspec.json.encode(o) + b"\n" for o in outcomes))
    assert getattr(judge(left), kind)


@pytest.mark.parametrize("words", [["--faults", "gremlin"], ["--kills", "-1"]])
def test_a_fault_that_is_none_is_one_readable_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chaos", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
