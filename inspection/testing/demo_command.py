"""``inspection demo``: a whole line on this machine, with pictures drawn on the spot.

Station, edge worker, PLC and UI are the real processes, over real sockets, with a real store. Only
the parts are invented: boards with a grid of tiles, some of them dark, and a model that calls a
dark tile a defect.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from inspection.errors import InspectionError
from inspection.messages import RunVerdict
from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.plc import Outcome

VIEWS = 4
POINTS = VIEWS * boards.GRID**2
PART_TIMEOUT_S = 30


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parts", type=int, default=40, metavar="N", help="boards to inspect")
    parser.add_argument("--seed", type=int, default=7, help="which boards have which defects")
    parser.add_argument("--headless", action="store_true", help="no UI; end when all is done")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the summary, too")
    parser.add_argument(
        "--folder", type=Path, help="keep everything here instead of throwing it away"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.parts < 1:
        raise InspectionError("--parts must be at least 1")
    if arguments.folder is not None:
        return _demonstrate(arguments, arguments.folder)
    with tempfile.TemporaryDirectory(prefix="inspection-demo-") as folder:
        return _demonstrate(arguments, Path(folder))


def draw(images: Path, parts: int, seed: int) -> dict[str, set[str]]:
    """Boards of `VIEWS` views; the dark tiles of each by part, half of the boards having none."""
    rng = random.Random(seed)  # noqa: S311
    truth: dict[str, set[str]] = {}
    tiles = list(itertools.product(range(VIEWS), range(boards.GRID), range(boards.GRID)))
    for number in range(parts):
        part = f"BOARD-{number + 1:04d}"
        tiles = [
            (v, r, c) for v in range(VIEWS) for r in range(boards.GRID) for c in range(boards.GRID)
        ]
        dark = rng.sample(tiles, rng.randint(1, 5)) if number % 2 else []
        frames = [boards.board(*((r, c) for view, r, c in dark if view == v)) for v in range(VIEWS)]
        boards.write_part(images, part, *frames)
        truth[part] = {f"v{v}-r{r}c{c}" for v, r, c in dark}
    return truth


def _demonstrate(arguments: argparse.Namespace, folder: Path) -> int:
    print("Drawing boards and making the model package ...", flush=True)
    truth = draw(folder / "images", arguments.parts, arguments.seed)
    line = Line(
        folder / "line",
        plans=[boards.write_plan(folder / "plan", views=VIEWS, deadline_ms=10_000)],
        models={"darkness": boards.model(folder / "model")},
        cameras=boards.camera(folder / "images"),
        parts=list(truth),
        plan=boards.PLAN,
        timeout_ms=PART_TIMEOUT_S * 1000,
    )
    with line:
        line.start("station", *line.edges, *(() if arguments.headless else ("ui",)))
        if not arguments.headless:
            print("The UI is at http://localhost:8501", flush=True)
        line.start("plc")
        _watch(line, len(truth))
        summary = summarise(line, truth)
        _tell(summary)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(summary, indent=2) + "\n", "utf-8")
        if not arguments.headless:
            print("\nThe line stands still; the UI stays until Ctrl-C.", flush=True)
            try:
                while line.running("ui"):
                    time.sleep(0.5)
            except KeyboardInterrupt:
                print()
    return 0 if summary["lost"] == summary["duplicated"] == 0 else 1


def _watch(line: Line, parts: int) -> None:
    """One line of progress until the PLC has ended."""
    shows = sys.stdout.isatty()
    while line.running("plc"):
        time.sleep(0.2)
        if shows:
            actions = Counter(outcome.action for outcome in line.outcomes())
            done = sum(actions.values())
            print(f"\r{done:5d} of {parts} parts  {_actions(actions)}   ", end="", flush=True)
    if shows:
        print()
    if status := line.wait("plc", 1):
        raise InspectionError(f"the PLC ended with {status}:\n{line.log('plc')[-2000:]}")


def _actions(actions: Counter[str]) -> str:
    return "  ".join(f"{name} {actions[name]}" for name in ("RELEASE", "DIVERT", "HOLD"))


def summarise(line: Line, truth: dict[str, set[str]]) -> dict[str, object]:
    """What came of it, judged against what was drawn."""
    runs = line.reader.runs()
    outcomes = {outcome.part: outcome for outcome in line.outcomes()}
    totals = line.reader.totals()
    escapes = overkill = points = 0
    for run in runs:
        said = {point.point: point.verdict.value for point in line.reader.points(run=run.run)}
        points += len(said)
        for point, verdict in said.items():
            defective = point in truth[run.part]
            escapes += defective and verdict == "OK"
            overkill += not defective and verdict != "OK"
    verdicts = Counter(run.verdict for run in runs)
    good = [part for part, dark in truth.items() if not dark]
    counts = line.reader.counts()
    times = sorted(outcome.milliseconds for outcome in outcomes.values())
    return {
        "parts": len(runs),
        "runs_ok": verdicts[RunVerdict.OK],
        "runs_nok": verdicts[RunVerdict.NOK],
        "runs_hold": verdicts[RunVerdict.HOLD],
        "runs_false_alarm": sum(_action(outcomes, part) != "RELEASE" for part in good),
        "planned": totals.planned,
        "ok": totals.ok,
        "nok": totals.nok,
        "review": totals.review,
        "not_inspected": totals.not_inspected,
        "escapes": escapes,
        "overkill": overkill,
        "lost": len(truth) * POINTS - points,
        "duplicated": counts["result"] - points,
        "part_ms": {"p50": times[len(times) // 2], "max": times[-1]} if times else {},
    }


def _action(outcomes: dict[str, Outcome], part: str) -> str:
    return outcomes[part].action if part in outcomes else "HOLD"


def _tell(summary: dict[str, object]) -> None:
    s = summary
    print(
        f"""
{s["parts"]} parts: {s["runs_ok"]} OK, {s["runs_nok"]} NOK, {s["runs_hold"]} HOLD
{s["planned"]} planned points = {s["ok"]} OK + {s["nok"]} NOK + {s["review"]} REVIEW\
 + {s["not_inspected"]} NOT_INSPECTED, {s["lost"]} lost, {s["duplicated"]} stored twice
against what was drawn: {s["escapes"]} escapes, {s["overkill"]} false alarms,\
 {s["runs_false_alarm"]} good parts not released"""
    )
