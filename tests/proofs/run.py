"""All slow proofs, one JSON line a claim.

python tests/proofs/run.py --data DIR [--kills N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import circuit_boards
import full_shift
import promise_holds
import rendered_welds
from oracle import examine

from inspection.testing import boards
from inspection.testing.line import Line


def kills(count: int, seed: int) -> dict[str, object]:
    """SIGKILL station, edge or PLC at random times until it was done ``count`` times; then let
    the line finish and have everything it left behind judged."""
    rng = random.Random(seed)
    victims = ("station", "edge-cam1", "plc")
    done: dict[str, int] = dict.fromkeys(victims, 0)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        parts = [f"B{number:04d}" for number in range(4 * count)]
        for number, part in enumerate(parts):
            dark = [(number % 5, number % 4)] if number % 3 == 0 else []
            boards.write_part(folder / "images", part, boards.board(*dark))
        plan_file = boards.write_plan(folder / "plan", deadline_ms=4000)
        with Line(
            folder / "line",
            plans=[plan_file],
            models={"darkness": boards.model(folder / "model")},
            cameras=boards.camera(folder / "images", delay_ms=20),
            parts=parts,
            plan=boards.PLAN,
            timeout_ms=15_000,
        ) as line:
            line.start()
            line.until(lambda: len(line.outcomes()) >= 1, 60, "first part")
            while sum(done.values()) < count and line.running("plc"):
                time.sleep(rng.uniform(0.05, 1.0))
                victim = rng.choice(victims)
                if not line.running(victim):
                    break
                line.kill(victim)
                done[victim] += 1
                line.start(victim)
            status = line.wait("plc", 60 * 60)
            found = examine(line, parts, boards.GRID**2)
            totals = line.reader.totals()
    return {
        "claim": "kills",
        "commit": circuit_boards.commit(),
        "seed": seed,
        "kills": done,
        "parts": len(parts),
        "runs_ok": sum(verdict == "OK" for verdict in found.verdicts.values()),
        "planned": totals.planned,
        "ok": totals.ok,
        "nok": totals.nok,
        "not_inspected": totals.not_inspected,
        "plc_status": status,
        "lost": len(found.lost),
        "duplicated": len(found.duplicated),
        "false_ok": len(found.false_ok),
        "unbalanced": len(found.unbalanced),
        "unexplained": len(found.unexplained),
        "seconds": round(time.monotonic() - started),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="all slow proofs, one JSON line a claim")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    lines = [json.dumps(kills(options.kills, options.seed))]
    print(lines[-1], flush=True)
    sample = options.data / "deeppcb-sample"
    if sample.is_dir():
        with tempfile.TemporaryDirectory(prefix="proof-") as name:
            report = Path(name) / "boards.json"
            circuit_boards.main(["--data", str(sample), "--layouts", "--json", str(report)])
            lines += report.read_text("utf-8").splitlines()
    else:
        print(f"{sample}: not here; the proof on circuit boards is left out", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        report = Path(name) / "shift.json"
        broken = full_shift.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
        report = Path(name) / "welds.json"
        too_easy = rendered_welds.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
        report = Path(name) / "promise.json"
        broken |= promise_holds.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
    if options.json is not None:
        options.json.write_text("\n".join(lines) + "\n", "utf-8")
    return too_easy or broken


if __name__ == "__main__":
    raise SystemExit(main())
