"""How fast a whole line is: flat out, at rates, in bursts, on a slow disk; and how an edge starts.

    python tests/proofs/line_rate.py [--views N] [--only NAME ...] [--json FILE]

Each claim is one JSON line with ``goals_met``. Needs two cores with nothing else to do; about 35
minutes, most of them at 52 points a second. ``--views`` is how many views each rate is measured
over, at least.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspection.package import bundled_package
from inspection.testing.bench_command import FAST
from inspection.testing.bench_line import PER_VIEW, Options, bench

RATES: dict[str, dict[str, Any]] = {
    "flat-out": {"pairs": 5, "seconds": 20.0},
    "520": {"rate": 520.0},
    "52": {"rate": 52.0},
    "burst-of-4": {"rate": 520.0, "burst": 4},
    "1700": {"rate": 1700.0},
    "slow-disk": {"pairs": 5, "seconds": 20.0, "sync_delay_ms": 5.0},
    "slow-disk-520": {"rate": 520.0, "sync_delay_ms": 5.0},
}
GOALS: dict[str, dict[str, float]] = {
    "520": {"p50": 20, "p99": 30, "p99.9": 50},
    "52": {"p50": 20, "p99": 30},
    "burst-of-4": {"p99": 60},
    "1700": {"p99": 50},
    "slow-disk-520": {"p99": 45},
}


def measure(name: str, views: int) -> dict[str, Any]:
    """One claim of the line."""
    asked = dict(RATES[name])
    if rate := asked.get("rate"):
        asked = {"seconds": views * PER_VIEW / rate + 5, "pairs": 1, **asked}
    with tempfile.TemporaryDirectory(prefix="line-rate-") as folder:
        found = bench(Path(folder) / "bench", Options(package=bundled_package(FAST), **asked))
    goals = {"nothing lost": found["lost"] == 0, "nothing twice": found["duplicated"] == 0}
    # Views of a burst wait for each other: theirs counts from the PLC's word.
    latency = found["trigger_latency_ms" if asked.get("burst") else "view_latency_ms"]
    for share, most in GOALS.get(name, {}).items():
        goals[f"{share} <= {most} ms"] = latency[share] <= most
    if name == "flat-out":
        goals["points_per_second >= 2500"] = found["points_per_second"] >= 2500
        goals["ratio >= 0.60"] = found["ratio"] >= 0.60
        goals["no ratio < 0.50"] = min(found["ratios"]) >= 0.50
        outside = found["cpu_ms_per_point_outside_onnx"]
        goals["cpu outside ONNX Runtime <= 0.28 ms"] = outside <= 0.28
    if name == "slow-disk":
        goals["ratio >= 0.50"] = found["ratio"] >= 0.50
    return {**found, "claim": f"line rate, {name}", "goals_met": goals}


START = """
import time
begun = time.monotonic()
import sys
from pathlib import Path
import edge.worker
from edge.judge import Models
Models({"spot-weld": Path(sys.argv[1])})
rss = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in l)
print(time.monotonic() - begun, int(rss.split()[1]) / 1024)
"""


def start() -> dict[str, Any]:
    """A worker's imports and its model, loaded and its golden pictures replayed, from nothing."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", START, str(bundled_package(FAST))],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - begun
    rss = float(done.stdout.splitlines()[-1].split()[1])
    return {
        "claim": "line rate, start of a worker",
        "ready_s": round(seconds, 2),
        "rss_mb": round(rss, 1),
        "goals_met": {"ready < 3 s": seconds < 3, "rss < 350 MB": rss < 350},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line a claim; 1 where a goal is missed."""
    names = ["start", *RATES]
    parser = argparse.ArgumentParser(description="how fast a whole line is")
    parser.add_argument("--views", type=int, default=3000)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(argv)
    lines = []
    missed = False
    for name in given.only:
        found = start() if name == "start" else measure(name, given.views)
        lines.append(json.dumps(found))
        print(lines[-1], flush=True)
        missed |= not all(found["goals_met"].values())
    if given.json is not None:
        given.json.write_text("\n".join(lines) + "\n", "utf-8")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
