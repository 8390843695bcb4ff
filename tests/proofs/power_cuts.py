"""A million power cuts of an outbox on a simulated disk, on all cores.

    python tests/proofs/power_cuts.py [--cuts N] [--seed N] [--jobs N] [--json FILE]

Each life of an outbox (``one_life`` in ``tests/unit/test_outbox_machine.py``) is a few cuts from a
seed of its own; what it holds is compared with what it promised after each. A seed that shows a
violation is printed: ``OUTBOX_SEED=N`` repeats it as a test.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

from circuit_boards import commit
from test_outbox_machine import one_life

LIVES = 100
"""In one piece of work."""


def live(first_seed: int) -> tuple[int, list[int]]:
    """(cuts survived, seeds that showed a violation)."""
    cuts, violated = 0, []
    for seed in range(first_seed, first_seed + LIVES):
        try:
            cuts += one_life(seed)
        except Exception as error:
            print(f"OUTBOX_SEED={seed}: {type(error).__name__}: {error}", file=sys.stderr)
            violated.append(seed)
    return cuts, violated


def prove(cuts: int, seed: int, jobs: int) -> dict[str, object]:
    """Cut the power until it was done so often."""
    begun, done = time.monotonic(), 0
    violated: list[int] = []
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        firsts = range(seed, sys.maxsize, LIVES)
        while done < cuts:
            batch = firsts[: 2 * jobs]
            firsts = firsts[2 * jobs :]
            for survived, wrong in pool.map(live, batch, chunksize=1):
                done += survived
                violated += wrong
    return {
        "claim": "power cuts of an outbox",
        "commit": commit(),
        "cuts": done,
        "violations": len(violated),
        "seeds": violated[:20],
        "seed": seed,
        "jobs": jobs,
        "seconds": round(time.monotonic() - begun, 1),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="power cuts of an outbox on a simulated disk")
    parser.add_argument("--cuts", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    line = prove(options.cuts, options.seed, options.jobs)
    print(json.dumps(line), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(line) + "\n", "utf-8")
    return int(bool(line["violations"]))


if __name__ == "__main__":
    raise SystemExit(main())
