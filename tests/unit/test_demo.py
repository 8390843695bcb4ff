"""What a demonstration says of itself, counted from records made by hand."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from inspection import package as packages
from inspection import wire
from inspection.__main__ import main
from inspection.errors import ConfigurationError, PackageError, StoreError
from inspection.ledger import Balance, Entry
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    Reason,
    RunVerdict,
    Verdict,
    ViewResult,
)
from inspection.plan import read_plan
from inspection.rendering import body
from inspection.rendering import pool as pools
from inspection.rendering.pool import POOL, FrameFile, Pool
from inspection.store import Reader, Store
from inspection.testing import demo_pool
from inspection.testing.clock import FakeClock
from inspection.testing.demo_pool import cache_folder, kept_pool, pool_key
from inspection.testing.demo_summary import Seen, Summary, collect, count, percentile, tell
from inspection.testing.plc import Outcome

OK, NOK, REVIEW, ABSENT = Verdict.OK, Verdict.NOK, Verdict.REVIEW, Verdict.NOT_INSPECTED
POINTS = ("P1", "P2", "P3", "P4")
TRUTH = {"BODY-1": {}, "BODY-2": {"P1": "crack", "P2": "missing"}}
"""A body without a defect and one with two."""
MS = 1_000_000


def seen(part: str, *verdicts: Verdict, run: RunVerdict | None = None) -> Seen:
    """A run whose points got these verdicts, as a station without a fault would have it."""
    if run is None:
        run = RunVerdict.NOK if NOK in verdicts else RunVerdict.HOLD
        run = RunVerdict.OK if set(verdicts) == {OK} else run
    settled = list(zip(POINTS, verdicts, strict=True))
    counts = [verdicts.count(each) for each in (OK, NOK, REVIEW, ABSENT)]
    return Seen(
        part=part,
        verdict=run,
        balance=Balance(len(verdicts), *counts, open=0),
        settled=settled,
        judged=[point for point, verdict in settled if verdict is not ABSENT],
        latencies_ms=[10.0, 20.0, 30.0, 40.0],
        begun_ns=0,
        closed_ns=1000 * MS,
    )


def decided(runs: Sequence[Seen]) -> list[Outcome]:
    action = {RunVerdict.OK: "RELEASE", RunVerdict.NOK: "DIVERT", RunVerdict.HOLD: "HOLD"}
    return [
        Outcome(part=run.part, action=action[run.verdict], reason=run.verdict.value, run="r")
        for run in runs
        if run.verdict
    ]


def counted(*runs: Seen, **options: object) -> Summary:
    return count(TRUTH, POINTS, runs, decided(runs), **options)  # type: ignore[arg-type]


GOOD = seen("BODY-1", OK, OK, OK, OK)
BAD = seen("BODY-2", NOK, NOK, OK, OK)


# ---------------------------------------------------------------------------- what is counted


def test_a_line_without_a_fault_passes_and_every_number_is_there() -> None:
    s = counted(GOOD, BAD)
    assert s.problems == []
    assert (s.parts, s.runs_ok, s.runs_nok, s.runs_hold) == (2, 1, 1, 0)
    assert (s.planned, s.ok, s.nok, s.review, s.not_inspected) == (8, 6, 2, 0, 0)
    assert (s.good_bodies, s.good_bodies_ok, s.defective_bodies) == (1, 1, 1)
    assert (s.runs_false_alarm, s.runs_false_ok, s.escapes, s.overkill) == (0, 0, 0, 0)
    assert (s.good_points, s.defective_points, s.lost, s.duplicated) == (6, 2, 0, 0)
    assert (s.released, s.diverted, s.held) == (1, 1, 0)
    assert s.points_per_second == 8.0
    assert s.verdict_latency_ms == {"p50": 20.0, "p99": 40.0, "p99.9": 40.0, "max": 40.0}
    assert "PASSED" in tell(s)
    assert "FAILED" not in tell(s)


def test_a_defect_called_ok_is_an_escape_even_where_its_body_is_stopped() -> None:
    s = counted(GOOD, seen("BODY-2", OK, NOK, OK, OK))
    assert (s.escapes, s.runs_false_ok, s.problems) == (1, 0, [])
    assert msgspec.to_builtins(s.per_class["crack"])["ok"] == 1
    assert msgspec.to_builtins(s.per_class["missing"])["nok"] == 1
    assert "1 escaped" in tell(s)


def test_a_defective_body_answered_ok_fails_the_demonstration_and_is_named() -> None:
    s = counted(GOOD, seen("BODY-2", OK, OK, OK, OK))
    assert (s.escapes, s.runs_false_ok) == (2, 1)
    assert s.problems == ["BODY-2 has 2 defects and was answered OK"]
    assert "FAILED" in tell(s)


def test_a_defective_body_that_the_plc_released_is_a_false_ok_whatever_the_station_said() -> None:
    outcomes = [*decided([GOOD]), Outcome(part="BODY-2", action="RELEASE", reason="OK")]
    s = count(TRUTH, POINTS, [GOOD, BAD], outcomes)
    assert s.runs_false_ok == 1
    assert s.problems


@pytest.mark.parametrize("verdict", [NOK, REVIEW])
def test_a_good_point_that_is_not_ok_is_overkill_and_its_body_a_false_alarm(
    verdict: Verdict,
) -> None:
    s = counted(seen("BODY-1", OK, verdict, OK, OK), seen("BODY-2", NOK, NOK, OK, verdict))
    assert (s.overkill, s.runs_false_alarm, s.good_bodies_ok) == (2, 1, 0)
    assert s.problems == []
    assert "the other 1 are false alarms" in tell(s)


def test_a_good_point_nobody_looked_at_is_no_overkill_but_its_body_is_a_false_alarm() -> None:
    s = counted(seen("BODY-1", OK, ABSENT, OK, OK), BAD)
    assert (s.overkill, s.good_points_not_inspected, s.runs_false_alarm) == (0, 1, 1)
    assert s.problems == ["1 point not inspected: nobody looked there"]


def test_a_good_body_that_the_plc_held_is_a_false_alarm() -> None:
    outcomes = [Outcome(part="BODY-1", action="HOLD", reason="heartbeat"), *decided([BAD])]
    s = count(TRUTH, POINTS, [GOOD, BAD], outcomes)
    assert (s.runs_ok, s.good_bodies_ok, s.runs_false_alarm) == (1, 0, 1)


def test_borderline_points_are_counted_apart_but_their_body_is_judged() -> None:
    near = {"BODY-1": {"P3"}, "BODY-2": {"P1", "P2"}}
    runs = seen("BODY-1", OK, OK, REVIEW, OK), seen("BODY-2", OK, OK, OK, OK)
    s = counted(*runs, borderline=near)
    assert (s.escapes, s.overkill, s.defective_points) == (0, 0, 0)
    assert msgspec.to_builtins(s.borderline) == {
        "points": 3, "ok": 2, "nok": 0, "review": 1, "not_inspected": 0,
    }  # fmt: skip
    assert (s.runs_false_ok, s.runs_false_alarm) == (1, 1)
    assert "too near a limit" in tell(s)


def test_a_point_without_a_record_is_lost() -> None:
    s = counted(GOOD, BAD._replace(settled=BAD.settled[:-1]))
    assert s.lost == 1
    assert any("lost" in problem for problem in s.problems)
    assert any("other points than its records" in problem for problem in s.problems)


def test_a_body_that_was_never_inspected_has_lost_all_its_points() -> None:
    s = counted(GOOD)
    assert (s.parts, s.lost) == (2, 4)
    assert any("BODY-2: inspected 0 times" in problem for problem in s.problems)


def test_a_point_settled_twice_is_doubled() -> None:
    s = counted(GOOD, BAD._replace(settled=[*BAD.settled, ("P4", OK)]))
    assert s.duplicated == 1
    assert any("more than once" in problem for problem in s.problems)


def test_a_point_judged_in_two_records_is_doubled_although_one_entry_counts() -> None:
    s = counted(GOOD, BAD._replace(judged=[*BAD.judged, "P4"]))
    assert s.duplicated == 1


def test_a_body_inspected_twice_has_all_its_points_doubled() -> None:
    s = counted(GOOD, GOOD, BAD)
    assert s.duplicated == 4
    assert any("BODY-1: inspected 2 times" in problem for problem in s.problems)


@pytest.mark.parametrize(
    ("balance", "says"),
    [
        (Balance(4, 2, 1, 0, 0, open=0), "does not balance"),
        (Balance(4, 2, 1, 0, 0, open=1), "does not balance"),
        (Balance(5, 3, 2, 0, 0, open=0), "5 points planned, not the plan's 4"),
        (Balance(4, 3, 1, 0, 0, open=0), "other points than its records"),
    ],
)
def test_a_body_that_does_not_balance_fails_the_demonstration(balance: Balance, says: str) -> None:
    s = counted(GOOD, BAD._replace(balance=balance))
    assert any(problem.startswith("BODY-2") and says in problem for problem in s.problems)


def test_a_body_without_a_verdict_or_without_a_decision_fails_the_demonstration() -> None:
    s = counted(GOOD, BAD._replace(verdict=None))
    assert "BODY-2: has no verdict" in s.problems
    assert "BODY-2: the PLC decided on it 0 times instead of once" in s.problems


def test_what_nobody_planned_or_sent_fails_the_demonstration() -> None:
    stray = BAD._replace(settled=[*BAD.settled, ("P9", OK)])
    assert any("nobody planned" in problem for problem in counted(GOOD, stray).problems)
    s = counted(GOOD, BAD, seen("BODY-3", OK, OK, OK, OK))
    assert any("nobody sent: BODY-3" in problem for problem in s.problems)


def test_thousands_of_problems_are_not_all_printed() -> None:
    truth = {f"B{number:04d}": {} for number in range(100)}
    said = tell(count(truth, POINTS, [], []))
    assert len(said.splitlines()) < 60
    assert "more, in the JSON file" in said


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(value) for value in range(1, 1001)]
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [
        500.0, 990.0, 999.0, 1000.0,
    ]  # fmt: skip
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) is None


# ---------------------------------------------------------------------------- from the store


def test_latency_is_from_picture_to_record_for_every_point_judged_in_time(tmp_path: Path) -> None:
    clock = FakeClock(wall_ns=5_000 * MS)
    store = Store(tmp_path / "station.db", "station-1", clock)
    plan = read_plan(body.write_plan(tmp_path / "plan", 1))
    points = [point.id for point in plan.points]
    model = ModelRef(package="a" * 64, policy="b" * 64)

    def put(run: str, captured_ms: int, attempt: int, *, late: bool, judged: bool) -> None:
        said: list[Inspected | Missed] = [
            Inspected(
                point=point, verdict=OK, reason=Reason.NONE, finding="", scores=(0.9, 0.1),
                model=model, evidence=None,
            )
            if judged
            else Missed(point=point, reason=Reason.LATE, detail="")
            for point in points
        ]  # fmt: skip
        answer = ViewResult(
            run=run, part="BODY-1", plan=plan.hash, view="v01", attempt=attempt, edge="e",
            camera="cam1", frame="f", captured_ns=captured_ms * MS, points=tuple(said),
        )  # fmt: skip
        entries = [
            Entry(point, OK if judged else ABSENT, Reason.NONE if judged else Reason.LATE)
            for point in points
        ]
        raw = wire.RECORD.encode(answer)
        with store.transaction():
            store.add_record(answer, raw, entries, late=late, outbox=None)

    for run in ("0" * 16, "1" * 16):
        with store.transaction():
            store.add_run(run, "BODY-1", plan, "plc-1", 0)
    put("0" * 16, 4_900, 1, late=False, judged=True)
    put("1" * 16, 1, 0, late=False, judged=False)
    put("1" * 16, 1, 1, late=True, judged=True)
    first, second = collect(Reader(tmp_path / "station.db"))
    assert first.latencies_ms == [100.0] * len(points)
    assert sorted(first.judged) == sorted(points)
    assert sorted(first.settled) == sorted((point, OK) for point in points)
    assert (second.latencies_ms, second.judged) == ([], [])
    store.close()
    with pytest.raises(StoreError, match="no store"):
        collect(Reader(tmp_path / "elsewhere.db"))


# ---------------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--parts", "0"], "--parts 0: must be 1 to 9999"),
        (["--parts", "10000"], "--parts 10000"),
        (["--views", "0"], "--views 0: the body has 1 to 52 views"),
        (["--views", "53"], "--views 53"),
        (["--seed", "-1"], "--seed -1: must not be negative"),
        (["--port", "80"], "--port 80: must be 1024 to 65535"),
        (["--json", "missing/demo.json"], "--json missing/demo.json: cannot be written: No such"),
        (["--model", "."], "manifest.json is missing"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_anything_is_drawn(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    headless = [] if "--port" in words else ["--headless"]
    assert main(["demo", *headless, *words]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert (said.err.count("\n"), said.out) == (1, "")
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said_before_anything_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["demo", "--port", port]) == 2
    assert f"--port {port}" in capsys.readouterr().err


def test_records_of_an_earlier_demonstration_are_not_mixed_with_new_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "line").mkdir()
    assert main(["demo", "--headless", "--folder", str(tmp_path)]) == 2
    assert "holds an earlier demonstration" in capsys.readouterr().err


def test_the_bundled_model_is_the_installed_one_or_that_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "__file__", str(tmp_path / "inspection" / "package.py"))
    with pytest.raises(PackageError, match="comes with this installation"):
        packages.bundled_package()
    checkout = tmp_path / "models" / "spot-weld"
    for version in ("2", "10"):
        (checkout / version).mkdir(parents=True)
        (checkout / version / "manifest.json").touch()
    # Beside an installed package, a folder of that name is somebody else's.
    with pytest.raises(PackageError, match="comes with this installation"):
        packages.bundled_package()
    (tmp_path / "pyproject.toml").touch()
    assert packages.bundled_package() == checkout / "10"
    installed = tmp_path / "inspection" / "bundled" / "spot-weld" / "3"
    installed.mkdir(parents=True)
    (installed / "manifest.json").touch()
    assert packages.bundled_package() == installed


def test_a_plan_of_a_few_views_is_the_beginning_of_the_whole_plan(tmp_path: Path) -> None:
    whole = read_plan(body.PLAN)
    few = read_plan(body.write_plan(tmp_path, 3))
    assert few.views == whole.views[:3]
    assert {point.view for point in few.points} == {"v01", "v02", "v03"}
    assert few.points == tuple(p for p in whole.points if p.view in {"v01", "v02", "v03"})
    assert few.version != whole.version


# ---------------------------------------------------------------------------- pictures kept


class Renderer:
    """Stands in for `make_pool`: a frame of one pixel a view, and how often it was rendered."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path, *, bodies: int, seed: int, views: list[str], **_: object):
        if (folder / POOL).exists():
            return pools.read_pool(folder)
        self.calls += 1
        frames = {view: FrameFile(file=f"{view}.raw", width=1, height=1) for view in views}
        for frame in frames.values():
            (folder / frame.file).write_bytes(bytes(3))
        pool = Pool(
            format=pools.FORMAT, seed=seed, views=tuple(views), stances=1, frames=frames, bodies=()
        )
        pools.write_pool(folder, pool)
        return pool


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> Renderer:
    made = Renderer()
    monkeypatch.setattr(pools, "make_pool", made)
    return made


def ask(cache: Path, seed: int = 1):
    return kept_pool(cache, bodies=2, seed=seed, views=["v01"], progress=lambda *_: None)


def test_pictures_are_drawn_once_and_only_the_last_ones_are_kept(
    tmp_path: Path, renderer: Renderer
) -> None:
    with ask(tmp_path) as (first, _):
        pass
    with ask(tmp_path) as (again, _):
        assert again == first
    assert renderer.calls == 1
    with ask(tmp_path, seed=2) as (other, _):
        assert other != first
    assert renderer.calls == 2
    assert not first.exists()


def test_pictures_in_use_are_not_removed(tmp_path: Path, renderer: Renderer) -> None:
    with ask(tmp_path) as (first, _), ask(tmp_path, seed=2) as (other, _):
        assert (first / POOL).exists()
        assert (other / POOL).exists()


@pytest.mark.parametrize("damage", ["frame missing", "frame short", "list damaged"])
def test_pictures_that_are_not_whole_are_drawn_again(
    tmp_path: Path, renderer: Renderer, damage: str
) -> None:
    with ask(tmp_path) as (folder, _):
        pass
    if damage == "frame missing":
        (folder / "v01.raw").unlink()
    elif damage == "frame short":
        (folder / "v01.raw").write_bytes(b"")
    else:
        (folder / POOL).write_text("{")
    with ask(tmp_path) as (folder, _):
        assert (folder / "v01.raw").stat().st_size == 3
    assert renderer.calls == 2


def test_the_key_of_the_pictures_is_all_that_they_depend_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [
        pool_key(2, 1, ["v01"]),
        pool_key(3, 1, ["v01"]),
        pool_key(2, 2, ["v01"]),
        pool_key(2, 1, ["v01", "v02"]),
    ]
    assert pool_key(2, 1, ["v01"]) == keys[0]
    monkeypatch.setattr(np, "__version__", "0.0")
    keys.append(pool_key(2, 1, ["v01"]))
    other = tmp_path / "rendering"
    other.mkdir()
    (other / "__init__.py").write_text("# another renderer")
    monkeypatch.setattr(demo_pool.rendering, "__file__", str(other / "__init__.py"))
    keys.append(pool_key(2, 1, ["v01"]))
    assert len(set(keys)) == len(keys)


def test_a_cache_that_cannot_be_written_is_said_with_the_way_out(
    tmp_path: Path, renderer: Renderer
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="XDG_CACHE_HOME"), ask(tmp_path / "file"):
        pass


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "visual-inspection" / "demo"
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "visual-inspection" / "demo"
