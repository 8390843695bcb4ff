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
    assert main(["datasets", "collect", "--store", store, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "3 NOK and 0 REVIEW" in said
    assert "no person's decision is in the store" in said
    assert f"of {2 * POINTS - 3} OK points no crop is kept" in said
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
    assert main(["datasets", "collect", "--store", store, "--out", str(out)]) == 1


def test_a_store_without_its_crops_is_refused(
    line: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(line.folder / "station" / "station.db")
    empty = str(tmp_path / "empty")
    words = ["datasets", "collect", "--store", store, "--evidence", empty]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    assert "no crop of its 3 NOK and REVIEW points" in capsys.readouterr().err
