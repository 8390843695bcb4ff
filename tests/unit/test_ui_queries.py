"""What the pages ask, against a real store filled by its one writer."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from inspection import wire
from inspection.errors import ConfigurationError, StoreError
from inspection.evidence import EvidenceStore
from inspection.ledger import Balance, Entry, settle
from inspection.messages import (
    Inspected,
    Missed,
    ModelRef,
    Reason,
    Region,
    RunVerdict,
    Severity,
    Verdict,
    ViewResult,
)
from inspection.package import open_package
from inspection.plan import Kind, Plan, Point, View
from inspection.registry import Registry
from inspection.store import Reader, Store
from inspection.store.reader import Absence
from inspection.testing.clock import FakeClock
from inspection.testing.packages import build_package
from ui import words
from ui.configuration import read_ui
from ui.markup import code, div, tag
from ui.pictures import Pictures
from ui.queries import Line, grouped, only

REF = ModelRef(package="a" * 64, policy="b" * 64)
SECOND_NS = 1_000_000_000


def a_plan(points: int = 6) -> Plan:
    severities = (Severity.MINOR, Severity.MAJOR, Severity.CRITICAL)
    return Plan(
        name="body",
        version="1",
        deadline_ms=60_000,
        views=tuple(View(id=v, camera=v, width_px=100, height_px=100) for v in ("left", "top")),
        kinds={"weld": Kind(model="weld")},
        points=tuple(
            Point(
                id=f"{view}-{number}",
                view=view,
                kind="weld",
                region=Region(left_px=0, top_px=0, width_px=10, height_px=10),
                severity=severities[number % 3],
            )
            for view in ("left", "top")
            for number in range(points // 2)
        ),
    )


class Bench:
    """A store, its reader and the page's view of it, on a clock that is moved by hand."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.path = folder / "station.db"
        self.store = Store(self.path, "station-1", self.clock)
        self.reader = Reader(self.path)
        self.line = Line(self.reader, self.clock)
        self.plan = a_plan()
        self.sent = 0

    def begin(self, run: str, part: str = "") -> str:
        with self.store.transaction():
            self.store.add_run(run, part or f"part-{run}", self.plan, "plc", 0)
        return run

    def answer(
        self, run: str, view: str, entries: Sequence[Entry], attempt: int = 1, *, late: bool = False
    ) -> None:
        said: list[Inspected | Missed] = [
            Missed(point=entry.point, reason=entry.reason, detail=entry.finding)
            if entry.verdict is Verdict.NOT_INSPECTED
            else Inspected(
                point=entry.point,
                verdict=entry.verdict,
                reason=entry.reason,
                finding=entry.finding,
                scores=(0.9, 0.1),
                model=REF,
                evidence="c" * 64,
            )
            for entry in entries
        ]
        answer = ViewResult(
            run=run,
            part="part",
            plan=self.plan.hash,
            view=view,
            attempt=attempt,
            edge="edge",
            camera=view,
            frame="",
            captured_ns=0,
            points=tuple(said),
        )
        self.sent += 1
        raw = wire.RECORD.encode(answer)
        with self.store.transaction():
            self.store.add_record(answer, raw, entries, late=late, outbox=("0" * 32, self.sent))

    def close(self, run: str, verdict: RunVerdict, *counts: int) -> int:
        balance = Balance(sum(counts), *counts, open=0)
        with self.store.transaction():
            return self.store.add_verdict(run, verdict, balance).verdict_seq

    def inspect(
        self, run: str, part: str = "", *, nok: Sequence[str] = (), absent: str = ""
    ) -> None:
        """A whole run: OK but for these points, and but for one view that is absent."""
        self.begin(run, part)
        tally = dict.fromkeys(Verdict, 0)
        for view in ("left", "top"):
            entries = []
            for point in self.plan.points_of(view):
                entry = ok(point.id)
                if view == absent:
                    entry = missed(point.id)
                elif point.id in nok:
                    entry = defect(point.id)
                tally[entry.verdict] += 1
                entries.append(entry)
            self.answer(run, view, entries)
        verdict = RunVerdict.NOK if nok else RunVerdict.HOLD if absent else RunVerdict.OK
        self.close(run, verdict, *(tally[each] for each in Verdict))


def ok(point: str) -> Entry:
    return Entry(point, Verdict.OK, Reason.NONE)


def defect(point: str, severity: Severity | None = None) -> Entry:
    return Entry(point, Verdict.NOK, Reason.DEFECT, "hole", severity)


def unsure(point: str) -> Entry:
    return Entry(point, Verdict.REVIEW, Reason.UNCERTAIN, "hole")


def missed(point: str, reason: Reason = Reason.IMAGE_UNREADABLE) -> Entry:
    return Entry(point, Verdict.NOT_INSPECTED, reason)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


# --------------------------------------------------------------------------------- balances


def test_production_counts_closed_and_open_runs_apart(bench: Bench) -> None:
    bench.inspect("r1")
    bench.inspect("r2", nok=["top-1"])
    bench.inspect("r3", absent="left")
    bench.begin("r4")
    bench.answer("r4", "left", [ok("left-0"), unsure("left-1"), missed("left-2")])
    made = bench.reader.production()
    assert made.closed == Balance(planned=18, ok=14, nok=1, review=0, not_inspected=3, open=0)
    assert made.open == Balance(planned=6, ok=1, nok=0, review=1, not_inspected=1, open=3)
    assert made.total == bench.reader.totals()
    assert made.total.exact
    assert (made.runs, made.open_runs) == (4, 1)
    assert (made.parts_ok, made.parts_nok, made.parts_hold, made.parts_open) == (1, 1, 1, 1)


def test_a_part_that_comes_back_counts_once_and_its_first_run_is_what_first_pass_means(
    bench: Bench,
) -> None:
    bench.inspect("r1", "part-a", nok=["top-1"])
    bench.inspect("r2", "part-b")
    bench.clock.advance(s=100)
    bench.inspect("r3", "part-a")
    made = bench.reader.production()
    assert (made.runs, made.parts_ok, made.parts_nok) == (3, 2, 0)
    assert (made.first_ok, made.first_runs) == (1, 2)
    # Seen alone, the second run of part-a is nobody's first.
    latest = bench.reader.production(since_ns=bench.clock.wall_ns() - SECOND_NS)
    assert (latest.runs, latest.first_runs) == (1, 0)


def test_a_window_leaves_out_what_began_before_it(bench: Bench) -> None:
    bench.inspect("r1")
    bench.clock.advance(s=2 * 3600)
    bench.inspect("r2")
    for hours, planned in ((1, 6), (3, 12), (None, 12)):
        seen = bench.line.look(hours)
        assert not isinstance(seen, str)
        assert seen.production.total.planned == planned


def test_more_points_than_planned_do_not_balance(bench: Bench) -> None:
    bench.begin("r1")
    bench.answer("r1", "left", [ok(f"left-{n}") for n in range(3)])
    bench.answer("r1", "top", [ok(f"top-{n}") for n in range(4)])
    assert not bench.reader.totals().exact
    assert bench.reader.runs()[0].balance.exact is False


def test_a_run_shows_its_latest_verdict_and_whether_that_was_taken(bench: Bench) -> None:
    bench.inspect("r1", absent="left")
    first = bench.reader.runs()[0].verdict_seq
    assert first is not None
    with bench.store.transaction():
        bench.store.acknowledge(first, "plc")
    assert bench.reader.runs()[0].acknowledged
    again = bench.close("r1", RunVerdict.NOK, 3, 0, 0, 3)
    (run,) = bench.reader.runs()
    assert (run.verdict, run.verdict_seq, run.acknowledged) == (RunVerdict.NOK, again, False)


def test_runs_are_the_newest_first_and_no_more_than_asked_for(bench: Bench) -> None:
    for number in range(5):
        bench.inspect(f"r{number}", f"part-{number % 2}")
    assert [run.run for run in bench.reader.runs(limit=2)] == ["r4", "r3"]
    assert [run.run for run in bench.reader.runs(part="part-0")] == ["r4", "r2", "r0"]


# ----------------------------------------------------------------------------- what is not OK


ATTEMPTS = (
    ok("left-0"),
    defect("left-0"),
    unsure("left-0"),
    missed("left-0"),
    missed("left-0", Reason.RECORD_CONFLICT),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(ATTEMPTS), min_size=1, max_size=4), max_size=8))
def test_sql_settles_attempts_as_the_ledger_does(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[Entry]]
) -> None:
    bench = Bench(tmp_path_factory.mktemp("store"))
    counted = {}
    for number, attempts in enumerate(runs):
        run = bench.begin(f"r{number}")
        for attempt, entry in enumerate(attempts, start=1):
            bench.answer(run, "left", [entry], attempt)
        counted[run] = settle(attempts)
    bench.store.close()
    for run in bench.reader.runs():
        entry = counted[run.run]
        (point,) = bench.reader.points(run=run.run)
        assert entry is not None
        assert (point.verdict, point.reason) == (entry.verdict, entry.reason)
        assert getattr(run.balance, entry.verdict.value.lower()) == 1
        assert run.balance.open == 5
    suspects = {each.run: each.verdict for each in bench.reader.suspects(list(counted))}
    absences = {each.run: each.reason for each in bench.reader.absences(list(counted))}
    for name, entry in counted.items():
        assert entry is not None
        bad = entry.verdict in (Verdict.NOK, Verdict.REVIEW)
        assert suspects.get(name) == (entry.verdict if bad else None)
        absent = entry.verdict is Verdict.NOT_INSPECTED
        assert absences.get(name) == (entry.reason if absent else None)


def test_what_came_after_the_verdict_changes_nothing_but_can_be_asked_for(bench: Bench) -> None:
    bench.inspect("r1")
    bench.answer("r1", "left", [defect("left-0")], attempt=2, late=True)
    assert bench.reader.suspects(["r1"]) == []
    assert bench.reader.totals().nok == 0
    (late,) = bench.reader.points(late=True)
    assert (late.point, late.verdict, late.late) == ("left-0", Verdict.NOK, True)


def test_points_are_limited_and_chosen_in_the_store(bench: Bench) -> None:
    bench.inspect("r1", nok=["left-0", "left-2", "top-1"])
    bench.inspect("r2", nok=["left-1"])
    names = [(p.run, p.point) for p in bench.reader.points(verdicts=[Verdict.NOK], limit=3)]
    assert names == [("r2", "left-1"), ("r1", "left-0"), ("r1", "left-2")]
    assert len(bench.reader.points(run="r1")) == 6
    wanted = {("r1", "top-1"), ("r2", "left-1"), ("r2", "nowhere")}
    found = {(p.run, p.point) for p in bench.reader.points_at(wanted)}
    assert found == {("r1", "top-1"), ("r2", "left-1")}


def test_what_is_not_ok_comes_with_the_worst_first(bench: Bench) -> None:
    """NOK before REVIEW, then by the higher of the point's and the class's severity, then the
    newest part."""
    bench.begin("r1")
    bench.answer("r1", "left", [unsure("left-2"), defect("left-1"), defect("left-0")])
    bench.begin("r2")
    entries = [defect("left-0", Severity.CRITICAL), defect("left-1"), ok("left-2")]
    bench.answer("r2", "left", entries)
    seen = bench.line.look(None)
    assert not isinstance(seen, str)
    order = [(each.suspect.run, each.suspect.point, each.severity) for each in seen.not_ok.found]
    assert order == [
        ("r2", "left-0", Severity.CRITICAL),
        ("r2", "left-1", Severity.MAJOR),
        ("r1", "left-1", Severity.MAJOR),
        ("r1", "left-0", Severity.MINOR),
        ("r1", "left-2", Severity.CRITICAL),
    ]
    rows = bench.line.points(seen.not_ok.found[:2])
    assert [row.scores for row in rows if row is not None] == [(0.9, 0.1)] * 2


def test_a_view_that_is_missing_is_one_group_and_not_one_tile_a_point(bench: Bench) -> None:
    bench.inspect("r1", absent="left")
    bench.inspect("r2", absent="left")
    bench.inspect("r3", absent="top")
    seen = bench.line.look(None)
    assert not isinstance(seen, str)
    first, second = grouped(seen.not_ok.absences)
    assert (first.absences[0].view, first.points, first.runs) == ("top", 3, 1)
    assert (second.absences[0].view, second.points, second.runs) == ("left", 6, 2)
    assert bench.line.absent_points(second.absences[0], limit=2) == ["left-0", "left-1"]
    none = only(seen.not_ok, lambda run: run == "r3", [Verdict.NOK])
    assert (none.found, none.absences) == ((), ())


def test_records_that_do_not_add_up_to_the_verdict_are_told(bench: Bench) -> None:
    bench.inspect("r1")
    bench.begin("r2")
    bench.answer("r2", "left", [defect("left-0")])
    bench.close("r2", RunVerdict.NOK, 4, 2, 0, 0)  # two NOK, but only one is on record
    seen = bench.line.look(None)
    assert not isinstance(seen, str)
    assert [run.run for run in seen.not_ok.contradictions] == ["r2"]


# ------------------------------------------------------------------- when there is no answer


def test_a_store_that_is_gone_leaves_what_was_known_with_its_fault_and_its_time(
    bench: Bench,
) -> None:
    bench.inspect("r1", nok=["left-0"])
    before = bench.line.look(None)
    assert not isinstance(before, str)
    rows = bench.line.points(before.not_ok.found)
    bench.path.rename(bench.path.with_name("elsewhere.db"))
    bench.clock.advance(s=5)
    after = bench.line.look(None)
    assert not isinstance(after, str)
    assert "there is no store" in after.fault
    assert replace(after, fault="") == before
    assert bench.line.points(before.not_ok.found) == rows
    assert bench.line.absent_points(an_absence(), limit=5) == []
    bench.path.with_name("elsewhere.db").rename(bench.path)
    bench.clock.advance(s=5)
    again = bench.line.look(None)
    assert not isinstance(again, str)
    assert again.fault == ""
    assert again.read_ns > before.read_ns


def an_absence() -> Absence:
    return Absence("r", "left", Reason.LATE, 1, "left-0", "left-0", "", 0, None)


def test_where_nothing_was_ever_known_the_reason_is_said(tmp_path: Path) -> None:
    line = Line(Reader(tmp_path / "station.db"), FakeClock())
    said = line.look(8)
    assert isinstance(said, str)
    assert "there is no store" in said


@pytest.mark.parametrize("content", [b"", b"no database at all", bytes(8192)])
def test_a_damaged_store_is_a_store_error_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "station.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"station\.db"):
        Reader(path).runs()
    assert isinstance(Line(Reader(path), FakeClock()).look(None), str)


def test_many_that_look_at_once_are_one_question_a_second(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    runs = bench.reader.runs
    monkeypatch.setattr(bench.reader, "runs", lambda **only: (asked.append(only), runs(**only))[1])
    for _ in range(5):
        bench.line.look(8)
    assert len(asked) == 1
    bench.clock.advance(s=1)
    bench.line.look(8)
    assert len(asked) == 2


def test_whether_a_station_runs_is_told_by_its_lock_which_is_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.reader.station_is_running() is True
    assert bench.reader.newest_ns() is None
    bench.inspect("r1")
    assert bench.reader.newest_ns() == bench.clock.wall_ns()
    bench.store.close()
    assert bench.reader.station_is_running() is False
    Store(bench.path, "station-1", bench.clock).close()


# ------------------------------------------------------------------------ words and pictures


def test_every_reason_says_what_it_means_and_what_to_do() -> None:
    assert set(words.REASONS) == set(Reason)
    for said in words.REASONS.values():
        assert said.means.endswith(".")
        assert said.do.endswith(".")
    assert len({said.means for said in words.REASONS.values()}) == len(Reason)


def test_every_text_is_there_in_both_languages_with_the_same_places() -> None:
    def places(text: str) -> set[str]:
        return set(re.findall(r"{(\w+)}", text))

    for key, (english, german) in words.TEXTS.items():
        assert english, key
        assert german, key
        assert places(english) == places(german), key
    assert set(words.GERMAN_REASONS) == set(Reason)
    assert set(words.EVENTS) <= set(words.GERMAN_EVENTS)
    try:
        words.speak("de")
        assert words.reason(Reason.DEFECT).short == "Fehler"
        assert words.share(2, 3, 1) == f"66,6{words.THIN_SPACE}%"
    finally:
        words.speak("en")


def test_no_share_is_rounded_up_to_all() -> None:
    assert words.share(9_999_999, 10_000_000) == f"99.9999{words.THIN_SPACE}%"
    assert words.share(10, 10) == f"100.0000{words.THIN_SPACE}%"
    assert words.share(2, 3, 1) == f"66.6{words.THIN_SPACE}%"
    assert words.share(0, 0) == "–"


def test_durations_are_told_in_the_units_that_matter() -> None:
    said = [words.duration(s) for s in (-5, 0.9, 59, 61, 3661, 3 * 86400 + 7200)]
    assert said == ["0 s", "0 s", "59 s", "1 min 1 s", "1 h 1 min", "3 days 2 h"]


@given(st.text())
def test_text_never_becomes_markup(text: str) -> None:
    inside = div("a", text).text.removeprefix('<div class="a">').removesuffix("</div>")
    assert "<" not in inside
    quoted = tag("i", title=text).text.removeprefix('<i title="').removesuffix('"></i>')
    assert '"' not in quoted
    assert "<" not in quoted


@given(st.text(alphabet=" `a<*_$:"))
def test_a_code_span_is_never_closed_by_its_text(text: str) -> None:
    span = code(text)
    fence = span[: len(span) - len(span.lstrip("`"))]
    assert span.endswith(fence)
    inside = span[len(fence) : -len(fence)]
    assert len(fence) not in {len(run) for run in re.findall("`+", inside)}


def test_a_picture_is_checked_made_small_and_encoded_anew(tmp_path: Path) -> None:
    evidence = EvidenceStore(tmp_path)
    pictures = Pictures(evidence)

    def kept(data: bytes) -> str:
        sha256 = hashlib.sha256(data).hexdigest()
        evidence.put(sha256, data)
        return sha256

    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "red").save(file, "JPEG", comment=b"<script>")
    large = pictures.get(kept(file.getvalue()))
    assert large.source.startswith("data:image/png;base64,")
    assert (large.width_px, large.height_px) == (2000, 1000)
    assert len(large.source) < 20_000
    for data in (b"", b"random bytes", file.getvalue()[:200]):
        broken = pictures.get(kept(data))
        assert broken.source == ""
        assert "cannot be shown" in broken.why
    assert "kept no picture" in pictures.get(None).why
    late = hashlib.sha256(b"later").hexdigest()
    assert "not here" in pictures.get(late).why
    kept(b"later")  # it is looked for again
    assert "cannot be shown" in pictures.get(late).why


# ------------------------------------------------------------------------------ configuration


def test_paths_of_the_configuration_are_relative_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "ui.toml"
    path.write_text('store = "state/station.db"\nevidence = "state/evidence"\n')
    config = read_ui(path)
    assert config.store == tmp_path / "state" / "station.db"
    assert config.evidence == str(tmp_path / "state" / "evidence")
    assert config.file.port == 8501
    path.write_text('store = "a.db"\nevidence = "s3://bucket/evidence"\nport = 9000\n')
    assert read_ui(path).evidence == "s3://bucket/evidence"


def test_of_a_registry_the_classes_of_every_version_are_known(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    for version in ("1", "2"):
        built = build_package(tmp_path / version, version=version)
        registry.add(built, author="A. Name", why="test")
    registry.promote("darkness", "1", author="A. Name", why="test", details={})
    path = tmp_path / "ui.toml"
    path.write_text('store = "a"\nevidence = "b"\nmodels = ["registry/darkness"]\n')
    refs = [open_package(tmp_path / version).ref.package for version in ("1", "2")]
    assert read_ui(path).classes == dict.fromkeys(refs, ("ok", "defect"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('evidence = "b"\n', "store"),
        ('store = "a"\nevidence = "b"\nport = 80\n', "port"),
        ('store = "a"\nevidence = "b"\naddress = "0.0.0.0"\n', "address"),
        ('store = "a"\nevidence = "b"\nmodels = ["nowhere"]\n', "no model package"),
        ('store = "."\nevidence = "b"\n', "is a folder"),
    ],
)
def test_a_wrong_configuration_names_its_mistake(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ui.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        read_ui(path)
