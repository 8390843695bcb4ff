"""100,000 bad frames on every socket of a station process.

python tests/proofs/fuzz.py [--frames N] [--seed N] [--json FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from circuit_boards import commit
from fuzzing import fuzz


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="bad frames on every socket of a station")
    parser.add_argument("--frames", type=int, default=100_000, help="on each socket")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        damage = fuzz(Path(folder), options.frames, options.seed)
    line = {
        "claim": "bad frames on every socket",
        "commit": commit(),
        **dataclasses.asdict(damage),
        "seed": options.seed,
        "seconds": round(time.monotonic() - begun, 1),
    }
    print(json.dumps(line), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(line) + "\n", "utf-8")
    return int(damage.crashed or damage.verdicts_changed > 0 or damage.rss_growth_mb >= 20)


if __name__ == "__main__":
    raise SystemExit(main())
