"""Real circuit boards through a real line: camera `folder`, edge, station and PLC.

    python tests/proofs/circuit_boards.py --data DIR [--folds 5] [--layouts] [--json FILE]
    python tests/proofs/circuit_boards.py --data DIR --package PACKAGE [--json FILE]

The boards of ``DIR`` (DeepPCB: ``images/NAME_test.jpg``, ``NAME_temp.jpg``, ``annotations/``) are
split by board into folds. For each fold a classifier is trained on the other boards and then every
board of the fold, and its defect-free template, goes through a line of real processes as a part of
10 x 10 points. With ``--layouts`` the same once more, leaving out each layout (the first five
digits of the name) in turn. With ``--package`` nothing is trained: every board goes through a line
with that model, which should not have seen them.

What is true of a point is computed here, from the annotations, by code of its own: a tile is
defective if it holds the centre of a box; one that a box merely touches is counted apart, and
belongs to neither the escapes nor the overkill. An escape is a defective tile called OK; overkill a
good tile that is NOK, REVIEW or NOT_INSPECTED. A board escapes if it has a defective tile and is
released; a defect-free board (a template) is overkill if it is not.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from inspection.statistics import rate
from inspection.testing.line import Line
from inspection.testing.oracle import judge_line

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "models" / "circuit-board" / "recipe.toml"
TILES = 10
TILE_PX = 64
PLAN = "circuit-board"


def write_plan(folder: Path) -> Path:
    """The plan of a board: one view of 640 x 640 pixels, 10 x 10 points."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["id,view,kind,left_px,top_px,width_px,height_px,severity"]
    rows += [
        f"r{row}c{column},top,tile,{column * TILE_PX},{row * TILE_PX},{TILE_PX},{TILE_PX},major"
        for row in range(TILES)
        for column in range(TILES)
    ]
    (folder / "points.csv").write_text("\n".join(rows) + "\n", "utf-8")
    plan = folder / "plan.toml"
    plan.write_text(
        f"""[plan]
name = "{PLAN}"
version = "1"
deadline_ms = 20000
points = "points.csv"

[kinds.tile]
model = "circuit-board"

[[view]]
id = "top"
camera = "line-scan"
width_px = {TILES * TILE_PX}
height_px = {TILES * TILE_PX}
""",
        "utf-8",
    )
    return plan


def truth(data: Path, board: str) -> tuple[set[str], set[str]]:
    """(defective, merely touched) tiles of a board, from its annotation."""
    defective: set[str] = set()
    touched: set[str] = set()
    for line in (data / "annotations" / f"{board}.txt").read_text("utf-8").splitlines():
        if not line.strip():
            continue
        left, top, right, bottom, _ = (int(word) for word in line.split())
        column, row = (left + right) / 2 // TILE_PX, (top + bottom) / 2 // TILE_PX
        defective.add(f"r{min(int(row), TILES - 1)}c{min(int(column), TILES - 1)}")
        for r in range(TILES):
            for c in range(TILES):
                x, y = c * TILE_PX, r * TILE_PX
                if left < x + TILE_PX and right > x and top < y + TILE_PX and bottom > y:
                    touched.add(f"r{r}c{c}")
    return defective, touched - defective


@dataclass
class Tally:
    """Counts over points and boards."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    escaped: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        self.counts += other.counts
        self.seconds += other.seconds
        self.escaped += other.escaped

    def report(self) -> dict[str, object]:
        n = self.counts
        rates = {
            "escapes_per_point": rate(n["escaped"], n["defective"]),
            "overkill_per_point": rate(n["overkilled"], n["good"]),
            "overkill_per_point_of_templates": rate(n["overkilled_template"], n["good_template"]),
            "escapes_per_board": rate(n["boards_escaped"], n["boards_defective"]),
            "overkill_per_board": rate(n["boards_overkilled"], n["boards_good"]),
        }
        return {
            **{
                name: {
                    "errors": value.errors,
                    "trials": value.trials,
                    "rate": value.rate,
                    "lower_95": value.lower,
                    "upper_95": value.upper,
                    "at_most_95": value.at_most,
                }
                for name, value in rates.items()
            },
            "touched_points": {"not_ok": n["touched_not_ok"], "all": n["touched"]},
            "planned": n["planned"],
            "balance": {v: n[v] for v in ("OK", "NOK", "REVIEW", "NOT_INSPECTED")},
            "balances_exactly": n["planned"]
            == n["OK"] + n["NOK"] + n["REVIEW"] + n["NOT_INSPECTED"],
            "train_seconds": [round(s) for s in self.seconds],
            "escaped": self.escaped,
        }


def split(boards: Sequence[str], folds: int, seed: int) -> list[list[str]]:
    """Boards into folds, each layout spread over all of them."""
    rng = random.Random(seed)
    shuffled = sorted(boards)
    rng.shuffle(shuffled)
    shuffled.sort(key=lambda board: board[:5])
    return [sorted(shuffled[number::folds]) for number in range(folds)]


def run_line(data: Path, package: Path, boards: Iterable[str], folder: Path) -> Tally:
    """Send boards and their templates through a line and count what it says of them."""
    parts = [f"{board}_{kind}" for board in boards for kind in ("test", "temp")]
    settings = {"directory": str((data / "images").resolve()), "pattern": "{part}.jpg"}
    tally = Tally()
    with Line(
        folder,
        plans=[write_plan(folder / "plan")],
        models={"circuit-board": package},
        cameras={"line-scan": {"driver": "folder", "settings": settings}},
        parts=parts,
        plan=PLAN,
    ) as line:
        line.start()
        status = line.wait("plc", 60 + 5 * len(parts))
        if status:
            raise SystemExit(f"the PLC ended with {status}:\n{line.log('plc')}")
        judge_line(line, parts, TILES * TILES)
        actions = {outcome.part: outcome.action for outcome in line.outcomes()}
        path = folder / "station" / "station.db"
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for part in parts:
            board, kind = part.split("_")
            defective, touched = truth(data, board) if kind == "test" else (set(), set())
            said = dict(
                database.execute(
                    "SELECT point_id, verdict FROM result JOIN run USING (run_id)"
                    " WHERE part_id = ? AND NOT late",
                    (part,),
                ).fetchall()
            )
            tally.counts += _count(part, kind, said, defective, touched, tally.escaped)
            released = actions[part] == "RELEASE"
            tally.counts["boards_defective" if defective else "boards_good"] += 1
            tally.counts["boards_escaped"] += bool(defective) and released
            tally.counts["boards_overkilled"] += not defective and not released
        database.close()
    return tally


def _count(
    part: str,
    kind: str,
    said: dict[str, str],
    defective: set[str],
    touched: set[str],
    escaped: list[str],
) -> Counter[str]:
    counts: Counter[str] = Counter(planned=len(said))
    for point, verdict in said.items():
        counts[verdict] += 1
        if point in defective:
            counts["defective"] += 1
            if verdict == "OK":
                counts["escaped"] += 1
                escaped.append(f"{part}/{point}")
        elif point in touched:
            counts["touched"] += 1
            counts["touched_not_ok"] += verdict != "OK"
        else:
            suffix = "" if kind == "test" else "_template"
            counts["good" + suffix] += 1
            counts["overkilled" + suffix] += verdict != "OK"
    return counts


def train_and_run(data: Path, held_out: Sequence[str], folder: Path) -> Tally:
    """One model that never saw these boards, and these boards on a line."""
    from inspection.training.fit import train

    package = folder / "package"
    started = time.monotonic()
    train(RECIPE, data, package, test_parts=held_out, progress=lambda *_, **__: None)
    seconds = time.monotonic() - started
    tally = run_line(data, package, held_out, folder / "line")
    tally.seconds.append(seconds)
    return tally


def _job(data: Path, folder: Path, boards: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, "--data", str(data), "--out", str(folder)]
    return subprocess.Popen([*command, "--one", ",".join(boards)])


def run_jobs(
    data: Path, folder: Path, jobs: dict[str, list[str]], workers: int
) -> dict[str, Tally]:
    """Train and run each group of held-out boards in a process of its own, some at a time."""
    waiting = list(jobs)
    running: dict[str, subprocess.Popen[bytes]] = {}
    done: dict[str, Tally] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            name = waiting.pop(0)
            running[name] = _job(data, folder / name, jobs[name])
        for name, process in list(running.items()):
            if process.poll() is None:
                continue
            del running[name]
            if process.returncode:
                raise SystemExit(f"{name} failed")
            raw = json.loads((folder / name / "tally.json").read_text("utf-8"))
            done[name] = Tally(Counter(raw["counts"]), raw["seconds"], raw["escaped"])
            print(f"{name}: {dict(done[name].counts)} {raw['seconds']}", file=sys.stderr)
        time.sleep(0.2)
    return done


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "circuit-boards")
    parser.add_argument("--folds", type=int, default=5, help="0: no split by board")
    parser.add_argument("--first-fold", action="store_true", help="only one of the folds")
    parser.add_argument("--layouts", action="store_true", help="leave one layout out, in turn")
    parser.add_argument("--package", type=Path, help="train nothing: judge with this package")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.out.exists():
        shutil.rmtree(options.out)
    options.out.mkdir(parents=True)
    if options.one:
        tally = train_and_run(options.data, options.one.split(","), options.out)
        content = {
            "counts": dict(tally.counts),
            "seconds": tally.seconds,
            "escaped": tally.escaped,
        }
        (options.out / "tally.json").write_text(json.dumps(content), "utf-8")
        return 0
    names = (
        path.name.removesuffix("_test.jpg") for path in (options.data / "images").glob("*_test.jpg")
    )
    boards = sorted(names)
    if not boards:
        raise SystemExit(f"{options.data}: no boards (images/NAME_test.jpg) here")
    lines = []
    if options.package is not None:
        tally = run_line(options.data, options.package, boards, options.out / "line")
        lines.append(pooled("circuit boards, a given package", {"all": boards}, {"all": tally}))
        options.folds, options.layouts = 0, False
    if options.folds:
        folds = split(boards, options.folds, options.seed)[: 1 if options.first_fold else None]
        jobs = {f"fold-{number}": fold for number, fold in enumerate(folds)}
        lines.append(claim("circuit boards, split by board", options, jobs))
    if options.layouts:
        layouts = sorted({board[:5] for board in boards})
        jobs = {
            f"layout-{layout}": [board for board in boards if board[:5] == layout]
            for layout in layouts
        }
        lines.append(claim("circuit boards, one layout left out", options, jobs))
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    if options.json:
        options.json.write_text(text, "utf-8")
    return 0


def claim(name: str, options: argparse.Namespace, jobs: dict[str, list[str]]) -> dict[str, object]:
    """One line of the proof, trained and run."""
    return pooled(name, jobs, run_jobs(options.data, options.out, jobs, options.workers))


def pooled(name: str, jobs: dict[str, list[str]], done: dict[str, Tally]) -> dict[str, object]:
    """The pooled figures, and those of each group."""
    total = Tally()
    for tally in done.values():
        total.add(tally)
    n = total.counts
    return {
        "claim": name,
        "commit": commit(),
        "boards": sum(len(group) for group in jobs.values()),
        "trainings": len(total.seconds),
        "under_5_percent_escapes_and_2_percent_overkill": bool(
            n["escaped"] < 0.05 * n["defective"] and n["overkilled"] < 0.02 * n["good"]
        ),
        **total.report(),
        "groups": {
            key: {
                "boards": len(jobs[key]),
                "escaped": tally.counts["escaped"],
                "defective": tally.counts["defective"],
                "overkilled": tally.counts["overkilled"],
                "good": tally.counts["good"],
            }
            for key, tally in sorted(done.items())
        },
    }


if __name__ == "__main__":
    raise SystemExit(main())
