"""What a real line has judged becomes a data set that says who decided."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspection.__main__ import main
from inspection.messages import Verdict
from inspection.testing import boards
from inspection.testing.line import Line
from inspection.training.data import read_dataset
from inspection.training.recipe import ClassDescription, DatasetDescription, Severity

PARTS = ("B0", "B1")
DARK = {"B0": [(1, 2), (3, 3)], "B1": [(0, 0)]}
POINTS = boards.GRID * boards.GRID


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A line that has judged two boards with three dark tiles."""
    folder = tmp_path_factory.mktemp("collect")
    for part in PARTS:
        boards.write_part(folder / "images", part, boards.board(*DARK[part]))
    with Line(
        folder / "line",
        plans=[boards.write_plan(folder / "plan")],
        models={"darkness": boards.model(folder / "package")},
        cameras=boards.camera(folder / "images"),
        parts=PARTS,
        plan=boards.PLAN,
    ) as line:
        line.start()
        assert line.wait("plc", 60) == 0
        wanted = {p.evidence for p in line.reader.points(verdicts=[Verdict.NOK])}
        line.until(lambda: line.reader.counts()["evidence"] == len(wanted), 20, "evidence")
        for name in ("edge-cam1", "station"):
            line.stop(name)
        yield line


def test_kept_crops_become_a_data_set_that_says_who_decided(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "collected"
    store = str(line.folder / "station" / "station.db")
    words = ["datasets", "collect", "--store", store, "--out", str(out)]
    assert main(words) == 1
    assert "nobody has decided" in capsys.readouterr().err
    assert main([*words, "--machine"]) == 0
    said = capsys.readouterr().out
    repeated = 3 - len({p.evidence for p in line.reader.points(verdicts=[Verdict.NOK])})
    assert f"{3 - repeated} NOK, 0 REVIEW and 0 OK" in said
    assert (f"{repeated} points show the very same picture" in said) is (repeated > 0)
    assert f"0 decided by people, {3 - repeated} by the machine" in said.replace("were ", "")
    assert f"0 crops of {2 * POINTS - 3} OK points are kept" in said
    with (out / "index.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    nok = line.reader.points(verdicts=[Verdict.NOK])
    pictures = {p.evidence for p in nok}
    assert {Path(row["image"]).stem for row in rows} == pictures
    assert {row["decider"] for row in rows} == {"machine"}
    assert {row["inclusion"] for row in rows} == {"1"}
    assert {row["part"] for row in rows} <= set(PARTS)
    assert {row["package"] for row in rows} == {p.package for p in nok}
    classes = (
        ClassDescription(name="good"),
        ClassDescription(name=rows[0]["label"], severity=Severity.MAJOR),
    )
    description = DatasetDescription(
        name="line", layout="index", source="a line", licence="", classes=classes
    )
    dataset = read_dataset(description, out)
    assert len(dataset.pictures) == len(pictures)
    assert not dataset.warnings
    assert all(picture.time is not None for picture in dataset.pictures)
    before = (out / "index.csv").read_bytes()
    assert main([*words, "--machine"]) == 0
    assert (out / "index.csv").read_bytes() == before


def test_a_store_without_its_crops_is_refused(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(line.folder / "station" / "station.db")
    empty = str(tmp_path / "empty")
    words = ["datasets", "collect", "--store", store, "--evidence", empty]
    assert main([*words, "--out", str(tmp_path / "out"), "--machine"]) == 1
    assert "no crop of its 3 NOK, 0 REVIEW" in capsys.readouterr().err
