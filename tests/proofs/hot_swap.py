"""Thousands of views while the released model changes every fifty of them: one JSON line.

python tests/proofs/hot_swap.py [--views N] [--every N] [--json FILE]

A line of real processes, two cameras with an edge each, and a registry that all of them follow. Two
packages give scores that tell them apart; they are promoted and rolled back in turn while parts go
through, now and then one that its own golden pictures refuse. What each package says of each
picture is worked out here beforehand, and every result compared with it.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from circuit_boards import commit

from inspection import imaging, runtimes, wire
from inspection.imaging import CropSpec
from inspection.messages import Inspected, Region, ViewResult
from inspection.package import open_package
from inspection.registry import Registry
from inspection.testing import boards
from inspection.testing.line import Line
from inspection.testing.oracle import examine
from inspection.testing.packages import Broken, build_package

NAME = "darkness"
VERSIONS = {"1": 20.0, "2": 12.0}
"""Steepness of the two that take turns."""
BAD = "3"
BAD_EVERY = 10
"""One change in so many is to a package that must be refused."""
CAMERAS = ("cam1", "cam2")
POINTS = boards.GRID**2
SHADES = range(150, 226, 5)
DARK = (1, 2)
WHO = {"author": "proof", "why": "hot swap"}
VIEW_MS = 30
"""What exposure takes: two cameras then take fifty views in little more than a change takes."""


def frame(shade: int) -> imaging.Frame:
    """A board of this shade; the darkest shade of all has a defect."""
    return boards.board(*([DARK] if shade == SHADES[0] else []), shade=shade)


def shade_of(part: int, view: int) -> int:
    """Which picture is taken; a defect in every part of the shade's turn."""
    return SHADES[(7 * part + view) % len(SHADES)] if view or part % 5 == 0 else SHADES[1]


def build_registry(folder: Path) -> Registry:
    """A registry with both packages and the bad one; the first is released."""
    registry = Registry(folder / "registry")
    for version, steepness in {**VERSIONS, BAD: 16.0}.items():
        registry.add(
            build_package(
                folder / "packages" / version,
                size=boards.TILE,
                steepness=steepness,
                version=version,
                broken=Broken.GOLDEN_SCORES if version == BAD else None,
            ),
            **WHO,
        )
    promote(registry, "1")
    return registry


def promote(registry: Registry, version: str) -> None:
    registry.promote(NAME, version, **WHO, details={})


def expected(folder: Path) -> dict[tuple[str, int], Any]:
    """By (package, shade): the scores of all points of that picture, in their order."""
    spec = CropSpec(width=boards.TILE, height=boards.TILE, channels=1, margin=0.0)
    found = {}
    for version in VERSIONS:
        model = runtimes.load(open_package(folder / "packages" / version))
        for shade in SHADES:
            image = frame(shade)
            crops = [
                imaging.crop(
                    image,
                    Region(
                        left_px=column * boards.TILE,
                        top_px=row * boards.TILE,
                        width_px=boards.TILE,
                        height_px=boards.TILE,
                    ),
                    spec,
                )
                for row in range(boards.GRID)
                for column in range(boards.GRID)
            ]
            found[model.package.ref.package, shade] = model.scores(np.stack(crops))
    return found


def swap(folder: Path, *, views: int, every: int, views_a_part: int) -> dict[str, Any]:
    """Run the line and say what came of it."""
    registry = build_registry(folder)
    parts = -(-views // views_a_part)
    names = [f"B{number:04d}" for number in range(parts)]
    pictures = folder / "pictures"
    pictures.mkdir()
    for shade in SHADES:
        (pictures / f"{shade}.png").write_bytes(imaging.encode_png(frame(shade)))
    for number, name in enumerate(names):
        (folder / "images" / name).mkdir(parents=True)
        for view in range(views_a_part):
            source = pictures / f"{shade_of(number, view)}.png"
            os.link(source, folder / "images" / name / f"v{view}.png")
    plan = boards.write_plan(
        folder / "plan", views=views_a_part, deadline_ms=600_000, cameras=CAMERAS
    )
    camera = {
        "driver": "folder",
        "settings": {"directory": str(folder / "images"), "delay_ms": VIEW_MS},
    }
    released = folder / "registry" / NAME
    refs = {v: open_package(released / v).ref for v in (*VERSIONS, BAD)}
    line = Line(
        folder / "line",
        plans=[plan],
        models={NAME: released},
        cameras=dict.fromkeys(CAMERAS, camera),
        parts=names,
        plan=boards.PLAN,
        timeout_ms=900_000,
    )
    begun = time.monotonic()
    with line:
        line.start()
        took = _take_turns(line, registry, refs, views=parts * views_a_part, every=every)
        line.wait("plc", 600)
        line.until(lambda: _committed(line) >= parts * views_a_part, 60, "the last records")
        for name in ("edge-cam1", "edge-cam2", "station"):
            line.stop(name)
        harm = examine(line, names, POINTS * views_a_part)
        found = _compare(line, names, views_a_part, expected(folder), refs)
        kinds = Counter(event.kind for event in line.reader.events(limit=100_000))
        slow = _view_ms(line)
    return {
        "claim": "hot swap",
        "commit": commit(),
        "views": parts * views_a_part,
        "changes": len(took["promote"]) + len(took["rollback"]),
        "changed_over": kinds["model_released"],
        "refused": took["refused"],
        "refusals_told": kinds["model_fault"],
        **found,
        "lost": len(harm.lost),
        "duplicated": len(harm.duplicated),
        "false_ok": len(harm.false_ok),
        "other": len(harm.reordered + harm.unbalanced + harm.unexplained),
        "roll_back_s": _spread(took["rollback"]),
        "change_s": _spread(took["promote"]),
        "view_ms": slow,
        "seconds": round(time.monotonic() - begun),
    }


def _committed(line: Line) -> int:
    path = line.folder / "station" / "station.db"
    if not path.exists():
        return 0
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return int(database.execute("SELECT count(*) FROM record WHERE attempt > 0").fetchone()[0])
    except sqlite3.OperationalError:
        return 0  # not laid out yet
    finally:
        database.close()


def _take_turns(
    line: Line, registry: Registry, refs: dict[str, Any], *, views: int, every: int
) -> dict[str, Any]:
    """Change what is released after each ``every`` views; how long each change took, in seconds,
    from the registry to the station's orders."""
    memory = line.folder / "station" / "released.json"
    took: dict[str, Any] = {"promote": [], "rollback": [], "refused": 0}

    def in_force(version: str) -> bool:
        try:
            return bool(json.loads(memory.read_text())[NAME]["package"] == refs[version].package)
        except (OSError, ValueError, KeyError):
            return False

    now = "1"
    for number, threshold in enumerate(range(every, views, every), 1):
        line.until(lambda at=threshold: _committed(line) >= at, 300, f"{threshold} views")
        if number % BAD_EVERY == 0:
            told = [line.log(edge).count("does not reproduce") for edge in line.edges]
            promote(registry, BAD)

            def refused(before: list[int] = told) -> bool:
                logs = [line.log(edge).count("does not reproduce") for edge in line.edges]
                return all(b > a for a, b in zip(before, logs, strict=True))

            line.until(refused, 120, "the bad package's refusal")
            registry.rollback(NAME, to=now, **WHO)
            took["refused"] += 1
            continue
        begun = time.monotonic()
        if now == "1":
            promote(registry, "2")
        else:
            registry.rollback(NAME, to="1", **WHO)
        kind, now = ("promote", "2") if now == "1" else ("rollback", "1")
        line.until(lambda version=now: in_force(version), 120, f"change {number} to {now}")
        took[kind].append(time.monotonic() - begun)
    return took


def _compare(
    line: Line,
    names: Sequence[str],
    views_a_part: int,
    wanted: dict[tuple[str, int], Any],
    refs: dict[str, Any],
) -> dict[str, Any]:
    """Every view is there once, whole, judged by one package, with that package's scores."""
    by_name = {name: number for number, name in enumerate(names)}
    version_of = {ref.package: version for version, ref in refs.items()}
    order = [f"r{row}c{column}" for row in range(boards.GRID) for column in range(boards.GRID)]
    seen: Counter[tuple[str, str]] = Counter()
    judged: Counter[str] = Counter()
    missed = mixed = wrong_scores = alike = turns = 0
    before = ""
    database = sqlite3.connect(line.folder / "station" / "station.db")
    for (raw,) in database.execute("SELECT raw FROM record ORDER BY number"):
        answer = wire.RECORD.decode(raw)
        assert isinstance(answer, ViewResult)
        seen[answer.part, answer.view] += 1
        said = {e.point: e for e in answer.points if isinstance(e, Inspected)}
        missed += len(answer.points) - len(said)
        models = {entry.model for entry in said.values()}
        mixed += len(models) != 1
        if len(models) != 1:
            continue
        (ref,) = models
        judged[version_of.get(ref.package, "unknown")] += 1
        turns += ref.package != before
        before = ref.package
        shade = shade_of(by_name[answer.part], int(answer.view[1:]))
        here = np.array([said[f"{answer.view}-{point}"].scores for point in order])
        both = {v: wanted[refs[v].package, shade] for v in VERSIONS}
        off = {v: float(np.abs(scores - here).max()) for v, scores in both.items()}
        wrong_scores += off[version_of[ref.package]] > 1e-6
        alike += min(off.values()) == max(off.values())
    database.close()
    views = {(name, f"v{view}") for name in names for view in range(views_a_part)}
    return {
        "views_lost": len(views - set(seen)),
        "views_twice": sum(count > 1 for count in seen.values()),
        "points_missed": missed,
        "views_of_two_models": mixed,
        "wrong_scores": wrong_scores,
        "models_alike": alike,
        "judged_by": dict(sorted(judged.items())),
        "model_changes_seen": turns - 1,
    }


def _view_ms(line: Line) -> dict[str, float]:
    """How long the edges were at a view, exposure included."""
    took = [
        json.loads(text)["ms"]
        for edge in line.edges
        for text in line.log(edge).splitlines()
        if '"view judged"' in text
    ]
    return {f"p{q}": round(float(np.percentile(took, q)), 1) for q in (50, 99, 100)}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    return {
        "p50": round(float(np.percentile(seconds, 50)), 2),
        "max": round(max(seconds), 2),
    }


PROMISES = (
    "views_lost",
    "views_twice",
    "points_missed",
    "views_of_two_models",
    "wrong_scores",
    "models_alike",
    "lost",
    "duplicated",
    "false_ok",
    "other",
)
"""What must be nought."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="views while the released model changes")
    parser.add_argument("--views", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=50)
    parser.add_argument("--views-a-part", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="hot-swap-") as name:
        found = swap(
            Path(name),
            views=options.views,
            every=options.every,
            views_a_part=options.views_a_part,
        )
    line = json.dumps(found)
    print(line, flush=True)
    if options.json is not None:
        options.json.write_text(line + "\n", "utf-8")
    changes = found["changes"]
    kept = not any(found[name] for name in PROMISES) and found["changed_over"] == changes
    slowest = found["roll_back_s"].get("max", 0.0)
    return int(not (kept and slowest < 10.0 and found["model_changes_seen"] >= changes // 2))


if __name__ == "__main__":
    raise SystemExit(main())
