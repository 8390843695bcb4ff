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

import alignment
import audit_bounds
import c_client_shift
import chart_alarms
import circuit_boards
import full_shift
import fuzz
import hot_swap
import power_cuts
import promise_holds
import quality_gate
import rendered_welds
import weld_gauge

PROOFS = (
    power_cuts,
    fuzz,
    full_shift,
    hot_swap,
    c_client_shift,
    quality_gate,
    rendered_welds,
    promise_holds,
    alignment,
    audit_bounds,
    chart_alarms,
    weld_gauge,
)
"""Each prints its claims, writes them where ``--json`` says, and returns 0 where they hold."""

HARM = ("lost", "duplicated", "reordered", "false_ok", "crashed")


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
    harmed = json.loads(chaos(options.kills, options.seed))
    lines = [json.dumps(harmed)]
    print(lines[-1], flush=True)
    failed = any(harmed[name] for name in HARM)
    with tempfile.TemporaryDirectory(prefix="proof-") as name:
        for number, proof in enumerate(PROOFS):
            report = Path(name) / f"{number}.json"
            failed |= bool(proof.main(["--json", str(report)]))
            lines += report.read_text("utf-8").splitlines() if report.exists() else []
        sample = options.data / "deeppcb-sample"
        if sample.is_dir():
            report = Path(name) / "boards.json"
            circuit_boards.main(["--data", str(sample), "--layouts", "--json", str(report)])
            lines += report.read_text("utf-8").splitlines()
        else:
            print(f"{sample}: not here; the proof on circuit boards is left out", file=sys.stderr)
    if options.json is not None:
        options.json.write_text("\n".join(lines) + "\n", "utf-8")
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
