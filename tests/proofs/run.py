"""All slow proofs, one JSON line a claim.

python tests/proofs/run.py --data DIR [--kills N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import circuit_boards
import fuzz
import power_cuts
import promise_holds
import rendered_welds


def chaos(kills: int, seed: int) -> str:
    """``inspection chaos`` as a person would run it; its one line."""
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "chaos", "--kills", str(kills), "--seed", str(seed)],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.dumps({**json.loads(done.stdout), "commit": circuit_boards.commit()})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="all slow proofs, one JSON line a claim")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    lines = [chaos(options.kills, options.seed)]
    print(lines[-1], flush=True)
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        report = Path(name) / "cuts.json"
        cut_short = power_cuts.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
        report = Path(name) / "fuzz.json"
        choked = fuzz.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
    sample = options.data / "deeppcb-sample"
    if sample.is_dir():
        with tempfile.TemporaryDirectory(prefix="proof-") as name:
            report = Path(name) / "boards.json"
            circuit_boards.main(["--data", str(sample), "--layouts", "--json", str(report)])
            lines += report.read_text("utf-8").splitlines()
    else:
        print(f"{sample}: not here; the proof on circuit boards is left out", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        report = Path(name) / "welds.json"
        too_easy = rendered_welds.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
        report = Path(name) / "promise.json"
        broken = promise_holds.main(["--json", str(report)])
        lines += report.read_text("utf-8").splitlines()
    if options.json is not None:
        options.json.write_text("\n".join(lines) + "\n", "utf-8")
    harmed = json.loads(lines[0])
    hurt = any(harmed[name] for name in ("lost", "duplicated", "reordered", "false_ok", "crashed"))
    return too_easy or broken or cut_short or choked or hurt


if __name__ == "__main__":
    raise SystemExit(main())
