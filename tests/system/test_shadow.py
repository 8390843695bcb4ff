"""A candidate beside the released model on a line of real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspection.__main__ import main
from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.oracle import judge_line
from inspection.testing.packages import build_package

POINTS = boards.GRID**2


def test_what_a_candidate_says_is_reported_and_counts_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = [f"B{number}" for number in range(6)]
    for number, part in enumerate(parts):
        boards.write_part(tmp_path / "images", part, boards.board(*[(1, 2)][: number % 2]))
    # It takes every point for a defect.
    build_package(tmp_path / "candidate", size=boards.TILE, version="2", nok_min=0.0)
    with Line(
        tmp_path / "line",
        plans=[boards.write_plan(tmp_path / "plan", deadline_ms=30_000)],
        models={"darkness": boards.model(tmp_path / "model")},
        cameras=boards.camera(tmp_path / "images"),
        parts=parts,
        plan=boards.PLAN,
    ) as line:
        config = line.config("edge-cam1")
        shadow = f'[shadow]\ndarkness = "{tmp_path / "candidate"}"\n'
        config.write_text(config.read_text() + shadow)
        line.start("station", "edge-cam1")
        # A candidate is loaded behind everything else: here the parts wait for it.
        line.until(lambda: line.log("edge-cam1").count('"model ready"') == 2, 60, "the candidate")
        line.start("plc")
        assert line.wait("plc", 60) == 0
        assert list(judge_line(line, parts, POINTS).values()) == ["OK", "NOK"] * 3
        store = line.folder / "station" / "station.db"
        line.until(lambda: bool(line.reader.evidence_of("shadow")), 60, "the candidate's report")
        out = tmp_path / "shadow.json"
        assert main(["models", "shadow", "--store", str(store), "--json", str(out)]) == 0
        said = capsys.readouterr().out
        (one,) = json.loads(out.read_text())["comparisons"]
        assert one["compared"] == POINTS * len(parts)
        assert one["verdicts"] == {"OK -> NOK": POINTS * len(parts) - 3}
        assert "OK -> NOK" in said
        # Nothing of it is among the results.
        candidate = one["candidate"]["package"]
        assert candidate not in {point.package for point in line.reader.points()}
        wanted = {point["evidence"] for point in one["changed"]}
        line.until(
            lambda: wanted <= set(line.reader.evidence_of("png")), 60, "the crops that differ"
        )
        assert line.stop("edge-cam1") == 0
