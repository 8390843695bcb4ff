"""A model that does not come back, in a real worker: ended, told of, and no part waits for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.command import STUCK
from inspection.imaging import Frame
from inspection.messages import Reason, Verdict
from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.oracle import judge_line
from inspection.testing.packages import Broken

POINTS = boards.GRID**2
EDGE = "edge-cam1"
PARTS = ["P0", "P1", "P2"]


def with_a_white_tile() -> Frame:
    image = np.array(boards.board(shade=200))
    image[: boards.TILE, : boards.TILE] = 255
    return image


def make_line(folder: Path, broken: Broken, hang_ms: int) -> Line:
    """Three parts, the second of which the model hangs on, in batches of five points."""
    for part in PARTS:
        image = with_a_white_tile() if part == "P1" else boards.board(shade=200)
        boards.write_part(folder / "images", part, image)
    line = Line(
        folder / "line",
        plans=[boards.write_plan(folder / "plan", deadline_ms=120_000)],
        models={"darkness": boards.model(folder / "model", broken=broken)},
        cameras=boards.camera(folder / "images"),
        parts=PARTS,
        plan=boards.PLAN,
        timeout_ms=200_000,
        edge_timeout_ms=2000,
    )
    config = line.config(EDGE)
    config.write_text(f"hang_ms = {hang_ms}\nbatch = 5\n" + config.read_text())
    return line


def reasons(line: Line, part: str) -> dict[str, Reason]:
    return {
        point.point: point.reason
        for point in line.reader.points()
        if point.part == part and point.verdict is not Verdict.OK
    }


FIRST_BATCH = {f"v0-r0c{column}": Reason.MODEL_HUNG for column in range(5)}


def test_a_hung_inference_is_ended_while_the_edge_goes_on_talking(tmp_path: Path) -> None:
    # It hangs for longer than the station waits for a word of the edge.
    with make_line(tmp_path, Broken.HANGS_ON_WHITE, hang_ms=5000) as line:
        line.start()
        assert line.wait("plc", 200) == 0
        assert judge_line(line, PARTS, POINTS) == {"P0": "OK", "P1": "HOLD", "P2": "OK"}
        assert reasons(line, "P1") == FIRST_BATCH
        assert "edge_lost" not in {event.kind for event in line.reader.events()}
        assert line.stop(EDGE) == 0


def test_a_worker_whose_engine_does_not_let_go_ends_itself_and_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    with make_line(tmp_path, Broken.STUCK_ON_WHITE, hang_ms=1000) as line:
        line.start()
        # What a supervisor does: look at the exit status, start it again.
        assert line.wait(EDGE, 200) == STUCK
        assert "edge ends itself" in line.log(EDGE)
        line.start(EDGE)
        assert line.wait("plc", 200) == 0
        assert judge_line(line, PARTS, POINTS) == {"P0": "OK", "P1": "HOLD", "P2": "OK"}
        assert set(reasons(line, "P1").values()) == {Reason.MODEL_HUNG}
        assert line.stop(EDGE) == 0
