"""Kept crops become a data set: by people's words, with the probability of having been kept, and
nothing in it or left out of it without a count."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from samples import PLAN, answer
from test_station_people import Floor

from inspection import png, wire
from inspection.__main__ import main
from inspection.errors import DataError
from inspection.evidence import EvidenceStore
from inspection.messages import Action, Evidence, Inspected, Severity, Verdict
from inspection.plan import Deciding, Plan
from inspection.store.check import pictures_missing
from inspection.training.collect import collect

replace = msgspec.structs.replace
OK, NOK, REVIEW = Verdict.OK, Verdict.NOK, Verdict.REVIEW


class Pictured(Floor):
    """Every answer names a picture for each inspected point, and each picture arrives."""

    pictures = 0
    share: float | None = None
    """The share that OK results name."""

    def answered(
        self,
        run: str,
        verdicts: tuple[Verdict | None, ...],
        part: str = "part-1",
        points: tuple[str, ...] | None = None,
    ) -> None:
        said = answer(run=run, part=part, plan=self.plan, verdicts=verdicts)
        entries = []
        for entry in said.points:
            if points is not None and entry.point not in points:
                continue
            named: Any = {"evidence": self.picture()}
            if isinstance(entry, Inspected) and entry.verdict is OK and self.share is not None:
                named["inclusion"] = self.share
            entries.append(replace(entry, **named))
        self.outbox_seq += 1
        self.results(replace(said, points=tuple(entries)), first_seq=self.outbox_seq)

    def picture(self) -> str:
        self.pictures += 1
        head, scanlines = png.header(2, 1, 1), bytes([2, self.pictures, 7])
        name = png.name(head, scanlines)
        EvidenceStore(self.folder / "evidence").put(name, png.pack(head, scanlines))
        return name


@pytest.fixture(params=["one period", "a period a step"])
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Pictured]]:
    made: list[Pictured] = []

    def floor(*plan: Plan) -> Pictured:
        made.append(Pictured(tmp_path / "station", *plan))
        made[-1].turning = request.param != "one period"
        return made[-1]

    (tmp_path / "station").mkdir()
    yield floor
    for each in made:
        each.store.close()


def collected(floor: Pictured, **asked: Any) -> tuple[list[dict[str, str]], str]:
    """The rows of the index, in the order of part and point, and what was said."""
    out = floor.folder.parent / "collected"
    said = collect(str(floor.folder / "station.db"), None, out, **asked)
    with (out / "index.csv").open(encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: (row["part"], row["point"]))
    for row in rows:
        assert (out / row["image"]).is_file()
    return rows, "\n".join(said)


def test_the_label_is_what_people_decided_and_the_decider_is_whoever_did(
    make: Callable[..., Pictured],
) -> None:
    floor = make()
    one = floor.inspected((REVIEW, NOK), part="body-1")
    floor.decide("otto", one, "p0", Action.CONFIRM)
    floor.decide("anna", one, "p1", Action.OVERRULE)
    two = floor.inspected((NOK, OK), part="body-2")
    floor.decide("anna", two, "p0", Action.RECLASSIFY, finding="defect")
    floor.decide("ben", two, "p1", Action.ESCAPE, finding="defect")
    three = floor.inspected((OK, NOK), part="body-3")
    floor.decide("otto", three, "p0", Action.CONFIRM)
    floor.decide("otto", three, "p1", Action.CONFIRM)
    floor.decide("anna", three, "p1", Action.CONFIRM)
    rows, said = collected(floor)
    assert [(r["part"], r["point"], r["verdict"], r["label"], r["decider"]) for r in rows] == [
        ("body-1", "p0", "REVIEW", "defect", "otto"),
        ("body-1", "p1", "NOK", "ok", "anna"),
        ("body-2", "p0", "NOK", "defect", "anna"),
        ("body-2", "p1", "OK", "defect", "ben"),
        ("body-3", "p0", "OK", "ok", "otto"),
        ("body-3", "p1", "NOK", "defect", "anna"),
    ]
    assert {row["plan"] for row in rows} == {PLAN.hash}
    assert "6 were decided by people, 0 by the machine" in said


def test_who_disagrees_cannot_tell_or_is_alone_where_two_are_needed_labels_nothing(
    make: Callable[..., Pictured],
) -> None:
    floor = make(replace(PLAN, decisions=Deciding(two_persons=(Severity.MAJOR,))))
    one = floor.inspected((REVIEW, NOK), part="body-1")
    floor.decide("anna", one, "p0", Action.OVERRULE)
    floor.decide("ben", one, "p0", Action.CONFIRM)
    floor.decide("anna", one, "p1", Action.OVERRULE)
    two = floor.inspected((REVIEW, NOK), part="body-2")
    floor.decide("anna", two, "p0", Action.CONFIRM)
    floor.decide("anna", two, "p0", Action.CANNOT_TELL)
    floor.decide("otto", two, "p1", Action.CONFIRM)
    three = floor.inspected((NOK, NOK), part="body-3")
    floor.decide("anna", three, "p0", Action.OVERRULE)
    floor.decide("ben", three, "p0", Action.OVERRULE)
    rows, said = collected(floor)
    assert [(row["part"], row["point"], row["label"], row["decider"]) for row in rows] == [
        ("body-2", "p1", "defect", "otto"),
        ("body-3", "p0", "ok", "anna+ben"),
    ]
    assert "left out: 1 crops: people disagree" in said
    assert "left out: 1 crops: people cannot tell" in said
    assert "left out: 1 crops: a second person is needed" in said
    assert "left out: 1 crops: nobody has decided" in said


def test_a_repair_takes_no_label_from_the_picture_before_it(make: Callable[..., Pictured]) -> None:
    floor = make()
    run = floor.inspected((REVIEW, NOK), part="body-1")
    floor.decide("otto", run, "p0", Action.CONFIRM)
    floor.decide("otto", run, "p0", Action.REPAIRED, method="welded anew")
    floor.decide("otto", run, "p1", Action.REPAIRED, method="welded anew")
    again = floor.inspected((OK, OK), part="body-1", repair_of=run, points=("p0", "p1"))
    floor.decide("anna", again, "p0", Action.CONFIRM)
    rows, said = collected(floor)
    assert sorted((r["run"], r["point"], r["label"], r["decider"]) for r in rows) == sorted(
        [(run, "p0", "defect", "otto"), (again, "p0", "ok", "anna")]
    )
    assert "left out: 1 crops: only a repair was reported" in said


def test_the_machines_word_comes_only_where_it_is_asked_for(make: Callable[..., Pictured]) -> None:
    floor = make()
    run = floor.inspected((REVIEW, NOK), part="body-1")
    floor.inspected((OK, NOK), part="body-2")
    with pytest.raises(DataError, match="nobody has decided"):
        collected(floor)
    floor.decide("otto", run, "p1", Action.CONFIRM)
    rows, _ = collected(floor)
    assert [row["decider"] for row in rows] == ["otto"]
    rows, said = collected(floor, machine=True)
    assert [(row["label"], row["decider"]) for row in rows] == [
        ("", "machine"),
        ("defect", "otto"),
        ("ok", "machine"),
        ("defect", "machine"),
    ]
    assert "1 were decided by people, 3 by the machine" in said


def test_each_crop_says_how_likely_it_was_kept(make: Callable[..., Pictured]) -> None:
    floor = make()
    floor.share = 0.25
    for number in range(4):
        floor.inspected((OK, NOK), part=f"body-{number}")
    ok = sorted(p.evidence or "" for p in floor.reader.points(verdicts=[OK]))
    (floor.folder / "evidence" / ok[0][:2] / ok[0]).unlink()
    rows, said = collected(floor, machine=True)
    assert {row["inclusion"] for row in rows if row["verdict"] == "NOK"} == {"1"}
    # One of the four that were drawn never arrived.
    assert {row["inclusion"] for row in rows if row["verdict"] == "OK"} == {"0.1875"}
    assert "left out: 1 crops: not in the evidence store, or changed there" in said
    assert "3 crops of 4 OK points are kept" in said


def test_collecting_again_writes_the_same_and_adds_what_came_since(
    make: Callable[..., Pictured],
) -> None:
    floor = make()
    run = floor.inspected((REVIEW, NOK), part="body-1")
    floor.decide("otto", run, "p0", Action.CONFIRM)
    first, said = collected(floor)
    out = floor.folder.parent / "collected"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert collected(floor) == (first, said)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    floor.decide("otto", run, "p1", Action.CONFIRM)
    rows, _ = collected(floor)
    assert first[0] in rows
    assert len(rows) == 2
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        collected(floor)


def test_words_that_were_changed_on_disk_label_nothing(tmp_path: Path) -> None:
    floor = Pictured(tmp_path)
    for number in range(2):
        run = floor.inspected((REVIEW, NOK), part=f"body-{number}")
        floor.decide("otto", run, "p0", Action.CONFIRM)
        floor.decide("otto", run, "p1", Action.CONFIRM)
    floor.store.close()
    with sqlite3.connect(tmp_path / "station.db") as database:
        names = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'decision'"
        ).fetchall()
        for (name,) in names:
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE decision SET person = 'anna' WHERE number = 1")
    rows, said = collected(floor)
    assert {row["part"] for row in rows} == {"body-1"}
    assert "left out: 2 crops: decisions on its run are not as they were written" in said


def test_pictures_that_never_arrived_are_counted_by_the_check_of_the_store(
    make: Callable[..., Pictured], capsys: pytest.CaptureFixture[str]
) -> None:
    floor = make()
    runs = [floor.inspected((REVIEW, NOK), part=f"body-{number}") for number in range(3)]
    floor.decide("otto", runs[0], "p0", Action.CONFIRM)
    path = floor.folder / "station.db"
    named = {str(point.evidence) for point in floor.reader.points()}
    assert pictures_missing(path) == named, "none was told to have arrived"
    here = sorted(named)[:4]
    for name in here:
        data = EvidenceStore(floor.folder / "evidence").get(name)
        assert data is not None
        frame = wire.EVIDENCE_TO_STATION.encode(
            Evidence(edge="edge-1", sha256=name, media_type="png", data=data)
        )
        floor.station.work([("evidence", b"edge", frame)])
        floor.turn()
    assert pictures_missing(path) == named - {*here}
    assert main(["store", "check", str(path)]) == 0
    assert "2 pictures that results name have not arrived" in capsys.readouterr().out
