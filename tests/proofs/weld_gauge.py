"""The gauge on rendered welds, every steel and every lamp of the standard domain.

    python tests/proofs/weld_gauge.py [--good N] [--each N] [--seed N] [--json FILE]

Through the edge's own functions (`gauge.measure`, `gauging.judge_gauged`) with the renderer's
limits in a plan's form; the model has no say. Of 300 missing, 300 small and 300 off-centre welds
none may come out as OK. Of 3,000 good ones that are not borderline (within 5 % of a limit: the
renderer's own word for what no two people agree on) at most 10 may come out as anything else. Of
what was measured, planned welds only: the centre's error (95 of 100 within 0.15 mm), the
diameter's (95 of 100 within 3 %), how often the stated uncertainty holds, by steel and by lamp.
No weld of this seed was in training. The time is CPU time a point, views of 32 points.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from msgspec import UNSET

from inspection import gauge
from inspection.gauging import judge_gauged
from inspection.messages import GaugeLimits, GaugeTask, Region, Verdict
from inspection.rendering.catalogue import DIAMETER_MIN_MM, FIELD_MM, GOOD, OFFSET_MAX_MM
from inspection.rendering.weld import Scene, draw_weld, render
from inspection.version import code_version

LIMITS = GaugeLimits(diameter_min_mm=DIAMETER_MIN_MM, offset_max_mm=OFFSET_MAX_MM)
DEFECTS = ("missing", "small-imprint", "off-centre")
VIEW = 32
CENTRE_MM, DIAMETER, FLAGGED = 0.15, 0.03, 10


def welds(label: str, count: int, seed: int) -> Any:
    """Scenes and their pictures; good ones that are not borderline only."""
    made = part = 0
    while made < count:
        scene = draw_weld(seed, part, 0, label)
        part += 1
        if label == GOOD and scene.borderline:
            continue
        made += 1
        yield scene, render(scene).image


def truth(scene: Scene) -> tuple[float, float, float] | None:
    """Centre from the planned place and mean diameter in millimetres; pixels are counted by their
    middles there, by their edges here."""
    if scene.own is None:
        return None
    own, mm = scene.imprints[scene.own], FIELD_MM / scene.size_px
    half = scene.size_px / 2
    return (own.x_px + 0.5 - half) * mm, (own.y_px + 0.5 - half) * mm, 2 * own.radius_mm


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--good", type=int, default=3000)
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--seed", type=int, default=4711)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    said: dict[str, Counter[str]] = defaultdict(Counter)
    errors: list[tuple[float, float, bool, bool, str, str]] = []
    seconds, points = 0.0, 0
    for label in (*DEFECTS, GOOD):
        for scene, image in welds(label, options.good if label == GOOD else options.each,
                                  options.seed):  # fmt: skip
            region = Region(left_px=0.0, top_px=0.0, width_px=float(scene.size_px),
                            height_px=float(scene.size_px))  # fmt: skip
            task = GaugeTask(mm_per_px=FIELD_MM / scene.size_px, limits=LIMITS)
            (one,) = gauge.measure(image, [(region, task)])
            said[label][judge_gauged(one or UNSET, LIMITS).verdict.value] += 1
            right = truth(scene)
            if one is not None and right is not None:
                dx, dy = one.x_mm - right[0], one.y_mm - right[1]
                off = one.diameter_mm - right[2]
                within = abs(dx) <= one.centre_pm_mm, abs(off) <= one.diameter_pm_mm
                steel, lamp = scene.part.steel.name, scene.part.lamp.name
                errors.append((math.hypot(dx, dy), abs(off) / right[2], *within, steel, lamp))
            if points < 40 * VIEW:
                begin = time.process_time()
                gauge.measure(image, [(region, task)] * VIEW)
                seconds, points = seconds + time.process_time() - begin, points + VIEW
    centre, size = np.array([e[0] for e in errors]), np.array([e[1] for e in errors])

    def part_of(at: int) -> dict[str, dict[str, float]]:
        found = {}
        for name in sorted({str(e[at]) for e in errors}):
            mine = np.array([e[at] == name for e in errors])
            found[name] = {
                "n": int(mine.sum()),
                "centre_mm_p95": round(float(np.quantile(centre[mine], 0.95)), 3),
                "diameter_p95": round(float(np.quantile(size[mine], 0.95)), 4),
            }
        return found

    missed = {label: said[label][Verdict.OK.value] for label in DEFECTS}
    flagged = options.good - said[GOOD][Verdict.OK.value]
    quantiles = {f"p{round(100 * q)}": q for q in (0.5, 0.9, 0.95, 0.99)}
    result = {
        "claim": "gauge on rendered welds",
        "called_ok_of_defects": missed,
        "flagged_of_good": flagged,
        "verdicts": {label: dict(counts) for label, counts in said.items()},
        "centre_mm": {n: round(float(np.quantile(centre, q)), 3) for n, q in quantiles.items()},
        "diameter_share": {n: round(float(np.quantile(size, q)), 4) for n, q in quantiles.items()},
        "centre_within": round(float((centre <= CENTRE_MM).mean()), 4),
        "diameter_within": round(float((size <= DIAMETER).mean()), 4),
        "uncertainty_holds": {
            "centre_x": round(float(np.mean([e[2] for e in errors])), 4),
            "diameter": round(float(np.mean([e[3] for e in errors])), 4),
        },
        "steels": part_of(4),
        "lamps": part_of(5),
        "cpu_ms_a_point": round(1000 * seconds / points, 3),
        "commit": code_version(),
    }
    holds = {
        "none_missed": not any(missed.values()),
        "few_flagged": flagged <= FLAGGED * options.good / 3000,
        "centre": float(np.quantile(centre, 0.95)) <= CENTRE_MM,
        "diameter": float(np.quantile(size, 0.95)) <= DIAMETER,
    }
    line = json.dumps({**result, "holds": holds})
    print(line, flush=True)
    if options.json:
        options.json.write_text(line + "\n", "utf-8")
    return 0 if all(holds.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
